"""MDS, the format of mosaicml-streaming, read from local disk."""

import itertools
from collections.abc import Sequence
from pathlib import Path

import torch

# streaming imports torchvision for its image datasets. PyPI's torchvision expects operators that a CPU-only
# torch from elsewhere lacks; declaring them lets it load, and nothing here calls them.
try:
    import torchvision  # noqa: F401
except RuntimeError:
    for operator in ("nms", "qnms"):
        torch.library.define(f"torchvision::{operator}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
from streaming import MDSWriter, StreamingDataset

DISTRIBUTION = "mosaicml-streaming"
SETTINGS = (
    "one `str` column, uncompressed, shards of 256 MB, `StreamingDataset(local=..., shuffle=False, "
    "batch_size=256)`; `for row in ds`, `ds[i]`, and its list index, which loops in Python; not synced"
)
BATCH_TYPE = list
LIMITS: dict[str, int] = {"iterate": 2000, "random": 10_000, "batches": 10_240, "cold_batches": 2_560}


class Handle:
    """A streaming dataset over a local folder."""

    def __init__(self, path: Path) -> None:
        self.dataset = StreamingDataset(local=str(path), shuffle=False, batch_size=256)

    def __len__(self) -> int:
        return len(self.dataset)

    def iterate(self) -> int:
        total = 0
        for row in itertools.islice(iter(self.dataset), LIMITS["iterate"]):
            total += len(row["text"])
        return total

    def random_one(self, indices: list[int]) -> int:
        dataset = self.dataset
        total = 0
        for index in indices:
            total += len(dataset[index]["text"])
        return total

    def random_batches(self, batches: Sequence[list[int]]) -> int:
        dataset = self.dataset
        return sum(sum(len(row["text"]) for row in dataset[batch]) for batch in batches)

    def picklable(self) -> object:
        return self.dataset


def build(texts: list[str], path: Path) -> None:
    with MDSWriter(out=str(path), columns={"text": "str"}, size_limit=1 << 28) as writer:
        for text in texts:
            writer.write({"text": text})


def open(path: Path) -> Handle:
    return Handle(path)
