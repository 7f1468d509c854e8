"""Hugging Face `datasets`, as its first pages show it."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import datasets

DISTRIBUTION = "datasets"
SETTINGS = (
    "`Dataset.from_dict(...).save_to_disk`, `load_from_disk` (memory-mapped Arrow), rows as plain "
    'Python: `for row in ds`, `ds[i]["text"]`, `ds[list]["text"]`; not synced'
)
BATCH_TYPE = list
LIMITS: dict[str, int] = {"random": 20_000, "iterate": 50_000}


class Handle:
    """A dataset of one text column."""

    def __init__(self, path: Path) -> None:
        self.dataset = datasets.load_from_disk(str(path))

    def __len__(self) -> int:
        return len(self.dataset)

    def iterate(self) -> int:
        total = 0
        for count, row in enumerate(self.dataset, 1):
            total += len(row["text"])
            if count == LIMITS["iterate"]:
                break
        return total

    def random_one(self, indices: list[int]) -> int:
        dataset = self.dataset
        total = 0
        for index in indices:
            total += len(dataset[index]["text"])
        return total

    def random_batches(self, batches: Sequence[list[int]]) -> int:
        dataset = self.dataset
        return sum(sum(map(len, dataset[batch]["text"])) for batch in batches)

    def samples(self) -> Iterable[str]:
        return (row["text"] for row in self.dataset)

    def picklable(self) -> object:
        return self.dataset


def build(texts: list[str], path: Path) -> None:
    datasets.disable_progress_bars()
    datasets.Dataset.from_dict({"text": texts}).save_to_disk(str(path))


def open(path: Path) -> Handle:
    return Handle(path)
