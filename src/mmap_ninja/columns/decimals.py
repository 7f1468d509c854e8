"""Floats as the decimals that people expect: 8.3 for a `float32`, not 8.300000190734863, the `float64` of its value."""

from typing import Final

import numpy as np

from mmap_ninja.columns.casting import AnyArray

_POWERS: Final = np.array([float(f"1e{exponent}") for exponent in range(23)])  # float64 has them exactly
_LEAST: Final = 1e-12


def as_decimals(values: AnyArray) -> AnyArray:
    """`float16` and `float32` as the `float64` whose short text gives the same value back in their dtype.

    Other dtypes are left as they are. A whole number of so many digits, divided by a power of ten that is exact, is the
    decimal, correctly rounded. What is too large or small for that, which is rare, is read from NumPy's text of it.
    """
    if values.dtype.type not in (np.float16, np.float32):
        return values
    with np.errstate(invalid="ignore"):  # signaling NaN
        found = values.astype(np.float64, order="C")
    flat, narrow = found.reshape(-1), values.reshape(-1)
    size, limits = np.abs(flat), np.finfo(values.dtype)
    usual = (size >= max(float(limits.tiny), _LEAST)) & (size < _POWERS[limits.precision])
    rest = np.flatnonzero(usual)
    for digits in range(limits.precision, limits.precision + 4):
        scale = _POWERS[digits - 1 - np.floor(np.log10(size[rest])).astype(int)]
        decimals = np.rint(flat[rest] * scale) / scale
        fits = decimals.astype(values.dtype) == narrow[rest]
        flat[rest[fits]] = decimals[fits]
        rest = rest[~fits]
    rare = np.flatnonzero(~usual & np.isfinite(size) & (size != 0))
    flat[rare] = [float(str(value)) for value in narrow[rare]]
    return found
