"""Several processes, threads and handles on one dataset: every sample once, nobody blocked for ever, nothing leaked."""

import contextlib
import gc
import itertools
import multiprocessing
import os
import pickle
import shutil
import signal
import threading
import time

import numpy as np
import pytest
from faults import At, fork, in_child, opened, result_of, watched

from mmap_ninja import (
    BytesMmap,
    ForkedHandleError,
    LockTimeoutError,
    StaleHandleError,
    StringsMmap,
    _kernel,
    files,
    format,
    generation,
    writing,
)

OLD = ["one", "zwölf", ""]
NEW = [f"new {number}" * (number + 1) for number in range(10)]
START_METHODS = ["fork", "forkserver", "spawn"]


@pytest.fixture
def path(tmp_path):
    """A complete, durable dataset of OLD."""
    StringsMmap.from_strings(tmp_path / "ds", OLD).close()
    return tmp_path / "ds"


def start(method, function, *args):
    """Run a function of this module in a process of its own."""
    process = multiprocessing.get_context(method).Process(target=function, args=args)
    process.start()
    return process


def ended(process):
    """The exit status of a process that is about to end."""
    process.join(60)
    status = process.exitcode
    process.close()
    return status


def sample(number):
    """The value that belongs to a number, of varying length and width."""
    return f"{number}:" + "aé日"[number % 3] * (number % 50)


# ---- several writers


def extend_batches(path, worker, count):
    texts = StringsMmap(path)
    for batch in range(count):
        texts.extend([f"{worker} {batch} {number}" for number in range(3)])


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
@pytest.mark.parametrize(("method", "workers"), [("fork", 6), ("forkserver", 3), ("spawn", 2)])
def test_extend_by_many_processes_stores_every_batch_once(path, method, workers):
    processes = [start(method, extend_batches, path, worker, 100) for worker in range(workers)]

    assert [ended(process) for process in processes] == [0] * workers

    texts = list(StringsMmap(path))
    assert texts[: len(OLD)] == OLD
    batches = [texts[k : k + 3] for k in range(len(OLD), len(texts), 3)]
    for worker in range(workers):
        own = [batch for batch in batches if batch[0].startswith(f"{worker} ")]
        assert own == [[f"{worker} {batch} {number}" for number in range(3)] for batch in range(100)]
    assert len(batches) == workers * 100


def test_first_append_by_many_processes_makes_one_dataset(tmp_path):
    for attempt in range(10):
        path = tmp_path / str(attempt)
        handles = [StringsMmap(path) for _ in range(4)]

        children = [fork(lambda k=k: handles[k].append(f"by {k}")) for k in range(4)]  # noqa: B023 - runs at once
        for child in children:
            result_of(child)

        assert sorted(StringsMmap(path)) == [f"by {k}" for k in range(4)]
        assert sorted(os.listdir(path))[:2] == ["COMMIT", "LOCK"]
        assert len(os.listdir(path)) == 7


def test_first_append_of_two_kinds_lets_one_win(tmp_path):
    texts, blobs = StringsMmap(tmp_path / "ds"), BytesMmap(tmp_path / "ds")
    texts.append("text")

    with pytest.raises(TypeError, match="holds strings, not bytes"):
        blobs.append(b"bytes")

    assert list(StringsMmap(tmp_path / "ds")) == ["text"]


def test_two_handles_of_one_process_append_in_turn(path):
    first, second = StringsMmap(path), StringsMmap(path)

    for number in range(20):
        first.append(f"first {number}")
        second.extend([f"second {number}", ""])
        if number % 5 == 0:
            second.flush()

    expected = OLD + [text for k in range(20) for text in (f"first {k}", f"second {k}", "")]
    assert list(second) == list(StringsMmap(path)) == expected
    assert len(first) == len(expected) - 2


