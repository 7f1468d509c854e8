"""What stands for the placeholders of the templates: tables, by their columns, bars, and single numbers."""

import re
from collections.abc import Callable, Iterable, Mapping

from data.sources import PICTURE_BYTES

from report.figures import Figure, Figures, divide

UNITS = {"s": 1.0, "ms": 1e-3, "µs": 1e-6, "ns": 1e-9}
BAR_UNITS = UNITS | {"x": 1.0, "%": 0.01, "KiB": 1024.0, "MB": 1e6}
MIB = 1 << 20
JOBS = {"serial": "1", "jobs2": "n_jobs=2", "jobs2_durable": "n_jobs=2, synced at the end"}
BAR = re.compile(r"(>=|<=)([\d.]+)([^\d.]+)")


def seconds(value: float | None) -> str:
    """Show a duration in the unit that fits it."""
    unit = next((unit for unit, size in UNITS.items() if value and value >= size), "ns")
    return "-" if value is None else f"{value / UNITS[unit]:.3g} {unit}"


def micros(value: float | None) -> str:
    digits = ",.0f" if value is None or value >= 1e-4 else ".3g" if value >= 1e-5 else ".3f"
    return "-" if value is None else f"{value * 1e6:{digits}}"


def times(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}x"


def size(value: float | None, unit: int, digits: int = 0) -> str:
    return "-" if value is None else f"{value / unit:.{digits}f}"


def samples(figure: Figure) -> str:
    whole = max(other.count for other in figure.figures.all(figure.measure))
    return f"{figure.count}{' (a part)' if figure.count < whole else ''}"


def build(figure: Figure) -> str:
    synced = "no final sync" if figure.what.endswith("_unsynced") else "durable (default)"
    return f"ours, {synced}" if figure.system == "ours" else figure.system


def pickle(figure: Figure) -> str:
    results = figure.figures.results.get((f"{figure.subject}.pickle", figure.system), [])
    return next((r.get("pickle_error") or f"{r['pickle_bytes']} bytes" for r in results if "error" not in r), "-")


COLUMNS: dict[str, Callable[[Figure], object]] = {
    "system": lambda it: it.system,
    "median, µs per sample": lambda it: micros(it.median),
    "min - max, µs": lambda it: it.spread(micros),
    "first pass, µs": lambda it: micros(it.first),
    "ratio to ours": lambda it: times(it.ratio()),
    "samples per pass": samples,
    "passes": lambda it: it.passes,
    "first epoch, µs": lambda it: micros(it.first),
    "workers": lambda it: size(it.get("workers"), 1),
    "read from disk, MiB": lambda it: size(it.get("disk_bytes"), MIB),
    "median": lambda it: seconds(it.median),
    "min - max": lambda it: it.spread(seconds),
    "samples": lambda it: it.count,
    "build": build,
    "whole build": lambda it: seconds(it.median * it.count),
    "its min - max": lambda it: it.spread(seconds, it.count),
    "ratio to ours, durable": lambda it: times(it.ratio(it.what.removesuffix("_unsynced"))),
    "stored": lambda it: it.subject,
    "on disk, bytes": lambda it: f"{it.built['size_bytes']:,}",
    "on disk / payload": lambda it: size(it.built.get("size_bytes"), it.built.get("payload_bytes", 1), 3),
    "size, ratio to ours": lambda it: times(
        divide(it.built["size_bytes"], it.figures.value(it.subject, key="size_bytes"))
    ),
    "at samples": lambda it: size(it.get("base"), 1),
    "first append": lambda it: seconds(it.first),
    "first open": lambda it: seconds(it.first),
    "private memory, KiB": lambda it: size(it.get("private_bytes", "open"), 1024),
    "pickle": pickle,
    "tiny samples": lambda it: f"{it.get('samples'):,.0f}",
    "on disk, MiB": lambda it: size(it.get("size_bytes"), MIB, 1),
    "open + 1 sample": lambda it: seconds(it.get(what="open")),
    "random `[i]`": lambda it: seconds(it.get(what="index")),
    "first pass": lambda it: seconds(it.get("first", "index")),
    "one append": lambda it: seconds(it.get(what="append")),
    "processes": lambda it: JOBS[it.what],
    "their size, MiB": lambda it: size(it.count * PICTURE_BYTES, MIB),
    "before the build, MiB": lambda it: size(it.get("before_bytes"), MIB),
    "peak, MiB": lambda it: size(it.get("peak_bytes"), MIB),
}
TABLES = {
    "reads": "system | median, µs per sample | min - max, µs | first pass, µs | ratio to ours | samples per pass | "
    "passes",
    "feeds": "system | workers | median, µs per sample | min - max, µs | first epoch, µs | ratio to ours | "
    "samples per pass | passes",
    "cold": "system | median, µs per sample | min - max, µs | ratio to ours | samples per pass | read from disk, MiB",
    "builds": "build | whole build | its min - max | ratio to ours, durable | on disk / payload",
    "sizes": "stored | system | on disk, bytes | on disk / payload | size, ratio to ours",
    "appends": "system | at samples | median | first append | ratio to ours",
    "opens": "system | open + 1 sample | first open | private memory, KiB | pickle",
    "scaling": "tiny samples | system | median | on disk, MiB | open + 1 sample | private memory, KiB | random `[i]` | "
    "first pass | one append",
    "parallel": "system | processes | median | min - max | samples",
    "memory": "samples | their size, MiB | before the build, MiB | peak, MiB",
}


