"""Inference: the columns that samples define where the user has not declared them."""

import itertools
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, Literal

import numpy as np

from mmap_ninja.columns import foreign
from mmap_ninja.columns import types as stored
from mmap_ninja.columns.batch import Packed, Table
from mmap_ninja.columns.casting import AnyArray, as_array, checked_dtype, is_float, is_masked_array
from mmap_ninja.columns.dtypes import DType
from mmap_ninja.columns.limits import DECIDING_SAMPLES
from mmap_ninja.columns.nesting import check_names, fields_of, undotted
from mmap_ninja.columns.specs import declared, spec_of
from mmap_ninja.columns.types import Column, ColumnType

# What a value is. "list": one of numbers, of one shape; "empty": one without items; "json": any other, a dict, or an
# int beyond 64 bits.
_Form = Literal["str", "bytes", "number", "array", "list", "empty", "json"]
_WORDS: Final[dict[_Form, str]] = {
    "str": "a str",
    "bytes": "bytes",
    "number": "a number",
    "array": "an array",
    "list": "a list of numbers",
    "empty": "an empty list",
    "json": "a list or dict of other values, or an int beyond 64 bits",
}
_RANKS: Final = "biufc"  # dtypes of numbers, from narrow to wide
_APART: Final = "SUVmMO"  # dtypes that no others join


def are_known(sample: object, known: tuple[Column, ...]) -> bool:
    """Whether all fields of a sample, or the columns of a table, are declared; the first one tells that."""
    if not known:
        return False
    given = {column.name for column in known}
    if isinstance(sample, Table):
        return sample.columns.keys() <= given
    return fields_of(sample) is not None and all(name in given for name, _ in _fields(sample, "", given))


def inferred(samples: Sequence[object], known: tuple[Column, ...] = ()) -> tuple[Column, ...]:
    """The columns of samples, all of which decide: those that are known, and the others.

    A column is nullable if a sample lacks it, or has None. If all are known, their order stays; otherwise it is that of
    the samples.

    Raises:
        TypeError: if the values of a field define no type, or several that no type unites.
        ValueError: if a name is not valid.
    """
    given = {column.name: column for column in known}
    values: dict[str, dict[int, Any]] = {}
    for number, sample in enumerate(samples):
        if fields_of(sample) is None:
            raise TypeError(
                f"sample {number}: expected a dict, a dataclass or a named tuple, got {type(sample).__name__}"
            )
        for name, value in _fields(sample, "", given):
            values.setdefault(name, {})[number] = value
    kinds: dict[str, ColumnType] = {}
    for name, of in _without_groups(values).items():
        if name not in given:
            kinds[name] = _type_of(of, name, is_missing=len(of) < len(samples))
    return _completed(known, kinds, list(values))


def of_table(values: Mapping[str, Any], known: tuple[Column, ...] = ()) -> tuple[Column, ...]:
    """The columns of sequences of values; an array defines a fixed shape. Otherwise as `inferred`."""
    given = {column.name for column in known}
    kinds = {name: type_of_values(of, name) for name, of in values.items() if name not in given}
    return _completed(known, kinds, list(values))


def _completed(known: tuple[Column, ...], kinds: Mapping[str, ColumnType], order: list[str]) -> tuple[Column, ...]:
    """The known columns and new ones of these types."""
    if not kinds:
        return known
    first = 1 + max((column.id for column in known), default=-1)
    columns = {column.name: column for column in known}
    for number, (name, kind) in enumerate(kinds.items(), first):
        columns[name] = Column(number, name, kind)
    names = [*(name for name in order if name in columns), *(column.name for column in known)]
    check_names(list(dict.fromkeys(names)))
    return tuple(columns[name] for name in dict.fromkeys(names))


def type_of_values(values: Any, name: str, option: str = "columns") -> ColumnType:
    """The type of column that a sequence of values defines; an array defines a fixed shape.

    Args:
        values: The values; the first ones decide.
        name: The name of the column.
        option: The parameter that declares it, for messages.

    Raises:
        TypeError: if they define no type, or several that no type unites.
    """
    if not isinstance(values, Packed):
        values = foreign.several(values, f"column {name!r}")
    if isinstance(values, np.ndarray) and values.dtype.kind not in "OSU":
        return stored.Array(nullable=_has_nulls(values))
    if isinstance(values, Packed):
        if isinstance(values.of, np.dtype):
            return stored.Ragged(nullable=_has_nulls(values))
        return (stored.Text if values.of is str else stored.Binary)(nullable=_has_nulls(values))
    return _type_of(dict(enumerate(itertools.islice(values, DECIDING_SAMPLES))), name, option=option)


