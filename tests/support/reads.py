"""Every way to read a dataset, for the tests of truncation and of read modes."""

import pickle
import warnings

import numpy as np
import pytest

import mmap_ninja as mn
from support.kinds import KINDS, TRAINED, plain

COUNT = 700  # samples: more than a page of offsets, and than a chunk of an iterator

STORED = KINDS | {"strings-trained": TRAINED}

# Batches, slices, iteration, and reads of all samples.
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
    "iterated windows": lambda ds: list(ds.windows(5)),
    "windows of documents": lambda ds: ds.windows(5, 3, documents=True).take(slice(None)),
}
OF_RECORDS = {
    "not in": lambda ds: {"no": "such sample"} in ds,
    "columns": lambda ds: [outcomes(ds[name]) for name in ds.columns],
    "group": lambda ds: list(ds["more"].select(slice(0, 9))),
    "some columns": lambda ds: ds[["tokens", "blob"]].take([5, 4, 4]),
    "renamed": lambda ds: ds[["more"]][[5, 4]],
}
# One sample at a time, which is not guarded when it is read from a map.
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
    """The ways to read a single sample."""
    return SINGLE | (SINGLE_WINDOW if dataset._sample == "ragged" else {})


def outcome(read, dataset):
    """The result of a read as a plain value, or its exception as type and message."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return plain(read(dataset), flags=True)
    except Exception as error:  # any exception is compared
        return type(error), str(error)


def outcomes(dataset):
    """The outcome of every read, by name."""
    reads = single_reads(dataset) | bulk_reads(dataset)
    return {name: outcome(read, dataset) for name, read in reads.items()}


def check_is(dataset, expected):
    """Assert that a dataset equals a list, in many ways of reading it."""
    assert len(dataset) == len(expected)
    ways = [
        list(dataset),
        dataset[:],
        list(reversed(dataset))[::-1],
        list(dataset.select(slice(None))),
        list(dataset.select(range(len(dataset)))),
        list(pickle.loads(pickle.dumps(dataset))),
        [dataset[k - len(expected)] for k in range(len(expected))],
        dataset.__getitems__(list(range(len(expected)))),
    ]
    for found in ways:
        assert plain(list(found)) == plain(list(expected))
    for index in (len(expected), -len(expected) - 1, 10**8, -(10**8)):
        with pytest.raises(IndexError, match="out of range"):
            dataset[index]
    assert mn.verify(dataset.path, level="full").ok


# ---- no samples, and empty ones
