"""Writes the README's figures from the stored results, between their marks: `python benchmarks/quote.py`."""

import json
import re
import textwrap
from collections.abc import Sequence

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
ARRAYS = (
    ("images.index_bare", "images: `ds[i]`"),
    ("images.batches", "images: `take` 256"),
    ("tokens.padded", "tokens: `take_padded` 256"),
    ("tokens.jagged", "tokens: `take_jagged` 256"),
    ("fixed.batches", "28 x 28: `take` 256"),
    ("images.build", "images: build"),
)
RECORDS = (
    ("records.index_bare", "`records[i]`"),
    ("records.index", "every byte read"),
    ("records.batches_bare", "`take` 256"),
    ("records.batches", "every byte read"),
)
LARGE = 100_000_000


def quote() -> None:
    """Replace what stands between the marks; a page without them stays as it is."""
    page = README.read_text()
    stored = json.loads((HERE / "results.json").read_text())
    texts = [*_strings(Figures(stored["strings"])), "", *_scaling(Figures(stored["scaling"]))]
    page = _between(page, "benchmarks", texts)
    if (arrays := HERE / "arrays.json").exists():
        page = _between(page, "arrays", _arrays(Figures(json.loads(arrays.read_text()))))
    if (records := HERE / "records.json").exists():
        page = _between(page, "records", _records(Figures(json.loads(records.read_text()))))
    README.write_text(page)


def _between(page: str, name: str, lines: list[str]) -> str:
    marks = rf"(<!-- {name}: begin -->\n).*?(<!-- {name}: end -->)"
    block = "\n".join(lines)
    return re.sub(marks, lambda match: f"{match[1]}{block}\n{match[2]}", page, flags=re.DOTALL)


def _strings(figures: Figures) -> list[str]:
    run = figures.section["run"]
    said = (
        f"One run of `make bench` on the IMDB reviews ({run['processor']}, {run['cores']} cores, warm page cache): "
        "microseconds per review, medians; random access shuffles all of them. "
        "[benchmarks/RESULTS.md] has the spread, cold reads, builds, versions, settings, and "
        "what is not compared."
    )
    lines = [*_wrapped(said), "", "![Time per sample of each system][plot]", ""]
    return lines + _table(figures, MEASURES, "append_1e5")


def _arrays(figures: Figures) -> list[str]:
    run = figures.section["run"]
    said = (
        f"One run of `make bench` on arrays ({run['processor']}, {run['cores']} cores, warm page cache): "
        "microseconds per sample, medians, random order. Ragged colour images of 20 to 60 pixels, rows of 20 to 380 "
        "int32 tokens, fixed grey images; `ds[i]` and batches in one array as they are given, lists of arrays with "
        "every byte read; the build is from RAM. [benchmarks/ARRAYS.md] has all measures, the "
        "spread, settings, and what is not compared."
    )
    return [*_wrapped(said), "", *_table(figures, ARRAYS, "images.append_1e3")]


def _records(figures: Figures) -> list[str]:
    run = figures.section["run"]
    said = (
        f"One run on records of four columns: a ragged image, a text, a label, a row of tokens ({run['processor']}, "
        f"{run['cores']} cores, warm page cache): microseconds per record, medians, random order. Upstream has four "
        "datasets side by side. [benchmarks/RECORDS.md] has the spread, edits, merges, Arrow, "
        "settings, and what is not compared."
    )
    delete, replaced = (figures.median(f"edits.{name}", "ours") for name in ("delete_1e6", "replace"))
    many = figures.figure("files.arrow", "ours")
    edits = (
        f"One `del` takes {tables.seconds(delete)} at 10^6 samples, one replacement of a text "
        f"{tables.seconds(replaced)}; `pyarrow.table(ds)` of 10^7 records {tables.seconds(many and many.median)}."
    )
    return [*_wrapped(said), "", *_table(figures, RECORDS, "records.append"), "", *_wrapped(edits)]


def _wrapped(said: str) -> list[str]:
    return textwrap.wrap(said, 120, break_long_words=False, break_on_hyphens=False)


def _table(figures: Figures, measures: Sequence[tuple[str, str]], append: str) -> list[str]:
    lines = tables.header("", *(title for _, title in measures), "one `append`")
    for system in figures.section["systems"]:
        found = [figures.median(measure, system) for measure, _ in measures]
        if system == "pwrite" or not any(found):
            continue
        cells = [tables.micros(value) if value else "-" for value in found]
        name = "**mmap_ninja**" if system == "ours" else system
        lines.append(f"| {name} | {' | '.join(cells)} | {tables.seconds(figures.median(append, system))} |")
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
