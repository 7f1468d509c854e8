"""The measures: each takes a task, uses one system's adapter and returns seconds and what was consumed."""

import gc
import io
import os
import pickle
import shutil
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from platform import python_version

import numpy as np
import probes
from corpus import Corpus
from systems import Handle, System, load
from systems.jagged import join
from task import Result, Task
from tqdm import tqdm

BATCH_SIZE = 256
SEED = 7
LATER_SECONDS = 2.0  # no further pass once the later passes took this long
APPENDS = 1000
APPEND_SECONDS = 1.5
OPENS = 6
HANDLES = 20
Measure = Callable[[Task], Result]


class UnsupportedError(Exception):
    """The system offers no such operation."""


def freeze_garbage_collector() -> None:
    """Take the collector out of all timings: everything alive now is exempt, and no collection starts."""
    gc.collect()
    gc.freeze()
    gc.disable()


def timed_passes(task: Task, one_pass: Callable[[], int], expected: int) -> Result:
    """Time a first pass (page faults included) and later ones; each must consume what was expected."""
    freeze_garbage_collector()
    seconds: list[float] = []
    while len(seconds) < 2 or (len(seconds) < 1 + task.later_passes and sum(seconds[1:]) < LATER_SECONDS):
        start = time.perf_counter()
        consumed = one_pass()
        seconds.append(time.perf_counter() - start)
        check_consumed(consumed, expected)
    return {"first": seconds[0], "later": seconds[1:]}


def check_consumed(consumed: int, expected: int) -> None:
    """Refuse the time of a pass that did not read what it should have."""
    if consumed != expected:
        raise AssertionError(f"consumed {consumed}, expected {expected}")


def require(owner: object, *names: str) -> None:
    """Raise unless the system has all named operations."""
    for name in names:
        if not hasattr(owner, name):
            raise UnsupportedError(name)


@dataclass(frozen=True)
class Read:
    """A pass over an open dataset, prepared before the open: nothing comes between the two."""

    one_pass: Callable[[Handle], int]
    expected: int
    count: int


Plan = Callable[[Task, System, Corpus], Read]


def warm(plan: Plan) -> Measure:
    """Return a measure of passes over a dataset that the page cache holds."""

    def measure(task: Task) -> Result:
        system, path = load(task.system), Path(task.dataset)
        read = plan(task, system, Corpus(Path(task.corpus), ""))
        probes.warm(path)
        handle = system.open(path)
        return timed_passes(task, lambda: read.one_pass(handle), read.expected) | {"count": read.count}

    return measure


def cold(plan: Plan) -> Measure:
    """Return a measure of open and one pass, with the dataset dropped from the page cache before."""

    def measure(task: Task) -> Result:
        system, path = load(task.system), Path(task.dataset)
        read = plan(task, system, Corpus(Path(task.corpus), ""))
        freeze_garbage_collector()
        probes.evict(path)
        before = probes.disk_bytes_read()
        start = time.perf_counter()
        consumed = read.one_pass(system.open(path))
        seconds = time.perf_counter() - start
        check_consumed(consumed, read.expected)
        disk_bytes = probes.disk_bytes_read() - before
        return {"first": seconds, "later": [seconds], "count": read.count, "disk_bytes": disk_bytes}

    return measure


def iterate(_: Task, system: System, corpus: Corpus) -> Read:
    """Plan to read all samples in order."""
    require(system.Handle, "iterate")
    lengths = corpus.char_lengths
    count = min(len(lengths), system.LIMITS.get("iterate", len(lengths)))
    return Read(lambda handle: handle.iterate(), int(lengths[:count].sum()), count)


def random_indices(task: Task, system: System, total: int) -> np.ndarray:
    """Return a permutation, cut where a system would need minutes for all of it."""
    count = min(total, system.LIMITS.get(task.measure, total), task.options.get("samples", total))
    return np.random.default_rng(SEED).permutation(total)[:count]


def random_one(task: Task, system: System, corpus: Corpus) -> Read:
    """Plan to read samples one by one in random order."""
    require(system.Handle, "random_one")
    lengths = corpus.char_lengths
    indices = random_indices(task, system, len(lengths))
    listed = indices.tolist()
    return Read(lambda handle: handle.random_one(listed), int(lengths[indices].sum()), len(indices))


