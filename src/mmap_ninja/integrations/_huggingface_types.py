"""What the features of Hugging Face `datasets` are in Arrow as this library writes and reads it."""

import functools
import json
import math
from collections.abc import Callable, Iterator
from typing import Any, Final

import datasets
import numpy as np
import pyarrow as pa
from datasets.features.features import require_storage_embed
from datasets.table import embed_array_storage

from mmap_ninja.arrow.types import KIND_MARK, mark_of
from mmap_ninja.kinds.handle import DatasetHandle

METADATA: Final = "huggingface"  # the key of the features in the metadata, in the form of `Features.to_dict()`

_ARRAYS: Final = {2: datasets.Array2D, 3: datasets.Array3D, 4: datasets.Array4D, 5: datasets.Array5D}
_MOST: Final = (1 << 31) - 1  # what offsets of 32 bits reach
_LISTS: Final = 1 << 22  # in one batch, whose offsets are in memory

Offsets = Callable[[int, int], Any]  # of so many lists of one size


# ---- out


def features_of(dataset: DatasetHandle[Any]) -> Any:
    """The features in the metadata; of other columns, what their types tell."""
    schema = pa.RecordBatchReader.from_stream(dataset).schema
    plain = datasets.Features.from_arrow_schema(schema)
    found = {field.name: _feature(field, plain[field.name]) for field in schema}
    told = dataset.metadata.get(METADATA, {})
    return datasets.Features(found | datasets.Features.from_dict({name: told[name] for name in found if name in told}))


def _feature(field: Any, plain: Any) -> Any:
    """The feature for a column, where that for its Arrow type does not say all."""
    if mark_of(field, KIND_MARK) == "json":
        return datasets.Json()
    if isinstance(plain, dict):
        return {name: _feature(field.type.field(name), inner) for name, inner in plain.items()}
    shape, inner = [], plain
    while isinstance(inner, datasets.List) and inner.length > 0:
        shape.append(inner.length)
        inner = inner.feature
    is_array = len(shape) in _ARRAYS and isinstance(inner, datasets.Value) and _is_number(inner.pa_type)
    return _ARRAYS[len(shape)](tuple(shape), inner.dtype) if is_array else plain


def _is_number(of: Any) -> bool:
    return bool(pa.types.is_integer(of) or pa.types.is_floating(of) or pa.types.is_boolean(of))


