"""`np.memmap`, as a person keeps arrays by hand: one file of values, for ragged ones shapes beside it."""

import numpy as np

from systems import store
from systems.flat_values import Slices, flat
from systems.loops import data_loader


class Ragged(store.OneByOne, store.Joined):
    def __init__(self, path):
        self.samples = Slices(np.load(path / "values.npy", mmap_mode="r"), np.load(path / "shapes.npy"))

    def windows(self, length, stride, batches):
        found = np.lib.stride_tricks.sliding_window_view(self.samples.values, length)[::stride]
        return map(found.__getitem__, batches)

    @staticmethod
    def build(samples, path):
        path.mkdir(parents=True)
        values, shapes = flat(samples)
        np.save(path / "values.npy", values)
        np.save(path / "shapes.npy", shapes)


class Fixed(store.Indexed):
    def __init__(self, path):
        self.samples = np.load(path / "values.npy", mmap_mode="r")

    def loader(self):
        return data_loader(self.samples)

    @staticmethod
    def build(samples, path):
        path.mkdir(parents=True)
        np.save(path / "values.npy", samples)
