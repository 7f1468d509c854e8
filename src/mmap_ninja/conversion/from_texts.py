"""Text files: a folder with a sample in each, or one file with a sample a line."""

from collections.abc import Iterator
from pathlib import Path

from mmap_ninja.conversion.source import Source, Wanted


class Texts:
    """The texts of files, by position, so that workers can read them."""

    def __init__(self, folder: Path, names: list[str]) -> None:
        self._folder, self._names = folder, names

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, index: int) -> str:
        return (self._folder / self._names[index]).read_text("utf-8")


def folder(path: Path, wanted: Wanted) -> Source:
    """A folder of text files, in the order of their names."""
    names = sorted(str(file.relative_to(path)) for file in path.rglob("*.txt"))
    return Source(
        form="folder of text files",
        kind="strings",
        samples=Texts(path, names),
        feed="indexable",
        total=len(names),
        place=lambda index: str(path / names[index]),
    )


def lines(path: Path, wanted: Wanted) -> Source:
    """A text file with a sample a line."""

    def read() -> Iterator[str]:
        with path.open(encoding="utf-8", newline="\n") as file:
            for line in file:
                yield line.removesuffix("\n")

    return Source(
        form="text file, a sample a line",
        kind="strings",
        samples=read(),
        place=lambda index: f"{path}, line {index + 1}",
    )
