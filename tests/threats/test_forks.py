"""Forks: a child can read, but neither writes with handles of its parent, nor releases the parent's locks."""

import os
import signal
import sys
import threading
import time

import pytest

import mmap_ninja as mn
from mmap_ninja import ForkedHandleError, LockTimeoutError, RecordsMmap, StringsMmap
from mmap_ninja.engine import files
from support.faults import OLD, fork, in_child, watched


def test_fork_with_open_writer_reads_but_refuses_to_write(path):
    texts = StringsMmap(path)
    texts.append("by the parent")

    def use():
        with pytest.raises(
            ForkedHandleError, match=f"belongs to process {os.getppid()}, from which this one was forked"
        ):
            texts.append("lost")
        with pytest.raises(ForkedHandleError, match="open the dataset again in this process"):
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
    """When the child ends, it must not release a lock that it shares with its parent."""
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
        with texts._mutex.turn():  # as in a mutation
            held.set()
            done.wait()

    def use():
        with pytest.raises(ForkedHandleError, match="forked while another thread was changing the dataset"):
            texts.append("by the child")
        return list(texts), list(texts.select([0]))

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    found = in_child(use)
    done.set()
    thread.join()

    assert found == (OLD, OLD[:1])
    texts.append("by the parent")


def test_fork_as_another_thread_gets_its_turn_hangs_nothing(path):
    """A bug once: the other thread had the lock, but had not begun, and the child waited for ever."""
    texts, interval = StringsMmap(path), sys.getswitchinterval()
    turn = texts._mutex.turn()

    def wait_for_a_turn():
        with texts._mutex.turn():
            pass

    turn.__enter__()
    thread = threading.Thread(target=wait_for_a_turn)
    thread.start()
    time.sleep(0.2)
    sys.setswitchinterval(60)
    try:
        turn.__exit__(None, None, None)
        end = time.monotonic() + 0.1
        while time.monotonic() < end:
            pass  # it gets the lock now, but not the GIL
        if (child := os.fork()) == 0:
            signal.alarm(5)
            texts.append("by the child")
            os._exit(0)
    finally:
        sys.setswitchinterval(interval)
    thread.join()

    assert os.waitpid(child, 0)[1] == 0
    assert list(StringsMmap(path)) == [*OLD, "by the child"]


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


# ---- workers forked while another thread holds a lock


def waiting(act):
    """Run `act(wait)` in another thread, up to the point where it calls `wait` and stays."""
    reached = threading.Event()

    def wait():
        reached.set()
        time.sleep(60)

    threading.Thread(target=act, args=(wait,), daemon=True).start()
    assert reached.wait(30)


class Values:
    """Values of a column; reading the last one has a side effect."""

    def __init__(self, values, act):
        self.values, self.act = values, act

    def __len__(self):
        return len(self.values)

    def __getitem__(self, index):
        if index == len(self.values) - 1:
            self.act()
        return self.values[index]


RECORDS = [{"a": number} for number in range(5)]
MORE = {"a": 9}


def compact(path, wait):
    records = RecordsMmap(path)
    files.watch(lambda call, *_: wait() if call == "pwrite" else None)
    records.compact(order=[4, 3, 2, 1, 0])


def replace(path, wait):
    def samples():
        yield from RECORDS
        wait()

    RecordsMmap.from_generator(path, samples(), batch_size=2)


def switch(path, wait):
    def at_commit(call, where, *_):
        if call == "pwrite" and os.path.samestat(os.fstat(where), os.stat(path / "COMMIT")):
            wait()

    files.watch(at_commit)
    RecordsMmap.from_generator(path, RECORDS)


def append(path, wait):
    records = RecordsMmap(path)
    records.append(MORE)
    files.watch(lambda call, *_: wait() if call == "pwrite" else None)
    records.append(MORE)


HOLDERS = {
    "append": append,
    "compact": compact,
    "add a column": lambda path, wait: RecordsMmap(path).add_column("b", Values(range(5), wait), mn.Scalar("int64")),
    "replace": replace,
    "end of a replacement": switch,
}


@pytest.mark.parametrize("holder", HOLDERS)
def test_worker_forked_beside_a_thread_that_holds_a_lock_does_not_keep_it(tmp_path, holder):
    """A bug once: after the parent was killed, its workers kept the lock of LOCK or BUILD as long as they lived."""
    path = tmp_path / "ds"
    RecordsMmap.from_generator(path, RECORDS).close()

    def parent():
        waiting(lambda wait: HOLDERS[holder](path, wait))
        worker, pipe = fork(lambda: time.sleep(60))
        os.close(pipe)
        (tmp_path / "worker").write_text(str(worker))
        os.kill(os.getpid(), signal.SIGKILL)

    pid, pipe = fork(parent)
    os.close(pipe)
    assert os.waitpid(pid, 0)[1] == signal.SIGKILL
    try:
        before = list(mn.open(path))
        mn.open(path, lock_timeout=2).append(MORE)
        assert list(mn.open(path)) == [*before, MORE]
        RecordsMmap.from_generator(path, [MORE], lock_timeout=2).close()
    finally:
        os.kill(int((tmp_path / "worker").read_text()), signal.SIGKILL)

    assert before in (RECORDS, [*RECORDS, MORE])
    assert list(mn.open(path)) == [MORE]
    assert mn.verify(path, level="full").ok


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
@pytest.mark.parametrize("first", ["child", "parent"])
def test_fork_in_the_middle_of_add_column_leaves_the_change_to_the_parent(tmp_path, first):
    """A bug once: the child continued the change, too, beside its parent and with the same files."""
    path, done = tmp_path / "ds", tmp_path / "done"
    records = RecordsMmap.from_generator(path, RECORDS)
    records.append(MORE)
    pids, statuses = [], []

    def fork_once():
        if pids:
            return
        pids.append(os.fork())
        if pids == [0] and first == "parent":
            deadline = time.monotonic() + 30
            while not done.exists() and time.monotonic() < deadline:
                time.sleep(0.01)
        elif pids != [0] and first == "child":
            statuses.append(os.waitpid(*pids, 0)[1])

    status = 1
    try:
        records.add_column("b", Values(range(6), fork_once), mn.Scalar("int64"))
    except ForkedHandleError:
        status = 0
    finally:
        if pids == [0]:
            os._exit(status)
        done.touch()
    if first == "parent":
        statuses.append(os.waitpid(*pids, 0)[1])

    assert statuses == [0]
    expected = [{**record, "b": number} for number, record in enumerate([*RECORDS, MORE])]
    assert list(records) == list(mn.open(path)) == expected
    assert mn.verify(path, level="full").ok
    records.append({"a": 10, "b": 6})
    assert len(mn.open(path)) == 7