def batches_of(indices: np.ndarray, batch_type: type) -> list[np.ndarray] | list[list[int]]:
    """Cut indices into batches of the type that a system takes fastest."""
    cut = [indices[start : start + BATCH_SIZE] for start in range(0, len(indices), BATCH_SIZE)]
    return [batch.tolist() for batch in cut] if batch_type is list else cut


def batches(task: Task, system: System, corpus: Corpus) -> Read:
    """Plan to read random batches as lists of `str`."""
    require(system.Handle, "random_batches")
    lengths = corpus.char_lengths
    indices = random_indices(task, system, len(lengths))
    cut = batches_of(indices, system.BATCH_TYPE)
    return Read(lambda handle: handle.random_batches(cut), int(lengths[indices].sum()), len(indices))


def byte_sum(values: np.ndarray) -> int:
    """Sum every byte of an array, eight at a time."""
    whole = len(values) // 8 * 8
    return int(values[:whole].view(np.uint64).sum(dtype=np.uint64)) + int(values[whole:].sum())


def consume_jagged(results: Iterable[tuple[np.ndarray, np.ndarray]]) -> int:
    """Consume jagged batches: every byte of the values, and the last offset."""
    return sum(byte_sum(values) + int(offsets[-1]) for values, offsets in results)


def jagged(task: Task, system: System, corpus: Corpus) -> Read:
    """Plan to read random batches as (uint8 values, int64 offsets)."""
    require(system.Handle, "jagged_batches")
    samples = corpus.encoded()
    indices = random_indices(task, system, len(samples))
    expected = consume_jagged(join([samples[i] for i in batch]) for batch in batches_of(indices, list))
    cut = batches_of(indices, system.BATCH_TYPE)
    return Read(lambda handle: consume_jagged(handle.jagged_batches(cut)), expected, len(indices))


def demo(_: Task, system: System, corpus: Corpus) -> Read:
    """Plan to loop over the samples with a progress bar, as the demo does."""
    require(system.Handle, "samples")
    lengths = corpus.char_lengths
    count = len(lengths)

    def one_pass(handle: Handle) -> int:
        total = 0
        for text in tqdm(handle.samples(), total=count, file=io.StringIO()):
            total += len(text)
        return total

    return Read(one_pass, int(lengths.sum()), count)


def prepare(task: Task) -> Result:
    """Build the dataset that the read measures use, and describe the system."""
    system = load(task.system)
    texts = Corpus(Path(task.corpus), "").texts()
    path = Path(task.dataset)
    shutil.rmtree(path, ignore_errors=True)
    if hasattr(system, "open"):
        system.build(texts, path)
    return describe(system) | {
        "size_bytes": probes.size_bytes(path),
        "payload_bytes": sum(len(t.encode()) for t in texts),
    }


def describe(system: System) -> Result:
    """Return what RESULTS.md says of a system."""
    return {
        "settings": system.SETTINGS,
        "version": version(system.DISTRIBUTION) if system.DISTRIBUTION else f"Python {python_version()}",
        "limits": system.LIMITS,
    }


def build(task: Task, function: str = "build") -> Result:
    """Build a dataset from strings in RAM."""
    system = load(task.system)
    require(system, function)
    texts = Corpus(Path(task.corpus), "").texts()
    source = system.prepare(texts) if hasattr(system, "prepare") else texts
    path = Path(task.scratch) / f"{task.system}-{function}"
    shutil.rmtree(path, ignore_errors=True)
    os.sync()  # what others left dirty must not be waited for by this build's sync
    freeze_garbage_collector()
    start = time.perf_counter()
    getattr(system, function)(source, path)
    seconds = time.perf_counter() - start
    if hasattr(system, "open"):
        handle = system.open(path)
        ends = handle.random_one([0, len(texts) - 1])
        if len(handle) != len(texts) or ends != len(texts[0]) + len(texts[-1]):
            message = f"built {len(handle)} samples, expected {len(texts)}"
            raise AssertionError(message)
        del handle
    shutil.rmtree(path)
    return {"first": seconds, "later": [seconds], "count": len(texts)}


