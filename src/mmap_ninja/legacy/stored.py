"""The arrays that mmap_ninja 0.x stored: each is a directory with its bytes, described by small files."""

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

# Every value of np.dtype(x).name from which the dtype can be restored. Checked before NumPy gets it, which accepts much
# else as a dtype ("i4,f8", "object"), and warns about some of it.
_DTYPE_NAME: Final = re.compile(
    r"bool|u?int(8|16|32|64)|float(16|32|64|96|128)|complex(64|128|192|256)|(datetime|timedelta)64(\[\d{0,9}[A-Za-z]{1,2}\])?"
)
_MOST_DIMENSIONS: Final = 32  # of an ndarray in the oldest NumPy that is supported
_SMALL_FILE: Final = 8 * _MOST_DIMENSIONS
ZSTD_MAGIC: Final = b"\x28\xb5\x2f\xfd"  # not UTF-8, so no text starts with these bytes
INDEX_SIZE: Final = 8

RESTORE: Final = "restore the directory from a copy"
STORE_AGAIN: Final = "read it where it can be read, with mmap_ninja 0.9, and store it again"


@dataclass(frozen=True, slots=True)
class StoredArray:
    """An array as described by its small files."""

    path: Path
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    order: Order
    size: int  # of data.ninja, which may have leftovers

    @property
    def needed(self) -> int:
        """Bytes that the shape needs."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def has_leftovers(self) -> bool:
        """Whether the file has more bytes than the shape needs."""
        return has_leftovers_of(self.size, self.needed)


@dataclass(frozen=True, slots=True)
class StoredIndex:
    """`starts` or `ends`, with its first and last number; 0 if it is empty."""

    array: StoredArray
    rows: int
    first: int
    last: int


def open_array(path: Path) -> StoredArray:
    """Read the small files of an array, and check them against the size of its bytes."""
    dtype = _dtype(path / DTYPE)
    order = read_small(path / "order.ninja")
    if order not in (b"C", b"F"):
        raise corrupt(path / "order.ninja", f"{order!r:.40}", "C or F", RESTORE)
    size, head = open_data(path / DATA)
    shape = _shape(path, dtype.itemsize, size)
    array = StoredArray(path, dtype, shape, "C" if order == b"C" else "F", size)
    # With rows of one byte, this could also be the leftover of an append, and is read as in 0.9.
    rows_are_longer = array.needed > shape[0]
    if rows_are_longer and size == array.needed + 1 and head[:1] == b"\0":
        raise corrupt(
            path / DATA,
            f"{size} bytes that begin with a zero",
            f"{array.needed}",
            "the array was created empty, for which NumPy wrote one byte, and then extended: remove the first byte to "
            "read it",
        )
    return array


def _shape(path: Path, itemsize: int, size: int) -> tuple[int, ...]:
    """The dimensions, as u64 or u32: the wrong one would need more bytes than a file can have."""
    shape_path = path / "shape.ninja"
    content = read_small(shape_path)
    if not content or len(content) % 4:
        raise corrupt(
            shape_path,
            f"{len(content)} bytes",
            "8 for each dimension",
            "if a 0.x process is writing to it, try again when it has ended; if one was interrupted, write the "
            f"dimensions again, as little-endian u64; else {RESTORE}",
        )
    wide, narrow = (tuple(map(int, np.frombuffer(content[: len(content) // n * n], f"<u{n}"))) for n in (8, 4))
    is_wide = len(content) % 8 == 0
    if is_wide and _fits(wide, itemsize, size):
        return wide
    # Half of a small u64 is zero: u32 dimensions of zero would make any truncated file look like an empty array.
    empty = not is_wide and size <= 1
    if _fits(narrow, itemsize, size) and (empty or all(narrow)):
        return narrow
    shape = wide if is_wide else narrow
    raise corrupt(
        path / DATA,
        f"{size} bytes",
        f"{math.prod(shape) * itemsize} for shape {shape}",
        f"the file was truncated, or shape.ninja is damaged: {RESTORE}",
    )


def _fits(shape: tuple[int, ...], itemsize: int, size: int) -> bool:
    # The limits of an ndarray, which hold even if a dimension is zero.
    possible = math.prod(filter(None, shape)) * itemsize < 1 << 63 and len(shape) <= _MOST_DIMENSIONS
    return possible and math.prod(shape) * itemsize <= size


def _dtype(path: Path) -> np.dtype[Any]:
    content = read_small(path)
    name = content.decode("utf-8", "replace")
    if not _DTYPE_NAME.fullmatch(name):
        raise corrupt(
            path,
            f"{name!r:.60}",
            "a dtype of numbers, booleans or times",
            "0.x stored dtypes by name, from which texts, structures, objects and types of other packages cannot be "
            f"restored: read {DATA} by np.memmap with the right dtype; values of dtype object are lost",
        )
    try:
        return np.dtype(name)
    except (TypeError, ValueError):
        expected = "a dtype that NumPy has on this machine"
        raise corrupt(path, f"{name!r:.60}", expected, f"{STORE_AGAIN} in another dtype") from None


def open_index(path: Path) -> StoredIndex:
    """Open an array of `starts` or `ends`."""
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
    """Raise CorruptDatasetError if the dtype of an index or of shapes is not int64."""
    if array.dtype != np.dtype(np.int64):
        raise corrupt(
            array.path / DTYPE,
            f"{array.dtype}",
            "int64",
            f"0.x on Windows with NumPy before 2.0 stored int32 shapes, which cannot be read: {STORE_AGAIN}",
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
    """Whether a file of `size` bytes has more than are needed."""
    return size > max(needed, 1)  # NumPy writes one byte for an empty array


def missing(path: Path) -> CorruptDatasetError:
    """The error for a missing file."""
    return CorruptDatasetError(
        f"{path}: is missing where mmap_ninja 0.x wrote a file; if it has another name, pass that as a key; "
        f"if storing was interrupted, or it was removed, {RESTORE}"
    )


def corrupt(path: Path, found: str, expected: str, what_to_do: str) -> CorruptDatasetError:
    """The error for a file with other content than expected."""
    return CorruptDatasetError(f"{path}: {found} where {expected} was expected; {what_to_do}")
