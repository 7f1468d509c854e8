"""What every measured system is asked to do.

Loops live in the adapters, not in the caller, so that each system is read with its own idiom and pays for
nothing else. Each returns what it consumed: the sum of the lengths of the `str` it was given.
"""

import importlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

Batch = np.ndarray | list[int]
ZSTD_LEVEL = 3  # usual: what zstd itself takes if none is said

# Name on the command line -> (module, environment). The order is that of the tables.
SYSTEMS = {
    "ours": ("ours", "bench"),
    "upstream": ("upstream", "upstream"),
    "ram": ("ram", "bench"),
    "files": ("files", "bench"),
    "datasets": ("huggingface", "bench"),
    "datasets-arrow": ("huggingface_arrow", "bench"),
    "lmdb": ("lightning_db", "bench"),
    "bagz": ("bagz_file", "bench"),
    "bagz-default": ("bagz_default", "bench"),
    "arrayrecord": ("arrayrecord", "bench"),
    "lance": ("lance_table", "bench"),
    "litdata": ("lightning_data", "bench"),
    "mds": ("mosaic", "mds"),
    "pwrite": ("pwrite", "bench"),
}


class Handle(Protocol):
    """An open dataset. A system without one of the optional reads has no such method."""

    def __len__(self) -> int:
        """Return the number of samples."""

    def iterate(self) -> int:
        """Read all samples in order."""

    def random_one(self, indices: list[int]) -> int:
        """Read samples one by one."""

    def random_batches(self, batches: Sequence[Batch]) -> int:
        """Optional: read whole batches, each as a list of `str`."""

    def jagged_batches(self, batches: Sequence[Batch]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Optional: read whole batches, each as (uint8 values, int64 offsets)."""

    def append(self, text: str) -> None:
        """Optional: add one sample so that a fresh open sees it."""

    def samples(self) -> Iterable[str]:
        """Optional: what a user loops over, for the demo's loop with a progress bar."""

    def picklable(self) -> object:
        """Optional: what a `DataLoader` worker would be sent."""


class System(Protocol):
    """A module of this package: constants that describe it, and how to build and open a dataset."""

    Handle: type[Handle]
    DISTRIBUTION: str | None  # whose version is reported
    SETTINGS: str  # how it was used, in words, for RESULTS.md
    BATCH_TYPE: type  # what its batch reads take fastest: list or np.ndarray
    LIMITS: dict[str, int]  # measure -> how many samples of it are read, where all would take minutes

    def build(self, texts: list[str], path: Path) -> None:
        """Write texts that lie in RAM to a new path."""

    def build_compressed(self, texts: list[str], path: Path, dictionary_size: int | None) -> None:
        """Optional: as `build`, each text a frame of zstd, with a dictionary of at most so many bytes."""

    def open(self, path: Path) -> Handle:
        """Open what `build` wrote."""


def load(name: str) -> System:
    """Import the adapter of one system, and with it the system itself."""
    return importlib.import_module(f"systems.{SYSTEMS[name][0]}")
