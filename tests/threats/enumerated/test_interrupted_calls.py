"""Ctrl-C at every point of a call where Python may notice it: all or nothing is done, and the handle still works."""

import dis
import os
import random
import shutil
import sys
from pathlib import Path

import pytest

import mmap_ninja
from mmap_ninja import RecordsMmap, StringsMmap
from support.crash_actions import NEW, OLD, is_clean, listed, records, takes_appends
from support.faults import opened, unsynced, watched

SOURCES = str(Path(mmap_ninja.__file__).parent)
# After these opcodes the interpreter checks for signals.
LOOKS = {"CALL", "CALL_FUNCTION_EX", "CALL_KW", "RESUME", "JUMP_BACKWARD"}
NAMES = dis.opname


class Interrupted:
    """Raises KeyboardInterrupt in the library's code, at the n-th check for signals."""

    def __init__(self, number):
        self.number = number
        self.seen = 0
        self.where = None

    def __enter__(self):
        sys.settrace(self.trace_frame)
        return self

    def __exit__(self, kind, *_):
        sys.settrace(None)
        return kind is KeyboardInterrupt

    def trace_frame(self, frame, event, _):
        if not frame.f_code.co_filename.startswith(SOURCES):
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        before = None

        def trace(frame, event, _):
            nonlocal before
            if event != "opcode":
                return trace
            if before in LOOKS:
                self.seen += 1
                if self.seen == self.number:
                    self.where = f"{os.path.basename(frame.f_code.co_filename)}:{frame.f_lineno}"
                    sys.settrace(None)
                    raise KeyboardInterrupt
            before = NAMES[frame.f_code.co_code[frame.f_lasti]]
            return trace

        return trace


def three_records(path):
    return RecordsMmap.from_generator(path, records(3))


def edited_records(path):
    dataset = three_records(path)
    del dataset[0]
    return dataset


def three_texts(path):
    return StringsMmap.from_strings(path, OLD)


def build(texts):
    StringsMmap.from_generator(texts.path, iter(NEW), batch_size=3).close()
    texts.refresh()


CALLS = {
    "append": (three_texts, lambda texts: texts.append("a"), [OLD, [*OLD, "a"]]),
    "delete": (three_texts, lambda texts: texts.pop(0), [OLD, OLD[1:]]),
    "replace": (three_texts, lambda texts: texts.__setitem__(0, "b"), [OLD, ["b", *OLD[1:]]]),
    "flush": (three_texts, lambda texts: texts.flush(), [OLD]),
    "refresh": (three_texts, lambda texts: texts.refresh(), [OLD]),
    "build": (three_texts, build, [OLD, NEW]),
    "compact": (edited_records, lambda dataset: dataset.compact(), [records(3)[1:]]),
    "clear": (three_records, lambda dataset: dataset.clear(), [records(3), []]),
    "add_column": (
        three_records,
        lambda dataset: dataset.add_column("c", [7, 8, 9]),
        [records(3), [one | {"c": 7 + place} for place, one in enumerate(records(3))]],
    ),
    "rename_column": (
        three_records,
        lambda dataset: dataset.rename_column("n", "m"),
        [records(3), [{"m" if key == "n" else key: one[key] for key in one} for one in records(3)]],
    ),
    "drop_column": (
        three_records,
        lambda dataset: dataset.drop_column("t"),
        [records(3), [{key: one[key] for key in one if key != "t"} for one in records(3)]],
    ),
    "set_nullable": (three_records, lambda dataset: dataset.set_nullable("r"), [records(3)]),
    "metadata": (three_texts, lambda texts: setattr(texts, "metadata", {"a": 1}), [OLD]),
}


def problem(dataset, states, path):
    """The problem of an interrupted handle, or of the files."""
    shown = listed(dataset)
    if shown not in states:
        return f"the handle shows {shown!r:.200}"
    found = listed(opened(path))
    if found not in states:
        return f"a new handle shows {found!r:.200}"
    if not is_clean(path):
        return "verify finds damage"
    added = found[-1] if found else (records(1)[0] if isinstance(dataset, RecordsMmap) else "x")
    dataset.refresh()
    dataset.append(added)
    if not listed(dataset) == listed(opened(path)) == [*found, added]:
        return f"after an append, the handle shows {listed(dataset)!r:.200}, a new one {listed(opened(path))!r:.200}"
    mmap_ninja.open(path, lock_timeout=0.5).append(added)  # a lock that was not released would block this other handle
    dataset.refresh()
    dataset.compact(order=range(len(dataset)))
    return None if takes_appends(path) else "writers go wrong"


def looks(path, prepare, call):
    """The number of checks for signals during a call."""
    with watched(unsynced()):
        dataset = prepare(path)
        with Interrupted(0) as counted:
            call(dataset)
    return counted.seen


def check_interrupts(tmp_path, count, name, most):
    """Interrupt a call at some of the checks, and at as many near its end."""
    prepare, call, states = CALLS[name]
    number_of_looks = looks(tmp_path / "whole", prepare, call)
    assert number_of_looks > 20
    rng, problems = random.Random(name), []
    chosen = set(rng.sample(range(1, number_of_looks + 1), min(most, number_of_looks)))
    last = range(number_of_looks * 9 // 10, number_of_looks + 1)  # where the change is shown
    chosen |= set(rng.sample(last, min(most, len(last))))
    for number in sorted(chosen):
        path, wrong = tmp_path / str(number), None
        with watched(unsynced()):
            dataset = prepare(path)
            with Interrupted(number) as interrupted:
                call(dataset)
            try:
                wrong = problem(dataset, states, path)
            except Exception as error:
                wrong = repr(error)
        if wrong:
            problems.append(f"interrupted at {interrupted.where}, look {number}: {wrong}")
        del dataset
        shutil.rmtree(path)
    count("interrupts of calls", len(chosen))
    if problems:
        pytest.fail("\n".join([f"{len(problems)} of {len(chosen)} interrupts:", *problems[:20]]), pytrace=False)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # errors in destructors are not raised
@pytest.mark.parametrize("most", [15, pytest.param(1000, marks=pytest.mark.torture)], ids=["sample", "torture"])
@pytest.mark.parametrize("name", CALLS)
def test_interrupted_call_has_happened_or_not_and_the_handle_is_usable(tmp_path, count, name, most):
    check_interrupts(tmp_path, count, name, most)
