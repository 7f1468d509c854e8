"""First builds that go on: whoever would change the dataset is refused by name, and the build comes to its end."""

import itertools
import os
import signal
import time

import numpy as np
import pytest

import mmap_ninja as mn
from mmap_ninja import ArrayMmap, LockTimeoutError, RecordsMmap, StringsMmap
from support.faults import NEW, fork, in_child, killed_at, opened, watched

RECORDS = [{"a": number, "t": f"text {number}"} for number in range(10)]


def build(path, meanwhile, samples=NEW, cls=StringsMmap, **options):
    """A build that calls `meanwhile` when its first batches are committed."""

    def source():
        yield from samples[:5]
        meanwhile()
        yield from samples[5:]

    return cls.from_generator(path, source(), batch_size=2, **options)


def merged(path):
    StringsMmap.from_strings(path.parent / "other", ["x"]).close()
    mn.merge([path.parent / "other"], path, if_exists="replace")


TEXTS = {
    "append": lambda path: opened(path).append("x"),
    "edit": lambda path: opened(path).__setitem__(0, "x"),
    "delete": lambda path: opened(path).pop(),
    "clear": lambda path: opened(path).clear(),
    "compact": lambda path: opened(path).compact(order=[3, 2, 1, 0]),
    "recover": mn.recover,
    "merge": merged,
    "append build": lambda path: StringsMmap.from_strings(path, ["x"], if_exists="append"),
    "replacement": lambda path: StringsMmap.from_strings(path, ["x"], if_exists="replace"),
    "resume": lambda path: StringsMmap.from_strings(path, NEW, if_exists="resume"),
}
COLUMNS = {
    "add a column": lambda path: opened(path).add_column("b", range(4)),
    "drop a column": lambda path: opened(path).drop_column("a"),
    "rename a column": lambda path: opened(path).rename_column("t", "u"),
    "allow nulls": lambda path: opened(path).set_nullable("t"),
    "metadata": lambda path: setattr(opened(path), "metadata", {"a": 1}),
}
INTRUDERS = [
    *((act, StringsMmap, NEW) for act in TEXTS.items()),
    *((act, RecordsMmap, RECORDS) for act in COLUMNS.items()),
    (("map writable", lambda path: mn.np_open_existing(path, "r+")), ArrayMmap, np.arange(10.0)),
]


def refused(act, path):
    """The message with which an act is refused."""
    with pytest.raises(LockTimeoutError) as error:
        act(path)
    return str(error.value)


@pytest.mark.parametrize("elsewhere", [False, True], ids=["in this process", "in another process"])
@pytest.mark.parametrize(("act", "cls", "samples"), [pytest.param(*case, id=case[0][0]) for case in INTRUDERS])
def test_change_of_a_first_build_that_goes_on_is_refused_by_name_and_the_build_ends(
    tmp_path, act, cls, samples, elsewhere
):
    """A bug once: the intruder succeeded, and the work of the build was lost with a StaleHandleError."""
    path, messages = tmp_path / "ds", []

    def intrude():
        messages.append(in_child(lambda: refused(act[1], path)) if elsewhere else refused(act[1], path))

    declared = {"columns": {"a": mn.Scalar("int64"), "t": mn.Text()}} if cls is RecordsMmap else {}
    dataset = build(path, intrude, samples, cls, **declared)

    assert list(dataset) == list(samples)
    assert dataset.complete
    (message,) = messages
    assert message.startswith(f"{path}/COMMIT: process {os.getpid()} (")
    assert message.endswith(") is building this dataset now; wait for it, as if_exists='reuse' does, or end it")


def test_reading_and_flushing_beside_a_first_build_is_not_refused(tmp_path):
    path, seen = tmp_path / "ds", []

    def look():
        texts = opened(path)
        texts.flush()
        texts.close()
        seen.append(list(opened(path)))

    assert list(build(path, look)) == NEW
    assert seen == [NEW[:4]]


def test_append_to_a_complete_dataset_takes_one_lock(path):
    texts, calls = StringsMmap(path), []
    texts.append("first")

    with watched(lambda call, *_: calls.append(call)):
        texts.append("second")

    assert calls.count("flock") == 2  # to lock LOCK, and to unlock it


def test_handle_that_was_refused_appends_after_the_build(tmp_path):
    path, handles = tmp_path / "ds", []

    def intrude():
        handles.append(opened(path))
        refused(lambda _: handles[0].append("x"), path)

    build(path, intrude).close()
    handles[0].append("after it")

    assert list(opened(path)) == [*NEW, "after it"]


@pytest.mark.parametrize("ended", ["killed", "by an error"])
@pytest.mark.parametrize("then", ["append", "resume", "replace"])
def test_first_build_that_ended_early_holds_nothing(tmp_path, ended, then):
    path = tmp_path / "ds"

    def builder():
        with pytest.raises(OSError, match="source"):
            build(path, lambda: fail())

    def fail():
        if ended == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        raise OSError("source")

    pid, pipe = fork(builder)
    os.close(pipe)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == (-signal.SIGKILL if ended == "killed" else 0)
    if then == "append":
        opened(path).append("more")
    else:
        StringsMmap.from_generator(path, NEW, if_exists=then).close()

    assert list(opened(path)) == ([*NEW[:4], "more"] if then == "append" else NEW)
    assert opened(path).complete == (then != "append")


def test_resumed_first_build_refuses_others_too(tmp_path):
    path, messages = tmp_path / "ds", []

    def fail():
        raise OSError("source")

    with pytest.raises(OSError, match="source"):
        build(path, fail)

    texts = build(path, lambda: messages.append(refused(TEXTS["append"], path)), if_exists="resume")

    assert list(texts) == NEW
    assert len(messages) == 1


def test_child_forked_in_a_first_build_does_not_release_its_lock(tmp_path):
    path, messages = tmp_path / "ds", []

    def intrude():
        in_child(lambda: None)
        messages.append(in_child(lambda: refused(TEXTS["append"], path)))

    assert list(build(path, intrude)) == NEW
    assert f"process {os.getpid()} " in messages[0]


def test_child_forked_in_a_first_build_does_not_keep_its_lock(tmp_path):
    path = tmp_path / "ds"

    def die():
        worker, pipe = fork(lambda: time.sleep(60))
        os.close(pipe)
        (tmp_path / "worker").write_text(str(worker))
        os.kill(os.getpid(), signal.SIGKILL)

    pid, pipe = fork(lambda: build(path, die))
    os.close(pipe)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    try:
        texts = StringsMmap.from_generator(path, NEW, if_exists="resume")
    finally:
        os.kill(int((tmp_path / "worker").read_text()), signal.SIGKILL)

    assert list(texts) == NEW


def test_append_to_a_new_path_that_is_killed_anywhere_leaves_a_complete_dataset_or_none(tmp_path):
    for number in itertools.count(1):
        path = tmp_path / str(number)

        def append(path=path):
            StringsMmap.from_generator(path, NEW, batch_size=4, if_exists="append")

        killed = killed_at(number, append)
        assert not (path / "COMMIT").exists() or opened(path).complete
        append()
        assert list(opened(path))[-len(NEW) :] == NEW
        if not killed:
            break

    assert number > 20
