"""Text files with a sample a line, or nearly so: compressed or not, with the place of each sample."""

import gzip
import io
import zlib
from bisect import bisect_right
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Any, BinaryIO, Final, TypeGuard, cast

import numpy as np

from mmap_ninja.columns.specs import Scalar, Spec
from mmap_ninja.conversion.libraries import imported
from mmap_ninja.conversion.source import Skipped

MOST_BYTES: Final = 256 << 20  # of a sample; more is a file without ends of lines, or a quote that is not closed
_COMPRESSED_BYTES: Final = 16 << 10  # to decompress at once: zstd may make thousands of times as much of them
_BOM: Final = b"\xef\xbb\xbf"
_RUNS: Final = 1 << 16  # many more than the samples of a batch


class Places:
    """The lines that the last samples begin on, kept where a line does not follow that of the sample before."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._count = self._line = 0
        self._runs: deque[tuple[int, int]] = deque([(0, 1)], maxlen=_RUNS)  # number of a sample, line

    def add(self, line: int) -> None:
        """Note the line of the next sample."""
        if line != self._line + 1:
            self._runs.append((self._count, line))
        self._line = line
        self._count += 1

    def __call__(self, index: int) -> str:
        """The place of a sample."""
        runs = list(self._runs)
        number, line = runs[bisect_right(runs, index, key=lambda run: run[0]) - 1]
        return f"{self._path}, line {line + index - number}"


class Refusing:
    """What to do about lines that cannot be read: raise, or leave them out.

    Args:
        path: The file.
        skipped: Where they are noted; None: they raise.
    """

    def __init__(self, path: Path, skipped: Skipped | None) -> None:
        self._path, self._skipped = path, skipped

    def __call__(self, line: int, error: Exception | str) -> None:
        """Raise, or leave out, what begins on a line."""
        where = f"{self._path}, line {line}"
        if self._skipped is None:
            raise ValueError(f"{where}: {error}") from None
        self._skipped.note(where, ValueError(error))


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """The text of a file, which may be compressed.

    Raises:
        ImportError: if it is compressed by zstd, and zstandard is missing.
        ValueError: if it is damaged or cut off.
    """
    with path.open("rb") as file:
        name = path.name.lower()
        try:
            if name.endswith(".gz"):
                yield cast("IO[bytes]", gzip.GzipFile(fileobj=file))
            elif name.endswith(".zst"):
                yield io.BufferedReader(_Zstd(file, path), 1 << 20)
            else:
                yield file
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise ValueError(f"{path}: its compressed data is damaged or cut off ({error}); copy it again") from None


class _Zstd(io.RawIOBase):
    """The text of a file compressed by zstd, in one or several frames; its own reader takes a cut one for whole."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        zstandard = imported("zstandard", "zstd", path)
        self._file, self._error = file, zstandard.ZstdError
        self._frame = zstandard.ZstdDecompressor().decompressobj
        self._reading: Any = None
        self._compressed, self._text = b"", memoryview(b"")

    def readable(self) -> bool:
        """What io asks before it reads."""
        return True

    def readinto(self, buffer: Any, /) -> int:
        """Fill a buffer, as far as there is text; 0 at the end."""
        while not self._text:
            self._compressed = self._compressed or self._file.read(_COMPRESSED_BYTES)
            if not self._compressed:
                if self._reading is not None:
                    raise EOFError("the last frame has no end")
                return 0
            self._reading = self._reading or self._frame()
            try:
                self._text = memoryview(self._reading.decompress(self._compressed))
            except self._error as error:
                raise EOFError(error) from None
            self._compressed = self._reading.unused_data
            if self._reading.eof:
                self._reading = None
        count = min(len(buffer), len(self._text))
        buffer[:count] = self._text[:count]
        self._text = self._text[count:]
        return count


def first_character(path: Path) -> bytes:
    """The first byte of a text that is not blank; none if there is none near its start."""
    with opened(path) as file:
        return file.read(1 << 16).removeprefix(_BOM).lstrip()[:1]


def lines(path: Path) -> Iterator[tuple[int, str, str | None]]:
    """The lines of a file: their numbers, their texts with their ends, and what is wrong with their encoding, if so.

    Raises:
        ValueError: if a line is too long to be one.
    """
    start = 0
    with opened(path) as file:
        for number, line in enumerate(iter(partial(file.readline, MOST_BYTES), b""), 1):
            if len(line) == MOST_BYTES:
                raise ValueError(f"{path}, line {number}: expected less than {MOST_BYTES:,} bytes in a line")
            wrong = None
            try:
                text = line.decode()
            except UnicodeDecodeError as error:
                text, wrong = line.decode(errors="replace"), not_utf8(line, start, error)
            start += len(line)
            yield number, text.removeprefix("\ufeff") if number == 1 else text, wrong


def not_utf8(data: bytes, start: int, error: UnicodeDecodeError) -> str:
    """What is wrong with bytes that were to be text; `start`: their position in the file."""
    return (
        f"byte {start + error.start} is 0x{data[error.start]:02x}: expected text in UTF-8; convert the file to UTF-8, "
        "or leave out what is none with on_error='skip'"
    )


def is_date(spec: Spec) -> TypeGuard[Scalar]:
    """Whether a column holds dates."""
    return isinstance(spec, Scalar) and np.dtype(spec.dtype).kind == "M"


def dates(texts: Sequence[str], dtype: "np.dtype[Any]") -> list[Any]:
    """The dates in texts, as ISO 8601 has them; of "", NaT.

    Raises:
        ValueError: if one is none, has a zone, which dates of NumPy have not, or a year that the dtype does not reach.
    """
    if any(text.endswith("Z") or "+" in text for text in texts):
        raise ValueError
    found = np.array(texts, dtype)
    if not np.array_equal(found.astype("M8[Y]"), np.array(texts, "M8[Y]"), equal_nan=True):
        raise ValueError  # NumPy takes another year, which the dtype reaches
    return list(found)
