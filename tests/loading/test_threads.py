"""Threads that make batches ahead: in order, as many as help, and gone when nobody needs them."""

import _thread
import gc
import itertools
import os
import subprocess
import sys
import threading
import time
import weakref

import numpy as np
import pytest

import mmap_ninja as mn
from mmap_ninja import Loader
from mmap_ninja.loading.crew import Crew
from mmap_ninja.loading.pace import Pace


@pytest.fixture
def numbers(tmp_path):
    return mn.ArrayMmap.from_ndarray(tmp_path / "numbers", np.arange(1000))


def workers():
    return [thread for thread in threading.enumerate() if thread.name == "mmap_ninja-loader"]


def wait_for_no_workers():
    """Threads whose iterator was dropped end soon."""
    deadline = time.monotonic() + 20
    while workers() and time.monotonic() < deadline:
        time.sleep(0.01)
        gc.collect()  # a thread that made a batch when a cycle was dropped kept it alive
    assert workers() == []


@pytest.fixture(autouse=True)
def nothing_is_left():
    wait_for_no_workers()
    descriptors = len(os.listdir("/proc/self/fd")) if os.path.exists("/proc/self/fd") else None
    yield
    gc.collect()
    wait_for_no_workers()
    if descriptors is not None:
        assert len(os.listdir("/proc/self/fd")) <= descriptors + 8  # of the fixture's dataset


def slow(batch):
    time.sleep(0.002)
    return batch


def test_batches_come_in_order_whatever_they_take(numbers):
    def uneven(batch):
        time.sleep(0.01 if batch[0] % 3 == 0 else 0)
        return batch

    loader = Loader(numbers, 10, num_threads=4, prefetch=8, transform=uneven)

    assert np.concatenate(list(loader)).tolist() == list(range(1000))


def test_as_many_are_made_ahead_as_asked(numbers):
    made = []
    loader = Loader(numbers, 10, num_threads=1, prefetch=3, transform=lambda batch: made.append(0) or batch)
    batches = iter(loader)

    next(batches)
    time.sleep(0.2)

    assert len(made) == 3
    loader.close()


def test_an_error_comes_after_all_earlier_batches(numbers):
    def fail(batch):
        if batch[0] == 30:
            raise OSError(5, "no such cable")
        time.sleep(0.005)
        return batch

    loader, found = Loader(numbers, 10, num_threads=3, prefetch=6, transform=fail), []
    with pytest.raises(OSError, match="no such cable") as caught:
        found.extend(batch[0] for batch in loader)

    assert found == [0, 10, 20]
    assert caught.traceback[-1].name == "fail"
    assert loader.state_dict()["position"] == 30


@pytest.mark.parametrize("num_threads", [0, 2])
def test_after_an_error_the_same_batch_comes_again(numbers, num_threads):
    failures = [1, 2]

    def failing(batch):
        if batch[0] == 20 and failures:
            raise OSError("not yet", failures.pop())
        return batch

    batches = iter(Loader(numbers, 10, num_threads=num_threads, transform=failing))
    found = [next(batches), next(batches)]
    for _ in range(2):
        with pytest.raises(OSError, match="not yet"):
            next(batches)

    assert np.concatenate([*found, *batches]).tolist() == list(range(1000))


@pytest.mark.parametrize("num_threads", [0, 2])
def test_stop_iteration_of_a_transform_does_not_end_the_epoch(numbers, num_threads):
    def ends(batch):
        return next(iter(batch[:0]))

    with pytest.raises(RuntimeError, match="making a batch raised StopIteration"):
        list(Loader(numbers, 10, num_threads=num_threads, transform=ends))


def test_closing_while_another_thread_waits_ends_the_wait(numbers):
    begun, is_closed = threading.Event(), threading.Event()

    def waiting(batch):
        begun.set()
        is_closed.wait(10)
        return batch

    loader = Loader(numbers, 10, num_threads=1, transform=waiting)
    errors = []

    def consume():
        try:
            for _ in loader:
                pass
        except RuntimeError as error:
            errors.append(str(error))

    consumer = threading.Thread(target=consume)
    consumer.start()
    begun.wait(10)
    threading.Timer(0.05, is_closed.set).start()
    loader.close()
    consumer.join(10)

    assert not consumer.is_alive()
    assert len(errors) == 1


