"""Reading samples of one shape as one array, by NumPy's rules and protocols."""

import math
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mmap_ninja import _kernel
from mmap_ninja._kernel import Column, column_of
from mmap_ninja.columns import foreign, specs
from mmap_ninja.columns.batch import Batch
from mmap_ninja.columns.casting import AnyArray
from mmap_ninja.columns.dtypes import DType
from mmap_ninja.kinds.comparing import Compare, Comparing, Mask, except_nulls
from mmap_ninja.kinds.handle import DatasetHandle
from mmap_ninja.kinds.indices import clipped, is_index
from mmap_ninja.kinds.nulls import BY_COLUMN, Nulls, exactly, masked
from mmap_ninja.kinds.sequence import Indices

DTypeLike = npt.DTypeLike
_CHUNK = 1 << 24  # bytes that are compared at a time
_MOST_AT_ONCE = 1 << 16  # samples of a batch, whose places the kernel lists
# Of dtypes of ml_dtypes, which NumPy does not export: https://github.com/dmlc/dlpack/blob/main/include/dlpack/dlpack.h
_DLPACK_CODES = {
    "bfloat16": 4,
    "float8_e3m4": 7,
    "float8_e4m3": 8,
    "float8_e4m3b11fnuz": 9,
    "float8_e4m3fn": 10,
    "float8_e4m3fnuz": 11,
    "float8_e5m2": 12,
    "float8_e5m2fnuz": 13,
    "float8_e8m0fnu": 14,
}


