"""Builds by chunks: a source is read in this process until its samples prove slow, then by workers, ahead and in order.

A chunk is as many samples as take a good moment to make, at most a batch, and one commit.
"""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Generic, TypeVar

from mmap_ninja.builds.build import Build, EncodeBatch, Options, progress_bar
from mmap_ninja.builds.made import Made
from mmap_ninja.builds.sources import Indexable, Indexed
from mmap_ninja.columns.batch import Parts
from mmap_ninja.engine.dataset import Columns

if TYPE_CHECKING:
    from mmap_ninja.builds.pool import Pool

T = TypeVar("T")

CHUNK_SECONDS = 0.06  # of work: some hundred times what it costs to hand over
CHUNK_BYTES = 16 << 20  # at most, once sizes are known: three per worker are in memory at a time
START_SECONDS = 0.35  # what a worker takes to start, most of it for the import of NumPy

_WORTH_SECONDS = 3 * START_SECONDS  # of work left, for which workers are started
_MEASURED_SECONDS = 0.02  # a chunk that took as long tells what a sample costs
_SMALLEST_SECONDS = 0.005  # a batch that costs less is made as fast as it is handed over
_BYTE_SECONDS = 1e-9  # a byte, too
_GROWTH = 4


class Chunked(Generic[T]):
    """A source for builds with several jobs.

    Raises:
        ImportError: if cloudpickle is missing.
        TypeError: if the source cannot be pickled.
    """

    def __init__(self, source: Indexed[T], jobs: int) -> None:
        from mmap_ninja.builds.pool import EAGER_PICKLE_BYTES, pickled  # noqa: PLC0415 - serial builds do without

        self.source = source
        self.jobs = jobs
        # Before the first sample is read: many sources open then what cannot be pickled. A source that is large in
        # memory is pickled only when it is sure to be sent.
        self.pickled: bytes | None = pickled(source, EAGER_PICKLE_BYTES)
        self.unread: Indexed[T] = source if self.pickled is not None else source.unread()

    def run(self, build: Build, encode: EncodeBatch[T], options: Options) -> None:
        """Commit chunk after chunk, then finish; an error in the source leaves all samples before it committed."""
        with progress_bar(build, self.source.total, options) as tell:
            _Run(self, build, encode, options, tell).run()
            build.finish()


def indexed(source: Indexable[T] | Callable[[int], T], n_jobs: int | None, options: Options) -> Indexed[T] | Chunked[T]:
    """The source of a build that reads samples by position, with as many jobs as are asked for."""
    options.check()  # before the source is pickled, which may take a while
    read = Indexed(source)
    if n_jobs is None:
        return read
    from mmap_ninja.builds.pool import resolve_jobs  # noqa: PLC0415 - serial builds do without

    jobs = resolve_jobs(n_jobs)
    return read if jobs == 1 else Chunked(read, jobs)


@dataclass(frozen=True, slots=True)
class Maker(Generic[T]):
    """Makes chunks for the columns that a build has now, here or in a worker."""

    encode: EncodeBatch[T]
    columns: Columns
    path: str
    offset: int  # of the rows from the source's indices

    def __call__(self, source: Indexed[T], start: int, stop: int) -> Made:
        """The samples from `start` to `stop`, encoded; up to the first that cannot be read or encoded.

        None of them, where they need other columns.
        """
        fitting, made = self.make(source, start, stop)
        return made if fitting == self.columns else Made(0, None)

    def make(self, source: Indexed[T], start: int, stop: int) -> tuple[Columns, Made]:
        """The same for the columns that they need, which are returned, too."""
        samples, ended, error = source.read(start, stop)
        first = start + self.offset
        try:
            columns, parts = self.encode(samples, self.path, first, self.columns)
        except Exception as refusal:  # noqa: BLE001 - raised when the samples before it are stored
            samples, ended, error = samples[: self._refused(samples, first)], False, refusal
            columns, parts = self.encode(samples, self.path, first, self.columns)
        return columns, Made(len(samples), parts, ended, error)

    def _refused(self, samples: list[T], first: int) -> int:
        """Which sample cannot be encoded: the first, if all can alone."""
        columns = self.columns
        for place, sample in enumerate(samples):
            try:
                columns, _ = self.encode([sample], self.path, first + place, columns)
            except Exception:  # noqa: BLE001 - it was raised before
                return place
        return 0


