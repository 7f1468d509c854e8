"""Keeps arrays.json and writes ARRAYS.md from it; `python benchmarks/array_report.py` writes it again."""

import json
import math
import sys
from pathlib import Path
from typing import Any

import bars
import plots
import tables
from array_bars import BARS
from figures import Figures
from sources import PICTURE_SHAPE
from task import HERE
from workloads import WINDOW_LENGTH, WINDOW_STRIDE

READS = {
    "images": (
        ("index_bare", "`ds[i]`, random, bare: the array is made, its bytes are not read"),
        ("index", "`ds[i]`, random, every byte read"),
        ("iterate_bare", "`for x in ds`, bare"),
        ("iterate", "`for x in ds`, every byte read"),
        ("batches", "random batches of 256 as a list of arrays, every byte read: `take`"),
        ("padded", "random batches of 256, filled up: `take_padded`"),
    ),
    "photos": (
        ("index", "`ds[i]`, random, every byte read"),
        ("batches", "random batches of 256 (or all, if fewer) as a list of arrays, every byte read: `take`"),
    ),
    "tokens": (
        ("index_bare", "`ds[i]`, random, bare"),
        ("index", "`ds[i]`, random, every byte read"),
        ("iterate", "`for x in ds`, every byte read"),
        ("batches", "random batches of 256 as a list of arrays, every byte read: `take`"),
        ("padded", "random batches of 256, filled up: `take_padded`"),
        ("jagged", "random batches of 256 as (values, offsets): `take_jagged`"),
        (
            "windows",
            f"random batches of 256 windows of {WINDOW_LENGTH} values, one every {WINDOW_STRIDE}: `windows(...).take`",
        ),
    ),
    "fixed": (
        ("index_bare", "`ds[i]`, random, bare"),
        ("index", "`ds[i]`, random, every byte read"),
        ("iterate_bare", "`for x in ds`, bare"),
        ("iterate", "`for x in ds`, every byte read"),
        ("batches", "random batches of 256 as one array: `take`"),
    ),
}
TITLES = {
    "images": "Ragged images: uint8, 20 to 60 pixels high and wide, 3 channels",
    "photos": "Photos, decoded: uint8, height x width x 3",
    "tokens": "Token rows: int32, 20 to 380 long",
    "fixed": "Fixed arrays: uint8, 28 x 28",
}
APPENDS = ("append_1e3", "append_all")
HOW = """\
As in [RESULTS.md](RESULTS.md): medians over all rounds with min - max, each measurement in a process
of its own, systems in turn, a warm page cache, the garbage collector frozen, one permutation for all.

* Bare: the array is made and dropped; the checksum of the last is checked after the clock.
* Every byte read: `zlib.adler32` of each sample inside the clock (about 0.4 ns per byte, the same for
  all), and the sum of these must be that of the samples. It bounds what any system can gain: compare
  with the bare figures.
* One array per batch (`take` of fixed arrays, padded, jagged, windows): all systems return arrays that
  own their values, so every byte was read to make them; the last batch of each pass is compared, value
  by value, after the clock. To set windows up is part of each pass.
* Builds are from arrays in RAM: sample by sample through a generator, or as the settings say. "Whole"
  hands over the one array of fixed samples."""
JOBS = {"serial": "1", "jobs2": "n_jobs=2", "jobs2_durable": "n_jobs=2, synced at the end"}
PARALLEL = """\
The whole build is timed, with the start of its workers; it is synced at the end only where that is said.
`decode`: JPEG files, read and decoded by Pillow to height x width x 3, gone through again and again.
`processes` decodes as much, in two processes with half each, or serially, and stores nothing.
`trivial`: rows of 50 int32 made by `np.full`, so that all the time is the build's own; upstream makes 20,000
of them. Time per sample."""
MEMORY = """\
The parent and its workers together, 100 times a second: the sum of `Pss_Anon` and `Pss_Shmem` in their
`/proc/PID/smaps_rollup`, that is heap, stacks and shared memory, where a page that several of them have
counts once. Pages of files are the page cache's. Samples of 192 KiB, batches of 64."""
NOT_COMPARED = """\
* Cold reads, network file systems, datasets larger than RAM: RESULTS.md has the cold reads of texts.
* Compression and chunk-wise caches, which is what HDF5 and Zarr are made for; here both store plain
  values. Reading parts of large arrays, slices along other axes, in-place changes.
* GPUs, DataLoader epochs, many readers at once.
* Lance, LMDB, bagz, ArrayRecord, WebDataset, LitData, MDS, Parquet: they store bytes or columns, and an
  array of one's own dtype and shape needs a codec of one's own on top.
* safetensors and `.npz`: neither grows nor is indexed by sample.
* Durability of the peers: none syncs; ours is shown with and without.
* A vectorised NumPy padding or gather by index matrices: slower than the loop at these sizes."""


