"""`open`: a dataset of any kind, by its path."""

from collections.abc import Callable
from typing import Any, Final, Literal, overload

from mmap_ninja.engine import files
from mmap_ninja.engine.dataset import DEFAULT_LOCK_TIMEOUT, Durability
from mmap_ninja.errors import CorruptDatasetError
from mmap_ninja.exported import exported
from mmap_ninja.format.meta import Kind
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

CLASSES: Final[dict[str, type[DatasetHandle[Any]]]] = {
    "strings": StringsMmap,
    "bytes": BytesMmap,
    "array": ArrayMmap,
    "ragged": RaggedMmap,
    "records": RecordsMmap,
}


@overload
def open(
    path: PathLike,
    mode: Mode | None = None,
    *,
    kind: Literal["strings"],
    durability: Durability = ...,
    lock_timeout: float = ...,
    read_mode: ReadMode | None = None,
    verify: Level | None = None,
    commit_id: str | None = None,
    follow_symlinks: bool = False,
) -> StringsMmap: ...
@overload
def open(
    path: PathLike,
    mode: Mode | None = None,
    *,
    kind: Literal["bytes"],
    durability: Durability = ...,
    lock_timeout: float = ...,
    read_mode: ReadMode | None = None,
    verify: Level | None = None,
    commit_id: str | None = None,
    follow_symlinks: bool = False,
) -> BytesMmap: ...
@overload
def open(
    path: PathLike,
    mode: Mode | None = None,
    *,
    kind: Literal["array"],
    durability: Durability = ...,
    lock_timeout: float = ...,
    read_mode: ReadMode | None = None,
    verify: Level | None = None,
    commit_id: str | None = None,
    follow_symlinks: bool = False,
) -> ArrayMmap: ...
@overload
def open(
    path: PathLike,
    mode: Mode | None = None,
    *,
    kind: Literal["ragged"],
    durability: Durability = ...,
    lock_timeout: float = ...,
    read_mode: ReadMode | None = None,
    verify: Level | None = None,
    commit_id: str | None = None,
    follow_symlinks: bool = False,
) -> RaggedMmap: ...
@overload
def open(
    path: PathLike,
    mode: Mode | None = None,
    *,
    kind: Literal["records"],
    durability: Durability = ...,
    lock_timeout: float = ...,
    read_mode: ReadMode | None = None,
    verify: Level | None = None,
    commit_id: str | None = None,
    follow_symlinks: bool = False,
) -> RecordsMmap: ...
@overload
def open(
    path: PathLike,
    mode: Mode | None = None,
    *,
    kind: None = None,
    durability: Durability = ...,
    lock_timeout: float = ...,
    read_mode: ReadMode | None = None,
    verify: Level | None = None,
    commit_id: str | None = None,
    follow_symlinks: bool = False,
) -> DatasetHandle[Any]: ...
@exported
def open(
    path: PathLike,
    mode: Mode | None = None,
    *,
    kind: Kind | None = None,
    durability: Durability = "process",
    lock_timeout: float = DEFAULT_LOCK_TIMEOUT,
    read_mode: ReadMode | None = None,
    verify: Level | None = None,
    commit_id: str | None = None,
    follow_symlinks: bool = False,
) -> DatasetHandle[Any]:
    """Open an existing dataset with the class of its kind, also one of mmap_ninja 0.2 to 0.9.

    Args:
        path: The dataset's directory.
        mode: None: reading needs no write permission, only the first mutation does. "r": mutations raise. "c":
            mutations raise, and arrays are returned as writable copies.
        kind: The kind that the dataset must have: then editors and type checkers know its class. None: any.
        durability: "process": a commit survives a crash of this process at once, and a power loss after the next
            `flush` or `close`. "machine": each commit waits until it survives both.
        lock_timeout: Seconds to wait for other processes' commits.
        read_mode: "mmap": samples are read from memory maps of the files. "pread": system calls read samples into
            memory of their own, so that a file that is truncated meanwhile, or a disk that disappears, raises an error
            instead of killing the process. None: "pread" on network filesystems and FUSE, else "mmap".
        verify: Check the files first, as `mmap_ninja.verify` does at this level. Use "full" for files of unknown
            origin.
        commit_id: Show exactly this commit, as given by the `commit_id` of a handle; None: the newest. The first
            mutation of the handle, or `refresh`, moves it to the newest commit.
        follow_symlinks: Whether the dataset's files may be symbolic links, wherever they lead, as in the cache of a
            model hub; then the handle is only for reading, and None as `mode` is "r".

    Raises:
        NotADatasetError: if the path is missing or holds no dataset.
        TypeError: if the dataset is of another kind than `kind`.
        CorruptDatasetError: if its files contradict each other, or `verify` found damage; then the message is the
            report.
        FormatVersionError: if it was written by a newer version of mmap_ninja.
        StaleHandleError: if the dataset no longer holds that commit.
        ValueError: if `commit_id` is not the identifier of a commit, or `mode` allows mutations through symbolic links.

    Example:
        >>> import mmap_ninja as mn
        >>> _ = mn.StringsMmap.from_strings("reviews", ["good", "bad"])
        >>> mn.open("reviews")[1]
        'bad'
        >>> mn.open("reviews", "r", kind="strings", verify="quick")
        StringsMmap('.../reviews', 2 samples, 7 bytes)
    """
    if follow_symlinks and mode is None:
        mode = "r"
    if kind is not None and kind not in CLASSES:
        raise ValueError(f"kind {kind!r} is unknown (expected None or one of {(*CLASSES,)})")
    options = HandleOptions(mode, durability, lock_timeout, read_mode, follow_symlinks=follow_symlinks)
    with files.following_links(follow_symlinks):
        if verify is not None and not (report := verify_files(path, verify)).ok:
            raise CorruptDatasetError(str(report))
        dataset = open_dataset(files.absolute(path), kind, durability, lock_timeout)
    if commit_id is not None:
        newest = dataset.snapshot.identity
        assert newest is not None  # noqa: S101 - always present in a dataset
        dataset.pin(newest.named(commit_id))
    handle = handle_over(CLASSES[dataset.meta.kind], dataset, path, options)
    warn_of(handle, dataset, stacklevel=3)
    return handle


@exported
def open_existing(
    out_dir: PathLike, wrapper_fn: Callable[[Any], Any] | None = None, mode: Mode = "r+b"
) -> memmaps.Memmap | DatasetHandle[Any] | Wrapped[Any]:
    """Open an existing dataset as 0.x did: an array dataset is returned as a read-only `np.memmap`.

    Args:
        out_dir: The dataset's directory.
        wrapper_fn: Called with each sample; then a `Wrapped` is returned, or a `RaggedMmap` with this function.
        mode: Mode of the handle, for strings and bytes.

    Raises:
        NotADatasetError: if the path is missing or holds no dataset.

    Example:
        >>> import numpy as np
        >>> import mmap_ninja as mn
        >>> _ = mn.np_from_ndarray("numbers", np.arange(3))
        >>> mn.open_existing("numbers", wrapper_fn=lambda number: number + 1)[2].item()
        3
    """
    dataset = open(out_dir, mode)
    if isinstance(dataset, RaggedMmap):
        return RaggedMmap(out_dir, wrapper_fn=wrapper_fn)
    samples = memmaps.np_open_existing(out_dir) if isinstance(dataset, ArrayMmap) else dataset
    return samples if wrapper_fn is None else Wrapped(samples, wrapper_fn)
