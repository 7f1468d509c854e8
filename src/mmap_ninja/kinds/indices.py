"""The meaning of a key in brackets, one index or several, for all sequences."""

from typing import Any, SupportsIndex, TypeGuard

import numpy as np
import numpy.typing as npt

from mmap_ninja import _kernel


def is_index(key: Any) -> TypeGuard[SupportsIndex]:
    """Whether a key is one index: an integer, or an object without dimensions that has `__index__`; not a boolean."""
    kind = type(key)
    if kind is int or kind is slice or kind is list:
        return kind is int
    if isinstance(key, np.ndarray):
        return key.ndim == 0 and key.dtype.kind in "iu"
    # A tensor of one element has `__index__`, too, and so has a boolean tensor, whose dtype is not NumPy's.
    is_number = hasattr(key, "__index__") and not isinstance(key, bool) and np.ndim(key) == 0
    return is_number and "bool" not in str(getattr(key, "dtype", ""))


def several(key: Any) -> Any:
    """A key in brackets that is not one index.

    Raises:
        TypeError: if it is a tuple, which reaches into the samples.
    """
    if isinstance(key, tuple):
        raise TypeError(
            f"index {key!r:.80}: expected an index of samples alone; for a part of one, index the sample, as in "
            "ds[0][2:3]; for several samples, give a list, as in ds[[0, 1]]"
        )
    return key


def clipped(key: slice, count: int) -> slice:
    """What selects the same of `count` samples as a slice, without steps that are too long for the kernel."""
    step = key.indices(count)[2]
    most = max(count, 1)  # from there on, only the first one is selected
    return slice(key.start, key.stop, max(-most, min(step, most)))


def resolved(key: Any, count: int, items: str = "samples") -> npt.NDArray[np.int64]:
    """The positions, none of them negative, that a slice, several indices or a mask select from `count` samples.

    Args:
        key: A slice; integers in any order, also repeated, negative ones counted from the end; or a boolean mask.
        count: How many samples there are.
        items: Their name in messages.

    Raises:
        TypeError: if the key is none of these.
        IndexError: if an index is out of range, or a mask has another length.
    """
    return _kernel.resolved(key, count, items)


def _listed(key: Any) -> npt.NDArray[Any]:
    """Several indices as an array of int64, a mask as an array of booleans; the kernel checks the range."""
    expected = "expected an integer, a slice, or a list or array of integers or booleans"
    if isinstance(key, str | bytes | set | frozenset | dict) or not hasattr(key, "__len__"):
        raise TypeError(f"index {key!r:.80}: {expected}")
    indices = np.asarray(key)
    if indices.ndim == 0:
        raise TypeError(f"index {key!r:.80}: {expected}")
    if indices.ndim != 1:
        raise IndexError(f"index of shape {indices.shape}: expected one dimension")
    if indices.size == 0 and indices.dtype != np.bool_:
        return np.empty(0, np.int64)
    if indices.dtype.kind not in "iub":
        raise TypeError(f"index array of {indices.dtype}: expected integers or booleans")
    if indices.dtype == np.uint64 and indices.max() > np.iinfo(np.int64).max:
        raise IndexError(f"index {indices.max()} is out of range for any list")
    return np.ascontiguousarray(indices, dtype=np.bool_ if indices.dtype == np.bool_ else np.int64)


# The kernel handles slices, lists of plain integers and arrays of int64. It calls this for other keys, at the moment
# when it resolves them against the number of samples, which other threads may change.
_kernel.list_indices_with(_listed)
