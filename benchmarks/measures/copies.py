"""Whole datasets, merged, compacted and given to pyarrow, against what copies files: our system only."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import probes
import pyarrow as pa
import timing
from data.texts import letters
from task import Result, Task

import mmap_ninja
from measures.edits import EDITED_SHARE
from mmap_ninja import RecordsMmap, StringsMmap


def synced(action: Callable[[], object]) -> Result:
    """Time something and a sync of the whole system, which has nothing else to write before."""
    subprocess.run(["sync"], check=True)
    return timing.once(timing.seconds_of(lambda: (action(), subprocess.run(["sync"], check=True))))


def parts(task: Task) -> list[Path]:
    """Return four datasets of texts, made once for all that copy them."""
    paths = [Path(task.folder) / "parts" / str(number) for number in range(4)]
    for number, path in enumerate(paths):
        if not path.exists():
            StringsMmap.from_generator(path, letters(task.options["count"], number + 10)).close()
    return paths


def merge(task: Task) -> Result:
    paths, out = parts(task), task.new_path()
    return synced(lambda: mmap_ninja.merge(paths, out))


def concatenate(task: Task) -> Result:
    payloads, out = [str(next(path.glob("c0.data-*"))) for path in parts(task)], task.new_path("cat")
    out.unlink(missing_ok=True)
    with out.open("wb") as file:
        return synced(lambda: subprocess.run(["cat", *payloads], stdout=file, check=True))


def edited_part(task: Task) -> StringsMmap:
    """Return a dataset of texts, of which one in a hundred is deleted."""
    path = task.new_path()
    shutil.copytree(parts(task)[0], path)
    dataset = StringsMmap(path)
    count = len(dataset)
    del dataset[np.random.default_rng(3).choice(count, count // EDITED_SHARE, replace=False)]
    return dataset


def compact(task: Task) -> Result:
    return synced(edited_part(task).compact)


def copy(task: Task) -> Result:
    dataset, out = edited_part(task), task.new_path("copy")
    dataset.close()
    return synced(lambda: subprocess.run(["cp", "-r", str(dataset.path), str(out)], check=True))


def arrow(task: Task) -> Result:
    count, path = task.options["count"], task.new_path()
    RecordsMmap.from_columns(path, {"n": np.arange(count), "t": ["ab"] * count}, batch_size=1 << 20).close()
    dataset = RecordsMmap(path)
    pa.table(dataset)
    probes.trim_heap()
    before = probes.private_bytes()
    table = pa.table(dataset)
    private = probes.private_bytes() - before
    timing.check((table.num_rows, table["n"][count - 1].as_py()), (count, count - 1))
    passes = timing.passes(lambda: pa.table(dataset).num_rows, count)
    return passes | {"count": 1, "private_bytes": private, "payload_bytes": dataset.nbytes}


MEASURES = {"merge": merge, "cat": concatenate, "compact": compact, "cp": copy, "arrow": arrow}
