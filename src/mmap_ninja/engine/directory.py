"""The directory of a dataset: made, replaced as a whole, and cleaned of what no commit names."""

import os
import uuid
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NoReturn

from mmap_ninja import _kernel
from mmap_ninja.columns.types import Column
from mmap_ninja.engine import copying, files, upgrade_marks
from mmap_ninja.engine.generation import CommitFile, Generation, block_sums, read_commit
from mmap_ninja.engine.log import locked
from mmap_ninja.errors import (
    CommitUncertainError,
    CorruptDatasetError,
    LockTimeoutError,
    MmapNinjaError,
    NotADatasetError,
    StaleHandleError,
)
from mmap_ninja.format.meta import META_SIZE_LIMIT, FileEntry, Kind, Meta, decode_meta, new_meta
from mmap_ninja.format.names import (
    BUILD,
    COMMIT,
    FIRST_OFFSET,
    LEGACY_DATA,
    LOCK,
    UPGRADE,
    generation_of,
    holds_samples,
    is_own_name,
    meta_name,
)

_WRITEBACK: Final = 4 << 20  # bytes of a file that are written back while the next ones are copied


def is_vacant(path: Path) -> bool:
    """Whether a dataset could be made at a path: it is missing, or an empty directory."""
    if not path.exists():
        return True
    if not path.is_dir() or _orphans(path):
        return False
    return all(map(is_own_name, names := files.names(path))) and COMMIT not in names


def create(
    path: Path,
    kind: Kind,
    columns: tuple[Column, ...],
    metadata: dict[str, Any],
    complete: bool,
    timeout: float,
    contents: copying.Contents | None = None,
    rows: int = 0,
) -> bool:
    """Make a dataset at a path that holds none, durably and in one step; False if another process was faster.

    Args:
        path: The directory.
        kind: Of the dataset.
        columns: Its columns.
        metadata: The user's.
        complete: Whether no build goes on from here.
        timeout: Seconds to wait for another process.
        contents: What its files hold; None: nothing.
        rows: Its samples.

    Raises:
        NotADatasetError: if the directory holds files that are no dataset's.
    """
    if (path / COMMIT).exists():
        return False
    files.make_directories(path)
    refuse_foreign(path)
    with files.Scope() as scope, make_lock(path, timeout) as lock:
        if (path / COMMIT).exists():
            return False
        refuse_orphans(path)
        take_build(path, scope)
        drop_build(path)  # the files of a creation that was interrupted
        files.remove(path / UPGRADE)
        meta = new_meta(kind, next_generation(path), uuid.uuid4().bytes, columns, metadata)
        flags = _kernel.COMPLETE if complete else 0
        if rows:  # samples without a commit file would be taken for what is left of a dataset
            with ExitStack() as stack:
                _place(path, _slot_of(meta, 0), BUILD, _model(path, stack), scope)
        try:
            publish(path, meta, contents or {}, rows, COMMIT, flags, scope)
        except BaseException:
            with suppress(OSError, MmapNinjaError):  # what else went wrong is to be raised
                lock.check_writer(str(path))
                if not (path / COMMIT).exists():
                    for name in (meta_name(meta.generation), *(file.name for file in meta.files), BUILD):
                        files.remove(path / name)
            raise
        with suppress(OSError):  # it has succeeded
            files.remove(path / BUILD)
    return True


def take_build(path: Path, scope: files.Scope) -> _kernel.File | None:
    """A BUILD that nobody works on any more, with its lock, until the scope ends; None where there is none.

    Raises:
        LockTimeoutError: if somebody does.
    """
    build_path = path / BUILD
    try:
        taken = scope.hold(files.lock(build_path, 0.0) or _refuse_build(build_path))
    except FileNotFoundError:
        return None
    return taken


def _refuse_build(build_path: Path) -> _kernel.File:
    holder = files.lock_holder(build_path)
    raise LockTimeoutError(f"{build_path}: {holder} is making this dataset right now; wait for it, or end it")


def refuse_orphans(path: Path) -> None:
    """Raise if a directory without commit file holds samples that no interrupted creation leaves."""
    if orphans := _orphans(path):
        raise CorruptDatasetError(
            f"{path}: holds samples in {orphans[:5]} but no {COMMIT} file that says how many; restore it "
            "from a copy, or move these files away"
        )


