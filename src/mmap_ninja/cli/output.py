"""What commands write: samples, tables and histograms to stdout, words to stderr."""

import base64
import json
import math
import re
import shutil
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import click

from mmap_ninja.cli.sizes import counted

# What moves the cursor, recolours the screen, or turns the direction of writing, and half characters
_CONTROLS: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_CONTROLS_IN_LINES: Final = re.compile(_CONTROLS.pattern.replace("\x00-\x1f", "\x00-\x08\x0b-\x1f"))
_MAGIC: Final = (  # of files that people store as bytes
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF8", "GIF"),
    (b"%PDF", "PDF"),
    (b"PK\x03\x04", "ZIP"),
    (b"\x1f\x8b", "gzip"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
)
_NOT_FINITE: Final = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
_FIRST_BYTES, _FIRST_VALUES = 16, 64
_NARROWEST: Final = 40
_LEAST_NAME: Final = 8
_BAR: Final = 40
_EIGHTHS: Final = " ▏▎▍▌▋▊▉"


# ---- the screen


def is_terminal() -> bool:
    """Whether stdout is a terminal."""
    return sys.stdout is not None and sys.stdout.isatty()


def screen_width() -> int:
    """The columns of the terminal, at least 40; 80 if there is none."""
    return max(shutil.get_terminal_size().columns, _NARROWEST) if is_terminal() else 80


def write_lines(lines: Iterable[str], end: str = "\n") -> None:
    """Write lines to stdout in one go."""
    click.echo("".join(f"{line}{end}" for line in lines), nl=False)


def write_json(value: Any) -> None:
    """Write the result of a command as one JSON value."""
    write_lines([_json_text(value, indent=2)])


# ---- values


def json_line(sample: Any) -> str:
    """A sample as JSON in one line."""
    return _json_text(sample)


def _json_text(value: Any, indent: int | None = None) -> str:
    text = json.dumps(plain(value), ensure_ascii=False, allow_nan=False, indent=indent)
    return _CONTROLS_IN_LINES.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def plain(value: Any) -> Any:
    """A value as JSON has it: arrays as nested lists, floats as decimals, bytes as {"base64": ...}, dates by ISO 8601.

    NaN and infinities are the strings "NaN", "Infinity" and "-Infinity", so that they differ from null.
    """
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else _NOT_FINITE[str(float(value))]
        case bytes():
            return {"base64": base64.b64encode(value).decode()}
        case dict():
            return {key: plain(item) for key, item in value.items()}
        case list() | tuple():
            return list(map(plain, value))
        case complex():
            return str(value)
    return _plain_array(value)


def _plain_array(value: Any) -> Any:
    """The same for arrays and scalars of NumPy."""
    if value.dtype.names or value.dtype.kind in "mM":  # whose lists have tuples, and numbers for nanoseconds
        if value.ndim:
            return list(map(_plain_array, value))
        return {name: plain(value[name]) for name in value.dtype.names} if value.dtype.names else str(value)
    import numpy as np

    from mmap_ninja.columns.decimals import as_decimals

    items = as_decimals(np.asarray(value)).tolist()
    return plain(float(value)) if type(items) is type(value) else plain(items)  # bfloat16 and others stay themselves


def escaped(text: str, *, lines: bool = False) -> str:
    """A text whose control characters cannot reach a terminal.

    Args:
        text: The text.
        lines: Whether line breaks and tabs stay.
    """
    controls = _CONTROLS_IN_LINES if lines else _CONTROLS
    return controls.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def cut(text: str, width: int) -> str:
    """A text of at most so many columns of the terminal; one that is longer ends in an ellipsis."""
    if len(text) * 2 <= width or (text.isascii() and len(text) <= width):
        return text
    used, fits = 0, 0
    for place, character in enumerate(text):
        used += _columns_of(character)
        if used > width:
            return text[:fits] + "…"
        if used < width:  # leaves room for the ellipsis
            fits = place + 1
    return text


def _columns_of(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def in_a_line(value: Any, width: int) -> str:
    """A sample, or a field of one, for people: in one line of at most `width` columns."""
    match value:
        case None | int() | float():
            text = str(value)
        case str():
            text = value[: width + 1]  # escaping makes it no shorter
        case bytes():
            text = _bytes_text(value)
        case dict() | list():
            try:
                text = json_line(value)[: width + 1]
            except RecursionError:
                text = "JSON that is nested too deeply to show"
        case _:
            text = _array_text(value) if getattr(value, "ndim", 0) else str(value)
    return cut(escaped(text), width)


def _bytes_text(value: bytes) -> str:
    kind = next((f"{name}, " for magic, name in _MAGIC if value.startswith(magic)), "")
    more = "…" if len(value) > _FIRST_BYTES else ""
    return f"{kind}{counted(len(value), 'byte')}  {value[:_FIRST_BYTES].hex(' ')}{more}".rstrip()


def _array_text(value: Any) -> str:
    first = " ".join(map(str, value.reshape(-1)[:_FIRST_VALUES]))
    return f"{value.dtype} [{', '.join(map(str, value.shape))}]  {first}".rstrip()


def in_full(value: Any, width: int) -> list[str]:
    """The same in as many lines as it takes: texts and JSON are whole; of large arrays, what NumPy shows."""
    match value:
        case str():
            return escaped(value, lines=True).splitlines() or [""]
        case dict() | list():
            text = json_line(value)
            return [text] if len(text) <= width else _json_text(value, indent=2).splitlines()
        case _ if getattr(value, "ndim", 0):
            import numpy as np

            shape = f"{value.dtype} [{', '.join(map(str, value.shape))}]"
            return [shape, *escaped(np.array2string(value, max_line_width=width), lines=True).splitlines()]
        case _:
            return [in_a_line(value, width)]


# ---- samples


def flat(sample: dict[str, Any], nested: Iterable[str], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The fields of a record by their columns: dicts are opened as far as `nested`, the names of columns, tell."""
    for name, value in sample.items():
        whole = prefix + name
        if isinstance(value, dict) and whole not in nested:
            yield from flat(value, nested, f"{whole}.")
        else:
            yield whole, value


def sample_lines(index: int, sample: Any, columns: Sequence[str] | None, *, whole: bool, indent: int) -> list[str]:
    """A sample for people, after its index.

    Args:
        index: Its position.
        sample: The sample.
        columns: The names of the columns of records; None: of another kind.
        whole: Whether all of it is shown, or what fits a line, or a line for each field.
        indent: The columns of the terminal that the index takes, with the space after it.
    """
    room = screen_width() - indent
    if columns is None:
        lines = in_full(sample, room) if whole else [in_a_line(sample, room)]
    else:
        lines, names = [], max(map(len, columns), default=0)
        for name, value in flat(sample, columns):
            name_width = min(names, room // 2)
            shown = in_full(value, room - name_width - 2) if whole else [in_a_line(value, room - name_width - 2)]
            heads = [cut(escaped(name), name_width), *[""] * (len(shown) - 1)]
            lines += [
                f"{click.style(f'{head:{name_width}}', dim=True)}  {line}".rstrip()
                for head, line in zip(heads, shown, strict=True)
            ]
    heads = [f"{index:>{indent - 2}}", *[" " * (indent - 2)] * (len(lines) - 1)]
    return [f"{click.style(head, bold=True)}  {line}".rstrip() for head, line in zip(heads, lines, strict=True)]


# ---- tables and histograms


def table(rows: Sequence[Sequence[str]], numbers: str = "") -> list[str]:
    """Lines of a table that fits the screen, whose first row has the titles; long names in its first column are cut.

    Args:
        rows: The cells.
        numbers: "r" in the place of each column that is aligned to the right, and "l" for others; missing: "l".
    """
    cells = [[escaped(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    widths = [min(width, screen_width() // 2) for width in widths]
    widths[0] = min(widths[0], max(screen_width() - sum(widths[1:]) - 2 * len(widths[1:]), _LEAST_NAME))
    lines = []
    for row in cells:
        parts = [
            f"{cut(cell, width):{'>' if numbers[place : place + 1] == 'r' else '<'}{width}}"
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append(cut("  ".join(parts).rstrip(), screen_width()))
    return [click.style(lines[0], bold=True), *lines[1:]]


def histogram(edges: Sequence[float], counts: Sequence[int]) -> list[str]:
    """Lines with a bar for each count; `edges[k]` to below `edges[k + 1]` is the range of the k-th."""
    lows = [f"{edge:,}" for edge in edges[:-1]]
    wide, most = max(map(len, lows)), max(counts)
    room = min(_BAR, screen_width() - wide - 20)
    return [
        f"  from {low:>{wide}}  {_bar(count / most * room):{room}}  {count:,}".rstrip()
        for low, count in zip(lows, counts, strict=True)
    ]


def _bar(length: float) -> str:
    eighths = math.ceil(length * 8)  # whatever is there is seen
    return "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()
