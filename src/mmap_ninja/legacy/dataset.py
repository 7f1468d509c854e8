"""A directory of 0.x as a handle sees it: opened, but never changed."""

import os
from collections.abc import Callable
from dataclasses import astuple
from pathlib import Path
from typing import Any

from mmap_ninja import _kernel
from mmap_ninja.columns import codec
from mmap_ninja.columns.types import DICTIONARY_SIZES, Array, Column, ColumnType, Ragged, ShapeForm, Text, Zstd
from mmap_ninja.engine import files
from mmap_ninja.engine.commit_file import Told
from mmap_ninja.engine.dataset import DEFAULT_LOCK_TIMEOUT, Dataset, Durability, check_kind
from mmap_ninja.engine.generation import Identity
from mmap_ninja.engine.seen import Snapshot
from mmap_ninja.engine.upgrade_marks import detect
from mmap_ninja.errors import CorruptDatasetError, StaleHandleError
from mmap_ninja.format.meta import Kind, Meta
from mmap_ninja.legacy.layout import FlatShapes, Keys, LayoutFile, LegacyLayout, NestedShapes
from mmap_ninja.legacy.read import read_layout

GENERATION = 1  # the one that an upgrade makes


class LegacyDataset:
    """The open files of a directory of 0.x, identified as the generation that an upgrade would make.

    Raises:
        CorruptDatasetError: if its files are incomplete or contradict each other.
        TypeError: if the dataset is of another kind.
        ImportError: if its strings are compressed, and the extra `zstd` is not installed.
    """

    def __init__(
        self,
        path: Path,
        kind: Kind | None,
        durability: Durability = "process",
        lock_timeout: float = DEFAULT_LOCK_TIMEOUT,
        keys: Keys = Keys(),  # noqa: B008 - immutable
    ) -> None:
        self.path = path
        self.durability = durability
        self.lock_timeout = lock_timeout
        self.keys = keys
        self._opened: dict[str, _kernel.File] = {}
        layout = read_layout(path, *keys)
        self.layout: LegacyLayout = layout
        check_kind(path, layout.kind, kind)
        self.rows: int = layout.rows
        sizes = {file.name: file.size_bytes for file in files_of(layout)}
        for name in sizes:
            self._opened[name] = files.open_read(path / name)
        found = {name: os.fstat(file.fileno()) for name, file in self._opened.items()}
        for name, size in sizes.items():
            if found[name].st_size < size:
                raise CorruptDatasetError(f"{path / name}: was truncated while it was opened; try again")
        # Changes with whatever 0.x stores, but not by a copy, an upgrade, or renaming a class or field here.
        import hashlib  # noqa: PLC0415 - loads OpenSSL, which the current format does not need

        facts = repr((astuple(layout), [info.st_mtime_ns for info in found.values()]))
        fingerprint = hashlib.blake2b(facts.encode(), digest_size=16).digest()
        self.meta: Meta = Meta(fingerprint, GENERATION, layout.kind, (Column(0, "", _column_type(layout)),), (), {})

    @property
    def any_descriptor(self) -> int:
        """The descriptor of an open file."""
        return self.file(self.layout.payload).fileno()

    @property
    def snapshot(self) -> Snapshot:
        """What the handle sees, for views and pickles."""
        return Snapshot(Identity.of_0x(self.meta.uuid, GENERATION, self.rows), {}, complete=True)

    @property
    def nbytes(self) -> int:
        """Bytes of the samples as they are stored."""
        return self.layout.payload.size_bytes

    def pin(self, identity: Identity) -> None:
        """Raise StaleHandleError if this is not the data that a pickled handle saw."""
        if identity != self.snapshot.identity:
            raise StaleHandleError(
                f"{self.path}: mmap_ninja 0.x changed the dataset after this handle was pickled; open the path again"
            )

    def sync(self) -> None:
        """Wait until the files and their names are on the disk."""
        for name, file in self._opened.items():
            files.sync(file.borrowed(), self.path / name)
        for folder in sorted({(self.path / name).parent for name in self._opened} | {self.path, self.path.parent}):
            files.sync_directory(folder, self.path)

    def close(self) -> None:
        """Does nothing: there is nothing to write, and the files close when this object is collected."""

    def file(self, file: LayoutFile | None) -> _kernel.File:
        """A file of the layout."""
        assert file is not None  # noqa: S101 - only called for kinds with this file
        return self._opened[file.name]

    def open_column(
        self, *, mapped: bool, copies: bool = False, wrapper: Callable[[Any], Any] | None = None
    ) -> _kernel.Column:
        """The samples as a column of the kernel, as `open_column` does for a generation."""
        layout = self.layout
        column = self.meta.columns[0].type
        unit = layout.dtype.itemsize if layout.dtype is not None else 1
        if isinstance(column, Array) and not layout.strides:
            unit = column.row_size
        return _kernel.Column(
            column.name,
            str(self.path),
            self.rows,
            self._column_files(),
            unit=unit,
            dtype=layout.dtype,
            shape=layout.sample_shape or (),
            strides=layout.strides or (),
            shape_form=ShapeForm.FLAT if layout.shapes is None else ShapeForm.LEGACY,
            shape_width=layout.shapes.ndim if isinstance(layout.shapes, FlatShapes) else 0,
            codec=self._codec(),
            wrapper=wrapper,
            copies=copies,
            mapped=mapped,
        )

    def open_bytes(self, *, mapped: bool) -> _kernel.Column:
        """The samples as they are stored, as runs of bytes."""
        found = self._column_files()
        unit = self.layout.dtype.itemsize if self.layout.dtype is not None else 1
        index = {name: found[name] for name in ("data", "starts", "ends")}
        return _kernel.Column("binary", str(self.path), self.rows, index, unit=unit, mapped=mapped)

    def _column_files(self) -> dict[str, tuple[_kernel.File, int]]:
        """The files by the kernel's names for them."""
        layout = self.layout
        roles = {"data": layout.payload, "starts": layout.starts, "ends": layout.ends}
        match layout.shapes:
            case FlatShapes(shapes, _):
                roles |= {"shapes": shapes}
            case NestedShapes(numbers, starts, ends):
                roles |= {"shapes": numbers, "starts of shapes": starts, "ends of shapes": ends}
        return {role: (self.file(file), file.size_bytes) for role, file in roles.items() if file is not None}

    def _codec(self) -> _kernel.Zstd | None:
        column = self.meta.columns[0].type
        if not isinstance(column, Text) or column.codec is None:
            return None
        return codec.opened(column.codec, str(self.path))


