"""Measures how fast a dataset and its disk are read: cold, that is from the disk, and warm, that is from memory."""

import itertools
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

import mmap_ninja as mn
from mmap_ninja.cli.machine import own_files
from mmap_ninja.engine import files

Indices = npt.NDArray[np.int64]
Limit = Literal["disk", "processor", "latency"]

_PAGE: Final = 4096
_PIECE: Final = 1 << 20  # bytes per read in order
_BATCH: Final = 256
_THREADS: Final = 16
_CHECKED: Final = 64  # samples between looks at the clock
_COLD: Final = 0.5  # the most of the samples that may be in memory after they were dropped from it
_SMALL: Final = 64 << 20  # bytes; less is in memory before a disk shows what it can
_SPREAD: Final = 256 << 10  # bytes for each cold sample at random, so that few are in what others read ahead
_WARMED: Final = 256 << 20, 1 << 20  # bytes and samples that are read again and again: more would take long to read in
_COLD_SAMPLES: Final = 1 << 17  # at random, in a pass
_LIMITS: Final = 0.5  # the share of a rate from which on it is called the limit


@dataclass(frozen=True, slots=True)
class Speed:
    """How much a second."""

    samples: float
    bytes: float


@dataclass(frozen=True, slots=True)
class Disk:
    """What the disk can do: bytes a second in order, and reads of 4 KiB a second, by one thread and by several."""

    in_order: float
    one_by_one: float
    at_once: float
    threads: int


@dataclass(frozen=True, slots=True)
class Row:
    """A way to read.

    Args:
        name: Its name.
        cold: The speed from the disk; None if the files cannot be dropped from memory.
        warm: The speed from memory.
        share: The part of what the disk could do at best.
        limit: What limits the cold speed: the disk; the processor, if memory would not be much faster; or latency, that
            is waiting for single reads and for what the system reads ahead in vain.
    """

    name: str
    cold: Speed | None
    warm: Speed
    share: float | None
    limit: Limit | None


@dataclass(frozen=True, slots=True)
class Measured:
    """The result of `measure`."""

    path: str
    kind: str
    samples: int
    bytes: int
    read_mode: str
    disk: Disk | None
    rows: list[Row]
    notes: list[str]


@dataclass(frozen=True, slots=True)
class _Way:
    """How samples are read.

    Args:
        name: Its name.
        read: Reads a dataset, or the samples of an order, and gives again and again how many were read.
        limit: The samples a second that the disk could give at best, from the mean size of a sample.
    """

    name: str
    read: Callable[[Any, Indices], Iterator[int]]
    limit: Callable[[Disk, float], float]


def measure(dataset: str, seconds: float, tell: Callable[[str], object]) -> Measured:
    """Measure a dataset, for about so many seconds per number; `tell` is called with what is measured next.

    Raises:
        ValueError: if it has no samples.
    """
    path = files.absolute(dataset)
    with mn.open(path, "r") as opened:
        count, size, read_mode = len(opened), opened.nbytes, opened.read_mode
        kind = opened._kind  # noqa: SLF001 - of its class
    if not count:
        raise ValueError(f"{path}: has no samples to measure; append some first")
    own = own_files(path)
    is_cold, notes = _can_be_cold(path, own), []
    if not is_cold:
        notes.append(
            "nothing cold was measured: the files stay in memory, since a process has mapped them, or because of their "
            "filesystem"
        )
    elif size < _SMALL:
        notes.append("the dataset is so small that little of the disk is seen: the cold rates are rough")
    if (part := _warmed(count, size)) < count:
        notes.append(f"warm rates are those of the first {part:,} samples")
    disk = None
    if is_cold:
        tell("measuring the disk itself")
        disk = _disk(max(own, key=files.size), seconds)
    rows = []
    for way in _ways(kind):
        tell(f"measuring {way.name}")
        cold = _cold(path, own, way, seconds) if is_cold else None
        warm = _warm(path, way, seconds)
        rows.append(_row(way, cold, warm, max(size / count, 1), disk))
    return Measured(str(path), kind, count, size, read_mode, disk, rows, notes)


# ---- the dataset


def _ways(kind: str) -> list[_Way]:
    """The ways to read samples of a kind."""
    touch = None if kind in ("strings", "bytes") else _touch  # these are copies already

    def singles(dataset: Any, order: Indices) -> Iterator[int]:
        for start in range(0, len(order), _CHECKED):
            part = order[start : start + _CHECKED].tolist()
            samples = map(dataset.__getitem__, part)
            deque(samples if touch is None else map(touch, samples), maxlen=0)
            yield len(part)

    def in_order(dataset: Any, _: Indices) -> Iterator[int]:
        samples = iter(dataset) if touch is None else map(touch, dataset)
        for start in range(0, len(dataset), _CHECKED):
            deque(islice(samples, _CHECKED), maxlen=0)
            yield min(_CHECKED, len(dataset) - start)

    def takes(dataset: Any, order: Indices) -> Iterator[int]:
        for start in range(0, len(order), _BATCH):
            indices = order[start : start + _BATCH]
            dataset.take(indices)
            yield len(indices)

    def loads(dataset: Any, _: Indices) -> Iterator[int]:
        for number, _ in enumerate(mn.Loader(dataset, _BATCH, shuffle=True, nulls="mask")):
            yield min(_BATCH, len(dataset) - number * _BATCH)

    return [
        _Way("one at random", singles, lambda disk, mean: min(disk.one_by_one, disk.in_order / mean)),
        _Way("all in order", in_order, lambda disk, mean: disk.in_order / mean),
        _Way(f"take of {_BATCH}", takes, lambda disk, mean: min(disk.at_once, disk.in_order / mean)),
        _Way(f"loader of {_BATCH}", loads, lambda disk, mean: disk.in_order / mean),
    ]


