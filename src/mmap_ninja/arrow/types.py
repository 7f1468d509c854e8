"""Arrow types and the dtypes they correspond to, and the import of pyarrow, which is an extra."""

from typing import Any, Final

import numpy as np

from mmap_ninja.columns.dtypes import DType, decode_dtype

_UNITS: Final = ("s", "ms", "us", "ns")
_SECONDS: Final = np.dtype("M8[s]")  # Parquet has no dates in seconds, and pyarrow makes milliseconds of them
# Keys of a field's metadata, for information that its type lacks. Only hints, since others may have written them.
KIND_MARK: Final = "mmap_ninja"  # "json"; "ragged": arrays of several dimensions, as `is_shaped` has them
DTYPE_MARK: Final = "mmap_ninja.dtype"


def library() -> Any:
    """The pyarrow package.

    Raises:
        ImportError: if it is not installed.
    """
    try:
        import pyarrow as pa  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise ImportError(f'Arrow needs pyarrow: pip install "mmap_ninja[arrow]" ({error})') from None
    return pa


def element_type(dtype: DType | None, where: str) -> Any:
    """The Arrow type for a dtype; TypeError if there is none."""
    pa = library()
    if dtype is None:
        return pa.float64()  # no samples yet
    if dtype.fields is None and dtype.type.__module__.partition(".")[0] != "ml_dtypes":
        match dtype.kind:
            case "b" | "i" | "u":
                return pa.from_numpy_dtype(dtype.newbyteorder("="))
            case "f" if dtype.itemsize <= 8:
                return pa.from_numpy_dtype(dtype.newbyteorder("="))
            case "c" if dtype.itemsize <= 16:
                return pa.list_(pa.float32() if dtype.itemsize == 8 else pa.float64(), 2)
            case "S" | "V":
                return pa.binary(dtype.itemsize)
            case "U":
                return pa.large_utf8()
            case "M" | "m" if np.datetime_data(dtype)[0] in _UNITS and np.datetime_data(dtype)[1] == 1:
                unit = np.datetime_data(dtype)[0]
                return pa.timestamp(unit) if dtype.kind == "M" else pa.duration(unit)
            case "M" if np.datetime_data(dtype) == ("D", 1):
                return pa.date32()
    raise TypeError(
        f"{where}: dtype {dtype} has no Arrow type; store numbers, text or bytes, or read samples by take()"
    )


def is_native(dtype: DType | None) -> bool:
    """Whether values in the files have Arrow's layout."""
    return dtype is None or (dtype.kind in "iufcSV" and dtype.isnative)


def mark_of(field: Any, key: str) -> str | None:
    """A value that this library stored in the metadata of a field, or of a schema."""
    mark = (field.metadata or {}).get(key.encode())
    return None if mark is None else mark.decode(errors="replace")


def dtype_mark(dtype: DType | None) -> str | None:
    """The metadata for a dtype that its Arrow type does not determine."""
    if dtype is None or (dtype.isnative and dtype.kind not in "cSU" and dtype != _SECONDS):
        return None
    return dtype.str


def marked_dtype(field: Any, of: Any) -> DType | None:
    """The dtype in a field's metadata, if it matches its Arrow type."""
    mark = mark_of(field, DTYPE_MARK)
    if mark is None:
        return None
    try:
        dtype = decode_dtype(mark)
        stored = element_type(dtype, "")
    except (TypeError, ValueError, ImportError):
        return None
    match dtype.kind:
        case "U":
            fits = is_text(of)
        case "c":  # the name of list elements may differ
            fits = library().types.is_fixed_size_list(of) and of.list_size == 2 and of.value_type == stored.value_type
        case "M" if stored == library().timestamp("s"):
            fits = of in (stored, library().timestamp("ms"))
        case _:
            fits = of == stored
    return dtype if fits else None


def is_text(of: Any) -> bool:
    """Whether an Arrow type is one of texts."""
    types = library().types
    return bool(types.is_string(of) or types.is_large_string(of) or types.is_string_view(of))


def is_binary(of: Any) -> bool:
    """Whether an Arrow type is one of byte strings of any length."""
    types = library().types
    return bool(types.is_binary(of) or types.is_large_binary(of) or types.is_binary_view(of))


def is_list(of: Any) -> bool:
    """Whether an Arrow type is one of lists of any length."""
    types = library().types
    return bool(types.is_list(of) or types.is_large_list(of) or types.is_list_view(of) or types.is_large_list_view(of))


def is_shaped(of: Any) -> bool:
    """Whether an Arrow type is the struct of values and shape for arrays of several dimensions."""
    if not library().types.is_struct(of) or [inner.name for inner in of] != ["values", "shape"]:
        return False
    values, shape = (inner.type for inner in of)
    return is_list(values) and is_list(shape) and library().types.is_integer(shape.value_type)


def has_dtype(of: Any) -> bool:
    """Whether NumPy has a dtype for an Arrow type."""
    try:
        dtype_of(of, "")
    except TypeError:
        return False
    return True


def dtype_of(of: Any, where: str) -> DType:
    """The dtype for an Arrow type; TypeError if there is none."""
    types = library().types
    if types.is_fixed_size_binary(of):
        return np.dtype(f"V{of.byte_width}")
    if types.is_date32(of):
        return np.dtype("M8[D]")
    if types.is_timestamp(of) or types.is_duration(of):
        return np.dtype(f"{'M8' if types.is_timestamp(of) else 'm8'}[{of.unit}]")
    if types.is_boolean(of):
        return np.dtype(np.bool_)
    if types.is_integer(of) or types.is_floating(of):  # without to_pandas_dtype, which may need pandas
        kind = "f" if types.is_floating(of) else "i" if types.is_signed_integer(of) else "u"
        return np.dtype(f"{kind}{of.bit_width // 8}")
    raise TypeError(
        f"{where}: Arrow type {of} cannot be stored; cast it to numbers, text or bytes, or leave the column out"
    )
