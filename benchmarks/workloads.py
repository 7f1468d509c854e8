"""The arrays that are measured, laid out for a run so that a fresh process has them in RAM within a moment."""

import io
import tarfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Self

import numpy as np
from corpus import CACHE, HERE, new_scratch

ARCHIVE = HERE.parent.parent / "shared" / "data" / "photos100.tar"
# Samples of a whole run. "decode", "trivial" and "memory" are sources of parallel builds, see sources.py.
SIZES = {
    "images": 20_000,
    "photos": 100,
    "tokens": 50_000,
    "fixed": 60_000,
    "decode": 800,
    "trivial": 1_000_000,
    "memory": 1000,
}
IMAGE_SIDES = (20, 60)
TOKEN_LENGTHS = (20, 380)
FIXED_SHAPE = (28, 28)
VOCABULARY = 50_000
WINDOW_LENGTH, WINDOW_STRIDE = 64, 32
JPEG_SIDES = (500, 375)  # of generated ones: what most photos of the archive have
GENERATED_JPEGS = 40


def checksum(values: np.ndarray) -> int:
    """Return a number that depends on every byte; one C call, about 0.4 ns per byte."""
    return zlib.adler32(values)


def images(count: int) -> list[np.ndarray]:
    """Make small colour images of many sizes."""
    chance = np.random.default_rng(1)
    sides = chance.integers(IMAGE_SIDES[0], IMAGE_SIDES[1], (count, 2), endpoint=True)
    return [chance.integers(0, 256, (height, width, 3), np.uint8) for height, width in sides.tolist()]


def tokens(count: int) -> list[np.ndarray]:
    """Make rows of token numbers of many lengths."""
    chance = np.random.default_rng(2)
    lengths = chance.integers(*TOKEN_LENGTHS, count, endpoint=True)
    return [chance.integers(0, VOCABULARY, length, np.int32) for length in lengths.tolist()]


def fixed(count: int) -> np.ndarray:
    """Make grey images of one size, as MNIST has them."""
    return np.random.default_rng(3).integers(0, 256, (count, *FIXED_SHAPE), np.uint8)


GENERATED: dict[str, Callable[[int], Sequence[np.ndarray]]] = {"images": images, "tokens": tokens, "fixed": fixed}


@dataclass(frozen=True)
class Workload:
    """Arrays on disk: `fixed` as one array, all others flat with their shapes."""

    path: Path

    @classmethod
    def store(cls, path: Path, samples: Sequence[np.ndarray]) -> Self:
        """Lay out samples at a new path."""
        path.mkdir(parents=True)
        if isinstance(samples, np.ndarray):
            np.save(path / "values.npy", samples)
        else:
            np.save(path / "values.npy", np.concatenate([sample.reshape(-1) for sample in samples]))
            np.save(path / "shapes.npy", np.array([sample.shape for sample in samples], np.int64))
        np.save(path / "checksums.npy", np.array([checksum(sample) for sample in samples], np.int64))
        return cls(path)

    @property
    def ragged(self) -> bool:
        """Tell whether the samples have shapes of their own."""
        return (self.path / "shapes.npy").exists()

    @property
    def shapes(self) -> np.ndarray:
        """The shape of each sample, where they differ."""
        return np.load(self.path / "shapes.npy")

    @property
    def checksums(self) -> np.ndarray:
        """The checksum of each sample."""
        return np.load(self.path / "checksums.npy")

    @property
    def payload_bytes(self) -> int:
        """What the samples take."""
        return np.load(self.path / "values.npy", mmap_mode="r").nbytes

    def samples(self) -> list[np.ndarray] | np.ndarray:
        """Return one array of fixed shapes, or a list of arrays, each with memory of its own."""
        values = np.load(self.path / "values.npy")
        if not self.ragged:
            return values
        shapes = self.shapes
        rows = zip(pairwise(offsets_of(shapes).tolist()), shapes.tolist(), strict=True)
        return [values[start:end].reshape(shape).copy() for (start, end), shape in rows]


def offsets_of(shapes: np.ndarray) -> np.ndarray:
    """Return where each sample starts in the flat values, and where the last one ends."""
    return np.concatenate([[0], np.cumsum(shapes.prod(axis=1))]).astype(np.int64)


def photo_files(named: str | None) -> list[Path]:
    """Return the JPEG files of a folder, or of the archive beside the project, if this machine has it."""
    folder = Path(named) if named else CACHE / "photos100"
    if not named and not folder.exists() and ARCHIVE.exists():
        unfinished = new_scratch("unpacking")
        with tarfile.open(ARCHIVE) as archive:
            archive.extraction_filter = getattr(tarfile, "data_filter", None)  # not before Python 3.11.4
            archive.extractall(unfinished)  # noqa: S202 - an archive of our own
        unfinished.rename(folder)
    return sorted(file for file in folder.glob("**/*") if file.suffix.lower() in {".jpg", ".jpeg"})


def pillow_is_here() -> bool:
    """Tell whether JPEGs can be read and written."""
    return find_spec("PIL") is not None


def decode(jpeg: bytes) -> np.ndarray:
    """Decode one JPEG to height x width x 3."""
    from PIL import Image  # noqa: PLC0415 - optional

    return np.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB"))


def generate_jpegs(path: Path) -> list[Path]:
    """Write JPEGs that take about as long to decode as photos do: coarse noise, scaled up."""
    from PIL import Image  # noqa: PLC0415 - optional

    chance = np.random.default_rng(4)
    path.mkdir(parents=True)
    files = [path / f"{index:04d}.jpg" for index in range(GENERATED_JPEGS)]
    for file in files:
        coarse = Image.fromarray(chance.integers(0, 256, (94, 125, 3), np.uint8))
        coarse.resize(JPEG_SIDES, Image.Resampling.BICUBIC).save(file, quality=90)
    return files
