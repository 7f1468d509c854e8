"""Builds by chunks: read in this process until samples prove slow, then by workers, ahead and in order.

A chunk takes about `CHUNK_SECONDS` to make, has at most a batch of samples, and is one commit.
"""

import contextlib
import pickle
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from mmap_ninja import _kernel
from mmap_ninja.builds.build import Build, Define, EncodeBatch, Options, find_refused, progress_bar, with_columns
from mmap_ninja.builds.located import locate
from mmap_ninja.builds.made import Made
from mmap_ninja.builds.sources import Indexable, Indexed, Reading
from mmap_ninja.columns.batch import Parts, size_of
from mmap_ninja.columns.limits import DECIDING_SAMPLES, count_deciding
from mmap_ninja.engine.dataset import Columns

if TYPE_CHECKING:
    from mmap_ninja.builds.pool import Pool

T = TypeVar("T")

CHUNK_SECONDS = 0.06  # of work: about a hundred times the cost of handing it over
CHUNK_BYTES = 16 << 20  # expected, once sizes are known: there are three chunks per worker in memory
START_SECONDS = 0.35  # for a worker to start, mostly to import NumPy

_WORTH_SECONDS = 3 * START_SECONDS  # workers are started only if more work than this is left
_MEASURED_SECONDS = 0.02  # a chunk must take so long to measure the cost of a sample
_SMALLEST_SECONDS = 0.005  # a cheaper batch is made as fast as it is handed over
_BYTE_SECONDS = 1e-9  # a cheaper byte, too
_GROWTH = 4
_SPREAD = 4  # how many times the expected bytes a chunk may have before it ends early


class Chunked(Generic[T]):
    """A source for builds with several jobs.

    Raises:
        ImportError: if cloudpickle is missing.
        TypeError: if the source cannot be pickled.
    """

    def __init__(self, source: Indexed[T], jobs: int) -> None:
        from mmap_ninja.builds.pool import EAGER_PICKLE_BYTES, pickled  # noqa: PLC0415 - not for serial builds

        self.source = source
        self.jobs = jobs
        # Before the first sample is read, when many sources open things that cannot be pickled. A large source is
        # pickled only when it is certain to be sent.
        self.pickled: bytes | None = pickled(source, EAGER_PICKLE_BYTES)
        self.unread: Indexed[T] = source if self.pickled is not None else source.unread()

    def run(self, build: Build, encode: EncodeBatch[T], options: Options, define: Define[T] | None = None) -> None:
        """Commit chunk after chunk, then finish; after an error in the source, all samples before it are committed."""
        with progress_bar(build, self.source.total, options) as tell:
            _Run(self, build, encode, options, tell, define if build.defines else None).run()
            build.finish()


def indexed(source: Indexable[T] | Callable[[int], T], n_jobs: int | None, options: Options) -> Indexed[T] | Chunked[T]:
    """The source of a build that reads samples by position, with `n_jobs` workers."""
    options.check()  # before pickling the source, which may be slow
    read = Indexed(source, options.place)
    if n_jobs is None:
        return read
    from mmap_ninja.builds.pool import resolve_jobs  # noqa: PLC0415 - not for serial builds

    jobs = resolve_jobs(n_jobs)
    return read if jobs == 1 else Chunked(read, jobs)


