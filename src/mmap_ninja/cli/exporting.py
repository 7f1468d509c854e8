"""The command that writes the formats of others: `export`."""

from pathlib import Path
from typing import Literal

import click

import mmap_ninja as mn
from mmap_ninja.cli.asking import confirm, shows_bars, yes_option
from mmap_ninja.conversion.forms import NAMES


@click.command()
@click.argument("dataset", type=click.Path())
@click.argument("out", type=click.Path())
@click.option("--form", type=click.Choice(NAMES), help="What to write, if the suffix of OUT does not tell.")
@click.option("--columns", help="Names of the columns to write, with commas between them.")
@click.option("--suffix", help="End of the names of files in a folder: .txt")
@click.option(
    "--if-exists",
    type=click.Choice(["error", "replace"]),
    default="error",
    show_default=True,
    help="What to do if OUT is a file already.",
)
@yes_option
def export(
    dataset: str,
    out: str,
    *,
    form: str | None,
    columns: str | None,
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
      mmap-ninja export reviews_mmap reviews.csv.gz --columns text,stars
    """
    if if_exists == "replace" and Path(out).is_file():
        confirm(f"{out}: the file there will be replaced", yes=yes)
    ds = mn.open(dataset, "r")
    mn.export(
        ds,
        out,
        form=form,  # type: ignore[arg-type]  # one of NAMES
        columns=None if columns is None else columns.split(","),
        suffix=suffix,
        if_exists=if_exists,
        verbose=shows_bars(),
    )
    click.echo(f"{out}: {len(ds):,} sample{'s' * (len(ds) != 1)}", err=True)


COMMANDS = (export,)
