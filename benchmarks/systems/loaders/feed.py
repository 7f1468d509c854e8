"""What all loaders have in common: what their batches hold, and what it takes to read every byte of them.

An adapter is opened with a number of worker processes, one of its `WORKERS`. Each `epoch()` gives all samples in a new
random order, in batches of `BATCH_SIZE`: arrays or tensors, alone, in a tuple or list, or in a dict by the names in
`PARTS`.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from data.photos import decoded
from data.texts import labels


class Feed:
    """Samples of which a batch is one array."""

    PARTS: ClassVar[tuple[str, ...]] = ("sample",)
    BATCH_SIZE: ClassVar[int] = 256
    WORKERS: ClassVar[tuple[int, ...]] = (0, 2)  # of which the better one is reported
    LIMITS: ClassVar[dict[str, int]] = {}  # "all": how many samples there are, where an epoch would take too long
    IMPORTS: ClassVar[tuple[str, ...]] = ()  # modules that are first needed when it is opened
    LEFT_OUT: ClassVar[set[str]] = set()

    @staticmethod
    def whole(samples: Sequence[Any]) -> Sequence[Any]:
        """Return the samples as batches should hold them."""
        return samples

    @classmethod
    def parts(cls, batch: Any) -> Sequence[Any]:
        if isinstance(batch, Mapping):
            return [batch[name] for name in cls.PARTS]
        return batch if isinstance(batch, tuple | list) else [batch]

    @classmethod
    def read(cls, batch: Any) -> int:
        """Read every byte of a batch. The sum of an epoch does not depend on how samples are batched."""
        return words(cls.parts(batch)[0])

    @classmethod
    def read_sample(cls, sample: Any) -> int:
        return words(sample)

    @classmethod
    def marks(cls, batch: Any) -> Iterable[int]:
        """Return a number for each sample of a batch that tells it from all others."""
        return map(cls.mark, np.asarray(cls.parts(batch)[0]))

    @classmethod
    def mark(cls, sample: Any) -> int:
        return hash(np.asarray(sample).tobytes())


class Images(Feed):
    """Grey images of one size."""


class Windows(Feed):
    """Rows of tokens, of which each begins where another one ends."""

    BATCH_SIZE = 64


class Frames(Feed):
    """Arrays of different lengths: filled up with zeros, and their lengths."""

    PARTS = ("sample", "lengths")
    BATCH_SIZE = 64

    @classmethod
    def marks(cls, batch: Any) -> Iterable[int]:
        arrays, lengths = map(np.asarray, cls.parts(batch))
        lengths = lengths.reshape(len(arrays), -1)[:, 0].tolist()  # ours are shapes
        return (cls.mark(array[:length]) for array, length in zip(arrays, lengths, strict=True))


class Photos(Feed):
    """JPEG files, which are decoded to one size."""

    BATCH_SIZE = 32
    WORKERS = (2,)  # to decode is so slow that nobody would do without

    @staticmethod
    def whole(samples: Sequence[bytes]) -> Sequence[np.ndarray]:
        return list(map(decoded, samples))


class Labelled(Feed):
    """Texts and labels."""

    PARTS = ("text", "label")

    @staticmethod
    def whole(samples: Sequence[str]) -> Sequence[tuple[str, int]]:
        return list(zip(samples, labels(len(samples)).tolist(), strict=True))

    @classmethod
    def read(cls, batch: Any) -> int:
        texts, numbers = cls.parts(batch)
        return sum(map(len, texts)) + int(np.asarray(numbers).sum())

    @classmethod
    def read_sample(cls, sample: tuple[str, int]) -> int:
        text, label = sample
        return len(text) + label

    @classmethod
    def marks(cls, batch: Any) -> Iterable[int]:
        texts, numbers = cls.parts(batch)
        return map(hash, zip(texts, np.asarray(numbers).tolist(), strict=True))

    mark = staticmethod(hash)


def words(values: Any) -> int:
    """Sum an array, eight bytes at a time."""
    return int(np.asarray(values).reshape(-1).view(np.uint64).sum())
