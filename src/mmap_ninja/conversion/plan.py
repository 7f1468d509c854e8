"""A conversion before it starts: what was found at a path, and what it will be stored as."""

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any, Final, TypeVar

from mmap_ninja.arrow import ingest
from mmap_ninja.builds import paced, sources
from mmap_ninja.builds.build import Options, find_refused
from mmap_ninja.builds.located import locate
from mmap_ninja.columns import codec as codecs
from mmap_ninja.columns import inference, specs
from mmap_ninja.columns.limits import DECIDING_SAMPLES, Limits
from mmap_ninja.columns.specs import Codec
from mmap_ninja.columns.types import Array, Binary, Json, Text, Zstd
from mmap_ninja.conversion.find import find
from mmap_ninja.conversion.sifting import agreed, readable, sifted
from mmap_ninja.conversion.source import Source, Wanted
from mmap_ninja.engine import files
from mmap_ninja.engine.dataset import Columns
from mmap_ninja.engine.directory import is_vacant, unfinished
from mmap_ninja.errors import LockTimeoutError, MmapNinjaError
from mmap_ninja.format.meta import Kind, first_columns, one_column
from mmap_ninja.kinds.handle import DatasetHandle
from mmap_ninja.kinds.opening import CLASSES
from mmap_ninja.kinds.opening import open as open_dataset
from mmap_ninja.kinds.options import PathLike

T = TypeVar("T")

_SHOWN: Final = 3  # of the first samples
_ROWS: Final = 1 << 14  # of a table to store at once, at most: fewer cost more than what is in them
_LEVEL: Final = 3  # of zstd, its default


@dataclass(frozen=True, slots=True)
class Plan:
    """What a conversion reads and stores.

    Args:
        found: What lies at the path.
        columns: The columns of a new dataset.
        declared: Those that are known without any sample.
        first: The first samples.
        samples: All samples, as a build takes them.
        options: How the build runs.
    """

    found: Source
    columns: Columns
    declared: Columns
    first: list[Any]
    samples: Any
    options: Options

    def store(self, out_dir: PathLike, *, verbose: bool) -> DatasetHandle[Any]:
        """Read all samples, and store them; an error has a note that tells what is stored."""
        cls, path = CLASSES[self.found.kind], files.absolute(out_dir)
        is_new = self.options.if_exists in ("replace", "error") or is_vacant(path)
        columns = self.columns if is_new else self.declared
        # The schema of a table tells all columns.
        is_closed = is_new and self.found.feed == "arrow" and self.found.kind == "records"
        options = replace(self.options, verbose=verbose, is_closed=is_closed)
        self.first.clear()  # they may be large
        try:
            made: DatasetHandle[Any] = cls._build(out_dir, self.samples, None, options, columns)
        except (LockTimeoutError, FileExistsError):  # another process goes on
            raise
        except BaseException as error:
            with suppress(OSError, MmapNinjaError):  # what else went wrong is to be raised
                # What is appended cannot be resumed; an earlier build may have been interrupted here.
                if self.options.if_exists != "append" and (stored := unfinished(path)) is not None:
                    error.add_note(f"{out_dir}: {stored:,} samples are stored; if_exists='resume' goes on after them")
            raise
        return made


def plan(
    source: Path, out_dir: PathLike, wanted: Wanted, options: Options, *, codec: Codec | None, n_jobs: int | None
) -> Plan:
    """Find out what lies at a path, and what it will be stored as.

    The first samples are read and encoded, so that most of what can be wrong with a source is told before anything is
    created.

    Raises:
        FileNotFoundError: if there is nothing.
        ValueError: if it cannot be converted.
        TypeError: if the first samples have no type in common.
        ImportError: if the format, or the codec, needs an extra.
    """
    found = find(source, wanted)
    _check_jobs(found, source, wanted, n_jobs)
    if codec is not None and found.kind in ("array", "ragged"):
        raise ValueError(f"{source}: codec has no use here: it compresses texts, bytes and JSON; leave it out")
    options = replace(options, metadata=found.metadata, is_coded=codec is not None)
    is_records = found.kind == "records"
    declared = specs.columns_of(found.columns) if is_records else first_columns(found.kind)
    columns, samples = declared, found.samples
    match found.feed:
        case "dataset":
            columns = samples._columns_to_store()  # noqa: SLF001 - as `save` does
            first, samples = list(samples[:_SHOWN]), sources.Shown(samples)
        case "arrow":
            options = replace(options, batch_size=_ROWS)
            samples = ingest.Batches(samples, str(source), _ROWS, named=is_records)
            if is_records:
                wanted.check_columns(samples.names, source)
                given = specs.flat(found.columns)
                samples.undeclared = frozenset(samples.names) - given.keys()
                columns = specs.columns_of(samples.specs(given))
                options = replace(options, names=samples.names, undeclared=samples.undeclared)
            first = samples.head(_SHOWN)
        case "ndarray":
            columns = declared = one_column(Array(samples.dtype, samples.shape[1:]))
            first, samples = list(samples[:_SHOWN]), sources.Sliced(samples)
        case "generator" | "indexable":
            options = replace(options, place=found.place)
            stored = _stored(out_dir, found.kind) if options.if_exists == "append" else ()
            columns, held, rest = _begun(found, declared, stored, source, wanted, options.batch_bytes)
            first = held[:_SHOWN]
            if found.feed == "indexable" and wanted.skipped is None:
                samples = paced.indexed(samples, n_jobs, options)
            else:
                samples = sources.Iterated(chain(_drained(held), rest), found.total, lambda _: str(source))
    return Plan(found, _coded(columns, codec), _coded(declared, codec), first, samples, options)


