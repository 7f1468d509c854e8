"""One dataset of every kind: what the tests of damage, of random acts and of hostile files are made of."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mmap_ninja import (
    Array,
    ArrayMmap,
    Bytes,
    BytesMmap,
    Json,
    Ragged,
    RaggedMmap,
    RecordsMmap,
    Scalar,
    StringsMmap,
    Text,
)


def words(number):
    return f"text {number} " * (number % 4) + "ü" * (number % 3)


def of_mixed_rank(number):
    return np.full([(), (number % 4,), (2, number % 3)][number % 3], number, np.int16)


def record(number):
    return {
        "text": words(number),
        "packed": None if number % 5 == 0 else words(number + 1),
        "blob": None if number % 3 == 0 else bytes([number % 256]) * (number % 5),
        "tokens": np.arange(number, number + number % 4, dtype=np.int32),
        "inner": {
            "box": np.full((2, 2), number / 2, np.float32),
            "extra": {"tags": [str(number)], "none": None},
            "score": None if number % 4 == 1 else np.float64(number / 4),
        },
    }


RECORD_COLUMNS = {
    "text": Text(),
    "packed": Text(codec="zstd", nullable=True),
    "blob": Bytes(nullable=True),
    "tokens": Ragged(np.int32, 1),
    "inner": {"box": Array((2, 2), np.float32), "extra": Json(), "score": Scalar(np.float64, nullable=True)},
}


@dataclass(frozen=True)
class Kind:
    """A class, what makes a sample of a number, and the options of a build."""

    cls: type
    make: Any
    options: dict[str, Any] = field(default_factory=dict)

    def build(self, path, count, **options):
        """A dataset of so many samples."""
        return self.cls.from_generator(path, map(self.make, range(count)), **self.options, **options)

    # A replacement has the rank of what it replaces, so its number has the same remainder by 3.
    def edited(self, path):
        """A handle of a dataset with commits of all sorts, the last ones not durable; and the list of its samples."""
        samples = [self.make(number) for number in range(13)]
        self.build(path, 10, batch_size=4).close()
        dataset = self.cls(path)
        dataset[3] = samples[3] = self.make(39)
        del dataset[5], samples[5]
        dataset.flush()
        dataset.extend(samples[9:])
        dataset[-1] = samples[-1] = self.make(42)
        del dataset[:2], samples[:2]
        return dataset, samples


KINDS = {
    "strings": Kind(StringsMmap, words),
    "zstd": Kind(StringsMmap, words, {"zstd_level": 1}),
    "bytes": Kind(BytesMmap, lambda number: bytes([number % 256]) * (number % 5)),
    "array": Kind(ArrayMmap, lambda number: np.array([number, -number], np.int32)),
    "scalars": Kind(ArrayMmap, lambda number: np.float64(number)),
    "ragged": Kind(RaggedMmap, lambda number: np.arange(number, number + number % 4)),
    "images": Kind(RaggedMmap, lambda number: np.full((number % 3 + 1, 2), number, np.uint16)),
    "mixed": Kind(RaggedMmap, of_mixed_rank),
    "records": Kind(RecordsMmap, record, {"columns": RECORD_COLUMNS}),
}


def plain(value):
    """Samples, or what else has arrays in it, as values that can be compared; a dtype and an empty shape count, too."""
    if isinstance(value, np.ndarray | np.generic):
        return (value.dtype.str, value.shape, value.tobytes())
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    return value
