"""Commands between formats: `convert` and `export`."""

import shlex
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from click.core import ParameterSource

from mmap_ninja.cli.asking import confirm, shows_bars
from mmap_ninja.cli.output import cut, escaped, flat, in_a_line, screen_width
from mmap_ninja.cli.parameters import PATH, out_argument, yes_option
from mmap_ninja.cli.sizes import counted

if TYPE_CHECKING:
    from mmap_ninja.conversion.plan import Plan

_KINDS: Final = ("strings", "bytes", "array", "ragged", "records")
_IF_EXISTS: Final = ("error", "replace", "append", "resume", "reuse")
_INDENT: Final = 11  # of what is said of a source
_LEAST: Final = 12  # columns of the terminal for a field


@click.command()
@click.argument("source", type=PATH)
@out_argument
@click.option("--kind", type=click.Choice(_KINDS), help="The kind of dataset, if SOURCE can become several.")
@click.option("--column", "columns", multiple=True, metavar="NAME=TYPE", help="Type of a column, such as label=int64.")
@click.option("--codec", type=click.Choice(["zstd"]), help="Compress each text, bytes and JSON.")
@click.option("--with-path", is_flag=True, help="Store the path of each file, too.")
@click.option("--dataset", metavar="NAME", help="The dataset in a file that holds several.")
@click.option("--n-jobs", type=int, help="Processes that read a folder of files; -1: one for each CPU.")
@click.option("--resume", is_flag=True, help="Go on with a conversion that ended early.")
@click.option(
    "--if-exists",
    type=click.Choice(_IF_EXISTS),
    default="error",
    show_default=True,
    help="What to do if OUT is there already.",
)
@click.option(
    "--batch-bytes",
    type=click.IntRange(min=1),
    default=64 << 20,
    help="Bytes to hold in memory at once.  [default: 64 MiB]",
)
@click.option("--on-error", type=click.Choice(["raise", "skip"]), default="raise", show_default=True,
              help="What to do about samples that cannot be read or stored.")  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Only show what was found.")
@yes_option
@click.pass_context
def convert(
    context: click.Context, /, source: str, out: str, *, resume: bool, dry_run: bool, yes: bool, **options: Any
) -> None:
    r"""Store what lies at SOURCE as a dataset in the folder OUT.

    \b
    Example:
      mmap-ninja convert reviews/ reviews_mmap --with-path
      mmap-ninja convert users.jsonl users --column age=int32:nullable
    """
    from mmap_ninja.cli import column_types
    from mmap_ninja.conversion.convert import prepared

    if resume:
        if options["if_exists"] not in ("error", "resume"):
            raise click.UsageError(f"--resume and --if-exists {options['if_exists']} exclude each other")
        options["if_exists"] = "resume"
    columns = dict(map(column_types.parse, options.pop("columns")))
    try:
        plan, skipped = prepared(source, out, columns=columns, **options)
        _show(plan, source)
        if dry_run:
            return
        if options["if_exists"] == "replace" and Path(out, "COMMIT").exists():
            confirm(f"{out}: the dataset there will be replaced", yes=yes)
        made = plan.store(out, verbose=shows_bars())
    except KeyboardInterrupt:
        _tell_how_to_go_on(context, out)
        raise
    except (TypeError, ValueError) as error:
        if len(error.args) == 1:
            error.args = (column_types.as_options(str(error)),)
        raise
    click.echo(f"{out}: {counted(len(made), 'sample')}", err=True)
    if skipped.count:
        click.echo(f"{source}: {skipped}", err=True)


def _show(plan: "Plan", source: str) -> None:
    """Write what was found to stderr."""
    from mmap_ninja.cli.column_types import shown
    from mmap_ninja.columns.specs import spec_of

    found = plan.found
    click.echo(f"{source}: {found.form}", err=True)
    facts = [("kind", found.kind), ("samples", "unknown" if found.total is None else f"{found.total:,}")]
    facts += [("column", f"{column.name}={shown(spec_of(column.type))}") for column in plan.columns if column.name]
    facts += [("first", _sample_line(sample, {column.name for column in plan.columns})) for sample in plan.first]
    for name, fact in facts:
        click.echo(f"  {name:<{_INDENT - 3}} {escaped(fact)}", err=True)


def _sample_line(sample: Any, columns: Collection[str]) -> str:
    """A sample in one line, in which each field of a record has about the same room."""
    room = screen_width() - _INDENT
    if not isinstance(sample, dict):
        return in_a_line(sample, room)
    fields = list(flat(sample, columns))
    share = max(room // max(len(fields), 1) - 2, _LEAST)
    shown = (cut(f"{escaped(name)}: {in_a_line(value, share)}", share) for name, value in fields)
    return cut(", ".join(shown), room)


def _tell_how_to_go_on(context: click.Context, out: str) -> None:
    """Write what an interrupted conversion has stored, and the command that goes on with it, to stderr."""
    from mmap_ninja.engine.directory import unfinished

    stored = unfinished(Path(out))
    if stored is None:
        return
    words = ["mmap-ninja", "convert", *(context.params[name] for name in ("source", "out"))]
    for parameter in context.command.params:
        name = str(parameter.name)
        given = context.get_parameter_source(name) is ParameterSource.COMMANDLINE
        if isinstance(parameter, click.Option) and given and name not in ("resume", "if_exists", "yes"):
            values = context.params[name] if parameter.multiple else [context.params[name]]
            words += [
                word for value in values for word in (parameter.opts[0], *([] if parameter.is_flag else [str(value)]))
            ]
    click.echo(f"{out}: {counted(stored, 'sample')} stored; go on with: {shlex.join([*words, '--resume'])}", err=True)


COMMANDS = (convert,)
