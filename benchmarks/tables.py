"""The tables of RESULTS.md; every number in them comes from the results."""

from collections.abc import Mapping, Sequence
from typing import Any

from figures import Figure, Figures, divide

MICRO = 1e6
MIB = 1 << 20
UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (0.0, "ns"))


def seconds(value: float | None) -> str:
    """Show a duration in the unit that fits it."""
    if value is None:
        return "-"
    limit, unit = next((limit, unit) for limit, unit in UNITS if value >= limit)
    return f"{value / (limit or 1e-9):.3g} {unit}"


def micros(value: float) -> str:
    """Show a time per sample."""
    return f"{value * MICRO:.3f}" if value < 10 / MICRO else f"{value * MICRO:.3g}"


def times(value: float | None) -> str:
    """Show a ratio."""
    return "-" if value is None else f"{value:.3g}x"


def section(title: str, lines: Sequence[str], note: str = "") -> str:
    """Put a heading, and a note if there is one, over lines."""
    return f"## {title}\n\n{note + chr(10) * 2 if note else ''}{chr(10).join(lines)}\n"


def run(described: dict[str, Any]) -> list[str]:
    """Show what is known of a run and its machine."""
    return ["| | |", "|---|---|", *(f"| {key.replace('_', ' ')} | {value} |" for key, value in described.items())]


def settings(figures: Figures) -> list[str]:
    """Show how each system was used."""
    lines = header("system", "version", "how it was used")
    for name, about in figures.section["systems"].items():
        if "error" in about:
            lines.append(f"| {name} | - | left out: {about['error']} |")
        else:
            lines.append(f"| {name} | {about['version']} | {about['settings']} |")
    return lines


def header(*columns: str) -> list[str]:
    """Start a Markdown table."""
    return [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]


def per_sample(figures: Figures, measure: str, systems: Sequence[str], reference: str = "ours") -> list[str]:
    """Compare the systems in one read measure."""
    lines = header(
        "system",
        "median, µs per sample",
        "min - max",
        "first pass",
        "ratio to ours",
        "samples per pass",
        "passes",
    )
    whole = max((f.count for s in systems if (f := figures.figure(measure, s))), default=0)
    for system in systems:
        figure = figures.figure(measure, system)
        if figure is None:
            lines += [f"| {system} | failed: {error} | | | | | |"] if (error := figures.error(measure, system)) else []
            continue
        part = " (a part)" if figure.count < whole else ""
        lines.append(
            f"| {system} | {micros(figure.median)} | {micros(figure.low)} - {micros(figure.high)} "
            f"| {micros(figure.first)} | {times(figures.ratio(measure, system, reference))} "
            f"| {figure.count}{part} | {figure.passes} |"
        )
    return lines


def cold(figures: Figures, measure: str, systems: Sequence[str]) -> list[str]:
    """Compare the systems in one cold measure, with what the disk really delivered."""
    lines = header(
        "system",
        "median, µs per sample",
        "min - max",
        "ratio to ours",
        "samples per pass",
        "read from disk, MiB",
    )
    for system in systems:
        if (figure := figures.figure(measure, system)) is None:
            continue
        disk = figures.value(measure, system, "disk_bytes") or 0
        lines.append(
            f"| {system} | {micros(figure.median)} | {micros(figure.low)} - {micros(figure.high)} "
            f"| {times(figures.ratio(measure, system))} | {figure.count} | {disk / MIB:.0f} |"
        )
    return lines


def builds(
    figures: Figures,
    systems: Sequence[str],
    sizes: Mapping[str, Mapping[str, Any]],
    measure: str = "build",
    unsynced: str = "build_unsynced",
) -> list[str]:
    """Compare whole builds; the sizes of what was built are told per system."""
    rows: list[tuple[str, Figure | None]] = [("ours, durable (default)", figures.figure(measure, "ours"))]
    rows.append(("ours, no final sync", figures.figure(unsynced, "ours")))
    rows += [(system, figures.figure(measure, system)) for system in systems if system not in {"ours", "ram"}]
    lines = header("system", "median", "min - max", "ratio to ours, durable", "on disk / payload")
    for label, figure in rows:
        if figure is None:
            continue
        whole = [seconds(value * figure.count) for value in (figure.median, figure.low, figure.high)]
        ours = figures.median(measure, "ours")
        about = sizes.get(label.split(",")[0], {})
        size = about.get("size_bytes", 0) / about["payload_bytes"] if about.get("payload_bytes") else 0
        ratio = times(figure.median / ours) if ours else "-"
        lines.append(f"| {label} | {whole[0]} | {whole[1]} - {whole[2]} | {ratio} | {f'{size:.2f}' if size else '-'} |")
    return lines


