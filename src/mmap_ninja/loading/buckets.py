"""Batches of samples of similar lengths, so that little of them is padding."""

# ruff: noqa: SLF001 - plans, orders and loaders belong together

import bisect
import copy
import itertools
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mmap_ninja import _kernel
from mmap_ninja.exported import exported
from mmap_ninja.loading.orders import MOST, Positions, Shuffle, digest_of, number
from mmap_ninja.loading.plans import Plan, check_count, checked_lengths


class _Counted(NamedTuple):
    """The number of batches before each window of an epoch, and in all."""

    seed: int
    epoch: int
    before: Positions


@exported
class Buckets(Plan):
    """Batches of samples of similar lengths: of one number of samples, or of so many as have room.

    An epoch is shuffled. Then the samples of each `window` of batches are sorted by length and cut into batches, which
    are shuffled again. Longer windows have less padding; shorter ones are closer to chance. Only the last batch may
    have fewer samples.

    Args:
        lengths: The length of each sample: `dataset.lengths`, for example.
        batch_size: The number of samples in a batch of all processes together; None: as `max_elements` says.
        max_elements: How many elements a process may have in a batch with the padding, which is that of the longest
            sample of the whole batch; None: any number. The number of batches then depends on the epoch.
        seed: What decides the order, with the epoch: a number from 0 to 2^64 - 1.
        epoch: The epoch to begin with: a number from 0 to 2^64 - 1.
        multiple_of: The number of samples is a multiple of it: give the largest number of processes that is to be used.
        window: How many batches are sorted together.

    Raises:
        TypeError: if the lengths, or other numbers, are not integers.
        ValueError: if neither `batch_size` nor `max_elements` is given, a sample is longer than `max_elements`,
            `batch_size` is no multiple of `multiple_of`, or a number is out of range.

    Example:
        >>> import numpy as np
        >>> import mmap_ninja as mn
        >>> lengths = np.arange(1000) % 100
        >>> plan = mn.Buckets(lengths, batch_size=20)
        >>> len(plan), round(plan.padding, 2)
        (50, 0.01)
        >>> np.unique(lengths[plan[7]])
        array([84, 85])
    """

    def __init__(
        self,
        lengths: npt.ArrayLike,
        *,
        batch_size: int | None = None,
        max_elements: int | None = None,
        seed: int = 0,
        epoch: int = 0,
        multiple_of: int = 1,
        window: int = 50,
    ) -> None:
        self._lengths = checked_lengths(lengths)
        self.multiple_of: int = number(multiple_of, "multiple_of", 1, MOST)
        self.window: int = number(window, "window", 1, MOST)
        self.batch_size: int | None = None if batch_size is None else number(batch_size, "batch_size", 1, MOST)
        self.max_elements: int | None = None if max_elements is None else number(max_elements, "max_elements", 1, MOST)
        if batch_size is None and max_elements is None:
            raise ValueError("expected `batch_size`, `max_elements` or both, got neither")
        if self.batch_size is not None and self.batch_size % self.multiple_of:
            raise ValueError(f"batch_size={self.batch_size}: expected a multiple of multiple_of={self.multiple_of}")
        longest = int(self._lengths.max(initial=0))
        if self.max_elements is not None and longest > self.max_elements:
            raise ValueError(
                f"lengths: sample {self._lengths.argmax()} has {longest} elements, and max_elements is "
                f"{self.max_elements}; give more, or select shorter samples"
            )
        self._order = Shuffle(len(self._lengths), seed, epoch)
        self._size = self._samples_per_window()
        self._counted: list[_Counted | None] = [None]  # the last epoch that this plan, or a copy of it, counted
        self._last: tuple[int, list[Positions]] | None = None  # the last window that was asked for, and its batches

    @property
    def seed(self) -> int:
        """The seed of all epochs.

        Example:
            >>> import mmap_ninja as mn
            >>> mn.Buckets([3, 9, 7, 1], batch_size=2, seed=7).seed
            7
        """
        return self._order.seed

    @property
    def epoch(self) -> int:
        """The epoch that this is the plan of.

        Example:
            >>> import mmap_ninja as mn
            >>> plan = mn.Buckets([3, 9, 7, 1], batch_size=2)
            >>> plan.set_epoch(3)
            >>> plan.epoch
            3
        """
        return self._order.epoch

    def _go_to(self, epoch: int) -> None:
        self._order.set_epoch(epoch)
        self._last = None

    @property
    def padding(self) -> float:
        """The share of this epoch's elements that are padding, if each batch is as long as its longest sample.

        Example:
            >>> import numpy as np
            >>> import mmap_ninja as mn
            >>> lengths = np.arange(1000) % 100
            >>> mn.Buckets(lengths, batch_size=20).padding < mn.Buckets(lengths, batch_size=20, window=1).padding
            True
        """
        padded = 0
        for window in range(len(self._before) - 1):
            lengths = self._lengths[self._sorted(window)]
            bounds = self._bounds(lengths)
            padded += int((np.diff(bounds) * lengths[bounds[1:] - 1]).sum())
        return 1 - int(self._lengths.sum()) / padded if padded else 0.0

    def __len__(self) -> int:
        return int(self._before[-1])

    def __repr__(self) -> str:
        names = ("batch_size", "max_elements", "seed", "epoch", "multiple_of", "window")
        given = [f"{name}={value}" for name in names if (value := getattr(self, name)) is not None]
        return f"Buckets({len(self._lengths)} lengths, {', '.join(given)})"

    def __copy__(self) -> "Buckets":  # which shares what was counted
        other = object.__new__(Buckets)
        other.__dict__.update(self.__dict__, _order=copy.copy(self._order), _last=None)
        return other

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_counted": [None], "_last": None}

    def _check(self, count: int, name: str) -> None:
        check_count(self._lengths, count, name)

    @property
    def _units(self) -> int:
        return len(self._order)

    @property
    def _multiple(self) -> int:
        return self.multiple_of if self.batch_size is None or self.max_elements else self.batch_size

    def _batch_from(self, unit: int) -> Positions:
        return self._batch(self._number_from(unit))

    def _unit_of(self, k: int) -> int:
        window = self._window_of(k)
        before = self._batches(window)[: k - int(self._before[window])]
        return window * self._size + sum(map(len, before))

    def _batches_from(self, unit: int) -> int:
        return len(self) - self._number_from(unit)

    def _number_from(self, unit: int) -> int:
        """The number of the batch that begins after so many samples."""
        if unit == len(self._order):
            return len(self)
        window = unit // self._size
        starts = np.cumsum([window * self._size, *map(len, self._batches(window))])
        within = int(np.searchsorted(starts, unit))
        if starts[within] != unit:
            raise ValueError(
                f"position {unit}: no batch of {self!r:.80} begins there; the nearest one begins at {starts[within]}"
            )
        return int(self._before[window]) + within

    def _with_seed(self, seed: int) -> "Buckets":
        other = copy.copy(self)
        other._order = self._order._with_seed(seed)
        return other

    def _described(self) -> str:
        names = ("batch_size", "max_elements", "multiple_of", "window")
        options = [getattr(self, name) for name in names]
        return f"buckets {options} of {len(self._lengths)} lengths {digest_of(self._lengths)}"

    def _samples_per_window(self) -> int:
        """At least `window` batches, if there are so many, and about equally many in each window."""
        count, batch = max(len(self._lengths), 1), self.batch_size
        if batch is None:
            mean = max(int(self._lengths.sum()) / count, 1)
            batch = self.multiple_of * max(int((self.max_elements or 0) / mean), 1)
        batches = -(-count // batch)
        return -(-batches // max(batches // self.window, 1)) * batch

    @property
    def _before(self) -> Positions:
        """The number of batches before each window, and in all."""
        counted = self._counted[0]
        if counted is None or counted[:2] != (self.seed, self.epoch):
            windows = range(-(-len(self._order) // self._size))
            before = np.cumsum([0, *map(self._batches_in, windows)])
            counted = self._counted[0] = _Counted(self.seed, self.epoch, before)
        return counted.before

    def _batches_in(self, window: int) -> int:
        """The number of batches in a window."""
        if self.max_elements is None:  # it does not depend on the lengths
            samples = range(len(self._order))[window * self._size : (window + 1) * self._size]
            return -(-len(samples) // (self.batch_size or 1))
        return len(self._bounds(self._lengths[self._sorted(window)])) - 1

    def _sorted(self, window: int) -> Positions:
        """The samples of a window, the shortest first."""
        positions = self._order[window * self._size : (window + 1) * self._size]
        return positions[np.argsort(self._lengths[positions], kind="stable")]

    def _bounds(self, lengths: Positions) -> Positions:
        """Where the batches of a window begin, and the last one ends, from the sorted lengths of its samples."""
        whole = len(lengths) // self.multiple_of * self.multiple_of
        if self.max_elements is None:
            bounds = list(range(0, len(lengths), self.batch_size or 1))
            return np.array([*bounds, len(lengths)])
        bounds, most = [0], (self.batch_size or whole) // self.multiple_of
        while bounds[-1] < whole:
            start, groups = bounds[-1], range(1, min((whole - bounds[-1]) // self.multiple_of, most) + 1)
            fitting = bisect.bisect_right(
                groups, self.max_elements, key=lambda k: k * int(lengths[start + k * self.multiple_of - 1])
            )
            bounds.append(start + fitting * self.multiple_of)
        return np.array(bounds if whole == len(lengths) else [*bounds, len(lengths)])

    def _batch(self, k: int) -> Positions:
        window = self._window_of(k)
        return self._batches(window)[k - int(self._before[window])]

    def _window_of(self, k: int) -> int:
        """The window that a batch is of."""
        return int(np.searchsorted(self._before, k, side="right")) - 1

    def _batches(self, window: int) -> list[Positions]:
        """The batches of a window, which are kept until another one is asked for."""
        last = self._last
        if last is None or last[0] != window:
            last = self._last = (window, self._cut(window))
        return last[1]

    def _cut(self, window: int) -> list[Positions]:
        """The batches of a window, shuffled; a short one stays the last."""
        positions = self._sorted(window)
        bounds = self._bounds(self._lengths[positions])
        batches = [positions[start:stop] for start, stop in itertools.pairwise(bounds.tolist())]
        is_short = len(batches[-1]) % self._multiple != 0
        key = _kernel.xxh64(b"".join(part.to_bytes(8, "little") for part in (self.seed, self.epoch, window)))
        order = Shuffle(len(batches) - is_short, key)[:].tolist()
        return [batches[k] for k in order] + batches[len(order) :]
