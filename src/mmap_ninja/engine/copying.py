"""Copying: the files of a generation, made of rows of others, in bounded memory and without decoding."""

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
Runs = npt.NDArray[np.int64]  # [k, 2]: the first row of each run, and how many
Sizes = npt.NDArray[np.int64]

_RANGE: Final = 1 << 16  # bytes of a run that are worth a system call of their own
_BYTES_AT_ONCE: Final = 4 << 20
_ROWS_AT_ONCE: Final = 1 << 18
_RUNS_AT_ONCE: Final = 1 << 16
_SHAPE: Final = 8


@dataclass(frozen=True, slots=True, eq=False)
class CopiedRows:
    """Rows of a generation, in the order in which they are copied, and how long its files are."""

    generation: Generation
    extents: list[int]
    runs: Runs

    def pieces(self) -> Iterator[Runs]:
        """The runs again, so many at a time, and so cut, that they have no more rows than fit in memory."""
        for some in self.slices():
            cuts = -(-some[:, 1] // _ROWS_AT_ONCE)
            part = np.arange(cuts.sum()) - np.repeat(np.cumsum(cuts) - cuts, cuts)
            runs = np.repeat(some, cuts, axis=0)
            runs[:, 0] += part * _ROWS_AT_ONCE
            runs[:, 1] = np.minimum(runs[:, 1] - part * _ROWS_AT_ONCE, _ROWS_AT_ONCE)
            yield from _split(runs, np.cumsum(runs[:, 1]) // _ROWS_AT_ONCE)

    def slices(self) -> Iterator[Runs]:
        """The runs again, so many at a time that what is made of them fits in memory."""
        for first in range(0, len(self.runs), _RUNS_AT_ONCE):
            yield self.runs[first : first + _RUNS_AT_ONCE]

    def offsets(self, place: int) -> npt.NDArray[np.uint64]:
        """The offsets of the column at a place."""
        index = self.index("offsets", place)
        return self.generation.offsets(index, self.extents[index])

    def index(self, role: Role, place: int) -> int:
        """Which of the generation's files has a role in the column at a place."""
        return self.generation.meta.index(role, self.generation.meta.columns[place].id)


def whole(generation: Generation, rows: int) -> CopiedRows:
    """All rows of a generation in their order; its files are known to be long enough."""
    return CopiedRows(generation, generation.extents(rows, 0), np.array([[0, rows]], np.int64))


def contents(columns: Sequence[Column], sources: Sequence[CopiedRows]) -> Contents:
    """What the files of a generation with these columns hold when it is made of the rows of others.

    The sources have as many columns, in the same order, that hold what these do; only their ranks may be less.
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
    """The same contents, of which a progress bar tells as they are read, for those who want to see it."""
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
    """Every row of some runs."""
    firsts, counts = runs[:, 0], runs[:, 1]
    return np.repeat(firsts - (np.cumsum(counts) - counts), counts) + np.arange(counts.sum())


def collected(rows: npt.NDArray[np.int64]) -> Runs:
    """Rows as runs of those that follow each other."""
    starts = np.flatnonzero(np.diff(rows, prepend=-2) != 1)
    return np.column_stack([rows[starts], np.diff(starts, append=len(rows))])


def shapes(source: CopiedRows, place: int, column: Column) -> Iterator[bytes]:
    """The rows of a column's shapes file, made of a source's that has other ranks."""
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
    """How long the rows of some runs are, in the units of their offsets."""
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
    """Bytes of one file: long ranges as they are, short ones together."""
    ranges = ranges[ranges[:, 1] != 0]
    sizes = ranges[:, 1]
    long = sizes >= _RANGE
    together = np.cumsum(long) * 2 - long  # a long one has a number of its own, those between two share one
    filled = np.cumsum(np.where(long, 0, sizes)) // _BYTES_AT_ONCE
    for group in _split(ranges, together, filled):
        if group[0, 1] >= _RANGE:
            (start, size), extent = group[0].tolist(), source.extents[index]
            if not 0 <= start <= start + size <= extent:
                path = source.generation.path / source.generation.meta.files[index].name
                raise CorruptDatasetError(
                    f"{path}: rows are said to lie at {start} to {start + size}, and it has {extent} bytes; restore it "
                    "from a copy"
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
    """Runs in groups of those that follow each other with the same keys."""
    changes = np.zeros(len(runs), bool)
    for key in keys:
        changes |= np.diff(key, prepend=key[:1]) != 0
    bounds = [0, *np.flatnonzero(changes).tolist(), len(runs)]
    for start, stop in itertools.pairwise(bounds):
        if start < stop:
            yield runs[start:stop]