def test_interrupts_anywhere_leave_the_order_and_the_place_right(numbers):
    folder = os.path.dirname(mn.loading.__file__)
    loader = Loader(numbers, 10, num_threads=2, prefetch=4)
    batches = iter(loader)
    found = []
    lines = interrupts = 0

    def interrupt(frame, event, _):
        nonlocal lines
        lines += event == "line" and os.path.dirname(frame.f_code.co_filename) == folder
        if lines == 5 + interrupts % 70:
            raise KeyboardInterrupt
        return interrupt

    for _ in range(1000):
        lines = 0
        try:
            sys.settrace(interrupt)
            batch = next(batches, None)
        except KeyboardInterrupt:
            continue
        finally:
            sys.settrace(None)
            interrupts += 1
        if batch is None:
            break
        found.append(batch)
        assert loader.state_dict()["position"] == batch[-1] + 1 or batch[-1] == 999

    starts = [batch[0] for batch in found]
    assert starts == sorted(set(starts))
    assert all(batch.tolist() == list(range(batch[0], batch[0] + 10)) for batch in found)
    assert (loader.epoch, interrupts > len(found)) == (1, True)


def test_an_error_of_the_source_comes_through(tmp_path):
    class Broken(list):
        def __getitem__(self, index):
            if index == 25:
                raise ValueError("a broken sample")
            return index

    for num_threads in (0, 2):
        loader, found = Loader(Broken(range(100)), 10, num_threads=num_threads), []
        with pytest.raises(ValueError, match="a broken sample"):
            found.extend(batch.tolist() for batch in loader)
        assert found == [list(range(10)), list(range(10, 20))]
        assert loader.state_dict()["position"] == 20


@pytest.mark.parametrize("leave", ["break", "close", "with", "newer", "load", "error", "drop"])
def test_leaving_early_leaves_no_thread(numbers, leave):
    loader = Loader(numbers, 10, num_threads=3, transform=slow)
    batches = iter(loader)
    next(batches)
    assert len(workers()) == 3
    if leave == "close":
        loader.close()
    elif leave == "with":
        with loader:
            pass
    elif leave == "newer":
        iter(loader)
    elif leave == "load":
        loader.load_state_dict(loader.state_dict())
    elif leave == "error":
        with pytest.raises(ZeroDivisionError):
            for _ in batches:
                1 / 0
    if leave not in ("break", "drop", "error"):
        with pytest.raises(RuntimeError, match="has ended this iteration"):
            next(batches)
        assert workers() == []
    del batches
    if leave == "drop":
        del loader


def test_a_thousand_loaders_leave_nothing(numbers):
    for _ in range(1000):
        next(iter(Loader(numbers, 10, num_threads=2)))


@pytest.mark.parametrize("num_threads", [0, 2])
@pytest.mark.parametrize("leave", ["drop", "close", "end", "error"])
def test_no_batch_is_kept(numbers, num_threads, leave):
    """Neither one that was handed out, nor one that was made ahead."""
    made = weakref.WeakSet()

    class Array(np.ndarray):
        __hash__ = object.__hash__

    def transform(batch):
        if leave == "error" and batch[0] >= 500:
            raise OSError("no such cable")
        array = batch.view(Array)
        made.add(array)
        return array

    loader = Loader(numbers, 10, num_threads=num_threads, prefetch=5, transform=transform)
    batches = iter(loader)
    for _ in range(3):
        batch = next(batches)
    assert len(made) <= 6
    if leave == "close":
        loader.close()
    elif leave == "end":
        batch = list(batches)
    elif leave == "error":
        with pytest.raises(OSError, match="no such cable"):
            list(batches)
    del batch, batches
    wait_for_no_workers()

    assert len(made) == 0


def test_a_cycle_with_the_iterator_is_collected(numbers):
    class Holder:
        pass

    def hold():
        holder = Holder()
        holder.batches = iter(Loader(numbers, 10, num_threads=2, transform=lambda batch: (holder, batch)))
        next(holder.batches)

    hold()
    gc.collect()
    wait_for_no_workers()


SCRIPT = """
import sys, time, threading, mmap_ninja as mn
numbers = mn.open(sys.argv[1], "r")
def slow(batch):
    time.sleep(0.01)
    return batch
loader = mn.Loader(numbers, 10, num_threads=2, transform=slow)
batches = iter(loader)
print(next(batches)[0], flush=True)
%s
"""


