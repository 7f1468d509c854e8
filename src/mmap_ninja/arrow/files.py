"""Files of tables, in the formats of Parquet and of Arrow: one, or those of a folder as one table."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

from mmap_ninja.arrow.fitting import fitted, naming
from mmap_ninja.arrow.types import library

PARQUET: Final = (".parquet",)
ARROW: Final = (".arrow", ".arrows", ".feather", ".ipc")

_HIVE_NULL: Final = "__HIVE_DEFAULT_PARTITION__"
_BUFFER: Final = 1 << 20  # of a Parquet file, of which pages are read, not whole groups of rows
_BYTES: Final = 16 << 20  # of rows to read at once, at most, where their size is known beforehand
_STREAM: Final = b"\xff\xff\xff\xff"  # the begin of each message of Arrow
_STREAM_END: Final = _STREAM + bytes(4)


class _File(NamedTuple):
    """An open file."""

    schema: Any
    total: int | None
    batches: Callable[[int], Iterator[Any]]  # of so many rows, at most, where that can be chosen


def listed(path: Path, where: str) -> list[Path]:
    """The names of the files at a path, relative to it: those of Parquet in a folder, or else those of Arrow.

    Raises:
        FileNotFoundError: if there is nothing.
        ValueError: if there are no such files in a folder.
    """
    if not path.exists():
        raise FileNotFoundError(
            f"{where}: {path}: expected a Parquet or Arrow file or a folder of them, found nothing; for a URL pass a "
            "pyarrow.dataset"
        )
    if not path.is_dir():
        return [Path()]  # the path itself
    names = sorted(file.relative_to(path) for file in path.rglob("*") if file.is_file())
    names = [name for name in names if not any(part[0] in "._" for part in name.parts)]
    for suffixes in (PARQUET, ARROW):
        found = [name for name in names if name.name.lower().endswith(suffixes)]
        if found:
            return found
    raise ValueError(
        f"{where}: {path}: expected a folder of Parquet or Arrow files, found no *.parquet or *.arrow in it"
    )


def opened(folder: Path, names: Sequence[Path], where: str, rows: int) -> tuple[Any, Iterator[Any], int | None]:
    """The schema of files, their batches, and how many rows they have, if that is known.

    Files are read page by page. pyarrow's datasets read whole groups of rows, several ahead.

    Args:
        folder: Where the files are; folders below it that are called `key=value` make a column.
        names: The files, relative to the folder.
        where: The dataset, for messages.
        rows: The most rows to read at once.

    Raises:
        ValueError: if files cannot be read, or do not have the same columns.
    """
    pa = library()
    # The path itself, where it is what the dataset is made of.
    told = {name: str(folder / name) if where == str(folder) else f"{where}: {folder / name}" for name in names}
    total: int | None = 0
    schema, keys = pa.schema([]), dict[str, list[str | None]]()
    for name in names:
        with _open(folder / name, told[name]) as file:
            total = None if total is None or file.total is None else total + file.total
            with naming(told[name]):
                known = [schema] if schema else []  # the metadata is that of the first one
                schema = pa.unify_schemas([*known, file.schema], promote_options="permissive")
        for key, value in _keys(name.parent).items():
            keys.setdefault(key, []).append(value)
    types = {key: _type_of(values) for key, values in keys.items() if key not in schema.names}
    for key, of in types.items():
        schema = schema.append(pa.field(key, of))

    def batches() -> Iterator[Any]:
        for name in names:
            of_folders = _keys(name.parent)
            with _open(folder / name, told[name]) as file:
                for batch in _named(file.batches(rows), told[name]):
                    for key in of_folders.keys() & types.keys():
                        value = pa.scalar(of_folders[key]).cast(types[key])
                        batch = batch.append_column(key, pa.repeat(value, len(batch)))  # noqa: PLW2901 - all of it
                    yield from fitted(batch, schema, told[name])

    return schema, batches(), total


@contextmanager
def _open(path: Path, told: str) -> Iterator[_File]:
    """A file, by what it begins with."""
    pa = library()
    with path.open("rb") as raw:
        start = raw.read(6)
    if start.startswith(b"FEA1"):
        raise ValueError(
            f"{told}: is of Feather's version 1; read it by pyarrow.feather, and write it again as version 2"
        )
    if start == b"ARROW1" or start.startswith(_STREAM):
        with pa.memory_map(str(path)) as source:
            with naming(told):
                file = _of_arrow(source) if start == b"ARROW1" else _of_stream(source)
            yield file
        return
    import pyarrow.parquet as pq  # noqa: PLC0415 - an extra

    with naming(told):
        reader = pq.ParquetFile(path, pre_buffer=False, buffer_size=_BUFFER, page_checksum_verification=True)
    with reader, ThreadPoolExecutor(1) as thread:
        yield _of_parquet(reader, thread)


def _of_parquet(reader: Any, thread: ThreadPoolExecutor) -> _File:
    metadata = reader.metadata
    groups = [metadata.row_group(number).total_byte_size for number in range(metadata.num_row_groups)]
    fitting = max(1, _BYTES * metadata.num_rows // max(sum(groups), 1))
    return _File(
        reader.schema_arrow, metadata.num_rows, lambda rows: _ahead(reader.iter_batches(min(rows, fitting)), thread)
    )


def _ahead(batches: Iterator[Any], thread: ThreadPoolExecutor) -> Iterator[Any]:
    """The same batches; the next one is read while one is stored, which takes about as long."""
    pending = thread.submit(next, batches, None)
    while (batch := pending.result()) is not None:
        pending = thread.submit(next, batches, None)
        yield batch
        del batch  # before the one after the next is read


def _of_arrow(source: Any) -> _File:
    """A file of Arrow, which Feather is, too: its batches are as they were written, and mapped into memory."""
    reader = library().ipc.open_file(source)
    numbers = range(reader.num_record_batches)
    return _File(reader.schema, None, lambda _: map(reader.get_batch, numbers))


def _of_stream(source: Any) -> _File:
    """A stream of Arrow in a file."""
    reader = library().ipc.open_stream(source)

    def batches(_: int) -> Iterator[Any]:
        yield from reader
        # Its reader takes a stream that was cut off between two batches for a whole one.
        end = source.read_at(len(_STREAM_END), max(source.size() - len(_STREAM_END), 0))
        if end != _STREAM_END:
            raise library().ArrowInvalid("has no mark at its end: it may be cut off; write it again")

    return _File(reader.schema, None, batches)


def _named(batches: Iterator[Any], told: str) -> Iterator[Any]:
    """Batches; an error in reading one tells of which file."""
    while True:
        with naming(told):
            batch = next(batches, None)
        if batch is None:
            return
        yield batch


def _keys(folder: Path) -> dict[str, str | None]:
    """The columns that are in the names of folders, as Hive and its readers write them."""
    pairs = [part.partition("=") for part in folder.parts if "=" in part]
    return {key: None if value == _HIVE_NULL else unquote(value) for key, _, value in pairs}


def _type_of(values: list[str | None]) -> Any:
    """The type of a column in the names of folders."""
    pa = library()
    try:
        return pa.array(values, pa.string()).cast(pa.int64()).type
    except pa.ArrowInvalid:
        return pa.string()
