"""Programs of writers that run beside readers: each list that is read shows whether it is that of one commit.

A writer's program only depends on its number, so that a reader can run it, too. The reader must find exactly the
samples of one state of each program, and never an earlier state than the last one. Each sample contains the number of
its writer, and a checksum.
"""

import random
import zlib

import numpy as np

import mmap_ninja
from mmap_ninja import BytesMmap, RaggedMmap, RecordsMmap, StaleHandleError, StringsMmap

MOST_BATCHES = 12  # per writer
MOST_STEPS = 20_000  # a reader looks so far ahead for the state that it sees


class Program:
    """The steps of a writer. Batches are appended, replaced and deleted as a whole."""

    def __init__(self, writer, extra=()):
        self.writer = writer
        self.acts = (*["append"] * 4, *["edit"] * 4, *["delete"] * 3, "compact", "flush", *extra)
        self.random = random.Random(writer)
        self.batches = []  # (number, count of samples), in the order of the list
        self.has_extra = False
        self.number = 0

    def new_batch(self):
        self.number += 1
        return self.number, self.random.randrange(1, 5)

    def step(self):
        """The next act with its batches, `(act, old, new)`; the program moves to the state after it."""
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
            newest = max(self.batches)  # shows readers how far the program is
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


# ---- samples of each kind


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


WORDED = {
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
    """Run a step of a program."""
    make, sample_of, words = WORDED[kind]
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
        except StaleHandleError:  # another writer compacted meanwhile: nothing was done
            dataset.refresh()


def write(path, writer, kind, steps, extra=()):
    with mmap_ninja.open(path) as dataset:
        program = Program(writer, extra)
        for _ in range(steps):
            carry_out(dataset, program, kind)


class Observer:
    """Compares what is read with the programs of the writers."""

    def __init__(self, kind, extra=()):
        self.words = WORDED[kind][2]
        self.extra = extra
        self.programs = {}

    def look(self, samples):
        """Assert that a list is that of one commit, not before the last one."""
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


def final_state(path, kind, steps, extra=()):
    """Assert that the dataset is in the final state of the programs; `steps` by writer."""
    found = [WORDED[kind][2](sample) for sample in mmap_ninja.open(path)]
    for writer, count in steps.items():
        program = Program(writer, extra)
        for _ in range(count):
            program.step()
        assert [words[1:] for words in found if words[0] == writer] == program.state
    assert {words[0] for words in found} == set(steps)
    assert mmap_ninja.verify(path, level="full").ok
