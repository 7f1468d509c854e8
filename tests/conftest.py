"""What all tests share."""

import os
from collections import Counter

import hypothesis
import pytest
from faults import OLD

from mmap_ninja import StringsMmap

pytest.register_assert_rewrite("crash_actions", "power_loss")

# CI asks for the same examples every time; a developer's machine explores.
hypothesis.settings.register_profile("ci", derandomize=True, deadline=None)
hypothesis.settings.register_profile("default", deadline=None)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "default")


@pytest.fixture
def path(tmp_path):
    """A complete, durable dataset of OLD."""
    StringsMmap.from_strings(tmp_path / "ds", OLD).close()
    return tmp_path / "ds"


_COUNTED = "counted: "


@pytest.fixture
def count(record_property):
    """Adds to the numbers that the test run ends with: `count("crash points", 40)`."""
    return lambda what, number: record_property(_COUNTED + what, number)


def pytest_terminal_summary(terminalreporter):
    """Say how much the tests of crashes and power losses have tried."""
    totals = Counter()
    for report in terminalreporter.stats.get("passed", []) + terminalreporter.stats.get("failed", []):
        for name, number in report.user_properties:
            if report.when == "call" and name.startswith(_COUNTED):
                totals[name.removeprefix(_COUNTED)] += number
    for what, number in sorted(totals.items()):
        terminalreporter.write_line(f"tried: {number:,} {what}")
