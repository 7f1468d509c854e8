"""Copying rows of generations into the files of a new one, in bounded memory.

Only rows that are compressed with another codec than the column that they go to are decoded, and encoded again.
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from mmap_ninja import _kernel, progress
from mmap_ninja.columns import codec as codecs
from mmap_ninja.columns.types import Binary, Column, Json, LengthRule, Ragged, Role, Text, Zstd
from mmap_ninja.engine import files
from mmap_ninja.engine.files import Content
from mmap_ninja.engine.generation import Generation
from mmap_ninja.engine.open_column import open_column
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

    def offsets(self, name: str) -> npt.NDArray[np.uint64]:
        """The offsets of a column."""
        index = self.index("offsets", name)
        return self.generation.offsets(index, self.extents[index])

    def index(self, role: Role, name: str) -> int:
        """Position of the generation's file with a role in a column."""
        return self.generation.meta.index(role, self.column(name).id)

    def column(self, name: str) -> Column:
        """The column with a name."""
        return next(column for column in self.generation.meta.columns if column.name == name)


def whole(generation: Generation, rows: int) -> CopiedRows:
    """All rows of a generation in their order; its files must be long enough."""
    return CopiedRows(generation, generation.extents(rows, 0), np.array([[0, rows]], np.int64))


def contents(columns: Sequence[Column], sources: Sequence[CopiedRows]) -> Contents:
    """The contents of the files of a generation with these columns, made of rows of other generations.

    The payload of a column is to be read before its other files. The sources have columns of the same names. Their
    ranks may be smaller, they may have another codec, and need not be nullable where these are.
    """
    made: dict[tuple[Role, int | None], Iterable[Content]] = {}
    for column in columns:
        of_column = [_Recoded(of, column) if _is_recoded(of, column) else _Copied(of, column) for of in sources]
        for role, (rule, unit) in column.type.files().items():
            match role:
                case "data" if rule is LengthRule.PAYLOAD:
                    made[role, column.id] = _chained([of.payload(unit) for of in of_column])
                case "offsets":
                    made[role, column.id] = _offsets(of_column)
                case "sizes":
                    made[role, column.id] = _chained([of.sizes(unit) for of in of_column])
                case "nulls":
                    made[role, column.id] = _chained([of.nulls() for of in of_column])
                case "shapes":
                    made[role, column.id] = _chained([of.shapes() for of in of_column])
                case _:
                    made[role, column.id] = _chained([of.rows(role, unit) for of in of_column])
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


def shapes(source: CopiedRows, column: Column) -> Iterator[bytes]:
    """The rows of a column's shapes file, made of a source with other ranks."""
    old, new = source.column(column.name).type, column.type
    assert isinstance(old, Ragged) and isinstance(new, Ragged)  # noqa: S101, PT018 - no other type has shapes
    width = old.shape_width
    for runs in source.pieces():
        lengths = _lengths(source, column.name, runs)
        stored = np.empty((len(lengths), 0), np.uint64)
        if width:
            data = _read(source, source.index("shapes", column.name), runs * (width * _SHAPE))
            stored = np.frombuffer(data, np.uint64).reshape(-1, width)
        yield new.widened(old, stored, lengths.astype(np.uint64)).tobytes()


class _Copied:
    """Rows of one column, as they are stored.

    Args:
        source: The rows of all columns.
        column: The column that they go to.
    """

    def __init__(self, source: CopiedRows, column: Column) -> None:
        self.source = source
        self.column = column
        self.name = column.name

    def payload(self, unit: int) -> Iterator[Content]:
        """The samples, back to back."""
        offsets = self.source.offsets(self.name)
        for runs in self.source.slices():
            firsts, counts = runs[:, 0], runs[:, 1]
            starts = offsets[firsts].astype(np.int64) * unit
            sizes = offsets[firsts + counts].astype(np.int64) * unit - starts
            yield from _ranges(self.source, self.source.index("data", self.name), np.column_stack([starts, sizes]))

    def lengths(self) -> Iterator[Sizes]:
        """The lengths of the samples in the payload."""
        for runs in self.source.pieces():
            yield _lengths(self.source, self.name, runs)

    def rows(self, role: Role, unit: int) -> Iterator[Content]:
        """The rows of a file whose rows have one size."""
        for runs in self.source.slices():
            yield from _ranges(self.source, self.source.index(role, self.name), runs * unit)

    def sizes(self, unit: int) -> Iterator[Content]:
        """The lengths of the samples before they were compressed."""
        return self.rows("sizes", unit)

    def nulls(self) -> Iterator[Content]:
        """Which samples are null; none of them, if the column of the source is not nullable."""
        if self.source.column(self.name).type.nullable:
            yield from self.rows("nulls", 1)
            return
        for runs in self.source.pieces():
            yield bytes(int(runs[:, 1].sum()))

    def shapes(self) -> Iterator[Content]:
        """The shapes of the samples."""
        old, new = self.source.column(self.name).type, self.column.type
        assert isinstance(old, Ragged) and isinstance(new, Ragged)  # noqa: S101, PT018 - no other type has shapes
        if old.ranks == new.ranks:
            return self.rows("shapes", new.shape_width * _SHAPE)
        return shapes(self.source, self.column)


