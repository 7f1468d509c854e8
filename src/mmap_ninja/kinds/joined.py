"""How a handle shows several datasets as one: the parts, and the state."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from mmap_ninja._kernel import Column, column_of
from mmap_ninja.columns.types import Binary, Json, Text
from mmap_ninja.engine.dataset import Columns
from mmap_ninja.engine.open_column import joined_column
from mmap_ninja.engine.seen import Snapshot
from mmap_ninja.kinds.state import Draw, Positions, Selection, View, positions_of

Pickled = tuple[Any, ...]  # what `__reduce__` of a handle gives


class Parts:
    """The datasets of a concat, in order. Those from a pickle are opened when something of theirs is read.

    Args:
        parts: Views of the datasets, or their pickles.
        lengths: How many samples each has.
    """

    __slots__ = ("_parts", "lengths")

    def __init__(self, parts: Sequence[Any | Pickled], lengths: Sequence[int]) -> None:
        self._parts: list[Any] = list(parts)
        self.lengths: tuple[int, ...] = tuple(lengths)

    def __len__(self) -> int:
        return len(self._parts)

    def __iter__(self) -> Iterator[Any]:
        return map(self.__getitem__, range(len(self)))

    def __getitem__(self, place: int) -> Any:
        part = self._parts[place]
        if isinstance(part, tuple):
            part = self._parts[place] = _opened(*part)
        return part

    def pickled(self) -> tuple[Pickled, ...]:
        """The parts as `__reduce__` gives them; those that were not opened stay as they are."""
        return tuple(part if isinstance(part, tuple) else part.__reduce__() for part in self._parts)

    def column(self, place: int) -> Column:
        """The samples of a part."""
        column: Column = column_of(self[place])
        return column

    def field(self, name: str, place: int) -> Column:
        """One column of a part with records."""
        part = self[place]
        column: Column = column_of(part)
        return column.field(part.columns.index(name))


def _opened(function: Callable[..., Any], arguments: tuple[Any, ...], *state: Any) -> Any:
    """A handle from its pickle."""
    handle = function(*arguments)
    for value in state:
        handle.__setstate__(value)
    return handle


class Joined(View):
    """Samples of several datasets.

    Args:
        parts: The datasets.
        complete: Whether the builds that made them have ended.
        selection: Which of all their samples.
        columns: What all samples have in common.
        asked: The names by which the columns are shown, if they were chosen.
    """

    __slots__ = ("parts",)
    parts: Parts

    def __init__(
        self, parts: Parts, complete: bool, selection: Selection, columns: Columns, asked: tuple[str, ...] | None = None
    ) -> None:
        super().__init__(Snapshot(None, {}, complete=complete), selection, columns, asked)
        self.parts = parts

    def view(self, selection: Selection, columns: Columns, asked: tuple[str, ...] | None) -> "Joined":
        """Other samples or columns of the same datasets."""
        return Joined(self.parts, self.complete, selection, columns, asked)

    def positions(self, count: int) -> Positions:  # noqa: ARG002 - for other states
        """Position of each sample in its dataset."""
        ends, at = np.cumsum(self.parts.lengths, dtype=np.int64), positions_of(self.selection)
        starts = np.concatenate([np.zeros(1, np.int64), ends])
        positions: Positions = at - starts[np.searchsorted(ends, at, side="right")]
        return positions

    def types(self) -> list[tuple[str, str, dict[str, Any]]]:
        """Names and types of the columns, for pickles; without dictionaries, which are in the files of the parts."""
        told = []
        for column in self.columns:
            kind = column.type
            if isinstance(kind, Text | Binary | Json) and kind.codec is not None:
                kind = replace(kind, codec=replace(kind.codec, dictionary=None))
            told.append((column.name, kind.name, kind.to_json()))
        return told

    @property
    def draws(self) -> tuple[Draw, ...]:
        """Those of this list and of its parts."""
        return (*super().draws, *(draw for part in self.parts for draw in part._state.draws))  # noqa: SLF001


def column_of_parts(columns: Columns, path: str, parts: Parts) -> Column:
    """The samples of datasets with only one column."""
    return joined_column(columns[0].type, path, parts.lengths, parts.column)


def records_of_parts(columns: Columns, path: str, parts: Parts) -> Column:
    """The records of datasets that have these columns, in any order."""
    fields = [
        (
            tuple(column.name.split(".")),
            joined_column(
                column.type, f"{path}: column {column.name!r}", parts.lengths, partial(parts.field, column.name)
            ),
        )
        for column in columns
    ]
    return Column.of_records(path, fields)
