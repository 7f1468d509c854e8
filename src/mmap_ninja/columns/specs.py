"""How users declare the columns of records: a type for each name."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from mmap_ninja.columns import codec as codecs
from mmap_ninja.columns import types as stored
from mmap_ninja.columns.batch import Packed
from mmap_ninja.columns.casting import as_array, checked_dtype, is_float
from mmap_ninja.columns.nesting import check_names, fields_of, undotted
from mmap_ninja.columns.tensors import is_tensor
from mmap_ninja.columns.types import MOST_DIMENSIONS, Column, ColumnType, Zstd
from mmap_ninja.exported import exported

Codec = Literal["zstd"]

_LEVEL: Final = 3  # zstd's default


@exported
@dataclass(frozen=True, slots=True)
class Text:
    """A column of `str`.

    Args:
        codec: "zstd": each sample is compressed; needs `pip install "mmap_ninja[zstd]"`.
        nullable: Whether a sample may be None.

    Example:
        >>> from mmap_ninja import RecordsMmap
        >>> ds = RecordsMmap.create("texts", columns={"text": Text(nullable=True)})
        >>> ds.extend({"text": ["a", None]})
        >>> list(ds["text"])
        ['a', None]
    """

    codec: Codec | None = field(default=None, kw_only=True)
    nullable: bool = field(default=False, kw_only=True)


@exported
@dataclass(frozen=True, slots=True)
class Bytes:
    """A column of `bytes`.

    Args:
        codec: "zstd": each sample is compressed; needs `pip install "mmap_ninja[zstd]"`.
        nullable: Whether a sample may be None.

    Example:
        >>> from mmap_ninja import RecordsMmap
        >>> ds = RecordsMmap.create("images", columns={"jpeg": Bytes()})
        >>> ds.append({"jpeg": b"..."})
        >>> ds["jpeg"][0]
        b'...'
    """

    codec: Codec | None = field(default=None, kw_only=True)
    nullable: bool = field(default=False, kw_only=True)


@exported
@dataclass(frozen=True, slots=True)
class Json:
    """A column of JSON values: dicts, lists, str, numbers, bool, None.

    Args:
        codec: "zstd": each sample is compressed; needs `pip install "mmap_ninja[zstd]"`.
        nullable: Whether None is stored as a null; if not, it is stored as JSON's `null`.

    Example:
        >>> from mmap_ninja import RecordsMmap
        >>> ds = RecordsMmap.create("boxes", columns={"objects": Json()})
        >>> ds.append({"objects": [{"class": "cat", "box": [0, 0, 9, 9]}]})
        >>> ds[0]["objects"][0]["class"]
        'cat'
    """

    codec: Codec | None = field(default=None, kw_only=True)
    nullable: bool = field(default=False, kw_only=True)


@exported
@dataclass(frozen=True, slots=True)
class Scalar:
    """A column of one number per sample, or of one value of any other NumPy dtype.

    Args:
        dtype: The dtype to store.
        nullable: Whether a sample may be None; then a batch is a masked array.

    Example:
        >>> from mmap_ninja import RecordsMmap
        >>> ds = RecordsMmap.create("labels", columns={"label": Scalar("uint8")})
        >>> ds.extend({"label": [3, 1]})
        >>> ds.take([1, 0])["label"]
        array([1, 3], dtype=uint8)
    """

    dtype: npt.DTypeLike
    nullable: bool = field(default=False, kw_only=True)


@exported
@dataclass(frozen=True, slots=True)
class Array:
    """A column of arrays of one shape.

    Args:
        shape: The shape of each array.
        dtype: The dtype to store.
        nullable: Whether a sample may be None; then a batch is a masked array.

    Example:
        >>> from mmap_ninja import RecordsMmap
        >>> ds = RecordsMmap.create("digits", columns={"image": Array((28, 28), "uint8")})
        >>> ds["image"].shape
        (0, 28, 28)
    """

    shape: tuple[int, ...]
    dtype: npt.DTypeLike
    nullable: bool = field(default=False, kw_only=True)


@exported
@dataclass(frozen=True, slots=True)
class Ragged:
    """A column of arrays of any shape.

    Args:
        dtype: The dtype to store.
        ndim: The number of dimensions of each array; None: any number.
        nullable: Whether a sample may be None.

    Example:
        >>> from mmap_ninja import RecordsMmap
        >>> ds = RecordsMmap.create("tokens", columns={"ids": Ragged("int32", ndim=1)})
        >>> ds.extend({"ids": [[5, 2], [7]]})
        >>> ds["ids"].take_padded([0, 1])[0].tolist()
        [[5, 2], [7, 0]]
    """

    dtype: npt.DTypeLike
    ndim: int | None = None
    nullable: bool = field(default=False, kw_only=True)


Spec = Text | Bytes | Json | Scalar | Array | Ragged
Specs = Mapping[str, "Spec | Specs"]

_SPANS: Final[dict[type[Text | Bytes | Json], type[stored.Text | stored.Binary | stored.Json]]] = {
    Text: stored.Text,
    Bytes: stored.Binary,
    Json: stored.Json,
}


def columns_of(specs: Specs) -> tuple[Column, ...]:
    """The columns of an empty dataset, from the user's declaration.

    Raises:
        TypeError: if a type is not a column type, or a dtype cannot be stored.
        ValueError: if a name or a shape is not valid.
        ImportError: if a codec is not installed.
    """
    named = list(_flat(specs, ""))
    check_names([name for name, _ in named])
    return tuple(Column(place, name, column_type(spec, name)) for place, (name, spec) in enumerate(named))


def column_type(spec: object, name: str) -> ColumnType:
    """How a column is stored, from its declaration; errors as for `columns_of`."""
    where = f"column {name!r}"
    match spec:
        case Text() | Bytes() | Json():
            if spec.codec not in (None, "zstd"):
                raise ValueError(f"{where}: codec {spec.codec!r} is unknown (expected None or 'zstd')")
            if spec.codec is not None:
                codecs.library()  # raises before a dataset is created, if it is missing
            return _SPANS[type(spec)](None if spec.codec is None else Zstd(_LEVEL), spec.nullable)
        case Scalar(dtype):
            return stored.Array(checked_dtype(dtype, where), (), declared=True, nullable=spec.nullable)
        case Array(shape, dtype):
            extents = tuple(shape)
            if len(extents) >= MOST_DIMENSIONS or not all(isinstance(e, int | np.integer) and e >= 0 for e in extents):
                raise ValueError(
                    f"{where}: shape {shape!r:.80}: expected less than {MOST_DIMENSIONS} numbers of at least 0"
                )
            array = stored.Array(
                checked_dtype(dtype, where), tuple(map(int, extents)), declared=True, nullable=spec.nullable
            )
            if not array.is_addressable:
                raise ValueError(f"{where}: shape {shape!r:.80}: expected a sample of less than 2^63 bytes")
            return array
        case Ragged(dtype, ndim):
            if ndim is not None and not 0 <= ndim <= MOST_DIMENSIONS:
                raise ValueError(f"{where}: ndim {ndim}: expected 0 to {MOST_DIMENSIONS}")
            return stored.Ragged(checked_dtype(dtype, where), declared=True, nullable=spec.nullable, ndim=ndim)
        case _:
            expected = "Text(), Bytes(), Json(), Scalar(dtype), Array(shape, dtype) or Ragged(dtype)"
            raise TypeError(f"{where}: expected {expected}, got {spec!r:.80}")


def spec_of(column: ColumnType) -> Spec:
    """The declaration of a column that has samples."""
    match column:
        case stored.Array():
            dtype = np.dtype(np.float64) if column.dtype is None else column.dtype
            if column.shape:
                return Array(column.shape, dtype, nullable=column.nullable)
            return Scalar(dtype, nullable=column.nullable)
        case stored.Ragged():
            return Ragged(np.float64 if column.dtype is None else column.dtype, column.ndim, nullable=column.nullable)
        case _:
            cls = next(spec for spec, kind in _SPANS.items() if isinstance(column, kind))
            return cls(codec=None if column.codec is None else "zstd", nullable=column.nullable)


def inferred(samples: Sequence[object]) -> tuple[Column, ...]:
    """The columns that a first batch defines: those of its first sample.

    If that has an empty list, the first list that is not empty defines the type.

    Raises:
        TypeError: if a field does not define a type.
        ValueError: if a name is not valid.
    """
    named: dict[str, ColumnType] = {}
    for name, value in _fields(samples[0], ""):
        named[name] = type_of_values([value] if not _is_empty(value) else _found(samples, name), name)
    check_names(list(named))
    return tuple(Column(place, name, kind) for place, (name, kind) in enumerate(named.items()))


def of_table(values: Mapping[str, Any]) -> tuple[Column, ...]:
    """The columns that sequences of values define; an array defines a fixed shape. Errors as for `inferred`."""
    check_names(list(values))
    return tuple(Column(place, name, type_of_values(of, name)) for place, (name, of) in enumerate(values.items()))


def type_of(value: object, name: str) -> ColumnType:
    """The type of column that a value defines; a dtype that is not known yet comes from the first batch."""
    match value:
        case str():
            return stored.Text()
        case bytes() | bytearray() | memoryview():
            return stored.Binary()
        case bool() | int() | float() | complex() | np.generic():
            return stored.Array()
        case list() | tuple() if value:
            return stored.Ragged() if _is_numbers(value) else stored.Json()
        case dict():
            return stored.Json()
        case _ if hasattr(value, "__array__"):
            return stored.Ragged() if np.ndim(value) else stored.Array()
    raise TypeError(
        f"column {name!r}: its first value {value!r:.80} does not define a type; declare the columns: "
        "RecordsMmap.create(path, columns={...})"
    )


def type_of_values(values: Any, name: str) -> ColumnType:
    """The type of column that a sequence of values defines; an array defines a fixed shape."""
    if isinstance(values, np.ndarray) and values.dtype.kind not in "OSU":
        return stored.Array()
    if isinstance(values, Packed):
        values = values.listed()
    first = next(iter(values), None)
    if _is_empty(first):
        first = next((value for value in values if not _is_empty(value)), first)
    return type_of(first, name)


def _is_empty(value: object) -> bool:
    return isinstance(value, list | tuple) and not value


def _fields(sample: object, prefix: str) -> Iterator[tuple[str, Any]]:
    """The values of a sample with their column names."""
    fields = fields_of(sample)
    if fields is None:
        raise TypeError(f"sample: expected a dict, a dataclass or a named tuple, got {type(sample).__name__}")
    for key, value in undotted(fields, "sample").items():
        if not isinstance(key, str):
            raise TypeError(f"column {key!r:.80}: expected a str, got {type(key).__name__}")
        if fields_of(value):
            yield from _fields(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _found(samples: Sequence[object], name: str) -> list[Any]:
    """The values of one column, from the samples that have it; encoding finds those that do not fit."""
    values = []
    for sample in samples:
        value: Any = sample
        for key in name.split("."):
            value = undotted(fields_of(value) or {}, "sample").get(key)
        values.append(value)
    return [value for value in values if value is not None]


def _flat(specs: Specs, prefix: str) -> Iterator[tuple[str, "Spec | Specs"]]:
    if not isinstance(specs, Mapping):
        raise TypeError(f"columns: expected a dict, got {type(specs).__name__}")
    for name, spec in specs.items():
        if not isinstance(name, str):
            raise TypeError(f"column {name!r:.80}: expected a str, got {type(name).__name__}")
        if isinstance(spec, Mapping) and spec:
            yield from _flat(spec, f"{prefix}{name}.")
        else:
            yield prefix + name, spec


def _is_numbers(values: list[Any] | tuple[Any, ...]) -> bool:
    try:
        dtype = as_array(values, "", 0).dtype
    except TypeError:  # lists of unequal lengths; or tensors, which encoding then names
        return any(map(is_tensor, values))
    return dtype.kind in "biufc" or is_float(dtype)


def short(spec: Spec) -> str:
    """A declaration as shown in the repr of a dataset."""
    match spec:
        case Array(shape, dtype):
            what = f"{np.dtype(dtype)}[{', '.join(map(str, shape))}]"
        case Ragged(dtype, ndim):
            what = f"{np.dtype(dtype)}[{'...' if ndim is None else ', '.join(['*'] * ndim)}]"
        case Scalar(dtype):
            what = str(np.dtype(dtype))
        case _:
            what = {Text: "str", Bytes: "bytes", Json: "json"}[type(spec)]
            what += "" if spec.codec is None else f" ({spec.codec})"
    return f"{what} or None" if spec.nullable else what
