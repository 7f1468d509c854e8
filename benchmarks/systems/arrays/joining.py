"""One batch out of separate arrays, as a person writes it with NumPy, for the systems that have no such read."""

import numpy as np


def pad(samples: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
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


def join(samples: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return the samples one after the other, and the offsets between them."""
    offsets = np.zeros(len(samples) + 1, np.int64)
    np.cumsum([len(sample) for sample in samples], out=offsets[1:])
    return np.concatenate(samples), offsets
