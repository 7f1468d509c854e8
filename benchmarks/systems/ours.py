"""This project."""

import numpy as np

from mmap_ninja import ArrayMmap, RaggedMmap, RecordsMmap, StringsMmap
from systems import store


class Ours:
    BATCH_TYPE = np.ndarray
    OPTIONS = {"batch_size": 1024, "verbose": False}

    def batches(self, batches):
        return map(self.samples.take, batches)

    def append(self, sample):
        self.samples.append(sample)

    @classmethod
    def build(cls, samples, path):
        cls.OPEN.from_generator(path, iter(samples), **cls.OPTIONS)

    @classmethod
    def build_unsynced(cls, samples, path):
        cls.OPEN.from_generator(path, iter(samples), **cls.OPTIONS, durability="process")


class Texts(Ours, store.Texts):
    OPEN = StringsMmap

    def jagged(self, batches):
        return map(self.samples.take_jagged, batches)

    def extend(self, samples):
        self.samples.extend(samples)


class Zstd(Texts):
    OPTIONS = Texts.OPTIONS | {"zstd_level": 3}


class ZstdDictionary(Texts):
    OPTIONS = Zstd.OPTIONS | {"zstd_train_dictionary_size": 112_640}


class Ragged(Ours, store.Arrays):
    OPEN = RaggedMmap

    def jagged(self, batches):
        return map(self.samples.take_jagged, batches)

    def padded(self, batches):
        return map(self.samples.take_padded, batches)

    def windows(self, length, stride, batches):
        return map(self.samples.windows(length, stride).take, batches)

    @staticmethod
    def from_indexable(source, path, batch_size, n_jobs, durability="process"):
        RaggedMmap.from_indexable(path, source, batch_size, n_jobs=n_jobs, verbose=False, durability=durability)


class Fixed(Ours, store.Arrays):
    OPEN = ArrayMmap

    @staticmethod
    def build_whole(samples, path):
        ArrayMmap.from_ndarray(path, samples)


class Records(Ours, store.Records):
    OPEN = RecordsMmap
