"""Passes over a dataset, warm or cold, each checked."""

import io
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any
from zlib import adler32

import numpy as np
import timing
from systems import Store
from systems.joining import Pair, join, join_bytes, pad
from task import Result, Task
from timing import Read
from tqdm import tqdm

WINDOW_LENGTH, WINDOW_STRIDE = 64, 32


def iterate(task: Task) -> Read:
    sums = task.sums[: task.limit("iterate")]
    return Read(lambda store: store.iterate(), int(sums.sum()), len(sums))


def iterate_bare(task: Task) -> Read:
    sums = task.sums
    return Read(lambda store: store.iterate_bare(), int(sums[-1]), len(sums), task.store.read)


def demo(task: Task) -> Read:
    """Plan the demo's loop, with a progress bar."""
    sums = task.sums

    def one_pass(store: Store) -> int:
        total = 0
        for sample in tqdm(store.in_order(), total=len(sums), file=io.StringIO()):
            total += len(sample)
        return total

    return Read(one_pass, int(sums.sum()), len(sums))


def index(task: Task) -> Read:
    sums = task.sums
    listed = timing.random_indices(len(sums), task.limit("index")).tolist()
    return Read(lambda store: store.index(listed), int(sums[listed].sum()), len(listed))


def index_bare(task: Task) -> Read:
    sums = task.sums
    listed = timing.random_indices(len(sums), task.limit("index")).tolist()
    return Read(lambda store: store.index_bare(listed), int(sums[listed[-1]]), len(listed), task.store.read)


def cut(task: Task, total: int, operation: str) -> tuple[list[Any], int]:
    """Return random batches, and how many samples are in them."""
    indices = timing.random_indices(total, task.limit(operation))
    return timing.batches_of(indices, task.store.BATCH_TYPE), len(indices)


def batches(task: Task, operation: str = "batches") -> Read:
    sums = task.sums
    wanted, count = cut(task, len(sums), operation)
    expected = int(sum(sums[batch].sum() for batch in wanted))
    return Read(lambda store: sum(map(store.read_batch, store.batches(wanted))), expected, count)


def last_of(results: Iterable[Any]) -> Any:
    return deque(results, maxlen=1).pop()


def batches_bare(task: Task) -> Read:
    sums = task.sums
    wanted, count = cut(task, len(sums), "batches")
    expected = int(sums[wanted[-1]].sum())
    return Read(lambda store: last_of(store.batches(wanted)), expected, count, task.store.read_batch)


def byte_sum(values: np.ndarray) -> int:
    """Sum every byte of an array, eight at a time."""
    whole = len(values) // 8 * 8
    return int(values[:whole].view(np.uint64).sum(dtype=np.uint64)) + int(values[whole:].sum())


def consume(pairs: Iterable[Pair]) -> int:
    """Read every byte of the values, and the last offset, of each batch."""
    return sum(byte_sum(values) + int(offsets[-1]) for values, offsets in pairs)


def jagged_bytes(task: Task) -> Read:
    samples = [sample.encode() for sample in task.samples()]
    wanted, count = cut(task, len(samples), "jagged")
    expected = consume(join_bytes([samples[i] for i in batch]) for batch in wanted)
    return Read(lambda store: consume(store.jagged(wanted)), expected, count)


def pair_digest(pair: Pair) -> int:
    """Return a number that depends on every value of both arrays, whatever the second's integers are."""
    values, numbers = pair
    return adler32(np.ascontiguousarray(values)) + adler32(np.ascontiguousarray(numbers, np.int64))


def joined(task: Task, operation: str, reference: Callable[[list[np.ndarray]], Pair]) -> Read:
    """Plan to read random batches that are one owned array each, with lengths or offsets."""
    samples = task.samples()
    wanted, count = cut(task, len(samples), operation)
    expected = pair_digest(reference([samples[i] for i in wanted[-1]]))
    return Read(lambda store: last_of(getattr(store, operation)(wanted)), expected, count, pair_digest)


def windows(task: Task) -> Read:
    """Plan to read random batches of windows over all values; to set the windows up is part of a pass."""
    values = np.concatenate(task.samples())
    starts = np.arange(0, len(values) - WINDOW_LENGTH + 1, WINDOW_STRIDE)
    wanted, count = cut(task, len(starts), "windows")
    expected = adler32(values[starts[wanted[-1]][:, np.newaxis] + np.arange(WINDOW_LENGTH)])
    return Read(lambda store: last_of(store.windows(WINDOW_LENGTH, WINDOW_STRIDE, wanted)), expected, count, adler32)


PLANS = (iterate, iterate_bare, demo, index, index_bare, batches, batches_bare, jagged_bytes, windows)
WARM = {plan.__name__: plan for plan in PLANS}
WARM |= {name: partial(joined, operation=name, reference=made) for name, made in (("jagged", join), ("padded", pad))}
COLD = {"cold_iterate": iterate, "cold_batches": partial(batches, operation="cold_batches")}


def planned(task: Task, how: Callable[[Task, Read], Result], plan: Callable[[Task], Read]) -> Result:
    return how(task, plan(task))


MEASURES = {name: partial(planned, how=timing.warm, plan=plan) for name, plan in WARM.items()}
MEASURES |= {name: partial(planned, how=timing.cold, plan=plan) for name, plan in COLD.items()}
