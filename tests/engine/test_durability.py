"""What `flush` and `close` make durable: commits of which handle, and in which directory."""

import contextlib
import fcntl
import os
import shutil
import signal
import threading

import pytest

import mmap_ninja as mn
from mmap_ninja import ReadOnlyError, StaleHandleError, StringsMmap, _kernel
from mmap_ninja.engine import files
from support.faults import NEW, OLD, durable_rows, flip_bit, fork, slots, watched
from support.kinds import KINDS
from support.power_loss import Recorder


@contextlib.contextmanager
def locked_by_another(path):
    """Hold the lock of a dataset, like another process."""
    with open(path / "LOCK", "r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def calls_of(act):
    """The system calls of an act that change files."""
    calls = []
    with watched(lambda call, *_: calls.append(call)):
        act()
    return [call for call in calls if call != "flock"]


@pytest.mark.parametrize("kind", KINDS)
def test_close_makes_the_commits_of_its_handle_durable(tmp_path, kind):
    make, sample = KINDS[kind].cls, KINDS[kind].sample(3)
    path = tmp_path / "ds"
    KINDS[kind].build(path, 1).close()

    dataset = make(path)
    dataset.append(sample)
    assert durable_rows(path) == 1
    dataset.close()

    assert durable_rows(path) == 2


@pytest.mark.parametrize("kind", KINDS)
def test_close_after_refresh_makes_the_commits_of_its_handle_durable(tmp_path, kind):
    make, sample = KINDS[kind].cls, KINDS[kind].sample(3)
    path = tmp_path / "ds"
    KINDS[kind].build(path, 1).close()
    dataset, other = make(path), make(path)

    dataset.append(sample)
    dataset.refresh()
    other.append(sample)
    dataset.refresh()
    dataset.close()

    assert durable_rows(path) >= 2


def test_close_after_another_handle_compacted_leaves_all_durable(path):
    texts = StringsMmap(path)
    texts.append("mine")

    StringsMmap(path).compact(order=[3, 2, 1, 0])
    texts.close()

    assert durable_rows(path) == 4


def test_close_in_a_with_statement_that_an_error_ends_makes_commits_durable(path):
    with pytest.raises(RuntimeError), StringsMmap(path) as texts:
        texts.append("mine")
        raise RuntimeError

    assert durable_rows(path) == len(OLD) + 1


@pytest.mark.parametrize("refreshed", [False, True])
@pytest.mark.parametrize("mode", [None, "r", "c"])
def test_close_of_a_handle_without_commits_changes_nothing(path, mode, refreshed):
    writer, reader = StringsMmap(path), mn.open(path, mode)
    writer.extend(NEW)
    if refreshed:
        reader.refresh()

    calls = calls_of(reader.close)

    assert calls == []
    assert durable_rows(path) == len(OLD)
    writer.close()
    assert durable_rows(path) == len(OLD) + len(NEW)


def test_close_of_one_writer_makes_its_own_commits_durable(path):
    first, second = StringsMmap(path), StringsMmap(path)
    first.append("of the first")
    second.append("of the second")
    first.append("of the first, too")

    second.close()
    assert durable_rows(path) >= len(OLD) + 2
    first.close()

    assert durable_rows(path) == len(OLD) + 3


def test_close_twice_changes_nothing(path):
    texts = StringsMmap(path)
    texts.append("mine")
    texts.close()

    assert calls_of(texts.close) == []


@pytest.mark.parametrize("kind", KINDS)
def test_flush_of_any_writable_handle_makes_all_that_it_sees_durable(tmp_path, kind):
    make, sample = KINDS[kind].cls, KINDS[kind].sample(3)
    path = tmp_path / "ds"
    KINDS[kind].build(path, 1).close()
    writer, before = make(path), make(path)
    writer.append(sample)
    after = make(path)

    after.flush()
    assert durable_rows(path) == len(after) == 2
    writer.append(sample)
    before.flush()

    assert durable_rows(path) == len(before) == 3


def test_flush_of_edits_by_another_handle_makes_them_durable(path):
    writer = StringsMmap(path)
    del writer[0]

    StringsMmap(path).flush()

    newest = max((slot for slot in slots(path) if slot is not None and slot.durable), key=lambda slot: slot.seq)
    assert newest.edits == newest.durable_edits == 1


@pytest.mark.parametrize("mode", ["r", "rb", "c"])
def test_flush_of_a_reader_is_refused(path, mode):
    reader = StringsMmap(path, mode)
    StringsMmap(path).append("by another one")

    with pytest.raises(ReadOnlyError, match="mode"):
        reader.flush()

    assert durable_rows(path) == len(OLD)
    assert list(reader) == OLD


# ---- moved directories


def test_close_after_the_lock_file_was_replaced_makes_earlier_commits_durable(path):
    """A bug once: the handle forgot its commit without a sync when its next one was refused."""
    texts = StringsMmap(path)
    texts.append("mine")
    os.unlink(path / "LOCK")
    (path / "LOCK").touch()

    with pytest.raises(StaleHandleError):
        texts.append("refused")
    texts.close()

    assert durable_rows(path) == len(OLD) + 1
    assert list(mn.open(path)) == [*OLD, "mine"]


@pytest.mark.parametrize("tried", [False, True])
@pytest.mark.parametrize("recreated", [False, True])
def test_close_after_the_directory_was_moved_makes_commits_durable_there(path, tmp_path, recreated, tried):
    """A bug once: nothing was synced, neither at the old nor at the new path."""
    texts = StringsMmap(path)
    texts.append("mine")
    os.rename(path, tmp_path / "old")
    if recreated:
        StringsMmap.from_strings(path, ["new"]).close()

    if tried:
        with pytest.raises(mn.MmapNinjaError):
            texts.append("refused")
    texts.close()

    assert durable_rows(tmp_path / "old") == len(OLD) + 1
    assert list(mn.open(tmp_path / "old")) == [*OLD, "mine"]
    if recreated:
        assert list(mn.open(path)) == ["new"]


@pytest.mark.parametrize("recreated", [False, True])
def test_close_after_the_dataset_was_deleted_raises_nothing(path, recreated):
    texts = StringsMmap(path)
    texts.append("mine")
    shutil.rmtree(path)
    if recreated:
        StringsMmap.from_strings(path, ["new"]).close()

    texts.close()

    assert path.exists() == recreated
    if recreated:
        assert list(mn.open(path)) == ["new"]


def test_close_after_an_interrupted_close_makes_commits_durable(path):
    """A bug once: the second close had forgotten what to sync."""
    texts = StringsMmap(path)
    texts.append("mine")

    with locked_by_another(path):
        threading.Timer(0.3, signal.raise_signal, [signal.SIGINT]).start()
        with pytest.raises(KeyboardInterrupt):
            texts.close()
    texts.close()

    assert durable_rows(path) == len(OLD) + 1


def test_writer_beside_compactions_keeps_no_files_of_earlier_generations(path):
    """A bug once: each generation that it had written to stayed open, and on the disk, until the close."""
    texts, other = StringsMmap(path), StringsMmap(path)
    before = len(os.listdir("/dev/fd"))

    for _ in range(5):
        texts.append("mine")
        other.refresh()
        other.compact(order=range(len(other)))
    texts.append("mine")

    assert len(os.listdir("/dev/fd")) < before + 20
    texts.close()
    assert durable_rows(path) == len(OLD) + 6


def test_close_after_others_compacted_and_this_went_on_makes_commits_durable(path):
    texts, other = StringsMmap(path), StringsMmap(path)

    texts.append("mine")
    other.refresh()
    other.compact(order=range(len(OLD) + 1))
    texts.append("mine, too")
    texts.refresh()
    texts.close()

    assert durable_rows(path) == len(OLD) + 2


class KilledBeforeSync(Recorder):
    """A hook that kills the process before it syncs a dataset that it has put in place."""

    def __call__(self, call, where, offset, size, data):
        if call in ("fdatasync", "fsync") and any(map(self.is_placed, self.calls)):
            os.kill(os.getpid(), signal.SIGKILL)
        super().__call__(call, where, offset, size, data)

    def is_placed(self, made):
        call, path, offset, *_ = made
        return (call, os.path.basename(path)) == ("rename", "COMMIT.new") or (
            call == "pwrite" and os.path.basename(path) == "COMMIT" and offset >= 2 * _kernel.SLOT_STRIDE
        )


def damage_and_recover(path):
    flip_bit(path / "c0.data-1", 0)
    mn.recover(path, keep="readable")


PLACED = {
    "replace": lambda path: StringsMmap.from_strings(path, ["new"], if_exists="replace"),
    "recover": damage_and_recover,
}


@pytest.mark.parametrize("act", PLACED)
def test_close_syncs_what_a_killed_process_has_put_in_place_of_its_commits(path, act):
    """A bug once: a power loss brought back the old dataset, without the commits that close() had acknowledged."""
    texts = StringsMmap(path)
    texts.append("mine")

    def child():
        files.watch(KilledBeforeSync())
        PLACED[act](path)

    pid, results = fork(child)
    os.close(results)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL

    calls = calls_of(texts.close)

    assert calls.count("fdatasync") == 1  # of COMMIT
    assert calls.count("fsync") == 2  # of the names that lead to it
    texts = StringsMmap(path)
    texts.flush()
    assert len(texts) == (1 if act == "replace" else len(OLD) + 1)
