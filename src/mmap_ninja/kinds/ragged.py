"""`RaggedMmap`: a list of arrays of any shape on disk."""

import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Self, cast, overload

import numpy as np
import numpy.typing as npt

from mmap_ninja._kernel import Column, column_of
from mmap_ninja.arrow import export
from mmap_ninja.builds import build, paced, sources
from mmap_ninja.builds.build import IfExists
from mmap_ninja.columns.batch import Batch
from mmap_ninja.columns.casting import AnyArray, checked_dtype, convert
from mmap_ninja.columns.types import Ragged
from mmap_ninja.engine.dataset import DEFAULT_LOCK_TIMEOUT, Durability
from mmap_ninja.exported import exported
from mmap_ninja.format.meta import one_column
from mmap_ninja.kinds.handle import DatasetHandle
from mmap_ninja.kinds.indices import is_index, resolved, several
from mmap_ninja.kinds.options import HandleOptions, Mode, PathLike, ReadMode
from mmap_ninja.kinds.sequence import Indices
from mmap_ninja.kinds.spans import check_keys
from mmap_ninja.kinds.state import Positions
from mmap_ninja.kinds.windows import Windows
from mmap_ninja.legacy.layout import Keys

DTypeLike = npt.DTypeLike
Wrapper = Callable[[AnyArray], Any]
Extents = int | Sequence[int | None] | None