class ArrayHandle(Comparing, DatasetHandle[AnyArray]):
    """Arrays of one shape and dtype."""

    _kind = "array"
    _sample = "array"

    if TYPE_CHECKING:  # all of NumPy's indexing

        def __getitem__(self, key: Any, /) -> AnyArray: ...  # type: ignore[override]
        def append(self, sample: npt.ArrayLike) -> None: ...  # noqa: D102 - as in all kinds, also of a list of numbers

    @property
    def _array(self) -> AnyArray:
        """All samples as one read-only array; a view of the map, unless this is a view by indices."""
        column = column_of(self)
        # A selection of all, so that it has a private map of its own.
        return _as_array(column.selected_range(0, 1, len(column)), range(len(column)))

    @property
    def dtype(self) -> np.dtype[Any] | None:
        """The samples' dtype; None before the first one.

        Example:
            >>> import mmap_ninja as mn
            >>> import numpy as np
            >>> mn.ArrayMmap.from_ndarray("images", np.zeros((3, 2, 2), np.uint8)).dtype
            dtype('uint8')
        """
        return column_of(self).dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """`(n, ...)`; `(0,)` before the first sample.

        Example:
            >>> import numpy as np
            >>> import mmap_ninja as mn
            >>> mn.ArrayMmap.from_ndarray("images", np.zeros((3, 2, 2))).shape
            (3, 2, 2)
        """
        column = column_of(self)
        return (len(column), *column.sample_shape)

    def _described(self) -> str:
        known = [column.type for column in self._state.columns if column.type.is_known]
        return f"; {specs.short(specs.spec_of(known[0]))}" if known else ""

    @property
    def ndim(self) -> int:
        """Number of dimensions of the array of all samples.

        Example:
            >>> import numpy as np
            >>> import mmap_ninja as mn
            >>> mn.ArrayMmap.from_ndarray("images", np.zeros((3, 2, 2))).ndim
            3
        """
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of elements of all samples.

        Example:
            >>> import numpy as np
            >>> import mmap_ninja as mn
            >>> mn.ArrayMmap.from_ndarray("images", np.zeros((3, 2, 2))).size
            12
        """
        return int(np.prod(self.shape, dtype=object))

    @property
    def _unit(self) -> int:
        return self.size // max(len(self), 1) * (self.dtype.itemsize if self.dtype else 0)

    def _get_many(self, key: Any) -> Any:
        column = column_of(self)
        if is_index(key) or column.null_mask([]) is not None:
            return super()._get_many(key)
        if self._options.mode == "c":
            return self._indexed(column, key).copy()
        if isinstance(key, list) and not any(isinstance(part, bool | np.bool_ | list | tuple) for part in key):
            return self.take(key)
        return self._indexed(column, key)

    def _indexed(self, column: Column, key: Any) -> AnyArray:
        try:
            return _sliced(column, key)
        except IndexError as error:
            if "axis 0" not in str(error):  # what NumPy calls the samples
                raise
            raise IndexError(f"{error}; {self._shown_commit()}") from None

    def take(  # type: ignore[override]
        self, indices: Indices, out: AnyArray | None = None, *, nulls: Nulls = "mask", fill: Any = None
    ) -> AnyArray:
        """The samples at many positions as one array, in one native call.

        Args:
            indices: Integers in any order, also repeated, negative ones counted from the end; a boolean mask; or a
                slice.
            out: The array to fill: `[len(indices), *shape[1:]]` of a dtype that holds the values.
            nulls: What a null of a nullable column becomes. "mask": None in a list; masked in an array, with NaN or NaT
                under the mask where the dtype has one. "raise": a ValueError that names the column and the position.
            fill: A value for nulls, which the column holds exactly; None: as `nulls` says.

        Returns:
            `[len(indices), *shape[1:]]`, owned and writable; or `out`. Of a nullable column of records, a masked array
            over it, unless `nulls` or `fill` says otherwise.

        Raises:
            IndexError: if an index is out of range.
            ValueError: if `out` has the wrong shape, or a dtype that does not hold a value; or if a sample is null and
                `nulls="raise"`.
            TypeError: if the column cannot hold `fill`.

        Example:
            >>> import numpy as np
            >>> import mmap_ninja as mn
            >>> images = mn.ArrayMmap.from_ndarray("images", np.arange(12).reshape(3, 2, 2))
            >>> batch = images.take([2, 0])
            >>> batch.shape, batch[0].tolist()
            ((2, 2, 2), [[8, 9], [10, 11]])
            >>> buffer = np.empty((2, 2, 2), np.float32)
            >>> images.take([2, 0], out=buffer) is buffer
            True
        """
        if nulls == "mask" and fill is None:
            taken, is_null = self._take_rows(indices, out)
            return taken if is_null is None else masked(taken, is_null)
        value = self._value_for_nulls(indices, nulls, fill)
        taken, is_null = self._take_rows(indices, out)
        if value is not None:
            taken[is_null] = value
        return taken

    def _checked_fill(self, value: object) -> AnyArray:
        dtype = column_of(self).dtype
        assert dtype is not None  # noqa: S101 - nullable columns are declared
        fill = exactly(value, dtype, self._where)
        if fill.ndim:
            raise TypeError(f"{self._where}: fill: expected one value, got shape {fill.shape}; {BY_COLUMN}")
        return fill

    def __getitems__(self, indices: Indices) -> list[AnyArray]:
        """A batch for PyTorch's DataLoader, which calls this: a list of samples that share one array."""
        return list(self.take(indices)) if column_of(self).null_mask([]) is None else self._take(indices)

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> AnyArray:
        """All samples as one read-only view of the map, or as a copy for another dtype or with `copy=True`."""
        array = self._array
        self._refuse_nulls(column_of(self))
        if dtype is not None and array.dtype != dtype:
            if copy is False:
                raise ValueError(
                    f"{self.path}: dtype {self.dtype} cannot become {np.dtype(dtype)} without a copy; leave out "
                    "copy=False"
                )
            return array.astype(dtype)
        return array.copy() if copy else array

    def _refuse_nulls(self, column: Column) -> None:
        if (is_null := column.null_mask(None)) is not None and is_null.any():
            raise ValueError(
                f"{self._where}: sample {int(np.argmax(is_null))} is null, and arrays hold no nulls; use "
                "take(slice(None), fill=...), or take(slice(None)) for a masked array"
            )

    def __dlpack__(self, **options: Any) -> Any:
        """All samples for another library: not copied, over a private map; what it writes there is not stored.

        Samples that are not stored one after another are copied.
        """
        column = column_of(self)
        self._refuse_nulls(column)
        copy = options.pop("copy", None)
        whole = None if copy else column.whole(writable=True)
        if whole is None or not whole.flags.c_contiguous:
            if copy is False:
                raise BufferError(f"{self.path}: samples that are not stored in order are copied; leave out copy=False")
            whole = column.take_rows(slice(None), None)[0]
        code = _DLPACK_CODES.get(whole.dtype.name)
        return (whole if code is None else _kernel.exported(whole, code)).__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        """Where the memory is: the CPU's."""
        return (1, 0)

    def _compared(self, value: Any, compare: Compare) -> Mask:
        column = column_of(self)
        mask = np.zeros((len(column), *column.sample_shape), np.bool_)
        if column.dtype is None:
            return mask
        step = min(_samples_at_once(column.dtype, column.sample_shape), _MOST_AT_ONCE)
        for first in range(0, len(column), step):
            # Not a view of them, which could show what another library wrote to it.
            part, _ = column.take_rows(slice(first, first + step), None)
            try:
                mask[first : first + step] = compare(part, value)
            except (TypeError, OverflowError):  # NumPy cannot compare this dtype with the value
                mask[first : first + step] = compare(False, True)  # they are not equal
        return except_nulls(mask, column)

    def _are(self, samples: list[AnyArray], wanted: list[Any]) -> bool:
        return all(map(np.array_equal, samples, wanted)) if self.ndim > 1 else samples == wanted

    def _matches(self, value: object, start: int, stop: int) -> Iterator[int]:
        """Positions of the samples that are equal to a value in all elements."""
        try:
            wanted = np.asarray(value)
        except ValueError:
            return
        column = column_of(self).fresh()  # one snapshot: another thread may move the handle to other shapes
        if column.dtype is None or wanted.shape != column.sample_shape:
            return
        step = _samples_at_once(column.dtype, column.sample_shape)
        for first in range(start, stop, step):
            part = _as_array(column, range(first, min(first + step, stop)))
            try:
                equal = np.asarray(part == wanted)
            except (TypeError, OverflowError):  # NumPy cannot compare this dtype with the value
                return
            if equal.shape != part.shape:
                return
            yield from (first + np.flatnonzero(equal.reshape(len(part), -1).all(axis=1))).tolist()

    def extend(self, samples: Iterable[npt.ArrayLike], verbose: bool = False) -> None:
        """Add samples at the end, all or none of them, in one commit.

        All samples are in memory at once, and so are their bytes as they are stored: about twice their size.
        `from_generator` with `if_exists="append"` commits batch by batch instead.

        Args:
            samples: An array `[n, ...]`, or any iterable of samples; it is read to its end first.
            verbose: Whether to show a progress bar.

        Raises:
            TypeError: if a sample's values do not fit the dtype; nothing is stored then.
            ValueError: if a sample has another shape.
            ReadOnlyError: if the handle, the permissions or the filesystem do not allow it.

        Example:
            >>> import numpy as np
            >>> import mmap_ninja as mn
            >>> images = mn.ArrayMmap.from_ndarray("images", np.zeros((3, 2, 2), np.uint8))
            >>> images.extend(np.ones((2, 2, 2), np.uint8))
            >>> images.shape
            (5, 2, 2)
        """
        known: Any = foreign.several(samples, f"{self.path}: samples")
        batch: Any = self._batch_of(known) if isinstance(known, ArrayHandle | np.ndarray) else known
        if isinstance(batch, np.ndarray):
            self._commit(batch)
        else:
            super().extend(batch, verbose)

    def _batch_of(self, samples: Any) -> Batch[AnyArray]:
        known = foreign.several(samples, f"{self.path}: samples")
        array = np.asarray(known) if isinstance(known, ArrayHandle) else known
        return array if type(array) is np.ndarray and array.ndim > 0 else list(array)


