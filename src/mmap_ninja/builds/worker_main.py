"""A worker process: loads a source once, then makes chunks of consecutive indices.

It exchanges small pickles, preceded by their length, with the process that started it, through a socket. The bytes of
chunks go through anonymous files that both have open. Nothing here knows about datasets.
"""

import mmap
import os
import pickle
import queue
import select
import socket
import struct
import threading
import time
import traceback
from io import FileIO
from typing import Any, NamedTuple

from mmap_ninja.builds.made import Made, Make, Parts

Message = tuple[int, int, int] | bytes  # start, stop and buffer of a chunk; or the next `make`

_LENGTH = struct.Struct("<Q")
_NO_SIGNAL = getattr(socket, "MSG_NOSIGNAL", 0)  # a script may have reset SIGPIPE to its default, which kills
_PARENT_CHECK_SECONDS = 0.5
_GRACE_SECONDS = 0.25


class Failure(NamedTuple):
    """An exception, to be sent to another process."""

    pickled: bytes | None  # None if that is not possible
    kind: str
    message: str
    traceback: str

    @classmethod
    def of(cls, error: BaseException) -> "Failure":
        """Describe any exception."""
        try:
            pickled = dumps(error)
            pickle.loads(pickled)  # noqa: S301 - our own; many exceptions can be pickled, but not unpickled
        except Exception:  # noqa: BLE001 - methods of the exception may raise anything
            pickled = None
        text = "".join(traceback.format_exception(error))
        summary = "".join(traceback.format_exception_only(error)).strip()
        return cls(pickled, type(error).__name__, summary, text)


class Answer(NamedTuple):
    """The answer of a worker that has made a chunk; the bytes are in the buffer."""

    rows: int
    sizes: tuple[int | None, ...] | None  # of the parts in the buffer, back to back
    ended: bool
    failure: Failure | None
    seconds: float


def dumps(value: object) -> bytes:
    """A pickle by cloudpickle, which pickles functions and classes by value if they cannot be imported."""
    import cloudpickle  # noqa: PLC0415 - an extra, which serial builds do without

    pickled: bytes = cloudpickle.dumps(value)
    return pickled


def send(connection: socket.socket, message: object) -> None:
    """Send one message."""
    pickled = pickle.dumps(message)
    connection.sendall(_LENGTH.pack(len(pickled)) + pickled, _NO_SIGNAL)


def receive(connection: socket.socket) -> Any:
    """The next message.

    Raises:
        EOFError: if the other process has closed the socket, or died.
    """
    (length,) = _LENGTH.unpack(_receive_bytes(connection, _LENGTH.size))
    return pickle.loads(_receive_bytes(connection, length))  # noqa: S301 - from our worker or parent


def _receive_bytes(connection: socket.socket, size: int) -> bytearray:
    data = bytearray(size)
    view, filled = memoryview(data), 0
    while filled < size:
        try:
            count = connection.recv_into(view[filled:])
        except ConnectionError:
            count = 0
        if not count:
            raise EOFError
        filled += count
    return data


def main(socket_fd: int, source_fd: int, buffer_fds: list[int], parent: int) -> None:
    """Serve the process that started this one until it closes the socket, or dies."""
    for fd in (socket_fd, source_fd, *buffer_fds):
        os.set_inheritable(fd, False)  # programs that the source starts must not keep them open
    connection = socket.socket(fileno=socket_fd)
    inbox: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(connection, inbox, parent), daemon=True).start()
    buffers = [open(fd, "wb", buffering=0) for fd in buffer_fds]  # noqa: PTH123, SIM115 - until the process ends
    make: Make | None = None
    try:
        with open(source_fd, "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as pickled:
            source = pickle.loads(pickled)  # noqa: S301 - from our parent
        send(connection, None)
        while (message := inbox.get()) is not None:
            if isinstance(message, bytes):
                make = pickle.loads(message)  # noqa: S301
            else:
                assert make is not None  # noqa: S101 - sent before the first chunk
                send(connection, _answer(make, source, *message[:2], buffers[message[2]]))
    except ConnectionError:
        return  # the parent no longer waits for it
    except BaseException as error:  # noqa: BLE001 - the source or `make` could not be loaded
        send(connection, Failure.of(error))


def _answer(make: Make, source: object, start: int, stop: int, buffer: FileIO) -> Answer:
    began = time.perf_counter()
    try:
        made = make(source, start, stop)
        sizes = None if made.parts is None else _store(made.parts, buffer)
    except BaseException as error:  # noqa: BLE001 - raised in the parent
        made, sizes = Made(0, (), error=error), ()
    failure = None if made.error is None else Failure.of(made.error)
    return Answer(made.rows, sizes, made.ended, failure, time.perf_counter() - began)


def _store(parts: Parts, buffer: FileIO) -> tuple[int | None, ...]:
    # Written, not copied into a map: if there is no space, a write raises, while a map kills the process.
    buffer.seek(0)
    views = [None if part is None else memoryview(part) for part in parts]
    for view in views:
        if view is not None and view.nbytes:
            rest = view.cast("B")
            while rest:
                rest = rest[buffer.write(rest) :]
    buffer.truncate()  # so that one large chunk does not keep its memory
    return tuple(None if view is None else view.nbytes for view in views)


def _listen(connection: socket.socket, inbox: "queue.SimpleQueue[Message | None]", parent: int) -> None:
    """Receive messages while the main thread works, and end the process when its parent is gone."""
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    try:
        # A process forked from the parent may hold the socket open after the parent's death.
        while os.getppid() == parent:
            if poll.poll(_PARENT_CHECK_SECONDS * 1000):
                inbox.put(receive(connection))
    except EOFError:
        pass
    inbox.put(None)
    time.sleep(_GRACE_SECONDS)  # an idle process exits by itself in this time
    os._exit(1)
