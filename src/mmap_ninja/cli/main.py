"""The command itself: its parts, and how it ends.

Exit codes: 0 fine; 1 something was found, such as damage or a difference; 2 wrong usage, or a failure.
"""

import os
import sys
from typing import NoReturn

import click

from mmap_ninja.cli import converting, looking

FOUND = 1
FAILED = 2
INTERRUPTED = 130  # as shells say of a process that SIGINT ended


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="mmap_ninja", message="%(prog)s %(version)s")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def cli(*, debug: bool) -> None:
    r"""Make, look into, check and repair datasets of mmap_ninja.

    \b
    Example:
      mmap-ninja convert reviews/ reviews_mmap
      mmap-ninja head reviews_mmap
    """


for command in (*converting.COMMANDS, *looking.COMMANDS):
    cli.add_command(command)


def main() -> NoReturn:
    """Run the command, and exit with its code."""
    try:
        code = cli.main(prog_name="mmap-ninja", standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        code = FAILED
    except (click.Abort, KeyboardInterrupt):
        click.echo("mmap-ninja: interrupted", err=True)
        code = INTERRUPTED
    except BrokenPipeError:  # `mmap-ninja cat ... | head`: nobody reads any more
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except Exception as error:
        if "--debug" in sys.argv:
            raise
        click.echo(f"mmap-ninja: {error}", err=True)
        code = FAILED
    sys.exit(code)
