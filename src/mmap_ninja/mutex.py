"""The locks of handles, which a fork must not leave locked for ever."""

import os
import threading
import weakref
from typing import Final, NoReturn

from mmap_ninja.errors import ForkedHandleError


class _Abandoned:
    """The lock of a handle that a thread of the parent was at work on when this process was forked."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> NoReturn:
        raise ForkedHandleError(
            f"{self._path}: this process was forked while another thread was at work on the dataset; open it again here"
        )

    def __exit__(self, *_: object) -> None:
        """It is never entered."""


class Locked:
    """Something with a re-entrant lock of its own."""

    _mutex: "threading.RLock | _Abandoned"
    _path_text: str

    def _make_mutex(self) -> None:
        self._mutex = threading.RLock()
        _locked.add(self)


_locked: Final[weakref.WeakSet[Locked]] = weakref.WeakSet()


def _give_up_held() -> None:
    """In a forked process: what only threads of the parent could unlock."""
    for owner in list(_locked):
        lock = owner._mutex
        if isinstance(lock, _Abandoned):
            continue
        if lock.acquire(blocking=False):
            lock.release()
        else:
            owner._mutex = _Abandoned(owner._path_text)


os.register_at_fork(after_in_child=_give_up_held)
