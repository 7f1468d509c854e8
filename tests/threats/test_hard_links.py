"""Snapshots made of hard links (`cp -al`): files with two names, of which one may be removed or replaced."""

import contextlib
import errno
import os
import shutil

import numpy as np
import pytest

import mmap_ninja as mn
from mmap_ninja import CommitUncertainError, LockTimeoutError, RaggedMmap, RecordsMmap, StaleHandleError, StringsMmap
from support.faults import OLD, fork, opened, result_of, watched


def link(path, snapshot):
    """Make a snapshot of a directory, like `cp -al`."""
    shutil.copytree(path, snapshot, copy_function=os.link)


def test_append_after_the_linked_dataset_was_recreated_is_stale(path, tmp_path):
    """A bug once: a file with a remaining name was taken as still part of the dataset, and the sample was lost."""
    texts = StringsMmap(path)
    texts.append("mine")
    link(path, tmp_path / "snapshot")
    shutil.rmtree(path)
    StringsMmap.from_strings(path, ["new"]).close()

    with pytest.raises(StaleHandleError):
        texts.append("refused")

    assert list(mn.open(path)) == ["new"]
    assert list(mn.open(tmp_path / "snapshot")) == [*OLD, "mine"]
    texts.close()
    assert mn.verify(tmp_path / "snapshot", level="full").ok


@pytest.mark.parametrize("act", ["append", "edit", "compact"])
def test_writer_whose_linked_lock_file_was_replaced_is_stale(path, tmp_path, act):
    """A bug once: it continued under the old lock, beside writers that held the new one."""
    texts = StringsMmap(path)
    texts.append("mine")
    link(path, tmp_path / "snapshot")
    os.unlink(path / "LOCK")
    (path / "LOCK").touch()

    with pytest.raises(StaleHandleError):
        {
            "append": lambda: texts.append("refused"),
            "edit": lambda: texts.__setitem__(0, "refused"),
            "compact": lambda: texts.compact(order=[3, 2, 1, 0]),
        }[act]()

    assert list(mn.open(path)) == [*OLD, "mine"]


def test_writers_at_once_after_the_linked_lock_file_was_replaced_lose_nothing(path, tmp_path):
    """A bug once: each held another lock, and both wrote to the same place."""
    texts = StringsMmap(path)
    texts.append("mine")
    link(path, tmp_path / "snapshot")
    os.unlink(path / "LOCK")
    (path / "LOCK").touch()

    def append(texts, name):
        for number in range(300):
            while True:
                with contextlib.suppress(StaleHandleError):
                    texts.append(f"{name} {number}")
                    break

    other = fork(lambda: append(StringsMmap(path), "other"))
    append(texts, "first")
    result_of(other)

    found = list(mn.open(path))
    assert found[: len(OLD) + 1] == [*OLD, "mine"]
    for name in ("first", "other"):
        assert [text for text in found if text.startswith(name)] == [f"{name} {number}" for number in range(300)]
    assert mn.verify(path, level="full").ok


RECORDS = [{"a": number, "t": f"text {number}"} for number in range(9)]
MORE = {"a": 9, "t": "more"}
SWITCHES = {
    "compact": lambda records: records.compact(order=range(len(records) - 1, -1, -1)),
    "clear": lambda records: records.clear(),
    "add a column": lambda records: records.add_column("b", range(len(records))),
    "drop a column": lambda records: records.drop_column("a"),
    "rename a column": lambda records: records.rename_column("t", "u"),
    "allow nulls": lambda records: records.set_nullable("t"),
    "metadata": lambda records: setattr(records, "metadata", {"a": 1}),
    "replace": lambda records: RecordsMmap.from_generator(records.path, [MORE]).close(),
}


@pytest.mark.parametrize("switch", SWITCHES)
def test_snapshot_of_links_stays_as_it_is_when_the_dataset_gets_new_files(tmp_path, switch):
    """A bug once: the shared commit file was overwritten, and named files that the snapshot does not have."""
    path, snapshot = tmp_path / "ds", tmp_path / "snapshot"
    RecordsMmap.from_generator(path, RECORDS).close()
    with RecordsMmap(path) as records:
        del records[3]
    before = list(records := RecordsMmap(path))
    link(path, snapshot)

    SWITCHES[switch](records)
    records.refresh()
    after = list(records)
    records.append({name: {"t": "more", "u": "more"}.get(name, 9) for name in records.columns})
    records.close()

    assert list(mn.open(snapshot)) == before
    assert list(mn.open(path))[:-1] == after
    assert mn.verify(snapshot, level="full").ok
    assert mn.verify(path, level="full").ok


def test_appends_to_either_name_of_a_dataset_are_seen_at_both(path, tmp_path):
    link(path, tmp_path / "snapshot")
    one, other = StringsMmap(path), StringsMmap(tmp_path / "snapshot")

    one.append("by one")
    other.append("by the other")
    one.append("by one, again")
    del other[0]
    one.refresh()
    other.refresh()

    assert list(one) == list(other) == [*OLD[1:], "by one", "by the other", "by one, again"]
    assert mn.verify(path, level="full").ok
    assert mn.verify(tmp_path / "snapshot", level="full").ok


@pytest.mark.parametrize("first", [True, False], ids=["first build", "replacement"])
def test_build_whose_directory_was_linked_goes_on_and_keeps_its_lock(tmp_path, first):
    """A bug once: the commit file that took the place of the linked one was neither locked nor found at the end."""
    path, rows = tmp_path / "ds", [np.zeros(2), np.zeros((2, 2)), np.zeros(1)]
    if not first:
        RaggedMmap.from_lists(path, [[1.0]]).close()

    def source():
        yield rows[0]
        link(path, tmp_path / "snapshot")
        yield rows[1]  # has another rank, which needs a new generation
        with pytest.raises(LockTimeoutError, match=f"process {os.getpid()} .* is building this dataset now"):
            RaggedMmap.from_lists(path, [[1.0]], if_exists="replace")
        opened(tmp_path / "snapshot").append([2.0])
        yield rows[2]

    made = RaggedMmap.from_generator(path, source(), batch_size=1)

    assert [row.shape for row in made] == [row.shape for row in rows]
    assert mn.verify(path, level="full").ok
    assert mn.verify(tmp_path / "snapshot", level="full").ok


def test_merge_whose_directory_was_linked_meanwhile_comes_to_its_end(tmp_path):
    """A bug once: the new BUILD was not found at the end."""
    path, part = tmp_path / "ds", tmp_path / "part"
    StringsMmap.from_strings(part, OLD).close()
    linked = []

    def link_once(*_):
        if not linked and (path / "BUILD").exists():
            linked.append(link(path, tmp_path / "snapshot"))

    with watched(link_once):
        mn.merge([part], path)

    assert linked
    assert list(mn.open(path)) == OLD
    assert mn.verify(path, level="full").ok


def test_files_of_the_commit_before_stay_where_the_new_commit_file_is_in_doubt(path, tmp_path):
    """A bug once: they were removed, although a power loss could bring back the commit file that names them."""
    link(path, tmp_path / "snapshot")
    before, renamed = sorted(os.listdir(path)), []

    def fail(call, *_):
        if call == "rename":
            renamed.append(call)
        if call == "fsync" and renamed:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    with watched(fail), pytest.raises(CommitUncertainError):
        StringsMmap(path).compact(order=[2, 1, 0])

    assert set(before) <= set(os.listdir(path))
    mn.recover(path)
    assert list(mn.open(path)) == OLD[::-1]
    assert len(os.listdir(path)) == len(before)
