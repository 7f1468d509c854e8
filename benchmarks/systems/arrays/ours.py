"""This project."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from mmap_ninja import ArrayMmap, RaggedMmap
from systems.arrays.protocol import Rows

DISTRIBUTION = "mmap_ninja"
SETTINGS = (
    "`for x in ds`, `ds[i]` (read-only views), `take(idx)`, `take_padded(idx)`, `take_jagged(idx)`, "
    "`windows(length, stride).take(idx)`; built by `from_generator` with batches of 1024: durable (the default: "
    'synced at the end), or `durability="process"` (not synced, and so are parallel builds by `from_indexable` where '
    "nothing else is said); fixed arrays whole: `from_ndarray`"
)
BATCH_SIZE = 1024


class Ragged(Rows):
    """An open `RaggedMmap`."""

    def __init__(self, path: Path) -> None:
        super().__init__(RaggedMmap(path))

    def batches(self, batches: Sequence[np.ndarray]) -> Iterator[list[np.ndarray]]:
        return map(self.samples.take, batches)

    def padded(self, batches: Sequence[np.ndarray]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        return map(self.samples.take_padded, batches)

    def jagged(self, batches: Sequence[np.ndarray]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        return map(self.samples.take_jagged, batches)

    def windows(self, length: int, stride: int, batches: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
        return map(self.samples.windows(length, stride).take, batches)

    def append(self, sample: np.ndarray) -> None:
        self.samples.append(sample)

    @staticmethod
    def build(samples: Sequence[np.ndarray], path: Path) -> None:
        RaggedMmap.from_generator(out_dir=path, sample_generator=iter(samples), batch_size=BATCH_SIZE, verbose=False)

    @staticmethod
    def build_unsynced(samples: Sequence[np.ndarray], path: Path) -> None:
        """Build without the final sync, as upstream does."""
        RaggedMmap.from_generator(
            out_dir=path, sample_generator=iter(samples), batch_size=BATCH_SIZE, verbose=False, durability="process"
        )

    @staticmethod
    def from_indexable(source: Sequence[np.ndarray], path: Path, batch_size: int, n_jobs: int | None) -> None:
        """Build without the final sync, as all others do."""
        RaggedMmap.from_indexable(path, source, batch_size, n_jobs=n_jobs, verbose=False, durability="process")

    @staticmethod
    def from_indexable_durable(source: Sequence[np.ndarray], path: Path, batch_size: int, n_jobs: int | None) -> None:
        """Build as by default."""
        RaggedMmap.from_indexable(path, source, batch_size, n_jobs=n_jobs, verbose=False)


class Fixed(Rows):
    """An open `ArrayMmap`."""

    def __init__(self, path: Path) -> None:
        super().__init__(ArrayMmap(path))

    def batches(self, batches: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
        return map(self.samples.take, batches)

    def append(self, sample: np.ndarray) -> None:
        self.samples.append(sample)

    @staticmethod
    def build(samples: np.ndarray, path: Path) -> None:
        ArrayMmap.from_generator(out_dir=path, sample_generator=iter(samples), batch_size=BATCH_SIZE, verbose=False)

    @staticmethod
    def build_unsynced(samples: np.ndarray, path: Path) -> None:
        """Build without the final sync, as upstream does."""
        ArrayMmap.from_generator(
            out_dir=path, sample_generator=iter(samples), batch_size=BATCH_SIZE, verbose=False, durability="process"
        )

    @staticmethod
    def build_whole(samples: np.ndarray, path: Path) -> None:
        ArrayMmap.from_ndarray(path, samples)
