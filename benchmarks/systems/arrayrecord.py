"""ArrayRecord, as its performance guide sets it for random access."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from array_record.python.array_record_module import ArrayRecordReader, ArrayRecordWriter

from systems.jagged import join

DISTRIBUTION = "array_record"
SETTINGS = (
    "`group_size:1,uncompressed`; random reads with `readahead_buffer_size:0,max_parallelism:0`, one by"
    " one by `seek` + `read()`, batches by the faster of its two readers, `read(list)` with the default"
    " options; iterate: `read_all()` with the default options; each record decoded to `str`; not synced"
)
BATCH_TYPE = list
LIMITS: dict[str, int] = {"random": 10_000}


class Handle:
    """One reader for sequential and batched reads, one for single reads."""

    def __init__(self, path: Path) -> None:
        file = str(path / "texts.array_record")
        self.batched = ArrayRecordReader(file)
        self.single = ArrayRecordReader(file, "readahead_buffer_size:0,max_parallelism:0")

    def __len__(self) -> int:
        return self.batched.num_records()

    def iterate(self) -> int:
        return sum(map(len, [record.decode() for record in self.batched.read_all()]))

    def random_one(self, indices: list[int]) -> int:
        reader = self.single
        total = 0
        for index in indices:
            reader.seek(index)
            total += len(reader.read().decode())
        return total

    def random_batches(self, batches: Sequence[list[int]]) -> int:
        read = self.batched.read
        return sum(sum(map(len, [record.decode() for record in read(batch)])) for batch in batches)

    def jagged_batches(self, batches: Sequence[list[int]]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for batch in batches:
            yield join(self.batched.read(batch))


def build(texts: list[str], path: Path) -> None:
    path.mkdir(parents=True)
    writer = ArrayRecordWriter(str(path / "texts.array_record"), "group_size:1,uncompressed")
    for text in texts:
        writer.write(text.encode())
    writer.close()


def open(path: Path) -> Handle:
    return Handle(path)
