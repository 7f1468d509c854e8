"""Commands between formats: `convert` and `export`."""

import click

import mmap_ninja as mn


@click.command()
@click.argument("source", type=click.Path())
@click.argument("out", type=click.Path())
@click.option("--n-jobs", type=int, help="Processes that read; -1: one for each CPU.")
def convert(source: str, out: str, *, n_jobs: int | None) -> None:
    r"""Store what lies at SOURCE as a dataset in the folder OUT.

    \b
    Example:
      mmap-ninja convert reviews/ reviews_mmap
    """
    made = mn.convert(source, out, n_jobs=n_jobs, verbose=True)
    click.echo(f"{out}: {len(made):,} samples", err=True)


COMMANDS = (convert,)
