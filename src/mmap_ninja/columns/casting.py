"""Casting to a dataset's dtype: only values that are read back equal, unless the user declared the dtype."""

import sys
from collections.abc import Iterable, Sequence
from typing import Any, Final, TypeGuard

import numpy as np
import numpy.typing as npt

from mmap_ninja import _kernel
from mmap_ninja.columns import foreign
from mmap_ninja.columns.dtypes import DType, encode_dtype

AnyArray = npt.NDArray[Any]

_ALL_INTEGERS: Final = 2.0**53  # of less, and float64 holds them
_MOST_DIGITS: Final = 63  # of the mantissa of a long double that holds all integers; a 64th is implied


def find_dtype(batch: Iterable[Any], path: str, first: int) -> tuple[DType, bool]:
    """The dtype for samples that have none yet: that of the array, or of the first sample that has an element.

    Also returns whether there is such a sample. If not, an empty array tells the dtype, until one comes.
    """
    if isinstance(batch, np.ndarray):  # its scalars would lose its byte order and the length of texts
        return checked_dtype(batch.dtype, path), batch.size > 0
    found: DType | None = None
    for number, sample in enumerate(batch, first):
        is_plain = not hasattr(sample, "dtype")
        if is_plain and hasattr(sample, "__len__") and len(sample) == 0:
            continue
        array = as_array(sample, path, number)
        if array.size:
            return checked_dtype(array.dtype, f"{path}: sample {number}"), True
        if found is None and not is_plain:
            found = checked_dtype(array.dtype, f"{path}: sample {number}")
    return np.dtype(np.float64) if found is None else found, False


def checked_dtype(dtype: Any, where: str) -> DType:
    """The dtype, if it can be stored.

    Raises:
        TypeError: if it cannot be stored.
    """
    try:
        result: DType = np.dtype(dtype)
        encode_dtype(result)
    except TypeError as error:
        raise TypeError(f"{where}: {error}") from None
    return result


def is_masked_array(values: Any) -> "TypeGuard[np.ma.MaskedArray[Any, Any]]":
    """Whether values are a masked array; does not import `numpy.ma`, which takes longer than an append."""
    module = sys.modules.get("numpy.ma")
    return module is not None and isinstance(values, module.MaskedArray)


def as_array(sample: Any, path: str, number: int) -> AnyArray:
    """A sample as an array, if NumPy can make one of it.

    Raises:
        TypeError: if it cannot be one array, or some of its elements are null.
    """
    where = f"{path}: sample {number}"
    known = foreign.plain(sample, where)
    if known is None and sample is not None:
        raise TypeError(f"{where}: is null; nothing of this batch was stored: fill it, or declare a nullable column")
    if isinstance(known, list | tuple) and _holds_foreign(known):
        known = _plain_items(known, where)  # NumPy would lose their nulls
    try:
        array = np.asarray(known)
        if array.dtype.hasobject and isinstance(known, list | tuple):
            array = np.asarray(_plain_items(known, where))
    except ValueError as error:  # lists of unequal lengths
        raise TypeError(f"{where}: expected an array ({error})") from None
    except (TypeError, RuntimeError):  # of tensors
        if not isinstance(known, list | tuple):
            raise
        array = np.asarray(_plain_items(known, where))
    return array


def _holds_foreign(values: Sequence[Any]) -> bool:
    """Whether there are values of other libraries in nested lists, as far as that takes no time for numbers."""
    if not values or isinstance(values[0], int | float | str):
        return False
    kinds = set(map(type, values))
    if any(map(foreign.reader_of, kinds)):
        return True
    return any(_holds_foreign(value) for value in values if isinstance(value, list | tuple))


def _plain_items(values: Any, where: str) -> Any:
    """Nested lists with all values of other libraries made plain."""
    if isinstance(values, list | tuple):
        return [_plain_items(value, where) for value in values]
    return foreign.plain(values, where)


