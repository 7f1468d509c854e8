"""Changes: the next generation of a dataset, which shares files with the current one where they fit."""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from mmap_ninja import _kernel
from mmap_ninja.columns.types import Column
from mmap_ninja.engine import copying, files
from mmap_ninja.engine.directory import drop_ended_build, next_generation, remove_unnamed
from mmap_ninja.engine.generation import Generation, block_sums
from mmap_ninja.engine.publish import GenerationWriter, Target, check_place, is_linked, name_generation
from mmap_ninja.errors import MmapNinjaError
from mmap_ninja.format.meta import FileEntry, Meta, new_meta
from mmap_ninja.format.names import COMMIT, LOCK

_NULLS_AT_ONCE: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Change:
    """How the next generation of a dataset differs.

    Args:
        columns: Its columns. Files of columns that stay are shared where they fit.
        contents: The contents of new files; each is read once.
        rows: The number of rows, if all files are new and there are no edits; None: the rows stay.
        metadata: The user's metadata; None: it stays.
    """

    columns: tuple[Column, ...]
    contents: copying.Contents = field(default_factory=dict)
    rows: int | None = None
    metadata: dict[str, Any] | None = None


def evolve(
    generation: Generation,
    slot: _kernel.Slot,
    change: Change,
    target: Target,
    lock: _kernel.File,
) -> None:
    """Make the next generation of a dataset, and switch to it; the caller holds the lock.

    `slot` is the newest of the commit file `target`; everything it refers to must be durable.
    """
    path = generation.path.resolve()  # stay in one directory, even if a symbolic link to it changes meanwhile
    before, slot = slot, slot.copy()
    if target.name == COMMIT:
        drop_ended_build(path, slot.generation)  # synced together with the names of the new files
    old, number = generation.meta, next_generation(path)
    opened = dict(zip(old.files, generation.all_opened(), strict=True))
    sizes = dict(zip(old.files, generation.extents(slot.rows, slot.edits), strict=True))
    sums_file = old.files[-1]
    stored = files.read_at(opened[sums_file].fileno(), sizes[sums_file], 0, path / sums_file.name)
    if change.rows is not None:
        slot.rows, slot.edits = change.rows, 0
    # If the commit file has other hard links, as in a linked copy, the copy keeps the files and nothing is shared.
    kept = () if is_linked(target.file) else _kept(old, change)
    metadata = old.metadata if change.metadata is None else change.metadata
    meta = new_meta(old.kind, number, old.uuid, change.columns, metadata, kept)
    # Drop the sums of files that are gone, or that may now change in place; those of new files are added.
    ids = {file.id for file, rule in zip(meta.files, meta.rules, strict=True) if rule.sealed and file in kept}
    sums = b"".join(entry for entry in block_sums(stored) if int.from_bytes(entry[:8], "little") in ids)
    writer = GenerationWriter(path, meta, target.file, sums)
    copied = {(file.role, file.column): file for file in _kept(old, change) if file not in kept}
    try:
        for file in meta.files[:-1]:
            source = copied.get((file.role, file.column))
            if file in kept:
                writer.share(file, opened[file], sizes[file])
            elif source is not None:
                writer.create(file, [files.Range(opened[source], 0, sizes[source])])
            else:
                writer.create(file, _contents_of(file, generation, slot.rows, change))
        writer.create_sums(stored if meta.files[-1] in kept else None)
        writer.create_meta()
        name_generation(slot, writer.meta)
        writer.describe(slot, slot.rows, slot.edits)
        made = Generation.open(path, slot, generation.commit)
        made.extents(slot.rows, slot.edits)  # no reader may see a file that is too short
        check_place(target.file, path, target.name)
        check_place(lock, path, LOCK)
        target.switch(path, slot, list(opened.values()), lock, before)
    finally:
        with suppress(OSError, MmapNinjaError):  # raise the first error, not one of the clean-up
            if lock.is_at(f"{path}/{LOCK}"):  # not in a forked child, nor if the directory was moved
                remove_unnamed(path)


def _kept(old: Meta, change: Change) -> tuple[FileEntry, ...]:
    """The files that the next generation shares with the current one."""
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
    """The contents of a new file of the next generation; None: it has no rows."""
    key = file.role, file.column
    if key in change.contents:
        return change.contents[key]
    if file.role == "nulls":  # the column had none
        return (bytes(min(_NULLS_AT_ONCE, rows - at)) for at in range(0, rows, _NULLS_AT_ONCE))
    if file.role == "shapes" and rows:
        column = next(column for column in change.columns if column.id == file.column)
        return copying.shapes(copying.whole(generation, rows), column)
    return None
