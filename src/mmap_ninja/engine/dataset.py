"""The commit engine of one dataset: what a handle sees, and how it commits."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Final, Literal

from mmap_ninja import _kernel
from mmap_ninja.columns.batch import Parts
from mmap_ninja.columns.types import Column, Ragged
from mmap_ninja.engine import directory, files
from mmap_ninja.engine.change import Change, evolve
from mmap_ninja.engine.commit_file import CommitFile, Look, Told, drop_rejected, read_commit
from mmap_ninja.engine.edits import Edit
from mmap_ninja.engine.generation import Generation, Identity, Newest, newest
from mmap_ninja.engine.log import Logs, locked, open_log
from mmap_ninja.engine.publish import Target
from mmap_ninja.engine.seen import Seen, Snapshot
from mmap_ninja.errors import (
    BeingBuiltError,
    CommitUncertainError,
    EditsMovedError,
    GenerationMovedError,
    LockTimeoutError,
    MmapNinjaError,
    ReadOnlyError,
    StaleHandleError,
)
from mmap_ninja.format.meta import Kind, Meta
from mmap_ninja.format.names import COMMIT, LOCK, meta_name
from mmap_ninja.format.slots import EDIT_SIZE

Durability = Literal["process", "machine"]
Columns = tuple[Column, ...]
# Returns the columns that a batch fits (those given, or wider ones), and its bytes for each file.
Encode = Callable[[Columns], tuple[Columns, Parts]]

DEFAULT_LOCK_TIMEOUT: Final = 60.0
_SWITCHES: Final = 100  # a commit gives up after so many switches of the generation


class Dataset:
    """A dataset directory as a handle sees it: a commit, the files of its generation, and a log for appending.

    Not thread-safe: the handle serialises its mutations. The commit changes by one assignment, so that an interrupt
    always leaves it at a whole one.

    Args:
        path: The directory.
        kind: The expected kind; None: any.
        durability: What a commit survives when it returns.
        lock_timeout: Seconds to wait for other processes' commits.
        build: The commit file of the build that this is for, whose lock the caller holds; None: this is for no build.
        sync_often: Whether to sync whenever enough bytes were written.
        told: What another process found out about the commit file.
    """

    def __init__(
        self,
        path: Path,
        kind: Kind | None,
        durability: Durability,
        lock_timeout: float,
        *,
        build: Target | None = None,
        sync_often: bool = True,
        told: Told | None = None,
    ) -> None:
        self.path = path
        self.kind = kind
        self.durability = durability
        self.lock_timeout = lock_timeout
        self._build = build
        self._name = COMMIT if build is None else build.name
        self._sync_often = sync_often
        self._logs = Logs(path, self._name, lock_timeout, partial(_flush, path, durability, lock_timeout))
        self._is_behind = False  # whether this made a commit that `_seen` does not show yet
        self._seen = self._checked(newest(path, self._name, look=told))

    def _checked(self, found: Newest) -> Seen:
        # A replacement may have another kind, which a handle of the old kind must neither read nor append to.
        kind = found.generation.meta.kind
        check_kind(self.path, kind, self.kind)
        self.kind = kind
        return Seen(found.slot, found.generation, found.extents)

    @property
    def seen(self) -> Seen:
        """The current commit: the one that this made last, or moved to."""
        if self._is_behind:
            self.refresh()
        log, seen = self._logs.current, self._seen
        if log is not None and log.seq > seen.seq:  # the log made a commit, or moved to one of another process
            slot, extents, place = log.made
            edits = seen.edits if place[2] == seen.num_edits else seen.edits_of(slot)
            seen = self._seen = Seen(slot, seen.generation, extents, edits, place)
        return seen

    @property
    def any_descriptor(self) -> int:
        """The descriptor of an open file; all are in one directory."""
        return self._seen.generation.files[-1].fileno()

    @property
    def meta(self) -> Meta:
        """The meta of the current generation."""
        return self.seen.meta

    @property
    def snapshot(self) -> Snapshot:
        """The current commit, for views and pickles."""
        return self.seen.snapshot

    def refresh(self) -> CommitFile:
        """Move to the newest commit; returns the commit file that holds it."""
        before = self._seen
        look = before.generation.commit.looked if before.generation.commit is not None else None
        found = newest(self.path, self._name, before.generation, look)
        seen: Seen | None = None
        if found.generation is before.generation:
            slot, extents = found.slot, found.extents
            if slot.is_same(before.slot):
                seen = before
            elif self._goes_on(before, found):
                seen = Seen(slot, before.generation, extents, before.edits_of(slot))
            else:  # a backup was restored in place, or the generation was switched meanwhile
                found = newest(self.path, self._name, look=look)
        if seen is None:
            self._logs.drop()
            seen = self._checked(found)
        self._is_behind = False
        self._seen = seen
        return found.commit

    @staticmethod
    def _goes_on(before: Seen, found: Newest) -> bool:
        try:
            return before.is_followed_by(found)
        except StaleHandleError:  # its files were removed
            return False

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
            encode: Encodes the batch; called again if the columns have changed meanwhile. Offsets count from the start
                of the batch.
            rows: The number of samples in the batch.
            edit: Samples to delete or replace in the same commit; if it replaces, the samples of the batch take their
                places instead of the end.
            looked_in: The commit in which these samples were looked up, if known.
            durable: Whether to wait until the commit is safe against power loss.
            flags: Flags that the commit sets.
            alone: Whether commits of others since the last look are an error.

        Raises:
            StaleHandleError: if the dataset was deleted, or others changed the samples to edit, or anything if `alone`.
        """
        durable |= self.durability == "machine"
        begun = self.seen if alone else None
        expected_rows = None if begun is None else begun.rows
        expected_edits: int | None = None
        lines = edit.lines() if edit else b""
        encoded: tuple[Columns, Parts] | None = None
        # A step that finds changes of others, or changes the columns for the batch, starts the loop again.
        for _ in range(_SWITCHES):
            seen = self.seen
            if begun is not None and seen.meta.uuid != begun.meta.uuid:
                raise StaleHandleError(
                    f"{self.path}: the dataset was replaced during this build, and the batches of the build are lost; "
                    "build it again"
                )
            meta = seen.generation.meta
            columns = seen.columns if meta.undeclared else meta.columns
            if edit is not None:  # including edits that others made meanwhile
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
        raise StaleHandleError(
            f"{self.path}: others changed the dataset {_SWITCHES} times during one commit; nothing was written: try "
            "again"
        )

    def _have_changed(self, columns: Columns) -> bool:
        """Whether others have changed the columns, after a batch did not fit them."""
        with suppress(MmapNinjaError):  # raise the error of the batch instead
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
        """Commit through the log, after the current commit; if others were faster, move to their commit: False."""
        base, timeout = seen.base, self.lock_timeout
        try:
            log.commit(parts, rows, edits, flags, durable, expected_rows, expected_edits, base, False, timeout)
        except LockTimeoutError:
            raise files.lock_timeout(self.path / LOCK, self.lock_timeout) from None
        except BeingBuiltError:
            raise directory.being_built(self.path, COMMIT) from None
        except GenerationMovedError:
            self._logs.drop()
        except EditsMovedError:
            self.refresh()
        except StaleHandleError:  # the dataset at the path is another one, or others committed
            self._logs.drop()
            raise
        else:
            return True
        return False

    def change_columns(self, columns: Columns) -> None:
        """Change the columns in a way that the files fit.

        If others changed the columns meanwhile, or replaced the dataset, this only moves to their commit.
        """
        before = self.meta.uuid, self.meta.columns

        def change() -> Change | None:
            seen = self.seen
            # Others may have stored the first element meanwhile, without a change of the columns.
            if (seen.meta.uuid, seen.meta.columns) != before or _changes_dtype(seen.columns, columns):
                return None
            return Change(columns)

        self.evolve(change)

    def evolve(self, change: Callable[[], Change | None]) -> None:
        """Make a new generation from the newest commit, durably, and move to it.

        `change` returns how it differs, or None for no new generation. It is called under the lock, when this is at the
        newest commit and that is durable.
        """
        for _ in range(_SWITCHES):
            self.flush()
            with locked(self.path, self.lock_timeout) as lock:
                self.refresh()
                seen = self.seen
                slot = seen.slot.copy()
                if self._build is None:
                    directory.refuse_builder(self.path, slot)
                if (slot.rows, slot.edits) != (slot.durable_rows, slot.durable_edits):
                    continue  # another process appended since the flush
                changed = change()
                if changed is None:
                    return
                with self._target() as target:
                    if not lock.is_at(str(self.path / LOCK)):
                        continue  # another directory is at the path of the locked one
                    drop_rejected(read_commit(self.path, self._name), slot)
                    evolve(seen.generation, slot, changed, target, lock)
                self._is_behind = True  # the change is made: errors from here on only concern seeing it
                return
        raise StaleHandleError(f"{self.path}: others kept appending; nothing was changed: try again")

    def flush(self) -> None:
        """Make all commits safe against power loss."""
        try:
            self.commit(nothing, 0, durable=True)
        except ReadOnlyError:
            if not self.acknowledge():
                raise
        self._logs.pay()

    def acknowledge(self) -> bool:
        """Wait until the newest commit is on the disk, without writing; False if it is not durable.

        Its writer may have died before its slot was synced.
        """
        self.refresh()
        seen, commit = self.seen, read_commit(self.path, self._name)
        if commit.suspect:
            raise CommitUncertainError(
                f"{self.path}: a sync of this dataset failed before, so its last commits may be lost at a power loss: "
                "use mmap_ninja.recover, or rebuild it from its source"
            )
        if not seen.slot.durable:
            return False
        with files.open_read(self.path / meta_name(seen.meta.generation)) as meta:
            _kernel.settle(commit.file, commit.path, str(self.path), [*seen.generation.all_opened(), meta])
        return True

    def abandon(self) -> None:
        """Drop the logs, and a lock that they hold, without making their commits durable."""
        self._logs.abandon()

    def close(self) -> None:
        """Make this handle's commits durable, and drop the logs."""
        self._logs.close()

    @contextmanager
    def _target(self) -> Iterator[Target]:
        """The commit file to write to; the caller holds the lock."""
        if self._build is not None:
            yield self._build
            return
        with files.Scope() as scope:
            yield Target(COMMIT, scope.hold(files.open_write(f"{self.path}/{COMMIT}")), scope)

    def _start_writing(self) -> None:
        """Open a log for appending, after looking for the newest commit under the lock."""
        with locked(self.path, self.lock_timeout) as lock:
            directory.finish_upgrade(self.path)
            commit, seen = self.refresh(), self._seen
            drop_rejected(commit, seen.slot)
            with self._target() as target:
                if not files.stays_itself(target.file.fileno()):
                    # Open the files again: the open ones are from before there was a writer.
                    generation = Generation.open(self.path, seen.slot, commit)
                    accepted = seen.slot.seq, seen.slot.digest
                    commit.looked = Look(commit, commit.slots[0][1].seq, accepted, commit.slots)
                    self._seen = seen = Seen(seen.slot, generation, seen.extents, seen.edits)
                log = open_log(
                    seen.generation,
                    seen.slot,
                    target.file,
                    lock if target.name == COMMIT else None,  # BUILD has no other writers
                    commit.next_seq(),
                    sync_often=self._sync_often,
                    builds=self._build is not None,
                )
                self._logs.begin(log)


def _changes_dtype(before: Columns, after: Columns) -> bool:
    """Whether a ragged column would get another dtype, though elements are stored."""
    kinds = {column.id: column.type for column in after}
    for column in before:
        old, new = column.type, kinds.get(column.id)
        if not isinstance(old, Ragged) or not isinstance(new, Ragged) or old.undecided:
            continue
        if old.dtype is not None and new.dtype != old.dtype:
            return True
    return False


def _flush(path: Path, durability: Durability, lock_timeout: float) -> None:
    Dataset(path, None, durability, lock_timeout).flush()


def _with_lines(parts: Parts, lines: bytes, meta: Meta) -> Parts:
    return (*parts, *(None,) * (meta.edits_index - len(parts)), lines)


def check_kind(path: Path, found: Kind, asked: Kind | None) -> None:
    """Raise TypeError if a dataset is of another kind than the class that opens it."""
    if asked not in (None, found):
        raise TypeError(
            f"{path}: expected a dataset of kind {asked!r}, found {found!r}; mmap_ninja.open finds the class by itself"
        )


def nothing(columns: Columns) -> tuple[Columns, Parts]:
    """An empty batch."""
    return columns, ()
