"""Finds the samples in a directory of mmap_ninja 0.2 to 0.9: reads and checks its small files, changes nothing.

0.x stored arrays, each in a directory with `data.ninja` (the bytes), `dtype.ninja` (NumPy's name of the dtype),
`order.ninja` (`C` or `F`) and `shape.ninja` (the dimensions). A dataset consists of these:

* an array dataset is one array, with the samples along its first dimension;
* strings are `data.ninja` (UTF-8, back to back) and the arrays `starts` and `ends` (int64 [n], in bytes);
* a ragged dataset is a flat one, with the arrays `starts`, `ends` (int64 [n], in elements) and `flattened_shapes`
  (their difference). `shapes_are_flat.ninja` (i32) is 1 if all samples of the first batch had at most one dimension:
  `shapes` is an array (int64 [n, 1]) then. Else it is a ragged directory, whose samples are the shapes; the names in it
  are the default ones.

| since | change | |---|---| | 0.2.0 | `shape.ninja` has u32; no file has the kind; `from_generator` of an array stores
only `data.ninja` | | 0.2.3 | `shape.ninja` has u64 | | 0.4.0 | `type.ninja` is `string` or `numpy`; by mistake, the
latter for ragged datasets, too | | 0.4.1 | it is `ragged` for these, nested ones included | | 0.5.2 | `from_generator`
of an array stores dtype and shape | | 0.9.0 | with `zstd_level.ninja` (decimal), each string is a zstd frame;
`zstd_dict.ninja` is the dictionary, if any |

With NumPy 2.2 and later, `data.ninja` of an array without elements is one zero byte; earlier ones failed there. Empty
strings alone left a `data.ninja` of no bytes, which 0.x could not open.

Such a directory lacks some information; it is then read as 0.9 read it:

* The byte order, and the fields of a structure or length of a text, since a dtype is stored by its name. Numbers are
  taken as little-endian. Ambiguous names (`str64`, `void32`) are refused; 0.9 could not open them.
* Whether an array in F order was extended. The new samples were appended in their own F order, which garbles all
  samples without any sign, since the sizes agree.
* Whether samples were added after an interrupted append. Their offsets do not count the bytes that it left behind,
  so they are garbled. The bytes are never removed: `LegacyLayout.leftovers` names the files that have them.
"""

import os
import re
from pathlib import Path
from typing import Final

from mmap_ninja.engine import upgrade_marks
from mmap_ninja.errors import NotADatasetError
from mmap_ninja.format.names import COMMIT
from mmap_ninja.legacy.layout import Compression, FlatShapes, Keys, Kind, LayoutFile, LegacyLayout, NestedShapes
from mmap_ninja.legacy.stored import (
    DATA,
    DTYPE,
    INDEX_SIZE,
    RESTORE,
    STORE_AGAIN,
    ZSTD_MAGIC,
    StoredArray,
    StoredIndex,
    corrupt,
    has_leftovers_of,
    open_array,
    open_data,
    open_index,
    read_small,
    require_int64,
)

_FLAT: Final = "shapes_are_flat.ninja"
_LEVEL: Final = "zstd_level.ninja"
_DICTIONARY: Final = "zstd_dict.ninja"
_TYPE: Final = "type.ninja"

_DICTIONARY_LIMIT: Final = 64 << 20  # usual ones have about 100 KiB


