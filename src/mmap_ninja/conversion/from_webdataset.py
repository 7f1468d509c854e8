"""Tars of WebDataset: the files of a sample have one name up to the first dot, and stand one after the other."""

import gzip
import json
import re
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import IO, Any, Final, Self, cast

import numpy as np
from numpy.lib import format as npy

from mmap_ninja.columns import specs
from mmap_ninja.conversion import from_arrays
from mmap_ninja.conversion.from_texts import decoded
from mmap_ninja.conversion.libraries import imported
from mmap_ninja.conversion.shards import Shards, made_of, shards_at
from mmap_ninja.conversion.source import Skipped, Source, Wanted

FORM: Final = "WebDataset"
SUFFIXES: Final = (".tar", ".tar.gz", ".tgz", ".tar.zst")
KEY: Final = "key"  # the column of what WebDataset calls `__key__`

_NAME: Final = re.compile(r"^((?:.*/)?[^./]+)\.([^/]+)$", re.DOTALL)  # others, and hidden files, are no samples
_READ_BYTES: Final = 1 << 20
_Files = tuple[str, dict[str, bytes]]  # of a sample: its key, and its files by their extensions
# What a file holds, by the last part of its extension, as in the decoder of webdataset. All others are bytes, also
# pickles. The first one of each stands behind the name of a column that tells no type, as in `label.cls`.
EXTENSIONS: Final[dict[str, tuple[str, ...]]] = {
    "text": ("txt", "text", "transcript"),
    "integer": ("cls", "cls2", "class", "count", "index", "inx", "id"),
    "json": ("json", "jsn"),
    "array": ("npy",),
}
BYTES: Final = "bin"
_SPECS: Final[dict[str, specs.Spec]] = {
    "text": specs.Text(),
    "integer": specs.Scalar("int64"),
    "json": specs.Json(),
    "array": specs.Ragged("float64"),
}
_NUMBERS: Final[dict[str, Callable[[bytes], Any]]] = {"i": int, "u": int, "b": json.loads}
_TYPES: Final = {extension: _SPECS[content] for content, of in EXTENSIONS.items() for extension in of}
_TYPES_ONLY: Final = (BYTES, *(of[0] for of in EXTENSIONS.values()))


def samples(path: Path, wanted: Wanted) -> Source:
    """A tar, or a folder of shards: records of the files of a sample, by their extensions, and of the key."""
    paths = shards_at(path, lambda files: files.ending(*SUFFIXES))

    def grouped(file: Path, skipped: Skipped | None) -> Iterator[tuple[str, _Files]]:
        return _Tar(file, skipped).samples()

    first = Shards(paths, grouped, wanted.skipped).first()
    extensions = {extension for _, files in first for extension in files}

    @cache
    def column(extension: str) -> str:
        """The column of an extension: without an end that tells only the type, if that name is free."""
        name, _, end = extension.rpartition(".")
        others = extensions - {extension}
        is_free = not any(f"{other}.".startswith(f"{name}.") for other in others)
        is_name = name and end in _TYPES_ONLY and extension not in wanted.columns
        return name if is_name and (is_free or name in wanted.columns) else extension

    def read(file: Path, skipped: Skipped | None) -> Iterator[tuple[str, dict[str, Any]]]:
        def record(_: str, sample: _Files) -> dict[str, Any]:
            key, files = sample
            made: dict[str, Any] = {KEY: key}
            for extension, data in files.items():
                where, name = f"{file}: file {f'{key}.{extension}'!r}", column(extension)
                if name == KEY:
                    raise ValueError(f"{where}: column {KEY!r} is that of the keys; rename the file")
                made[name] = _value(data, wanted.columns.get(name) or _type(extension), where)
            return made

        return made_of(grouped(file, skipped), record, skipped)

    found = Shards(paths, read, wanted.skipped)
    # Dicts would become nested columns.
    columns: dict[str, specs.Spec] = {
        column(extension): specs.Json(nullable=any(extension not in files for _, files in first))
        for extension in sorted(extensions)
        if isinstance(_type(extension), specs.Json)
        and not _are_numbers(files[extension] for _, files in first if extension in files)
    }
    return Source(
        form=f"{FORM}, {len(paths)} tars" if len(paths) > 1 else FORM,
        kind="records",
        samples=found,
        columns={KEY: specs.Text(), **columns, **wanted.columns},
        place=found.place,
    )


def _type(extension: str) -> specs.Spec | None:
    """What a file holds; None: bytes."""
    return _TYPES.get(extension.rpartition(".")[2])


def _are_numbers(files: Iterable[bytes]) -> bool:
    """Whether all of some files of JSON hold numbers, or all true or false."""
    try:
        types = {type(json.loads(data)) for data in files}
    except (ValueError, RecursionError):
        return False
    return types <= {int, float} or types == {bool}


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

    def __init__(self, path: Path, skipped: Skipped | None) -> None:
        self._path, self._skipped = path, skipped
        self._keys: dict[str, int] = {}  # with the place of the first file of each

    def samples(self) -> Iterator[tuple[str, _Files]]:
        """The files of each sample, and where they begin."""
        try:
            groups = (list(files) for _, files in groupby(self._files(), attrgetter("key")))
            placed = ((f"{self._path}, byte {files[0].start}", files) for files in groups)
            yield from made_of(placed, self._sample, self._skipped)
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
                        *names, end = name[2].split(".")
                        extension = ".".join([*names, end.lower()])
                        yield _File(name[1], extension, member.name, start, data)
                    while rest := file.read(_READ_BYTES):
                        if rest.count(0) < len(rest):
                            raise tarfile.ReadError("more data follows its end mark, as in two tars in one file")
            except damages as error:
                raise _DamagedError(
                    f"{self._path}: is no whole tar: {error}, after byte {start}; copy or write it again"
                ) from None

    def _sample(self, _: str, files: list["_File"]) -> _Files:
        """The sample that files of one key are."""
        key = files[0].key
        before = self._keys.setdefault(key, files[0].start)
        if before != files[0].start:
            raise self._twice(f"key {key!r}", before, files[0].start)
        starts: dict[str, int] = {}
        for file in files:
            if file.extension in starts:
                raise self._twice(f"file {file.name!r}", starts[file.extension], file.start)
            starts[file.extension] = file.start
        return key, {file.extension: file.data for file in files}

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
        case specs.Json():
            expected = "JSON"
            of: Callable[[bytes], Any] = json.loads
        case specs.Scalar(dtype) if not data.startswith(npy.MAGIC_PREFIX):
            expected = f"a number, {np.dtype(dtype)}"
            of = _NUMBERS.get(np.dtype(dtype).kind, float)
        case _:
            return from_arrays.decoded(data, where)
    try:
        return of(data)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{where}: expected {expected}, found {data!r:.80} ({error})") from None
