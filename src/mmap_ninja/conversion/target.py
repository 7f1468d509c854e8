"""Where `export` writes: a file or folder that appears at its path in one step, when it is complete."""

import errno
import io
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal

from mmap_ninja import _kernel
from mmap_ninja.engine import files

IfExists = Literal["error", "replace"]

_BUFFER: Final = 1 << 20  # bytes; libraries write some parts of a file in small pieces
_FULL: Final = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True, slots=True)
class Target:
    """A path that shows nothing of an export before all of it.

    Args:
        path: Where it is to appear.
        if_exists: Whether a file there is replaced.
    """

    path: Path
    if_exists: IfExists

    @contextmanager
    def file(self) -> Iterator[BinaryIO]:
        """A new file to write; it is on the disk, and at the path, when the context ends without an error."""
        self.check(is_folder=False)
        with self._beside() as beside:
            with files.create(beside, None) as created:
                sink = _Sink(created, beside)
                with io.BufferedWriter(sink, _BUFFER) as buffered:
                    try:
                        yield buffered
                    except BaseException:
                        sink.is_abandoned = True
                        raise
                files.sync(created, beside)
            self.check(is_folder=False)
            files.rename(beside, self.path)
        files.sync_directory(self.path.parent)

    @contextmanager
    def folder(self) -> Iterator[Path]:
        """A new folder to fill; it is at the path when the context ends without an error."""
        self.check(is_folder=True)
        with self._beside() as beside:
            files.make_directories(beside)
            yield beside
            self.check(is_folder=True)
            files.rename(beside, self.path)
        files.sync_directory(self.path.parent)

    @contextmanager
    def workplace(self) -> Iterator[Path]:
        """A path on the same disk, for what is there only during the export."""
        with self._beside() as beside:
            try:
                yield beside
            finally:
                shutil.rmtree(beside, ignore_errors=True)

    @contextmanager
    def _beside(self) -> Iterator[Path]:
        """A path beside this one, where nothing stays after an error."""
        files.make_directories(self.path.parent)
        beside = self.path.with_name(f".{self.path.name[:100]}.{secrets.token_hex(4)}.export")
        try:
            yield beside
        except BaseException as error:
            if beside.is_dir():
                shutil.rmtree(beside, ignore_errors=True)
            else:
                files.remove(beside)
            if isinstance(error, OSError) and error.errno in _FULL:
                told = f"{os.strerror(error.errno)}; nothing of the export is left: free some, or choose another disk"
                raise OSError(error.errno, told, str(self.path)) from None
            raise

    def check(self, *, is_folder: bool) -> None:
        """Raise FileExistsError if what is at the path must stay."""
        if not os.path.lexists(self.path):
            return
        if is_folder:
            # An empty one is replaced by the rename. The files in another one may be anybody's.
            if not self.path.is_dir() or any(self.path.iterdir()):
                raise FileExistsError(
                    f"{self.path}: exists, and a folder is never replaced; remove it, or choose another path"
                )
        elif self.path.exists() and not self.path.is_file():
            raise FileExistsError(f"{self.path}: is no regular file; choose another path")
        elif self.if_exists == "error":
            raise FileExistsError(f"{self.path}: exists already; choose another path, or pass if_exists='replace'")


class _Sink(io.RawIOBase):
    """A new file for libraries that write to an object of Python."""

    def __init__(self, file: _kernel.File, path: Path) -> None:
        self._file, self._path, self._size = file, path, 0
        self.is_abandoned = False  # then what is still buffered goes nowhere

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._size

    def write(self, data: Any, /) -> int:
        size = memoryview(data).nbytes
        if size and not self.is_abandoned:
            files.write(self._file, data, self._size, self._path)
            self._size += size
        return size


def write_new(path: str, data: bytes) -> None:
    """Write a file that must not exist yet."""
    with files.create(path, None) as created:
        files.write(created, data, 0, path)
