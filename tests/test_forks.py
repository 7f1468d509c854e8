"""Forks: a child reads, and neither writes with, nor unlocks for, its parent."""

import os
import signal
import threading
import time

import pytest
from faults import OLD, in_child, watched

from mmap_ninja import ForkedHandleError, LockTimeoutError, StringsMmap, files


def test_fork_with_open_writer_reads_but_refuses_to_write(path):
    texts = StringsMmap(path)
    texts.append("by the parent")

    def use():
        with pytest.raises(
            ForkedHandleError, match=f"writes for process {os.getppid()}, from which this one was forked"
        ):
            texts.append("lost")
        with pytest.raises(ForkedHandleError, match="open the dataset again here"):
            texts.flush()
        found = list(texts)
        texts.refresh()
        StringsMmap(path).append("by the child's own handle")
        texts.close()
        return found

    found = in_child(use)
    texts.append("by the parent, afterwards")
    texts.flush()

    assert found == [*OLD, "by the parent"]
    assert list(texts) == [*OLD, "by the parent", "by the child's own handle", "by the parent, afterwards"]


def test_fork_keeps_the_parents_lock(path):
    """The child's end must not release a lock that it shares with its parent."""
    texts = StringsMmap(path)
    texts.append("before")
    results = []

    def fork_in_commit(call, where, offset, size, data):
        if call != "pwrite" or results:
            return
        results.append(None)
        in_child(texts.close)

        def other_writer():
            with pytest.raises(LockTimeoutError, match="has held the lock"):
                StringsMmap(path, lock_timeout=0.05).append("lost")
            return "refused"

        results[0] = in_child(other_writer)

    with watched(fork_in_commit):
        texts.append("during")

    assert results == ["refused"]
    assert list(StringsMmap(path)) == [*OLD, "before", "during"]


def test_fork_of_a_reader_may_write(path):
    texts = StringsMmap(path)

    in_child(lambda: texts.append("by the child"))
    texts.append("by the parent")

    assert list(texts) == [*OLD, "by the child", "by the parent"]


def test_fork_while_another_thread_edits_hangs_nothing(path):
    texts = StringsMmap(path)
    held, done = threading.Event(), threading.Event()

    def hold():
        with texts._mutex:  # as a mutation does
            held.set()
            done.wait()

    def use():
        with pytest.raises(ForkedHandleError, match="forked while another thread was at work on the dataset"):
            texts.select([0])
        return list(texts)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    found = in_child(use)
    done.set()
    thread.join()

    assert found == OLD
    assert in_child(lambda: list(texts.select([0, 0]))) == OLD[:1] * 2
    texts.append("by the parent")


def test_forked_child_does_not_keep_the_lock_of_a_parent_that_died_in_a_commit(path):
    def parent():
        texts = StringsMmap(path)
        texts.append("first")

        def die(call, *_):
            if call == "pwrite":
                grandchild = os.fork()
                if grandchild == 0:
                    time.sleep(20)
                    os._exit(0)
                (path.parent / "grandchild").write_text(str(grandchild))
                os.kill(os.getpid(), signal.SIGKILL)

        files.watch(die)
        texts.append("lost")

    child = os.fork()
    if child == 0:
        parent()
        os._exit(1)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL

    try:
        texts = StringsMmap(path, lock_timeout=1)
        texts.append("second")
    finally:
        os.kill(int((path.parent / "grandchild").read_text()), signal.SIGKILL)

    assert texts[-2:] == ["first", "second"]
