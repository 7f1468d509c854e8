"""Probes in processes of their own: what is damaged or killed must not take the others with it."""

import multiprocessing
import os
import signal
import time
from typing import Any, NamedTuple

FORKING = multiprocessing.get_context("fork")  # a child need not import everything again
TIMEOUT_SECONDS = 200  # generous, since a machine may have other work


class Ended(NamedTuple):
    value: Any = None
    error: str = ""  # what it raised, or how it ended

    def result(self):
        if self.error:
            raise RuntimeError(self.error)
        return self.value


class Child:
    """A function that runs in a process group of its own."""

    def __init__(self, function, *arguments):
        self.receiving, sending = FORKING.Pipe(duplex=False)
        self.process = FORKING.Process(target=_call, args=(sending, function, arguments))
        self.process.start()
        sending.close()

    def kill(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)  # with the processes that it has started
        self.process.join()

    def ended(self) -> Ended:
        """Wait for it, and return what it did."""
        try:
            ready = self.receiving.poll(TIMEOUT_SECONDS)
            sent = self.receiving.recv() if ready else None
        except EOFError:
            ready, sent = True, None
        if not ready:
            self.kill()
            return Ended(error=f"no end within {TIMEOUT_SECONDS} s")
        self.process.join(TIMEOUT_SECONDS)
        return sent or Ended(error=f"ended with exit status {self.process.exitcode}")


def in_child(function, *arguments) -> Ended:
    return Child(function, *arguments).ended()


def killed(function, *arguments, acknowledged: int) -> int:
    """Kill a function once it has acknowledged so many samples; return how many it has then."""
    reading, writing = os.pipe()
    child = Child(function, *arguments, lambda: os.write(writing, b"."))
    os.close(writing)
    os.set_blocking(reading, False)
    count, deadline = 0, time.monotonic() + TIMEOUT_SECONDS
    while count < acknowledged and child.process.is_alive() and time.monotonic() < deadline:
        time.sleep(0.001)
        count += _dots(reading)
    alive = child.process.is_alive()
    child.kill() if alive else child.process.join()
    count += _dots(reading)
    os.close(reading)
    if not alive or count < acknowledged:
        raise RuntimeError(f"stored {count} samples, then: {child.ended().error or 'it ended'}")
    return count


def _dots(descriptor: int) -> int:
    try:
        return len(os.read(descriptor, 1 << 16))
    except BlockingIOError:
        return 0


def _call(sending, function, arguments) -> None:
    os.setpgid(0, 0)
    try:
        ended = Ended(function(*arguments))
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is the result
        ended = Ended(error=f"{type(error).__name__}: {error}".splitlines()[0][:200])
    sending.send(ended)
    sending.close()
