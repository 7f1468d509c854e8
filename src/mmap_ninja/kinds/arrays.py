"""`ArrayMmap`: a list of arrays of one shape on disk, which is one array."""

from collections.abc import Callable, Iterable
from typing import Any, Self

import numpy.typing as npt

from mmap_ninja.builds import build, paced, sources
from mmap_ninja.builds.build import IfExists
from mmap_ninja.columns.casting import AnyArray, as_array, checked_dtype
from mmap_ninja.columns.types import Array
from mmap_ninja.engine.dataset import DEFAULT_LOCK_TIMEOUT, Durability
from mmap_ninja.exported import exported
from mmap_ninja.format.meta import one_column
from mmap_ninja.kinds.array_reading import ArrayHandle, DTypeLike
from mmap_ninja.kinds.options import HandleOptions, Mode, PathLike, ReadMode


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
