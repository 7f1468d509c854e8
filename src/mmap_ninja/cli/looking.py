"""Commands that show samples."""

import re
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import click

import mmap_ninja as mn
from mmap_ninja.cli.diff import diff
from mmap_ninja.cli.info import info
from mmap_ninja.cli.output import escaped, is_terminal, json_line, sample_lines, write_lines
from mmap_ninja.cli.parameters import column_option, dataset_argument, json_lines_option
from mmap_ninja.cli.samples import column_of, columns_of, names_of, opened, parts_of
from mmap_ninja.cli.stats import stats

if TYPE_CHECKING:
    from mmap_ninja.kinds.handle import DatasetHandle

_AT_ONCE: Final = 64  # samples that are written in one go
_SLICE: Final = re.compile(r"(-?\d+)?:(-?\d+)?(?::(-?\d+)?)?")
_COUNT: Final = click.IntRange(min=0)


def _show(dataset: "DatasetHandle[Any]", positions: Iterable[int], *, as_json: bool, whole: bool = False) -> None:
    """Write the samples at some positions to stdout."""
    columns, rest = names_of(dataset), iter(positions)
    indent = len(str(max(len(dataset) - 1, 0))) + 2
    while some := list(islice(rest, _AT_ONCE)):
        samples = zip(some, dataset.select(some), strict=True)
        if as_json:
            write_lines(json_line(sample) for _, sample in samples)
            continue
        for index, sample in samples:
            write_lines(sample_lines(index, sample, columns, whole=whole, indent=indent))


@click.command()
@dataset_argument
@click.option("-n", "--count", type=_COUNT, default=5, show_default=True, help="How many.")
@json_lines_option
def head(dataset: str, *, count: int, as_json: bool) -> None:
    r"""Show the first samples.

    They are cut to the width of the screen; `get` shows them as a whole.

    \b
    Example:
      mmap-ninja head reviews_mmap -n 3
    """
    samples = opened(dataset)
    _show(samples, range(min(count, len(samples))), as_json=as_json)


@click.command(context_settings={"ignore_unknown_options": True})  # negative numbers are none
@dataset_argument
@click.argument("which", nargs=-1, required=True, metavar="N...")
@json_lines_option
def get(dataset: str, *, which: tuple[str, ...], as_json: bool) -> None:
    r"""Show samples as a whole, by index or slice.

    Negative indices count from the end. Of large arrays, the first and last values are shown; --json has all.

    \b
    Example:
      mmap-ninja get reviews_mmap 17 -1 10:20
    """
    samples = opened(dataset)
    chosen = [_range_of(text, len(samples)) for text in which]
    _show(samples, (position for part in chosen for position in part), as_json=as_json, whole=True)


def _range_of(text: str, count: int) -> range:
    """The positions that an argument names."""
    if match := _SLICE.fullmatch(text):
        bounds = [int(part) if part else None for part in match.groups()]
        if bounds[2] == 0:
            raise click.UsageError(f"{text}: the step of a slice must not be 0")
        return range(count)[slice(*bounds)]
    try:
        index = int(text)
    except ValueError:
        if re.match("--?[a-z]", text):
            raise click.NoSuchOption(text, ctx=click.get_current_context()) from None
        raise click.UsageError(f"{text}: expected an index such as 17 or -1, or a slice such as 10:20") from None
    if not -count <= index < count:
        raise click.UsageError(f"{text}: index is out of range for {count:,} samples")
    return range(index % count, index % count + 1)


@click.command()
@dataset_argument
@click.option("-n", "--count", type=_COUNT, default=5, show_default=True, help="How many.")
@click.option("--seed", type=int, help="The same samples each time.")
@json_lines_option
def sample(dataset: str, *, count: int, seed: int | None, as_json: bool) -> None:
    r"""Show samples drawn at random.

    Each comes at most once, in the order of their indices.

    \b
    Example:
      mmap-ninja sample reviews_mmap -n 3 --seed 0
    """
    import secrets

    samples = opened(dataset)
    order = mn.Shuffle(len(samples), secrets.randbits(32) if seed is None else seed)
    _show(samples, sorted(order[:count].tolist()), as_json=as_json)


