"""The files below a folder, in the order of their paths."""

import os
import re
from array import array
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Final, Self, overload

_READ_BYTES: Final = 16 << 10  # at once: more than most small files have


_END: Final = b"\0"  # of a path in the string of all


class Files(Sequence[str]):
    """Paths relative to a folder.

    Args:
        joined: All paths as one string of bytes: a list would take five times the memory.
        ends: Where each begins in it, and at last where the last one ends.
        places: Which of them count; None: all.
    """

    def __init__(self, joined: bytes, ends: "array[int]", places: "array[int] | None" = None) -> None:
        self._joined, self._ends = joined, ends
        self._places = range(len(ends) - 1) if places is None else places

    @classmethod
    def of(cls, names: Iterable[bytes]) -> Self:
        """The paths of an iterable."""
        joined, ends = bytearray(), array("q", [0])
        for name in names:
            joined += name + _END
            ends.append(len(joined))
        return cls(bytes(joined), ends)

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        return os.fsdecode(self.raw(index))

    def raw(self, index: int) -> bytes:
        """The path at a position as the system has it, which opens a file sooner."""
        return self._at(self._places[index])

    def __iter__(self) -> Iterator[str]:
        return (os.fsdecode(self._at(place)) for place in self._places)

    def ending(self, *suffixes: str) -> "Files":
        """The files with one of these ends of their names, in small letters or capitals."""
        ends = tuple(map(os.fsencode, suffixes))
        places = (place for place in self._places if self._at(place).lower().endswith(ends))
        return Files(self._joined, self._ends, array("I", places))

    def has(self, *suffixes: str) -> bool:
        """Whether one of all files has one of these ends of its name, in small letters or capitals."""
        lower = self._joined.lower()  # one search through all: a format more must not cost a look at each name
        return any(os.fsencode(suffix) + _END in lower for suffix in suffixes)

    def matching(self, pattern: re.Pattern[bytes]) -> "Files":
        """The files whose paths match a pattern, in small letters, with a null at the end."""
        places = (place for place in self._places if pattern.search(self._at(place).lower() + _END))
        return Files(self._joined, self._ends, array("I", places))

    def has_match(self, pattern: re.Pattern[bytes]) -> bool:
        """Whether one of all files has such a path."""
        return pattern.search(self._joined.lower()) is not None

    def _at(self, place: int) -> bytes:
        return self._joined[self._ends[place] : self._ends[place + 1] - len(_END)]


# Several forms look at the same folder, which takes a tenth of a second for 100,000 files.
@lru_cache(maxsize=1)
def files_below(folder: Path) -> Files:
    """All files in a folder and its folders but hidden ones, sorted by their paths.

    A link to a folder is followed, but no folder is listed twice, so that loops end. `find` forgets the list.
    """
    return Files.of(_walked(os.fsencode(folder), b"", set()))


def _walked(folder: bytes, prefix: bytes, seen: set[tuple[int, int]]) -> Iterator[bytes]:
    status = Path(os.fsdecode(folder)).stat()
    if (status.st_dev, status.st_ino) in seen:
        return
    seen.add((status.st_dev, status.st_ino))
    # The slash belongs to the name of a folder, so that the order is that of the whole paths.
    try:
        with os.scandir(folder) as entries:
            names = sorted(entry.name + b"/" * entry.is_dir() for entry in entries if _is_listed(entry))
    except OSError as error:
        error.filename = os.fsdecode(folder)
        raise
    for name in names:
        if name.endswith(b"/"):
            yield from _walked(folder + b"/" + name[:-1], prefix + name, seen)
        else:
            yield prefix + name


def _is_listed(entry: os.DirEntry[bytes]) -> bool:
    """Whether an entry counts: no hidden ones, pipes or devices; a broken link does, so that it is missed."""
    return not entry.name.startswith(b".") and (entry.is_file() or entry.is_dir() or entry.is_symlink())


def read(path: str | bytes) -> bytes:
    """The contents of a file; without a file object, which takes as long as all else for a small one."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError as error:
        error.filename = os.fsdecode(path)
        raise
    try:
        data = os.read(descriptor, _READ_BYTES)
        more = os.read(descriptor, _READ_BYTES)
        if not more:
            return data
        with open(descriptor, "rb", buffering=0, closefd=False) as file:
            return b"".join((data, more, file.readall()))
    finally:
        os.close(descriptor)
