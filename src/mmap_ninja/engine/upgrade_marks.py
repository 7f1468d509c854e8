"""Marks in an upgraded 0.x directory: small files that make 0.9 refuse it.

If 0.9 finds no `starts/dtype.ninja` (for strings) or `shapes_are_flat.ninja` (for ragged datasets), it treats a
directory as an empty dataset, and its first append overwrites it. If it finds them, it opens the arrays beside them:
then it asks NumPy for a dtype with the mark as its name, and NumPy refuses and quotes it.

`UPGRADE` lists the folders to mark and to clear. It is written before the commit file, and removed at the end.
"""

import errno
import os
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final

from mmap_ninja import _kernel
from mmap_ninja.engine import files
from mmap_ninja.errors import CorruptDatasetError
from mmap_ninja.format.names import COMMIT, LEGACY_DATA, UPGRADE

MARK: Final = b"this directory was upgraded: install mmap_ninja>=1"

_DTYPE: Final = "dtype.ninja"
_EMPTIED: Final = ("shape.ninja", "order.ninja")
_FLAT: Final = "shapes_are_flat.ninja"
_TYPE: Final = "type.ninja"
_ZSTD: Final = ("zstd_level.ninja", "zstd_dict.ninja")
_MARKED: Final = (LEGACY_DATA, _DTYPE, *_EMPTIED, _FLAT, _TYPE)
FOLDERS: Final = ("starts", "ends", "shapes", "flattened_shapes")
FILES: Final = (*_MARKED, *_ZSTD)
LEFT_BY_0X: Final = (_TYPE, _FLAT, _DTYPE, LEGACY_DATA)  # at least one of them

_TEMPORARY: Final = ".new"
_LIST_LIMIT: Final = 4096
_DEPTH: Final = 2  # the shapes of ragged samples can be a ragged directory themselves


def is_marked(folder: Path) -> bool:
    """Whether a directory of 0.x was upgraded, or is an index folder of one that was."""
    try:
        return files.read(f"{folder}/{_DTYPE}", len(MARK)) == MARK
    except OSError:
        return False


def detect(path: Path) -> bool:
    """Whether a directory is, at least in part, one of 0.x; with a commit file it is not, or no longer."""
    if os.path.lexists(f"{path}/{COMMIT}"):
        return False
    for name in LEFT_BY_0X:
        if os.path.lexists(f"{path}/{name}"):
            return not is_marked(path)
    return False


def owns(path: Path, name: str) -> bool:
    """Whether a name in a dataset's directory belongs to the marks."""
    return is_marked(path if name.removesuffix(_TEMPORARY) in _MARKED else path / name)


def announce(path: Path, marked: str, cleared: list[str]) -> None:
    """Store, durably, which folders `finish` will mark and clear; after this the commit file may be created.

    Raises:
        ReadOnlyError: if one of them cannot be changed.
    """
    names = [name for name in (marked, *cleared) if _is_plain(name)]
    for name in names:
        if (path / name).is_dir() and not os.access(path / name, os.W_OK):
            raise files.read_only(path / name, OSError(errno.EACCES, ""))
    _put(path / UPGRADE, "\n".join(names).encode())
    files.sync_directory(path)


def finish(path: Path, *, keeps_data: bool) -> None:
    """Mark an upgraded directory, and remove what only 0.x reads; the caller holds the lock. Can be repeated.

    Args:
        path: The dataset's directory.
        keeps_data: Whether `data.ninja` is the payload of a generation.
    """
    files.sync_directory(path)  # the process that made the commit file may have died before its name was on the disk
    list_path = path / UPGRADE
    names = files.read(list_path, _LIST_LIMIT).decode("utf-8", "replace").split("\n")
    marked, *cleared = [name for name in names if _is_plain(name)] or FOLDERS[:1]
    for name in sorted(
        {marked, FOLDERS[0]}
    ):  # always the default folder, too, without which 0.9 would overwrite the directory
        _mark(path / name, keeps_data=False)
    _mark(path, keeps_data=keeps_data)
    _put(path / _FLAT, bytes(4))
    _put(path / _TYPE, MARK)
    files.sync_directory(path)
    for name in cleared:
        if name not in (marked, FOLDERS[0]):
            _clear(path / name, _DEPTH)
    for name in _ZSTD:
        files.remove(path / name)
    files.sync_directory(path)  # the list must go last, also on filesystems that do not keep the order of names
    files.remove(list_path)
    files.sync_directory(path)


def retire_data(path: Path) -> None:
    """Remove the 0.x payload of a marked directory when no generation names it any more."""
    data_path = path / LEGACY_DATA
    if is_marked(path) and data_path.exists() and data_path.stat().st_size:
        _put(data_path, b"")


def _mark(folder: Path, *, keeps_data: bool) -> None:
    if os.path.lexists(folder) and (folder.is_symlink() or not folder.is_dir()):
        return  # a file of the user
    files.make_directories(folder)
    _put(folder / _DTYPE, MARK)
    for name in _EMPTIED if keeps_data else (*_EMPTIED, LEGACY_DATA):
        _put(folder / name, b"")
    files.sync_directory(folder)


def _put(path: Path, content: bytes) -> None:
    # By renaming, since 0.9 may have the old file open.
    new_path = path.with_name(path.name + _TEMPORARY)
    files.remove(new_path)
    with ExitStack() as stack:
        like: _kernel.File | None = None
        for beside in (path, path.with_name(LEGACY_DATA), path.parent.with_name(LEGACY_DATA)):
            with suppress(OSError, CorruptDatasetError):
                like = like or stack.enter_context(files.open_read(beside))
        file = stack.enter_context(files.create(new_path, like))
        files.write(file, content, 0, new_path)
        files.sync(file, new_path)
    files.rename(new_path, path)


def _clear(folder: Path, depth: int) -> None:
    """Remove an array or ragged directory of 0.x; other files stay, and then the folder does, too."""
    if folder.is_symlink() or not folder.is_dir():
        return
    for name in files.names(folder):
        if name in FILES:
            files.remove(folder / name)
        elif name in FOLDERS and depth > 1:
            _clear(folder / name, depth - 1)
    files.remove_directory(folder)


def _is_plain(name: str) -> bool:
    return name not in ("", ".", "..") and "/" not in name and "\0" not in name
