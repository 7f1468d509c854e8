"""`ArrayMmap`: a list of arrays of one shape on disk, which is one array."""

import mmap
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from mmap_ninja._kernel import Column, column_of
from mmap_ninja.builds import build, paced, sources
from mmap_ninja.builds.build import IfExists
from mmap_ninja.columns.batch import Batch
from mmap_ninja.columns.casting import AnyArray, as_array, checked_dtype
from mmap_ninja.columns.types import Array
from mmap_ninja.engine.dataset import DEFAULT_LOCK_TIMEOUT, Durability
from mmap_ninja.exported import exported
from mmap_ninja.format.meta import one_column
from mmap_ninja.kinds.handle import DatasetHandle
from mmap_ninja.kinds.indices import is_index
from mmap_ninja.kinds.options import HandleOptions, Mode, PathLike, ReadMode
from mmap_ninja.kinds.sequence import Indices
from mmap_ninja.kinds.state import Live

DTypeLike = npt.DTypeLike
_CHUNK = 1 << 24  # bytes that are compared at once


class ArrayHandle(DatasetHandle[AnyArray]):
    """Arrays of one shape and dtype."""

    _kind = "array"
    _sample = "array"

    @property
    def _array(self) -> AnyArray:
        """All samples as one read-only array; over the map, unless this is a view by indices."""
        return _as_array(column_of(self))

    @property
    def dtype(self) -> np.dtype[Any] | None:
        """The samples' dtype; None before the first one."""
        return column_of(self).dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """`(n, ...)`; only `(0,)` before the first sample."""
        column = column_of(self)
        return (len(column), *column.sample_shape)

    @property
    def ndim(self) -> int:
        """Dimensions of the array of all samples."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Elements of all samples."""
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
            indices: Integers in any order and number, negative ones counted from the end; a boolean mask; a slice.
            out: Where to put them: `[len(indices), *shape[1:]]` of this dtype.

        Returns:
            `[len(indices), *shape[1:]]`, owned and writable; or `out`. In a nullable column of records, a masked array.

        Raises:
            IndexError: if an index is out of range.
            ValueError: if `out` has another shape or dtype.
        """
        taken, nulls = self._take_rows(indices, out)
        if nulls is None:
            return taken
        mask = np.broadcast_to(nulls.reshape(-1, *[1] * (taken.ndim - 1)), taken.shape)
        return np.ma.MaskedArray(taken, mask)

    def __getitems__(self, indices: Indices) -> list[AnyArray]:
        """What PyTorch's DataLoader calls for a batch: a list of its samples, over one array."""
        return list(self.take(indices)) if column_of(self).null_mask([]) is None else self._take(indices)

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> AnyArray:
        """All samples as one array: over the map and read-only, unless a copy is asked for, or another dtype."""
        array = self._array
        if (nulls := column_of(self).null_mask(None)) is not None and nulls.any():
            raise ValueError(f"{self.path}: sample {int(np.argmax(nulls))} is null, which no array holds; see take")
        if dtype is not None and array.dtype != dtype:
            if copy is False:
                raise ValueError(f"{self.path}: cannot be {np.dtype(dtype)} without a copy")
            return array.astype(dtype)
        return array.copy() if copy else array

    def __dlpack__(self, **options: Any) -> Any:
        """All samples for another library: over a private map without a copy, what it writes there stays in its memory.

        A view is copied.
        """
        # Not the map that samples are views of: PyTorch 2.13 takes read-only memory for writable, and a write would
        # kill the process.
        if options.get("copy") or (array := self._private_map()) is None:
            array = self._array.copy()
        options.pop("copy", None)
        return array.__dlpack__(**options)

    def _private_map(self) -> AnyArray | None:
        """All samples over a writable map of their own, whose changes go nowhere; None for what lies otherwise."""
        state = self._now()
        column = column_of(self)
        whole = column.whole() if column.is_mapped and column.dtype is not None else None
        if not isinstance(state, Live) or whole is None or not whole.flags.c_contiguous or whole.nbytes == 0:
            return None
        if self._state is not state:  # another thread has moved it meanwhile
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
        column = column_of(self)  # another thread may move this handle to other shapes
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
                return  # nor can these
            yield from (first + np.flatnonzero(equal.reshape(len(part), -1).all(axis=1))).tolist()

    def extend(self, samples: Iterable[AnyArray], verbose: bool = False) -> None:
        """Add samples at the end, all or none of them, in one commit.

        Args:
            samples: An array `[n, ...]`, or any iterable of samples; it is read to its end first.
            verbose: Whether to show a progress bar.

        Raises:
            TypeError: if a sample's values do not fit the dtype; nothing is stored then.
            ValueError: if a sample has another shape.
            ReadOnlyError: if the handle, the permissions or the medium do not allow it.
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
    """What NumPy's indexing gives; of samples that lie in no map as they are, a slice reads only its own."""
    first = key[0] if isinstance(key, tuple) and key else key
    whole = column.whole()
    if isinstance(first, slice):
        if whole is None:
            chosen = range(len(column))[first]
            column = column.selected_range(chosen.start, chosen.step, len(chosen))
            key = (slice(None), *(key[1:] if isinstance(key, tuple) else ()))
    elif hasattr(key, "__array__"):
        key = np.asarray(key)  # a tensor of one element, which NumPy takes for one index
    sliced: AnyArray = (_as_array(column) if whole is None else whole)[key]
    return sliced


