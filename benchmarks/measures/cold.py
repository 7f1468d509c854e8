"""Epochs of data that is on the disk alone. Each takes a fresh process: pages that one has mapped stay in memory."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import probes
import timing
from data import arrays
from systems import Store
from task import Result, Task

DRAWS = 20_480
WORK_SECONDS = 0.004  # per batch
AHEAD = 4  # batches, where advice is given by hand
BLOCK = 1000  # rows: 1.3 MB
FIO = "--rw=randread --bs=4k --iodepth=64 --ioengine=libaio --direct=1 --readonly --time_based --runtime=3"

Batches = Iterable[np.ndarray]


def built(task: Task) -> Path:
    """Return the dataset that all measures of a system read, which is made once."""
    store, path = task.store, task.dataset  # the system is imported here, before the clock starts
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        store.build_whole(arrays.words(task.options["count"]), path)
    return path


def cold(task: Task, batches: Callable[[Store], Batches], indices: np.ndarray) -> Result:
    """Time open and one pass that reads every word of the batches of some rows."""
    expected = arrays.sum_of_words(indices)
    built(task)
    probes.drop_page_cache()
    return timing.cold(task, timing.Read(lambda store: sum(map(word_sum, batches(store))), expected, len(indices)))


def word_sum(batch: np.ndarray) -> int:
    return int(batch.sum())


def draws(task: Task) -> Result:
    """Read some random rows."""
    indices = timing.random_indices(task.options["count"], DRAWS)
    return cold(task, lambda store: store.loader(indices), indices)


def work(task: Task) -> Result:
    """Read them with work on each batch."""
    indices, worked = timing.random_indices(task.options["count"], DRAWS), timing.busy(WORK_SECONDS)
    return cold(task, lambda store: map(worked, store.loader(indices)), indices)


def work_alone(task: Task) -> Result:
    """Read and work in turn, with nothing that looks ahead: a batch is asked for when it is read."""
    indices, worked = timing.random_indices(task.options["count"], DRAWS), timing.busy(WORK_SECONDS)
    listed = timing.batches_of(indices, np.ndarray)
    return cold(task, lambda store: map(worked, store.batches(listed)), indices)


def epoch(task: Task) -> Result:
    """Read all rows, in a random order of the system's own."""
    return cold(task, lambda store: store.loader(), np.arange(task.options["count"]))


def ordered(task: Task, block: int | None = None, share: int = 1) -> Result:
    """Read a share of the rows, the first ones of an epoch in our order, which keeps blocks together or does not."""
    order = task.store.order(task.options["count"], block)
    batches = -(-len(order) // share // timing.BATCH_SIZE)
    indices = order[: batches * timing.BATCH_SIZE]
    return cold(task, lambda store: islice(store.loader(order), batches), indices)


def advised(task: Task) -> Result:
    """Read all rows in a random order, with nothing but advice for each batch some batches before it."""
    indices = timing.random_indices(task.options["count"])
    listed = timing.batches_of(indices, np.ndarray)

    def batches(store: Store) -> Iterator[np.ndarray]:
        for number in range(-AHEAD, len(listed)):
            if number + AHEAD < len(listed):
                store.samples.prefetch(listed[number + AHEAD])
            if number >= 0:
                yield store.samples.take(listed[number])

    return cold(task, batches, indices)


def fio(task: Task) -> Result:
    """Return the seconds per 4 KiB that `fio` reads at random from the file of the rows."""
    if shutil.which("fio") is None:
        raise FileNotFoundError("skipped: fio is not installed")
    file = max(probes.files_of(built(task)), key=lambda path: path.stat().st_size)
    os.sync()
    command = ["fio", "--name=reads", f"--filename={file}", *FIO.split(), "--output-format=json"]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return timing.once(1 / json.loads(found)["jobs"][0]["read"]["iops"])


MEASURES = {
    "cold_draws": draws,
    "cold_work": work,
    "cold_work_alone": work_alone,
    "cold_epoch": epoch,
    "cold_advised": advised,
    "cold_tenth": partial(ordered, share=10),
    "cold_tenth_blocks": partial(ordered, block=BLOCK, share=10),
    "cold_epoch_blocks": partial(ordered, block=BLOCK),
    "cold_fio": fio,
}
