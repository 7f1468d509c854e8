"""The commit engine of one dataset directory: open, append, make durable, switch generation."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from mmap_ninja import _kernel, files, format
from mmap_ninja.errors import (
    CommitUncertainError,
    CorruptDatasetError,
    ForkedHandleError,
    GenerationMovedError,
    LockTimeoutError,
    NotADatasetError,
    StaleHandleError,
)
from mmap_ninja.format import Meta
from mmap_ninja.generation import CommitFile, Generation, newest, read_commit

Durability = Literal["process", "machine"]
Parts = tuple[bytes | None, ...]  # per file of the generation, in its order; files beyond the last do not grow
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
            except StaleHandleError:
                self._slot, self._log = (
                    self.slot,
                    None,
                )  # of files that were deleted; the next commit opens the new ones
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


@contextmanager
def locked(path: Path, timeout: float) -> Iterator[int]:
    """Hold a dataset's LOCK; gives its descriptor, which is closed at the end."""
    lock_path = path / format.LOCK
    while True:
        try:
            fd = files.open_write(lock_path)
        except FileNotFoundError:
            if not path.is_dir():
                raise NotADatasetError(f"{path}: was deleted; nothing was written") from None
            raise NotADatasetError(
                f"{lock_path}: is missing, so nothing can be written; restore it as an empty file"
            ) from None
        try:
            with files.locked(fd, lock_path, timeout):
                if files.is_at(fd, lock_path):
                    yield fd
                    return
        finally:
            os.close(fd)


def log_commit(
    log: _kernel.Log,
    path: Path,
    timeout: float,
    parts: Parts = (),
    rows: int = 0,
    *,
    flags: int = 0,
    durable: bool = False,
    expected_rows: int | None = None,
) -> tuple[int, list[int]]:
    """One commit; returns the rows and the extents of the files after it.

    Raises:
        LockTimeoutError: if another process held the lock; it is named where the system tells.
    """
    try:
        return log.commit(parts, rows, 0, flags, durable, expected_rows, timeout)
    except LockTimeoutError:
        raise files.lock_timeout(path / format.LOCK, timeout) from None


def open_log(
    generation: Generation,
    slot: _kernel.Slot,
    commit_fd: int,
    lock_fd: int,
    next_seq: int,
    *,
    sync_often: bool,
) -> _kernel.Log:
    """A log that appends to a generation; takes the two descriptors over. A `lock_fd` of -1: nobody else writes."""
    descriptors: list[int] = []
    try:
        descriptors.extend(files.open_write(generation.path / file.name) for file in generation.meta.files)
    except BaseException:
        for descriptor in (*descriptors, commit_fd, *((lock_fd,) if lock_fd >= 0 else ())):
            os.close(descriptor)
        raise
    rules = [
        (file.id, int(extent.rule), extent.unit, extent.offsets, descriptor)
        for file, extent, descriptor in zip(generation.meta.files, generation.meta.extents(), descriptors, strict=True)
    ]
    return _kernel.Log(str(generation.path), rules, commit_fd, lock_fd, slot, next_seq, sync_often)


def drop_rejected(commit_path: Path, commit: CommitFile, accepted: _kernel.Slot) -> None:
    """Zero the slots that are newer than the accepted one: their data did not survive. Under the lock."""
    if commit.suspect:
        raise CommitUncertainError(
            f"{commit_path}: a sync of this dataset failed before, so its last commits may be lost; it can be read but "
            "not appended to: rebuild it from its source"
        )
    rejected = [place for place, slot in commit.slots if slot.seq > accepted.seq]
    if rejected:
        fd = files.open_write(commit_path)
        try:
            for place in rejected:
                files.write(fd, bytes(_kernel.SLOT_SIZE), place * _kernel.SLOT_STRIDE, commit_path)
        finally:
            os.close(fd)


def is_vacant(path: Path) -> bool:
    """Whether a dataset could be made at a path: it is missing, or an empty directory."""
    if not path.exists():
        return True
    if not path.is_dir() or _orphans(path):
        return False
    return all(map(format.is_own_name, names := files.names(path))) and format.COMMIT not in names


def create(path: Path, kind: format.Kind, metadata: dict[str, Any], *, complete: bool, timeout: float) -> bool:
    """Make an empty dataset at a path that holds none, durably; returns False if another process was faster.

    Raises:
        NotADatasetError: if the directory holds files that are no dataset's.
    """
    if (path / format.COMMIT).exists():
        return False
    files.make_directories(path)
    refuse_foreign(path)
    with _make_lock(path, timeout):
        if (path / format.COMMIT).exists():
            return False
        if orphans := _orphans(path):
            raise CorruptDatasetError(
                f"{path}: holds samples in {orphans[:5]} but no {format.COMMIT} file that says how many; restore it "
                "from a copy, or move these files away"
            )
        drop_build(path)  # the empty files of a creation that was interrupted
        flags = _kernel.COMPLETE if complete else 0
        os.close(start_generation(path, kind, metadata, format.COMMIT, flags))
        files.sync_directory(path.parent)
    return True


def _orphans(path: Path) -> list[str]:
    """The files with samples in a directory without commit file: no interrupted creation leaves them."""
    if (path / format.COMMIT).exists():
        return []
    return [name for name in files.names(path) if format.holds_samples(name, (path / name).stat().st_size)]


