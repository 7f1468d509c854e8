"""The files of a directory: opened, created, synced, locked. Moves bytes without interpreting them.

The kernel's `io` functions make every system call that changes a file, also those of a commit; only this module calls
them. `watch` lets a test see each call and make it fail. Descriptors and locks are objects of the kernel, so that no
signal handler runs between opening a file and owning it.
"""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

from mmap_ninja import _kernel
from mmap_ninja.errors import DatasetTruncatedError, LockTimeoutError, NotADatasetError, ReadOnlyError

Scope = _kernel.Scope

_MOST_AT_ONCE = 1 << 30  # below the 2 GiB that Linux reads in one call
_NOT_WRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS)


class Range(NamedTuple):
    """A range of a file, to copy into another one."""

    file: _kernel.File
    offset: int
    size: int


AnyPath = Path | str
Content = bytes | Range
Hook = Callable[[str, str | int, int, int, bytes | None], int | None]


def watch(hook: Hook | None) -> None:
    """Call `hook(call, path or fd, offset, size, data)` before every system call that changes a file.

    The hook may raise OSError, with which the call then fails. It may return a number: a write stops after so many
    bytes; any other call is skipped, and succeeds, if it is above 0. For tests; None removes the hook.
    """
    _kernel.set_io_hook(hook)


def absolute(path: str | os.PathLike[str]) -> Path:
    """The absolute path of a dataset; symbolic links are not resolved, so that they may change later.

    Raises:
        TypeError: if it is no path, or one of bytes.
        ValueError: if the path cannot be passed to the system.
    """
    if not isinstance(path, str | os.PathLike) or not isinstance(given := os.fspath(path), str):
        raise TypeError(f"path {path!r:.80}: expected a str or a pathlib.Path; os.fsdecode makes a str of bytes")
    text = os.path.abspath(given)
    if "\0" in text:
        raise ValueError(f"path {text!r}: has a null character; choose another path")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"path {text!r}: is not UTF-8; rename it, or reach it through a symbolic link") from None
    return Path(text)


_follows_links = ContextVar("_follows_links", default=False)


def following_links(follow: bool) -> AbstractContextManager[None]:
    """A context in which `open_read` follows symbolic links in this thread, if the user asked for that."""
    return _following_links() if follow else nullcontext()


@contextmanager
def _following_links() -> Iterator[None]:
    try:
        _follows_links.set(True)
        yield
    finally:
        _follows_links.set(False)


def open_read(path: AnyPath) -> _kernel.File:
    """Open a regular file for reading; FIFOs and devices are refused, and so are symbolic links by default."""
    return _kernel.open_file(str(path), False, _follows_links.get())


def check_room(count: int, path: AnyPath) -> None:
    """Raise the OSError of a process that has too many files open, if it cannot open so many more."""
    _kernel.check_room(count, str(path))


def named(path: AnyPath) -> _kernel.File:
    """A file as `open_read` opens it, but only when it is read, by `borrowed`: a process has few descriptors."""
    return _kernel.named_file(str(path), _follows_links.get())


def open_write(path: AnyPath) -> _kernel.File:
    """Open an existing regular file for reading and writing.

    Raises:
        ReadOnlyError: if the permissions or the filesystem forbid it.
    """
    try:
        return _kernel.open_file(str(path), True)
    except OSError as error:
        raise _explained(path, error) from None


def create(path: AnyPath, like: _kernel.File | None) -> _kernel.File:
    """Create a file that must not exist yet, and open it for reading and writing.

    Args:
        path: Its path.
        like: A file in the same dataset: the new one gets its mode and, where permitted, its group, so that whoever may
            use a dataset may use all of its files. None: the defaults.
    """
    try:
        return _kernel.create_file(str(path), like)
    except OSError as error:
        raise _explained(path, error) from None


def _explained(path: AnyPath, error: OSError) -> OSError:
    """The error, turned into a ReadOnlyError if writing is forbidden."""
    return read_only(path, error) if error.errno in _NOT_WRITABLE else error


def read_only(path: AnyPath, error: OSError) -> ReadOnlyError:
    """The error for a file or directory that cannot be written."""
    return ReadOnlyError(
        f"{path}: cannot be written ({os.strerror(error.errno or 0)}); it can still be read: to write, get write "
        "permission for the directory and its files, work on a copy, or choose another path"
    )


def exists(path: AnyPath) -> bool:
    """Whether something is at a path; `Path.exists` makes ten calls, which would slow down a first commit."""
    try:
        os.stat(path)  # noqa: PTH116
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            return False
        raise
    return True


def size(path: AnyPath) -> int:
    """Size in bytes of the file at a path."""
    return os.stat(path).st_size  # noqa: PTH116 - as for `exists`


def read(path: AnyPath, limit: int) -> bytes:
    """The content of a small immutable file, at most `limit` + 1 bytes of it."""
    with open_read(path) as file:
        fd = file.fileno()
        return os.pread(fd, min(os.fstat(fd).st_size, limit + 1), 0)


def read_at(fd: int, size: int, offset: int, path: AnyPath) -> bytes:
    """Read exactly `size` bytes of an open file.

    Raises:
        DatasetTruncatedError: if the file is too short.
    """
    parts = []
    while size:
        parts.append(part := os.pread(fd, min(size, _MOST_AT_ONCE), offset))
        if not part:
            raise DatasetTruncatedError(f"{path}: the file was truncated while it was read; restore it from a copy")
        size, offset = size - len(part), offset + len(part)
    return b"".join(parts)


def write(file: _kernel.File, data: "_kernel.Buffer", offset: int, path: AnyPath) -> None:
    """Write all of `data` at `offset`.

    Raises:
        ForkedHandleError: in a process that was forked from the one that opened the file.
    """
    _kernel.write_at(file, data, offset, str(path))


