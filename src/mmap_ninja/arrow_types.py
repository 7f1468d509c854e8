"""Which of Arrow's types stands for which dtype, and the pyarrow package itself, which is an extra."""

from typing import Any, Final

import numpy as np

_UNITS: Final = ("s", "ms", "us", "ns")
MARK: Final = "mmap_ninja"  # key of a field's metadata: what the column holds where its type does not say it


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


def element_type(dtype: np.dtype[Any] | None, where: str) -> Any:
    """Arrow's type for a dtype; TypeError where it has none."""
    pa = library()
    if dtype is None:
        return pa.float64()  # there are no samples
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
    raise TypeError(f"{where}: dtype {dtype} has no type in Arrow; store numbers, text or bytes, or take() the samples")


def is_native(dtype: np.dtype[Any] | None) -> bool:
    """Whether values lie in the files as Arrow has them."""
    return dtype is None or (dtype.kind in "iufcSV" and dtype.isnative)


def mark_of(field: Any) -> str | None:
    """What this library has noted of a field."""
    mark = (field.metadata or {}).get(MARK.encode())
    return None if mark is None else mark.decode(errors="replace")


def has_dtype(of: Any) -> bool:
    """Whether NumPy has a dtype for a type of Arrow's."""
    try:
        dtype_of(of, "")
    except TypeError:
        return False
    return True


def dtype_of(of: Any, where: str) -> np.dtype[Any]:
    """The dtype for a type of Arrow's; TypeError where there is none."""
    types = library().types
    if types.is_fixed_size_binary(of):
        return np.dtype(f"V{of.byte_width}")
    if types.is_date32(of):
        return np.dtype("M8[D]")
    if (
        types.is_boolean(of)
        or types.is_integer(of)
        or types.is_floating(of)
        or types.is_timestamp(of)
        or types.is_duration(of)
    ):
        return np.dtype(of.to_pandas_dtype()) if not types.is_temporal(of) else _temporal(of)
    raise TypeError(
        f"{where}: holds {of}, which no column does; cast it to numbers, text or bytes, or leave the column out"
    )


def _temporal(of: Any) -> np.dtype[Any]:
    kind = "M8" if library().types.is_timestamp(of) else "m8"
    return np.dtype(f"{kind}[{of.unit}]")