def build_unsynced(task: Task) -> Result:
    """Build without the final sync, where that is not the only way."""
    return build(task, "build_unsynced")


def append(task: Task) -> Result:
    """Append single samples to a dataset of `options["base"]` samples."""
    system = load(task.system)
    require(system, "open")
    texts = Corpus(Path(task.corpus), "").texts()
    base = min(task.options["base"], len(texts))
    path = Path(task.scratch) / f"{task.system}-append"
    shutil.rmtree(path, ignore_errors=True)
    system.build(texts[:base], path)
    handle = system.open(path)
    if not hasattr(handle, "append"):
        shutil.rmtree(path)
        raise UnsupportedError("append")
    seconds = timed_appends(handle, texts)
    check_length(task, handle, path, base + len(seconds))
    shutil.rmtree(path)
    return {
        "first": seconds[0],
        "later": [statistics.median(seconds[1:])],
        "mean": statistics.fmean(seconds[1:]),
        "appends": len(seconds),
        "count": 1,
        "base": base,
    }


def check_length(task: Task, handle: Handle, path: Path, expected: int) -> None:
    """Check that a fresh open sees all appends; LMDB allows no second open in a process."""
    reopened = handle if task.system == "lmdb" else load(task.system).open(path)
    if len(reopened) != expected:
        message = f"{len(reopened)} samples after the appends, expected {expected}"
        raise AssertionError(message)


def timed_appends(handle: Handle, texts: list[str]) -> list[float]:
    """Append one sample after the other; return the seconds of each."""
    freeze_garbage_collector()
    seconds: list[float] = []
    while len(seconds) < APPENDS and (len(seconds) < 10 or sum(seconds) < APPEND_SECONDS):
        text = texts[len(seconds) % len(texts)]
        start = time.perf_counter()
        handle.append(text)
        seconds.append(time.perf_counter() - start)
    return seconds


def open_dataset(task: Task) -> Result:
    """Open a dataset and read one sample, again and again; then keep several handles and weigh them."""
    system = load(task.system)
    path = Path(task.dataset)
    probes.warm(path)
    freeze_garbage_collector()
    seconds = []
    while len(seconds) < OPENS and (len(seconds) < 2 or sum(seconds) < LATER_SECONDS):
        start = time.perf_counter()
        handle = opened_and_read(system, path)
        seconds.append(time.perf_counter() - start)
        del handle
        gc.collect()
    private = private_bytes_per_handle(system, path)
    return {"first": seconds[0], "later": seconds[1:], "count": 1, "private_bytes": private}


def opened_and_read(system: System, path: Path) -> Handle:
    """Open a dataset and read one sample from its middle."""
    handle = system.open(path)
    handle.random_one([len(handle) // 2])
    return handle


def private_bytes_per_handle(system: System, path: Path) -> float:
    """Return what one of several open handles adds to the memory that only this process has."""
    probes.trim_heap()
    before = probes.private_bytes()
    handles = []
    deadline = time.perf_counter() + LATER_SECONDS
    while not handles or (len(handles) < HANDLES and time.perf_counter() < deadline):
        try:
            handles.append(opened_and_read(system, path))
        except Exception:  # LMDB and MDS allow one per process; each says so with an error of its own
            if not handles:
                raise
            break
    return (probes.private_bytes() - before) / len(handles)


def pickle_size(task: Task) -> Result:
    """Pickle an open handle."""
    system = load(task.system)
    require(system.Handle, "picklable")
    handle = system.open(Path(task.dataset))
    try:
        return {"pickle_bytes": len(pickle.dumps(handle.picklable()))}
    except (TypeError, AttributeError, pickle.PicklingError, RuntimeError) as error:
        return {"pickle_error": f"{type(error).__name__}: {error}".split("\n")[0][:120]}


READS: dict[str, Measure] = {
    "iterate": warm(iterate),
    "random": warm(random_one),
    "batches": warm(batches),
    "jagged": warm(jagged),
    "demo": warm(demo),
    "cold_iterate": cold(iterate),
    "cold_batches": cold(batches),
    "open": open_dataset,
    "pickle": pickle_size,
}
WRITES: dict[str, Measure] = {
    "prepare": prepare,
    "build": build,
    "build_unsynced": build_unsynced,
    "append": append,
}
