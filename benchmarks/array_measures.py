"""The measures of arrays: each takes a task, uses one system's store and returns seconds and what was read."""

import os
import shutil
import time
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import probes
from systems.arrays import Rows, Store, load
from systems.arrays.joining import join, pad
from task import Result, Task
from timing import (
    Read,
    append_result,
    batches_of,
    describe,
    freeze_garbage_collector,
    pickled_size,
    random_indices,
    require,
    timed_appends,
    timed_opens,
    warm_passes,
)
from workloads import WINDOW_LENGTH, WINDOW_STRIDE, Workload, checksum

Measure = Callable[[Task], Result]
Plan = Callable[[type[Store], Workload, int | None], Read]


def store_of(task: Task, workload: Workload) -> type[Store]:
    """Return the way in which the system keeps the arrays of a workload."""
    kind = "Ragged" if workload.ragged else "Fixed"
    system = load(task.system)
    require(system, kind)
    return getattr(system, kind)


def warm(plan: Plan) -> Measure:
    """Return a measure of passes over a dataset that the page cache holds."""

    def measure(task: Task) -> Result:
        workload = Workload(Path(task.corpus))
        store = store_of(task, workload)
        return warm_passes(task, store, plan(store, workload, store.LIMITS.get(task.measure.removeprefix("arrays/"))))

    return measure


def iterate(_: type[Store], workload: Workload, __: int | None) -> Read:
    """Plan to read all samples in order, every byte of them."""
    sums = workload.checksums
    return Read(lambda handle: handle.iterate(), int(sums.sum()), len(sums))


def iterate_bare(_: type[Store], workload: Workload, __: int | None) -> Read:
    """Plan to be given all samples in order."""
    sums = workload.checksums
    return Read(lambda handle: handle.iterate_bare(), int(sums[-1]), len(sums), checksum)


def index(_: type[Store], workload: Workload, limit: int | None) -> Read:
    """Plan to read samples one by one in random order, every byte of them."""
    sums = workload.checksums
    indices = random_indices(len(sums), limit)
    listed = indices.tolist()
    return Read(lambda handle: handle.index(listed), int(sums[indices].sum()), len(indices))


def index_bare(_: type[Store], workload: Workload, limit: int | None) -> Read:
    """Plan to be given samples one by one in random order."""
    sums = workload.checksums
    indices = random_indices(len(sums), limit)
    listed = indices.tolist()
    return Read(lambda handle: handle.index_bare(listed), int(sums[listed[-1]]), len(indices), checksum)


def consume_lists(batches: Iterable[list[np.ndarray]]) -> int:
    """Read every byte of ragged batches."""
    return sum(sum(map(checksum, batch)) for batch in batches)


def last_of(batches: Iterable[Any]) -> Any:
    """Go through batches that own their values, so that every byte was read to make them; return the last."""
    return deque(batches, maxlen=1).pop()


def batches(store: type[Store], workload: Workload, limit: int | None) -> Read:
    """Plan to read random batches: lists of ragged arrays, every byte of them, or one owned array each."""
    require(store, "batches")
    sums = workload.checksums
    indices = random_indices(len(sums), limit)
    cut = batches_of(indices, store.BATCH_TYPE)
    if workload.ragged:
        return Read(lambda handle: consume_lists(handle.batches(cut)), int(sums[indices].sum()), len(indices))
    expected = checksum(workload.samples()[cut[-1]])
    return Read(lambda handle: last_of(handle.batches(cut)), expected, len(indices), checksum)


def pair_digest(pair: tuple[np.ndarray, np.ndarray]) -> int:
    """Return a number that depends on every value of both arrays, whatever the second's integers are."""
    values, numbers = pair
    return checksum(np.ascontiguousarray(values)) + checksum(np.ascontiguousarray(numbers, np.int64))


def joined(
    name: str, reference: Callable[[list[np.ndarray]], tuple[np.ndarray, np.ndarray]]
) -> Callable[[type[Store], Workload, int | None], Read]:
    """Return a plan to read random batches that are one owned array each, with lengths or offsets."""

    def plan(store: type[Store], workload: Workload, limit: int | None) -> Read:
        require(store, name)
        samples = workload.samples()
        indices = random_indices(len(samples), limit)
        cut = batches_of(indices, store.BATCH_TYPE)
        expected = pair_digest(reference([samples[i] for i in cut[-1]]))
        return Read(lambda handle: last_of(getattr(handle, name)(cut)), expected, len(indices), pair_digest)

    return plan


