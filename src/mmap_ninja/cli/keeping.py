"""Commands that check, repair and change whole datasets."""

import json
import shlex
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import mmap_ninja as mn
from mmap_ninja.cli.asking import confirm, shows_bars
from mmap_ninja.cli.output import escaped, write_json, write_lines
from mmap_ninja.cli.parameters import PATH, dataset_argument, if_exists_option, json_option, out_argument, yes_option
from mmap_ninja.cli.sizes import counted, size_text

if TYPE_CHECKING:
    from mmap_ninja.maintenance.merge import ErrorOrReplace
    from mmap_ninja.maintenance.recover import Keep
    from mmap_ninja.maintenance.verify import Level


@click.command()
@dataset_argument
@click.option(
    "--level",
    type=click.Choice(["quick", "sums", "full"]),
    default="sums",
    show_default=True,
    help="quick: lengths of files; sums: every byte, by checksums; full: also each sample.",
)
@json_option
@click.pass_context
def verify(context: click.Context, dataset: str, *, level: "Level", as_json: bool) -> None:
    r"""Check the files for damage.

    They should be as the newest commit left them; if not, the exit code is 1. Nothing is changed or locked, and others
    may go on to read and write.

    \b
    Example:
      mmap-ninja verify reviews_mmap --level full
    """
    report = mn.verify(dataset, level, verbose=shows_bars())
    if as_json:
        write_json(_of_report(report))
    else:
        _show_report(report)
    if not report.ok:
        click.echo(f"to save what is left: mmap-ninja recover {shlex.quote(dataset)} OUT", err=True)
        context.exit(1)


def _show_report(report: "mn.Report") -> None:
    write_lines([escaped(str(report), lines=True)])


def _of_report(report: "mn.Report") -> dict[str, Any]:
    problems = [
        {
            "file": problem.file,
            "message": problem.message,
            "blocks": problem.blocks and [problem.blocks.start, problem.blocks.stop],
            "samples": _bounds(problem.samples),
        }
        for problem in report.problems
    ]
    return {
        "path": str(report.path),
        "level": report.level,
        "ok": report.ok,
        "samples": report.samples,
        "problems": problems,
        "notes": report.notes,
    }


def _bounds(ranges: Iterable[range]) -> list[list[int]]:
    return [[part.start, part.stop] for part in ranges]


@click.command()
@dataset_argument
@click.argument("out", type=PATH, required=False)
@click.option(
    "--keep",
    type=click.Choice(["prefix", "intact", "readable"]),
    default="prefix",
    show_default=True,
    help="prefix: samples before the first damaged one; intact: all undamaged ones; readable: also those with wrong "
    "checksums.",
)
@yes_option
@json_option
@click.pass_context
def recover(context: click.Context, dataset: str, out: str | None, *, keep: "Keep", yes: bool, as_json: bool) -> None:
    r"""Save what is left of a damaged dataset.

    It is stored in the folder OUT; without OUT, in place of the damaged files, which are removed. The exit code is 1 if
    samples are lost.

    \b
    Example:
      mmap-ninja recover reviews_mmap reviews_saved --keep intact
    """
    if out is None and Path(dataset).exists():
        confirm(f"{dataset}: what is damaged will be removed", yes=yes)
    result = mn.recover(dataset, out, keep=keep, verbose=shows_bars())
    lost = sum(map(len, result.lost))
    if as_json:
        told = {"path": str(result.path), "samples": result.samples, "lost": _bounds(result.lost)}
        write_json({**told, "report": _of_report(result.report)})
    else:
        if not result.report.ok:
            _show_report(result.report)
        click.echo(f"{result.path}: {counted(result.samples, 'sample')} saved, {lost:,} lost{_first(result.lost)}")
    if lost:
        context.exit(1)


def _first(lost: tuple[range, ...]) -> str:
    shown = [str(part.start) if len(part) == 1 else f"{part.start} to {part[-1]}" for part in lost[:5]]
    return f": {', '.join(shown)}{', ...' * (len(lost) > 5)}" if lost else ""


