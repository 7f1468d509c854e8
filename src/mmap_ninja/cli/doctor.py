"""`doctor`: why reading is slow, or refused."""

import shutil
import textwrap
from typing import TYPE_CHECKING, Final

import click

from mmap_ninja.cli.output import write_json
from mmap_ninja.cli.parameters import PATH, json_option

if TYPE_CHECKING:
    from mmap_ninja.cli.findings import Finding

_COLORS: Final = {"ok": "green", "note": "yellow", "problem": "red"}


@click.command()
@click.argument("dataset", type=PATH, required=False)
@json_option
@click.pass_context
def doctor(context: click.Context, dataset: str | None, *, as_json: bool) -> None:
    r"""Say why reading is slow or refused, and what to do.

    The exit code is 1 if there is a problem. Without DATASET, only this machine is looked at. Nothing is changed,
    locked or read as a whole.

    \b
    Example:
      mmap-ninja doctor reviews_mmap
    """
    from dataclasses import asdict

    from mmap_ninja.cli.findings import examine

    findings = examine(dataset)
    if as_json:
        write_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            _show(finding)
    if any(finding.level == "problem" for finding in findings):
        context.exit(1)


def _show(finding: "Finding") -> None:
    indent = " " * 22
    room = max(shutil.get_terminal_size().columns - len(indent), 40)
    lines = textwrap.wrap(finding.found, room, break_long_words=False, break_on_hyphens=False)
    if finding.remedy:
        lines += textwrap.wrap(f"-> {finding.remedy}", room, break_long_words=False, break_on_hyphens=False)
    level = click.style(f"{finding.level:<9}", fg=_COLORS[finding.level])
    click.echo(f"{level}{finding.topic:<13}" + f"\n{indent}".join(lines))


COMMANDS = (doctor,)