def lines(header: str, rows: Iterable[Iterable[object]]) -> str:
    """Return a Markdown table, or a remark if it has no row."""
    shown = [f"| {' | '.join(map(str, row))} |" for row in rows]
    rule = "|---" * len(header.split(" | ")) + "|"
    return "\n".join([f"| {header} |", rule, *shown]) if shown else "Not measured."


def table(figures: Figures, name: str, *measures: str) -> str:
    """Return a table with a row for each system of each measure; what failed stands below it, with the reason."""
    cells = [COLUMNS[column] for column in TABLES[name].split(" | ")]
    failed = [f"\n\n{measure} of {system} failed: {error}" for measure, system, error in figures.failed(measures)]
    return lines(TABLES[name], ([cell(it) for cell in cells] for it in figures.all(*measures))) + "".join(failed)


def quantity(figures: Figures, named: str) -> float | None:
    """Return a number by its name, `system@measure:key`: ours if no system is named, the least of several systems."""
    systems, _, rest = named.rpartition("@")
    measure, _, key = rest.partition(":")
    found = [figures.value(measure, system, key or None) for system in (systems or "ours").split(",")]
    return min((value for value in found if value is not None), default=None)


def bar(figures: Figures, limit: str, *words: str) -> str:
    """Hold a quotient, or a number in the limit's unit, against the limit; show the limit, the number, the verdict."""
    sign, number, unit = BAR.fullmatch(limit).groups()
    below = quantity(figures, words[2]) if "/" in words else BAR_UNITS[unit]
    value = divide(quantity(figures, words[0]), below)
    unit = unit if unit == "x" else f" {unit}"
    aim = f", aim {words[-1]}" if "aim" in words else ""
    wanted = f"at {'least' if sign == '>=' else 'most'} {number}{unit}{aim}"
    if value is None:
        measures = [word.rpartition("@")[2].partition(":")[0] for word in words]
        reasons = [f": {error}" for *_, error in figures.failed(measures)]
        return f"{wanted} | not measured{''.join(reasons[:1])} | "
    passed = value >= float(number) if sign == ">=" else value <= float(number)
    return f"{wanted} | {value:.3g}{unit} | {'pass' if passed else '**short**'}"


def run(figures: Figures, section: str) -> str:
    about = figures.sections[section]["run"] if section in figures.sections else {}
    return lines(" | ", ((key, f"`{value}`" if key == "command" else value) for key, value in about.items()))


def version(figures: Figures, section: str, system: str) -> str:
    """Show the version of a system, or why it was left out."""
    about = figures.sections[section]["systems"].get(system, {}) if section in figures.sections else {}
    return f"left out: {about['error']}" if "error" in about else about.get("version", "not measured")


def alone(figures: Figures, measure: str) -> str:
    """Show what a measure of our system took, in two cells."""
    figure = figures.of(measure)
    return f"{seconds(figure.median)} | {figure.spread(seconds)}" if figure else "not measured | "


def number(figures: Figures, name: str, unit: str = "") -> str:
    """Show one number of our system: seconds, bytes in kB, or a share in %."""
    value = quantity(figures, name)
    return f"{size(value, {'kB': 1000, '%': 0.01}[unit], 1)} {unit}" if unit else seconds(value)


def machine(figures: Figures, section: str) -> str:
    described = figures.sections[section]["run"] if section in figures.sections else {}
    return f"{described.get('processor', 'not measured')}, {described.get('cores', '-')} cores"


# For those who do not know our names: the loaders that people choose from, and other ways to the same samples.
LOADERS = {
    "ours": "**mmap_ninja** `Loader`",
    "files": "`DataLoader`, a folder of files",
    "memmap": "`DataLoader`, `np.memmap`",
    "datasets": "`DataLoader`, `datasets`",
    "arrayrecord": "Grain, ArrayRecord",
    "litdata": "LitData",
    "mds": "MDS (`StreamingDataset`)",
    "webdataset": "WebDataset",
    "spdl": "SPDL",
}
WAYS = {
    "ours-numpy": "**mmap_ninja** `Loader`, NumPy arrays",
    "ours-as-dataset": "`DataLoader`, our batches",
    "ours-dataloader": "`DataLoader`, our samples",
    "ours-grain": "Grain, our batches",
    "ours-grain-samples": "Grain, our samples",
    "ram": "`DataLoader`, a list in RAM",
}


def loaders(figures: Figures, *measures: str) -> str:
    """Return the same rows as `overview`, of the loaders that people choose from."""
    return overview(figures, *measures, names=LOADERS)


def ways(figures: Figures, *measures: str) -> str:
    """Return the same rows, of other ways to the same samples."""
    return overview(figures, *measures, names=WAYS)


def overview(figures: Figures, *measures: str, names: Mapping[str, str] | None = None) -> str:
    """Return rows with one figure of each measure, per system that has a name: of an append with its unit."""
    per_sample = [measure for measure in measures if ".append" not in measure]
    systems = dict.fromkeys(figure.system for figure in figures.all(*per_sample))
    rows = []
    for system, name in (names or {system: system for system in systems} | {"ours": "**mmap_ninja**"}).items():
        if system in systems:
            shown = ((micros if it in per_sample else seconds)(figures.value(it, system)) for it in measures)
            rows.append(f"| {name} | {' | '.join(shown)} |")
    return "\n".join(rows)


PLACEHOLDERS: dict[str, Callable[..., str]] = {
    function.__name__: function
    for function in (table, bar, run, version, alone, number, machine, overview, loaders, ways)
}
