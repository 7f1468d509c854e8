"""Waiting for the process that builds a dataset."""

import time
from pathlib import Path
from typing import Final

from mmap_ninja import progress
from mmap_ninja.engine import files
from mmap_ninja.engine.commit_file import read_commit
from mmap_ninja.errors import CorruptDatasetError, LockTimeoutError, NotADatasetError
from mmap_ninja.format.names import BUILD, COMMIT

_FIRST_PAUSE: Final = 0.01  # seconds
_LONGEST_PAUSE: Final = 0.5  # each look takes LOCK, which the builder needs, for about a millisecond
_GROWTH: Final = 1.5
_SILENT: Final = 1.0  # seconds until the first line; then as long again, but never longer than
_LONGEST_SILENCE: Final = 60.0  # since a build may take days, and its line may go to a log file


class Waiting:
    """Pauses between looks at a dataset that another process builds, each longer than the last one.

    After a second, and then ever more seldom, a line says which process that is, and how many samples it has stored.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._pause = _FIRST_PAUSE
        self._began = time.monotonic()
        self._silent_until = _SILENT

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
        waited = time.monotonic() - self._began  # also for LOCK, which a stopped builder may hold
        if waited >= self._silent_until:
            progress.note(f"{self._path}: waiting for {self._builder()}")
            self._silent_until = waited + min(waited, _LONGEST_SILENCE)
        time.sleep(self._pause)
        self._pause = min(self._pause * _GROWTH, _LONGEST_PAUSE)

    def _builder(self) -> str:
        name = BUILD if files.exists(f"{self._path}/{BUILD}") else COMMIT
        holder = files.lock_holder(f"{self._path}/{name}")
        try:
            count = read_commit(self._path, name).slots[0][1].rows
        except (NotADatasetError, CorruptDatasetError):  # it has just ended
            return holder
        return f"{holder}, which has stored {count} samples"
