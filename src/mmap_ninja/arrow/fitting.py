"""Batches of several tables, which are to have the columns and types of one."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mmap_ninja.arrow.types import is_binary, is_text, library


def fitted(batch: Any, schema: Any, where: str) -> Iterator[Any]:
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
        with naming(told):
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
def naming(where: str) -> Iterator[None]:
    """Say where pyarrow found something wrong."""
    try:
        yield
    except library().ArrowException as error:
        raise ValueError(f"{where}: {_line(error)}") from None
    except OSError as error:
        if error.errno is not None:  # of the system, which names the file
            raise
        raise ValueError(f"{where}: {_line(error)}") from None


def _line(error: Exception) -> str:
    """What pyarrow tells, on one line."""
    return " ".join(str(error).split())