@pytest.mark.parametrize(
    ("end", "code"),
    [
        ("", 0),
        ("sys.exit(3)", 3),
        ("raise KeyboardInterrupt", -2),
        ("keep = threading.Thread(target=lambda: [next(batches) for _ in range(20)]); keep.start()", 0),
    ],
)
def test_the_interpreter_exits(numbers, end, code):
    command = [sys.executable, "-c", SCRIPT % end, str(numbers.path)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert (run.stdout.strip(), run.returncode) == ("0", code)
    assert code == -2 or run.stderr == ""


def test_a_fork_in_the_middle_leaves_both_with_all_batches(numbers):
    loader = Loader(numbers, 10, num_threads=2, prefetch=4, transform=slow)
    batches = iter(loader)
    found = next(batches).tolist()
    read, write = os.pipe()

    child = os.fork()
    if child == 0:
        rest = [number for batch in batches for number in batch.tolist()]
        again = [number for batch in loader for number in batch.tolist()]
        os.write(write, b"good" if found + rest == again == list(range(1000)) else b"bad")
        os._exit(0)
    os.waitpid(child, 0)

    assert os.read(read, 10) == b"good"
    os.close(read), os.close(write)
    assert found + [number for batch in batches for number in batch.tolist()] == list(range(1000))


def test_an_interrupt_while_waiting_goes_through(numbers):
    def stuck(batch):
        if batch[0] == 20:
            threading.Timer(0.05, _thread.interrupt_main).start()
            time.sleep(0.5)
        return batch

    found = []
    with pytest.raises(KeyboardInterrupt):
        found.extend(batch[0] for batch in Loader(numbers, 10, num_threads=1, prefetch=1, transform=stuck))

    assert found == [0, 10]


def test_transforms_run_at_the_same_time(numbers):
    barrier = threading.Barrier(2, timeout=20)

    def meet(batch):
        barrier.wait()
        return batch

    assert len(list(Loader(numbers, 100, num_threads=2, transform=meet))) == 10


# The crew


def test_a_crew_does_jobs_and_ends():
    crew = Crew()
    crew.resize(3)
    jobs = [crew.start(lambda k=k: k * k) for k in range(50)]
    assert [job.result() for job in jobs] == [k * k for k in range(50)]
    crew.resize(1)
    assert crew.start(lambda: 5).result() == 5
    crew.close()
    crew.close()
    assert workers() == []


def test_a_closed_crew_drops_what_no_thread_began():
    crew, done = Crew(), []
    crew.resize(1)
    started, go = threading.Event(), threading.Event()
    crew.start(lambda: (started.set(), go.wait(10), done.append(0)))
    for _ in range(100):
        crew.start(lambda: done.append(1))
    started.wait(10)
    threading.Timer(0.05, go.set).start()

    crew.close()

    assert done == [0]


# The pace


def settled(step_of, making=0.01, steps=400):
    """The number of threads in the end, and the largest that was tried, for a loop with these steps."""
    pace, most = Pace(4), 0
    for _ in range(steps):
        pace.add(step_of(pace.threads), making)
        most = max(most, pace.threads)
    return pace.threads, most


def test_threads_are_as_many_as_make_steps_shorter():
    assert settled(lambda threads: 1 / (1 + min(threads, 2))) == (2, 3)
    assert settled(lambda threads: 1 / (1 + threads)) == (4, 4)
    assert settled(lambda threads: 1.0) == (0, 1)
    assert settled(lambda threads: 1.0 + threads) == (0, 1)
    assert settled(lambda threads: 1 - 0.02 * threads) == (0, 1)


def test_short_batches_are_made_where_they_are_needed():
    assert settled(lambda threads: 1 / (1 + threads), making=0.0001) == (0, 0)


def test_a_loop_that_changes_is_measured_again():
    pace = Pace(4)
    for _ in range(300):
        pace.add(1.0, 0.01)
    assert pace.threads == 0
    for _ in range(1000):
        pace.add(1 / (1 + min(pace.threads, 1)), 0.01)
    assert pace.threads == 1


def test_no_threads_are_tried_where_none_are_allowed():
    pace = Pace(0)
    for step in itertools.repeat(0.5, 100):
        pace.add(step, 0.4)
    assert pace.threads == 0
