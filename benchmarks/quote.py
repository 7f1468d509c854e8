"""Writes the README's figures from results.json, between its two marks: `python benchmarks/quote.py`."""

import json
import re
import textwrap

import tables
from figures import Figures
from task import HERE

README = HERE.parent / "README.md"
MEASURES = (
    ("iterate", "iterate"),
    ("random", "`texts[i]`"),
    ("batches", "`take` 256"),
    ("jagged", "`take_jagged` 256"),
)
LARGE = 100_000_000


def quote() -> None:
    """Replace what stands between the marks."""
    stored = json.loads((HERE / "results.json").read_text())
    block = "\n".join([*_strings(Figures(stored["strings"])), "", *_scaling(Figures(stored["scaling"]))])
    page = README.read_text()
    marks = r"(<!-- benchmarks: begin -->\n).*?(<!-- benchmarks: end -->)"
    README.write_text(re.sub(marks, lambda match: f"{match[1]}{block}\n{match[2]}", page, flags=re.DOTALL))


def _strings(figures: Figures) -> list[str]:
    run = figures.section["run"]
    said = (
        f"One run of `make bench` on the IMDB reviews ({run['processor']}, {run['cores']} cores, warm page cache): "
        "microseconds per review, medians; random access shuffles all of them. "
        "[benchmarks/RESULTS.md](benchmarks/RESULTS.md) has the spread, cold reads, builds, versions, settings, and "
        "what is not compared."
    )
    lines = [*textwrap.wrap(said, 120, break_long_words=False, break_on_hyphens=False), ""]
    lines += ["![Time per sample of each system](benchmarks/results.svg)", ""]
    lines += tables.header("", *(title for _, title in MEASURES), "one `append`")
    for system in figures.section["systems"]:
        found = [figures.median(measure, system) for measure, _ in MEASURES]
        if system == "pwrite" or not any(found):
            continue
        cells = [tables.micros(value) if value else "-" for value in found]
        append = tables.seconds(figures.median("append_1e5", system))
        name = "**mmap_ninja**" if system == "ours" else system
        lines.append(f"| {name} | {' | '.join(cells)} | {append} |")
    return lines


def _scaling(figures: Figures) -> list[str]:
    opened = figures.median("open", "ours", num_samples=LARGE)
    private = figures.value("open", "ours", "private_bytes", num_samples=LARGE)
    append = figures.median("append", "ours", num_samples=LARGE)
    if opened is None or private is None or append is None:
        return []
    said = f"opening takes {tables.seconds(opened)} and {private / 1e3:.1f} kB of private memory, "
    return [f"At 10^8 samples, {said}one append {tables.seconds(append)}."]


if __name__ == "__main__":
    quote()
