"""Arrow columns as samples: the batches of a table become batches of a build."""

import json
import math
import re
from collections.abc import Iterator, Mapping
from itertools import islice, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np
import numpy.typing as npt

from mmap_ninja.arrow import streams
from mmap_ninja.arrow.types import (
    KIND_MARK,
    dtype_of,
    has_dtype,
    is_binary,
    is_list,
    is_shaped,
    is_text,
    library,
    mark_of,
    marked_dtype,
)
from mmap_ninja.builds import sources
from mmap_ninja.columns import nesting
from mmap_ninja.columns.batch import Packed, Table, Values
from mmap_ninja.columns.casting import AnyArray
from mmap_ninja.columns.dtypes import DType
from mmap_ninja.columns.limits import Limits
from mmap_ninja.columns.types import MOST_DIMENSIONS

if TYPE_CHECKING:
    from mmap_ninja.columns.specs import Spec

_INDEX: Final = re.compile(r"__index_level_\d+__")  # what pyarrow calls a pandas index without a name


class Batches:
    """The source of a build: batches of whatever `from_arrow` takes.

    Args:
        data: A table, a file or folder, a query, or an iterable of tables.
        where: The dataset, for messages.
        rows: The most rows to read at once, where the source leaves that to its reader.
        named: Whether samples are records; else the values of the only column are the samples.

    Raises:
        TypeError: if `data` is nothing of that, or the type of a column cannot be stored.
        ValueError: if samples are not records, and there is not exactly one column.
    """

    undeclared: frozenset[str] = frozenset()  # columns that become nullable with their first null

    def __init__(self, data: object, where: str, rows: int, *, named: bool) -> None:
        self._where = where
        self._named = named
        self._stream = streams.opened(data, where, rows)
        self._first: list[Any] = []  # batches that were read, and checked, to find the types of columns
        self.total: int | None = self._stream.total
        if named and not self._stream.named:
            raise TypeError(
                f"{where}: expected a table of named columns, got {type(data).__name__} of "
                f"{self._stream.schema[0].type} without a name; name the column"
            )
        names = [name for name in self._stream.schema.names if not _INDEX.fullmatch(name)]
        if not named and len(names) != 1:
            raise ValueError(
                f"{where}: the table has the columns {names!r:.200}; expected one: select it, or use RecordsMmap"
            )

    def specs(self, given: "Mapping[str, Any]") -> "dict[str, Any]":
        """The types of the columns: those given, and others; nullable if there are nulls in the first batch with rows.

        If all are given, their order stays; otherwise it is that of the table.
        """
        if set(self.names) <= given.keys():
            return dict(given)
        for batch in self._stream.batches:
            self._first.append(self._checked(batch))
            if batch.num_rows:
                break
        else:
            batch = self._empty()
        found = {
            name: given[name] if name in given else _spec(field, array, where)
            for name, field, array, where in self._columns(batch)
        }
        return {**found, **given}

    def head(self, count: int) -> list[Any]:
        """The first samples, of the first batch."""
        if not self._first:
            self._first += map(self._checked, islice(self._stream.batches, 1))
        samples = list[Any]()
        for batch in self._first:
            part = batch.slice(0, count - len(samples))
            samples += [self._sample(part.slice(row, 1)) for row in range(len(part))]
        return samples

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the columns, from the schema."""
        return tuple(name for name, *_ in self._columns(self._empty()))

    def _empty(self) -> Any:
        pa, schema = library(), self._stream.schema
        return pa.RecordBatch.from_arrays([pa.nulls(0, field.type) for field in schema], schema=schema)

    def batches(self, limits: Limits, count: int, last: object, path: Path) -> Iterator[Values[Any] | Table]:
        """The samples from position `count` on, in batches within the limits."""
        skipped, before = 0, None
        for batch in self._valid():
            left = count - skipped
            if left >= batch.num_rows:
                skipped += batch.num_rows
                before = batch.slice(max(batch.num_rows - 1, 0), 1) if batch.num_rows else before
                continue
            if left > 0:
                before, batch = batch.slice(left - 1, 1), batch.slice(left)  # noqa: PLW2901 - the rest
                skipped = count
            if count and before is not None:
                sources.check_resumed(count, self._sample(before), count, last, path)
                before = None
            limits.note(batch.num_rows, batch.nbytes)
            for part in limits.sliced(batch, tells_size=False):  # it counts all texts of views and dictionaries
                yield self._values(part)
        if skipped < count or before is not None:
            sources.check_resumed(skipped, self._sample(before) if before is not None else None, count, last, path)

    def _valid(self) -> Iterator[Any]:
        """All batches, each checked once, since slices of a batch share its buffers."""
        while self._first:
            yield self._first.pop(0)
        for batch in self._stream.batches:
            yield self._checked(batch)

    def _checked(self, batch: Any) -> Any:
        try:
            batch.validate(full=True)
        except library().ArrowInvalid as error:
            raise ValueError(
                f"{self._where}: a batch of the table is not valid Arrow data ({error}); nothing of it was stored"
            ) from None
        return batch

    def _columns(self, batch: Any) -> Iterator[tuple[str, Any, Any, str]]:
        """Name, field, values and name in messages of each column; structs are split into theirs.

        A pandas index without a name is none.
        """
        pa, names = library(), set[str]()
        # By position, since names may occur twice.
        pairs = zip(batch.schema, batch.columns, strict=True)
        found = [(field.name, field, array) for field, array in pairs if not _INDEX.fullmatch(field.name)]
        while found:
            name, field, array = found.pop(0)
            where = f"{self._where}: column {name!r}"
            array = _plain(array)
            is_nested = self._named and pa.types.is_struct(array.type) and array.type.num_fields
            if is_nested and not _is_marked_shaped(field, array.type):
                inner = zip(array.type, array.flatten(), strict=True)
                found[:0] = [(f"{name}.{of.name}", of, values) for of, values in inner]
                continue
            if name in names:
                raise ValueError(f"{where}: the name occurs twice; rename one, or leave it out")
            names.add(name)
            yield name, field, array, where

    def _values(self, batch: Any) -> Values[Any] | Table:
        columns = list(self._columns(batch))
        if not columns:
            raise ValueError(f"{self._where}: the table has no columns; expected at least one")
        if self._named:
            nullable = [
                name
                for name, field, array, where in columns
                if array.null_count and name in self.undeclared and _spec(field, array, where).nullable
            ]
            values = {name: _values(field, array, where) for name, field, array, where in columns}
            return Table(values, tuple(nullable))
        ((_, field, array, where),) = columns
        if is_shaped(array.type):
            return _shaped(field, array, where)
        is_plain_text = is_text(array.type) and marked_dtype(field, array.type) is None  # JSON is read as text
        return _packed(array) if is_plain_text else cast("Values[Any]", _values(field, array, where))

    def _sample(self, batch: Any) -> Any:
        values = self._values(batch)
        if isinstance(values, Table):
            return nesting.nested({name: _only(column) for name, column in values.columns.items()})
        return _only(values)


def _only(values: Any) -> Any:
    """The only sample of a column's batch."""
    if isinstance(values, Packed):
        return None if values.nulls is not None and values.nulls[0] else values.listed()[0]
    if isinstance(values, np.ma.MaskedArray) and values.mask.all():
        return None
    return values[0]


