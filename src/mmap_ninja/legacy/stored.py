"""The arrays that mmap_ninja 0.x stored, each a directory of small files beside its bytes, and how they are opened."""

import math
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from mmap_ninja.engine import files
from mmap_ninja.errors import CorruptDatasetError
from mmap_ninja.legacy.layout import Order

DATA: Final = "data.ninja"
DTYPE: Final = "dtype.ninja"

# Every name that np.dtype(x).name gives for a dtype that the name alone restores. NumPy is not asked first: it takes
# much else for a dtype ("i4,f8", "object"), and warns about some of it.
_DTYPE_NAME: Final = re.compile(
    r"bool|u?int(8|16|32|64)|float(16|32|64|96|128)|complex(64|128|192|256)|(datetime|timedelta)64(\[\d{0,9}[A-Za-z]{1,2}\])?"
)
_MOST_DIMENSIONS: Final = 32  # of an ndarray in the oldest NumPy that is supported
_SMALL_FILE: Final = 8 * _MOST_DIMENSIONS
ZSTD_MAGIC: Final = b"\x28\xb5\x2f\xfd"  # no text starts with these bytes: they are not UTF-8
INDEX_SIZE: Final = 8

RESTORE: Final = "restore the directory from a copy"
STORE_AGAIN: Final = "read it where it can be read, with mmap_ninja 0.9, and store it again"


@dataclass(frozen=True, slots=True)
class StoredArray:
    """One array as its own small files describe it."""

    path: Path
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    order: Order
    size: int  # of data.ninja, which may have leftovers

    @property
    def needed(self) -> int:
        """Bytes that the shape says."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def has_leftovers(self) -> bool:
        """Whether the file holds more than these."""
        return has_leftovers_of(self.size, self.needed)


@dataclass(frozen=True, slots=True)
class StoredIndex:
    """`starts` or `ends`, with what its first and its last row say; 0 where it has none."""

    array: StoredArray
    rows: int
    first: int
    last: int


def open_array(path: Path) -> StoredArray:
    """What the small files of an array say, held against the size of its bytes."""
    dtype = _dtype(path / DTYPE)
    order = read_small(path / "order.ninja")
    if order not in (b"C", b"F"):
        raise corrupt(path / "order.ninja", f"{order!r:.40}", "C or F", RESTORE)
    size, head = open_data(path / DATA)
    shape = _shape(path, dtype.itemsize, size)
    array = StoredArray(path, dtype, shape, "C" if order == b"C" else "F", size)
    # Where a row has one byte, this could as well be left over from an append of one, and is read as 0.9 did.
    rows_are_longer = array.needed > shape[0]
    if rows_are_longer and size == array.needed + 1 and head[:1] == b"\0":
        raise corrupt(
            path / DATA,
            f"{size} bytes that begin with a zero",
            f"{array.needed}",
            "the array was made empty, for which NumPy wrote one byte, and extended behind that: without its first "
            "byte it can be read",
        )
    return array


def _shape(path: Path, itemsize: int, size: int) -> tuple[int, ...]:
    """The dimensions, u64 or u32: the sizes tell which, as the wrong reading needs more bytes than a file can have."""
    shape_path = path / "shape.ninja"
    content = read_small(shape_path)
    if not content or len(content) % 4:
        raise corrupt(
            shape_path,
            f"{len(content)} bytes",
            "8 for each dimension",
            "if a 0.x process is writing to it, try again when it has ended; if one was cut short, the dimensions can "
            f"be written again, as little-endian u64; else {RESTORE}",
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
    raise corrupt(
        path / DATA,
        f"{size} bytes",
        f"{math.prod(shape) * itemsize} for shape {shape}",
        f"the file was cut, or shape.ninja is damaged: {RESTORE}",
    )


def _fits(shape: tuple[int, ...], itemsize: int, size: int) -> bool:
    # What an ndarray can have, even if another dimension is zero.
    possible = math.prod(filter(None, shape)) * itemsize < 1 << 63 and len(shape) <= _MOST_DIMENSIONS
    return possible and math.prod(shape) * itemsize <= size


def _dtype(path: Path) -> np.dtype[Any]:
    content = read_small(path)
    name = content.decode("utf-8", "replace")
    if not _DTYPE_NAME.fullmatch(name):
        raise corrupt(
            path,
            f"{name!r:.60}",
            "a number's dtype, boolean or time",
            "0.x stored dtypes by name, which does not restore text, structures, objects or other packages' types: "
            f"np.memmap reads {DATA} with the one that you know, unless that is object, whose values are lost",
        )
    try:
        return np.dtype(name)
    except (TypeError, ValueError):
        expected = "a dtype that NumPy has on this machine"
        raise corrupt(path, f"{name!r:.60}", expected, f"{STORE_AGAIN} in another dtype") from None


def open_index(path: Path) -> StoredIndex:
    """An array of `starts` or `ends`."""
    array = open_array(path)
    require_int64(array)
    if len(array.shape) != 1:
        raise corrupt(path / "shape.ninja", f"shape {array.shape}", "one dimension", RESTORE)
    rows = array.shape[0]
    if not rows:
        return StoredIndex(array, 0, 0, 0)
    with files.open_read(path / DATA) as file:
        first, last = (os.pread(file.fileno(), INDEX_SIZE, row * INDEX_SIZE) for row in (0, rows - 1))
    return StoredIndex(
        array, rows, int.from_bytes(first, "little", signed=True), int.from_bytes(last, "little", signed=True)
    )


def require_int64(array: StoredArray) -> None:
    """Raise CorruptDatasetError if an array is not of the only dtype that an index, or a shape, has."""
    if array.dtype != np.dtype(np.int64):
        raise corrupt(
            array.path / DTYPE,
            f"{array.dtype}",
            "int64",
            f"0.x on Windows with NumPy before 2.0 stored int32 shapes, which are not read here: {STORE_AGAIN}",
        )


def read_small(path: Path, limit: int = _SMALL_FILE) -> bytes:
    """The content of a small file."""
    try:
        content = files.read(path, limit)
    except (FileNotFoundError, NotADirectoryError):
        raise missing(path) from None
    if len(content) > limit:
        raise corrupt(path, f"more than {limit} bytes", "fewer", RESTORE)
    return content


def open_data(path: Path) -> tuple[int, bytes]:
    """The size of a payload, and its first bytes."""
    try:
        with files.open_read(path) as file:
            fd = file.fileno()
            return os.fstat(fd).st_size, os.pread(fd, len(ZSTD_MAGIC) + 1, 0)
    except (FileNotFoundError, NotADirectoryError):
        raise missing(path) from None


def has_leftovers_of(size: int, needed: int) -> bool:
    """Whether a file of `size` bytes holds more than are needed."""
    return size > max(needed, 1)  # NumPy gives an array of no elements one byte


def missing(path: Path) -> CorruptDatasetError:
    """The error for a file that should be there."""
    return CorruptDatasetError(
        f"{path}: is missing where mmap_ninja 0.x wrote a file; if it was named otherwise, give that as a key; "
        f"if storing was interrupted, or it was removed, {RESTORE}"
    )


def corrupt(path: Path, found: str, expected: str, what_to_do: str) -> CorruptDatasetError:
    """The error for a file that is not what it should be."""
    return CorruptDatasetError(f"{path}: {found} where {expected} was expected; {what_to_do}")
