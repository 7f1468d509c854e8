"""What `from_arrow` takes: the tables, files and queries of other libraries, as a schema and batches."""

import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Final

from mmap_ninja.arrow import files
from mmap_ninja.arrow.fitting import fitted
from mmap_ninja.arrow.types import library

_VALUES: Final = "values"  # the name given to values without one
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
        data: A table, a file or folder, a query, or several of these in an iterable; or what was opened.
        where: The dataset, for messages.
        rows: The most rows to read at once, where the source leaves that to its reader.

    Raises:
        TypeError: if it is nothing of that.
        ValueError: if files, or the tables of an iterable, do not have the same columns.
        FileNotFoundError: if there is no file.
    """
    if isinstance(data, Stream):
        return data
    rows = min(rows, _ROWS)
    if isinstance(data, str | os.PathLike):
        path = Path(data)
        return of_files(path, files.listed(path, where), where, rows)
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
        keys = ", ".join(map(repr, list(data)[:10]))
        return TypeError(
            f"{where}: expected a table, got {found} of {keys}; pass one of its values, or columns to from_columns"
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
                yield from fitted(batch, first.schema, f"{where}: item {number}")

    return Stream(first.schema, batches(), named=first.named)


def of_files(folder: Path, names: Sequence[Path], where: str, rows: int) -> Stream:
    """The rows of Parquet files, or files of Arrow, one after the other."""
    return Stream(*files.opened(folder, names, where, min(rows, _ROWS)))


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
