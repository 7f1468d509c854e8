"""Encoding: a batch of one column as the bytes to add to its files."""

from dataclasses import replace
from functools import partial
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt

from mmap_ninja import _kernel
from mmap_ninja.columns import codec, foreign
from mmap_ninja.columns.batch import Packed, Parts, Values
from mmap_ninja.columns.casting import AnyArray, checked_dtype, convert, find_dtype, is_float, is_masked_array
from mmap_ninja.columns.dtypes import DType
from mmap_ninja.columns.json_values import as_json
from mmap_ninja.columns.types import MOST_DIMENSIONS, Array, Binary, ColumnType, Json, Ragged, ShapeForm, Text

A = TypeVar("A", Array, Ragged)


def encode(column: ColumnType, batch: Values[Any], where: str, first: int) -> tuple[ColumnType, Parts]:
    """The bytes to add to each file of a column, and the type that they fit: the given one, or a wider one.

    Args:
        column: The current type of the column.
        batch: The samples; if the column is nullable, None for a missing one.
        where: The dataset and the column, for messages.
        first: The number of the first sample, for messages.

    Raises:
        TypeError: if a sample has the wrong type.
        ValueError: if a sample has the wrong shape, or a text cannot be stored.
    """
    if not len(batch):
        return column, ()
    nulls = _nulls(batch, where, first) if column.nullable or not isinstance(batch, list) else None
    if nulls is not None and not column.nullable:
        raise TypeError(
            f"{where}: sample {first + int(np.argmax(nulls))}: is None, which the column does not allow; nothing of "
            "this batch was stored: make the column with nullable=True, or call set_nullable"
        )
    if nulls is not None and isinstance(batch, list):
        filler = _filler(column, batch)
        batch = [filler if null else sample for sample, null in zip(batch, nulls.tolist(), strict=True)]
    if isinstance(batch, np.ndarray) and is_masked_array(batch):
        batch = np.where(np.ma.getmaskarray(batch), np.zeros((), batch.dtype), batch.data)
    try:
        encoded, parts = _encode(column, batch, where, first, nulls)
    except TypeError:
        known = _known(column, batch, where)
        if known is None:
            raise
        encoded, parts = _encode(column, known, where, first, nulls)
    if not column.nullable:
        return encoded, parts
    return encoded, (*parts, bytes(len(batch)) if nulls is None else nulls.tobytes())


def _nulls(batch: Values[Any], where: str, first: int) -> npt.NDArray[np.bool_] | None:
    """Which samples are missing; None if all are there."""
    if isinstance(batch, Packed):
        return batch.nulls
    if isinstance(batch, np.ndarray):
        if not is_masked_array(batch) or not np.ma.is_masked(batch):
            return None
        mask = np.ma.getmaskarray(batch).reshape(len(batch), -1)
        nulls = np.asarray(mask.all(axis=1))
        if (partly := mask.any(axis=1) & ~nulls).any():
            raise TypeError(
                f"{where}: sample {first + int(np.argmax(partly))}: only some of its elements are masked, and the "
                "others would be lost; nothing of this batch was stored: mask all of them, or fill them"
            )
        return nulls
    kinds = {kind for kind in set(map(type, batch)) if kind is type(None) or foreign.reader_of(kind)}
    if not kinds:
        return None
    nulls = np.array([type(sample) in kinds and foreign.is_null(sample) for sample in batch])
    return nulls if nulls.any() else None


def refuse_nulls(column: ColumnType, values: Any, where: str, first: int) -> None:
    """Raise TypeError if a column is not nullable and there is a None among its values."""
    if column.nullable or isinstance(values, np.ndarray | Packed):
        return
    for number, value in enumerate(values, first):
        if foreign.is_null(value):
            raise TypeError(
                f"{where}: sample {number}: is None, which the column does not allow; nothing of this batch was "
                "stored: make the column with nullable=True, or call set_nullable"
            ) from None


def filler(column: ColumnType) -> Any:
    """A sample that fits a column, for rows that were deleted."""
    return None if column.nullable else _filler(column, [])


def _known(column: ColumnType, batch: Values[Any], where: str) -> list[Any] | None:
    """Samples of text, bytes or JSON as plain values; None if they are plain already."""
    if not isinstance(batch, list) or isinstance(column, Array | Ragged):
        return None
    if not any(map(foreign.reader_of, set(map(type, batch)))):
        return None
    known = [foreign.plain(sample, where) for sample in batch]
    return [value.tolist() if isinstance(value, np.ndarray) else value for value in known]


def _encode(
    column: ColumnType, batch: Values[Any], where: str, first: int, nulls: npt.NDArray[np.bool_] | None
) -> tuple[ColumnType, Parts]:
    if isinstance(batch, Packed):
        match column:
            case Text() | Binary() if batch.of is str or (batch.of is bytes and isinstance(column, Binary)):
                return _compress(column, batch.payload, batch.ends, where, first)
            case Ragged(dtype=None | batch.of, ranks=None | (1, 1), ndim=None | 1) if isinstance(batch.of, np.dtype):
                column = replace(column, dtype=checked_dtype(batch.of, where)) if column.dtype is None else column
                return column.with_ranks(1, 1), (batch.payload, batch.ends)
        batch = batch.listed()
        if isinstance(column, Json):  # it holds lists, not arrays
            batch = [value.tolist() if isinstance(value, np.ndarray) else value for value in batch]
    match column:
        case Array():
            return _encode_arrays(column, batch, where, first)
        case Ragged():
            return _encode_ragged(column, batch, where, first)
        case Text():
            packed = _kernel.encode_text(_listed(batch), where, first)
        case Binary():
            packed = _kernel.encode_binary(_listed(batch), where, first)
        case Json():
            texts = [
                "" if nulls is not None and nulls[k] else as_json(value, where, first + k)
                for k, value in enumerate(batch)
            ]
            packed = _kernel.encode_text(texts, where, first)
    return _compress(column, *packed, where, first)


