"""`stats`: what the columns hold, in one pass."""

from collections.abc import Iterator
from typing import Any, Final

import click

from mmap_ninja import progress
from mmap_ninja.cli.asking import shows_bars
from mmap_ninja.cli.output import escaped, in_a_line, screen_width, table, write_json, write_lines
from mmap_ninja.cli.parameters import dataset_argument, json_option
from mmap_ninja.cli.samples import columns_of, opened

_NUMBERS: Final = ("min", "5%", "25%", "50%", "75%", "95%", "max", "mean")
_MOST_WHOLE: Final = 1_000_000


@click.command()
@dataset_argument
@json_option
def stats(dataset: str, *, as_json: bool) -> None:
    r"""Show ranges, lengths, missing and frequent values.

    All samples are read once, in bounded memory. Quantiles are those of at most 10,000 values drawn at random. Frequent
    values are counted exactly up to 10,000 different ones; beyond that, counts may be too low, and it is said by how
    much at most.

    \b
    Example:
      mmap-ninja stats reviews_mmap
    """
    from mmap_ninja.cli.summaries import Summary

    samples = opened(dataset)
    summaries = {name: Summary(column) for name, column in columns_of(samples).items()}
    with progress.bar(len(samples) * len(summaries), " values", shown=shows_bars(), scaled=True) as tell:
        for summary in summaries.values():
            for part in summary.parts():
                summary.add(part)
                tell(part.stop - part.start)
    columns = [{"name": name} | summary.facts() for name, summary in summaries.items()]
    if as_json:
        write_json({"path": str(samples.path), "samples": len(samples), "columns": columns})
        return
    write_lines([click.style(f"{escaped(str(samples.path))}: {len(samples):,} samples", bold=True)])
    write_lines(_lines(columns))


def _lines(columns: list[dict[str, Any]]) -> Iterator[str]:
    yield ""
    cells = [(of["name"], _missing_text(of), _distinct_text(of)) for of in columns]
    yield from table([("column", "missing", "different values"), *cells], "lrr")
    yield from _numbers_lines("values", {of["name"]: of["values"] for of in columns if "values" in of})
    lengths = {f"{of['name']}, {of['lengths']['unit']}": of["lengths"] for of in columns if "lengths" in of}
    yield from _numbers_lines("lengths", lengths)
    for of in columns:
        yield from _top_lines(of["name"], of)


def _missing_text(facts: dict[str, Any]) -> str:
    num_nan = facts.get("values", {}).get("nan", 0)
    return f"{facts['missing']:,}" + (f", {num_nan:,} NaN" if num_nan else "")


def _distinct_text(facts: dict[str, Any]) -> str:
    from mmap_ninja.cli.summaries import MOST_VALUES

    if "distinct" not in facts:
        return ""
    return f"more than {MOST_VALUES:,}" if facts["distinct"] is None else f"{facts['distinct']:,}"


def _numbers_lines(title: str, rows: dict[str, dict[str, Any]]) -> Iterator[str]:
    known = {name: facts for name, facts in rows.items() if facts["count"]}
    numbers = {name: facts for name, facts in known.items() if facts["mean"] is not None}
    dates = {name: facts for name, facts in known.items() if facts["mean"] is None}
    if numbers:
        yield ""
        cells = [(name, *(_number_text(of) for of in _numbers_of(facts))) for name, facts in numbers.items()]
        yield from table([(title, *_NUMBERS), *cells], "lrrrrrrrr")
    for name, facts in dates.items():
        yield ""
        yield f"{escaped(name)}: {facts['min']} to {facts['max']}, median {facts['quantiles']['50%']}"
    if any(facts["quantiles_of"] < facts["count"] for facts in known.values()):
        drawn = max(facts["quantiles_of"] for facts in known.values())
        yield f"quantiles of {title}: of {drawn:,} drawn at random"


def _numbers_of(facts: dict[str, Any]) -> list[Any]:
    return [facts["min"], *facts["quantiles"].values(), facts["max"], facts["mean"]]


def _number_text(value: Any) -> str:
    number = value.item() if hasattr(value, "item") else value
    is_whole = isinstance(number, int) or 1000 <= abs(number) < _MOST_WHOLE
    text = f"{number:.0f}" if is_whole else f"{number:.3g}"
    return text if len(text) <= len(f"-{_MOST_WHOLE}") else f"{number:.2e}"


def _top_lines(name: str, facts: dict[str, Any]) -> Iterator[str]:
    if not facts.get("top"):
        return
    low = f", each up to {facts['top_error']:,} too low" if facts["top_error"] else ""
    yield ""
    yield click.style(f"frequent in {escaped(name)}{low}", bold=True)
    counts = [f"{of['count']:,}" for of in facts["top"]]
    width = max(map(len, counts))
    for count, of in zip(counts, facts["top"], strict=True):
        yield f"  {count:>{width}}  {in_a_line(of['value'], screen_width() - width - 4) or '(empty)'}"
