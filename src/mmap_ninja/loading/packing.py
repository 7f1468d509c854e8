"""Packing: documents of any length in rows of one length."""

# ruff: noqa: SLF001 - plans, orders and loaders belong together

import copy
from functools import cached_property
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from mmap_ninja import _kernel
from mmap_ninja.exported import exported
from mmap_ninja.kinds.indices import resolved
from mmap_ninja.loading.orders import MOST, SEEDS, Positions, Shuffle, digest_of, number
from mmap_ninja.loading.plans import Batches, Plan, check_count, checked_lengths

_MOST_ROWS: Final = 1 << 32
_MOST_ELEMENTS: Final = (1 << 31) - 1  # of a row: positions and offsets are int32, as attention wants them


class Segments(NamedTuple):
    """The segments of some rows, one after the other: a document, or a piece of one, each."""

    offsets: Positions  # of rows in segments: one more than there are rows
    documents: Positions
    starts: Positions  # in the documents
    lengths: Positions


@exported
class Packing(Plan):
    """Batches of rows of one length that are filled with documents: hardly any element is padding.

    Documents are packed best fit decreasing, 10,000 at a time. Which ones share a row depends on the seed alone, and
    each epoch shuffles the rows. Empty documents and nulls are in no row. The positions of a batch are numbers of rows.

    A `Loader` makes dicts of them: "tokens", or each ragged column of one dimension of records, `[rows, length]`, texts
    as their UTF-8 bytes; and what `DocumentWindows.take` says of segments. Padding is zeros, and segment 0; in
    "cu_seqlens" and "max_seqlen" it is a segment like the others, so that attention writes all elements.

    Args:
        lengths: The length of each sample: `dataset.lengths`, for example.
        length: Elements in a row.
        batch_size: Samples, or rows, in a batch of all processes together.
        seed: What decides the order, with the epoch: a number from 0 to 2^64 - 1.
        epoch: The epoch to begin with: a number from 0 to 2^64 - 1.
        split: Whether documents longer than a row are cut, into full rows and a rest.

    Raises:
        TypeError: if the lengths, or other numbers, are not integers.
        ValueError: if a document is longer than a row and `split` is false, or a number is out of range.

    Example:
        >>> import mmap_ninja as mn
        >>> plan = mn.Packing([3, 9, 7, 1, 25, 5], 10, batch_size=2)
        >>> plan.rows, len(plan), plan.filled
        (5, 3, 1.0)
        >>> plan.segments([0]).documents
        array([4])
    """

    def __init__(
        self,
        lengths: npt.ArrayLike,
        length: int,
        *,
        batch_size: int,
        seed: int = 0,
        epoch: int = 0,
        split: bool = True,
    ) -> None:
        self._lengths = checked_lengths(lengths)
        self.length: int = number(length, "length", 1, _MOST_ELEMENTS + 1)
        self.batch_size: int = number(batch_size, "batch_size", 1, MOST)
        self.split: bool = split
        longest = int(self._lengths.max(initial=0))
        if not split and longest > self.length:
            raise ValueError(
                f"lengths: document {self._lengths.argmax()} has {longest} elements, and a row {self.length}; pass "
                "split=True to cut it, or select shorter documents"
            )
        rows = float(np.divide(self._lengths, self.length).sum())
        if rows > _MOST_ROWS:
            raise ValueError(
                f"lengths: fill {rows:.3g} rows of {self.length} elements, and 2^32 are possible; the longest document "
                f"is {self._lengths.argmax()}, of {longest} elements: give longer rows, or select shorter documents"
            )
        self.seed: int = number(seed, "seed", 0, SEEDS)
        self._epoch = number(epoch, "epoch", 0, SEEDS)

    @property
    def epoch(self) -> int:
        """The epoch that this is the plan of.

        Example:
            >>> import mmap_ninja as mn
            >>> plan = mn.Packing([3, 9, 7, 1], 10, batch_size=2)
            >>> plan.set_epoch(3)
            >>> plan.epoch
            3
        """
        return self._epoch

    def _go_to(self, epoch: int) -> None:
        self._epoch = epoch
        self.__dict__.pop("_batches", None)

    @property
    def rows(self) -> int:
        """The number of rows.

        Example:
            >>> import mmap_ninja as mn
            >>> mn.Packing([3, 9, 7, 1], 10, batch_size=2).rows
            2
        """
        return len(self._packed)

    @property
    def filled(self) -> float:
        """The share of the elements of all rows that are not padding.

        Example:
            >>> import mmap_ninja as mn
            >>> mn.Packing([3, 9, 6], 10, batch_size=2).filled
            0.9
        """
        return int(self._lengths.sum()) / (self.rows * self.length) if self.rows else 1.0

    @property
    def most_segments(self) -> int:
        """The largest number of segments in a row.

        Example:
            >>> import mmap_ninja as mn
            >>> mn.Packing([3, 4, 3, 9], 10, batch_size=2).most_segments
            3
        """
        return self._packed.most_segments

    def segments(self, rows: npt.ArrayLike) -> Segments:
        """What is in some rows.

        Args:
            rows: Numbers of rows, as a batch of this plan has them.

        Returns:
            A named tuple of int64 arrays: `offsets`, `[len(rows) + 1]`, where each row begins in the others;
            `documents`, the sample of each segment; `starts`, where it begins in that sample; and `lengths`.

        Raises:
            IndexError: if there is no such row.

        Example:
            >>> import mmap_ninja as mn
            >>> plan = mn.Packing([3, 9, 7, 1], 10, batch_size=2)
            >>> found = plan.segments([0, 1])
            >>> found.documents.tolist(), found.lengths.tolist(), found.offsets.tolist()
            ([1, 3, 2, 0], [9, 1, 7, 3], [0, 2, 4])
        """
        return Segments(*self._packed.segments(resolved(rows, self.rows, "rows")))

    def __len__(self) -> int:
        return len(self._batches)

    def __repr__(self) -> str:
        return (
            f"Packing({len(self._lengths)} lengths, {self.length}, batch_size={self.batch_size}, seed={self.seed}, "
            f"epoch={self._epoch}, split={self.split})"
        )

    def __copy__(self) -> "Packing":  # which shares the rows
        other = object.__new__(Packing)
        other.__dict__.update(self.__dict__)
        other.__dict__.pop("_batches", None)
        return other

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in ("_packed", "_batches")}

    @cached_property
    def _packed(self) -> _kernel.PackedRows:
        key = _kernel.xxh64(b"rows" + self.seed.to_bytes(8, "little"))
        return _kernel.PackedRows(self._lengths, self.length, key)

    def _check(self, count: int, name: str) -> None:
        check_count(self._lengths, count, name)

    def _indices(self, positions: Positions) -> tuple[Positions, Positions]:
        segments = self.segments(positions)
        return segments.documents, segments.offsets

    @property
    def _units(self) -> int:
        return self.rows

    @property
    def _multiple(self) -> int:
        return self.batch_size

    def _batch_from(self, unit: int) -> Positions:
        return self._batches._batch_from(unit)

    def _unit_of(self, k: int) -> int:
        return self._batches._unit_of(k)

    def _batches_from(self, unit: int) -> int:
        return self._batches._batches_from(unit)

    def _with_seed(self, seed: int) -> "Packing":
        if seed == self.seed:
            return copy.copy(self)
        return Packing(
            self._lengths, self.length, batch_size=self.batch_size, seed=seed, epoch=self._epoch, split=self.split
        )

    def _described(self) -> str:
        return (
            f"packing in {self.length}, split={self.split}, of {len(self._lengths)} lengths {digest_of(self._lengths)}"
        )

    def _batch(self, k: int) -> Positions:
        return self._batches[k]

    @cached_property
    def _batches(self) -> Batches:
        return Batches(Shuffle(self.rows, self.seed, self._epoch), self.batch_size)
