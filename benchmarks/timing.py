"""How anything is timed, whatever it reads: passes that are checked, appends, opening and pickling."""

import gc
import pickle
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from platform import python_version
from typing import Any, Protocol

import numpy as np
import probes
from task import Result, Task

BATCH_SIZE = 256
SEED = 7
LATER_SECONDS = 2.0  # no further pass once the later passes took this long
APPENDS = 1000
APPEND_SECONDS = 1.5
OPENS = 6
HANDLES = 20


class UnsupportedError(Exception):
    """The system offers no such operation."""


class Described(Protocol):
    """What every adapter says of its system."""

    DISTRIBUTION: str | None
    SETTINGS: str


def describe(system: Described) -> Result:
    """Return what the report says of a system."""
    return {
        "settings": system.SETTINGS,
        "version": version(system.DISTRIBUTION) if system.DISTRIBUTION else f"Python {python_version()}",
    }


def require(owner: object, *names: str) -> None:
    """Raise unless the system has all named operations."""
    for name in names:
        if not hasattr(owner, name):
            raise UnsupportedError(name)


def freeze_garbage_collector() -> None:
    """Take the collector out of all timings: everything alive now is exempt, and no collection starts."""
    gc.collect()
    gc.freeze()
    gc.disable()


def unchanged(consumed: int) -> int:
    """Take what a pass consumed as it is."""
    return consumed


@dataclass(frozen=True)
class Read:
    """A pass over an open dataset, prepared before the open: nothing comes between the two."""

    one_pass: Callable[[Any], Any]
    expected: int
    count: int
    digest: Callable[[Any], int] = unchanged  # what the pass returned -> what is expected; outside the clock


def warm_passes(task: Task, open_dataset: Callable[[Path], Any], read: Read) -> Result:
    """Time passes over a dataset that the page cache holds."""
    path = Path(task.dataset)
    probes.warm(path)
    handle = open_dataset(path)
    return timed_passes(task, lambda: read.one_pass(handle), read.expected, read.digest) | {"count": read.count}


def timed_passes(
    task: Task, one_pass: Callable[[], Any], expected: int, digest: Callable[[Any], int] = unchanged
) -> Result:
    """Time a first pass (page faults included) and later ones; each must consume what was expected."""
    freeze_garbage_collector()
    seconds: list[float] = []
    while len(seconds) < 2 or (len(seconds) < 1 + task.later_passes and sum(seconds[1:]) < LATER_SECONDS):
        start = time.perf_counter()
        consumed = one_pass()
        seconds.append(time.perf_counter() - start)
        check_consumed(digest(consumed), expected)
    return {"first": seconds[0], "later": seconds[1:]}


def check_consumed(consumed: int, expected: int) -> None:
    """Refuse the time of a pass that did not read what it should have."""
    if consumed != expected:
        raise AssertionError(f"consumed {consumed}, expected {expected}")


def random_indices(total: int, limit: int | None = None) -> np.ndarray:
    """Return one permutation, the same for all, cut where a system would need minutes for all of it."""
    return np.random.default_rng(SEED).permutation(total)[:limit]


def batches_of(indices: np.ndarray, batch_type: type) -> list[np.ndarray] | list[list[int]]:
    """Cut indices into batches of the type that a system takes fastest."""
    cut = [indices[start : start + BATCH_SIZE] for start in range(0, len(indices), BATCH_SIZE)]
    return [batch.tolist() for batch in cut] if batch_type is list else cut


def byte_sum(values: np.ndarray) -> int:
    """Sum every byte of an array, eight at a time."""
    whole = len(values) // 8 * 8
    return int(values[:whole].view(np.uint64).sum(dtype=np.uint64)) + int(values[whole:].sum())


def consume_jagged(results: Iterable[tuple[np.ndarray, np.ndarray]]) -> int:
    """Consume jagged batches: every byte of the values, and the last offset."""
    return sum(byte_sum(values) + int(offsets[-1]) for values, offsets in results)


def append_result(seconds: list[float], base: int) -> Result:
    """Sum up the seconds of single appends: the first apart, the median of the others."""
    return {
        "first": seconds[0],
        "later": [statistics.median(seconds[1:])],
        "mean": statistics.fmean(seconds[1:]),
        "appends": len(seconds),
        "count": 1,
        "base": base,
    }


def timed_appends(append: Callable[[Any], object], samples: Any) -> list[float]:
    """Append one sample after the other; return the seconds of each."""
    freeze_garbage_collector()
    seconds: list[float] = []
    while len(seconds) < APPENDS and (len(seconds) < 10 or sum(seconds) < APPEND_SECONDS):
        sample = samples[len(seconds) % len(samples)]
        start = time.perf_counter()
        append(sample)
        seconds.append(time.perf_counter() - start)
    return seconds


def timed_opens(path: Path, open_and_read: Callable[[Path], Any]) -> Result:
    """Open a dataset and read one sample, again and again; then keep several handles and weigh them."""
    probes.warm(path)
    freeze_garbage_collector()
    seconds = []
    while len(seconds) < OPENS and (len(seconds) < 2 or sum(seconds) < LATER_SECONDS):
        start = time.perf_counter()
        handle = open_and_read(path)
        seconds.append(time.perf_counter() - start)
        del handle
        gc.collect()
    private = private_bytes_per_handle(path, open_and_read)
    return {"first": seconds[0], "later": seconds[1:], "count": 1, "private_bytes": private}


def private_bytes_per_handle(path: Path, open_and_read: Callable[[Path], Any]) -> float:
    """Return what one of several open handles adds to the memory that only this process has."""
    probes.trim_heap()
    before = probes.private_bytes()
    handles = []
    deadline = time.perf_counter() + LATER_SECONDS
    while not handles or (len(handles) < HANDLES and time.perf_counter() < deadline):
        try:
            handles.append(open_and_read(path))
        except Exception:  # LMDB and MDS allow one per process; each says so with an error of its own
            if not handles:
                raise
            break
    return (probes.private_bytes() - before) / len(handles)


def pickled_size(picklable: Callable[[], object]) -> Result:
    """Pickle what a `DataLoader` worker would be sent."""
    try:
        return {"pickle_bytes": len(pickle.dumps(picklable()))}
    except (TypeError, AttributeError, pickle.PicklingError, RuntimeError) as error:
        return {"pickle_error": f"{type(error).__name__}: {error}".split("\n")[0][:120]}
