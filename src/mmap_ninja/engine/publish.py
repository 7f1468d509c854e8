"""Publishing: the files of a generation written, and the commit file that names it made or switched; all durably."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import numpy as np

from mmap_ninja import _kernel
from mmap_ninja.engine import copying, files
from mmap_ninja.engine.commit_file import read_commit
from mmap_ninja.engine.generation import Generation, written
from mmap_ninja.errors import CommitUncertainError, CorruptDatasetError, StaleHandleError
from mmap_ninja.format.meta import FileEntry, Meta, new_meta
from mmap_ninja.format.names import BUILD, COMMIT, FIRST_OFFSET, LEGACY_DATA, meta_name

_WRITEBACK: Final = 4 << 20  # bytes of a file that are written back while the next ones are copied


class GenerationWriter:
    """Writes the files of one generation, durably, and knows what a commit says of them; under the lock.

    Args:
        path: The dataset's directory.
        meta: The generation.
        like: A file of the dataset's, whose mode and group new ones take; None: they are those of any new file.
        sums: The entries of its sums file that are known already: of the files that another generation has.
    """

    def __init__(self, path: Path, meta: Meta, like: _kernel.File | None, sums: bytes = b"") -> None:
        self.meta: Meta = meta
        self._path = path
        self._like = like
        self._sealed = {file.id for file, rule in zip(meta.files, meta.rules, strict=True) if rule.sealed}
        self._sums = sums
        self._digest = 0
        self._edits_end = 0

    def create(self, file: FileEntry, contents: Iterable[files.Content] | None = None) -> None:
        """Make a file; without `contents`, as it is when there are no rows. That of sums comes last."""
        path = f"{self._path}/{file.name}"
        with files.create(path, self._like) as opened:
            self._fill(opened, file, contents, path)

    def overwrite(self, file: FileEntry, contents: Iterable[files.Content] | None = None) -> None:
        """Write over a file, as `create` makes it, that has nothing yet."""
        path = f"{self._path}/{file.name}"
        with files.open_write(path) as opened:
            self._fill(opened, file, contents, path)

    def adopt(self, file: FileEntry, size: int) -> None:
        """Take a file as it lies there; `size`: how much of it belongs to the commit."""
        path = f"{self._path}/{file.name}"
        with files.open_read(path) as opened:
            files.sync(opened, path)
            self._seal(file, opened, 0, size)

    def share(self, file: FileEntry, opened: _kernel.File, size: int) -> None:
        """Take a durable file of another generation, the sums of whose complete blocks are known."""
        if file.id in self._sealed:
            self._seal(file, opened, size, size)

    def create_sums(self, shared: bytes | None) -> None:
        """Make the file of sums, by a name of its own where the one that is `shared` holds others."""
        if self._sums != shared:
            meta = self.meta
            self.meta = new_meta(meta.kind, meta.generation, meta.uuid, meta.columns, meta.metadata, meta.files[:-1])
            self.create(self.meta.files[-1])

    def create_meta(self) -> None:
        """Make the meta file, which is the last one: afterwards all of them, and their names, are on the medium."""
        path = f"{self._path}/{meta_name(self.meta.generation)}"
        with files.create(path, self._like) as opened:
            files.write(opened, self.meta.encode(), 0, path)
            files.sync(opened, path)
        written(self.meta)
        # Not every file system keeps the order of names: none may come after the commit file's.
        files.sync_directory(self._path)

    def describe(self, slot: _kernel.Slot, rows: int, edits: int = 0) -> None:
        """Let a commit, which names the generation, speak of what was written, all of which is durable."""
        slot.rows = slot.durable_rows = rows
        slot.edits = slot.durable_edits = edits
        slot.carries |= _kernel.SUMS
        slot.digest, slot.edits_end = self._digest % 2**64, self._edits_end
        slot.content = (self._digest + _total(self._sums)) % 2**64

    def _fill(self, opened: _kernel.File, file: FileEntry, contents: Iterable[files.Content] | None, path: str) -> None:
        if file.role == "sums":
            contents = [self._sums]
        elif contents is None:
            contents = [FIRST_OFFSET] if file.role == "offsets" else []
        at = started = 0
        for content in contents:
            at += files.put(opened, content, at, path)
            if at - started >= _WRITEBACK:
                files.start_writeback(opened, started, at - started)
                started = at
        files.sync(opened, path)
        if file.id in self._sealed:
            self._seal(file, opened, 0, at)

    def _seal(self, file: FileEntry, opened: _kernel.File, start: int, end: int) -> None:
        """Take the sums of a file's complete blocks from `start` on, and the hash of its last, incomplete one."""
        part, complete = _kernel.range_digest(file.id, opened.fileno(), start, end, f"{self._path}/{file.name}")
        if complete:
            part -= _total(complete)
            self._sums += complete
        self._digest += part
        if file.role == "edits":
            self._edits_end = part % 2**64


