"""The commit engine of one dataset: what a handle sees, and how it appends to it."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from mmap_ninja import _kernel, directory, files, format
from mmap_ninja.directory import Change
from mmap_ninja.edits import Edit, unneeded
from mmap_ninja.errors import (
    EditsMovedError,
    ForkedHandleError,
    GenerationMovedError,
    LockTimeoutError,
    MmapNinjaError,
    StaleHandleError,
)
from mmap_ninja.format import Column, Meta
from mmap_ninja.generation import Generation, newest, read_commit
from mmap_ninja.writing import Parts, drop_rejected, locked, open_log

Durability = Literal["process", "machine"]
Identity = tuple[bytes, int, int, int]  # uuid, generation, rows, edits: what a pickled handle comes back to
Columns = tuple[Column, ...]
# A batch's bytes for each of the generation's files, and the columns that they fit: those given, or wider ones.
Encode = Callable[[Columns], tuple[Columns, Parts]]

DEFAULT_LOCK_TIMEOUT: Final = 60.0
_SWITCHES: Final = 100  # generations that may be switched under one commit before it gives up


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a handle saw at one moment, beside its samples."""

    identity: Identity | None
    metadata: dict[str, Any]
    complete: bool


class Dataset:
    """One dataset directory as a handle sees it: a commit, its generation's files, and a log to append to.

    Not thread-safe: the handle above serialises its mutations.

    Args:
        path: The directory.
        kind: What samples are read and encoded as; None: the dataset's own kind.
        durability: What a commit survives at once.
        lock_timeout: Seconds to wait for other processes' commits.
        build_fd: Of the BUILD file to commit to instead of COMMIT; it holds the lock, and stays the caller's.
        sync_often: Whether commits are made durable as their bytes add up.
    """

    def __init__(
        self,
        path: Path,
        kind: format.Kind | None,
        durability: Durability,
        lock_timeout: float,
        *,
        build_fd: int | None = None,
        sync_often: bool = True,
    ) -> None:
        self.path = path
        self.kind = kind
        self.durability = durability
        self.lock_timeout = lock_timeout
        self._build_fd = build_fd
        self._name = format.COMMIT if build_fd is None else format.BUILD
        self._sync_often = sync_often
        self._log: _kernel.Log | None = None
        self._slot: _kernel.Slot | None = None  # what is seen; None: the log's state
        self.edits = _kernel.Edits()
        self._edits_of: tuple[tuple[bytes, str] | None, int] = None, 0  # whose numbering of rows, and how many
        self._adopt(*newest(path, self._name))

    def drop_log(self) -> None:
        """Let go of the log, and with it of a lock that it holds, as it is."""
        if self._log is not None:
            self._slot = self.slot
            self._log.close()
            self._log = None

    def _adopt(self, slot: _kernel.Slot, generation: Generation, extents: list[int]) -> None:
        # A replace may change the kind: nothing of the old one may be read as, or appended to, the new.
        check_kind(self.path, generation.meta.kind, self.kind)
        self.kind = generation.meta.kind
        self._read_edits(generation, slot.edits, slot.rows)
        self._slot = slot
        self.generation = generation
        self.rows = slot.rows
        self.extents = extents

    def _read_edits(self, generation: Generation, count: int, rows: int) -> None:
        """Know the edits of a commit: those that are not known yet are read."""
        numbering, known = self._edits_of
        edits = self.edits
        if numbering != generation.meta.numbering or known > count:
            edits, known = _kernel.Edits(), 0
        if known < count:
            edits = edits.apply(generation.edit_log(known, count), rows, str(self.path), known)
        self.edits, self._edits_of = edits, (generation.meta.numbering, count)

    @property
    def slot(self) -> _kernel.Slot:
        """The commit that the handle sees."""
        if self._slot is None:
            assert self._log is not None  # noqa: S101 - for the type checker
            return self._log.state
        return self._slot

    @property
    def any_descriptor(self) -> int:
        """One of the open files; they lie in one directory."""
        return self.generation.descriptors[0]

    @property
    def num_samples(self) -> int:
        """How many samples the handle sees: rows that no edit hides."""
        return self.rows - self.edits.hidden

    @property
    def num_edits(self) -> int:
        """How many lines of the edits file the handle sees."""
        return self._edits_of[1]

    @property
    def meta(self) -> Meta:
        """The meta of the generation that the handle sees."""
        return self.generation.meta

    @property
    def snapshot(self) -> Snapshot:
        """What the handle sees, for a view to keep and a pickle to come back to."""
        slot = self.slot
        identity = (slot.uuid, slot.generation, slot.rows, slot.edits)
        return Snapshot(identity, self.meta.metadata, complete=bool(slot.flags & _kernel.COMPLETE))

    @property
    def nbytes(self) -> int:
        """Bytes of the samples as they are stored."""
        sizes = zip(self.meta.files, self.extents, unneeded(self.generation, self.edits), strict=True)
        return sum(extent - unused for file, extent, unused in sizes if file.role == "data")

    @property
    def garbage(self) -> int:
        """Bytes of the files that no sample needs any more."""
        return sum(unneeded(self.generation, self.edits)) + self.extents[self.meta.edits_index]

    def refresh(self) -> None:
        """Move to the newest commit."""
        known = self.generation
        self._adopt(*newest(self.path, self._name, known))
        if self.generation is not known:
            self.drop_log()

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

    def commit(
        self,
        encode: Encode,
        rows: int,
        edit: Edit | None = None,
        *,
        durable: bool = False,
        flags: int = 0,
        alone: bool = False,
    ) -> None:
        """Append one batch to the newest commit and move to it.

        Args:
            encode: Gives the batch; called again where the columns have changed meanwhile. Offsets count from the
                batch's start.
            rows: The samples in the batch.
            edit: What happens to other samples in the same commit; those of the batch are no more at the end, then,
                but take their places.
            durable: Whether to wait until it is safe against power loss.
            flags: What the commit marks the dataset with.
            alone: Whether what others did since is an error.

        Raises:
            StaleHandleError: if the dataset was deleted, or others changed it where that is an error, or the samples
                that are to be edited.
        """
        durable |= self.durability == "machine"
        uuid, expected_rows = (self.meta.uuid, self.rows) if alone else (None, None)
        lines = edit.lines() if edit else b""
        expected_edits: int | None = None
        encoded: tuple[Columns, Parts] | None = None
        for _ in range(_SWITCHES):
            if alone and self.meta.uuid != uuid:
                raise StaleHandleError(f"{self.path}: was replaced during this build, whose batches are gone")
            columns = self.generation.meta.columns
            if edit is not None:  # with a look at the edits that others made since the caller's
                edit.check(self.meta.numbering, self.edits, str(self.path))
                expected_edits = self.num_edits
            if encoded is None or encoded[0] != columns:
                try:
                    encoded = encode(columns)
                except (TypeError, ValueError):
                    with suppress(MmapNinjaError):  # the batch is what is wrong
                        self.refresh()
                    if self.meta.columns == columns:
                        raise
                    continue  # others have changed them
            if encoded[0] != columns:
                self.change_columns(encoded[0])
                continue
            if self._log is None:
                self._start_writing()
                continue  # with a look at what was found under the lock
            try:
                parts = self._with_lines(encoded[1], lines) if lines else encoded[1]
                num_edits = len(lines) // format.EDIT_SIZE
                self.rows, edits, self.extents = self._log.commit(
                    parts, rows, num_edits, flags, durable, expected_rows, expected_edits, self.lock_timeout
                )
            except LockTimeoutError:
                raise files.lock_timeout(self.path / format.LOCK, self.lock_timeout) from None
            except GenerationMovedError:
                self._slot, self._log = self.slot, None
            except EditsMovedError:
                self.refresh()
            except StaleHandleError:  # its files were deleted; the next commit opens those at the path
                self._slot, self._log = self.slot, None
                raise
            else:
                self._slot = None
                if edits != self.num_edits:
                    self._read_edits(self.generation, edits, self.rows)
                return
        raise StaleHandleError(f"{self.path}: was changed {_SWITCHES} times during one commit; nothing was written")

    def _with_lines(self, parts: Parts, lines: bytes) -> Parts:
        return (*parts, *(None,) * (self.meta.edits_index - len(parts)), lines)

    def change_columns(self, columns: Columns) -> None:
        """Give the samples other columns, which their files fit.

        Where others have changed the columns meanwhile, or replaced the dataset, the handle only moves to theirs.
        """
        before = self.meta.uuid, self.meta.columns
        self.evolve(lambda: Change(columns) if (self.meta.uuid, self.meta.columns) == before else None)

    def evolve(self, change: Callable[[], Change | None]) -> None:
        """Make a new generation of the newest one, durably, and move to it.

        `change` tells what is different. It is called under the lock, with the handle at the newest commit, which is
        durable; None leaves it at that.
        """
        for _ in range(_SWITCHES):
            self.flush()
            with locked(self.path, self.lock_timeout) as lock_fd:
                self.refresh()
                slot = self.slot
                if (slot.rows, slot.edits) != (slot.durable_rows, slot.durable_edits):
                    continue  # another process appended since the flush
                changed = change()
                if changed is None:
                    return
                with self._commit_file() as commit_fd:
                    if not files.is_at(lock_fd, self.path / format.LOCK):
                        continue  # another directory has taken the place of the one that is locked
                    drop_rejected(self.path / self._name, read_commit(self.path, self._name), slot)
                    directory.evolve(self.generation, slot, changed, commit_fd, self._name)
                self.refresh()
                return
        raise StaleHandleError(f"{self.path}: others appended without end; nothing was written")

    def flush(self) -> None:
        """Make all that is committed safe against power loss."""
        self.commit(nothing, 0, durable=True)

    def close(self) -> None:
        """Make this handle's commits durable, and let go of the log."""
        log, self._log = self._log, None
        if log is None:
            return
        state = log.state
        try:
            if (state.rows, state.edits) != (state.durable_rows, state.durable_edits):
                log.commit((), 0, 0, 0, True, None, None, self.lock_timeout)
        except LockTimeoutError:
            raise files.lock_timeout(self.path / format.LOCK, self.lock_timeout) from None
        except (ForkedHandleError, GenerationMovedError):
            pass  # they are the parent's commits, and its to flush; or what replaced them is durable already
        finally:
            log.close()

    @contextmanager
    def _commit_file(self) -> Iterator[int]:
        """The open commit file, while whoever asks holds the lock."""
        if self._build_fd is not None:
            yield self._build_fd
            return
        fd = files.open_write(self.path / self._name)
        try:
            yield fd
        finally:
            os.close(fd)

    def _start_writing(self) -> None:
        with locked(self.path, self.lock_timeout) as lock_fd:
            directory.finish_upgrade(self.path)
            self.refresh()
            commit = read_commit(self.path, self._name)
            drop_rejected(self.path / self._name, commit, self.slot)
            with self._commit_file() as commit_fd:
                self._log = open_log(
                    self.generation,
                    self.slot,
                    commit_fd,
                    lock_fd if self._build_fd is None else -1,  # the lock of a BUILD is its own, and held all the time
                    commit.next_seq(),
                    sync_often=self._sync_often,
                )
                if not files.stays_itself(commit_fd):  # those that are open were opened before there was a writer
                    self.generation = Generation.open(self.path, self.slot, commit)


def check_kind(path: Path, found: format.Kind, asked: format.Kind | None) -> None:
    """Raise TypeError if a dataset is of another kind than the class that opens it."""
    if asked not in (None, found):
        raise TypeError(f"{path}: holds {found}, not {asked}; mmap_ninja.open finds the class by itself")


def nothing(columns: Columns) -> tuple[Columns, Parts]:
    """An empty batch."""
    return columns, ()
