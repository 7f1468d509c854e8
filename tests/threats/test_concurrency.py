"""Several processes, threads and handles on one dataset: every sample once, and no endless waiting."""

import itertools
import os
import signal
import threading
import time

import numpy as np
import pytest

import mmap_ninja
from mmap_ninja import BytesMmap, LockTimeoutError, StringsMmap, _kernel
from mmap_ninja.engine import files, generation
from mmap_ninja.format.slots import COMMIT_SIZE
from support.faults import (
    NEW,
    OLD,
    ended,
    fork,
    in_child,
    opened,
    overwrite,
    result_of,
    sample,
    slot_places,
    start,
    watched,
)

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

    with pytest.raises(TypeError, match="expected a dataset of kind 'bytes', found 'strings'"):
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
    """A bug once: the position was read after releasing the GIL, so two threads could pass the end."""
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


@pytest.mark.parametrize("switch", [StringsMmap.clear, StringsMmap.compact], ids=["shorter", "longer"])
def test_reader_does_not_mix_two_generations_of_one_number(path, monkeypatch, switch):
    """A bug once: after a build had replaced the first, files of the second were opened by the meta of the first."""
    read_meta, is_read, is_switched, shown = generation.read_meta, threading.Event(), threading.Event(), []

    def read_slowly(path, slot):
        meta = read_meta(path, slot)
        if threading.current_thread() is reader and not is_read.is_set():
            is_read.set()
            is_switched.wait(10)
        return meta

    def source():
        yield from NEW[:5]
        opened(path).compact(order=[2, 1, 0])  # the generation after that of the build
        reader.start()
        is_read.wait(10)
        yield from NEW[5:]

    reader = threading.Thread(target=lambda: shown.append(list(StringsMmap(path))))
    monkeypatch.setattr(generation, "read_meta", read_slowly)
    texts = StringsMmap.from_generator(path, source(), batch_size=2)
    del texts[-1]
    switch(texts)
    is_switched.set()
    reader.join()

    assert shown == [list(texts)]


def test_appender_beside_a_replacement_continues_in_the_new_generation(path):
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


def test_reader_that_sees_both_fast_slots_torn_looks_again(path, monkeypatch):
    """Two commits during a slow read tear both fast slots; the durable slots are older than both."""
    texts = StringsMmap(path)
    texts.append("newest")
    whole = os.pread
    reads = []

    def torn_first(fd, size, offset):
        data = whole(fd, size, offset)
        if size == COMMIT_SIZE:
            reads.append(size)
            if len(reads) == 1:
                return bytes(byte ^ (at % _kernel.SLOT_STRIDE == 30 and at < 8192) for at, byte in enumerate(data))
        return data

    monkeypatch.setattr(generation.os, "pread", torn_first)
    reader = StringsMmap(path)

    assert reader[-1] == "newest"
    assert len(reads) > 1


def test_killed_replacing_build_leaves_the_old_data_and_what_was_appended_beside_it(path):
    for number, if_exists in enumerate(("resume", "replace", "append")):
        texts, before = StringsMmap(path), list(StringsMmap(path))

        def source(number=number):
            yield from NEW[:6]
            StringsMmap(path).extend([f"beside {number}", "by another handle"])
            yield NEW[6]
            os.kill(os.getpid(), signal.SIGKILL)

        pid, pipe = fork(lambda source=source: StringsMmap.from_generator(path, source(), batch_size=2))
        os.close(pipe)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
        texts.append("after the kill")
        expected = [*before, f"beside {number}", "by another handle", "after the kill"]
        assert list(texts) == list(StringsMmap(path)) == expected
        assert (path / "BUILD").exists()
        assert mmap_ninja.verify(path, level="full").ok

        made = StringsMmap.from_generator(path, iter(NEW), batch_size=2, if_exists=if_exists)

        assert list(made) == [*(expected if if_exists == "append" else []), *NEW]
        assert (path / "BUILD").exists() == (if_exists == "append")
        texts.refresh()
        assert list(texts) == list(made)
        assert mmap_ninja.verify(path, level="full").ok


@pytest.mark.parametrize("how", ["append", "flush", "del"])
def test_slot_torn_anywhere_shows_the_commit_before_or_the_new_one(path, how):
    texts, commit_path = StringsMmap(path), path / "COMMIT"
    texts.append("before")
    reader, earlier, old = StringsMmap(path), commit_path.read_bytes(), [*OLD, "before"]
    {"append": lambda: texts.append("new"), "flush": texts.flush, "del": lambda: texts.__delitem__(0)}[how]()
    later, new = commit_path.read_bytes(), list(texts)
    changed = [place for place in slot_places() if earlier[place : place + 256] != later[place : place + 256]]
    states = 0

    for place in changed:
        for cut in range(257):
            for first, second in ((earlier, later), (later, earlier)):
                torn = first[place : place + cut] + second[place + cut : place + 256]
                overwrite(commit_path, 0, earlier[:place] + torn + earlier[place + 256 :])
                reader.refresh()
                assert list(reader) in (old, new)
                assert list(reader) == old or torn == later[place : place + 256]
                states += 1
    overwrite(commit_path, 0, later)
    reader.refresh()

    assert list(reader) == new
    assert states == len(changed) * 514 > 0


def test_open_while_another_makes_the_first_append_shows_no_dataset_yet(tmp_path, monkeypatch):
    """A bug once: files that appeared between two looks were taken for a dataset without a commit file."""
    path = tmp_path / "ds"
    reached = {name: threading.Event() for name in ("BUILD.new", "COMMIT.new")}
    go_on = {name: threading.Event() for name in reached}

    def pause(call, where, *_):
        name = os.path.basename(str(where))
        if call == "rename" and name in reached:
            reached[name].set()
            assert go_on[name].wait(60)

    names = files.names

    def names_after_some_work(folder):
        if threading.current_thread() is threading.main_thread():
            go_on["BUILD.new"].set()
            assert reached["COMMIT.new"].wait(60)
        return names(folder)

    monkeypatch.setattr(files, "names", names_after_some_work)
    with watched(pause):
        other = threading.Thread(target=lambda: StringsMmap(path).append("first"))
        other.start()
        assert reached["BUILD.new"].wait(60)
        texts = StringsMmap(path)
        go_on["COMMIT.new"].set()
        other.join()

    assert list(texts) == []
    texts.append("second")
    assert list(texts) == ["first", "second"]
