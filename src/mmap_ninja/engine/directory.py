"""The directory of a dataset: creation, replacement as a whole, and removal of files that no commit names."""

import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from mmap_ninja import _kernel
from mmap_ninja.columns.types import Column
from mmap_ninja.engine import copying, files, upgrade_marks
from mmap_ninja.engine.commit_file import CommitFile, read_commit
from mmap_ninja.engine.log import locked
from mmap_ninja.engine.publish import Target, check_place, make_commit_file, model, name_generation, publish, write_slot
from mmap_ninja.errors import (
    CommitUncertainError,
    CorruptDatasetError,
    LockTimeoutError,
    MmapNinjaError,
    NotADatasetError,
)
from mmap_ninja.format.meta import META_SIZE_LIMIT, Kind, decode_meta, new_meta
from mmap_ninja.format.names import (
    BUILD,
    COMMIT,
    LEGACY_DATA,
    LOCK,
    UPGRADE,
    generation_of,
    holds_samples,
    is_own_name,
    is_stray_name,
    meta_name,
)


def is_vacant(path: Path) -> bool:
    """Whether a dataset can be created at a path: nothing is there, or an empty directory."""
    if not path.exists():
        return True
    if not path.is_dir() or _orphans(path):
        return False
    names = [name for name in files.names(path) if not is_stray_name(name)]
    return all(map(is_own_name, names)) and COMMIT not in names


def unfinished(path: Path) -> int | None:
    """How many samples an unfinished build has stored at a path, also beside a dataset; None if there is none."""
    for name in (BUILD, COMMIT):
        with suppress(NotADatasetError):
            slot = read_commit(path, name).slots[0][1]
            if not slot.flags & _kernel.COMPLETE:
                rows: int = slot.rows
                return rows
    return None


def create(
    path: Path,
    kind: Kind,
    columns: tuple[Column, ...],
    metadata: dict[str, Any],
    timeout: float,
    contents: copying.Contents | None = None,
    rows: int = 0,
    build: files.Scope | None = None,
) -> _kernel.File | None:
    """Create a dataset at a vacant path, durably and in one step.

    Args:
        path: The directory.
        kind: Its kind.
        columns: Its columns.
        metadata: The user's metadata.
        timeout: Seconds to wait for other processes.
        contents: The contents of its files; None: they are empty.
        rows: The number of samples.
        build: The scope of a first build, whose end makes the dataset complete: it keeps the commit file open and
            locked. None: the dataset is complete.

    Returns:
        The commit file; None if another process was faster.

    Raises:
        NotADatasetError: if the directory holds files that do not belong to a dataset.
    """
    if files.exists(f"{path}/{COMMIT}"):
        return None
    files.make_directories(path)
    refuse_foreign(path)
    with files.Scope() as scope, make_lock(path, timeout) as lock:
        if files.exists(f"{path}/{COMMIT}"):
            return None
        refuse_orphans(path)
        take_build(path, BUILD, scope)
        drop_build(path)  # left by an interrupted creation
        files.remove(f"{path}/{UPGRADE}")
        like = model(path, scope)
        meta = new_meta(kind, next_generation(path), uuid.uuid4().bytes, columns, metadata)
        flags, holding = (_kernel.COMPLETE, scope) if build is None else (0, build)
        if rows:  # samples without a commit file would look like a damaged dataset
            slot = _kernel.Slot()
            name_generation(slot, meta)
            make_commit_file(path, slot, BUILD, like, scope)
        try:
            commit_file = publish(path, meta, contents or {}, rows, COMMIT, flags, holding, like)
        except BaseException:
            with suppress(OSError, MmapNinjaError):  # what else went wrong is to be raised
                lock.check_writer(str(path))
                if not files.exists(f"{path}/{COMMIT}"):
                    for name in (meta_name(meta.generation), *(file.name for file in meta.files), BUILD):
                        files.remove(f"{path}/{name}")
            raise
        with suppress(OSError):  # it has succeeded
            files.remove(f"{path}/{BUILD}")
    return commit_file


def take_build(path: Path, name: str, scope: files.Scope) -> Target | None:
    """The commit file of an abandoned build, locked until the scope ends; the caller holds the lock of the dataset.

    None if there is no such file. Its name is BUILD for a replacement, and COMMIT for a first build.

    Raises:
        LockTimeoutError: if a process is still building.
    """
    try:
        file = files.lock(f"{path}/{name}", 0.0)
    except FileNotFoundError:
        return None
    if file is None:
        raise being_built(path, name)
    return Target(name, scope.hold(file), scope)


def being_built(path: Path, name: str) -> LockTimeoutError:
    """The error for a commit file that is locked by the process that builds the dataset; names the process."""
    holder = files.lock_holder(f"{path}/{name}")
    return LockTimeoutError(
        f"{path}/{name}: {holder} is building this dataset now; wait for it, as if_exists='reuse' does, or end it"
    )


