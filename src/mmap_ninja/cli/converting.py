"""Commands between formats: `convert` and `export`."""

import shlex
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from click.core import ParameterSource

if TYPE_CHECKING:
    from mmap_ninja.conversion.plan import Plan

_KINDS: Final = ("strings", "bytes", "array", "ragged", "records")
_IF_EXISTS: Final = ("error", "replace", "append", "resume", "reuse")
_WIDTH: Final = 60  # of a value that is shown


@click.command()
@click.argument("source", type=click.Path())
@click.argument("out", type=click.Path())
@click.option("--kind", type=click.Choice(_KINDS), help="The kind of dataset, if SOURCE can become several.")
@click.option("--column", "columns", multiple=True, metavar="NAME=TYPE", help="Type of a column, such as label=int64.")
@click.option("--codec", type=click.Choice(["zstd"]), help="Compress each text, bytes and JSON.")
@click.option("--with-path", is_flag=True, help="Store the path of each file, too.")
@click.option("--dataset", help="The dataset in a file that holds several.")
@click.option("--n-jobs", type=int, help="Processes that read a folder of files; -1: one for each CPU.")
@click.option("--resume", is_flag=True, help="Go on with a conversion that ended early.")
@click.option("--if-exists", type=click.Choice(_IF_EXISTS), default="error", show_default=True, help="If OUT is there.")
@click.option("--batch-bytes", type=int, default=64 << 20, help="Bytes to hold in memory at once.  [default: 64 MiB]")
@click.option("--on-error", type=click.Choice(["raise", "skip"]), default="raise", show_default=True,
              help="What to do about samples that cannot be read or stored.")  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Only show what was found.")
@click.pass_context
def convert(context: click.Context, /, source: str, out: str, *, resume: bool, dry_run: bool, **options: Any) -> None:
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
        made = plan.store(out, verbose=sys.stderr.isatty())
    except KeyboardInterrupt:
        _tell_how_to_go_on(context, out)
        raise
    except (TypeError, ValueError) as error:
        if len(error.args) == 1:
            error.args = (column_types.as_options(str(error)),)
        raise
    click.echo(f"{out}: {len(made):,} sample{'s' * (len(made) != 1)}", err=True)
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
    facts += [("first", _brief(sample)) for sample in plan.first]
    for name, fact in facts:
        click.echo(f"  {name:<8} {fact}", err=True)


def _brief(value: Any, width: int = _WIDTH) -> str:
    """A value on one line; a long one is cut before its text is made."""
    if isinstance(value, dict):
        parts = [f"{name}: {_brief(of, max(10, width // len(value) - len(name)))}" for name, of in value.items()]
        return ", ".join(parts)
    if isinstance(value, str | bytes):
        return repr(value[:width]) + "..." * (len(value) > width)
    if getattr(value, "ndim", 0):
        return f"{value.dtype}[{', '.join(map(str, value.shape))}]"
    return textwrap.shorten(str(value), width, placeholder=" ...")


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
        if isinstance(parameter, click.Option) and given and name not in ("resume", "if_exists"):
            values = context.params[name] if parameter.multiple else [context.params[name]]
            words += [
                word for value in values for word in (parameter.opts[0], *([] if parameter.is_flag else [str(value)]))
            ]
    click.echo(f"{out}: {stored:,} samples are stored; go on with: {shlex.join([*words, '--resume'])}", err=True)


COMMANDS = (convert,)
