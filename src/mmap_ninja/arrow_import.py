"""Arrow's columns as samples: the batches of a table as those of a build."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from mmap_ninja import naming, schema, sources
from mmap_ninja.arrow_types import dtype_of, has_dtype, library, mark_of
from mmap_ninja.casting import AnyArray
from mmap_ninja.schema import Spec
from mmap_ninja.sources import Packed, Table, Values


class Batches:
    """A build's source: the batches of whatever speaks Arrow's PyCapsule protocol.

    Args:
        data: What has `__arrow_c_stream__` or `__arrow_c_array__`.
        where: The dataset, in messages.
        named: Whether samples are records; else there is one column, and its values are the samples.

    Raises:
        TypeError: if `data` is nothing of this kind, or a column holds what no dataset does.
        ValueError: if there is not exactly one column where the samples are its values.
    """

    def __init__(self, data: object, where: str, *, named: bool) -> None:
        self._where = where
        self._named = named
        self._reader = _opened(data, where)
        self._first: list[Any] = []
        rows = getattr(data, "num_rows", None)
        self.total: int | None = rows if isinstance(rows, int) else None
        if not named and len(self._reader.schema) != 1:
            names = self._reader.schema.names
            raise ValueError(
                f"{where}: the table has the columns {names!r:.200}; expected one: select it, or use RecordsMmap"
            )

    def specs(self) -> dict[str, Spec]:
        """What the columns hold. Nullable are those with nulls in the first batch."""
        batch = next(self._reader, None) if not self._first else self._first[0]
        self._first = [] if batch is None else [batch]
        arrays = _flattened(batch if batch is not None else self._empty())
        return {name: _spec(field, array, f"{self._where}: column {name!r}") for name, (field, array) in arrays.items()}

    def _empty(self) -> Any:
        pa = library()
        arrays = [pa.nulls(0, field.type) for field in self._reader.schema]
        return pa.RecordBatch.from_arrays(arrays, schema=self._reader.schema)

    def batches(self, size: int, count: int, last: object, path: Path) -> Iterator[Values[Any] | Table]:
        """The samples from position `count` on, at most `size` at a time."""
        skipped, before = 0, None
        for batch in self._all():
            left = count - skipped
            if left >= batch.num_rows:
                skipped += batch.num_rows
                before = batch.slice(max(batch.num_rows - 1, 0), 1) if batch.num_rows else before
                continue
            if left > 0:
                before, batch = batch.slice(left - 1, 1), batch.slice(left)  # noqa: PLW2901 - what is left of it
                skipped = count
            if count and before is not None:
                sources.check_resumed(count, self._sample(before), count, last, path)
                before = None
            for start in range(0, batch.num_rows, size):
                yield self._values(batch.slice(start, size))
        if skipped < count or before is not None:
            sources.check_resumed(skipped, self._sample(before) if before is not None else None, count, last, path)

    def _all(self) -> Iterator[Any]:
        yield from self._first
        yield from self._reader

    def _values(self, batch: Any) -> Values[Any] | Table:
        try:
            batch.validate(full=True)
        except library().ArrowInvalid as error:
            raise ValueError(
                f"{self._where}: the table's batch is no valid Arrow data ({error}); nothing of it was stored"
            ) from None
        values = {
            name: _values(field, array, f"{self._where}: column {name!r}")
            for name, (field, array) in _flattened(batch).items()
        }
        if self._named:
            return Table(values)
        return cast("Values[Any]", next(iter(values.values())))

    def _sample(self, batch: Any) -> Any:
        values = self._values(batch)
        if isinstance(values, Table):
            return naming.nested({name: _only(column) for name, column in values.columns.items()})
        return _only(values)


def _only(values: Any) -> Any:
    """The only sample of a column's batch."""
    if isinstance(values, Packed):
        return None if values.nulls is not None and values.nulls[0] else values.listed()[0]
    if isinstance(values, np.ma.MaskedArray) and values.mask.all():
        return None
    return values[0]


