"""Publishing: the files of a generation written, and the commit file that names it made or switched; all durably."""

import os
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mmap_ninja import _kernel
from mmap_ninja.engine import copying, files
from mmap_ninja.engine.commit_file import read_commit
from mmap_ninja.engine.generation import Generation, block_sums
from mmap_ninja.errors import CommitUncertainError, CorruptDatasetError, StaleHandleError
from mmap_ninja.format.meta import FileEntry, Meta
from mmap_ninja.format.names import BUILD, COMMIT, FIRST_OFFSET, LEGACY_DATA, meta_name

_WRITEBACK: Final = 4 << 20  # bytes of a file that are written back while the next ones are copied


def publish(
    path: Path,
    meta: Meta,
    contents: copying.Contents,
    rows: int,
    commit_name: str,
    flags: int,
    scope: files.Scope,
    *,
    adopted_size: int = 0,
) -> _kernel.File:
    """Write the files of a generation, and a commit file that names it, durably; under the lock.

    Args:
        path: The dataset's directory.
        meta: The generation.
        contents: What its files hold; nothing where it is not here.
        rows: Its samples.
        commit_name: The commit file, which takes the place of one that is there.
        flags: What the commit marks the dataset with.
        scope: What holds the commit file open.
        adopted_size: The samples' bytes in the payload of 0.x, if the generation names that.

    Returns:
        The open commit file, whose lock is held until the scope ends.
    """
    ends = Ends()
    with ExitStack() as stack:
        like = model(path, stack)
        for file, extent in zip(meta.files, meta.extents(), strict=True):
            file_path = path / file.name
            if file.role == "sums":
                write_file(file_path, [ends.sums], like)
            elif file.name == LEGACY_DATA:
                with files.open_read(file_path) as adopted:
                    files.sync(adopted, file_path)
                    ends.add(file, adopted.fileno(), 0, adopted_size, file_path)
            else:
                size = write_file(file_path, contents.get((file.role, file.column), initial(file)), like)
                if extent.sealed:
                    with files.open_read(file_path) as written:
                        ends.add(file, written.fileno(), 0, size, file_path)
        encoded = meta.encode()
        write_file(path / meta_name(meta.generation), [encoded], like)
        slot = slot_of(meta, flags)
        slot.rows = slot.durable_rows = rows
        ends.put_into(slot)
        # Not every file system keeps the order of names: none may come after the commit file's.
        files.sync_directory(path)
        return make_commit_file(path, slot, commit_name, like, scope)


def slot_of(meta: Meta, flags: int) -> _kernel.Slot:
    """A commit without samples of a generation."""
    slot = _kernel.Slot()
    slot.generation, slot.flags, slot.uuid = meta.generation, flags, meta.uuid
    slot.meta_digest = _kernel.xxh64(meta.encode())
    return slot


def model(path: Path, stack: ExitStack) -> _kernel.File | None:
    """A file of the dataset's, whose mode and group new ones take; None where there is none."""
    for name in (COMMIT, LEGACY_DATA):
        with suppress(OSError, CorruptDatasetError):
            return stack.enter_context(files.open_read(path / name))
    return None


def make_commit_file(
    path: Path, slot: _kernel.Slot, commit_name: str, like: _kernel.File | None, scope: files.Scope
) -> _kernel.File:
    """Make a commit file whose only commit is `slot`; its lock is held until the scope ends."""
    # Temp and rename: whoever sees the commit file sees it whole. The lock is taken before it can be seen, and what is
    # needed afterwards is opened.
    new_path, commit_path = path / f"{commit_name}.new", path / commit_name
    sync_own, sync_parent = files.names_to_sync(path, path), files.names_to_sync(path / "..", path)
    files.remove(new_path)
    file = scope.hold(files.create(new_path, like))
    slot.seq, slot.boot, (slot.device, slot.inode) = slot.seq or 1, files.boot_id(), files.identity(file.fileno())
    slot.mount, slot.disk = files.surroundings(file.fileno(), new_path)
    file.try_lock(str(new_path))
    files.write(file, _all_slots(slot), 0, new_path)
    files.sync(file, new_path)
    files.rename(new_path, commit_path)
    try:
        sync_own()
        sync_parent()
    except OSError as error:
        if commit_name != COMMIT:
            raise
        slot.seq, slot.flags = slot.seq + 1, slot.flags | _kernel.SUSPECT
        write_slot(file, 0, slot, commit_path)
        raise CommitUncertainError(
            f"{commit_path}: was made, but a sync failed ({error}): whether it survives a power loss is unknown; check "
            "the disk, then build the dataset anew"
        ) from None
    return file