def _sliced(column: Column, key: Any) -> AnyArray:
    """The result of NumPy's indexing; a slice of samples reads only its own."""
    first, *rest = parts = key if isinstance(key, tuple) and key else (key,)
    if not all(part is None or part is ... or isinstance(part, slice) or is_index(part) for part in parts):
        column = column.fresh()  # since NumPy copies then, and no copy has what was written to another array
    if isinstance(first, slice):
        chosen = _as_array(column, range(len(column))[clipped(first, len(column))])
        return chosen[(slice(None), *rest)] if rest else chosen
    if hasattr(key, "__array__"):
        key = np.asarray(key)  # NumPy would take a tensor of one element for one index
    sliced: AnyArray = _as_array(column, range(len(column)))[key]
    return sliced


def _as_array(column: Column, chosen: range) -> AnyArray:
    """Samples as one read-only array: over a private map if the file holds them in their order, else a copy."""
    whole = column.whole(chosen.start, chosen.step, len(chosen))
    if whole is not None:
        return whole
    return column.selected_range(chosen.start, chosen.step, len(chosen)).take_rows(slice(None), None)[0]


def _samples_at_once(dtype: DType, shape: tuple[int, ...]) -> int:
    """How many samples are compared at a time."""
    return max(_CHUNK // max(math.prod(shape) * dtype.itemsize, 1), 1)
