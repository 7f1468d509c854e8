"""The batches of an epoch one after the other, some of them made ahead by threads."""

import collections
import functools
import time
from typing import Any, Final, NamedTuple

from mmap_ninja.loading.course import Course, Place
from mmap_ninja.loading.crew import Crew, Job
from mmap_ninja.loading.pace import Pace

_MOST_THREADS: Final = 4


class Rest(NamedTuple):
    """What is left of an epoch."""

    place: Place  # where it begins
    batches: int

    def after(self, size: int) -> "Rest":
        """What is left after a batch of so many samples of all processes."""
        return Rest(self.place.after(size), self.batches - 1)


class _Ahead(NamedTuple):
    """A batch that a thread makes."""

    job: Job[tuple[Any, float]]
    rest: Rest  # after it


class Running:
    """Makes the rest of the batches of a course.

    An interrupt may come at any time: the next batch is then the one that was not handed out.

    Args:
        course: What they are made of.
        rest: Which ones.
        num_threads: How many threads make them ahead; None: as many as make the steps shorter.
        prefetch: How many are made ahead, at most.

    Attributes:
        rest: What was not handed out yet.
    """

    def __init__(self, course: Course, rest: Rest, num_threads: int | None, prefetch: int) -> None:
        self._course = course
        self._num_threads = num_threads
        self._prefetch = prefetch
        self.rest: Rest = rest
        self._ahead: collections.deque[_Ahead] = collections.deque()
        self._crew = Crew()
        self._pace = Pace(_MOST_THREADS if num_threads is None else 0)
        self._before = time.perf_counter()  # when the last batch was handed out

    def next(self) -> Any:
        """The next batch. An error comes in its place, and what comes after the error is the same batch again."""
        threads = self._pace.threads if self._num_threads is None else self._num_threads
        if threads != self._crew.size and self._crew.is_here:
            self._crew.resize(threads)
        if threads or self._ahead:
            batch, seconds = self._next_ahead(threads)
        else:
            positions, size = self._course.share(self.rest.place.position)
            batch, seconds = self._course.make(positions, self.rest.place)
            self.rest = self.rest.after(size)
        now = time.perf_counter()
        self._pace.add(now - self._before, seconds)
        self._before = now
        return batch

    def _next_ahead(self, threads: int) -> tuple[Any, float]:
        """The same, and the seconds that it took, while the threads begin the batches after it."""
        ahead, most = self._ahead, max(self._prefetch, threads) if threads else 0
        while len(ahead) < most:
            rest = ahead[-1].rest if ahead else self.rest
            if not rest.batches:
                break
            positions, size = self._course.share(rest.place.position)
            job = self._crew.start(functools.partial(self._course.make, positions, rest.place))
            ahead.append(_Ahead(job, rest.after(size)))
        first = ahead[0]
        made = first.job.result() if self._crew.is_here else first.job.call()
        self.rest = first.rest
        ahead.popleft()
        return made

    def close(self) -> None:
        """End the threads."""
        self._ahead = collections.deque()
        self._crew.close()
