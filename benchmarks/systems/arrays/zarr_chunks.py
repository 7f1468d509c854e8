"""Zarr, version 3 of its format."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import zarr

from systems.arrays.flat_values import Slices, flat, in_blocks
from systems.arrays.protocol import Rows

DISTRIBUTION = "zarr"
SETTINGS = (
    "version 3, no compression, a local folder. Fixed: chunks of 1000 samples (784 kB; smaller ones are slower in "
    "batches), `array[i]`, batches by `array.oindex[idx]`. Ragged: flat values in chunks of 256 KiB, with an array of "
    "shapes loaded when it is opened, `values[start:end]`; iterated in blocks of 1000 samples. Append: `array.append`. "
    "Not synced"
)
LIMITS = {"index": 500, "index_bare": 500, "batches": 1024}  # a millisecond per read
CHUNK_SAMPLES = 1000
CHUNK_BYTES = 256 * 1024
CHUNK_SHAPES = 4096


class Ragged(Rows):
    """Flat values and shapes in two arrays."""

    BATCH_TYPE = list
    LIMITS: ClassVar = LIMITS

    def __init__(self, path: Path) -> None:
        self.values = zarr.open_array(str(path / "values"), mode="r+")
        self.shapes = zarr.open_array(str(path / "shapes"), mode="r+")
        super().__init__(Slices(self.values, self.shapes[:]))

    def batches(self, batches: Sequence[list[int]]) -> Iterator[list[np.ndarray]]:
        return self.samples.batches(batches)

    def append(self, sample: np.ndarray) -> None:
        self.values.append(sample.reshape(-1))
        self.shapes.append(np.array([sample.shape]))

    def picklable(self) -> object:
        return self.values

    @staticmethod
    def build(samples: Sequence[np.ndarray], path: Path) -> None:
        values, shapes = flat(samples)
        save(path / "values", values, CHUNK_BYTES // values.itemsize)
        save(path / "shapes", shapes, CHUNK_SHAPES)


class Fixed(Rows):
    """One array."""

    LIMITS: ClassVar = LIMITS

    def __init__(self, path: Path) -> None:
        super().__init__(zarr.open_array(str(path), mode="r+"))

    def __len__(self) -> int:
        return self.samples.shape[0]  # it has no len

    def in_order(self) -> Iterator[np.ndarray]:
        return in_blocks(self.samples, len(self))

    def batches(self, batches: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
        return map(self.samples.oindex.__getitem__, batches)

    def append(self, sample: np.ndarray) -> None:
        self.samples.append(sample[np.newaxis])

    @staticmethod
    def build(samples: np.ndarray, path: Path) -> None:
        save(path, samples, CHUNK_SAMPLES)

    build_whole = build


def save(path: Path, array: np.ndarray, rows: int) -> None:
    """Write one array."""
    zarr.create_array(str(path), data=array, chunks=(rows, *array.shape[1:]), compressors=None, filters=None)
