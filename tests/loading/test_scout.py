"""Looking ahead of a loop: what the next batches need is asked for in time, and nothing else."""

import gc
import os
import threading
import time
from itertools import chain
from typing import ClassVar

import numpy as np
import pytest

import mmap_ninja as mn
from mmap_ninja import Loader
from mmap_ninja._kernel import Lookahead, column_of
from mmap_ninja.engine import memory
from mmap_ninja.loading import scout
from support.cold import evicted

SAMPLES = 2000


class FakeColumn:
    """A column that is in memory or not, and has samples of a size."""

    def __init__(self, is_cold, mean_size=100.0, rows_within=10**9):
        self.is_cold, self.mean_size, self.rows_within = is_cold, mean_size, rows_within
        self.looks = 0

    def are_cold(self, indices):
        self.looks += 1
        return self.is_cold

    def __len__(self):
        return SAMPLES


class FakeLookahead:
    """Remembers what it was asked for."""

    made: ClassVar[list] = []

    def __init__(self):
        self.asked, self.waited, self.streamed, self.warm, self.is_idle = [], [], 0, 0, True
        FakeLookahead.made.append(self)

    def ask_for(self, column, indices):
        self.asked.append(indices.tolist())
        return len(self.asked)

    def wait_for(self, request):
        self.waited.append(request)

    def stream(self, column):
        self.streamed += 1
        self.is_idle = False

    def stop(self):
        pass


@pytest.fixture
def samples(tmp_path):
    return mn.ArrayMmap.from_ndarray(tmp_path / "samples", np.arange(SAMPLES))


@pytest.fixture
def looking(monkeypatch):
    """A function that lets loaders look at a column, and gives the requests of all iterations."""
    monkeypatch.setattr(FakeLookahead, "made", [])
    monkeypatch.setattr(scout, "Lookahead", FakeLookahead)

    def look_at(column):
        monkeypatch.setattr(scout, "_column_of", lambda samples: column)
        return lambda: [request for one in FakeLookahead.made for request in one.asked]

    return look_at


@pytest.mark.parametrize("num_threads", [0, 2])
def test_cold_batches_are_asked_for_once_in_order_of_consumption(samples, looking, num_threads):
    requests = looking(FakeColumn(is_cold=True))

    batches = [batch.tolist() for batch in Loader(samples, 64, shuffle=True, num_threads=num_threads)]

    assert sorted(chain(*batches)) == list(range(SAMPLES))
    assert requests() == batches[2:]  # the first two ask for themselves


def test_four_batches_are_asked_for_ahead(samples, looking):
    requests = looking(FakeColumn(is_cold=True))
    batches = iter(Loader(samples, 10, num_threads=0))

    counts = []
    for _ in range(6):
        next(batches)
        counts.append(len(requests()))

    assert counts == [0, 4, 5, 6, 7, 8]


def test_batch_is_not_read_before_it_was_asked_for(samples, looking):
    looking(FakeColumn(is_cold=True))
    batches = iter(Loader(samples, 10, num_threads=0))

    for _ in range(4):
        next(batches)

    assert FakeLookahead.made[-1].waited == [1, 2]


def test_nothing_is_asked_for_that_is_in_memory(samples, looking):
    column = FakeColumn(is_cold=False)
    requests = looking(column)

    assert len(list(Loader(samples, 10, shuffle=True, num_threads=0))) == 200
    assert requests() == []
    assert column.looks == 7  # of 200 batches


def test_asking_ends_where_nothing_is_missing_any_more(samples, looking):
    column = FakeColumn(is_cold=True)
    requests = looking(column)
    batches = iter(Loader(samples, 10, num_threads=0))
    for _ in range(10):
        next(batches)
    before = len(requests())
    column.is_cold, FakeLookahead.made[-1].warm = False, 8

    rest = list(batches)

    assert len(rest) == 190
    assert len(requests()) == before


def test_asking_begins_again_where_samples_were_dropped(samples, looking):
    column = FakeColumn(is_cold=False)
    requests = looking(column)
    batches = iter(Loader(samples, 10, num_threads=0))
    for _ in range(50):
        next(batches)
    column.is_cold = True

    rest = list(batches)

    assert len(rest) == 150
    assert len(requests()) > 100


def test_bytes_that_are_asked_for_are_bounded(samples, looking):
    requests = looking(FakeColumn(is_cold=True, mean_size=12e6))  # 20 of them are 240 MB
    batches = iter(Loader(samples, 10, num_threads=0))

    next(batches), next(batches)

    assert len(requests()) == 3  # 22 samples, up to the end of a batch


def test_process_asks_for_its_own_samples(samples, looking):
    requests = looking(FakeColumn(is_cold=True))

    batches = [batch.tolist() for batch in Loader(samples, 10, shuffle=True, rank=1, world_size=3, num_threads=0)]

    assert requests() == batches[2:]


def test_resumed_epoch_asks_for_what_is_left(samples, looking):
    requests = looking(FakeColumn(is_cold=True))
    loader = Loader(samples, 10, num_threads=0)
    loader.load_state_dict({**loader.state_dict(), "position": 1900})

    batches = [batch.tolist() for batch in loader]

    assert requests() == batches[2:]
    assert len(batches) == 10


def test_windows_of_blocks_are_asked_for_as_a_whole(samples, looking):
    requests = looking(FakeColumn(is_cold=True))
    order = mn.Shuffle(SAMPLES, block=50, window=4)

    batches = [batch.tolist() for batch in Loader(samples, 10, shuffle=order, num_threads=0)]

    assert [len(request) for request in requests()] == [200] * 9 + [180]
    assert list(chain(*requests())) == list(chain(*batches[2:]))