def _plain(array: Any) -> Any:
    """The storage of an extension array; a dictionary array decoded to its values."""
    pa = library()
    while isinstance(array, pa.ExtensionArray | pa.DictionaryArray):
        if isinstance(array, pa.FixedShapeTensorArray) and array.type.shape and all(array.type.shape):
            return _of_tensors(array)
        array = array.storage if isinstance(array, pa.ExtensionArray) else array.dictionary_decode()
    return array


def _of_tensors(array: Any) -> Any:
    """Tensors as nested lists of fixed sizes; a permutation tells the order in which their axes are stored."""
    pa, nulls = library(), array.is_null()
    lists, shape = array.storage, tuple(array.type.shape)
    flat = lists.values.slice(lists.offset * math.prod(shape), len(lists) * math.prod(shape))
    order = array.type.permutation
    if order is not None and list(order) != sorted(order):
        places = np.arange(len(flat)).reshape(len(lists), *shape).transpose(0, *(axis + 1 for axis in order))
        flat, shape = flat.take(pa.array(places.reshape(-1))), places.shape[1:]
    for size in shape[:0:-1]:
        flat = pa.FixedSizeListArray.from_arrays(flat, size)
    return pa.FixedSizeListArray.from_arrays(flat, shape[0], mask=nulls)


