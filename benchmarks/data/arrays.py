"""Arrays, and records that hold some: generated, the same in each run."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from data.texts import letters

IMAGE_SIDES = (20, 60)
TOKEN_LENGTHS = (20, 380)
VOCABULARY = 50_000
FIXED_SHAPE = (28, 28)
ROW_WORDS, DIFFERENT_ROWS = 163, 10_000
ROW_TOKENS = 512
FRAME_SIZE = 80
MEDIAN_FRAMES, MOST_FRAMES, SPREAD = 150, 600, 0.5  # the last one is of the logarithm


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


def rows(count: int) -> np.ndarray:
    """Make tokens in rows as a language model is trained on."""
    return np.random.default_rng(2).integers(0, VOCABULARY, (count, ROW_TOKENS), np.int32)


def frames(count: int) -> Iterator[np.ndarray]:
    """Make as many frames as short and long speech has."""
    chance = np.random.default_rng(0)
    lengths = chance.lognormal(np.log(MEDIAN_FRAMES), SPREAD, count).astype(int).clip(1, MOST_FRAMES)
    values = chance.random((MOST_FRAMES, FRAME_SIZE), np.float32)
    return (values[:length] for length in lengths.tolist())


def speech(count: int) -> list[np.ndarray]:
    """Make such frames, of which each sample has its own."""
    samples = [sample.copy() for sample in frames(count)]
    for number, sample in enumerate(samples):
        sample[0, 0] = number
    return samples


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
