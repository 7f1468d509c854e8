"""Lance (PyPI: pylance)."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import lance
import numpy as np
import pyarrow as pa

from systems.huggingface_arrow import buffers

DISTRIBUTION = "pylance"
SETTINGS = (
    "one `large_string` column, default storage version, compression off by the field's metadata (on "
    "by default, and slower to read); iterate: `to_batches()`; single and batched reads: "
    '`take(list, columns=["text"])`, then `to_pylist()`; jagged: the taken column\'s buffers; append: '
    '`write_dataset(mode="append")`'
)
BATCH_TYPE = list
LIMITS: dict[str, int] = {"random": 1000, "batches": 25_600, "jagged": 25_600}
FIELD = pa.field("text", pa.large_string(), metadata={"lance-encoding:compression": "none"})


class Handle:
    """An open Lance dataset."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.dataset = lance.dataset(str(path))

    def __len__(self) -> int:
        return self.dataset.count_rows()

    def iterate(self) -> int:
        return sum(sum(map(len, batch.column(0).to_pylist())) for batch in self.dataset.to_batches())

    def random_one(self, indices: list[int]) -> int:
        total = 0
        for index in indices:
            total += len(self.dataset.take([index], columns=["text"]).column(0)[0].as_py())
        return total

    def random_batches(self, batches: Sequence[list[int]]) -> int:
        take = self.dataset.take
        return sum(sum(map(len, take(batch, columns=["text"]).column(0).to_pylist())) for batch in batches)

    def jagged_batches(self, batches: Sequence[list[int]]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for batch in batches:
            yield buffers(self.dataset.take(batch, columns=["text"]).column(0).combine_chunks())

    def append(self, text: str) -> None:
        lance.write_dataset(_table([text]), str(self.path), mode="append")

    def picklable(self) -> object:
        return self.dataset


def _table(texts: list[str]) -> pa.Table:
    return pa.table([pa.array(texts, FIELD.type)], schema=pa.schema([FIELD]))


def build(texts: list[str], path: Path) -> None:
    lance.write_dataset(_table(texts), str(path))


def open(path: Path) -> Handle:
    return Handle(path)
