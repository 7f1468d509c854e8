"""The directory of a dataset: made, replaced as a whole, and cleaned of what no commit names."""

import os
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from mmap_ninja import _kernel, copying, files, format, legacy, marking
from mmap_ninja.errors import (
    CommitUncertainError,
    CorruptDatasetError,
    LockTimeoutError,
    MmapNinjaError,
    NotADatasetError,
    StaleHandleError,
)
from mmap_ninja.format import Column, Meta
from mmap_ninja.generation import CommitFile, Generation, block_sums, read_commit
from mmap_ninja.writing import locked

_WRITEBACK: Final = 4 << 20  # bytes of a file that are written back while the next ones are copied


def is_vacant(path: Path) -> bool:
    """Whether a dataset could be made at a path: it is missing, or an empty directory."""
    if not path.exists():
        return True
    if not path.is_dir() or _orphans(path):
        return False
    return all(map(format.is_own_name, names := files.names(path))) and format.COMMIT not in names


def create(
    path: Path,
    kind: format.Kind,
    columns: tuple[Column, ...],
    metadata: dict[str, Any],
    *,
    complete: bool,
    timeout: float,
) -> bool:
    """Make an empty dataset at a path that holds none, durably; returns False if another process was faster.

    Raises:
        NotADatasetError: if the directory holds files that are no dataset's.
    """
    if (path / format.COMMIT).exists():
        return False
    files.make_directories(path)
    refuse_foreign(path)
    with make_lock(path, timeout):
        if (path / format.COMMIT).exists():
            return False
        refuse_orphans(path)
        if (interrupted := take_build(path)) is not None:
            os.close(interrupted)
        drop_build(path)  # the files of a creation that was interrupted
        files.remove(path / format.UPGRADE)
        flags = _kernel.COMPLETE if complete else 0
        os.close(start_generation(path, kind, columns, metadata, format.COMMIT, flags))
        files.sync_directory(path.parent)
    return True


def take_build(path: Path) -> int | None:
    """The descriptor of a BUILD that nobody works on any more, with its lock; None where there is none.

    Raises:
        LockTimeoutError: if somebody does.
    """
    build_path = path / format.BUILD
    try:
        fd = files.open_write(build_path)
    except FileNotFoundError:
        return None
    try:
        if not files.try_lock(fd, build_path):
            holder = files.lock_holder(build_path)
            raise LockTimeoutError(f"{build_path}: {holder} is making this dataset right now; wait for it, or end it")
    except BaseException:
        os.close(fd)
        raise
    return fd


def refuse_orphans(path: Path) -> None:
    """Raise if a directory without commit file holds samples that no interrupted creation leaves."""
    if orphans := _orphans(path):
        raise CorruptDatasetError(
            f"{path}: holds samples in {orphans[:5]} but no {format.COMMIT} file that says how many; restore it "
            "from a copy, or move these files away"
        )


def _orphans(path: Path) -> list[str]:
    """The files with samples in a directory without commit file, which are not those of an interrupted merge either."""
    if (path / format.COMMIT).exists():
        return []
    known = _named(path)
    sizes: dict[str, int] = {}
    for name in files.names(path):
        with suppress(FileNotFoundError):  # others may be at work here
            sizes[name] = (path / name).stat().st_size
    upgraded = sizes.get(format.LEGACY_DATA) and marking.is_marked(path)
    orphans = [name for name, size in sizes.items() if format.holds_samples(name, size) and name not in known]
    return [*orphans, format.LEGACY_DATA] if upgraded else orphans


def refuse_foreign(path: Path) -> None:
    """Raise if a directory holds files that are not a dataset's: they would be taken for, or lost with, its own."""
    foreign = [name for name in files.names(path) if not (format.is_own_name(name) or marking.owns(path, name))]
    if legacy.detect(path):
        foreign = [name for name in foreign if name not in (*marking.FILES, *marking.FOLDERS)]
    if foreign:
        raise NotADatasetError(
            f"{path}: holds files that are no dataset's, {foreign[:5]} for example; choose a path of its own, or move "
            "them away"
        )


def start_generation(
    path: Path,
    kind: format.Kind,
    columns: tuple[Column, ...],
    metadata: dict[str, Any],
    commit_name: str,
    flags: int,
) -> int:
    """Write the files of a new, empty generation, and a commit file that names it; under the lock.

    Returns the open descriptor of the commit file, which holds its lock.
    """
    meta = format.new_meta(kind, next_generation(path), uuid.uuid4().bytes, columns, metadata)
    return publish(path, meta, {}, 0, commit_name, flags)