@click.command()
@dataset_argument
@column_option
@click.option("-0", "--null", "ends_in_null", is_flag=True, help="End samples with NUL: texts may have line breaks.")
@json_lines_option
def cat(dataset: str, *, column: str | None, ends_in_null: bool, as_json: bool) -> None:
    r"""Write all samples, one a line.

    Texts and bytes are written as they are, others as JSON; in a terminal, control characters are escaped. A missing
    text is an empty line; --json tells it from an empty text.

    \b
    Example:
      mmap-ninja cat reviews_mmap | wc -w
    """
    samples = column_of(opened(dataset), column)
    end = "\0" if ends_in_null else "\n"
    is_text = isinstance(samples, mn.StringsMmap) and not as_json
    is_bytes = isinstance(samples, mn.BytesMmap) and not as_json
    for part in parts_of(samples):
        some: Iterator[Any] = iter(samples.select(part))
        if is_terminal() or not (is_text or is_bytes):
            write_lines(map(_for_terminal if is_text or is_bytes else json_line, some), end)
        else:
            lines = ((text or "").encode() for text in some) if is_text else (text or b"" for text in some)
            click.echo(b"".join(line + end.encode() for line in lines), nl=False)


def _for_terminal(sample: str | bytes | None) -> str:
    text = sample.decode(errors="backslashreplace") if isinstance(sample, bytes) else sample or ""
    return escaped(text, lines=True)


@click.command()
@click.argument("pattern")
@dataset_argument
@column_option
@click.option("-i", "--ignore-case", is_flag=True, help="Let letters match in either case.")
@click.option("-c", "--count", "counts", is_flag=True, help="Write only how many texts match.")
@click.option("-m", "--max-count", type=_COUNT, help="Stop after so many texts that match.")
@json_lines_option
@click.pass_context
def grep(
    context: click.Context,
    pattern: str,
    dataset: str,
    *,
    column: str | None,
    ignore_case: bool,
    counts: bool,
    max_count: int | None,
    as_json: bool,
) -> None:
    r"""Find texts by a regular expression.

    Shows the index of the sample, the column of records, and the line in which the first match begins. ^ and $ match at
    each line of a text. Of records, all columns of texts are searched. Exits with 1 if nothing matches.

    \b
    Example:
      mmap-ninja grep -i "great (film|movie)" reviews_mmap -m 10
    """
    try:
        wanted = re.compile(pattern, re.MULTILINE | (re.IGNORECASE if ignore_case else 0))
    except re.error as error:
        raise click.UsageError(f"pattern {pattern!r}: {error}") from None
    samples = opened(dataset)
    found = 0
    for index, name, match in islice(_matches(samples, column, wanted), max_count):
        found += 1
        if not counts:
            write_lines([_match_line(index, name, match, as_json=as_json)])
    if counts:
        write_lines([str(found)])
    if not found:
        context.exit(1)


def _matches(
    dataset: "DatasetHandle[Any]", column: str | None, wanted: re.Pattern[str]
) -> Iterator[tuple[int, str | None, re.Match[str]]]:
    """The first match in each text, with the index of its sample and, of records, its column."""
    columns = columns_of(dataset, column)
    texts = {name: of for name, of in columns.items() if isinstance(of, mn.StringsMmap)}
    if not texts:
        what = "" if column is None else f"column {column!r} "
        raise click.UsageError(f"{dataset.path}: {what}holds no texts")
    is_records = names_of(dataset) is not None
    for part in parts_of(dataset):
        read = [of.select(part) for of in texts.values()]
        for index, of_sample in enumerate(zip(*read, strict=True), part.start):
            for name, text in zip(texts, of_sample, strict=True):
                if text is not None and (match := wanted.search(text)):
                    yield index, name if is_records else None, match


def _match_line(index: int, column: str | None, match: re.Match[str], *, as_json: bool) -> str:
    """The line in which a match begins."""
    text, (start, stop) = match.string, match.span()
    first = text.rfind("\n", 0, start) + 1
    last = text.find("\n", start)
    last = len(text) if last < 0 else last
    if as_json:
        return json_line({"index": index} | ({"column": column} if column else {}) | {"line": text[first:last]})
    head = click.style(f"{index}:", dim=True) + (click.style(f"{column}:", dim=True) if column else "")
    stop = min(stop, last)
    parts = (
        escaped(text[first:start]),
        click.style(escaped(text[start:stop]), fg="red", bold=True),
        escaped(text[stop:last]),
    )
    return head + "".join(parts)


COMMANDS = (info, head, get, sample, cat, grep, stats, diff)
