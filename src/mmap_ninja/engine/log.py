"""Writing side of the engine: the lock of a dataset, and the kernel's logs, each of which appends to one generation."""

from collections.abc import Callable
from pathlib import Path

from mmap_ninja import _kernel
from mmap_ninja.columns.batch import Parts
from mmap_ninja.engine import files
from mmap_ninja.engine.generation import Generation
from mmap_ninja.errors import (
    ForkedHandleError,
    GenerationMovedError,
    LockTimeoutError,
    MmapNinjaError,
    NotADatasetError,
    StaleHandleError,
)
from mmap_ninja.format.names import COMMIT, LOCK, meta_name


def locked(path: Path, timeout: float) -> _kernel.File:
    """A dataset's LOCK, held: for a with statement at once, at whose end it is let go of."""
    lock_path = f"{path}/{LOCK}"
    try:
        return files.lock(lock_path, timeout) or _refuse(lock_path, timeout)
    except FileNotFoundError:
        if not path.is_dir():
            raise NotADatasetError(f"{path}: was deleted; nothing was written") from None
        raise NotADatasetError(
            f"{lock_path}: is missing, so nothing can be written; restore it as an empty file"
        ) from None


def _refuse(lock_path: str, timeout: float) -> _kernel.File:
    raise files.lock_timeout(lock_path, timeout)


def open_log(
    generation: Generation,
    slot: _kernel.Slot,
    commit_file: _kernel.File,
    lock: _kernel.File | None,
    next_seq: int,
    *,
    sync_often: bool,
) -> _kernel.Log:
    """A log that appends to a generation. Without a `lock` nobody else writes.

    Raises:
        StaleHandleError: if another directory has been put in the place of the dataset's.
    """
    path, meta = str(generation.path), generation.meta
    opened = [files.open_write(f"{path}/{file.name}") for file in meta.files]
    # What is open for reading, for writing, and locked must be of one directory: another one can take its place.
    assert generation.commit is not None  # noqa: S101 - a commit is appended to
    known = [generation.commit.file, *generation.opened]
    if files.identities([commit_file, *opened]) != files.identities(known) or (
        lock is not None and not lock.is_at(f"{path}/{LOCK}")
    ):
        raise StaleHandleError(
            f"{path}: another directory has taken the place of the dataset's; nothing was written: do it again"
        )
    rules = [
        (file.id, int(rule.length), rule.unit, rule.offsets, rule.sealed, of)
        for file, rule, of in zip(meta.files, meta.rules, opened, strict=True)
    ]
    paths = (path, "", "") if lock is None else (path, f"{path}/{LOCK}", f"{path}/{COMMIT}")
    with files.open_read(f"{path}/{meta_name(meta.generation)}") as of_meta:
        return _kernel.Log(path, rules, commit_file, lock, of_meta, paths, slot, next_seq, sync_often)


class Logs:
    """The logs of one handle: the one that it appends by, and earlier ones, whose commits are still to be synced.

    Args:
        path: The dataset's directory.
        commit_name: The commit file that they write to.
        lock_timeout: Seconds to wait for other processes' commits.
        flush: Makes durable what is at the path now, whoever put it there.
    """

    def __init__(self, path: Path, commit_name: str, lock_timeout: float, flush: Callable[[], None]) -> None:
        self.current: _kernel.Log | None = None
        self._owing: tuple[_kernel.Log, ...] = ()
        self._commit_path = f"{path}/{commit_name}"
        self._lock_path = f"{path}/{LOCK}"
        self._lock_timeout = lock_timeout
        self._flush = flush

    def begin(self, log: _kernel.Log) -> None:
        """Write by a new log, and let it owe what earlier ones have committed to the same file, which it goes on from.

        Their files need not stay open, then, of which there would be more with every generation.
        """
        paid = [other for other in self._owing if other.writes_to(self._commit_path)]
        log.owes = log.owes or bool(paid)
        self.current = log
        if paid:
            self._owing = tuple(other for other in self._owing if other not in paid)
            for other in paid:
                other.close()

    def drop(self) -> None:
        """Let go of the current log, as it is; `pay` makes durable what it owes."""
        log = self.current
        if log is not None:
            if log.owes:
                self._owing = (*self._owing, log)
            self.current = None
            if not log.owes:
                log.close()

    def abandon(self) -> None:
        """Let go of all of them, and of a lock that they hold, whatever they owe."""
        logs, self.current, self._owing = (*self._owing, self.current), None, ()
        for log in logs:
            if log is not None:
                log.close()

    def pay(self) -> None:
        """Make durable what earlier logs have committed."""
        for log in self._owing:
            self._make_durable(log)
            self._owing = tuple(other for other in self._owing if other is not log)
            log.close()

    def close(self) -> None:
        """Make durable what all of them have committed, and let go of them."""
        self.drop()
        try:
            self.pay()
        except (OSError, MmapNinjaError):
            self.abandon()
            raise  # but after an interrupt, the debts are for whoever closes again

    def _make_durable(self, log: _kernel.Log) -> None:
        """Make durable what a log has committed, wherever its files are now."""
        if not log.owes:
            return
        nothing_more: Parts = ()
        for anywhere in (False, True):
            try:
                log.commit(nothing_more, 0, 0, 0, True, None, None, None, anywhere, self._lock_timeout)
            except LockTimeoutError:
                raise files.lock_timeout(self._lock_path, self._lock_timeout) from None
            except ForkedHandleError:
                return  # they are the parent's commits, and its to flush
            except (GenerationMovedError, StaleHandleError):
                # Whoever replaced them, their LOCK or their commit file may have died before that was durable.
                if log.writes_to(self._commit_path) or log.locks(self._lock_path):
                    self._flush()
                    return
            else:
                return
