"""This project: its loader for PyTorch, its own, and PyTorch's `DataLoader` over its datasets.

PyTorch is imported where it is needed, since that takes seconds.
"""

# ruff: noqa: PLC0415

import numpy as np
from data.arrays import ROW_TOKENS
from data.photos import decoded
from data.texts import labels

import mmap_ninja
from mmap_ninja import ArrayMmap, Batches, BytesMmap, Pad, RaggedMmap, RecordsMmap, Shuffle
from systems.loaders import feed


class Ours:
    """Datasets, and what `Loader` and `as_dataset` are told of them."""

    WORKERS = (0,)  # threads make batches where it pays
    IMPORTS = ("mmap_ninja.integrations.torch",)
    OPTIONS = {}

    def __init__(self, path, _workers):
        self.dataset = self.opened(path)
        self.loader = self.made()

    opened = staticmethod(mmap_ninja.open)

    def made(self):
        from mmap_ninja.integrations.torch import Loader

        return Loader(self.dataset, self.BATCH_SIZE, shuffle=True, **self.OPTIONS)

    def epoch(self):
        return self.loader


class Images(Ours, feed.Images):
    @staticmethod
    def build(samples, path):
        ArrayMmap.from_ndarray(path, samples)


class Labelled(Ours, feed.Labelled):
    @staticmethod
    def build(samples, path):
        RecordsMmap.from_columns(path, {"text": samples, "label": labels(len(samples))})


class Frames(Ours, feed.Frames):
    OPTIONS = {"pad": Pad()}

    @staticmethod
    def build(samples, path):
        RaggedMmap.from_generator(path, iter(samples))


class Windows(Ours, feed.Windows):
    @staticmethod
    def opened(path):
        return mmap_ninja.open(path).windows(ROW_TOKENS, stride=ROW_TOKENS)

    @staticmethod
    def build(samples, path):
        RaggedMmap.from_generator(path, [samples.reshape(-1)])


def stacked(files):
    return np.stack(list(map(decoded, files)))


class Photos(Ours, feed.Photos):
    OPTIONS = {"transform": stacked, "num_threads": 2}

    @staticmethod
    def build(samples, path):
        BytesMmap.from_generator(path, iter(samples))


class Numpy:
    """Batches of NumPy arrays."""

    IMPORTS = ()

    def made(self):
        return mmap_ninja.Loader(self.dataset, self.BATCH_SIZE, shuffle=True, **self.OPTIONS)


class NumpyImages(Numpy, Images):
    pass


class NumpyLabelled(Numpy, Labelled):
    pass


class NumpyFrames(Numpy, Frames):
    pass


class NumpyWindows(Numpy, Windows):
    pass


class Plain:
    """`DataLoader` over a dataset as it is."""

    def made(self):
        from torch.utils.data import DataLoader

        return DataLoader(self.dataset, self.BATCH_SIZE, shuffle=True)


class DataLoaderImages(Plain, Images):
    pass


class DataLoaderLabelled(Plain, Labelled):
    pass


class Whole:
    """`DataLoader` over `as_dataset`, in an order of ours."""

    def made(self):
        from torch.utils.data import DataLoader

        from mmap_ninja.integrations.torch import as_dataset

        self.order = Batches(Shuffle(len(self.dataset)), self.BATCH_SIZE)
        return DataLoader(as_dataset(self.dataset, **self.OPTIONS), batch_sampler=self.order)

    def epoch(self):
        self.order.set_epoch(self.order.epoch + 1)
        return self.loader


class AsDatasetImages(Whole, Images):
    pass


class AsDatasetLabelled(Whole, Labelled):
    pass


class AsDatasetFrames(Whole, Frames):
    pass


class AsDatasetWindows(Whole, Windows):
    pass
