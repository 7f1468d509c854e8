"""Builds with worker processes: the same samples, in order, even if processes die."""

import contextlib
import gc
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmap_ninja import BytesMmap, IncompleteDatasetWarning, StringsMmap, WorkerError
from mmap_ninja.builds import paced, worker_main
from mmap_ninja.builds import pool as workers
from mmap_ninja.builds.worker_main import Made
from mmap_ninja.parallel import make_indexable

SOURCE = Path(paced.__file__).parents[2]


@pytest.fixture
def eager(monkeypatch):
    """Start workers after the first chunk, and wait for them, even for little work."""

    def is_ready(pool):
        while not known(pool):
            pool._listen(1)
        return True

    known = workers.Pool.is_ready
    monkeypatch.setattr(workers.Pool, "is_ready", is_ready)
    monkeypatch.setattr(paced.Pace, "useful_jobs", lambda pace, left: 2)


@pytest.fixture
def started(monkeypatch):
    """The process ids of all workers."""
    pids = []

    class Popen(subprocess.Popen):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            pids.append(self.pid)

    monkeypatch.setattr(workers.subprocess, "Popen", Popen)
    return pids


def children():
    """The child processes, except a server of the standard library that other tests may have left."""
    found = []
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(FileNotFoundError):  # the thread has just ended
            found += (task / "children").read_text().split()
    return sorted(found)


@pytest.fixture(autouse=True)
def leave_nothing():
    """Check for every test that no descriptor and no child process is left."""
    gc.collect()  # leftovers of other tests
    before = descriptors(), children()

    yield

    gc.collect()  # handles kept by a traceback
    assert (descriptors(), children()) == before


def descriptors():
    return sorted(os.listdir("/proc/self/fd" if os.path.exists("/proc/self/fd") else "/dev/fd"))


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until(condition, seconds=10.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def text(index):
    return f"sample {index}"


def texts(count):
    return [text(index) for index in range(count)]


def failing(at, act):
    """A function of an index that does something else at one index."""
    parent = os.getpid()

    def sample(index):
        if index == at and os.getpid() != parent:
            act()
        return text(index)

    return sample


def raising(error):
    def act():
        raise error

    return act


def stored(path):
    with pytest.warns(IncompleteDatasetWarning):
        return list(StringsMmap(path))


class PicklesBadlyError(Exception):
    def __reduce__(self):
        raise RuntimeError("not me")


class LoadsBadlyError(Exception):
    def __init__(self, one, two):
        super().__init__(f"{one} and {two}")


@pytest.mark.parametrize("count", [0, 1, 2, 500])
@pytest.mark.parametrize("has_length", [True, False])
def test_workers_store_the_same_as_one_process(tmp_path, eager, count, has_length):
    def sample(index):
        if index >= count:
            raise IndexError
        return f"{index} in process {os.getpid()}"

    source = make_indexable(sample, count if has_length else None)

    dataset = StringsMmap.from_indexable(tmp_path / "ds", source, batch_size=7, n_jobs=2)

    assert [int(sample.split()[0]) for sample in dataset] == list(range(count))
    assert dataset.complete
    pids = {int(sample.split()[-1]) for sample in dataset}
    assert count < 500 or len(pids) >= 2


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(1, 40), max_size=30), st.data())
def test_chunks_come_in_order_whatever_their_sizes(shared_pool, sizes, data):
    stops = [sum(sizes[: place + 1]) for place in range(len(sizes))]
    taken = data.draw(st.integers(0, len(sizes)))

    shared_pool.teach(make_squares)  # drops leftovers of the last example
    ranges = iter(zip([0, *stops], stops, strict=False))
    chunks_taken = []
    while len(chunks_taken) < taken and (chunk := shared_pool.take(ranges)):
        chunks_taken.append((chunk.start, chunk.stop, chunk.rows, bytes(chunk.parts[0]), chunk.parts[1]))

    assert chunks_taken == [
        (start, stop, stop - start, b"".join(b"%d," % (index * 3) for index in range(start, stop)), None)
        for start, stop in list(zip([0, *stops], stops, strict=False))[:taken]
    ]


def make_squares(source, start, stop):
    time.sleep(0.002 * (start % 3))
    return Made(stop - start, (b"".join(b"%d," % (index * source) for index in range(start, stop)), None))