def refuse_foreign(path: Path) -> None:
    """Raise if a directory holds files that are not a dataset's: they would be taken for, or lost with, its own."""
    foreign = [name for name in files.names(path) if not format.is_own_name(name)]
    if foreign:
        raise NotADatasetError(
            f"{path}: holds files that are no dataset's, {foreign[:5]} for example; choose a path of its own, or move "
            "them away"
        )


def start_generation(path: Path, kind: format.Kind, metadata: dict[str, Any], commit_name: str, flags: int) -> int:
    """Write the files of a new, empty generation, and a commit file that names it; under the lock.

    Returns the open descriptor of the commit file, which holds its lock.
    """
    taken = [format.generation_of(name) or 0 for name in files.names(path)]
    meta = format.new_meta(kind, max(taken, default=0) + 1, uuid.uuid4().bytes, metadata)
    encoded = meta.encode()
    contents = {file.name: format.FIRST_OFFSET if file.role == "offsets" else b"" for file in meta.files}
    contents[format.meta_name(meta.generation)] = encoded
    for name, content in contents.items():
        fd = files.create(path / name)
        try:
            files.write(fd, content, 0, path / name)
            files.sync(fd, path / name)
        finally:
            os.close(fd)

    # Temp and rename: whoever sees the commit file sees it whole. The lock is taken before it can be seen.
    new_path = path / f"{commit_name}.new"
    files.remove(new_path)
    fd = files.create(new_path)
    try:
        slot = _kernel.Slot()
        slot.seq, slot.generation, slot.flags = 1, meta.generation, flags
        slot.uuid, slot.meta_digest = meta.uuid, _kernel.xxh64(encoded)
        slot.boot, (slot.device, slot.inode) = files.boot_id(), files.identity(fd)
        offsets = [file for file in meta.files if file.role == "offsets"]
        slot.digest = sum(_kernel.xxh64(format.FIRST_OFFSET, file.id << 48) for file in offsets) % 2**64
        files.try_lock(fd, new_path)
        files.write(fd, _all_slots(slot), 0, new_path)
        files.sync(fd, new_path)
        files.rename(new_path, path / commit_name)
        files.sync_directory(path)
    except BaseException:
        os.close(fd)
        raise
    return fd


def replace(path: Path, slot: _kernel.Slot, timeout: float) -> None:
    """Make the finished BUILD's commit the dataset's newest, durably, and remove what it replaces."""
    with locked(path, timeout):
        commit = read_commit(path)
        commit_path = path / format.COMMIT
        fd = files.open_write(commit_path)
        try:
            slot.seq = commit.next_seq()
            slot.boot, (slot.device, slot.inode) = files.boot_id(), files.identity(fd)
            older = {place: placed.seq for place, placed in commit.slots}
            first, second = sorted((2, 3), key=lambda place: older.get(place, 0))
            # The durable slot that is overwritten is the older one, and the other only once this is on the medium.
            _write_slot(fd, first, slot, commit_path)
            try:
                files.sync(fd, commit_path)
                for place in (0, 1, second):
                    _write_slot(fd, place, slot, commit_path)
                files.sync(fd, commit_path)
            except OSError as error:
                raise CommitUncertainError(
                    f"{commit_path}: switching to the finished build failed half way ({error}): whether it survives a "
                    "power loss is unknown; check the disk, then build again with if_exists='resume'"
                ) from None
        finally:
            os.close(fd)
        drop_build(path)


def finish_switch(path: Path) -> None:
    """End a `replace` that was interrupted after its first slot; under the lock."""
    commit_path = path / format.COMMIT
    place, slot = next(placed for placed in read_commit(path).slots if placed[1].durable)
    fd = files.open_write(commit_path)
    try:
        # Written again, so that the sync has something to do: an earlier one may have failed, which is told only once.
        _write_slot(fd, place, slot, commit_path)
        files.sync(fd, commit_path)
    finally:
        os.close(fd)
    drop_build(path)


def drop_build(path: Path) -> None:
    """Remove BUILD and the files that only it names; under the lock."""
    files.remove(path / format.BUILD)
    remove_unnamed(path)


def remove_unnamed(path: Path) -> None:
    """Unlink the files that no slot of COMMIT or BUILD names; under the lock."""
    kept = set()
    for commit_name in (format.COMMIT, format.BUILD):
        if (path / commit_name).exists():
            for generation in {slot.generation for _, slot in read_commit(path, commit_name).slots}:
                meta_path = path / format.meta_name(generation)
                meta = format.decode_meta(files.read(meta_path, format.META_SIZE_LIMIT), str(meta_path))
                kept |= {meta_path.name, *(file.name for file in meta.files)}
    for name in files.names(path):
        if format.generation_of(name) is not None and name not in kept:
            files.remove(path / name)


def _write_slot(fd: int, place: int, slot: _kernel.Slot, commit_path: Path) -> None:
    slot.durable = place >= 2
    files.write(fd, _kernel.encode_slot(slot), place * _kernel.SLOT_STRIDE, commit_path)


def _all_slots(slot: _kernel.Slot) -> bytes:
    pages = []
    for place in range(_kernel.SLOTS):
        slot.durable = place >= 2
        pages.append(_kernel.encode_slot(slot).ljust(_kernel.SLOT_STRIDE, b"\0"))
    return b"".join(pages)


@contextmanager
def _make_lock(path: Path, timeout: float) -> Iterator[None]:
    with suppress(FileExistsError):
        os.close(files.create(path / format.LOCK))
    with locked(path, timeout):
        yield
