"""Shuffled epochs in batches of 256, as each system loads them."""

import numpy as np
import timing
from data.texts import labels
from task import Result, Task


def epoch(task: Task) -> Result:
    """Read every sample of each batch."""
    store, sums = task.store(task.dataset), task.sums
    loader = store.loader()
    expected = int(sums.sum() + labels(len(sums)).sum())
    return timing.passes(lambda: sum(map(store.read_batch, loader)), expected) | {"count": len(sums)}


def epoch_bare(task: Task) -> Result:
    """Make each batch, an owned array for which every byte was read; that each sample comes is checked before."""
    store, sums = task.store(task.dataset), task.sums
    loader = store.loader()
    timing.check(sum(store.read_batch(np.asarray(batch)) for batch in loader), int(sums.sum()))
    return timing.passes(lambda: sum(map(len, loader)), len(sums)) | {"count": len(sums)}


MEASURES = {"epoch": epoch, "epoch_bare": epoch_bare}
