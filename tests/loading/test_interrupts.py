"""An interrupt at any opcode leaves a loader before or after what was interrupted, with no batch lost and no thread."""

import gc
import os
import sys
import threading
import time

import numpy as np
import pytest

import mmap_ninja as mn
from mmap_ninja import Loader

COUNT = 100
PACKAGE = os.path.dirname(mn.__file__)


@pytest.fixture
def numbers(tmp_path):
    return mn.ArrayMmap.from_ndarray(tmp_path / "numbers", np.arange(COUNT))


@pytest.fixture(autouse=True)
def no_thread_is_left():
    yield
    deadline = time.monotonic() + 20
    while any(thread.name == "mmap_ninja-loader" for thread in threading.enumerate()):
        gc.collect()
        assert time.monotonic() < deadline
        time.sleep(0.01)


def interrupted(act, number):
    """The opcode at which an act was interrupted, its n-th one in this package; None if it has fewer."""
    opcodes, place = 0, None

    def opcode(frame, event, __):
        nonlocal opcodes, place
        if event == "opcode":
            opcodes += 1
            if opcodes == number:
                sys.settrace(None)
                place = frame.f_code, frame.f_lasti
                raise KeyboardInterrupt
        return opcode

    def call(frame, *_):
        if not frame.f_code.co_filename.startswith(PACKAGE):
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return opcode

    try:
        sys.settrace(call)
        act()
    except KeyboardInterrupt:
        return place
    finally:
        sys.settrace(None)
    return None


def each_interrupt(arrange):
    """For each opcode of an act: the opcode, and what was arranged, after the interrupt.

    How often an act looks for what a thread makes depends on time, so one opcode may come twice.
    """
    for number in range(1, 100_000):
        arranged, act = arrange()
        place = interrupted(act, number)
        if place is None:
            assert number > 20
            return
        yield place, arranged


def flat(batches):
    return [number for batch in batches for number in batch.tolist()]


def place_of(loader):
    state = loader.state_dict()
    return state["seed"], state["epoch"], state["position"]


def rest_of(batches):
    """What an iterator still gives; None if it was ended."""
    try:
        return flat(batches)
    except RuntimeError as error:
        assert "has ended this iteration" in str(error)
        return None


def started(numbers, **options):
    """A loader after two of its batches of 20, and its iterator."""
    loader = Loader(numbers, 20, **options)
    batches = iter(loader)
    assert flat([next(batches), next(batches)]) == list(range(40))
    return loader, batches


THREADS = pytest.mark.parametrize("num_threads", [0, 2])


@THREADS
def test_next_hands_a_batch_out_or_keeps_it(numbers, num_threads):
    def arrange():
        loader, batches = started(numbers, num_threads=num_threads, transform=lambda batch: batch + 0)
        return (loader, batches), lambda: next(batches)

    lost = set()
    for opcode, (loader, batches) in each_interrupt(arrange):
        _, epoch, position = place_of(loader)
        lost |= {opcode} if position == 60 else set()
        assert (epoch, position) in [(0, 40), (0, 60)]
        assert flat(batches) == list(range(position, COUNT))
        assert place_of(loader) == (0, 1, 0)
    assert len(lost) <= 2  # after the last line of `next`, which only this test can interrupt


@THREADS
def test_the_end_of_an_epoch_comes_once(numbers, num_threads):
    def arrange():
        loader = Loader(numbers, 20, num_threads=num_threads)
        batches = iter(loader)
        for _ in range(5):
            next(batches)
        return (loader, batches), lambda: next(batches, None)

    for _, (loader, batches) in each_interrupt(arrange):
        assert place_of(loader) == (0, 1, 0)
        assert rest_of(batches) in (None, [])
        assert (flat(loader), place_of(loader)) == (list(range(COUNT)), (0, 2, 0))


@THREADS
def test_iter_begins_an_epoch_or_does_not(numbers, num_threads):
    def arrange():
        loader, batches = started(numbers, num_threads=num_threads)
        newer = []  # keeps the iterator: an interrupt in a destructor only prints that it was ignored
        return (loader, batches), lambda: newer.append(iter(loader))

    lost = set()
    for opcode, (loader, batches) in each_interrupt(arrange):
        place = place_of(loader)
        lost |= {opcode} if place == (0, 1, 0) else set()
        assert place in [(0, 0, 40), (0, 1, 0)]
        assert rest_of(batches) in (None, list(range(40, COUNT)))
        assert place_of(loader) in (place, (0, 1, 0))
        assert flat(loader) == list(range(COUNT))
    assert len(lost) <= 2


@THREADS
@pytest.mark.parametrize("method", ["load_state_dict", "set_epoch", "close", "state_dict"])
def test_methods_change_all_or_nothing(numbers, num_threads, method):
    state = Loader(numbers, 20, shuffle=True, seed=7).state_dict() | {"epoch": 3, "position": 60}
    arguments = {"load_state_dict": [state], "set_epoch": [3]}.get(method, [])
    after = {"load_state_dict": (7, 3, 60), "set_epoch": (0, 3, 0)}.get(method, (0, 0, 40))
    orders = {
        place: mn.Shuffle(COUNT, *place[:2])[place[2] :].tolist() for place in [(0, 0, 40), (7, 3, 60), (0, 3, 0)]
    }

    def arrange():
        loader = Loader(numbers, 20, shuffle=True, num_threads=num_threads)
        batches = iter(loader)
        next(batches), next(batches)
        return (loader, batches), lambda: getattr(loader, method)(*arguments)

    for _, (loader, batches) in each_interrupt(arrange):
        place = place_of(loader)
        assert place in [(0, 0, 40), after]
        if place == (0, 0, 40):
            rest = rest_of(batches)
            assert rest in (None, orders[place])
            assert place_of(loader) in [place, (0, 1, 0)]
        else:
            assert rest_of(batches) is None
            assert flat(loader) == orders[place]


def test_a_batch_that_was_interrupted_in_a_transform_comes_again(numbers):
    interrupts = [1, 2]

    def transform(batch):
        if batch[0] == 40 and interrupts and interrupts.pop():
            raise KeyboardInterrupt
        return batch

    for num_threads in (0, 2):
        interrupts[:] = [1, 2]
        loader, batches = started(numbers, num_threads=num_threads, transform=transform)
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                next(batches)
            assert place_of(loader) == (0, 0, 40)
        assert flat(batches) == list(range(40, COUNT))
