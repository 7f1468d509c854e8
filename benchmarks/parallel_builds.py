"""The measures of builds whose samples are made by worker processes: how fast, and in how much memory."""

import shutil
import threading
from collections.abc import Callable

import probes
from array_measures import fresh, timed_build
from sources import BATCH_SIZES, Photos, Pictures, Rows, Source
from systems.arrays import load
from task import Result, Task
from timing import require

SAMPLING_SECONDS = 0.01
MAKERS: dict[str, Callable[..., Source]] = {"decode": Photos, "trivial": Rows, "memory": Pictures}


def source_of(task: Task) -> Source:
    """Return what the build reads."""
    name = task.options["source"]
    length = min(task.options["length"], load(task.system).Ragged.LIMITS.get(name, task.options["length"]))
    return MAKERS[name](length, **task.options.get("arguments", {}))


def from_indexable(task: Task) -> Result:
    """Time a whole build, the start of its workers included."""
    system, source, path = load(task.system), source_of(task), fresh(task)
    method = task.options.get("method", "from_indexable")
    require(system.Ragged, method)
    build = getattr(system.Ragged, method)
    seconds = timed_build(lambda: build(source, path, BATCH_SIZES[type(source)], task.options["n_jobs"]))
    if path.exists():
        if (found := len(system.Ragged(path))) != len(source):
            message = f"built {found} samples, expected {len(source)}"
            raise AssertionError(message)
        shutil.rmtree(path)
    return {"first": seconds, "later": [seconds], "count": len(source)}


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
