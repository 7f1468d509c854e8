"""Looking ahead of a loop: what the next batches need is asked for before they are made, unless it is in memory."""

# ruff: noqa: SLF001 - plans, orders and loaders belong together

from typing import Final

import numpy as np

from mmap_ninja._kernel import Column, Lookahead, column_of
from mmap_ninja.engine import memory
from mmap_ninja.kinds.sequence import SampleSequence
from mmap_ninja.kinds.wrapped import Wrapped
from mmap_ninja.loading.course import Course, Rest
from mmap_ninja.loading.orders import Positions

_AHEAD: Final = 4  # batches that are asked for before one is made: fewer leave the disk idle, more delay the first ones
_MOST: Final = 256 << 20  # bytes of them
_OFTEN: Final = 32  # batches between looks while all that is looked at is in memory; a read looks itself, too
_SURE: Final = 8  # times in a row that nothing is missing, after which nothing is asked for any more
_PAGE: Final = 4096
# The share of the samples from which on reading whole files, in order, is faster than what is needed of them; measured.
_MUCH: Final = 0.08


class Scout:
    """Knows which samples the next batches have, and asks for those that are not in memory.

    Args:
        course: The batches.
    """

    def __init__(self, course: Course) -> None:
        self._course = course
        self._column = _column_of(course.samples)
        self._lookahead = Lookahead()
        self._shares: dict[int, tuple[Positions, int]] = {}  # of batches that were asked for, by their places
        self._requests: dict[int, int] = {}  # for them
        self._asked = Rest(0, 0, 0)  # what was not asked for
        self._pause = 0  # batches until the next look
        self._is_on = False
        self._has_streamed = False

    def share(self, rest: Rest) -> tuple[Positions, int]:
        """As that of the course, of the next batch that is made; those after it are asked for."""
        place = rest.position
        share = self._shares.pop(place, None) or self._course.share(place)
        if self._pause:
            self._pause -= 1
        elif self._column is not None:
            try:
                self._look(self._column, rest, *share)
            except Exception:  # noqa: BLE001 - whoever reads those samples raises it, in its place
                self._column = None
        if request := self._requests.pop(place, None):
            self._lookahead.wait_for(request)
        return share

    def close(self) -> None:
        """Ask for nothing any more."""
        self._column = None
        self._lookahead.stop()

    def _look(self, column: Column, rest: Rest, positions: Positions, size: int) -> None:
        if not self._is_on:
            if not column.are_cold(self._indices(positions)):
                self._pause = _OFTEN
                return
            self._is_on = True
            self._requests = {}
            self._lookahead = Lookahead()
            return  # the first batch should not wait for others: it is asked for by whoever reads it
        if not self._has_streamed and self._reads_much(column, rest, len(positions)):
            self._has_streamed = True
            self._lookahead.stream(column)
        if self._has_streamed and not self._lookahead.is_idle:
            return
        if self._lookahead.warm >= _SURE:
            self._is_on = False
            self._pause = _OFTEN
            return
        self._ask(column, rest.after(size), size)

    def _ask(self, column: Column, rest: Rest, size: int) -> None:
        """Ask for what is left, as far as it is near."""
        own = 1 / self._course.maker.world_size
        most = int(_MOST / ((column.mean_size + _PAGE) * own))
        near = min(self._course.plan._near, most // 2)
        end = rest.position + max(min(_AHEAD * size, most), near)
        asked = max(rest, self._asked)
        while asked.batches and asked.position < end:
            group: dict[int, Positions] = {}  # by their places
            stop = asked.position + near
            while asked.batches and (not group or asked.position < stop):
                place = asked.position
                share = self._shares[place] = self._course.share(place)
                group[place] = self._indices(share[0])
                asked = asked.after(share[1])
            request = self._lookahead.ask_for(column, np.concatenate(list(group.values())))
            self._requests |= dict.fromkeys(group, request)
            self._asked = asked

    def _indices(self, positions: Positions) -> Positions:
        found = self._course.plan._indices(positions)
        indices: Positions = found[0] if isinstance(found, tuple) else found  # of a packing: documents, and offsets
        return indices

    def _reads_much(self, column: Column, rest: Rest, size: int) -> bool:
        """Whether it is faster to read whole files, for which there is room."""
        rows = column.rows_within
        is_much = min(rest.batches * size, len(column)) >= _MUCH * rows
        return is_much and self._course.plan._near == 1 and rows * column.mean_size <= memory.available()


def _column_of(samples: object) -> Column | None:
    """The column of samples whose positions are its own."""
    while isinstance(samples, Wrapped):
        samples = samples.data
    return column_of(samples) if isinstance(samples, SampleSequence) else None