@pytest.fixture
def shared_pool():
    with workers.Pool(2, 3) as pool:
        wait_until(pool.is_ready)
        yield pool


def test_no_more_chunks_than_buffers_are_asked_for(shared_pool):
    asked = []

    def ranges():
        for index in range(1000):
            asked.append(index)
            yield index, index + 1

    shared_pool.teach(make_squares)
    source = ranges()
    for count in range(1, 20):
        shared_pool.take(source)
        time.sleep(0.005)
        assert len(asked) <= count + 6


def test_function_of_main_needs_no_guard(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import os, threading, time\n"
        "import mmap_ninja as mn\n"
        "threading.Thread(target=time.sleep, args=(1,), daemon=True).start()\n"
        "class Dataset:\n"
        "    suffix = 'of main'\n"
        "    def __len__(self): return 160\n"
        "    def __getitem__(self, index):\n"
        "        time.sleep(0.01)\n"
        "        return f'{index} {self.suffix} {os.getpid()}'\n"
        "dataset = mn.StringsMmap.from_indexable('ds', Dataset(), 1024, 2, verbose=True)\n"
        "print([int(text.split()[0]) for text in dataset] == list(range(160)))\n"
        "print(len({text.split()[-1] for text in dataset}))\n"
    )

    done = subprocess.run(
        [sys.executable, script], cwd=tmp_path, env=environment(), capture_output=True, text=True, check=True
    )

    assert done.stdout.split() == ["True", "3"]
    assert "160/160" in done.stderr


def environment():
    return {**os.environ, "PYTHONPATH": str(SOURCE)}


def test_lambda_and_closure_travel(tmp_path, eager):
    words = ["one", "two"]

    dataset = StringsMmap.from_indexable(tmp_path / "ds", make_indexable(lambda index: words[index % 2], 50), 5, -1)

    assert list(dataset) == words * 25


