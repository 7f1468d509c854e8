"""Two processes that append to one dataset in turn, while the part that is not synced yet grows."""

import statistics
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import timing
from systems import Store, load
from task import Result, Task

TAIL_MIB = (0, 1, 4, 16, 48)  # below the 64 MiB at which the engine syncs by itself
TURNS = 50
MIB = 1 << 20
OPENED: list[Store] = []  # in each of the processes


def open_dataset(system: str, kind: str, path: Path) -> None:
    OPENED.append(load(system, kind)(path))
    timing.freeze_garbage_collector()


def append(text: str) -> float:
    return timing.seconds_of(lambda: OPENED[0].append(text))


def extend(texts: list[str]) -> None:
    OPENED[0].extend(texts)


def alternate(task: Task) -> Result:
    """Return the median seconds of one append at each length of the un-synced tail."""
    texts, path = task.samples(), task.new_path()
    task.store.build(texts[:1000], path)
    chunk_samples = max(1, MIB * len(texts) // sum(map(len, texts)))
    chunk = (texts * (chunk_samples // len(texts) + 1))[:chunk_samples]
    arguments = (task.system, task.kind, path)
    writers = [ProcessPoolExecutor(1, get_context("spawn"), open_dataset, arguments) for _ in range(2)]
    points, tail = {}, 0
    for target in TAIL_MIB:
        while tail < target:  # about a MiB per commit
            writers[0].submit(extend, chunk).result()
            tail += 1
        turns = [(writers[turn % 2], texts[(tail + turn) % len(texts)]) for turn in range(2 * TURNS)]
        seconds = [writer.submit(append, text).result() for writer, text in turns]
        points[f"tail_{tail}"] = statistics.median(seconds[2:])
    for writer in writers:
        writer.shutdown()
    return points


MEASURES = {"alternate": alternate}