def _opened(data: object, where: str) -> Any:
    pa = library()
    try:
        if hasattr(data, "__arrow_c_stream__"):
            return pa.RecordBatchReader.from_stream(data)
        if hasattr(data, "__arrow_c_array__"):
            batch = pa.record_batch(data)
            return pa.RecordBatchReader.from_batches(batch.schema, [batch])
    except (TypeError, ValueError, pa.ArrowException) as error:
        raise TypeError(
            f"{where}: {type(data).__name__} gives no table ({error}); give a table of named columns"
        ) from None
    raise TypeError(
        f"{where}: {type(data).__name__} has no __arrow_c_stream__; give a table of pyarrow, Polars, DuckDB or "
        "whatever else speaks the Arrow PyCapsule protocol"
    )


def _flattened(batch: Any) -> dict[str, tuple[Any, Any]]:
    """The columns of a batch by dotted names: field and array each; structs are taken apart."""
    pa = library()
    found: dict[str, tuple[Any, Any]] = {}

    def add(name: str, field: Any, array: Any) -> None:
        if isinstance(array, pa.ExtensionArray):
            array = array.storage
        if pa.types.is_dictionary(array.type):
            array = array.dictionary_decode()
        if pa.types.is_struct(array.type) and array.type.num_fields and mark_of(field) != "ragged":
            for inner, values in zip(array.type, array.flatten(), strict=True):
                add(f"{name}.{inner.name}", inner, values)
        else:
            found[name] = field, array

    for field, array in zip(batch.schema, batch.columns, strict=True):
        add(field.name, field, array)
    return found


def _spec(field: Any, array: Any, where: str) -> Spec:
    """What a column of Arrow's is stored as."""
    pa, of, nullable = library(), array.type, array.null_count > 0
    types = pa.types
    if mark_of(field) == "json":
        return schema.Json(nullable=nullable)
    if mark_of(field) == "ragged":
        return schema.Ragged(dtype_of(of.field("values").type.value_type, where), nullable=nullable)
    if types.is_string(of) or types.is_large_string(of) or types.is_string_view(of):
        return schema.Text(nullable=nullable)
    if types.is_binary(of) or types.is_large_binary(of) or types.is_binary_view(of):
        return schema.Bytes(nullable=nullable)
    shape, element = [], of
    while types.is_fixed_size_list(element):
        shape.append(element.list_size)
        element = element.value_type
    if _is_list(of):
        if _is_list(of.value_type) or not has_dtype(of.value_type):
            return schema.Json(nullable=nullable)
        return schema.Ragged(dtype_of(of.value_type, where), ndim=1, nullable=nullable)
    dtype = dtype_of(element, where)
    nullable &= dtype.kind not in "mM"  # NaT stands for it
    return schema.Array(tuple(shape), dtype, nullable=nullable) if shape else schema.Scalar(dtype, nullable=nullable)


def _is_list(of: Any) -> bool:
    types = library().types
    return bool(types.is_list(of) or types.is_large_list(of) or types.is_list_view(of) or types.is_large_list_view(of))


def _values(field: Any, array: Any, where: str) -> Any:
    """The values of a column as a batch that is encoded."""
    pa, of = library(), array.type
    types, mark = pa.types, mark_of(field)
    nulls = None if array.null_count == 0 else np.asarray(array.is_null())
    if mark == "json":
        return [None if text is None else json.loads(text) for text in array.to_pylist()]
    if mark == "ragged":
        return _reshaped(array)
    if types.is_string(of) or types.is_large_string(of) or types.is_string_view(of):
        return _packed(array.cast(pa.large_utf8()), nulls)
    if types.is_binary(of) or types.is_large_binary(of) or types.is_binary_view(of):
        return _packed(array.cast(pa.large_binary()), nulls)
    if _is_list(of):
        if _is_list(of.value_type) or not has_dtype(of.value_type):
            return array.to_pylist()
        starts, stops = _bounds(array)
        values = _primitive(array.values, where, nullable=True)
        if array.values.null_count:
            before = np.concatenate([[0], np.cumsum(np.asarray(array.values.is_null()))])
            _refuse_nulls(before[stops] != before[starts], nulls, values, where)
        parts = [values[start:stop] for start, stop in zip(starts.tolist(), stops.tolist(), strict=True)]
        return parts if nulls is None else [None if null else part for part, null in zip(parts, nulls, strict=True)]
    shape, flat, within = [len(array)], array, np.zeros(len(array), bool)
    while types.is_fixed_size_list(flat.type):
        size = flat.type.list_size
        shape.append(size)
        flat = flat.values.slice(flat.offset * size, len(flat) * size)
        if flat.null_count:
            within |= np.asarray(flat.is_null()).reshape(len(array), -1).any(axis=1)
    numbers = _primitive(flat, where, nullable=True).reshape(shape)
    _refuse_nulls(within, nulls, numbers, where)
    if nulls is None or numbers.dtype.kind in "mM":
        return numbers
    if numbers.size == 0:  # in which no mask would tell of them
        return [None if null else sample for sample, null in zip(numbers, nulls, strict=True)]
    return np.ma.MaskedArray(numbers, np.broadcast_to(nulls.reshape(-1, *[1] * (len(shape) - 1)), numbers.shape))


