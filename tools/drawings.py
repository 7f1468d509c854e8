"""Draw each docs/drawings/*.txt as an .svg file beside it: `python tools/drawings.py`.

A source has a line with the title, one that describes the drawing to those who cannot see it, an empty line, and the
drawing, in box-drawing characters. Boxes of double lines are files, those of heavy lines are commits. Text between
backticks is code, text between stars is strong, and two spaces end a text.
"""

import re
from collections.abc import Iterator
from html import escape
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "docs" / "drawings"
WIDTH, HEIGHT = 8, 17  # of a character, in pixels
MARGIN = 4
KINDS = {  # characters by the sides to which they lead
    "line": {"─": "lr", "│": "ud", "┌": "rd", "┐": "ld", "└": "ru", "┘": "lu", "├": "rud", "┤": "lud", "┬": "lrd",
             "┴": "lru", "┼": "lrud", "▶": "l", "◀": "r", "▼": "u", "▲": "d", "╤": "d", "╧": "u", "┯": "d"},
    "file": {"═": "lr", "║": "ud", "╔": "rd", "╗": "ld", "╚": "ru", "╝": "lu", "╦": "lrd", "╩": "lru", "╤": "lr",
             "╧": "lr"},
    "commit": {"━": "lr", "┃": "ud", "┏": "rd", "┓": "ld", "┗": "ru", "┛": "lu", "┳": "lrd", "┻": "lru", "┯": "lr"},
    "dashed": {"┄": "lr", "┆": "ud"},
}  # fmt: skip
BOXES = {"line": "┌┐└", "file": "╔╗╚", "commit": "┏┓┗"}
HEADS = {"▶": "m4 0l-8-4v8", "◀": "m-4 0l8-4v8", "▼": "m0 8l-4-8h8", "▲": "m0-8l-4 8h8"}
NO_TEXT = re.compile(f"[{''.join({*HEADS}.union(*KINDS.values()))}]")

# Text has the colour of the site's theme, or, in an image, one that suits the system's. All others suit light and dark.
STYLE = """
    .drawing { --ink: #1f2328; --faint: #6e7781; max-width: 100%; height: auto }
    @media (prefers-color-scheme: dark) { .drawing { --ink: #f0f6fc; --faint: #9198a1 } }
    .drawing text { fill: var(--color-foreground-primary, var(--ink)); font: 13px system-ui, sans-serif }
    .drawing .code { font-family: ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; font-size: 12.5px }
    .drawing .strong { font-weight: 600 }
    .drawing path { fill: none; stroke: var(--color-foreground-muted, var(--faint)) }
    .drawing path.heads { fill: var(--color-foreground-muted, var(--faint)) }
    .drawing path.dashed { stroke-dasharray: 2 3 }
    .drawing path.file { stroke: #b08000 }
    .drawing path.commit { stroke: #2f81f7; stroke-width: 2 }
    .drawing rect { fill: #808080; fill-opacity: .08 }
    .drawing rect.file { fill: #d09000; fill-opacity: .15 }
    .drawing rect.commit { fill: #2f81f7; fill-opacity: .15 }
"""


def svg(name: str, source: str) -> str:
    title, description, _, *rows = source.rstrip("\n").split("\n")
    width, height = WIDTH * max(map(len, rows)), HEIGHT * len(rows)
    view = f"{-MARGIN} {-MARGIN} {width + 2 * MARGIN} {height + 2 * MARGIN}"
    parts = [
        f'<title id="{name}-title">{escape(title)}</title>',
        f'<desc id="{name}-desc">{escape(description)}</desc>',
        f"<style>{STYLE}  </style>",
        *rectangles(rows),
        *lines(rows),
        *texts(rows),
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="drawing" width="{width + 2 * MARGIN}" '
        f'height="{height + 2 * MARGIN}" viewBox="{view}" role="img" aria-labelledby="{name}-title {name}-desc">\n  '
        + "\n  ".join(parts)
        + "\n</svg>\n"
    )


def rectangles(rows: list[str]) -> Iterator[str]:
    """The areas of the boxes, from each upper left corner to the next ones of its kind."""
    for kind, (upper_left, upper_right, lower_left) in BOXES.items():
        for y, row in enumerate(rows):
            for x in (match.start() for match in re.finditer(upper_left, row)):
                right = row.index(upper_right, x)
                bottom = next(below for below in range(y, len(rows)) if rows[below][x : x + 1] == lower_left)
                yield (
                    f'<rect class="{kind}" x="{(x + 0.5) * WIDTH:g}" y="{(y + 0.5) * HEIGHT:g}" '
                    f'width="{(right - x) * WIDTH}" height="{(bottom - y) * HEIGHT}"/>'
                )


def lines(rows: list[str]) -> Iterator[str]:
    """A path for all lines of a kind, and one for the heads of arrows."""
    columns = range(max(map(len, rows)))
    for kind, sides in KINDS.items():
        path = ""
        for y, row in enumerate(rows):
            led = [sides.get(character, "") for character in row]
            for start, end in runs([side in to for to in led for side in "lr"]):
                path += f"M{start * WIDTH / 2:g} {(y + 0.5) * HEIGHT:g}H{end * WIDTH / 2:g}"
        for x in columns:
            led = [sides.get(row[x : x + 1], "") for row in rows]
            for start, end in runs([side in to for to in led for side in "ud"]):
                path += f"M{(x + 0.5) * WIDTH:g} {start * HEIGHT / 2:g}V{end * HEIGHT / 2:g}"
        if path:
            yield f'<path class="{kind}" d="{path}"/>'
    heads = [
        f"M{(x + 0.5) * WIDTH:g} {(y + 0.5) * HEIGHT:g}{HEADS[character]}z"
        for y, row in enumerate(rows)
        for x, character in enumerate(row)
        if character in HEADS
    ]
    if heads:
        yield f'<path class="heads" d="{"".join(heads)}"/>'


def runs(drawn: list[bool]) -> Iterator[tuple[int, int]]:
    """Where consecutive halves of characters are drawn."""
    for match in re.finditer("1+", "".join("01"[half] for half in drawn)):
        yield match.span()


def texts(rows: list[str]) -> Iterator[str]:
    for y, row in enumerate(rows):
        for match in re.finditer(r"\S+(?: \S+)*", NO_TEXT.sub(" ", row)):
            yield f'<text x="{match.start() * WIDTH}" y="{y * HEIGHT + 13}">{styled(match[0])}</text>'


def styled(text: str) -> str:
    text = re.sub(r"`([^`]+)`", r'<tspan class="code">\1</tspan>', escape(text, quote=False))
    return re.sub(r"\*([^*]+)\*", r'<tspan class="strong">\1</tspan>', text)


def main() -> None:
    for source in sorted(FOLDER.glob("*.txt")):
        source.with_suffix(".svg").write_text(svg(source.stem, source.read_text()))


if __name__ == "__main__":
    main()
