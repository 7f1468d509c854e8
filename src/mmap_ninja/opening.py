"""`open`: a dataset of any kind, by its path."""

import os
from pathlib import Path
from typing import Any, Final

from mmap_ninja.arrays import ArrayMmap
from mmap_ninja.bytes import BytesMmap
from mmap_ninja.dataset import DEFAULT_LOCK_TIMEOUT, Durability
from mmap_ninja.handle import DatasetHandle, Mode, PathLike
from mmap_ninja.legacy_dataset import open_dataset
from mmap_ninja.ragged_arrays import RaggedMmap
from mmap_ninja.strings import StringsMmap

_CLASSES: Final[dict[str, type[DatasetHandle[Any]]]] = {
    "strings": StringsMmap,
    "bytes": BytesMmap,
    "array": ArrayMmap,
    "ragged": RaggedMmap,
}


def open(
    path: PathLike,
    mode: Mode | None = None,
    *,
    durability: Durability = "process",
    lock_timeout: float = DEFAULT_LOCK_TIMEOUT,
) -> DatasetHandle[Any]:
    """Open an existing dataset with the class of its kind; directories of mmap_ninja 0.2 to 0.9, too.

    Args:
        path: The dataset's directory.
        mode: None: reads need no write permission, and the first mutation asks for it. "r": mutations raise.
        durability: What a commit survives at once: see `StringsMmap`.
        lock_timeout: Seconds to wait for other processes' commits.

    Raises:
        NotADatasetError: if the path is missing or holds no dataset.
        CorruptDatasetError: if its files contradict each other.
        FormatVersionError: if a newer version of mmap_ninja wrote it.

    Example:
        >>> _ = StringsMmap.from_strings("reviews", ["good", "bad"])
        >>> import mmap_ninja
        >>> mmap_ninja.open("reviews")[1]
        'bad'
    """
    dataset = open_dataset(Path(os.path.abspath(path)), None, durability, lock_timeout)
    handle = _CLASSES[dataset.meta.kind]._over(dataset, path, mode)
    handle._warn(stacklevel=3)
    return handle
