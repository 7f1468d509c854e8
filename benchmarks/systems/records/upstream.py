"""The ancestor, mmap_ninja 0.9.0 from PyPI: four datasets side by side, as its users keep columns."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

import mmap_ninja.numpy as ninja_numpy
from mmap_ninja.ragged import RaggedMmap
from mmap_ninja.string import StringsMmap
from systems.records.protocol import Record

DISTRIBUTION = "mmap_ninja"
SETTINGS = (
    "four datasets side by side: `RaggedMmap`, `StringsMmap`, `np_from_ndarray`, `RaggedMmap`; one by one `ds[i]` of "
    "each, batches `ds[idx]` of each, given an ndarray; built by `from_generator` with batches of 1024; it never syncs"
)


class Store:
    """Four open datasets of 0.9.0."""

    BATCH_TYPE: ClassVar = np.ndarray
    LIMITS: ClassVar[dict[str, int]] = {}

    def __init__(self, path: Path) -> None:
        self.images = RaggedMmap(path / "image")
        self.texts = StringsMmap(path / "text")
        self.labels = ninja_numpy.open_existing(path / "label")
        self.tokens = RaggedMmap(path / "tokens")

    def __len__(self) -> int:
        return len(self.texts)

    @staticmethod
    def build(records: Sequence[Record], path: Path) -> None:
        path.mkdir(parents=True)  # upstream makes only the last folder
        RaggedMmap.from_generator(path / "image", (r["image"] for r in records), batch_size=1024, verbose=False)
        StringsMmap.from_generator(path / "text", (r["text"] for r in records), batch_size=1024, verbose=False)
        ninja_numpy.from_ndarray(path / "label", np.array([r["label"] for r in records]))
        RaggedMmap.from_generator(path / "tokens", (r["tokens"] for r in records), batch_size=1024, verbose=False)

    def opened(self, record: Any) -> tuple[np.ndarray, str, int, np.ndarray]:
        return record["image"], record["text"], record["label"], record["tokens"]

    def bare(self, indices: Sequence[int]) -> object:
        images, texts, labels, tokens = self.images, self.texts, self.labels, self.tokens
        for index in indices:
            record = {"image": images[index], "text": texts[index], "label": labels[index], "tokens": tokens[index]}
        return record

    def taken(self, batches: Sequence[np.ndarray]) -> Iterator[object]:
        for batch in batches:
            yield self.images[batch], self.texts[batch], self.labels[batch], self.tokens[batch]

    def columns(self, batch: Any) -> tuple[Iterable[np.ndarray], Iterable[str], Any, Iterable[np.ndarray]]:
        return batch

    def append(self, record: Record) -> None:
        self.images.append(record["image"])
        self.texts.append(record["text"])
        ninja_numpy.append(self.labels, np.asarray(record["label"]))
        self.tokens.append(record["tokens"])
