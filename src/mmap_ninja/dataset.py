"""The commit engine of one dataset: what a handle sees, and how it appends to it."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from mmap_ninja import _kernel, files, format
from mmap_ninja.errors import ForkedHandleError, GenerationMovedError, StaleHandleError
from mmap_ninja.format import Meta
from mmap_ninja.generation import Generation, newest, read_commit
from mmap_ninja.writing import Parts, drop_rejected, locked, log_commit, open_log

Durability = Literal["process", "machine"]
Identity = tuple[bytes, int, int, int]  # uuid, generation, rows, edits: what a pickled handle comes back to

DEFAULT_LOCK_TIMEOUT: Final = 60.0
_SWITCHES: Final = 100  # generations that may be switched under one commit before it gives up


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a handle saw at one moment, beside its samples."""

    identity: Identity | None
    metadata: dict[str, Any]
    complete: bool
    nbytes: int


class Dataset:
    """One dataset directory as a handle sees it: a commit, its generation's files, and a log to append to.

    Not thread-safe: the handle above serialises its mutations.
    """

    def __init__(self, path: Path, kind: format.Kind | None, durability: Durability, lock_timeout: float) -> None:
        self.path = path
        self.kind = kind  # that samples are read and encoded as; None: the dataset's own
        self.durability = durability
        self.lock_timeout = lock_timeout
        self._log: _kernel.Log | None = None
        self._adopt(*newest(path))

    def _adopt(self, slot: _kernel.Slot, generation: Generation, extents: list[int]) -> None:
        # A replace may change the kind: nothing of the old one may be read as, or appended to, the new.
        if self.kind not in (None, generation.meta.kind):
            raise TypeError(
                f"{self.path}: holds {generation.meta.kind}, not {self.kind}; mmap_ninja.open finds the class by itself"
            )
        self.kind = generation.meta.kind
        self._slot: _kernel.Slot | None = slot  # None: the log's
        self.generation = generation
        self.rows = slot.rows
        self.extents = extents

    @property
    def slot(self) -> _kernel.Slot:
        """The commit that the handle sees."""
        if self._slot is None:
            assert self._log is not None  # noqa: S101 - for the type checker
            return self._log.state
        return self._slot

    @property
    def meta(self) -> Meta:
        """The meta of the generation that the handle sees."""
        return self.generation.meta

    @property
    def snapshot(self) -> Snapshot:
        """What the handle sees, for a view to keep and a pickle to come back to."""
        slot = self.slot
        identity = (slot.uuid, slot.generation, slot.rows, slot.edits)
        nbytes = sum(e for file, e in zip(self.meta.files, self.extents, strict=True) if file.role == "data")
        return Snapshot(identity, self.meta.metadata, complete=bool(slot.flags & _kernel.COMPLETE), nbytes=nbytes)

    def refresh(self) -> None:
        """Move to the newest commit."""
        known = self.generation
        self._adopt(*newest(self.path, known=known))
        if self.generation is not known and self._log is not None:
            self._log.close()
            self._log = None

    def pin(self, identity: Identity) -> None:
        """Go back to an earlier commit of the same generation.

        Raises:
            StaleHandleError: if the dataset no longer holds it.
        """
        uuid, generation, rows, edits = identity
        slot = self.slot
        if (slot.uuid, slot.generation) != (uuid, generation) or slot.rows < rows or slot.edits < edits:
            raise StaleHandleError(
                f"{self.path}: holds generation {slot.generation} with {slot.rows} samples, where generation "
                f"{generation} with {rows} was expected: it was replaced or rolled back; open the path again"
            )
        slot.rows, slot.edits = rows, edits
        self._adopt(slot, self.generation, self.generation.extents(rows, edits))

    def commit(self, parts: Parts, rows: int, *, durable: bool = False) -> None:
        """Append one batch to the newest commit and move to it.

        Args:
            parts: The bytes that each of the generation's files grows by; offsets count from the batch's start.
            rows: The samples in the batch.
            durable: Whether to wait until it is safe against power loss.
        """
        durable |= self.durability == "machine"
        for _ in range(_SWITCHES):
            if self._log is None:
                self._start_writing()
            assert self._log is not None  # noqa: S101 - for the type checker
            try:
                self.rows, self.extents = log_commit(
                    self._log, self.path, self.lock_timeout, parts, rows, durable=durable
                )
            except GenerationMovedError:
                self._slot, self._log = self.slot, None
            except StaleHandleError:  # its files were deleted; the next commit opens those at the path
                self._slot, self._log = self.slot, None
                raise
            else:
                self._slot = None
                return
        raise StaleHandleError(f"{self.path}: was replaced {_SWITCHES} times during one commit; nothing was written")

    def flush(self) -> None:
        """Make all that is committed safe against power loss."""
        self.commit((), 0, durable=True)

    def close(self) -> None:
        """Make this handle's commits durable, and let go of the log."""
        log, self._log = self._log, None
        if log is None:
            return
        state = log.state
        try:
            if (state.rows, state.edits) != (state.durable_rows, state.durable_edits):
                log_commit(log, self.path, self.lock_timeout, durable=True)
        except (ForkedHandleError, GenerationMovedError):
            pass  # they are the parent's commits, and its to flush; or what replaced them is durable already
        finally:
            log.close()

    def _start_writing(self) -> None:
        with locked(self.path, self.lock_timeout) as lock_fd:
            self.refresh()
            commit = read_commit(self.path)
            drop_rejected(self.path / format.COMMIT, commit, self.slot)
            commit_fd = files.open_write(self.path / format.COMMIT)
            self._log = open_log(
                self.generation, self.slot, commit_fd, os.dup(lock_fd), commit.next_seq(), sync_often=True
            )
