"""A dataset of every kind, and every way to read one: what the tests of truncation and of read modes share."""

import warnings

import numpy as np

import mmap_ninja as mn
from mmap_ninja import ArrayMmap, BytesMmap, RaggedMmap, RecordsMmap, StringsMmap

COUNT = 700  # more than a page of offsets, and than the chunks that iteration reads


def texts(count=COUNT, start=0):
    return [f"{number} größer " * (number % 5) for number in range(start, start + count)]


def extents_of(number):
    return number % 4, 1 + number % 3


def shaped(extents):
    size = int(np.prod(extents))
    return (np.arange(size, dtype=np.int32) * (1 + size)).reshape(extents)


def record(number):
    return {
        "text": texts(1, number)[0],
        "note": None if number % 3 else f"note {number}",
        "image": np.full((2, 3), number % 251, np.uint8),
        "mask": None if number % 4 else np.full(2, number, np.float32),
        "tokens": np.arange(number % 6, dtype=np.int64),
        "boxes": shaped(extents_of(number)),
        "more": {"label": number, "packed": texts(1, number)[0], "any": {"of": number}},
    }


COLUMNS = {
    "text": mn.Text(),
    "note": mn.Text(nullable=True),
    "image": mn.Array((2, 3), np.uint8),
    "mask": mn.Array((2,), np.float32, nullable=True),
    "tokens": mn.Ragged(np.int64, ndim=1),
    "boxes": mn.Ragged(np.int32, ndim=2),
    "more": {"label": mn.Scalar(np.int64), "packed": mn.Text(codec="zstd"), "any": mn.Json()},
}


# By name: the class, the samples `of(count, start)`, and what makes the dataset beside them.
KINDS = {
    "strings": (StringsMmap, texts, {}),
    "strings-zstd": (StringsMmap, texts, {"zstd_level": 3, "zstd_train_dictionary_size": 1024}),
    "bytes": (BytesMmap, lambda count=COUNT, start=0: [text.encode() for text in texts(count, start)], {}),
    "array": (
        ArrayMmap,
        lambda count=COUNT, start=0: [
            np.arange(6, dtype=np.float32).reshape(2, 3) + n for n in range(start, start + count)
        ],
        {},
    ),
    "array-scalars": (
        ArrayMmap,
        lambda count=COUNT, start=0: [np.int64(n * n) for n in range(start, start + count)],
        {},
    ),
    "ragged": (
        RaggedMmap,
        lambda count=COUNT, start=0: [np.arange(n % 7, dtype=np.int16) + n for n in range(start, start + count)],
        {},
    ),
    "ragged-2d": (
        RaggedMmap,
        lambda count=COUNT, start=0: [shaped(extents_of(n)) for n in range(start, start + count)],
        {},
    ),
    "ragged-mixed": (
        RaggedMmap,
        lambda count=COUNT, start=0: [shaped(extents_of(n)[: n % 3]) for n in range(start, start + count)],
        {},
    ),
    "records": (
        RecordsMmap,
        lambda count=COUNT, start=0: [record(n) for n in range(start, start + count)],
        {"columns": COLUMNS},
    ),
}


def make(name, path, count=COUNT):
    """Store a dataset of a kind; its class."""
    cls, of, options = KINDS[name]
    cls.from_generator(path, of(count), **options).close()
    return cls


