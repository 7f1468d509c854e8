"""JSON: an object a line (JSON Lines), or an array of objects; compressed or not."""

import codecs
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from mmap_ninja.columns import specs
from mmap_ninja.columns.specs import Scalar
from mmap_ninja.conversion import text_files
from mmap_ninja.conversion.source import Source, Wanted
from mmap_ninja.conversion.text_files import MOST_BYTES, Places, Refusing, is_date

_FILLED: Final = re.compile(r"[^ \t\n\r]")
_CHUNK: Final = 1 << 20  # characters of an array to read at once, at least
_NEAR: Final = 12  # characters: the longest literal and escape, at which a text may be cut
_OPEN: Final = "Unterminated string"
_CUT: Final = "; the file ends here: it may be cut off"


def objects(path: Path, wanted: Wanted) -> Source:
    """A file of JSON; its first character tells whether it is an array."""
    places, refuse = Places(path), Refusing(path, wanted.skipped)
    is_array = text_files.first_character(path) == b"["
    items = _array(path) if is_array else _lines(path, refuse)
    return Source(
        form="JSON array" if is_array else "JSON Lines",
        kind="records",
        samples=_records(items, {name: of for name, of in wanted.columns.items() if is_date(of)}, places, refuse),
        columns=wanted.columns,
        place=places,
    )


def _records(
    items: Iterator[tuple[int, Any, str | None]], dates: Mapping[str, Scalar], places: Places, refuse: Refusing
) -> Iterator[dict[str, Any]]:
    """The items that are objects, given with their lines, and with a name that one of their objects has twice.

    JSON has no dates: columns that are declared as `dates` are read from texts.
    """
    for line, item, twice in items:
        if twice is not None:
            refuse(line, f"the name {twice!r:.80} occurs twice in an object, which has one value for it; rename one")
        elif not isinstance(item, dict):
            refuse(line, f"expected an object, found {json.dumps(item):.80}; samples are objects of names and values")
        else:
            try:
                for name, spec in dates.items():
                    _make_date(item, name, spec)
            except ValueError as error:
                refuse(line, error)
                continue
            places.add(line)
            yield item


def _make_date(item: dict[str, Any], column: str, spec: Scalar) -> None:
    """Make a date of the text in a column, which may be nested, and NaT of null where that is not allowed."""
    *groups, name = column.split(".")
    for group in groups:
        inner = item.get(group)
        if not isinstance(inner, dict):
            return
        item = inner
    text = "" if name in item and item[name] is None and not spec.nullable else item.get(name)
    if isinstance(text, str):
        try:
            (item[name],) = text_files.dates([text], np.dtype(spec.dtype))
        except ValueError:
            raise ValueError(f"column {column!r}: {text!r:.80} is no {specs.short(spec)}") from None


class _Parser:
    """A parser of JSON that sees names that occur twice, of which Python's keeps the last value."""

    def __init__(self) -> None:
        self.twice: str | None = None  # a name of the last text
        self._decoder = json.JSONDecoder(object_pairs_hook=self._object)

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if len(made) < len(pairs):
            names = [name for name, _ in pairs]
            self.twice = next(name for name in names if names.count(name) > 1)
        return made

    def whole(self, text: str) -> Any:
        """The value of a text.

        Raises:
            ValueError: if it is not one value of JSON.
        """
        self.twice = None
        try:
            return self._decoder.decode(text)
        except RecursionError:
            raise _too_deep() from None

    def first(self, text: str, start: int) -> tuple[Any, int]:
        """The value that begins at a place of a text, and where it ends."""
        self.twice = None
        try:
            return self._decoder.raw_decode(text, start)
        except RecursionError:
            raise _too_deep() from None


def _too_deep() -> ValueError:
    return ValueError("is nested too deep for Python's parser of JSON")


def _told(error: json.JSONDecodeError) -> str:
    return error.msg.removesuffix(" starting at")


def _lines(path: Path, refuse: Refusing) -> Iterator[tuple[int, Any, str | None]]:
    parser = _Parser()
    for number, line, wrong in text_files.lines(path):
        if not line or line.isspace():
            continue
        if wrong is not None:
            refuse(number, wrong)
            continue
        try:
            item = parser.whole(line.rstrip())
        except json.JSONDecodeError as error:
            is_cut = not line.endswith("\n") and error.msg != "Extra data"
            refuse(number, f"character {error.pos + 1}: {_told(error)}{_CUT if is_cut else ''}")
        except ValueError as error:
            refuse(number, error)
        else:
            yield number, item, parser.twice


class _Window:
    """The part of an array that is in memory."""

    def __init__(self, path: Path, file: Any) -> None:
        self.line = 1
        self._path, self._file, self._parser = path, file, _Parser()
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")()
        self._text, self._at = "", 0
        self._read = 0  # bytes

    def next(self) -> str:
        """The next character that is not blank, not taken; none at the end of the file."""
        while True:
            if found := _FILLED.search(self._text, self._at):
                self._move(found.start())
                return found[0]
            self._move(len(self._text))
            if not self._more():
                return ""

    def take(self, expected: str) -> str:
        """Take the next character, which is one of those expected."""
        found = self.next()
        if not found or found not in expected:
            shown = " or ".join(map(repr, expected))
            raise self._error(f"expected {shown}, found {found!r}" if found else f"expected {shown}{_CUT}")
        self._move(self._at + 1)
        return found

    def item(self) -> tuple[int, Any, str | None]:
        """Take an item: the line that it begins on, and what `_records` takes."""
        self.next()
        while True:
            try:
                item, end = self._parser.first(self._text, self._at)
            except json.JSONDecodeError as error:
                is_open = error.msg.startswith(_OPEN)
                if (is_open or error.pos > len(self._text) - _NEAR) and self._more():
                    continue
                is_cut = is_open or error.pos >= len(self._text.rstrip())
                self._move(error.pos)
                raise self._error(f"{_told(error)}{_CUT if is_cut else ''}") from None
            except ValueError as error:
                raise self._error(str(error)) from None
            if end == len(self._text) and self._more():  # where a number may go on
                continue
            line = self.line
            self._move(end)
            return line, item, self._parser.twice

    def _move(self, end: int) -> None:
        self.line += self._text.count("\n", self._at, end)
        self._at = end

    def _error(self, told: str) -> ValueError:
        return ValueError(f"{self._path}, line {self.line}: {told}; nothing after it can be read")

    def _more(self) -> bool:
        """Read on, twice as much for an item that is not complete yet; False at the end of the file."""
        left = len(self._text) - self._at
        if left > MOST_BYTES:
            raise self._error(f"an item has more than {MOST_BYTES:,} characters")
        data = self._file.read(max(_CHUNK, left))
        kept = len(self._decoder.getstate()[0])
        try:
            text = self._decoder.decode(data, final=not data)
        except UnicodeDecodeError as error:
            self.line += self._text.count("\n", self._at) + error.object.count(b"\n", 0, error.start)
            raise self._error(text_files.not_utf8(error.object, self._read - kept, error)) from None
        self._read += len(data)
        self._text, self._at = self._text[self._at :] + text, 0
        return bool(data)


def _array(path: Path) -> Iterator[tuple[int, Any, str | None]]:
    """The items of an array, one after the other; the file is never in memory as a whole."""
    with text_files.opened(path) as file:
        window = _Window(path, file)
        window.take("[")
        if window.next() == "]":
            window.take("]")
        else:
            yield window.item()
            while window.take(",]") == ",":
                yield window.item()
        if window.next():
            raise ValueError(f"{path}, line {window.line}: expected the end of the file after its array")
