"""Builds whose samples are made by worker processes: how fast, and in how much memory."""

import threading

import probes
import timing
from data.sources import BATCH_SIZES, Source
from task import Result, Task

SAMPLING_SECONDS = 0.01


def from_indexable(task: Task) -> Result:
    """Time a whole build, the start of its workers included; it is synced at the end if that is said."""
    length = task.options["count"] * task.options.get("times", 1)
    length = min(length, task.limit(task.subject) or length)
    source, path, store = Source(task.subject, length, task.options["files"]), task.new_path(), task.store
    arguments = (source, path, BATCH_SIZES[task.subject], task.options["n_jobs"])
    durable = {"durability": None} if task.options.get("durable") else {}
    seconds = timing.build(lambda: store.from_indexable(*arguments, **durable))
    if path.exists():
        timing.check(len(store(path)), length)
    return timing.once(seconds, length)


def peak_memory(task: Task) -> Result:
    """Weigh this process and its workers together, again and again, while they build."""
    peak = before = probes.family_bytes()
    ended = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not ended.wait(SAMPLING_SECONDS):
            peak = max(peak, probes.family_bytes())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        built = from_indexable(task)
    finally:
        ended.set()
        watcher.join()
    return built | {"peak_bytes": peak, "before_bytes": before}


MEASURES = {"from_indexable": from_indexable, "peak_memory": peak_memory}