def refuse_builder(path: Path, slot: _kernel.Slot) -> None:
    """Raise if a first build at a path goes on; the caller holds the lock, and `slot` is the newest of COMMIT.

    Raises:
        LockTimeoutError: naming the process that builds.
    """
    if not slot.flags & _kernel.COMPLETE:
        with files.Scope() as scope:
            take_build(path, COMMIT, scope)


def refuse_orphans(path: Path) -> None:
    """Raise if a directory without a commit file holds samples that are not left by an interrupted creation."""
    if orphans := _orphans(path):
        raise CorruptDatasetError(
            f"{path}: holds samples in {orphans[:5]}, but no {COMMIT} file; restore it from a copy, or move these "
            "files away"
        )


def _orphans(path: Path) -> list[str]:
    """Files with samples in a directory without a commit file, except those of an interrupted merge."""
    if files.exists(f"{path}/{COMMIT}"):
        return []
    sizes: dict[str, int] = {}
    for name in files.names(path):
        try:
            sizes[name] = files.size(f"{path}/{name}")
        except FileNotFoundError:  # another process removed it
            continue
    known = _named(path)  # only now: what names a file is created before it, and removed after it
    upgraded = sizes.get(LEGACY_DATA) and upgrade_marks.is_marked(path)
    orphans = [name for name, size in sizes.items() if holds_samples(name, size) and name not in known]
    orphans = [name for name in [*orphans, *[LEGACY_DATA] * bool(upgraded)] if files.exists(f"{path}/{name}")]
    return [] if files.exists(f"{path}/{COMMIT}") else orphans


def refuse_foreign(path: Path) -> None:
    """Raise if a directory holds other files: they could be mistaken for the dataset's, or be deleted with them."""
    foreign = [
        name
        for name in files.names(path)
        if not (is_own_name(name) or is_stray_name(name) or upgrade_marks.owns(path, name))
    ]
    if upgrade_marks.detect(path):
        foreign = [name for name in foreign if name not in (*upgrade_marks.FILES, *upgrade_marks.FOLDERS)]
    if foreign:
        raise NotADatasetError(
            f"{path}: holds files that do not belong to a dataset: {foreign[:5]}; choose another path, or move them "
            "away"
        )


def start_generation(
    path: Path,
    kind: Kind,
    columns: tuple[Column, ...],
    metadata: dict[str, Any],
    scope: files.Scope,
) -> Target:
    """Write the files of a new, empty generation, and a BUILD that names it; the caller holds the lock.

    Returns BUILD, whose lock is held until the scope ends.
    """
    meta = new_meta(kind, next_generation(path), uuid.uuid4().bytes, columns, metadata)
    with files.Scope() as here:  # a build can take hours
        return Target(BUILD, publish(path, meta, {}, 0, BUILD, 0, scope, model(path, here)), scope)


def replace(path: Path, slot: _kernel.Slot, build: _kernel.File, timeout: float) -> None:
    """Make the commit of a finished BUILD the newest of the dataset, durably, and remove what it replaces."""
    with files.Scope() as scope, locked(path, timeout) as lock:
        path = path.resolve()  # as in `evolve`
        check_place(build, path, BUILD)
        check_place(lock, path, LOCK)
        if upgrade_marks.detect(path):
            upgrade_marks.announce(path, upgrade_marks.FOLDERS[0], list(upgrade_marks.FOLDERS))
            make_commit_file(path, slot, COMMIT, build, scope)
        elif not files.exists(f"{path}/{COMMIT}"):
            make_commit_file(path, slot, COMMIT, build, scope)
        else:
            refuse_builder(path, read_commit(path).slots[0][1])
            Target(COMMIT, scope.hold(files.open_write(f"{path}/{COMMIT}")), scope).switch(path, slot, [], lock)
        with suppress(OSError, MmapNinjaError):  # it has succeeded; others clean up after it
            drop_build(path)
            finish_upgrade(path)


def finish_switch(path: Path, lock: _kernel.File) -> None:
    """Finish a `replace` that was interrupted after its first slot; the caller holds the lock."""
    commit = read_commit(path)
    newest = commit.slots[0][1]
    place, slot = next(placed for placed in commit.slots if placed[1].durable)
    with files.Scope() as scope:
        commit_file = scope.hold(files.open_write(f"{path}/{COMMIT}"))
        if not commit.suspect:
            # Written again, so that the sync writes it: an earlier sync may have failed before its process died.
            write_slot(commit_file, place, slot, f"{path}/{COMMIT}")
            try:
                files.sync(commit_file, f"{path}/{COMMIT}")
            except OSError as error:
                _mark_suspect(commit_file, commit, path, error)
        elif newest.generation != slot.generation:  # a sync of the switch failed, all earlier ones succeeded
            Target(COMMIT, commit_file, scope).switch(path, slot, [], lock)
        # Otherwise a sync failed later, and the doubtful commits are not from this build.
    drop_build(path)


