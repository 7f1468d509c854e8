"""The measures of records, edits, merges and Arrow: each takes a task and returns seconds and what was read."""

import shutil
import subprocess
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import probes
from systems.records import Records, consume, load
from task import Result, Task
from timing import (
    Read,
    append_result,
    batches_of,
    describe,
    freeze_garbage_collector,
    random_indices,
    require,
    timed_appends,
    timed_opens,
    timed_passes,
    warm_passes,
)
from workloads import images, tokens

Measure = Callable[[Task], Result]

TEXT_LENGTHS = (200, 2400)  # characters of a text, as most reviews have
EDITED_SHARE = 100  # one sample in so many is deleted, another one replaced
ALPHABET = 1 << 20


def texts(count: int, seed: int = 4) -> list[str]:
    """Make ASCII texts of many lengths."""
    chance = np.random.default_rng(seed)
    letters = chance.integers(97, 123, ALPHABET, np.uint8).tobytes().decode()
    lengths = chance.integers(*TEXT_LENGTHS, count)
    starts = chance.integers(0, ALPHABET - TEXT_LENGTHS[1], count)
    return [letters[start : start + length] for start, length in zip(starts.tolist(), lengths.tolist(), strict=True)]


def records(count: int) -> list[dict[str, Any]]:
    """Make records of four columns."""
    columns = zip(images(count), texts(count), range(count), tokens(count), strict=True)
    return [{"image": i, "text": t, "label": n, "tokens": r} for i, t, n, r in columns]


def consumed(record: dict[str, Any]) -> int:
    """Return what reading every byte of a record gives."""
    return consume([record["image"]], [record["text"]], record["label"], [record["tokens"]])


def consume_one(handle: Records, record: object) -> int:
    """Read every byte of a record that a system gave."""
    image, text, label, row = handle.opened(record)
    return consume([image], [text], label, [row])


