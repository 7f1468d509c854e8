"""A kill, then another process that continues, then a power loss: what that one acknowledged is on the disk.

The next process sees what a killed writer did not sync, and cannot distinguish it from what is on the disk. So it has
to sync it before it acknowledges anything, or builds on it.
"""

import functools
import os
import pickle
import random
import shutil
import signal
import warnings

import pytest

import mmap_ninja
from mmap_ninja import IncompleteDatasetWarning, StringsMmap
from mmap_ninja.engine import files
from support.crash_actions import ACTIONS, BATCHES, BUILDS, NEW, copy_of, listed, one_more, prepared, seen
from support.faults import fork, opened, unsynced, watched
from support.power_loss import (
    Recorder,
    content,
    each_loss_after,
    moments,
    promise,
    recorded,
    shown,
    tender_moments,
    violation,
)

# ---- acts of the other process: `act(path, done)`, as in crash_actions; all of them are durable


def flush(path, done):
    samples = opened(path)
    samples.flush()
    done(listed(samples))
    samples.close()
    done(listed(opened(path)))


def extend_by_nothing(path, done):
    samples = opened_durably(path)
    samples.extend([])
    done(listed(samples))


def resume(path, done):
    texts = StringsMmap.from_generator(path, iter(NEW), batch_size=3, if_exists="resume")
    done(listed(texts))


def append_and_close(path, done):
    samples = opened(path)
    samples.append(one_more(samples))
    samples.close()
    done(listed(opened(path)))


def append_durably(path, done):
    samples = opened_durably(path)
    samples.append(one_more(samples))
    done(listed(samples))


def compact(path, done):
    samples = opened(path)
    samples.compact(order=range(len(samples)))
    done(listed(samples))


def rebuild(path, done):
    done(listed(StringsMmap.from_strings(path, ["rebuilt"], if_exists="replace")))


ACKNOWLEDGING = [(name, act) for name in ACTIONS for act in (flush, extend_by_nothing)]
ACKNOWLEDGING += [(name, resume) for name in BUILDS]
WRITING = [(name, act) for name in ACTIONS for act in (append_and_close, append_durably, compact, rebuild)]


def opened_durably(path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", IncompleteDatasetWarning)
        return mmap_ninja.open(path, durability="machine")


# ---- the kill, and after it


def killed_after(number, act, path, states):
    """Kill a child after so many calls; returns these calls, and from which call on which state must survive."""
    reading, writing = os.pipe()

    def child():
        recorder, promised = Recorder(), [(0, 0)]

        def end():
            with os.fdopen(writing, "wb") as pipe:
                pickle.dump((recorder.calls, promised), pipe)
            os.kill(os.getpid(), signal.SIGKILL)

        def hook(*call):
            if len(recorder.calls) == number:
                end()
            return recorder(*call)

        files.watch(unsynced(hook))
        act(path, functools.partial(promise, recorder, promised, states))
        end()

    pid, results = fork(child)
    os.close(results)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        outcome = pipe.read()
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert status == -signal.SIGKILL, f"the child ended with {status}"
    return pickle.loads(outcome)


class Trial:
    """An action that is killed, a second act that continues, and power losses during and after that."""

    def __init__(self, tmp_path, name, second, change=lambda *call: call):
        self.tmp_path = tmp_path
        self.action = ACTIONS[name]
        self.second = second
        self.change = change
        self.random = random.Random(f"{name}, {second.__name__}")
        self.template = prepared(tmp_path, self.action, "template")
        path = copy_of(self.template, tmp_path / "whole")
        _, self.calls, _ = recorded(path, self.action.act, self.action.states)
        self.kills = self.losses = 0
        self.broken = []

    def some_kills(self):
        tender = tender_moments(self.calls) or moments(self.calls)
        return sorted(self.random.sample(tender, min(2, len(tender))))

    def run(self, number, most):
        """Kill after `number` calls, and lose the power at most `most` times after each call that matters."""
        path, states = copy_of(self.template, self.tmp_path / str(number)), list(self.action.states)
        start, recorder = content(path), Recorder()
        recorder.calls, promised = killed_after(number, self.action.act, path, states)
        assert len(recorder.calls) == number
        assert seen(path) in states
        if not (path / "COMMIT").exists() and self.second not in (resume, rebuild):
            return
        if not (path / "COMMIT").exists():
            states.append([])  # a first build shows finished batches

        def done(state):
            if state not in states:
                states.append(state)
            promise(recorder, promised, states, state, durable=True)

        with watched(unsynced(recorder)):
            self.second(path, done)
        calls = recorder.calls[:number] + [self.change(*call) for call in recorder.calls[number:]]
        self.kills += 1
        after = {number + made for made in tender_moments(calls[number:])}
        after |= {made for made, _ in promised if made >= number} | {len(calls)}
        for made, least in each_loss_after(start, calls, promised, path, random=self.random, most=most, after=after):
            wrong = violation(path, states, least, appends=self.losses % 10 == 0)
            self.losses += 1
            if wrong:
                self.broken.append(
                    f"killed after {shown(calls, number)}; then {self.second.__name__}; power lost after "
                    f"{shown(calls[number:], made - number)} of its {len(calls) - number} calls: {wrong}"
                )
        shutil.rmtree(path, ignore_errors=True)

    def check(self, count):
        count("kills with a second actor", self.kills)
        count("power losses after a kill and a second actor", self.losses)
        if self.broken:
            heading = f"{len(self.broken)} of {self.losses} power losses:"
            pytest.fail("\n".join([heading, *self.broken[:10]]), pytrace=False)


def cases(pairs):
    return [pytest.param(name, act, id=f"{name}-{act.__name__}") for name, act in pairs]


@pytest.mark.parametrize(("name", "second"), cases(ACKNOWLEDGING))
def test_acknowledged_commits_after_a_kill_survive_a_power_loss(tmp_path, count, name, second):
    """A bug once: flush() did not sync if the newest slot was a durable one that a killed writer had not synced."""
    trial = Trial(tmp_path, name, second)

    for number in trial.some_kills():
        trial.run(number, most=3)

    trial.check(count)


@pytest.mark.parametrize(("name", "second"), cases(WRITING))
def test_power_loss_of_a_writer_after_a_kill_keeps_durable_commits(tmp_path, count, name, second):
    """A bug once: compact() overwrote the only durable slot on the disk before the newer one was synced."""
    trial = Trial(tmp_path, name, second)

    for number in trial.some_kills():
        trial.run(number, most=2)

    trial.check(count)


@pytest.mark.torture
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("name", "second"), cases(ACKNOWLEDGING + WRITING))
def test_second_actor_after_a_kill_at_every_call(tmp_path, count, name, second):
    trial = Trial(tmp_path, name, second)

    for number in moments(trial.calls):
        trial.run(number, most=8)

    trial.check(count)


