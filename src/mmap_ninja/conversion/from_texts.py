"""Text files: a folder with a sample in each, or one file with a sample a line."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmap_ninja.columns import specs
from mmap_ninja.conversion import text_files
from mmap_ninja.conversion.files import Files, files_below, read
from mmap_ninja.conversion.source import Source, Wanted
from mmap_ninja.conversion.text_files import Places, Refusing, not_utf8
from mmap_ninja.format.meta import Kind

FOLDER = "folder of text files"
LINES = "text file with a sample a line"


class Texts:
    """The files of a folder by position, so that workers can read them."""

    def __init__(self, folder: Path, names: Files, kind: Kind, *, with_path: bool) -> None:
        self._folder, self._names = os.fsencode(f"{folder}/"), names
        self._kind, self._with_path = kind, with_path

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, index: int) -> Any:
        data = read(self._folder + self._names.raw(index))
        if self._kind == "bytes":
            return data
        try:
            text = data.decode().removeprefix("\ufeff")
        except UnicodeDecodeError as error:
            raise ValueError(f"{self.place(index)}: {not_utf8(data, 0, error)}") from None
        if self._kind == "strings":
            return text
        return {"text": text, "path": self._names[index]} if self._with_path else {"text": text}

    def place(self, index: int) -> str:
        """Where a sample comes from."""
        return os.fsdecode(self._folder + self._names.raw(index))


def folder(path: Path, wanted: Wanted) -> Source:
    """A folder of text files, in the order of their paths."""
    kind: Kind = "records" if wanted.with_path else wanted.kind or "strings"
    texts = Texts(path, files_below(path).ending(".txt"), kind, with_path=wanted.with_path)
    fields = ("text", "path") if wanted.with_path else ("text",)
    columns = wanted.over({name: specs.Text() for name in fields}, path) if kind == "records" else {}
    return Source(
        form=FOLDER,
        kind=kind if kind in ("bytes", "records") else "strings",
        samples=texts,
        feed="indexable",
        columns=columns,
        total=len(texts),
        place=texts.place,
    )


def lines(path: Path, wanted: Wanted) -> Source:
    """A text file with a sample a line; an end of line of Windows is none of the sample."""
    places, refuse = Places(path), Refusing(path, wanted.skipped)

    def samples() -> Iterator[str]:
        for number, line, wrong in text_files.lines(path):
            if wrong is not None:
                refuse(number, wrong)
                continue
            places.add(number)
            yield line.removesuffix("\n").removesuffix("\r")

    return Source(form=LINES, kind="strings", samples=samples(), place=places)


def decoded(data: bytes, where: str) -> str:
    """UTF-8 as text; an error names the place."""
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"{where}: {not_utf8(data, 0, error)}") from None
