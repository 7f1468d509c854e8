"""Orders: which sample comes when in an epoch, computed where it is asked for."""

# ruff: noqa: SLF001 - orders that are made of others read them

import copy
import operator
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from functools import cached_property, partial
from typing import Any, Final, Self, SupportsIndex, overload

import numpy as np
import numpy.typing as npt

from mmap_ninja import _kernel
from mmap_ninja.exported import exported
from mmap_ninja.kinds.indices import clipped

Positions = npt.NDArray[np.int64]
Reader = Callable[[int, int, int], Positions]  # of the places first, first + step, ..., so many

MOST: Final = 1 << 62  # positions
SEEDS: Final = 1 << 64

_AT_ONCE: Final = 4096  # positions that an iterator computes at once
_WINDOW: Final = 16


class InEpochs(ABC):
    """What is another one in each epoch."""

    @property
    @abstractmethod
    def epoch(self) -> int:
        """The epoch that this is of."""

    def set_epoch(self, epoch: int) -> None:
        """Go to another epoch, as PyTorch's samplers do.

        Args:
            epoch: A number from 0 to 2^64 - 1.

        Raises:
            ValueError: if it is not.

        Example:
            >>> import mmap_ninja as mn
            >>> order = mn.Shuffle(5)
            >>> first = order[:].tolist()
            >>> order.set_epoch(1)
            >>> order[:].tolist() == first
            False
        """
        self._go_to(number(epoch, "epoch", 0, SEEDS))

    @abstractmethod
    def _go_to(self, epoch: int) -> None: ...


class Order(InEpochs):
    """The positions of an epoch's samples: a sequence of integers that are computed when they are asked for.

    `order[i]` is an int, `order[start:stop]` an array of int64. An iterator keeps the epoch that it began with.
    """

    @abstractmethod
    def _reader(self) -> Reader:
        """A function that reads positions of this epoch, also after `set_epoch`."""

    @property
    def seed(self) -> int | None:
        """The seed of all epochs; None if the order has none."""
        return None

    def _with_seed(self, seed: int) -> Self:  # noqa: ARG002 - for orders that have one
        """The same order with another seed, if it has one."""
        return copy.copy(self)

    @property
    @abstractmethod
    def _end(self) -> int:
        """A number above all positions."""

    @abstractmethod
    def _described(self) -> str:
        """What decides the order but for seed and epoch, for fingerprints."""

    @abstractmethod
    def __len__(self) -> int: ...

    @overload
    def __getitem__(self, index: SupportsIndex, /) -> int: ...
    @overload
    def __getitem__(self, index: slice, /) -> Positions: ...
    def __getitem__(self, index: SupportsIndex | slice, /) -> int | Positions:
        if isinstance(index, slice):
            places = range(len(self))[clipped(index, len(self))]
            return self._reader()(places.start, places.step, len(places)) if places else np.empty(0, np.int64)
        place = operator.index(index)
        if not -len(self) <= place < len(self):
            raise IndexError(f"index {place} is out of range for {self!r:.80} of {len(self)} positions")
        return int(self._reader()(place % len(self), 1, 1)[0])

    def __iter__(self) -> Iterator[int]:
        read, count = self._reader(), len(self)
        for start in range(0, count, _AT_ONCE):
            yield from read(start, 1, min(_AT_ONCE, count - start)).tolist()

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> npt.NDArray[Any]:
        """All positions; a copy, since they are not in memory."""
        if copy is False:
            raise ValueError(f"{self!r:.80}: positions become an array by computing them; leave out copy=False")
        return np.asarray(self[:], dtype)


