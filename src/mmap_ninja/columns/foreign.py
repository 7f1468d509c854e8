"""Values of other libraries as NumPy's and Python's; none of these libraries is imported for that."""

import datetime as dt
import sys
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from mmap_ninja.columns.tensors import as_array as of_tensor

Reader = Callable[[Any, str], Any]


def several(samples: Any, where: str) -> Any:
    """Samples that another library holds, as an array, perhaps masked, or a list; anything else as it is."""
    reader = reader_of(type(samples))
    return samples if reader is None or isinstance(samples, np.ndarray) else reader(samples, where)


def plain(value: Any, where: str) -> Any:
    """A value of another library as an array, a list or a value of Python; None for a null; anything else as it is.

    Raises:
        TypeError: if it is a tensor that cannot be stored, or an array with nulls.
    """
    reader = reader_of(type(value))
    return value if reader is None else plain(reader(value, where), where)


def is_null(value: Any) -> bool:
    """Whether a value is None, or another library's null."""
    if reader_of(type(value)) is None:
        return value is None
    try:
        return plain(value, "") is None
    except TypeError:  # encoding raises it again, and names the sample
        return False


def reader_of(kind: type) -> Reader | None:
    """The function that makes a plain value of a type's values; None if they are plain, or nobody knows them."""
    if kind not in _FOUND:
        names = ((base.__module__.partition(".")[0], base.__name__) for base in kind.__mro__)
        _FOUND[kind] = next((_READERS[name] for name in names if name in _READERS), None)
    return _FOUND[kind]


def _of_pandas(values: Any, where: str) -> Any:
    """A Series, an Index or one of pandas' own arrays."""
    array, pandas = getattr(values, "array", values), sys.modules["pandas"]
    if isinstance(array, pandas.arrays.NumpyExtensionArray):
        array = array.to_numpy()
    dtype = array.dtype
    if isinstance(dtype, np.dtype) and not dtype.hasobject:  # NaN and NaT are values
        return np.asarray(array)
    if isinstance(dtype, pandas.CategoricalDtype):
        return _chosen(several(dtype.categories, where), np.asarray(array.codes))
    if isinstance(dtype, pandas.DatetimeTZDtype):
        return np.asarray(array.tz_convert("UTC").tz_localize(None))
    if isinstance(dtype, pandas.ArrowDtype):
        return _of_arrow(array.__arrow_array__(), where)
    if hasattr(dtype, "numpy_dtype"):  # numbers beside a mask
        return _masked(array.to_numpy(dtype.numpy_dtype, na_value=0), np.asarray(array.isna()))
    if isinstance(dtype, pandas.SparseDtype):
        return np.asarray(array)
    return [None if null else value for value, null in zip(array, pandas.isna(array), strict=True)]


def _chosen(categories: Any, codes: Any) -> Any:
    """The values of a categorical; the code of a null is -1."""
    if isinstance(categories, np.ndarray) and len(categories):
        return _masked(categories[np.maximum(codes, 0)], codes < 0)
    return [None if code < 0 else categories[code] for code in codes.tolist()]


def _of_polars(series: Any, where: str) -> Any:
    dtype, is_null = series.dtype, series.is_null().to_numpy()
    name = dtype.base_type().__name__
    if name in ("Date", "Datetime", "Duration"):
        unit = "D" if name == "Date" else dtype.time_unit
        counts = series.to_physical().fill_null(0).to_numpy().astype(np.int64)
        return _masked(counts.view(f"{'m8' if name == 'Duration' else 'M8'}[{unit}]"), is_null)
    if name == "Boolean" or (dtype.is_numeric() and name != "Decimal"):
        return _masked(series.fill_null(False if name == "Boolean" else 0).to_numpy(), is_null)
    if name in ("List", "Array"):
        if name == "Array" and not is_null.any():
            inner = several(series.explode(), where)
            if type(inner) is np.ndarray:  # without nulls
                return inner.reshape(*series.to_numpy().shape)
        return [None if item is None else several(item, where) for item in series]
    return series.to_list()


