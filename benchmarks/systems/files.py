"""The folder of text files that a dataset replaces."""

from collections.abc import Iterable, Iterator
from pathlib import Path

DISTRIBUTION = None
SETTINGS = (
    "one UTF-8 file per sample, 1000 to a folder; the paths are listed before the clock starts; "
    '`open(path, encoding="utf-8", newline="").read()`'
)
BATCH_TYPE = list
LIMITS: dict[str, int] = {}
FOLDER_SIZE = 1000


class Handle:
    """The sorted paths of a folder."""

    def __init__(self, path: Path) -> None:
        self.paths = [str(file) for file in sorted(path.glob("*/*.txt"))]

    def __len__(self) -> int:
        return len(self.paths)

    def iterate(self) -> int:
        return sum(map(len, self.samples()))

    def random_one(self, indices: list[int]) -> int:
        paths = self.paths
        total = 0
        for index in indices:
            with open_text(paths[index]) as file:
                total += len(file.read())
        return total

    def samples(self) -> Iterable[str]:
        return read_each(self.paths)


def read_each(paths: list[str]) -> Iterator[str]:
    """Read one file after the other."""
    for path in paths:
        with open_text(path) as file:
            yield file.read()


def build(texts: list[str], path: Path) -> None:
    for index, text in enumerate(texts):
        folder = path / f"{index // FOLDER_SIZE:06d}"
        if index % FOLDER_SIZE == 0:
            folder.mkdir(parents=True)
        (folder / f"{index:09d}.txt").write_bytes(text.encode())


def open_text(path: str):
    """Open one file without translating its line ends."""
    return Path(path).open(encoding="utf-8", newline="")


def open(path: Path) -> Handle:
    return Handle(path)
