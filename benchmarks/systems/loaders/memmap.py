"""`np.memmap` in a `DataLoader`."""

import numpy as np

from systems.flat_values import Slices, flat
from systems.loaders import feed
from systems.loaders.pytorch import Loaded, padded


class Array(Loaded):
    @staticmethod
    def opened(path):
        return np.load(path / "samples.npy", mmap_mode="c")  # PyTorch warns of arrays that cannot be written to

    @staticmethod
    def build(samples, path):
        path.mkdir(parents=True)
        np.save(path / "samples.npy", samples)


class Images(Array, feed.Images):
    pass


class Windows(Array, feed.Windows):
    pass


class Frames(Loaded, feed.Frames):
    collate = staticmethod(padded)

    @staticmethod
    def opened(path):
        return Slices(np.load(path / "values.npy", mmap_mode="c"), np.load(path / "shapes.npy"))

    @staticmethod
    def build(samples, path):
        path.mkdir(parents=True)
        values, shapes = flat(samples)
        np.save(path / "values.npy", values)
        np.save(path / "shapes.npy", shapes)
