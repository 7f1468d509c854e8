"""The ceiling of a parallel build: processes that make their share of the samples and store nothing."""

import multiprocessing
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import ClassVar

import numpy as np

DISTRIBUTION = None
SETTINGS = (
    "the samples of a parallel build are made and thrown away: n_jobs independent processes, each with a contiguous "
    "share, started by `spawn` inside the clock; serially: one loop in the process itself"
)


class Ragged:
    """Builds nothing."""

    LIMITS: ClassVar[dict[str, int]] = {}

    @staticmethod
    def from_indexable(source: Sequence[np.ndarray], _: Path, __: int, n_jobs: int | None) -> None:
        if n_jobs is None:
            make(source, range(len(source)))
            return
        context = multiprocessing.get_context("spawn")
        bounds = [len(source) * share // n_jobs for share in range(n_jobs + 1)]
        shares = [range(*pair) for pair in pairwise(bounds)]
        workers = [context.Process(target=make, args=(source, share)) for share in shares]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
            if worker.exitcode:
                message = f"a process ended with {worker.exitcode}"
                raise RuntimeError(message)


def make(source: Sequence[np.ndarray], share: range) -> None:
    """Make each sample of a share."""
    for index in share:
        source[index]