@dataclass(slots=True)
class Ends:
    """What a commit says of its files' bytes when all of them are durable, and the lines of its sums file."""

    sums: bytes = b""
    digest: int = 0
    edits_end: int = 0

    def add(self, file: FileEntry, fd: int, start: int, end: int, path: Path) -> None:
        """Take in a sealed file; the sums of its complete blocks before `start` are there already."""
        part, complete = _kernel.range_digest(file.id, fd, start, end, str(path))
        part -= _total(complete)
        self.sums += complete
        self.digest += part
        if file.role == "edits":
            self.edits_end = part % 2**64

    def put_into(self, slot: _kernel.Slot) -> None:
        """Let a commit say it."""
        slot.carries |= _kernel.SUMS
        slot.digest, slot.edits_end = self.digest % 2**64, self.edits_end
        slot.content = (self.digest + _total(self.sums)) % 2**64


def _total(sums: bytes) -> int:
    return sum(int.from_bytes(entry[16:], "little") for entry in block_sums(sums))


def initial(file: FileEntry) -> list[bytes]:
    """What a file holds when there are no rows."""
    return [FIRST_OFFSET] if file.role == "offsets" else []


def fill(generation: Generation, contents: copying.Contents, rows: int, build: _kernel.File) -> None:
    """Give the generation of a BUILD without rows so many, durably, in one commit; its builder alone may know of it."""
    path, meta = generation.path, generation.meta
    slot = read_commit(path, BUILD).slots[0][1]
    ends = Ends()
    for file, rule, fd in zip(meta.files, meta.extents(), generation.descriptors, strict=True):
        held = [ends.sums] if file.role == "sums" else contents.get((file.role, file.column), initial(file))
        size = _write_into(path / file.name, held)
        if rule.sealed:
            ends.add(file, fd, 0, size, path / file.name)
    slot.rows = slot.durable_rows = rows
    ends.put_into(slot)
    generation.extents(rows, 0)
    switch(build, path, BUILD, slot, [], build)


def write_file(path: Path, contents: Iterable[files.Content], like: _kernel.File | None) -> int:
    """Make a file of a new generation, durably; returns its size."""
    with files.create(path, like) as file:
        return _write(file, path, contents)


def _write_into(path: Path, contents: Iterable[files.Content]) -> int:
    """Write over a file from its start, durably; returns how many bytes."""
    with files.open_write(path) as file:
        return _write(file, path, contents)


def _write(file: _kernel.File, path: Path, contents: Iterable[files.Content]) -> int:
    at = started = 0
    for content in contents:
        at += files.put(file, content, at, path)
        if at - started >= _WRITEBACK:
            files.start_writeback(file, started, at - started)
            started = at
    files.sync(file, path)
    return at


def switch(
    commit_file: _kernel.File,
    path: Path,
    commit_name: str,
    slot: _kernel.Slot,
    synced: list[int],
    lock: _kernel.File,
    before: _kernel.Slot | None = None,
) -> None:
    """Make `slot` the newest in all places of an open commit file, durably; under the lock.

    Where the file has several names, a new one takes its place: a snapshot by hard links keeps what it was.

    Args:
        commit_file: The file.
        path: The dataset's directory.
        commit_name: Its name.
        slot: The commit, whose files are durable.
        synced: The files of the commit before it, which a copy of the directory may have never synced.
        lock: What keeps others away.
        before: The commit before it, which is marked if a sync fails; None: the newest in the file.
    """
    commit = read_commit(path, commit_name)
    slot.seq = commit.next_seq()
    if is_linked(commit_file):
        lock.check_writer(str(path))
        with files.Scope() as scope:
            make_commit_file(path, slot, commit_name, commit_file, scope)
        return
    before = before or commit.slots[0][1]
    _kernel.switch_commit(commit_file, str(path / commit_name), str(path), synced, slot, before, lock)


def write_slot(commit_file: _kernel.File, place: int, slot: _kernel.Slot, commit_path: Path) -> None:
    """Write one slot of a commit file; nothing is synced."""
    slot.durable = place >= 2
    files.write(commit_file, _kernel.encode_slot(slot), place * _kernel.SLOT_STRIDE, commit_path)


def _all_slots(slot: _kernel.Slot) -> bytes:
    pages = []
    for place in range(_kernel.SLOTS):
        slot.durable = place >= 2
        pages.append(_kernel.encode_slot(slot).ljust(_kernel.SLOT_STRIDE, b"\0"))
    return b"".join(pages)


def is_linked(commit_file: _kernel.File) -> bool:
    """Whether a commit file has several names."""
    return os.fstat(commit_file.fileno()).st_nlink > 1


def check_place(opened: _kernel.File, path: Path) -> None:
    """Raise StaleHandleError if an open file is no longer the one at its path: the directory was moved."""
    if not opened.is_at(str(path)):
        raise StaleHandleError(
            f"{path.parent}: is another directory than when this began, which has changed nothing there; do it again"
        )
