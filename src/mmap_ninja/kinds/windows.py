"""Windows of fixed length over the elements of 1-D samples."""

import operator
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from mmap_ninja._kernel import Column, column_of
from mmap_ninja.columns.casting import AnyArray
from mmap_ninja.exported import exported
from mmap_ninja.kinds.handle import DatasetHandle
from mmap_ninja.kinds.indices import is_index, resolved, several
from mmap_ninja.kinds.sequence import Indices

_AT_ONCE = 1024  # windows whose places are computed together


@exported
class Windows(Sequence[AnyArray]):
    """Windows, from `RaggedMmap.windows`: read-only `[length]`, of the snapshot that the dataset had then.

    They are views, or copies if they overlap.

    Args:
        samples: The dataset, or a view of it.
        length: Elements per window.
        within_samples: Whether each window stays within one sample. If not, the samples are one sequence of tokens.

    Example:
        >>> from mmap_ninja import RaggedMmap
        >>> rows = RaggedMmap.from_lists("rows", [[1, 2, 3], [4, 5]])
        >>> rows.windows(2).take([0, 1]).tolist()
        [[1, 2], [3, 4]]
        >>> [window.tolist() for window in rows.windows(2, 1, within_samples=True)]
        [[1, 2], [2, 3], [4, 5]]
    """

    def __init__(self, samples: DatasetHandle[Any], length: int, stride: int, *, within_samples: bool) -> None:
        if length < 1 or stride < 1:
            raise ValueError(f"windows: length {length}, stride {stride}: expected at least 1 each")
        self._samples = samples
        self.length = length
        self.stride = stride
        self.within_samples = within_samples
        if not within_samples:
            self._first = self._first_element()

    def _first_element(self) -> int:
        try:
            starts, _ = self._column.selected_range(0, 1, min(len(self._samples), 1)).bounds()
        except AttributeError:
            raise ValueError(
                f"{self._samples.path}: windows: a view by steps or indices is not contiguous in the payload; pass "
                "within_samples=True, or take the windows of the whole dataset"
            ) from None
        return int(starts[0]) if len(starts) else 0

    @cached_property
    def _column(self) -> Column:
        return column_of(self._samples)

    @cached_property
    def _before(self) -> npt.NDArray[np.int64]:
        """Number of windows in the samples before each, and in all: `[n + 1]`."""
        fitting = (self._column.sizes() - self.length) // self.stride + 1
        return np.concatenate([[0], np.cumsum(np.maximum(fitting, 0))])

    @cached_property
    def _sample_starts(self) -> npt.NDArray[np.int64]:
        return self._column.element_starts()

    @cached_property
    def _count(self) -> int:
        if self.within_samples:
            return int(self._before[-1])
        count = len(self._samples)
        _, ends = self._column.selected_range(max(count - 1, 0), 1, min(count, 1)).bounds()
        elements = int(ends[0]) - self._first if len(ends) else 0
        return max((elements - self.length) // self.stride + 1, 0)

    def _starts(self, indices: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The starts of windows in the payload, in elements."""
        if not self.within_samples:
            return self._first + indices * self.stride
        samples = np.searchsorted(self._before, indices, side="right") - 1
        return self._sample_starts[samples] + (indices - self._before[samples]) * self.stride

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[AnyArray]:
        # Another selection of the samples, so that each pass starts on a private map that nothing was written to.
        column = self._column.selected_range(0, 1, len(self._column))
        for first in range(0, len(self), _AT_ONCE):
            starts = self._starts(np.arange(first, min(first + _AT_ONCE, len(self))))
            yield from (self._window(column, start) for start in starts.tolist())

    def take(self, indices: Indices, out: AnyArray | None = None) -> AnyArray:
        """Many windows as one array, in one native call.

        Args:
            indices: Integers in any order, also repeated, negative ones counted from the end; a boolean mask; or a
                slice.
            out: The array to fill: `[len(indices), length]` of the dataset's dtype.

        Returns:
            `[len(indices), length]`, owned and writable; or `out`.

        Raises:
            IndexError: if an index is out of range.
            ValueError: if `out` has the wrong shape or dtype.
        """
        at = resolved(indices, len(self), "windows")
        if self._column.dtype is None:
            return np.empty((0, self.length)) if out is None else out
        return self._column.take_windows(self._starts(at), self.length, out)

    def __getitems__(self, indices: Indices) -> list[AnyArray]:
        """A batch for PyTorch's DataLoader, which calls this."""
        return list(self.take(indices))

    @overload  # type: ignore[override]
    def __getitem__(self, index: int) -> AnyArray: ...
    @overload
    def __getitem__(self, index: Indices) -> AnyArray: ...
    def __getitem__(self, index: Any) -> AnyArray:
        if not is_index(index):
            return self.take(several(index))
        (start,) = self._starts(resolved([operator.index(index)], len(self), "windows")).tolist()
        return self._window(self._column, start)

    def _window(self, column: Column, start: int) -> AnyArray:
        """A view; a copy if windows overlap, since what is written to one must not be in the next."""
        if self.stride >= self.length or column.dtype is None:
            return column.flat(start, self.length)
        window: AnyArray = column.take_windows(np.array([start]), self.length, None)[0]
        window.flags.writeable = False
        return window

    def __repr__(self) -> str:
        where = ", within_samples=True" if self.within_samples else ""
        return (
            f"Windows({str(self._samples.path)!r}, {len(self)} windows of {self.length}, stride {self.stride}{where})"
        )

    def __getstate__(self) -> dict[str, Any]:
        return {
            name: value
            for name, value in vars(self).items()
            if name not in ("_column", "_before", "_sample_starts", "_count")
        }
