"""Remains of a build that was killed at its end, or while another one removed it."""

import errno
import itertools
import os
import shutil
import signal

import pytest

import mmap_ninja as mn
from mmap_ninja import CommitUncertainError, StringsMmap
from mmap_ninja.engine import files
from support.faults import NEW, At, fail_to_sync, fail_with, flip_bit, fork, killed_at, unsynced, watched


def kill(act, call, path):
    """Run an act in a child that is killed before a certain call for an existing file."""

    def look(made, where, *_):
        if made == call and where == str(path) and path.exists():
            os.kill(os.getpid(), signal.SIGKILL)

    def child():
        files.watch(unsynced(look))
        act()

    pid, results = fork(child)
    os.close(results)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    assert (path.parent / "BUILD").exists()


def damage_and_recover(texts):
    flip_bit(texts.path / "c0.data-2", 0)
    assert not mn.recover(texts.path, keep="readable").report.ok


NEXT = {"compact": lambda texts: texts.compact(order=range(len(texts))), "recover": damage_and_recover}


@pytest.mark.parametrize("act", NEXT)
def test_build_whose_switch_was_killed_is_not_continued_after_the_next_one(path, act):
    """A bug once: it was taken for an interrupted build, and replaced everything that came after it."""
    kill(lambda: StringsMmap.from_strings(path, NEW, if_exists="replace"), "unlink", path / "BUILD")
    texts = StringsMmap(path)
    texts.append("acknowledged")
    NEXT[act](texts)

    found = list(mn.open(path))
    assert len(found) == len(NEW) + 1
    assert list(StringsMmap.from_strings(path, NEW, if_exists="resume")) == found
    assert len(os.listdir(path)) == 7  # no files from before the compaction


def test_build_of_a_killed_first_append_is_not_continued(tmp_path):
    """A bug once: the files of the first sample were overwritten under the maps of readers."""
    path = tmp_path / "ds"
    kill(lambda: StringsMmap(path).append("first"), "unlink", path / "BUILD")
    texts = StringsMmap(path)
    texts.append("second")
    before = StringsMmap(path)
    texts.compact(order=[1, 0])

    with pytest.warns(UserWarning, match="the source has 10 samples, but the build ended with 2"):
        assert list(StringsMmap.from_strings(path, NEW, if_exists="resume")) == ["second", "first"]
    assert list(before) == ["first", "second"]


def test_first_append_that_is_killed_twice_is_made_again(tmp_path):
    """A bug once: its remains were removed in the wrong order, and then no dataset could be created there."""
    path = tmp_path / "ds"

    for number in itertools.count(1):
        kill(lambda: StringsMmap(path).append("first"), "rename", path / "COMMIT.new")
        killed = killed_at(number, lambda: StringsMmap(path).append("second"))
        with watched(unsynced()):
            StringsMmap(path).append("third")

        assert list(mn.open(path)) in (["third"], ["second", "third"])
        shutil.rmtree(path)
        if not killed:
            break
    assert number > 20


def switch_killed(path):
    """Replace a dataset by NEW, without removing BUILD."""
    kill(lambda: StringsMmap.from_strings(path, NEW, if_exists="replace"), "unlink", path / "BUILD")


def test_resume_after_a_later_sync_failed_keeps_what_others_appended(path):
    """A bug once: the switch was repeated over later commits, and the mark was lost."""
    switch_killed(path)
    texts = StringsMmap(path)
    texts.append("acknowledged")
    fail_to_sync(texts)

    with pytest.raises(CommitUncertainError):
        StringsMmap.from_strings(path, NEW, if_exists="resume")

    assert list(mn.open(path)) == [*NEW, "acknowledged"]


@pytest.mark.parametrize("killed", [True, False])
def test_resume_of_a_complete_dataset_marks_it_if_the_sync_fails(path, killed):
    """A bug once: the next flush found nothing to sync, and acknowledged commits that may not be on the disk."""
    if killed:
        switch_killed(path)
    fail = At(1, fail_with(errno.EIO), only=lambda call, _: call == "fdatasync")

    with watched(fail), pytest.raises(CommitUncertainError):
        StringsMmap.from_strings(path, NEW, if_exists="resume")

    with pytest.raises(CommitUncertainError):
        StringsMmap(path).flush()
    assert mn.recover(path).samples == len(list(mn.open(path)))