def test_threads_append_through_one_handle_and_through_their_own(path):
    shared = StringsMmap(path)
    errors = []

    def append(worker, texts):
        try:
            for number in range(50):
                texts.append(f"{worker} {number}")
        except BaseException as error:
            errors.append(error)

    threads = [
        threading.Thread(target=append, args=(worker, shared if worker < 3 else StringsMmap(path)))
        for worker in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert errors == []
    texts = list(StringsMmap(path))[len(OLD) :]
    assert sorted(texts) == sorted(f"{worker} {number}" for worker in range(6) for number in range(50))
    for worker in range(6):
        assert [text for text in texts if text.startswith(f"{worker} ")] == [f"{worker} {k}" for k in range(50)]


# ---- readers beside writers


def append_numbers(path, count):
    texts = StringsMmap(path)
    for number in range(count):
        texts.append(sample(number))
        if number % 500 == 0:
            texts.flush()


@pytest.mark.parametrize("how", ["refresh", "open"])
def test_reader_beside_a_writer_sees_only_prefixes(tmp_path, how):
    count = 3000
    StringsMmap.from_strings(tmp_path, []).close()
    child = fork(lambda: append_numbers(tmp_path, count))
    reader, seen, rounds = StringsMmap(tmp_path), 0, 0

    while seen < count:
        if how == "refresh":
            reader.refresh()
        else:
            reader = StringsMmap(tmp_path)
        assert len(reader) >= seen
        assert reader.take(range(seen, len(reader))) == [sample(number) for number in range(seen, len(reader))]
        seen, rounds = len(reader), rounds + 1

    result_of(child)
    assert list(reader) == [sample(number) for number in range(count)]
    assert rounds > 5


def test_threads_read_while_another_appends(path):
    texts = StringsMmap(path)
    stop, errors = threading.Event(), []

    class Slow(list):
        """Indices whose conversion lets other threads run."""

        def __array__(self, dtype=None, copy=None):
            time.sleep(0)
            return np.array(list(self))

    def read(how):
        try:
            while not stop.is_set():
                length = len(texts)
                if how == "index":
                    assert texts[length - 1] in (OLD[-1], sample(length - 1 - len(OLD)))
                elif how == "iterate":
                    assert list(itertools.islice(texts, 3)) == OLD
                elif how == "take":
                    assert texts.take([0, 2, 1, 0]) == [OLD[0], OLD[2], OLD[1], OLD[0]]
                elif how == "view":
                    assert list(texts.select(Slow([1, 0]))) == [OLD[1], OLD[0]]
                else:
                    assert texts.index("zwölf") == 1
        except BaseException as error:
            errors.append((how, error))

    threads = [threading.Thread(target=read, args=(how,)) for how in ("index", "iterate", "take", "view", "find")]
    for thread in threads:
        thread.start()
    for number in range(2000):
        texts.append(sample(number))
    stop.set()
    for thread in threads:
        thread.join()

    assert errors == []
    assert texts[len(OLD) :] == [sample(number) for number in range(2000)]


def test_threads_share_an_iterator_without_loss_or_overrun(tmp_path):
    """A bug once: the position was taken after the GIL had been let go, so two threads could pass the end."""
    expected = [f"{number}" for number in range(500)]
    for _ in range(10):
        texts = StringsMmap.from_strings(tmp_path, expected)
        iterator = iter(texts)
        found = [[] for _ in range(8)]
        threads = [threading.Thread(target=part.extend, args=(iterator,)) for part in found]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(itertools.chain(*found), key=int) == expected


def test_iteration_keeps_its_length_while_the_dataset_grows_and_is_replaced(path):
    texts = StringsMmap(path)
    iterator = iter(texts)
    assert next(iterator) == OLD[0]

    texts.extend(NEW)
    StringsMmap.from_strings(path, ["replaced"])
    texts.refresh()

    assert list(iterator) == OLD[1:]
    assert list(texts) == ["replaced"]


# ---- locks


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
    """The process id of a writer that is stopped in the middle of a commit, holding LOCK."""

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
    message = f"LOCK: process {stopped_writer} has held the lock for 0.1 s; wait for it, end it, or open with a longer"

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


def test_open_writer_times_out_on_a_lock_and_goes_on_afterwards(path):
    texts = StringsMmap(path, lock_timeout=0.1)
    texts.append("before")
    fd = files.open_write(path / "LOCK")
    assert files.try_lock(fd, path / "LOCK")

    with pytest.raises(LockTimeoutError, match=f"process {os.getpid()} has held the lock for 0.1 s"):
        texts.append("refused")
    os.close(fd)
    texts.append("after")

    assert list(texts) == [*OLD, "before", "after"]


def test_interrupt_ends_the_wait_for_a_lock(path):
    texts = StringsMmap(path, lock_timeout=30)
    texts.append("before")
    fd = files.open_write(path / "LOCK")
    assert files.try_lock(fd, path / "LOCK")
    interrupt = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
    begin = time.monotonic()

    interrupt.start()
    with pytest.raises(KeyboardInterrupt):
        texts.append("interrupted")
    took = time.monotonic() - begin
    os.close(fd)
    texts.append("after")

    assert took < 10
    assert list(texts) == [*OLD, "before", "after"]


def test_signals_during_commits_lose_nothing(path):
    texts = StringsMmap(path)
    handled = []
    before = signal.signal(signal.SIGALRM, lambda *_: handled.append(1))
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    try:
        for number in range(500):
            texts.append(sample(number))
            if number % 50 == 0:
                texts.flush()
        texts.extend(["x" * 1000] * 1000)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)

    assert handled
    assert list(StringsMmap(path)) == OLD + [sample(number) for number in range(500)] + ["x" * 1000] * 1000


