"""The directory of a dataset: made, replaced as a whole, and cleaned of what no commit names."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from mmap_ninja import _kernel, files, format
from mmap_ninja.errors import CommitUncertainError, CorruptDatasetError, NotADatasetError
from mmap_ninja.generation import read_commit
from mmap_ninja.writing import locked


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
