"""A WebDataset tar: for each sample a file of each column, with the sample's key as its name.

The column is the extension, and its last part tells a reader how to decode it: `000000.jpg`, `000000.label.cls`.
"""

import io
import json
import tarfile
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from mmap_ninja.columns.casting import is_ml_dtype
from mmap_ninja.conversion.from_webdataset import BYTES, EXTENSIONS
from mmap_ninja.conversion.paths import check_names, column_named, numbered
from mmap_ninja.conversion.samples import OutColumn, Samples
from mmap_ninja.conversion.target import Target
from mmap_ninja.format.meta import Kind

_AT_ONCE: Final = 4 << 20  # bytes of samples

# Extensions that say what is in a file. A column with such a name has it alone, another one has the first behind it.
_EXTENSIONS: Final[dict[str, tuple[str, ...]]] = {
    **EXTENSIONS,
    "bytes": (
        BYTES, "jpg", "jpeg", "png", "gif", "webp", "bmp", "tif", "tiff", "ppm", "pgm", "pbm", "pnm", "mp3", "wav",
        "flac", "ogg", "m4a", "mp4", "avi", "mov", "mkv", "webm", "pdf", "npz", "pth", "msgpack", "cbor",
    ),
}  # fmt: skip


def webdataset(samples: Samples, target: Target) -> None:
    """One tar; samples have their number as a key, or what a column `key` or `__key__` says. A null has no file."""
    keys = column_named(samples, "key", "__key__")
    files = {column.name: _File(column, samples.kind) for column in samples.columns if column is not keys}
    if keys is not None:
        check_names(keys, dotless=True)
    with target.file() as file, tarfile.open(fileobj=file, mode="w|", format=tarfile.GNU_FORMAT) as tar:
        for first, columns in samples.parts(_AT_ONCE):
            values = {column.name: column.taken() for column in columns}
            names = numbered(first, columns, len(samples)) if keys is None else values.pop(keys.name)
            for number, (name, *row) in enumerate(zip(names, *values.values(), strict=True), first):
                if all(value is None for value in row):
                    raise ValueError(
                        f"{samples.path}: sample {number} is null, and would be missing in a tar; leave it out with "
                        "select"
                    )
                for column, value in zip(values, row, strict=True):
                    if value is not None:
                        files[column].add(tar, name, value, number)


class _File:
    """The files of a column."""

    def __init__(self, column: OutColumn, kind: Kind) -> None:
        if "/" in column.name:
            raise ValueError(f"{column.where}: cannot be the extension of a file; rename the column")
        content, self._encoded = _encoding(column)
        known, self._where = _EXTENSIONS[content], column.where
        if column.name in known:
            self._extension = column.name
        elif kind == "records":
            self._extension = f"{column.name}.{known[0]}"
        else:
            self._extension = known[0]

    def add(self, tar: tarfile.TarFile, name: str, value: Any, number: int) -> None:
        """Add the file of a sample."""
        try:
            content = self._encoded(value)
        except ValueError as error:  # of JSON
            raise ValueError(f"{self._where}: sample {number}: {error}; replace it, or leave the column out") from None
        entry = tarfile.TarInfo(f"{name}.{self._extension}")  # without a time and a user: reproducible
        entry.size = len(content)
        tar.addfile(entry, io.BytesIO(content))


def _encoding(column: OutColumn) -> tuple[str, Callable[[Any], bytes]]:
    """What is in the files of a column, and how it is made."""
    match column.holds:
        case "text":
            return "text", str.encode
        case "bytes":
            return "bytes", bytes
        case "json":
            return "json", _as_json
        case "scalar" if column.dtype.kind in "iu":
            return "integer", lambda number: str(number).encode()
        case "scalar" if column.is_plain and column.dtype.kind in "bf":
            return "json", lambda number: _as_json(number.item())
    if is_ml_dtype(column.dtype):
        raise column.refused(".npy", "leave it out with columns=")
    return "array", _as_npy


def _as_json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, allow_nan=False).encode()


def _as_npy(array: Any) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, np.asanyarray(array), allow_pickle=False)
    return file.getvalue()