def _orphans(path: Path) -> list[str]:
    """The files with samples in a directory without commit file, which are not those of an interrupted merge either."""
    if (path / COMMIT).exists():
        return []
    sizes: dict[str, int] = {}
    for name in files.names(path):
        with suppress(FileNotFoundError):  # others may be at work here
            sizes[name] = (path / name).stat().st_size
    known = _named(path)  # after the look at the files: what names them is there before, and goes after them
    upgraded = sizes.get(LEGACY_DATA) and upgrade_marks.is_marked(path)
    orphans = [name for name, size in sizes.items() if holds_samples(name, size) and name not in known]
    orphans = [name for name in [*orphans, *[LEGACY_DATA] * bool(upgraded)] if (path / name).exists()]
    return [] if (path / COMMIT).exists() else orphans


def refuse_foreign(path: Path) -> None:
    """Raise if a directory holds files that are not a dataset's: they would be taken for, or lost with, its own."""
    foreign = [name for name in files.names(path) if not (is_own_name(name) or upgrade_marks.owns(path, name))]
    if upgrade_marks.detect(path):
        foreign = [name for name in foreign if name not in (*upgrade_marks.FILES, *upgrade_marks.FOLDERS)]
    if foreign:
        raise NotADatasetError(
            f"{path}: holds files that are no dataset's, {foreign[:5]} for example; choose a path of its own, or move "
            "them away"
        )


def start_generation(
    path: Path,
    kind: Kind,
    columns: tuple[Column, ...],
    metadata: dict[str, Any],
    commit_name: str,
    scope: files.Scope,
) -> _kernel.File:
    """Write the files of a new, empty generation, and a commit file that names it; under the lock.

    Returns the open commit file, whose lock is held until the scope ends.
    """
    meta = new_meta(kind, next_generation(path), uuid.uuid4().bytes, columns, metadata)
    return publish(path, meta, {}, 0, commit_name, 0, scope)


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
    ends = _Ends()
    with ExitStack() as stack:
        like = _model(path, stack)
        for file, extent in zip(meta.files, meta.extents(), strict=True):
            file_path = path / file.name
            if file.role == "sums":
                _write_file(file_path, [ends.sums], like)
            elif file.name == LEGACY_DATA:
                with files.open_read(file_path) as adopted:
                    files.sync(adopted, file_path)
                    ends.add(file, adopted.fileno(), 0, adopted_size, file_path)
            else:
                size = _write_file(file_path, contents.get((file.role, file.column), _initial(file)), like)
                if extent.sealed:
                    with files.open_read(file_path) as written:
                        ends.add(file, written.fileno(), 0, size, file_path)
        encoded = meta.encode()
        _write_file(path / meta_name(meta.generation), [encoded], like)
        slot = _slot_of(meta, flags)
        slot.rows = slot.durable_rows = rows
        ends.put_into(slot)
        # Not every file system keeps the order of names: none may come after the commit file's.
        files.sync_directory(path)
        return _place(path, slot, commit_name, like, scope)


def _slot_of(meta: Meta, flags: int) -> _kernel.Slot:
    """A commit without samples of a generation."""
    slot = _kernel.Slot()
    slot.generation, slot.flags, slot.uuid = meta.generation, flags, meta.uuid
    slot.meta_digest = _kernel.xxh64(meta.encode())
    return slot


def _model(path: Path, stack: ExitStack) -> _kernel.File | None:
    """A file of the dataset's, whose mode and group new ones take; None where there is none."""
    for name in (COMMIT, LEGACY_DATA):
        with suppress(OSError, CorruptDatasetError):
            return stack.enter_context(files.open_read(path / name))
    return None


