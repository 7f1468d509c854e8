"""`RaggedMmap`: a list of arrays of any shape on disk."""

from collections.abc import Callable, Iterable
from typing import Any, Self

import numpy.typing as npt

from mmap_ninja.builds import paced, sources
from mmap_ninja.builds.build import IfExists, Options
from mmap_ninja.columns.casting import checked_dtype
from mmap_ninja.columns.limits import BATCH_BYTES
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

    `ds[i]` is a read-only view of the map; `take` gives owned, writable arrays. What a library that ignores the flag
    writes to a view, such as PyTorch in `torch.as_tensor(ds[i]).add_(1)`, is stored nowhere, but `ds[i]` shows it until
    the next `iter(ds)` or `refresh()`: call `.clone()` first, or open with mode "c".

    Args:
        out_dir: The dataset's directory. If it is missing, the handle is empty, and its first `append` creates it.
        wrapper_fn: Called with each sample that is returned, alone or in a list; not for jagged and padded batches. It
            must be importable for the handle to be pickled.
        mode: None: reading needs no write permission, only the first mutation does. "r": mutations raise. "c":
            mutations raise, and arrays are returned as writable copies.
        starts_key: Name of the folder of starts in a directory of 0.x, if it differs.
        ends_key: Name of the folder of ends in a directory of 0.x, if it differs.
        shapes_key: Name of the folder of shapes in a directory of 0.x, if it differs.
        flattened_shapes_key: Name of the folder of flattened shapes in a directory of 0.x, if it differs.
        copy_before_wrapper_fn: Whether `wrapper_fn` gets a writable copy; else it gets the read-only view.
        durability: "process": a commit survives a crash of this process at once, and a power loss after the next
            `flush` or `close`. "machine": each commit waits until it survives both.
        lock_timeout: Seconds to wait for other processes' commits.
        read_mode: "mmap": samples are read from memory maps of the files. "pread": system calls read samples into
            memory of their own, so that a file that is truncated meanwhile, or a disk that disappears, raises an error
            instead of killing the process. None: "pread" on network filesystems and FUSE, else "mmap".

    Example:
        >>> import numpy as np
        >>> import mmap_ninja as mn
        >>> rows = mn.RaggedMmap.from_lists("rows", [[1, 2, 3], [4]], dtype=np.int32)
        >>> rows.append([5, 6])
        >>> rows[2].tolist(), rows.lengths.tolist()
        ([5, 6], [3, 1, 2])
        >>> batch, lengths = rows.take_padded([0, 1], value=-1)
        >>> batch.tolist()
        [[1, 2, 3], [4, -1, -1]]

    Raises:
        NotADatasetError: if there is something else at the path.
        TypeError: if the dataset is of another kind.
        CorruptDatasetError: if the dataset's files contradict each other.
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
        super().__init__(
            out_dir,
            HandleOptions(mode, durability, lock_timeout, read_mode, keys, wrapper_fn, copy_before_wrapper_fn),
        )

    @classmethod
    def from_lists(
        cls,
        out_dir: PathLike,
        lists: Iterable[npt.ArrayLike],
        dtype: DTypeLike | None = None,
        mode: Mode | None = None,
        wrapper_fn: Wrapper | None = None,
        starts_key: str = "starts",
        ends_key: str = "ends",
        shapes_key: str = "shapes",
        flattened_shapes_key: str = "flattened_shapes",
        *,
        batch_size: int = 1024,
        batch_bytes: int = BATCH_BYTES,
        verbose: bool = False,
        copy_before_wrapper_fn: bool = True,
        if_exists: IfExists = "replace",
        metadata: dict[str, Any] | None = None,
        version: str | None = None,
        durability: Durability | None = None,
        lock_timeout: float = DEFAULT_LOCK_TIMEOUT,
    ) -> Self:
        """Store samples that are in memory, and open the dataset.

        Args:
            out_dir: The dataset's directory; missing parents are created.
            lists: The samples: arrays, or lists of numbers, nested for several dimensions.
            dtype: The dtype to store; None: that of the first samples.
            mode: Mode of the returned handle. None: reading needs no write permission, only the first mutation does.
                "r": mutations raise. "c": mutations raise, and arrays are returned as writable copies.
            wrapper_fn: Called with each sample that is returned, alone or in a list; not for jagged and padded batches.
                It must be importable for the handle to be pickled.
            starts_key: Inherited; any other name raises, since such names only serve to read directories of 0.x.
            ends_key: Inherited; any other name raises, since such names only serve to read directories of 0.x.
            shapes_key: Inherited; any other name raises, since such names only serve to read directories of 0.x.
            flattened_shapes_key: Inherited; any other name raises, since such names only serve to read directories of
                0.x.
            batch_size: Samples per commit, at most.
            batch_bytes: Bytes with which a batch ends earlier, so that large samples do not fill the memory.
            verbose: Whether to show a progress bar.
            copy_before_wrapper_fn: Whether `wrapper_fn` gets a writable copy; else it gets the read-only view.
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
            FileExistsError: if there is a dataset and `if_exists="error"`.
            NotADatasetError: if the path is a file, or a directory with files that do not belong to a dataset.
            TypeError: if a sample has the wrong type.

        Example:
            >>> import mmap_ninja as mn
            >>> rows = mn.RaggedMmap.from_lists("rows", [[1, 2, 3], [4]], dtype="int32")
            >>> rows[0], rows.lengths.tolist()
            (array([1, 2, 3], dtype=int32), [3, 1])
        """
        check_keys(starts_key, ends_key, shapes_key, flattened_shapes_key)
        return cls.from_generator(
            out_dir,
            lists,
            batch_size,
            verbose,
            batch_bytes=batch_bytes,
            dtype=dtype,
            mode=mode,
            wrapper_fn=wrapper_fn,
            copy_before_wrapper_fn=copy_before_wrapper_fn,
            if_exists=if_exists,
            metadata=metadata,
            version=version,
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
        batch_bytes: int = BATCH_BYTES,
        dtype: DTypeLike | None = None,
        mode: Mode | None = None,
        wrapper_fn: Wrapper | None = None,
        copy_before_wrapper_fn: bool = True,
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
            wrapper_fn: Called with each sample that is returned, alone or in a list; not for jagged and padded batches.
                It must be importable for the handle to be pickled.
            copy_before_wrapper_fn: Whether `wrapper_fn` gets a writable copy; else it gets the read-only view.
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
            >>> import mmap_ninja as mn
            >>> rows = mn.RaggedMmap.from_generator("rows", (range(k) for k in range(4)), dtype="uint16")
            >>> rows.lengths.tolist(), str(rows.dtype)
            ([0, 1, 2, 3], 'uint16')
        """
        options = Options(batch_size, batch_bytes, verbose, if_exists, metadata, durability, lock_timeout, version)
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
        batch_bytes: int = BATCH_BYTES,
        dtype: DTypeLike | None = None,
        mode: Mode | None = None,
        wrapper_fn: Wrapper | None = None,
        copy_before_wrapper_fn: bool = True,
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
            wrapper_fn: Called with each sample that is returned, alone or in a list; not for jagged and padded batches.
                It must be importable for the handle to be pickled.
            copy_before_wrapper_fn: Whether `wrapper_fn` gets a writable copy; else it gets the read-only view.
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
            >>> def photo(index: int) -> np.ndarray:
            ...     return np.zeros((index + 1, 4, 3), np.uint8)
            >>> photos = mn.RaggedMmap.from_indexable("photos", mn.parallel.make_indexable(photo, length=10), n_jobs=2)
            >>> photos[9].shape, len(photos)
            ((10, 4, 3), 10)
        """
        options = Options(batch_size, batch_bytes, verbose, if_exists, metadata, durability, lock_timeout, version)
        configuration = {"wrapper_fn": wrapper_fn, "copy_before_wrapper_fn": copy_before_wrapper_fn}
        source: Any = paced.indexed(indexable, n_jobs, options)
        return cls._build(out_dir, source, mode, options, one_column(_column(dtype, out_dir)), configuration)


def _column(dtype: DTypeLike | None, out_dir: PathLike) -> Ragged:
    return Ragged() if dtype is None else Ragged(checked_dtype(dtype, str(out_dir)), declared=True)