def test_worker_sees_path_folder_and_few_threads(tmp_path, eager, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path / "my 'modules'")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MKL_NUM_THREADS", "17")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)

    def sample(index):
        return str((sys.path, os.getcwd(), os.environ["MKL_NUM_THREADS"], os.environ.get("OMP_NUM_THREADS")))

    last = list(StringsMmap.from_indexable(tmp_path / "ds", make_indexable(sample, 9), 1, 2))[-1]

    path = [entry for entry in sys.path if isinstance(entry, str)]
    assert last == str((path, os.getcwd(), "17", str(max(1, workers.cpu_count() // 2))))


@pytest.mark.parametrize("error", [IndexError("mine"), SystemExit("mine")])
def test_error_of_a_worker_is_raised_here_and_keeps_the_samples_before(tmp_path, eager, error):
    sample = failing(23, raising(error))

    with pytest.raises(type(error), match="mine \\(index 23 of the source\\)") as raised:
        StringsMmap.from_indexable(tmp_path / "ds", make_indexable(sample, 50), batch_size=10, n_jobs=2)

    (note,) = raised.value.__notes__
    assert note.startswith("index 23 of the source, in worker process ")
    assert "in act\n" in note
    assert stored(tmp_path / "ds") == texts(23)
    resumed = StringsMmap.from_indexable(tmp_path / "ds", make_indexable(text, 50), 10, if_exists="resume")
    assert list(resumed) == texts(50)
    assert resumed.complete


def test_resume_with_workers_continues_where_it_stopped(tmp_path, eager):
    with pytest.raises(KeyError):
        StringsMmap.from_indexable(tmp_path / "ds", WithoutSomeOf({}, 23), 10)
    seen = tmp_path / "seen"

    dataset = StringsMmap.from_indexable(
        tmp_path / "ds", WithoutSomeOf({seen}, 100), 10, n_jobs=2, if_exists="resume", verbose=True
    )

    assert list(dataset) == texts(99)
    assert dataset.complete
    assert min(int(line) for line in seen.read_text().split()) == 19  # the last stored sample, for the comparison


class WithoutSomeOf:
    """Texts up to a missing one; logs the indices."""

    def __init__(self, logs, missing):
        self.logs, self.missing = logs, missing

    def __len__(self):
        return 99

    def __getitem__(self, index):
        for log in self.logs:
            with open(log, "a") as file:
                file.write(f"{index}\n")
        if index == self.missing:
            raise KeyError(index)
        return text(index)


def test_error_of_main_is_caught_by_its_own_class(tmp_path):
    script = (
        "import mmap_ninja as mn, os, sys, time\n"
        "class MyError(Exception): pass\n"
        "def sample(index):\n"
        "    time.sleep(0.01)\n"
        "    if index == 150: raise MyError(index)\n"
        "    return str(index)\n"
        "try:\n"
        "    mn.StringsMmap.from_indexable('ds', sample, 1024, 2)\n"
        "except MyError as error:\n"
        "    print(error.args)\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment(), capture_output=True, text=True, check=True
    )

    assert done.stdout == "(150,)\n"


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (partial(PicklesBadlyError, "mine"), "index 23 of the source: .*PicklesBadlyError: mine"),
        (partial(LoadsBadlyError, "this", "that"), "index 23 of the source: .*LoadsBadlyError: this and that"),
        (partial(ValueError, threading.Lock), "index 23 of the source: ValueError"),
    ],
)
def test_error_that_cannot_be_pickled_is_described(tmp_path, eager, error, message):
    def act():
        exception = error()
        if isinstance(exception, ValueError):
            exception.lock = threading.Lock()
        raise exception

    with pytest.raises(WorkerError, match=message) as raised:
        StringsMmap.from_indexable(tmp_path / "ds", make_indexable(failing(23, act), 50), 10, n_jobs=2)

    assert "in act\n" in raised.value.__notes__[0]
    assert stored(tmp_path / "ds") == texts(23)


def test_sample_of_another_type_keeps_the_samples_before(tmp_path, eager):
    def sample(index):
        return text(index) if index < 23 else index

    StringsMmap.from_strings(tmp_path / "ds", ["older"])
    with pytest.raises(TypeError, match="sample 24: expected str, got int") as raised:
        StringsMmap.from_indexable(tmp_path / "ds", sample, 10, n_jobs=2, if_exists="append")

    assert str(raised.value).endswith("(index 23 of the source)")
    assert list(StringsMmap(tmp_path / "ds")) == ["older", *texts(23)]


def test_error_before_workers_are_started_is_the_same(tmp_path):
    def sample(index):
        if index == 3:
            raise KeyError("mine")
        return text(index)

    for n_jobs, kept in ((2, 3), (None, 2)):
        with pytest.raises(KeyError, match="mine") as raised:
            StringsMmap.from_indexable(tmp_path / f"ds {n_jobs}", sample, 2, n_jobs=n_jobs)
        assert str(raised.value) == "'mine' (index 3 of the source)"
        assert stored(tmp_path / f"ds {n_jobs}") == texts(kept)


@pytest.mark.parametrize(
    ("act", "how"),
    [
        (lambda: os._exit(7), "ended with exit code 7"),
        (lambda: os.kill(os.getpid(), signal.SIGKILL), "was ended by SIGKILL (as the system does"),
        (lambda: os.kill(os.getpid(), signal.SIGSEGV), "was ended by SIGSEGV at one"),
    ],
    ids=["exit", "kill", "segfault"],
)
def test_worker_that_dies_is_named_with_its_task(tmp_path, eager, monkeypatch, act, how):
    monkeypatch.setattr(paced.Pace, "rows", lambda pace, left: 10)
    monkeypatch.setenv("PYTHONFAULTHANDLER", "")

    with pytest.raises(WorkerError, match=r"worker process \d+ .* at one of the indices 20 to 29") as raised:
        StringsMmap.from_indexable(tmp_path / "ds", make_indexable(failing(23, act), 200), n_jobs=2)

    assert how in str(raised.value)
    assert stored(tmp_path / "ds") == texts(20)
    resumed = StringsMmap.from_indexable(tmp_path / "ds", make_indexable(text, 200), if_exists="resume")
    assert list(resumed) == texts(200)


def test_worker_that_dies_while_its_child_lives_is_noticed(tmp_path, eager):
    def act():
        if os.fork() == 0:
            time.sleep(2)  # holds the socket open
        os._exit(3)

    with pytest.raises(WorkerError, match="ended with exit code 3"):
        StringsMmap.from_indexable(tmp_path / "ds", make_indexable(failing(23, act), 50), 10, n_jobs=2)


def test_worker_that_is_killed_while_it_waits_is_named(started):
    with workers.Pool(1, None) as pool:
        wait_until(pool.is_ready)
        os.kill(started[0], signal.SIGKILL)

        with pytest.raises(WorkerError, match=f"worker process {started[0]} was ended by SIGKILL .* while it waited"):
            pool.take(iter_nothing_yet(pool))


def iter_nothing_yet(pool):
    """No range until the pool has noticed the death."""
    while pool._workers:
        pool._listen(1)
    yield 0, 1


def test_worker_that_cannot_start_is_named(monkeypatch):
    monkeypatch.setattr(sys, "executable", shutil.which("false"))

    with workers.Pool(1, None) as pool, pytest.raises(WorkerError, match="ended with exit code 1 as it started"):
        wait_until(pool.is_ready)


def test_missing_interpreter_raises(monkeypatch):
    monkeypatch.setattr(sys, "executable", "")

    with pytest.raises(WorkerError, match="workers need a Python interpreter"):
        workers.Pool(1, None)


class LoadsNotInWorkers:
    def __reduce__(self):
        return eval, ("__import__('math').sqrt(-1)",)


def test_source_that_cannot_be_loaded_explains_the_error():
    with (
        workers.Pool(1, LoadsNotInWorkers()) as pool,
        pytest.raises(WorkerError, match="could not load the source or the encoder: ValueError: ") as raised,
    ):
        wait_until(pool.is_ready)

    assert "Traceback" in raised.value.__notes__[0]


def test_source_that_cannot_be_pickled_touches_nothing(tmp_path):
    lock = threading.Lock()

    with pytest.raises(TypeError, match="cannot be pickled for worker processes .TypeError: .*lock.*n_jobs=None"):
        StringsMmap.from_indexable(tmp_path / "ds", lambda index: str(lock), n_jobs=2)

    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("size", [1, workers.EAGER_PICKLE_BYTES])
def test_source_may_open_unpicklable_objects_at_its_first_sample(tmp_path, eager, size):
    class Lazy:
        lock = None

        def __init__(self):
            self.data = bytes(size)

        def __len__(self):
            return 50

        def __getitem__(self, index):
            self.lock = self.lock or threading.Lock()
            return text(index)

    source = Lazy()
    dataset = StringsMmap.from_indexable(tmp_path / "ds", source, 10, n_jobs=2)

    assert list(dataset) == texts(50)
    assert source.lock


def test_large_source_travels(tmp_path, eager):
    source = [str(index) * 1000 for index in range(1500)]
    assert workers.pickled(source, workers.EAGER_PICKLE_BYTES) is None

    assert list(StringsMmap.from_indexable(tmp_path / "ds", source, 100, n_jobs=2)) == source


def test_missing_cloudpickle_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "cloudpickle", None)

    with pytest.raises(ImportError, match=r'pip install "mmap_ninja\[parallel\]"'):
        StringsMmap.from_indexable(tmp_path / "ds", texts(5), n_jobs=2)

    assert list(StringsMmap.from_indexable(tmp_path / "ds", texts(5), n_jobs=1)) == texts(5)


def test_large_samples_of_uneven_size_arrive(tmp_path, eager):
    def sample(index):
        return bytes([index]) * (index % 5 * 3_000_000)

    dataset = BytesMmap.from_indexable(tmp_path / "ds", make_indexable(sample, 20), n_jobs=2)

    assert list(dataset) == [sample(index) for index in range(20)]


def test_fast_function_stays_in_this_process(tmp_path, started):
    dataset = StringsMmap.from_indexable(tmp_path / "ds", make_indexable(text, 20_000), n_jobs=2)

    assert len(dataset) == 20_000
    assert started == []


def test_slow_function_of_few_samples_moves_to_workers(tmp_path, started):
    def sample(index):
        time.sleep(0.02)
        return str(os.getpid())

    dataset = StringsMmap.from_indexable(tmp_path / "ds", make_indexable(sample, 100), batch_size=1024, n_jobs=2)

    assert set(dataset) == {str(pid) for pid in (os.getpid(), *started)}


@pytest.mark.parametrize(("n_jobs", "jobs"), [(None, 1), (1, 1), (3, 3), (True, 1), (-1, 4), (-2, 3), (-4, 1), (-9, 1)])
def test_n_jobs_means_what_joblib_means(monkeypatch, n_jobs, jobs):
    monkeypatch.setattr(workers, "cpu_count", lambda: 4)

    assert workers.resolve_jobs(n_jobs) == jobs


def test_n_jobs_that_mean_nothing_are_refused(tmp_path):
    with pytest.raises(ValueError, match="n_jobs 0: expected at least 1, or -1 for all CPUs"):
        StringsMmap.from_indexable(tmp_path / "ds", texts(5), n_jobs=0)
    with pytest.raises(TypeError, match="integer"):
        StringsMmap.from_indexable(tmp_path / "ds", texts(5), n_jobs=1.5)

    assert os.listdir(tmp_path) == []


def test_cpu_count_knows_the_quota(monkeypatch, tmp_path):
    def read_text(path):
        if path.name == "cpu.max":
            return "150000 100000\n"
        raise FileNotFoundError

    monkeypatch.setattr(workers.os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    assert workers.cpu_count() <= 8
    monkeypatch.setattr(workers.Path, "read_text", read_text)
    assert workers.cpu_count() == 2


def start_slow_build(tmp_path, extra=""):
    """Start a script that builds with two workers; returns it and its workers when they have made samples."""
    script = (
        f"import mmap_ninja as mn, os, time, sys\n{extra}\n"
        "def sample(index):\n"
        "    time.sleep(0.01)\n"
        "    open(f'pid-{os.getpid()}', 'w').close()\n"
        "    return f'sample {index}'\n"
        "mn.StringsMmap.from_indexable('ds', sample, 100, 2)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment(), stderr=subprocess.PIPE, text=True
    )

    def pids():
        return {int(path.name[4:]) for path in tmp_path.glob("pid-*")} - {process.pid}

    wait_until(lambda: len(pids()) == 2)
    return process, pids()


def test_interrupt_leaves_a_dataset_to_resume_and_no_workers(tmp_path):
    process, pids = start_slow_build(tmp_path)

    os.kill(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=5)

    assert errors.count("KeyboardInterrupt") == 1
    assert "Warning" not in errors
    assert not any(is_alive(pid) for pid in pids)
    count = len(stored(tmp_path / "ds"))
    resumed = StringsMmap.from_indexable(tmp_path / "ds", make_indexable(text, count + 50), if_exists="resume")
    assert list(resumed) == texts(count + 50)


def test_death_of_the_parent_ends_the_workers(tmp_path):
    process, pids = start_slow_build(tmp_path)

    process.kill()
    process.communicate()

    wait_until(lambda: not any(is_alive(pid) for pid in pids), seconds=1)
    assert stored(tmp_path / "ds")


def test_death_of_the_parent_ends_workers_that_a_slow_sample_holds(tmp_path):
    process, pids = start_slow_build(tmp_path, "real = time.sleep; time.sleep = lambda s: real(s if s < 1 else 60)")

    process.kill()
    process.communicate()

    wait_until(lambda: not any(is_alive(pid) for pid in pids), seconds=1)


def test_chunk_that_workers_cannot_make_is_made_here(tmp_path, eager, monkeypatch):
    parent = os.getpid()
    monkeypatch.setattr(
        paced.Maker, "__reduce__", lambda maker: (Misfit, (maker.encode, maker.columns, maker.path)), raising=False
    )

    dataset = StringsMmap.from_indexable(
        tmp_path / "ds", make_indexable(lambda index: f"{index} {os.getpid()}", 100), 10, n_jobs=2
    )

    assert [int(sample.split()[0]) for sample in dataset] == list(range(100))
    assert dataset[60].split()[1] == str(parent)
    assert dataset[99].split()[1] != str(parent)


class Misfit:
    """A maker in the worker that cannot make the chunk with index 60."""

    def __init__(self, encode, columns, path):
        self.maker = paced.Maker(encode, columns, path, 0, 1 << 20)

    def __call__(self, source, start, stop):
        return Made(0, None) if start <= 60 < stop else self.maker(source, start, stop)


def test_exception_of_any_kind_can_be_described():
    class SaysNothingError(Exception):
        def __str__(self):
            raise RuntimeError

    failure = worker_main.Failure.of(SaysNothingError())

    assert failure.kind == "SaysNothingError"
    assert "SaysNothingError" in failure.message