class RaggedHandle(DatasetHandle[AnyArray]):
    """Arrays of one dtype, and of any shape and rank."""

    _kind = "ragged"
    _sample = "ragged"

    @property
    def wrapper_fn(self) -> Wrapper | None:
        """What is called with each sample that is given out."""
        return self._options.wrapper_fn

    @property
    def copy_before_wrapper_fn(self) -> bool:
        """Whether it gets a writable copy."""
        return self._options.copy_before_wrapper_fn

    @property
    def _common_rank(self) -> int | None:
        """The rank that all samples have; None where they have several."""
        return _common_rank(column_of(self))

    @property
    def dtype(self) -> np.dtype[Any] | None:
        """The samples' dtype; None before the first one."""
        return column_of(self).dtype

    @property
    def _unit(self) -> int:
        return self.dtype.itemsize if self.dtype else 1

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """`len(sample)` of each: int64 `[n]`, a new array.

        Raises:
            TypeError: if there are scalars among the samples, which have no length.
        """
        column = column_of(self)  # one snapshot, whatever other threads append
        if column.rank == 1:
            return column.sizes()
        lengths = column.shape_table(1)[:, 0]
        if (lengths < 0).any():
            raise TypeError(f"{self.path}: sample {int(np.argmin(lengths))} is a scalar, which has no length")
        return lengths

    @property
    def shapes(self) -> "npt.NDArray[np.int64] | Shapes":
        """The samples' shapes: int64 `[n, ndim]`, a new array; a sequence of tuples where their ranks differ."""
        column = column_of(self)
        rank = _common_rank(column)
        return column.shape_table(rank) if rank else Shapes(column)

    @property
    def flattened_shapes(self) -> npt.NDArray[np.int64]:
        """How many elements each sample has: int64 `[n]`, a new array."""
        return column_of(self).sizes()

    @property
    def starts(self) -> npt.NDArray[np.uint64]:
        """Where each sample starts in `memmap`, in elements: uint64 `[n]`, read-only, over the map."""
        return column_of(self).bounds()[0]

    @property
    def ends(self) -> npt.NDArray[np.uint64]:
        """Where each sample ends in `memmap`, in elements: uint64 `[n]`, read-only, over the map."""
        return column_of(self).bounds()[1]

    @property
    def memmap(self) -> AnyArray:
        """The elements of all samples back to back: one dimension, read-only, over the map."""
        column = column_of(self)
        return column.flat() if column.dtype else np.empty(0)

    def take_jagged(self, indices: Indices) -> tuple[AnyArray, npt.NDArray[np.int64]]:
        """Many samples back to back, without an array for each.

        Args:
            indices: Integers in any order and number, negative ones counted from the end; a boolean mask; a slice.

        Returns:
            `(values, offsets)`: `[total, ...]` of this dtype and int64 `[len(indices) + 1]`, both owned and writable.
            Sample k is `values[offsets[k]:offsets[k + 1]]`.

        Raises:
            IndexError: if an index is out of range.
            ValueError: if the samples have other trailing dimensions than each other, or no dimension.
        """
        return self._take_jagged(indices)

    def take_padded(
        self,
        indices: Indices,
        value: Any = 0,
        length: Extents = None,
        multiple_of: Extents = None,
        out: AnyArray | None = None,
    ) -> tuple[AnyArray, npt.NDArray[np.int64]]:
        """Many samples as one array, each in the corner of its own box, and the rest filled.

        Args:
            indices: Integers in any order and number, negative ones counted from the end; a boolean mask; a slice.
            value: What to fill with; 0 is zero of any dtype, the empty text of texts.
            length: Size of the boxes: a number for the first dimension, or one for each dimension, None where it is as
                large as the batch needs. What a sample has beyond it is cut off.
            multiple_of: What the size is rounded up to a multiple of: a number for the first dimension, or one for each
                dimension, None where it is not.
            out: Where to put the samples: an array of the right shape and this dtype.

        Returns:
            `(array, lengths)`: `[len(indices), ...]` of this dtype, and how much of it is data: int64
            `[len(indices)]`, or `[len(indices), ndim]` for samples of several dimensions.

        Raises:
            IndexError: if an index is out of range.
            ValueError: if the samples have several ranks, or no dimension; if `out` has another shape or dtype.
            TypeError: if the dtype does not hold the value.
        """
        extents = _extents(length, "length"), _extents(multiple_of, "multiple_of")
        return self._take_padded(indices, partial(self._fill, value), *extents, out)

    def _fill(self, value: Any, dtype: np.dtype[Any]) -> AnyArray:
        """What the kernel pads with, of the dtype that it has read; another thread may have moved the handle."""
        if type(value) is int and value == 0:
            return np.zeros((), dtype)
        fill = convert(value, 0, dtype, f"{self.path}: take_padded: value", declared=True)
        if fill.ndim:
            raise ValueError(f"{self.path}: take_padded: value has shape {fill.shape}; expected one number")
        return fill

    def windows(self, length: int, stride: int | None = None, *, within_samples: bool = False) -> Windows:
        """Runs of `length` elements of 1-D samples, as language models are trained on: a lazy sequence.

        Args:
            length: Elements of a window.
            stride: Elements from one window to the next; `length` if None.
            within_samples: Whether no window crosses from a sample into the next. Else the samples count as one
                sequence of tokens.

        Returns:
            A sequence of read-only views `[length]`, whose `take(indices)` gives `[len(indices), length]`. What is
            left at the end, or at the end of each sample, is in no window.

        Raises:
            ValueError: if a sample has another rank than 1, or this is a view by steps or indices and windows may
                cross samples.
        """
        if len(self) and (rank := self._common_rank) != 1:
            found = "several ranks" if rank is None else f"rank {rank}"
            raise ValueError(f"{self.path}: windows: the samples have {found}; expected 1-D samples")
        return Windows(self._unwrapped(), length, length if stride is None else stride, within_samples=within_samples)

    def _exported(self) -> dict[str, Any]:
        return export.one_column(column_of(self).unwrapped(), self.path)

    def _matches(self, value: object, start: int, stop: int) -> Iterator[int]:
        """Positions of the samples of the same shape that are equal to a value in all elements."""
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
        """A view of the same samples, which gives them out as they are stored."""
        if self.wrapper_fn is None:
            return self.select(slice(None))
        column, state = self._moment()
        return self._view_of(column.unwrapped(), state, slice(None), replace(self._options, wrapper_fn=None))

    def _check_replacements(self, batch: Batch[AnyArray], at: Positions) -> None:
        column = column_of(self)
        for position, sample in zip(at.tolist(), cast("list[Any]", batch), strict=True):
            shape = column.shape_of(position)
            if np.ndim(sample) != len(shape):
                raise ValueError(
                    f"{self.path}: sample {position} has shape {shape}, its replacement {np.ndim(sample)} dimensions; "
                    f"give it {len(shape)}, or delete the sample and append"
                )


@exported
class Shapes(Sequence[tuple[int, ...]]):
    """The shapes of samples of several ranks, each a tuple, read when asked for."""

    def __init__(self, samples: Column) -> None:
        self._samples = samples

    def __len__(self) -> int:
        return len(self._samples)

    @overload
    def __getitem__(self, index: int) -> tuple[int, ...]: ...
    @overload
    def __getitem__(self, index: Indices) -> list[tuple[int, ...]]: ...
    def __getitem__(self, index: int | Indices) -> tuple[int, ...] | list[tuple[int, ...]]:
        at = resolved([operator.index(index)] if is_index(index) else several(index), len(self))
        shapes = [self._samples.shape_of(position) for position in at.tolist()]
        return shapes[0] if is_index(index) else shapes