def _place(
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
        _write_slot(file, 0, slot, commit_path)
        raise CommitUncertainError(
            f"{commit_path}: was made, but a sync failed ({error}): whether it survives a power loss is unknown; check "
            "the disk, then build the dataset anew"
        ) from None
    return file


@dataclass(slots=True)
class _Ends:
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


def replace(path: Path, slot: _kernel.Slot, build: _kernel.File, timeout: float) -> None:
    """Make the finished BUILD's commit the dataset's newest, durably, and remove what it replaces."""
    with files.Scope() as scope, locked(path, timeout) as lock:
        path = path.resolve()  # as in `evolve`
        _check_place(build, path / BUILD)
        _check_place(lock, path / LOCK)
        if upgrade_marks.detect(path):
            upgrade_marks.announce(path, upgrade_marks.FOLDERS[0], list(upgrade_marks.FOLDERS))
            _place(path, slot, COMMIT, build, scope)
        elif not (path / COMMIT).exists():
            _place(path, slot, COMMIT, build, scope)
        else:
            with files.open_write(path / COMMIT) as commit_file:
                _switch(commit_file, path, COMMIT, slot, [], lock)
        with suppress(OSError, MmapNinjaError):  # it has succeeded; others clean up after it
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


def evolve(
    generation: Generation,
    slot: _kernel.Slot,
    change: Change,
    commit_file: _kernel.File,
    commit_name: str,
    lock: _kernel.File,
) -> None:
    """Make the next generation of a dataset, and switch to it; under the lock.

    `slot` is the newest of the open commit file; all that it speaks of must be durable.
    """
    path = generation.path.resolve()  # all in one directory, wherever a symbolic link to it is pointed meanwhile
    before, slot = slot, slot.copy()
    if commit_name == COMMIT:
        drop_ended_build(path, slot.generation)  # synced with the names of the new files
    old, number = generation.meta, next_generation(path)
    opened = dict(zip(old.files, generation.opened, strict=True))
    sizes = dict(zip(old.files, generation.extents(slot.rows, slot.edits), strict=True))
    sums_file = old.files[-1]
    stored = files.read_at(opened[sums_file].fileno(), sizes[sums_file], 0, path / sums_file.name)
    if change.rows is not None:
        slot.rows, slot.edits = change.rows, 0
    # Where the commit file has another name, as in a copy of hard links, what both name stays that one's alone.
    kept = () if _is_linked(commit_file) else _kept(old, change)
    meta = new_meta(old.kind, number, old.uuid, change.columns, old.metadata, kept)
    # Sums of files that are no longer there, or may change in place now, go; those of new files come.
    sealed = {file for file, rule in zip(meta.files, meta.extents(), strict=True) if rule.sealed}
    ids = {file.id for file in sealed.intersection(kept)}
    ends = _Ends(b"".join(entry for entry in block_sums(stored) if int.from_bytes(entry[:8], "little") in ids))
    copied = {(file.role, file.column): file for file in _kept(old, change) if file not in kept}
    try:
        for file in meta.files[:-1]:
            start = sizes[file] if file in kept else 0
            if file not in kept:
                source = copied.get((file.role, file.column))
                content = (
                    _contents_of(file, generation, slot.rows, change)
                    if source is None
                    else [files.Range(opened[source].fileno(), 0, sizes[source])]
                )
                sizes[file] = _write_file(path / file.name, content, commit_file)
                opened[file] = files.open_read(path / file.name)
            if file in sealed:
                ends.add(file, opened[file].fileno(), start, sizes[file], path / file.name)
        if meta.files[-1] not in kept or ends.sums != stored:
            meta = new_meta(old.kind, number, old.uuid, change.columns, old.metadata, meta.files[:-1])
            _write_file(path / meta.files[-1].name, [ends.sums], commit_file)
        encoded = meta.encode()
        _write_file(path / meta_name(number), [encoded], commit_file)
        files.sync_directory(path)
        slot.generation, slot.meta_digest = number, _kernel.xxh64(encoded)
        slot.durable_rows, slot.durable_edits = slot.rows, slot.edits
        ends.put_into(slot)
        made = Generation.open(path, slot, generation.commit)
        made.extents(slot.rows, slot.edits)  # nobody shall see a file that is too short
        _check_place(commit_file, path / commit_name)
        _check_place(lock, path / LOCK)
        _switch(commit_file, path, commit_name, slot, generation.descriptors, lock, before)
    finally:
        with suppress(OSError, MmapNinjaError):  # what else went wrong is to be raised
            if lock.is_at(str(path / LOCK)):  # neither a forked child's, nor that of a directory that was moved
                remove_unnamed(path)


def _is_linked(commit_file: _kernel.File) -> bool:
    """Whether a commit file has several names."""
    return os.fstat(commit_file.fileno()).st_nlink > 1


def _check_place(opened: _kernel.File, path: Path) -> None:
    """Raise StaleHandleError if an open file is no longer the one at its path: the directory was moved."""
    if not opened.is_at(str(path)):
        raise StaleHandleError(
            f"{path.parent}: is another directory than when this began, which has changed nothing there; do it again"
        )


def _kept(old: Meta, change: Change) -> tuple[FileEntry, ...]:
    """The files that the next generation shares with this one."""
    if change.rows is not None:
        return ()
    before = {column.id: column.type.files() for column in old.columns}
    after = {column.id: column.type.files() for column in change.columns}

    def fits(file: FileEntry) -> bool:
        if file.column is None:
            return True
        if (file.role, file.column) in change.contents or file.role not in after.get(file.column, {}):
            return False
        return file.role in ("data", "offsets") or before[file.column][file.role] == after[file.column][file.role]

    return tuple(filter(fits, old.files))


def _contents_of(file: FileEntry, generation: Generation, rows: int, change: Change) -> Iterable[files.Content]:
    """What a file of the next generation holds that it does not share."""
    key = file.role, file.column
    if key in change.contents:
        return change.contents[key]
    if file.role == "shapes" and rows:
        place = next(place for place, column in enumerate(generation.meta.columns) if column.id == file.column)
        column = next(column for column in change.columns if column.id == file.column)
        return copying.shapes(copying.whole(generation, rows), place, column)
    return _initial(file)


def _initial(file: FileEntry) -> list[bytes]:
    """What a file holds when there are no rows."""
    return [FIRST_OFFSET] if file.role == "offsets" else []


def fill(generation: Generation, contents: copying.Contents, rows: int, build: _kernel.File) -> None:
    """Give the generation of a BUILD without rows so many, durably, in one commit; its builder alone may know of it."""
    path, meta = generation.path, generation.meta
    slot = read_commit(path, BUILD).slots[0][1]
    ends = _Ends()
    for file, rule, fd in zip(meta.files, meta.extents(), generation.descriptors, strict=True):
        held = [ends.sums] if file.role == "sums" else contents.get((file.role, file.column), _initial(file))
        size = _write_into(path / file.name, held)
        if rule.sealed:
            ends.add(file, fd, 0, size, path / file.name)
    slot.rows = slot.durable_rows = rows
    ends.put_into(slot)
    generation.extents(rows, 0)
    _switch(build, path, BUILD, slot, [], build)


def finish_switch(path: Path, lock: _kernel.File) -> None:
    """End a `replace` that was interrupted after its first slot; under the lock."""
    commit = read_commit(path)
    newest = commit.slots[0][1]
    place, slot = next(placed for placed in commit.slots if placed[1].durable)
    with files.open_write(path / COMMIT) as commit_file:
        if not commit.suspect:
            # Written again, so that the sync has something to do: an earlier one may have failed, and its process died.
            _write_slot(commit_file, place, slot, path / COMMIT)
            try:
                files.sync(commit_file, path / COMMIT)
            except OSError as error:
                _mark_suspect(commit_file, commit, path, error)
        elif newest.generation != slot.generation:  # a sync of the switch failed; all others were synced before
            _switch(commit_file, path, COMMIT, slot, [], lock)
        # Else one failed later, and the commits in doubt are not this build's.
    drop_build(path)


def _mark_suspect(commit_file: _kernel.File, commit: CommitFile, path: Path, error: OSError) -> NoReturn:
    """Tell everybody that the newest commit may not be on the medium, as the kernel does where its syncs fail."""
    slot = commit.slots[0][1].copy()
    slot.seq, slot.flags = commit.next_seq(), slot.flags | _kernel.SUSPECT
    seqs = {place: other.seq for place, other in commit.slots}
    _write_slot(commit_file, min((0, 1), key=lambda place: seqs.get(place, 0)), slot, path / COMMIT)
    raise CommitUncertainError(
        f"{path / COMMIT}: a sync failed ({error}): whether the last commits survive a power loss is unknown; "
        "check the disk, then see mmap_ninja.recover, or build the dataset anew"
    ) from None


def drop_build(path: Path) -> None:
    """Remove BUILD and the files that only it names; under the lock."""
    if not (path / COMMIT).exists():
        # Without BUILD, they would be taken for what is left of a dataset: they go first.
        _remove_others(path, set())
        files.sync_directory(path)
    files.remove(path / BUILD)
    remove_unnamed(path)


def drop_ended_build(path: Path, generation: int) -> None:
    """Remove a BUILD that a switch to a generation has left; under the lock, before another takes that one's place.

    Afterwards, nothing would tell it from one that is to be gone on with, and put in the place of all that came later.
    """
    with suppress(CorruptDatasetError, NotADatasetError):
        if (path / BUILD).exists() and read_commit(path, BUILD).slots[0][1].generation == generation:
            files.remove(path / BUILD)


def remove_unnamed(path: Path) -> None:
    """Unlink the files that no slot of COMMIT or BUILD names; under the lock."""
    path = path.resolve()  # as in `evolve`
    if (path / COMMIT).exists() and read_commit(path).suspect:
        return  # the medium may hold slots, or a commit file, that name others
    kept = _named(path)
    _remove_others(path, kept)
    if LEGACY_DATA not in kept:
        upgrade_marks.retire_data(path)


def _remove_others(path: Path, kept: set[str]) -> None:
    """Unlink the files of generations that are not among those to be kept."""
    for name in files.names(path):
        if generation_of(name) is not None and name not in kept:
            files.remove(path / name)


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
            if generation_of(name) == number:
                files.remove(path / name)


def finish_upgrade(path: Path) -> None:
    """End an upgrade that has made its commit file, if there is one; under the lock."""
    if (path / UPGRADE).exists() and (path / COMMIT).exists():
        upgrade_marks.finish(path, keeps_data=LEGACY_DATA in _named(path))


def _named(path: Path) -> set[str]:
    """The files that the slots of COMMIT and BUILD name, with their metas."""
    kept = set()
    for commit_name in (COMMIT, BUILD):
        if (path / commit_name).exists():
            try:
                slots = read_commit(path, commit_name).slots
            except NotADatasetError:
                if (path / commit_name).exists():
                    raise
                continue  # who looks without the lock may find that it has just gone
            for generation in {slot.generation for _, slot in slots}:
                meta_path = path / meta_name(generation)
                try:
                    meta = decode_meta(files.read(meta_path, META_SIZE_LIMIT), str(meta_path))
                except (FileNotFoundError, CorruptDatasetError):
                    if commit_name == COMMIT:
                        raise
                    # A first commit that was interrupted: its meta comes last.
                    kept |= {name for name in files.names(path) if generation_of(name) == generation}
                else:
                    kept |= {meta_path.name, *(file.name for file in meta.files)}
    return kept


def next_generation(path: Path) -> int:
    """A number that no generation in a directory has."""
    taken = [generation_of(name) or 0 for name in files.names(path)]
    return max(*taken, int(upgrade_marks.detect(path)), 0) + 1  # the first one is that of an upgrade


def _write_file(path: Path, contents: Iterable[files.Content], like: _kernel.File | None) -> int:
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


def _switch(
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
    if _is_linked(commit_file):
        lock.check_writer(str(path))
        with files.Scope() as scope:
            _place(path, slot, commit_name, commit_file, scope)
        return
    before = before or commit.slots[0][1]
    _kernel.switch_commit(commit_file, str(path / commit_name), str(path), synced, slot, before, lock)


def _write_slot(commit_file: _kernel.File, place: int, slot: _kernel.Slot, commit_path: Path) -> None:
    slot.durable = place >= 2
    files.write(commit_file, _kernel.encode_slot(slot), place * _kernel.SLOT_STRIDE, commit_path)


def _all_slots(slot: _kernel.Slot) -> bytes:
    pages = []
    for place in range(_kernel.SLOTS):
        slot.durable = place >= 2
        pages.append(_kernel.encode_slot(slot).ljust(_kernel.SLOT_STRIDE, b"\0"))
    return b"".join(pages)


def make_lock(path: Path, timeout: float) -> _kernel.File:
    """A directory's LOCK, held as by `locked`; it is made if it is missing."""
    if not (path / LOCK).exists():
        with ExitStack() as stack, suppress(FileExistsError):
            files.create(path / LOCK, _model(path, stack)).close()
    return locked(path, timeout)
