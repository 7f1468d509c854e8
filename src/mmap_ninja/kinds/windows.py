"""Windows of fixed length over the first axis of ragged samples."""

import operator
import sys
from collections.abc import Iterator
from typing import Any, Self, TypeVar

import numpy as np
import numpy.typing as npt

from mmap_ninja._kernel import Column, column_of
from mmap_ninja.columns.casting import AnyArray, asked_dtype
from mmap_ninja.exported import exported
from mmap_ninja.kinds.handle import DatasetHandle
from mmap_ninja.kinds.indices import clipped, resolved
from mmap_ninja.kinds.sequence import Indices, SampleSequence
from mmap_ninja.kinds.state import Positions, among

T = TypeVar("T")


class WindowSequence(SampleSequence[T]):
    """Windows of any form, of the snapshot that the dataset had then."""

    _items = "windows"
    _describes = False  # whether they say where documents begin

    def __init__(
        self,
        samples: DatasetHandle[AnyArray],
        length: int,
        stride: int | None = None,
        within_samples: bool = False,
        selection: range | Positions | None = None,
    ) -> None:
        self.length: int = operator.index(length)
        self.stride: int = self.length if stride is None else operator.index(stride)
        if self.length < 1 or self.stride < 1:
            raise ValueError(f"windows: length {length}, stride {stride}: expected at least 1 each")
        self.within_samples = within_samples
        self._samples = samples
        super().__init__(str(samples.path))
        elements = column_of(samples)
        shape = [min(self.length, sys.maxsize), *_trailing(elements, f"{samples.path}: windows")]
        # Any stride that is longer than all samples gives their first windows.
        column = elements.windows(shape, min(self.stride, sys.maxsize), within_samples, documents=self._describes)
        self._selection: range | Positions = range(len(column)) if selection is None else selection
        if isinstance(selection, range):
            column = column.selected_range(selection.start, selection.step, len(selection))
        elif selection is not None:
            column = column.selected(selection)
        self._show_column(column, None)

    def select(self, indices: Indices) -> Self:
        """A view of some windows; nothing is read.

        Args:
            indices: Integers in any order, also repeated, negative ones counted from the end; a boolean mask; or a
                slice.

        Raises:
            IndexError: if an index is out of range.

        Example:
            >>> import mmap_ninja as mn
            >>> windows = mn.RaggedMmap.from_lists("rows", [[1, 2, 3], [4, 5, 6, 7]]).windows(2)
            >>> validation = windows.select(slice(2, None))
            >>> len(validation), validation[0].tolist()
            (1, [5, 6])
        """
        column = column_of(self)
        if isinstance(indices, slice):
            key = clipped(indices, len(column))
            chosen = range(len(column))[key]
            column = column.selected_range(chosen.start, chosen.step, len(chosen))
            selection = self._selection[key]
        else:
            at = resolved(indices, len(column), self._items)
            column, selection = column.selected(at), among(self._selection, at)
        view = type(self).__new__(type(self))  # not by the constructor, which looks where all samples are
        vars(view).update(vars(self), _selection=selection)
        SampleSequence.__init__(view, str(self._samples.path))
        view._show_column(column, None)  # noqa: SLF001 - of the same class
        return view

    def _arrays(self, at: Positions, out: AnyArray | None, dtype: npt.DTypeLike | None) -> AnyArray:
        """Windows as one array."""
        asked = None if dtype is None else asked_dtype(dtype, out, f"{self._samples.path}: windows")
        return self._take_rows_as(at, out, asked)[0]

    def __repr__(self) -> str:
        where = ", within_samples=True" if self.within_samples else ""
        return (
            f"{type(self).__name__}({str(self._samples.path)!r}, {len(self)} windows of {self.length}, "
            f"stride {self.stride}{where})"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._samples, self.length, self.stride, self.within_samples, self._selection)


@exported
class Windows(WindowSequence[AnyArray]):
    """Windows, from `RaggedMmap.windows`: read-only `[length, ...]`, of the snapshot that the dataset had then.

    They are views, or copies if they overlap.

    Args:
        samples: The dataset, or a view of it.
        length: Elements of the first axis per window.
        stride: Elements from the start of one window to the next; None: `length`.
        within_samples: Whether each window stays within one sample. If not, the samples are one sequence of tokens.
        selection: Positions of its windows among all of them; None: all.

    Example:
        >>> import mmap_ninja as mn
        >>> rows = mn.RaggedMmap.from_lists("rows", [[1, 2, 3], [4, 5]])
        >>> rows.windows(2).take([0, 1]).tolist()
        [[1, 2], [3, 4]]
        >>> [window.tolist() for window in rows.windows(2, 1, within_samples=True)]
        [[1, 2], [2, 3], [4, 5]]
    """

    def take(  # type: ignore[override]
        self, indices: Indices, out: AnyArray | None = None, *, dtype: npt.DTypeLike | None = None
    ) -> AnyArray:
        """Many windows as one array, in one native call.

        Args:
            indices: Integers in any order, also repeated, negative ones counted from the end; a boolean mask; or a
                slice.
            out: The array to fill: `[len(indices), length, ...]` of a dtype that holds the values.
            dtype: The dtype of the array, which must hold the values; None: that of `out`, else the dataset's.

        Returns:
            `[len(indices), length, ...]`, owned and writable; or `out`.

        Raises:
            IndexError: if an index is out of range.
            ValueError: if `out` has the wrong shape or dtype, or its dtype or `dtype` does not hold a value.
            TypeError: if the dataset's dtype does not go into `dtype`.

        Example:
            >>> import numpy as np
            >>> import mmap_ninja as mn
            >>> windows = mn.RaggedMmap.from_lists("rows", [[1, 2, 3], [4, 5, 6, 7]]).windows(3)
            >>> windows.take([1, 0], dtype=np.int32)
            array([[4, 5, 6],
                   [1, 2, 3]], dtype=int32)
        """
        return self._arrays(resolved(indices, len(self), self._items), out, dtype)

    def __getitems__(self, indices: Indices) -> list[AnyArray]:
        """A batch for PyTorch's DataLoader, which calls this."""
        return list(self.take(indices))

    def _matches(self, value: object, start: int, stop: int) -> Iterator[int]:
        return (position for position in range(start, stop) if np.array_equal(self[position], np.asarray(value)))


def common_rank(column: Column) -> int | None:
    """The rank of all samples; None if they have several."""
    if column.rank is not None:
        return column.rank
    ranks = np.unique(column.shape_table(0))
    return int(ranks[0]) if len(ranks) == 1 else None


def _trailing(column: Column, where: str) -> list[int]:
    """The extents of the samples after the first axis, which must be the same for all.

    Raises:
        ValueError: if they are not, or samples are scalars, or have no elements.
    """
    rank = common_rank(column) if len(column) else 1
    if not rank:
        ranks = "several ranks" if rank is None else "rank 0"
        raise ValueError(f"{where}: expected samples of one rank, at least 1, found {ranks}")
    if rank == 1:
        return []
    shapes, is_null = column.shape_table(rank), column.null_mask(None)
    found = np.unique(shapes[:, 1:] if is_null is None else shapes[~is_null, 1:], axis=0).tolist()
    extents: list[int] = found[0] if found else [0] * (rank - 1)  # all samples are null
    if len(found) > 1 or (found and 0 in extents):
        told = " and ".join(f"(*, {', '.join(map(str, of))})" for of in found[:2])
        raise ValueError(
            f"{where}: expected samples that differ in the first axis only, and have elements, found {told}"
        )
    return extents