# Batches, slices, iteration, and what is read as a whole.
BULK = {
    "list": list,
    "iterate on": lambda ds: [sample for sample, _ in zip(ds, range(5), strict=False)],
    "reversed": lambda ds: list(reversed(ds)),
    "slice": lambda ds: ds[3:40],
    "steps": lambda ds: ds[::-7],
    "list of indices": lambda ds: ds[[5, 2, 2, -1]],
    "array of indices": lambda ds: ds[np.array([5, 2, 2, -1])],
    "mask": lambda ds: ds[np.arange(len(ds)) % 5 == 1],
    "nothing": lambda ds: ds[[]],
    "take": lambda ds: ds.take(range(len(ds))),
    "take some": lambda ds: ds.take([9, 8, 7, 300, -1, 300]),
    "items": lambda ds: ds.__getitems__([9, 8, 7, 300, -1]),
    "past the end": lambda ds: ds.take([len(ds)]),
    "index": lambda ds: ds.index(ds[11]),
    "count": lambda ds: ds.count(ds[11]),
    "not in": lambda ds: "no such sample" in ds,
    "view by steps": lambda ds: list(ds.select(slice(None, None, -3))),
    "view of a view": lambda ds: ds.select(slice(5, 90)).select([3, 1, 1]).take(slice(None)),
    "part of a view": lambda ds: ds.select(slice(5, 90))[10:20],
    "bytes of a view": lambda ds: ds.select([4, 8]).nbytes,
    "arrow": lambda ds: ds.to_arrow().to_pylist(),
    "arrow of a view": lambda ds: ds.select([4, 8]).to_arrow().to_pylist(),
}
OF_SPANS = {
    "jagged": lambda ds: ds.take_jagged([3, 2, 2, 600]),
    "all jagged": lambda ds: ds.take_jagged(slice(None)),
    "byte lengths": lambda ds: ds.byte_lengths,
    "starts": lambda ds: ds.starts,
    "ends": lambda ds: ds.ends,
}
OF_ARRAYS = {
    "array": np.asarray,
    "ellipsis": lambda ds: ds[..., 0],
    "slice and more": lambda ds: ds[2:9, ..., 0],
    "into an array": lambda ds: ds.take([4, 1], np.empty((2, *ds.shape[1:]), ds.dtype)),
    "dlpack": lambda ds: np.from_dlpack(ds),
    "shape": lambda ds: ds.shape,
}
OF_RAGGED = {
    "jagged": lambda ds: ds.take_jagged([3, 2, 2, 600]),
    "padded": lambda ds: ds.take_padded([3, 2, 2, 600], value=-1),
    "all padded": lambda ds: ds.take_padded(slice(None), multiple_of=8),
    "lengths": lambda ds: ds.lengths,
    "shapes": lambda ds: list(ds.shapes),
    "flattened shapes": lambda ds: ds.flattened_shapes,
    "starts": lambda ds: ds.starts,
    "ends": lambda ds: ds.ends,
    "memmap": lambda ds: ds.memmap,
    "windows": lambda ds: ds.windows(5, 3).take(slice(None)),
    "some windows": lambda ds: ds.windows(5).take([-1, 0, 3]),
    "windows within samples": lambda ds: list(ds.windows(3, 2, within_samples=True).take([4, 0, -1])),
}
OF_RECORDS = {
    "columns": lambda ds: [outcomes(ds[name]) for name in ds.columns],
    "group": lambda ds: list(ds["more"].select(slice(0, 9))),
    "some columns": lambda ds: ds[["tokens", "note"]].take([5, 4, 4]),
    "renamed": lambda ds: ds[["more"]][[5, 4]],
}
# One sample at a time, which nothing guards where it is read from a map.
SINGLE = {
    "first": lambda ds: ds[0],
    "last": lambda ds: ds[-1],
    "one by one": lambda ds: [ds[position] for position in range(0, len(ds), 13)],
}
SINGLE_WINDOW = {"one window": lambda ds: ds.windows(5, 3)[7]}


def bulk_reads(dataset):
    """The ways to read several samples of a dataset at once, by name."""
    of_kind = {"text": OF_SPANS, "binary": OF_SPANS, "array": OF_ARRAYS, "ragged": OF_RAGGED, "record": OF_RECORDS}
    return BULK | of_kind[dataset._sample]


def single_reads(dataset):
    """The ways to read one."""
    return SINGLE | (SINGLE_WINDOW if dataset._sample == "ragged" else {})


def plain(value):
    """Anything that a read gives, as values that `==` compares whole."""
    if isinstance(value, np.ma.MaskedArray):
        return "masked", plain(value.filled(0)), plain(np.ma.getmaskarray(value))
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.flags.writeable, value.tobytes()
    if isinstance(value, np.generic):
        return type(value), value.tobytes()
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    return value


def outcome(read, dataset):
    """What a read gives, as a plain value; or the exception that it raises, as its type and message."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return plain(read(dataset))
    except Exception as error:  # whatever it is, it is compared
        return type(error), str(error)


def outcomes(dataset):
    """The outcome of every read, by its name."""
    reads = single_reads(dataset) | bulk_reads(dataset)
    return {name: outcome(read, dataset) for name, read in reads.items()}
