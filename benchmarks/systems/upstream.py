"""The ancestor, mmap_ninja 0.9.0 from PyPI."""

import numpy as np
from data.texts import labels

import mmap_ninja.numpy as ninja_numpy
from mmap_ninja.ragged import RaggedMmap
from mmap_ninja.string import StringsMmap
from systems import store
from systems.joining import join_bytes
from systems.loops import Loop, data_loader


class Upstream:
    BATCH_TYPE = np.ndarray
    OPTIONS = {"batch_size": 1024, "verbose": False}

    def batches(self, batches):
        return map(self.samples.__getitem__, batches)

    def append(self, sample):
        self.samples.append(sample)

    @classmethod
    def build(cls, samples, path):
        cls.OPEN.from_generator(path, iter(samples), **cls.OPTIONS)


class Texts(Upstream, store.Texts):
    OPEN = StringsMmap

    def jagged(self, batches):
        for batch in self.batches(batches):
            yield join_bytes([text.encode() for text in batch])


class Zstd(Texts):
    OPTIONS = Texts.OPTIONS | {"zstd_level": 3}


class ZstdDictionary(Texts):
    OPTIONS = Zstd.OPTIONS | {"zstd_train_dictionary_size": 112_640}


class Ragged(Upstream, store.Joined):
    OPEN = RaggedMmap
    LIMITS = {"trivial": 20_000}

    @staticmethod
    def from_indexable(source, path, batch_size, n_jobs):
        RaggedMmap.from_indexable(path, source, batch_size, n_jobs=n_jobs, verbose=False)


class Fixed(Upstream, store.Arrays):
    OPEN = staticmethod(ninja_numpy.open_existing)

    def append(self, sample):
        ninja_numpy.append(self.samples, sample)

    def loader(self, order=None):
        return Loop(len(self), self.samples.__getitem__, order)

    @staticmethod
    def build(samples, path):
        ninja_numpy.from_generator(path, iter(samples), batch_size=1024)

    @staticmethod
    def build_whole(samples, path):
        ninja_numpy.from_ndarray(path, samples)


class Columns:
    """Four datasets side by side, as its users keep columns."""

    def __init__(self, path):
        self.images = RaggedMmap(path / "image")
        self.texts = StringsMmap(path / "text")
        self.labels = ninja_numpy.open_existing(path / "label")
        self.tokens = RaggedMmap(path / "tokens")

    def __len__(self):
        return len(self.texts)

    def __getitem__(self, key):
        return {
            "image": self.images[key], "text": self.texts[key], "label": self.labels[key], "tokens": self.tokens[key]
        }  # fmt: skip

    def append(self, record):
        self.images.append(record["image"])
        self.texts.append(record["text"])
        ninja_numpy.append(self.labels, np.asarray(record["label"]))
        self.tokens.append(record["tokens"])


class Records(Upstream, store.Records):
    OPEN = Columns

    @staticmethod
    def build(samples, path):
        path.mkdir(parents=True)  # upstream makes only the last folder
        RaggedMmap.from_generator(path / "image", (record["image"] for record in samples), **Upstream.OPTIONS)
        StringsMmap.from_generator(path / "text", (record["text"] for record in samples), **Upstream.OPTIONS)
        ninja_numpy.from_ndarray(path / "label", np.array([record["label"] for record in samples]))
        RaggedMmap.from_generator(path / "tokens", (record["tokens"] for record in samples), **Upstream.OPTIONS)


class Labelled:
    """Texts and their labels, as PyTorch's loader wants them."""

    def __init__(self, path):
        self.texts = StringsMmap(path / "text")
        self.labels = ninja_numpy.open_existing(path / "label")

    def __len__(self):
        return len(self.texts)

    def __getitem__(self, index):
        return {"text": self.texts[index], "label": self.labels[index]}


class Reviews(Upstream, store.Reviews):
    OPEN = Labelled

    def loader(self):
        return data_loader(self.samples)

    @staticmethod
    def build(samples, path):
        path.mkdir(parents=True)
        StringsMmap.from_generator(path / "text", iter(samples), **Upstream.OPTIONS)
        ninja_numpy.from_ndarray(path / "label", labels(len(samples)))
