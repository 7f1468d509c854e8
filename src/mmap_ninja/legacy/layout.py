"""What a directory of mmap_ninja 0.x holds and where, as `mmap_ninja.legacy.read` finds it."""

import math
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np

from mmap_ninja.exported import exported

Kind = Literal["strings", "array", "ragged"]
Order = Literal["C", "F"]


@dataclass(frozen=True, slots=True)
class LayoutFile:
    """One file: its name, relative to the dataset's directory, and how many of its first bytes are the samples'."""

    name: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class FlatShapes:
    """Shapes of samples that all have the same rank: int64 [rows, ndim], in C order."""

    file: LayoutFile
    ndim: int


@dataclass(frozen=True, slots=True)
class NestedShapes:
    """Shapes of samples of any rank: row i is the int64 `data[starts[i]:ends[i]]`."""

    data: LayoutFile
    starts: LayoutFile
    ends: LayoutFile


@dataclass(frozen=True, slots=True)
class Compression:
    """How each string is a zstd frame; the level matters for new ones only."""

    level: int
    dictionary: bytes | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class LegacyLayout:
    """What a directory of 0.x holds and where, so that it can be mapped.

    Sample i of strings is the bytes `starts[i]:ends[i]` of the payload, of ragged ones these elements; both are native
    int64. Only the ends of the offsets have been looked at: who reads a sample checks its own two.

    A ragged sample of shape `(0,)` that has one element is a scalar: 0.x stored no other shape for it.
    """

    kind: Kind
    rows: int
    dtype: np.dtype[Any] | None  # None for strings
    sample_shape: tuple[int, ...] | None  # of arrays only
    order: Order  # of the whole array, rows included, not of one sample
    payload: LayoutFile
    starts: LayoutFile | None  # None for arrays, and so are ends
    ends: LayoutFile | None
    shapes: FlatShapes | NestedShapes | None  # of ragged only
    compression: Compression | None
    leftovers: tuple[str, ...]  # files with more bytes than the samples': an append was interrupted there

    @property
    def strides(self) -> list[int]:
        """Bytes between the elements of one sample of an array, per dimension; none where that is in C order."""
        if self.order == "C" or not self.sample_shape or not self.payload.size_bytes or self.dtype is None:
            return []
        extents = (self.rows, *self.sample_shape[:-1])
        return [math.prod(extents[: k + 1]) * self.dtype.itemsize for k in range(len(extents))]


@exported
class Keys(NamedTuple):
    """The directories of the arrays beside the payload, which the user may have named."""

    starts: str = "starts"
    ends: str = "ends"
    shapes: str = "shapes"
    flattened_shapes: str = "flattened_shapes"
