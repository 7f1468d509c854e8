"""This project."""

import numpy as np
from data.texts import labels

from mmap_ninja import ArrayMmap, Loader, RaggedMmap, RecordsMmap, Shuffle, StringsMmap
from systems import store
from systems.loops import BATCH_SIZE, data_loader


class Ours:
    BATCH_TYPE = np.ndarray
    OPTIONS = {"batch_size": 1024, "verbose": False}

    def batches(self, batches):
        return map(self.samples.take, batches)

    def append(self, sample):
        self.samples.append(sample)

    def loader(self, order=True, **options):
        return Loader(self.samples, BATCH_SIZE, shuffle=order, **options)

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

    @staticmethod
    def order(count, block=None):
        return Shuffle(count, block=block)


class Records(Ours, store.Records):
    OPEN = RecordsMmap


class Reviews(Ours, store.Reviews):
    OPEN = RecordsMmap

    @staticmethod
    def build(samples, path):
        RecordsMmap.from_columns(path, {"text": samples, "label": labels(len(samples))})


class DataLoaderReviews(Reviews):
    def loader(self):
        return data_loader(self.samples)
