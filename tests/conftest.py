"""What all tests share."""

import os

import hypothesis
import pytest
from faults import OLD

from mmap_ninja import StringsMmap

# CI asks for the same examples every time; a developer's machine explores.
hypothesis.settings.register_profile("ci", derandomize=True, deadline=None)
hypothesis.settings.register_profile("default", deadline=None)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "default")


@pytest.fixture
def path(tmp_path):
    """A complete, durable dataset of OLD."""
    StringsMmap.from_strings(tmp_path / "ds", OLD).close()
    return tmp_path / "ds"