def windows(store: type[Store], workload: Workload, limit: int | None) -> Read:
    """Plan to read random batches of windows over all values; to set the windows up is part of a pass."""
    require(store, "windows")
    values = np.concatenate(workload.samples())
    starts = np.arange(0, len(values) - WINDOW_LENGTH + 1, WINDOW_STRIDE)
    indices = random_indices(len(starts), limit)
    cut = batches_of(indices, store.BATCH_TYPE)
    expected = checksum(values[starts[cut[-1]][:, np.newaxis] + np.arange(WINDOW_LENGTH)])
    return Read(
        lambda handle: last_of(handle.windows(WINDOW_LENGTH, WINDOW_STRIDE, cut)), expected, len(indices), checksum
    )


def prepare(task: Task) -> Result:
    """Build the dataset that the read measures use, and describe the system."""
    system = load(task.system)
    about = describe(system)
    if not task.corpus:
        return about
    workload, path = Workload(Path(task.corpus)), Path(task.dataset)
    store = store_of(task, workload)
    require(store, "build")
    path.parent.mkdir(parents=True, exist_ok=True)  # upstream makes the last folder only
    store.build(workload.samples(), path)
    return about | {
        "size_bytes": probes.size_bytes(path),
        "payload_bytes": workload.payload_bytes,
        "lacks": sorted(name for name in OPTIONAL if not hasattr(store, name)),
    }


def fresh(task: Task) -> Path:
    """Return a path where nothing is yet."""
    path = Path(task.scratch) / f"{task.system}-{task.measure.removeprefix('arrays/')}"
    shutil.rmtree(path, ignore_errors=True)
    return path


def timed_build(build: Callable[[], object]) -> float:
    """Return the seconds of a build."""
    os.sync()  # what others left dirty must not be waited for by this build's sync
    freeze_garbage_collector()
    start = time.perf_counter()
    build()
    return time.perf_counter() - start


def builds(function: str) -> Measure:
    """Return a measure of building a dataset from arrays in RAM."""

    def measure(task: Task) -> Result:
        workload = Workload(Path(task.corpus))
        store = store_of(task, workload)
        require(store, function)
        samples, path = workload.samples(), fresh(task)
        seconds = timed_build(lambda: getattr(store, function)(samples, path))
        handle = store(path)
        found = [checksum(handle.samples[i]) for i in (0, len(samples) - 1)]
        if len(handle) != len(samples) or found != [checksum(samples[i]) for i in (0, -1)]:
            message = f"built {len(handle)} samples, expected {len(samples)}"
            raise AssertionError(message)
        del handle
        shutil.rmtree(path)
        return {"first": seconds, "later": [seconds], "count": len(samples)}

    return measure


def append(task: Task) -> Result:
    """Append single samples to a dataset of `options["base"]` samples."""
    workload = Workload(Path(task.corpus))
    store = store_of(task, workload)
    require(store, "append")
    samples, path = workload.samples(), fresh(task)
    base = min(task.options["base"], len(samples))
    getattr(store, "build_appendable", store.build)(samples[:base], path)
    handle = store(path)
    seconds = timed_appends(handle.append, samples)
    reopened = store(path)
    if len(reopened) != base + len(seconds):
        message = f"{len(reopened)} samples after the appends, expected {base + len(seconds)}"
        raise AssertionError(message)
    shutil.rmtree(path)
    return append_result(seconds, base)


def open_dataset(task: Task) -> Result:
    """Open a dataset and read one sample from its middle."""
    store = store_of(task, Workload(Path(task.corpus)))
    require(store, "index")

    def open_and_read(path: Path) -> Rows:
        handle = store(path)
        handle.index([len(handle) // 2])
        return handle

    return timed_opens(Path(task.dataset), open_and_read)


def pickle_size(task: Task) -> Result:
    """Pickle an open handle."""
    store = store_of(task, Workload(Path(task.corpus)))
    require(store, "picklable")
    return pickled_size(store(Path(task.dataset)).picklable)


OPTIONAL = {"batches", "padded", "jagged", "windows", "append", "build", "build_unsynced", "build_whole"}
MEASURES: dict[str, Measure] = {
    "prepare": prepare,
    "iterate": warm(iterate),
    "iterate_bare": warm(iterate_bare),
    "index": warm(index),
    "index_bare": warm(index_bare),
    "batches": warm(batches),
    "padded": warm(joined("padded", pad)),
    "jagged": warm(joined("jagged", join)),
    "windows": warm(windows),
    "build": builds("build"),
    "build_unsynced": builds("build_unsynced"),
    "build_whole": builds("build_whole"),
    "append": append,
    "open": open_dataset,
    "pickle": pickle_size,
}
