"""Lance (PyPI: pylance)."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import lance
import numpy as np
import pyarrow as pa

from systems.records.protocol import Record

DISTRIBUTION = "pylance"
SETTINGS = (
    "the images as `large_binary` with their shapes as a list, `large_string`, int64, a list of int32; compression off "
    "by the fields' metadata; `take(list)`, which is the batch when it is read bare, and becomes arrays where every "
    'byte is read; append: `write_dataset(mode="append")`'
)
PLAIN = {"lance-encoding:compression": "none"}
SCHEMA = pa.schema(
    [
        pa.field("image", pa.large_binary(), metadata=PLAIN),
        pa.field("shape", pa.list_(pa.int32(), 3)),
        pa.field("text", pa.large_string(), metadata=PLAIN),
        pa.field("label", pa.int64()),
        pa.field("tokens", pa.list_(pa.int32()), metadata=PLAIN),
    ]
)


class Store:
    """An open Lance dataset."""

    BATCH_TYPE: ClassVar = list
    LIMITS: ClassVar[dict[str, int]] = {"index": 500, "index_bare": 500, "batches": 5120, "batches_bare": 5120}

    def __init__(self, path: Path) -> None:
        self.path = path
        self.dataset = lance.dataset(str(path))

    def __len__(self) -> int:
        return self.dataset.count_rows()

    @staticmethod
    def build(records: Sequence[Record], path: Path) -> None:
        lance.write_dataset(_table(records), str(path))

    def opened(self, record: Any) -> tuple[np.ndarray, str, int, np.ndarray]:
        images, texts, labels, tokens = self.columns(record)
        return next(iter(images)), texts[0], labels[0], next(iter(tokens))

    def bare(self, indices: Sequence[int]) -> object:
        dataset = self.dataset
        for index in indices:
            record = dataset.take([index])
        return record

    def taken(self, batches: Sequence[list[int]]) -> Iterator[object]:
        return map(self.dataset.take, batches)

    def columns(self, batch: Any) -> tuple[Iterable[np.ndarray], Iterable[str], Any, Iterable[np.ndarray]]:
        raw, shapes = batch["image"].to_pylist(), batch["shape"].to_pylist()
        images = (np.frombuffer(image, np.uint8).reshape(shape) for image, shape in zip(raw, shapes, strict=True))
        rows = batch["tokens"].combine_chunks()
        offsets, values = np.asarray(rows.offsets).tolist(), np.asarray(rows.values)
        tokens = (values[start:stop] for start, stop in pairwise(offsets))
        return images, batch["text"].to_pylist(), np.asarray(batch["label"]), tokens

    def append(self, record: Record) -> None:
        lance.write_dataset(_table([record]), str(self.path), mode="append")


def _table(records: Sequence[Record]) -> pa.Table:
    columns = {
        "image": [record["image"].tobytes() for record in records],
        "shape": [list(record["image"].shape) for record in records],
        "text": [record["text"] for record in records],
        "label": [record["label"] for record in records],
        "tokens": [record["tokens"] for record in records],
    }
    return pa.table(columns, schema=SCHEMA)