def convert(sample: Any, number: int, dtype: DType, path: str, *, declared: bool, stacked: bool = False) -> AnyArray:
    """A sample as an array of a dataset's dtype.

    Args:
        sample: An array, or numbers in lists.
        number: The sample's number, for messages.
        dtype: The dataset's dtype.
        path: The dataset's path, for messages.
        declared: Whether the user declared the dtype; then floats may lose precision.
        stacked: Whether this is a batch of samples in one array; `number` is that of the first.

    Raises:
        TypeError: if the dtype cannot hold exactly these values.
    """
    array = as_array(sample, path, number)
    cast = fitted(sample, array, dtype, declared=declared)
    if isinstance(cast, np.ndarray):
        return cast
    remedy = "create the dataset with another dtype"
    if is_float(array.dtype) and is_float(dtype) and not declared and array.dtype != dtype:
        remedy += f", or with dtype={str(dtype)!r}, which rounds wider floats"
    told = f"nothing of this batch was stored: {remedy}"
    if cast is None:
        raise TypeError(
            f"{path}: sample {number}: the dataset's dtype {dtype} cannot hold these {array.dtype} values unchanged; "
            f"{told}"
        )
    place = [int(at) for at in np.unravel_index(cast, array.shape)]
    if stacked:
        number += place.pop(0)
    at = f", at {place}" if place else ""
    values = np.asarray(sample, object) if isinstance(sample, list | tuple) else array  # before NumPy rounded them
    raise TypeError(
        f"{path}: sample {number}: the dataset's dtype {held_by(dtype)} cannot hold {values.flat[cast]}{at}; {told}"
    )


def asked_dtype(dtype: npt.DTypeLike, out: AnyArray | None, where: str) -> DType:
    """The dtype that samples are to be read into.

    Raises:
        ValueError: if `out` has another one.
    """
    asked: DType = np.dtype(dtype)
    if out is not None and getattr(out, "dtype", asked) != asked:
        raise ValueError(f"{where}: out has dtype {out.dtype}, but dtype is {asked}; give one of them")
    return asked


def held_by(dtype: DType) -> str:
    """A dtype with the integers that it holds, for messages."""
    if dtype.kind not in "iu":
        return str(dtype)
    limits = np.iinfo(dtype)
    return f"{dtype} ({limits.min} to {limits.max})"


def fitted(sample: Any, array: AnyArray, dtype: DType, *, declared: bool) -> AnyArray | int | None:
    """An array in another dtype, if that keeps its values.

    Args:
        sample: What the array was made of: numbers in lists have no dtype of their own, so that 2.0 may become 2.
        array: The array.
        dtype: The dtype.
        declared: Whether the user declared the dtype; then floats may lose precision.

    Returns:
        The array; the place, in C order, of the first value that does not fit; or None if none does, by its dtype.
    """
    if array.dtype.kind in "fc" and dtype.kind not in "iu" and isinstance(sample, list | tuple):
        rounded = _rounded(sample, array)
        if rounded is not None:
            return rounded
    if array.dtype == dtype:
        return array
    if array.size == 0 and not array.dtype.hasobject:
        return np.empty(array.shape, dtype)
    if not (_is_number(array.dtype) and _is_number(dtype)):
        return _of_same_kind(array, dtype)
    if array.dtype.kind in "iu" and dtype.kind != "b":
        return _fitted_integers(array, dtype)
    if np.can_cast(array.dtype, dtype, "safe"):
        return array.astype(dtype)
    with np.errstate(all="ignore"):
        if declared and is_float(array.dtype) and is_float(dtype):
            cast = array.astype(dtype)
            return _unless(np.isfinite(array) & ~np.isfinite(cast), cast)
        is_plain = isinstance(sample, Sequence | float | complex) and not isinstance(sample, np.generic)
        if not is_plain or dtype.kind == "b" or array.dtype.kind == "c" != dtype.kind:
            return None
        if dtype.kind in "iu":
            cast = _integers(sample, array, dtype)
            return _unless(cast != array, cast)
        cast = array.astype(dtype)
        back = (cast if array.dtype.kind == "c" else cast.real).astype(array.dtype)
        return _unless((back != array) & ((back == back) | (array == array)), cast)  # noqa: PLR0124 - NaN is not itself