def _check_jobs(found: Source, source: Path, wanted: Wanted, n_jobs: int | None) -> None:
    """Raise ValueError if the source is read by one process, and several are wanted."""
    if n_jobs in (None, 1) or (found.feed == "indexable" and wanted.skipped is None):
        return
    why = f"{found.form} is read by one process" if found.feed != "indexable" else "on_error='skip' takes one process"
    raise ValueError(f"{source}: n_jobs has no use here: {why}; leave it out")


def _stored(out_dir: PathLike, kind: Kind) -> Columns:
    """The columns of the dataset to which samples are appended; none, if there is no dataset."""
    if is_vacant(files.absolute(out_dir)):
        return ()
    with open_dataset(out_dir, "r", kind=kind) as dataset:
        columns: Columns = dataset._columns_to_store()  # noqa: SLF001 - as builds see it
    return columns


def _begun(
    found: Source, declared: Columns, stored: Columns, source: Path, wanted: Wanted, batch_bytes: int
) -> tuple[Columns, list[Any], Iterator[Any]]:
    """The columns that are stored, or that the first samples define; these samples, and the others."""
    cls, limits, skipped = CLASSES[found.kind], Limits(DECIDING_SAMPLES, batch_bytes), wanted.skipped
    encode = cls._encode
    numbers, held = list[int](), list[Any]()
    numbered = _numbered(found) if skipped is None else readable(found, skipped)
    limits.fill(held, _noted(numbered, numbers))
    columns = stored or declared
    try:
        if found.kind == "records" and held and not stored and not inference.are_known(held[0], declared):
            columns = (inference.inferred if skipped is None else agreed)(held, declared)
    except (TypeError, ValueError, RecursionError) as error:
        raise type(error)(f"{source}: {_placed(str(error), found, numbers)}") from None
    if skipped is not None:
        numbered = chain(zip(numbers, _drained(held), strict=True), numbered)
        rest = sifted(numbered, encode, columns, source, found, skipped, limits)
        return columns, list(islice(rest, _SHOWN)), rest
    try:
        encode(held, str(source), 0, columns)
    except (TypeError, ValueError, RecursionError) as error:
        locate(error, found.place(numbers[find_refused(encode, held, str(source), 0, columns)]))
        raise
    return columns, held, (sample for _, sample in numbered)


def _numbered(found: Source) -> Iterator[tuple[int, Any]]:
    if found.feed == "generator":
        return enumerate(found.samples)
    return ((index, found.samples[index]) for index in range(len(found.samples)))


def _noted(numbered: Iterator[tuple[int, T]], numbers: list[int]) -> Iterator[T]:
    for number, sample in numbered:
        numbers.append(number)
        yield sample


def _drained(held: list[T]) -> Iterator[T]:
    """The items of a list, which does not keep them."""
    held.reverse()
    while held:
        yield held.pop()


def _placed(message: str, found: Source, numbers: list[int]) -> str:
    """A message about the first samples that says where they come from, not only which they are."""

    def place(match: re.Match[str]) -> str:
        number = int(match[1])
        return found.place(numbers[number]) if number < len(numbers) else match[0]

    return re.sub(r"\bsample (\d+)", place, message)


def _coded(columns: Columns, codec: Codec | None) -> Columns:
    """The columns with a codec for those that can have one, and have none."""
    if codec is None:
        return columns
    codecs.library()  # raises before a dataset is created, if it is missing
    zstd = Zstd(_LEVEL)
    return tuple(
        replace(column, type=replace(column.type, codec=zstd))
        if isinstance(column.type, Text | Binary | Json) and column.type.codec is None
        else column
        for column in columns
    )
