"""`==` and `!=` of samples that are numbers, strings or bytes."""

import datetime as dt
import numbers
import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np
import numpy.typing as npt

from mmap_ninja import _kernel

Mask = npt.NDArray[np.bool_]
Compare = Callable[[Any, Any], Any]

_AT_ONCE: Final = 1024  # samples that are compared with a part of a list
_VALUES: Final = (str, bytes, numbers.Number, dt.date, dt.timedelta, np.generic)


class Comparing:
    """Compares each sample with a value, or all samples with a list.

    With a str, bytes or a number, `==` and `!=` give a boolean array, which is False where a sample is null; with a
    list or tuple, one bool; with an array, what NumPy gives for the array of all samples. Anything else is not equal.
    """

    if TYPE_CHECKING:

        def __len__(self) -> int: ...
        def __getitems__(self, indices: Any) -> list[Any]: ...
        def select(self, indices: Any) -> Self: ...  # noqa: D102 - for type checkers

    def __eq__(self, other: object) -> Any:
        return self._compare(other, operator.eq)

    def __ne__(self, other: object) -> Any:
        return self._compare(other, operator.ne)

    def __hash__(self) -> int:  # by identity, as without `__eq__`
        return object.__hash__(self)

    def _compare(self, other: Any, compare: Compare) -> Any:
        if isinstance(other, _kernel.Samples):
            return NotImplemented
        if isinstance(other, list | tuple):
            return compare(_are_same(self.select(slice(None)), other), True)  # of one snapshot
        if isinstance(other, _VALUES):
            return self._compared(other, compare)
        if isinstance(other, bytearray | memoryview):
            return self._compared(bytes(other), compare)
        if getattr(other, "ndim", None) == 0:  # an array or tensor of one number
            return self._compared(np.asarray(other)[()], compare)
        if isinstance(other, np.ndarray):
            return compare(np.asarray(self), other)
        return NotImplemented

    def _are(self, samples: list[Any], wanted: list[Any]) -> bool:
        """Whether as many samples are equal to those of a list."""
        return samples == wanted

    def _compared(self, value: Any, compare: Compare) -> Mask:
        """How each sample compares with a value; False for a null."""
        raise NotImplementedError


def _are_same(samples: Comparing, wanted: list[Any] | tuple[Any, ...]) -> bool:
    """Whether all samples are equal to those of a list; reads some at a time."""
    parts = (slice(first, first + _AT_ONCE) for first in range(0, len(wanted), _AT_ONCE))
    return len(samples) == len(wanted) and all(
        samples._are(samples.__getitems__(part), list(wanted[part]))  # noqa: SLF001 - as the kind compares
        for part in parts
    )


def except_nulls(mask: Mask, column: _kernel.Column) -> Mask:
    """A mask that is False where a sample of the column is null."""
    is_null = column.null_mask(None)
    if is_null is not None:
        mask[is_null] = False
    return mask
