"""The dataset that the tests in this folder damage."""

import pytest

from mmap_ninja import StringsMmap
from support.damage import SAMPLES


@pytest.fixture
def path(tmp_path):
    """A complete and durable dataset of SAMPLES."""
    StringsMmap.from_strings(tmp_path / "ds", SAMPLES).close()
    return tmp_path / "ds"
