"""The memory of batches: large ones begin at a cache line, and own it like any array."""

import pickle
import tracemalloc

import numpy as np
import pytest
from tests.support.memory import address

import mmap_ninja as mn
from mmap_ninja import _kernel

LINE = 64
COUNT = 1000


def samples():
    return np.arange(COUNT * 40 * 40, dtype=np.int32).reshape(COUNT, 40, 40)


@pytest.fixture(params=["mmap", "pread"])
def arrays(tmp_path, request):
    mn.ArrayMmap.from_ndarray(tmp_path / "arrays", samples())
    return mn.ArrayMmap(tmp_path / "arrays", read_mode=request.param)


@pytest.fixture(params=["mmap", "pread"])
def ragged(tmp_path, request):
    mn.RaggedMmap.from_generator(tmp_path / "ragged", (np.arange(k + 600.0) for k in range(COUNT)))
    return mn.RaggedMmap(tmp_path / "ragged", read_mode=request.param)


def batches_of(arrays, ragged, tmp_path):
    every = np.arange(COUNT)
    records = ({"x": sample} for sample in [*samples(), None])
    columns = {"x": mn.Array((40, 40), "i4", nullable=True)}
    nullable = mn.RecordsMmap.from_generator(tmp_path / "nullable", records, columns=columns)["x"]
    yield arrays.take(every)
    yield mn.concat([arrays, arrays]).take(np.arange(2 * COUNT)[::-1])
    yield nullable.take(range(COUNT + 1), nulls="mask").data
    yield from ragged.take_padded(every, mask=True)[::2]
    yield ragged.take_padded(every, dtype=np.complex128)[0]
    yield ragged.take_jagged(every)[0]
    yield ragged.windows(500, 50).take(range(COUNT))
    yield ragged.windows(500, 50).take(range(COUNT), dtype=np.complex128)


def test_large_batches_begin_at_a_cache_line(arrays, ragged, tmp_path):
    for batch in batches_of(arrays, ragged, tmp_path):
        assert batch.nbytes >= 1 << 20
        assert address(batch) % LINE == 0


def test_large_batches_own_their_memory(arrays):
    batch = arrays.take(range(COUNT))

    assert batch.flags.owndata
    assert batch.flags.writeable
    assert batch.base is None
    assert type(batch) is np.ndarray


@pytest.mark.parametrize("samples_left", [2 * COUNT, 10, 0])
def test_large_batches_can_be_resized(arrays, samples_left):
    batch = arrays.take(range(COUNT))

    batch.resize((samples_left, 40, 40), refcheck=False)

    kept = min(samples_left, COUNT)
    assert np.array_equal(batch[:kept], samples()[:kept])
    assert not batch[kept:].any()


def test_copies_and_pickles_of_large_batches_are_ordinary(arrays):
    batch = arrays.take(range(COUNT))

    assert np.array_equal(pickle.loads(pickle.dumps(batch)), samples())
    assert np.array_equal(pickle.loads(pickle.dumps(batch, protocol=5)), samples())
    assert np.array_equal(batch.copy(), samples())


def test_views_keep_the_memory_of_a_batch(arrays):
    recycler = _kernel.Recycler()
    views = [arrays.take(range(COUNT))[k] for k in range(5)]
    arrays.take(range(COUNT))[:] = 0

    assert all(np.array_equal(view, samples()[k]) for k, view in enumerate(views))
    del recycler


@pytest.mark.parametrize("shift", [1, 8, 16, 63])
def test_batches_are_right_in_memory_that_is_not_aligned(tmp_path, shift):
    values = np.random.default_rng(0).integers(0, 255, (50, 64, 64, 3), np.uint8)
    dataset = mn.ArrayMmap.from_ndarray(tmp_path / "ds", values)
    order = np.random.default_rng(1).permutation(50)
    memory = np.zeros(values.nbytes + 128, np.uint8)
    begin = -address(memory) % LINE + shift
    out = memory[begin : begin + values.nbytes].reshape(values.shape)

    dataset.take(order, out=out)

    assert np.array_equal(out, values[order])
    assert not memory[:begin].any()
    assert not memory[begin + values.nbytes :].any()


def test_a_batch_that_is_dropped_leaves_nothing(arrays):
    arrays.take(range(COUNT))

    assert _kernel.kept_bytes() == 0


def test_a_dropped_batch_is_kept_for_the_next_while_somebody_recycles(tmp_path):
    arrays = mn.ArrayMmap.from_ndarray(tmp_path / "arrays", samples())
    recycler = _kernel.Recycler()
    at = address(arrays.take(range(COUNT)))
    assert _kernel.kept_bytes() >= samples().nbytes

    batch = arrays.take(range(COUNT)[::-1])
    assert address(batch) == at
    assert np.array_equal(batch, samples()[::-1])

    del batch

    del recycler
    assert _kernel.kept_bytes() == 0


def test_the_memory_of_batches_is_traced(arrays):
    tracemalloc.start()
    try:
        batch = arrays.take(range(COUNT))
        assert tracemalloc.get_traced_memory()[0] >= batch.nbytes
        del batch
        assert tracemalloc.get_traced_memory()[0] < samples().nbytes
    finally:
        tracemalloc.stop()
