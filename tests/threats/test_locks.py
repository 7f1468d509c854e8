"""Locks: a holder that is killed, stopped or slow does not block others for ever."""

import contextlib
import os
import signal
import threading
import time

import pytest

from mmap_ninja import LockTimeoutError, StaleHandleError, StringsMmap
from mmap_ninja.engine import files
from mmap_ninja.engine.log import locked
from support.faults import OLD, At, fork, result_of, watched


def test_killed_lock_holder_leaves_no_lock(path):
    def hold():
        texts = StringsMmap(path)
        files.watch(At(1, lambda _size: os.kill(os.getpid(), signal.SIGKILL), only=lambda call, _: call == "pwrite"))
        texts.append("never stored")

    pid, pipe = fork(hold)
    os.close(pipe)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    texts = StringsMmap(path, lock_timeout=0.5)
    texts.append("stored")

    assert status == -signal.SIGKILL
    assert list(texts) == [*OLD, "stored"]


@pytest.fixture
def stopped_writer(path):
    """The process id of a writer that was stopped during a commit, while holding LOCK."""

    def stop():
        texts = StringsMmap(path)
        files.watch(At(1, lambda _size: os.kill(os.getpid(), signal.SIGSTOP), only=lambda call, _: call == "pwrite"))
        texts.append("by the stopped one")
        return list(texts)

    pid, pipe = fork(stop)
    assert os.WIFSTOPPED(os.waitpid(pid, os.WUNTRACED)[1])
    yield pid
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)
        assert result_of((pid, pipe)) == [*OLD, "by the stopped one"]


def test_stopped_lock_holder_is_named_and_readers_do_not_care(path, stopped_writer):
    texts = StringsMmap(path, lock_timeout=0.1)
    writer = StringsMmap(path, lock_timeout=0.1)
    message = (
        f"LOCK: process {stopped_writer} .* has held the lock for 0.1 s; wait for it, end it, or open with a longer"
    )

    for refused in (
        lambda: texts.append("refused"),
        lambda: texts.extend(["refused"]),
        lambda: writer.flush(),
        lambda: StringsMmap.from_strings(path, ["refused"], if_exists="append", lock_timeout=0.1),
        lambda: StringsMmap.from_strings(path, ["refused"], lock_timeout=0.1),
        lambda: StringsMmap.from_strings(path, ["refused"], if_exists="resume", lock_timeout=0.1),
    ):
        begin = time.monotonic()
        with pytest.raises(LockTimeoutError, match=message):
            refused()
        assert time.monotonic() - begin < 5

    texts.refresh()
    assert list(texts) == list(StringsMmap(path)) == OLD


def test_open_writer_times_out_on_a_lock_and_continues_afterwards(path):
    texts = StringsMmap(path, lock_timeout=0.1)
    texts.append("before")
    lock = files.lock(path / "LOCK", 0)

    with pytest.raises(LockTimeoutError, match=f"process {os.getpid()} .* has held the lock for 0.1 s"):
        texts.append("refused")
    lock.close()
    texts.append("after")

    assert list(texts) == [*OLD, "before", "after"]


def test_interrupt_ends_the_wait_for_a_lock(path):
    texts = StringsMmap(path, lock_timeout=30)
    texts.append("before")
    lock = files.lock(path / "LOCK", 0)
    interrupt = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
    begin = time.monotonic()

    interrupt.start()
    with pytest.raises(KeyboardInterrupt):
        texts.append("interrupted")
    took = time.monotonic() - begin
    lock.close()
    texts.append("after")

    assert took < 10
    assert list(texts) == [*OLD, "before", "after"]


def test_writer_continues_after_its_lock_file_was_replaced(path):
    texts = StringsMmap(path)
    texts.append("first")
    (path / "LOCK").unlink()
    (path / "LOCK").touch()

    with pytest.raises(StaleHandleError, match="moved, deleted or replaced"):
        texts.append("refused")
    texts.append("second")

    assert texts[-2:] == ["first", "second"]


def test_lock_file_replaced_before_it_was_taken_is_opened_again(path):
    lock_path = path / "LOCK"
    replaced = []

    def replace_first(call, *_):
        if call == "flock" and not replaced:
            replaced.append(True)
            lock_path.unlink()
            lock_path.touch()

    with watched(replace_first), locked(path, 1) as lock:
        assert lock.is_at(str(lock_path))
    assert replaced
