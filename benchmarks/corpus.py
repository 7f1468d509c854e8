"""The texts that are measured, laid out for a run as one payload file and one offsets file."""

import os
import random
import tarfile
import tempfile
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Self

import numpy as np

HERE = Path(__file__).resolve().parent
CACHE = HERE / ".cache"
ARCHIVE = HERE.parent.parent / "shared" / "data" / "aclImdb.tar.xz"
FOLDER_ENV = "MMAP_NINJA_IMDB"
IMDB_PARTS = ("train/pos", "train/neg", "train/unsup", "test/pos", "test/neg")
GENERATED_SAMPLES = 100_000
# The words of a generated review: mostly ASCII, a few that need Latin-1 or more, as in real reviews.
WORDS = """
the a and of to is it in this that was as for with movie film but one not so good bad great story acting plot
character scene never really watch time people first last would could than then very director music ending
beautiful boring funny minutes
""".split()  # noqa: SIM905 - a list of fifty literals would fill a page
RARE_WORDS = ("café", "naïve", "résumé", "“quoted”", "…", "10/10 ★", "—")


@dataclass(frozen=True)
class Corpus:
    """UTF-8 texts on disk, laid out so that a fresh process has them in RAM within a moment."""

    path: Path
    label: str

    @classmethod
    def find(cls, data: str | None, num_samples: int | None, path: Path) -> Self:
        """Lay out at `path` the texts that `data` names, or the first that this machine has."""
        folder = _folder(data)
        texts = _generate(num_samples or GENERATED_SAMPLES) if folder is None else _read(folder, num_samples)
        _store(path, texts)
        return cls(path, "generated text" if folder is None else f"text files of `{folder.name}`")

    def first(self, num_samples: int, path: Path) -> Self:
        """Lay out at `path` the first texts of this corpus."""
        _store(path, self.texts()[:num_samples])
        return replace(self, path=path)

    @property
    def payload(self) -> bytes:
        """All texts in UTF-8, one after the other."""
        return (self.path / "payload").read_bytes()

    @property
    def offsets(self) -> np.ndarray:
        """Where each text starts in the payload, and where the last one ends."""
        return np.load(self.path / "offsets.npy")

    @property
    def char_lengths(self) -> np.ndarray:
        """The length of each text as a `str`."""
        return np.load(self.path / "char_lengths.npy")

    def encoded(self) -> list[bytes]:
        """Return the texts as `bytes`, each an object of its own."""
        payload, offsets = self.payload, self.offsets.tolist()
        return [payload[start:end] for start, end in pairwise(offsets)]

    def texts(self) -> list[str]:
        """Return the texts as `str`."""
        return [text.decode() for text in self.encoded()]


def new_scratch(name: str) -> Path:
    """Make a folder of this run alone, on the file system of the project; the caller removes it."""
    CACHE.mkdir(exist_ok=True)
    return Path(tempfile.mkdtemp(prefix=f"{name}-", dir=CACHE))


def _folder(data: str | None) -> Path | None:
    if data == "generated":
        return None
    named = data or os.environ.get(FOLDER_ENV)
    if named:
        if not Path(named).is_dir():
            message = f"{named}: no folder of text files"
            raise FileNotFoundError(message)
        return Path(named).resolve()
    unpacked = CACHE / "aclImdb"
    if not unpacked.exists() and ARCHIVE.exists():
        print(f"unpacking {ARCHIVE.name} once", flush=True)
        unfinished = new_scratch("unpacking")
        with tarfile.open(ARCHIVE) as archive:
            archive.extractall(unfinished, filter="data")
        (unfinished / "aclImdb").rename(unpacked)
        unfinished.rmdir()
    return unpacked if unpacked.exists() else None


def _parts(folder: Path) -> list[Path]:
    """Return where the texts lie: the IMDB reviews have lists of links beside them that are none."""
    imdb = [folder / name for name in IMDB_PARTS]
    return imdb if all(part.is_dir() for part in imdb) else [folder]


def _read(folder: Path, num_samples: int | None) -> list[str]:
    texts = []
    for path in sorted(file for part in _parts(folder) for file in part.glob("**/*.txt")):
        try:
            texts.append(path.read_bytes().decode())
        except UnicodeDecodeError:
            print(f"skipping {path.name}: no UTF-8", flush=True)
        if len(texts) == num_samples:
            break
    if not texts:
        message = f"{folder}: holds no UTF-8 *.txt file"
        raise FileNotFoundError(message)
    return texts


def _generate(num_samples: int) -> list[str]:
    """Make texts with lengths like those of the IMDB reviews: log-normal, median 970, mean 1.3 kB."""
    chance = random.Random(0)
    texts = []
    for _ in range(num_samples):
        length = int(min(max(chance.lognormvariate(6.88, 0.75), 30), 14_000))
        words = chance.choices(WORDS, k=length // 5)
        if chance.random() < 0.095:
            words[len(words) // 2] = chance.choice(RARE_WORDS)
        texts.append(" ".join(words))
    return texts


def _store(path: Path, texts: list[str]) -> None:
    path.mkdir(parents=True)
    encoded = [text.encode() for text in texts]
    (path / "payload").write_bytes(b"".join(encoded))
    np.save(
        path / "offsets.npy",
        np.concatenate([[0], np.cumsum([len(text) for text in encoded])]).astype(np.int64),
    )
    np.save(path / "char_lengths.npy", np.array([len(text) for text in texts], dtype=np.int64))
