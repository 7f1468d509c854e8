"""What `mutation.py` has pytest do: measure which test runs which line, or run chosen tests in a chosen order."""

import json
import os
import sys
from pathlib import Path

import pytest

_TIMES = os.environ.get("MUTATION_TIMES")  # a file to write: how long each test took, None where it failed
_TESTS = os.environ.get("MUTATION_TESTS")  # a file to read: what to run, in order
_times = {}


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item):
    if _TIMES:
        from coverage import Coverage  # noqa: PLC0415 - not while mutants are run

        measured = Coverage.current()
        if sys.gettrace() is None:  # a test that traces took it away
            measured.stop()
            measured.start()
        measured.switch_context(item.nodeid)
    return (yield)


def pytest_runtest_logreport(report):
    failed = report.failed or _times.get(report.nodeid, 0.0) is None
    _times[report.nodeid] = None if failed else _times.get(report.nodeid, 0.0) + report.duration


def pytest_sessionfinish():
    if _TIMES and "PYTEST_XDIST_WORKER" not in os.environ:
        Path(_TIMES).write_text(json.dumps(_times))


def pytest_collection_modifyitems(items):
    if _TESTS:
        items_of = {item.nodeid: item for item in items}
        items[:] = [items_of[test] for test in json.loads(Path(_TESTS).read_text())]