@pytest.mark.parametrize("second", [append_durably, append_and_close, rebuild])
def test_trial_finds_a_second_actor_that_syncs_nothing(tmp_path, second):
    def change(call, *rest):
        return ("nothing", "/", 0, 0, None) if call in ("fdatasync", "fsync") else (call, *rest)

    trial = Trial(tmp_path, "durable append", second, change)
    for number in tender_moments(trial.calls):
        trial.run(number, most=6)

    assert trial.broken


# ---- the name of the dataset's directory


BUILT = {
    "from_strings": lambda path: StringsMmap.from_strings(path, NEW),
    "from_generator": lambda path: StringsMmap.from_generator(path, iter(NEW), batch_size=3),
    "resume": lambda path: StringsMmap.from_generator(path, iter(NEW), batch_size=3, if_exists="resume"),
    "durable extend": lambda path: StringsMmap(path, durability="machine").extend(NEW),
    "extend and close": lambda path: extend_and_close(path),
    "merge": lambda path: mmap_ninja.merge([path.parent / "source"], path),
    "recover": lambda path: mmap_ninja.recover(path.parent / "source", path),
}


def extend_and_close(path):
    with StringsMmap(path) as texts:
        texts.extend(NEW)


@pytest.mark.parametrize("by_user", [False, True], ids=["made by the call", "made by the user"])
@pytest.mark.parametrize("name", BUILT)
def test_name_of_a_new_directory_survives_a_power_loss(tmp_path, count, name, by_user):
    """A bug once: if the user had created the directory, its parent was not synced, and all of it could be lost."""
    StringsMmap.from_strings(tmp_path / "source", NEW).close()
    path, states, recorder, promised, lost = tmp_path / "ds", [None, [], *BATCHES], Recorder(), [(0, 0)], 0
    if by_user:
        path.mkdir()
        recorder("mkdir", str(path), 0, 0, None)

    with watched(unsynced(recorder)):
        BUILT[name](path)
        promise(recorder, promised, states, NEW, durable=True)

    broken = []
    for made, least in each_loss_after({}, recorder.calls, promised, path, random=random.Random(name), most=2):
        lost += 1
        wrong = violation(path, states, least, appends=False)
        if wrong:
            broken.append(f"power lost after {shown(recorder.calls, made)} of {len(recorder.calls)}: {wrong}")
    count("power losses", lost)
    assert not broken
