"""The lock of a handle, which a fork must not leave locked for ever."""

import os
import threading
from typing import Final

from mmap_ninja.errors import ForkedHandleError

_PATIENCE: Final = 1.0  # seconds: other threads of a child, which look at the same time, take microseconds


class Mutex:
    """A re-entrant lock that notices in a forked process that a thread held it which only the parent has."""

    __slots__ = ("_lock", "_path", "_pid")

    def __init__(self, path: str) -> None:
        self._path = path
        self._lock = threading.RLock()
        self._pid = os.getpid()

    def __enter__(self) -> None:
        if self._pid != os.getpid():
            self._enter_child()
        else:
            self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def _enter_child(self) -> None:
        if not self._lock.acquire(timeout=_PATIENCE):
            raise ForkedHandleError(
                f"{self._path}: this process was forked while another thread was at work on the dataset; open it again "
                "here"
            )
        self._pid = os.getpid()
