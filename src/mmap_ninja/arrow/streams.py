"""What `from_arrow` takes: the tables, files and queries of other libraries, as a schema and batches."""

import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

from mmap_ninja.arrow.types import is_binary, is_text, library

_VALUES: Final = "values"  # the name given to values without one
_HIVE_NULL: Final = "__HIVE_DEFAULT_PARTITION__"
_BUFFER: Final = 1 << 20  # of a Parquet file, of which pages are read, not whole groups of rows
_ROWS: Final = 1 << 16  # to read at once, at most
_BYTES: Final = 16 << 20  # likewise, where their size is known beforehand


@dataclass(frozen=True, slots=True)
class Stream:
    """A table that is read batch by batch; queries run when the first batch is asked for."""

    schema: Any
    batches: Iterator[Any]  # all of this schema
    total: int | None = None  # rows, if that is known
    named: bool = True  # whether its columns have names; else it is the values of one


def opened(data: Any, where: str, rows: int) -> Stream:
    """The stream of anything that `from_arrow` takes.

    Args:
        data: A table, a file or folder, a query, or several of these in an iterable.
        where: The dataset, for messages.
        rows: The most rows to read at once, where the source leaves that to its reader.

    Raises:
        TypeError: if it is nothing of that.
        ValueError: if files, or the tables of an iterable, do not have the same columns.
        FileNotFoundError: if there is no file.
    """
    rows = min(rows, _ROWS)
    if isinstance(data, str | os.PathLike):
        return _of_files(Path(data), where, rows)
    if _is(data, "datasets", "Dataset"):
        return _of_hugging_face(data, rows)
    if _is(data, "datasets", "IterableDataset"):
        return _of_items((table.combine_chunks() for table in data.with_format("arrow").iter(rows)), where, rows)
    if _is(data, "polars", "LazyFrame"):
        chunks = _lazily(lambda: data.collect_batches(engine="streaming"))
        return Stream(_reader(data.clear().collect()).schema, chain.from_iterable(map(_reader, chunks)))
    if _is(data, "duckdb", "DuckDBPyRelation"):
        read = getattr(data, "to_arrow_reader", None) or data.fetch_record_batch  # its name before 1.4
        return Stream(_reader(data.limit(0)).schema, _lazily(lambda: read(rows)))
    if _is(data, "pyarrow.dataset", "Dataset"):
        read = data.scanner(batch_size=rows, batch_readahead=0, fragment_readahead=0).to_batches
        return Stream(data.schema, _lazily(read))
    if _is(data, "pandas", "DataFrame"):
        data = library().Table.from_pandas(data, preserve_index=False)
    if hasattr(data, "__arrow_c_stream__") or hasattr(data, "__arrow_c_array__"):
        return _of_protocol(data, where)
    if isinstance(data, Iterable) and not isinstance(data, bytes | Mapping):
        return _of_items(iter(data), where, rows)
    raise _refused(data, where)


def _is(data: object, module: str, name: str) -> bool:
    """Whether an object is of a class of another library, which need not be imported for that."""
    return isinstance(data, getattr(sys.modules.get(module), name, ()))


def _lazily(read: Any) -> Iterator[Any]:
    yield from read()


def _reader(table: object) -> Any:
    return library().RecordBatchReader.from_stream(table)


def _refused(data: object, where: str, why: object = "") -> TypeError:
    found = type(data).__name__ + (f" ({why})" if why else "")
    if isinstance(data, Mapping):
        return TypeError(
            f"{where}: expected a table, got {found} of {', '.join(map(repr, list(data)[:10]))}; pass one of its values"
        )
    return TypeError(
        f"{where}: expected a table, got {found}; pass a Parquet file, a table of pyarrow, Polars, DuckDB, pandas or "
        "another library with the Arrow PyCapsule protocol, or an iterable of these"
    )


def _of_protocol(data: Any, where: str) -> Stream:
    """A table, or the values of one column, from an object with Arrow's PyCapsule protocol."""
    pa = library()
    rows = getattr(data, "num_rows", None)
    total = rows if isinstance(rows, int) else None
    try:
        if hasattr(data, "__arrow_c_stream__"):
            try:
                reader = _reader(data)
                return Stream(reader.schema, reader, total)
            except pa.ArrowInvalid:  # not a table, but the values of one column
                values = pa.chunked_array(data)
        else:
            values = pa.array(data)
            if pa.types.is_struct(values.type):
                batch = pa.record_batch(data)
                return Stream(batch.schema, iter([batch]), total)
    except (TypeError, ValueError, pa.ArrowException) as error:
        raise _refused(data, where, error) from None
    reader = pa.table({_VALUES: values}).to_reader()
    return Stream(reader.schema, reader, len(values), named=False)


def _of_items(items: Iterator[Any], where: str, rows: int) -> Stream:
    """The tables of an iterable, one after the other; the first one decides on the types."""
    streams = (opened(item, f"{where}: item {number}", rows) for number, item in enumerate(items))
    first = next(streams, None)
    if first is None:
        return Stream(library().schema([]), iter(()))

    def batches() -> Iterator[Any]:
        for number, stream in enumerate(chain([first], streams)):
            for batch in stream.batches:
                yield from _fitted(batch, first.schema, f"{where}: item {number}")

    return Stream(first.schema, batches(), named=first.named)


