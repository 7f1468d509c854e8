"""The batches of an epoch one after the other, some of them made ahead by threads."""

import collections
import functools
import time
from typing import Any, Final, NamedTuple

from mmap_ninja.loading.course import Course, Place
from mmap_ninja.loading.crew import Crew, Job
from mmap_ninja.loading.pace import Pace

_MOST_THREADS: Final = 4


class _Ahead(NamedTuple):
    """A batch that a thread makes."""

    job: Job[tuple[Any, float]]
    size: int  # of the batch of all processes


class Running:
    """Makes the batches of a course from a place on.

    Args:
        course: What they are made of.
        place: Where the first one begins.
        count: How many there are.
        num_threads: How many threads make them ahead; None: as many as make the steps shorter.
        prefetch: How many are made ahead, at most.
    """

    def __init__(self, course: Course, place: Place, count: int, num_threads: int | None, prefetch: int) -> None:
        self._course = course
        self._num_threads = num_threads
        self._prefetch = prefetch
        self._planned = place  # where the next batch that nobody makes yet begins
        self._unplanned = count
        self._ahead: collections.deque[_Ahead] = collections.deque()
        self._crew = Crew()
        self._pace = Pace(_MOST_THREADS if num_threads is None else 0)
        self._before = time.perf_counter()  # when the last batch was handed out

    def next(self) -> tuple[Any, int]:
        """The next batch, and the size of that of all processes. An error comes in the place of its batch."""
        threads = self._pace.threads if self._num_threads is None else self._num_threads
        if threads != self._crew.size and self._crew.is_here:
            self._crew.resize(threads)
        if threads or self._ahead:
            (batch, seconds), size = self._next_ahead(threads)
        else:
            positions, size = self._course.share(self._planned.position)
            batch, seconds = self._course.make(positions, self._planned)
            self._advance(size)
        now = time.perf_counter()
        self._pace.add(now - self._before, seconds)
        self._before = now
        return batch, size

    def _next_ahead(self, threads: int) -> tuple[tuple[Any, float], int]:
        """The same, and the seconds that it took, while the threads begin the batches after it."""
        most = max(self._prefetch, threads) if threads else 0
        while self._unplanned and len(self._ahead) < most:
            positions, size = self._course.share(self._planned.position)
            job = self._crew.start(functools.partial(self._course.make, positions, self._planned))
            self._ahead.append(_Ahead(job, size))
            self._advance(size)
        first = self._ahead[0]
        made = first.job.result() if self._crew.is_here else first.job.call()
        self._ahead.popleft()
        return made, first.size

    def _advance(self, size: int) -> None:
        self._planned = self._planned.after(size)
        self._unplanned -= 1

    def close(self) -> None:
        """End the threads."""
        self._ahead.clear()
        self._crew.close()
