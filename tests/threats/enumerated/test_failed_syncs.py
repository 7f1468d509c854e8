"""Failing syncs of the commit file during a switch: every process gets an error, until it is repaired."""

import functools
import itertools
import random
import shutil

import pytest

import mmap_ninja
from mmap_ninja import CommitUncertainError, RecordsMmap, StringsMmap
from mmap_ninja.engine import upgrade_marks
from support.crash_actions import (
    ACTIONS,
    BUILDS,
    NEW,
    OLD,
    copy_of,
    is_clean,
    listed,
    one_more,
    prepared,
    reader_of,
    records,
    seen,
    takes_appends,
)
from support.faults import change_slots, fail_to_sync, opened, unsynced, watched
from support.power_loss import FailingSync, content, each_loss_after, promise, shown, tender_moments, violation

SWITCHES = [
    "replacement",
    "resumed replacement",
    "other ranks",
    "rebuilt ranks",
    "deletes",
    "compaction",
    "clear",
    "records and columns",
    "merge over",
    "upgrade",
    "upgrade with shapes",
    "replacement of 0.x",
    "unsealed",
]
WRITES = {
    "flush": lambda samples: samples.flush(),
    "append": lambda samples: samples.append(one_more(opened(samples.path))),
    "compact": lambda samples: samples.compact(order=range(len(samples))),
}


def recover(path, found):
    mmap_ninja.recover(path)
    return found


def replace(path, found):
    return list(StringsMmap.from_strings(path, ["new"], if_exists="replace"))


def resume(path, found):
    return list(StringsMmap.from_generator(path, iter(NEW), batch_size=3, if_exists="resume"))


def go_on(path, found):
    samples = opened(path)
    samples.flush()
    return listed(samples)


CASES = [(name, remedy) for name in SWITCHES for remedy in (recover, replace)]
CASES += [(name, resume) for name in SWITCHES if name in BUILDS]


HIDDEN = [(name, remedy) for name in SWITCHES for remedy in (go_on, replace)]
HIDDEN += [(name, resume) for name in SWITCHES if name in BUILDS]


def refusals(samples):
    """The outcomes of calls that change a dataset, except those that raise CommitUncertainError."""
    wrong = {}
    for name, write in WRITES.items():
        try:
            write(samples)
            wrong[name] = "returned"
        except CommitUncertainError:
            pass
        except Exception as error:
            wrong[name] = repr(error)
    return wrong


class FailedSync:
    """An action whose n-th sync of a file with certain names fails, and what others then see and may do."""

    def __init__(self, template, path, action, number, names):
        self.path = copy_of(template, path)
        self.states = list(action.states)
        self.bystander = reader_of(path)
        self.start = content(path)
        self.calls = FailingSync(number, names)
        self.promised = [(0, 0)]
        self.raised = None
        with watched(unsynced(self.calls)):
            try:
                action.act(path, functools.partial(promise, self.calls, self.promised, self.states))
            except OSError as error:
                self.raised = error
        self.fired = self.calls.fired
        self.at = next((at for at, call in enumerate(self.calls.calls, 1) if call[0].startswith("failed")), None)

    def problem(self, remedy, rng, *, refused):
        """The problem, or None. If `refused`, all others must refuse to write, too."""
        found = seen(self.path)
        if found not in self.states or self.states.index(found) < self.promised[-1][1]:
            return f"a new handle sees {found!r:.200}"
        if self.bystander is not None and listed(self.bystander) != self.states[0]:
            return f"the handle from before sees {listed(self.bystander)!r:.200}"
        if not is_clean(self.path):
            return "verify finds damage"
        with watched(unsynced(self.calls)):
            if refused and isinstance(self.raised, CommitUncertainError):
                told = {"new handle": refusals(opened(self.path))}
                if self.bystander is not None:
                    told["handle from before"] = refusals(self.bystander)
                if any(told.values()):
                    return str({who: acts for who, acts in told.items() if acts})
                if self.bystander is not None:
                    self.bystander.refresh()
                    if listed(self.bystander) != found:
                        return "the handle from before sees another state than a new one"
            if not upgrade_marks.detect(self.path) or remedy is replace:
                try:
                    mended = remedy(self.path, found)
                except CommitUncertainError as error:  # the build to resume may be lost
                    return None if remedy is resume and "BUILD" in str(error) and not refused else repr(error)
                if mended not in self.states:
                    self.states.append(mended)
                promise(self.calls, self.promised, self.states, mended, durable=True)
                if not mended == seen(self.path) == listed(opened(self.path)):
                    return f"{remedy.__name__} leaves {seen(self.path)!r:.200}"
                if not mmap_ninja.verify(self.path, level="full").ok:
                    return f"verify finds damage after {remedy.__name__}"
        if not takes_appends(self.path):
            return f"appends go wrong after {remedy.__name__}"
        return self.problem_after_power_loss(rng)

    def problem_after_power_loss(self, rng):
        calls = self.calls.calls
        after = {at for at in tender_moments(calls) if at >= self.at} | {len(calls)}
        for made, least in each_loss_after(
            self.start, calls, self.promised, self.path, random=rng, most=3, after=after
        ):
            wrong = violation(self.path, self.states, least, appends=False)
            if wrong:
                return f"power lost after {shown(calls, made)} of {len(calls)}: {wrong}"
        return None


