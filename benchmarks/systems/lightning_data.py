"""LitData, read from local disk."""

from pathlib import Path

import litdata

DISTRIBUTION = "litdata"
SETTINGS = (
    '`optimize(num_workers=1, chunk_bytes="64MB")` (it starts a worker process; that is part of its '
    "build time), `StreamingDataset(shuffle=False)` on the local folder; it has no batched read"
)
BATCH_TYPE = list
LIMITS: dict[str, int] = {"random": 500}


class Handle:
    """A streaming dataset over a local folder."""

    def __init__(self, path: Path) -> None:
        self.dataset = litdata.StreamingDataset(str(path), shuffle=False)

    def __len__(self) -> int:
        return len(self.dataset)

    def iterate(self) -> int:
        total = 0
        for text in self.dataset:
            total += len(text)
        return total

    def random_one(self, indices: list[int]) -> int:
        dataset = self.dataset
        total = 0
        for index in indices:
            total += len(dataset[index])
        return total

    def picklable(self) -> object:
        return self.dataset


def same(text: str) -> str:
    """Store the input as it is."""
    return text


def build(texts: list[str], path: Path) -> None:
    litdata.optimize(
        fn=same,
        inputs=texts,
        output_dir=str(path),
        chunk_bytes="64MB",
        num_workers=1,
        verbose=False,
        keep_data_ordered=True,
    )


def open(path: Path) -> Handle:
    return Handle(path)
