"""Datasets of mmap_ninja: those of 0.x become the current format."""

from pathlib import Path

from mmap_ninja.conversion.source import Source, Wanted
from mmap_ninja.engine.upgrade_marks import detect
from mmap_ninja.format.names import COMMIT
from mmap_ninja.kinds.opening import open as open_dataset


def is_dataset(folder: Path) -> bool:
    """Whether a folder is a dataset."""
    return bool(detect(folder)) or (folder / COMMIT).exists()


def dataset(path: Path, _: Wanted) -> Source:
    """A dataset, which is copied."""
    found = open_dataset(path, "r")
    return Source(
        form="dataset of mmap_ninja 0.x" if detect(path) else "dataset of mmap_ninja",
        kind=found._kind,  # noqa: SLF001 - of its class
        samples=found,
        feed="dataset",
        total=len(found),
        metadata=found.metadata or None,
    )
