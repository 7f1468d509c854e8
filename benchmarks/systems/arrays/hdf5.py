"""HDF5 through h5py."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

import h5py
import numpy as np

from systems.arrays.flat_values import Slices, flat, in_blocks
from systems.arrays.protocol import Rows

DISTRIBUTION = "h5py"
SETTINGS = (
    "uncompressed, contiguous datasets (no chunks: fastest to read). Fixed: `dataset[i]`, batches by its fancy index "
    "of the sorted positions. Ragged: a flat dataset, with one of shapes loaded when it is opened, "
    "`dataset[start:end]` (much faster than its `vlen` type); iterated in blocks of 1000 samples. Append: chunks of "
    "256 KiB instead, `resize`, assign, `flush`. Not synced, no pickle"
)
CHUNK_BYTES = 256 * 1024


class Ragged(Rows):
    """Flat values and shapes in one file."""

    BATCH_TYPE = list

    def __init__(self, path: Path) -> None:
        self.file = h5py.File(path / "samples.h5", "r")
        super().__init__(Slices(self.file["values"], self.file["shapes"][:]))

    def batches(self, batches: Sequence[list[int]]) -> Iterator[list[np.ndarray]]:
        return self.samples.batches(batches)

    def append(self, sample: np.ndarray) -> None:
        self.file = writable(self.file)
        grow(self.file["values"], sample.reshape(-1))
        grow(self.file["shapes"], np.array([sample.shape]))
        self.file.flush()

    def picklable(self) -> object:
        return self.file["values"]

    @staticmethod
    def build(samples: Sequence[np.ndarray], path: Path) -> None:
        values, shapes = flat(samples)
        save(path, values=values, shapes=shapes)

    @staticmethod
    def build_appendable(samples: Sequence[np.ndarray], path: Path) -> None:
        values, shapes = flat(samples)
        save(path, chunked=True, values=values, shapes=shapes)


class Fixed(Rows):
    """One array in a file."""

    LIMITS: ClassVar = {"batches": 5120}

    def __init__(self, path: Path) -> None:
        self.file = h5py.File(path / "samples.h5", "r")
        super().__init__(self.file["values"])

    def in_order(self) -> Iterator[np.ndarray]:
        return in_blocks(self.samples, len(self))

    def batches(self, batches: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
        samples = self.samples
        for batch in batches:
            order = np.argsort(batch)
            result = np.empty((len(batch), *samples.shape[1:]), samples.dtype)
            result[order] = samples[batch[order]]
            yield result

    def append(self, sample: np.ndarray) -> None:
        self.file = writable(self.file)
        grow(self.file["values"], sample[np.newaxis])
        self.file.flush()

    @staticmethod
    def build(samples: np.ndarray, path: Path) -> None:
        save(path, values=samples)

    build_whole = build

    @staticmethod
    def build_appendable(samples: np.ndarray, path: Path) -> None:
        save(path, chunked=True, values=samples)


def save(path: Path, *, chunked: bool = False, **arrays: np.ndarray) -> None:
    """Write arrays to one file."""
    path.mkdir(parents=True)
    with h5py.File(path / "samples.h5", "w") as file:
        for name, array in arrays.items():
            rows = max(1, CHUNK_BYTES // (array.nbytes // len(array)))
            layout = {"chunks": (rows, *array.shape[1:]), "maxshape": (None, *array.shape[1:])} if chunked else {}
            file.create_dataset(name, data=array, **layout)


def writable(file: h5py.File) -> h5py.File:
    """Return the same file, open for changes."""
    if file.mode == "r+":
        return file
    name = file.filename
    file.close()
    return h5py.File(name, "r+")


def grow(dataset: h5py.Dataset, rows: np.ndarray) -> None:
    """Add rows at the end."""
    length = len(dataset)
    dataset.resize(length + len(rows), axis=0)
    dataset[length:] = rows
