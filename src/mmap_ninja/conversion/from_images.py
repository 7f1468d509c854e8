"""Folders of images, with a folder for each class."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from mmap_ninja.columns import specs
from mmap_ninja.conversion.files import Files, files_below, read
from mmap_ninja.conversion.source import Source, Wanted

FORM: Final = "folder of images"
SUFFIXES: Final = (".jpg", ".jpeg", ".png", ".gif", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm")


class Images:
    """The encoded images of a folder by position, with the numbers of their classes, so that workers can read them."""

    def __init__(self, folder: Path, names: Files, labels: Mapping[str, int]) -> None:
        self._folder, self._names, self._labels = str(folder), names, labels

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, index: int) -> dict[str, Any]:
        name = self._names[index]
        sample = {"image": read(f"{self._folder}/{name}"), "path": name}
        return {**sample, "label": self._labels.get(_class_of(name))} if self._labels else sample

    def place(self, index: int) -> str:
        """Where a sample comes from."""
        return f"{self._folder}/{self._names[index]}"


def folder(path: Path, wanted: Wanted) -> Source:
    """A folder of images, in the order of their paths; the folders in it are the classes."""
    names = files_below(path).ending(*SUFFIXES)
    classes = sorted({_class_of(name) for name in names} - {""})
    is_mixed = any(not _class_of(name) for name in names)
    columns: dict[str, specs.Spec] = {"image": specs.Bytes(), "path": specs.Text()}
    if classes:
        columns["label"] = specs.Scalar("int64", nullable=is_mixed)
    images = Images(path, names, {name: label for label, name in enumerate(classes)})
    return Source(
        form=f"{FORM}, {len(classes)} classes" if classes else FORM,
        kind="records",
        samples=images,
        feed="indexable",
        columns=wanted.over(columns, path),
        total=len(images),
        place=images.place,
        metadata={"classes": classes} if classes else None,
    )


def _class_of(name: str) -> str:
    """The folder of the class of an image: the first one of its path; "" if there is none."""
    return name.partition("/")[0] if "/" in name else ""