@click.command()
@dataset_argument
def compact(dataset: str) -> None:
    r"""Free the space of deleted and replaced samples.

    The files are written anew. Readers keep the old ones until they refresh; ids of earlier commits are stale then.

    \b
    Example:
      mmap-ninja compact reviews_mmap
    """
    _refuse_0x(dataset)
    with mn.open(dataset) as opened:
        garbage = opened.garbage
        opened.compact(verbose=shows_bars())
    click.echo(f"{dataset}: {size_text(garbage)} freed", err=True)


@click.command()
@dataset_argument
@yes_option
def upgrade(dataset: str, *, yes: bool) -> None:
    r"""Convert a directory of mmap_ninja 0.x in place.

    \b
    Example:
      mmap-ninja upgrade old_reviews
    """
    if _is_of_0x(dataset):
        confirm(f"{dataset}: mmap_ninja 0.x will not be able to read it any more", yes=yes)
    mn.upgrade(dataset)
    click.echo(f"{dataset}: is in the current format", err=True)


def _is_of_0x(dataset: str) -> bool:
    from mmap_ninja.engine import files, upgrade_marks

    return upgrade_marks.detect(files.absolute(dataset))


def _refuse_0x(dataset: str) -> None:
    """Raise if a change would upgrade a directory of 0.x, for which nobody asked."""
    if _is_of_0x(dataset):
        raise ValueError(f"{dataset}: was written by mmap_ninja 0.x; call mmap_ninja.upgrade on it first")


@click.command()
@click.argument("datasets", type=PATH, nargs=-1, required=True)
@out_argument
@if_exists_option
@yes_option
def merge(datasets: tuple[str, ...], out: str, *, if_exists: "ErrorOrReplace", yes: bool) -> None:
    r"""Join datasets into a new one.

    OUT has the samples of all DATASETS, in this order.

    \b
    Example:
      mmap-ninja merge monday_mmap tuesday_mmap week_mmap
    """
    _confirm_replacing([Path(out)], if_exists, yes=yes)
    mn.merge(datasets, out, if_exists=if_exists, verbose=shows_bars())
    click.echo(f"{out}: {counted(len(mn.open(out, 'r')), 'sample')}", err=True)


@click.command()
@dataset_argument
@out_argument
@click.argument("parts", nargs=-1, required=True, metavar="NAME=FRACTION...")
@click.option("--seed", type=int, help="Choose samples by chance, the same for each seed. Without: runs of samples.")
@click.option("--by", metavar="COLUMN", help="Keep samples with the same value in this column together; needs --seed.")
@if_exists_option
@yes_option
def split(
    dataset: str,
    out: str,
    parts: tuple[str, ...],
    *,
    seed: int | None,
    by: str | None,
    if_exists: "ErrorOrReplace",
    yes: bool,
) -> None:
    r"""Store parts of a dataset as datasets of their own.

    Each is stored in the folder OUT/NAME. With a seed, the sizes are about these, and a sample stays in its part when
    others are appended.

    \b
    Example:
      mmap-ninja split reviews_mmap parts train=0.9 test=0.1 --seed 0
    """
    if "=" in out and not Path(out).exists():
        raise click.UsageError(f"{out!r}: expected the folder OUT before the parts")
    if Path(out, "COMMIT").exists():
        raise click.UsageError(f"{out}: is a dataset itself; choose another folder for the parts")
    if by is not None and seed is None:
        raise click.UsageError("--by needs a --seed")
    fractions = _fractions(parts)
    targets = [Path(out, name) for name in fractions]
    _confirm_replacing(targets, if_exists, yes=yes)
    opened = mn.open(dataset, "r")
    views = opened.split(list(fractions.values()), seed, by=by)
    for view, target in zip(views, targets, strict=True):
        view.save(target, verbose=shows_bars(), if_exists=if_exists).close()
        click.echo(f"{target}: {counted(len(view), 'sample')}", err=True)