def publish(
    path: Path,
    meta: Meta,
    contents: copying.Contents,
    rows: int,
    commit_name: str,
    flags: int,
    *,
    adopted_size: int = 0,
) -> int:
    """Write the files of a generation, and a commit file that names it, durably; under the lock.

    Args:
        path: The dataset's directory.
        meta: The generation.
        contents: What its files hold; nothing where it is not here.
        rows: Its samples.
        commit_name: The commit file, which takes the place of one that is there.
        flags: What the commit marks the dataset with.
        adopted_size: The samples' bytes in the payload of 0.x, if the generation names that.

    Returns:
        The open descriptor of the commit file, which holds its lock.
    """
    sums, digest = b"", 0
    for file, extent in zip(meta.files, meta.extents(), strict=True):
        file_path = path / file.name
        if file.role == "sums":
            _write_file(file_path, [sums])
            continue
        adopted = file.name == format.LEGACY_DATA
        size = (
            adopted_size if adopted else _write_file(file_path, contents.get((file.role, file.column), _initial(file)))
        )
        fd = files.open_read(file_path)
        try:
            if adopted:
                files.sync(fd, file_path)
            if extent.sealed:
                part, complete = _hashed(file.id, fd, 0, size, file_path)
                digest, sums = digest + part, sums + complete
        finally:
            os.close(fd)
    encoded = meta.encode()
    _write_file(path / format.meta_name(meta.generation), [encoded])
    slot = _kernel.Slot()
    slot.generation, slot.flags, slot.uuid = meta.generation, flags, meta.uuid
    slot.rows = slot.durable_rows = rows
    slot.meta_digest, slot.digest = _kernel.xxh64(encoded), digest % 2**64
    files.sync_directory(path)  # not every file system keeps the order of names: none may come after the commit file's
    return _place(path, slot, commit_name)


def _place(path: Path, slot: _kernel.Slot, commit_name: str) -> int:
    """Make a commit file whose only commit is `slot`; returns its descriptor, which holds its lock."""
    # Temp and rename: whoever sees the commit file sees it whole. The lock is taken before it can be seen.
    new_path = path / f"{commit_name}.new"
    files.remove(new_path)
    fd = files.create(new_path)
    try:
        slot.seq, slot.boot, (slot.device, slot.inode) = 1, files.boot_id(), files.identity(fd)
        files.try_lock(fd, new_path)
        files.write(fd, _all_slots(slot), 0, new_path)
        files.sync(fd, new_path)
        files.rename(new_path, path / commit_name)
        files.sync_directory(path)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _hashed(file_id: int, fd: int, start: int, end: int, path: Path) -> tuple[int, bytes]:
    """Of a durable file: its part of the digest, and the sums of the complete blocks from `start` on."""
    part, complete = _kernel.range_digest(file_id, fd, start, end, str(path))
    return part - sum(int.from_bytes(entry[16:], "little") for entry in block_sums(complete)), complete


def replace(path: Path, slot: _kernel.Slot, build_fd: int, timeout: float) -> None:
    """Make the finished BUILD's commit the dataset's newest, durably, and remove what it replaces."""
    with locked(path, timeout):
        path = path.resolve()  # as in `evolve`
        _check_place(build_fd, path / format.BUILD)
        commit_path = path / format.COMMIT
        if legacy.detect(path):
            marking.announce(path, marking.FOLDERS[0], list(marking.FOLDERS))
            os.close(_place(path, slot, format.COMMIT))
        elif not commit_path.exists():
            os.close(_place(path, slot, format.COMMIT))
        else:
            fd = files.open_write(commit_path)
            try:
                _switch(fd, commit_path, read_commit(path), slot)
            finally:
                os.close(fd)
        drop_build(path)
        finish_upgrade(path)


@dataclass(frozen=True, slots=True)
class Change:
    """What is different in the next generation of a dataset.

    Args:
        columns: Its columns. The files of those that stay are shared, where they fit.
        contents: What files that are made anew hold; each is read once.
        rows: How many rows it has, if all its files are made anew, without edits; None: the same ones.
    """

    columns: tuple[Column, ...]
    contents: copying.Contents = field(default_factory=dict)
    rows: int | None = None


