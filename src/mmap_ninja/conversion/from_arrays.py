"""Files of NumPy: `.npy` is an array, `.npz` are records of arrays of one length."""

import io
import math
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError
from typing import IO, Any, Final

import numpy as np
import numpy.typing as npt
from numpy.lib import format as npy

from mmap_ninja.columns import specs
from mmap_ninja.conversion.source import Source, Wanted

_READ_BYTES: Final = 4 << 20  # of a member of an archive, at once
_DAMAGES: Final = (ValueError, TypeError, EOFError, OverflowError, SyntaxError, TokenError)  # as NumPy tells them


def array(path: Path, _: Wanted) -> Source:
    """A `.npy` file, which is mapped; one of texts or bytes becomes strings or bytes."""
    try:
        found: npt.NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except _DAMAGES as error:
        raise _refused(path, error) from None
    if not found.ndim:
        raise ValueError(f"{path}: expected an array of shape [n, ...], found a single value of {found.dtype}")
    if found.dtype.kind not in "SU" or found.ndim > 1:
        return Source(form="array of NumPy", kind="array", samples=found, feed="ndarray", total=len(found))
    return Source(
        form="array of NumPy",
        kind="strings" if found.dtype.kind == "U" else "bytes",
        samples=(item.item() for item in found),
        total=len(found),
    )


def archive(path: Path, wanted: Wanted) -> Source:
    """A `.npz` file, which is read a few samples at a time, even if it is compressed."""
    with _naming(path), zipfile.ZipFile(path) as file:
        members = [_Member.of(file, name, path) for name in _names(file, path)]
    lengths = {member.name: member.shape[0] for member in members}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"{path}: expected arrays of one length, found {lengths!r:.200}; convert each by itself")
    (total,) = set(lengths.values())
    return Source(
        form=f"archive of {len(members)} arrays of NumPy",
        kind="records",
        samples=_records(path, members),
        columns=wanted.over({member.name: member.spec for member in members}, path),
        total=total,
    )


def _names(file: zipfile.ZipFile, path: Path) -> list[str]:
    """The names of the arrays in an archive."""
    names = file.namelist()
    for name in names:
        if not name.endswith(".npy"):
            raise ValueError(f"{path}: expected arrays (.npy), found {name!r:.80}; leave it out of the archive")
        if names.count(name) > 1:
            raise ValueError(f"{path}: {name!r:.80} is there twice, of which one would be lost; write it again")
    if not names:
        raise ValueError(f"{path}: expected arrays, found an empty archive; write it again")
    return names


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Name the archive in what zipfile, and those that unpack its members, raise."""
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, OSError) as error:
        if isinstance(error, OSError) and error.filename is not None:
            raise
        raise ValueError(f"{path}: is no whole archive ({error or 'it ends early'}); copy or write it again") from None


def _records(path: Path, members: "list[_Member]") -> Iterator[dict[str, Any]]:
    rows = max(1, _READ_BYTES // max(1, *(member.row_bytes for member in members)))
    with _naming(path), zipfile.ZipFile(path) as file, ExitStack() as stack:
        opened = [stack.enter_context(file.open(f"{member.name}.npy")) for member in members]
        parts = [member.parts(of, rows, path) for member, of in zip(members, opened, strict=True)]
        for arrays in zip(*parts, strict=True):
            for values in zip(*arrays, strict=True):
                yield {member.name: value for member, value in zip(members, values, strict=True)}


@dataclass(frozen=True, slots=True)
class _Member:
    """An array in an archive."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    by_columns: bool

    @classmethod
    def of(cls, archive: zipfile.ZipFile, name: str, path: Path) -> "_Member":
        with archive.open(name) as file:
            shape, by_columns, dtype = _header(file, f"{path}: {name}")
        if not shape:
            raise ValueError(f"{path}: {name}: expected an array of shape [n, ...], found a single value of {dtype}")
        return cls(name.removesuffix(".npy"), shape, dtype, by_columns and len(shape) > 1)

    @property
    def row_bytes(self) -> int:
        return self.dtype.itemsize * int(np.prod(self.shape[1:], dtype=np.int64))

    @property
    def spec(self) -> specs.Spec:
        """The declaration of a column that holds it."""
        if self.dtype.kind in "SU" and len(self.shape) == 1:
            return specs.Text() if self.dtype.kind == "U" else specs.Bytes()
        if len(self.shape) == 1:
            return specs.Scalar(self.dtype)
        return specs.Array(self.shape[1:], self.dtype)

    def parts(self, file: IO[bytes], rows: int, path: Path) -> Iterator[Any]:
        """The samples, some at a time; an array stored by columns must be read as a whole."""
        _header(file, f"{path}: {self.name}")
        whole = self._read(file, self.shape[0], path) if self.by_columns else None
        for start in range(0, self.shape[0], rows):
            count = min(rows, self.shape[0] - start)
            part = self._read(file, count, path) if whole is None else whole[start : start + count]
            yield part.tolist() if self.dtype.kind in "SU" and part.ndim == 1 else part

    def _read(self, file: IO[bytes], rows: int, path: Path) -> npt.NDArray[Any]:
        data = file.read(rows * self.row_bytes)
        if len(data) < rows * self.row_bytes:
            raise ValueError(f"{path}: {self.name}: ends before its {self.shape[0]} samples; copy or write it again")
        flat: npt.NDArray[Any] = np.frombuffer(data, self.dtype)
        return flat.reshape(self.shape, order="F") if self.by_columns else flat.reshape(rows, *self.shape[1:])


def _header(file: IO[bytes], where: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether it is stored by columns, and dtype of an array."""
    try:
        read = npy.read_array_header_1_0 if npy.read_magic(file) == (1, 0) else npy.read_array_header_2_0
        shape, by_columns, dtype = read(file)
    except _DAMAGES as error:
        raise _refused(where, error) from None
    if dtype.hasobject:
        raise _refused(where, "it holds objects of Python")
    if min(shape, default=0) < 0:
        raise _refused(where, f"its shape is {shape}")
    return shape, by_columns, dtype


def decoded(data: bytes, where: str) -> npt.NDArray[Any]:
    """An array from the bytes of a `.npy` file."""
    file = io.BytesIO(data)
    shape, by_columns, dtype = _header(file, where)
    count, left = math.prod(shape), len(data) - file.tell()
    if left != count * dtype.itemsize:
        raise ValueError(f"{where}: expected {count * dtype.itemsize} bytes of an array of {dtype}, found {left}")
    flat: npt.NDArray[Any] = np.frombuffer(data, dtype, count, file.tell()) if count else np.empty(0, dtype)
    return flat.reshape(shape, order="F" if by_columns else "C")


def _refused(where: object, reason: object) -> ValueError:
    return ValueError(
        f"{where}: cannot be read as an array of numbers or texts ({reason}); objects of Python are pickles, which run "
        "code of whoever wrote them: load the file yourself if you trust it, and store its samples"
    )
