"""The batches of an epoch one after the other, some of them made ahead by threads."""

import collections
import functools
import time
from typing import Any, Final, NamedTuple

from mmap_ninja import _kernel
from mmap_ninja.loading.course import Course, Rest
from mmap_ninja.loading.crew import Crew, Job
from mmap_ninja.loading.pace import Pace
from mmap_ninja.loading.scout import Scout

_MOST_THREADS: Final = 4


class _Ahead(NamedTuple):
    """A batch that a thread makes."""

    job: Job[tuple[Any, float]]
    rest: Rest  # which begins with it
    after: Rest


class Running:
    """Makes the batches of a course, one after the other.

    An interrupt may come at any time: whoever asks for the same batch again gets it.

    Args:
        course: What they are made of.
        num_threads: How many threads make them ahead; None: as many as make the steps shorter.
        prefetch: How many are made ahead, at most.

    Attributes:
        is_closed: Whether its threads have ended, so that there are no batches any more.
    """

    def __init__(self, course: Course, num_threads: int | None, prefetch: int) -> None:
        self._course = course
        self._scout = Scout(course)
        self._num_threads = num_threads
        self._prefetch = prefetch
        self.is_closed: bool = False
        self._ahead: collections.deque[_Ahead] = collections.deque()
        self._recycler: _kernel.Recycler | None = _kernel.Recycler()  # for as long as batches follow each other
        self._crew = Crew()
        self._pace = Pace(_MOST_THREADS if num_threads is None else 0)
        self._before = time.perf_counter()  # when the last batch was made

    def first_of(self, rest: Rest) -> tuple[Any, Rest]:
        """The first batch of a rest, and what is left after it; may be called again after an error."""
        threads = self._pace.threads if self._num_threads is None else self._num_threads
        if threads != self._crew.size and self._crew.is_here:
            self._crew.resize(threads)
        if threads:
            self._start(rest, max(self._prefetch, threads))
        ahead = self._ahead
        if ahead and ahead[0].rest == rest:
            job, _, after = ahead[0]
            batch, seconds = job.result() if self._crew.is_here else job.call()
            ahead.popleft()
        else:  # also after an interrupt behind that line
            positions, size = self._scout.share(rest)
            batch, seconds = self._course.make(positions, rest)
            after = rest.after(size)
        now = time.perf_counter()
        self._pace.add(now - self._before, seconds)
        self._before = now
        return batch, after

    def _start(self, rest: Rest, most: int) -> None:
        """Have threads make the first batches of a rest."""
        ahead = self._ahead
        while len(ahead) < most:
            begin = ahead[-1].after if ahead else rest
            if not begin.batches:
                break
            positions, size = self._scout.share(begin)
            job = self._crew.start(functools.partial(self._course.make, positions, begin))
            ahead.append(_Ahead(job, begin, begin.after(size)))

    def close(self) -> None:
        """End the threads, and give back the memory that was kept for batches."""
        self.is_closed = True
        self._ahead = collections.deque()
        self._scout.close()
        self._crew.close()
        self._recycler = None
