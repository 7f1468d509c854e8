"""Tars of WebDataset: the files of a sample have one name up to the first dot, and stand one after the other."""

import gzip
import io
import json
import re
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import IO, Any, Final, Self, cast

import numpy as np
from numpy.lib import format as npy

from mmap_ninja.columns import specs
from mmap_ninja.conversion.from_texts import decoded
from mmap_ninja.conversion.libraries import imported
from mmap_ninja.conversion.shards import Shards, shards_at
from mmap_ninja.conversion.source import Skipped, Source, Wanted

FORM: Final = "WebDataset"
SUFFIXES: Final = (".tar", ".tar.gz", ".tgz", ".tar.zst")
KEY: Final = "key"  # the column of what WebDataset calls `__key__`

_NAME: Final = re.compile(r"^((?:.*/)?[^./]+)\.([^/]+)$", re.DOTALL)  # others, and hidden files, are no samples
_READ_BYTES: Final = 1 << 20
# By the last part of the extension, as in the decoder of webdataset. All others are bytes, also pickles.
_TYPES: Final[dict[str, specs.Spec]] = {
    **dict.fromkeys(("txt", "text", "transcript"), specs.Text()),
    **dict.fromkeys(("cls", "cls2", "class", "count", "index", "inx", "id"), specs.Scalar("int64")),
    **dict.fromkeys(("json", "jsn"), specs.Json()),
    "npy": specs.Ragged("float64"),
}


def samples(path: Path, wanted: Wanted) -> Source:
    """A tar, or a folder of shards: records of the files of a sample, by their extensions, and of the key."""
    paths = shards_at(path, lambda files: files.ending(*SUFFIXES))

    def read(file: Path, skipped: Skipped | None) -> Iterator[tuple[str, dict[str, Any]]]:
        return _Tar(file, wanted, skipped).samples()

    found = Shards(paths, read, wanted.skipped)
    first = found.first()
    # Dicts would become nested columns.
    columns: dict[str, specs.Spec] = {
        name: specs.Json(nullable=any(name not in sample for sample in first))
        for name in sorted({name for sample in first for name in sample})
        if isinstance(_TYPES.get(name.rpartition(".")[2]), specs.Json)
    }
    return Source(
        form=f"{FORM}, {len(paths)} tars" if len(paths) > 1 else FORM,
        kind="records",
        samples=found,
        columns={KEY: specs.Text(), **columns, **wanted.columns},
        place=found.place,
    )


class _Member(tarfile.TarInfo):
    """A member with a whole header: tarfile takes a damaged one, or none, for the end of the archive."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        if len(buf) == tarfile.BLOCKSIZE and not any(buf):
            return super().frombuf(buf, encoding, errors)  # raises what ends the archive
        try:
            return super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(str(error)) from None


class _Tar:
    """A tar that is read from its first member to the last."""

    def __init__(self, path: Path, wanted: Wanted, skipped: Skipped | None) -> None:
        self._path, self._wanted, self._skipped = path, wanted, skipped
        self._keys: dict[str, int] = {}  # with the place of the first file of each

    def samples(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """The samples, and where each begins."""
        try:
            for key, files in groupby(self._files(), attrgetter("key")):
                of_sample = list(files)
                place = f"{self._path}, byte {of_sample[0].start}"
                try:
                    sample = self._sample(key, of_sample)
                except ValueError as error:
                    if self._skipped is None:
                        raise
                    self._skipped.note(place, error)
                else:
                    yield place, sample
        except _DamagedError as error:  # what follows cannot be found, nor the rest of the last sample
            if self._skipped is None:
                raise
            self._skipped.note(str(self._path), error)

    def _files(self) -> Iterator["_File"]:
        start = 0
        file, damages = _opened(self._path)
        with file:
            try:
                with tarfile.open(fileobj=file, mode="r:", tarinfo=_Member) as tar:
                    while (member := tar.next()) is not None:
                        tar.members = []  # type: ignore[attr-defined]  # they would fill the memory
                        start = member.offset
                        name = _NAME.match(member.name.removeprefix("./"))
                        if name is None or not member.isreg():
                            continue
                        data = cast("IO[bytes]", tar.extractfile(member)).read()
                        if len(data) < member.size:
                            raise tarfile.ReadError("unexpected end of data")
                        yield _File(name[1], name[2].lower(), member.name, start, data)
                    while rest := file.read(_READ_BYTES):
                        if rest.count(0) < len(rest):
                            raise tarfile.ReadError("more data follows its end mark, as in two tars in one file")
            except damages as error:
                raise _DamagedError(
                    f"{self._path}: is no whole tar: {error}, after byte {start}; copy or write it again"
                ) from None

    def _sample(self, key: str, files: list["_File"]) -> dict[str, Any]:
        before = self._keys.setdefault(key, files[0].start)
        if before != files[0].start:
            raise self._twice(f"key {key!r}", before, files[0].start)
        starts: dict[str, int] = {}
        sample: dict[str, Any] = {KEY: key}
        for file in files:
            if file.extension in starts:
                raise self._twice(f"file {file.name!r}", starts[file.extension], file.start)
            if file.extension == KEY:
                raise ValueError(
                    f"{self._path}: file {file.name!r}: column {KEY!r} is that of the keys; rename the file"
                )
            starts[file.extension] = file.start
            spec = self._wanted.columns.get(file.extension) or _TYPES.get(file.extension.rpartition(".")[2])
            sample[file.extension] = _value(file.data, spec, f"{self._path}: file {file.name!r}")
        return sample

    def _twice(self, what: str, first: int, second: int) -> ValueError:
        return ValueError(
            f"{self._path}: {what}: is at byte {first} and again at byte {second}; the files of a sample must have one "
            "key of their own, and stand one after the other: write the tar again, sorted by names"
        )


class _DamagedError(ValueError):
    """A tar that cannot be read any further."""


@dataclass(frozen=True, slots=True)
class _File:
    """A file in a tar, with its place."""

    key: str
    extension: str
    name: str
    start: int
    data: bytes


def _opened(path: Path) -> tuple[Any, tuple[type[Exception], ...]]:
    """A tar, unpacked, and the exceptions that tell that it is damaged."""
    damages: tuple[type[Exception], ...] = (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile)
    with path.open("rb") as file:
        magic = file.read(4)
    if magic == b"\x28\xb5\x2f\xfd":
        zstandard = imported("zstandard", "zstd", path)
        reader = zstandard.ZstdDecompressor().stream_reader(path.open("rb"), read_across_frames=True)
        return reader, (*damages, zstandard.ZstdError)
    return gzip.open(path) if magic.startswith(b"\x1f\x8b") else path.open("rb"), damages


def _value(data: bytes, spec: specs.Spec | None, where: str) -> Any:
    """What a column stores of a file."""
    match spec:
        case specs.Text():
            return decoded(data, where)
        case None | specs.Bytes():
            return data
    expected = "an array of NumPy"
    try:
        match spec:
            case specs.Json():
                expected = "JSON"
                return json.loads(data)
            case specs.Scalar(dtype):
                expected = f"a number, {np.dtype(dtype)}"
                return int(data) if np.dtype(dtype).kind in "biu" else float(data)
            case _:
                return npy.read_array(io.BytesIO(data), allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ValueError(f"{where}: expected {expected}, found {data!r:.80} ({error})") from None
