"""`bench`: how fast this dataset is on this disk, and what limits it."""

from typing import TYPE_CHECKING

import click

from mmap_ninja import progress
from mmap_ninja.cli.asking import shows_bars
from mmap_ninja.cli.output import write_json
from mmap_ninja.cli.parameters import dataset_argument, json_option
from mmap_ninja.cli.sizes import counted, size_text

if TYPE_CHECKING:
    from mmap_ninja.cli.speeds import Measured, Speed


@click.command()
@dataset_argument
@click.option(
    "--seconds", type=click.FloatRange(min=0, min_open=True), default=1.0, show_default=True, help="Per measurement."
)
@json_option
def bench(dataset: str, *, seconds: float, as_json: bool) -> None:
    r"""Measure how fast samples are read, and what limits it.

    Read are samples in memory, samples on the disk, and the disk itself. For cold reads, the dataset's own files are
    dropped from the system's page cache, which needs no special rights and changes nothing in them.

    \b
    Example:
      mmap-ninja bench reviews_mmap --seconds 0.2
    """
    from dataclasses import asdict

    from mmap_ninja.cli.speeds import measure

    measured = measure(dataset, seconds, progress.note if shows_bars() else lambda _: None)
    if as_json:
        write_json(asdict(measured))
    else:
        _show(measured)


def _show(measured: "Measured") -> None:
    click.echo(
        f"{measured.path}: {counted(measured.samples, 'sample')} of kind {measured.kind}, {size_text(measured.bytes)}, "
        f"read by {measured.read_mode}"
    )
    for note in measured.notes:
        click.echo(f"note: {note}")
    click.echo(f"\n{'':<14}{'cold samples/s':>15}{'bytes/s':>10}{'limit':>15}{'warm samples/s':>16}{'bytes/s':>10}")
    for row in measured.rows:
        limit = "-" if row.share is None else f"{row.limit} {row.share:.0%}"
        click.echo(f"{row.name:<14}{_columns(row.cold, 15)}{limit:>15}{_columns(row.warm, 16)}")
    if (disk := measured.disk) is not None:
        click.echo(
            f"\nthe disk itself: {size_text(disk.in_order)}/s in order; at random, reads of 4 KiB: "
            f"{disk.one_by_one:,.0f}/s one by one,\n{disk.at_once:,.0f}/s by {disk.threads} threads; percentages are "
            "of that"
        )


def _columns(speed: "Speed | None", width: int) -> str:
    if speed is None:
        return f"{'-':>{width}}{'-':>10}"
    samples = f"{speed.samples:,.0f}" if speed.samples >= 10 else f"{speed.samples:.2g}"
    return f"{samples:>{width}}{size_text(speed.bytes):>10}"


COMMANDS = (bench,)