@dataclass(frozen=True, slots=True)
class Maker(Generic[T]):
    """Makes chunks for the current columns of a build, in this process or in a worker."""

    encode: EncodeBatch[T]
    columns: Columns
    path: str
    offset: int  # difference between rows and indices of the source
    size_bytes: int  # with which a chunk ends early

    def __call__(self, source: Indexed[T], start: int, stop: int) -> Made:
        """The samples from `start` to `stop`, encoded; fewer if they are large, or one cannot be read or encoded.

        No samples, if they need other columns.
        """
        fitting, made = self.make(source, start, stop)
        return made if fitting == self.columns else Made(0, None)

    def make(self, source: Indexed[T], start: int, stop: int) -> tuple[Columns, Made]:
        """The same, for the columns that they need, which are also returned."""
        samples, ended, error = source.read(start, stop, self.size_bytes)
        first = start + self.offset
        try:
            columns, parts = self.encode(samples, self.path, first, self.columns)
        except Exception as refusal:  # noqa: BLE001 - raised after the samples before it are stored
            fitting = find_refused(self.encode, samples, self.path, first, self.columns)
            samples, ended, error = samples[:fitting], False, refusal
            columns, parts = self.encode(samples, self.path, first, self.columns)
        return columns, Made(len(samples), parts, ended, error)


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads chunks in workers as long as no columns are known: the samples are pickled, not encoded."""

    size_bytes: int  # with which a chunk ends early

    def __call__(self, source: Indexed[Any], start: int, stop: int) -> Made:
        """The samples from `start` to `stop`; none, if they cannot be pickled."""
        from mmap_ninja.builds.worker_main import dumps  # noqa: PLC0415 - not for serial builds

        samples, ended, error = source.read(start, stop, self.size_bytes)
        try:
            pickled = dumps(samples)
        except Exception:  # noqa: BLE001 - then they are read where they are needed
            return Made(0, None)
        return Made(len(samples), (pickled,), ended, error)


class _Run(Generic[T]):
    """A running build: its progress, and the measured cost of its samples."""

    def __init__(
        self,
        chunked: Chunked[T],
        build: Build,
        encode: EncodeBatch[T],
        options: Options,
        tell: Callable[[int], object],
        define: Define[T] | None,
    ) -> None:
        self._chunked = chunked
        self._source = chunked.source
        self._build = build
        self._tell = tell
        self._maker = Maker(
            encode,
            build.dataset.seen.columns,
            str(build.dataset.path),
            build.rows - build.skip,
            options.batch_bytes,
        )
        self._options = options
        self._begun_with = build.dataset.meta.columns
        self._define = define
        self._held: list[T] = []  # the first samples, until they define the columns
        self._pace = Pace(options.batch_size, min(CHUNK_BYTES, options.batch_bytes // _SPREAD), chunked.jobs)
        self._position = build.skip
        self._ended = self._position == self._source.total

    def run(self) -> None:
        from mmap_ninja.builds.pool import Pool  # noqa: PLC0415 - not for serial builds

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
                        pool = stack.enter_context(
                            Pool(jobs, self._chunked.unread, self._chunked.pickled, self._source.place)
                        )

    def _here(self, stop: int) -> None:
        """Make a chunk in this process."""
        began = time.perf_counter()
        if self._define is not None:
            reading = self._source.read(self._position, stop, self._options.batch_bytes)
            if reading.error is not None:
                locate(reading.error, self._source.place(self._position + len(reading.samples)))
            self._hold(reading, time.perf_counter() - began)
            return
        columns, made = self._maker.make(self._source, self._position, stop)
        seconds = time.perf_counter() - began
        if made.error is not None:
            locate(made.error, self._source.place(self._position + made.rows))
        self._store(columns, made.parts, made.rows, seconds, ended=made.ended, error=made.error)

    def _there(self, pool: "Pool") -> None:
        """Store the chunks of the workers, up to the end or to the first one that needs other columns."""
        is_reading = self._define is not None
        pool.teach(Reader(self._options.batch_bytes) if is_reading else self._maker)
        ranges = self._ranges()
        while not self._ended:
            chunk = pool.take(ranges)
            if chunk is None:
                self._ended = True
            elif chunk.parts is None:
                self._here(chunk.stop)
                return
            elif is_reading:
                samples = pickle.loads(chunk.parts[0] or b"")  # noqa: S301 - from our own worker
                self._hold(Reading(samples, chunk.ended, chunk.error), chunk.seconds)
                if self._define is None or self._position < chunk.stop:
                    return
            else:
                columns = self._maker.columns
                self._store(columns, chunk.parts, chunk.rows, chunk.seconds, ended=chunk.ended, error=chunk.error)
                if self._position < chunk.stop:  # it has ended early, and the next ones begin too late
                    return

    def _hold(self, reading: Reading[T], seconds: float) -> None:
        """Keep samples that were read; store all that were kept when they define the columns."""
        size_bytes = _kernel.size_of(reading.samples, self._options.batch_bytes, 0)
        self._held += reading.samples
        self._position += len(reading.samples)
        if reading.samples:
            self._pace.note(len(reading.samples), seconds, size_bytes)
        if reading.ended or reading.error is not None or self._decide():
            self._store_held(reading)

    def _decide(self) -> bool:
        """Whether the samples that were kept are enough, as in `deciding`; the first chunk has one sample."""
        from mmap_ninja.columns.inference import are_known  # noqa: PLC0415 - for records only

        if len(self._held) == 1 and are_known(self._held[0], self._begun_with):
            return True
        counted = count_deciding(self._held, self._options.batch_bytes)
        return counted < len(self._held) or counted == DECIDING_SAMPLES

    def _store_held(self, last: Reading[T]) -> None:
        """Define the columns, and store the samples that were kept; `last`: the reading after which they are enough."""
        define, held, self._define, self._held = self._define, self._held, None, []
        start = self._position = self._position - len(held)
        known, path = self._begun_with, self._maker.path
        if held:
            assert define is not None  # noqa: S101 - for the type checker
            columns = define(held, path, known, self._options.batch_bytes)
            self._maker = replace(self._maker, encode=with_columns(self._maker.encode, known, columns))
        source = Indexed(held)
        while (at := self._position - start) < len(held):
            stop = min(at + self._options.batch_size, len(held))
            columns, made = replace(self._maker, offset=self._maker.offset + start).make(source, at, stop)
            if made.error is not None:
                locate(made.error, self._source.place(self._position + made.rows))
            self._store(columns, made.parts, made.rows, None, ended=False, error=made.error)
        if last.error is not None:
            raise last.error
        self._ended = last.ended

    def _store(
        self,
        columns: Columns,
        parts: Parts | None,
        rows: int,
        seconds: float | None,
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
                again = replace(self._maker, columns=wanted)  # another process has changed the columns meanwhile
                samples = self._source.read(start, start + rows, sys.maxsize).samples
                return again.encode(samples, again.path, start, wanted)

            self._build.append(encoded, rows)
            if columns != made_for or any(column.type.undecided for column in made_for):
                self._maker = replace(self._maker, columns=self._build.dataset.seen.columns)
            self._tell(rows)
            if seconds is not None:
                self._pace.note(rows, seconds, size_of(parts))
            self._position += rows
        if error is not None:
            raise error
        self._ended = ended

    def _left(self, position: int) -> int | None:
        return None if self._source.total is None else self._source.total - position

    def _ranges(self) -> Iterator[tuple[int, int]]:
        """The next chunks, each sized by the newest measurements when a worker takes it."""
        start = self._position
        while (left := self._left(start)) is None or left > 0:
            stop = start + self._pace.rows(left)
            yield start, stop
            start = stop


class Pace:
    """The measured cost of samples, the size of chunks and the number of useful workers that follow from it."""

    def __init__(self, batch_size: int, chunk_bytes: int, jobs: int) -> None:
        self._batch_size = batch_size
        self._chunk_bytes = chunk_bytes
        self._jobs = jobs
        self._seconds = self._last_seconds = 0.0  # per sample, in the newest chunk and the one before
        self._bytes = self._last_bytes = 0.0
        self._rows = 0
        self._spent = 0.0
        self._measured = 0

    def note(self, rows: int, seconds: float, size_bytes: int) -> None:
        """Note the cost of a chunk."""
        self._last_seconds, self._seconds = self._seconds, seconds / rows
        self._last_bytes, self._bytes = self._bytes, size_bytes / rows
        self._rows = rows
        self._spent += seconds
        self._measured += seconds >= _MEASURED_SECONDS or rows == self._batch_size

    def rows(self, left: int | None) -> int:
        """The number of samples in the next chunk, if `left` are left."""
        seconds = max(self._seconds, self._last_seconds, 1e-9)
        rows = min(
            self._batch_size,
            int(CHUNK_SECONDS / seconds),
            int(self._chunk_bytes / max(self._bytes, self._last_bytes, 1.0)),
            max(1, self._rows * _GROWTH),  # the first samples may be small, or cached
        )
        if left is not None:
            # Smaller chunks at the end, so that all workers end at about the same time.
            share = max(-(-left // (2 * self._jobs)), int(_SMALLEST_SECONDS / seconds))
            rows = min(rows, share, left)
        return max(1, rows)

    def useful_jobs(self, left: int | None) -> int:
        """How many workers are worth starting; 1: continue in this process."""
        # The cheaper one of the last two chunks: a single slow chunk, such as the first, which opens files, does not
        # make a slow source.
        seconds = min(self._seconds, self._last_seconds)
        size_bytes = max(self._bytes, self._last_bytes)
        batch_rows = min(self._batch_size, self._chunk_bytes / max(size_bytes, 1.0))
        seconds_left = self._spent if left is None else left * seconds
        if (
            self._measured < 2
            or batch_rows * seconds < _SMALLEST_SECONDS + batch_rows * size_bytes * _BYTE_SECONDS
            or seconds_left < _WORTH_SECONDS
        ):
            return 1
        return self._jobs if left is None else min(self._jobs, int(seconds_left / START_SECONDS))