def _total(sums: bytes) -> int:
    """What the sums of some blocks come to, modulo 2^64."""
    return int(np.frombuffer(sums, np.uint64)[2::3].sum(dtype=np.uint64))


def publish(
    path: Path,
    meta: Meta,
    contents: copying.Contents,
    rows: int,
    commit_name: str,
    flags: int,
    scope: files.Scope,
    like: _kernel.File | None,
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
        like: What `model` gives.
        adopted_size: The samples' bytes in the payload of 0.x, if the generation names that.

    Returns:
        The open commit file, whose lock is held until the scope ends.
    """
    writer = GenerationWriter(path, meta, like)
    for file in meta.files:
        if file.name == LEGACY_DATA:
            writer.adopt(file, adopted_size)
        else:
            writer.create(file, contents.get((file.role, file.column)))
    writer.create_meta()
    slot = _kernel.Slot()
    slot.flags = flags
    name_generation(slot, writer.meta)
    writer.describe(slot, rows)
    return make_commit_file(path, slot, commit_name, like, scope)


def fill(generation: Generation, contents: copying.Contents, rows: int, build: _kernel.File) -> None:
    """Give the generation of a BUILD without rows so many, durably, in one commit; its builder alone may know of it."""
    path, meta = generation.path, generation.meta
    slot = read_commit(path, BUILD).slots[0][1]
    writer = GenerationWriter(path, meta, None)
    for file in meta.files:
        writer.overwrite(file, contents.get((file.role, file.column)))
    writer.describe(slot, rows)
    generation.extents(rows, 0)
    switch(build, path, BUILD, slot, [], build)


def name_generation(slot: _kernel.Slot, meta: Meta) -> None:
    """Let a commit be of a generation."""
    slot.uuid, slot.generation, slot.meta_digest = meta.uuid, meta.generation, _kernel.xxh64(meta.encode())


def model(path: Path, scope: files.Scope) -> _kernel.File | None:
    """A file of the dataset's, whose mode and group new ones take, until the scope ends; None where there is none."""
    for name in (COMMIT, LEGACY_DATA):
        try:
            return scope.hold(files.open_read(f"{path}/{name}"))
        except (OSError, CorruptDatasetError):
            continue
    return None


def make_commit_file(
    path: Path, slot: _kernel.Slot, commit_name: str, like: _kernel.File | None, scope: files.Scope
) -> _kernel.File:
    """Make a commit file whose only commit is `slot`; its lock is held until the scope ends."""
    # Temp and rename: whoever sees the commit file sees it whole. The lock is taken before it can be seen, and what is
    # needed afterwards is opened.
    new_path, commit_path = f"{path}/{commit_name}.new", f"{path}/{commit_name}"
    sync_own, sync_parent = files.names_to_sync(path, path), files.names_to_sync(f"{path}/..", path)
    files.remove(new_path)
    file = scope.hold(files.create(new_path, like))
    slot.seq, slot.boot, (slot.device, slot.inode) = slot.seq or 1, files.boot_id(), files.identity(file.fileno())
    slot.mount, slot.disk = files.surroundings(file.fileno(), new_path)
    file.try_lock(new_path)
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
    _kernel.switch_commit(commit_file, f"{path}/{commit_name}", str(path), synced, slot, before, lock)


def write_slot(commit_file: _kernel.File, place: int, slot: _kernel.Slot, commit_path: str) -> None:
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


def check_place(opened: _kernel.File, path: Path, name: str) -> None:
    """Raise StaleHandleError if an open file is no longer the one of its name in a directory, which was moved."""
    if not opened.is_at(f"{path}/{name}"):
        raise StaleHandleError(
            f"{path}: is another directory than when this began, which has changed nothing there; do it again"
        )
