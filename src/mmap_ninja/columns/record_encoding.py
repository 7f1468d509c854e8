"""Encoding of records: the values of each column as the bytes to add to its files."""

from dataclasses import replace
from typing import Any, cast

from mmap_ninja.columns import encoding, inference, nesting
from mmap_ninja.columns.batch import Batch, Parts, Table
from mmap_ninja.columns.limits import BATCH_BYTES, count_deciding
from mmap_ninja.columns.types import Column


def encode_records(
    batch: Batch[Any], path: str, first: int, columns: tuple[Column, ...]
) -> tuple[tuple[Column, ...], Parts]:
    """The bytes to add to each file of all columns, and the columns that they fit: those given, or wider ones.

    If there are no columns yet, the batch defines them.

    Args:
        batch: Dicts, dataclasses or named tuples; or a table.
        path: The dataset, for messages.
        first: The number of the first sample, for messages.
        columns: The current columns.

    Raises:
        TypeError: if a value has the wrong type.
        ValueError: if a column is missing or unknown, or a value has the wrong shape.
    """
    if not len(batch):
        return columns, ()
    table, listed = (batch, []) if isinstance(batch, Table) else (None, cast("list[Any]", batch))
    if not columns:
        columns = defined(batch, path, columns)
    if table:
        values = table.ordered(columns, path)
    else:
        names = nesting.names_of(tuple(column.name for column in columns))
        values = names.split(listed, path, first, lambda place: columns[place].type.nullable)
    encoded: list[Column] = []
    parts: list[bytes | memoryview | None] = []
    for column, of_column in zip(columns, values, strict=True):
        where, kind = f"{path}: column {column.name!r}", column.type
        if table and column.name in table.nullable and not kind.nullable:
            kind = replace(kind, nullable=True)
        try:
            kind, of_files = encoding.encode(kind, of_column, where, first)
        except (TypeError, ValueError) as error:
            try:
                encoding.refuse_nulls(kind, of_column, where, first)
            except TypeError as refusal:
                raise _mended(refusal, column, of_column) from None
            raise _mended(error, column, of_column) from None
        encoded.append(column if kind is column.type else replace(column, type=kind))
        parts += of_files
    fitting = tuple(encoded)
    return columns if fitting == columns else fitting, tuple(parts)


def defined(
    batch: Batch[Any], path: str, known: tuple[Column, ...], size_bytes: int = BATCH_BYTES
) -> tuple[Column, ...]:
    """The columns that the first samples define, beside those that are known.

    Args:
        batch: The samples.
        path: The dataset, for messages.
        known: The columns that are known.
        size_bytes: Bytes with which fewer samples decide.

    Raises:
        TypeError: if the values of a field define no type, or several that no type unites.
        ValueError: if a name is not valid, or the first samples have no fields.
    """
    try:
        if isinstance(batch, Table):
            columns = inference.of_table(batch.columns, known)
        else:
            samples = cast("list[Any]", batch)
            columns = inference.inferred(samples[: count_deciding(samples, size_bytes)], known)
        if not columns:
            raise ValueError("sample: expected at least one field, got none")
    except (TypeError, ValueError) as error:
        raise type(error)(f"{path}: {error}") from None
    return columns


def _mended(error: TypeError | ValueError, column: Column, values: Any) -> TypeError | ValueError:
    """The error, with the declaration of a column that would hold the values, if there is one."""
    declaration = inference.mending(column, values)
    if declaration is not None and type(error) in (TypeError, ValueError):
        return type(error)(f"{error}; to store such samples, build the dataset with {declaration}")
    return error
