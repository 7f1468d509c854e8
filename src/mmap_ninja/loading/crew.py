"""Threads that do jobs ahead of whoever needs the results."""

import atexit
import contextlib
import os
import queue
import threading
import weakref
from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar, cast

T = TypeVar("T")

_CREWS: Final[weakref.WeakSet["Crew"]] = weakref.WeakSet()


class Job(Generic[T]):
    """A call that a thread makes."""

    def __init__(self, call: Callable[[], T]) -> None:
        self.call = call
        self._outcome: tuple[Any, BaseException | None] | None = None
        self._has_raised = False
        # Queues of C code: no interrupt can leave one locked, as it can a condition variable.
        self._is_over: queue.SimpleQueue[None] = queue.SimpleQueue()

    def run(self) -> None:
        """Make the call, in the thread of a crew."""
        try:
            self._outcome = self.call(), None
        except BaseException as error:  # noqa: BLE001 - raised where the result is wanted
            self._outcome = None, error
        self._is_over.put(None)

    def drop(self) -> None:
        """Let nobody wait for a call that no thread will make."""
        self._outcome = None, RuntimeError("the iteration was closed while its next batch was awaited")
        self._is_over.put(None)

    def result(self) -> T:
        """Wait for the end of the call; raises what it raised, and after that, makes the call anew, here."""
        if self._has_raised:
            return self.call()
        while self._outcome is None:  # so that after an interrupt, the result can be asked for again
            self._is_over.get()
        value, error = self._outcome
        if error is not None:
            try:
                self._has_raised = True
                raise error
            finally:
                self._outcome = None
                del error  # either would keep this frame, and so the exception, alive in a cycle
        return cast("T", value)


class Crew:
    """Threads that take jobs in the order in which they were given.

    They end when the crew is closed, or nobody has it any more. After a fork, the child's copy has no threads.
    """

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[Job[Any] | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self.size: int = 0
        self.is_here: bool = True  # whether its threads are in this process
        self._end = weakref.finalize(self, _dismiss, self._jobs, self._threads)
        self._end.atexit = False  # `_close_all` waits for the threads, too
        _CREWS.add(self)

    def resize(self, size: int) -> None:
        """Have so many threads; one that is not needed any more ends after its job."""
        # An interrupt may leave a thread more than counted, which ends with the crew, but never one less.
        while self.size < size:
            thread = threading.Thread(target=_work, args=(self._jobs,), name="mmap_ninja-loader", daemon=True)
            self._threads.append(thread)
            thread.start()
            self.size += 1
        while self.size > size:
            self.size -= 1
            self._jobs.put(None)

    def start(self, call: Callable[[], T]) -> Job[T]:
        """Have a call made by the next thread that is free."""
        job = Job(call)
        self._jobs.put(job)
        return job

    def close(self) -> None:
        """Drop the jobs that no thread has begun, and wait for the threads to end."""
        if not self._end.alive or not self.is_here:
            return
        _dismiss(self._jobs, self._threads)
        self._end.detach()
        for thread in self._threads:
            if thread.is_alive():  # or it never began
                thread.join()


def _work(jobs: "queue.SimpleQueue[Job[Any] | None]") -> None:
    while (job := jobs.get()) is not None:
        job.run()
        del job  # its results belong to somebody else


def _dismiss(jobs: "queue.SimpleQueue[Job[Any] | None]", threads: list[threading.Thread]) -> None:
    with contextlib.suppress(queue.Empty):
        while True:
            if (job := jobs.get_nowait()) is not None:
                job.drop()
    for _ in threads:
        jobs.put(None)


def _close_all() -> None:
    for crew in list(_CREWS):
        crew.close()


def _leave_behind() -> None:
    for crew in list(_CREWS):
        crew.is_here = False


atexit.register(_close_all)
os.register_at_fork(after_in_child=_leave_behind)
