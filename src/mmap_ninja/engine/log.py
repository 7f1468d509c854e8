"""The writing side of the engine: the lock of a dataset, and the kernel's logs, which append to generations."""

from collections.abc import Callable
from pathlib import Path

from mmap_ninja import _kernel
from mmap_ninja.columns.batch import Parts
from mmap_ninja.engine import files
from mmap_ninja.engine.generation import Generation, stale
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
    """Lock a dataset; the returned LOCK is for a with statement, whose end releases it."""
    lock_path = f"{path}/{LOCK}"
    try:
        return files.lock(lock_path, timeout) or _refuse(lock_path, timeout)
    except FileNotFoundError:
        if not path.is_dir():
            raise NotADatasetError(
                f"{path}: the dataset is no longer at this path: it was moved or deleted; nothing was written: open it "
                "where it is now, or create it again"
            ) from None
        raise NotADatasetError(
            f"{lock_path}: is missing, so nothing can be written; create it as an empty file"
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
    builds: bool,
) -> _kernel.Log:
    """A log that appends to a generation, whose files stay open for writing.

    Args:
        generation: The generation.
        slot: Its newest commit.
        commit_file: The open commit file.
        lock: The lock that is held; None if there are no other writers.
        next_seq: The first unused commit number.
        sync_often: Whether to sync whenever enough bytes were written.
        builds: Whether this process builds the dataset, and holds the lock of the commit file.

    Raises:
        StaleHandleError: if another directory was put at the path of the dataset.
    """
    path, meta = str(generation.path), generation.meta
    assert generation.commit is not None  # noqa: S101 - there is a commit to append to
    # The directory may be exchanged meanwhile: files for reading, for writing and the lock must be from one.
    opened = generation.open_for_writing()
    if commit_file.identity != generation.commit.identity or (lock is not None and not lock.is_at(f"{path}/{LOCK}")):
        raise stale(generation.path)
    rules = [
        (file.id, int(rule.length), rule.unit, rule.offsets, rule.sealed, of)
        for file, rule, of in zip(meta.files, meta.rules, opened, strict=True)
    ]
    paths = (path, "", "") if lock is None else (path, f"{path}/{LOCK}", f"{path}/{COMMIT}")
    with files.open_read(f"{path}/{meta_name(meta.generation)}") as of_meta:
        log = _kernel.Log(path, rules, commit_file, lock, of_meta, paths, slot, next_seq, sync_often, builds)
    generation.files = opened
    return log


class Logs:
    """The logs of a handle: the current one, and earlier ones whose commits are not synced yet.

    Args:
        path: The dataset's directory.
        commit_name: The name of their commit file.
        lock_timeout: Seconds to wait for other processes' commits.
        flush: Makes the dataset that is now at the path durable.
    """

    def __init__(self, path: Path, commit_name: str, lock_timeout: float, flush: Callable[[], None]) -> None:
        self.current: _kernel.Log | None = None
        self._owing: tuple[_kernel.Log, ...] = ()
        self._commit_path = f"{path}/{commit_name}"
        self._lock_path = f"{path}/{LOCK}"
        self._lock_timeout = lock_timeout
        self._flush = flush

    def begin(self, log: _kernel.Log) -> None:
        """Use a new log; it takes over the syncs that earlier logs still owe to the same commit file.

        Otherwise their files would have to stay open, more with every generation.
        """
        paid = [other for other in self._owing if other.writes_to(self._commit_path)]
        log.owes = log.owes or bool(paid)
        self.current = log
        if paid:
            self._owing = tuple(other for other in self._owing if other not in paid)
            for other in paid:
                other.close()

    def drop(self) -> None:
        """Stop using the current log; `pay` makes its commits durable."""
        log = self.current
        if log is not None:
            if log.owes:
                self._owing = (*self._owing, log)
            self.current = None
            if not log.owes:
                log.close()

    def abandon(self) -> None:
        """Drop all logs, and a lock that they hold, without making their commits durable."""
        logs, self.current, self._owing = (*self._owing, self.current), None, ()
        for log in logs:
            if log is not None:
                log.close()

    def pay(self) -> None:
        """Make the commits of earlier logs durable."""
        for log in self._owing:
            self._make_durable(log)
            self._owing = tuple(other for other in self._owing if other is not log)
            log.close()

    def close(self) -> None:
        """Make the commits of all logs durable, and drop the logs."""
        self.drop()
        try:
            self.pay()
        except (OSError, MmapNinjaError):
            self.abandon()
            raise  # after an interrupt, the logs are kept for another close

    def _make_durable(self, log: _kernel.Log) -> None:
        """Make the commits of a log durable, even if its files were moved."""
        if not log.owes:
            return
        nothing_more: Parts = ()
        for anywhere in (False, True):
            try:
                log.commit(nothing_more, 0, 0, 0, True, None, None, None, anywhere, self._lock_timeout)
            except LockTimeoutError:
                raise files.lock_timeout(self._lock_path, self._lock_timeout) from None
            except ForkedHandleError:
                return  # in a forked child: the parent flushes its own commits
            except (GenerationMovedError, StaleHandleError):
                # A process that replaced the dataset, LOCK or commit file may have died before that was durable.
                if log.writes_to(self._commit_path) or log.locks(self._lock_path):
                    self._flush()
                    return
            else:
                return
