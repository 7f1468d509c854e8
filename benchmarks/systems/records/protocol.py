"""What every measured system of records is asked to do.

A record is a dict of a ragged image (uint8, height x width x 3), a text, a label (int64) and a row of int32 tokens.
"""

import importlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol
from zlib import adler32

import numpy as np

Record = dict[str, Any]

# Name on the command line -> (module, environment). The order is that of the tables.
SYSTEMS = {
    "ours": ("ours", "bench"),
    "upstream": ("upstream", "upstream"),
    "datasets": ("huggingface", "bench"),
    "lance": ("lance_table", "bench"),
}


def consume(images: Iterable[np.ndarray], texts: Iterable[str], labels: Any, tokens: Iterable[np.ndarray]) -> int:
    """Read every byte of a batch, and the length of each text; the same for all systems."""
    total = sum(map(adler32, images)) + sum(map(len, texts)) + sum(map(adler32, tokens))
    return total + int(np.asarray(labels).sum())


class Records(Protocol):
    """An open dataset. A system without one of the optional parts has no such method."""

    BATCH_TYPE: ClassVar[type]
    LIMITS: ClassVar[dict[str, int]]  # measure -> how many samples of it are read, where all would take minutes

    def __init__(self, path: Path) -> None:
        """Open what `build` wrote."""

    def __len__(self) -> int:
        """How many records there are."""

    @staticmethod
    def build(records: Sequence[Record], path: Path) -> None:
        """Write records that lie in RAM to a new path."""

    def bare(self, indices: Sequence[int]) -> object:
        """Be given records one by one, as they come; return the last."""

    def opened(self, record: Any) -> tuple[np.ndarray, str, int, np.ndarray]:
        """Return the image, text, label and tokens of a record that `bare` gave."""

    def taken(self, batches: Sequence[Any]) -> Iterator[object]:
        """Optional: read whole batches, each as the system gives it."""

    def columns(self, batch: Any) -> tuple[Iterable[np.ndarray], Iterable[str], Any, Iterable[np.ndarray]]:
        """Return the columns of a batch that `taken` gave, as arrays and texts."""

    def append(self, record: Record) -> None:
        """Optional: add one record so that a fresh open sees it."""


class System(Protocol):
    """A module of this package."""

    DISTRIBUTION: str | None  # whose version is reported
    SETTINGS: str  # how it was used, in words, for RECORDS.md
    Store: type[Records]


def load(name: str) -> System:
    """Import the adapter of one system, and with it the system itself."""
    return importlib.import_module(f"systems.records.{SYSTEMS[name][0]}")
