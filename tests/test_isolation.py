"""Readers that look in a loop while writers do all they can: each list that is read is that of one commit.

Writers run programs that follow from their numbers alone, so a reader can run them, too: of every writer, it must find
exactly the samples that one state of its program has, and none before the state that it found last. Each sample tells
whose it is and carries a checksum.
"""

import os
import random
import signal
import threading
import time
import zlib

import numpy as np
import pytest
from faults import fork, result_of

import mmap_ninja
from mmap_ninja import BytesMmap, RaggedMmap, RecordsMmap, StaleHandleError, StringsMmap

MOST_BATCHES = 12  # of one writer
MOST_STEPS = 20_000  # that a reader looks ahead for the state that it sees


class Program:
    """What one writer does, step by step. All of a batch is appended, replaced, deleted, never a part of it."""

    def __init__(self, writer, extra=()):
        self.writer = writer
        self.acts = (*["append"] * 4, *["edit"] * 4, *["delete"] * 3, "compact", "flush", *extra)
        self.random = random.Random(writer)
        self.batches = []  # (number, how many samples), in the order of the list
        self.has_extra = False
        self.number = 0

    def new_batch(self):
        self.number += 1
        return self.number, self.random.randrange(1, 5)

    def step(self):
        """The next act, and the batches that it is about: `(act, old, new)`; the state is the one after it."""
        act = "append" if not self.batches else self.random.choice(self.acts)
        if act == "append" and len(self.batches) == MOST_BATCHES:
            act = "delete"
        if act == "delete" and len(self.batches) < 2:
            act = "append"
        old = new = None
        if act == "append":
            new = self.new_batch()
            self.batches.append(new)
        elif act == "edit":
            at = self.random.randrange(len(self.batches))
            old = self.batches[at]
            self.number += 1
            new = self.batches[at] = self.number, old[1]
        elif act == "delete":
            newest = max(self.batches)  # which tells readers how far the program is
            old = self.random.choice([batch for batch in self.batches if batch != newest])
            self.batches.remove(old)
        elif act == "replace":
            self.batches = [self.new_batch() for _ in range(self.random.randrange(1, 4))]
            self.has_extra = False
        elif act == "column":
            self.has_extra = not self.has_extra
        return act, old, new

    @property
    def state(self):
        return [(number, size, part) for number, size in self.batches for part in range(size)]


# ---- what samples of each kind say


def text_of(writer, number, size, part):
    text = f"{writer} {number} {size} {part} " + "aé日"[number % 3] * (number * 7 % 40)
    return f"{text} {zlib.crc32(text.encode())}"


def words_of(text):
    body, _, checksum = text.rpartition(" ")
    assert zlib.crc32(body.encode()) == int(checksum), text
    return tuple(map(int, body.split(" ")[:4]))


def array_of(*words):
    return np.frombuffer(text_of(*words).encode(), np.uint8)


def record_of(*words):
    text = text_of(*words)
    return {"text": text, "pixels": np.frombuffer(text.encode(), np.uint8), "number": len(text)}


def words_of_record(record):
    text = record["text"]
    assert bytes(record["pixels"]).decode() == text
    assert record["number"] == len(text)
    assert record.get("extra", text) == text
    return words_of(text)


KINDS = {
    "strings": (StringsMmap.from_strings, text_of, words_of),
    "zstd": (lambda path, texts: StringsMmap.from_strings(path, texts, zstd_level=3), text_of, words_of),
    "bytes": (
        BytesMmap.from_generator,
        lambda *words: text_of(*words).encode(),
        lambda sample: words_of(sample.decode()),
    ),
    "ragged": (RaggedMmap.from_generator, array_of, lambda sample: words_of(bytes(sample).decode())),
    "records": (RecordsMmap.from_generator, record_of, words_of_record),
}


# ---- writers and readers


def carry_out(dataset, program, kind):
    """One step of a program."""
    make, sample_of, words = KINDS[kind]
    act, old, new = program.step()

    def samples(batch):
        made = [sample_of(program.writer, *batch, part) for part in range(batch[1])]
        if program.has_extra:
            made = [{**record, "extra": record["text"]} for record in made]
        return made

    while True:
        try:
            if old is not None:
                first = next(k for k, sample in enumerate(dataset) if words(sample)[:2] == (program.writer, old[0]))
                place = slice(first, first + old[1])
            if act == "append":
                dataset.extend(samples(new))
            elif act == "edit":
                dataset[place] = samples(new)
            elif act == "delete":
                del dataset[place]
            elif act == "replace":
                make(dataset.path, [sample for batch in program.batches for sample in samples(batch)])
                dataset.refresh()
            elif act == "column" and program.has_extra:
                dataset.add_column("extra", list(dataset["text"]))
            elif act == "column":
                dataset.drop_column("extra")
            else:
                getattr(dataset, act)()
            return
        except StaleHandleError:  # another writer compacted since this one looked: nothing was done
            dataset.refresh()