def prepare(task: Task) -> Result:
    """Build the system's dataset."""
    system = load(task.system)
    path = Path(task.dataset)
    shutil.rmtree(path, ignore_errors=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    made = records(task.options["samples"])
    start = time.perf_counter()
    system.Store.build(made, path)
    seconds = time.perf_counter() - start
    handle = system.Store(path)
    if len(handle) != len(made) or consume_one(handle, handle.bare([len(made) - 1])) != consumed(made[-1]):
        message = f"built {len(handle)} samples, or others than were given"
        raise AssertionError(message)
    return describe(system) | {"build_seconds": seconds, "size_bytes": probes.size_bytes(path)}


def read(plan: Callable[[type[Records], Sequence[dict[str, Any]], np.ndarray], Read]) -> Measure:
    """Return a measure of passes over a dataset that the page cache holds."""

    def measure(task: Task) -> Result:
        store = load(task.system).Store
        made = records(task.options["samples"])
        indices = random_indices(len(made), store.LIMITS.get(task.measure.rpartition(".")[2]))
        return warm_passes(task, store, plan(store, made, indices))

    return measure


def index(_: type[Records], made: Sequence[dict[str, Any]], indices: np.ndarray) -> Read:
    """Plan to read records one by one in random order, every byte of them."""
    listed = indices.tolist()

    def one_pass(handle: Records) -> int:
        total = 0
        for position in listed:
            total += consume_one(handle, handle.bare([position]))
        return total

    return Read(one_pass, sum(consumed(made[k]) for k in listed), len(listed))


def index_bare(_: type[Records], made: Sequence[dict[str, Any]], indices: np.ndarray) -> Read:
    """Plan to be given records one by one in random order; the last is checked after the clock."""
    listed = indices.tolist()
    return Read(
        lambda handle: (handle, handle.bare(listed)),
        consumed(made[listed[-1]]),
        len(listed),
        lambda last: consume_one(*last),
    )


def batches(store: type[Records], made: Sequence[dict[str, Any]], indices: np.ndarray) -> Read:
    """Plan to read random batches, every byte of them."""
    cut = batches_of(indices, store.BATCH_TYPE)
    expected = sum(consumed(made[k]) for k in indices.tolist())
    return Read(
        lambda handle: sum(consume(*handle.columns(batch)) for batch in handle.taken(cut)), expected, len(indices)
    )


def batches_bare(store: type[Records], made: Sequence[dict[str, Any]], indices: np.ndarray) -> Read:
    """Plan to be given random batches; the last is checked after the clock."""
    cut = batches_of(indices, store.BATCH_TYPE)
    expected = sum(consumed(made[k]) for k in indices[len(indices) - len(cut[-1]) :].tolist())

    def one_pass(handle: Records) -> tuple[Records, Any]:
        return handle, deque(handle.taken(cut), maxlen=1).pop()

    return Read(one_pass, expected, len(indices), lambda last: consume(*last[0].columns(last[1])))


def append(task: Task) -> Result:
    """Append single records to a small dataset."""
    store = load(task.system).Store
    require(store, "append")
    made, path = records(1000), Path(task.scratch) / "append" / task.system
    shutil.rmtree(path, ignore_errors=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    store.build(made, path)
    seconds = timed_appends(store(path).append, made)
    if len(store(path)) != len(made) + len(seconds):
        message = f"{len(store(path))} samples after the appends, expected {len(made) + len(seconds)}"
        raise AssertionError(message)
    return append_result(seconds, len(made))


# ---- edits: our system only, against itself without edits


def fresh(task: Task, name: str) -> Path:
    """Return a path at which nothing lies."""
    path = Path(task.scratch) / "edits" / name
    shutil.rmtree(path, ignore_errors=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def delete(task: Task) -> Result:
    """Delete single samples of many numbers, in random order."""
    from mmap_ninja import ArrayMmap  # noqa: PLC0415 - not in the peers' environments

    total = task.options["samples"]
    count = min(task.options["deletes"], total // 2)
    dataset = ArrayMmap.from_ndarray(fresh(task, "delete"), np.arange(total), batch_size=1 << 20)
    places = np.random.default_rng(0).integers(0, total - count, count).tolist()
    freeze_garbage_collector()
    seconds = []
    for place in places:
        start = time.perf_counter()
        del dataset[place]
        seconds.append(time.perf_counter() - start)
    if len(ArrayMmap(dataset.path)) != total - count:
        raise AssertionError("not all of them are deleted")
    tenth = max(len(seconds) // 10, 1)
    later = float(np.mean(seconds[-tenth:]))
    return append_result(seconds, total) | {"later": [float(np.mean(seconds))], "last_tenth": later}


def replace(task: Task) -> Result:
    """Replace single texts by longer ones, in random order."""
    dataset, made, _ = edited_texts(task, edited=False)
    places = np.random.default_rng(0).permutation(len(made))[:2000].tolist()
    freeze_garbage_collector()
    seconds = []
    for place in places:
        start = time.perf_counter()
        dataset[place] = made[place - 1]
        seconds.append(time.perf_counter() - start)
    return append_result(seconds, len(made))


def mask(task: Task) -> Result:
    """Delete a tenth of many numbers by one mask; time that, the next open, and random reads before and after."""
    from mmap_ninja import ArrayMmap  # noqa: PLC0415

    total = task.options["samples"]
    path = fresh(task, "mask")
    dataset = ArrayMmap.from_ndarray(path, np.arange(total), batch_size=1 << 20)
    chosen = np.zeros(total, bool)
    chosen[np.random.default_rng(1).choice(total, total // 10, replace=False)] = True
    left = np.flatnonzero(~chosen)
    indices = random_indices(len(left), 1_000_000)
    listed = indices.tolist()

    def one_pass() -> int:
        last = 0
        for position in listed:
            last = dataset[position]
        return int(last)

    before = timed_passes(task, one_pass, listed[-1])
    start = time.perf_counter()
    del dataset[chosen]
    seconds = time.perf_counter() - start
    dataset.close()
    opened = timed_opens(path, lambda place: ArrayMmap(place)[0])
    dataset = ArrayMmap(path)
    after = timed_passes(task, one_pass, int(left[listed[-1]]))
    return {
        "first": seconds,
        "later": [seconds],
        "count": 1,
        "reopen_seconds": min(opened["later"]),
        "unedited_seconds": min(before["later"]) / len(listed),
        "edited_seconds": min(after["later"]) / len(listed),
    }


def edited_texts(task: Task, *, edited: bool) -> tuple[Any, list[str], list[str]]:
    """Make a dataset of texts, some of them deleted, some replaced; the lists of its samples, now and before."""
    from mmap_ninja import StringsMmap  # noqa: PLC0415

    made = texts(task.options["samples"])
    return edit(StringsMmap.from_generator(fresh(task, f"texts{edited}"), made), made, edited=edited)


def edited_images(task: Task, *, edited: bool) -> tuple[Any, list[np.ndarray], list[np.ndarray]]:
    """Make a dataset of images likewise."""
    from mmap_ninja import RaggedMmap  # noqa: PLC0415

    made = images(task.options["samples"])
    return edit(RaggedMmap.from_generator(fresh(task, f"images{edited}"), made), made, edited=edited)


def edit(dataset: Any, before: list[Any], *, edited: bool) -> tuple[Any, list[Any], list[Any]]:
    """Delete one sample in a hundred, and replace as many.

    What was there before stays in memory: freed samples would leave holes in the heap, which slow all that follows.
    """
    made = list(before)
    if edited:
        chance = np.random.default_rng(2)
        share = len(made) // EDITED_SHARE
        gone = chance.choice(len(made), share, replace=False)
        del dataset[gone]
        kept = np.delete(np.arange(len(made)), gone)
        made = [made[k] for k in kept.tolist()]
        for place in chance.choice(len(made), share, replace=False).tolist():
            dataset[place] = made[place] = made[place - 1]
    return dataset, made, before


def edited_read(make: Callable[..., tuple[Any, list[Any], list[Any]]], how: str) -> Measure:
    """Return a measure of passes over a dataset with or without edits."""

    def measure(task: Task) -> Result:
        dataset, made, before = make(task, edited=task.options["edited"])
        indices = random_indices(len(made))
        listed, cut = indices.tolist(), batches_of(indices, np.ndarray)
        size = len if isinstance(made[0], str) else (lambda sample: sample.nbytes)

        def one_pass() -> int:
            if how == "index":
                return sum(size(dataset[position]) for position in listed)
            if how == "iterate":
                return sum(map(size, dataset))
            return sum(sum(map(size, dataset.take(batch))) for batch in cut)

        passes = timed_passes(task, one_pass, sum(map(size, made)))
        return passes | {"count": len(made), "before": len(before)}

    return measure


# ---- whole files


def synced(action: Callable[[], object]) -> Result:
    """Time something and a sync of the whole system, which has nothing else to write before."""
    subprocess.run(["sync"], check=True)
    start = time.perf_counter()
    action()
    subprocess.run(["sync"], check=True)
    seconds = time.perf_counter() - start
    return {"first": seconds, "later": [seconds], "count": 1}


def built_parts(task: Task) -> list[Path]:
    """Return datasets of texts, made once for all that copy them."""
    from mmap_ninja import StringsMmap  # noqa: PLC0415

    folder = Path(task.scratch) / "parts"
    paths = [folder / str(number) for number in range(4)]
    for number, path in enumerate(paths):
        if not path.exists():
            folder.mkdir(parents=True, exist_ok=True)
            StringsMmap.from_generator(path, texts(task.options["samples"], number + 10)).close()
    return paths


def merge(task: Task) -> Result:
    """Merge four datasets."""
    import mmap_ninja  # noqa: PLC0415

    paths, out = built_parts(task), fresh(task, "merged")
    return synced(lambda: mmap_ninja.merge(paths, out))


def concatenate(task: Task) -> Result:
    """Write the payloads of four datasets one after the other, by `cat`."""
    payloads, out = [str(next(path.glob("c0.data-*"))) for path in built_parts(task)], fresh(task, "cat")

    def cat() -> None:
        with out.open("wb") as file:
            subprocess.run(["cat", *payloads], stdout=file, check=True)

    return synced(cat)


def copied_part(task: Task, name: str) -> Path:
    """Return a dataset of texts, of which one in a hundred is deleted."""
    from mmap_ninja import StringsMmap  # noqa: PLC0415

    edited = Path(task.scratch) / "edited"
    if not edited.exists():
        shutil.copytree(built_parts(task)[0], edited)
        with StringsMmap(edited) as dataset:
            count = len(dataset)
            del dataset[np.random.default_rng(3).choice(count, count // EDITED_SHARE, replace=False)]
    path = fresh(task, name)
    shutil.copytree(edited, path)
    return path


def compact(task: Task) -> Result:
    """Compact a dataset."""
    from mmap_ninja import StringsMmap  # noqa: PLC0415

    dataset = StringsMmap(copied_part(task, "compact"))
    return synced(dataset.compact)


def copy(task: Task) -> Result:
    """Copy the directory of the same dataset, by `cp -r`."""
    path, out = copied_part(task, "original"), fresh(task, "copy")
    return synced(lambda: subprocess.run(["cp", "-r", str(path), str(out)], check=True))


def arrow(task: Task) -> Result:
    """Give numbers and short texts to pyarrow."""
    import pyarrow as pa  # noqa: PLC0415

    from mmap_ninja import RecordsMmap  # noqa: PLC0415

    count, path = task.options["samples"], Path(task.scratch) / "arrow"
    if not path.exists():
        columns = {"n": np.arange(count), "t": ["ab"] * count}
        RecordsMmap.from_columns(path, columns, batch_size=1 << 20).close()
    dataset = RecordsMmap(path)
    pa.table(dataset)
    probes.trim_heap()
    before = probes.private_bytes()
    table = pa.table(dataset)
    private = probes.private_bytes() - before
    passes = timed_passes(task, lambda: pa.table(dataset).num_rows, count)
    if table.num_rows != count or table["n"][count - 1].as_py() != count - 1:
        raise AssertionError("the table is not the dataset")
    return passes | {"count": 1, "private_bytes": private, "payload_bytes": dataset.nbytes}


MEASURES: dict[str, Measure] = {
    "prepare": prepare,
    "records.index": read(index),
    "records.index_bare": read(index_bare),
    "records.batches": read(batches),
    "records.batches_bare": read(batches_bare),
    "records.append": append,
    "edits.delete": delete,
    "edits.replace": replace,
    "edits.mask": mask,
    "files.merge": merge,
    "files.cat": concatenate,
    "files.compact": compact,
    "files.cp": copy,
    "files.arrow": arrow,
}
MEASURES |= {f"texts.{how}": edited_read(edited_texts, how) for how in ("index", "iterate", "batches")}
MEASURES |= {f"images.{how}": edited_read(edited_images, how) for how in ("index", "iterate", "batches")}
