"""LMDB through py-lmdb."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import lmdb
import numpy as np

from systems.jagged import join

DISTRIBUTION = "lmdb"
SETTINGS = (
    "key = index as 8 bytes big-endian, one `putmulti(append=True)`, committed with its fsync; read-"
    "only without lock, read-ahead on (its docs turn it off only for databases larger than RAM); "
    "iterate: `cursor.iternext`, `buffers=True`; `[i]`: `txn.get`, `buffers=True`; batches: "
    "`cursor.getmulti`; each value decoded to `str`"
)
BATCH_TYPE = list
LIMITS: dict[str, int] = {}
MAP_SIZE = 1 << 40


def key(index: int) -> bytes:
    """Return the key of one sample."""
    return index.to_bytes(8, "big")


class Handle:
    """One read transaction, and one more that gives `bytes` instead of buffers."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.environment = lmdb.open(str(path), readonly=True, lock=False, readahead=True)
        self.buffers = self.environment.begin(buffers=True)
        self.copies = self.environment.begin()

    def __len__(self) -> int:
        return self.environment.stat()["entries"]

    def iterate(self) -> int:
        total = 0
        for value in self.buffers.cursor().iternext(keys=False):
            total += len(str(value, "utf-8"))
        return total

    def random_one(self, indices: list[int]) -> int:
        get = self.buffers.get
        total = 0
        for index in indices:
            total += len(str(get(index.to_bytes(8, "big")), "utf-8"))
        return total

    def random_batches(self, batches: Sequence[list[int]]) -> int:
        cursor = self.copies.cursor()
        total = 0
        for batch in batches:
            pairs = cursor.getmulti([key(index) for index in batch])
            total += sum(map(len, [value.decode() for _, value in pairs]))
        return total

    def jagged_batches(self, batches: Sequence[list[int]]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        cursor = self.copies.cursor()
        for batch in batches:
            yield join([value for _, value in cursor.getmulti([key(index) for index in batch])])

    def append(self, text: str) -> None:
        """Put one more sample, without waiting for the disk, as ours and upstream do by default."""
        if self.environment.flags()["readonly"]:
            self.environment.close()
            self.environment = lmdb.open(str(self.path), map_size=MAP_SIZE, sync=False)
            self.count = len(self)
        with self.environment.begin(write=True) as transaction:
            transaction.put(key(self.count), text.encode(), append=True)
        self.count += 1


def build(texts: list[str], path: Path) -> None:
    environment = lmdb.open(str(path), map_size=MAP_SIZE)
    with environment.begin(write=True) as transaction:
        pairs = ((key(index), text.encode()) for index, text in enumerate(texts))
        transaction.cursor().putmulti(pairs, append=True)
    environment.close()


def open(path: Path) -> Handle:
    return Handle(path)
