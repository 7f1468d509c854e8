"""Zarr, version 3 of its format."""

import numpy as np
import zarr

from systems import store
from systems.flat_values import Slices, flat, in_blocks

LIMITS = {"index": 500, "batches": 1024}  # a millisecond per read
CHUNK_SAMPLES = 1000
CHUNK_BYTES = 256 * 1024
CHUNK_SHAPES = 4096


class Ragged(store.OneByOne):
    LIMITS = LIMITS

    def __init__(self, path):
        self.values = zarr.open_array(str(path / "values"), mode="r+")
        self.shapes = zarr.open_array(str(path / "shapes"), mode="r+")
        self.samples = Slices(self.values, self.shapes[:])

    def append(self, sample):
        self.values.append(sample.reshape(-1))
        self.shapes.append(np.array([sample.shape]))

    def picklable(self):
        return self.values

    @staticmethod
    def build(samples, path):
        values, shapes = flat(samples)
        _save(path / "values", values, CHUNK_BYTES // values.itemsize)
        _save(path / "shapes", shapes, CHUNK_SHAPES)


class Fixed(store.Arrays):
    BATCH_TYPE = np.ndarray
    LIMITS = LIMITS

    def __init__(self, path):
        self.samples = zarr.open_array(str(path), mode="r+")

    def __len__(self):
        return self.samples.shape[0]  # it has no len

    def in_order(self):
        return in_blocks(self.samples, len(self))

    def batches(self, batches):
        return map(self.samples.oindex.__getitem__, batches)

    def append(self, sample):
        self.samples.append(sample[np.newaxis])

    @staticmethod
    def build(samples, path):
        _save(path, samples, CHUNK_SAMPLES)


def _save(path, array, rows):
    zarr.create_array(str(path), data=array, chunks=(rows, *array.shape[1:]), compressors=None, filters=None)
