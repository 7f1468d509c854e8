"""CSV and TSV with a header, compressed or not: records of numbers, bools and texts.

A field is text by nature. The first 1,024 rows decide what a column holds: int64, uint64, float64 or bool if each of
their fields is one, written as it would be written again ("007" is text); else text. An empty field is null; in a
column of text that is not nullable it is "", and in one of dates NaT.
"""

import csv
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any, Final

import numpy as np

from mmap_ninja.columns import specs
from mmap_ninja.columns.limits import DECIDING_SAMPLES, Limits
from mmap_ninja.columns.nesting import check_names
from mmap_ninja.columns.specs import Spec
from mmap_ninja.conversion import text_files
from mmap_ninja.conversion.source import Source, Wanted
from mmap_ninja.conversion.text_files import Places, Refusing

Row = tuple[int, list[str]]  # the line that it begins on, and its fields

_BLOCK_BYTES: Final = 8 << 20  # of rows that are converted together
_MOST_CHARACTERS: Final = 64 << 20  # of a field, each of which takes four bytes; more is a quote that is not closed
_INDEX: Final = "index"  # the column without a name in which pandas and R write that of a row
_INTEGER: Final = re.compile(r"\s*-?(0|[1-9][0-9]*)\s*", re.ASCII)
_CODE: Final = re.compile(r"^\s*[+-]?(0[0-9]|[0-9]{16,}\s*$)", re.ASCII | re.MULTILINE)  # not the same as a float
_BOOLS: Final = {"true": True, "false": False}


def commas(path: Path, wanted: Wanted) -> Source:
    """A file of comma-separated values."""
    return _table(path, wanted, "CSV", ",")


def tabs(path: Path, wanted: Wanted) -> Source:
    """A file of tab-separated values."""
    return _table(path, wanted, "TSV", "\t")


def _table(path: Path, wanted: Wanted, form: str, delimiter: str) -> Source:
    places, refuse = Places(path), Refusing(path, wanted.skipped)
    rows = _rows(path, delimiter, refuse)
    names = _header(path, next(_blocks(rows, 1), []), wanted)
    first = next(_blocks(rows), [])
    fitting = [fields for _, fields in first if len(fields) == len(names)]
    columns = [list(of) for of in zip(*fitting, strict=True)] or [[] for _ in names]
    kinds = {name: wanted.columns.get(name) or _inferred(of) for name, of in zip(names, columns, strict=True)}
    readers = [_Reader(name, kind) for name, kind in kinds.items()]
    return Source(
        form=form,
        kind="records",
        samples=_records(chain([first], _blocks(rows)), readers, places, refuse),
        columns=kinds,
        place=places,
    )


def _rows(path: Path, delimiter: str, refuse: Refusing) -> Iterator[Row]:
    """All rows with fields, the header among them."""
    wrong: list[str] = []  # what is wrong with the lines of a row

    def lines() -> Iterator[str]:
        for _, line, told in text_files.lines(path):
            if told is not None:
                wrong.append(told)
            yield line

    reader = csv.reader(lines(), delimiter=delimiter, strict=True)
    while True:
        start = reader.line_num + 1
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            refuse(start, f"{error}; is a quote missing, or one too many?")
            continue
        if wrong:
            refuse(start, wrong[0])
            wrong.clear()
        elif fields:
            yield start, fields


def _blocks(rows: Iterator[Row], count: int = DECIDING_SAMPLES) -> Iterator[list[Row]]:
    """Rows in blocks; fields may be longer than those that csv reads by default, which is a setting of all readers."""
    limits = Limits(count, _BLOCK_BYTES)
    while True:
        block: list[Row] = []
        before = csv.field_size_limit(_MOST_CHARACTERS)
        try:
            limits.fill(block, rows)
        finally:
            csv.field_size_limit(before)
        if not block:
            return
        yield block


def _header(path: Path, rows: list[Row], wanted: Wanted) -> list[str]:
    """The names of the columns."""
    if not rows:
        raise ValueError(f"{path}: is empty; expected a first line with the names of the columns")
    ((line, fields),) = rows
    names = [name.strip() for name in fields]
    given = [name for name in names if name]
    names[0] = names[0] or _INDEX
    told = f"{path}, line {line}: expected the names of the columns"
    if all(map(_is_number, given)) and given != [str(place) for place in range(len(given))]:  # those are of pandas
        raise ValueError(f"{told}, found {fields!r:.80}: give the file a first line with names")
    for place, name in enumerate(names, 1):
        if not name or names.index(name) != place - 1:
            found = f"{name!r} twice" if name else f"none for column {place}"
            raise ValueError(f"{told}, found {found}: give each column a name of its own in the first line")
    try:
        check_names(names)
    except ValueError as error:
        raise ValueError(f"{path}, line {line}: {error}") from None
    for name in wanted.columns:
        if name not in names:
            raise ValueError(f"{told} to hold {name!r}, whose type was given, found {names!r:.200}")
    return names


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _inferred(texts: list[str]) -> Spec:
    """What a column holds, by its first fields."""
    filled = [text for text in texts if text]
    for kind in map(specs.Scalar, ("int64", "uint64", "float64", "bool")):
        try:
            _read(kind)(filled)
        except ValueError:
            continue
        if kind.dtype == "float64" and _CODE.search("\n".join(filled)):
            break
        return replace(kind, nullable=len(filled) < len(texts)) if filled else specs.Text()
    return specs.Text()


