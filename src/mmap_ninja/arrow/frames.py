"""Samples as columns of pandas, which keep their dtypes; all are copies.

| samples | pandas |
|---|---|
| integers, `bool` | the same; nullable: `Int8` to `UInt64`, `boolean` |
| floats, complex | the same; null is NaN |
| `M8`, `m8` | the same in s, ms, us, ns, coarser ones in s, finer ones in ns, if exact; null is NaT |
| strings, `U<n>` | `str`, which is `object` before pandas 3 |
| everything else | `object`: bytes, arrays, JSON values; null is None |
"""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from mmap_ninja._kernel import Column
from mmap_ninja.arrow.export import Exported
from mmap_ninja.columns.casting import AnyArray, fitted

_UNITS: Final = ("s", "ms", "us", "ns")  # of dates in pandas
_FINER_UNITS: Final = ("ps", "fs", "as")


def library() -> Any:
    """The pandas package.

    Raises:
        ImportError: if it is not installed.
    """
    try:
        import pandas as pd  # noqa: PLC0415 - no dependency
    except ImportError as error:
        raise ImportError(f"to_pandas needs pandas: pip install pandas ({error})") from None
    return pd


def frame(columns: Mapping[str, Exported]) -> Any:
    """A DataFrame of several columns, whose names keep their dots."""
    return library().DataFrame({name: series(exported, name) for name, exported in columns.items()}, copy=False)


def series(exported: Exported, name: str) -> Any:
    """A column as a Series."""
    pd, column = library(), exported.column
    if column.kind == "array" and not column.sample_shape:
        return pd.Series(_scalars(column, name), name=name, copy=False)
    is_text = column.kind == "text" and not exported.is_json
    return pd.Series(_objects(column), name=name, dtype="str" if is_text else object)


def _objects(column: Column) -> list[Any]:
    """The samples as Python objects or arrays of their own."""
    if column.kind != "array":
        return column.take(slice(None))
    block, nulls = column.take_rows(slice(None), None)
    samples = list(block)
    for null in [] if nulls is None else np.flatnonzero(nulls).tolist():
        samples[null] = None
    return samples


def _scalars(column: Column, name: str) -> Any:
    """One value for each sample as what pandas has for its dtype."""
    if column.dtype is None:  # no samples yet
        return np.empty(0)
    values, nulls = column.take_rows(slice(None), None)
    dtype = values.dtype
    pd, is_nullable = library(), column.null_mask([]) is not None
    mask = np.zeros(len(values), np.bool_) if nulls is None else nulls
    if dtype.fields is not None or dtype.kind not in "biufcmMU" or dtype.type.__module__ != "numpy":
        return pd.Series(
            [None if null else value for value, null in zip(values.tolist(), mask, strict=True)], dtype=object
        )
    if dtype.kind == "U":
        return pd.Series(
            [None if null else text for text, null in zip(values.tolist(), mask, strict=True)], dtype="str"
        )
    values = _native(values, name)
    if dtype.kind in "biu":
        array = pd.arrays.BooleanArray if dtype.kind == "b" else pd.arrays.IntegerArray
        return array(values, mask) if is_nullable else values
    if mask.any():
        values[mask] = np.array("NaT" if dtype.kind in "mM" else np.nan).astype(values.dtype)
    return values


def _native(values: AnyArray, name: str) -> AnyArray:
    """Values in this machine's byte order, and dates in a unit that pandas has.

    Raises:
        TypeError: if that unit does not hold a date exactly.
    """
    dtype = values.dtype.newbyteorder("=")
    if dtype.kind not in "mM":
        return values.astype(dtype, copy=False)
    unit = np.datetime_data(dtype)[0]
    unit = unit if unit in _UNITS else "ns" if unit in _FINER_UNITS else "s"
    exact = fitted(values, values, np.dtype(f"{dtype.kind}8[{unit}]"), declared=False)
    if not isinstance(exact, np.ndarray):
        raise TypeError(
            f"column {name!r}: dtype {dtype} has values that pandas does not hold in {unit}; read them by take"
        )
    return exact
