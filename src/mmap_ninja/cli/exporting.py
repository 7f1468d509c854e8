"""The command that writes the formats of others: `export`."""

from pathlib import Path
from typing import Literal

import click

import mmap_ninja as mn
from mmap_ninja.cli.asking import confirm, shows_bars
from mmap_ninja.cli.parameters import dataset_argument, if_exists_option, out_argument, yes_option
from mmap_ninja.cli.sizes import counted
from mmap_ninja.conversion.forms import NAMES


@click.command()
@dataset_argument
@out_argument
@click.option("--form", type=click.Choice(NAMES), help="What to write, if the suffix of OUT does not tell.")
@click.option(
    "--column", "columns", multiple=True, metavar="NAME", help="Only this column of records; may be repeated."
)
@click.option("--suffix", help="End of the names of files in a folder: .txt")
@if_exists_option
@yes_option
def export(
    dataset: str,
    out: str,
    *,
    form: str | None,
    columns: tuple[str, ...],
    suffix: str | None,
    if_exists: Literal["error", "replace"],
    yes: bool,
) -> None:
    r"""Write the samples of DATASET to OUT.

    The suffix of OUT tells the form: .parquet, .arrow, .feather, .jsonl, .csv, .tsv (also .gz, .zst), .npy, .tar for
    a WebDataset; without a suffix, OUT becomes a folder of files.

    \b
    Example:
      mmap-ninja export reviews_mmap reviews.parquet
      mmap-ninja export reviews_mmap reviews.csv.gz --column text --column stars
    """
    if out == "-":
        raise click.UsageError("-: export writes files; `mmap-ninja cat` writes to stdout")
    if if_exists == "replace" and Path(out).is_file():
        confirm(f"{out}: the file there will be replaced", yes=yes)
    ds = mn.open(dataset, "r")
    mn.export(
        ds,
        out,
        form=form,  # type: ignore[arg-type]  # one of NAMES
        columns=columns or None,
        suffix=suffix,
        if_exists=if_exists,
        verbose=shows_bars(),
    )
    click.echo(f"{out}: {counted(len(ds), 'sample')}", err=True)


COMMANDS = (export,)
