"""Hugging Face `datasets`, in its numpy format."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import datasets
import numpy as np

from systems.records.protocol import Record

DISTRIBUTION = "datasets"
SETTINGS = (
    "`Dataset.from_dict(...).save_to_disk`, the images flat as `Sequence(uint8)` with their shapes, as `Array3D` has "
    'one dynamic dimension only; `load_from_disk`, `with_format("numpy")`, whose int64 arrays are made uint8 and int32 '
    "where every byte is read; `ds[i]`, `ds[list]`; not synced"
)


class Store:
    """An open dataset that gives out NumPy's arrays."""

    BATCH_TYPE: ClassVar = list
    LIMITS: ClassVar[dict[str, int]] = {"index": 2000, "index_bare": 2000, "batches": 5120, "batches_bare": 5120}

    def __init__(self, path: Path) -> None:
        self.dataset = datasets.load_from_disk(str(path)).with_format("numpy")

    def __len__(self) -> int:
        return len(self.dataset)

    @staticmethod
    def build(records: Sequence[Record], path: Path) -> None:
        datasets.disable_progress_bars()
        features = datasets.Features(
            image=datasets.Sequence(datasets.Value("uint8")),
            shape=datasets.Sequence(datasets.Value("int32"), length=3),
            text=datasets.Value("large_string"),
            label=datasets.Value("int64"),
            tokens=datasets.Sequence(datasets.Value("int32")),
        )
        columns = {name: [record[name] for record in records] for name in ("text", "label", "tokens")}
        columns["image"] = [record["image"].reshape(-1) for record in records]
        columns["shape"] = [record["image"].shape for record in records]
        datasets.Dataset.from_dict(columns, features=features).save_to_disk(str(path))

    def opened(self, record: Any) -> tuple[np.ndarray, str, int, np.ndarray]:
        image = record["image"].astype(np.uint8).reshape(record["shape"])
        return image, str(record["text"]), record["label"], record["tokens"].astype(np.int32)

    def bare(self, indices: Sequence[int]) -> object:
        dataset = self.dataset
        for index in indices:
            record = dataset[index]
        return record

    def taken(self, batches: Sequence[list[int]]) -> Iterator[object]:
        return map(self.dataset.__getitem__, batches)

    def columns(self, batch: Any) -> tuple[Iterable[np.ndarray], Iterable[str], Any, Iterable[np.ndarray]]:
        flat = (image.astype(np.uint8) for image in batch["image"])
        images = (image.reshape(shape) for image, shape in zip(flat, batch["shape"], strict=True))
        return images, batch["text"], batch["label"], (row.astype(np.int32) for row in batch["tokens"])
