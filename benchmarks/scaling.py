"""The measures that ask what a dataset of many tiny samples costs."""

import shutil
import time
from pathlib import Path

import numpy as np
import probes
from measures import check_length, open_dataset
from systems import System, load
from task import Result, Task
from timing import SEED, append_result, describe, timed_appends, timed_passes

# One or two bytes each; 100 divides CHUNK, so sample i is TINY[i % 100] at any size.
TINY = [str(i) for i in range(100)]
CHUNK = 1_000_000
READS = 100_000
NEW_SAMPLE = "This is a new document"


def build_tiny(system: System, num_samples: int, path: Path) -> None:
    """Build a dataset of tiny samples, in large chunks where the system can be extended."""
    first = TINY * (min(num_samples, CHUNK) // len(TINY))
    system.build(first, path)
    if num_samples > CHUNK:
        handle = system.open(path)
        for _ in range(num_samples // CHUNK - 1):
            handle.extend(first)
        handle.flush()


def scale(task: Task) -> Result:
    """Build, then measure open, private memory, random access and append at one size."""
    system = load(task.system)
    num_samples = task.options["num_samples"]
    path = Path(task.scratch) / f"{task.system}-scale"
    if task.options["step"] == "build":
        shutil.rmtree(path, ignore_errors=True)
        start = time.perf_counter()
        build_tiny(system, num_samples, path)
        return describe(system) | {
            "seconds": time.perf_counter() - start,
            "size_bytes": probes.size_bytes(path),
        }
    if task.options["step"] == "open":
        return open_dataset(Task(**(vars(task) | {"dataset": str(path)})))
    if task.options["step"] == "random":
        return random_reads(task, system, num_samples, path)
    result = append(task, system, num_samples, path)
    shutil.rmtree(path)
    return result


def random_reads(task: Task, system: System, num_samples: int, path: Path) -> Result:
    """Read samples of the whole range one by one; the page cache is warm, the first pass faults pages in."""
    probes.warm(path)
    handle = system.open(path)
    count = min(READS, system.LIMITS.get("random", READS))
    indices = np.random.default_rng(SEED).integers(0, num_samples, count).tolist()
    expected = sum(len(TINY[index % len(TINY)]) for index in indices)
    return timed_passes(task, lambda: handle.random_one(indices), expected) | {"count": count}


def append(task: Task, system: System, num_samples: int, path: Path) -> Result:
    """Append the same short sample many times."""
    handle = system.open(path)
    if not hasattr(handle, "append"):
        return {"unsupported": "append"}
    seconds = timed_appends(handle.append, [NEW_SAMPLE])
    check_length(task, handle, path, num_samples + len(seconds))
    return append_result(seconds, num_samples)
