"""Adding a column to existing samples: its values as the contents of its files."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from mmap_ninja.columns import encoding
from mmap_ninja.columns.batch import Parts, size_of
from mmap_ninja.columns.limits import Limits
from mmap_ninja.columns.types import Array, Column, ColumnType, Ragged, Role
from mmap_ninja.format.names import FIRST_OFFSET

_ROWS_AT_ONCE: Final = 1024
_BYTES_AT_ONCE: Final = 16 << 20


class AddedColumn:
    """A column with values for the samples in some rows of a generation."""

    def __init__(
        self, column: Column, values: Sequence[Any], runs: npt.NDArray[np.int64], rows: int, where: str
    ) -> None:
        self._values = values
        self._where = where
        self._limits = Limits(_ROWS_AT_ONCE, _BYTES_AT_ONCE)
        # The value of each row; rows without a sample get a filler.
        self._positions = np.full(rows, -1, np.int64)
        at = 0
        for first, count in runs.tolist():
            self._positions[first : first + count] = np.arange(at, at + count)
            at += count
        self.column: Column = replace(column, type=self._widest(column.type))
        self._others: dict[Role, list[bytes]] = {role: [] for role in self.column.type.files()}

    def contents(self) -> dict[tuple[Role, int | None], Iterable[bytes]]:
        """The contents of its files; reading the payload, which is first, makes the others."""
        made: dict[tuple[Role, int | None], Iterable[bytes]] = {
            (role, self.column.id): self._others[role] for role in self._others
        }
        made["data", self.column.id] = self._payload()
        return made

    def _rows(self) -> Iterator[Any]:
        filler = encoding.filler(self.column.type)
        return (filler if place < 0 else self._values[place] for place in map(int, self._positions))

    def _widest(self, kind: ColumnType) -> ColumnType:
        """The type that all values fit, where the first one does not define all of it."""
        if not len(self._values):
            return kind
        if kind.is_known and not isinstance(kind, Ragged):
            return kind
        if isinstance(kind, Array):
            return self._encode(kind, [self._values[0]], 0)[0]
        first = 0
        for batch in self._limits.gathered(self._values[place] for place in range(len(self._values))):
            kind, _ = self._encode(kind, batch, first)
            first += len(batch)
        return kind

    def _encode(self, kind: ColumnType, batch: list[Any], first: int) -> tuple[ColumnType, Parts]:
        try:
            encoded = encoding.encode(kind, batch, self._where, first)
        except (TypeError, ValueError):
            encoding.refuse_nulls(kind, batch, self._where, first)
            raise
        self._limits.note(len(batch), size_of(encoded[1]))
        return encoded

    def _payload(self) -> Iterator[bytes]:
        if "offsets" in self._others:
            self._others["offsets"].append(FIRST_OFFSET)
        first, end = 0, np.uint64(0)
        for batch in self._limits.gathered(self._rows()):
            kind, parts = self._encode(self.column.type, batch, first)
            if kind != self.column.type:
                raise ValueError(
                    f"{self._where}: the values changed while they were read; nothing was stored: pass a list"
                )
            first += len(batch)
            for role, part in zip(self._others, parts, strict=True):
                if role == "offsets":
                    ends = np.frombuffer(part or b"", np.uint64) + end
                    end = ends[-1]
                    self._others[role].append(ends.tobytes())
                elif role == "data":
                    yield bytes(part or b"")
                else:
                    self._others[role].append(bytes(part or b""))