def evolve(generation: Generation, slot: _kernel.Slot, change: Change, commit_fd: int, commit_name: str) -> None:
    """Make the next generation of a dataset, and switch to it; under the lock.

    `slot` is the newest of the open commit file; all that it speaks of must be durable.
    """
    path = generation.path.resolve()  # all in one directory, wherever a symbolic link to it is pointed meanwhile
    old, number = generation.meta, next_generation(path)
    fds = dict(zip(old.files, generation.descriptors, strict=True))
    sizes = dict(zip(old.files, generation.extents(slot.rows, slot.edits), strict=True))
    stored = files.read_at(fds[old.files[-1]], sizes[old.files[-1]], 0, path / old.files[-1].name)
    if change.rows is not None:
        slot.rows, slot.edits = change.rows, 0
    kept = _kept(old, change)
    meta = format.new_meta(old.kind, number, old.uuid, change.columns, old.metadata, kept)
    # Sums of files that are no longer there, or may change in place now, go; those of new files come.
    sealed = {file for file, rule in zip(meta.files, meta.extents(), strict=True) if rule.sealed}
    ids = {file.id for file in sealed.intersection(kept)}
    sums = b"".join(entry for entry in block_sums(stored) if int.from_bytes(entry[:8], "little") in ids)
    digest = 0
    opened: list[int] = []
    try:
        for file in meta.files[:-1]:
            start = sizes[file] if file in kept else 0
            if file not in kept:
                sizes[file] = _write_file(path / file.name, _contents_of(file, generation, slot.rows, change))
                opened.append(files.open_read(path / file.name))
                fds[file] = opened[-1]
            if file in sealed:
                part, complete = _hashed(file.id, fds[file], start, sizes[file], path / file.name)
                digest, sums = digest + part, sums + complete
        if meta.files[-1] not in kept or sums != stored:
            meta = format.new_meta(old.kind, number, old.uuid, change.columns, old.metadata, meta.files[:-1])
            _write_file(path / meta.files[-1].name, [sums])
        encoded = meta.encode()
        _write_file(path / format.meta_name(number), [encoded])
        files.sync_directory(path)
        slot.generation, slot.meta_digest, slot.digest = number, _kernel.xxh64(encoded), digest % 2**64
        slot.durable_rows, slot.durable_edits = slot.rows, slot.edits
        made = Generation.open(path, slot, generation.commit)
        made.extents(slot.rows, slot.edits)  # nobody shall see a file that is too short
        _check_place(commit_fd, path / commit_name)
        _switch(commit_fd, path / commit_name, read_commit(path, commit_name), slot)
    finally:
        for descriptor in opened:
            os.close(descriptor)
        with suppress(OSError, MmapNinjaError):  # what else went wrong is to be raised
            _check_place(commit_fd, path / commit_name)
            remove_unnamed(path)


def _check_place(fd: int, commit_path: Path) -> None:
    """Raise StaleHandleError if an open commit file is no longer the one at its path: the directory was moved."""
    if not files.is_at(fd, commit_path):
        raise StaleHandleError(
            f"{commit_path.parent}: is another directory than when this began, which has changed nothing there; do it "
            "again"
        )


def _kept(old: Meta, change: Change) -> tuple[format.FileEntry, ...]:
    """The files that the next generation shares with this one."""
    if change.rows is not None:
        return ()
    before = {column.id: column.type.files() for column in old.columns}
    after = {column.id: column.type.files() for column in change.columns}

    def fits(file: format.FileEntry) -> bool:
        if file.column is None:
            return True
        if (file.role, file.column) in change.contents or file.role not in after.get(file.column, {}):
            return False
        return file.role in ("data", "offsets") or before[file.column][file.role] == after[file.column][file.role]

    return tuple(filter(fits, old.files))


def _contents_of(file: format.FileEntry, generation: Generation, rows: int, change: Change) -> Iterable[files.Content]:
    """What a file of the next generation holds that it does not share."""
    key = file.role, file.column
    if key in change.contents:
        return change.contents[key]
    if file.role == "shapes" and rows:
        place = next(place for place, column in enumerate(generation.meta.columns) if column.id == file.column)
        column = next(column for column in change.columns if column.id == file.column)
        return copying.shapes(copying.whole(generation, rows), place, column)
    return _initial(file)