def put(file: _kernel.File, content: Content, offset: int, path: AnyPath) -> int:
    """Write bytes, or a range of another file, at `offset`; returns how many."""
    if isinstance(content, Range):
        source = content.file.borrowed()
        _kernel.copy_range(source.fileno(), content.offset, file, offset, content.size, str(path))
        return content.size
    _kernel.write_at(file, content, offset, str(path))
    return len(content)


def start_writeback(file: _kernel.File, offset: int, size: int) -> None:
    """Make the system start writing a range to the disk, so that a later `sync` waits less."""
    _kernel.start_writeback(file, offset, size)


def sync(file: _kernel.File, path: AnyPath) -> None:
    """Wait until a file's data is on the disk."""
    _kernel.sync_data(file, str(path))


def sync_directory(path: AnyPath, inside: AnyPath | None = None) -> None:
    """Wait until the names in a directory are on the disk; `inside` as for `names_to_sync`."""
    names_to_sync(path, inside or path)()


def names_to_sync(path: AnyPath, inside: AnyPath) -> Callable[[], None]:
    """Open a directory; the returned function waits until the names in it are on the disk.

    Args:
        path: The directory.
        inside: A readable path on the same filesystem: if the directory cannot be opened, the whole filesystem is
            synced.
    """
    try:
        return partial(_kernel.sync_directory, _kernel.open_directory(str(path)), str(path))
    except PermissionError:
        return partial(_kernel.sync_filesystem, _kernel.open_directory(str(inside)), str(path))


def make_directories(path: Path) -> None:
    """Create a directory and its missing parents, durably."""
    if path.is_dir():
        return
    make_directories(path.parent)
    try:
        _kernel.make_directory(str(path))
    except FileExistsError:
        if not path.is_dir():
            raise NotADatasetError(f"{path}: is a file where a directory was expected") from None
        return
    except OSError as error:
        if error.errno in _NOT_WRITABLE:
            raise read_only(path, error) from None
        raise
    sync_directory(path.parent, path)


def rename(source: AnyPath, target: AnyPath) -> None:
    """Rename a file, replacing one of the new name."""
    _kernel.rename_file(str(source), str(target))


def remove(path: AnyPath) -> None:
    """Unlink a file, if it exists."""
    try:
        _kernel.remove_file(str(path))
    except FileNotFoundError:
        return


def remove_directory(path: AnyPath) -> None:
    """Remove a directory if it is empty."""
    try:
        _kernel.remove_directory(str(path))
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTEMPTY, errno.EEXIST):
            raise


def names(path: AnyPath) -> list[str]:
    """The names in a directory, sorted."""
    return sorted(os.listdir(path))


def surroundings(fd: int, path: AnyPath) -> tuple[int, int]:
    """Numbers that identify the mount and the disk of an open file; 0: unknown."""
    return _kernel.place_of(fd, str(path))[2:]


def reads_by_map(fd: int) -> bool:
    """Whether an open file should be read from a map: not on network filesystems and FUSE.

    There, the file may be truncated or disappear without notice, and a failing read of a map kills the process.
    """
    return not _kernel.is_remote(fd)


def sees_locks(path: Path) -> bool:
    """Whether locks of files in a directory, or its nearest parent that exists, are seen by all who use them.

    Not on network filesystems and FUSE. One that cannot be read counts as local, as does one that does not tell.
    """
    existing = next(folder for folder in (path, *path.parents) if folder.is_dir())
    if not os.access(existing, os.R_OK):
        return True
    with _kernel.open_directory(str(existing)) as opened:
        return not _kernel.is_remote(opened.fileno())


def stays_itself(fd: int) -> bool:
    """Whether descriptors that are already open see later writes to a file: not on an overlay filesystem.

    There, as in containers, the first write copies the file; maps of the old one show zeros where the new one grows.
    """
    return not _kernel.is_overlay(fd)


@cache
def boot_id() -> bytes:
    """16 bytes that change with every boot of this machine; zeros if the system has no boot id."""
    return _kernel.boot_id()


def lock(path: AnyPath, timeout: float) -> _kernel.File | None:
    """Open a file and lock it until it is closed; None if another process holds the lock for `timeout` seconds.

    Raises:
        ReadOnlyError: if the permissions or the filesystem forbid it.
    """
    try:
        return _kernel.lock_file(str(path), timeout)
    except OSError as error:
        raise _explained(path, error) from None


def is_held(path: AnyPath) -> bool:
    """Whether this process itself holds the lock of the file at a path."""
    return _kernel.is_held(str(path))


def lock_timeout(path: AnyPath, timeout: float) -> LockTimeoutError:
    """The error for a lock that was not free in time; names the process that holds it, if the system tells."""
    return LockTimeoutError(
        f"{path}: {lock_holder(path)} has held the lock for {timeout:g} s; wait for it, end it, or open with a longer "
        "lock_timeout"
    )


def lock_holder(path: AnyPath) -> str:
    """The holder of a file's lock, in words, with its process id and program if the system tells."""
    try:
        inode = str(Path(path).stat().st_ino)
        for line in Path("/proc/locks").read_text().splitlines():
            fields = line.split()
            # "1: FLOCK ADVISORY WRITE 1234 fe:00:5678 0 EOF"; waiting processes have "->" in the second field
            if len(fields) >= 6 and fields[1] == "FLOCK" and fields[5].rsplit(":", 1)[-1] == inode:
                return f"process {fields[4]}{_program_of(fields[4])}"
    except OSError:
        pass
    return "another process"


def _program_of(process: str) -> str:
    """The name of the program that a process runs, in parentheses, if the system tells."""
    try:
        return f" ({Path('/proc', process, 'comm').read_text(errors='replace').strip()})"
    except OSError:
        return ""