def table_of(dataset: DatasetHandle[Any], schema: Any) -> Any:
    """The samples as a table with the types of features: the values of `to_arrow`, perhaps with other offsets."""
    shapes = [of.shape for of in schema.types if _is_array(of)]
    rows = max(1, _LISTS // max((math.prod(shape[:-1]) for shape in shapes if shape[0] is not None), default=1))
    offsets = functools.cache(_equal_offsets)  # shared by all batches of so many rows
    batches = [
        made
        for batch in pa.RecordBatchReader.from_stream(dataset)
        for start in range(0, len(batch), rows)
        for made in _fitted(batch.slice(start, rows), schema, offsets, str(dataset.path))
    ]
    return pa.Table.from_batches(batches, schema)


def _is_array(of: Any) -> bool:
    """Whether an Arrow type is that of an `Array2D` to an `Array5D`."""
    return isinstance(of, pa.BaseExtensionType) and hasattr(of, "ndims")


def _fitted(batch: Any, schema: Any, offsets: Offsets, where: str) -> Iterator[Any]:
    """A batch with the types of a schema, in as many parts as its offsets need."""
    columns = []
    try:
        for found, column, field in zip(batch.schema, batch.columns, schema, strict=True):
            try:
                columns.append(_as(column, found, field.type, offsets))
            except (pa.ArrowException, KeyError, TypeError, ValueError) as error:
                raise TypeError(
                    f"{where}: column {field.name!r} is {column.type}, but metadata[{METADATA!r}] says {field.type}: "
                    f"{error}"
                ) from None
    except OverflowError:
        half = len(batch) // 2
        if not half:
            raise
        yield from _fitted(batch.slice(0, half), schema, offsets, where)
        yield from _fitted(batch.slice(half), schema, offsets, where)
    else:
        yield pa.RecordBatch.from_arrays(columns, schema=schema)


def _as(array: Any, found: Any, of: Any, offsets: Offsets) -> Any:
    """The values of a field with another type; their buffers are shared where only the offsets differ."""
    types, count = pa.types, len(array)
    if array.type == of:
        return array
    if not count:
        return pa.nulls(0, of)
    if mark_of(found, KIND_MARK) == "json" and (types.is_nested(of) or _is_array(of)):
        return pa.array([None if text is None else json.loads(text) for text in array.to_pylist()], of)
    if _is_array(of) and types.is_struct(array.type):
        return pa.ExtensionArray.from_storage(of, _lists(array, of))
    if isinstance(of, pa.BaseExtensionType):
        return pa.ExtensionArray.from_storage(of, _as(array, found, of.storage_type, offsets))
    if types.is_struct(of):
        inner = [_as(array.field(to.name), array.type.field(to.name), to.type, offsets) for to in of]
        return pa.StructArray.from_arrays(inner, fields=list(of), mask=array.is_null())
    if types.is_list(of) and types.is_fixed_size_list(array.type):
        size = array.type.list_size
        values = array.values.slice(array.offset * size, count * size)
        inner = [_as(values, array.type.value_field, of.value_type, offsets)]
        return pa.Array.from_buffers(of, count, [_validity(array), offsets(count, size)], children=inner)
    if types.is_list(of) and types.is_large_list(array.type):
        start, length, ends = _narrowed(array)
        inner = [_as(array.values.slice(start, length), array.type.value_field, of.value_type, offsets)]
        return pa.Array.from_buffers(of, count, [_validity(array), ends], children=inner)
    is_text = types.is_string(of) and types.is_large_string(array.type)
    if is_text or (types.is_binary(of) and types.is_large_binary(array.type)):
        start, length, ends = _narrowed(array)
        payload = array.buffers()[2].slice(start, length) if length else pa.py_buffer(b"")
        return pa.Array.from_buffers(of, count, [_validity(array), ends, payload])
    return array.cast(of)


def _narrowed(array: Any) -> tuple[int, int, Any]:
    """Where the values of an array begin, how many they are, and its offsets from 0 on in 32 bits."""
    bounds = np.frombuffer(array.buffers()[1], np.int64)[array.offset : array.offset + len(array) + 1]
    start, length = int(bounds[0]), int(bounds[-1] - bounds[0])
    if length > _MOST:
        raise OverflowError(f"{length} bytes or values of a sample are too many for offsets of 32 bits")
    return start, length, pa.py_buffer((bounds - start).astype(np.int32))


def _equal_offsets(count: int, size: int) -> Any:
    """The offsets of so many lists of one size."""
    if count * size > _MOST:
        raise OverflowError(f"{count * size} values of a sample are too many for offsets of 32 bits")
    return pa.py_buffer(np.arange(0, count * size + 1, size, dtype=np.int32))


def _validity(array: Any) -> Any:
    return pa.py_buffer(np.packbits(np.asarray(array.is_valid()), bitorder="little")) if array.null_count else None


def _lists(array: Any, of: Any) -> Any:
    """Arrays with values and shapes as nested lists."""
    samples: list[Any] = []
    for values, shape in zip(*(part.to_pylist() for part in array.flatten()), strict=True):
        if shape is not None and tuple(shape[1:]) != of.shape[1:]:
            raise ValueError(f"a sample has the shape {shape}, expected {list(of.shape)}")
        samples.append(None if shape is None else np.reshape(values, shape).tolist())
    return pa.array(samples, of.storage_type)


# ---- in


def stored_field(field: Any) -> Any:
    """The field of a column as `from_arrow` takes it."""
    of = field.type
    if isinstance(of, pa.JsonType):
        return pa.field(field.name, of.storage_type, metadata={KIND_MARK: "json"})
    if pa.types.is_struct(of):
        return pa.field(field.name, pa.struct([stored_field(inner) for inner in of]))
    if not _is_array(of):
        return field
    element = functools.reduce(lambda lists, _: lists.value_type, of.shape, of.storage_type)
    if of.shape[0] is None:
        parts = [pa.field("values", pa.large_list(element)), pa.field("shape", pa.large_list(pa.int64()))]
        return pa.field(field.name, pa.struct(parts), metadata={KIND_MARK: "ragged"})
    return pa.field(field.name, functools.reduce(pa.list_, reversed(of.shape), element))


def stored(array: Any, feature: Any, field: Any, where: str) -> Any:
    """The values of a column as `from_arrow` takes them: those of `stored_field`.

    Raises:
        FileNotFoundError: if an image, or the like, is a path at which there is nothing.
        ValueError: if an array does not have the shape of its feature.
    """
    if feature is not None and require_storage_embed(feature):
        array = embed_array_storage(array, feature)
    if isinstance(array.type, pa.JsonType):
        return array.storage
    if _is_array(array.type):
        return _arrays(array, field.type, where)
    if not pa.types.is_struct(array.type):
        return array
    inner = [stored(array.field(of.name), None, of, f"{where}: {of.name!r}") for of in field.type]
    return pa.StructArray.from_arrays(inner, fields=list(field.type), mask=array.is_null())


def _arrays(array: Any, of: Any, where: str) -> Any:
    """Nested lists as lists of fixed sizes, or, where the first size differs, as values and shapes."""
    shape, lists = array.type.shape, array.storage.drop_null()
    firsts = np.asarray(lists.value_lengths()).astype(np.int64)
    values = functools.reduce(lambda inner, _: inner.flatten(), shape, lists)
    is_fixed, size = shape[0] is not None, math.prod(shape[1:])
    if len(values) != firsts.sum() * size or (is_fixed and (firsts != shape[0]).any()):
        raise ValueError(f"{where}: expected arrays of shape {shape}, found others; nothing of this batch was stored")
    if is_fixed:
        made = functools.reduce(pa.FixedSizeListArray.from_arrays, reversed(shape), values)
    else:
        ends = np.concatenate([[0], np.cumsum(firsts * size)])
        shapes = np.column_stack([firsts, *(np.full(len(lists), extent) for extent in shape[1:])])
        parts = [
            pa.LargeListArray.from_arrays(ends, values),
            pa.LargeListArray.from_arrays(np.arange(len(lists) + 1) * len(shape), shapes.reshape(-1)),
        ]
        made = pa.StructArray.from_arrays(parts, fields=list(of))
    if not array.null_count:
        return made
    is_null = np.asarray(array.is_null())
    return made.take(pa.array(np.cumsum(~is_null) - 1, mask=is_null))
