"""Where the samples lie in a directory of mmap_ninja 0.2 to 0.9: read from its small files, checked, never changed.

What 0.x stored is made of arrays, each a directory with `data.ninja` (the bytes), `dtype.ninja` (NumPy's name of the
dtype), `order.ninja` (`C` or `F`) and `shape.ninja` (the dimensions). Of these,

* an array is one, with the samples along its first dimension;
* strings are `data.ninja` (UTF-8, back to back) and the arrays `starts` and `ends` (int64 [n], in bytes);
* a ragged dataset is a flat one, with the arrays `starts`, `ends` (int64 [n], in elements) and `flattened_shapes`
  (their difference). `shapes_are_flat.ninja` (i32) is 1 if all samples of the first batch had at most one dimension:
  `shapes` is an array (int64 [n, 1]) then. Else it is a ragged directory, whose samples are the shapes; the names in it
  are the default ones.

| since | what is different |
|---|---|
| 0.2.0 | `shape.ninja` has u32; nothing says the kind; `from_generator` of an array stores `data.ninja` alone |
| 0.2.3 | `shape.ninja` has u64 |
| 0.4.0 | `type.ninja` is `string` or `numpy`; by mistake, the latter for ragged datasets, too |
| 0.4.1 | it is `ragged` for these, nested ones included |
| 0.5.2 | `from_generator` of an array stores dtype and shape |
| 0.9.0 | with `zstd_level.ninja` (decimal), each string is a zstd frame; `zstd_dict.ninja` is the dictionary, if any |

With NumPy 2.2 and later, `data.ninja` of an array without elements is one zero byte; earlier ones failed there. Empty
strings alone left a `data.ninja` of no bytes, which 0.x could not open.

Some things such a directory does not tell; it is then read as 0.9 read it:

* The byte order, and what a structure or text consists of, since a dtype is stored by its name. Numbers are taken for
  little-endian. Names that stand for several dtypes (`str64`, `void32`) are refused; 0.9 could not open them.
* That an array in F order was extended. The new samples were appended in their own F order, which garbles all samples
  without any sign: the sizes agree.
* That samples were added after an append had been interrupted. Their offsets do not count the bytes that it had left,
  so they are garbled. These bytes stay for good: `LegacyLayout.leftovers` names the files that have such.
"""

import math
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from mmap_ninja.engine import files, upgrade_marks
from mmap_ninja.errors import CorruptDatasetError, NotADatasetError
from mmap_ninja.format.names import COMMIT
from mmap_ninja.legacy.layout import Compression, FlatShapes, Keys, Kind, LayoutFile, LegacyLayout, NestedShapes, Order

_DATA: Final = "data.ninja"
_DTYPE: Final = "dtype.ninja"
_FLAT: Final = "shapes_are_flat.ninja"
_LEVEL: Final = "zstd_level.ninja"
_DICTIONARY: Final = "zstd_dict.ninja"
_TYPE: Final = "type.ninja"

# Every name that np.dtype(x).name gives for a dtype that the name alone restores. NumPy is not asked first: it takes
# much else for a dtype ("i4,f8", "object"), and warns about some of it.
_DTYPE_NAME: Final = re.compile(
    r"bool|u?int(8|16|32|64)|float(16|32|64|96|128)|complex(64|128|192|256)|(datetime|timedelta)64(\[\d{0,9}[A-Za-z]{1,2}\])?"
)
_MOST_DIMENSIONS: Final = 32  # of an ndarray in the oldest NumPy that is supported
_SMALL_FILE: Final = 8 * _MOST_DIMENSIONS
_DICTIONARY_LIMIT: Final = 64 << 20  # the usual ones have about 100 KiB
_ZSTD_MAGIC: Final = b"\x28\xb5\x2f\xfd"  # no text starts with these bytes: they are not UTF-8
_INDEX_SIZE: Final = 8

_RESTORE: Final = "restore the directory from a copy"
_STORE_AGAIN: Final = "read it where it can be read, with mmap_ninja 0.9, and store it again"


