"""Ragged samples kept by hand, as one flat array of values and one of shapes, in whatever gives slices of it."""

from itertools import pairwise

import numpy as np

READ_AHEAD = 1000  # samples per read in order


class Slices:
    """Samples cut out of flat values; offsets and shapes are lists in RAM."""

    def __init__(self, values, shapes):
        self.values = values
        self.offsets = [0, *np.cumsum(shapes.prod(axis=1)).tolist()]
        self.shapes = list(map(tuple, shapes.tolist()))

    def __len__(self):
        return len(self.shapes)

    def __getitem__(self, index):
        return self.values[self.offsets[index] : self.offsets[index + 1]].reshape(self.shapes[index])

    def __iter__(self):
        for first in range(0, len(self), READ_AHEAD):
            last = min(first + READ_AHEAD, len(self))
            block = self.values[self.offsets[first] : self.offsets[last]]
            bounds = pairwise(offset - self.offsets[first] for offset in self.offsets[first : last + 1])
            for (start, end), shape in zip(bounds, self.shapes[first:last], strict=True):
                yield block[start:end].reshape(shape)


def in_blocks(array, length):
    for first in range(0, length, READ_AHEAD):
        yield from array[first : first + READ_AHEAD]


def flat(samples):
    values = np.concatenate([sample.reshape(-1) for sample in samples])
    return values, np.array([sample.shape for sample in samples])
