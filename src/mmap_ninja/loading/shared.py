"""`shared_list`: a list that worker processes read from one place instead of copying it."""

import os
import shutil
import tempfile
import weakref
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from mmap_ninja.exported import exported
from mmap_ninja.kinds.arrays import ArrayMmap
from mmap_ninja.kinds.bytes import BytesMmap
from mmap_ninja.kinds.handle import DatasetHandle
from mmap_ninja.kinds.ragged import RaggedMmap
from mmap_ninja.kinds.records import RecordsMmap
from mmap_ninja.kinds.strings import StringsMmap

_REMOVALS: Final[set["weakref.finalize[..., Any]"]] = set()


@exported
def shared_list(values: Iterable[Any], path: str | os.PathLike[str] | None = None) -> DatasetHandle[Any]:
    """A read-only list in files, which every process maps, and which pickles as their path.

    The workers of a `DataLoader` copy a list of the dataset object: each reference count that they touch copies a page
    (https://github.com/pytorch/pytorch/issues/13246). This one is written once and takes no memory of theirs.

    Args:
        values: Texts, bytes, numbers, arrays, lists of numbers, or dicts; all of one kind.
        path: The directory to write; one that exists is replaced. None: a temporary one, which this process removes
            when nobody has the list any more, or when it exits.

    Returns:
        A `StringsMmap`, `BytesMmap`, `ArrayMmap`, `RaggedMmap` or `RecordsMmap`, opened for reading.

    Raises:
        TypeError: if a value is of no such kind, or of another one than the first.

    Example:
        >>> import mmap_ninja as mn
        >>> import pickle
        >>> names = mn.shared_list(["a.jpg", "b.jpg"])
        >>> names[1], len(pickle.dumps(names)) < 1000
        ('b.jpg', True)
    """
    listed = list(values)
    kind = kind_of(listed[0] if listed else "")
    if path is not None:
        return kind.from_generator(path, listed, mode="r")
    directory = Path(tempfile.mkdtemp(prefix="mmap_ninja-"))
    try:
        shared = kind.from_generator(directory / "list", listed, mode="r")
    except BaseException:
        shutil.rmtree(directory)
        raise
    removal = weakref.finalize(shared, _remove, directory)
    _REMOVALS.add(removal)
    return shared


def kind_of(value: Any) -> type[DatasetHandle[Any]]:
    """The class of a list whose first value this is."""
    if isinstance(value, str):
        return StringsMmap
    if isinstance(value, bytes | bytearray | memoryview):
        return BytesMmap
    if isinstance(value, Mapping):
        return RecordsMmap
    if np.ndim(value) == 0:
        return ArrayMmap
    return RaggedMmap


def _remove(directory: Path) -> None:
    shutil.rmtree(directory, ignore_errors=True)
    _REMOVALS.difference_update([removal for removal in _REMOVALS if not removal.alive])


def _leave_to_parent() -> None:
    for removal in _REMOVALS:
        removal.detach()
    _REMOVALS.clear()


os.register_at_fork(after_in_child=_leave_to_parent)