class _Recoded(_Copied):
    """Rows of one column that get another codec, or none; reading the payload makes what the other files hold."""

    def __init__(self, source: CopiedRows, column: Column) -> None:
        super().__init__(source, column)
        self._lengths: list[Sizes] = []
        self._sizes: list[bytes] = []

    def payload(self, unit: int) -> Iterator[Content]:  # noqa: ARG002 - of spans, so 1
        """The samples, back to back, as the column stores them."""
        path = self.source.generation.path
        where = f"{path}: column {self.name!r}" if self.name else str(path)
        codec, first = _codec(self.column), 0
        for payload, lengths in self._decoded(where):
            self._lengths.append(lengths)
            if codec is None:
                yield payload
            else:
                ends = np.cumsum(lengths).astype(np.uint64).tobytes()
                frames, frame_ends, sizes = codecs.opened(codec, where).encode(payload, ends, where, first)
                self._lengths[-1] = _between(np.frombuffer(frame_ends, np.int64))
                self._sizes.append(sizes)
                yield frames
            first += len(lengths)

    def _decoded(self, where: str) -> Iterator[tuple[bytes, Sizes]]:
        """The decoded samples back to back, and their lengths; some at a time."""
        source, stored = self.source, self.source.column(self.name)
        place = source.generation.meta.columns.index(stored)
        rows = len(source.offsets(self.name)) - 1
        generation = source.generation.with_opened(stored.id)
        column = open_column(generation, place, source.extents, rows, where, mapped=False)
        for runs in source.pieces():
            chosen = expanded(runs)
            filled = np.cumsum(column.selected(chosen).sizes()) // _BYTES_AT_ONCE
            for some in np.split(chosen, np.flatnonzero(np.diff(filled)) + 1):
                values, offsets = column.take_jagged(some)
                yield values.tobytes(), _between(offsets[1:])

    def lengths(self) -> Iterator[Sizes]:
        """The lengths of the samples in the payload."""
        return iter(self._lengths)

    def sizes(self, unit: int) -> Iterator[Content]:  # noqa: ARG002 - that of the encoder
        """The lengths of the samples before they were compressed."""
        return iter(self._sizes)


def _between(ends: Sizes) -> Sizes:
    """The lengths of what ends there, back to back."""
    lengths: Sizes = ends - np.concatenate([[0], ends[:-1]])
    return lengths


def _codec(column: Column) -> Zstd | None:
    return column.type.codec if isinstance(column.type, Text | Binary | Json) else None


def _is_recoded(source: CopiedRows, column: Column) -> bool:
    """Whether frames of the source could not be read as samples of a column."""
    old, new = _codec(source.column(column.name)), _codec(column)
    return (old is None) != (new is None) or (old is not None and new is not None and old.dictionary != new.dictionary)


def _chained(contents: Sequence[Iterable[Content]]) -> Iterator[Content]:
    return itertools.chain.from_iterable(contents)


def _offsets(sources: Sequence[_Copied]) -> Iterator[bytes]:
    end = 0
    yield FIRST_OFFSET
    for source in sources:
        for lengths in source.lengths():
            ends = end + np.cumsum(lengths)
            end = int(ends[-1])
            yield ends.astype(np.uint64).tobytes()


def _lengths(source: CopiedRows, name: str, runs: Runs) -> Sizes:
    """Lengths of the rows of runs, in the unit of their offsets."""
    offsets, rows = source.offsets(name), expanded(runs)
    lengths = (offsets[rows + 1] - offsets[rows]).astype(np.int64)
    if (lengths < 0).any():
        path = source.generation.path / source.generation.meta.files[source.index("offsets", name)].name
        raise CorruptDatasetError(
            f"{path}: row {int(rows[lengths < 0][0])} ends before it starts; restore it from a copy"
        )
    return lengths


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
            yield files.Range(source.generation.files[index], start, size)
        else:
            yield _read(source, index, group)


def _read(source: CopiedRows, index: int, ranges: Runs) -> bytes:
    path = source.generation.path / source.generation.meta.files[index].name
    starts, sizes = np.ascontiguousarray(ranges[:, 0]), np.ascontiguousarray(ranges[:, 1])
    return _kernel.read_ranges(source.generation.opened(index), source.extents[index], starts, sizes, str(path))


def _split(runs: Runs, *keys: npt.NDArray[np.int64]) -> Iterator[Runs]:
    """Runs, grouped where consecutive ones have the same keys."""
    changes = np.zeros(len(runs), bool)
    for key in keys:
        changes |= np.diff(key, prepend=key[:1]) != 0
    bounds = [0, *np.flatnonzero(changes).tolist(), len(runs)]
    for start, stop in itertools.pairwise(bounds):
        if start < stop:
            yield runs[start:stop]
