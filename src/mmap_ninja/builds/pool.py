"""Worker processes that make chunks of consecutive indices, ahead of the consumer and in order.

They are new programs, not forks: threads of this process are no problem, and a script needs no `if __name__ ==
"__main__"`. Nothing here knows about datasets.
"""

import contextlib
import mmap
import operator
import os
import pickle
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from mmap_ninja import _kernel
from mmap_ninja.builds.located import is_told, tells_place
from mmap_ninja.builds.made import Make
from mmap_ninja.builds.worker_main import Answer, Failure, dumps, receive, send
from mmap_ninja.errors import WorkerError

EAGER_PICKLE_BYTES = 64 << 10  # takes half a millisecond

_AHEAD = 2  # chunks per worker: the current one and the next, so that a worker never waits for this process
_BUFFERS = 3  # per worker: one for each of these chunks, and one whose chunk waits for its turn
_POLL_SECONDS = 0.5
_END_SECONDS = 1.0  # for idle workers to exit by themselves
_THREADS = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS",
    "NUMBA_NUM_THREADS", "NUMEXPR_NUM_THREADS", "OPENCV_FOR_THREADS_NUM", "RAYON_NUM_THREADS",
)  # fmt: skip


def cpu_count() -> int:
    """The number of CPUs that this process may use, by its affinity and the quota of its control group."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    group = Path("/sys/fs/cgroup")
    for names in (("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")):
        with contextlib.suppress(OSError, ValueError):
            quota, period = (int(word) for name in names for word in (group / name).read_text().split())
            if quota > 0:  # "max", or -1 in the older form, means no limit
                count = min(count, max(1, -(-quota // period)))
    return count


def resolve_jobs(n_jobs: int | None) -> int:
    """The number of workers for `n_jobs`, counted as in joblib: -1 is all CPUs, -2 all but one.

    Raises:
        ValueError: if it is 0.
    """
    jobs = 1 if n_jobs is None else operator.index(n_jobs)
    if jobs == 0:
        raise ValueError("n_jobs 0: expected at least 1, or -1 for all CPUs, -2 for all but one")
    return jobs if jobs > 0 else max(1, cpu_count() + 1 + jobs)


def pickled(source: object, limit: int | None = None) -> bytes | None:
    """The pickle of a source for the workers; None if it is larger than `limit` bytes.

    Raises:
        ImportError: if cloudpickle is not installed.
        TypeError: if it cannot be pickled.
    """
    file = _LimitedFile(limit)
    try:
        dump(source, file)
    except _LimitReachedError:
        return None
    return b"".join(file.pieces)


def dump(source: object, file: Any) -> None:
    """Pickle a source into a file; errors as for `pickled`."""
    try:
        import cloudpickle  # noqa: PLC0415 - an extra, not for serial builds
    except ImportError:
        raise ImportError(
            'n_jobs: workers need cloudpickle, which is not installed; `pip install "mmap_ninja[parallel]"`, or pass '
            "n_jobs=None"
        ) from None
    try:
        cloudpickle.dump(source, file)
    except (_LimitReachedError, OSError):
        raise
    except Exception as error:
        raise TypeError(
            f"n_jobs: the source cannot be pickled for worker processes ({type(error).__name__}: {error}); open such "
            "objects when the first sample is read, or pass n_jobs=None"
        ) from error


class _LimitReachedError(Exception):
    """A pickle is larger than the limit."""


class _LimitedFile:
    """A file in memory, up to a limit."""

    def __init__(self, limit: int | None) -> None:
        self.pieces: list[bytes] = []
        self._left = sys.maxsize if limit is None else limit

    def write(self, piece: bytes) -> int:
        self._left -= len(piece)
        if self._left < 0:
            raise _LimitReachedError
        self.pieces.append(bytes(piece))
        return len(piece)


@dataclass(frozen=True, slots=True)
class Chunk:
    """A chunk from a worker; its `parts` are only valid until the next chunk is taken."""

    start: int
    stop: int  # of the requested indices
    rows: int  # that the parts hold
    parts: tuple[memoryview | None, ...] | None  # None: it needs other columns
    ended: bool
    error: BaseException | None
    seconds: float


@dataclass(slots=True, eq=False)
class _Task:
    start: int
    stop: int
    buffer: int
    worker: int  # process id
    answer: Answer | WorkerError | None = None
    dropped: bool = False


@dataclass(slots=True, eq=False)
class _Worker:
    process: "subprocess.Popen[bytes]"
    connection: socket.socket
    ready: bool = False
    tasks: deque[_Task] = field(default_factory=deque)  # the tasks without an answer yet


class Pool:
    """Worker processes for one source, and for one function at a time that makes chunks of it.

    Args:
        jobs: The number of workers.
        source: The first argument of `make`; it is sent to each worker once.
        pickle_of_source: The result of `pickled(source)`, if there is one.
        place: Says where an index of the source is, for messages.
    """

    def __init__(
        self, jobs: int, source: object, pickle_of_source: bytes | None = None, place: Callable[[int], str] = str
    ) -> None:
        self._place = place
        self._selector = selectors.DefaultSelector()
        self._workers: list[_Worker] = []
        self._order: deque[_Task] = deque()
        self._taken: tuple[_Task, list[memoryview], mmap.mmap | None] | None = None
        self._stack = contextlib.ExitStack()
        try:
            self._buffers = [self._stack.enter_context(_kernel.anonymous_file()) for _ in range(_BUFFERS * jobs)]
            self._free = list(range(len(self._buffers)))
            with _kernel.anonymous_file() as file:
                with open(file.fileno(), "wb", closefd=False) as stream:
                    if pickle_of_source is None:
                        dump(source, stream)
                    else:
                        stream.write(pickle_of_source)
                for _ in range(jobs):
                    self._start(file, max(1, cpu_count() // jobs))
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _start(self, source: _kernel.File, threads: int) -> None:
        if not sys.executable or getattr(sys, "frozen", False):
            raise WorkerError(
                "n_jobs: workers need a Python interpreter, and this program is not one; pass n_jobs=None"
            )
        ours, theirs = socket.socketpair()
        with theirs:
            descriptors = [buffer.fileno() for buffer in self._buffers]
            arguments = theirs.fileno(), source.fileno(), descriptors, os.getpid()
            code = (
                f"import sys; sys.path[:] = {[entry for entry in sys.path if isinstance(entry, str)]!a}; "
                f"from mmap_ninja.builds.worker_main import main; main{arguments}"
            )
            try:
                process = subprocess.Popen(  # noqa: S603 - this interpreter
                    [sys.executable, "-c", code],
                    stdin=subprocess.DEVNULL,
                    env={**dict.fromkeys(_THREADS, str(threads)), **os.environ},
                    pass_fds=(theirs.fileno(), source.fileno(), *descriptors),
                    start_new_session=True,  # Ctrl-C goes to this process only, which then ends them
                )
            except BaseException:
                ours.close()
                raise
        worker = _Worker(process, ours)
        self._workers.append(worker)
        self._selector.register(ours, selectors.EVENT_READ, worker)

    def teach(self, make: Make) -> None:
        """Set the function for chunks from now on; chunks that were not taken are dropped."""
        for task in self._order:
            if task.answer is None:
                task.dropped = True
            else:
                self._free.append(task.buffer)
        self._order.clear()
        message = dumps(make)
        for worker in self._workers:
            self._tell(worker, message)

    def is_ready(self) -> bool:
        """Whether a worker has loaded the source, without waiting."""
        if not any(worker.ready for worker in self._workers):
            self._listen(0)
        return any(worker.ready for worker in self._workers)

    def take(self, ranges: Iterator[tuple[int, int]]) -> Chunk | None:
        """The next chunk in order; None when all are taken.

        Args:
            ranges: Starts and stops of the next chunks; read one by one, when a worker can take it.

        Raises:
            WorkerError: if its worker died.
        """
        self._release()
        exhausted = self._feed(ranges)
        while not self._order or self._order[0].answer is None:
            if not self._order and exhausted:
                return None
            if not self._workers:
                raise WorkerError(
                    "n_jobs: all worker processes have died before the last chunk; pass n_jobs=None to build without "
                    "workers"
                )
            self._listen(_POLL_SECONDS)
            exhausted = self._feed(ranges)
        task = self._order.popleft()
        assert task.answer is not None  # noqa: S101 - for the type checker
        if isinstance(task.answer, WorkerError):
            raise task.answer
        return self._chunk(task, task.answer)

    def close(self) -> None:
        """End the workers at once, and release the buffers."""
        try:
            self._release()
            for worker in self._workers:
                if worker.tasks or not worker.ready:
                    worker.process.kill()
                worker.connection.close()  # an idle worker then exits by itself
            deadline = time.monotonic() + _END_SECONDS
            for worker in self._workers:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    worker.process.wait(max(0.0, deadline - time.monotonic()))
        finally:
            for worker in self._workers:
                worker.connection.close()
                worker.process.kill()
                worker.process.wait()
            self._workers.clear()
            self._selector.close()
            self._stack.close()

    def _feed(self, ranges: Iterator[tuple[int, int]]) -> bool:
        """Give the workers as much work as they can take now; True if there is no more."""
        while self._free:
            waiting = [worker for worker in self._workers if worker.ready and len(worker.tasks) < _AHEAD]
            if not waiting:
                break
            if (bounds := next(ranges, None)) is None:
                return True
            worker = min(waiting, key=lambda worker: len(worker.tasks))
            task = _Task(*bounds, self._free.pop(), worker.process.pid)
            worker.tasks.append(task)
            self._order.append(task)
            self._tell(worker, (*bounds, task.buffer))
        return False

    def _tell(self, worker: _Worker, message: object) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it died, which `_listen` will find
            send(worker.connection, message)

    def _listen(self, timeout: float) -> None:
        """Receive answers of workers, and find those that died."""
        events = self._selector.select(timeout)
        for key, _ in events:
            worker: _Worker = key.data
            try:
                message = receive(worker.connection)
            except EOFError:
                self._bury(worker)
                continue
            if isinstance(message, Failure):
                raise _worker_error("a worker process could not load the source or the encoder", message)
            if message is None:
                worker.ready = True
                continue
            task = worker.tasks.popleft()
            task.answer = message
            if task.dropped:
                self._free.append(task.buffer)
        if not events and timeout:
            for worker in list(self._workers):
                if worker.process.poll() is not None:  # a child of the worker still holds the socket open
                    self._bury(worker)

    def _bury(self, worker: _Worker) -> None:
        """Make the death of a worker the answer to its tasks."""
        try:
            code = worker.process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:  # it closed the socket, but still runs
            worker.process.kill()
            code = worker.process.wait()
        self._selector.unregister(worker.connection)
        worker.connection.close()
        self._workers.remove(worker)
        how = f"was ended by {_signal_name(-code)}" if code < 0 else f"ended with exit code {code}"
        if code == -signal.SIGKILL:
            how += " (as the system does when memory runs out)"
        if not worker.tasks:
            raise WorkerError(
                f"worker process {worker.process.pid} {how} {'while it waited' if worker.ready else 'as it started'}"
            )
        first = worker.tasks[0]
        error = WorkerError(
            f"worker process {worker.process.pid} {how} at one of the indices {first.start} to {first.stop - 1}"
        )
        for task in worker.tasks:
            task.answer = error
            if task.dropped:
                self._free.append(task.buffer)

    def _chunk(self, task: _Task, answer: Answer) -> Chunk:
        error = (
            None if answer.failure is None else _revived(answer.failure, task, self._place(task.start + answer.rows))
        )
        if answer.sizes is None:
            self._free.append(task.buffer)
            return Chunk(task.start, task.stop, 0, None, answer.ended, error, answer.seconds)
        total = sum(size or 0 for size in answer.sizes)
        mapped = mmap.mmap(self._buffers[task.buffer].fileno(), total, prot=mmap.PROT_READ) if total else None
        whole = memoryview(mapped or b"")
        parts, offset = list[memoryview | None](), 0
        for size in answer.sizes:
            parts.append(None if size is None else whole[offset : offset + size])
            offset += size or 0
        self._taken = task, [view for view in (*parts, whole) if view is not None], mapped
        return Chunk(task.start, task.stop, answer.rows, tuple(parts), answer.ended, error, answer.seconds)

    def _release(self) -> None:
        if self._taken is not None:
            task, views, mapped = self._taken
            self._taken = None
            for view in views:
                view.release()
            if mapped is not None:
                mapped.close()
            self._free.append(task.buffer)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _revived(failure: Failure, task: _Task, place: str) -> BaseException:
    """The exception that a worker's source raised; a WorkerError if it could not be pickled."""
    error = None
    if failure.pickled is not None:
        with contextlib.suppress(Exception):
            error = pickle.loads(failure.pickled)  # noqa: S301 - from our own worker
    if not isinstance(error, BaseException):
        return _worker_error(place, failure)
    tells = tells_place(error, place)
    if not tells:
        is_told(error, place)
    error.add_note(f"{'' if tells else f'{place}, '}in worker process {task.worker}:\n{failure.traceback}")
    return error


def _worker_error(what: str, failure: Failure) -> WorkerError:
    error = WorkerError(f"{what}: {failure.message}")
    error.add_note(f"in the worker process:\n{failure.traceback}")
    return error