def joined(chunks: Sequence[Any]) -> Any:
    """Consecutive values of one column as one sequence that defines the same type."""
    if any(isinstance(chunk, np.ndarray | Packed) for chunk in chunks):
        return next(filter(_has_nulls, chunks), chunks[0])
    return list(itertools.chain.from_iterable(chunks))


def _has_nulls(values: Any) -> bool:
    if isinstance(values, Packed):
        return values.nulls is not None and bool(values.nulls.any())
    return is_masked_array(values) and bool(np.ma.is_masked(values))


def entry(name: str, kind: ColumnType, option: str = "columns") -> str:
    """How a user declares a column, for messages."""
    shown = declared(spec_of(kind))
    return f"columns={{{name!r}: {shown}}}" if option == "columns" else f"{option}={shown}"


def mending(column: Column, values: Any) -> str | None:
    """How to declare a column that holds its samples and these values; None if its type is not the reason."""
    if isinstance(values, Packed) or isinstance(column.type, stored.Json):
        return None
    evidence = _Evidence()
    kind = evidence.of_type(column.type)
    try:
        for number, value in enumerate(values):
            evidence.add(number, value, column.name)
        wanted = evidence.decided(column.name, "columns", column.type.nullable)
    except TypeError:
        if not evidence.is_json():
            return None
        wanted = stored.Json(nullable=evidence.nullable or column.type.nullable)
    if isinstance(kind, stored.Array) and kind.shape and isinstance(wanted, stored.Ragged):
        wanted = replace(wanted, dtype=wanted.dtype or kind.dtype)
    if (type(wanted), getattr(wanted, "dtype", None), wanted.nullable) == (
        type(kind),
        getattr(kind, "dtype", None),
        kind.nullable,
    ):
        return None
    return entry(column.name, wanted)


class _Evidence:
    """What the values of one column are."""

    def __init__(self) -> None:
        self.nullable = False
        self._first: dict[_Form, tuple[int, Any]] = {}  # the first value of each form, with its number
        self._typed: DType | None = None  # that of the values that have one
        self._plain: list[AnyArray] = []  # numbers that have none

    def of_type(self, kind: ColumnType) -> ColumnType:
        """Count a column's samples; returns its type."""
        form: _Form = "str"
        match kind:
            case stored.Binary():
                form = "bytes"
            case stored.Json():
                form = "json"
            case stored.Array():
                form = "array" if kind.shape else "number"
                self._typed = kind.dtype
            case stored.Ragged():
                form = "list"
                self._typed = None if kind.undecided else kind.dtype
        self._first[form] = -1, None
        return kind

    def add(self, number: int, value: Any, name: str) -> None:
        """Count a value; TypeError if it is of no form."""
        try:
            known = foreign.plain(value, "")
        except TypeError:  # encoding raises it again, and names the sample
            self._first.setdefault("array", (number, value))
            return
        if known is None:
            self.nullable = True
            return
        form, array = _form(known)
        if form is None:
            raise TypeError(f"column {name!r}: its value {value!r:.80} of sample {number} does not define a type")
        self._first.setdefault(form, (number, value))
        if array is None or not array.size:
            return
        if form == "list" or (isinstance(value, int | float | complex) and not isinstance(value, np.generic)):
            self._plain.append(array)
        else:
            dtype = checked_dtype(array.dtype, f"column {name!r}")
            self._typed = dtype if self._typed is None else _promoted(self._typed, dtype)

    def is_json(self) -> bool:
        """Whether JSON could hold all of the values, as far as they were counted."""
        try:
            json.dumps([value for _, value in self._first.values()], allow_nan=False)
        except (TypeError, ValueError):
            return False
        return "bytes" not in self._first and "array" not in self._first

    def decided(self, name: str, option: str, is_missing: bool) -> ColumnType:
        """The type for all values; `is_missing`: whether a sample lacks one."""
        nullable, forms = self.nullable or is_missing, set(self._first)
        if forms == {"str"}:
            return stored.Text(nullable=nullable)
        if forms == {"bytes"}:
            return stored.Binary(nullable=nullable)
        if forms == {"number"}:
            return stored.Array(self._dtype(), nullable=nullable)
        if forms and forms <= {"number", "array", "list", "empty"}:
            return stored.Ragged(self._dtype(), nullable=nullable)
        if forms and forms <= {"list", "empty", "json"}:
            return stored.Json(nullable=nullable)
        if not forms:
            remedy = entry(name, stored.Text(nullable=True), option)
            raise TypeError(
                f"column {name!r}: the first samples have no value, which defines no type; declare it, as with {remedy}"
            )
        (one, other), *_ = itertools.combinations(self._first.items(), 2)
        remedy = "convert the samples"
        if self.is_json():
            remedy = f"declare it: {entry(name, stored.Json(nullable=nullable), option)}"
        raise TypeError(
            f"column {name!r}: sample {one[1][0]} is {_WORDS[one[0]]} and sample {other[1][0]} is {_WORDS[other[0]]}, "
            f"which no type unites; {remedy}"
        )

    def _dtype(self) -> DType | None:
        """The narrowest dtype of the values' own that holds all of them; None if there are no elements."""
        found = self._typed
        for array in self._plain:
            if found is None:
                found = array.dtype
            elif not _holds(found, array):
                found = _promoted(found, array.dtype)
        return found