class SeededOrder(Order):
    """An order that a seed and an epoch decide, the same on every machine."""

    def __init__(self, seed: int, epoch: int) -> None:
        self._seed = number(seed, "seed", 0, SEEDS)
        self._epoch = number(epoch, "epoch", 0, SEEDS)

    @property
    def seed(self) -> int:
        """The seed of all epochs.

        Example:
            >>> import mmap_ninja as mn
            >>> mn.Shuffle(10, seed=7).seed
            7
        """
        return self._seed

    @property
    def epoch(self) -> int:
        """The epoch that this is the order of.

        Example:
            >>> import mmap_ninja as mn
            >>> order = mn.Shuffle(10)
            >>> order.set_epoch(3)
            >>> order.epoch
            3
        """
        return self._epoch

    def _go_to(self, epoch: int) -> None:
        self._epoch = epoch

    def shard(self, rank: int, world_size: int) -> "Shard":
        """The positions that one of several processes takes: every `world_size`-th, from `rank` on.

        Where the length does not divide, positions from the start of the epoch fill the last ones up, so that all
        processes have equally many, as in PyTorch's `DistributedSampler`.

        Args:
            rank: The number of this process, from 0.
            world_size: How many processes there are.

        Returns:
            A sequence with an epoch of its own.

        Raises:
            ValueError: if `rank` is not below `world_size`.

        Example:
            >>> import mmap_ninja as mn
            >>> order = mn.Shuffle(10)
            >>> order.shard(rank=0, world_size=4)[:], order.shard(rank=3, world_size=4)[:]
            (array([0, 5, 1]), array([8, 9, 7]))
        """
        return Shard(self, rank, world_size)

    def _with_seed(self, seed: int) -> Self:
        other = copy.copy(self)
        other._seed = number(seed, "seed", 0, SEEDS)
        return other

    @property
    def _key(self) -> int:
        # A hash: with seed + epoch, epoch 1 of a seed would be epoch 0 of the next one.
        return _kernel.xxh64(self._seed.to_bytes(8, "little") + self._epoch.to_bytes(8, "little"))


@exported
class Shuffle(SeededOrder):
    """Each of the positions 0 to n - 1 once, in an order that a seed and an epoch decide.

    It takes no memory beyond 4 MB, at any `n`, and starts at once; it pickles as its arguments. Up to 2^20 positions
    are shuffled as a whole (Fisher and Yates), more of them by a Feistel network over about sqrt(n) x sqrt(n) pairs.
    It is also a `sampler=` for PyTorch's `DataLoader`.

    Args:
        n: The number of positions: usually `len(dataset)`.
        seed: What decides the order, with the epoch: a number from 0 to 2^64 - 1.
        epoch: The epoch to begin with: a number from 0 to 2^64 - 1.
        block: Consecutive positions that stay near each other, so that cold samples are read a block at a time: the
            blocks of so many are shuffled, then the positions in each `window` of blocks. None: all are shuffled.
        window: How many blocks are shuffled together; None: 16.

    Raises:
        TypeError: if `n` is not an integer.
        ValueError: if a number is out of range, or `window` is given without `block`.

    Example:
        >>> import mmap_ninja as mn
        >>> order = mn.Shuffle(10, seed=7)
        >>> order[:4], order[0]
        (array([9, 4, 8, 0]), 9)
        >>> order.set_epoch(1)
        >>> list(order.shard(rank=0, world_size=2))
        [9, 0, 8, 7, 4]
    """

    def __init__(
        self, n: int, seed: int = 0, epoch: int = 0, *, block: int | None = None, window: int | None = None
    ) -> None:
        super().__init__(seed, epoch)
        if not hasattr(n, "__index__"):
            raise TypeError(f"n: expected a number of samples, got {type(n).__name__}; give len(...) of it")
        if block is None and window is not None:
            raise ValueError(f"window={window}: expected `block`, too; there is no window without blocks")
        self._n = number(n, "n", 0, MOST + 1)
        self._block = None if block is None else number(block, "block", 1, MOST)
        self._window = None if window is None else number(window, "window", 1, MOST)
        self._made: tuple[int, Reader] | None = None  # the last epoch's reader

    def __len__(self) -> int:
        return self._n

    def __repr__(self) -> str:
        options = {"seed": self._seed, "epoch": self._epoch, "block": self._block, "window": self._window}
        given = [f"{name}={value}" for name, value in options.items() if value is not None]
        return f"Shuffle({', '.join([str(self._n), *given])})"

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_made": None}

    @property
    def _end(self) -> int:
        return self._n

    def _described(self) -> str:
        blocks = "" if self._block is None else f" of blocks of {self._block} in windows of {self._window or _WINDOW}"
        return f"shuffle of {self._n}{blocks}"

    @property
    def _near(self) -> int:
        return 1 if self._block is None else self._block * (self._window or _WINDOW)

    def _reader(self) -> Reader:
        made, epoch = self._made, self._epoch
        if made is None or made[0] != epoch:
            made = self._made = (epoch, self._permutation().at)
        return made[1]

    def _permutation(self) -> _kernel.Permutation | _kernel.BlockPermutation:
        if self._block is None:
            return _kernel.Permutation(self._n, self._key)
        block = min(self._block, max(self._n, 1))
        return _kernel.BlockPermutation(self._n, self._key, block, self._window or _WINDOW)


