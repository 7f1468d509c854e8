"""Nulls in batches: marked as missing, refused, or replaced by a value."""

import copy
import functools
from contextlib import suppress
from typing import Any, Final, Literal, get_args

import numpy as np
import numpy.typing as npt

from mmap_ninja.columns.casting import AnyArray, convert, is_ml_dtype
from mmap_ninja.columns.dtypes import DType

Nulls = Literal["mask", "raise"]
IsNull = npt.NDArray[np.bool_]

BY_COLUMN: Final = "choose another one; for records, fill may be a dict by column"
_NULLS: Final = get_args(Nulls)


def check_option(nulls: str) -> None:
    """Raise ValueError for an unknown option."""
    if nulls not in _NULLS:
        raise ValueError(f"nulls {nulls!r} is unknown (expected one of {_NULLS})")


def refuse(is_null: IsNull | None, positions: npt.NDArray[np.int64], where: str) -> None:
    """Raise ValueError if a sample is null; `positions`: where the samples are in the dataset."""
    if is_null is not None and is_null.any():
        raise ValueError(
            f"{where}: sample {positions[np.argmax(is_null)]} is null; give a value for nulls as fill=, or pass "
            "nulls='mask'"
        )


def masked(batch: AnyArray, is_null: IsNull) -> "np.ma.MaskedArray[Any, Any]":
    """A batch as a masked array.

    Frameworks drop the mask, so there is no number under it where the dtype has something else to say.
    """
    missing = _missing(batch.dtype)
    if missing is not None:
        batch[is_null] = missing
    mask = np.broadcast_to(is_null.reshape(-1, *[1] * (batch.ndim - 1)), batch.shape)
    return np.ma.MaskedArray(batch, mask, fill_value=missing)


@functools.cache
def _missing(dtype: DType) -> Any:
    """NaN or NaT; None if the dtype has neither."""
    if dtype.kind in "mM":
        return np.array("NaT", dtype)
    if dtype.kind not in "fc" and not is_ml_dtype(dtype):
        return None
    with np.errstate(all="ignore"):
        value = np.array(np.nan).astype(dtype)
    return value if value != value else None  # noqa: PLR0124 - NaN differs from itself


def exactly(value: object, dtype: DType, where: str) -> AnyArray:
    """A value for nulls in a dtype.

    Raises:
        TypeError: if the dtype cannot hold exactly this value.
    """
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "biufc":
        value = value.tolist()  # a number is the same number in another dtype
    with suppress(TypeError, ValueError), np.errstate(all="ignore"):
        if not is_ml_dtype(dtype):
            return convert(value, 0, dtype, where, declared=False)
        cast = np.asarray(value).astype(dtype)  # NumPy cannot tell what these dtypes hold
        if np.array_equal(cast.astype(np.float64), np.asarray(value), equal_nan=True):
            return cast
    raise TypeError(f"{where}: fill {value!r:.80}: expected a value that dtype {dtype} holds exactly; {BY_COLUMN}")


def filled(samples: list[Any], value: object) -> list[Any]:
    """Samples with a copy of a value in the place of each null."""
    return [copy.deepcopy(value) if sample is None else sample for sample in samples]
