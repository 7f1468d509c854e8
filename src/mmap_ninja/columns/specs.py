"""How users declare the columns of records: a type for each name."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from mmap_ninja.columns import codec as codecs
from mmap_ninja.columns import types as stored
from mmap_ninja.columns.casting import checked_dtype
from mmap_ninja.columns.nesting import check_names
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
        >>> import mmap_ninja as mn
        >>> ds = mn.RecordsMmap.create("texts", columns={"text": mn.Text(nullable=True)})
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
        >>> import mmap_ninja as mn
        >>> ds = mn.RecordsMmap.create("images", columns={"jpeg": mn.Bytes()})
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
        >>> import mmap_ninja as mn
        >>> ds = mn.RecordsMmap.create("boxes", columns={"objects": mn.Json()})
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
        >>> import mmap_ninja as mn
        >>> ds = mn.RecordsMmap.create("labels", columns={"label": mn.Scalar("uint8")})
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
        >>> import mmap_ninja as mn
        >>> ds = mn.RecordsMmap.create("digits", columns={"image": mn.Array((28, 28), "uint8")})
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
        >>> import mmap_ninja as mn
        >>> ds = mn.RecordsMmap.create("tokens", columns={"ids": mn.Ragged("int32", ndim=1)})
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
    named = list(flat(specs).items())
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
            try:
                extents = tuple(shape)
            except TypeError:
                raise TypeError(f"{where}: shape {shape!r:.80}: expected a tuple of lengths, such as (8,)") from None
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


def flat(specs: Specs) -> dict[str, Any]:
    """Declarations by dotted names."""
    named = list(_flat(specs, ""))
    check_names([name for name, _ in named])
    return dict(named)


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


def declared(spec: Spec) -> str:
    """A declaration as users write it."""
    match spec:
        case Scalar(dtype):
            given = [repr(_named(dtype))]
        case Array(shape, dtype):
            given = [repr(shape), repr(_named(dtype))]
        case Ragged(dtype, ndim):
            given = [repr(_named(dtype)), *([] if ndim is None else [f"ndim={ndim}"])]
        case _:
            given = [] if spec.codec is None else [f"codec={spec.codec!r}"]
    return f"mn.{type(spec).__name__}({', '.join([*given, *(['nullable=True'] if spec.nullable else [])])})"


def _named(dtype: npt.DTypeLike) -> Any:
    """A dtype by its name, or its description where a name does not tell all."""
    found: np.dtype[Any] = np.dtype(dtype)
    return found.descr if found.names else str(found)


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
