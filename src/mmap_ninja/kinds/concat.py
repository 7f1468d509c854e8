"""`concat`: several datasets as one list, without a copy."""

import itertools
import operator
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, cast

import numpy as np

from mmap_ninja.columns.casting import is_masked_array
from mmap_ninja.exported import exported
from mmap_ninja.kinds.handle import DatasetHandle
from mmap_ninja.kinds.indices import is_index, resolved, several
from mmap_ninja.kinds.sequence import Indices, parts_of
from mmap_ninja.kinds.state import Positions, Selection


@exported
class Concat(Sequence[Any]):
    """A read-only list of the samples of several datasets or views, from `concat`.

    It shows the snapshots that the parts had when it was made, also after pickling.

    Args:
        parts: Datasets or views of one class.
        chosen: Positions of its samples in the list of all parts' samples; None: all.

    Example:
        >>> from mmap_ninja import StringsMmap
        >>> parts = [StringsMmap.from_strings(name, [name, name * 2]) for name in ("a", "b")]
        >>> concat(parts).take([3, 0])
        ['bb', 'a']
    """

    def __init__(self, parts: Sequence[DatasetHandle[Any]], chosen: Selection | None = None) -> None:
        self._parts = tuple(parts)
        self._ends = np.cumsum([len(part) for part in self._parts])
        self._chosen = (
            range(int(self._ends[-1])) if chosen is None else chosen
        )  # positions in the list of all parts' samples

    @property
    def parts(self) -> tuple[DatasetHandle[Any], ...]:
        """The datasets, each as a view of its snapshot when they were concatenated."""
        return self._parts

    def __len__(self) -> int:
        return len(self._chosen)

    def __getitem__(self, key: Any) -> Any:
        is_name = isinstance(key, str) or (isinstance(key, list) and key and isinstance(key[0], str))
        if is_name and hasattr(self._parts[0], "columns"):
            return Concat([cast("DatasetHandle[Any]", cast("Any", part)[key]) for part in self._parts], self._chosen)
        if not is_index(key):
            return self._gathered(several(key), [part.__getitem__ for part in self._parts])
        at = int(self._chosen[resolved([operator.index(key)], len(self)).item()])
        part = int(np.searchsorted(self._ends, at, side="right"))
        return self._parts[part][at - self._start(part)]

    def __iter__(self) -> Iterator[Any]:
        if isinstance(self._chosen, range) and self._chosen == range(int(self._ends[-1])):
            return itertools.chain.from_iterable(self._parts)
        for part in self._parts:
            part._start_afresh()  # noqa: SLF001 - as the iterators of the parts do
        return (self[position] for position in range(len(self)))

    def take(self, indices: Indices) -> Any:
        """The samples at many positions, with one `take` per dataset.

        Args:
            indices: Integers in any order, also repeated, negative ones counted from the end; a boolean mask; or a
                slice.

        Returns:
            As `take` of the datasets: a list, an array for arrays of one shape, or a dict of these for records.

        Raises:
            IndexError: if an index is out of range.
        """
        return self._gathered(indices, [part.take for part in self._parts])

    def __getitems__(self, indices: Indices) -> list[Any]:
        """A batch for PyTorch's DataLoader, which calls this: a list of samples."""
        return cast("list[Any]", self._gathered(indices, [part.__getitems__ for part in self._parts]))

    def select(self, indices: Indices) -> "Concat":
        """A view of some samples; nothing is read.

        Args:
            indices: Integers in any order, also repeated, negative ones counted from the end; a boolean mask; or a
                slice.

        Raises:
            IndexError: if an index is out of range.
        """
        if isinstance(indices, slice):
            return Concat(self._parts, self._chosen[indices])
        return Concat(self._parts, self._at(indices))

    def split(self, fractions: Sequence[float], seed: int | None = None) -> list["Concat"]:
        """Disjoint parts of the samples, as views: for training and validation, for example.

        Args:
            fractions: The size of each part as a fraction of all samples: numbers of at least 0 that add up to at most
                1.
            seed: None: each part is a run of consecutive samples. A number: the samples are chosen at random; the
                choice depends only on this number and the count of samples, also in later versions. Each part keeps the
                order of the samples, so that reading it in order is fast; shuffle when you read.

        Raises:
            ValueError: if a fraction is negative, or they add up to more than 1.
        """
        return [self.select(part) for part in parts_of(len(self), fractions, seed)]

    def __contains__(self, value: object) -> bool:
        return len(self._places(value)) > 0

    def index(self, value: object, start: int = 0, stop: int | None = None) -> int:
        """Position of the first sample equal to `value`, between `start` and `stop`.

        Args:
            value: What to look for.
            start: The first position to look at; negative ones count from the end.
            stop: The position to stop before; None: at the end.

        Raises:
            ValueError: if no sample is equal.
        """
        first, end, _ = slice(start, stop).indices(len(self))
        places = self._places(value)
        places = places[(places >= first) & (places < end)]
        if not len(places):
            raise ValueError(f"{value!r:.80} is not among the samples {first} to {end}")
        return int(places[0])

    def count(self, value: object) -> int:
        """How many samples are equal to `value`.

        Args:
            value: What to look for.
        """
        return len(self._places(value))

    def __repr__(self) -> str:
        return f"Concat({len(self._parts)} datasets, {len(self)} samples)"

    def __reduce__(self) -> tuple[Any, ...]:
        return Concat, (self._parts, self._chosen)

    def _start(self, part: int) -> int:
        return int(self._ends[part - 1]) if part else 0

    def _places(self, value: object) -> Positions:
        """Positions of the samples that are equal to a value, ascending."""
        found = [
            self._start(part) + position
            for part, samples in enumerate(self._parts)
            for position in samples._found(value, 0, len(samples))  # noqa: SLF001 - one pass over all matches
        ]
        return np.flatnonzero(np.isin(np.asarray(self._chosen), found))

    def _at(self, indices: Indices) -> Positions:
        """Positions in this list as positions in the list of all parts' samples."""
        at = resolved(indices, len(self))
        if isinstance(self._chosen, range):
            return self._chosen.start + self._chosen.step * at
        return self._chosen[at]

    def _gathered(self, indices: Indices, takes: Sequence[Any]) -> Any:
        """The samples at some positions, in their order, gathered from the parts."""
        at = self._at(indices)
        of = np.searchsorted(self._ends, at, side="right")
        order = np.argsort(of, kind="stable")
        bounds = np.searchsorted(of[order], np.arange(len(takes) + 1))
        asked = [order[start:stop] for start, stop in itertools.pairwise(bounds)]
        # An empty batch has the type that the first part gives.
        used = [part for part, mine in enumerate(asked) if len(mine)] or [0]
        batches = [takes[part](at[asked[part]] - self._start(part)) for part in used]
        return _joined(batches, np.argsort(order))