def compressed(
    figures: Figures, kinds: Mapping[str, str], reads: Mapping[str, str], systems: Sequence[str]
) -> list[str]:
    """Compare the reads of texts that are stored compressed."""
    lines = header(
        "stored",
        "read",
        "system",
        "median, µs per sample",
        "min - max",
        "first pass",
        "ratio to ours",
        "samples per pass",
    )
    for kind, stored in kinds.items():
        for read, title in reads.items():
            measure = f"{kind}.{read}"
            lines += [
                f"| {stored} | {title} | {system} | {micros(figure.median)} | {micros(figure.low)} - "
                f"{micros(figure.high)} | {micros(figure.first)} | {times(figures.ratio(measure, system))} "
                f"| {figure.count} |"
                for system in systems
                if (figure := figures.figure(measure, system))
            ]
    return lines


def sizes(figures: Figures, kinds: Mapping[str, str], systems: Sequence[str]) -> list[str]:
    """Compare what compressed texts take on disk."""
    lines = header("stored", "system", "on disk, bytes", "on disk / payload", "ratio to ours")
    for kind, stored in kinds.items():
        ours = figures.value(f"{kind}.size", "ours", "size_bytes")
        for system in systems:
            size, payload = (figures.value(f"{kind}.size", system, f"{of}_bytes") for of in ("size", "payload"))
            if size and payload:
                ratio = times(divide(size, ours))
                lines.append(f"| {stored} | {system} | {size:,.0f} | {size / payload:.3f} | {ratio} |")
    return lines


def appends(figures: Figures, systems: Sequence[str], measures: Sequence[str]) -> list[str]:
    """Compare one append at several sizes of the dataset."""
    lines = header("system", "at samples", "median", "first append", "ratio to ours")
    for measure in measures:
        for system in systems:
            if figure := figures.figure(measure, system):
                base = figures.value(measure, system, "base")
                lines.append(
                    f"| {system} | {base:.0f} | {seconds(figure.median)} | {seconds(figure.first)} "
                    f"| {times(figures.ratio(measure, system))} |"
                )
    return lines


def opening(figures: Figures, systems: Sequence[str], measure: str = "open", pickled: str = "pickle") -> list[str]:
    """Compare opening a dataset and reading one sample, the memory it takes, and the size of its pickle."""
    lines = header("system", "open + 1 sample", "first open", "private memory, KiB", "pickle")
    for system in systems:
        figure = figures.figure(measure, system)
        if figure is None:
            continue
        memory = (figures.value(measure, system, "private_bytes") or 0) / 1024
        size = figures.value(pickled, system, "pickle_bytes")
        failed = [r["pickle_error"] for r in figures.select(pickled, system) if "pickle_error" in r]
        shown = f"{size:.0f} bytes" if size is not None else (failed or ["-"])[0]
        lines.append(f"| {system} | {seconds(figure.median)} | {seconds(figure.first)} | {memory:.0f} | {shown} |")
    return lines


def alternation(figures: Figures) -> list[str]:
    """Show the cost per append of two alternating processes."""
    results = figures.select("alternate", "ours")
    if not results:
        return ["Not measured."]
    lines = header("un-synced tail, MiB", "one append, median of rounds")
    for position, tail in enumerate(results[0]["tail_mib"]):
        points = sorted(result["seconds"][position] for result in results)
        lines.append(f"| {tail} | {seconds(points[len(points) // 2])} |")
    return lines


def scaling(figures: Figures) -> list[str]:
    """Show each system at each size."""
    lines = header(
        "samples",
        "system",
        "build",
        "on disk, MiB",
        "open + 1 sample",
        "private memory, KiB",
        "random `[i]`",
        "first pass",
        "append",
    )
    keys = dict.fromkeys((result["num_samples"], result["system"]) for result in figures.results)
    for num_samples, system in keys:
        where = {"num_samples": num_samples}
        opened, read = (figures.figure(step, system, **where) for step in ("open", "random"))
        cells = [
            seconds(figures.value("build", system, "seconds", **where)),
            f"{(figures.value('build', system, 'size_bytes', **where) or 0) / MIB:.1f}",
            seconds(opened.median if opened else None),
            f"{(figures.value('open', system, 'private_bytes', **where) or 0) / 1024:.0f}",
            seconds(read.median if read else None),
            seconds(read.first if read else None),
            seconds(figures.median("append", system, **where)),
        ]
        lines.append(f"| {num_samples:,} | {system} | {' | '.join(cells)} |")
    return lines
