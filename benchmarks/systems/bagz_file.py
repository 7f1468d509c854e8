"""Bagz, set for local random access: its thread pool costs more than it brings on a warm local file."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import bagz
import numpy as np

from systems.jagged import join

DISTRIBUTION = "bagz"
SETTINGS = (
    "uncompressed, limits in the tail of the file and held in memory, `max_parallelism=0` (on a warm "
    "local file the default of 100 is many times slower in batches; `bagz-default` shows it); "
    "iterate: `read_range` of 1000 (faster than `for record in reader`); batches: "
    "`read_indices(ndarray)`; each record decoded to `str`; not synced"
)
BATCH_TYPE = np.ndarray
LIMITS: dict[str, int] = {}
CHUNK = 1000  # records per read in order; faster than `for record in reader`


class Handle:
    """An open bagz file."""

    def __init__(self, path: Path, *, max_parallelism: int = 0) -> None:
        options = bagz.Reader.Options(
            compression=bagz.CompressionNone(),
            limits_storage=bagz.LimitsStorage.IN_MEMORY,
            max_parallelism=max_parallelism,
        )
        self.reader = bagz.Reader(str(path / "texts.bagz"), options)

    def __len__(self) -> int:
        return len(self.reader)

    def iterate(self) -> int:
        reader = self.reader
        total = 0
        for start in range(0, len(reader), CHUNK):
            count = min(CHUNK, len(reader) - start)
            total += sum(map(len, [record.decode() for record in reader.read_range(start, count)]))
        return total

    def random_one(self, indices: list[int]) -> int:
        reader = self.reader
        total = 0
        for index in indices:
            total += len(reader[index].decode())
        return total

    def random_batches(self, batches: Sequence[np.ndarray]) -> int:
        read = self.reader.read_indices
        return sum(sum(map(len, [record.decode() for record in read(batch)])) for batch in batches)

    def jagged_batches(self, batches: Sequence[np.ndarray]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for batch in batches:
            yield join(self.reader.read_indices(batch))

    def picklable(self) -> object:
        return self.reader


def build(texts: list[str], path: Path) -> None:
    path.mkdir(parents=True)
    options = bagz.Writer.Options(compression=bagz.CompressionNone())
    with bagz.Writer(str(path / "texts.bagz"), options) as writer:
        for text in texts:
            writer.write(text.encode())


def open(path: Path) -> Handle:
    return Handle(path)