def _as_array(column: Column) -> AnyArray:
    """All samples as one read-only array; over the map, unless they do not lie in it in their order."""
    whole = column.whole()
    return column.take_rows(slice(None), None)[0] if whole is None else whole


@exported
class ArrayMmap(ArrayHandle):
    """A list of arrays of one shape and dtype that lives in a directory; read, it is one array over the map.

    Indexing follows NumPy's rules: `ds[i]` and slices are read-only views, lists of indices and masks give owned
    copies. Samples of shape `()` are NumPy scalars.

    Args:
        out_dir: The dataset's directory. If it is missing, the handle is empty, and its first `append` makes it.
        mode: None: reads need no write permission, and the first mutation asks for it. "r": mutations raise. "c": they
            raise, too, and arrays are given out as writable copies.
        durability: "process": a commit survives a crash of the process at once, a power loss from the next `flush` or
            `close` on. "machine": every commit waits until it survives both.
        lock_timeout: Seconds to wait for other processes' commits.
        read_mode: "mmap": samples are read over maps of the files. "pread": by system calls, so that a file that is cut
            while it is read, or a medium that goes away, is an error, not the end of the process; arrays are in memory
            of their own then. None: "pread" on network filesystems and FUSE, else "mmap".

    Example:
        >>> import numpy as np
        >>> images = ArrayMmap.from_ndarray("images", np.arange(12, dtype=np.uint8).reshape(3, 2, 2))
        >>> images[1].tolist(), images.shape, str(images.dtype)
        ([[4, 5], [6, 7]], (3, 2, 2), 'uint8')
        >>> images.append(np.zeros((2, 2), np.uint8))
        >>> images.take([3, 0]).sum(axis=(1, 2)).tolist()
        [0, 6]

    Raises:
        NotADatasetError: if the path holds something else.
        TypeError: if it holds a dataset of another kind.
        CorruptDatasetError: if its files contradict each other.
    """

    def __init__(
        self,
        out_dir: PathLike,
        mode: Mode | None = None,
        *,
        durability: Durability = "process",
        lock_timeout: float = DEFAULT_LOCK_TIMEOUT,
        read_mode: ReadMode | None = None,
    ) -> None:
        super().__init__(out_dir, HandleOptions(mode, durability, lock_timeout, read_mode))

    @classmethod
    def from_ndarray(
        cls,
        out_dir: PathLike,
        arr: npt.ArrayLike,
        batch_size: int = 1024,
        verbose: bool = False,
        *,
        mode: Mode | None = None,
        dtype: DTypeLike | None = None,
        if_exists: IfExists = "replace",
        metadata: dict[str, Any] | None = None,
        durability: Durability | None = None,
        lock_timeout: float = DEFAULT_LOCK_TIMEOUT,
    ) -> Self:
        """Store an array, whose first dimension counts the samples, and open the dataset.

        Args:
            out_dir: The dataset's directory; missing parents are made.
            arr: `[n, ...]`, of any memory layout; it is stored in C order.
            batch_size: Samples per commit, at most.
            verbose: Whether to show a progress bar.
            mode: That of the handle that is returned. None: reads need no write permission, and the first mutation asks
                for it. "r": mutations raise. "c": they raise, too, and arrays are given out as writable copies.
            dtype: What is stored; None: the dtype of the first samples.
            if_exists: What to do where there is a dataset already. "replace": build a new one beside it and switch to
                it at the end; what others append to the old one meanwhile goes with it. "error": raise. "append": add
                to it. "resume": go on with an interrupted build, for which the samples start again from the first one;
                a finished dataset is returned as it is.
            metadata: What the property of this name gives back: a dict that JSON can hold.
            durability: None: safe against power loss when this returns. "process": without any wait, where no dataset
                is replaced; until a `flush`, each open after a reboot, or of a copy, then checks all that was written.
                "machine": safe after every batch.
            lock_timeout: Seconds to wait for other processes' commits.

        Raises:
            TypeError: if the values do not fit the dtype.
        """
        array = as_array(arr, str(out_dir), 0)
        if array.ndim == 0:
            raise ValueError(f"{out_dir}: an array of no dimensions has no samples; give one of shape [n, ...]")
        own = checked_dtype(array.dtype if dtype is None else dtype, str(out_dir))
        column = Array(own, array.shape[1:], declared=dtype is not None)
        options = build.Options(batch_size, verbose, if_exists, metadata, durability, lock_timeout)
        return cls._build(out_dir, sources.Sliced(array), mode, options, one_column(column))

    @classmethod
    def from_generator(
        cls,
        out_dir: PathLike,
        sample_generator: Iterable[AnyArray],
        batch_size: int = 1024,
        verbose: bool = False,
        *,
        dtype: DTypeLike | None = None,
        mode: Mode | None = None,
        if_exists: IfExists = "replace",
        total: int | None = None,
        metadata: dict[str, Any] | None = None,
        durability: Durability | None = None,
        lock_timeout: float = DEFAULT_LOCK_TIMEOUT,
    ) -> Self:
        """Store the samples of an iterable, batch by batch, and open the dataset.

        An error in the iterable propagates; the batches before it stay committed, and `if_exists="resume"` goes on
        after them.

        Args:
            out_dir: The dataset's directory; missing parents are made.
            sample_generator: Any iterable of samples.
            batch_size: Samples per commit, at most.
            verbose: Whether to show a progress bar.
            dtype: What is stored; None: the dtype of the first samples.
            mode: That of the handle that is returned. None: reads need no write permission, and the first mutation asks
                for it. "r": mutations raise. "c": they raise, too, and arrays are given out as writable copies.
            if_exists: What to do where there is a dataset already. "replace": build a new one beside it and switch to
                it at the end; what others append to the old one meanwhile goes with it. "error": raise. "append": add
                to it. "resume": go on with an interrupted build, for which the samples start again from the first one;
                a finished dataset is returned as it is.
            total: Number of samples, for the progress bar, where the iterable has no length.
            metadata: What the property of this name gives back: a dict that JSON can hold.
            durability: None: safe against power loss when this returns. "process": without any wait, where no dataset
                is replaced; until a `flush`, each open after a reboot, or of a copy, then checks all that was written.
                "machine": safe after every batch.
            lock_timeout: Seconds to wait for other processes' commits.

        Raises:
            FileExistsError: if there is a dataset and `if_exists="error"`.
            NotADatasetError: if the path is a file, or a directory with files that are no dataset's.
            TypeError: if a sample is of another type; the batches before it stay.
        """
        options = build.Options(batch_size, verbose, if_exists, metadata, durability, lock_timeout)
        return cls._build(
            out_dir,
            sources.Iterated(sample_generator, total),
            mode,
            options,
            one_column(_column(dtype, out_dir)),
        )

    @classmethod
    def from_indexable(
        cls,
        out_dir: PathLike,
        indexable: sources.Indexable[AnyArray] | Callable[[int], AnyArray],
        batch_size: int = 1024,
        n_jobs: int | None = None,
        verbose: bool = False,
        *,
        dtype: DTypeLike | None = None,
        mode: Mode | None = None,
        if_exists: IfExists = "replace",
        metadata: dict[str, Any] | None = None,
        durability: Durability | None = None,
        lock_timeout: float = DEFAULT_LOCK_TIMEOUT,
    ) -> Self:
        """Store the samples `indexable[0], indexable[1], ...`, and open the dataset.

        Where it has no `len`, its first IndexError ends it; all its other errors propagate, with a note that names the
        index, and leave what is committed. An interrupted build is resumed at the first missing sample.

        Args:
            out_dir: The dataset's directory; missing parents are made.
            indexable: Samples by position, or a function that gives the sample at a position.
            batch_size: Samples per commit, at most.
            n_jobs: How many worker processes read and encode samples, ahead of this one, which stores them in order:
                None is 1, -1 all CPUs, -2 all but one. The source is sent to each worker once, by cloudpickle, before
                its first sample is read; the work moves there when the measured cost of a sample makes it worthwhile, a
                chunk of samples at a time, and each chunk is one commit. An error leaves all samples before it
                committed.
            verbose: Whether to show a progress bar.
            dtype: What is stored; None: the dtype of the first samples.
            mode: That of the handle that is returned. None: reads need no write permission, and the first mutation asks
                for it. "r": mutations raise. "c": they raise, too, and arrays are given out as writable copies.
            if_exists: What to do where there is a dataset already. "replace": build a new one beside it and switch to
                it at the end; what others append to the old one meanwhile goes with it. "error": raise. "append": add
                to it. "resume": go on with an interrupted build, for which the samples start again from the first one;
                a finished dataset is returned as it is.
            metadata: What the property of this name gives back: a dict that JSON can hold.
            durability: None: safe against power loss when this returns. "process": without any wait, where no dataset
                is replaced; until a `flush`, each open after a reboot, or of a copy, then checks all that was written.
                "machine": safe after every batch.
            lock_timeout: Seconds to wait for other processes' commits.

        Raises:
            ImportError: if workers are asked for and cloudpickle is missing: `pip install "mmap_ninja[parallel]"`.
            TypeError: if the source cannot be sent to workers, or a sample is of another type.
            WorkerError: if a worker process dies, or its source raises what cannot be sent back.
        """
        options = build.Options(batch_size, verbose, if_exists, metadata, durability, lock_timeout)
        source: Any = paced.indexed(indexable, n_jobs, options)
        return cls._build(out_dir, source, mode, options, one_column(_column(dtype, out_dir)))


def _column(dtype: DTypeLike | None, out_dir: PathLike) -> Array:
    return Array() if dtype is None else Array(checked_dtype(dtype, str(out_dir)), declared=True)