def read_layout(
    path: Path,
    starts_key: str = "starts",
    ends_key: str = "ends",
    shapes_key: str = "shapes",
    flattened_shapes_key: str = "flattened_shapes",
) -> LegacyLayout:
    """Find the content of a directory of 0.x; the cost does not depend on the number of samples.

    Raises:
        NotADatasetError: if it is not one.
        CorruptDatasetError: if its files are incomplete or contradict each other, or do not contain the dtype.
    """
    if not upgrade_marks.detect(path):
        raise NotADatasetError(
            f"{path}: is not a dataset of mmap_ninja 0.x: it has none of {', '.join(upgrade_marks.LEFT_BY_0X)}, "
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


def _kind(path: Path, keys: Keys) -> Kind:
    type_path = path / _TYPE
    name = read_small(type_path) if os.path.lexists(type_path) else None
    shaped, flagged = os.path.lexists(path / DTYPE), os.path.lexists(path / _FLAT)
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
                raise corrupt(
                    path, f"{DTYPE} and {keys.starts} without {_FLAT}", "all three, or one of the former", RESTORE
                )
            raise corrupt(
                path,
                f"no {DTYPE}, nor a directory {keys.starts!r}",
                f"one of them beside {DATA}",
                "if the offsets have another name, pass it as starts_key; if an array was stored by from_generator "
                f"before 0.5.2, it has neither dtype nor shape: np.memmap reads {DATA}, np_from_ndarray stores it",
            )
        case _:
            raise corrupt(type_path, f"{name!r:.40}", "numpy, string or ragged", RESTORE)


def _array_or_ragged(path: Path, keys: Keys) -> Kind:
    """0.4.0 wrote `numpy` for both; later an array stored over a ragged dataset could leave the flag of that."""
    payload = open_array(path)
    if len(payload.shape) != 1:
        return "array"
    last = open_index(path / keys.ends).last
    if last != payload.shape[0]:
        raise corrupt(
            path,
            f"{_TYPE} 'numpy', {payload.shape[0]} elements and {_FLAT} with offsets up to {last}",
            "offsets that end with the elements, or no offsets",
            f"if this is an array, remove {_FLAT}, left by an older dataset; if it is ragged, {RESTORE}",
        )
    return "ragged"


def _read_array(path: Path) -> LegacyLayout:
    array = open_array(path)
    return LegacyLayout(
        kind="array",
        rows=array.shape[0],
        dtype=array.dtype,
        sample_shape=array.shape[1:],
        order=array.order,
        payload=LayoutFile(DATA, array.needed),
        starts=None,
        ends=None,
        shapes=None,
        compression=None,
        leftovers=(DATA,) if array.has_leftovers else (),
    )


def _read_strings(path: Path, keys: Keys) -> LegacyLayout:
    starts, ends = _open_offsets(path, keys)
    size, head = open_data(path / DATA)
    if size < ends.last:
        raise corrupt(
            path / DATA,
            f"{size} bytes",
            f"{ends.last}, where the last string ends",
            "an append was interrupted after writing the offsets, or the file was truncated: "
            f"{STORE_AGAIN} as far as it is intact, or {RESTORE}",
        )
    compression = _compression(path)
    _check_first_string(path, head if starts.rows else None, compression)
    leftovers = [DATA] if size > ends.last else []
    return LegacyLayout(
        kind="strings",
        rows=starts.rows,
        dtype=None,
        sample_shape=None,
        order="C",
        payload=LayoutFile(DATA, ends.last),
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
            raise corrupt(shapes_path / _FLAT, "0", "1: shapes have one dimension", RESTORE)
        require_int64(data)
        _require_rows(shapes_path, nested_starts.rows, starts.rows)
        others = [data, nested_starts.array, nested_ends.array, _open_flat_shapes(shapes_path / "shapes", starts.rows)]
        shapes = NestedShapes(
            LayoutFile(_name(path, data), nested_ends.last * INDEX_SIZE),
            _index_file(path, nested_starts),
            _index_file(path, nested_ends),
        )
    needed = ends.last * payload.dtype.itemsize
    leftovers = [DATA] if has_leftovers_of(payload.size, needed) else []
    return LegacyLayout(
        kind="ragged",
        rows=starts.rows,
        dtype=payload.dtype,
        sample_shape=None,
        order="C",
        payload=LayoutFile(DATA, needed),
        starts=_index_file(path, starts),
        ends=_index_file(path, ends),
        shapes=shapes,
        compression=None,
        leftovers=(*leftovers, *_leftovers(path, starts.array, ends.array, *others)),
    )


def _open_ragged(path: Path, keys: Keys) -> tuple[StoredArray, StoredIndex, StoredIndex]:
    """The payload, starts and ends of a ragged directory, without its shapes."""
    payload = open_array(path)
    if len(payload.shape) != 1:
        raise corrupt(path / "shape.ninja", f"shape {payload.shape}", "one dimension, as a ragged dataset has", RESTORE)
    starts, ends = _open_offsets(path, keys)
    flattened = open_array(path / keys.flattened_shapes)  # not needed, but its size shows whether an append ended
    _require_rows(flattened.path, flattened.shape[0], starts.rows)
    if payload.shape[0] < ends.last:
        raise corrupt(
            path / "shape.ninja", f"{payload.shape[0]} elements", f"{ends.last}, where the last sample ends", RESTORE
        )
    return payload, starts, ends


def _open_flat_shapes(path: Path, rows: int) -> StoredArray:
    shapes = open_array(path)
    require_int64(shapes)
    if len(shapes.shape) != 2 or shapes.shape[1] != 1:
        raise corrupt(path / "shape.ninja", f"shape {shapes.shape}", f"({rows}, 1)", RESTORE)
    _require_rows(path, shapes.shape[0], rows)
    return shapes


def _open_offsets(path: Path, keys: Keys) -> tuple[StoredIndex, StoredIndex]:
    starts, ends = open_index(path / keys.starts), open_index(path / keys.ends)
    _require_rows(ends.array.path, ends.rows, starts.rows)
    if starts.first != 0 or not starts.first <= starts.last <= ends.last or not 0 <= ends.first <= ends.last:
        raise corrupt(
            path,
            f"starts {starts.first} ... {starts.last} and ends {ends.first} ... {ends.last}",
            "offsets that begin with 0 and do not decrease",
            RESTORE,
        )
    return starts, ends


def _compression(path: Path) -> Compression | None:
    level_path, dictionary_path = path / _LEVEL, path / _DICTIONARY
    has_dictionary = os.path.lexists(dictionary_path)
    if not os.path.lexists(level_path):
        if has_dictionary:
            raise corrupt(path, f"{_DICTIONARY} without {_LEVEL}", "both or none", RESTORE)
        return None
    level = read_small(level_path)
    if not re.fullmatch(rb"-?[0-9]{1,9}", level):
        raise corrupt(level_path, f"{level!r:.40}", "a number", RESTORE)
    dictionary = read_small(dictionary_path, _DICTIONARY_LIMIT) if has_dictionary else None
    if dictionary == b"":
        raise corrupt(dictionary_path, "0 bytes", "a dictionary", RESTORE)
    return Compression(int(level), dictionary)


def _check_first_string(path: Path, head: bytes | None, compression: Compression | None) -> None:
    """Strings could be stored over others with another compression, whose files remained and are then wrong."""
    if head is None:
        return
    compressed = head.startswith(ZSTD_MAGIC)
    if compressed and compression is None:
        raise corrupt(path / DATA, "a zstd frame", f"text, as there is no {_LEVEL}", f"restore {_LEVEL}")
    if compression and not compressed:
        raise corrupt(
            path / DATA,
            "text",
            f"a zstd frame, as there is {_LEVEL}",
            f"if the strings were stored over compressed ones, remove {_LEVEL} and {_DICTIONARY}; else {RESTORE}",
        )
    # The two low bits of the frame's descriptor give the length of the dictionary's number in it.
    if compression and compression.dictionary is None and len(head) > len(ZSTD_MAGIC) and head[len(ZSTD_MAGIC)] & 3:
        raise corrupt(
            path / DATA, "a zstd frame with a dictionary", f"one without, as there is no {_DICTIONARY}", RESTORE
        )


def _shapes_are_flat(path: Path) -> bool:
    content = read_small(path / _FLAT)
    if content not in (bytes(4), b"\1\0\0\0"):
        raise corrupt(path / _FLAT, f"{content!r:.40}", "0 or 1 in 4 bytes", RESTORE)
    return content != bytes(4)


def _require_rows(path: Path, found: int, expected: int) -> None:
    if found != expected:
        raise corrupt(
            path,
            f"{found} rows",
            f"the {expected} of starts",
            f"an append was interrupted or failed, and the first {min(found, expected)} samples are intact: "
            f"{STORE_AGAIN} as far as these, or {RESTORE}",
        )


def _name(path: Path, array: StoredArray) -> str:
    return os.path.relpath(array.path / DATA, path)


def _index_file(path: Path, index: StoredIndex) -> LayoutFile:
    return LayoutFile(_name(path, index.array), index.array.needed)


def _leftovers(path: Path, *arrays: StoredArray) -> list[str]:
    return [_name(path, array) for array in arrays if array.has_leftovers]
