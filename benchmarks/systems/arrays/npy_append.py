"""npy-append-array: one .npy file that grows, and is read by `np.load(mmap_mode="r")`."""

from pathlib import Path

import numpy as np
from npy_append_array import NpyAppendArray

from systems.arrays.memmap import Fixed as Mapped

DISTRIBUTION = "npy-append-array"
SETTINGS = (
    "fixed only (ragged ones would be two files that no crash keeps together): `NpyAppendArray(path).append(batch)` "
    "of 1024 samples at a time, kept open for single appends, each with a `flush`; read by `np.load`, see memmap. Not "
    "synced"
)
BATCH_SIZE = 1024


class Fixed(Mapped):
    """One growing file."""

    def append(self, sample: np.ndarray) -> None:
        if not hasattr(self, "writer"):
            self.writer = NpyAppendArray(self.samples.filename)
        self.writer.append(sample[np.newaxis])
        self.writer.fp.flush()  # else a fresh open sees it later

    @staticmethod
    def build(samples: np.ndarray, path: Path) -> None:
        path.mkdir(parents=True)
        with NpyAppendArray(path / "values.npy") as writer:
            for start in range(0, len(samples), BATCH_SIZE):
                writer.append(samples[start : start + BATCH_SIZE])

    @staticmethod
    def build_whole(samples: np.ndarray, path: Path) -> None:
        path.mkdir(parents=True)
        with NpyAppendArray(path / "values.npy") as writer:
            writer.append(samples)
