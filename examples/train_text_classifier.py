"""A sentiment classifier, trained from text files by DataLoader and from a dataset by Loader.

python examples/train_text_classifier.py [FOLDER]: a folder like aclImdb/train, with pos/*.txt and neg/*.txt. Without
one, reviews are made up.
"""

import argparse
import random
import resource
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

import mmap_ninja as mn
from mmap_ninja.integrations.torch import Loader

BATCH, EPOCHS, BUCKETS = 64, 2, 2**16
Batch = dict[str, Any]


def made_up(folder: Path, count: int = 4000) -> Path:
    """Reviews whose adjectives tell what they are."""
    chance = random.Random(0)
    words = [f"word{number}" for number in range(500)]
    for label, adjectives in (("neg", ["dull", "awful", "bad"]), ("pos", ["great", "moving", "good"])):
        (folder / label).mkdir(parents=True)
        for number in range(count // 2):
            text = chance.choices(words, k=150) + chance.choices(adjectives, k=3)
            (folder / label / f"{number}.txt").write_text(" ".join(chance.sample(text, len(text))))
    return folder


class Files(Dataset[tuple[bytes, int]]):
    """The usual way: a file is opened for each sample of each epoch."""

    def __init__(self, paths: list[Path]) -> None:
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[bytes, int]:
        return self.paths[index].read_bytes(), int(self.paths[index].parent.name == "pos")


def collated(samples: list[tuple[bytes, int]]) -> Batch:
    texts, labels = zip(*samples, strict=True)
    offsets = torch.tensor(np.cumsum([0, *map(len, texts)]))
    values = torch.frombuffer(bytearray(b"".join(texts)), dtype=torch.uint8)
    return {"text": (values, offsets), "label": torch.tensor(labels)}


class Model(torch.nn.Module):
    """Logistic regression on the hashes of all runs of four bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = torch.nn.EmbeddingBag(BUCKETS, 2, mode="mean")

    def forward(self, text: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        values, offsets = text[0].long(), text[1]
        hashes = ((values[:-3] * 257 + values[1:-2]) * 257 + values[2:-1]) * 257 + values[3:]
        logits: torch.Tensor = self.weights(hashes % BUCKETS, offsets[:-1].clamp(max=len(hashes)))
        return logits


def timed(batches: Any) -> Iterator[tuple[Batch, float]]:
    """Each batch, and the seconds that its consumer waited for it."""
    iterator = iter(batches)
    while True:
        begin = time.perf_counter()
        batch = next(iterator, None)
        if batch is None:
            return
        yield batch, time.perf_counter() - begin


def train(name: str, batches: Any, order: mn.Shuffle) -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)  # so that sums do not depend on chance
    model = Model()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.3)
    count = len(order)
    for epoch in range(EPOCHS):
        order.set_epoch(epoch)  # for DataLoader; a Loader counts by itself
        begin, waited, right = time.perf_counter(), 0.0, 0
        for batch, seconds in timed(batches):
            logits = model(batch["text"])
            loss: torch.Tensor = torch.nn.functional.cross_entropy(logits, batch["label"])
            loss.backward()  # type: ignore[no-untyped-call, unused-ignore]
            optimizer.step()
            optimizer.zero_grad()
            right += int((logits.argmax(1) == batch["label"]).sum())
            waited += seconds
        took = time.perf_counter() - begin
        print(
            f"{name}: epoch {epoch} in {took:.2f} s, {count / took:,.0f} reviews/s, waited {waited:.3f} s "
            f"({waited / took:.1%}), accuracy {right / count:.4f}, "
            f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MB at most"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path)
    given = parser.parse_args().folder
    with tempfile.TemporaryDirectory() as scratch:
        folder = given or made_up(Path(scratch, "reviews"))
        paths = sorted(path for label in ("neg", "pos") for path in (folder / label).glob("*.txt"))
        dataset = mn.RecordsMmap.from_generator(
            Path(scratch, "dataset"),
            ({"text": path.read_text("utf-8"), "label": int(path.parent.name == "pos")} for path in paths),
        )
        order = mn.Shuffle(len(paths), seed=1)  # the same batches in both
        loader = Loader(dataset, BATCH, shuffle=order, collate="jagged")
        train("DataLoader over files", DataLoader(Files(paths), BATCH, sampler=order, collate_fn=collated), order)
        train("Loader over a dataset", loader, order)


if __name__ == "__main__":
    main()
