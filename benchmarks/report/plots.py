"""The plots, as small SVG files: bars on a log scale, fastest first.

Each has its own colours for light and for dark pages, and is as wide as a phone: pages show several side by side where
there is room.
"""

import math
from collections.abc import Sequence
from html import escape

from report.figures import Figures
from report.tables import seconds, times

TINY = ("tiny_1e3", "tiny_1e4", "tiny_1e6", "tiny_1e8")
PLOTS: dict[str, tuple[str, Sequence[str]]] = {
    "texts-index.svg": ("texts[i], random", ["texts.index"]),
    "texts-iterate.svg": ("for t in texts", ["texts.iterate"]),
    "texts-batches.svg": ("texts, random batches of 256", ["texts.batches"]),
    "texts-open.svg": ("tiny texts: open + 1 sample", [f"{size}.open" for size in TINY]),
    "texts-append.svg": ("tiny texts: one append", [f"{size}.append" for size in TINY]),
    "arrays-images.svg": ("ragged images: ds[i], random", ["images.index_bare"]),
    "arrays-tokens.svg": ("rows of tokens: random batches of 256", ["tokens.batches"]),
    "arrays-fixed.svg": ("28 x 28 images: random batches of 256", ["fixed.batches"]),
    "records-index.svg": ("records[i], random", ["records.index_bare"]),
    "records-batches.svg": ("records, random batches of 256", ["records.batches_bare"]),
    "records-append.svg": ("one append of a record", ["records.append"]),
    "loading-arrays.svg": ("epoch of 28 x 28 images", ["fixed.epoch"]),
    "loading-records.svg": ("epoch of texts and labels", ["reviews.epoch"]),
    "loading-cold.svg": ("cold: random batches of 256", ["cold.draws"]),
    "frameworks-images.svg": ("epoch of 28 x 28 images", ["train_images.feed"]),
    "frameworks-texts.svg": ("epoch of texts and labels", ["train_texts.feed"]),
    "frameworks-frames.svg": ("epoch of padded frames", ["train_frames.feed"]),
    "frameworks-tokens.svg": ("epoch of rows of 512 tokens", ["train_tokens.feed"]),
    "frameworks-photos.svg": ("epoch of photos, decoded", ["train_photos.feed"]),
}  # the title, and the measures that it is about
NAMED = {"ours": "mmap_ninja"}
WIDTH, NAMES, BARS = 416, 154, 126  # of a plot, of the names in it, of its bars
ROW, TOP = 22, 40  # of a row; above the rows
STYLE = """
  .page { fill: #ffffff } text { fill: #1f2328 } .ours { fill: #0b6e4f } .others { fill: #b0b7bf }
  @media (prefers-color-scheme: dark) {
    .page { fill: #131416 } text { fill: #d7dade } .ours { fill: #35b58a } .others { fill: #59616b }
  }
"""


def draw(figures: Figures, name: str) -> str:
    title, measures = PLOTS[name]
    found = sorted(figures.all(*measures), key=lambda figure: figure.median)
    parts = [text(8, 20, f"{title}, log scale", weight="bold")]
    for row, figure in enumerate(found):
        y, low, high = TOP + row * ROW, found[0].median / 2, found[-1].median
        length = BARS * math.log(figure.median / low) / math.log(high / low)
        samples = f", {figure.subject.removeprefix('tiny_')}" if len(measures) > 1 else ""
        ratio = f" ({times(figure.ratio())})" if len(measures) == 1 else ""
        system = NAMED.get(figure.system, figure.system)
        weight = "bold" if figure.system in NAMED else "normal"
        parts.append(text(NAMES - 6, y + 13, system + samples, anchor="end", weight=weight))
        bar = f'x="{NAMES}" y="{y}" width="{length:.0f}" height="16"'
        parts.append(f'<rect class="{"ours" if figure.system.startswith("ours") else "others"}" {bar}/>')
        parts.append(text(NAMES + length + 6, y + 13, f"{seconds(figure.median)}{ratio}"))
    return svg(WIDTH, TOP + len(found) * ROW + 6, parts)


def text(x: float, y: float, shown: str, *, anchor: str = "start", weight: str = "normal") -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}" font-weight="{weight}">{escape(shown)}</text>'


def svg(width: int, height: int, parts: Sequence[str]) -> str:
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="system-ui, sans-serif" font-size="14">'
    page = '<rect class="page" width="100%" height="100%" rx="6"/>'
    return "\n".join([head, f"<style>{STYLE}</style>", page, *parts, "</svg>\n"])