class _Run(Generic[T]):
    """One build: how far it is, and what its samples have cost."""

    def __init__(
        self, chunked: Chunked[T], build: Build, encode: EncodeBatch[T], options: Options, tell: Callable[[int], object]
    ) -> None:
        self._chunked = chunked
        self._source = chunked.source
        self._build = build
        self._tell = tell
        self._maker = Maker(encode, build.dataset.meta.columns, str(build.dataset.path), build.rows - build.skip)
        self._pace = Pace(options.batch_size, chunked.jobs)
        self._position = build.skip
        self._ended = self._position == self._source.total

    def run(self) -> None:
        from mmap_ninja.builds.pool import Pool  # noqa: PLC0415 - serial builds do without

        with contextlib.ExitStack() as stack:
            pool: Pool | None = None
            while not self._ended:
                if pool is not None and pool.is_ready():
                    self._there(pool)
                    continue
                self._here(self._position + self._pace.rows(self._left(self._position)))
                if pool is None and not self._ended:
                    jobs = self._pace.useful_jobs(self._left(self._position))
                    if jobs > 1:
                        pool = stack.enter_context(Pool(jobs, self._chunked.unread, self._chunked.pickled))

    def _here(self, stop: int) -> None:
        """Make one chunk in this process."""
        began = time.perf_counter()
        columns, made = self._maker.make(self._source, self._position, stop)
        seconds = time.perf_counter() - began
        if made.error is not None:
            made.error.add_note(f"index {self._position + made.rows} of the source")
        self._store(columns, made.parts, made.rows, seconds, ended=made.ended, error=made.error)

    def _there(self, pool: "Pool") -> None:
        """Store what the workers make, to the end, or to the first chunk that they cannot make."""
        pool.teach(self._maker)
        ranges = self._ranges()
        while not self._ended:
            chunk = pool.take(ranges)
            if chunk is None:
                self._ended = True
            elif chunk.parts is None:
                self._here(chunk.stop)
                return
            else:
                columns = self._maker.columns
                self._store(columns, chunk.parts, chunk.rows, chunk.seconds, ended=chunk.ended, error=chunk.error)

    def _store(
        self,
        columns: Columns,
        parts: Parts | None,
        rows: int,
        seconds: float,
        *,
        ended: bool,
        error: BaseException | None,
    ) -> None:
        if rows:
            assert parts is not None  # noqa: S101 - for the type checker
            made_for, start = self._maker.columns, self._position

            def encoded(wanted: Columns) -> tuple[Columns, Parts]:
                if wanted in (made_for, columns):
                    return columns, parts
                again = replace(self._maker, columns=wanted)  # another process has changed them meanwhile
                return again.encode(self._source.read(start, start + rows).samples, again.path, start, wanted)

            self._build.append(encoded, rows)
            if columns != made_for:
                self._maker = replace(self._maker, columns=self._build.dataset.meta.columns)
            self._tell(rows)
            self._pace.note(rows, seconds, sum(memoryview(part).nbytes for part in parts if part is not None))
            self._position += rows
        if error is not None:
            raise error
        self._ended = ended

    def _left(self, position: int) -> int | None:
        return None if self._source.total is None else self._source.total - position

    def _ranges(self) -> Iterator[tuple[int, int]]:
        """The chunks to come, each sized by what is known when a worker can take it."""
        start = self._position
        while (left := self._left(start)) is None or left > 0:
            stop = start + self._pace.rows(left)
            yield start, stop
            start = stop


class Pace:
    """What samples cost, and what follows: how many are a chunk, and how many workers are worth their start."""

    def __init__(self, batch_size: int, jobs: int) -> None:
        self._batch_size = batch_size
        self._jobs = jobs
        self._seconds = self._last_seconds = 0.0  # per sample: of the newest chunk, and of the one before
        self._bytes = self._last_bytes = 0.0
        self._rows = 0
        self._spent = 0.0
        self._measured = 0

    def note(self, rows: int, seconds: float, size_bytes: int) -> None:
        """Learn from a chunk."""
        self._last_seconds, self._seconds = self._seconds, seconds / rows
        self._last_bytes, self._bytes = self._bytes, size_bytes / rows
        self._rows = rows
        self._spent += seconds
        self._measured += seconds >= _MEASURED_SECONDS or rows == self._batch_size

    def rows(self, left: int | None) -> int:
        """Samples in the next chunk, of those that are left."""
        seconds = max(self._seconds, self._last_seconds, 1e-9)
        rows = min(
            self._batch_size,
            int(CHUNK_SECONDS / seconds),
            int(CHUNK_BYTES / max(self._bytes, self._last_bytes, 1.0)),
            max(1, self._rows * _GROWTH),  # the first few may be small, or cached
        )
        if left is not None:
            # Smaller ones at the end, so that all workers end at about the same time.
            share = max(-(-left // (2 * self._jobs)), int(_SMALLEST_SECONDS / seconds))
            rows = min(rows, share, left)
        return max(1, rows)

    def useful_jobs(self, left: int | None) -> int:
        """How many workers are worth their start; 1: go on in this process."""
        # Of the last two chunks the cheaper: one slow chunk, such as the first, which opens files, is no slow source.
        seconds = min(self._seconds, self._last_seconds)
        size_bytes = max(self._bytes, self._last_bytes)
        batch_rows = min(self._batch_size, CHUNK_BYTES / max(size_bytes, 1.0))
        seconds_left = self._spent if left is None else left * seconds
        if (
            self._measured < 2
            or batch_rows * seconds < _SMALLEST_SECONDS + batch_rows * size_bytes * _BYTE_SECONDS
            or seconds_left < _WORTH_SECONDS
        ):
            return 1
        return self._jobs if left is None else min(self._jobs, int(seconds_left / START_SECONDS))
