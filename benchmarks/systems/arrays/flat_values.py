"""Ragged samples kept by hand, as one flat array of values and one of shapes, in whatever gives slices of it."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from workloads import offsets_of

READ_AHEAD = 1000  # samples per read in order


class Slices:
    """Samples cut out of flat values."""

    def __init__(self, values: Any, shapes: np.ndarray) -> None:
        self.values = values
        self.offsets = offsets_of(shapes).tolist()
        self.shapes = list(map(tuple, shapes.tolist()))

    def __len__(self) -> int:
        return len(self.shapes)

    def __getitem__(self, index: int) -> np.ndarray:
        return self.values[self.offsets[index] : self.offsets[index + 1]].reshape(self.shapes[index])

    def __iter__(self) -> Iterator[np.ndarray]:
        for first in range(0, len(self), READ_AHEAD):
            last = min(first + READ_AHEAD, len(self))
            block = self.values[self.offsets[first] : self.offsets[last]]
            bounds = pairwise(offset - self.offsets[first] for offset in self.offsets[first : last + 1])
            for (start, end), shape in zip(bounds, self.shapes[first:last], strict=True):
                yield block[start:end].reshape(shape)

    def batches(self, batches: Sequence[list[int]]) -> Iterator[list[np.ndarray]]:
        """Read each sample of each batch by itself: what lies between two of them is not wanted."""
        for batch in batches:
            yield [self[index] for index in batch]


def in_blocks(array: Any, length: int) -> Iterator[np.ndarray]:
    """Go through an array of fixed shapes, block by block."""
    for first in range(0, length, READ_AHEAD):
        yield from array[first : first + READ_AHEAD]


def flat(samples: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return the values of all samples one after the other, and their shapes."""
    values = np.concatenate([sample.reshape(-1) for sample in samples])
    return values, np.array([sample.shape for sample in samples])
