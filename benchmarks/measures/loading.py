"""What feeds a training loop from warm data: threads, memory, plans, orders, states. Our system alone."""

import pickle
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import probes
import timing
from data.arrays import VOCABULARY, frames
from task import Result, Task

import mmap_ninja
from measures.reads import last_of
from measures.scaling import TINY
from mmap_ninja import ArrayMmap, Buckets, Loader, Packing, Pad, RaggedMmap, Shuffle, _kernel, shared_list
from mmap_ninja.loading.scout import Scout

WINDOW = 50  # batches
ROW_LENGTH, ROWS = 2048, 64
SLICE, SLICES = 256, 10_000
DIFFERENT = 251  # a prime number
BATCH_SIZE = 64  # so that there is a batch 10^6
NEAR, FAR = 10, 1_000_000  # batches
PROCESSES, READS = 2, 1_000_000


def kept(task: Task, build: Callable[[Path], Any]) -> Any:
    """Open the dataset of a subject, which is made once."""
    path = task.dataset
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        build(path).close()
    probes.warm(path)
    return mmap_ninja.open(path)


def pictures(task: Task) -> ArrayMmap:
    shape, chance = (task.options["count"], *task.options["shape"]), np.random.default_rng(0)
    return kept(task, lambda path: ArrayMmap.from_ndarray(path, chance.integers(0, 256, shape, np.uint8)))


