"""Copying rows of generations into the files of a new one, in bounded memory and without decoding."""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from mmap_ninja import _kernel, progress
from mmap_ninja.columns.types import Column, LengthRule, Ragged, Role
from mmap_ninja.engine import files
from mmap_ninja.engine.files import Content
from mmap_ninja.engine.generation import Generation
from mmap_ninja.errors import CorruptDatasetError
from mmap_ninja.format.names import FIRST_OFFSET

Contents = Mapping[tuple[Role, int | None], Iterable[Content]]  # by a file's role and column
Runs = npt.NDArray[np.int64]  # [k, 2]: first row and number of rows of each run
Sizes = npt.NDArray[np.int64]

_RANGE: Final = 1 << 16  # bytes of a run that are worth a separate system call
_BYTES_AT_ONCE: Final = 4 << 20
_ROWS_AT_ONCE: Final = 1 << 18
_RUNS_AT_ONCE: Final = 1 << 16
_SHAPE: Final = 8


@dataclass(frozen=True, slots=True, eq=False)
class CopiedRows:
    """Rows of a generation, in the order of copying, and the lengths of its files."""

    generation: Generation
    extents: list[int]
    runs: Runs

    def pieces(self) -> Iterator[Runs]:
        """The runs, cut and grouped so that the rows of a group fit in memory."""
        for some in self.slices():
            cuts = -(-some[:, 1] // _ROWS_AT_ONCE)
            part = np.arange(cuts.sum()) - np.repeat(np.cumsum(cuts) - cuts, cuts)
            runs = np.repeat(some, cuts, axis=0)
            runs[:, 0] += part * _ROWS_AT_ONCE
            runs[:, 1] = np.minimum(runs[:, 1] - part * _ROWS_AT_ONCE, _ROWS_AT_ONCE)
            yield from _split(runs, np.cumsum(runs[:, 1]) // _ROWS_AT_ONCE)

    def slices(self) -> Iterator[Runs]:
        """The runs, grouped so that the arrays made of a group fit in memory."""
        for first in range(0, len(self.runs), _RUNS_AT_ONCE):
            yield self.runs[first : first + _RUNS_AT_ONCE]

    def offsets(self, place: int) -> npt.NDArray[np.uint64]:
        """The offsets of the column at a place."""
        index = self.index("offsets", place)
        return self.generation.offsets(index, self.extents[index])

    def index(self, role: Role, place: int) -> int:
        """Position of the generation's file with a role in the column at a place."""
        return self.generation.meta.index(role, self.generation.meta.columns[place].id)


def whole(generation: Generation, rows: int) -> CopiedRows:
    """All rows of a generation in their order; its files must be long enough."""
    return CopiedRows(generation, generation.extents(rows, 0), np.array([[0, rows]], np.int64))


def contents(columns: Sequence[Column], sources: Sequence[CopiedRows]) -> Contents:
    """The contents of the files of a generation with these columns, made of rows of other generations.

    The sources have the same columns in the same order; only their ranks may be smaller.
    """
    made: dict[tuple[Role, int | None], Iterable[Content]] = {}
    for place, column in enumerate(columns):
        for role, (rule, unit) in column.type.files().items():
            if rule is LengthRule.OFFSETS:
                made[role, column.id] = _offsets(sources, place)
            elif rule is LengthRule.PAYLOAD:
                made[role, column.id] = _payload(sources, place, unit)
            elif role == "shapes":
                made[role, column.id] = _shapes(sources, place, column)
            else:
                made[role, column.id] = _rows(sources, role, place, unit)
    return made


@contextmanager
def shown(contents: Contents, sources: Sequence[CopiedRows], *, verbose: bool) -> Iterator[Contents]:
    """The same contents; if `verbose`, a progress bar shows how much of them was read."""
    if not verbose:
        yield contents
        return
    total = sum(
        source.generation.size_of(index, source.runs)
        for source in sources
        for index, file in enumerate(source.generation.meta.files)
        if file.column is not None
    )
    with progress.bar(total, "B", shown=True, scaled=True) as tell:

        def through(parts: Iterable[Content]) -> Iterator[Content]:
            for part in parts:
                yield part
                tell(part.size if isinstance(part, files.Range) else len(part))

        yield {key: through(parts) for key, parts in contents.items()}


def expanded(runs: Runs) -> npt.NDArray[np.int64]:
    """The rows of runs, one by one."""
    firsts, counts = runs[:, 0], runs[:, 1]
    return np.repeat(firsts - (np.cumsum(counts) - counts), counts) + np.arange(counts.sum())


def collected(rows: npt.NDArray[np.int64]) -> Runs:
    """Rows as runs of consecutive ones."""
    starts = np.flatnonzero(np.diff(rows, prepend=-2) != 1)
    return np.column_stack([rows[starts], np.diff(starts, append=len(rows))])


def shapes(source: CopiedRows, place: int, column: Column) -> Iterator[bytes]:
    """The rows of a column's shapes file, made of a source with other ranks."""
    old, new = source.generation.meta.columns[place].type, column.type
    assert isinstance(old, Ragged) and isinstance(new, Ragged)  # noqa: S101, PT018 - no other type has shapes
    width = old.shape_width
    for runs in source.pieces():
        lengths = _lengths(source, place, runs)
        stored = np.empty((len(lengths), 0), np.uint64)
        if width:
            data = _read(source, source.index("shapes", place), runs * (width * _SHAPE))
            stored = np.frombuffer(data, np.uint64).reshape(-1, width)
        yield new.widened(old, stored, lengths.astype(np.uint64)).tobytes()


def _offsets(sources: Sequence[CopiedRows], place: int) -> Iterator[bytes]:
    end = 0
    yield FIRST_OFFSET
    for source in sources:
        for runs in source.pieces():
            ends = end + np.cumsum(_lengths(source, place, runs))
            end = int(ends[-1])
            yield ends.astype(np.uint64).tobytes()


def _lengths(source: CopiedRows, place: int, runs: Runs) -> Sizes:
    """Lengths of the rows of runs, in the unit of their offsets."""
    offsets, rows = source.offsets(place), expanded(runs)
    lengths = (offsets[rows + 1] - offsets[rows]).astype(np.int64)
    if (lengths < 0).any():
        path = source.generation.path / source.generation.meta.files[source.index("offsets", place)].name
        raise CorruptDatasetError(
            f"{path}: row {int(rows[lengths < 0][0])} ends before it starts; restore it from a copy"
        )
    return lengths


def _payload(sources: Sequence[CopiedRows], place: int, unit: int) -> Iterator[Content]:
    for source in sources:
        offsets = source.offsets(place)
        for runs in source.slices():
            firsts, counts = runs[:, 0], runs[:, 1]
            starts = offsets[firsts].astype(np.int64) * unit
            sizes = offsets[firsts + counts].astype(np.int64) * unit - starts
            yield from _ranges(source, source.index("data", place), np.column_stack([starts, sizes]))


def _rows(sources: Sequence[CopiedRows], role: Role, place: int, unit: int) -> Iterator[Content]:
    for source in sources:
        for runs in source.slices():
            yield from _ranges(source, source.index(role, place), runs * unit)


def _shapes(sources: Sequence[CopiedRows], place: int, column: Column) -> Iterator[Content]:
    for source in sources:
        old, new = source.generation.meta.columns[place].type, column.type
        assert isinstance(old, Ragged) and isinstance(new, Ragged)  # noqa: S101, PT018 - no other type has shapes
        if old.ranks == new.ranks:
            yield from _rows([source], "shapes", place, new.shape_width * _SHAPE)
        else:
            yield from shapes(source, place, column)


def _ranges(source: CopiedRows, index: int, ranges: Runs) -> Iterator[Content]:
    """Bytes of one file; short ranges are read together, long ones copied as they are."""
    ranges = ranges[ranges[:, 1] != 0]
    sizes = ranges[:, 1]
    long = sizes >= _RANGE
    together = np.cumsum(long) * 2 - long  # each long range gets its own number, the short ones between two share one
    filled = np.cumsum(np.where(long, 0, sizes)) // _BYTES_AT_ONCE
    for group in _split(ranges, together, filled):
        if group[0, 1] >= _RANGE:
            (start, size), extent = group[0].tolist(), source.extents[index]
            if not 0 <= start <= start + size <= extent:
                path = source.generation.path / source.generation.meta.files[index].name
                raise CorruptDatasetError(
                    f"{path}: the offsets place rows at {start} to {start + size}, but it has {extent} bytes; restore "
                    "it from a copy"
                )
            yield files.Range(source.generation.opened[index].fileno(), start, size)
        else:
            yield _read(source, index, group)


def _read(source: CopiedRows, index: int, ranges: Runs) -> bytes:
    path = source.generation.path / source.generation.meta.files[index].name
    starts, sizes = np.ascontiguousarray(ranges[:, 0]), np.ascontiguousarray(ranges[:, 1])
    return _kernel.read_ranges(
        source.generation.opened[index].fileno(), source.extents[index], starts, sizes, str(path)
    )


def _split(runs: Runs, *keys: npt.NDArray[np.int64]) -> Iterator[Runs]:
    """Runs, grouped where consecutive ones have the same keys."""
    changes = np.zeros(len(runs), bool)
    for key in keys:
        changes |= np.diff(key, prepend=key[:1]) != 0
    bounds = [0, *np.flatnonzero(changes).tolist(), len(runs)]
    for start, stop in itertools.pairwise(bounds):
        if start < stop:
            yield runs[start:stop]
