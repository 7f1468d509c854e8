"""Questions before what cannot be undone, and whether there is a terminal."""

import sys

import click


def confirm(what: str, *, yes: bool) -> None:
    """Ask whether to do something; exits if the answer is no.

    Raises:
        UsageError: if there is no terminal to ask at.
    """
    if yes:
        return
    if not _is_terminal():
        raise click.UsageError(f"{what}; without a terminal to ask at, pass --yes to do it")
    if not click.confirm(f"{what}. Go on?", err=True):
        click.echo("nothing was changed", err=True)
        raise click.exceptions.Exit(2)


def _is_terminal() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()


def shows_bars() -> bool:
    """Whether progress bars have somebody to see them."""
    return sys.stderr is not None and sys.stderr.isatty()
