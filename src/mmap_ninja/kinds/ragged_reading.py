"""Reading samples of any shape: shapes, jagged and padded batches, windows."""

import operator
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal, Self, cast, get_args, overload

import numpy as np
import numpy.typing as npt

from mmap_ninja._kernel import column_of
from mmap_ninja.arrow import export
from mmap_ninja.columns import specs
from mmap_ninja.columns import types as stored
from mmap_ninja.columns.batch import Batch
from mmap_ninja.columns.casting import AnyArray, as_array, asked_dtype, fitted, held_by
from mmap_ninja.exported import exported
from mmap_ninja.kinds.document_windows import DocumentWindows
from mmap_ninja.kinds.handle import DatasetHandle
from mmap_ninja.kinds.indices import is_index, resolved, several
from mmap_ninja.kinds.nulls import BY_COLUMN, exactly
from mmap_ninja.kinds.sequence import Indices
from mmap_ninja.kinds.state import Positions
from mmap_ninja.kinds.windows import Windows, common_rank

DTypeLike = npt.DTypeLike
Wrapper = Callable[[AnyArray], Any]
Extents = int | Sequence[int | None] | None
Side = Literal["right", "left"]
Lengths = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

_SIDES: Final = get_args(Side)


class RaggedHandle(DatasetHandle[AnyArray]):
    """Arrays of one dtype, and of any shape and rank."""

    _kind = "ragged"
    _sample = "ragged"

    if TYPE_CHECKING:  # as in all kinds, also of lists of numbers

        def append(self, sample: npt.ArrayLike) -> None: ...  # noqa: D102
        def extend(self, samples: Iterable[npt.ArrayLike], verbose: bool = False) -> None: ...  # noqa: D102

    @property
    def wrapper_fn(self) -> Wrapper | None:
        """The function that is called with each sample that is returned.

        Example:
            >>> import mmap_ninja as mn
            >>> rows = mn.RaggedMmap.from_lists("rows", [[1, 2], [3]], wrapper_fn=sum)
            >>> int(rows[0]), rows.wrapper_fn is sum
            (3, True)
        """
        return self._options.wrapper_fn

    @property
    def copy_before_wrapper_fn(self) -> bool:
        """Whether `wrapper_fn` gets a writable copy.

        Example:
            >>> import mmap_ninja as mn
            >>> mn.RaggedMmap.from_lists("rows", [[1, 2], [3]]).copy_before_wrapper_fn
            True
        """
        return self._options.copy_before_wrapper_fn

    @property
    def dtype(self) -> np.dtype[Any] | None:
        """The samples' dtype; None before the first one.

        Example:
            >>> import mmap_ninja as mn
            >>> mn.RaggedMmap.from_lists("rows", [[1, 2], [3]], dtype="int32").dtype
            dtype('int32')
        """
        return column_of(self).dtype

    def _described(self) -> str:
        for column in self._state.columns:
            if isinstance(column.type, stored.Ragged) and column.type.dtype is not None:
                least, greatest = column.type.ranks or (None, None)
                rank = least if least == greatest else column.type.ndim
                return f"; {specs.short(specs.Ragged(column.type.dtype, rank, nullable=column.type.nullable))}"
        return ""

    @property
    def _unit(self) -> int:
        return self.dtype.itemsize if self.dtype else 1

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """`len(sample)` of each sample: int64 `[n]`, a new array.

        Raises:
            TypeError: if a sample is a scalar, which has no length.

        Example:
            >>> import mmap_ninja as mn
            >>> mn.RaggedMmap.from_lists("rows", [[1, 2, 3], [4], []]).lengths
            array([3, 1, 0])
        """
        column = column_of(self)  # one snapshot: other threads may append
        if column.rank == 1:
            return column.sizes()
        lengths = column.shape_table(1)[:, 0]
        if (lengths < 0).any():
            raise TypeError(f"{self.path}: sample {int(np.argmin(lengths))} is a scalar, which has no length")
        return lengths

    @property
    def shapes(self) -> "npt.NDArray[np.int64] | Shapes":
        """The samples' shapes: int64 `[n, ndim]`, a new array; or a sequence of tuples, if the ranks differ.

        Example:
            >>> import numpy as np
            >>> import mmap_ninja as mn
            >>> mn.RaggedMmap.from_lists("photos", [np.zeros((4, 3)), np.zeros((2, 5))]).shapes
            array([[4, 3],
                   [2, 5]])
            >>> mn.RaggedMmap.from_lists("mixed", [[1, 2], [[3]]]).shapes[:]
            [(2,), (1, 1)]
        """
        column = column_of(self)
        rank = common_rank(column)
        return column.shape_table(rank) if rank else Shapes(self)

    @property
    def flattened_shapes(self) -> npt.NDArray[np.int64]:
        """How many elements each sample has: int64 `[n]`, a new array.

        Example:
            >>> import numpy as np
            >>> import mmap_ninja as mn
            >>> mn.RaggedMmap.from_lists("photos", [np.zeros((4, 3)), np.zeros((2, 5))]).flattened_shapes
            array([12, 10])
        """
        return column_of(self).sizes()

    @property
    def starts(self) -> npt.NDArray[np.uint64]:
        """Where each sample starts in `memmap`, in elements: uint64 `[n]`, a read-only view of the map.

        Example:
            >>> import mmap_ninja as mn
            >>> mn.RaggedMmap.from_lists("rows", [[1, 2, 3], [4]]).starts
            array([0, 3], dtype=uint64)
        """
        return column_of(self).bounds()[0]

    @property
    def ends(self) -> npt.NDArray[np.uint64]:
        """Where each sample ends in `memmap`, in elements: uint64 `[n]`, a read-only view of the map.

        Example:
            >>> import mmap_ninja as mn
            >>> mn.RaggedMmap.from_lists("rows", [[1, 2, 3], [4]]).ends
            array([3, 4], dtype=uint64)
        """
        return column_of(self).bounds()[1]

    @property
    def memmap(self) -> AnyArray:
        """The elements of all samples back to back, in one dimension: a read-only view of the map.

        Example:
            >>> import mmap_ninja as mn
            >>> mn.RaggedMmap.from_lists("rows", [[1, 2, 3], [4]]).memmap
            array([1, 2, 3, 4])
        """
        column = column_of(self)
        return column.flat() if column.dtype else np.empty(0)

    def take_jagged(self, indices: Indices) -> tuple[AnyArray, npt.NDArray[np.int64]]:
        """Many samples back to back, without an array for each.

        Args:
            indices: Integers in any order, also repeated, negative ones counted from the end; a boolean mask; or a
                slice.

        Returns:
            `(values, offsets)`: `[total, ...]` of this dtype and int64 `[len(indices) + 1]`, both owned and writable.
            Sample k is `values[offsets[k]:offsets[k + 1]]`.

        Raises:
            IndexError: if an index is out of range.
            ValueError: if the samples differ in their trailing dimensions, or are scalars.

        Example:
            >>> import mmap_ninja as mn
            >>> rows = mn.RaggedMmap.from_lists("rows", [[1, 2, 3], [4], [5, 6]])
            >>> rows.take_jagged([2, 0])
            (array([5, 6, 1, 2, 3]), array([0, 2, 5]))
        """
        return self._take_jagged(indices)

    @overload
    def take_padded(
        self,
        indices: Indices,
        value: Any = ...,
        length: Extents = ...,
        multiple_of: Extents = ...,
        out: AnyArray | None = ...,
        *,
        dtype: DTypeLike | None = ...,
        side: Side = ...,
        mask: Literal[False] = ...,
    ) -> tuple[AnyArray, Lengths]: ...
    @overload
    def take_padded(
        self,
        indices: Indices,
        value: Any = ...,
        length: Extents = ...,
        multiple_of: Extents = ...,
        out: AnyArray | None = ...,
        *,
        dtype: DTypeLike | None = ...,
        side: Side = ...,
        mask: Literal[True],
    ) -> tuple[AnyArray, Lengths, Mask]: ...
    def take_padded(
        self,
        indices: Indices,
        value: Any = 0,
        length: Extents = None,
        multiple_of: Extents = None,
        out: AnyArray | None = None,
        *,
        dtype: DTypeLike | None = None,
        side: Side = "right",
        mask: bool = False,
    ) -> tuple[AnyArray, Lengths] | tuple[AnyArray, Lengths, Mask]:
        """Many samples as one array: each is padded in every dimension.

        Args:
            indices: Integers in any order, also repeated, negative ones counted from the end; a boolean mask; or a
                slice.
            value: The padding; 0 is the zero of any dtype (of texts, the empty text).
            length: Size to pad to: a number for the first dimension, or one for each dimension; None: the largest size
                in the batch. Longer samples are cut off.
            multiple_of: Round the size up to a multiple of this: a number for the first dimension, or one for each
                dimension; None: do not round.
            out: The array to fill, of the resulting shape and a dtype that holds the values.
            dtype: The dtype of the array, which must hold the values; None: that of `out`, else the dataset's.
            side: Where the padding is. "right": after each sample. "left": before it, as a language model that
                generates text needs it; samples that are too long are still cut off at their end.
            mask: Whether to return a mask as well, as an attention layer needs it.

        Returns:
            `(array, lengths)`, or with `mask=True` `(array, lengths, mask)`: `[len(indices), ...]`; the size of each
            sample: int64 `[len(indices)]`, or `[len(indices), ndim]` for samples of several dimensions; and booleans of
            the shape of the array, True where a sample is and False where padding is.

        Raises:
            IndexError: if an index is out of range.
            ValueError: if the samples have several ranks, or are scalars; if `out` has the wrong shape or dtype, or its
                dtype or `dtype` does not hold a value.
            TypeError: if the dtype cannot hold the padding, or the dataset's dtype does not go into `dtype`.

        Example:
            >>> import mmap_ninja as mn
            >>> rows = mn.RaggedMmap.from_lists("rows", [[1, 2, 3], [4], [5, 6]])
            >>> batch, lengths, mask = rows.take_padded([1, 2], value=-1, multiple_of=4, side="left", mask=True)
            >>> batch
            array([[-1, -1, -1,  4],
                   [-1, -1,  5,  6]])
            >>> lengths.tolist(), mask[0].tolist()
            ([1, 2], [False, False, False, True])
        """
        check_side(side)
        asked = None if dtype is None else asked_dtype(dtype, out, f"{self.path}: take_padded")
        extents = extents_of(length, "length"), extents_of(multiple_of, "multiple_of")
        fill = partial(self._fill, value)
        return self._take_padded(indices, fill, *extents, out, asked, side == "left", bool(mask))

    def _fill(self, value: Any, dtype: np.dtype[Any]) -> AnyArray:
        """The padding in the dtype of the batch, which the kernel knows: another thread may have moved the handle."""
        if type(value) is int and value == 0:
            return np.zeros((), dtype)
        where = f"{self.path}: take_padded: value"
        array = as_array(value, where, 0)
        if array.ndim:
            raise ValueError(f"{where}: expected one number, got shape {array.shape}")
        fill = fitted(value, array, dtype, declared=True)
        if not isinstance(fill, np.ndarray):
            raise TypeError(
                f"{where}: dtype {held_by(dtype)} cannot hold {value!r:.80}; choose another value, or pass a dtype= "
                "that holds it"
            )
        return fill

    @overload
    def windows(
        self,
        length: int,
        stride: int | None = ...,
        *,
        within_samples: bool = ...,
        documents: Literal[False] = ...,
    ) -> Windows: ...
    @overload
    def windows(
        self, length: int, stride: int | None = ..., *, within_samples: bool = ..., documents: Literal[True]
    ) -> DocumentWindows: ...
    def windows(
        self, length: int, stride: int | None = None, *, within_samples: bool = False, documents: bool = False
    ) -> Windows | DocumentWindows:
        """Runs of `length` elements along the first axis, for training language models, or on audio: a lazy sequence.

        Args:
            length: Elements of the first axis per window.
            stride: Elements from the start of one window to the next; None: `length`.
            within_samples: Whether each window stays within one sample. If not, the samples are one sequence of tokens.
            documents: Whether windows say which of their elements are of one sample, for attention within documents.

        Returns:
            A sequence of read-only arrays `[length, ...]`, views unless they overlap, whose `take(indices)` gives
            `[len(indices), length, ...]`. A rest at the end, or at the end of each sample, is left out. With
            `documents`, a sequence of dicts: see `DocumentWindows.take`.

        Raises:
            ValueError: if samples differ in more than the first axis, or are scalars; or, unless `within_samples`, if
                samples were edited since the last `compact`, or this is a view by steps or indices.

        Example:
            >>> import mmap_ninja as mn
            >>> tokens = mn.RaggedMmap.from_lists("tokens", [[1, 2, 3], [4, 5], [6]])
            >>> tokens.windows(2)
            Windows('.../tokens', 3 windows of 2, stride 2)
            >>> tokens.windows(2)[1]
            array([3, 4])
        """
        kind = DocumentWindows if documents else Windows
        return kind(self._unwrapped(), length, stride, within_samples)

    def _exported(self) -> dict[str, Any]:
        return export.one_column(column_of(self).unwrapped(), self.path)

    def _matches(self, value: object, start: int, stop: int) -> Iterator[int]:
        """Positions of the samples with the shape and all elements of a value."""
        try:
            wanted = np.asarray(value)
        except ValueError:
            return
        stored = column_of(self).unwrapped()
        sizes = stored.sizes()[start:stop]
        for position in (start + np.flatnonzero(sizes == wanted.size)).tolist():
            if stored.shape_of(position) != wanted.shape:
                continue
            try:
                equal = np.array_equal(stored.take([position])[0], wanted)
            except TypeError:  # structured dtypes that cannot be compared
                return
            if equal:
                yield position

    def _unwrapped(self) -> Self:
        """A view of the same samples without `wrapper_fn`."""
        if self.wrapper_fn is None:
            return self.select(slice(None))
        column, state = self._moment()
        return self._view_of(column.unwrapped(), state, slice(None), replace(self._options, wrapper_fn=None))

    def _raw(self) -> tuple[Self, dict[str, Any]]:
        return self._unwrapped(), {
            "wrapper_fn": self.wrapper_fn,
            "copy_before_wrapper_fn": self.copy_before_wrapper_fn,
        }

    def _checked_fill(self, value: object) -> AnyArray:
        column = column_of(self)
        assert column.dtype is not None  # noqa: S101 - nullable columns are declared
        fill = exactly(value, column.dtype, self._where)
        if column.rank not in (None, fill.ndim):
            raise TypeError(f"{self._where}: fill: expected rank {column.rank}, got shape {fill.shape}; {BY_COLUMN}")
        return fill

    def _check_replacements(self, batch: Batch[AnyArray], at: Positions) -> None:
        column = column_of(self)
        for position, sample in zip(at.tolist(), cast("list[Any]", batch), strict=True):
            shape = column.shape_of(position)
            if np.ndim(sample) != len(shape):
                raise ValueError(
                    f"{self.path}: sample {position} has shape {shape}, its replacement has rank {np.ndim(sample)}; "
                    f"give it rank {len(shape)}, or delete the sample and append"
                )