def _touch(sample: Any) -> None:
    """Read what an array, or a dict with arrays, is a view of."""
    for value in sample.values() if isinstance(sample, dict) else (sample,):
        np.array(value)


def _cold(path: Path, own: list[Path], way: _Way, seconds: float) -> float:
    """Samples a second; before each pass, the files are dropped from memory."""
    clock = _Clock(seconds)
    for epoch in clock.passes():
        _drop(own)
        with mn.open(path, "r") as dataset:
            apart = max(min(len(dataset), dataset.nbytes // _SPREAD, _COLD_SAMPLES), 1)
            clock.run(way.read(dataset, mn.Shuffle(len(dataset), epoch=epoch)[:apart]))
    return clock.rate


def _warmed(count: int, size: int) -> int:
    """How many samples of a dataset are read from memory."""
    return min(count, max(int(count * _WARMED[0] / max(size, 1)), 1), _WARMED[1])


def _warm(path: Path, way: _Way, seconds: float) -> float:
    """Samples a second, when all are in memory."""
    clock = _Clock(seconds)
    with mn.open(path, "r") as dataset:
        samples = dataset.select(slice(0, _warmed(len(dataset), dataset.nbytes)))
        samples.warm()
        for epoch in clock.passes():
            clock.run(way.read(samples, mn.Shuffle(len(samples), epoch=epoch)[:]))
    return clock.rate


def _row(way: _Way, cold: float | None, warm: float, mean: float, disk: Disk | None) -> Row:
    warm_speed = Speed(warm, warm * mean)
    if cold is None or disk is None:
        return Row(way.name, None, warm_speed, None, None)
    share = cold / way.limit(disk, mean)
    limit: Limit = "disk" if share >= _LIMITS else "processor" if cold >= _LIMITS * warm else "latency"
    return Row(way.name, Speed(cold, cold * mean), warm_speed, share, limit)


# ---- the disk


def _drop(paths: Iterable[Path]) -> None:
    """Drop files from the system's page cache, as far as no process has them mapped."""
    for path in paths:
        with files.open_read(path) as file:
            files.sync(file, path)  # what is not on the disk yet stays
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _can_be_cold(path: Path, own: list[Path]) -> bool:
    if not hasattr(os, "posix_fadvise"):  # macOS
        return False
    _drop(own)
    with mn.open(path, "r") as opened:
        return opened.residency() <= _COLD


def _disk(path: Path, seconds: float) -> Disk:
    """Measure the disk by a file on it."""
    pages, numbers = max(files.size(path) // _PAGE, 1), itertools.count()

    def in_order(fd: int) -> Iterator[int]:
        for offset in itertools.count(0, _PIECE):
            if not (got := len(os.pread(fd, _PIECE, offset))):
                return
            yield got

    def at_random(fd: int, part: int = 0, parts: int = 1, epoch: int = 0) -> Iterator[int]:
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)  # no read-ahead
        order = mn.Shuffle(pages, epoch=epoch).shard(part, parts)
        for start in range(0, len(order), _BATCH):
            for page in order[start : start + _BATCH].tolist():
                os.pread(fd, _PAGE, page * _PAGE)
                yield 1

    def rate(run: Callable[[_Clock, int], object]) -> float:
        clock = _Clock(seconds)
        for _ in clock.passes():
            _drop([path])
            with files.open_read(path) as file:
                run(clock, file.fileno())
        return clock.rate

    def at_once(clock: _Clock, fd: int) -> None:
        epoch, left = next(numbers), clock.left
        clocks = [_Clock(left) for _ in range(_THREADS)]
        start = time.perf_counter()
        parts = range(_THREADS)
        deque(pool.map(lambda part: clocks[part].run(at_random(fd, part, _THREADS, epoch)), parts), maxlen=0)
        clock.add(sum(own.count for own in clocks), time.perf_counter() - start)

    with ThreadPoolExecutor(_THREADS) as pool:
        return Disk(
            rate(lambda clock, fd: clock.run(in_order(fd))),
            rate(lambda clock, fd: clock.run(at_random(fd, epoch=next(numbers)))),
            rate(at_once),
            _THREADS,
        )


class _Clock:
    """Counts what is read until the time is over; what lies between the passes does not count.

    Args:
        seconds: The time to read.
    """

    def __init__(self, seconds: float) -> None:
        self.left = seconds
        self.count = 0
        self._spent = 0.0
        # Dropping files from memory takes time, too, and a pass over a small dataset almost none.
        self._end = time.perf_counter() + 2 * seconds

    def passes(self) -> Iterator[int]:
        """Numbers of passes, at least one."""
        for number in itertools.count():
            yield number
            if self.left <= 0 or time.perf_counter() > self._end:
                return

    def run(self, counts: Iterator[int]) -> None:
        """Read a pass to its end, or until the time is over."""
        start, count = time.perf_counter(), 0
        for read in counts:
            count += read
            if time.perf_counter() - start > self.left:
                break
        self.add(count, time.perf_counter() - start)

    def add(self, count: int, spent: float) -> None:
        """Count a pass."""
        self.count += count
        self._spent += spent
        self.left -= spent

    @property
    def rate(self) -> float:
        """How much a second."""
        return self.count / max(self._spent, 1e-9)
