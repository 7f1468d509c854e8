"""Readers in a loop beside writers: each list that is read is that of one commit."""

import os
import random
import signal
import threading
import time

import pytest

import mmap_ninja
from support.faults import fork, result_of
from support.programs import WORDED, Observer, Program, carry_out, final_state, record_of, text_of, write

# Ways of reading all samples; the first ones are atomic for other threads.
AT_ONCE = (lambda ds: ds[:], list, lambda ds: list(ds.select(slice(None))), lambda ds: ds[::-1][::-1])
WAYS = (*AT_ONCE, lambda ds: [ds[k] for k in range(len(ds))], lambda ds: list(ds.select(range(len(ds)))))


def read(path, kind, done, extra=()):
    """Read until the writers are done, and once more; returns how often."""
    observer, dataset = Observer(kind, extra), mmap_ninja.open(path)
    count, last = 0, False
    while not last:
        count, last = count + 1, done.exists()
        if count % 3 == 0:
            dataset = mmap_ninja.open(path)
        else:
            dataset.refresh()
        observer.look(WAYS[count % len(WAYS)](dataset))
    return count


def watched_by_readers(path, kind, writers, readers=2, extra=()):
    """Run writers to their ends beside readers; returns how often each reader has read."""
    done = path.parent / "done"
    watching = [fork(lambda: read(path, kind, done, extra)) for _ in range(readers)]
    for writer in [fork(writer) for writer in writers]:
        result_of(writer)
    done.touch()
    return [result_of(reader) for reader in watching]


def long_and_short(short, long):
    """The number of steps of a test."""
    return pytest.mark.parametrize("steps", [short, pytest.param(long, marks=pytest.mark.torture)])


@long_and_short(150, 3000)
@pytest.mark.parametrize("kind", WORDED)
def test_readers_see_whole_commits_of_two_writers(tmp_path, kind, steps):
    path = tmp_path / "ds"
    WORDED[kind][0](path, []).close()

    looks = watched_by_readers(path, kind, [lambda w=w: write(path, w, kind, steps) for w in (1, 2)])

    final_state(path, kind, {1: steps, 2: steps})
    assert min(looks) > 5


@long_and_short(150, 3000)
@pytest.mark.parametrize(
    ("kind", "extra"),
    [("strings", ["replace"] * 4), ("records", ["replace"] * 2), ("records", ["column"] * 4)],
    ids=["strings replaced", "records replaced", "columns"],
)
def test_readers_see_whole_commits_beside_replacements_and_new_columns(tmp_path, kind, extra, steps):
    path = tmp_path / "ds"
    WORDED[kind][0](path, []).close()

    looks = watched_by_readers(path, kind, [lambda: write(path, 1, kind, steps, extra)], extra=extra)

    final_state(path, kind, {1: steps}, extra)
    assert min(looks) > 5


@long_and_short(15, 300)
@pytest.mark.parametrize("kind", ["strings", "records"])
def test_readers_see_whole_commits_of_writers_that_are_killed_at_random(tmp_path, kind, steps):
    """Each writer is killed at some moment, half of them after a commit; the next goes on from the last commit."""
    path, done = tmp_path / "ds", tmp_path / "done"
    WORDED[kind][0](path, []).close()
    reader = fork(lambda: read(path, kind, done))
    moments, killed = random.Random(kind), 0

    for writer in range(steps):
        before = mmap_ninja.open(path).commit_id
        pid, pipe = fork(lambda w=writer: write(path, w, kind, 10_000))
        while writer % 2 and mmap_ninja.open(path).commit_id == before:
            time.sleep(0.001)
        time.sleep(moments.random() * 0.1)
        os.kill(pid, signal.SIGKILL)
        os.close(pipe)
        killed += os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
        assert mmap_ninja.verify(path, level="full").ok
    done.touch()

    assert killed == steps
    assert result_of(reader) > 5
    found = {WORDED[kind][2](sample)[0] for sample in mmap_ninja.open(path)}
    assert len(found) > steps // 3, "most writers were killed before their first commit"


@long_and_short(150, 3000)
@pytest.mark.parametrize("kind", ["strings", "records"])
def test_threads_see_whole_commits_through_one_handle(tmp_path, kind, steps):
    WORDED[kind][0](tmp_path / "ds", []).close()
    dataset, turn, done, errors, looks = mmap_ninja.open(tmp_path / "ds"), threading.Lock(), [], [], [0, 0, 0]

    def run(writer):
        program = Program(writer)
        for _ in range(steps):
            with turn:  # between steps, other threads change the samples
                carry_out(dataset, program, kind)

    def look(place):
        observer = Observer(kind)
        while len(done) < 2:
            observer.look(AT_ONCE[looks[place] % len(AT_ONCE)](dataset))
            looks[place] += 1
            if looks[place] % 7 == 0:
                dataset.refresh()

    def caught(function, *args):
        try:
            function(*args)
        except BaseException as error:
            errors.append(error)
        finally:
            if function is run:
                done.append(args)

    threads = [threading.Thread(target=caught, args=(run, writer)) for writer in (1, 2)]
    threads += [threading.Thread(target=caught, args=(look, place)) for place in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    dataset.close()

    assert errors == []
    assert min(looks) > 5
    final_state(tmp_path / "ds", kind, {1: steps, 2: steps})


def test_observer_rejects_lists_of_no_commit():
    """A test of the tests above."""
    program = Program(1, ["column"])
    while len(program.batches) < 5 or program.has_extra:
        program.step()
    before = [record_of(1, *words) for words in program.state]
    while not program.has_extra:
        program.step()
    now = [{**record_of(1, *words), "extra": text_of(1, *words)} for words in program.state]

    def seen(*lists):
        observer = Observer("records", ["column"])
        for samples in lists:
            observer.look(samples)

    seen(before, now, now)
    for wrong in (
        before,
        now[:-1],
        [now[1], now[0], *now[2:]],
        [*now, now[0]],
        [record_of(1, *words) for words in program.state],
        [{**now[0], "number": 0}, *now[1:]],
        [{**now[0], "text": now[1]["text"]}, *now[1:]],
        [{**now[0], "pixels": now[1]["pixels"]}, *now[1:]],
        [record_of(1, *program.state[0]), *now[1:]],
        [],
    ):
        with pytest.raises(AssertionError):
            seen(before, now, wrong)
