"""Arrays, and records that hold some: generated, the same in each run."""

from typing import Any

import numpy as np
from data.texts import letters

IMAGE_SIDES = (20, 60)
TOKEN_LENGTHS = (20, 380)
VOCABULARY = 50_000
FIXED_SHAPE = (28, 28)


def images(count: int) -> list[np.ndarray]:
    chance = np.random.default_rng(1)
    sides = chance.integers(*IMAGE_SIDES, (count, 2), endpoint=True)
    return [chance.integers(0, 256, (height, width, 3), np.uint8) for height, width in sides.tolist()]


def tokens(count: int) -> list[np.ndarray]:
    chance = np.random.default_rng(2)
    lengths = chance.integers(*TOKEN_LENGTHS, count, endpoint=True)
    return [chance.integers(0, VOCABULARY, length, np.int32) for length in lengths.tolist()]


def fixed(count: int) -> np.ndarray:
    """Make grey images of one size, as MNIST has them."""
    return np.random.default_rng(3).integers(0, 256, (count, *FIXED_SHAPE), np.uint8)


def records(count: int) -> list[dict[str, Any]]:
    columns = zip(images(count), letters(count), range(count), tokens(count), strict=True)
    return [{"image": image, "text": text, "label": n, "tokens": row} for image, text, n, row in columns]