def test_documents_of_a_packing_are_asked_for(tmp_path, looking):
    requests = looking(FakeColumn(is_cold=True))
    texts = mn.StringsMmap.from_strings(tmp_path / "texts", ["x" * (k % 7 + 1) for k in range(500)])
    plan = mn.Packing(texts.byte_lengths, 16, batch_size=4)

    batches = list(Loader(texts, plan=plan, with_index=True, num_threads=0))

    assert requests() == [indices[0].tolist() for indices, _ in batches[2:]]


@pytest.mark.parametrize(
    ("rows", "available", "order", "streams"),
    [
        (SAMPLES, 1 << 30, True, 1),
        (SAMPLES * 10, 1 << 30, True, 1),
        (SAMPLES * 20, 1 << 30, True, 0),  # too few of the rows
        (SAMPLES, SAMPLES * 90, True, 0),  # no room for 100 bytes each
        (SAMPLES, 1 << 30, mn.Shuffle(SAMPLES, block=10), 0),
    ],
)
def test_files_that_fit_and_are_much_read_are_streamed(samples, looking, monkeypatch, rows, available, order, streams):
    requests = looking(FakeColumn(is_cold=True, rows_within=rows))
    monkeypatch.setattr(memory, "available", lambda: available)
    batches = iter(Loader(samples, 10, shuffle=order, num_threads=0))

    for _ in range(20):
        next(batches)

    assert FakeLookahead.made[-1].streamed == streams
    assert bool(requests()) != bool(streams)
    FakeLookahead.made[-1].is_idle = True  # all was read, and was dropped again
    next(batches)
    assert requests()
    assert FakeLookahead.made[-1].streamed == streams


def test_error_of_a_look_is_left_to_the_batch_itself(samples, looking):
    class Broken(FakeColumn):
        def are_cold(self, indices):
            raise OSError("gone")

    looking(Broken(is_cold=True))

    assert len(list(Loader(samples, 10, num_threads=0))) == 200


# With the kernel's own.

KERNEL_THREADS = "/proc/self/task"


def threads():
    return len(os.listdir(KERNEL_THREADS))


@pytest.fixture
def cold(tmp_path):
    """A dataset of ragged samples that is not in memory."""
    samples = (np.full(500 + k % 1000, k, np.int32) for k in range(20_000))
    mn.RaggedMmap.from_generator(tmp_path / "cold", samples).close()
    evicted(tmp_path / "cold")
    return mn.open(tmp_path / "cold")


@pytest.fixture(params=["advises", "streams"])
def way(request, monkeypatch):
    monkeypatch.setattr(memory, "available", lambda: (1 << 30) * (request.param == "streams"))


@pytest.mark.parametrize("num_threads", [0, 2, None])
def test_cold_epoch_gives_the_same_batches(cold, way, num_threads):
    loader = Loader(cold, 100, shuffle=True, collate="jagged", num_threads=num_threads)

    firsts = [values[offsets[:-1]] for values, offsets in loader]

    assert np.array_equal(np.concatenate(firsts), mn.Shuffle(20_000)[:])


@pytest.mark.parametrize(
    "view", [lambda ds: ds.select(np.arange(19_999, 0, -3)), lambda ds: mn.concat([ds, ds.select(slice(9))])]
)
def test_cold_epoch_of_a_view_gives_the_same_batches(cold, way, view):
    samples = view(cold)

    firsts = [values[offsets[:-1]] for values, offsets in Loader(samples, 100, shuffle=True, collate="jagged")]

    expected = [samples[place][0] for place in mn.Shuffle(len(samples))]
    assert np.concatenate(firsts).tolist() == expected


@pytest.mark.skipif(not os.path.isdir(KERNEL_THREADS), reason="needs /proc")
@pytest.mark.parametrize("steps", [1, 2, 3, 20])
def test_no_thread_or_descriptor_is_left_of_an_iteration(cold, way, steps):
    loader = Loader(cold, 100, shuffle=True, collate="jagged", num_threads=0)
    before = threads(), len(os.listdir("/proc/self/fd"))

    for _ in range(5):
        batches = iter(loader)
        for _ in range(steps):
            next(batches)
        del batches
        gc.collect()
        assert (threads(), len(os.listdir("/proc/self/fd"))) == before
    with loader:
        kept = iter(loader)
        next(kept), next(kept)
    assert threads() == before[0]


def test_child_of_a_fork_goes_on(cold, way):
    batches = iter(Loader(cold, 100, shuffle=True, collate="jagged", num_threads=0))
    for _ in range(3):
        next(batches)

    child = os.fork()
    if child == 0:
        passed = False
        try:
            passed = len(list(batches)) == 197
        finally:
            os._exit(0 if passed else 1)
    deadline = time.monotonic() + 60
    while (ended := os.waitpid(child, os.WNOHANG))[0] == 0 and time.monotonic() < deadline:
        time.sleep(0.01)

    assert ended == (child, 0)
    assert len(list(batches)) == 197


def test_several_threads_may_end_looking_ahead_at_once(tmp_path):
    dataset = mn.RaggedMmap.from_generator(tmp_path / "samples", (np.zeros(4000, np.uint8) for _ in range(SAMPLES)))
    for _ in range(30):
        lookahead = Lookahead()
        for _ in range(5):
            lookahead.ask_for(column_of(dataset), np.arange(SAMPLES))
        threads = [threading.Thread(target=lookahead.stop, daemon=True) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=30)
        assert not any(thread.is_alive() for thread in threads)
        assert lookahead.is_idle
