"""`concat`: several datasets as one list, without a copy."""

import itertools
import operator
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from mmap_ninja.columns import nesting
from mmap_ninja.columns.casting import AnyArray, is_masked_array
from mmap_ninja.exported import exported
from mmap_ninja.kinds import splits
from mmap_ninja.kinds.comparing import Compare, Comparing, Mask
from mmap_ninja.kinds.handle import DatasetHandle
from mmap_ninja.kinds.indices import is_index, resolved, several
from mmap_ninja.kinds.nulls import Nulls
from mmap_ninja.kinds.sequence import Indices
from mmap_ninja.kinds.state import Positions


@exported
class Concat(Comparing, Sequence[Any]):
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

    def __init__(self, parts: Sequence[DatasetHandle[Any]], chosen: range | Positions | None = None) -> None:
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

    def _ipython_key_completions_(self) -> list[str]:
        """What a notebook offers in `concat["`: columns, and groups of nested ones."""
        names: list[str] = getattr(self._parts[0], "columns", [])
        return nesting.with_groups(names)

    def __iter__(self) -> Iterator[Any]:
        if self._is_whole:
            return itertools.chain.from_iterable(self._parts)
        for part in self._parts:
            part._start_afresh()  # noqa: SLF001 - as the iterators of the parts do
        return (self[position] for position in range(len(self)))

    def take(self, indices: Indices, *, nulls: Nulls = "mask", fill: Any = None) -> Any:
        """The samples at many positions, with one `take` per dataset.

        Args:
            indices: Integers in any order, also repeated, negative ones counted from the end; a boolean mask; or a
                slice.
            nulls: What a null of a nullable column becomes. "mask": None in a list; masked in an array, with NaN or NaT
                under the mask where the dtype has one. "raise": a ValueError that names the column and the position.
            fill: A value for nulls, which their columns hold exactly, or, for records, a dict with a value for each of
                some columns; None: as `nulls` says.

        Returns:
            As `take` of the datasets: a list, an array for arrays of one shape, or a dict of these for records.

        Raises:
            IndexError: if an index is out of range.
            ValueError: if a sample is null and `nulls="raise"`.
            TypeError: if a column cannot hold `fill`.
        """
        return self._gathered(indices, [partial(part.take, nulls=nulls, fill=fill) for part in self._parts])

    def __getitems__(self, indices: Indices) -> list[Any]:
        """A batch for PyTorch's DataLoader, which calls this: a list of samples."""
        return cast("list[Any]", self._gathered(indices, [part.__getitems__ for part in self._parts]))

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> AnyArray:
        """All samples as one array, a copy; strings and bytes as Python objects unless a dtype is given."""
        if copy is False:
            raise ValueError("concat: the samples of several datasets become one array by a copy; leave out copy=False")
        if not hasattr(self._parts[0], "__array__"):
            return np.array(list(self), dtype)
        return self._of_parts([np.asarray(part, dtype) for part in self._parts])

    def _compare(self, other: Any, compare: Compare) -> Any:
        if not isinstance(self._parts[0], Comparing):
            return NotImplemented
        return super()._compare(other, compare)

    def _compared(self, value: Any, compare: Compare) -> Mask:
        parts = cast("tuple[Any, ...]", self._parts)
        return self._of_parts([part._compared(value, compare) for part in parts])  # noqa: SLF001 - one mask per part

    def _are(self, samples: list[Any], wanted: list[Any]) -> bool:
        return cast("Comparing", self._parts[0])._are(samples, wanted)  # noqa: SLF001 - as its samples compare

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

    def split(
        self, fractions: Sequence[float], seed: int | None = None, *, by: str | None = None, exact: bool = False
    ) -> list["Concat"]:
        """Disjoint parts of the samples, as views: for training and validation, for example.

        With a seed, chance decides for each sample by itself, so the parts only have about these sizes, but a sample
        stays in its part when others are appended to any of the datasets. Each part keeps the order of the samples, so
        that reading it in order is fast; shuffle when you read.

        Args:
            fractions: The size of each part as a fraction of all samples: numbers of at least 0 that add up to at most
                1.
            seed: None: each part is a run of consecutive samples. A number: it decides, with the position of a sample,
                which part has it, also in later versions.
            by: A column of texts, bytes or numbers whose value takes the place of the position: samples with the same
                value are in the same part, and those that are left stay there when others are deleted.
            exact: Whether the parts have exactly these sizes. With a seed, samples then move between them whenever the
                number of samples changes.

        Raises:
            ValueError: if a fraction is negative, or they add up to more than 1; or if `by` is given without a seed, or
                with `exact`.
            KeyError: if there is no such column.
        """
        splits.check_by(by, seed, exact=exact)
        if seed is None or exact:
            return [self.select(part) for part in splits.exact(len(self), fractions, seed)]
        if self._is_whole:  # then the parts pickle by their rules
            of_each = [part.split(fractions, seed, by=by) for part in self._parts]
            return [Concat(parts) for parts in zip(*of_each, strict=True)]
        # In protected methods, since only the parts together have all hashes.
        draws = [part._draws(fractions, seed, by) for part in self._parts]  # noqa: SLF001
        hashes = [
            some
            for part, (draw, *_) in zip(self._parts, draws, strict=True)
            for some in part._hashes(*part._moment(), draw)  # noqa: SLF001
        ]
        drawn = splits.drawn([np.concatenate(hashes)[np.asarray(self._chosen)]], draws[0])
        return [self.select(at) for at in drawn]

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

    @property
    def _is_whole(self) -> bool:
        return isinstance(self._chosen, range) and self._chosen == range(int(self._ends[-1]))

    def _of_parts(self, arrays: list[AnyArray]) -> AnyArray:
        """An array with a value for each sample, from one for each part."""
        joined = np.concatenate(arrays)
        return joined if self._is_whole else joined[self._at(slice(None))]

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
    if isinstance(datasets, DatasetHandle):
        raise TypeError(f"{datasets.path}: concat: expected several datasets, got one; put it in a list")
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
        join = np.ma.concatenate if any(map(is_masked_array, batches)) else np.concatenate  # which drops masks
        return (join(batches) if len(batches) > 1 else first)[order]
    samples = [sample for batch in batches for sample in batch]
    return [samples[place] for place in order.tolist()]
