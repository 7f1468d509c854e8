"""What a dataset of many tiny samples costs: built, opened, read, and appended to, one after the other."""

import numpy as np
import probes
import timing
from task import Result, Task

from measures.lifecycle import open_dataset

# One or two bytes each; 100 divides CHUNK, so sample i is TINY[i % 100] at any size.
TINY = [str(i) for i in range(100)]
CHUNK = 1_000_000
READS = 100_000
NEW_SAMPLE = "This is a new document"


def build(task: Task) -> Result:
    """Build, in large chunks where the system can be extended."""
    count, path = task.options["count"], task.new_path(task.subject)
    first = TINY * (min(count, CHUNK) // len(TINY))

    def in_chunks() -> None:
        task.store.build(first, path)
        if count > CHUNK:
            store = task.store(path)
            while (missing := count - len(store)) > 0:
                store.extend(first[:missing])
            store.samples.flush()

    seconds = timing.build(in_chunks)
    return timing.once(seconds) | {"samples": count, "size_bytes": probes.size_bytes(path)}


def index(task: Task) -> Result:
    """Read samples of the whole range one by one; the page cache is warm, the first pass faults pages in."""
    path, count = task.dataset, task.options["count"]
    probes.warm(path)
    store = task.store(path)
    num_reads = min(READS, task.limit("index") or READS)
    indices = np.random.default_rng(timing.SEED).integers(0, count, num_reads).tolist()
    expected = sum(len(TINY[index % len(TINY)]) for index in indices)
    return timing.passes(lambda: store.index(indices), expected) | {"count": num_reads}


def append(task: Task) -> Result:
    path = task.dataset
    store = task.store(path)
    seconds = timing.appends(store.append, [NEW_SAMPLE])
    timing.check(len(store.reopened(path)), task.options["count"] + len(seconds))
    return timing.of_many(seconds)


MEASURES = {"tiny_build": build, "tiny_open": open_dataset, "tiny_index": index, "tiny_append": append}
