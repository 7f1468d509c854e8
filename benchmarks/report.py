"""Keeps results.json and writes RESULTS.md from it; `python benchmarks/report.py` writes it again."""

import json
import sys
from pathlib import Path
from typing import Any

import bars
import plots
import tables
from figures import Figures
from task import HERE

MEASURES = (
    ("iterate", "Iterate: `for t in texts`"),
    ("random", "Random access, one by one: `texts[i]`"),
    ("batches", "Random batches of 256 as a list of `str`: `texts.take(idx)`"),
    ("jagged", "Random batches of 256 as (bytes, offsets): `texts.take_jagged(idx)`"),
    ("demo", "The demo's loop, with tqdm"),
)
COMPRESSED = {"zstd": "compressed", "zstd_dictionary": "with a dictionary"}
COMPRESSED_READS = {"iterate": "`for t in texts`", "random": "`texts[i]`, random", "batches": "random batches of 256"}
APPENDS = ("append_1e3", "append_1e5")
HOW = """\
Every figure is the median over all rounds; min - max is the spread. Each measurement runs in a
process of its own; within a round the systems take turns, in another order each round. The page
cache is warm (each process reads the dataset's files once before it opens them) but where a table
says cold. "First pass" is the first after that open, with its page faults; the median is over the
later passes of the same processes. Every sample becomes a `str` whose length is summed, every byte
of a jagged batch is summed by NumPy (as 64-bit words, inside the timing), and each pass's sum is
checked against the texts: a system that skips a byte fails. The garbage collector is frozen and off
for all. Indices are one permutation, the same for all systems, in the type (list or ndarray) that
the system takes fastest. Where "samples per pass" says "a part", a whole pass would take minutes;
the time per sample is that of the part."""
JAGGED = """\
Compared with upstream: it has no such read, so the same result is made from `texts[idx]` by
encoding each `str`, joining, and a `cumsum` of the lengths. bagz, ArrayRecord, LMDB and RAM: their
`bytes` joined. `datasets-arrow` and Lance: the buffers of the Arrow column that they return."""
MEMORY = """\
Private memory is the growth of `Anonymous` in `/proc/self/smaps_rollup` per open handle, each
having read one sample: 20 handles held at once in one process (LMDB and MDS allow one), after warm-
up opens and with free heap given back first. `Anonymous` is what belongs to the process alone:
heap, stacks, copied-on-write pages. Pages of mapped files are the page cache's and do not count,
for any system."""
COLD = """\
The dataset's files are synced and dropped from the page cache
(`posix_fadvise(POSIX_FADV_DONTNEED)`); then open and one pass are timed together, since some systems
start to read ahead when they are opened. "Read from disk" is the process's own `read_bytes` in
`/proc/self/io`; where it is far below the dataset's size, other processes of the system or the
host's cache served the rest. A virtual disk may be cached by its host: compare the systems, not the
absolute times."""
ZSTD = """\
The first 25,000 texts, or all if there are fewer: each a frame of zstd, in the two systems that
compress single texts. Built by `from_generator` with batches of 1024 and `zstd_level=3`; with a
dictionary: `zstd_train_dictionary_size=112640`, which both train on the first batch. Read and checked
as the plain texts above. On disk is what the files of the directory take."""
NOT_COMPARED = """\
* Network file systems, spinning disks, and datasets larger than RAM. Cold reads here are of one
  local file system.
* Compression by the peers: they store plain bytes here. It would trade time for space differently in
  each; ours is compared with upstream's, at one level.
* Many workers or threads that read at once, DataLoader epochs, shuffling strategies and prefetching
  over batches, which is what LitData and MDS are made for; here they read one local folder in one
  process. MDS and LitData iterate with their bookkeeping for resuming and sharding, which the
  others do not do.
* Other kinds of samples than text of about a kilobyte (tiny ones: the scaling table).
* Durability of the peers: their builds are timed as their documentation shows them, and only LMDB's
  commit syncs.
* Deleting and updating samples; several columns; remote storage."""


def update(folder: Path, section: str, results: dict[str, Any]) -> None:
    """Store one section of results beside the other and write the report again."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "results.json"
    stored = json.loads(path.read_text()) if path.exists() else {}
    stored[section] = results
    path.write_text(json.dumps(stored, indent=1) + "\n")
    write(folder)


def write(folder: Path) -> None:
    """Write RESULTS.md and the plots from results.json."""
    stored = json.loads((folder / "results.json").read_text())
    strings, scaling = Figures(stored.get("strings")), Figures(stored.get("scaling"))
    drawn = plots.draw(folder, strings, scaling)
    parts = ["# Results\n\nWritten by `benchmarks/report.py` from `results.json`; do not edit.\n"]
    parts += [f"![{name.removesuffix('.svg')}]({name})\n" for name in drawn]
    parts.append(tables.section("The bars", bars.table(bars.BARS, strings, scaling)))
    parts += _strings(strings) if strings.section else []
    parts += _scaling(scaling) if scaling.section else []
    parts.append(f"## What is not compared\n\n{NOT_COMPARED}\n")
    (folder / "RESULTS.md").write_text("\n".join(parts))
    print(f"wrote {folder / 'RESULTS.md'}", flush=True)


def _strings(figures: Figures) -> list[str]:
    systems = list(figures.section["systems"])
    notes = {"jagged": JAGGED}
    parts = [tables.section("The run", tables.run(figures.section["run"])), f"## How it was measured\n\n{HOW}\n"]
    for measure, title in MEASURES:
        parts.append(tables.section(title, tables.per_sample(figures, measure, systems), notes.get(measure, "")))
    parts += [
        tables.section("Build from strings in RAM", tables.builds(figures, systems, figures.section["systems"])),
        tables.section("Compressed texts", tables.compressed(figures, COMPRESSED, COMPRESSED_READS, systems), ZSTD),
        tables.section("Compressed texts: size", tables.sizes(figures, COMPRESSED, systems)),
        tables.section("One append of one review", tables.appends(figures, systems, APPENDS)),
        tables.section("Two processes appending in turn", tables.alternation(figures)),
        tables.section("Open, private memory, pickle", tables.opening(figures, systems), MEMORY),
        tables.section("Cold: iterate", tables.cold(figures, "cold_iterate", systems), COLD),
        tables.section("Cold: random batches of 256", tables.cold(figures, "cold_batches", systems)),
        tables.section("The systems and their settings", tables.settings(figures)),
    ]
    return parts


def _scaling(figures: Figures) -> list[str]:
    note = "Tiny samples of 1 or 2 bytes, the same 100 texts over and over; peers up to 10^6 samples.\n\n" + MEMORY
    return [
        tables.section("Scaling", tables.scaling(figures), note),
        tables.section("The run of the scaling table", tables.run(figures.section["run"])),
    ]


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE)
