"""The content of a directory of mmap_ninja 0.x, as found by `mmap_ninja.legacy.read`."""

import math
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np

from mmap_ninja.exported import exported

Kind = Literal["strings", "array", "ragged"]
Order = Literal["C", "F"]


@dataclass(frozen=True, slots=True)
class LayoutFile:
    """A file: its name relative to the dataset's directory, and how many of its first bytes belong to samples."""

    name: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class FlatShapes:
    """Shapes of samples of one rank: int64 [rows, ndim], in C order."""

    file: LayoutFile
    ndim: int


@dataclass(frozen=True, slots=True)
class NestedShapes:
    """Shapes of samples of any rank: that of row i is the int64 `data[starts[i]:ends[i]]`."""

    data: LayoutFile
    starts: LayoutFile
    ends: LayoutFile


@dataclass(frozen=True, slots=True)
class Compression:
    """How strings are compressed, each as a zstd frame; the level only matters for new ones."""

    level: int
    dictionary: bytes | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class LegacyLayout:
    """The content of a directory of 0.x, and where it is.

    Sample i of strings is the bytes `starts[i]:ends[i]` of the payload, a ragged sample these elements; both are native
    int64. Only the first and last offsets have been checked: each read checks the two of its sample.

    A ragged sample with shape `(0,)` and one element is a scalar: 0.x stored scalars like this.
    """

    kind: Kind
    rows: int
    dtype: np.dtype[Any] | None  # None for strings
    sample_shape: tuple[int, ...] | None  # only for arrays
    order: Order  # of the whole array including the rows, not of one sample
    payload: LayoutFile
    starts: LayoutFile | None  # None for arrays, as `ends`
    ends: LayoutFile | None
    shapes: FlatShapes | NestedShapes | None  # only for ragged samples
    compression: Compression | None
    leftovers: tuple[str, ...]  # files with more bytes than the samples need, from an interrupted append

    @property
    def strides(self) -> list[int]:
        """Bytes between the elements of a sample of an array, per dimension; empty for C order."""
        if self.order == "C" or not self.sample_shape or not self.payload.size_bytes or self.dtype is None:
            return []
        extents = (self.rows, *self.sample_shape[:-1])
        return [math.prod(extents[: k + 1]) * self.dtype.itemsize for k in range(len(extents))]


@exported
class Keys(NamedTuple):
    """The directories of the arrays beside the payload; users could choose the names."""

    starts: str = "starts"
    ends: str = "ends"
    shapes: str = "shapes"
    flattened_shapes: str = "flattened_shapes"