def write(path, writer, kind, steps, extra=()):
    with mmap_ninja.open(path) as dataset:
        program = Program(writer, extra)
        for _ in range(steps):
            carry_out(dataset, program, kind)


class Observer:
    """Holds what is read against the programs of the writers."""

    def __init__(self, kind, extra=()):
        self.words = KINDS[kind][2]
        self.extra = extra
        self.programs = {}

    def look(self, samples):
        """Assert that a list is that of one commit, none before the last one."""
        found = {writer: [] for writer in self.programs}
        columns = {frozenset(sample) for sample in samples if isinstance(sample, dict)}
        assert len(columns) <= 1, columns
        for sample in samples:
            writer, *rest = self.words(sample)
            found.setdefault(writer, []).append(tuple(rest))
        for writer, state in found.items():
            program = self.programs.setdefault(writer, Program(writer, self.extra))
            for _ in range(MOST_STEPS):
                if program.state == state and columns <= {frozenset(self.columns_of(program))}:
                    break
                program.step()
            else:
                raise AssertionError(f"no later state of writer {writer} is {state}")

    def columns_of(self, program):
        return ["text", "pixels", "number", *["extra"] * program.has_extra]


# Ways of reading all samples; the first ones are one act, which other threads cannot come between.
AT_ONCE = (lambda ds: ds[:], list, lambda ds: list(ds.select(slice(None))), lambda ds: ds[::-1][::-1])
WAYS = (*AT_ONCE, lambda ds: [ds[k] for k in range(len(ds))], lambda ds: list(ds.select(range(len(ds)))))


def read(path, kind, done, extra=()):
    """Look until the writers are done, and once more; how often."""
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
    """Run writers to their ends while readers look; how often each looked."""
    done = path.parent / "done"
    watching = [fork(lambda: read(path, kind, done, extra)) for _ in range(readers)]
    for writer in [fork(writer) for writer in writers]:
        result_of(writer)
    done.touch()
    return [result_of(reader) for reader in watching]


def final_state(path, kind, steps, extra=()):
    """Assert that the dataset holds what programs end with; `steps` by writer."""
    found = [KINDS[kind][2](sample) for sample in mmap_ninja.open(path)]
    for writer, count in steps.items():
        program = Program(writer, extra)
        for _ in range(count):
            program.step()
        assert [words[1:] for words in found if words[0] == writer] == program.state
    assert {words[0] for words in found} == set(steps)
    assert mmap_ninja.verify(path, level="full").ok


def long_and_short(short, long):
    """How many steps a test takes."""
    return pytest.mark.parametrize("steps", [short, pytest.param(long, marks=pytest.mark.torture)])


@long_and_short(150, 3000)
@pytest.mark.parametrize("kind", KINDS)
def test_readers_see_whole_commits_of_two_writers(tmp_path, kind, steps):
    path = tmp_path / "ds"
    KINDS[kind][0](path, []).close()

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
    KINDS[kind][0](path, []).close()

    looks = watched_by_readers(path, kind, [lambda: write(path, 1, kind, steps, extra)], extra=extra)

    final_state(path, kind, {1: steps}, extra)
    assert min(looks) > 5


@long_and_short(15, 300)
@pytest.mark.parametrize("kind", ["strings", "records"])
def test_readers_see_whole_commits_of_writers_that_are_killed_at_random(tmp_path, kind, steps):
    """Each writer is killed at some moment, and the next one takes over from where its last commit left the dataset."""
    path, done = tmp_path / "ds", tmp_path / "done"
    KINDS[kind][0](path, []).close()
    reader = fork(lambda: read(path, kind, done))
    moments, killed = random.Random(kind), 0

    for writer in range(steps):
        pid, pipe = fork(lambda w=writer: write(path, w, kind, 10_000))
        time.sleep(0.01 + moments.random() * 0.1)  # the first commits of a process take 5 ms
        os.kill(pid, signal.SIGKILL)
        os.close(pipe)
        killed += os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
        assert mmap_ninja.verify(path, level="full").ok
    done.touch()

    assert killed == steps
    assert result_of(reader) > 5
    found = {KINDS[kind][2](sample)[0] for sample in mmap_ninja.open(path)}
    assert len(found) > steps // 3, "most writers were killed before their first commit"


@long_and_short(150, 3000)
@pytest.mark.parametrize("kind", ["strings", "records"])
def test_threads_see_whole_commits_through_one_handle(tmp_path, kind, steps):
    KINDS[kind][0](tmp_path / "ds", []).close()
    dataset, turn, done, errors, looks = mmap_ninja.open(tmp_path / "ds"), threading.Lock(), [], [], [0, 0, 0]

    def run(writer):
        program = Program(writer)
        for _ in range(steps):
            with turn:  # between two steps, another one's move the samples
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


def test_observer_rejects_what_no_commit_is():
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
