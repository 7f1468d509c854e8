"""Processes that write to one dataset, with kills, interrupts and errors: acknowledged samples are there, once."""

import multiprocessing
import os
import re
import signal

import pytest
from tqdm.auto import tqdm

from mmap_ninja import StringsMmap
from support import storm
from support.crash_actions import is_replaced_without_leftovers
from support.faults import fork, in_child

SHORT = list(range(6))
LONG = [pytest.param(seed, marks=pytest.mark.torture) for seed in range(10, 1010)]


@pytest.mark.parametrize("seed", SHORT + LONG)
@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
def test_storm_loses_nothing_that_was_acknowledged(tmp_path, count, seed):
    weather = storm.Storm(tmp_path, seed)

    weather.run()

    found = weather.check()
    if found:
        pytest.fail("\n".join([f"storm {seed}, log in {weather.log.path}:", *found[:10]]), pytrace=False)
    assert is_replaced_without_leftovers(weather.path)
    count("operations in storms", len(storm.operations(weather.log.lines())))
    count("kills in storms", len(weather.killed))
    count("interrupts in storms", weather.interrupts)


def test_build_does_not_wait_for_the_progress_bar_of_a_killed_process(tmp_path):
    """A bug once: each build made a bar, even if not shown, and forked processes share tqdm's lock."""

    def killed_in_a_bar():
        tqdm.get_lock().acquire()
        os.kill(os.getpid(), signal.SIGKILL)

    def build():
        tqdm.set_lock(multiprocessing.RLock())  # for this child, not for the test run
        child, _ = fork(killed_in_a_bar)
        os.waitpid(child, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, 5)
        return list(StringsMmap.from_strings(tmp_path, ["built"]))

    assert in_child(build) == ["built"]


# ---- problems of a storm


def log_of(*operations):
    """The lines of consecutive operations: worker, name, old ids, new ids, outcome ("" if it did not end)."""
    lines = []
    for worker, name, old, new, outcome in operations:
        lines.append([worker, "begin", name, old, new, {}])
        lines += [[worker, "end", outcome, {}]] if outcome else []
    return lines


STORED = [(1, "build", [], [1, 2, 3], "done")]
TWO = [*STORED, (2, "append", [], [10], "done"), (3, "extend", [], [20, 21], "")]


@pytest.mark.parametrize(
    ("operations", "ids"),
    [
        (TWO, [1, 2, 3, 10]),
        (TWO, [1, 2, 3, 10, 20, 21]),
        ([*STORED, (1, "delete", [2], [], "failed")], [1, 2, 3]),
        ([*STORED, (1, "delete", [2], [], "unknown")], [1, 2, 3]),
        ([*STORED, (1, "delete", [2], [], "unknown")], [1, 3]),
        ([*STORED, (1, "set", [2], [4], "done"), (2, "delete", [2], [], "done")], [1, 3]),
        ([*STORED, (1, "set", [2], [4], "unknown"), (2, "set", [2], [5], "unknown")], [1, 5, 3]),
        ([*TWO, (1, "clear", [], [], "unknown")], []),
        ([*TWO, (1, "build", [], [4], "unknown")], [4]),
        ([*TWO, (1, "build", [], [4], "unknown")], [1, 2, 3, 10]),
    ],
)
def test_possible_states_after_a_storm_are_not_problems(operations, ids):
    assert storm.problems(log_of(*operations), ids, storm.FIXED) == []


@pytest.mark.parametrize(
    ("operations", "ids", "problem"),
    [
        (TWO, [1, 2, 3], "id 10 is lost"),
        (TWO, [1, 2, 3, 10, 20], "half of extend"),
        (TWO, [1, 2, 3, 10, 10], "ids \\[10, 10\\] are there"),
        (TWO, [1, 3, 2, 10], "id 2 comes after 3"),
        (TWO, [1, 2, 3, 10, 99], "id 99 is there, which nobody stored"),
        ([*STORED, (1, "append", [], [4], "failed")], [1, 2, 3, 4], "id 4 is there, which append .failed"),
        (
            [*STORED, (1, "append", [], [4], "failed"), (1, "delete", [4], [], "done")],
            [1, 2, 3],
            "id 4 was there for delete .*, which append .failed",
        ),
        ([*STORED, (1, "delete", [2], [], "done")], [1, 2, 3], "id 2 is there after delete"),
        ([*STORED, (1, "delete", [2], [], "failed")], [1, 3], "id 2 is lost"),
        ([*STORED, (1, "delete", [1, 2], [], "unknown")], [2, 3], "half of delete"),
        ([*STORED, (1, "set", [2], [4], "done")], [1, 2, 3], "id 2 is there after set"),
        ([*STORED, (1, "set", [2], [4], "done")], [1, 2, 4, 3], "ids \\[2, 4\\] are there"),
        ([*STORED, (1, "set", [2], [4], "done")], [1, 3], "id 2 is lost"),
        ([*TWO, (1, "build", [], [4], "done")], [4, 10], "id 10 is there after build"),
        ([*TWO, (1, "build", [], [4, 5], "unknown")], [4], "half of build"),
        ([*STORED, (1, "clear", [], [], "done"), (1, "append", [], [4], "done")], [], "id 4 is lost"),
    ],
)
def test_impossible_states_after_a_storm_are_problems(operations, ids, problem):
    assert re.search(problem, "; ".join(storm.problems(log_of(*operations), ids, storm.FIXED)))
