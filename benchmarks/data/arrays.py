"""Arrays, and records that hold some: generated, the same in each run."""

from typing import Any

import numpy as np
from data.texts import letters

IMAGE_SIDES = (20, 60)
TOKEN_LENGTHS = (20, 380)
VOCABULARY = 50_000
FIXED_SHAPE = (28, 28)
ROW_WORDS, DIFFERENT_ROWS = 163, 10_000


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


def words(count: int) -> np.ndarray:
    """Make rows of 1,304 bytes that are told apart by their first word: more of them than can be made at random."""
    rows = np.resize(_rows(), (count, ROW_WORDS))
    rows[:, 0] = np.arange(count)
    return rows


def sum_of_words(indices: np.ndarray) -> int:
    """Return the sum of some of these rows."""
    others = _rows()[:, 1:].sum(axis=1)
    return int((others[indices % DIFFERENT_ROWS] + indices.astype(np.uint64)).sum())


def _rows() -> np.ndarray:
    return np.random.default_rng(5).integers(0, 1 << 24, (DIFFERENT_ROWS, ROW_WORDS), np.uint64)


def records(count: int) -> list[dict[str, Any]]:
    columns = zip(images(count), letters(count), range(count), tokens(count), strict=True)
    return [{"image": image, "text": text, "label": n, "tokens": row} for image, text, n, row in columns]
