"""The floor of a durable build: `pwrite` the payload and the offsets, then `fdatasync` both files."""

import os
from pathlib import Path

import numpy as np

DISTRIBUTION = None
SETTINGS = (
    "the bytes that a dataset stores (UTF-8 payload, one u64 offset per sample and one more), encoded "
    "before the clock starts, `pwrite` in batches of 1024 samples, then one `fdatasync` per file"
)
BATCH_TYPE = list
LIMITS: dict[str, int] = {}
BATCH_SIZE = 1024


def prepare(texts: list[str]) -> list[tuple[bytes, bytes]]:
    """Encode the texts; this is not part of what is timed."""
    batches = []
    offset = 0
    for start in range(0, len(texts), BATCH_SIZE):
        encoded = [text.encode() for text in texts[start : start + BATCH_SIZE]]
        ends = offset + np.cumsum([len(sample) for sample in encoded])
        offset = int(ends[-1])
        batches.append((b"".join(encoded), ends.astype("<u8").tobytes()))
    return batches


def build(batches: list[tuple[bytes, bytes]], path: Path) -> None:
    path.mkdir(parents=True)
    payload = os.open(path / "payload", os.O_WRONLY | os.O_CREAT, 0o644)
    offsets = os.open(path / "offsets", os.O_WRONLY | os.O_CREAT, 0o644)
    position, row = 0, os.pwrite(offsets, bytes(8), 0)
    for data, ends in batches:
        position += os.pwrite(payload, data, position)
        row += os.pwrite(offsets, ends, row)
    for file in (payload, offsets):
        os.fdatasync(file)
        os.close(file)
