"""`diff`: whether two datasets are the same."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import click

from mmap_ninja import progress
from mmap_ninja.cli.asking import shows_bars
from mmap_ninja.cli.output import escaped, in_a_line, screen_width, write_json, write_lines
from mmap_ninja.cli.parameters import PATH, json_option

if TYPE_CHECKING:
    from mmap_ninja.cli.differences import Differences


@click.command()
@click.argument("first", type=PATH)
@click.argument("second", type=PATH)
@click.option(
    "-n", "--count", type=click.IntRange(min=0), default=5, show_default=True, help="How many samples to show."
)
@json_option
@click.pass_context
def diff(context: click.Context, first: str, second: str, *, count: int, as_json: bool) -> None:
    r"""Show how two datasets differ.

    Kind, columns, counts and metadata are compared, then the samples at each position, by value, compressed or not.
    Where checksums tell that all are equal, none is read. Exits with 1 if something differs.

    \b
    Example:
      mmap-ninja diff reviews_mmap backup/reviews_mmap
    """
    from mmap_ninja.cli.differences import compare

    with ExitStack() as stack:
        found = compare(first, second, count, _teller(stack))
    if as_json:
        write_json(_facts(found))
    elif found:
        write_lines(_lines(first, second, found))
    else:
        click.echo(f"equal: {found.compared:,} samples", err=True)
    if found:
        context.exit(1)


def _teller(stack: ExitStack) -> Any:
    """A function that shows a bar from its first call on."""
    update: Any = None

    def tell(done: int, total: int) -> None:
        nonlocal update
        if update is None:
            update = stack.enter_context(progress.bar(total, " samples", shown=shows_bars(), scaled=True))
        update(done)

    return tell


def _facts(found: "Differences") -> dict[str, Any]:
    return {
        "equal": not found,
        "differences": [{"what": what, "first": first, "second": second} for what, first, second in found.facts],
        "compared": found.compared,
        "differing": found.num_samples,
        "samples": [
            {"index": index} | ({} if column is None else {"column": column}) | {"first": first, "second": second}
            for index, column, first, second in found.shown
        ],
    }


def _lines(first: str, second: str, found: "Differences") -> Iterator[str]:
    yield click.style(f"--- {escaped(first)}", bold=True)
    yield click.style(f"+++ {escaped(second)}", bold=True)
    for what, one, other in found.facts:
        yield from _pair(escaped(what), *("none" if value is None else value for value in (one, other)))
    if found.compared:
        yield f"{found.num_samples:,} of {found.compared:,} samples differ"
    for index, column, one, other in found.shown:
        yield from _pair(f"sample {index}" + ("" if column is None else f", {escaped(column)}"), one, other)


def _pair(title: str, one: Any, other: Any) -> Iterator[str]:
    """Both values, from shortly before the place where they begin to differ, if they are texts."""
    room = screen_width() - 2
    start = 0
    if isinstance(one, str) and isinstance(other, str):
        same = next((k for k, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
        start = max(same - room // 2, 0) if max(len(one), len(other)) > room else 0
    yield click.style(title, dim=True)
    for sign, value, colour in (("-", one, "red"), ("+", other, "green")):
        shown = f"…{value[start:]}" if start else value
        yield click.style(f"{sign} {in_a_line(shown, room)}", fg=colour)