def check_failed_syncs(tmp_path, count, name, remedy, names, *, refused):
    """Make each sync of files with these names fail in turn."""
    action, rng = ACTIONS[name], random.Random(f"{name}, {remedy.__name__}")
    template, problems = prepared(tmp_path, action, "template"), []

    for number in itertools.count(1):
        failed = FailedSync(template, tmp_path / str(number), action, number, names)
        if not failed.fired:
            break
        problem = failed.problem(remedy, rng, refused=refused)
        if problem:
            problems.append(f"{shown(failed.calls.calls, failed.at)}, raised {failed.raised!r:.40}...: {problem}")
        shutil.rmtree(failed.path)

    assert failed.raised is None
    count("failed syncs of commit files", number - 1)
    if problems:
        pytest.fail("\n".join([f"{len(problems)} of {number - 1} failed syncs:", *problems]), pytrace=False)


def cases(pairs):
    return [pytest.param(name, remedy, id=f"{name}-{remedy.__name__}") for name, remedy in pairs]


@pytest.mark.parametrize(("name", "remedy"), cases(CASES))
def test_failed_sync_of_a_switch_makes_every_writer_raise_until_it_is_mended(tmp_path, count, name, remedy):
    """A bug once: after a failed sync in compact(), others could append, and flush() acknowledged without a sync."""
    check_failed_syncs(tmp_path, count, name, remedy, ["COMMIT"], refused=True)


@pytest.mark.parametrize(("name", "remedy"), cases(HIDDEN))
def test_failed_sync_of_invisible_files_does_not_stop_others(tmp_path, count, name, remedy):
    check_failed_syncs(tmp_path, count, name, remedy, ["BUILD", "BUILD.new", "COMMIT.new"], refused=False)


OWN = {
    "compact": lambda dataset: dataset.compact(),
    "clear": lambda dataset: dataset.clear(),
    "add_column": lambda dataset: dataset.add_column("c", [7] * len(dataset)),
    "rename_column": lambda dataset: dataset.rename_column("n", "m"),
    "drop_column": lambda dataset: dataset.drop_column("t"),
    "set_nullable": lambda dataset: dataset.set_nullable("t"),
    "metadata": lambda dataset: setattr(dataset, "metadata", {"a": 1}),
}


@pytest.mark.parametrize("name", OWN)
def test_handle_whose_own_switch_failed_to_sync_refuses_to_write_until_recovered(tmp_path, count, name):
    uncertain = 0

    for number in itertools.count(1):
        path = tmp_path / str(number)
        dataset = RecordsMmap.from_generator(path, records(3))
        del dataset[0]
        failing, raised = FailingSync(number, ["COMMIT"]), None
        with watched(unsynced(failing)):
            try:
                OWN[name](dataset)
            except CommitUncertainError as error:
                raised = error
        if not failing.fired:
            break

        if raised:
            uncertain += 1
            assert refusals(dataset) == refusals(opened(path)) == {}
            assert listed(opened(path)) in (records(3)[1:], listed(dataset))
            mmap_ninja.recover(path)
            dataset.refresh()
        dataset.append(one_more(dataset))
        assert listed(dataset) == listed(opened(path))
        assert takes_appends(path)

    assert uncertain > 0
    count("failed syncs of commit files", number - 1)


def test_edits_of_an_older_writer_are_kept_after_a_failed_sync(path):
    """A bug once: the mark had a hash of the edits' end that no writer had stored, and `recover` undid them."""
    with StringsMmap(path) as texts:
        del texts[1]

    def as_older_writers_did(slot):
        slot.carries = slot.content = slot.edits_end = 0

    change_slots(path, as_older_writers_did)
    fail_to_sync(StringsMmap(path))

    assert [problem.file for problem in mmap_ninja.verify(path).problems] == ["COMMIT"]
    assert mmap_ninja.recover(path).samples == len(OLD) - 1
    assert list(StringsMmap(path)) == [OLD[0], *OLD[2:]]


MENDED = {
    "recover": lambda path: mmap_ninja.recover(path),
    "replace": lambda path: StringsMmap.from_strings(path, [*OLD, "mine"], if_exists="replace").close(),
}


@pytest.mark.parametrize("mend", MENDED)
def test_handle_whose_sync_failed_closes_without_an_error_after_the_repair(path, mend):
    texts = StringsMmap(path)
    texts.append("mine")
    fail_to_sync(texts)

    MENDED[mend](path)
    texts.refresh()
    texts.close()

    assert list(StringsMmap(path)) == [*OLD, "mine"]


def test_handle_whose_sync_failed_writes_again_once_the_dataset_is_replaced(path):
    texts = StringsMmap(path)
    fail_to_sync(texts)

    MENDED["replace"](path)
    texts.append("more")

    assert list(texts) == [*OLD, "mine", "more"]
