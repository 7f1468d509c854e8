"""Joining separate byte strings into one jagged batch, for the systems that have no such read."""

import numpy as np


def join(samples: list[bytes]) -> tuple[np.ndarray, np.ndarray]:
    """Return the samples as one array of bytes and the offsets between them."""
    offsets = np.zeros(len(samples) + 1, np.int64)
    np.cumsum([len(sample) for sample in samples], out=offsets[1:])
    return np.frombuffer(b"".join(samples), np.uint8), offsets
