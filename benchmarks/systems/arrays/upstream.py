"""The ancestor, mmap_ninja 0.9.0 from PyPI."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

import mmap_ninja.numpy as ninja_numpy
from mmap_ninja.ragged import RaggedMmap
from systems.arrays.joining import join, pad
from systems.arrays.protocol import Rows

DISTRIBUTION = "mmap_ninja"
SETTINGS = (
    "ragged: `RaggedMmap`, `ds[i]`, batches by `ds[idx]` (its list index, given an ndarray), padded by the NumPy loop "
    "over it, jagged by `np.concatenate` of it; built by `from_generator` with batches of 1024. Fixed: "
    "`numpy.open_existing` (an `np.memmap`) and its `[idx]`, built by `numpy.from_generator`, whole by "
    "`numpy.from_ndarray`. It never syncs. Parallel: `from_indexable(n_jobs=2)`, joblib with its defaults"
)
BATCH_SIZE = 1024


class Ragged(Rows):
    """An open `RaggedMmap` of 0.9.0."""

    LIMITS: ClassVar = {"trivial": 20_000}

    def __init__(self, path: Path) -> None:
        super().__init__(RaggedMmap(path))

    def batches(self, batches: Sequence[np.ndarray]) -> Iterator[list[np.ndarray]]:
        return map(self.samples.__getitem__, batches)

    def padded(self, batches: Sequence[np.ndarray]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        return map(pad, self.batches(batches))

    def jagged(self, batches: Sequence[np.ndarray]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        return map(join, self.batches(batches))

    def append(self, sample: np.ndarray) -> None:
        self.samples.append(sample)

    @staticmethod
    def build(samples: Sequence[np.ndarray], path: Path) -> None:
        RaggedMmap.from_generator(out_dir=path, sample_generator=iter(samples), batch_size=BATCH_SIZE, verbose=False)

    @staticmethod
    def from_indexable(source: Sequence[np.ndarray], path: Path, batch_size: int, n_jobs: int | None) -> None:
        RaggedMmap.from_indexable(path, source, batch_size, n_jobs=n_jobs, verbose=False)


class Fixed(Rows):
    """An `np.memmap` that upstream opened."""

    def __init__(self, path: Path) -> None:
        super().__init__(ninja_numpy.open_existing(path))

    def batches(self, batches: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
        return map(self.samples.__getitem__, batches)

    def append(self, sample: np.ndarray) -> None:
        ninja_numpy.append(self.samples, sample)

    @staticmethod
    def build(samples: np.ndarray, path: Path) -> None:
        ninja_numpy.from_generator(path, iter(samples), batch_size=BATCH_SIZE)

    @staticmethod
    def build_whole(samples: np.ndarray, path: Path) -> None:
        ninja_numpy.from_ndarray(path, samples)
