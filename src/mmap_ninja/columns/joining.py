"""The columns that hold the samples of several datasets: those that `merge` stores, and `concat` shows."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from mmap_ninja.columns import specs
from mmap_ninja.columns.types import Array, Binary, Column, ColumnType, Json, Ragged, Text

_Spans = Text | Binary | Json


@dataclass(frozen=True, slots=True)
class Joinable:
    """The columns of a dataset that is to be joined with others."""

    path: str
    columns: tuple[Column, ...]
    has_samples: bool


def joined(datasets: Sequence[Joinable], remedy: str) -> tuple[Column, ...]:
    """Columns that hold the samples of all datasets, whose columns may have another order.

    They have the order and the codecs that they have in the first dataset with samples. A dataset without columns, and
    so without samples, fits all others.

    Args:
        datasets: At least one.
        remedy: What a message says about the call: what happened to the data, and what to do.

    Raises:
        TypeError: if no columns hold all samples.
    """
    known = sorted((dataset for dataset in datasets if dataset.columns), key=lambda dataset: not dataset.has_samples)
    if not known:
        return ()
    first, *others = known
    columns = {column.name: column for column in first.columns}
    for other in others:
        names = [column.name for column in other.columns]
        if set(names) != columns.keys():
            raise TypeError(
                f"{other.path}: expected the columns {[*columns]} as in {first.path}, found {names}; {remedy}"
            )
        for column in other.columns:
            before = columns[column.name].type
            common = _common(before, column.type)
            if common is None:
                where = f"{other.path}: column {column.name!r}" if column.name else other.path
                raise TypeError(
                    f"{where}: expected {_told(before)} as in {first.path}, found {_told(column.type)}; {remedy}"
                )
            columns[column.name] = replace(columns[column.name], type=common)
    return tuple(columns.values())


def _common(one: ColumnType, other: ColumnType) -> ColumnType | None:
    """A type that holds the samples of two columns, with the codec of the first; None if there is none."""
    if type(one) is not type(other):
        return None
    nullable = one.nullable or other.nullable
    if isinstance(one, _Spans) and isinstance(other, _Spans):
        codec = one.codec
        if codec is not None and codec.is_untrained and other.codec is not None:  # neither has samples
            codec = replace(codec, dictionary=other.codec.dictionary)
        return replace(one, codec=codec, nullable=nullable)
    assert isinstance(one, Array | Ragged) and isinstance(other, Array | Ragged)  # noqa: S101, PT018 - all others
    if not one.is_known or not other.is_known:
        # An empty column takes the type of the other one, unless its dtype was declared.
        known, open_ = (one, other) if one.is_known else (other, one)
        fits = open_.dtype is None or known.dtype is None or open_.dtype == known.dtype
        return replace(known, nullable=nullable) if fits else None
    declared = one.declared and other.declared
    if isinstance(one, Ragged) and one.undecided:  # it has no element
        one = replace(one, dtype=other.dtype, undecided=isinstance(other, Ragged) and other.undecided)
    elif isinstance(other, Ragged) and other.undecided:
        other = replace(other, dtype=one.dtype)
    if one.dtype != other.dtype:
        return None
    if isinstance(one, Ragged) and isinstance(other, Ragged):
        ndim = one.ndim if one.ndim == other.ndim else None
        return replace(one.with_ranks(*other.ranks or ()), declared=declared, ndim=ndim, nullable=nullable)
    assert isinstance(one, Array) and isinstance(other, Array)  # noqa: S101, PT018 - of one type
    return replace(one, declared=declared, nullable=nullable) if one.shape == other.shape else None


def _told(kind: ColumnType) -> str:
    """A type as users know it, for a message."""
    return specs.short(specs.spec_of(kind))