def transform(task: Task) -> Result:
    """Time batches whose transform takes as long as the gather, without the GIL: made in threads, and inline."""
    dataset, batches = pictures(task), task.options["batches"]
    size = min(task.options["batch_size"], len(dataset) // 4)
    order = np.random.default_rng(0).integers(0, len(dataset), batches * size)
    bare = Loader(dataset, size, shuffle=order, num_threads=0)
    gather = min(timing.seconds_of(lambda: last_of(bare)) for _ in range(3)) / batches
    options = {"shuffle": order, "transform": timing.busy(gather)}
    inline = Loader(dataset, size, num_threads=0, **options)
    threads = Loader(dataset, size, num_threads=task.options["num_threads"], **options)
    return {"gather": gather} | timing.in_turn(
        batches, inline=lambda: last_of(inline), threads=lambda: last_of(threads)
    )


def looks_nowhere(*_: object) -> None:
    pass


def look_ahead(task: Task) -> Result:
    """Time warm batches of a loader that looks whether to ask the disk ahead, and of one that never does."""
    dataset, size = pictures(task), task.options["batch_size"]
    loader = Loader(dataset, size, shuffle=True)

    def without() -> object:
        with mock.patch.object(Scout, "_look", looks_nowhere):
            return last_of(loader)

    return timing.in_turn(len(loader), on=lambda: last_of(loader), off=without)


def recycled(task: Task) -> Result:
    """Time batches in memory that is new for each of them, and batches that are dropped for the next one."""
    dataset = pictures(task)
    indices = timing.random_indices(len(dataset), task.options["batch_size"])
    shape = (len(indices), *task.options["shape"])
    recycler = _kernel.Recycler()  # as a loader has one during an epoch
    result = timing.in_turn(
        1,
        fresh=lambda: dataset.take(indices, out=np.empty(shape, np.uint8)),
        recycled=lambda: dataset.take(indices),
    )
    del recycler
    return result


def buckets(task: Task) -> Result:
    """Time padded batches of samples of similar lengths, and of any, per sample."""
    dataset = kept(task, lambda path: RaggedMmap.from_generator(path, frames(task.options["count"])))
    size = task.options["batch_size"]
    plan = Buckets(dataset.lengths, batch_size=size, window=WINDOW)
    bucketed, shuffled = Loader(dataset, plan=plan, pad=Pad()), Loader(dataset, size, shuffle=True, pad=Pad())
    alone = Buckets(dataset.lengths, batch_size=size, window=1)  # which pads as if nothing were sorted
    return {"padding": plan.padding, "shuffled_padding": alone.padding} | timing.in_turn(
        len(dataset), bucketed=lambda: last_of(bucketed), shuffled=lambda: last_of(shuffled)
    )


def words(task: Task) -> np.ndarray:
    """Return how many words each text has."""
    return np.array([len(text.split()) for text in task.samples()])


def pack(task: Task) -> Result:
    lengths = words(task)
    plan = Packing(lengths, ROW_LENGTH, batch_size=ROWS)
    found = timing.passes(lambda: Packing(lengths, ROW_LENGTH, batch_size=ROWS).rows, plan.rows)
    return found | {"count": len(lengths), "filled": plan.filled}


def gather(task: Task) -> Result:
    """Time packed batches with all their fields, windows of the same tokens, and packing by NumPy from RAM."""
    lengths, chance = words(task), np.random.default_rng(0)
    samples = [chance.integers(0, VOCABULARY, length, np.int32) for length in lengths]
    texts = kept(task, lambda path: RaggedMmap.from_generator(path, samples))
    plan = Packing(lengths, ROW_LENGTH, batch_size=ROWS)
    loader = Loader(texts, plan=plan, num_threads=0)
    windows = texts.windows(ROW_LENGTH)
    indices = timing.random_indices(len(windows))
    wanted = [indices[start : start + ROWS] for start in range(0, len(indices), ROWS)]
    batches = [[part.tolist() for part in plan.segments(rows)] for rows in plan]
    timing.check((next(iter(loader))["tokens"] == concatenated(samples, *batches[0])).all(), True)
    return timing.in_turn(
        len(plan),
        packed=lambda: last_of(loader),
        windows=lambda: last_of(map(windows.take, wanted)),
        concatenate=lambda: last_of(concatenated(samples, *batch) for batch in batches),
    )


def concatenated(
    samples: list[np.ndarray], offsets: list[int], documents: list[int], starts: list[int], lengths: list[int]
) -> np.ndarray:
    rows = np.zeros((len(offsets) - 1, ROW_LENGTH), np.int32)
    segments = zip(documents, starts, lengths, strict=True)
    pieces = [samples[document][start : start + length] for document, start, length in segments]
    for row, (begin, end) in enumerate(pairwise(offsets)):
        packed = np.concatenate(pieces[begin:end])
        rows[row, : len(packed)] = packed
    return rows


def slices(task: Task) -> Result:
    """Compute positions of a shuffled epoch, as many at once as a batch has."""
    order, count = Shuffle(task.options["count"]), task.options["count"]
    starts = np.random.default_rng(0).integers(0, count - SLICE, SLICES).tolist()
    total = SLICES * SLICE
    return timing.passes(lambda: sum(len(order[start : start + SLICE]) for start in starts), total) | {"count": total}


def numbers(task: Task) -> ArrayMmap:
    values, count = np.arange(DIFFERENT, dtype=np.uint8), task.options["count"]
    return kept(task, lambda path: ArrayMmap.from_ndarray(path, np.resize(values, count)))


def first_batch(task: Task) -> Result:
    """Time the first batch of a new loader, and weigh what it takes."""
    dataset = numbers(task)
    probes.trim_heap()
    private, resident = probes.private_bytes(), probes.resident_bytes()
    start = time.perf_counter()
    loader = Loader(dataset, timing.BATCH_SIZE, shuffle=True)
    batch = next(iter(loader))
    result = timing.once(time.perf_counter() - start)
    timing.check(len(batch), timing.BATCH_SIZE)
    private, resident = probes.private_bytes() - private, probes.resident_bytes() - resident
    return result | {"private_bytes": private, "resident_bytes": resident}


def resume(task: Task) -> Result:
    """Time a new loader that goes on at an early batch, and at a late one, until it has given that batch."""
    dataset = numbers(task)
    order, last = Shuffle(len(dataset)), len(dataset) // BATCH_SIZE - 1
    state = Loader(dataset, BATCH_SIZE, shuffle=True).state_dict()

    def resumed(number: int) -> np.ndarray:
        loader = Loader(dataset, BATCH_SIZE, shuffle=True)
        loader.load_state_dict(state | {"position": number * BATCH_SIZE})
        return next(iter(loader))

    near, far = NEAR, min(FAR, last)
    for number in (near, far):
        begin = number * BATCH_SIZE
        timing.check(resumed(number).tolist(), (order[begin : begin + BATCH_SIZE] % DIFFERENT).tolist())
    return timing.in_turn(1, near=lambda: resumed(near), far=lambda: resumed(far))


def share(task: Task) -> Result:
    """Weigh what a list of texts adds to each process that it is sent to."""
    count = task.options["count"]
    sent = pickle.dumps(shared_list((TINY[i % len(TINY)] for i in range(count)), task.new_path()))
    with ProcessPoolExecutor(PROCESSES, get_context("spawn")) as pool:
        return {"private_bytes": max(pool.map(added_bytes, [sent] * PROCESSES, [count] * PROCESSES))}


def added_bytes(sent: bytes, count: int) -> int:
    """Return the private memory that a list takes here, after many reads of all of it."""
    indices = np.random.default_rng(0).integers(0, count, READS)
    listed, expected = indices.tolist(), sum(len(TINY[index]) for index in (indices % len(TINY)).tolist())
    probes.trim_heap()
    before = probes.private_bytes()
    texts = pickle.loads(sent)  # noqa: S301 - our own, a moment old
    timing.check(sum(len(texts[index]) for index in listed), expected)
    probes.trim_heap()
    return probes.private_bytes() - before


MEASURES = {
    function.__name__: function
    for function in (transform, look_ahead, recycled, buckets, pack, gather, slices, first_batch, resume, share)
}
