"""Keeps records.json and writes RECORDS.md from it; `python benchmarks/record_report.py` writes it again."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bars
import tables
from bars import Bar, against
from figures import Figures, divide
from task import HERE

MICRO = 1e6
WRITTEN = "Written by `benchmarks/record_report.py` from `records.json`; do not edit.\n"


def within(measure: str) -> Callable[[Figures], float | None]:
    """Measure how many times the time of an unedited dataset an edited one takes."""
    return lambda figures: divide(figures.median(f"{measure}_edited", "ours"), figures.median(measure, "ours"))


def over(measure: str, reference: str) -> Callable[[Figures], float | None]:
    """Measure how many times another tool's time ours takes."""
    return lambda figures: divide(figures.median(measure, "ours"), figures.median(reference, "ours"))


def of_mask(above: str, below: str) -> Callable[[Figures], float | None]:
    """Divide two numbers that the deletes by a mask gave."""
    return lambda figures: divide(*(figures.value("edits.mask", "ours", key) for key in (above, below)))


def times(measure: str, key: str | None, unit: float) -> Callable[[Figures], float | None]:
    """Return a time of ours in a unit of so many per second."""

    def found(figures: Figures) -> float | None:
        seconds = figures.value(measure, "ours", key) if key else figures.median(measure, "ours")
        return None if seconds is None else seconds * unit

    return found


BARS = (
    Bar("`records[i]`, 4 columns, bare, vs four upstream datasets", against("records.index_bare", "upstream"), 20),
    Bar("`take(256 random)` of 4 columns, bare, vs `datasets`", against("records.batches_bare", "datasets"), 5),
    Bar("`take(256 random)` of 4 columns, bare, vs Lance `take`", against("records.batches_bare", "lance"), 10),
    Bar("one `append` of 4 columns vs four upstream appends", against("records.append", "upstream"), 100),
    Bar("one delete, 10^6 samples", times("edits.delete_1e6", None, MICRO), 20, "<=", " µs"),
    Bar(
        'one delete, 10^6 samples vs 2 10^4 ("nothing proportional to n": read as)',
        over("edits.delete_1e6", "edits.delete_1e4"),
        1.5,
        "<=",
    ),
    Bar("reopen after 10^6 deletes by a mask on 10^7", times("edits.mask", "reopen_seconds", 1e3), 100, "<=", " ms"),
    Bar("random `ds[i]` after them vs before", of_mask("edited_seconds", "unedited_seconds"), 3, "<="),
    Bar("texts, 1 % deleted, 1 % replaced: random `ds[i]` vs unedited", within("texts.index"), 1.5, "<="),
    Bar("texts: iterate vs unedited", within("texts.iterate"), 1.5, "<="),
    Bar("texts: `take(256 random)` vs unedited", within("texts.batches"), 1.2, "<="),
    Bar("images: random `ds[i]` vs unedited", within("images.index"), 1.5, "<="),
    Bar("images: iterate vs unedited", within("images.iterate"), 1.5, "<="),
    Bar("images: `take(256 random)` vs unedited", within("images.batches"), 1.2, "<="),
    Bar("`compact()` and `sync` vs `cp -r` and `sync`", over("files.compact", "files.cp"), 2, "<="),
    Bar(
        "`merge` of 4 datasets and `sync` vs `cat` of the payloads and `sync`",
        over("files.merge", "files.cat"),
        2,
        "<=",
    ),
    Bar("`pyarrow.table(ds)`, numbers and texts of 10^7 samples", times("files.arrow", None, 1e3), 10, "<=", " ms"),
    Bar(
        'private memory that such a table takes vs its payload ("no payload copied": read as)',
        lambda figures: divide(
            *(figures.value("files.arrow", "ours", of) for of in ("private_bytes", "payload_bytes"))
        ),
        0.05,
        "<=",
    ),
)
READS = (
    ("records.index_bare", "`records[i]`, random, bare: made, their bytes not read"),
    ("records.index", "`records[i]`, random, every byte read"),
    ("records.batches_bare", "random batches of 256, bare: `take`"),
    ("records.batches", "random batches of 256, every byte read"),
)
EDITS = (
    ("edits.delete_1e4", "one delete of 2 10^4 numbers"),
    ("edits.delete_1e5", "one delete of 10^5 numbers"),
    ("edits.delete_1e6", "one delete of 10^6 numbers"),
    ("edits.replace", "one replacement of a text"),
    *((f"{kind}.{how}{of}", f"{kind}, {how}{of.replace('_', ', ')}") for kind in ("texts", "images")
      for how in ("index", "iterate", "batches") for of in ("", "_edited")),
    ("edits.mask", "10^6 deletes by one mask, all of them"),
    ("files.compact", "`compact()` of texts with 1 % deleted, and `sync`"),
    ("files.cp", "`cp -r` of the same directory, and `sync`"),
    ("files.merge", "`merge` of 4 datasets of texts, and `sync`"),
    ("files.cat", "`cat` of their payloads, and `sync`"),
    ("files.arrow", "`pyarrow.table` of 10^7 numbers and texts"),
)  # fmt: skip
HOW = """\
As in [RESULTS.md](RESULTS.md): medians over all rounds with min - max, each measurement in a process of its own,
systems in turn, a warm page cache, the garbage collector frozen, one permutation for all.

* A record has a ragged image (uint8, 20 to 60 pixels high and wide, 3 channels), a text of 200 to 2,400 ASCII
  characters, an int64 label and a row of 20 to 380 int32 tokens.
* Bare: what the system gives is made and dropped; the last is checked after the clock. Every byte read: images and
  tokens go through `zlib.adler32`, texts are measured, the sum must be that of the records.
* `datasets` and Lance read a part of the samples where all would take minutes.
* Deletes: 10,000 of them, one by one, the mean of all; `last tenth` is that of the last thousand.
* Edited: one sample in a hundred was deleted by a mask, and as many were replaced one by one.
* Copies: `sync` before the clock and within it, on both sides; the payload alone for `cat`, while `merge` also writes
  offsets and checksums. 4 times 200,000 texts, 260 MB each.
* Private memory of a table: what this process alone has more of after `pyarrow.table(ds)`."""
NOT_COMPARED = """\
* Upstream has no deletes, no replacements by other sizes, no compaction and no merge; nor have `datasets` in place.
* Lance's deletes, updates and compaction: they are transactions on files with another purpose.
* Compression, nulls, nested columns, cold reads, readers beside a writer, network file systems.
* Parquet, SQLite, DuckDB's own tables, LMDB with a codec of one's own."""


