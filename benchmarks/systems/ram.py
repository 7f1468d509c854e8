"""The ceiling of plain Python: `bytes.decode()` over a list of `bytes` that already lies in RAM."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from systems.jagged import join

DISTRIBUTION = None
SETTINGS = "`b.decode()` for `b` of a `list[bytes]`, loaded before the clock starts; no file is touched"
BATCH_TYPE = list
LIMITS: dict[str, int] = {}


class Handle:
    """A list of encoded texts."""

    def __init__(self, path: Path) -> None:
        payload = (path / "payload").read_bytes()
        offsets = np.load(path / "offsets.npy").tolist()
        self.samples_bytes = [payload[start:end] for start, end in pairwise(offsets)]

    def __len__(self) -> int:
        return len(self.samples_bytes)

    def iterate(self) -> int:
        total = 0
        for sample in self.samples_bytes:
            total += len(sample.decode())
        return total

    def random_one(self, indices: list[int]) -> int:
        samples = self.samples_bytes
        total = 0
        for index in indices:
            total += len(samples[index].decode())
        return total

    def random_batches(self, batches: Sequence[list[int]]) -> int:
        samples = self.samples_bytes
        return sum(sum(map(len, [samples[index].decode() for index in batch])) for batch in batches)

    def jagged_batches(self, batches: Sequence[list[int]]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for batch in batches:
            yield join([self.samples_bytes[index] for index in batch])


def build(texts: list[str], path: Path) -> None:
    path.mkdir(parents=True)
    encoded = [text.encode() for text in texts]
    (path / "payload").write_bytes(b"".join(encoded))
    np.save(path / "offsets.npy", np.cumsum([0, *map(len, encoded)]))


def open(path: Path) -> Handle:
    return Handle(path)
