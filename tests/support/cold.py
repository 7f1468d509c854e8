"""Datasets that are not in memory."""

import os
from pathlib import Path

import pytest

import mmap_ninja as mn


def evicted(path):
    """Drop a dataset that nobody has open from memory; skips the test where the system keeps it, as tmpfs does."""
    for file in Path(path).iterdir():
        with file.open("rb") as opened:
            if hasattr(os, "posix_fadvise"):
                os.fsync(opened.fileno())
                os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    with mn.open(path) as dataset:
        if dataset.residency() > 0.2:
            pytest.skip("this filesystem keeps its files in memory, or does not tell")
