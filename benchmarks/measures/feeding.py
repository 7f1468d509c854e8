"""Epochs of a training loop, as each system feeds it: every byte of each batch is read."""

import statistics
from collections import Counter
from importlib import import_module
from itertools import islice

import probes
import timing
from task import Result, Task

WORD = 1 << 64  # sums of words run over
CHECKED = 40  # batches


def feed(task: Task) -> Result:
    """Time epochs with each number of workers, and return those of the best one."""
    store = task.store
    samples = store.whole(task.samples()[: task.limit("all")])
    expected, marks = sum(map(store.read_sample, samples)) % WORD, Counter(map(store.mark, samples))
    count = len(samples)
    del samples
    probes.warm(task.dataset)
    for module in store.IMPORTS:
        import_module(module)
    tried = [epochs(task, workers, expected, marks) for workers in store.WORKERS]
    return min(tried, key=lambda result: result["later"]) | {"count": count}


def epochs(task: Task, workers: int, expected: int, marks: Counter[int]) -> Result:
    """Time a first epoch, from the open on, and the following ones; then check what comes."""
    store = task.store
    opened = None

    def one_pass() -> int:
        nonlocal opened
        if opened is None:
            opened = store(task.dataset, workers)
        return sum(map(store.read, opened.epoch()))

    result = timing.passes(one_pass, expected, lambda total: total % WORD)
    left = marks.copy()
    for batch in islice(opened.epoch(), CHECKED):  # outside the clock: none of them may come twice
        left.subtract(store.marks(batch))
    timing.check(min(left.values()), 0)
    later = statistics.fmean(result["later"])  # one figure, since who reads ahead has epochs in bursts
    return {"first": result["first"], "later": [later], "workers": workers}


MEASURES = {"feed": feed}
