"""What every measured system of arrays is asked to do.

A system keeps ragged arrays, fixed ones, or both, each in a store of its own. Loops live in the stores, and each
returns what it read: a sum of checksums of every byte, or the last that it was given, whose checksum is taken
outside the clock.
"""

import importlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol
from zlib import adler32

import numpy as np

Batch = np.ndarray | list[int]

# Name on the command line -> (module, environment). The order is that of the tables.
SYSTEMS = {
    "ours": ("ours", "bench"),
    "upstream": ("upstream", "upstream"),
    "ram": ("ram", "bench"),
    "memmap": ("memmap", "bench"),
    "datasets": ("huggingface", "bench"),
    "tensordict": ("tensor_files", "bench"),
    "h5py": ("hdf5", "bench"),
    "zarr": ("zarr_chunks", "bench"),
    "npy-append": ("npy_append", "bench"),
    "processes": ("processes", "bench"),
}


class Rows:
    """The loops over samples that are indexed like a list; a system with a faster idiom has its own."""

    BATCH_TYPE: ClassVar[type] = np.ndarray  # what its batch reads take fastest: list or np.ndarray
    LIMITS: ClassVar[dict[str, int]] = {}  # measure -> how many samples of it are read, where all would take minutes

    def __init__(self, samples: Any) -> None:
        self.samples = samples

    def __len__(self) -> int:
        return len(self.samples)

    def in_order(self) -> Iterable[np.ndarray]:
        """Return what a user loops over."""
        return self.samples

    def iterate(self) -> int:
        total = 0
        for sample in self.in_order():
            total += adler32(sample)
        return total

    def iterate_bare(self) -> np.ndarray:
        for sample in self.in_order():  # noqa: B007 - what is timed
            pass
        return sample

    def index(self, indices: list[int]) -> int:
        samples = self.samples
        total = 0
        for index in indices:
            total += adler32(samples[index])
        return total

    def index_bare(self, indices: list[int]) -> np.ndarray:
        samples = self.samples
        for index in indices:
            sample = samples[index]
        return sample

    def picklable(self) -> object:
        return self.samples


class Store(Protocol):
    """An open dataset of one kind of arrays. A system without one of the optional parts has no such method."""

    BATCH_TYPE: ClassVar[type]
    LIMITS: ClassVar[dict[str, int]]

    def __init__(self, path: Path) -> None:
        """Open what `build` wrote."""

    @staticmethod
    def build(samples: Sequence[np.ndarray], path: Path) -> None:
        """Write samples that lie in RAM to a new path, sample by sample where the system can."""

    @staticmethod
    def build_whole(samples: np.ndarray, path: Path) -> None:
        """Optional: write one array in RAM as it is, where that is another way than `build`."""

    @staticmethod
    def build_unsynced(samples: Sequence[np.ndarray], path: Path) -> None:
        """Optional: build without the final sync, where that is not the only way."""

    @staticmethod
    def build_appendable(samples: Sequence[np.ndarray], path: Path) -> None:
        """Optional: build so that `append` is possible, where `build` does not."""

    @staticmethod
    def from_indexable(source: Sequence[np.ndarray], path: Path, batch_size: int, n_jobs: int | None) -> None:
        """Optional: build from a source that makes its samples when asked, without a final sync."""

    @staticmethod
    def from_indexable_durable(source: Sequence[np.ndarray], path: Path, batch_size: int, n_jobs: int | None) -> None:
        """Optional: build so, and sync."""

    def batches(self, batches: Sequence[Batch]) -> Iterator[list[np.ndarray]] | Iterator[np.ndarray]:
        """Optional: read whole batches: lists of ragged arrays, or one owned array of fixed ones each."""

    def padded(self, batches: Sequence[Batch]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Optional: read whole batches, each as (array filled up with zeros, lengths or shapes)."""

    def jagged(self, batches: Sequence[Batch]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Optional: read whole batches, each as (owned values, offsets)."""

    def windows(self, length: int, stride: int, batches: Sequence[Batch]) -> Iterator[np.ndarray]:
        """Optional: read whole batches of windows, each as one owned array."""

    def append(self, sample: np.ndarray) -> None:
        """Optional: add one sample so that a fresh open sees it."""


class System(Protocol):
    """A module of this package: constants that describe it, and a store per kind of arrays that it can keep."""

    DISTRIBUTION: str | None  # whose version is reported
    SETTINGS: str  # how it was used, in words, for ARRAYS.md
    Ragged: type[Store]
    Fixed: type[Store]


def load(name: str) -> System:
    """Import the adapter of one system, and with it the system itself."""
    return importlib.import_module(f"systems.arrays.{SYSTEMS[name][0]}")
