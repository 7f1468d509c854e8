"""Hugging Face `datasets`, as its first pages show it."""

from itertools import islice

import datasets
import numpy as np
import pyarrow as pa

from systems import store
from systems.joining import pad

READ_AHEAD = 1000
datasets.disable_progress_bars()


class Texts(store.Texts):
    LIMITS = {"index": 20_000, "iterate": 50_000}

    def __init__(self, path):
        self.samples = datasets.load_from_disk(str(path))

    def in_order(self):
        return (row["text"] for row in islice(self.samples, Texts.LIMITS["iterate"]))

    def index(self, indices):
        return sum(len(self.samples[index]["text"]) for index in indices)

    def batches(self, batches):
        return (self.samples[batch]["text"] for batch in batches)

    @staticmethod
    def build(samples, path):
        datasets.Dataset.from_dict({"text": samples}).save_to_disk(str(path))


class ArrowTexts(Texts):
    """The fast way: Arrow batches instead of rows."""

    LIMITS = {"index": 10_000}
    LEFT_OUT = {"build"}  # the same

    def __init__(self, path):
        super().__init__(path)
        self.arrow = self.samples.with_format("arrow")

    def iterate(self):
        return sum(sum(map(len, batch["text"])) for batch in self.samples.iter(batch_size=READ_AHEAD))

    def index(self, indices):
        return sum(len(self.arrow[index]["text"][0].as_py()) for index in indices)

    def batches(self, batches):
        return (self.arrow[batch]["text"].to_pylist() for batch in batches)

    def jagged(self, batches):
        return (buffers(self.arrow[batch]["text"].combine_chunks()) for batch in batches)


def buffers(column):
    """Return the bytes and offsets of a string column without copying them."""
    _, offsets, values = column.buffers()
    width = np.int64 if pa.types.is_large_string(column.type) else np.int32
    offsets = np.frombuffer(offsets, width)[column.offset : column.offset + len(column) + 1]
    values = np.frombuffer(values, np.uint8)[offsets[0] : offsets[-1]]
    return values, offsets.astype(np.int64) - offsets[0]


class Shaped:
    """Arrays of a dataset in NumPy's format, which get their shape back."""

    def __init__(self, path):
        dataset = datasets.load_from_disk(str(path))
        shapes = dataset.with_format("arrow")[:]["shape"].combine_chunks()
        self.shapes = shapes.flatten().to_numpy().reshape(len(dataset), -1)
        self.arrow = dataset.with_format("arrow", columns=["values"])
        dtype = np.dtype(dataset.features["values"].feature.dtype)
        self.numpy = dataset.with_format("numpy", columns=["values"], dtype=dtype)

    def __len__(self):
        return len(self.numpy)

    def __getitem__(self, index):
        return self.numpy[index]["values"].reshape(self.shapes[index])

    def __iter__(self):
        shapes = iter(self.shapes)
        for batch in self.numpy.iter(batch_size=READ_AHEAD):
            for values in batch["values"]:
                yield values.reshape(next(shapes))


class Ragged(store.Arrays):
    LIMITS = {"index": 2000, "batches": 5120, "padded": 5120}

    def __init__(self, path):
        self.samples = Shaped(path)

    def picklable(self):
        return self.samples.numpy

    def batches(self, batches):
        numpy, shapes = self.samples.numpy, self.samples.shapes
        for batch in batches:
            rows = zip(numpy[batch]["values"], shapes[batch], strict=True)
            yield [values.reshape(shape) for values, shape in rows]

    def padded(self, batches):
        return map(pad, self.batches(batches))

    def jagged(self, batches):
        for batch in batches:
            column = self.samples.arrow[batch]["values"].combine_chunks()
            yield column.flatten().to_numpy(), column.offsets.to_numpy()

    @staticmethod
    def build(samples, path):
        offsets = np.concatenate([[0], np.cumsum([sample.size for sample in samples])])
        values = np.concatenate([sample.reshape(-1) for sample in samples])
        _save(pa.LargeListArray.from_arrays(offsets, values), np.array([sample.shape for sample in samples]), path)


class Fixed(Ragged):
    def batches(self, batches):
        numpy, shape = self.samples.numpy, self.samples.shapes[0]
        for batch in batches:
            yield numpy[batch]["values"].reshape(-1, *shape)

    @staticmethod
    def build(samples, path):
        values = pa.FixedSizeListArray.from_arrays(samples.reshape(-1), samples[0].size)
        _save(values, np.tile(samples.shape[1:], (len(samples), 1)), path)


def _save(values, shapes, path):
    rank = shapes.shape[1]
    table = pa.table({"values": values, "shape": pa.FixedSizeListArray.from_arrays(shapes.reshape(-1), rank)})
    datasets.Dataset(table).save_to_disk(str(path))


class Records(store.Records):
    LIMITS = {"index": 2000, "batches": 5120}
    FEATURES = datasets.Features(
        image=datasets.Sequence(datasets.Value("uint8")),
        shape=datasets.Sequence(datasets.Value("int32"), length=3),
        text=datasets.Value("large_string"),
        label=datasets.Value("int64"),
        tokens=datasets.Sequence(datasets.Value("int32")),
    )

    def __init__(self, path):
        self.samples = datasets.load_from_disk(str(path)).with_format("numpy")

    def batches(self, batches):
        return map(self.samples.__getitem__, batches)

    @classmethod
    def fields(cls, record):
        image = record["image"].astype(np.uint8).reshape(record["shape"])
        return image, str(record["text"]), record["label"], record["tokens"].astype(np.int32)

    @classmethod
    def columns(cls, batch):
        flat = (image.astype(np.uint8) for image in batch["image"])
        images = (image.reshape(shape) for image, shape in zip(flat, batch["shape"], strict=True))
        return images, batch["text"], batch["label"], (row.astype(np.int32) for row in batch["tokens"])

    @staticmethod
    def build(samples, path):
        columns = {name: [record[name] for record in samples] for name in ("text", "label", "tokens")}
        columns["image"] = [record["image"].reshape(-1) for record in samples]
        columns["shape"] = [record["image"].shape for record in samples]
        datasets.Dataset.from_dict(columns, features=Records.FEATURES).save_to_disk(str(path))