def _spec(field: Any, array: Any, where: str) -> "Spec":
    """The column type for an Arrow column."""
    from mmap_ninja.columns import specs  # noqa: PLC0415 - all kinds import this module, but only records have specs

    of, nullable = array.type, array.null_count > 0
    if _is_marked_shaped(field, of):
        return specs.Ragged(_dtype(field, of.field("values").type.value_type, where), nullable=nullable)
    if _is_marked_json(field, of):
        return specs.Json(nullable=nullable)
    if is_list(of):
        if not _has_dtype(field, of.value_type):
            return specs.Json(nullable=nullable)
        return specs.Ragged(_dtype(field, of.value_type, where), ndim=1, nullable=nullable)
    if marked_dtype(field, of) is None:
        if is_text(of):
            return specs.Text(nullable=nullable)
        if is_binary(of):
            return specs.Bytes(nullable=nullable)
    shape, element = _shape(field, of)
    dtype = _dtype(field, element, where)
    if shape:
        return specs.Array(shape, dtype, nullable=nullable)
    return specs.Scalar(dtype, nullable=nullable and dtype.kind not in "mM")  # null becomes NaT


def _values(field: Any, array: Any, where: str) -> Any:
    """The values of a column as a batch to encode."""
    of = array.type
    if _is_marked_shaped(field, of):
        return _shaped(field, array, where)
    if _is_marked_json(field, of):
        return [None if text is None else _parsed(text, where) for text in array.to_pylist()]
    if is_list(of):
        return _rows(field, array, where) if _has_dtype(field, of.value_type) else array.to_pylist()
    if marked_dtype(field, of) is None and (is_text(of) or is_binary(of)):
        return _packed(array)
    shape, element = _shape(field, of)
    dtype = _dtype(field, element, where)
    flat, nulls = array, _nulls(array)
    excused = nulls  # a null may contain others
    for size in shape:
        flat = flat.values.slice(flat.offset * size, len(flat) * size)
        excused = None if excused is None else excused.repeat(size)
        inner = _nulls(flat)
        if inner is not None and not (dtype.kind in "mM" and not _is_fixed(flat.type)):
            _refuse_nulls(inner if excused is None else inner & ~excused, where)
    numbers = _numbers(flat, dtype).reshape(len(array), *shape)
    if nulls is None or (dtype.kind in "mM" and not shape):
        return numbers
    if not numbers.size:  # a mask would not show the nulls
        return [None if null else sample for sample, null in zip(numbers, nulls, strict=True)]
    return np.ma.MaskedArray(numbers, np.broadcast_to(nulls.reshape(-1, *[1] * len(shape)), numbers.shape))


def _is_fixed(of: Any) -> bool:
    """Whether all lists of a type have the same length."""
    return bool(library().types.is_fixed_size_list(of))


def _shape(field: Any, of: Any) -> tuple[tuple[int, ...], Any]:
    """The shape of a sample from nested lists of fixed sizes, and the type of its elements."""
    shape: list[int] = []
    while _is_fixed(of) and marked_dtype(field, of) is None:
        shape.append(of.list_size)
        of = of.value_type
    return tuple(shape), of


def _dtype(field: Any, of: Any, where: str) -> DType:
    marked = marked_dtype(field, of)
    return dtype_of(of, where) if marked is None else marked


def _has_dtype(field: Any, of: Any) -> bool:
    return has_dtype(of) or marked_dtype(field, of) is not None


def _is_marked_json(field: Any, of: Any) -> bool:
    return mark_of(field, KIND_MARK) == "json" and is_text(of)


def _is_marked_shaped(field: Any, of: Any) -> bool:
    return mark_of(field, KIND_MARK) == "ragged" and is_shaped(of)


def _nulls(array: Any) -> npt.NDArray[np.bool_] | None:
    return None if array.null_count == 0 else np.asarray(array.is_null())


def _refuse_nulls(nulls: npt.NDArray[np.bool_], where: str) -> None:
    if nulls.any():
        raise TypeError(
            f"{where}: has nulls within a sample, which arrays cannot hold; nothing of this batch was stored"
        )


def _elements(array: Any, dtype: DType, where: str) -> AnyArray:
    """The elements of samples; they may not be null, except dates, which become NaT."""
    if array.null_count and dtype.kind not in "mM":
        _refuse_nulls(np.asarray(array.is_null()), where)
    return _numbers(array, dtype)


