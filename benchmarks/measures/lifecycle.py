"""What a dataset goes through besides reads: it is built, appended to, opened, and sent to another process."""

import pickle
import shutil
from functools import partial
from pathlib import Path

import probes
import timing
from data.originals import payload_bytes
from systems import Store
from task import Result, Task


def prepare(task: Task) -> Result:
    """Build the dataset that the reads use, and weigh it."""
    is_read = hasattr(task.store, "index") or hasattr(task.store, "epoch")
    if not is_read or not task.originals.exists():
        return {}
    samples, path = task.samples()[: task.limit("all")], task.dataset
    path.parent.mkdir(parents=True, exist_ok=True)
    task.store.build(samples, path)
    return {"size_bytes": probes.size_bytes(path), "payload_bytes": sum(map(payload_bytes, samples))}


def build(task: Task, function: str = "build") -> Result:
    store, samples, path = task.store, task.samples(), task.new_path()
    source = store.prepared(samples) if hasattr(store, "prepared") else samples
    seconds = timing.build(lambda: getattr(store, function, store.build)(source, path))
    if hasattr(store, "index"):
        sums, handle = task.sums, store(path)
        timing.check((len(handle), handle.index([0, len(sums) - 1])), (len(sums), sums[0] + sums[-1]))
        del handle
    shutil.rmtree(path)
    return timing.once(seconds, len(samples))


def append(task: Task) -> Result:
    """Append single samples to a dataset of `options["base"]` samples, of all by default."""
    store, samples, path = task.store, task.samples(), task.new_path()
    base = min(task.options.get("base", len(samples)), len(samples))
    getattr(store, "build_appendable", store.build)(samples[:base], path)
    handle = store(path)
    seconds = timing.appends(handle.append, samples)
    timing.check(len(handle.reopened(path)), base + len(seconds))
    shutil.rmtree(path)
    return timing.of_many(seconds) | {"base": base}


def open_dataset(task: Task) -> Result:
    """Open a dataset and read one sample from its middle."""

    def open_and_read(path: Path) -> Store:
        store = task.store(path)
        store.index([len(store) // 2])
        return store

    return timing.opens(task.dataset, open_and_read)


def pickle_handle(task: Task) -> Result:
    """Pickle what a `DataLoader` worker would be sent."""
    try:
        return {"pickle_bytes": len(pickle.dumps(task.store(task.dataset).picklable()))}
    except (TypeError, AttributeError, pickle.PicklingError, RuntimeError) as error:
        return {"pickle_error": f"{type(error).__name__}: {error}".split("\n")[0][:120]}


MEASURES = {"append": append, "open": open_dataset, "pickle": pickle_handle} | {
    function: partial(build, function=function) for function in ("build", "build_unsynced", "build_whole")
}