def _rounded(sample: Sequence[Any], array: AnyArray) -> int | None:
    """The place of the first int beside floats that NumPy has rounded to one; None if there is none."""
    with np.errstate(all="ignore"):
        large = np.flatnonzero(np.abs(array) >= _ALL_INTEGERS)
    if not large.size:
        return None
    values = np.asarray(sample, object).flat
    return next((place for place in large.tolist() if _is_other(values[place], array.flat[place])), None)


def _is_other(value: Any, cast: Any) -> bool:
    return isinstance(value, int | np.integer) and bool(np.isfinite(cast)) and int(value) != int(cast.real)


def _unless(wrong: AnyArray, cast: AnyArray) -> AnyArray | int:
    """The array; or the place of the first value that is wrong."""
    return int(np.argmax(wrong)) if wrong.any() else cast


def _fitted_integers(array: AnyArray, dtype: DType) -> AnyArray | int:
    """As `fitted`, for integers in a dtype of numbers."""
    cast = _kernel.convert_numbers(array, dtype)
    if cast is not None:
        return cast
    if dtype.kind in "iu" and np.can_cast(array.dtype, dtype, "safe"):  # in another byte order
        return array.astype(dtype)
    if dtype.kind in "fc" and dtype.itemsize > 8 and np.finfo(dtype).nmant >= _MOST_DIGITS:
        return array.astype(dtype)
    native = array.astype(array.dtype.newbyteorder("="), copy=False)
    cast = _kernel.convert_numbers(native, dtype.newbyteorder("="))
    if cast is not None:
        return cast if isinstance(cast, int) else cast.astype(dtype, copy=False)
    wide: Any = _kernel.convert_numbers(native, np.dtype(np.float64))  # holds what small and complex floats do
    if isinstance(wide, int):
        return wide
    with np.errstate(all="ignore"):
        cast = wide.astype(dtype)
        return _unless(cast.real.astype(np.float64) != wide, cast)


def _of_same_kind(array: AnyArray, dtype: DType) -> AnyArray | int | None:
    """As `fitted`, for text, raw bytes, structures and dates."""
    if array.dtype.kind != dtype.kind:
        return None
    if dtype.kind in "mM" and np.can_cast(array.dtype, dtype, "same_kind"):
        cast = array.astype(dtype)  # NumPy lets dates overflow
        return _unless(cast.astype(array.dtype).view(np.int64) != array.view(np.int64), cast)
    # NumPy pads raw bytes, and matches fields by position.
    keeps = np.can_cast(array.dtype, dtype, "safe") and (dtype.kind != "V" or _same_fields(array.dtype, dtype))
    return array.astype(dtype) if keeps else None


def _same_fields(one: DType, other: DType) -> bool:
    """Whether two dtypes have the same fields in the same order, at any offsets."""
    if one.names is None or other.names is None:
        return one == other
    return one.names == other.names and all(_same_fields(one[name], other[name]) for name in one.names)


def _integers(sample: Any, array: AnyArray, dtype: DType) -> AnyArray:
    """A sample as integers, given the array that NumPy made of it; values that do not fit compare unequal to it."""
    if array.dtype.kind != "f":
        return array.astype(dtype)
    try:
        return np.asarray(sample, dtype)  # again, since NumPy made floats of ints beyond 2**63 next to smaller ones
    except (OverflowError, ValueError):
        return np.full_like(array, np.nan)


def is_ml_dtype(dtype: DType) -> bool:
    """Whether a dtype is one of ml_dtypes: numbers, which NumPy takes for raw bytes."""
    return dtype.type.__module__.startswith("ml_dtypes")


def _is_number(dtype: DType) -> bool:
    return dtype.kind in "biufc" or is_ml_dtype(dtype)


def is_float(dtype: DType) -> bool:
    """Whether a dtype is one of floats, those of ml_dtypes among them."""
    return dtype.kind == "f" or (is_ml_dtype(dtype) and "float" in dtype.name)
