"""`ArrayMmap`: a list of arrays of one shape on disk, stored as one array."""

from collections.abc import Callable, Iterable
from typing import Any, Self

import numpy.typing as npt

from mmap_ninja.builds import paced, sources
from mmap_ninja.builds.build import IfExists, Options
from mmap_ninja.columns.casting import AnyArray, as_array, checked_dtype
from mmap_ninja.columns.limits import BATCH_BYTES
from mmap_ninja.columns.types import Array
from mmap_ninja.engine.dataset import DEFAULT_LOCK_TIMEOUT, Durability
from mmap_ninja.exported import exported
from mmap_ninja.format.meta import one_column
from mmap_ninja.kinds.array_reading import ArrayHandle, DTypeLike
from mmap_ninja.kinds.options import HandleOptions, Mode, PathLike, ReadMode


@exported
class ArrayMmap(ArrayHandle):
    """A list of arrays of one shape and dtype that lives in a directory, and reads as one mapped array.

    Indexing follows NumPy: `ds[i]` and slices give read-only views, lists of indices and masks give owned copies.
    Samples of shape `()` are NumPy scalars. What a library that ignores the read-only flag writes to a view, such as
    PyTorch in `torch.as_tensor(ds[i]).add_(1)`, is stored nowhere, but `ds[i]` shows it until the next `iter(ds)` or
    `refresh()`: call `.clone()` first, or open with mode "c".

    Args:
        out_dir: The dataset's directory. If it is missing, the handle is empty, and its first `append` creates it.
        mode: None: reading needs no write permission, only the first mutation does. "r": mutations raise. "c":
            mutations raise, and arrays are returned as writable copies.
        durability: "process": a commit survives a crash of this process at once, and a power loss after the next
            `flush` or `close`. "machine": each commit waits until it survives both.
        lock_timeout: Seconds to wait for other processes' commits.
        read_mode: "mmap": samples are read from memory maps of the files. "pread": system calls read samples into
            memory of their own, so that a file that is truncated meanwhile, or a disk that disappears, raises an error
            instead of killing the process. None: "pread" on network filesystems and FUSE, else "mmap".

    Example:
        >>> import numpy as np
        >>> import mmap_ninja as mn
        >>> images = mn.ArrayMmap.from_ndarray("images", np.arange(12, dtype=np.uint8).reshape(3, 2, 2))
        >>> images[1].tolist(), images.shape, str(images.dtype)
        ([[4, 5], [6, 7]], (3, 2, 2), 'uint8')
        >>> images.append(np.zeros((2, 2), np.uint8))
        >>> images.take([3, 0]).sum(axis=(1, 2)).tolist()
        [0, 6]

    Raises:
        NotADatasetError: if there is something else at the path.
        TypeError: if the dataset is of another kind.
        CorruptDatasetError: if the dataset's files contradict each other.
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
        batch_bytes: int = BATCH_BYTES,
        mode: Mode | None = None,
        dtype: DTypeLike | None = None,
        if_exists: IfExists = "replace",
        metadata: dict[str, Any] | None = None,
        version: str | None = None,
        durability: Durability | None = None,
        lock_timeout: float = DEFAULT_LOCK_TIMEOUT,
    ) -> Self:
        """Store an array, whose first dimension is the samples, and open the dataset.

        Args:
            out_dir: The dataset's directory; missing parents are created.
            arr: `[n, ...]`, of any memory layout; it is stored in C order.
            batch_size: Samples per commit, at most.
            verbose: Whether to show a progress bar.
            batch_bytes: Bytes with which a batch ends earlier, so that large samples do not fill the memory.
            mode: Mode of the returned handle. None: reading needs no write permission, only the first mutation does.
                "r": mutations raise. "c": mutations raise, and arrays are returned as writable copies.
            dtype: The dtype to store; None: that of the first samples.
            if_exists: What to do if there is a dataset already. "replace": build a new one beside it, then switch;
                samples that others append to the old one meanwhile are lost. "error": raise. "append": add to it.
                "resume": continue an interrupted build: pass all samples again, from the first one; a finished dataset
                is returned as it is, with a warning if the source is longer. "reuse": open a complete dataset of the
                same kind, columns and version; raise if it is another one; wait while another process builds it; go on
                with a build that ended early.
            metadata: A dict to store as JSON; the `metadata` property returns it.
            version: A string to store as `metadata["version"]`; a dataset of another version is not reused, resumed or
                appended to. None: any version will do.
            durability: None: safe against power loss when this returns. "process": do not wait for the disk, unless a
                dataset is replaced; until the next `flush`, opening it after a reboot, or opening a copy, checks all
                that was written. "machine": safe after every batch.
            lock_timeout: Seconds to wait for other processes' commits.

        Raises:
            TypeError: if the values do not fit the dtype.

        Example:
            >>> import numpy as np
            >>> import mmap_ninja as mn
            >>> images = mn.ArrayMmap.from_ndarray("images", np.arange(12).reshape(3, 2, 2), dtype=np.uint8)
            >>> images[1].tolist(), str(images.dtype)
            ([[4, 5], [6, 7]], 'uint8')
        """
        array = as_array(arr, str(out_dir), 0)
        if array.ndim == 0:
            raise ValueError(
                f"{out_dir}: expected an array of shape [n, ...], got one without dimensions; wrap the value in a list"
            )
        own = checked_dtype(array.dtype if dtype is None else dtype, str(out_dir))
        column = Array(own, array.shape[1:], declared=dtype is not None)
        options = Options(batch_size, batch_bytes, verbose, if_exists, metadata, durability, lock_timeout, version)
        return cls._build(out_dir, sources.Sliced(array), mode, options, one_column(column))

    @classmethod
    def from_generator(
        cls,
        out_dir: PathLike,
        sample_generator: Iterable[AnyArray],
        batch_size: int = 1024,
        verbose: bool = False,
        *,
        batch_bytes: int = BATCH_BYTES,
        dtype: DTypeLike | None = None,
        mode: Mode | None = None,
        if_exists: IfExists = "replace",
        total: int | None = None,
        metadata: dict[str, Any] | None = None,
        version: str | None = None,
        durability: Durability | None = None,
        lock_timeout: float = DEFAULT_LOCK_TIMEOUT,
    ) -> Self:
        """Store the samples of an iterable, batch by batch, and open the dataset.

        An error in the iterable propagates and names the index of the sample. The batches before it stay committed, and
        `if_exists="resume"` continues after them.

        Args:
            out_dir: The dataset's directory; missing parents are created.
            sample_generator: Any iterable of samples.
            batch_size: Samples per commit, at most.
            verbose: Whether to show a progress bar.
            batch_bytes: Bytes with which a batch ends earlier, so that large samples do not fill the memory.
            dtype: The dtype to store; None: that of the first samples.
            mode: Mode of the returned handle. None: reading needs no write permission, only the first mutation does.
                "r": mutations raise. "c": mutations raise, and arrays are returned as writable copies.
            if_exists: What to do if there is a dataset already. "replace": build a new one beside it, then switch;
                samples that others append to the old one meanwhile are lost. "error": raise. "append": add to it.
                "resume": continue an interrupted build: pass all samples again, from the first one; a finished dataset
                is returned as it is, with a warning if the source is longer. "reuse": open a complete dataset of the
                same kind, columns and version; raise if it is another one; wait while another process builds it; go on
                with a build that ended early.
            total: Number of samples, for the progress bar, if the iterable has no length.
            metadata: A dict to store as JSON; the `metadata` property returns it.
            version: A string to store as `metadata["version"]`; a dataset of another version is not reused, resumed or
                appended to. None: any version will do.
            durability: None: safe against power loss when this returns. "process": do not wait for the disk, unless a
                dataset is replaced; until the next `flush`, opening it after a reboot, or opening a copy, checks all
                that was written. "machine": safe after every batch.
            lock_timeout: Seconds to wait for other processes' commits.

        Raises:
            FileExistsError: if there is a dataset and `if_exists="error"`.
            NotADatasetError: if the path is a file, or a directory with files that do not belong to a dataset.
            TypeError: if a sample has the wrong type; the batches before it stay.

        Example:
            >>> import numpy as np
            >>> import mmap_ninja as mn
            >>> images = mn.ArrayMmap.from_generator("images", (np.full((2, 2), k, np.uint8) for k in range(3)))
            >>> images.shape, str(images.dtype)
            ((3, 2, 2), 'uint8')
        """
        options = Options(batch_size, batch_bytes, verbose, if_exists, metadata, durability, lock_timeout, version)
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
        batch_bytes: int = BATCH_BYTES,
        dtype: DTypeLike | None = None,
        mode: Mode | None = None,
        if_exists: IfExists = "replace",
        metadata: dict[str, Any] | None = None,
        version: str | None = None,
        durability: Durability | None = None,
        lock_timeout: float = DEFAULT_LOCK_TIMEOUT,
    ) -> Self:
        """Store the samples `indexable[0], indexable[1], ...`, and open the dataset.

        Without `len`, the first IndexError ends it. All other errors propagate and name the index; what is
        committed stays. An interrupted build resumes at the first missing sample.

        Args:
            out_dir: The dataset's directory; missing parents are created.
            indexable: Samples by position, or a function that gives the sample at a position.
            batch_size: Samples per commit, at most.
            n_jobs: Number of worker processes that read and encode samples ahead; this process stores them in order.
                None is 1, -1 all CPUs, -2 all but one. cloudpickle sends the source to each worker once, before its
                first sample is read. Work moves to the workers when the measured cost of a sample makes that
                worthwhile, a chunk of samples at a time; each chunk is one commit. After an error, all samples before
                it are committed.
            verbose: Whether to show a progress bar.
            batch_bytes: Bytes with which a batch ends earlier, so that large samples do not fill the memory.
            dtype: The dtype to store; None: that of the first samples.
            mode: Mode of the returned handle. None: reading needs no write permission, only the first mutation does.
                "r": mutations raise. "c": mutations raise, and arrays are returned as writable copies.
            if_exists: What to do if there is a dataset already. "replace": build a new one beside it, then switch;
                samples that others append to the old one meanwhile are lost. "error": raise. "append": add to it.
                "resume": continue an interrupted build: pass all samples again, from the first one; a finished dataset
                is returned as it is, with a warning if the source is longer. "reuse": open a complete dataset of the
                same kind, columns and version; raise if it is another one; wait while another process builds it; go on
                with a build that ended early.
            metadata: A dict to store as JSON; the `metadata` property returns it.
            version: A string to store as `metadata["version"]`; a dataset of another version is not reused, resumed or
                appended to. None: any version will do.
            durability: None: safe against power loss when this returns. "process": do not wait for the disk, unless a
                dataset is replaced; until the next `flush`, opening it after a reboot, or opening a copy, checks all
                that was written. "machine": safe after every batch.
            lock_timeout: Seconds to wait for other processes' commits.

        Raises:
            ImportError: if workers are asked for and cloudpickle is missing: `pip install "mmap_ninja[parallel]"`.
            TypeError: if the source cannot be pickled for workers, or a sample has the wrong type.
            WorkerError: if a worker process dies, or its source raises an exception that cannot be pickled.

        Example:
            >>> import numpy as np
            >>> import mmap_ninja as mn
            >>> def image(index: int) -> np.ndarray:
            ...     return np.full((2, 2), index, np.uint8)
            >>> source = mn.parallel.make_indexable(image, length=100)
            >>> images = mn.ArrayMmap.from_indexable("images", source, n_jobs=-1)
            >>> images.shape, images[99, 0, 0].item()
            ((100, 2, 2), 99)
        """
        options = Options(batch_size, batch_bytes, verbose, if_exists, metadata, durability, lock_timeout, version)
        source: Any = paced.indexed(indexable, n_jobs, options)
        return cls._build(out_dir, source, mode, options, one_column(_column(dtype, out_dir)))


def _column(dtype: DTypeLike | None, out_dir: PathLike) -> Array:
    return Array() if dtype is None else Array(checked_dtype(dtype, str(out_dir)), declared=True)
