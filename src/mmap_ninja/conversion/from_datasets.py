"""Datasets of mmap_ninja: those of 0.x become the current format."""

from pathlib import Path
from typing import cast

from mmap_ninja.conversion.source import Source, Wanted
from mmap_ninja.engine.upgrade_marks import detect
from mmap_ninja.format.meta import Kind
from mmap_ninja.format.names import COMMIT
from mmap_ninja.kinds.opening import CLASSES
from mmap_ninja.kinds.opening import open as open_dataset


def is_dataset(folder: Path) -> bool:
    """Whether a folder is a dataset."""
    return bool(detect(folder)) or (folder / COMMIT).exists()


def dataset(path: Path, _: Wanted) -> Source:
    """A dataset, which is copied."""
    found = open_dataset(path, "r")
    return Source(
        form="dataset of mmap_ninja 0.x" if detect(path) else "dataset of mmap_ninja",
        kind=cast("Kind", next(kind for kind, cls in CLASSES.items() if isinstance(found, cls))),
        samples=found,
        feed="dataset",
        total=len(found),
        metadata=found.metadata or None,
    )