def _initial(file: format.FileEntry) -> list[bytes]:
    """What a file holds when there are no rows."""
    return [format.FIRST_OFFSET] if file.role == "offsets" else []


def fill(generation: Generation, contents: copying.Contents, rows: int, commit_fd: int, commit_name: str) -> None:
    """Give a generation without rows so many, durably, in one commit; its builder alone may know of it."""
    path, meta = generation.path, generation.meta
    slot = read_commit(path, commit_name).slots[0][1]
    sums, digest = b"", 0
    for file, rule, fd in zip(meta.files, meta.extents(), generation.descriptors, strict=True):
        held = [sums] if file.role == "sums" else contents.get((file.role, file.column), _initial(file))
        size = _write_into(path / file.name, held)
        if rule.sealed:
            part, complete = _hashed(file.id, fd, 0, size, path / file.name)
            digest, sums = digest + part, sums + complete
    slot.rows = slot.durable_rows = rows
    slot.digest = digest % 2**64
    generation.extents(rows, 0)
    _switch(commit_fd, path / commit_name, read_commit(path, commit_name), slot)


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
    path = path.resolve()  # as in `evolve`
    kept = _named(path)
    for name in files.names(path):
        if format.generation_of(name) is not None and name not in kept:
            files.remove(path / name)
    if format.LEGACY_DATA not in kept:
        marking.retire_data(path)


def remove_generation(path: Path, number: int) -> None:
    """Unlink the files that were made for a generation, unless COMMIT names it; under the lock.

    Where COMMIT is missing or damaged, the others are what is left of the dataset.
    """
    try:
        named = {slot.generation for _, slot in read_commit(path).slots}
    except (CorruptDatasetError, NotADatasetError):
        named = set()
    if number not in named:
        for name in files.names(path):
            if format.generation_of(name) == number:
                files.remove(path / name)


def finish_upgrade(path: Path) -> None:
    """End an upgrade that has made its commit file, if there is one; under the lock."""
    if (path / format.UPGRADE).exists() and (path / format.COMMIT).exists():
        marking.finish(path, keeps_data=format.LEGACY_DATA in _named(path))


def _named(path: Path) -> set[str]:
    """The files that the slots of COMMIT and BUILD name, with their metas."""
    kept = set()
    for commit_name in (format.COMMIT, format.BUILD):
        if (path / commit_name).exists():
            for generation in {slot.generation for _, slot in read_commit(path, commit_name).slots}:
                meta_path = path / format.meta_name(generation)
                meta = format.decode_meta(files.read(meta_path, format.META_SIZE_LIMIT), str(meta_path))
                kept |= {meta_path.name, *(file.name for file in meta.files)}
    return kept


def next_generation(path: Path) -> int:
    """A number that no generation in a directory has."""
    taken = [format.generation_of(name) or 0 for name in files.names(path)]
    return max(*taken, int(legacy.detect(path)), 0) + 1  # the first one is that of an upgrade


def _write_file(path: Path, contents: Iterable[files.Content]) -> int:
    """Make a file of a new generation, durably; returns its size."""
    return _write(files.create(path), path, contents)


def _write_into(path: Path, contents: Iterable[files.Content]) -> int:
    """Write over a file from its start, durably; returns how many bytes."""
    return _write(files.open_write(path), path, contents)


def _write(fd: int, path: Path, contents: Iterable[files.Content]) -> int:
    try:
        at = started = 0
        for content in contents:
            at += files.put(fd, content, at, path)
            if at - started >= _WRITEBACK:
                files.start_writeback(fd, started, at - started)
                started = at
        files.sync(fd, path)
    finally:
        os.close(fd)
    return at


def _switch(fd: int, commit_path: Path, commit: CommitFile, slot: _kernel.Slot) -> None:
    """Make `slot` the newest in all places of an open commit file, durably."""
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
            f"{commit_path}: switching to the new generation failed half way ({error}): whether it survives a power "
            "loss is unknown; check the disk, then do the same again (a build: with if_exists='resume')"
        ) from None


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
def make_lock(path: Path, timeout: float) -> Iterator[None]:
    """Hold a directory's LOCK, which is made if it is missing."""
    with suppress(FileExistsError):
        os.close(files.create(path / format.LOCK))
    with locked(path, timeout):
        yield