def _bounds(array: Any) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Where each list of an array starts and stops among its values; pyarrow's casts of list views are wrong."""
    offsets = np.asarray(array.offsets).astype(np.int64)
    if library().types.is_list(array.type) or library().types.is_large_list(array.type):
        return offsets[:-1], offsets[1:]
    return offsets, offsets + np.asarray(array.sizes)


def _refuse_nulls(
    within: npt.NDArray[np.bool_], nulls: npt.NDArray[np.bool_] | None, numbers: AnyArray, where: str
) -> None:
    """Raise TypeError if there are nulls within samples that are there, for which their numbers have no value."""
    if numbers.dtype.kind not in "mM" and (within if nulls is None else within & ~nulls).any():
        raise TypeError(f"{where}: has nulls within a sample, which no array holds; nothing of this batch was stored")


def _primitive(array: Any, where: str, *, nullable: bool = False) -> AnyArray:
    """Numbers without nulls, or with something in their place where a mask tells of them."""
    pa, of = library(), array.type
    dtype = dtype_of(of, where)
    if array.null_count and not nullable and dtype.kind not in "mM":
        raise TypeError(f"{where}: has nulls within a sample, which no array holds; nothing of this batch was stored")
    if array.null_count and dtype.kind not in "mM":  # which have a value of their own for it
        fixed = pa.types.is_fixed_size_binary(of)
        array = array.fill_null(bytes(of.byte_width) if fixed else False if pa.types.is_boolean(of) else 0)
    if pa.types.is_fixed_size_binary(of):
        buffer = array.buffers()[1]
        raw: AnyArray = np.frombuffer(buffer, np.uint8) if buffer is not None else np.empty(0, np.uint8)
        width = of.byte_width
        return raw[array.offset * width : (array.offset + len(array)) * width].view(dtype)
    return np.asarray(array.to_numpy(zero_copy_only=False)).astype(dtype, copy=False)


def _packed(array: Any, nulls: npt.NDArray[np.bool_] | None) -> Packed:
    buffers = array.buffers()
    if nulls is not None:  # what lies under a null is anything
        array = array.fill_null("" if library().types.is_large_string(array.type) else b"")
        buffers = array.buffers()
    offsets = np.frombuffer(buffers[1], np.int64)[array.offset : array.offset + len(array) + 1]
    if not len(offsets):
        return Packed(b"", b"", nulls, is_text=library().types.is_large_string(array.type))
    payload = memoryview(buffers[2] if buffers[2] is not None else b"")[int(offsets[0]) : int(offsets[-1])]
    ends = (offsets[1:] - offsets[0]).astype(np.uint64).tobytes()
    return Packed(payload, ends, nulls, is_text=library().types.is_large_string(array.type))


def _reshaped(array: Any) -> list[Any]:
    """Ragged arrays from their values and shapes."""
    values, shapes = array.field("values"), array.field("shape").to_pylist()
    offsets = np.asarray(values.offsets).tolist()
    flat = _primitive(values.values, "")
    return [
        None if null else flat[start:stop].reshape(extents)
        for start, stop, extents, null in zip(
            offsets[:-1], offsets[1:], shapes, np.asarray(array.is_null()).tolist(), strict=True
        )
    ]
