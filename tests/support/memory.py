"""Where the memory of arrays and buffers is."""

import sys

import numpy as np

LARGE = 300 << 10  # bytes: an array of so many is not copied, wherever it lies in its file


def address(array):
    """The address of an ndarray's memory."""
    return array.__array_interface__["data"][0]


def is_mapped(memory, path):
    """Whether an ndarray, or memory at an address, is a map of a file in a directory, not a copy of it."""
    if sys.platform != "linux":
        return True
    at = address(memory) if isinstance(memory, np.ndarray) else memory
    with open("/proc/self/maps") as lines:
        for line in lines:
            start, end = (int(bound, 16) for bound in line.split()[0].split("-"))
            if start <= at < end:
                return str(path) in line
    return False
