"""A dataset of every kind, for tests over all kinds."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import mmap_ninja as mn
from mmap_ninja import ArrayMmap, BytesMmap, RaggedMmap, RecordsMmap, StringsMmap


@dataclass(frozen=True)
class Kind:
    """A kind of dataset.

    Args:
        cls: Its class.
        sample: Makes the sample of a number; sample 0 is empty if the kind has empty samples. A replacement must have
            the same rank, so its number has the same remainder modulo 3.
        options: Options of `from_generator`.
    """

    cls: type
    sample: Callable[[int], Any]
    options: dict[str, Any] = field(default_factory=dict)

    def samples(self, count, start=0):
        """The samples of consecutive numbers."""
        return [self.sample(number) for number in range(start, start + count)]

    def store(self, path, samples, **options):
        """Build a dataset of samples."""
        return self.cls.from_generator(path, samples, **self.options | options)

    def build(self, path, count, start=0, **options):
        """Build a dataset of the samples of consecutive numbers."""
        return self.store(path, self.samples(count, start), **options)

    def edited(self, path):
        """A handle of a dataset with all kinds of commits, the last ones not durable; and the list of its samples."""
        samples = self.samples(13)
        self.build(path, 10, batch_size=4).close()
        dataset = self.cls(path)
        dataset[3] = samples[3] = self.sample(39)
        del dataset[5], samples[5]
        dataset.flush()
        dataset.extend(samples[9:])
        dataset[-1] = samples[-1] = self.sample(42)
        del dataset[:2], samples[:2]
        return dataset, samples


def text(number):
    return f"{number} größer " * (number % 5)


def extents_of(number):
    return number % 4, 1 + number % 3


def shaped(extents):
    size = int(np.prod(extents))
    return (np.arange(size, dtype=np.int32) * (1 + size)).reshape(extents)


def record(number):
    return {
        "text": text(number),
        "blob": None if number % 3 == 0 else bytes([number % 256]) * (number % 5),
        "image": np.full((2, 3), number % 251, np.uint8),
        "mask": None if number % 4 else np.full(2, number, np.float32),
        "tokens": np.arange(number % 6, dtype=np.int64),
        "boxes": shaped(extents_of(number)),
        "more": {
            "label": None if number % 7 == 1 else np.int64(number),
            "packed": None if number % 5 == 1 else text(number + 1),
            "any": {"of": number},
        },
    }


COLUMNS = {
    "text": mn.Text(),
    "blob": mn.Bytes(nullable=True),
    "image": mn.Array((2, 3), np.uint8),
    "mask": mn.Array((2,), np.float32, nullable=True),
    "tokens": mn.Ragged(np.int64, ndim=1),
    "boxes": mn.Ragged(np.int32, ndim=2),
    "more": {
        "label": mn.Scalar(np.int64, nullable=True),
        "packed": mn.Text(codec="zstd", nullable=True),
        "any": mn.Json(),
    },
}

KINDS = {
    "strings": Kind(StringsMmap, text),
    "strings-zstd": Kind(StringsMmap, text, {"zstd_level": 3}),
    "bytes": Kind(BytesMmap, lambda number: text(number).encode()),
    "array": Kind(ArrayMmap, lambda number: np.arange(6, dtype=np.float32).reshape(2, 3) + number),
    "array-scalars": Kind(ArrayMmap, lambda number: np.int64(number * number)),
    "ragged": Kind(RaggedMmap, lambda number: np.arange(number % 7, dtype=np.int16) + number),
    "ragged-2d": Kind(RaggedMmap, lambda number: shaped(extents_of(number))),
    "ragged-mixed": Kind(RaggedMmap, lambda number: shaped(extents_of(number)[: number % 3])),
    "records": Kind(RecordsMmap, record, {"columns": COLUMNS}),
}

# No dictionary can be trained on a few samples.
TRAINED = Kind(StringsMmap, text, {"zstd_level": 3, "zstd_train_dictionary_size": 1024})


def plain(value, *, flags=False):
    """Samples, or the result of any read, as values that `==` can compare, including dtype, shape and type.

    Args:
        value: Any value.
        flags: Whether to distinguish writable from read-only arrays.
    """
    match value:
        case np.ma.MaskedArray():
            return "masked", plain(value.filled(0), flags=flags), plain(np.ma.getmaskarray(value), flags=flags)
        case np.ndarray():
            return value.dtype.str, value.shape, value.tobytes(), flags and value.flags.writeable
        case np.generic() | int() | float():  # a number is stored as NumPy converts it
            return np.asarray(value).dtype.str, np.asarray(value).tobytes()
        case dict():
            return {key: plain(inner, flags=flags) for key, inner in value.items()}
        case str() | bytes() | None:
            return value
        case Iterable():
            return [plain(inner, flags=flags) for inner in value]
    return value
