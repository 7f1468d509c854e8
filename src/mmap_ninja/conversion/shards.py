"""Samples of several files, one file after the other."""

import re
from collections import deque
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Final, Generic, TypeVar

from mmap_ninja.columns.limits import BATCH_BYTES, DECIDING_SAMPLES, Limits
from mmap_ninja.conversion.files import Files, files_below
from mmap_ninja.conversion.source import Skipped

T = TypeVar("T")
U = TypeVar("U")
# Gives the samples of a file, and where in it each is; notes those that cannot be read, or raises if that is None.
Read = Callable[[Path, Skipped | None], Iterator[tuple[str, T]]]

_PLACES: Final = 4 * DECIDING_SAMPLES  # more samples than are held back before one of them is refused
_BRACES: Final = re.compile(r"\{(\d+)\.\.(\d+)\}")
_NUMBERED: Final = re.compile(r"^(.*)-(\d+)-of-(\d+)(.*)$")


def made_of(
    found: Iterator[tuple[str, T]], make: Callable[[str, T], U], skipped: Skipped | None
) -> Iterator[tuple[str, U]]:
    """What `make` makes of samples and their places; those of which it makes nothing are noted, or raise."""
    for place, sample in found:
        try:
            made = make(place, sample)
        except ValueError as error:
            if skipped is None:
                raise
            skipped.note(place, error)
        else:
            yield place, made


class Shards(Generic[T]):
    """An iterable of the samples of files, which knows where the newest ones came from.

    Args:
        paths: The files.
        read: Reads one of them.
        skipped: Where samples are noted that cannot be read; None: they raise.
    """

    def __init__(self, paths: Collection[Path], read: Read[T], skipped: Skipped | None) -> None:
        self._paths, self._read, self._skipped = paths, read, skipped
        self._places: deque[str] = deque(maxlen=_PLACES)
        self._count = 0

    def __iter__(self) -> Iterator[T]:
        self._places.clear()
        self._count = 0
        for path in self._paths:
            for place, sample in self._read(path, self._skipped):
                self._places.append(place)
                self._count += 1
                yield sample

    def place(self, index: int) -> str:
        """Where a sample came from, if it is one of the newest."""
        back = self._count - index
        return self._places[-back] if 0 < back <= len(self._places) else f"sample {index}"

    def first(self) -> list[T]:
        """The samples that decide what is in the files; those that cannot be read are noted later."""
        skipped, samples = None if self._skipped is None else Skipped(), list[T]()
        found = (sample for path in self._paths for _, sample in self._read(path, skipped))
        Limits(DECIDING_SAMPLES, BATCH_BYTES).fill(samples, found)
        found.close()
        return samples


def expanded(path: Path) -> list[Path]:
    """The files that a name like `train-{000..009}.tar` stands for, as in WebDataset; a path without braces itself."""
    braces = _BRACES.search(str(path))
    if braces is None or path.exists():
        return [path]
    first, last = braces.groups()
    start, end = str(path)[: braces.start()], str(path)[braces.end() :]
    numbers = range(int(first), int(last) + 1)
    return [file for number in numbers for file in expanded(Path(f"{start}{number:0{len(first)}d}{end}"))] or [path]


def shards_at(path: Path, chosen: Callable[[Files], Files]) -> list[Path]:
    """A file, those that its name stands for, or the chosen files in a folder, in their order.

    Raises:
        ValueError: if a file of a numbered set is missing.
    """
    if not path.is_dir():
        return expanded(path)
    found = [path / name for name in chosen(files_below(path))]
    _check_complete(found)
    return found


def _check_complete(paths: list[Path]) -> None:
    """Raise if files are named `train-00000-of-00010` and so on, and one of them is not there."""
    numbers: dict[tuple[str, str, str], set[int]] = {}
    for path in paths:
        if (match := _NUMBERED.match(str(path))) is not None:
            start, number, count, end = match.groups()
            numbers.setdefault((start, count, end), set()).add(int(number))
    for (start, count, end), there in numbers.items():
        first = int(max(there) == int(count))  # some count from 1
        missing = next((number for number in range(first, first + int(count)) if number not in there), None)
        if missing is not None:
            name = f"{start}-{missing:0{len(count)}d}-of-{count}{end}"
            raise ValueError(
                f"{name}: expected {int(count)} files, found {len(there)} without this one; copy it, or convert the "
                "files one by one"
            )
