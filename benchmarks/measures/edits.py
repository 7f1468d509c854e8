"""What edits cost, and reads after them: our system against itself without edits."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import timing
from data.arrays import images
from data.texts import letters
from task import Result, Task

from mmap_ninja import ArrayMmap, RaggedMmap, StringsMmap

DELETES = 10_000
REPLACED = 2000
EDITED_SHARE = 100  # one sample in so many is deleted, another one replaced
READS_AFTER_MASK = 1_000_000
KINDS = {"texts": (StringsMmap, letters), "images": (RaggedMmap, images)}


def numbers(task: Task) -> ArrayMmap:
    return ArrayMmap.from_ndarray(task.new_path(), np.arange(task.options["count"]), batch_size=1 << 20)


def delete(task: Task) -> Result:
    dataset, total = numbers(task), task.options["count"]
    count = min(DELETES, total // 2)
    seconds = timing.each(dataset.__delitem__, np.random.default_rng(0).integers(0, total - count, count).tolist())
    timing.check(len(ArrayMmap(dataset.path)), total - count)
    last_tenth = seconds[-max(len(seconds) // 10, 1) :]
    return timing.of_many(seconds, np.mean) | {"last_tenth": np.mean(last_tenth)}


def mask(task: Task) -> Result:
    """Delete a tenth of many numbers by one mask; time that, the next open, and random reads before and after."""
    dataset, total = numbers(task), task.options["count"]
    chosen = np.zeros(total, bool)
    chosen[np.random.default_rng(1).choice(total, total // 10, replace=False)] = True
    left = np.flatnonzero(~chosen)
    listed = timing.random_indices(len(left), READS_AFTER_MASK).tolist()

    def one_pass() -> int:
        for position in listed:
            last = dataset[position]
        return int(last)

    before = timing.passes(one_pass, listed[-1])
    seconds = timing.seconds_of(lambda: dataset.__delitem__(chosen))
    dataset.close()
    opened = timing.opens(dataset.path, lambda path: ArrayMmap(path)[0])
    dataset = ArrayMmap(dataset.path)
    after = timing.passes(one_pass, int(left[listed[-1]]))
    return timing.once(seconds) | {
        "reopen_seconds": min(opened["later"]),
        "unedited_seconds": min(before["later"]) / len(listed),
        "edited_seconds": min(after["later"]) / len(listed),
    }


def replace(task: Task) -> Result:
    dataset, made = built(task, "texts")
    places = np.random.default_rng(0).permutation(len(made))[:REPLACED].tolist()
    return timing.of_many(timing.each(lambda place: dataset.__setitem__(place, made[place - 1]), places))


def built(task: Task, name: str) -> tuple[Any, list[Any]]:
    kind, make = KINDS[name]
    made = make(task.options["count"])
    return kind.from_generator(task.new_path(), made), made


def edited(dataset: Any, made: list[Any]) -> list[Any]:
    """Delete one sample in a hundred, and replace as many; return the list of samples."""
    chance = np.random.default_rng(2)
    share = len(made) // EDITED_SHARE
    gone = chance.choice(len(made), share, replace=False)
    del dataset[gone]
    made = [made[k] for k in np.delete(np.arange(len(made)), gone).tolist()]
    for place in chance.choice(len(made), share, replace=False).tolist():
        dataset[place] = made[place] = made[place - 1]
    return made


def read(task: Task, name: str, how: str, edit: Callable[[Any, list[Any]], list[Any]] | None) -> Result:
    dataset, made = built(task, name)
    made = edit(dataset, made) if edit else made
    indices = timing.random_indices(len(made))
    listed, cut = indices.tolist(), timing.batches_of(indices, np.ndarray)
    size = len if name == "texts" else (lambda sample: sample.nbytes)
    one_pass = {
        "index": lambda: sum(size(dataset[position]) for position in listed),
        "iterate": lambda: sum(map(size, dataset)),
        "batches": lambda: sum(sum(map(size, dataset.take(batch))) for batch in cut),
    }[how]
    return timing.passes(one_pass, sum(map(size, made))) | {"count": len(made)}


MEASURES = {"delete": delete, "mask": mask, "replace": replace} | {
    f"{name}_{how}{suffix}": partial(read, name=name, how=how, edit=edit)
    for name in KINDS
    for how in ("index", "iterate", "batches")
    for suffix, edit in (("", None), ("_edited", edited))
}
