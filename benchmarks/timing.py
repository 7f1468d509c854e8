"""How anything is timed, whatever it reads or writes."""

import gc
import math
import os
import statistics
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Any
from zlib import adler32

import numpy as np
import probes
from systems.loops import BATCH_SIZE
from task import Result, Task

SEED = 7
LATER_SECONDS = 2.0  # no further pass once the later passes took this long
LATER_PASSES = 3
APPENDS, APPEND_SECONDS = 1000, 1.5
OPENS = 6
HANDLES = 20
TURNS, MOST_TURNS = 5, 100


@dataclass(frozen=True)
class Read:
    """A pass over an open dataset, prepared before the open: nothing comes between the two."""

    one_pass: Callable[[Any], Any]
    expected: int
    count: int
    digest: Callable[[Any], int] = int  # what the pass returned -> what is expected; outside the clock


def freeze_garbage_collector() -> None:
    """Take the collector out of all timings: everything alive now is exempt, and no collection starts."""
    gc.collect()
    gc.freeze()
    gc.disable()


def check(found: object, expected: object) -> None:
    """Refuse the time of what did not do all that it should have done."""
    if found != expected:
        raise AssertionError(f"found {found}, expected {expected}")


def seconds_of(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def once(seconds: float, count: int = 1) -> Result:
    return {"first": seconds, "later": [seconds], "count": count}


def of_many(seconds: list[float], average: Callable[[list[float]], float] = statistics.median) -> Result:
    """Return the result of many single changes: the first apart, the average of the others."""
    return {"first": seconds[0], "later": [average(seconds[1:])], "count": 1}


def warm(task: Task, read: Read) -> Result:
    """Time passes over a dataset that the page cache holds."""
    probes.warm(task.dataset)
    store = task.store(task.dataset)
    return passes(lambda: read.one_pass(store), read.expected, read.digest) | {"count": read.count}


def passes(one_pass: Callable[[], Any], expected: int, digest: Callable[[Any], int] = int) -> Result:
    """Time a first pass (page faults included) and later ones; each must read what was expected."""
    freeze_garbage_collector()
    seconds: list[float] = []
    while len(seconds) < 2 or (len(seconds) <= LATER_PASSES and sum(seconds[1:]) < LATER_SECONDS):
        start = time.perf_counter()
        found = one_pass()
        seconds.append(time.perf_counter() - start)
        check(digest(found), expected)
    return {"first": seconds[0], "later": seconds[1:]}


def cold(task: Task, read: Read) -> Result:
    """Time open and one pass, with the dataset dropped from the page cache before."""
    freeze_garbage_collector()
    probes.evict(task.dataset)
    before = probes.disk_bytes_read()
    start = time.perf_counter()
    found = read.one_pass(task.store(task.dataset))
    seconds = time.perf_counter() - start
    check(read.digest(found), read.expected)
    return once(seconds, read.count) | {"disk_bytes": probes.disk_bytes_read() - before}


def build(action: Callable[[], object]) -> float:
    """Return what a build takes, without the sync of what others have left unsynced."""
    os.sync()
    freeze_garbage_collector()
    return seconds_of(action)


def each(change: Callable[[Any], object], things: Iterable[Any], limit: float = math.inf) -> list[float]:
    """Return what each of many changes takes; none after the first ten begins once they took so many seconds."""
    freeze_garbage_collector()
    seconds: list[float] = []
    total = 0.0
    for thing in things:
        start = time.perf_counter()
        change(thing)
        seconds.append(time.perf_counter() - start)
        total += seconds[-1]
        if total > limit and len(seconds) >= 10:
            break
    return seconds


def appends(append: Callable[[Any], object], samples: Iterable[Any]) -> list[float]:
    return each(append, islice(cycle(samples), APPENDS), APPEND_SECONDS)


def opens(path: Path, open_and_read: Callable[[Path], Any]) -> Result:
    """Open a dataset and read one sample, again and again; then keep several handles and weigh them."""
    probes.warm(path)
    freeze_garbage_collector()
    seconds: list[float] = []
    while len(seconds) < OPENS and (len(seconds) < 2 or sum(seconds) < LATER_SECONDS):
        start = time.perf_counter()
        handle = open_and_read(path)
        seconds.append(time.perf_counter() - start)
        del handle
        gc.collect()
    return {"first": seconds[0], "later": seconds[1:], "count": 1, "private_bytes": _per_handle(path, open_and_read)}


def _per_handle(path: Path, open_and_read: Callable[[Path], Any]) -> float:
    """Return what one of several open handles adds to the memory that only this process has."""
    probes.trim_heap()
    before = probes.private_bytes()
    deadline = time.perf_counter() + LATER_SECONDS
    handles = [open_and_read(path)]
    with suppress(Exception):  # LMDB and MDS allow one per process; each says so with an error of its own
        while len(handles) < HANDLES and time.perf_counter() < deadline:
            handles.append(open_and_read(path))
    return (probes.private_bytes() - before) / len(handles)


def in_turn(count: int, **actions: Callable[[], object]) -> Result:
    """Time actions that do so many things, in turn, after each ran once; return the median seconds per thing."""
    freeze_garbage_collector()
    turns: list[dict[str, float]] = []
    end = time.perf_counter() + LATER_SECONDS
    while len(turns) <= TURNS or (len(turns) <= MOST_TURNS and time.perf_counter() < end):
        turns.append({name: seconds_of(action) for name, action in actions.items()})
    return {name: statistics.median(turn[name] for turn in turns[1:]) / count for name in actions}


def busy(seconds: float) -> Callable[..., Any]:
    """Return a function that computes for so long without the GIL, and returns its argument: work on a batch."""
    block = bytes(1 << 20)
    per_byte = min(seconds_of(lambda: adler32(block)) for _ in range(20)) / len(block)
    whole, rest = divmod(int(seconds / per_byte), len(block))

    def work(batch: Any = None) -> Any:
        for _ in range(whole):
            adler32(block)
        adler32(block[:rest])
        return batch

    return work


def random_indices(total: int, limit: int | None = None) -> np.ndarray:
    """Return one permutation, the same for all, cut where a system would need minutes for all of it."""
    return np.random.default_rng(SEED).permutation(total)[:limit]


def batches_of(indices: np.ndarray, batch_type: type) -> list[np.ndarray] | list[list[int]]:
    """Cut indices into batches of the type that a system takes fastest."""
    cut = [indices[start : start + BATCH_SIZE] for start in range(0, len(indices), BATCH_SIZE)]
    return [batch.tolist() for batch in cut] if batch_type is list else cut