# ---- fork


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


# ---- pickles


def send_samples(handle, queue):
    queue.put((list(handle), handle[-1], len(handle)))


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
@pytest.mark.parametrize("method", START_METHODS)
def test_pickle_gives_a_child_process_the_same_snapshot(path, method):
    texts = StringsMmap(path)
    view = texts.select([2, 1])
    texts.append("later")
    queue = multiprocessing.get_context(method).Queue()

    found = []
    for handle in (texts, view):
        process = start(method, send_samples, handle, queue)
        found.append(queue.get(timeout=60))
        assert ended(process) == 0
    queue.close()
    queue.join_thread()

    assert found == [([*OLD, "later"], "later", 4), ([OLD[2], OLD[1]], OLD[1], 2)]
    assert len(pickle.dumps(texts)) < 1024


def test_pickle_after_appends_by_others_gives_the_old_snapshot(path):
    texts = StringsMmap(path)
    views = [texts.select(slice(None, None, -1)), texts.select([1]), texts.select(np.array([], int))]
    pickled = pickle.dumps((texts, views))

    StringsMmap(path).extend(NEW)
    again, views_again = pickle.loads(pickled)

    assert list(again) == OLD
    assert [list(view) for view in views_again] == [OLD[::-1], [OLD[1]], []]
    again.append("more")
    assert list(again) == [*OLD, *NEW, "more"]


def test_pickle_after_a_replacement_is_stale(path):
    texts = StringsMmap(path)
    pickles = [pickle.dumps(texts), pickle.dumps(texts.select([1])), pickle.dumps(texts.select(slice(1)))]

    StringsMmap.from_strings(path, [*OLD, *NEW])

    for pickled in pickles:
        with pytest.raises(StaleHandleError, match="was replaced or rolled back; open the path again"):
            pickle.loads(pickled)


def test_pickle_after_a_rollback_is_stale(path):
    texts = StringsMmap(path)
    texts.append("gone")
    pickled = pickle.dumps(texts)
    shutil.rmtree(path)
    StringsMmap.from_strings(path, OLD)

    with pytest.raises(StaleHandleError, match="generation 1 with 4 was expected"):
        pickle.loads(pickled)


# ---- builds


def test_replacement_leaves_old_data_to_open_readers(path):
    reader, idle = StringsMmap(path), StringsMmap(path)
    view, iterator = reader.select([1, 0]), iter(idle)

    StringsMmap.from_generator(path, iter(NEW), batch_size=3)
    before = list(reader)
    reader.refresh()

    assert before == OLD
    assert list(reader) == NEW
    assert (list(idle), list(view), list(iterator)) == (OLD, [OLD[1], OLD[0]], OLD)


def test_reader_beside_replacements_sees_whole_generations(path):
    versions = {version: [f"{version} {k}" * (version % 5) for k in range(version % 7 + 1)] for version in range(1, 40)}

    def replace():
        for samples in versions.values():
            StringsMmap.from_strings(path, samples)

    allowed = [OLD, *versions.values()]
    child = fork(replace)
    reader, last = StringsMmap(path), 0

    while last < len(allowed) - 1:
        reader.refresh()
        for found in (list(reader), list(opened(path))):
            assert found in allowed[last:]
            last = allowed.index(found)

    result_of(child)


def test_appender_beside_a_replacement_goes_on_in_the_new_generation(path):
    def append():
        texts = StringsMmap(path)
        count, switched = 0, False
        while not switched or count < 100:
            length = len(texts)
            texts.append(sample(count))
            count += 1
            switched |= len(texts) < length
        return count, len(texts)

    child = fork(append)
    while len(opened(path)) < len(OLD) + 10:
        pass
    StringsMmap.from_generator(path, iter(NEW), batch_size=2)

    count, length = result_of(child)
    texts = list(StringsMmap(path))
    assert texts[: len(NEW)] == NEW
    assert texts[len(NEW) :] == [sample(number) for number in range(count - len(texts) + len(NEW), count)]
    assert length == len(texts)


