"""Publishing a generation: writes its files, then creates or switches the commit file, all durably."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import numpy as np

from mmap_ninja import _kernel
from mmap_ninja.engine import copying, files
from mmap_ninja.engine.commit_file import read_commit
from mmap_ninja.engine.generation import Generation, descriptors_to_open, written
from mmap_ninja.errors import CommitUncertainError, CorruptDatasetError, StaleHandleError
from mmap_ninja.format.meta import FileEntry, Meta, new_meta
from mmap_ninja.format.names import COMMIT, FIRST_OFFSET, LEGACY_DATA, meta_name

_WRITEBACK: Final = 4 << 20  # bytes written back to the disk while the next ones are copied


class GenerationWriter:
    """Writes the files of a generation durably, and fills in the commit that names it; the caller holds the lock.

    Args:
        path: The dataset's directory.
        meta: The generation.
        like: A file of the dataset, whose mode and group new files get; None: the defaults.
        sums: The known entries of its sums file: those of files shared with another generation.
    """

    def __init__(self, path: Path, meta: Meta, like: _kernel.File | None, sums: bytes = b"") -> None:
        files.check_room(descriptors_to_open(meta), path)  # before anything is there that could not be opened
        self.meta: Meta = meta
        self._path = path
        self._like = like
        self._sealed = {file.id for file, rule in zip(meta.files, meta.rules, strict=True) if rule.sealed}
        self._sums = sums
        self._digest = 0
        self._edits_end = 0

    def create(self, file: FileEntry, contents: Iterable[files.Content] | None = None) -> None:
        """Create a file; without `contents`, one for no rows. The sums file must be the last."""
        path = f"{self._path}/{file.name}"
        with files.create(path, self._like) as opened:
            self._fill(opened, file, contents, path)

    def overwrite(self, file: FileEntry, contents: Iterable[files.Content] | None = None) -> None:
        """Write the contents of a file that exists but has no rows yet."""
        path = f"{self._path}/{file.name}"
        with files.open_write(path) as opened:
            self._fill(opened, file, contents, path)

    def adopt(self, file: FileEntry, size: int) -> None:
        """Use an existing file; `size`: how much of it belongs to the commit."""
        path = f"{self._path}/{file.name}"
        with files.open_read(path) as opened:
            files.sync(opened, path)
            self._seal(file, opened, 0, size)

    def share(self, file: FileEntry, opened: _kernel.File, size: int) -> None:
        """Use a durable file of another generation; the sums of its complete blocks are known."""
        if file.id in self._sealed:
            self._seal(file, opened, size, size)

    def create_sums(self, shared: bytes | None) -> None:
        """Create the sums file, or share that of another generation if its content `shared` is the same."""
        if self._sums != shared:
            meta = self.meta
            self.meta = new_meta(meta.kind, meta.generation, meta.uuid, meta.columns, meta.metadata, meta.files[:-1])
            self.create(self.meta.files[-1])

    def create_meta(self) -> None:
        """Create the meta file, as the last one: afterwards all files and their names are on the disk."""
        path = f"{self._path}/{meta_name(self.meta.generation)}"
        with files.create(path, self._like) as opened:
            files.write(opened, self.meta.encode(), 0, path)
            files.sync(opened, path)
        written(self.meta)
        # Not every filesystem keeps the order of names; all of these must be there before the commit file's.
        files.sync_directory(self._path)

    def describe(self, slot: _kernel.Slot, rows: int, edits: int = 0) -> None:
        """Fill in a slot with this generation and what was written, all of which is durable."""
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
        """Add the sums of a file's complete blocks from `start` on, and the hash of its last, partial block."""
        part, complete = _kernel.range_digest(file.id, opened.fileno(), start, end, f"{self._path}/{file.name}")
        if complete:
            part -= _total(complete)
            self._sums += complete
        self._digest += part
        if file.role == "edits":
            self._edits_end = part % 2**64


