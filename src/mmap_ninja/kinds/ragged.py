"""`RaggedMmap`: a list of arrays of any shape on disk."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Self

import numpy.typing as npt

from mmap_ninja.builds import build, paced, sources
from mmap_ninja.builds.build import IfExists
from mmap_ninja.columns.casting import checked_dtype
from mmap_ninja.columns.types import Ragged
from mmap_ninja.engine.dataset import DEFAULT_LOCK_TIMEOUT, Durability
from mmap_ninja.exported import exported
from mmap_ninja.format.meta import one_column
from mmap_ninja.kinds.options import HandleOptions, Mode, PathLike, ReadMode
from mmap_ninja.kinds.ragged_reading import DTypeLike, RaggedHandle, Wrapper
from mmap_ninja.kinds.spans import check_keys
from mmap_ninja.legacy.layout import Keys


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