def _common_rank(column: Column) -> int | None:
    """The rank that all samples have; None where they have several."""
    if column.rank is not None:
        return column.rank
    ranks = np.unique(column.shape_table(0))
    return int(ranks[0]) if len(ranks) == 1 else None


def _extents(given: Extents, name: str) -> list[int]:
    """As the kernel takes them: -1 where a dimension is as large as the batch needs."""
    if given is None:
        return []
    extents = [given] if isinstance(given, int | np.integer) else list(given)
    if any(extent is not None and extent < (name == "multiple_of") for extent in extents):
        raise ValueError(f"{name} {given}: expected at least {int(name == 'multiple_of')}")
    return [-1 if extent is None else int(extent) for extent in extents]


@exported
class RaggedMmap(RaggedHandle):
    """A list of arrays of one dtype, and of any shape and rank, that lives in a directory.

    `ds[i]` is a read-only view over the map with the sample's shape; `take` gives owned, writable arrays.

    Args:
        out_dir: The dataset's directory. If it is missing, the handle is empty, and its first `append` makes it.
        wrapper_fn: Called with each sample that is given out, one by one or in lists; not for jagged and padded
            batches. To survive pickling it must be importable.
        mode: None: reads need no write permission, and the first mutation asks for it. "r": mutations raise. "c": they
            raise, too, and arrays are given out as writable copies.
        starts_key: The folder of starts in a directory of 0.x, where it has another name.
        ends_key: The folder of ends in a directory of 0.x, where it has another name.
        shapes_key: The folder of shapes in a directory of 0.x, where it has another name.
        flattened_shapes_key: The folder of flattened shapes in a directory of 0.x, where it has another name.
        copy_before_wrapper_fn: Whether `wrapper_fn` gets a writable copy; else the read-only view.
        durability: "process": a commit survives a crash of the process at once, a power loss from the next `flush` or
            `close` on. "machine": every commit waits until it survives both.
        lock_timeout: Seconds to wait for other processes' commits.
        read_mode: "mmap": samples are read over maps of the files. "pread": by system calls, so that a file that is cut
            while it is read, or a medium that goes away, is an error, not the end of the process; arrays are in memory
            of their own then. None: "pread" on network filesystems and FUSE, else "mmap".

    Example:
        >>> import numpy as np
        >>> rows = RaggedMmap.from_lists("rows", [[1, 2, 3], [4]], dtype=np.int32)
        >>> rows.append([5, 6])
        >>> rows[2].tolist(), rows.lengths.tolist()
        ([5, 6], [3, 1, 2])
        >>> batch, lengths = rows.take_padded([0, 1], value=-1)
        >>> batch.tolist()
        [[1, 2, 3], [4, -1, -1]]

    Raises:
        NotADatasetError: if the path holds something else.
        TypeError: if it holds a dataset of another kind.
        CorruptDatasetError: if its files contradict each other.
    """

    def __init__(
        self,
        out_dir: PathLike,
        wrapper_fn: Wrapper | None = None,
        mode: Mode | None = None,
        starts_key: str = "starts",
        ends_key: str = "ends",
        shapes_key: str = "shapes",
        flattened_shapes_key: str = "flattened_shapes",
        copy_before_wrapper_fn: bool = True,
        *,
        durability: Durability = "process",
        lock_timeout: float = DEFAULT_LOCK_TIMEOUT,
        read_mode: ReadMode | None = None,
    ) -> None:
        keys = Keys(starts_key, ends_key, shapes_key, flattened_shapes_key)
        keys = Keys(starts_key, ends_key, shapes_key, flattened_shapes_key)
        super().__init__(
            out_dir,
            HandleOptions(mode, durability, lock_timeout, read_mode, keys, wrapper_fn, copy_before_wrapper_fn),
        )

    @classmethod
    def from_lists(
        cls,
        out_dir: PathLike,
        lists: Sequence[npt.ArrayLike],
        dtype: DTypeLike | None = None,
        mode: Mode | None = None,
        wrapper_fn: Wrapper | None = None,
        starts_key: str = "starts",
        ends_key: str = "ends",
        shapes_key: str = "shapes",
        flattened_shapes_key: str = "flattened_shapes",
        *,
        batch_size: int = 1024,
        verbose: bool = False,
        copy_before_wrapper_fn: bool = True,
        if_exists: IfExists = "replace",
        metadata: dict[str, Any] | None = None,
        durability: Durability | None = None,
        lock_timeout: float = DEFAULT_LOCK_TIMEOUT,
    ) -> Self:
        """Store samples that are in memory, and open the dataset.

        Args:
            out_dir: The dataset's directory; missing parents are made.
            lists: The samples: arrays, or lists of numbers, nested for several dimensions.
            dtype: What is stored; None: the dtype of the first samples.
            mode: That of the handle that is returned. None: reads need no write permission, and the first mutation asks
                for it. "r": mutations raise. "c": they raise, too, and arrays are given out as writable copies.
            wrapper_fn: Called with each sample that is given out, one by one or in lists; not for jagged and padded
                batches. To survive pickling it must be importable.
            starts_key: Inherited; another name raises: such names are for reading directories of 0.x.
            ends_key: Inherited; another name raises: such names are for reading directories of 0.x.
            shapes_key: Inherited; another name raises: such names are for reading directories of 0.x.
            flattened_shapes_key: Inherited; another name raises: such names are for reading directories of 0.x.
            batch_size: Samples per commit, at most.
            verbose: Whether to show a progress bar.
            copy_before_wrapper_fn: Whether `wrapper_fn` gets a writable copy; else the read-only view.
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
            FileExistsError: if there is a dataset and `if_exists="error"`.
            NotADatasetError: if the path is a file, or a directory with files that are no dataset's.
            TypeError: if a sample is of another type.
        """
        check_keys(starts_key, ends_key, shapes_key, flattened_shapes_key)
        return cls.from_generator(
            out_dir,
            lists,
            batch_size,
            verbose,
            dtype=dtype,
            mode=mode,
            wrapper_fn=wrapper_fn,
            copy_before_wrapper_fn=copy_before_wrapper_fn,
            if_exists=if_exists,
            metadata=metadata,
            durability=durability,
            lock_timeout=lock_timeout,
        )

    @classmethod
    def from_generator(
        cls,
        out_dir: PathLike,
        sample_generator: Iterable[npt.ArrayLike],
        batch_size: int = 1024,
        verbose: bool = False,
        *,
        dtype: DTypeLike | None = None,
        mode: Mode | None = None,
        wrapper_fn: Wrapper | None = None,
        copy_before_wrapper_fn: bool = True,
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
            wrapper_fn: Called with each sample that is given out, one by one or in lists; not for jagged and padded
                batches. To survive pickling it must be importable.
            copy_before_wrapper_fn: Whether `wrapper_fn` gets a writable copy; else the read-only view.
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
        configuration = {"wrapper_fn": wrapper_fn, "copy_before_wrapper_fn": copy_before_wrapper_fn}
        source: sources.Source[Any] = sources.Iterated(sample_generator, total)
        return cls._build(out_dir, source, mode, options, one_column(_column(dtype, out_dir)), configuration)

    @classmethod
    def from_indexable(
        cls,
        out_dir: PathLike,
        indexable: sources.Indexable[npt.ArrayLike] | Callable[[int], npt.ArrayLike],
        batch_size: int = 1024,
        n_jobs: int | None = None,
        verbose: bool = False,
        *,
        dtype: DTypeLike | None = None,
        mode: Mode | None = None,
        wrapper_fn: Wrapper | None = None,
        copy_before_wrapper_fn: bool = True,
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
            wrapper_fn: Called with each sample that is given out, one by one or in lists; not for jagged and padded
                batches. To survive pickling it must be importable.
            copy_before_wrapper_fn: Whether `wrapper_fn` gets a writable copy; else the read-only view.
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
        configuration = {"wrapper_fn": wrapper_fn, "copy_before_wrapper_fn": copy_before_wrapper_fn}
        source: Any = paced.indexed(indexable, n_jobs, options)
        return cls._build(out_dir, source, mode, options, one_column(_column(dtype, out_dir)), configuration)


def _column(dtype: DTypeLike | None, out_dir: PathLike) -> Ragged:
    return Ragged() if dtype is None else Ragged(checked_dtype(dtype, str(out_dir)), declared=True)