@exported
def concat(datasets: Iterable[DatasetHandle[Any]]) -> Concat:
    """Several datasets as one list: lazy, read-only and picklable, on the snapshots that their handles see now.

    Args:
        datasets: Datasets or views of one class. Samples appended to them later are not in the list.

    Raises:
        TypeError: if their classes differ, or the columns of records.
        ValueError: if there are no datasets.

    Example:
        >>> from mmap_ninja import StringsMmap
        >>> a = StringsMmap.from_strings("a", ["one", "two"])
        >>> b = StringsMmap.from_strings("b", ["three"])
        >>> both = concat([a, b])
        >>> len(both), both[-1], both.take([2, 0])
        (3, 'three', ['three', 'one'])
    """
    parts = list(datasets)
    if not parts:
        raise ValueError("concat: expected at least one dataset, got none")
    for part in parts:
        if not isinstance(part, DatasetHandle):
            raise TypeError(f"concat: expected datasets, got {type(part).__name__}; open it with mmap_ninja.open first")
        if type(part) is not type(parts[0]):
            raise TypeError(
                f"{part.path}: concat: expected {type(parts[0]).__name__} as in {parts[0].path}, "
                f"got {type(part).__name__}; concatenate datasets of one class"
            )
        if (names := getattr(part, "columns", None)) != (first := getattr(parts[0], "columns", None)):
            raise TypeError(
                f"{part.path}: concat: expected the columns {first} as in {parts[0].path}, found {names}; "
                "select the same columns of each"
            )
    return Concat([part.select(slice(None)) for part in parts])


def _joined(batches: list[Any], order: Any) -> Any:
    """Batches joined, then reordered."""
    first = batches[0]
    if isinstance(first, dict):
        return {key: _joined([batch[key] for batch in batches], order) for key in first}
    if isinstance(first, np.ndarray):
        join = np.ma.concatenate if is_masked_array(first) else np.concatenate
        return (join(batches) if len(batches) > 1 else first)[order]
    samples = [sample for batch in batches for sample in batch]
    return [samples[place] for place in order.tolist()]
