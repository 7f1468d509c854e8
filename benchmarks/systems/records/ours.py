"""This project."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from mmap_ninja import RecordsMmap
from systems.records.protocol import Record

DISTRIBUTION = "mmap_ninja"
SETTINGS = (
    "`RecordsMmap.from_generator` with batches of 1024, columns as the first sample makes them; `ds[i]`, `take(idx)`"
)


class Store:
    """An open `RecordsMmap`."""

    BATCH_TYPE: ClassVar = np.ndarray
    LIMITS: ClassVar[dict[str, int]] = {}

    def __init__(self, path: Path) -> None:
        self.records = RecordsMmap(path)

    def __len__(self) -> int:
        return len(self.records)

    @staticmethod
    def build(records: Sequence[Record], path: Path) -> None:
        RecordsMmap.from_generator(path, iter(records), batch_size=1024)

    def opened(self, record: Any) -> tuple[np.ndarray, str, int, np.ndarray]:
        return record["image"], record["text"], record["label"], record["tokens"]

    def bare(self, indices: Sequence[int]) -> object:
        records = self.records
        for index in indices:
            record = records[index]
        return record

    def taken(self, batches: Sequence[np.ndarray]) -> Iterator[object]:
        return map(self.records.take, batches)

    def columns(self, batch: Any) -> tuple[Iterable[np.ndarray], Iterable[str], Any, Iterable[np.ndarray]]:
        return batch["image"], batch["text"], batch["label"], batch["tokens"]

    def append(self, record: Record) -> None:
        self.records.append(record)
