"""The measures of texts: each takes a task, uses one system's adapter and returns seconds and what was consumed."""

import io
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import probes
from corpus import Corpus
from systems import Handle, System, load
from systems.jagged import join
from task import Result, Task
from timing import (
    Read,
    UnsupportedError,
    append_result,
    batches_of,
    check_consumed,
    consume_jagged,
    describe,
    freeze_garbage_collector,
    pickled_size,
    random_indices,
    require,
    timed_appends,
    timed_opens,
    warm_passes,
)
from tqdm import tqdm

Measure = Callable[[Task], Result]
Plan = Callable[[Task, System, Corpus], Read]


def warm(plan: Plan) -> Measure:
    """Return a measure of passes over a dataset that the page cache holds."""

    def measure(task: Task) -> Result:
        system = load(task.system)
        return warm_passes(task, system.open, plan(task, system, Corpus(Path(task.corpus), "")))

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


def chosen(task: Task, system: System, total: int) -> np.ndarray:
    """Return the indices that this system reads in this measure."""
    return random_indices(total, min(system.LIMITS.get(task.measure, total), task.options.get("samples", total)))


def random_one(task: Task, system: System, corpus: Corpus) -> Read:
    """Plan to read samples one by one in random order."""
    require(system.Handle, "random_one")
    lengths = corpus.char_lengths
    indices = chosen(task, system, len(lengths))
    listed = indices.tolist()
    return Read(lambda handle: handle.random_one(listed), int(lengths[indices].sum()), len(indices))


def batches(task: Task, system: System, corpus: Corpus) -> Read:
    """Plan to read random batches as lists of `str`."""
    require(system.Handle, "random_batches")
    lengths = corpus.char_lengths
    indices = chosen(task, system, len(lengths))
    cut = batches_of(indices, system.BATCH_TYPE)
    return Read(lambda handle: handle.random_batches(cut), int(lengths[indices].sum()), len(indices))


def jagged(task: Task, system: System, corpus: Corpus) -> Read:
    """Plan to read random batches as (uint8 values, int64 offsets)."""
    require(system.Handle, "jagged_batches")
    samples = corpus.encoded()
    indices = chosen(task, system, len(samples))
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
    path.parent.mkdir(parents=True, exist_ok=True)  # upstream makes the last folder only
    if hasattr(system, "open"):
        system.build(texts, path)
    return describe(system) | {
        "limits": system.LIMITS,
        "size_bytes": probes.size_bytes(path),
        "payload_bytes": sum(len(t.encode()) for t in texts),
    }


def compress(task: Task) -> Result:
    """Build the dataset of compressed texts that the read measures use."""
    path = Path(task.dataset)
    path.parent.mkdir(parents=True, exist_ok=True)
    load(task.system).build_compressed(Corpus(Path(task.corpus), "").texts(), path, task.options["dictionary_size"])
    return {}


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
    seconds = timed_appends(handle.append, texts)
    check_length(task, handle, path, base + len(seconds))
    shutil.rmtree(path)
    return append_result(seconds, base)


def check_length(task: Task, handle: Handle, path: Path, expected: int) -> None:
    """Check that a fresh open sees all appends; LMDB allows no second open in a process."""
    reopened = handle if task.system == "lmdb" else load(task.system).open(path)
    if len(reopened) != expected:
        message = f"{len(reopened)} samples after the appends, expected {expected}"
        raise AssertionError(message)


def open_dataset(task: Task) -> Result:
    """Open a dataset and read one sample from its middle."""
    system = load(task.system)

    def open_and_read(path: Path) -> Handle:
        handle = system.open(path)
        handle.random_one([len(handle) // 2])
        return handle

    return timed_opens(Path(task.dataset), open_and_read)


def pickle_size(task: Task) -> Result:
    """Pickle an open handle."""
    system = load(task.system)
    require(system.Handle, "picklable")
    return pickled_size(system.open(Path(task.dataset)).picklable)


def size(task: Task) -> Result:
    """Weigh a dataset on disk."""
    payload_bytes = int(Corpus(Path(task.corpus), "").offsets[-1])
    return {"size_bytes": probes.size_bytes(Path(task.dataset)), "payload_bytes": payload_bytes}


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
    "size": size,
}
WRITES: dict[str, Measure] = {
    "prepare": prepare,
    "compress": compress,
    "build": build,
    "build_unsynced": build_unsynced,
    "append": append,
}
