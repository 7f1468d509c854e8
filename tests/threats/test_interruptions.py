"""Signals, and exceptions in user code: nothing half done stays."""

import contextlib
import errno
import os
import pickle
import random
import signal

import numpy as np
import pytest

import mmap_ninja
from mmap_ninja import CommitUncertainError, RaggedMmap, StaleHandleError, StringsMmap
from support.faults import NEW, OLD, in_child, opened, sample, slots, watched


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


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, GeneratorExit, MemoryError, SystemExit])
@pytest.mark.parametrize("exists", [False, True])
def test_error_in_the_generator_at_each_batch_is_resumed(tmp_path, error, exists):
    def source():
        yield from NEW[:after]
        raise error

    kept = []  # tracebacks keep the frames of failed builds
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


def test_signals_during_reads_change_nothing(tmp_path):
    rows = RaggedMmap.from_generator(tmp_path / "rows", (np.arange(k % 97) for k in range(3000)))
    texts = StringsMmap.from_strings(tmp_path / "texts", [sample(k) for k in range(3000)], zstd_level=1)
    places = np.arange(2999, -1, -1)
    handled = []
    before = signal.signal(signal.SIGALRM, lambda *_: handled.append(1))
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    try:
        for _ in range(20):
            values, offsets = rows.take_jagged(places)
            assert len(values) == offsets[-1] == sum(k % 97 for k in range(3000))
            assert texts.take(places[:500]) == [sample(k) for k in range(2999, 2499, -1)]
            assert sum(map(len, rows)) == len(values)
        texts.compact(order=places)
        assert mmap_ninja.verify(texts.path, level="full").ok
        assert list(pickle.loads(pickle.dumps(texts))) == [sample(k) for k in range(2999, -1, -1)]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)

    assert len(handled) > 20


class Interrupted(BaseException):
    """Raised by a signal handler, anywhere in the program."""


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_handlers_that_raise_anywhere_leave_whole_commits_and_a_usable_handle(path):
    """Like Ctrl-C: each append is stored once or not at all, those that returned are stored, and no lock stays."""
    texts, moments = StringsMmap(path), random.Random(1)
    returned, interrupts, number = [], 0, 0

    def interrupt(*_):
        raise Interrupted

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        for _ in range(200):
            try:
                signal.setitimer(signal.ITIMER_REAL, moments.uniform(1e-5, 1e-3))
                for _ in range(100):  # errors in destructors are not raised
                    number += 1
                    texts.extend([f"{number} a", f"{number} b"])
                    returned.append(number)
                    if number % 40 == 0:
                        del texts[-1]
                        texts.append(f"{number} b")
                    if number % 50 == 0:
                        texts.compact()
                    if number % 7 == 0:
                        texts.refresh()
                        assert texts[-1] == f"{number} b"
            except Interrupted:
                interrupts += 1
            except StaleHandleError:
                texts.refresh()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)

    assert interrupts > 50
    in_child(lambda: StringsMmap(path, lock_timeout=1).append("by another"))
    texts.append("last")
    found = list(texts)
    assert found[: len(OLD)] == OLD
    assert found[-2:] == ["by another", "last"]
    stored = [int(text.split()[0]) for text in found[len(OLD) : -2]]
    assert stored == sorted(stored)
    assert set(returned) <= set(stored)
    for once in set(stored):
        assert stored.count(once) <= 2
    assert mmap_ninja.verify(path, level="full").ok


ERRORS = [KeyboardInterrupt, MemoryError, GeneratorExit, SystemExit, StopIteration, RecursionError, Interrupted]


class Bad:
    """An object that raises on any access."""

    def __init__(self, error):
        self.error = error

    def __array__(self, dtype=None, copy=None):
        raise self.error

    def __index__(self):
        raise self.error

    def __len__(self):
        raise self.error


@pytest.mark.parametrize("error", ERRORS)
def test_error_in_code_that_encodes_a_sample_stores_nothing(tmp_path, error):
    rows = RaggedMmap.from_generator(tmp_path / "ds", [np.arange(3)])
    rows.append(np.arange(2))

    for act in (
        lambda: rows.append(Bad(error)),
        lambda: rows.extend([np.arange(5), Bad(error), np.arange(5)]),
        lambda: rows.__setitem__(0, Bad(error)),
        lambda: rows.__setitem__([0, 1], [np.arange(9), Bad(error)]),
        lambda: rows[Bad(error)],
        lambda: rows.take([0, Bad(error)]),
        lambda: rows.__delitem__(Bad(error)),
    ):
        with pytest.raises((error, TypeError, ValueError)):
            act()

    assert [row.tolist() for row in rows] == [[0, 1, 2], [0, 1]]
    in_child(lambda: RaggedMmap(tmp_path / "ds", lock_timeout=1).append(np.arange(1)))
    rows.append(np.arange(4))
    assert [len(row) for row in mmap_ninja.open(tmp_path / "ds")] == [3, 2, 1, 4]
    assert mmap_ninja.verify(tmp_path / "ds", level="full").ok


@pytest.mark.parametrize("error", ERRORS)
def test_error_in_a_wrapper_reaches_the_reader_and_leaves_the_handle(tmp_path, error):
    RaggedMmap.from_generator(tmp_path / "ds", [np.arange(k) for k in range(5)]).close()

    def wrapper(row):
        if len(row) == 3 and armed:
            raise error
        return len(row)

    armed = True
    rows = RaggedMmap(tmp_path / "ds", wrapper_fn=wrapper)
    for act in (
        lambda: rows[3],
        lambda: rows[:],
        lambda: rows.__getitems__([1, 3]),
        lambda: [rows[k] for k in range(5)],
    ):
        with pytest.raises(error):
            act()
    armed = False
    assert rows[:] == list(rows) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("error", ERRORS)
def test_error_in_a_with_block_keeps_the_commits_durably(path, error):
    with pytest.raises(error), StringsMmap(path) as texts:
        texts.append("kept")
        raise error

    assert [slot.durable_rows for slot in slots(path)][-1] in (len(OLD), len(OLD) + 1)
    assert max(slot.durable_rows for slot in slots(path)) == len(OLD) + 1
    assert list(StringsMmap(path)) == [*OLD, "kept"]


def test_failed_sync_at_the_end_of_a_with_block_does_not_hide_its_error(path):
    def fail(call, *_):
        if call == "fdatasync":
            raise OSError(errno.EIO, "")

    with pytest.raises(CommitUncertainError) as raised, watched(fail), StringsMmap(path) as texts:
        texts.append("uncertain")
        raise KeyError("the first")

    assert isinstance(raised.value.__context__, KeyError)
    assert list(StringsMmap(path))[: len(OLD)] == OLD


@pytest.mark.parametrize("error", ERRORS)
def test_source_is_closed_where_a_build_ends_early(tmp_path, error):
    closed = []

    def source():
        try:
            yield "good"
            yield "good"
            yield object()
            yield "never asked for"
        finally:
            closed.append(True)
            if error is not StopIteration:
                raise error

    generator = source()
    with pytest.raises(TypeError, match="expected str"):
        StringsMmap.from_generator(tmp_path / "ds", generator, batch_size=1)
    with (
        pytest.raises((error, RuntimeError))
        if error not in (GeneratorExit, StopIteration)
        else contextlib.nullcontext()
    ):
        generator.close()

    assert closed == [True]
    assert list(opened(tmp_path / "ds")) == ["good", "good"]
    assert list(StringsMmap.from_strings(tmp_path / "ds", ["good"] * 3, if_exists="resume")) == ["good"] * 3
