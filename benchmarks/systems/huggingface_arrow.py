"""Hugging Face `datasets` read the fast way: Arrow batches instead of rows."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa

from systems.huggingface import build

__all__ = ["BATCH_TYPE", "DISTRIBUTION", "LIMITS", "SETTINGS", "build", "open"]

DISTRIBUTION = "datasets"
SETTINGS = (
    'the same files; iterate: `ds.iter(batch_size=1000)`; batches: `ds.with_format("arrow")[list]`, '
    "then `to_pylist()`; jagged: that table's own values and offsets buffers"
)
BATCH_TYPE = list
LIMITS: dict[str, int] = {"random": 10_000}


class Handle:
    """A dataset of one text column, given back as Arrow tables."""

    def __init__(self, path: Path) -> None:
        self.plain = datasets.load_from_disk(str(path))
        self.arrow = self.plain.with_format("arrow")

    def __len__(self) -> int:
        return len(self.plain)

    def iterate(self) -> int:
        return sum(sum(map(len, batch["text"])) for batch in self.plain.iter(batch_size=1000))

    def random_one(self, indices: list[int]) -> int:
        arrow = self.arrow
        total = 0
        for index in indices:
            total += len(arrow[index]["text"][0].as_py())
        return total

    def random_batches(self, batches: Sequence[list[int]]) -> int:
        arrow = self.arrow
        return sum(sum(map(len, arrow[batch]["text"].to_pylist())) for batch in batches)

    def jagged_batches(self, batches: Sequence[list[int]]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for batch in batches:
            yield buffers(self.arrow[batch]["text"].combine_chunks())

    def picklable(self) -> object:
        return self.arrow


def buffers(column: pa.Array | pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
    """Return a string column's bytes and offsets without copying them."""
    if isinstance(column, pa.ChunkedArray):
        column = column.chunk(0)
    _, offsets, values = column.buffers()
    width = np.int64 if pa.types.is_large_string(column.type) else np.int32
    offsets = np.frombuffer(offsets, width)[column.offset : column.offset + len(column) + 1]
    values = np.frombuffer(values, np.uint8)[offsets[0] : offsets[-1]]
    return values, offsets.astype(np.int64) - offsets[0]


def open(path: Path) -> Handle:
    return Handle(path)
