"""Two processes that append to one dataset in turn, while the part that is not synced yet grows."""

import multiprocessing
import shutil
import statistics
import time
from multiprocessing.connection import Connection
from pathlib import Path

from corpus import Corpus
from systems import load
from task import Result, Task
from timing import UnsupportedError, freeze_garbage_collector

TAIL_MIB = (0, 1, 4, 16, 48)  # below the 64 MiB at which the engine syncs by itself
TURNS = 50
MIB = 1 << 20


def writer(system_name: str, path: Path, orders: Connection) -> None:
    """Obey: a `str` is appended and its seconds are answered, a list is added in one go, None ends it."""
    handle = load(system_name).open(path)
    freeze_garbage_collector()
    while (order := orders.recv()) is not None:
        start = time.perf_counter()
        if isinstance(order, str):
            handle.append(order)
        else:
            handle.extend(order)
        orders.send(time.perf_counter() - start)


def alternate(task: Task) -> Result:
    """Return the median seconds of one append at each length of the un-synced tail."""
    system = load(task.system)
    if not hasattr(system.Handle, "extend"):
        raise UnsupportedError("extend")
    texts = Corpus(Path(task.corpus), "").texts()
    path = Path(task.scratch) / f"{task.system}-alternate"
    shutil.rmtree(path, ignore_errors=True)
    system.build(texts[:1000], path)
    context = multiprocessing.get_context("spawn")
    pipes = [context.Pipe() for _ in range(2)]
    processes = [context.Process(target=writer, args=(task.system, path, far)) for _, far in pipes]
    for process in processes:
        process.start()
    ends = [near for near, _ in pipes]
    try:
        points = [_point(ends, texts, tail) for tail in _grow(ends[0], texts)]
    finally:
        for end in ends:
            end.send(None)
        for process in processes:
            process.join()
    count = len(system.open(path))
    shutil.rmtree(path)
    return {"tail_mib": list(TAIL_MIB), "seconds": points, "samples_at_end": count, "turns": TURNS}


def _grow(end: Connection, texts: list[str]):
    """Lengthen the un-synced tail from point to point, about a MiB per commit."""
    chunk_samples = max(1, MIB * len(texts) // sum(map(len, texts)))
    chunk = (texts * (chunk_samples // len(texts) + 1))[:chunk_samples]
    tail = 0
    for target in TAIL_MIB:
        while tail < target:
            end.send(chunk)
            end.recv()
            tail += 1
        yield tail


def _point(ends: list[Connection], texts: list[str], tail: int) -> float:
    seconds = []
    for turn in range(2 * TURNS):
        ends[turn % 2].send(texts[(tail + turn) % len(texts)])
        seconds.append(ends[turn % 2].recv())
    return statistics.median(seconds[2:])
