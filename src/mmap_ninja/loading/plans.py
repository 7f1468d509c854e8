"""Plans: which positions make up each batch of an epoch."""

# ruff: noqa: SLF001 - plans, orders and loaders belong together

import copy
import operator
from abc import abstractmethod
from collections.abc import Iterator
from typing import Any, Final, Self, SupportsIndex

import numpy as np
import numpy.typing as npt

from mmap_ninja.exported import exported
from mmap_ninja.loading.orders import MOST, InEpochs, Order, Positions, number, order_of


class Plan(InEpochs):
    """The batches of an epoch, as a sequence of arrays of positions that are computed when they are asked for.

    A batch is global: of all processes together. Each takes every `world_size`-th of its positions.
    """

    batch_size: int | None

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def _batch(self, k: int) -> Positions:
        """The positions of a batch, which is in range."""

    # For a loader, which knows only how much of the epoch was handed out, in samples or in rows of a packing.

    @abstractmethod
    def _check(self, count: int, name: str) -> None:
        """Check that a dataset of so many samples has those of this plan.

        Raises:
            IndexError: if it does not have a position.
            ValueError: if the plan was made from the lengths of other samples.
        """

    def _indices(self, positions: Positions) -> Any:
        """The samples at positions of a batch, as an array of the caller's own."""
        return positions.copy()

    @property
    @abstractmethod
    def _units(self) -> int:
        """The number of samples, or rows, in an epoch."""

    @property
    @abstractmethod
    def _multiple(self) -> int:
        """A number that divides the size of every batch but a short last one."""

    @abstractmethod
    def _batch_from(self, unit: int) -> Positions:
        """The positions of the batch that begins after so many units; not to be changed.

        Raises:
            ValueError: if none begins there.
        """

    @abstractmethod
    def _unit_of(self, k: int) -> int:
        """The number of units before a batch, which is in range."""

    @abstractmethod
    def _batches_from(self, unit: int) -> int:
        """The number of batches from there on."""

    @property
    def _near(self) -> int:
        """How many samples that follow each other are near to each other in the dataset; 1: none need be."""
        return 1

    @abstractmethod
    def _with_seed(self, seed: int) -> Self:
        """The same plan with another seed, if it has one."""

    @abstractmethod
    def _described(self) -> str:
        """What decides the batches but for seed and epoch, for fingerprints."""

    def __getitem__(self, index: SupportsIndex, /) -> Positions:
        k = operator.index(index)
        if not -len(self) <= k < len(self):
            raise IndexError(f"index {k} is out of range for {self!r:.80} of {len(self)} batches")
        return self._batch(k % len(self))

    def __iter__(self) -> Iterator[Positions]:
        return (self._batch(k) for k in range(len(self)))


_AT_ONCE: Final = 4096  # positions that a loader's plan computes at once: one by one, short batches cost as much again


@exported
class Batches(Plan):
    """Batches of one size, in an order; only the last one may be shorter.

    Args:
        order: A `Shuffle`, a `Weighted`, or an array of positions; it is copied.
        batch_size: Samples, or rows, in a batch of all processes together.

    Raises:
        TypeError: if the order is none, or the size is not an integer.
        ValueError: if a position is negative, or the size is below 1.

    Example:
        >>> import mmap_ninja as mn
        >>> plan = mn.Batches(mn.Shuffle(10), 4)
        >>> len(plan), plan[2]
        (3, array([1, 3]))
        >>> [len(positions) for positions in plan]
        [4, 4, 2]
    """

    def __init__(self, order: Order | npt.ArrayLike, batch_size: int) -> None:
        self._order = order_of(order)
        self.batch_size: int = number(batch_size, "batch_size", 1, MOST)
        self._drawn: tuple[int, Positions] = (0, np.empty(0, np.int64))  # positions of several batches, and their place

    @property
    def seed(self) -> int | None:
        """The seed of the order; None if it has none.

        Example:
            >>> import mmap_ninja as mn
            >>> mn.Batches(mn.Shuffle(10, seed=7), 4).seed
            7
        """
        return self._order.seed

    @property
    def epoch(self) -> int:
        """The epoch that this is the plan of.

        Example:
            >>> import mmap_ninja as mn
            >>> plan = mn.Batches(mn.Shuffle(10), 4)
            >>> plan.set_epoch(3)
            >>> plan.epoch
            3
        """
        return self._order.epoch

    def _go_to(self, epoch: int) -> None:
        self._order.set_epoch(epoch)
        self._drawn = (0, np.empty(0, np.int64))

    def __len__(self) -> int:
        return len(range(0, len(self._order), self.batch_size))

    def __repr__(self) -> str:
        return f"Batches({self._order!r}, {self.batch_size})"

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_order": copy.copy(self._order), "_drawn": (0, np.empty(0, np.int64))}

    def _batch(self, k: int) -> Positions:
        return self._order[k * self.batch_size : (k + 1) * self.batch_size]

    def _check(self, count: int, name: str) -> None:
        if (end := self._order._end) > count and len(self._order):
            raise IndexError(
                f"{name}: position {end - 1} of {self._order!r:.80} is out of range for {count} samples; make the "
                "order for the dataset as it is now"
            )

    @property
    def _units(self) -> int:
        return len(self._order)

    @property
    def _multiple(self) -> int:
        return self.batch_size

    def _batch_from(self, unit: int) -> Positions:
        size = self.batch_size
        first, positions = self._drawn
        at = unit - first
        if not 0 <= at <= len(positions) - size:
            positions = self._order[unit : unit + size * max(1, _AT_ONCE // size)]
            self._drawn, at = (unit, positions), 0
        return positions[at : at + size]

    def _unit_of(self, k: int) -> int:
        return k * self.batch_size

    def _batches_from(self, unit: int) -> int:
        return len(range(unit, len(self._order), self.batch_size))

    @property
    def _near(self) -> int:
        return getattr(self._order, "_near", 1)

    def _with_seed(self, seed: int) -> "Batches":
        return Batches(self._order._with_seed(seed), self.batch_size)

    def _described(self) -> str:
        return self._order._described()


def check_count(lengths: Positions, count: int, name: str) -> None:
    """Raise ValueError if a plan was made from another number of lengths than there are samples."""
    if len(lengths) != count:
        raise ValueError(
            f"{name}: has {count} samples, and the plan was made from {len(lengths)} lengths; make it from those of "
            "the dataset as it is now"
        )


def checked_lengths(lengths: npt.ArrayLike) -> Positions:
    """The lengths of samples as an array of int64.

    Raises:
        TypeError: if they are not integers.
        ValueError: if one is negative.
    """
    if hasattr(lengths, "lengths"):  # a dataset, whose samples would be read for nothing
        raise TypeError(f"lengths: expected one integer per sample, got {type(lengths).__name__}; pass its `lengths`")
    found = np.asarray(lengths)
    if found.ndim != 1 or (found.dtype.kind not in "iu" and found.size):
        raise TypeError(f"lengths: expected one integer per sample, got {found.dtype} of shape {found.shape}")
    for at in (found.argmin(), found.argmax()) if found.size else ():
        if not 0 <= found[at] < MOST:
            raise ValueError(f"lengths: expected 0 to 2^62 - 1, found {found[at]} at {at}")
    return np.array(found, np.int64)
