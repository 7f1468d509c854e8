"""The ceiling: arrays that already lie in RAM, in a list, or in one array where all have one shape."""

import pickle
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from systems.arrays.joining import join, pad
from systems.arrays.protocol import Rows

DISTRIBUTION = "numpy"
SETTINGS = (
    "a `list` of arrays (fixed: one ndarray), loaded before the clock starts; no file is touched. `samples[i]`, "
    "batches `[samples[i] for i in idx]` (fixed: `array[idx]`), padded: `np.zeros` and a loop over the rows, jagged: "
    "`np.concatenate`"
)


class Ragged(Rows):
    """A list of arrays, each with memory of its own."""

    BATCH_TYPE = list

    def __init__(self, path: Path) -> None:
        super().__init__(pickle.loads((path / "samples").read_bytes()))  # noqa: S301 - our own, a moment old

    def batches(self, batches: Sequence[list[int]]) -> Iterator[list[np.ndarray]]:
        samples = self.samples
        for batch in batches:
            yield [samples[index] for index in batch]

    def padded(self, batches: Sequence[list[int]]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        return map(pad, self.batches(batches))

    def jagged(self, batches: Sequence[list[int]]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        return map(join, self.batches(batches))

    @staticmethod
    def build(samples: Sequence[np.ndarray], path: Path) -> None:
        path.mkdir(parents=True)
        (path / "samples").write_bytes(pickle.dumps(samples))


class Fixed(Rows):
    """One array."""

    def __init__(self, path: Path) -> None:
        super().__init__(np.load(path / "samples.npy"))

    def batches(self, batches: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
        samples = self.samples
        for batch in batches:
            yield samples[batch]

    @staticmethod
    def build(samples: np.ndarray, path: Path) -> None:
        path.mkdir(parents=True)
        np.save(path / "samples.npy", samples)
