"""The command itself: its parts, its manners, and how it ends.

Exit codes: 0 fine; 1 something was found, such as damage or a difference; 2 wrong usage, or a failure; 130 and 141, as
shells say it, for Ctrl-C and for output that nobody reads any more.
"""

import os
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from typing import Any, Final, NoReturn

import click

from mmap_ninja import progress
from mmap_ninja.cli import bench, completing, converting, doctor, exporting, keeping, looking
from mmap_ninja.cli.output import escaped
from mmap_ninja.cli.wording import in_shell_words, said

FAILED: Final = 2
UNREAD: Final = 141

SECTIONS: Final[Mapping[str, Sequence[click.Command]]] = {
    "Convert": (*converting.COMMANDS, *exporting.COMMANDS),
    "Look": looking.COMMANDS,
    "Keep": keeping.COMMANDS,
    "Measure": (*bench.COMMANDS, *doctor.COMMANDS),
    "Shell": completing.COMMANDS,
}
_DEBUG: Final = "mmap_ninja.debug"


class Failure(click.ClickException):
    """An error of the library, as one line."""

    exit_code = FAILED

    def show(self, file: Any = None) -> None:
        """Write the line to stderr."""
        click.echo(f"mmap-ninja: {escaped(self.message)}", file=file, err=True)


def _note_debug(context: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        context.meta[_DEBUG] = True


_debug_option = click.option(
    "--debug", is_flag=True, expose_value=False, callback=_note_debug, help="Show the traceback of an error."
)


class Commands(click.Group):
    """The commands in sections; all take `--debug`, and say errors and warnings as one line."""

    def __init__(self, *args: Any, sections: Mapping[str, Sequence[click.Command]], **options: Any) -> None:
        super().__init__(*args, **options)
        self._sections = sections
        _mark_examples(self)
        for command in (command for section in sections.values() for command in section):
            _mark_examples(command)
            _debug_option(command)
            self.add_command(command)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's
        """The names in the order of the sections."""
        return list(self.commands)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's
        """Write the sections into the help."""
        width = max(map(len, self.commands))
        for title, section in self._sections.items():
            with formatter.section(title):
                room = formatter.width - width - 6
                formatter.write_dl([(f"{of.name:{width}}", of.get_short_help_str(room)) for of in section])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command of a name; one that is close to an unknown name is suggested."""
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            from difflib import get_close_matches

            near = get_close_matches(args[0], self.commands, 1)
            ctx.fail(f"No such command {args[0]!r}." + "".join(f" Did you mean {name!r}?" for name in near))
        return super().resolve_command(ctx, args)

    def make_context(self, *args: Any, **options: Any) -> click.Context:
        """Read the options."""
        with _ending(None):
            return super().make_context(*args, **options)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        if os.environ.get("NO_COLOR"):  # https://no-color.org
            ctx.color = False
        with _ending(ctx), warnings.catch_warnings():
            warnings.simplefilter("default", UserWarning)
            warnings.showwarning = _show_warning
            return super().invoke(ctx)


def _mark_examples(command: click.Command) -> None:
    """Keep the lines of the example: in a raw docstring, click's mark for that is not the character that it means."""
    command.help = (command.help or "").replace(r"\b", "\b")


@contextmanager
def _ending(context: click.Context | None) -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:  # `mmap-ninja cat ... | head`
        raise click.exceptions.Exit(UNREAD) from None
    except (click.ClickException, click.Abort, click.exceptions.Exit):
        raise
    except Exception as error:  # noqa: BLE001 - each ends as a line
        if isinstance(error.__cause__, KeyboardInterrupt):  # while the kernel imported NumPy
            raise KeyboardInterrupt from None
        if context is not None and context.meta.get(_DEBUG):
            sys.excepthook(type(error), error, error.__traceback__)
        message = said(error)
        if message.endswith("restore it from a copy"):
            message += ", or save what is left: mmap-ninja recover"
        raise Failure(message) from None


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    progress.note(f"warning: {escaped(in_shell_words(str(message)), lines=True)}")


@click.group(
    cls=Commands,
    sections=SECTIONS,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="mmap_ninja", message="%(prog)s %(version)s")
@_debug_option
@click.pass_context
def cli(context: click.Context) -> None:
    r"""Make, look into, check and repair datasets of mmap_ninja.

    \b
    Example:
      mmap-ninja convert reviews/ reviews_mmap
      mmap-ninja head reviews_mmap
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


def main() -> NoReturn:
    """Run the command, and exit with its code.

    Raises:
        KeyboardInterrupt: after Ctrl-C, which `__main__` says.
    """
    _fill_standard_descriptors()
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # as of stderr: what the encoding lacks is no error
    os.environ.setdefault("TQDM_DELAY", "0.5")  # seconds: what is done sooner needs no bar
    code = 0
    try:
        code = cli.main(prog_name="mmap-ninja", standalone_mode=False) or 0
    except click.ClickException as error:
        with suppress(OSError):
            error.show()
        code = FAILED
    except click.Abort:
        raise KeyboardInterrupt from None
    sys.exit(_flushed(code))


def _fill_standard_descriptors() -> None:
    """Open what the caller closed (`>&-`), so that no file of a dataset takes the number of stdout or stderr."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def _flushed(code: int) -> int:
    """Write what is left of the output; returns the exit code, since that can fail, too."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except OSError as error:
            code = code or (UNREAD if isinstance(error, BrokenPipeError) else FAILED)
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())  # Python flushes it again at its end
    return code
