"""Lance (PyPI: pylance)."""

from itertools import pairwise

import lance
import numpy as np
import pyarrow as pa

from systems import store
from systems.huggingface import buffers

PLAIN = {"lance-encoding:compression": "none"}


class Lance:
    """What both kinds have in common: a Lance dataset, its schema, and how samples become a table."""

    def __init__(self, path):
        self.path = path
        self.samples = lance.dataset(str(path))

    def __len__(self):
        return self.samples.count_rows()

    def append(self, sample):
        lance.write_dataset(self.table([sample]), str(self.path), mode="append")

    @classmethod
    def build(cls, samples, path):
        lance.write_dataset(cls.table(samples), str(path))


class Texts(Lance, store.Texts):
    LIMITS = {"index": 1000, "batches": 25_600, "jagged": 25_600}
    SCHEMA = pa.schema([pa.field("text", pa.large_string(), metadata=PLAIN)])

    def iterate(self):
        return sum(sum(map(len, batch.column(0).to_pylist())) for batch in self.samples.to_batches())

    def taken(self, indices):
        return self.samples.take(indices, columns=["text"]).column(0)

    def index(self, indices):
        return sum(len(self.taken([index])[0].as_py()) for index in indices)

    def batches(self, batches):
        return (self.taken(batch).to_pylist() for batch in batches)

    def jagged(self, batches):
        return (buffers(self.taken(batch).combine_chunks()) for batch in batches)

    @classmethod
    def table(cls, samples):
        return pa.table({"text": samples}, schema=cls.SCHEMA)


class Records(Lance, store.Records):
    LIMITS = {"index": 500, "batches": 5120}
    SCHEMA = pa.schema(
        [
            pa.field("image", pa.large_binary(), metadata=PLAIN),
            pa.field("shape", pa.list_(pa.int32(), 3)),
            pa.field("text", pa.large_string(), metadata=PLAIN),
            pa.field("label", pa.int64()),
            pa.field("tokens", pa.list_(pa.int32()), metadata=PLAIN),
        ]
    )

    def index(self, indices):
        return sum(self.read(self.samples.take([index])) for index in indices)

    def index_bare(self, indices):
        for index in indices:
            record = self.samples.take([index])
        return record

    def batches(self, batches):
        return map(self.samples.take, batches)

    @classmethod
    def fields(cls, record):
        images, texts, labels, tokens = cls.columns(record)
        return next(iter(images)), texts[0], labels[0], next(iter(tokens))

    @classmethod
    def columns(cls, batch):
        raw, shapes = batch["image"].to_pylist(), batch["shape"].to_pylist()
        images = (np.frombuffer(image, np.uint8).reshape(shape) for image, shape in zip(raw, shapes, strict=True))
        rows = batch["tokens"].combine_chunks()
        offsets, values = np.asarray(rows.offsets).tolist(), np.asarray(rows.values)
        tokens = (values[start:stop] for start, stop in pairwise(offsets))
        return images, batch["text"].to_pylist(), np.asarray(batch["label"]), tokens

    @classmethod
    def table(cls, samples):
        columns = {name: [record[name] for record in samples] for name in ("text", "label", "tokens")}
        columns["image"] = [record["image"].tobytes() for record in samples]
        columns["shape"] = [list(record["image"].shape) for record in samples]
        return pa.table(columns, schema=cls.SCHEMA)