def read_layout(
    path: Path,
    starts_key: str = "starts",
    ends_key: str = "ends",
    shapes_key: str = "shapes",
    flattened_shapes_key: str = "flattened_shapes",
) -> LegacyLayout:
    """Find out what a directory of 0.x holds; reads and checks as much for ten samples as for 10^9.

    Raises:
        NotADatasetError: if it is none.
        CorruptDatasetError: if its files are incomplete or contradict each other, or do not tell the dtype.
    """
    if not upgrade_marks.detect(path):
        raise NotADatasetError(
            f"{path}: holds no dataset of mmap_ninja 0.x: it has none of {', '.join(upgrade_marks.LEFT_BY_0X)}, "
            f"or {COMMIT}, too"
        )
    keys = Keys(starts_key, ends_key, shapes_key, flattened_shapes_key)
    match _kind(path, keys):
        case "strings":
            return _read_strings(path, keys)
        case "array":
            return _read_array(path)
        case _:
            return _read_ragged(path, keys)


@dataclass(frozen=True, slots=True)
class _Array:
    """One array as its own small files describe it."""

    path: Path
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    order: Order
    size: int  # of data.ninja, which may have leftovers

    @property
    def needed(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def has_leftovers(self) -> bool:
        return _has_leftovers(self.size, self.needed)


@dataclass(frozen=True, slots=True)
class _Index:
    """`starts` or `ends`, with what its first and its last row say; 0 where it has none."""

    array: _Array
    rows: int
    first: int
    last: int


def _kind(path: Path, keys: Keys) -> Kind:
    type_path = path / _TYPE
    name = _content(type_path) if os.path.lexists(type_path) else None
    shaped, flagged = os.path.lexists(path / _DTYPE), os.path.lexists(path / _FLAT)
    match name:
        case b"string":
            return "strings"
        case b"ragged":
            return "ragged"
        case b"numpy":
            return _array_or_ragged(path, keys) if flagged else "array"
        case None:  # before 0.4.0
            if flagged:
                return "ragged"
            indexed = os.path.lexists(path / keys.starts)
            if indexed != shaped:
                return "strings" if indexed else "array"
            if indexed:
                raise _corrupt(
                    path, f"{_DTYPE} and {keys.starts} without {_FLAT}", "all three, or one of the former", _RESTORE
                )
            raise _corrupt(
                path,
                f"no {_DTYPE}, nor a directory {keys.starts!r}",
                f"one of them beside {_DATA}",
                "if the offsets have another name, give it as starts_key; if this is of an array's from_generator "
                f"before 0.5.2, it has neither dtype nor shape: np.memmap reads {_DATA}, np_from_ndarray stores it",
            )
        case _:
            raise _corrupt(type_path, f"{name!r:.40}", "numpy, string or ragged", _RESTORE)


def _array_or_ragged(path: Path, keys: Keys) -> Kind:
    """0.4.0 said `numpy` for both; later versions could leave the flag of a ragged dataset beside the array over it."""
    payload = _open_array(path)
    if len(payload.shape) != 1:
        return "array"
    last = _open_index(path / keys.ends).last
    if last != payload.shape[0]:
        raise _corrupt(
            path,
            f"{_TYPE} 'numpy', {payload.shape[0]} elements and {_FLAT} with offsets up to {last}",
            "offsets that end with the elements, or no offsets",
            f"if this is an array, remove {_FLAT}, which an older dataset left; if it is ragged, {_RESTORE}",
        )
    return "ragged"


def _read_array(path: Path) -> LegacyLayout:
    array = _open_array(path)
    return LegacyLayout(
        kind="array",
        rows=array.shape[0],
        dtype=array.dtype,
        sample_shape=array.shape[1:],
        order=array.order,
        payload=LayoutFile(_DATA, array.needed),
        starts=None,
        ends=None,
        shapes=None,
        compression=None,
        leftovers=(_DATA,) if array.has_leftovers else (),
    )


def _read_strings(path: Path, keys: Keys) -> LegacyLayout:
    starts, ends = _open_offsets(path, keys)
    size, head = _open_data(path / _DATA)
    if size < ends.last:
        raise _corrupt(
            path / _DATA,
            f"{size} bytes",
            f"{ends.last}, where the last string ends",
            "an append was interrupted, which wrote the offsets first, or the file was cut: "
            f"{_STORE_AGAIN} as far as it is whole, or {_RESTORE}",
        )
    compression = _compression(path)
    _check_first_string(path, head if starts.rows else None, compression)
    leftovers = [_DATA] if size > ends.last else []
    return LegacyLayout(
        kind="strings",
        rows=starts.rows,
        dtype=None,
        sample_shape=None,
        order="C",
        payload=LayoutFile(_DATA, ends.last),
        starts=_index_file(path, starts),
        ends=_index_file(path, ends),
        shapes=None,
        compression=compression,
        leftovers=(*leftovers, *_leftovers(path, starts.array, ends.array)),
    )


def _read_ragged(path: Path, keys: Keys) -> LegacyLayout:
    payload, starts, ends = _open_ragged(path, keys)
    shapes_path = path / keys.shapes
    shapes: FlatShapes | NestedShapes
    if _shapes_are_flat(path):
        flat = _open_flat_shapes(shapes_path, starts.rows)
        shapes = FlatShapes(LayoutFile(_name(path, flat), flat.needed), 1)
        others = [flat]
    else:
        data, nested_starts, nested_ends = _open_ragged(shapes_path, Keys())
        if not _shapes_are_flat(shapes_path):
            raise _corrupt(shapes_path / _FLAT, "0", "1: shapes have one dimension", _RESTORE)
        _require_int64(data)
        _require_rows(shapes_path, nested_starts.rows, starts.rows)
        others = [data, nested_starts.array, nested_ends.array, _open_flat_shapes(shapes_path / "shapes", starts.rows)]
        shapes = NestedShapes(
            LayoutFile(_name(path, data), nested_ends.last * _INDEX_SIZE),
            _index_file(path, nested_starts),
            _index_file(path, nested_ends),
        )
    needed = ends.last * payload.dtype.itemsize
    leftovers = [_DATA] if _has_leftovers(payload.size, needed) else []
    return LegacyLayout(
        kind="ragged",
        rows=starts.rows,
        dtype=payload.dtype,
        sample_shape=None,
        order="C",
        payload=LayoutFile(_DATA, needed),
        starts=_index_file(path, starts),
        ends=_index_file(path, ends),
        shapes=shapes,
        compression=None,
        leftovers=(*leftovers, *_leftovers(path, starts.array, ends.array, *others)),
    )


def _open_ragged(path: Path, keys: Keys) -> tuple[_Array, _Index, _Index]:
    """The payload, starts and ends of a ragged directory; its shapes are the caller's."""
    payload = _open_array(path)
    if len(payload.shape) != 1:
        raise _corrupt(
            path / "shape.ninja", f"shape {payload.shape}", "one dimension, as a ragged dataset has", _RESTORE
        )
    starts, ends = _open_offsets(path, keys)
    flattened = _open_array(path / keys.flattened_shapes)  # not needed, but an append wrote it after the offsets
    _require_rows(flattened.path, flattened.shape[0], starts.rows)
    if payload.shape[0] < ends.last:
        raise _corrupt(
            path / "shape.ninja", f"{payload.shape[0]} elements", f"{ends.last}, where the last sample ends", _RESTORE
        )
    return payload, starts, ends


def _open_flat_shapes(path: Path, rows: int) -> _Array:
    shapes = _open_array(path)
    _require_int64(shapes)
    if len(shapes.shape) != 2 or shapes.shape[1] != 1:
        raise _corrupt(path / "shape.ninja", f"shape {shapes.shape}", f"({rows}, 1)", _RESTORE)
    _require_rows(path, shapes.shape[0], rows)
    return shapes


def _open_offsets(path: Path, keys: Keys) -> tuple[_Index, _Index]:
    starts, ends = _open_index(path / keys.starts), _open_index(path / keys.ends)
    _require_rows(ends.array.path, ends.rows, starts.rows)
    if starts.first != 0 or not starts.first <= starts.last <= ends.last or not 0 <= ends.first <= ends.last:
        raise _corrupt(
            path,
            f"starts {starts.first} ... {starts.last} and ends {ends.first} ... {ends.last}",
            "offsets that begin with 0 and do not decrease",
            _RESTORE,
        )
    return starts, ends


def _open_index(path: Path) -> _Index:
    array = _open_array(path)
    _require_int64(array)
    if len(array.shape) != 1:
        raise _corrupt(path / "shape.ninja", f"shape {array.shape}", "one dimension", _RESTORE)
    rows = array.shape[0]
    if not rows:
        return _Index(array, 0, 0, 0)
    with files.open_read(path / _DATA) as file:
        first, last = (os.pread(file.fileno(), _INDEX_SIZE, row * _INDEX_SIZE) for row in (0, rows - 1))
    return _Index(
        array, rows, int.from_bytes(first, "little", signed=True), int.from_bytes(last, "little", signed=True)
    )


def _open_array(path: Path) -> _Array:
    dtype = _dtype(path / _DTYPE)
    order = _content(path / "order.ninja")
    if order not in (b"C", b"F"):
        raise _corrupt(path / "order.ninja", f"{order!r:.40}", "C or F", _RESTORE)
    size, head = _open_data(path / _DATA)
    shape = _shape(path, dtype.itemsize, size)
    array = _Array(path, dtype, shape, "C" if order == b"C" else "F", size)
    # Where a row has one byte, this could as well be left over from an append of one, and is read as 0.9 did.
    rows_are_longer = array.needed > shape[0]
    if rows_are_longer and size == array.needed + 1 and head[:1] == b"\0":
        raise _corrupt(
            path / _DATA,
            f"{size} bytes that begin with a zero",
            f"{array.needed}",
            "the array was made empty, for which NumPy wrote one byte, and extended behind that: without its first "
            "byte it can be read",
        )
    return array


def _shape(path: Path, itemsize: int, size: int) -> tuple[int, ...]:
    """The dimensions, u64 or u32: the sizes tell which, as the wrong reading needs more bytes than a file can have."""
    shape_path = path / "shape.ninja"
    content = _content(shape_path)
    if not content or len(content) % 4:
        raise _corrupt(
            shape_path,
            f"{len(content)} bytes",
            "8 for each dimension",
            "if a 0.x process is writing to it, try again when it has ended; if one was cut short, the dimensions can "
            f"be written again, as little-endian u64; else {_RESTORE}",
        )
    wide, narrow = (tuple(map(int, np.frombuffer(content[: len(content) // n * n], f"<u{n}"))) for n in (8, 4))
    is_wide = len(content) % 8 == 0
    if is_wide and _fits(wide, itemsize, size):
        return wide
    # Half of a small u64 is zero: u32 dimensions that are zero would let any cut file pass for an array of no elements.
    empty = not is_wide and size <= 1
    if _fits(narrow, itemsize, size) and (empty or all(narrow)):
        return narrow
    shape = wide if is_wide else narrow
    raise _corrupt(
        path / _DATA,
        f"{size} bytes",
        f"{math.prod(shape) * itemsize} for shape {shape}",
        f"the file was cut, or shape.ninja is damaged: {_RESTORE}",
    )


def _fits(shape: tuple[int, ...], itemsize: int, size: int) -> bool:
    # What an ndarray can have, even if another dimension is zero.
    possible = math.prod(filter(None, shape)) * itemsize < 1 << 63 and len(shape) <= _MOST_DIMENSIONS
    return possible and math.prod(shape) * itemsize <= size


def _dtype(path: Path) -> np.dtype[Any]:
    content = _content(path)
    name = content.decode("utf-8", "replace")
    if not _DTYPE_NAME.fullmatch(name):
        raise _corrupt(
            path,
            f"{name!r:.60}",
            "a number's dtype, boolean or time",
            "0.x stored dtypes by name, which does not restore text, structures, objects or other packages' types: "
            f"np.memmap reads {_DATA} with the one that you know, unless that is object, whose values are lost",
        )
    try:
        return np.dtype(name)
    except (TypeError, ValueError):
        expected = "a dtype that NumPy has on this machine"
        raise _corrupt(path, f"{name!r:.60}", expected, f"{_STORE_AGAIN} in another dtype") from None


def _compression(path: Path) -> Compression | None:
    level_path, dictionary_path = path / _LEVEL, path / _DICTIONARY
    has_dictionary = os.path.lexists(dictionary_path)
    if not os.path.lexists(level_path):
        if has_dictionary:
            raise _corrupt(path, f"{_DICTIONARY} without {_LEVEL}", "both or none", _RESTORE)
        return None
    level = _content(level_path)
    if not re.fullmatch(rb"-?[0-9]{1,9}", level):
        raise _corrupt(level_path, f"{level!r:.40}", "a number", _RESTORE)
    dictionary = _content(dictionary_path, _DICTIONARY_LIMIT) if has_dictionary else None
    if dictionary == b"":
        raise _corrupt(dictionary_path, "0 bytes", "a dictionary", _RESTORE)
    return Compression(int(level), dictionary)


def _check_first_string(path: Path, head: bytes | None, compression: Compression | None) -> None:
    """Strings could be stored over ones of another compression; its files, which outlive them, then lie."""
    if head is None:
        return
    compressed = head.startswith(_ZSTD_MAGIC)
    if compressed and compression is None:
        raise _corrupt(path / _DATA, "a zstd frame", f"text, as there is no {_LEVEL}", f"restore {_LEVEL}")
    if compression and not compressed:
        raise _corrupt(
            path / _DATA,
            "text",
            f"a zstd frame, as there is {_LEVEL}",
            f"if the strings were stored over compressed ones, remove {_LEVEL} and {_DICTIONARY}; else {_RESTORE}",
        )
    # The two low bits of the frame's descriptor: how long the dictionary's number in it is.
    if compression and compression.dictionary is None and len(head) > len(_ZSTD_MAGIC) and head[len(_ZSTD_MAGIC)] & 3:
        raise _corrupt(
            path / _DATA, "a zstd frame with a dictionary", f"one without, as there is no {_DICTIONARY}", _RESTORE
        )


def _shapes_are_flat(path: Path) -> bool:
    content = _content(path / _FLAT)
    if content not in (bytes(4), b"\1\0\0\0"):
        raise _corrupt(path / _FLAT, f"{content!r:.40}", "0 or 1 in 4 bytes", _RESTORE)
    return content != bytes(4)


def _content(path: Path, limit: int = _SMALL_FILE) -> bytes:
    try:
        content = files.read(path, limit)
    except (FileNotFoundError, NotADirectoryError):
        raise _missing(path) from None
    if len(content) > limit:
        raise _corrupt(path, f"more than {limit} bytes", "fewer", _RESTORE)
    return content


def _open_data(path: Path) -> tuple[int, bytes]:
    """The size of a payload, and its first bytes."""
    try:
        with files.open_read(path) as file:
            fd = file.fileno()
            return os.fstat(fd).st_size, os.pread(fd, len(_ZSTD_MAGIC) + 1, 0)
    except (FileNotFoundError, NotADirectoryError):
        raise _missing(path) from None


def _require_int64(array: _Array) -> None:
    if array.dtype != np.dtype(np.int64):
        raise _corrupt(
            array.path / _DTYPE,
            f"{array.dtype}",
            "int64",
            f"0.x on Windows with NumPy before 2.0 stored int32 shapes, which are not read here: {_STORE_AGAIN}",
        )


def _require_rows(path: Path, found: int, expected: int) -> None:
    if found != expected:
        raise _corrupt(
            path,
            f"{found} rows",
            f"the {expected} of starts",
            f"an append was interrupted or failed, and the first {min(found, expected)} samples are whole: "
            f"{_STORE_AGAIN} as far as these, or {_RESTORE}",
        )


def _name(path: Path, array: _Array) -> str:
    return os.path.relpath(array.path / _DATA, path)


def _index_file(path: Path, index: _Index) -> LayoutFile:
    return LayoutFile(_name(path, index.array), index.array.needed)


def _leftovers(path: Path, *arrays: _Array) -> list[str]:
    return [_name(path, array) for array in arrays if array.has_leftovers]


def _has_leftovers(size: int, needed: int) -> bool:
    return size > max(needed, 1)  # NumPy gives an array of no elements one byte


def _missing(path: Path) -> CorruptDatasetError:
    return CorruptDatasetError(
        f"{path}: is missing where mmap_ninja 0.x wrote a file; if it was named otherwise, give that as a key; "
        f"if storing was interrupted, or it was removed, {_RESTORE}"
    )


def _corrupt(path: Path, found: str, expected: str, what_to_do: str) -> CorruptDatasetError:
    return CorruptDatasetError(f"{path}: {found} where {expected} was expected; {what_to_do}")
