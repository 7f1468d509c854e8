"""What parallel builds read: indexables whose samples are made, or decoded, when they are asked for."""

import time
from dataclasses import dataclass

import numpy as np
from data.photos import decode

PICTURE_SHAPE = (256, 256, 3)  # cheap to make; what is heavy is to hold many
PICTURE_BYTES = 256 * 256 * 3
PICTURE_SECONDS = 0.002  # slow enough that workers are always started, also for the smaller source
BATCH_SIZES = {"decode": 64, "trivial": 1024, "memory": 64}


@dataclass(frozen=True)
class Source:
    """A sequence of so many samples: photos, rows that cost next to nothing, or pictures."""

    name: str
    length: int
    files: list[str]

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> np.ndarray:
        if index >= self.length:
            raise IndexError(index)  # upstream asks until it meets this
        if self.name == "trivial":
            return np.full(50, index, np.int32)
        if self.name == "memory":
            time.sleep(PICTURE_SECONDS)
            return np.full(PICTURE_SHAPE, index % 256, np.uint8)
        return decode(self.files[index % len(self.files)])
