"""Epochs in shuffled batches of 256, as a person writes them who has no loader of whole batches."""

import numpy as np

BATCH_SIZE = 256


class Loop:
    """Batches of positions, each read by one call: in the given order, or shuffled anew for each pass."""

    def __init__(self, count, read, order=None):
        self.count, self.read, self.order = count, read, order

    def __iter__(self):
        order = np.random.default_rng().permutation(self.count) if self.order is None else self.order
        return (self.read(order[start : start + BATCH_SIZE]) for start in range(0, len(order), BATCH_SIZE))


def data_loader(samples):
    """Return PyTorch's loader without worker processes, which are slower for samples as small as these."""
    from torch.utils.data import DataLoader  # noqa: PLC0415 - takes seconds to import, and is not in all environments

    return DataLoader(samples, BATCH_SIZE, shuffle=True)
