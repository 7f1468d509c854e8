"""`np.memmap`, as a person keeps arrays by hand: one file of values, for ragged ones offsets and shapes beside it."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from systems.arrays.flat_values import Slices, flat
from systems.arrays.joining import join, pad
from systems.arrays.protocol import Rows

DISTRIBUTION = "numpy"
SETTINGS = (
    "fixed: `np.load(mmap_mode='r')`, `mm[i]`, `mm[idx]`, built by `np.save`. Ragged, written by hand: flat values in "
    "one such file, `values[start:end].reshape(shape)` with offsets and shapes as lists in RAM, iterated in blocks of "
    "1000; padded and jagged by NumPy loops over that; windows: `sliding_window_view(values, length)[::stride][idx]`. "
    "Not synced"
)


class Ragged(Rows):
    """Flat values in a file, offsets and shapes in RAM."""

    BATCH_TYPE = list

    def __init__(self, path: Path) -> None:
        super().__init__(Slices(np.load(path / "values.npy", mmap_mode="r"), np.load(path / "shapes.npy")))

    def batches(self, batches: Sequence[list[int]]) -> Iterator[list[np.ndarray]]:
        return self.samples.batches(batches)

    def padded(self, batches: Sequence[list[int]]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        return map(pad, self.batches(batches))

    def jagged(self, batches: Sequence[list[int]]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        return map(join, self.batches(batches))

    def windows(self, length: int, stride: int, batches: Sequence[list[int]]) -> Iterator[np.ndarray]:
        found = np.lib.stride_tricks.sliding_window_view(self.samples.values, length)[::stride]
        for batch in batches:
            yield found[batch]

    @staticmethod
    def build(samples: Sequence[np.ndarray], path: Path) -> None:
        path.mkdir(parents=True)
        values, shapes = flat(samples)
        np.save(path / "values.npy", values)
        np.save(path / "shapes.npy", shapes)


class Fixed(Rows):
    """One mapped array."""

    def __init__(self, path: Path) -> None:
        super().__init__(np.load(path / "values.npy", mmap_mode="r"))

    def batches(self, batches: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
        samples = self.samples
        for batch in batches:
            yield samples[batch]

    @staticmethod
    def build(samples: np.ndarray, path: Path) -> None:
        path.mkdir(parents=True)
        np.save(path / "values.npy", samples)

    build_whole = build
