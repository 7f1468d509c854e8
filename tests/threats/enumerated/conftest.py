"""A folder for thousands of kills, interrupts, errors and power losses."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest

MEMORY = "/dev/shm"  # noqa: S108 - a folder of its own in there


@pytest.fixture
def tmp_path(tmp_path):
    """In memory, where there is room: on a disk, these tests wait for it most of their time."""
    if not os.access(MEMORY, os.W_OK) or shutil.disk_usage(MEMORY).free < 1 << 30:
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=MEMORY, prefix="mmap_ninja-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)