def _total(sums: bytes) -> int:
    """The total of the sums of blocks, modulo 2^64."""
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
    """Write the files of a generation and a commit file that names it, durably; the caller holds the lock.

    Args:
        path: The dataset's directory.
        meta: The generation.
        contents: The contents of its files; files without contents are empty.
        rows: Its samples.
        commit_name: The name of the commit file; an existing one is replaced.
        flags: What the commit marks the dataset with.
        scope: Keeps the commit file open.
        like: The result of `model`.
        adopted_size: Bytes of samples in the payload of 0.x, if the generation adopts it.

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


class Target:
    """A commit file that is open for writing.

    Args:
        name: Its name.
        file: The open file; a build in progress holds its lock.
        scope: Keeps it open, and a file that takes its place.
    """

    def __init__(self, name: str, file: _kernel.File, scope: files.Scope) -> None:
        self.name = name
        self.file: _kernel.File = file  # another one after `switch`, if it had several links
        self.scope = scope

    def switch(
        self,
        path: Path,
        slot: _kernel.Slot,
        synced: list[_kernel.File],
        lock: _kernel.File,
        before: _kernel.Slot | None = None,
    ) -> None:
        """Write `slot` as the newest to all places, durably; the caller holds the lock.

        A file with several hard links is replaced by a new one, so that a linked snapshot does not change.

        Args:
            path: The dataset's directory.
            slot: The commit, whose files are durable.
            synced: The files of the previous commit to sync first; in a copied directory they may not be durable.
            lock: The lock that is held.
            before: The previous commit, which is marked if a sync fails; None: the newest in the file.
        """
        commit = read_commit(path, self.name)
        slot.seq = commit.next_seq()
        if is_linked(self.file):
            lock.check_writer(str(path))
            linked = self.file
            self.file = make_commit_file(path, slot, self.name, linked, self.scope)
            linked.close()  # nobody builds what has only its other names
            return
        before = before or commit.slots[0][1]
        _kernel.switch_commit(self.file, f"{path}/{self.name}", str(path), synced, slot, before, lock)


def fill(generation: Generation, contents: copying.Contents, rows: int, build: Target) -> None:
    """Fill the empty generation of a BUILD with rows, durably, in one commit; only its builder may know of it."""
    path, meta = generation.path, generation.meta
    slot = read_commit(path, build.name).slots[0][1]
    writer = GenerationWriter(path, meta, None)
    for file in meta.files:
        writer.overwrite(file, contents.get((file.role, file.column)))
    writer.describe(slot, rows)
    generation.extents(rows, 0)
    build.switch(path, slot, [], build.file)


def name_generation(slot: _kernel.Slot, meta: Meta) -> None:
    """Set the generation of a slot."""
    slot.uuid, slot.generation, slot.meta_digest = meta.uuid, meta.generation, _kernel.xxh64(meta.encode())


def model(path: Path, scope: files.Scope) -> _kernel.File | None:
    """A file of the dataset, open until the scope ends, whose mode and group new files get; None if there is none."""
    for name in (COMMIT, LEGACY_DATA):
        try:
            return scope.hold(files.open_read(f"{path}/{name}"))
        except (OSError, CorruptDatasetError):
            continue
    return None


def make_commit_file(
    path: Path, slot: _kernel.Slot, commit_name: str, like: _kernel.File | None, scope: files.Scope
) -> _kernel.File:
    """Create a commit file with `slot` as its only commit; its lock is held until the scope ends."""
    # Temp and rename, so that it is complete when it appears. Before that, its lock is taken, and what is needed
    # afterwards is opened.
    new_path, commit_path = f"{path}/{commit_name}.new", f"{path}/{commit_name}"
    sync_own, sync_parent = files.names_to_sync(path, path), files.names_to_sync(f"{path}/..", path)
    files.remove(new_path)
    file = scope.hold(files.create(new_path, like))
    slot.seq, slot.boot, (slot.device, slot.inode) = slot.seq or 1, files.boot_id(), file.identity
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
            f"{commit_path}: was created, but a sync failed ({error}): whether it survives a power loss is unknown; "
            "check the disk, then rebuild the dataset"
        ) from None
    return file


def write_slot(commit_file: _kernel.File, place: int, slot: _kernel.Slot, commit_path: str) -> None:
    """Write one slot of a commit file, without a sync."""
    slot.durable = place >= 2
    files.write(commit_file, _kernel.encode_slot(slot), place * _kernel.SLOT_STRIDE, commit_path)


def _all_slots(slot: _kernel.Slot) -> bytes:
    pages = []
    for place in range(_kernel.SLOTS):
        slot.durable = place >= 2
        pages.append(_kernel.encode_slot(slot).ljust(_kernel.SLOT_STRIDE, b"\0"))
    return b"".join(pages)


def is_linked(commit_file: _kernel.File) -> bool:
    """Whether a commit file has several hard links."""
    return os.fstat(commit_file.fileno()).st_nlink > 1


def check_place(opened: _kernel.File, path: Path, name: str) -> None:
    """Raise StaleHandleError if an open file is no longer at its path, because the directory was moved."""
    if not opened.is_at(f"{path}/{name}"):
        raise StaleHandleError(f"{path}: another directory was put at this path; nothing was changed in it: try again")
