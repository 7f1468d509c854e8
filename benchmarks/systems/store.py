"""What adapters have in common: an open dataset of one kind of data, with the loops over its samples.

README.md lists the operations of an adapter; one that its system lacks is not there, and is not measured.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self
from zlib import adler32

import numpy as np

from systems.joining import Pair, join, join_bytes, pad


class Store:
    """Samples that are indexed like a list; a system with a faster idiom has loops of its own."""

    OPEN: ClassVar[Callable[[Path], Any]]  # what opens a dataset
    BATCH_TYPE: ClassVar[type] = list  # what its batched reads take fastest: list or np.ndarray
    LIMITS: ClassVar[dict[str, int]] = {}  # operation -> how many samples of it are read, where all would take minutes
    LEFT_OUT: ClassVar[set[str]] = set()  # measures in which it takes no part, although it has the operation

    def __init__(self, path: Path) -> None:
        self.samples = self.OPEN(path)

    def __len__(self) -> int:
        return len(self.samples)

    def in_order(self) -> Iterable[Any]:
        return self.samples

    def iterate(self) -> int:
        read, total = self.read, 0
        for sample in self.in_order():
            total += read(sample)
        return total

    def iterate_bare(self) -> Any:
        for sample in self.in_order():  # noqa: B007 - what is timed
            pass
        return sample

    def index(self, indices: list[int]) -> int:
        read, samples, total = self.read, self.samples, 0
        for index in indices:
            total += read(samples[index])
        return total

    def index_bare(self, indices: list[int]) -> Any:
        samples = self.samples
        for index in indices:
            sample = samples[index]
        return sample

    @classmethod
    def read_batch(cls, batch: Any) -> int:
        return sum(map(cls.read, batch))

    def picklable(self) -> object:
        return self.samples

    def reopened(self, path: Path) -> Self:
        return type(self)(path)


class Texts(Store):
    read = staticmethod(len)


class EncodedTexts(Texts):
    """Texts of a system that gives batches of `bytes`, by `encoded(batches)`."""

    def batches(self, batches: Sequence[Any]) -> Iterator[list[str]]:
        return ([sample.decode() for sample in samples] for samples in self.encoded(batches))

    def jagged(self, batches: Sequence[Any]) -> Iterator[Pair]:
        return map(join_bytes, self.encoded(batches))


class Arrays(Store):
    read = staticmethod(adler32)


class OneByOne(Arrays):
    """Arrays of which a batch is a list of single reads."""

    def batches(self, batches: Sequence[list[int]]) -> Iterator[list[np.ndarray]]:
        samples = self.samples
        for batch in batches:
            yield [samples[index] for index in batch]


class Joined(Arrays):
    """Ragged arrays whose batches NumPy fills up, or puts one after the other."""

    def padded(self, batches: Sequence[Any]) -> Iterator[Pair]:
        return map(pad, self.batches(batches))

    def jagged(self, batches: Sequence[Any]) -> Iterator[Pair]:
        return map(join, self.batches(batches))


class Indexed(Arrays):
    """Arrays of which a batch is what an array of indices gives."""

    BATCH_TYPE = np.ndarray

    def batches(self, batches: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
        return map(self.samples.__getitem__, batches)


class Records(Store):
    """Records of a ragged image, a text, a label and a row of tokens."""

    @classmethod
    def columns(cls, batch: Any) -> tuple[Iterable[np.ndarray], Iterable[str], Any, Iterable[np.ndarray]]:
        return batch["image"], batch["text"], batch["label"], batch["tokens"]

    @classmethod
    def fields(cls, record: Any) -> tuple[np.ndarray, str, int, np.ndarray]:
        return cls.columns(record)

    @classmethod
    def read(cls, record: Any) -> int:
        image, text, label, row = cls.fields(record)
        return _total([image], [text], label, [row])

    @classmethod
    def read_batch(cls, batch: Any) -> int:
        return _total(*cls.columns(batch))


class Reviews(Store):
    """Texts and labels, by column."""

    @staticmethod
    def read_batch(batch: Any) -> int:
        return sum(map(len, batch["text"])) + int(batch["label"].sum())


def _total(images: Iterable[np.ndarray], texts: Iterable[str], labels: Any, tokens: Iterable[np.ndarray]) -> int:
    total = sum(map(adler32, images)) + sum(map(len, texts)) + sum(map(adler32, tokens))
    return total + int(np.asarray(labels).sum())
