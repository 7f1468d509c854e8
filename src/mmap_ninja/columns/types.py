"""The types of columns: what a sample is, which files hold it, and how the meta file describes it."""

import base64
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any, ClassVar, Final, Literal

import numpy as np
import numpy.typing as npt

from mmap_ninja.columns.dtypes import DType, decode_dtype, encode_dtype

ShapeRows = npt.NDArray[np.uint64]
Role = Literal["data", "offsets", "sizes", "shapes", "nulls", "edits", "sums"]

MOST_DIMENSIONS: Final = 32  # of a sample; NumPy 1 allows 32, and a batch has one more than an `Array` sample
_U32, _U64 = 4, 8
LEVELS: Final = (-(1 << 17), 22)  # zstd's range
DICTIONARY_SIZES: Final = (256, 4 << 20)  # zstd's minimum; the maximum that fits the meta file


class LengthRule(IntEnum):
    """How a file's length follows from the rows and edits of a commit; same order as the kernel's enum."""

    ROWS = 0  # rows * unit
    OFFSETS = 1  # (rows + 1) * unit
    PAYLOAD = 2  # offsets[rows] * unit
    EDITS = 3  # edits * unit
    SUMS = 4  # unit per complete block of the files above


_NULLS: Final = (LengthRule.ROWS, 1)


class ShapeForm(IntEnum):
    """How the shapes of ragged samples are stored; same order as the kernel's enum."""

    SCALAR = 0  # not stored: one element each
    FLAT = 1  # not stored: the offsets give the lengths
    ROWS = 2  # one row of extents per sample
    RANKED = 3  # one row per sample: its rank, then as many extents as the greatest rank
    LEGACY = 4  # one span of extents per sample, in directories of 0.x


@dataclass(frozen=True, slots=True)
class Zstd:
    """Each sample is a zstd frame; a dictionary is trained on the first batch."""

    level: int
    dictionary_size: int | None = None  # the requested maximum
    dictionary: bytes | None = None

    @property
    def is_untrained(self) -> bool:
        """Whether the dictionary still has to be trained."""
        return self.dictionary_size is not None and self.dictionary is None

    def to_json(self) -> dict[str, Any]:
        """Its entry in the meta file."""
        dictionary = None if self.dictionary is None else base64.b64encode(self.dictionary).decode()
        return {
            "name": "zstd",
            "level": self.level,
            "dictionary_size": self.dictionary_size,
            "dictionary": dictionary,
        }


@dataclass(frozen=True, slots=True)
class _Spans:
    """Samples that are runs of bytes."""

    is_known: ClassVar[bool] = True  # whether the type suffices to read samples
    undecided: ClassVar[bool] = False  # whether the dtype may still change

    codec: Zstd | None = None
    nullable: bool = False  # a sample may be missing

    def files(self) -> dict[Role, tuple[LengthRule, int]]:
        """The column's files in the order of writing, each with its length rule and its unit in bytes."""
        files: dict[Role, tuple[LengthRule, int]] = {
            "data": (LengthRule.PAYLOAD, 1),
            "offsets": (LengthRule.OFFSETS, _U64),
        }
        if self.codec is not None:
            files["sizes"] = (LengthRule.ROWS, _U32)
        if self.nullable:
            files["nulls"] = _NULLS
        return files

    def to_json(self) -> dict[str, Any]:
        """Its entry in the meta file, without the name of the type."""
        codec = {} if self.codec is None else {"codec": self.codec.to_json()}
        return {**codec, **_nullable_json(self.nullable)}


@dataclass(frozen=True, slots=True)
class Text(_Spans):
    """`str` as UTF-8."""

    name: ClassVar[str] = "text"


@dataclass(frozen=True, slots=True)
class Binary(_Spans):
    """`bytes`."""

    name: ClassVar[str] = "binary"


@dataclass(frozen=True, slots=True)
class Json(_Spans):
    """JSON values, stored as UTF-8 texts."""

    name: ClassVar[str] = "json"


class _OfArrays:
    """Equality of types that have a dtype; NumPy's comparison treats None as float64."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.to_json() == other.to_json()

    __hash__: ClassVar[None] = None  # type: ignore[assignment]

    def to_json(self) -> dict[str, Any]:
        """Its entry in the meta file, without the name of the type."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True, eq=False)