@exported
class Shapes(Sequence[tuple[int, ...]]):
    """The shapes of samples of several ranks: a sequence of tuples, read on access."""

    def __init__(self, samples: "RaggedHandle") -> None:
        self._samples = samples.select(slice(None))
        self._column = column_of(self._samples)

    def __len__(self) -> int:
        return len(self._column)

    @overload
    def __getitem__(self, index: int) -> tuple[int, ...]: ...
    @overload
    def __getitem__(self, index: Indices) -> list[tuple[int, ...]]: ...
    def __getitem__(self, index: int | Indices) -> tuple[int, ...] | list[tuple[int, ...]]:
        at = resolved([operator.index(index)] if is_index(index) else several(index), len(self))
        shapes = [self._column.shape_of(position) for position in at.tolist()]
        return shapes[0] if is_index(index) else shapes

    def __reduce__(self) -> tuple[Any, ...]:
        return Shapes, (self._samples,)


def check_side(side: str) -> None:
    """Raise ValueError for an unknown side."""
    if side not in _SIDES:
        raise ValueError(f"side {side!r} is unknown (expected one of {_SIDES})")


def extents_of(given: Extents, name: str) -> list[int]:
    """Sizes as the kernel takes them: -1 for a dimension that is as large as the batch needs."""
    if given is None:
        return []
    try:
        each = given if isinstance(given, Iterable) else [given]
        extents = [None if extent is None else operator.index(extent) for extent in each]
    except TypeError:
        raise TypeError(f"{name} {given!r:.80}: expected an integer, or one or None for each dimension") from None
    if any(extent is not None and extent < (name == "multiple_of") for extent in extents):
        raise ValueError(f"{name} {given!r}: expected at least {int(name == 'multiple_of')}")
    return [-1 if extent is None else min(extent, sys.maxsize) for extent in extents]