def store(folder: Path, results: dict[str, Any]) -> None:
    """Store the results and write the report."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "records.json").write_text(json.dumps(results, indent=1) + "\n")
    write(folder)


def write(folder: Path) -> None:
    """Write RECORDS.md from records.json."""
    figures = Figures(json.loads((folder / "records.json").read_text()))
    systems = list(figures.section["systems"])
    parts = ["# Results: records, edits, merges\n\n" + WRITTEN]
    parts.append(tables.section("The bars", bars.table(BARS, figures)))
    parts.append(tables.section("The run", tables.run(figures.section["run"])))
    parts.append(f"## How it was measured\n\n{HOW}\n")
    parts += [tables.section(what, tables.per_sample(figures, measure, systems)) for measure, what in READS]
    parts.append(tables.section("One append of 4 columns", tables.appends(figures, systems, ["records.append"])))
    parts.append(tables.section("Edits, copies, Arrow: ours", _edits(figures)))
    parts.append(tables.section("The systems and their settings", tables.settings(figures)))
    parts.append(f"## What is not compared\n\n{NOT_COMPARED}\n")
    (folder / "RECORDS.md").write_text("\n".join(parts))
    print(f"wrote {folder / 'RECORDS.md'}", flush=True)


def _edits(figures: Figures) -> list[str]:
    """Show what our system was measured at alone."""
    lines = tables.header("what", "median", "min - max")
    for measure, what in EDITS:
        if figure := figures.figure(measure, "ours"):
            low, high = tables.seconds(figure.low), tables.seconds(figure.high)
            lines.append(f"| {what} | {tables.seconds(figure.median)} | {low} - {high} |")
    tenth = figures.value("edits.delete_1e6", "ours", "last_tenth")
    return [*lines, f"| one delete of 10^6 numbers, last tenth | {tables.seconds(tenth)} | |"]


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE)