class Array(_OfArrays):
    """Arrays of one shape and dtype; neither is known before the first sample."""

    name: ClassVar[str] = "array"
    undecided: ClassVar[bool] = False  # as for `Text`

    dtype: DType | None = None
    shape: tuple[int, ...] | None = None  # of a sample
    declared: bool = False  # the dtype was declared by the user
    sealed: bool = True  # the payload is never written in place
    nullable: bool = False

    @property
    def is_known(self) -> bool:
        """Whether the type suffices to read samples: not before the first one."""
        return self.shape is not None

    @property
    def row_size(self) -> int:
        """Bytes of a sample."""
        size = self.dtype.itemsize if self.dtype is not None and self.shape is not None else 0
        for extent in self.shape or ():
            size *= extent
        return size

    @property
    def is_addressable(self) -> bool:
        """Whether NumPy allows this shape: it counts the bytes as if no extent were 0."""
        size = 1 if self.dtype is None else self.dtype.itemsize
        for extent in self.shape or ():
            size *= max(extent, 1)
        return size < 1 << 63

    def files(self) -> dict[Role, tuple[LengthRule, int]]:
        """As for `Text`."""
        files: dict[Role, tuple[LengthRule, int]] = {"data": (LengthRule.ROWS, self.row_size)}
        if self.nullable:
            files["nulls"] = _NULLS
        return files

    def to_json(self) -> dict[str, Any]:
        """As for `Text`."""
        return {
            "dtype": None if self.dtype is None else encode_dtype(self.dtype),
            "shape": None if self.shape is None else list(self.shape),
            "declared": self.declared,
            "sealed": self.sealed,
            **_nullable_json(self.nullable),
        }


@dataclass(frozen=True, slots=True, eq=False)
class Ragged(_OfArrays):
    """Arrays of one dtype and any shape; the dtype is decided by the first sample that has an element."""

    name: ClassVar[str] = "ragged"

    dtype: DType | None = None
    ranks: tuple[int, int] | None = None  # least and greatest rank of the samples
    declared: bool = False
    nullable: bool = False
    ndim: int | None = None  # the only rank that samples may have
    # Whether no stored sample has an element, so that the dtype may still change. Not stored, and of no account in
    # comparisons: it depends on the commit.
    undecided: bool = False

    @property
    def is_known(self) -> bool:
        """Whether the type suffices to read samples: not before the first one."""
        return self.ranks is not None

    @property
    def shape_form(self) -> ShapeForm:
        """How the samples' shapes are stored."""
        least, greatest = self.ranks or (1, 1)
        if least != greatest:
            return ShapeForm.RANKED
        return (ShapeForm.SCALAR, ShapeForm.FLAT)[greatest] if greatest <= 1 else ShapeForm.ROWS

    @property
    def shape_width(self) -> int:
        """Numbers in a row of the shapes file; 0 if there is no such file."""
        if self.shape_form < ShapeForm.ROWS or self.ranks is None:
            return 0
        return self.ranks[1] + (self.shape_form is ShapeForm.RANKED)

    def with_ranks(self, least: int, greatest: int) -> "Ragged":
        """The type widened to include these ranks."""
        if self.ranks is None:
            return replace(self, ranks=(least, greatest))
        if self.ranks[0] <= least and greatest <= self.ranks[1]:
            return self
        return replace(self, ranks=(min(least, self.ranks[0]), max(greatest, self.ranks[1])))

    def widened(self, old: "Ragged", stored: ShapeRows, lengths: ShapeRows) -> ShapeRows:
        """The shape rows `[n, width]` for samples stored as type `old`; `lengths`: their numbers of elements."""
        rows = np.zeros((len(lengths), self.shape_width), np.uint64)
        lead = 1 if self.shape_form is ShapeForm.RANKED else 0
        if old.shape_form is ShapeForm.RANKED:
            rows[:, : stored.shape[1]] = stored
        elif old.ranks is not None and lead:
            rows[:, 0] = old.ranks[1]
            extents = lengths[:, None] if old.shape_form is ShapeForm.FLAT else stored
            rows[:, 1 : 1 + extents.shape[1]] = extents
        return rows

    def files(self) -> dict[Role, tuple[LengthRule, int]]:
        """As for `Text`."""
        unit = self.dtype.itemsize if self.dtype is not None else 1
        files: dict[Role, tuple[LengthRule, int]] = {
            "data": (LengthRule.PAYLOAD, unit),
            "offsets": (LengthRule.OFFSETS, _U64),
        }
        if self.shape_width:
            files["shapes"] = (LengthRule.ROWS, self.shape_width * _U64)
        if self.nullable:
            files["nulls"] = _NULLS
        return files

    def to_json(self) -> dict[str, Any]:
        """As for `Text`."""
        return {
            "dtype": None if self.dtype is None else encode_dtype(self.dtype),
            "ranks": None if self.ranks is None else list(self.ranks),
            "declared": self.declared,
            **({} if self.ndim is None else {"ndim": self.ndim}),
            **_nullable_json(self.nullable),
        }


