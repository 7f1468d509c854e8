"""`open`: a dataset of any kind, by its path."""

from collections.abc import Callable
from typing import Any, Final

from mmap_ninja.engine import files
from mmap_ninja.engine.dataset import DEFAULT_LOCK_TIMEOUT, Durability
from mmap_ninja.errors import CorruptDatasetError
from mmap_ninja.exported import exported
from mmap_ninja.kinds import memmaps
from mmap_ninja.kinds.arrays import ArrayMmap
from mmap_ninja.kinds.bytes import BytesMmap
from mmap_ninja.kinds.handle import DatasetHandle, handle_over
from mmap_ninja.kinds.options import HandleOptions, Mode, PathLike, ReadMode
from mmap_ninja.kinds.ragged import RaggedMmap
from mmap_ninja.kinds.records import RecordsMmap
from mmap_ninja.kinds.showing import warn_of
from mmap_ninja.kinds.strings import StringsMmap
from mmap_ninja.kinds.wrapped import Wrapped
from mmap_ninja.legacy.dataset import open_dataset
from mmap_ninja.maintenance.verify import Level
from mmap_ninja.maintenance.verify import verify as verify_files

_CLASSES: Final[dict[str, type[DatasetHandle[Any]]]] = {
    "strings": StringsMmap,
    "bytes": BytesMmap,
    "array": ArrayMmap,
    "ragged": RaggedMmap,
    "records": RecordsMmap,
}


@exported
def open(
    path: PathLike,
    mode: Mode | None = None,
    *,
    durability: Durability = "process",
    lock_timeout: float = DEFAULT_LOCK_TIMEOUT,
    read_mode: ReadMode | None = None,
    verify: Level | None = None,
    commit_id: str | None = None,
) -> DatasetHandle[Any]:
    """Open an existing dataset with the class of its kind; directories of mmap_ninja 0.2 to 0.9, too.

    Args:
        path: The dataset's directory.
        mode: None: reads need no write permission, and the first mutation asks for it. "r": mutations raise. "c": they
            raise, too, and arrays are given out as writable copies.
        durability: "process": a commit survives a crash of the process at once, a power loss from the next `flush` or
            `close` on. "machine": every commit waits until it survives both.
        lock_timeout: Seconds to wait for other processes' commits.
        read_mode: "mmap": samples are read over maps of the files. "pread": by system calls, so that a file that is cut
            while it is read, or a medium that goes away, is an error, not the end of the process; arrays are in memory
            of their own then. None: "pread" on network filesystems and FUSE, else "mmap".
        verify: Look at the files first, as `mmap_ninja.verify` does at this level. "full" for what comes from
            elsewhere.
        commit_id: Show exactly the commit of which a handle's property of this name has told; None: the newest. The
            handle's first mutation, and `refresh`, move it on from there.

    Raises:
        NotADatasetError: if the path is missing or holds no dataset.
        CorruptDatasetError: if its files contradict each other, or what was verified is damaged: the message is the
            report.
        FormatVersionError: if a newer version of mmap_ninja wrote it.
        StaleHandleError: if the dataset no longer holds that commit.
        ValueError: if `commit_id` is no commit's.

    Example:
        >>> _ = StringsMmap.from_strings("reviews", ["good", "bad"])
        >>> import mmap_ninja
        >>> mmap_ninja.open("reviews")[1]
        'bad'
    """
    options = HandleOptions(mode, durability, lock_timeout, read_mode)
    if verify is not None and not (report := verify_files(path, verify)).ok:
        raise CorruptDatasetError(str(report))
    dataset = open_dataset(files.absolute(path), None, durability, lock_timeout)
    if commit_id is not None:
        newest = dataset.snapshot.identity
        assert newest is not None  # noqa: S101 - a dataset has one
        dataset.pin(newest.named(commit_id))
    handle = handle_over(_CLASSES[dataset.meta.kind], dataset, path, options)
    warn_of(handle, dataset, stacklevel=3)
    return handle


@exported
def open_existing(
    out_dir: PathLike, wrapper_fn: Callable[[Any], Any] | None = None, mode: Mode = "r+b"
) -> memmaps.Memmap | DatasetHandle[Any] | Wrapped:
    """Open an existing dataset as 0.x did: arrays of one shape as a read-only `np.memmap`.

    Args:
        out_dir: The dataset's directory.
        wrapper_fn: Called with each sample; what is returned is a `Wrapped` then, or a `RaggedMmap` with it.
        mode: Of strings and bytes.

    Raises:
        NotADatasetError: if the path is missing or holds no dataset.

    Example:
        >>> import numpy as np
        >>> import mmap_ninja
        >>> _ = mmap_ninja.np_from_ndarray("numbers", np.arange(3))
        >>> mmap_ninja.open_existing("numbers", wrapper_fn=lambda number: number + 1)[2].item()
        3
    """
    dataset = open(out_dir, mode)
    if isinstance(dataset, RaggedMmap):
        return RaggedMmap(out_dir, wrapper_fn=wrapper_fn)
    samples = memmaps.np_open_existing(out_dir) if isinstance(dataset, ArrayMmap) else dataset
    return samples if wrapper_fn is None else Wrapped(samples, wrapper_fn)
