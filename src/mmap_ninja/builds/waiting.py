"""Waiting for the process that builds a dataset."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Final, Self

from mmap_ninja import progress
from mmap_ninja.engine import files
from mmap_ninja.engine.commit_file import read_commit
from mmap_ninja.errors import CorruptDatasetError, LockTimeoutError, NotADatasetError
from mmap_ninja.format.names import BUILD, COMMIT

_FIRST_PAUSE: Final = 0.01  # seconds
_LONGEST_PAUSE: Final = 0.5  # each look takes LOCK, which the builder needs, for about a millisecond
_GROWTH: Final = 1.5
_SILENT: Final = 1.0  # seconds


class Waiting:
    """Pauses between looks at a dataset that another process builds, each longer than the last one.

    After a second, a line says which process that is, and how many samples it has stored.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._pause = _FIRST_PAUSE
        self._waited = 0.0
        self._tell: Callable[[str], object] | None = None
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def pause(self, refused: LockTimeoutError) -> None:
        """Wait a moment, after a look was refused.

        Raises:
            LockTimeoutError: if this process itself is building the dataset.
        """
        if any(files.is_held(f"{self._path}/{name}") for name in (BUILD, COMMIT)):
            raise LockTimeoutError(
                f"{self._path}: this process itself is building this dataset now, so to wait for it would take for "
                "ever; open it when the build has ended"
            ) from refused
        if self._waited >= _SILENT:
            text = f"{self._path}: waiting for {self._builder()}"
            if self._tell is None:
                self._tell = self._stack.enter_context(progress.line(text))
            self._tell(text)
        time.sleep(self._pause)
        self._waited += self._pause
        self._pause = min(self._pause * _GROWTH, _LONGEST_PAUSE)

    def _builder(self) -> str:
        name = BUILD if files.exists(f"{self._path}/{BUILD}") else COMMIT
        holder = files.lock_holder(f"{self._path}/{name}")
        try:
            count = read_commit(self._path, name).slots[0][1].rows
        except (NotADatasetError, CorruptDatasetError):  # it has just ended
            return holder
        return f"{holder}, which has stored {count} samples"
