"""Pairs of a `.bin` and an `.idx` file, as Megatron-LM stores tokens.

The layout is that of `megatron/core/datasets/indexed_dataset.py` in Megatron-LM. All numbers are little-endian:

    "MMIDIDX" 0 0 | u64 version, 1 | u8 code of the dtype | u64 sequences, n | u64 bounds of documents, d
    i32 length of each sequence, n | i64 its first byte in the `.bin` file, n | i64 first sequence of each document, d

The last bound is n. A multimodal file goes on with the mode of each sequence, i8, n.
"""

import struct
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from mmap_ninja.columns import specs
from mmap_ninja.conversion.files import files_below
from mmap_ninja.conversion.source import Source, Wanted

FORM: Final = "tokens of Megatron-LM"

_MAGIC: Final = b"MMIDIDX\0\0"
_OLD_MAGIC: Final = b"TNTIDX\0\0"
_HEADER: Final = struct.Struct("<9sQBQQ")
_DTYPES: Final = {1: "u1", 2: "i1", 3: "<i2", 4: "<i4", 5: "<i8", 6: "<f8", 7: "<f4", 8: "<u2"}
_CHECKED: Final = 1 << 20  # sequences at once


def tokens(path: Path, wanted: Wanted) -> Source:
    """A pair of files, by the path of either, or the folder of both.

    A sample is a sequence. If each is a document, that is all; otherwise records tell the number of the document.
    """
    sequences = Sequences(_index_at(path))
    sequences.check()
    is_plain = wanted.kind == "ragged" or (wanted.kind is None and sequences.are_documents)
    columns: dict[str, specs.Spec] = {
        "tokens": specs.Ragged(sequences.dtype, ndim=1),
        "document": specs.Scalar("int64"),
    }
    return Source(
        form=FORM,
        kind="ragged" if is_plain else "records",
        samples=sequences if is_plain else Described(sequences),
        feed="indexable",
        columns={} if is_plain else wanted.over(columns, path),
        total=len(sequences),
        place=sequences.place,
    )


class Sequences:
    """The sequences of a pair of files by position; workers map the files themselves.

    Args:
        path: The `.idx` file.

    Raises:
        ValueError: if it is of another format.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._data_path = path.with_suffix(".bin")
        with path.open("rb") as file:
            header = file.read(_HEADER.size)
        if header.startswith(_OLD_MAGIC):
            raise ValueError(
                f"{path}: is an index of the old formats lazy and cached; preprocess the texts with a newer Megatron-LM"
            )
        if len(header) < _HEADER.size or not header.startswith(_MAGIC):
            raise ValueError(f"{path}: expected an index of Megatron-LM, which begins with {_MAGIC!r}")
        _, version, code, self._count, self._bounds = _HEADER.unpack(header)
        if version != 1 or code not in _DTYPES:
            raise ValueError(f"{path}: expected version 1 and a dtype from 1 to 8, found version {version}, {code}")
        self.dtype: np.dtype[Any] = np.dtype(_DTYPES[code])

    def __len__(self) -> int:
        return int(self._count)

    def __getitem__(self, index: int) -> npt.NDArray[Any]:
        start = int(self._starts[index])
        return self._data[start : start + int(self._lengths[index]) * self.dtype.itemsize].view(self.dtype)

    def __getstate__(self) -> dict[str, Any]:
        mapped = {"_lengths", "_starts", "documents", "_data"}
        return {name: value for name, value in self.__dict__.items() if name not in mapped}

    def place(self, index: int) -> str:
        """Where a sample comes from."""
        return f"{self._data_path}, sequence {index}"

    @cached_property
    def _lengths(self) -> npt.NDArray[np.int32]:
        return _mapped(self._path, "<i4", _HEADER.size, self._count)

    @cached_property
    def _starts(self) -> npt.NDArray[np.int64]:
        return _mapped(self._path, "<i8", _HEADER.size + 4 * self._count, self._count)

    @cached_property
    def documents(self) -> npt.NDArray[np.int64]:
        """The first sequence of each document, then the number of sequences."""
        return _mapped(self._path, "<i8", _HEADER.size + 12 * self._count, self._bounds)

    @cached_property
    def _data(self) -> npt.NDArray[np.uint8]:
        return _mapped(self._data_path, "u1", 0, self._data_path.stat().st_size)

    @property
    def are_documents(self) -> bool:
        """Whether each sequence is a document."""
        return self._bounds == self._count + 1 and all((np.diff(part) == 1).all() for part in _parts(self.documents))

    def check(self) -> None:
        """Raise ValueError if the two files contradict each other."""
        expected = _HEADER.size + 12 * self._count + 8 * self._bounds
        size = self._path.stat().st_size
        if size == expected + self._count and self._count:
            raise ValueError(
                f"{self._path}: has a mode for each sequence, as multimodal datasets do; only those of tokens are "
                "converted"
            )
        if size != expected:
            raise ValueError(
                f"{self._path}: expected {expected} bytes for {self._count} sequences and {self._bounds} bounds of "
                f"documents, found {size}; copy or write it again"
            )
        ends, found = 0, self._data_path.stat().st_size
        for first in range(0, self._count, _CHECKED):
            starts = self._starts[first : first + _CHECKED]
            lengths = self._lengths[first : first + _CHECKED]
            if min(starts.min(), lengths.min()) < 0 or starts.max() > found:
                raise ValueError(
                    f"{self._path}: a sequence from {first} on is in no place of {self._data_path.name}; write it again"
                )
            ends = max(ends, int((starts + lengths * np.int64(self.dtype.itemsize)).max()))
        if ends != found:
            raise ValueError(
                f"{self._data_path}: expected the {ends} bytes that {self._path.name} describes, found {found}; the "
                "files are no pair, or one was not written to its end"
            )
        in_order = all((np.diff(part) >= 0).all() for part in _parts(self.documents))
        if not self._bounds or not in_order or self.documents[0] != 0 or self.documents[-1] != self._count:
            raise ValueError(
                f"{self._path}: expected bounds of documents that rise from 0 to {self._count}; write it again"
            )


class Described:
    """The sequences with the numbers of their documents."""

    def __init__(self, sequences: Sequences) -> None:
        self._sequences = sequences

    def __len__(self) -> int:
        return len(self._sequences)

    def __getitem__(self, index: int) -> dict[str, Any]:
        document = int(self._sequences.documents.searchsorted(index, "right")) - 1
        return {"tokens": self._sequences[index], "document": document}


def _index_at(path: Path) -> Path:
    """The `.idx` file of a pair."""
    if path.is_dir():
        found = files_below(path).ending(".idx")
        if len(found) != 1:
            raise ValueError(f"{path}: has {len(found)} indices, {found[:10]!r:.200}; convert one of them")
        path /= found[0]
    for suffix in (".idx", ".bin"):
        if not path.with_suffix(suffix).exists():
            raise FileNotFoundError(
                f"{path.with_suffix(suffix)}: expected it beside {path.name}: tokens of Megatron-LM are a pair of files"
            )
    return path.with_suffix(".idx")


def _mapped(path: Path, dtype: str, offset: int, count: int) -> npt.NDArray[Any]:
    if not count:
        return np.empty(0, dtype)  # nothing can be mapped
    return np.asarray(np.memmap(path, dtype, "r", offset, (count,)))


def _parts(bounds: npt.NDArray[np.int64]) -> Iterator[npt.NDArray[np.int64]]:
    """Bounds some at a time, each part with the first one of the next."""
    return (bounds[first : first + _CHECKED + 1] for first in range(0, len(bounds), _CHECKED))