def _type_of(values: Mapping[int, Any], name: str, *, is_missing: bool = False, option: str = "columns") -> ColumnType:
    evidence = _Evidence()
    for number, value in values.items():
        evidence.add(number, value, name)
    return evidence.decided(name, option, is_missing)


def _form(value: Any) -> tuple[_Form | None, AnyArray | None]:
    """What a plain value is, and numbers as an array; None for anything that no column holds."""
    match value:
        case str():
            return "str", None
        case bytes() | bytearray() | memoryview():
            return "bytes", None
        case bool() | int() | float() | complex() | np.generic():
            array = np.asarray(value)
            return ("json", None) if array.dtype.hasobject else ("number", array)
        case list() | tuple():
            if not value:
                return "empty", None
            numbers = _numbers(value)
            return ("json", None) if numbers is None else ("list", numbers)
        case dict():
            return "json", None
        case _ if hasattr(value, "__array__") or hasattr(value, "__array_interface__"):  # the latter: Pillow's images
            array = as_array(value, "", 0)
            return "array" if array.ndim else "number", array
    return None, None


def _numbers(values: list[Any] | tuple[Any, ...]) -> AnyArray | None:
    """A list of numbers as an array; None if it is none, or lists in it have several lengths."""
    if not _begins_with_number(values):
        return None
    try:
        array = as_array(values, "", 0)
    except TypeError:
        # What is known, but not stored: encoding tells why.
        return np.empty(0) if any(foreign.reader_of(type(value)) for value in values) else None
    return array if array.dtype.kind in "biufcmM" or is_float(array.dtype) else None


def _begins_with_number(values: Any) -> bool:
    """Whether the first value in nested lists may be a number: NumPy would try all of them, and lists in themselves."""
    for _ in range(stored.MOST_DIMENSIONS + 1):
        if not isinstance(values, list | tuple):
            known = isinstance(values, int | float | complex) or hasattr(values, "__array__")
            return known or foreign.reader_of(type(values)) is not None
        if not values:
            return True
        values = values[0]
    return False


def _promoted(one: DType, other: DType) -> DType:
    """The dtype that holds the values of two."""
    if one == other:
        return one
    if one.kind != other.kind and (one.kind in _APART or other.kind in _APART):
        return one  # encoding tells which value does not fit
    try:
        both: DType = np.promote_types(one, other)
    except TypeError:
        return one
    if both.kind == "f" and one.kind in "iu" and other.kind in "iu":
        return one if one.kind == "u" else other  # floats would round; encoding refuses negative values
    return both


def _holds(dtype: DType, array: AnyArray) -> bool:
    """Whether a dtype holds Python's numbers exactly."""
    if dtype.kind not in _RANKS or array.dtype.kind not in _RANKS:
        return is_float(dtype) and array.dtype.kind in "iuf" and bool((array.astype(dtype) == array).all())
    if _RANKS.index(array.dtype.kind) > _RANKS.index(dtype.kind) and {array.dtype.kind, dtype.kind} != {"i", "u"}:
        return False
    with np.errstate(all="ignore"):
        cast = array.astype(dtype)
        return bool(((cast == array) | (array != array)).all())  # noqa: PLR0124 - NaN differs from itself


def _fields(sample: object, prefix: str, given: Collection[str]) -> Iterator[tuple[str, Any]]:
    """The values of a sample with their column names; those that are given are not looked into."""
    for key, value in undotted(fields_of(sample) or {}, "sample").items():
        if not isinstance(key, str):
            raise TypeError(f"column {key!r:.80}: expected a str, got {type(key).__name__}")
        name = prefix + key
        if name not in given and fields_of(value):
            yield from _fields(value, f"{name}.", given)
        else:
            yield name, value


def _without_groups(values: dict[str, dict[int, Any]]) -> dict[str, dict[int, Any]]:
    """Without the names that are groups in other samples, where a sample has an empty dict or None for the group."""
    groups = {name[:at] for name in values for at, character in enumerate(name) if character == "."}
    for name in groups & values.keys():
        number, value = next(((k, of) for k, of in values[name].items() if of is not None and of != {}), (0, None))
        if value is not None:
            raise TypeError(
                f"column {name!r}: sample {number} is {type(value).__name__} where other samples have a dict, which no "
                f"type unites; declare it: {entry(name, stored.Json())}"
            )
    return {name: of for name, of in values.items() if name not in groups}
