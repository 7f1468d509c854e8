"""The samples that are measured, on disk for a run: a fresh process has them in RAM within a moment."""

import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from zlib import adler32

import numpy as np


def store(path: Path, samples: Sequence[Any]) -> None:
    """Lay out samples at a new path, with what reading each of them gives."""
    path.mkdir(parents=True)
    (path / "samples").write_bytes(pickle.dumps(samples))
    np.save(path / "sums.npy", np.array([reading(sample) for sample in samples], np.int64))


def reading(sample: Any) -> int:
    """Return what reading a sample gives: a text its length, an array a checksum of all bytes, a record the sum."""
    if isinstance(sample, dict):
        return sum(map(reading, sample.values()))
    if isinstance(sample, np.ndarray):
        return adler32(sample)  # one C call, about 0.4 ns per byte
    return len(sample) if isinstance(sample, str | bytes) else int(sample)


def payload_bytes(sample: Any) -> int:
    if isinstance(sample, dict):
        return sum(map(payload_bytes, sample.values()))
    return len(sample.encode()) if isinstance(sample, str) else np.asarray(sample).nbytes