def _compress(
    column: Text | Binary | Json, payload: bytes | memoryview, ends: bytes, where: str, first: int
) -> tuple[ColumnType, Parts]:
    if column.codec is None:
        return column, (payload, ends)
    if column.codec.is_untrained:
        dictionary = codec.train(column.codec, payload, ends, where)
        column = replace(column, codec=replace(column.codec, dictionary=dictionary))
    assert column.codec is not None  # noqa: S101 - for the type checker
    return column, codec.opened(column.codec, where).encode(payload, ends, where, first)


def _encode_arrays(column: Array, batch: Values[Any], where: str, first: int) -> tuple[Array, Parts]:
    column, dtype = _with_dtype(column, batch, where, first)
    cast_ = partial(convert, dtype=dtype, path=where, declared=column.declared)
    data: bytes | memoryview
    if column.shape == () and isinstance(batch, list):
        batch = _stacked(batch, dtype, declared=column.declared)
    if isinstance(batch, np.ndarray):
        array = batch if batch.dtype == dtype else cast_(batch, first, stacked=True)
        shape, data = array.shape[1:], np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
        _check_shape(shape, column, where, first)
    else:
        arrays, _, _ = _kernel.convert_samples(batch, dtype, cast_, first)
        shape = arrays[0].shape if column.shape is None else column.shape
        for number, array in enumerate(arrays, first):
            if array.shape != shape:
                _check_shape(array.shape, replace(column, shape=shape), where, number)
        data = _kernel.encode_arrays(arrays)
    if len(shape) > MOST_DIMENSIONS - 1:
        raise ValueError(f"{where}: samples have {len(shape)} dimensions; expected at most {MOST_DIMENSIONS - 1}")
    return replace(column, shape=shape) if column.shape is None else column, (data,)


def _stacked(batch: list[Any], dtype: DType, *, declared: bool) -> Values[Any]:
    """Python's numbers as one array, if that converts as each of them does; one by one they take much longer."""
    kinds = set(map(type, batch))
    if len(kinds) > 1 or not kinds <= {bool, int, float}:
        return batch
    array = np.array(batch)
    is_rounded = declared and array.dtype == np.float64 and is_float(dtype)
    return array if array.dtype in (dtype, np.int64) or is_rounded else batch


def _encode_ragged(column: Ragged, batch: Values[Any], where: str, first: int) -> tuple[Ragged, Parts]:
    column, dtype = _with_dtype(column, batch, where, first)
    cast_ = partial(convert, dtype=dtype, path=where, declared=column.declared)
    arrays, least, greatest = _kernel.convert_samples(_listed(batch), dtype, cast_, first)
    if greatest > MOST_DIMENSIONS:
        raise ValueError(f"{where}: a sample has {greatest} dimensions; expected at most {MOST_DIMENSIONS}")
    if column.ndim is not None and not least == greatest == column.ndim:
        number = next(number for number, array in enumerate(arrays, first) if array.ndim != column.ndim)
        raise ValueError(
            f"{where}: sample {number}: expected {column.ndim} dimensions, got {arrays[number - first].ndim}; nothing "
            "of this batch was stored"
        )
    column = column.with_ranks(least, greatest)
    payload, ends, shapes = _kernel.encode_ragged(arrays, column.shape_width, column.shape_form is ShapeForm.RANKED)
    return column, (payload, ends, shapes) if column.shape_width else (payload, ends)


def _with_dtype(column: A, batch: Values[Any], where: str, first: int) -> tuple[A, DType]:
    """The column with its dtype; if that is not decided yet, the first sample with an element decides."""
    if column.dtype is None or column.undecided:
        dtype, is_decided = find_dtype(cast("list[Any]", batch), where, first)
        if column.dtype is None or is_decided:
            column = replace(column, dtype=dtype)
        if isinstance(column, Ragged):
            column = replace(column, undecided=not is_decided)
    return column, cast("DType", column.dtype)


def _check_shape(shape: tuple[int, ...], column: Array, where: str, number: int) -> None:
    if column.shape is not None and shape != column.shape:
        raise ValueError(
            f"{where}: sample {number}: expected shape {column.shape}, got {shape}; nothing of this batch was stored: "
            "for several shapes use RaggedMmap or Ragged"
        )


def _filler(column: ColumnType, batch: list[Any]) -> Any:
    """The value stored for a missing sample."""
    match column:
        case Array():
            return np.zeros(column.shape or (), column.dtype)
        case Ragged():
            present = next((sample for sample in batch if not foreign.is_null(sample)), None)
            rank = column.ndim if column.ranks is None else column.ranks[1]
            if rank is None:
                rank = 1 if present is None else np.ndim(present)
            return _empty(rank, column.dtype)
        case Binary():
            return b""
        case _:
            return ""


def _empty(rank: int, dtype: DType | None) -> AnyArray:
    """The smallest array of a rank; only of rank 0 does it have an element."""
    return np.zeros((0,) * rank, dtype)


def _listed(batch: Values[Any]) -> list[Any]:
    if isinstance(batch, Packed):
        return batch.listed()
    return list(batch) if isinstance(batch, np.ndarray) else batch
