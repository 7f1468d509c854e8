"""One batch out of separate samples, as a person writes it with NumPy, for the systems that have no such read."""

import numpy as np

Pair = tuple[np.ndarray, np.ndarray]


def join(samples: list[np.ndarray]) -> Pair:
    """Return arrays one after the other, and the offsets between them."""
    return np.concatenate(samples), _offsets(samples)


def join_bytes(samples: list[bytes]) -> Pair:
    """Return byte strings as one array, and the offsets between them."""
    return np.frombuffer(b"".join(samples), np.uint8), _offsets(samples)


def _offsets(samples: list[np.ndarray] | list[bytes]) -> np.ndarray:
    offsets = np.zeros(len(samples) + 1, np.int64)
    np.cumsum([len(sample) for sample in samples], out=offsets[1:])
    return offsets


def pad(samples: list[np.ndarray]) -> Pair:
    """Return the samples in one array, filled up with zeros, and their lengths or shapes."""
    shapes = np.array([sample.shape for sample in samples])
    result = np.zeros((len(samples), *shapes.max(axis=0)), samples[0].dtype)
    if shapes.shape[1] == 1:
        for row, sample in enumerate(samples):
            result[row, : len(sample)] = sample
        return result, shapes[:, 0]
    for row, sample in enumerate(samples):
        result[row][tuple(map(slice, sample.shape))] = sample
    return result, shapes
