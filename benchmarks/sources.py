"""What parallel builds read: indexables whose samples are made, or decoded, when they are asked for."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from workloads import decode

ROW_LENGTH = 50
PICTURE_SHAPE = (256, 256, 3)


@dataclass(frozen=True)
class Source:
    """A sequence of so many samples."""

    length: int

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> np.ndarray:
        if index >= self.length:
            raise IndexError(index)  # upstream asks until it meets this
        return self.sample(index)

    def sample(self, index: int) -> np.ndarray:
        """Make one sample."""
        raise NotImplementedError


@dataclass(frozen=True)
class Photos(Source):
    """JPEG files, decoded; they are gone through again and again up to the length."""

    files: list[str]

    def sample(self, index: int) -> np.ndarray:
        return decode(Path(self.files[index % len(self.files)]).read_bytes())


@dataclass(frozen=True)
class Rows(Source):
    """Short rows that cost next to nothing to make."""

    def sample(self, index: int) -> np.ndarray:
        return np.full(ROW_LENGTH, index, np.int32)


@dataclass(frozen=True)
class Pictures(Source):
    """Pictures of 192 KiB, cheap to make: what is heavy is to hold them."""

    def sample(self, index: int) -> np.ndarray:
        return np.full(PICTURE_SHAPE, index % 256, np.uint8)


BATCH_SIZES = {Photos: 64, Rows: 1024, Pictures: 64}
