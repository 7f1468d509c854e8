"""Mixing: one endless stream of several datasets, each of which comes as often as its weight says."""

import itertools
import operator
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from functools import cached_property, partial
from typing import Any, Final, Literal, TypeVar, get_args

import numpy as np
import numpy.typing as npt

from mmap_ninja import _kernel
from mmap_ninja.exported import exported
from mmap_ninja.kinds.concat import concat
from mmap_ninja.kinds.handle import DatasetHandle
from mmap_ninja.kinds.indices import is_index, resolved, several
from mmap_ninja.kinds.loadable import Loadable
from mmap_ninja.kinds.sequence import Indices
from mmap_ninja.loading.orders import MOST, Positions, Reader, SeededOrder, number
from mmap_ninja.loading.weighted import checked_weights

T = TypeVar("T")
Stop = Literal["first", "all"]

_STOPS: Final = get_args(Stop)
_WHOLE: Final = 1 << 64  # of a share


class MixedOrder(SeededOrder):
    """Positions in all datasets of a mix, one after the other; an epoch goes on where the last one ended.

    Args:
        sizes: How many samples each dataset has.
        weights: One per dataset, above 0.
        seed: What decides the order: a number from 0 to 2^64 - 1.
        length: The elements of an epoch; None: as `stop` says.
        stop: Whether the first epoch ends where the first dataset, or all of them, were used up once.
    """

    def __init__(
        self, sizes: Sequence[int], weights: npt.NDArray[np.float64], seed: int, length: int | None, stop: Stop
    ) -> None:
        super().__init__(seed, 0)
        self._sizes = tuple(sizes)
        self._weights = weights
        self._length = length
        self._stop = stop

    def __len__(self) -> int:
        return self._count

    def __repr__(self) -> str:
        return f"{self._described()}, seed={self._seed}, epoch={self._epoch}"

    def __copy__(self) -> "MixedOrder":  # which shares what was computed
        other = object.__new__(MixedOrder)
        other.__dict__.update(self.__dict__)
        return other

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in ("_mixture", "_count")}

    @property
    def arguments(self) -> tuple[Any, ...]:
        """What makes the same order."""
        return self._sizes, self._weights, self._seed, self._length, self._stop

    def at(self, places: Positions) -> Positions:
        """The positions at some places of the epoch, which are in range."""
        return self._mixture.at(self._start + places)

    def _with_seed(self, seed: int) -> "MixedOrder":
        return MixedOrder(self._sizes, self._weights, seed, self._length, self._stop)

    @property
    def _end(self) -> int:
        return sum(self._sizes)

    def _described(self) -> str:
        until = f"length={self._length}" if self._length is not None else f"stop={self._stop!r}"
        return f"mix of {list(self._sizes)} samples by {self._weights.tolist()}, {until}"

    @cached_property
    def _mixture(self) -> _kernel.Mixture:
        # Exact fractions, so that rounding is the same everywhere.
        fractions = list(map(Fraction, self._weights.tolist()))
        left = list(itertools.accumulate(reversed(fractions)))[::-1]
        shares = [min(int(own / rest * _WHOLE), _WHOLE - 1) for own, rest in zip(fractions, left, strict=True)]
        key = _kernel.xxh64(b"mix" + self._seed.to_bytes(8, "little"))
        return _kernel.Mixture(np.array(self._sizes, np.uint64), np.array(shares, np.uint64), key)

    @cached_property
    def _count(self) -> int:
        """The number of elements in an epoch.

        Raises:
            ValueError: if a dataset has so little weight that the end is never reached.
        """
        if self._length is not None:
            return self._length
        count = self._mixture.end(self._stop == "all")
        if count > MOST:
            raise ValueError(
                f"weights: {self._weights.tolist()!s:.80}: a dataset has so little weight that not all of it "
                "comes in 2^62 samples; give it more, or pass a length="
            )
        return count

    @property
    def _start(self) -> int:
        """The first element of the epoch. After 2^62 of them the stream begins again."""
        return self._epoch % (MOST // len(self)) * len(self)

    def _reader(self) -> Reader:
        return partial(self._read, self._start)

    def _read(self, start: int, first: int, step: int, count: int) -> Positions:
        return self._mixture.at(start + first + step * np.arange(count))


@exported
class Mix(Loadable, Sequence[T]):
    """The first epoch of several datasets that are mixed, as a list; from `mix`.

    Attributes:
        samples: All samples of the datasets, one dataset after the other: their `concat`.
    """

    def __init__(self, samples: DatasetHandle[T], *order: Any) -> None:
        self.samples: DatasetHandle[T] = samples
        self._order = MixedOrder(*order)

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, key: Any) -> Any:
        if is_index(key):
            place = operator.index(key)
            if not -len(self) <= place < len(self):
                raise IndexError(f"index {place} is out of range for {len(self)} samples")
            return self.samples[self._order[place]]
        if isinstance(key, str) or (isinstance(key, list) and key and isinstance(key[0], str)):
            records: Any = self.samples
            return Mix(records[key], *self._order.arguments)
        return self.take(several(key))

    def __getitems__(self, indices: Indices) -> Any:
        """A batch for PyTorch's DataLoader, which calls this."""
        return self.samples.__getitems__(self._positions(indices))

    def __iter__(self) -> Iterator[T]:
        return map(self.samples.__getitem__, self._order)

    def take(self, indices: Indices) -> Any:
        """The samples at many places, in their order, in one native call.

        Args:
            indices: Integers in any order, also repeated, negative ones counted from the end; a boolean mask; or a
                slice.

        Returns:
            What `take` of the datasets returns.

        Raises:
            IndexError: if an index is out of range.
        """
        return self.samples.take(self._positions(indices))

    def select(self, indices: Indices) -> Any:
        """A view of some of the samples, with all reading methods of the datasets; it takes 8 bytes per sample.

        Args:
            indices: Integers in any order, also repeated, negative ones counted from the end; a boolean mask; or a
                slice.

        Returns:
            A handle of the class of the datasets.

        Raises:
            IndexError: if an index is out of range.
        """
        return self.samples.select(self._positions(indices))

    def _positions(self, indices: Indices) -> Positions:
        if isinstance(indices, slice):
            return self._order[indices]
        return self._order.at(resolved(indices, len(self)))

    def __reduce__(self) -> tuple[Any, ...]:
        return Mix, (self.samples, *self._order.arguments)

    def __repr__(self) -> str:
        return f"Mix({self.samples!r}, {self._order!r:.200})"