def _numbers(array: Any, dtype: DType) -> AnyArray:
    """Elements as a NumPy array, not copied if the layout is the same; nulls have any value."""
    pa, native = library(), dtype.newbyteorder("=")
    if dtype.kind == "c":
        parts = array.values.slice(2 * array.offset, 2 * len(array))
        pairs = _numbers(parts, np.dtype(f"f{dtype.itemsize // 2}"))
        return np.ascontiguousarray(pairs).view(native).astype(dtype, copy=False)
    if dtype.kind == "U":
        return np.array(array.fill_null("").to_pylist(), dtype)
    if dtype.kind == "b":
        return np.asarray(array.fill_null(False).to_numpy(zero_copy_only=False))
    if dtype.kind in "mM":
        dates = np.asarray(array.to_numpy(zero_copy_only=False))
        numbers = dates.astype(dtype, copy=False)
        if ((numbers != dates) & ~np.isnat(dates)).any():
            raise ValueError(f"dates that are marked as {dtype} have fractions of it; drop the metadata of the field")
        return numbers
    buffer, width = array.buffers()[1], dtype.itemsize
    raw: AnyArray = np.empty(0, np.uint8) if buffer is None or not len(array) else np.frombuffer(buffer, np.uint8)
    of: Any = array.type
    stored = native if not pa.types.is_fixed_size_binary(of) else dtype
    return raw[array.offset * width : (array.offset + len(array)) * width].view(stored).astype(dtype, copy=False)


def _packed(array: Any) -> Packed:
    """Texts or byte strings without an object for each."""
    pa, texts, nulls = library(), is_text(array.type), _nulls(array)
    array = array.cast(pa.large_utf8() if texts else pa.large_binary())
    if nulls is not None:  # the bytes below a null are arbitrary
        array = array.fill_null("" if texts else b"")
    _, offsets, payload = array.buffers()
    bounds = _int64(offsets)[array.offset : array.offset + len(array) + 1] if len(array) else np.zeros(1, np.int64)
    values = memoryview(b"" if payload is None else payload)[int(bounds[0]) : int(bounds[-1])]
    return Packed(values, (bounds[1:] - bounds[0]).astype(np.uint64).tobytes(), nulls, str if texts else bytes)


def _int64(buffer: Any) -> npt.NDArray[np.int64]:
    return np.frombuffer(buffer, np.int64, buffer.size // 8)


def _rows(field: Any, array: Any, where: str) -> Packed:
    """1-D arrays without an object for each."""
    ends, values = _flattened(field, array, where)
    payload = np.ascontiguousarray(values).view(np.uint8).data
    return Packed(payload, ends.astype(np.uint64).tobytes(), _nulls(array), values.dtype)


def _flattened(field: Any, lists: Any, where: str) -> tuple[npt.NDArray[np.int64], AnyArray]:
    """The end of each list in the elements of all, and these elements; a null has none.

    Not by a cast to one type of lists, which changes those of sliced list views (pyarrow 26).
    """
    lengths = lists.value_lengths()
    lengths = lengths.fill_null(0) if lengths.null_count else lengths
    dtype = _dtype(field, lists.type.value_type, where)
    return np.cumsum(np.asarray(lengths), dtype=np.int64), _elements(lists.flatten(), dtype, where)


def _shaped(field: Any, array: Any, where: str) -> list[Any]:
    """Arrays of several dimensions from their values and shapes."""
    values, shapes = array.flatten()  # null where the array is
    ends, flat = _flattened(field, values, where)
    samples: list[Any] = []
    bounds = pairwise([0, *ends.tolist()])
    for (start, stop), shape, null in zip(bounds, shapes.to_pylist(), array.is_null().to_pylist(), strict=True):
        fits = shape is not None and len(shape) <= MOST_DIMENSIONS and all(e is not None and e >= 0 for e in shape)
        if not null and not (fits and math.prod(shape) == stop - start):
            raise ValueError(
                f"{where}: the shape {shape!r:.80} does not match its {stop - start} values; nothing of this batch was "
                "stored"
            )
        samples.append(None if null else flat[start:stop].reshape(shape))
    return samples


def _parsed(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"{where}: expected JSON, got {text!r:.80} ({error}); nothing of this batch was stored"
        ) from None
