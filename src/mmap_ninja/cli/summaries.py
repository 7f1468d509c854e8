"""What `stats` tells of a column: made in one pass, in memory that does not grow with the samples."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

import mmap_ninja as mn
from mmap_ninja._kernel import column_of, span_hashes
from mmap_ninja.cli.samples import parts_of
from mmap_ninja.columns.casting import is_ml_dtype

if TYPE_CHECKING:
    from mmap_ninja.kinds.handle import DatasetHandle

AnyArray = npt.NDArray[Any]

QUANTILES: Final = (0.05, 0.25, 0.5, 0.75, 0.95)
DRAWN: Final = 10_000  # the standard error of the rank of a quantile is at most 0.5 %
MOST_VALUES: Final = 10_000
_TOP: Final = 5


class Drawn:
    """A uniform sample of values that come in batches: those with the least of keys that are random."""

    def __init__(self) -> None:
        self.values: AnyArray | None = None
        self._keys = np.empty(0)
        self._rng = np.random.default_rng(0)

    def add(self, values: AnyArray) -> None:
        """Take in a batch."""
        keys = self._rng.random(len(values))
        if len(self._keys) == DRAWN:
            is_less = keys < self._keys.max()
            keys, values = keys[is_less], values[is_less]
        self._keys = np.concatenate([self._keys, keys])
        self.values = values.copy() if self.values is None else np.concatenate([self.values, values])
        if len(self._keys) > DRAWN:
            kept = np.argpartition(self._keys, DRAWN)[:DRAWN]
            self._keys, self.values = self._keys[kept], self.values[kept]

    def quantiles(self) -> list[Any]:
        """Values of the sample at the `QUANTILES`."""
        ordered = np.sort(self.values) if self.values is not None else np.empty(0)
        return [ordered[round(share * (len(ordered) - 1))] for share in QUANTILES]


class Frequent:
    """The most frequent of values that come in batches, by the mergeable summary of Misra and Gries.

    Exact up to `MOST_VALUES` different values. With more, the count of each is too low by at most `error`, which is at
    most the number of values divided by `MOST_VALUES` (Agarwal and others, Mergeable Summaries, 2012).
    """

    def __init__(self) -> None:
        self.error: int = 0
        self._keys: AnyArray | None = None
        self._counts = np.empty(0, np.int64)
        self._firsts = np.empty(0, np.int64)

    def add(self, keys: AnyArray, positions: AnyArray) -> None:
        """Take in a batch: a number for each value, equal for equal ones, and where the values are."""
        found, firsts, counts = np.unique(keys, return_index=True, return_counts=True)
        if self._keys is None:
            self._keys = found[:0]
        every, inverse = np.unique(np.concatenate([self._keys, found]), return_inverse=True)
        total = np.zeros(len(every), np.int64)
        np.add.at(total, inverse, np.concatenate([self._counts, counts]))
        first = np.full(len(every), np.iinfo(np.int64).max)
        np.minimum.at(first, inverse, np.concatenate([self._firsts, positions[firsts]]))
        if len(every) > MOST_VALUES:
            least = int(np.partition(total, -MOST_VALUES - 1)[-MOST_VALUES - 1])
            total -= least
            self.error += least
        kept = total > 0
        self._keys, self._counts, self._firsts = every[kept], total[kept], first[kept]

    @property
    def distinct(self) -> int | None:
        """How many different values there are; None: more than are counted."""
        return None if self.error else len(self._counts)

    def top(self) -> Iterator[tuple[int, int]]:
        """The first position and the count of the most frequent values, without those that occur once."""
        for place in np.lexsort([self._firsts, -self._counts])[:_TOP]:
            if self._counts[place] > max(1, self.error):
                yield int(self._firsts[place]), int(self._counts[place])


class Numbers:
    """Least, greatest, mean and quantiles of numbers or dates that come in batches."""

    def __init__(self) -> None:
        self.count: int = 0
        self.num_nan: int = 0
        self._least: Any = None
        self._greatest: Any = None
        self._sum = 0.0
        self._drawn = Drawn()
        self._has_mean = True

    def add(self, values: AnyArray) -> None:
        """Take in a batch `[n]`."""
        if values.dtype.kind in "fmM":
            is_nan = np.isnat(values) if values.dtype.kind in "mM" else np.isnan(values)
            self.num_nan += int(is_nan.sum())
            values = values[~is_nan]
        if not len(values):
            return
        self.count += len(values)
        least, greatest = values.min(), values.max()
        self._least = least if self._least is None else min(self._least, least)
        self._greatest = greatest if self._greatest is None else max(self._greatest, greatest)
        self._has_mean = values.dtype.kind not in "mM"
        if self._has_mean:
            with np.errstate(invalid="ignore"):  # of infinities of both signs
                self._sum += float(values.sum(dtype=np.float64))
        self._drawn.add(values)

    def facts(self) -> dict[str, Any]:
        """What is known now."""
        facts: dict[str, Any] = {"count": self.count, "nan": self.num_nan}
        if not self.count:
            return facts
        quantiles = zip(QUANTILES, self._drawn.quantiles(), strict=True)
        return facts | {
            "min": self._least,
            "max": self._greatest,
            "mean": self._sum / self.count if self._has_mean else None,
            "quantiles": {f"{share:.0%}": value for share, value in quantiles},
            "quantiles_of": min(self.count, DRAWN),
        }


class Summary:
    """What is known of a column: add its parts, then ask for the facts."""

    def __init__(self, column: "DatasetHandle[Any]") -> None:
        self._column = column
        self._missing = 0
        self._lengths, self._numbers, self._frequent = Numbers(), Numbers(), Frequent()
        self._is_array = isinstance(column, mn.ArrayMmap)
        self._is_ragged = isinstance(column, mn.RaggedMmap)
        self._is_scalar = isinstance(column, mn.ArrayMmap) and column.shape[1:] == ()

    def parts(self) -> Iterator[slice]:
        """The parts to add."""
        return parts_of(self._column)

    def add(self, part: slice) -> None:
        """Read a part of the samples."""
        column: Any = self._column
        positions = np.arange(part.start, part.stop)
        is_null = column_of(column).null_mask(part)
        if is_null is not None:
            self._missing += int(is_null.sum())
            positions = positions[~is_null]
        if not len(positions):
            return
        if self._is_array:
            values = column_of(column).take_rows(positions, None)[0]
            self._add_numbers(values, positions)
        elif self._is_ragged:
            chosen = column.select(positions)
            self._lengths.add(chosen.flattened_shapes)
            self._add_numbers(np.concatenate([np.ravel(sample) for sample in chosen]), positions)
        else:
            values, offsets = column.take_jagged(positions)
            self._lengths.add(np.diff(offsets))
            self._frequent.add(span_hashes(values, offsets, 0), positions)

    def _add_numbers(self, values: AnyArray, positions: AnyArray) -> None:
        values = values.reshape(-1)
        if is_ml_dtype(values.dtype):
            values = values.astype(np.float32)
        if values.dtype.kind not in "biufmM":
            return
        self._numbers.add(values)
        if self._is_scalar:
            is_number = values == values  # noqa: PLR0124 - NaN differs from itself
            self._frequent.add(values[is_number], positions[is_number])

    def facts(self) -> dict[str, Any]:
        """What is known now."""
        facts: dict[str, Any] = {"missing": self._missing}
        if self._numbers.count or self._numbers.num_nan:
            facts["values"] = self._numbers.facts()
        if self._lengths.count:
            facts["lengths"] = {"unit": "elements" if self._is_ragged else "bytes"} | self._lengths.facts()
        if self._is_scalar or not (self._is_array or self._is_ragged):
            top = [{"value": self._column[position], "count": count} for position, count in self._frequent.top()]
            facts |= {"distinct": self._frequent.distinct, "top": top, "top_error": self._frequent.error}
        return facts