def _of_files(path: Path, where: str, rows: int) -> Stream:
    """A Parquet file, or all in a folder in the order of their names; folders called `key=value` make a column.

    Files are read page by page. pyarrow's datasets read whole groups of rows, several ahead.
    """
    pa = library()
    import pyarrow.parquet as pq  # noqa: PLC0415 - an extra

    if path.is_dir():
        names = [file.relative_to(path) for file in path.rglob("*.parquet")]
        names = sorted(name for name in names if not any(part[0] in "._" for part in name.parts))
        if not names:
            raise ValueError(f"{where}: {path}: expected a folder of Parquet files, found no *.parquet in it")
    elif path.exists():
        names = [Path()]  # the path itself
    else:
        raise FileNotFoundError(
            f"{where}: {path}: expected a Parquet file or a folder of them, found nothing; for a URL pass a "
            "pyarrow.dataset"
        )

    def each() -> Iterator[tuple[str, dict[str, str | None], Any]]:
        for name in names:
            told = f"{where}: {path / name}"
            with _naming(told), pq.ParquetFile(path / name, pre_buffer=False, buffer_size=_BUFFER) as file:
                yield told, _keys(name.parent), file

    total, schema, keys = 0, pa.schema([]), dict[str, list[str | None]]()
    for told, of_folders, file in each():
        total += file.metadata.num_rows
        with _naming(told):
            schema = pa.unify_schemas([schema, file.schema_arrow], promote_options="permissive")
        for name, value in of_folders.items():
            keys.setdefault(name, []).append(value)
    types = {name: _type_of(values) for name, values in keys.items() if name not in schema.names}
    for name, of in types.items():
        schema = schema.append(pa.field(name, of))

    def batches() -> Iterator[Any]:
        for told, of_folders, file in each():
            groups = [file.metadata.row_group(number).total_byte_size for number in range(file.num_row_groups)]
            fitting = _BYTES * file.metadata.num_rows // max(sum(groups), 1)
            for batch in file.iter_batches(max(1, min(rows, fitting))):
                for name in of_folders.keys() & types.keys():
                    value = pa.scalar(of_folders[name]).cast(types[name])
                    batch = batch.append_column(name, pa.repeat(value, len(batch)))  # noqa: PLW2901 - all of it
                yield from _fitted(batch, schema, told)

    return Stream(schema, batches(), total)


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


def _of_hugging_face(data: Any, rows: int) -> Stream:
    """The rows that a dataset shows, by its indices and with its columns; its own table has all."""
    shown = data.with_format("arrow", columns=data.format["columns"])

    def batches() -> Iterator[Any]:
        first, count = 0, 1
        while first < len(shown):
            table = shown[first : first + count]
            yield from table.combine_chunks().to_batches()  # each row of one with indices is a chunk
            first += count
            count = max(1, min(rows, 2 * count, _BYTES * len(table) // max(table.nbytes, 1)))

    return Stream(shown[:0].schema, batches(), len(shown))


def _fitted(batch: Any, schema: Any, where: str) -> Iterator[Any]:
    """A batch with the columns and types of a schema."""
    if batch.schema == schema:
        yield batch
        return
    names, found = schema.names, batch.schema.names
    if sorted(names) != sorted(found):
        raise ValueError(
            f"{where}: expected the columns {names!r:.200}, found {found!r:.200}; nothing of it was stored"
        )
    columns = []
    for field in schema:
        told, column = f"{where}: column {field.name!r}: the first of them has {field.type}", batch.column(field.name)
        if not _keeps(column.type, field.type):
            raise ValueError(f"{told}, and this one {column.type}, whose values that could change; cast it")
        with _naming(told):
            columns.append(column.cast(field.type))
    yield library().RecordBatch.from_arrays(columns, schema=schema)


def _keeps(found: Any, wanted: Any) -> bool:
    """Whether a cast between two types keeps all values, or raises."""
    types = library().types
    found, wanted = _plain(found), _plain(wanted)
    if found == wanted or types.is_null(found):
        return True
    if types.is_struct(found) and types.is_struct(wanted):
        inner = {of.name: of.type for of in wanted}
        return all(of.name in inner and _keeps(of.type, inner[of.name]) for of in found)
    if hasattr(found, "value_type") and hasattr(wanted, "value_type"):  # lists
        return _keeps(found.value_type, wanted.value_type)
    if types.is_floating(found):
        return bool(types.is_floating(wanted) and found.bit_width <= wanted.bit_width)
    if types.is_integer(found) or types.is_boolean(found):
        return bool(types.is_integer(wanted) or types.is_floating(wanted))
    if types.is_date(found):
        return bool(types.is_date(wanted) or types.is_timestamp(wanted))
    return any(test(found) and test(wanted) for test in (_is_bytes, types.is_timestamp, types.is_duration))


def _plain(of: Any) -> Any:
    """The type of the values of a dictionary, or below an extension."""
    pa = library()
    while isinstance(of, pa.DictionaryType | pa.BaseExtensionType):
        of = of.value_type if isinstance(of, pa.DictionaryType) else of.storage_type
    return of


def _is_bytes(of: Any) -> bool:
    return is_text(of) or is_binary(of) or bool(library().types.is_fixed_size_binary(of))


@contextmanager
def _naming(where: str) -> Iterator[None]:
    """Say where pyarrow found something wrong."""
    try:
        yield
    except library().ArrowException as error:
        raise ValueError(f"{where}: {error}") from None
