"""Kills at every system call that changes a file: by the library's watched calls, and by strace."""

import itertools
import os
import shutil

import pytest

import mmap_ninja
from mmap_ninja import StringsMmap
from mmap_ninja.format.names import is_own_name
from support.crash_actions import (
    ACTIONS,
    MARKS,
    NEW,
    OLD,
    copy_of,
    is_clean,
    is_replaced_without_leftovers,
    listed,
    prepared,
    reader_of,
    seen,
    takes_appends,
)
from support.faults import killed_at, opened, unsynced, watched
from support.tracing import calls_of, kill_at, require_strace

TRACED = ["flush and close", "resumed replacement", "compaction"]  # the others are traced by `make torture`
SHARED = [name if name in TRACED else pytest.param(name, marks=pytest.mark.torture) for name in ACTIONS]


def told(action, path, run):
    """Run an action in a child by `run`; returns its result, and the index of the last acknowledged state."""
    reading, writing = os.pipe()

    def act():
        action.act(path, lambda state, durable=False: os.write(writing, bytes([action.states.index(state)])))

    outcome = run(act)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        places = pipe.read()
    return outcome, places[-1] if places else -1


def check_survivor(path, states, acknowledged, reader):
    """Check the state after a kill: a whole commit, at least the acknowledged one; and that writers can continue."""
    found = seen(path)
    assert found in states
    assert states.index(found) >= acknowledged
    assert is_clean(path)
    assert reader is None or listed(reader) == states[0]
    assert takes_appends(path)
    assert is_replaced_without_leftovers(path)
    shutil.rmtree(path)


@pytest.mark.parametrize("name", ACTIONS)
def test_kill_at_every_call_keeps_whole_commits(tmp_path, count, name):
    action = ACTIONS[name]
    template = prepared(tmp_path, action, "template")

    for number in itertools.count(1):
        path = copy_of(template, tmp_path / str(number))
        reader = reader_of(path)
        killed, acknowledged = told(action, path, lambda act, number=number: killed_at(number, act))
        if not killed:
            break
        check_survivor(path, action.states, acknowledged, reader)

    assert acknowledged == len(action.states) - 1
    assert number > action.least_calls
    count("kills by the seam", number - 1)


@pytest.mark.parametrize("name", SHARED)
def test_kill_by_strace_at_every_call_keeps_whole_commits(tmp_path, count, name):
    require_strace()
    action = ACTIONS[name]
    template, log = prepared(tmp_path, action, "template"), tmp_path / "log"
    path = copy_of(template, tmp_path / "whole")

    def act_through_the_seam():
        calls = []
        with watched(lambda call, *_: calls.append(call)):
            action.act(path, lambda *_, **__: None)
        return calls

    calls, in_seam = calls_of(act_through_the_seam, log, tmp_path)

    # All calls are watched; only a writable map, on request, is made elsewhere.
    assert [call.name for call in calls if call.name != "mmap"] == in_seam
    assert any(call.name == "mmap" for call in calls) == (name == "unsealed")
    for number, call in enumerate(calls):
        path = copy_of(template, tmp_path / str(number))
        reader = reader_of(path)
        _, acknowledged = told(action, path, lambda act, call=call: kill_at(call, act, log))
        check_survivor(path, action.states, acknowledged, reader)

    assert len(calls) >= action.least_calls
    count("kills by strace", len(calls))


def killed_everywhere(tmp_path, action):
    """The paths where an action was killed, each at its next call."""
    for number in itertools.count(1):
        path = prepared(tmp_path, action, str(number))
        killed, _ = told(action, path, lambda act, number=number: killed_at(number, act))
        if not killed:
            break
        yield path
        shutil.rmtree(path)
    assert number > action.least_calls


@pytest.mark.parametrize("name", ["first build", "replacement", "resume", "resumed replacement"])
def test_killed_build_is_resumed(tmp_path, name):
    for path in killed_everywhere(tmp_path, ACTIONS[name]):
        build_left = (path / "BUILD").exists()
        complete = (path / "COMMIT").exists() and opened(path).complete

        with watched(unsynced()):
            resumed = list(StringsMmap.from_generator(path, iter(NEW), batch_size=3, if_exists="resume"))

        assert resumed == NEW or (resumed == OLD and complete and not build_left)


LONG = pytest.param("upgrade with shapes", marks=pytest.mark.torture)


@pytest.mark.parametrize("name", ["upgrade", "upgrade with a copy", LONG])
def test_killed_upgrade_is_ended_by_the_next(tmp_path, name):
    for path in killed_everywhere(tmp_path, ACTIONS[name]):
        with watched(unsynced()):
            mmap_ninja.upgrade(path)

        assert seen(path) == ACTIONS[name].states[-1]
        assert not (path / "UPGRADE").exists()
        assert sorted(entry for entry in os.listdir(path) if not is_own_name(entry)) == MARKS


@pytest.mark.parametrize("name", ["merge", "merge over"])
def test_killed_merge_is_made_again(tmp_path, name):
    action = ACTIONS[name]

    for path in killed_everywhere(tmp_path, action):
        with watched(unsynced()):
            action.act(path, lambda *_, **__: None)

        assert seen(path) == action.states[-1]
        assert len(os.listdir(path)) == 7
