"""The plots, as small SVG files: bars on a log scale, fastest first."""

import math
from collections.abc import Sequence
from html import escape

from report.figures import Figures
from report.tables import seconds, times

TINY = ("tiny_1e3", "tiny_1e4", "tiny_1e6", "tiny_1e8")
SCALING = (("open", "open + 1 sample"), ("index", "texts[i], random"), ("append", "one append"))
PLOTS = {
    "results.svg": {
        "for t in texts": ["texts.iterate"], "texts[i], random": ["texts.index"], "batches of 256": ["texts.batches"],
    },
    "scaling.svg": {title: [f"{size}.{step}" for size in TINY] for step, title in SCALING},
    "arrays.svg": {
        "ragged images: ds[i]": ["images.index_bare"], "token rows: take 256, every byte read": ["tokens.batches"],
        "28 x 28 images: take 256": ["fixed.batches"],
    },
}  # fmt: skip
OURS, OTHERS = "#0b6e4f", "#b0b7bf"
WIDTH, NAMES, BARS, ROW, TOP = (
    440,
    120,
    200,
    20,
    40,
)  # of a panel, of the names in it, of its bars; of a row; above them


def draw(figures: Figures, name: str) -> str:
    """Draw one plot, with a panel for each of its titles."""
    parts, height = [], 0
    for number, (title, measures) in enumerate(PLOTS[name].items()):
        left = number * WIDTH + NAMES
        parts.append(text(left, 20, f"{title}, log scale", weight="bold"))
        found = sorted(figures.all(*measures), key=lambda figure: figure.median)
        for row, figure in enumerate(found):
            y, low, high = TOP + row * ROW, found[0].median / 2, found[-1].median
            length = BARS * math.log(figure.median / low) / math.log(high / low)
            samples = f", {figure.subject.removeprefix('tiny_')}" if len(measures) > 1 else ""
            ratio = f" ({times(figure.ratio())})" if len(measures) == 1 else ""
            colour = OURS if figure.system == "ours" else OTHERS
            parts.append(text(left - 5, y + 12, figure.system + samples, anchor="end"))
            parts.append(f'<rect x="{left}" y="{y}" width="{length:.0f}" height="15" fill="{colour}"/>')
            parts.append(text(left + length + 5, y + 12, f"{seconds(figure.median)}{ratio}"))
        height = max(height, TOP + len(found) * ROW)
    return svg(len(PLOTS[name]) * WIDTH, height + 10, parts)


def text(x: float, y: float, shown: str, *, anchor: str = "start", weight: str = "normal") -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}" font-weight="{weight}">{escape(shown)}</text>'


def svg(width: int, height: int, parts: Sequence[str]) -> str:
    size = f'viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12" fill="#222"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size}>\n<rect width="100%" height="100%" fill="white"/>'
    return "\n".join([head, *parts, "</svg>\n"])
