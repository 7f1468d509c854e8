"""What `export` writes: the columns of a dataset on one snapshot, read range by range in bounded memory."""

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from mmap_ninja import progress
from mmap_ninja._kernel import Column, column_of
from mmap_ninja.arrow import export
from mmap_ninja.columns.casting import AnyArray, is_ml_dtype
from mmap_ninja.columns.decimals import as_decimals
from mmap_ninja.columns.dtypes import DType
from mmap_ninja.format.meta import Kind
from mmap_ninja.kinds.handle import DatasetHandle
from mmap_ninja.kinds.record_reading import JsonColumn, RecordsHandle

Holds = Literal["text", "bytes", "json", "scalar", "array", "ragged"]

_ROWS: Final = 1 << 16  # at once, at most


@dataclass(frozen=True)
class OutColumn:
    """A column to export.

    Args:
        name: Its name, with dots if it is nested.
        exported: The samples.
    """

    name: str
    exported: export.Exported

    @property
    def where(self) -> str:
        """The dataset and the column, for messages."""
        return f"{self.exported.path}: column {self.name!r}"

    @cached_property
    def holds(self) -> Holds:
        """What the samples are."""
        match self.samples.kind:
            case "text":
                return "json" if self.exported.is_json else "text"
            case "binary":
                return "bytes"
            case "array":
                return "array" if self.samples.sample_shape else "scalar"
        return "ragged"

    @property
    def dtype(self) -> DType:
        """The dtype of arrays; without samples there may be none yet, as in a new array."""
        return np.dtype(np.float64) if self.samples.dtype is None else self.samples.dtype

    @property
    def samples(self) -> Column:
        """All samples."""
        return self.exported.column

    @property
    def told(self) -> str:
        """What the samples are, for people."""
        words = {"text": "texts", "json": "JSON values"}
        if self.holds in ("scalar", "array", "ragged"):
            return {"scalar": "", "array": "arrays of ", "ragged": "ragged arrays of "}[self.holds] + str(self.dtype)
        return words.get(self.holds, self.holds)

    def part(self, start: int, stop: int) -> "OutColumn":
        """The samples in a range of positions."""
        part = self.samples.selected_range(start, 1, stop - start)
        return OutColumn(self.name, replace(self.exported, column=part))

    def taken(self) -> list[Any]:
        """The samples; None for a null."""
        if self.samples.kind != "array":
            return self.samples.take(slice(None))
        block, nulls = self.samples.take_rows(slice(None), None)
        return _with_nulls(list(block), nulls)

    def plain(self) -> list[Any]:
        """The samples as values that JSON has: floats as decimals, dates by ISO 8601; None for a null and for NaT."""
        if self.samples.kind == "array":
            block, nulls = self.samples.take_rows(slice(None), None)
            return _with_nulls(_listed(block), nulls)
        samples = self.samples.take(slice(None))
        if self.samples.kind == "ragged":
            return [None if sample is None else _listed(sample) for sample in samples]
        return samples

    def sizes(self) -> npt.NDArray[np.int64]:
        """Bytes of each sample in memory."""
        unit = 1 if self.samples.dtype is None else self.samples.dtype.itemsize
        if self.samples.kind == "array":
            return np.full(len(self.samples), unit * math.prod(self.samples.sample_shape))
        return self.samples.sizes() * unit

    @property
    def is_nullable(self) -> bool:
        """Whether a sample may be null."""
        return self.samples.null_mask([]) is not None

    def first_null(self) -> int | None:
        """The position of the first null."""
        for start in range(0, len(self.samples) if self.is_nullable else 0, _ROWS):
            nulls = self.samples.null_mask(slice(start, start + _ROWS))
            if nulls is not None and nulls.any():
                return start + int(np.argmax(nulls))
        return None

    @property
    def is_plain(self) -> bool:
        """Whether JSON has such values."""
        if self.holds in ("text", "json"):
            return True
        dtype = self.dtype
        is_number = dtype.kind in "biu" or (dtype.kind == "f" and dtype.itemsize <= 8 and not is_ml_dtype(dtype))
        return self.holds != "bytes" and dtype.fields is None and (is_number or dtype.kind in "UM")

    def refused(self, form: str, remedy: str) -> TypeError:
        """The error for a column that a form cannot hold."""
        if self.samples.dtype is not None and is_ml_dtype(self.dtype):
            remedy = "leave it out with columns=, or cast it to float32"  # no form can
        return TypeError(f"{self.where}: {form} cannot hold {self.told}; {remedy}")


@dataclass(frozen=True)
class Samples:
    """The samples to export.

    Args:
        columns: At least one; that of a dataset with only one is called `sample`.
        kind: The kind of the dataset.
        path: The dataset, for messages.
        suffix: Of the names of files in a folder; None: by the column.
        verbose: Whether to show a progress bar.
    """

    columns: tuple[OutColumn, ...]
    kind: Kind
    path: Path
    suffix: str | None
    verbose: bool

    def __len__(self) -> int:
        return len(self.columns[0].samples)

    def ranges(self, size_bytes: int) -> Iterator[tuple[int, int]]:
        """Ranges of positions whose samples have about so many bytes, or one sample that has more."""
        for first in range(0, len(self), _ROWS):
            last = min(first + _ROWS, len(self))
            ends = np.cumsum(np.sum([column.part(first, last).sizes() for column in self.columns], axis=0))
            start = first
            while start < last:
                before = int(ends[start - first - 1]) if start > first else 0
                stop = first + int(np.searchsorted(ends, before + size_bytes, side="right"))
                stop = max(stop, start + 1)
                yield start, stop
                start = stop

    def parts(self, size_bytes: int) -> Iterator[tuple[int, tuple[OutColumn, ...]]]:
        """The samples in ranges as of `ranges`: the first position, and the part of each column; shows a bar."""
        with self.progress() as tell:
            for start, stop in self.ranges(size_bytes):
                yield start, tuple(column.part(start, stop) for column in self.columns)
                tell(stop - start)

    def progress(self) -> AbstractContextManager[Callable[[int], object]]:
        """A bar of samples, if it is to be shown."""
        return progress.bar(len(self), " samples", shown=self.verbose)


def samples_of(ds: DatasetHandle[Any], suffix: str | None, *, verbose: bool) -> Samples:
    """The samples of a handle, on what it shows now.

    Raises:
        ValueError: if it has no columns yet.
    """
    shown = ds.select(slice(None))
    if isinstance(shown, RecordsHandle):
        exported = shown._exported()  # noqa: SLF001 - as `to_arrow` gives them
        kind: Kind = "records"
    else:
        exported = {export.SAMPLE: export.Exported(column_of(shown), shown.path, isinstance(shown, JsonColumn))}
        kind = shown._kind  # noqa: SLF001 - of its class
    if not exported:
        raise ValueError(f"{ds.path}: has no columns yet; append a sample first")
    columns = tuple(OutColumn(name, column) for name, column in exported.items())
    return Samples(columns, kind, shown.path, suffix, verbose)


def _with_nulls(samples: list[Any], nulls: npt.NDArray[np.bool_] | None) -> list[Any]:
    if nulls is not None:
        for null in np.flatnonzero(nulls).tolist():
            samples[null] = None
    return samples


def _listed(array: AnyArray) -> Any:
    if array.dtype.kind != "M":
        return as_decimals(array).tolist()
    texts: AnyArray = np.datetime_as_string(array).astype(object)
    texts[np.isnat(array)] = None
    return texts.tolist()
