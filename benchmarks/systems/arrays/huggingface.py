"""Hugging Face `datasets` in its NumPy format."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

import datasets
import numpy as np
import pyarrow as pa

from systems.arrays.joining import pad
from systems.arrays.protocol import Rows

DISTRIBUTION = "datasets"
SETTINGS = (
    "built from an Arrow table made of the flat values (faster than `from_dict` of arrays), `save_to_disk`, "
    '`load_from_disk`, `with_format("numpy", dtype=...)` (which keeps the dtype; it widens to int64 by default). '
    "Ragged: a large list of the flat values and a column of shapes, which is loaded when it is opened; fixed: a list "
    "of 784 per row, reshaped (faster than `Array2D`). Iterate: `ds.iter(batch_size=1000)`; jagged: the Arrow "
    "format's own buffers; padded: the NumPy loop. Not synced"
)
READ_AHEAD = 1000


class Formatted:
    """Rows that get their shape back."""

    def __init__(self, path: Path, dtype: type | None = None) -> None:
        dataset = datasets.load_from_disk(str(path))
        shapes = dataset.with_format("arrow")[:]["shape"].combine_chunks()
        self.shapes = shapes.flatten().to_numpy().reshape(len(dataset), -1)
        self.arrow = dataset.with_format("arrow", columns=["values"])
        dtype = dtype or dataset.features["values"].feature.dtype
        self.numpy = dataset.with_format("numpy", columns=["values"], dtype=np.dtype(dtype))

    def __len__(self) -> int:
        return len(self.numpy)

    def __getitem__(self, index: int) -> np.ndarray:
        return self.numpy[index]["values"].reshape(self.shapes[index])

    def __iter__(self) -> Iterator[np.ndarray]:
        shapes = iter(self.shapes)
        for batch in self.numpy.iter(batch_size=READ_AHEAD):
            for values in batch["values"]:
                yield values.reshape(next(shapes))


class Store(Rows):
    """A dataset of one column of values and one of shapes."""

    BATCH_TYPE = list
    LIMITS: ClassVar = {"index": 2000, "index_bare": 2000, "batches": 5120, "padded": 5120}

    def __init__(self, path: Path) -> None:
        super().__init__(Formatted(path))

    def picklable(self) -> object:
        return self.samples.numpy


class Ragged(Store):
    """Lists of any length."""

    def batches(self, batches: Sequence[list[int]]) -> Iterator[list[np.ndarray]]:
        numpy, shapes = self.samples.numpy, self.samples.shapes
        for batch in batches:
            rows = zip(numpy[batch]["values"], shapes[batch], strict=True)
            yield [values.reshape(shape) for values, shape in rows]

    def padded(self, batches: Sequence[list[int]]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        return map(pad, self.batches(batches))

    def jagged(self, batches: Sequence[list[int]]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for batch in batches:
            column = self.samples.arrow[batch]["values"].combine_chunks()
            yield column.flatten().to_numpy(), column.offsets.to_numpy()

    @staticmethod
    def build(samples: Sequence[np.ndarray], path: Path) -> None:
        offsets = np.concatenate([[0], np.cumsum([sample.size for sample in samples])])
        values = np.concatenate([sample.reshape(-1) for sample in samples])
        save(pa.LargeListArray.from_arrays(offsets, values), np.array([sample.shape for sample in samples]), path)


class Fixed(Store):
    """Lists of one length."""

    def batches(self, batches: Sequence[list[int]]) -> Iterator[np.ndarray]:
        numpy, shape = self.samples.numpy, self.samples.shapes[0]
        for batch in batches:
            yield numpy[batch]["values"].reshape(-1, *shape)

    @staticmethod
    def build(samples: np.ndarray, path: Path) -> None:
        shape = samples.shape[1:]
        values = pa.FixedSizeListArray.from_arrays(samples.reshape(-1), samples[0].size)
        save(values, np.tile(shape, (len(samples), 1)), path)

    build_whole = build


def save(values: pa.Array, shapes: np.ndarray, path: Path) -> None:
    """Save the two columns."""
    datasets.disable_progress_bars()
    rank = shapes.shape[1]
    table = pa.table({"values": values, "shape": pa.FixedSizeListArray.from_arrays(shapes.reshape(-1), rank)})
    datasets.Dataset(table).save_to_disk(str(path))