ColumnType = Text | Binary | Json | Array | Ragged
_SPANS: Final[dict[str, type[Text | Binary | Json]]] = {"text": Text, "binary": Binary, "json": Json}


def decode_type(document: dict[str, Any]) -> ColumnType:
    """The type from a column's entry in a meta file.

    Raises:
        ValueError: if the entry is not valid; the message is what was found.
    """
    name, rest = document.get("type"), {key: document[key] for key in document.keys() - {"id", "name", "type"}}
    nullable = "nullable" in rest and _flag(rest.pop("nullable"))
    if name in _SPANS and rest.keys() <= {"codec"}:
        return _SPANS[name](_codec(rest["codec"]) if rest else None, nullable)
    if name == "array" and rest.keys() == {"dtype", "shape", "declared", "sealed"}:
        shape = None if rest["shape"] is None else tuple(_numbers(rest["shape"], MOST_DIMENSIONS))
        array = Array(_dtype(rest["dtype"]), shape, _flag(rest["declared"]), _flag(rest["sealed"]), nullable)
        if not array.is_addressable or (shape is not None and array.dtype is None):
            raise ValueError(f"shape {shape!r:.80} of dtype {array.dtype}")
        return array
    ndim = _numbers([rest.pop("ndim")], 1)[0] if name == "ragged" and "ndim" in rest else None
    if name == "ragged" and rest.keys() == {"dtype", "ranks", "declared"}:
        ranks = None if rest["ranks"] is None else _ranks(rest["ranks"])
        ragged = Ragged(_dtype(rest["dtype"]), ranks, _flag(rest["declared"]), nullable, ndim)
        if ranks is not None and (ragged.dtype is None or ndim not in (None, *ranks)):
            raise ValueError(f"ranks {ranks} of dtype {ragged.dtype}, ndim {ndim}")
        return ragged
    raise ValueError(f"column {document!r:.80}")


def _nullable_json(nullable: bool) -> dict[str, Any]:
    return {"nullable": True} if nullable else {}


def _codec(document: Any) -> Zstd:
    keys = {"name", "level", "dictionary_size", "dictionary"}
    if not isinstance(document, dict) or document.keys() != keys or document["name"] != "zstd":
        raise ValueError(f"codec {document!r:.80}")
    level, size, encoded = document["level"], document["dictionary_size"], document["dictionary"]
    if type(level) is not int or not LEVELS[0] <= level <= LEVELS[1]:
        raise ValueError(f"level {level!r:.80}")
    if size is not None and (type(size) is not int or not DICTIONARY_SIZES[0] <= size <= DICTIONARY_SIZES[1]):
        raise ValueError(f"dictionary size {size!r:.80}")
    dictionary = None
    if encoded is not None:
        if not isinstance(encoded, str) or size is None:
            raise ValueError(f"dictionary {encoded!r:.80} of size {size}")
        dictionary = base64.b64decode(encoded, validate=True)
        if not 0 < len(dictionary) <= size:
            raise ValueError(f"dictionary of {len(dictionary)} bytes, more than the maximum of {size}")
    return Zstd(level, size, dictionary)


def _dtype(document: Any) -> DType | None:
    return None if document is None else decode_dtype(document)


def _flag(document: Any) -> bool:
    if type(document) is not bool:
        raise ValueError(f"flag {document!r:.80}")
    return document


def _numbers(document: Any, most: int) -> list[int]:
    if not isinstance(document, list) or len(document) > most:
        raise ValueError(f"list {document!r:.80}")
    if not all(type(number) is int and 0 <= number < 1 << 63 for number in document):
        raise ValueError(f"list {document!r:.80}")
    return document


def _ranks(document: Any) -> tuple[int, int]:
    ranks = _numbers(document, 2)
    if len(ranks) != 2 or not ranks[0] <= ranks[1] <= MOST_DIMENSIONS:
        raise ValueError(f"ranks {document!r:.80}")
    return ranks[0], ranks[1]


@dataclass(frozen=True, slots=True)
class Column:
    """A named field of every sample; the column of a dataset with only one has no name."""

    id: int
    name: str
    type: ColumnType
