"""The dataset that these tests damage."""

import pytest

from mmap_ninja import StringsMmap
from support.damage import SAMPLES


@pytest.fixture
def path(tmp_path):
    """A complete, durable dataset of SAMPLES."""
    StringsMmap.from_strings(tmp_path / "ds", SAMPLES).close()
    return tmp_path / "ds"
