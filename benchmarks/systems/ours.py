"""This project."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from mmap_ninja import StringsMmap
from systems.protocol import ZSTD_LEVEL

DISTRIBUTION = "mmap_ninja"
SETTINGS = (
    "`for t in texts`, `texts[i]`, `texts.take(idx)`, `texts.take_jagged(idx)`; built by "
    "`from_generator` with batches of 1024: durable (the default: synced at the end), or "
    '`durability="process"` (not synced)'
)
BATCH_TYPE = np.ndarray
LIMITS: dict[str, int] = {}


class Handle:
    """An open `StringsMmap`."""

    def __init__(self, path: Path) -> None:
        self.texts = StringsMmap(path)

    def __len__(self) -> int:
        return len(self.texts)

    def iterate(self) -> int:
        total = 0
        for text in self.texts:
            total += len(text)
        return total

    def random_one(self, indices: list[int]) -> int:
        texts = self.texts
        total = 0
        for index in indices:
            total += len(texts[index])
        return total

    def random_batches(self, batches: Sequence[np.ndarray]) -> int:
        texts = self.texts
        return sum(sum(map(len, texts.take(batch))) for batch in batches)

    def jagged_batches(self, batches: Sequence[np.ndarray]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        return map(self.texts.take_jagged, batches)

    def append(self, text: str) -> None:
        self.texts.append(text)

    def extend(self, texts: list[str]) -> None:
        """Add many samples in one commit."""
        self.texts.extend(texts)

    def flush(self) -> None:
        """Make all appends durable."""
        self.texts.flush()

    def samples(self) -> Iterable[str]:
        return self.texts

    def picklable(self) -> object:
        return self.texts


def build(texts: list[str], path: Path) -> None:
    StringsMmap.from_generator(out_dir=path, sample_generator=iter(texts), batch_size=1024, verbose=False)


def build_unsynced(texts: list[str], path: Path) -> None:
    """Build without the final sync, as upstream does."""
    StringsMmap.from_generator(
        out_dir=path, sample_generator=iter(texts), batch_size=1024, verbose=False, durability="process"
    )


def build_compressed(texts: list[str], path: Path, dictionary_size: int | None) -> None:
    """Compress each text, with a trained dictionary if it has a size."""
    StringsMmap.from_generator(
        out_dir=path,
        sample_generator=iter(texts),
        batch_size=1024,
        verbose=False,
        zstd_level=ZSTD_LEVEL,
        zstd_train_dictionary_size=dictionary_size,
    )


def open(path: Path) -> Handle:
    return Handle(path)