def _of_arrow(array: Any, where: str) -> Any:
    """An array or a chunked array."""
    pa = sys.modules["pyarrow"]
    types, kind = pa.types, array.type
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], kind)
    if types.is_dictionary(kind):
        return _of_arrow(array.dictionary_decode(), where)
    if isinstance(array, pa.FixedShapeTensorArray) and not array.null_count:
        return array.to_numpy_ndarray()
    if isinstance(array, pa.ExtensionArray):
        return _of_arrow(array.storage, where)
    if types.is_primitive(kind) and not types.is_time(kind):
        is_null = array.is_null().to_numpy(zero_copy_only=False)
        zero = pa.array([False if types.is_boolean(kind) else 0], kind)[0]
        return _masked(array.fill_null(zero).to_numpy(zero_copy_only=False), is_null)
    if types.is_fixed_size_list(kind) and kind.list_size and not array.null_count:
        inner = _of_arrow(array.flatten(), where)
        if type(inner) is np.ndarray:  # without nulls
            return inner.reshape(len(array), kind.list_size, *inner.shape[1:])
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return [_of_arrow_scalar(item, where) for item in array]
    return array.to_pylist()


def _of_arrow_scalar(scalar: Any, where: str) -> Any:
    if not scalar.is_valid:
        return None
    pa = sys.modules["pyarrow"]
    if isinstance(scalar, pa.ListScalar):
        return _of_arrow(scalar.values, where)
    return _of_arrow(pa.repeat(scalar, 1), where)[0]


def _masked(values: Any, is_null: Any) -> Any:
    """Values beside a mask; a plain array if there are no nulls."""
    return np.ma.MaskedArray(values, is_null) if is_null.any() else values


def _of_masked(array: Any, where: str) -> Any:
    """One sample with a mask."""
    mask = np.ma.getmaskarray(array)
    if not mask.any():
        return array.data
    if mask.all():
        return None
    raise TypeError(
        f"{where}: only some of its elements are masked or null, and arrays hold no nulls; fill them, or mask all"
    )


def _of_datetime(value: Any, where: str) -> Any:
    offset = value.utcoffset()
    local = np.datetime64(value.replace(tzinfo=None), "us")
    return local if offset is None else local - _of_timedelta(offset, where)


def _of_timedelta(value: Any, where: str) -> Any:
    count = value // dt.timedelta(microseconds=1)
    if abs(count) >= 1 << 63:  # NumPy would let it overflow
        raise TypeError(f"{where}: timedelta64[us] cannot hold {value!r}")
    return np.timedelta64(count, "us")


def _of_timestamp(value: Any, _: str) -> Any:
    return (value if value.tzinfo is None else value.tz_convert("UTC").tz_localize(None)).to_datetime64()


# By the names of a package and of a class in it. Of a type's bases, the first one that is here counts.
_READERS: Final[dict[tuple[str, str], Reader]] = {
    ("datetime", "datetime"): _of_datetime,
    ("datetime", "date"): lambda value, _: np.datetime64(value, "D"),
    ("datetime", "timedelta"): _of_timedelta,
    ("numpy", "MaskedArray"): _of_masked,
    ("pandas", "ExtensionArray"): _of_pandas,
    ("pandas", "Index"): _of_pandas,
    ("pandas", "NAType"): lambda *_: None,
    ("pandas", "NaTType"): lambda *_: np.datetime64("NaT"),
    ("pandas", "Series"): _of_pandas,
    ("pandas", "Timedelta"): lambda value, _: value.to_timedelta64(),
    ("pandas", "Timestamp"): _of_timestamp,
    ("polars", "Series"): _of_polars,
    ("pyarrow", "Array"): _of_arrow,
    ("pyarrow", "ChunkedArray"): _of_arrow,
    ("pyarrow", "Scalar"): _of_arrow_scalar,
    ("torch", "Tensor"): of_tensor,
}

_FOUND: Final[dict[type, Reader | None]] = {}
