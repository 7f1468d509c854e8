"""HDF5 through h5py."""

from functools import partial

import h5py
import numpy as np

from systems import store
from systems.flat_values import Slices, flat, in_blocks

CHUNK_BYTES = 256 * 1024


class Ragged(store.OneByOne):
    def __init__(self, path):
        self.file = h5py.File(path / "samples.h5", "r")
        self.samples = Slices(self.file["values"], self.file["shapes"][:])

    def append(self, sample):
        self.file = _grow(self.file, values=sample.reshape(-1), shapes=np.array([sample.shape]))

    def picklable(self):
        return self.file["values"]

    @staticmethod
    def build(samples, path, *, chunked=False):
        values, shapes = flat(samples)
        _save(path, chunked=chunked, values=values, shapes=shapes)

    build_appendable = partial(build, chunked=True)


class Fixed(store.Arrays):
    BATCH_TYPE = np.ndarray
    LIMITS = {"batches": 5120}

    def __init__(self, path):
        self.file = h5py.File(path / "samples.h5", "r")
        self.samples = self.file["values"]

    def in_order(self):
        return in_blocks(self.samples, len(self))

    def batches(self, batches):
        samples = self.samples
        for batch in batches:
            order = np.argsort(batch)
            result = np.empty((len(batch), *samples.shape[1:]), samples.dtype)
            result[order] = samples[batch[order]]
            yield result

    def append(self, sample):
        self.file = _grow(self.file, values=sample[np.newaxis])

    @staticmethod
    def build(samples, path, *, chunked=False):
        _save(path, chunked=chunked, values=samples)

    build_appendable = partial(build, chunked=True)


def _save(path, *, chunked, **arrays):
    path.mkdir(parents=True)
    with h5py.File(path / "samples.h5", "w") as file:
        for name, array in arrays.items():
            rows = max(1, CHUNK_BYTES // (array.nbytes // len(array)))
            layout = {"chunks": (rows, *array.shape[1:]), "maxshape": (None, *array.shape[1:])} if chunked else {}
            file.create_dataset(name, data=array, **layout)


def _grow(file, **added):
    """Add rows at the end of datasets; return the file, opened for changes."""
    if file.mode != "r+":
        name = file.filename
        file.close()
        file = h5py.File(name, "r+")
    for name, rows in added.items():
        dataset = file[name]
        length = len(dataset)
        dataset.resize(length + len(rows), axis=0)
        dataset[length:] = rows
    file.flush()
    return file
