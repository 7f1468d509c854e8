"""Reading samples of one shape as one array, by NumPy's rules and protocols."""

import mmap
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mmap_ninja._kernel import Column, column_of
from mmap_ninja.columns.batch import Batch
from mmap_ninja.columns.casting import AnyArray
from mmap_ninja.kinds.handle import DatasetHandle
from mmap_ninja.kinds.indices import is_index
from mmap_ninja.kinds.sequence import Indices
from mmap_ninja.kinds.state import Live

DTypeLike = npt.DTypeLike
_CHUNK = 1 << 24  # bytes that are compared at a time


class ArrayHandle(DatasetHandle[AnyArray]):
    """Arrays of one shape and dtype."""

    _kind = "array"
    _sample = "array"

    if TYPE_CHECKING:  # all of NumPy's indexing

        def __getitem__(self, key: Any, /) -> AnyArray: ...  # type: ignore[override]

    @property
    def _array(self) -> AnyArray:
        """All samples as one read-only array; a view of the map, unless this is a view by indices."""
        return _as_array(column_of(self))

    @property
    def dtype(self) -> np.dtype[Any] | None:
        """The samples' dtype; None before the first one."""
        return column_of(self).dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """`(n, ...)`; `(0,)` before the first sample."""
        column = column_of(self)
        return (len(column), *column.sample_shape)

    @property
    def ndim(self) -> int:
        """Number of dimensions of the array of all samples."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of elements of all samples."""
        return int(np.prod(self.shape, dtype=object))

    @property
    def _unit(self) -> int:
        return self.size // max(len(self), 1) * (self.dtype.itemsize if self.dtype else 0)

    def _get_many(self, key: Any) -> Any:
        column = column_of(self)
        if is_index(key) or column.null_mask([]) is not None:
            return super()._get_many(key)
        if self._options.mode == "c":
            return _sliced(column, key).copy()
        if isinstance(key, list) and not any(isinstance(part, bool | np.bool_ | list | tuple) for part in key):
            return self.take(key)
        return _sliced(column, key)

    def take(self, indices: Indices, out: AnyArray | None = None) -> AnyArray:  # type: ignore[override]
        """The samples at many positions as one array, in one native call.

        Args:
            indices: Integers in any order, also repeated, negative ones counted from the end; a boolean mask; or a
                slice.
            out: The array to fill: `[len(indices), *shape[1:]]` of this dtype.

        Returns:
            `[len(indices), *shape[1:]]`, owned and writable; or `out`. In a nullable column of records, a masked array.

        Raises:
            IndexError: if an index is out of range.
            ValueError: if `out` has the wrong shape or dtype.
        """
        taken, nulls = self._take_rows(indices, out)
        if nulls is None:
            return taken
        mask = np.broadcast_to(nulls.reshape(-1, *[1] * (taken.ndim - 1)), taken.shape)
        return np.ma.MaskedArray(taken, mask)

    def __getitems__(self, indices: Indices) -> list[AnyArray]:
        """A batch for PyTorch's DataLoader, which calls this: a list of samples that share one array."""
        return list(self.take(indices)) if column_of(self).null_mask([]) is None else self._take(indices)

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> AnyArray:
        """All samples as one read-only view of the map, or as a copy for another dtype or with `copy=True`."""
        array = self._array
        if (nulls := column_of(self).null_mask(None)) is not None and nulls.any():
            raise ValueError(
                f"{self.path}: sample {int(np.argmax(nulls))} is null, and arrays hold no nulls; use take for a masked "
                "array"
            )
        if dtype is not None and array.dtype != dtype:
            if copy is False:
                raise ValueError(
                    f"{self.path}: dtype {self.dtype} cannot become {np.dtype(dtype)} without a copy; leave out "
                    "copy=False"
                )
            return array.astype(dtype)
        return array.copy() if copy else array

    def __dlpack__(self, **options: Any) -> Any:
        """All samples for another library: not copied, over a private map; what it writes there is not stored.

        A view is copied.
        """
        # Not the map that samples view: PyTorch 2.13 treats read-only memory as writable, and a write would kill the
        # process.
        if options.get("copy") or (array := self._private_map()) is None:
            array = self._array.copy()
        options.pop("copy", None)
        return array.__dlpack__(**options)

    def _private_map(self) -> AnyArray | None:
        """All samples in a private writable map, whose changes are not stored; None if no file holds them in order."""
        state = self._now()
        column = column_of(self)
        whole = column.whole() if column.is_mapped and column.dtype is not None else None
        if not isinstance(state, Live) or whole is None or not whole.flags.c_contiguous or whole.nbytes == 0:
            return None
        if self._state is not state:  # another thread has moved the handle meanwhile
            return None
        private = mmap.mmap(state.seen.generation.opened[0].fileno(), whole.nbytes, access=mmap.ACCESS_COPY)
        return np.frombuffer(private, whole.dtype, whole.size).reshape(whole.shape)

    def __dlpack_device__(self) -> tuple[int, int]:
        """Where the memory is: the CPU's."""
        return (1, 0)

    def _matches(self, value: object, start: int, stop: int) -> Iterator[int]:
        """Positions of the samples that are equal to a value in all elements."""
        try:
            wanted = np.asarray(value)
        except ValueError:
            return
        column = column_of(self)  # one snapshot: another thread may move the handle to other shapes
        if column.dtype is None or wanted.shape != column.sample_shape:
            return
        step = max(_CHUNK // max(wanted.size * column.dtype.itemsize, 1), 1)
        for first in range(start, stop, step):
            part = _as_array(column.selected_range(first, 1, min(step, stop - first)))
            try:
                equal = np.asarray(part == wanted)
            except TypeError:  # structured dtypes that cannot be compared
                return
            if equal.shape != part.shape:
                return
            yield from (first + np.flatnonzero(equal.reshape(len(part), -1).all(axis=1))).tolist()

    def extend(self, samples: Iterable[AnyArray], verbose: bool = False) -> None:
        """Add samples at the end, all or none of them, in one commit.

        Args:
            samples: An array `[n, ...]`, or any iterable of samples; it is read to its end first.
            verbose: Whether to show a progress bar.

        Raises:
            TypeError: if a sample's values do not fit the dtype; nothing is stored then.
            ValueError: if a sample has another shape.
            ReadOnlyError: if the handle, the permissions or the filesystem do not allow it.
        """
        batch = self._batch_of(samples) if isinstance(samples, ArrayHandle | np.ndarray) else samples
        if isinstance(batch, np.ndarray):
            self._commit(batch)
        else:
            super().extend(samples, verbose)

    def _batch_of(self, samples: Any) -> Batch[AnyArray]:
        array = np.asarray(samples) if isinstance(samples, ArrayHandle) else samples
        return array if type(array) is np.ndarray and array.ndim > 0 else list(array)


def _sliced(column: Column, key: Any) -> AnyArray:
    """The result of NumPy's indexing; where samples are not mapped as they are, a slice reads only its own."""
    first = key[0] if isinstance(key, tuple) and key else key
    whole = column.whole()
    if isinstance(first, slice):
        if whole is None:
            chosen = range(len(column))[first]
            column = column.selected_range(chosen.start, chosen.step, len(chosen))
            key = (slice(None), *(key[1:] if isinstance(key, tuple) else ()))
    elif hasattr(key, "__array__"):
        key = np.asarray(key)  # NumPy would take a tensor of one element for one index
    sliced: AnyArray = (_as_array(column) if whole is None else whole)[key]
    return sliced


def _as_array(column: Column) -> AnyArray:
    """All samples as one read-only array; a view of the map if it holds them in their order."""
    whole = column.whole()
    return column.take_rows(slice(None), None)[0] if whole is None else whole