def store(folder: Path, results: dict[str, Any]) -> None:
    """Store the results and write the report."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "arrays.json").write_text(json.dumps(results, indent=1) + "\n")
    write(folder)


def write(folder: Path) -> None:
    """Write ARRAYS.md and its plot from arrays.json."""
    figures = Figures(json.loads((folder / "arrays.json").read_text()))
    parts = ["# Results: arrays\n\nWritten by `benchmarks/array_report.py` from `arrays.json`; do not edit.\n"]
    parts += [f"![{name.removesuffix('.svg')}]({name})\n" for name in plots.draw_arrays(folder, figures)]
    parts.append(tables.section("The bars", bars.table(BARS, figures)))
    parts.append(tables.section("The run", tables.run(figures.section["run"])))
    parts.append(f"## How it was measured\n\n{HOW}\n")
    for workload in READS:
        parts += _workload(figures, workload)
    parts += _parallel(figures)
    parts.append(tables.section("The systems and their settings", tables.settings(figures)))
    parts.append(f"## What is not compared\n\n{NOT_COMPARED}\n")
    (folder / "ARRAYS.md").write_text("\n".join(parts))
    print(f"wrote {folder / 'ARRAYS.md'}", flush=True)


def _workload(figures: Figures, workload: str) -> list[str]:
    """Show all that was measured of one workload."""
    if not any(result["measure"].startswith(f"{workload}.") for result in figures.results):
        return []
    systems = list(figures.section["systems"])
    sizes = {name: about.get("sizes", {}).get(workload, {}) for name, about in figures.section["systems"].items()}
    shown = [(what, tables.per_sample(figures, f"{workload}.{measure}", systems)) for measure, what in READS[workload]]
    unsynced = f"{workload}.build_unsynced"
    shown += [
        ("build from RAM", tables.builds(figures, systems, sizes, f"{workload}.build", unsynced)),
        ("build from RAM, whole", tables.builds(figures, systems, sizes, f"{workload}.build_whole", "")),
        ("one append", tables.appends(figures, systems, [f"{workload}.{measure}" for measure in APPENDS])),
        ("open, pickle", tables.opening(figures, systems, f"{workload}.open", f"{workload}.pickle")),
    ]
    filled = [tables.section(what, lines).replace("## ", "### ", 1) for what, lines in shown if len(lines) > 2]
    return [f"## {TITLES[workload]}\n", *filled]


def _parallel(figures: Figures) -> list[str]:
    """Show the builds by several processes."""
    systems = list(figures.section["systems"])
    parts = []
    for source in ("decode", "trivial"):
        lines = tables.header("system", "processes", "median", "min - max", "samples")
        for system in systems:
            for measure, jobs in JOBS.items():
                if figure := figures.figure(f"{source}.{measure}", system):
                    low, high = tables.seconds(figure.low), tables.seconds(figure.high)
                    lines.append(
                        f"| {system} | {jobs} | {tables.seconds(figure.median)} | {low} - {high} | {figure.count} |"
                    )
        if len(lines) > 2:
            parts.append(tables.section(f"Parallel build: {source}", lines))
    lines = tables.header("samples", "their size, MiB", "before the build, MiB", "peak, MiB")
    for measure in ("memory.small", "memory.large"):
        if figure := figures.figure(measure, "ours"):
            before, peak = (figures.value(measure, "ours", key) or 0 for key in ("before_bytes", "peak_bytes"))
            size = figure.count * math.prod(PICTURE_SHAPE)
            cells = [f"{value / tables.MIB:.0f}" for value in (size, before, peak)]
            lines.append(f"| {figure.count} | {' | '.join(cells)} |")
    if len(lines) > 2:
        parts.append(tables.section("Parallel build: peak memory", lines, MEMORY))
    return [f"## How parallel builds were measured\n\n{PARALLEL}\n", *parts] if parts else []


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE)