class _Reader:
    """Makes values of the fields of a column."""

    def __init__(self, name: str, kind: Spec) -> None:
        self.name = name
        self._kind = kind
        self._read = _read(kind)
        takes_empty = isinstance(kind, specs.Text | specs.Bytes) or text_files.is_date(kind)
        self._takes_empty = takes_empty and not kind.nullable

    def __call__(self, texts: Sequence[str]) -> Iterable[Any]:
        """The values; ValueError if there is a field that makes none."""
        if self._takes_empty or "" not in texts:
            return self._read(texts)
        if not self._kind.nullable:
            raise ValueError
        values = iter(self._read([text for text in texts if text]))
        return [next(values) if text else None for text in texts]

    def refusal(self, text: str) -> str | None:
        """Why a field makes no value, and how to declare the column so that it does; None if it makes one."""
        try:
            self([text])
        except ValueError:
            pass
        else:
            return None
        kind = replace(self._kind, nullable=True) if not text else specs.Text()
        is_whole = isinstance(self._kind, specs.Scalar) and np.dtype(self._kind.dtype).kind in "iu"
        if text and is_whole and _inferred([text]) == specs.Scalar("float64"):
            kind = specs.Scalar("float64", nullable=self._kind.nullable)
        declaration = f"columns={{{self.name!r}: {specs.declared(kind)}}}"
        found = f"{text!r:.80} is no" if text else "an empty field, where it was expected"
        return f"column {self.name!r}: {found} {specs.short(self._kind)}; to store it, convert with {declaration}"


def _read(kind: Spec) -> Callable[[Sequence[str]], Iterable[Any]]:
    """What makes values of fields that are not empty; it raises ValueError."""
    match kind:
        case specs.Text():
            return _same
        case specs.Bytes():
            return lambda texts: map(str.encode, texts)
        case specs.Scalar(dtype):
            of: Any = np.dtype(dtype)
            if of.kind in "iu":
                return lambda texts: _integers(texts, np.iinfo(of).min, np.iinfo(of).max)
            if of.kind == "b":
                return _bools
            if of.kind == "M":
                return lambda texts: text_files.dates(texts, of)
            return _floats
        case _:
            return lambda texts: map(json.loads, texts)


def _same(texts: Sequence[str]) -> Sequence[str]:
    return texts


def _integers(texts: Sequence[str], least: int, most: int) -> list[int]:
    values = list(map(int, texts))
    if values and not least <= min(values) <= max(values) <= most:
        raise ValueError
    # Only those that are written as they were: Python's int also takes "1_000", "+1" and "007", which may be a name.
    if list(map(str, values)) != list(texts) and not all(map(_INTEGER.fullmatch, texts)):
        raise ValueError
    return values


def _floats(texts: Sequence[str]) -> list[float]:
    joined = "".join(texts)
    if "_" in joined or not joined.isascii():
        raise ValueError
    return list(map(float, texts))


def _bools(texts: Sequence[str]) -> list[bool]:
    try:
        return [_BOOLS[text.strip().lower()] for text in texts]
    except KeyError:
        raise ValueError from None


def _records(
    blocks: Iterable[list[Row]], readers: list[_Reader], places: Places, refuse: Refusing
) -> Iterator[dict[str, Any]]:
    names = [reader.name for reader in readers]
    for block in blocks:
        rows = []
        for line, fields in block:
            if len(fields) == len(names):
                rows.append((line, fields))
            else:
                refuse(line, f"expected {len(names)} fields, as in the first line, found {len(fields)}")
        for line, values in _converted(rows, readers, refuse):
            places.add(line)
            yield dict(zip(names, values, strict=True))


def _converted(rows: list[Row], readers: list[_Reader], refuse: Refusing) -> Iterator[tuple[int, Sequence[Any]]]:
    """The values of rows; those that have none are refused, and are found by halves."""
    if not rows:
        return
    columns = zip(*(fields for _, fields in rows), strict=True)
    try:
        values = [reader(texts) for reader, texts in zip(readers, columns, strict=True)]
        made = list(zip(*values, strict=True))
    except ValueError:
        if len(rows) > 1:
            middle = len(rows) // 2
            yield from _converted(rows[:middle], readers, refuse)
            yield from _converted(rows[middle:], readers, refuse)
            return
        ((line, fields),) = rows
        told = (reader.refusal(text) for reader, text in zip(readers, fields, strict=True))
        refuse(line, next(filter(None, told)))
        return
    for (line, _), row in zip(rows, made, strict=True):
        yield line, row
