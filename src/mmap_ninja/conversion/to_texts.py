"""Texts with a sample a line: JSON objects, and fields between commas or tabs; also compressed."""

import gzip
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, Final, cast

from mmap_ninja.columns import nesting
from mmap_ninja.conversion.libraries import imported
from mmap_ninja.conversion.samples import OutColumn, Samples
from mmap_ninja.conversion.target import Target

_AT_ONCE: Final = 1 << 20  # bytes of samples
_ENCODE: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
_HALF: Final = re.compile("[\ud800-\udfff]")
_ENCODE_LINES: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=("\n", ":")).encode


def jsonl(samples: Samples, target: Target) -> None:
    """A JSON object a line."""
    for column in samples.columns:
        if not column.is_plain:
            raise column.refused("JSONL", "leave it out with columns=, or export to Parquet")
    # The samples of a column are encoded at once, and what is the same in all lines only once.
    line = _ENCODE(nesting.nested({column.name: "%s" for column in samples.columns}))
    line = line.replace("%", "%%").replace(':"%%s"', ":%s") + "\n"
    with _text_file(target) as file:
        for first, columns in samples.parts(_AT_ONCE):
            fields = [_json_fields(column, first) for column in columns]
            file.write(_encoded([line % row for row in zip(*fields, strict=True)], samples, first))


def _json_fields(column: OutColumn, first: int) -> list[str]:
    """The samples of a column as JSON, none of which has a newline."""
    values = column.plain()
    try:
        if column.holds in ("text", "scalar"):
            return _ENCODE_LINES(values)[1:-1].split("\n")
        return list(map(_ENCODE, values))
    except ValueError:
        number, value = next((number, value) for number, value in enumerate(values, first) if _has_no_json(value))
        raise ValueError(
            f"{column.where}: sample {number}: JSON has no NaN and no infinity, found {value!r:.80}; replace them, "
            "leave the column out with columns=, or export to Parquet"
        ) from None


def _has_no_json(value: object) -> bool:
    try:
        _ENCODE(value)
    except ValueError:
        return True
    return False


def csv(samples: Samples, target: Target) -> None:
    """Fields between commas, as RFC 4180 has them, with lines that end with a newline."""
    _separated(samples, target, ",", "CSV")


def tsv(samples: Samples, target: Target) -> None:
    """Fields between tabs, with the quotes of CSV."""
    _separated(samples, target, "\t", "TSV")


def _separated(samples: Samples, target: Target, separator: str, form: str) -> None:
    for column in samples.columns:
        if not column.is_plain or column.holds not in ("text", "scalar"):
            raise column.refused(
                form, f"leave it out with columns=, or export to {'JSONL' if column.is_plain else 'Parquet'}"
            )
    if len(samples.columns) == 1 and (null := samples.columns[0].first_null()) is not None:
        raise ValueError(
            f"{samples.columns[0].where}: sample {null} is null, which alone makes an empty line, and readers skip "
            "those; export a second column with it, or to JSONL"
        )
    quoted = _quoter(separator)
    with _text_file(target) as file:
        file.write(f"{separator.join(quoted(column.name) for column in samples.columns)}\n".encode())
        for first, columns in samples.parts(_AT_ONCE):
            fields = [_fields(column, quoted) for column in columns]
            file.write(_encoded([f"{separator.join(row)}\n" for row in zip(*fields, strict=True)], samples, first))


def _fields(column: OutColumn, quoted: Callable[[str], str]) -> list[str]:
    """The samples of a column as fields; a null is an empty one."""
    written: Callable[[Any], str] = quoted
    if column.holds == "scalar" and column.dtype.kind == "b":
        written = {True: "true", False: "false"}.__getitem__  # as most readers have them
    elif column.holds == "scalar" and column.dtype.kind in "iuf":
        written = repr  # the shortest digits that read back equal
    return ["" if value is None else written(value) for value in column.plain()]


def _quoter(separator: str) -> Callable[[str], str]:
    """Quotes a text where a reader would take it for something else; an empty one, since a null has no quotes."""
    special = re.compile(f'["\r\n{separator}]')

    def quoted(text: str) -> str:
        if text and not special.search(text):
            return text
        return '"{}"'.format(text.replace('"', '""'))

    return quoted


def _encoded(lines: list[str], samples: Samples, first: int) -> bytes:
    """Lines as UTF-8, of the samples from a position on."""
    try:
        return "".join(lines).encode()
    except UnicodeEncodeError:  # texts of a dtype `U<n>` may have anything
        number = next(number for number, line in enumerate(lines, first) if _HALF.search(line))
        raise ValueError(
            f"{samples.path}: sample {number}: has half a character (a surrogate), which UTF-8 cannot hold; replace it"
        ) from None


@contextmanager
def _text_file(target: Target) -> Iterator[BinaryIO]:
    """A file to write, which is compressed if its suffix says so."""
    suffix = target.path.suffix.lower()
    zstandard: Any = imported("zstandard", "zstd", target.path) if suffix == ".zst" else None
    with target.file() as file:
        if suffix == ".gz":  # without a name and a time: reproducible
            with gzip.GzipFile("", "wb", compresslevel=6, fileobj=file, mtime=0) as compressed:
                yield cast("BinaryIO", compressed)
        elif suffix == ".zst":
            with zstandard.ZstdCompressor().stream_writer(file, closefd=False) as compressed:
                yield compressed
        else:
            yield file
