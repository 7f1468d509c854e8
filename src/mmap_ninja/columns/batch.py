"""Batches: samples that are stored together, and the bytes that they add to files."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from mmap_ninja.columns import foreign
from mmap_ninja.columns.nesting import check_missing, flattened
from mmap_ninja.columns.types import Column

T = TypeVar("T")

Parts = tuple[
    bytes | memoryview | None, ...
]  # one per file of the generation, in its order; files after the last do not grow


def refuse_one(samples: object, what: str) -> None:
    """Raise TypeError if what should be several samples is one, or a function that was not called."""
    has_several = hasattr(samples, "__iter__") or hasattr(samples, "__getitem__")
    if callable(samples) and not has_several:
        raise TypeError(
            f"{what}: expected several samples, got a function; call it, or pass a function of an index to "
            "from_indexable"
        )
    if isinstance(samples, str | bytes | bytearray | memoryview) or not has_several:
        kind = type(samples).__name__
        raise TypeError(f"{what}: expected several samples, got one {kind} {samples!r:.80}; put it in a list")


def size_of(parts: Parts) -> int:
    """The bytes of all parts."""
    return sum(memoryview(part).nbytes for part in parts if part is not None)


@dataclass(frozen=True, slots=True)
class Table:
    """A batch of samples by columns, which are sequences of one length."""

    columns: dict[str, Any]
    nullable: tuple[str, ...] = ()  # columns that are to be nullable from this batch on

    @classmethod
    def of(cls, values: Mapping[str, Any], where: str) -> "Table":
        """A table from columns that are nested in dicts, or have dotted names."""
        columns: dict[str, Any] = {}
        for name, column in flattened(values, "", where):
            if name in columns:
                raise ValueError(
                    f"{where}: column {name!r}: given twice, nested and with a dot; nothing was stored: give it once"
                )
            columns[name] = foreign.several(column, f"{where}: column {name!r}")
        lengths = {name: len(column) for name, column in columns.items()}
        if len(set(lengths.values())) > 1:
            told = ", ".join(f"{name!r} {length}" for name, length in list(lengths.items())[:10])
            raise ValueError(f"{where}: expected columns of one length, got {told}; nothing was stored")
        return cls(columns)

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))

    @property
    def is_in_memory(self) -> bool:
        """Whether slicing takes no memory; columns of other types may be read from a file."""
        return all(isinstance(column, list | tuple | np.ndarray) for column in self.columns.values())

    def __getitem__(self, key: slice) -> "Table":
        return Table({name: column[key] for name, column in self.columns.items()}, self.nullable)

    def ordered(self, columns: Sequence[Column], where: str) -> list[Any]:
        """The values of each column; None for all samples if one that is nullable is missing."""
        names = {column.name for column in columns}
        check_missing(
            [column.name for column in columns if column.name not in self.columns and not column.type.nullable],
            [name for name in self.columns if name not in names],
            where,
        )
        values = (self.columns.get(column.name, [None] * len(self)) for column in columns)
        return [of if isinstance(of, np.ndarray | Packed) else list(of) for of in values]


@dataclass(frozen=True, slots=True)
class Packed:
    """A batch of texts, byte strings or 1-D arrays that are already stored back to back."""

    payload: bytes | memoryview
    ends: bytes  # as u64, from the start of the payload, in bytes or elements
    nulls: npt.NDArray[np.bool_] | None
    of: type[str] | type[bytes] | np.dtype[Any]  # str: the payload is valid UTF-8

    def __len__(self) -> int:
        return len(self.ends) // 8

    def listed(self) -> list[Any]:
        """The samples as a list; missing ones are empty."""
        bounds = itertools.pairwise([0, *np.frombuffer(self.ends, np.uint64).tolist()])
        if isinstance(self.of, np.dtype):
            values = np.frombuffer(self.payload, self.of)
            return [values[start:stop] for start, stop in bounds]
        spans = [bytes(self.payload[start:stop]) for start, stop in bounds]
        return [span.decode() for span in spans] if self.of is str else list(spans)


Values = list[T] | npt.NDArray[Any] | Packed  # an array holds samples of one shape
Batch = Values[T] | Table
