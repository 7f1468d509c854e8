"""`Weighted`: an order that draws positions by their weights."""

from functools import cached_property, partial
from typing import Any

import numpy as np
import numpy.typing as npt

from mmap_ninja import _kernel
from mmap_ninja.exported import exported
from mmap_ninja.loading.orders import MOST, Reader, SeededOrder, digest_of, number


@exported
class Weighted(SeededOrder):
    """Positions drawn with replacement, each as often as its weight says: to balance classes, for example.

    A draw is computed from its place (with the alias tables of Walker and Vose), so the sequence takes 16 bytes per
    weight, whatever its size. It is also a `sampler=` for PyTorch's `DataLoader`.

    Args:
        weights: One per sample: finite numbers of at least 0 that need not add up to 1.
        size: The number of draws in an epoch; None: as many as there are weights.
        seed: What decides the order, with the epoch: a number from 0 to 2^64 - 1.
        epoch: The epoch to begin with: a number from 0 to 2^64 - 1.

    Raises:
        TypeError: if the weights are not numbers.
        ValueError: if a weight is negative or not finite, all are 0, or a number is out of range.

    Example:
        >>> import numpy as np
        >>> import mmap_ninja as mn
        >>> labels = np.array([0, 0, 0, 1])
        >>> order = mn.Weighted(1 / np.bincount(labels)[labels], size=8)
        >>> labels[order]
        array([1, 1, 0, 1, 1, 1, 1, 1])
    """

    def __init__(self, weights: npt.ArrayLike, size: int | None = None, seed: int = 0, epoch: int = 0) -> None:
        super().__init__(seed, epoch)
        self._weights = checked_weights(weights)
        self._size = len(self._weights) if size is None else number(size, "size", 0, MOST + 1)

    def __len__(self) -> int:
        return self._size

    def __repr__(self) -> str:
        return f"Weighted({len(self._weights)} weights, size={self._size}, seed={self._seed}, epoch={self._epoch})"

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_table"}

    @cached_property
    def _table(self) -> _kernel.AliasTable:
        return _kernel.AliasTable(self._weights)

    @property
    def _end(self) -> int:
        return len(self._weights)

    def _described(self) -> str:
        return f"{self._size} draws by weights {digest_of(self._weights)}"

    def _reader(self) -> Reader:
        return partial(self._table.at, self._key)


def checked_weights(weights: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Weights as an array.

    Raises:
        TypeError: if they are not numbers.
        ValueError: if one is negative or not finite, or all are 0.
    """
    found = np.asarray(weights)
    if found.ndim != 1 or found.dtype.kind not in "biuf":
        raise TypeError(f"weights: expected one number each, got {found.dtype} of shape {found.shape}")
    values = np.array(found, np.float64)
    bad = np.flatnonzero(~(np.isfinite(values) & (values >= 0)))
    if len(bad):
        raise ValueError(f"weights: expected finite numbers of at least 0, found {values[bad[0]]} at {bad[0]}")
    if not values.any():
        raise ValueError(f"weights: expected a weight above 0, found none among {len(values)}")
    return values