class Listed(Order):
    """Positions that somebody else decided, the same in every epoch."""

    def __init__(self, positions: Positions | range) -> None:
        self._positions = positions
        self._epoch = 0

    @property
    def epoch(self) -> int:
        """The number that `set_epoch` was given last."""
        return self._epoch

    def _go_to(self, epoch: int) -> None:
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._positions)

    def __repr__(self) -> str:
        return self._described()

    @cached_property
    def _end(self) -> int:
        if isinstance(self._positions, range):
            return self._positions.stop
        return int(self._positions.max(initial=-1)) + 1

    def _described(self) -> str:
        if isinstance(self._positions, range):
            return f"the order of {len(self._positions)}"
        return f"{len(self._positions)} positions {digest_of(self._positions)}"

    def _reader(self) -> Reader:
        return self._read

    def _read(self, first: int, step: int, count: int) -> Positions:
        places = first + step * np.arange(count)
        return places if isinstance(self._positions, range) else self._positions[places]


class Shard(Order):
    """The positions that one of several processes takes, from `shard` of an order."""

    def __init__(self, order: SeededOrder, rank: int, world_size: int) -> None:
        self._world_size = number(world_size, "world_size", 1, MOST)
        self._rank = number(rank, "rank", 0, self._world_size)
        self._order = copy.copy(order)

    @property
    def epoch(self) -> int:
        """The epoch that this is the order of."""
        return self._order.epoch

    def _go_to(self, epoch: int) -> None:
        self._order.set_epoch(epoch)

    @property
    def seed(self) -> int:
        """The seed of all epochs."""
        return self._order.seed

    def __len__(self) -> int:
        return len(range(self._rank, self._rank + len(self._order), self._world_size))

    def __repr__(self) -> str:
        return f"{self._order!r}.shard({self._rank}, {self._world_size})"

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_order": copy.copy(self._order)}

    def _with_seed(self, seed: int) -> "Shard":
        return Shard(self._order._with_seed(seed), self._rank, self._world_size)

    @property
    def _end(self) -> int:
        return self._order._end

    def _described(self) -> str:
        return f"shard {self._rank} of {self._world_size} of {self._order._described()}"

    def _reader(self) -> Reader:
        return partial(self._read, self._order._reader())

    def _read(self, read: Reader, first: int, step: int, count: int) -> Positions:
        highest = self._rank + max(first, first + step * (count - 1)) * self._world_size
        if highest < len(self._order):
            return read(self._rank + first * self._world_size, step * self._world_size, count)
        # The last place of the shard, which is the first or the last one here, is past the end of the order.
        wrapped = [read(highest % len(self._order), 1, 1)]
        if count == 1:
            return wrapped[0]
        others = [self._read(read, first + step if step < 0 else first, step, count - 1)]
        return np.concatenate(wrapped + others if step < 0 else others + wrapped)


def order_of(order: Order | npt.ArrayLike) -> Order:
    """An order, or an array of positions as one; a copy, with an epoch of its own.

    Raises:
        TypeError: if it is neither.
        ValueError: if a position is negative.
    """
    if isinstance(order, Order):
        return copy.copy(order)
    if isinstance(order, InEpochs):
        raise TypeError(f"order: expected an order, got the plan {order!r:.80}; pass it as `plan`")
    positions = np.asarray(order)
    if positions.ndim != 1 or (positions.dtype.kind not in "iu" and positions.size):
        raise TypeError(f"order: expected a Shuffle, a Weighted, or an array of positions, got {order!r:.80}")
    for found in (positions.min(), positions.max()) if positions.size else ():
        if not 0 <= found < MOST:
            raise ValueError(f"order: expected positions from 0 to 2^62 - 1, found {found}")
    return Listed(positions.astype(np.int64))


def number(value: SupportsIndex, name: str, low: int, end: int) -> int:
    """An integer from `low` to `end` - 1.

    Raises:
        TypeError: if it is not an integer.
        ValueError: if it is out of range.
    """
    if not hasattr(value, "__index__"):
        raise TypeError(f"{name}: expected an integer, got {value!r:.80}")
    found = operator.index(value)
    if not low <= found < end:
        raise ValueError(f"{name}={found}: expected {low} to {end - 1}")
    return found


def digest_of(array: npt.NDArray[Any]) -> str:
    """A hash of an array's values, for fingerprints."""
    return f"{_kernel.xxh64(np.ascontiguousarray(array).tobytes()):016x}"
