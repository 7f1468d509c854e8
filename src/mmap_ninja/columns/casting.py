"""Casting to a dataset's dtype: only values that are read back equal, unless the user declared the dtype."""

import sys
from collections.abc import Iterable
from typing import Any, Final, TypeGuard

import numpy as np
import numpy.typing as npt

from mmap_ninja.columns.dtypes import DType, encode_dtype
from mmap_ninja.columns.tensors import as_arrays, is_tensor

AnyArray = npt.NDArray[Any]

_OWN_KIND: Final = "SUVmM"  # text, raw bytes, dates: some casts to them that NumPy calls safe change the meaning


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
    result: DType = np.dtype(dtype)
    try:
        encode_dtype(result)
    except TypeError as error:
        raise TypeError(f"{where}: {error}") from None
    return result


def is_masked_array(values: Any) -> "TypeGuard[np.ma.MaskedArray[Any, Any]]":
    """Whether values are a masked array; does not import `numpy.ma`, which takes longer than an append."""
    module = sys.modules.get("numpy.ma")
    return module is not None and isinstance(values, module.MaskedArray)


def as_array(sample: Any, path: str, number: int) -> AnyArray:
    """A sample as an array, if NumPy can make one of it."""
    if is_masked_array(sample):
        raise TypeError(
            f"{path}: sample {number}: a masked array would lose its mask; store sample.filled(...) instead"
        )
    if is_tensor(sample):
        array: AnyArray = as_arrays(sample, f"{path}: sample {number}")
        return array
    try:
        return np.asarray(sample)
    except (TypeError, RuntimeError):
        if not isinstance(sample, list | tuple):
            raise
        return np.asarray(as_arrays(sample, f"{path}: sample {number}"))
    except ValueError as error:  # lists of unequal lengths
        raise TypeError(f"{path}: sample {number}: expected an array ({error})") from None


def convert(sample: Any, number: int, dtype: DType, path: str, *, declared: bool) -> AnyArray:
    """A sample as an array of a dataset's dtype.

    Args:
        sample: An array, or numbers in lists.
        number: The sample's number, for messages.
        dtype: The dataset's dtype.
        path: The dataset's path, for messages.
        declared: Whether the user declared the dtype; then floats may lose precision.

    Raises:
        TypeError: if the dtype cannot hold exactly these values.
    """
    array = as_array(sample, path, number)
    if array.dtype == dtype:
        return array
    if array.size == 0 and not array.dtype.hasobject:
        return np.empty(array.shape, dtype)
    is_plain = not hasattr(sample, "dtype")
    rounds = is_plain and array.dtype.kind in "iu" and dtype.kind in "fc"  # NumPy calls this safe also beyond 2**53
    if dtype.kind in _OWN_KIND or array.dtype.kind in _OWN_KIND:
        if array.dtype.kind == dtype.kind and np.can_cast(array.dtype, dtype, "safe"):
            cast = array.astype(dtype)
            if _same_meaning(array, cast):
                return cast
    elif np.can_cast(array.dtype, dtype, "safe") and not rounds:
        return array.astype(dtype)
    loses_imaginary = array.dtype.kind == "c" != dtype.kind
    narrows = declared and is_float(array.dtype) and is_float(dtype)
    exact = is_plain and array.dtype.kind in "biufc" and dtype.kind not in f"b{_OWN_KIND}" and not loses_imaginary
    if exact or narrows:
        with np.errstate(all="ignore"):
            if narrows:
                cast = array.astype(dtype)
                fits = np.isfinite(cast) | ~np.isfinite(array)
            elif dtype.kind in "iu":
                cast = _integers(sample, array, dtype)
                fits = cast == array
            elif rounds:
                cast = array.astype(dtype)
                fits = cast.real.astype(np.float64).astype(object) == array.astype(
                    object
                )  # Python compares int and float exactly
            else:
                cast = array.astype(dtype)
                back = (cast if array.dtype.kind == "c" else cast.real).astype(array.dtype)
                fits = (back == array) | ((back != back) & (array != array))  # noqa: PLR0124 - NaN differs from itself
        if bool(np.all(fits)):
            return cast
    raise TypeError(
        f"{path}: sample {number}: the dataset's dtype {dtype} cannot hold these {array.dtype} values unchanged; "
        "nothing of "
        f"this batch was stored: convert them, as with np.asarray(sample, {str(dtype)!r}), or create the dataset with "
        "another dtype"
    )


def _same_meaning(array: AnyArray, cast: AnyArray) -> bool:
    """Whether a cast kept the meaning; NumPy pads raw bytes, matches fields by position, lets dates overflow."""
    if cast.dtype.kind in "mM":
        return np.array_equal(cast.astype(array.dtype).view(np.int64), array.view(np.int64))
    return cast.dtype.kind != "V" or _same_fields(array.dtype, cast.dtype)


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


def is_float(dtype: DType) -> bool:
    """Whether a dtype is one of floats, those of ml_dtypes among them."""
    return dtype.kind == "f" or (dtype.type.__module__.startswith("ml_dtypes") and "float" in dtype.name)
