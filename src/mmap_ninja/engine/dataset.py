"""The commit engine of one dataset: what a handle sees, and how it appends to it."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import Final, Literal

from mmap_ninja import _kernel
from mmap_ninja.columns.batch import Parts
from mmap_ninja.columns.types import Column
from mmap_ninja.engine import directory, files
from mmap_ninja.engine.change import Change, evolve
from mmap_ninja.engine.commit_file import CommitFile, Look, Told, drop_rejected, read_commit
from mmap_ninja.engine.edits import Edit
from mmap_ninja.engine.generation import Generation, Identity, Newest, newest
from mmap_ninja.engine.log import Logs, locked, open_log
from mmap_ninja.engine.seen import Seen, Snapshot
from mmap_ninja.errors import (
    CommitUncertainError,
    EditsMovedError,
    GenerationMovedError,
    LockTimeoutError,
    MmapNinjaError,
    ReadOnlyError,
    StaleHandleError,
)
from mmap_ninja.format.meta import Kind, Meta
from mmap_ninja.format.names import BUILD, COMMIT, LOCK, meta_name
from mmap_ninja.format.slots import EDIT_SIZE

Durability = Literal["process", "machine"]
Columns = tuple[Column, ...]
# A batch's bytes for each of the generation's files, and the columns that they fit: those given, or wider ones.
Encode = Callable[[Columns], tuple[Columns, Parts]]

DEFAULT_LOCK_TIMEOUT: Final = 60.0
_SWITCHES: Final = 100  # generations that may be switched under one commit before it gives up


class Dataset:
    """One dataset directory as a handle sees it: a commit, its generation's files, and a log to append to.

    Not thread-safe: the handle above serialises its mutations. What it is `at` changes by one assignment, so that an
    interrupt leaves it at a whole commit.

    Args:
        path: The directory.
        kind: What samples are read and encoded as; None: the dataset's own kind.
        durability: What a commit survives at once.
        lock_timeout: Seconds to wait for other processes' commits.
        build: The BUILD file to commit to instead of COMMIT; its lock is held, and it stays the caller's.
        sync_often: Whether commits are made durable as their bytes add up.
        told: What another process has found out about the commit file.
    """

    def __init__(
        self,
        path: Path,
        kind: Kind | None,
        durability: Durability,
        lock_timeout: float,
        *,
        build: _kernel.File | None = None,
        sync_often: bool = True,
        told: Told | None = None,
    ) -> None:
        self.path = path
        self.kind = kind
        self.durability = durability
        self.lock_timeout = lock_timeout
        self._build = build
        self._name = COMMIT if build is None else BUILD
        self._sync_often = sync_often
        self._logs = Logs(path, self._name, lock_timeout, partial(_flush, path, durability, lock_timeout))
        self._is_behind = False  # whether a commit was made that is not seen yet
        self._seen = self._checked(newest(path, self._name, look=told))

    def _checked(self, found: Newest) -> Seen:
        # A replace may change the kind: nothing of the old one may be read as, or appended to, the new.
        kind = found.generation.meta.kind
        check_kind(self.path, kind, self.kind)
        self.kind = kind
        return Seen(found.slot, found.generation, found.extents)

    @property
    def seen(self) -> Seen:
        """The commit that this is at: the one that it made last, or has moved to."""
        if self._is_behind:
            self.refresh()
        log, seen = self._logs.current, self._seen
        if log is not None and log.seq > seen.seq:  # it has made a commit, or moved to another's
            slot, extents, place = log.made
            edits = seen.edits if place[2] == seen.num_edits else seen.edits_of(slot)
            seen = self._seen = Seen(slot, seen.generation, extents, edits, place)
        return seen

    @property
    def any_descriptor(self) -> int:
        """One of the open files; they lie in one directory."""
        return self._seen.generation.opened[0].fileno()

    @property
    def meta(self) -> Meta:
        """The meta of the generation that this is at."""
        return self.seen.meta

    @property
    def snapshot(self) -> Snapshot:
        """What this is at."""
        return self.seen.snapshot

    def refresh(self) -> CommitFile:
        """Move to the newest commit; gives the commit file that it was found in."""
        before = self._seen
        look = before.generation.commit.looked if before.generation.commit is not None else None
        found = newest(self.path, self._name, before.generation, look)
        seen: Seen | None = None
        if found.generation is before.generation:
            slot, extents = found.slot, found.extents
            if slot.is_same(before.slot):
                seen = before
            elif before.is_followed_by(found):
                seen = Seen(slot, before.generation, extents, before.edits_of(slot))
            else:  # a backup was restored in place
                found = newest(self.path, self._name, look=look)
        if seen is None:
            self._logs.drop()
            seen = self._checked(found)
        self._is_behind = False
        self._seen = seen
        return found.commit

    def pin(self, identity: Identity) -> None:
        """Go back to an earlier commit of the same generation.

        Raises:
            StaleHandleError: if the dataset no longer holds it.
        """
        self._seen = self.seen.at(identity)

    def commit(
        self,
        encode: Encode,
        rows: int,
        edit: Edit | None = None,
        looked_in: Seen | None = None,
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
            looked_in: The commit in which these samples were looked up, where that is known.
            durable: Whether to wait until it is safe against power loss.
            flags: What the commit marks the dataset with.
            alone: Whether what others did since is an error.

        Raises:
            StaleHandleError: if the dataset was deleted, or others changed it where that is an error, or the samples
                that are to be edited.
        """
        durable |= self.durability == "machine"
        begun = self.seen if alone else None
        expected_rows = None if begun is None else begun.rows
        expected_edits: int | None = None
        lines = edit.lines() if edit else b""
        encoded: tuple[Columns, Parts] | None = None
        # Each step that finds that others have come in between, or that makes way for the commit, begins anew.
        for _ in range(_SWITCHES):
            seen = self.seen
            if begun is not None and seen.meta.uuid != begun.meta.uuid:
                raise StaleHandleError(f"{self.path}: was replaced during this build, whose batches are gone")
            columns = seen.generation.meta.columns
            if edit is not None:  # with a look at the edits that others made since the caller's
                seen.check(edit, looked_in)
                expected_edits = seen.num_edits
            if encoded is None or encoded[0] != columns:
                try:
                    encoded = encode(columns)
                except (TypeError, ValueError):
                    if self._have_changed(columns):
                        continue
                    raise
            log = self._logs.current
            if encoded[0] != columns:
                self.change_columns(encoded[0])
            elif log is None:
                self._start_writing()
            else:
                parts = _with_lines(encoded[1], lines, seen.meta) if lines else encoded[1]
                edits = len(lines) // EDIT_SIZE
                if self._append(log, seen, parts, rows, edits, flags, durable, expected_rows, expected_edits):
                    return
        raise StaleHandleError(f"{self.path}: was changed {_SWITCHES} times during one commit; nothing was written")

    def _have_changed(self, columns: Columns) -> bool:
        """Whether others have changed the columns that a batch does not fit."""
        with suppress(MmapNinjaError):  # the batch is what is wrong
            self.refresh()
        return self.meta.columns != columns

    def _append(
        self,
        log: _kernel.Log,
        seen: Seen,
        parts: Parts,
        rows: int,
        edits: int,
        flags: int,
        durable: bool,
        expected_rows: int | None,
        expected_edits: int | None,
    ) -> bool:
        """Commit by the log, on top of what was seen; False where others were faster, to whose commit this moves."""
        base, timeout = seen.base, self.lock_timeout
        try:
            log.commit(parts, rows, edits, flags, durable, expected_rows, expected_edits, base, False, timeout)
        except LockTimeoutError:
            raise files.lock_timeout(self.path / LOCK, self.lock_timeout) from None
        except GenerationMovedError:
            self._logs.drop()
        except EditsMovedError:
            self.refresh()
        except StaleHandleError:  # what is at the path is another one, or others came in between
            self._logs.drop()
            raise
        else:
            return True
        return False

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
            with locked(self.path, self.lock_timeout) as lock:
                self.refresh()
                seen = self.seen
                slot = seen.slot.copy()
                if (slot.rows, slot.edits) != (slot.durable_rows, slot.durable_edits):
                    continue  # another process appended since the flush
                changed = change()
                if changed is None:
                    return
                with self._commit_file() as commit_file:
                    if not lock.is_at(str(self.path / LOCK)):
                        continue  # another directory has taken the place of the one that is locked
                    drop_rejected(read_commit(self.path, self._name), slot)
                    evolve(seen.generation, slot, changed, commit_file, self._name, lock)
                self._is_behind = True  # what fails from here on is no error of the change
                return
        raise StaleHandleError(f"{self.path}: others appended without end; nothing was written")

    def flush(self) -> None:
        """Make all that is committed safe against power loss."""
        try:
            self.commit(nothing, 0, durable=True)
        except ReadOnlyError:
            if not self.acknowledge():
                raise
        self._logs.pay()

    def acknowledge(self) -> bool:
        """Wait until the newest commit is on the medium, writing nothing; False if it is not durable.

        Whoever wrote its slot may have died before it was.
        """
        self.refresh()
        seen, commit = self.seen, read_commit(self.path, self._name)
        if commit.suspect:
            raise CommitUncertainError(
                f"{self.path}: a sync of this dataset failed before, so its last commits may be lost at a power loss: "
                "see mmap_ninja.recover, or rebuild it from its source"
            )
        if not seen.slot.durable:
            return False
        with files.open_read(self.path / meta_name(seen.meta.generation)) as meta:
            descriptors = [*seen.generation.descriptors, meta.fileno()]
            _kernel.settle(commit.file, commit.path, str(self.path), descriptors)
        return True

    def abandon(self) -> None:
        """Let go of the logs, and of a lock that they hold, whatever they owe."""
        self._logs.abandon()

    def close(self) -> None:
        """Make this handle's commits durable, and let go of the logs."""
        self._logs.close()

    def _commit_file(self) -> AbstractContextManager[_kernel.File]:
        """The open commit file, while whoever asks holds the lock."""
        return nullcontext(self._build) if self._build is not None else files.open_write(f"{self.path}/{self._name}")

    def _start_writing(self) -> None:
        """Open a log to append by, with a look at what is the newest commit under the lock."""
        with locked(self.path, self.lock_timeout) as lock:
            directory.finish_upgrade(self.path)
            commit, seen = self.refresh(), self._seen
            drop_rejected(commit, seen.slot)
            with self._commit_file() as commit_file:
                log = open_log(
                    seen.generation,
                    seen.slot,
                    commit_file,
                    lock if self._build is None else None,  # the lock of a BUILD is its own, and held all the time
                    commit.next_seq(),
                    sync_often=self._sync_often,
                )
                if not files.stays_itself(commit_file.fileno()):
                    # Those that are open were opened before there was a writer.
                    generation = Generation.open(self.path, seen.slot, commit)
                    accepted = seen.slot.seq, seen.slot.digest
                    commit.looked = Look(commit, commit.slots[0][1].seq, accepted, commit.slots)
                    self._seen = Seen(seen.slot, generation, seen.extents, seen.edits)
                self._logs.begin(log)


def _flush(path: Path, durability: Durability, lock_timeout: float) -> None:
    Dataset(path, None, durability, lock_timeout).flush()


def _with_lines(parts: Parts, lines: bytes, meta: Meta) -> Parts:
    return (*parts, *(None,) * (meta.edits_index - len(parts)), lines)


def check_kind(path: Path, found: Kind, asked: Kind | None) -> None:
    """Raise TypeError if a dataset is of another kind than the class that opens it."""
    if asked not in (None, found):
        raise TypeError(f"{path}: holds {found}, not {asked}; mmap_ninja.open finds the class by itself")


def nothing(columns: Columns) -> tuple[Columns, Parts]:
    """An empty batch."""
    return columns, ()