def _fractions(parts: tuple[str, ...]) -> dict[str, float]:
    """The names and fractions of `train=0.9 test=0.1`."""
    fractions: dict[str, float] = {}
    for part in parts:
        name, _, number = part.partition("=")
        try:
            fraction = float(number)
        except ValueError:
            raise click.UsageError(f"{part!r}: expected NAME=FRACTION, as in train=0.9") from None
        if name in ("", ".", "..") or "/" in name or name in fractions:
            raise click.UsageError(f"{part!r}: expected the name of a folder that no other part has")
        fractions[name] = fraction
    return fractions


def _confirm_replacing(targets: list[Path], if_exists: "ErrorOrReplace", *, yes: bool) -> None:
    """Ask before datasets are replaced; raise before anything is written if they must not be."""
    for target in (target for target in targets if Path(target, "COMMIT").exists()):
        if if_exists == "error":
            raise FileExistsError(
                f"{target}: a dataset already exists; choose another path, or pass --if-exists replace"
            )
        confirm(f"{target}: the dataset there will be replaced", yes=yes)


@click.command("rename-column")
@dataset_argument
@click.argument("name")
@click.argument("new_name")
def rename_column(dataset: str, name: str, new_name: str) -> None:
    r"""Rename a column of records.

    Its files are not touched.

    \b
    Example:
      mmap-ninja rename-column films_mmap text review
    """
    with mn.open(dataset, kind="records") as opened:
        opened.rename_column(name, new_name)
        click.echo(f"{dataset}: has the columns {', '.join(opened.columns)}", err=True)


@click.command("drop-column")
@dataset_argument
@click.argument("name")
@yes_option
def drop_column(dataset: str, name: str, *, yes: bool) -> None:
    r"""Remove a column of records and its files.

    \b
    Example:
      mmap-ninja drop-column films_mmap poster --yes
    """
    with mn.open(dataset, kind="records") as opened:
        if name in opened.columns:  # otherwise the library says which there are
            confirm(f"{dataset}: column {name!r} and its files will be removed", yes=yes)
        opened.drop_column(name)
        click.echo(f"{dataset}: has the columns {', '.join(opened.columns)}", err=True)


@click.command("set-metadata")
@dataset_argument
@click.argument("values", nargs=-1, required=True, metavar="KEY=JSON... | @FILE")
@yes_option
def set_metadata(dataset: str, values: tuple[str, ...], *, yes: bool) -> None:
    r"""Set keys of the metadata, and print all of it.

    A value that is not JSON is a text. A FILE of JSON (-: stdin) replaces all of it.

    \b
    Example:
      mmap-ninja set-metadata reviews_mmap license=CC0 'languages=["en", "bg"]'
      mmap-ninja set-metadata reviews_mmap @card.json
    """
    _refuse_0x(dataset)
    with mn.open(dataset) as opened:
        if values[0].startswith("@"):
            metadata = _from_file(values)
            if gone := opened.metadata.keys() - metadata.keys():
                confirm(f"{dataset}: the metadata {', '.join(map(repr, sorted(gone)))} will be removed", yes=yes)
        else:
            metadata = {**opened.metadata, **dict(map(_assigned, values))}
        opened.metadata = metadata
        write_json(opened.metadata)


def _assigned(text: str) -> tuple[str, Any]:
    """Key and value of `key=json`."""
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise click.UsageError(f"{text!r}: expected KEY=JSON, as in 'license=\"CC0\"', or @FILE")
    try:
        return key, json.loads(value)
    except json.JSONDecodeError:
        return key, value


def _from_file(values: tuple[str, ...]) -> dict[str, Any]:
    """The object in the file that `@path` names."""
    if len(values) > 1:
        raise click.UsageError("expected one @FILE, or KEY=JSON...")
    name = values[0].removeprefix("@")
    text = sys.stdin.read() if name == "-" else Path(name).read_text("utf-8")
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"{name}: is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise TypeError(f"{name}: expected an object of JSON, found {type(found).__name__}")
    return found


COMMANDS = (verify, recover, compact, upgrade, merge, split, rename_column, drop_column, set_metadata)
