"""The files below a folder, in the order of their paths."""

import os
from array import array
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Final, overload

_READ_BYTES: Final = 64 << 10  # at once: more than most small files have


_END: Final = b"\0"  # of a path in the string of all


class Files(Sequence[str]):
    """Paths relative to a folder, as one string of bytes: a list would take five times the memory.

    Args:
        names: The paths.
    """

    def __init__(self, names: Iterator[bytes]) -> None:
        self._joined, self._ends = bytearray(), array("q", [0])
        for name in names:
            self._joined += name + _END
            self._ends.append(len(self._joined))

    def __len__(self) -> int:
        return len(self._ends) - 1

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> "list[str]": ...
    def __getitem__(self, index: int | slice) -> "str | list[str]":
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        place = range(len(self))[index]
        return os.fsdecode(bytes(self._joined[self._ends[place] : self._ends[place + 1] - len(_END)]))

    def __iter__(self) -> Iterator[str]:
        return map(os.fsdecode, self._bytes())

    def ending(self, *suffixes: str) -> "Files":
        """The files with one of these ends of their names, in small letters or capitals."""
        ends = tuple(map(os.fsencode, suffixes))
        return Files(name for name in self._bytes() if name.lower().endswith(ends))

    def has(self, *suffixes: str) -> bool:
        """Whether there is a file with one of these ends of its name, in small letters or capitals."""
        lower = self._joined.lower()  # one search through all: a format more must not cost a look at each name
        return any(os.fsencode(suffix) + _END in lower for suffix in suffixes)

    def _bytes(self) -> Iterator[bytes]:
        return (bytes(self._joined[start : end - len(_END)]) for start, end in pairwise(self._ends))


# Several forms look at the same folder, which takes a tenth of a second for 100,000 files.
@lru_cache(maxsize=1)
def files_below(folder: Path) -> Files:
    """All files in a folder and its folders but hidden ones, sorted by their paths.

    A link to a folder is followed, but no folder is listed twice, so that loops end. `find` forgets the list.
    """
    return Files(_walked(os.fsencode(folder), b"", set()))


def _walked(folder: bytes, prefix: bytes, seen: set[tuple[int, int]]) -> Iterator[bytes]:
    status = Path(os.fsdecode(folder)).stat()
    if (status.st_dev, status.st_ino) in seen:
        return
    seen.add((status.st_dev, status.st_ino))
    # The slash belongs to the name of a folder, so that the order is that of the whole paths.
    with os.scandir(folder) as entries:
        names = sorted(entry.name + b"/" * entry.is_dir() for entry in entries if _is_listed(entry))
    for name in names:
        if name.endswith(b"/"):
            yield from _walked(folder + b"/" + name[:-1], prefix + name, seen)
        else:
            yield prefix + name


def _is_listed(entry: os.DirEntry[bytes]) -> bool:
    """Whether an entry counts: no hidden ones, pipes or devices; a broken link does, so that it is missed."""
    return not entry.name.startswith(b".") and (entry.is_file() or entry.is_dir() or entry.is_symlink())


def read(path: str) -> bytes:
    """The contents of a file; without a file object, which takes as long as all else for a small one."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        data = os.read(descriptor, _READ_BYTES)
        more = os.read(descriptor, _READ_BYTES)
        if not more:
            return data
        with open(descriptor, "rb", buffering=0, closefd=False) as file:
            return b"".join((data, more, file.readall()))
    finally:
        os.close(descriptor)
