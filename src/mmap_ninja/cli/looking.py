"""Commands that show samples."""

import click

import mmap_ninja as mn
from mmap_ninja.cli.output import write_sample


@click.command()
@click.argument("dataset", type=click.Path())
@click.option("-n", "--count", default=5, show_default=True, help="How many.")
@click.option("--json", "as_json", is_flag=True, help="One JSON value a line.")
def head(dataset: str, *, count: int, as_json: bool) -> None:
    r"""Show the first samples.

    \b
    Example:
      mmap-ninja head reviews_mmap -n 3
    """
    for sample in mn.open(dataset, "r")[:count]:
        write_sample(sample, as_json=as_json)


COMMANDS = (head,)
