"""Samples as Arrow columns; files with Arrow's layout are not copied.

| samples | Arrow | not copied | |---|---|---| | strings, JSON | `large_utf8` | unless edited or compressed | | bytes |
`large_binary` | likewise | | numbers | the number's type | unless edited; `bool`, dates and big-endian numbers are
copied | | arrays of one shape | `fixed_size_list`, nested for several dimensions | likewise | | 1-D ragged arrays |
`large_list` | likewise | | other ragged arrays | a struct of `values`, a `large_list`, and `shape`, a
`large_list<int64>` | no |

Complex numbers are pairs, `S<n>` and raw bytes `fixed_size_binary`, `U<n>` is `large_utf8`. pyarrow does the rest.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from mmap_ninja._kernel import Column
from mmap_ninja.arrow.types import DTYPE_MARK, KIND_MARK, dtype_mark, element_type, is_native, library
from mmap_ninja.columns import nesting
from mmap_ninja.columns.casting import AnyArray

if TYPE_CHECKING:
    import pyarrow as pa

Nulls = npt.NDArray[np.bool_] | None

SAMPLE: Final = "sample"  # the name of the column of a dataset with only one
_BATCH_BYTES: Final = 16 << 20  # of copied samples
_BATCH_ROWS: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Exported:
    """A column of the dataset at a path."""

    column: Column
    path: Path
    is_json: bool = False


def reader(columns: Mapping[str, Exported]) -> "pa.RecordBatchReader":
    """All samples, with dotted names of columns, in one batch if no column is copied, else in several."""
    pa = library()
    exports = {name: _Export(column, name) for name, column in columns.items()}
    fields = nesting.nested({name: export.field(name.rpartition(".")[2]) for name, export in exports.items()})
    arrow_schema = pa.schema([_nested_field(name, field) for name, field in fields.items()])

    def batches() -> Iterator[Any]:
        for start, stop in _pieces(list(exports.values())):
            arrays = nesting.nested({name: export.array(start, stop) for name, export in exports.items()})
            made = [_nested_array(array, field) for array, field in zip(arrays.values(), arrow_schema, strict=True)]
            yield pa.RecordBatch.from_arrays(made, schema=arrow_schema)

    return pa.RecordBatchReader.from_batches(arrow_schema, batches())


def one_column(column: Column, path: Path) -> dict[str, Exported]:
    """The column of a dataset with only one."""
    return {SAMPLE: Exported(column, path)}


class _Export:
    """The export of a column."""

    def __init__(self, exported: Exported, name: str) -> None:
        # A selection of all, so that nothing that is written to arrays of the handle is exported.
        self.samples = samples = exported.column.selected_range(0, 1, len(exported.column))
        self.where = f"{exported.path}: column {name!r}"
        self.length = len(samples)
        is_date = samples.kind == "array" and not samples.sample_shape and np.dtype(samples.dtype).kind in "mM"
        self.nullable = samples.null_mask([]) is not None or is_date  # NaT is null in Arrow
        self._is_json = exported.is_json
        self._flat_ragged = samples.kind == "ragged" and (samples.rank == 1 or samples.dtype is None)
        self.type = self._find_type()
        self.whole = self._over_files()

    def field(self, name: str) -> Any:
        is_shaped = self.samples.kind == "ragged" and not self._flat_ragged
        kind = "json" if self._is_json else "ragged" if is_shaped else None
        marks = {KIND_MARK: kind, DTYPE_MARK: dtype_mark(self.samples.dtype)}
        metadata = {key: mark for key, mark in marks.items() if mark is not None}
        return library().field(name, self.type, nullable=self.nullable, metadata=metadata or None)

    def array(self, start: int, stop: int) -> Any:
        """The samples in a range of positions."""
        if self.whole is not None:
            return self.whole.slice(start, stop - start)
        return self._copied(self.samples.selected_range(start, 1, stop - start))

    def sizes(self) -> npt.NDArray[np.int64]:
        """Bytes of each sample that are copied."""
        if self.samples.kind == "array":
            item = 1 if self.samples.dtype is None else self.samples.dtype.itemsize
            return np.full(self.length, item * int(np.prod(self.samples.sample_shape)))
        unit = 1 if self.samples.dtype is None else self.samples.dtype.itemsize
        return self.samples.sizes() * unit

    def _find_type(self) -> Any:
        pa = library()
        match self.samples.kind:
            case "text":
                return pa.large_utf8()
            case "binary":
                return pa.large_binary()
        element = element_type(self.samples.dtype, self.where)
        if self.samples.kind == "array":
            for extent in reversed(self.samples.sample_shape):
                element = pa.list_(element, extent)
            return element
        values = pa.large_list(element)
        if self._flat_ragged:
            return values
        return pa.struct([pa.field("values", values, nullable=False), pa.field("shape", _shape_type(), nullable=False)])

    def _over_files(self) -> Any:
        """All samples over the maps of the files; None if they must be copied."""
        pa, samples = library(), self.samples
        if samples.kind == "array":
            whole = samples.whole() if samples.dtype is not None else np.empty(0)
            if whole is None or not whole.flags.c_contiguous or not is_native(whole.dtype):
                return None
            return _fixed(self.type, whole, samples.null_mask(None))
        if samples.kind == "ragged" and not (self._flat_ragged and is_native(samples.dtype)):
            return None
        offsets = samples.offsets()
        if offsets is None:
            return None
        values = samples.flat() if samples.dtype is not None or samples.kind != "ragged" else np.empty(0)
        buffers = [_bitmap(samples.null_mask(None)), pa.py_buffer(offsets)]
        if samples.kind == "ragged":
            return pa.Array.from_buffers(self.type, self.length, buffers, children=[_elements(values)])
        return pa.Array.from_buffers(self.type, self.length, [*buffers, pa.py_buffer(values)])

    def _copied(self, samples: Column) -> Any:
        pa, everything = library(), slice(None)
        nulls = samples.null_mask(None)
        validity = _bitmap(nulls)
        if samples.kind == "array":
            return _fixed(self.type, samples.take_rows(everything, None)[0], nulls)
        if samples.kind != "ragged":
            values, offsets = samples.take_jagged(everything)
            return pa.Array.from_buffers(
                self.type, len(samples), [validity, pa.py_buffer(offsets), pa.py_buffer(values)]
            )
        if self._flat_ragged:
            values, offsets = samples.take_jagged(everything)
            return pa.Array.from_buffers(
                self.type, len(samples), [validity, pa.py_buffer(offsets)], children=[_elements(values)]
            )
        dtype = samples.dtype
        arrays = [np.empty(0, dtype) if sample is None else sample for sample in samples.take(everything)]
        joined = np.concatenate([array.reshape(-1) for array in arrays]) if arrays else np.empty(0, dtype)
        shapes = np.array([extent for array in arrays for extent in array.shape], np.int64)
        lists = [
            pa.Array.from_buffers(
                of, len(arrays), [None, pa.py_buffer(_offsets_of(lengths))], children=[_elements(values)]
            )
            for of, lengths, values in (
                (self.type.field("values").type, [array.size for array in arrays], joined),
                (self.type.field("shape").type, [array.ndim for array in arrays], shapes),
            )
        ]
        return pa.Array.from_buffers(self.type, len(arrays), [validity], children=lists)


def _pieces(exports: list[_Export]) -> Iterator[tuple[int, int]]:
    """Ranges of positions whose samples fit in memory."""
    length = exports[0].length if exports else 0
    copied = [export for export in exports if export.whole is None]
    if not copied:
        yield 0, length
        return
    ends = np.cumsum(np.sum([export.sizes() for export in copied], axis=0))
    start = 0
    while start < length or (length == 0 and start == 0):
        before = int(ends[start - 1]) if start else 0
        stop = int(np.searchsorted(ends, before + _BATCH_BYTES, side="right"))
        stop = min(max(stop, start + 1), start + _BATCH_ROWS, length)
        yield start, stop
        if stop == length:
            return
        start = stop


def _nested_field(name: str, field: Any) -> Any:
    if not isinstance(field, dict):
        return field
    pa = library()
    inner = [_nested_field(inner_name, inner) for inner_name, inner in field.items()]
    return pa.field(name, pa.struct(inner), nullable=False)


def _nested_array(array: Any, field: Any) -> Any:
    if not isinstance(array, dict):
        return array
    inner = [_nested_array(of, field.type.field(name)) for name, of in array.items()]
    return library().StructArray.from_arrays(inner, fields=list(field.type))


def _shape_type() -> Any:
    pa = library()
    return pa.large_list(pa.field("item", pa.int64(), nullable=False))


def _fixed(of: Any, array: AnyArray, nulls: Nulls) -> Any:
    """An array `[n, ...]` as nested lists of fixed sizes."""
    pa = library()
    if array.ndim == 1:
        return _elements(array, nulls)
    types, lengths = [of], [len(array)]
    for extent in array.shape[1:-1]:
        types.append(types[-1].value_type)
        lengths.append(lengths[-1] * extent)
    values = _elements(array)
    for depth in range(array.ndim - 2, -1, -1):
        validity = _bitmap(nulls) if depth == 0 else None
        values = pa.Array.from_buffers(types[depth], lengths[depth], [validity], children=[values])
    return values


def _elements(array: AnyArray, nulls: Nulls = None) -> Any:
    """The elements of an array in C order as an Arrow array; not copied if they have Arrow's layout."""
    pa = library()
    flat = np.ascontiguousarray(array).reshape(-1)
    flat = flat.astype(flat.dtype.newbyteorder("="), copy=False)
    dtype = flat.dtype
    of, validity = element_type(dtype, ""), _bitmap(nulls)
    if dtype.kind in "mM":  # with a mask, pyarrow takes NaT for the earliest of all dates
        nulls = np.isnat(flat) if nulls is None else np.isnat(flat) | nulls
    if not is_native(dtype):
        return pa.array(flat.tolist() if dtype.kind == "U" else flat, of, mask=nulls)
    if dtype.kind != "c":
        return pa.Array.from_buffers(of, len(flat), [validity, pa.py_buffer(flat.view(np.uint8) if flat.size else b"")])
    parts = flat.view(flat.real.dtype)
    values = pa.Array.from_buffers(of.value_type, len(parts), [None, pa.py_buffer(parts)])
    return pa.Array.from_buffers(of, len(flat), [validity], children=[values])


def _offsets_of(lengths: Sequence[int]) -> npt.NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64)


def _bitmap(nulls: npt.NDArray[np.bool_] | None) -> Any:
    if nulls is None or not nulls.any():
        return None
    return library().py_buffer(np.packbits(~nulls, bitorder="little"))
