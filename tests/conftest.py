"""Fixtures and settings of all tests."""

import gc
import itertools
import os
import shutil
from collections import Counter
from pathlib import Path

import hypothesis
import pytest

from mmap_ninja import StringsMmap
from mmap_ninja.engine import files
from support.faults import OLD
from support.golden import GOLDEN

# CI runs the same examples every time; a developer's machine explores.
hypothesis.settings.register_profile("ci", derandomize=True, deadline=None)
hypothesis.settings.register_profile("default", deadline=None)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "default")


@pytest.fixture
def path(tmp_path):
    """A complete and durable dataset of OLD."""
    StringsMmap.from_strings(tmp_path / "ds", OLD).close()
    return tmp_path / "ds"


@pytest.fixture
def copy(tmp_path):
    """A copy of a golden directory, which may be changed."""

    def make(name, to="dataset"):
        return Path(shutil.copytree(GOLDEN / name, tmp_path / to))

    return make


@pytest.fixture
def reboot(monkeypatch):
    """Make readers believe that the machine was rebooted."""
    boots = itertools.count(1)

    def start_again():
        boot = next(boots).to_bytes(16, "little")
        monkeypatch.setattr(files, "boot_id", lambda: boot)

    return start_again


def pytest_collection_modifyitems(items):
    """Tests of JAX come last: once it has begun, its process must not fork any more."""
    items.sort(key=lambda item: "jax" in item.nodeid or "grain" in item.nodeid)


def pytest_collection_finish():
    """Keep garbage collections, of which there are thousands here, from scanning the tests themselves."""
    gc.collect()
    gc.freeze()


_COUNTED = "counted: "


@pytest.fixture
def count(record_property):
    """Adds to the numbers shown at the end of the test run: `count("crash points", 40)`."""
    return lambda what, number: record_property(_COUNTED + what, number)


def pytest_terminal_summary(terminalreporter):
    """Show how many crashes, errors and power losses were tried."""
    totals = Counter()
    for report in terminalreporter.stats.get("passed", []) + terminalreporter.stats.get("failed", []):
        for name, number in report.user_properties:
            if report.when == "call" and name.startswith(_COUNTED):
                totals[name.removeprefix(_COUNTED)] += number
    for what, number in sorted(totals.items()):
        terminalreporter.write_line(f"tried: {number:,} {what}")