def test_second_replacement_at_once_is_refused_and_names_the_first(path):
    def source():
        yield from NEW[:3]
        messages.append(in_child(second))
        yield from NEW[3:]

    def second():
        with pytest.raises(LockTimeoutError) as refused:
            StringsMmap.from_strings(path, ["second"], lock_timeout=0.1)
        return str(refused.value)

    messages = []
    texts = StringsMmap.from_generator(path, source(), batch_size=3)

    assert list(texts) == NEW
    assert f"BUILD: process {os.getpid()}" in messages[0]


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, GeneratorExit, MemoryError, SystemExit])
@pytest.mark.parametrize("exists", [False, True])
def test_error_in_the_generator_at_each_batch_is_resumed(tmp_path, error, exists):
    def source():
        yield from NEW[:after]
        raise error

    kept = []  # tracebacks hold on to the frames of the failed builds
    for after in range(len(NEW) + 1):
        path = tmp_path / str(after)
        if exists:
            StringsMmap.from_strings(path, OLD)
        with pytest.raises(error) as raised:
            StringsMmap.from_generator(path, source(), batch_size=3)
        kept.append(raised)
        assert list(opened(path)) == (OLD if exists else NEW[: after // 3 * 3])
        texts = StringsMmap.from_generator(path, iter(NEW), batch_size=3, if_exists="resume")
        assert list(texts) == NEW
        assert texts.complete
        assert len(os.listdir(path)) == 7


# ---- leaks


def descriptors():
    """The number of open descriptors and maps of this process."""
    gc.collect()
    with open("/proc/self/maps") as maps:
        return len(os.listdir("/proc/self/fd")), sum("/ds/" in line for line in maps)


def test_operations_leak_no_descriptors_or_maps(path):
    def use():
        texts = StringsMmap(path)
        texts.append("a")
        view = texts.select([0])
        StringsMmap.from_strings(path, OLD)
        with contextlib.suppress(TypeError):
            BytesMmap(path)
        with contextlib.suppress(TypeError):
            texts.append(1)
        with contextlib.suppress(RuntimeError):
            StringsMmap.from_generator(path, iter_that_fails())
        texts.refresh()
        texts.append("b")
        pickle.loads(pickle.dumps(texts)).close()
        texts.starts
        texts.close()
        return view[0]

    def iter_that_fails():
        yield "a"
        raise RuntimeError

    use()
    before = descriptors()
    for _ in range(20):
        use()

    assert descriptors() == before


def resident_bytes():
    """Private memory of this process that is in RAM."""
    gc.collect()
    with open("/proc/self/statm") as statm:
        fields = statm.read().split()
    return (int(fields[1]) - int(fields[2])) * os.sysconf("SC_PAGE_SIZE")


def test_operations_leak_no_memory(path):
    texts = StringsMmap(path)
    indices = np.array([2, 0, 1])

    # 100,000 operations and more; the samples that they append are no leak, and shared.
    def use(times):
        for _ in range(times):
            texts[1]
            texts[-1]
            texts.take(indices)
            texts.take_jagged(indices)
            iter(texts).__next__()
            texts.byte_lengths
            assert "zwölf" in texts
            texts.select(indices)[0]
            with contextlib.suppress(IndexError):
                texts[10**9]
            with contextlib.suppress(TypeError):
                texts._encode(texts._dataset.meta.columns, ["a", 1], "path", 0)
            texts._encode(texts._dataset.meta.columns, ["a", "日"], "path", 0)

    def grow(times):
        for _ in range(times):
            texts.append("a")

    def measured():
        use(500)
        grow(500)
        before = resident_bytes()
        use(10_000)
        grow(20_000)
        return resident_bytes() - before

    assert in_child(measured) < 3 << 20


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


def test_writer_goes_on_after_its_lock_file_was_replaced(path):
    texts = StringsMmap(path)
    texts.append("first")
    (path / "LOCK").unlink()
    (path / "LOCK").touch()

    with pytest.raises(StaleHandleError, match="was deleted or replaced"):
        texts.append("refused")
    texts.append("second")

    assert texts[-2:] == ["first", "second"]


def test_lock_file_replaced_before_it_was_taken_is_opened_again(path, monkeypatch):
    lock_path = path / "LOCK"
    take = files.try_lock

    def replace_first(fd, where):
        monkeypatch.setattr(files, "try_lock", take)
        lock_path.unlink()
        lock_path.touch()
        return take(fd, where)

    monkeypatch.setattr(files, "try_lock", replace_first)

    with writing.locked(path, 1) as fd:
        assert files.is_at(fd, lock_path)


def test_reader_that_sees_both_fast_slots_torn_looks_again(path, monkeypatch):
    """Two commits during one slow read tear both; the durable slots are older than both."""
    texts = StringsMmap(path)
    texts.append("newest")
    whole = os.pread
    reads = []

    def torn_first(fd, size, offset):
        data = whole(fd, size, offset)
        if size == format.COMMIT_SIZE:
            reads.append(size)
            if len(reads) == 1:
                return bytes(byte ^ (at % _kernel.SLOT_STRIDE == 30 and at < 8192) for at, byte in enumerate(data))
        return data

    monkeypatch.setattr(generation.os, "pread", torn_first)
    reader = StringsMmap(path)

    assert reader[-1] == "newest"
    assert len(reads) == 2
