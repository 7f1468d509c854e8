"""Changes: the next generation of a dataset, which shares the files of this one that fit."""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field

from mmap_ninja import _kernel
from mmap_ninja.columns.types import Column
from mmap_ninja.engine import copying, files
from mmap_ninja.engine.directory import drop_ended_build, next_generation, remove_unnamed
from mmap_ninja.engine.generation import Generation, block_sums
from mmap_ninja.engine.publish import GenerationWriter, check_place, is_linked, name_generation, switch
from mmap_ninja.errors import MmapNinjaError
from mmap_ninja.format.meta import FileEntry, Meta, new_meta
from mmap_ninja.format.names import COMMIT, LOCK


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
    kept = () if is_linked(commit_file) else _kept(old, change)
    meta = new_meta(old.kind, number, old.uuid, change.columns, old.metadata, kept)
    # Sums of files that are no longer there, or may change in place now, go; those of new files come.
    ids = {file.id for file, rule in zip(meta.files, meta.rules, strict=True) if rule.sealed and file in kept}
    sums = b"".join(entry for entry in block_sums(stored) if int.from_bytes(entry[:8], "little") in ids)
    writer = GenerationWriter(path, meta, commit_file, sums)
    copied = {(file.role, file.column): file for file in _kept(old, change) if file not in kept}
    try:
        for file in meta.files[:-1]:
            source = copied.get((file.role, file.column))
            if file in kept:
                writer.share(file, opened[file], sizes[file])
            elif source is not None:
                writer.create(file, [files.Range(opened[source].fileno(), 0, sizes[source])])
            else:
                writer.create(file, _contents_of(file, generation, slot.rows, change))
        writer.create_sums(stored if meta.files[-1] in kept else None)
        writer.create_meta()
        name_generation(slot, writer.meta)
        writer.describe(slot, slot.rows, slot.edits)
        made = Generation.open(path, slot, generation.commit)
        made.extents(slot.rows, slot.edits)  # nobody shall see a file that is too short
        check_place(commit_file, path, commit_name)
        check_place(lock, path, LOCK)
        switch(commit_file, path, commit_name, slot, generation.descriptors, lock, before)
    finally:
        with suppress(OSError, MmapNinjaError):  # what else went wrong is to be raised
            if lock.is_at(f"{path}/{LOCK}"):  # neither a forked child's, nor that of a directory that was moved
                remove_unnamed(path)


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


def _contents_of(file: FileEntry, generation: Generation, rows: int, change: Change) -> Iterable[files.Content] | None:
    """What a file of the next generation holds that it does not share; None: it has no rows."""
    key = file.role, file.column
    if key in change.contents:
        return change.contents[key]
    if file.role == "shapes" and rows:
        place = next(place for place, column in enumerate(generation.meta.columns) if column.id == file.column)
        column = next(column for column in change.columns if column.id == file.column)
        return copying.shapes(copying.whole(generation, rows), place, column)
    return None