@exported
def mix(
    datasets: Iterable[DatasetHandle[T]],
    weights: npt.ArrayLike,
    seed: int = 0,
    length: int | None = None,
    stop: Stop = "first",
) -> Mix[T]:
    """Several datasets as one shuffled list, in which each comes as often as its weight says.

    It is the beginning of an endless stream. In each 256 samples of that, every dataset has its share, rounded, at
    places that chance decides. A dataset's own samples are shuffled, and shuffled anew each time that all of them have
    come. A `Loader` goes on in the stream: an epoch begins where the last one ended.

    Args:
        datasets: Datasets, views, columns of records, or other concatenations, all of one class. Samples that are
            appended to them later are not in the list.
        weights: One per dataset: finite numbers above 0 that need not add up to 1.
        seed: What decides the order: a number from 0 to 2^64 - 1.
        length: The number of samples; None: as `stop` says.
        stop: Where the list ends. "first": when all samples of one dataset have come. "all": when all samples of every
            dataset have, so that some come again.

    Returns:
        A sequence of samples, which is computed when it is read: `[]`, `take`, `select` and `loader` work as on
        the datasets, and `samples` is their `concat`.

    Raises:
        TypeError: if the classes of the datasets differ, or their columns do in names, dtypes or shapes.
        ValueError: if there are no datasets, one of them is empty, there are not as many weights, a weight is not above
            0, or a number is out of range.

    Example:
        >>> import mmap_ninja as mn
        >>> a = mn.StringsMmap.from_strings("a", [f"a{k}" for k in range(7)])
        >>> b = mn.StringsMmap.from_strings("b", [f"b{k}" for k in range(100)])
        >>> mixed = mn.mix([a, b], weights=[0.7, 0.3])
        >>> mixed[:]
        ['b70', 'a4', 'b32', 'a6', 'a0', 'b67', 'a1', 'a2', 'a5', 'b41', 'b11', 'a3']
        >>> len(mn.mix([a, b], weights=[0.7, 0.3], stop="all"))
        318
    """
    if stop not in _STOPS:
        raise ValueError(f"stop {stop!r} is unknown (expected one of {_STOPS})")
    listed = datasets if isinstance(datasets, DatasetHandle) else list(datasets)
    if any(isinstance(dataset, Mix) for dataset in listed):
        raise TypeError("datasets: expected datasets, got a mix; a view of it is one: mix.select(slice(None))")
    samples = concat(listed)  # which says what is wrong with them
    sizes = list(map(len, listed))
    if not all(sizes):
        empty = sizes.index(0)
        raise ValueError(f"{listed[empty].path}: mix: dataset {empty} has no samples; leave it out")
    shares = checked_weights(weights)
    if len(shares) != len(sizes):
        raise ValueError(f"weights: expected one for each of {len(sizes)} datasets, got {len(shares)}")
    if not shares.all():
        none = shares.tolist().index(0)
        raise ValueError(f"weights: expected numbers above 0, found 0 at {none}; leave out {listed[none].path}")
    count = None if length is None else number(length, "length", 1, MOST)
    mixed = Mix(samples, sizes, shares, seed, count, stop)
    len(mixed)  # raises where there is no end
    return mixed