def _mark_suspect(commit_file: _kernel.File, commit: CommitFile, path: Path, error: OSError) -> NoReturn:
    """Mark the newest commit as one that may not be on the disk, as the kernel does when a sync fails."""
    slot = commit.slots[0][1].copy()
    slot.seq, slot.flags = commit.next_seq(), slot.flags | _kernel.SUSPECT
    seqs = {place: other.seq for place, other in commit.slots}
    write_slot(commit_file, min((0, 1), key=lambda place: seqs.get(place, 0)), slot, f"{path}/{COMMIT}")
    raise CommitUncertainError(
        f"{path}/{COMMIT}: a sync failed ({error}): whether the last commits survive a power loss is unknown; check "
        "the disk, then use mmap_ninja.recover, or rebuild the dataset"
    ) from None


def drop_build(path: Path) -> None:
    """Remove BUILD and the files that only it names; the caller holds the lock."""
    if files.exists(f"{path}/{COMMIT}"):
        files.remove(f"{path}/{BUILD}")
        remove_unnamed(path)
        return
    # These first: without BUILD, they would look like a damaged dataset.
    _remove_others(path, set())
    files.sync_directory(path)
    files.remove(f"{path}/{BUILD}")
    upgrade_marks.retire_data(path)


def drop_ended_build(path: Path, generation: int) -> None:
    """Remove the BUILD that a switch to a generation left behind; called under the lock, before the next switch.

    After that it would look like an unfinished one, whose end would replace everything that came later.
    """
    with suppress(CorruptDatasetError, NotADatasetError):
        if files.exists(f"{path}/{BUILD}") and read_commit(path, BUILD).slots[0][1].generation == generation:
            files.remove(f"{path}/{BUILD}")


def remove_unnamed(path: Path) -> None:
    """Unlink the files that no slot of COMMIT or BUILD names; the caller holds the lock."""
    path = path.resolve()  # as in `evolve`
    if files.exists(f"{path}/{COMMIT}") and read_commit(path).suspect:
        return  # the slots or the commit file on the disk may name others
    kept = _named(path)
    _remove_others(path, kept)
    if LEGACY_DATA not in kept:
        upgrade_marks.retire_data(path)


def _remove_others(path: Path, kept: set[str]) -> None:
    """Unlink the files of generations, except those to keep."""
    for name in files.names(path):
        if generation_of(name) is not None and name not in kept:
            files.remove(f"{path}/{name}")


def remove_generation(path: Path, number: int) -> None:
    """Unlink the files made for a generation, unless COMMIT names it; the caller holds the lock.

    Others are kept: if COMMIT is missing or damaged, they are what is left of the dataset.
    """
    try:
        named = {slot.generation for _, slot in read_commit(path).slots}
    except (CorruptDatasetError, NotADatasetError):
        named = set()
    if number not in named:
        for name in files.names(path):
            if generation_of(name) == number:
                files.remove(f"{path}/{name}")


def finish_upgrade(path: Path) -> None:
    """Finish an interrupted upgrade that has made its commit file, if there is one; the caller holds the lock."""
    if files.exists(f"{path}/{UPGRADE}") and files.exists(f"{path}/{COMMIT}"):
        upgrade_marks.finish(path, keeps_data=LEGACY_DATA in _named(path))


def _named(path: Path) -> set[str]:
    """The files that the slots of COMMIT and BUILD name, and their metas."""
    kept = set()
    for commit_name in (COMMIT, BUILD):
        if files.exists(f"{path}/{commit_name}"):
            try:
                slots = read_commit(path, commit_name).slots
            except NotADatasetError:
                if files.exists(f"{path}/{commit_name}"):
                    raise
                continue  # the caller may not hold the lock, and it was just removed
            for generation in {slot.generation for _, slot in slots}:
                meta_path = path / meta_name(generation)
                try:
                    meta = decode_meta(files.read(meta_path, META_SIZE_LIMIT), str(meta_path))
                except (FileNotFoundError, CorruptDatasetError):
                    if commit_name == COMMIT:
                        raise
                    # An interrupted first commit, which has no meta yet.
                    kept |= {name for name in files.names(path) if generation_of(name) == generation}
                else:
                    kept |= {meta_path.name, *(file.name for file in meta.files)}
    return kept


def next_generation(path: Path) -> int:
    """The first unused generation number in a directory."""
    taken = [generation_of(name) or 0 for name in files.names(path)]
    return max(*taken, int(upgrade_marks.detect(path)), 0) + 1  # an upgrade uses the first one


def make_lock(path: Path, timeout: float) -> _kernel.File:
    """A directory's LOCK, held as by `locked`, and created if it is missing."""
    if not files.exists(f"{path}/{LOCK}"):
        with files.Scope() as scope, suppress(FileExistsError):
            files.create(f"{path}/{LOCK}", model(path, scope)).close()
    return locked(path, timeout)