def open_dataset(
    path: Path,
    kind: Kind | None,
    durability: Durability,
    lock_timeout: float,
    keys: Keys = Keys(),  # noqa: B008
    told: Told | None = None,
) -> Dataset | LegacyDataset:
    """Open the dataset at a path, of the current format or of 0.x."""
    if detect(path):
        try:
            found = LegacyDataset(path, kind, durability, lock_timeout, keys)
        except (CorruptDatasetError, FileNotFoundError):
            if detect(path):
                raise
        else:
            if detect(path):
                return found
        # Another process is upgrading it, which removes the files of 0.x.
    return Dataset(path, kind, durability, lock_timeout, told=told)


def _column_type(layout: LegacyLayout) -> ColumnType:
    if layout.kind == "strings":
        if layout.compression is None:
            return Text()
        dictionary = layout.compression.dictionary
        size = None if dictionary is None else max(len(dictionary), DICTIONARY_SIZES[0])
        return Text(Zstd(layout.compression.level, size, dictionary))
    if layout.kind == "array":
        return Array(layout.dtype, layout.sample_shape)
    return Ragged(layout.dtype)  # the ranks are unknown before all shapes are read


def files_of(layout: LegacyLayout) -> list[LayoutFile]:
    """The files of a layout that hold samples, or tell where and what they are."""
    found = [layout.payload, layout.starts, layout.ends]
    match layout.shapes:
        case FlatShapes(file, _):
            found.append(file)
        case NestedShapes(data, starts, ends):
            found += [data, starts, ends]
    return [file for file in found if file is not None]
