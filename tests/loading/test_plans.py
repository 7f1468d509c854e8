"""Plans have every sample once per epoch, whole, in batches of the sizes that were asked for."""

import copy
import itertools
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mmap_ninja as mn
from mmap_ninja import Batches, Buckets, Packing, Shuffle, Weighted

LENGTHS = (np.random.default_rng(1).lognormal(4, 0.8, 5003)).astype(np.int64)
LENGTH_LISTS = st.lists(st.integers(0, 60), max_size=120)


def dealt(plan):
    return np.sort(np.concatenate([np.empty(0, np.int64), *plan]))


PLANS = [
    Batches(Shuffle(100, 3), 8),
    Batches(Shuffle(100, 3, block=7), 8),
    Batches(Weighted(np.arange(9), 50), 8),
    Buckets(LENGTHS, batch_size=32, seed=1),
    Buckets(LENGTHS, max_elements=4000, multiple_of=4, seed=1, window=7),
    Packing(LENGTHS, 256, batch_size=4, seed=1),
]


@pytest.mark.parametrize("plan", PLANS, ids=repr)
def test_plans_are_sequences(plan):
    batches = list(plan)

    assert len(batches) == len(plan)
    for k in (0, 1, len(plan) - 1, -1, -len(plan), np.int64(2)):
        assert plan[k].dtype == np.int64
        np.testing.assert_array_equal(plan[k], batches[k])
    for k in (len(plan), -len(plan) - 1):
        with pytest.raises(IndexError, match=f"index {k} is out of range for .* of {len(plan)} batches"):
            plan[k]
    with pytest.raises(TypeError):
        plan["a"]


@pytest.mark.parametrize("plan", PLANS, ids=repr)
def test_batches_are_found_by_what_was_handed_out_before_them(plan):
    before = np.cumsum([0, *map(len, plan)]).tolist()

    assert [plan._unit_of(k) for k in range(len(plan))] == before[:-1]
    assert [plan._batch_from(unit).tolist() for unit in before[:-1]] == [batch.tolist() for batch in plan]


@pytest.mark.parametrize("plan", PLANS, ids=repr)
def test_copies_go_to_epochs_by_themselves(plan):
    batches = list(plan)
    for other in (pickle.loads(pickle.dumps(plan)), copy.copy(plan), copy.deepcopy(plan)):
        assert (repr(other), len(other)) == (repr(plan), len(plan))
        np.testing.assert_array_equal(np.concatenate(list(other)), np.concatenate(batches))
        other.set_epoch(1)
        assert (plan.epoch, other.epoch) == (0, 1)
        assert not np.array_equal(np.concatenate(list(other)), np.concatenate(batches))
        other.set_epoch(0)
        np.testing.assert_array_equal(np.concatenate(list(other)), np.concatenate(batches))
    np.testing.assert_array_equal(np.concatenate(list(plan)), np.concatenate(batches))


# Batches


def test_batches_are_an_order_in_pieces():
    order = Shuffle(103, seed=2)
    plan = Batches(order, 10)

    assert [len(positions) for positions in plan] == [10] * 10 + [3]
    np.testing.assert_array_equal(np.concatenate(list(plan)), order[:])
    order.set_epoch(5)
    assert plan.epoch == 0


def test_an_array_is_an_order():
    plan = Batches([5, 3, 3, 0, 9], 2)
    plan.set_epoch(7)

    assert [positions.tolist() for positions in plan] == [[5, 3], [3, 0], [9]]
    assert (plan.epoch, len(Batches([], 2)), list(Batches([], 2))) == (7, 0, [])


# Buckets


@given(LENGTH_LISTS, st.integers(1, 9), st.integers(1, 3), st.integers(1, 4), st.integers(0, 2))
def test_buckets_of_a_size_have_every_sample_once(lengths, groups, multiple_of, window, epoch):
    size = groups * multiple_of
    plan = Buckets(lengths, batch_size=size, multiple_of=multiple_of, window=window, seed=4, epoch=epoch)

    sizes = [len(positions) for positions in plan]

    assert dealt(plan).tolist() == list(range(len(lengths)))
    assert sizes == [size] * (len(lengths) // size) + [len(lengths) % size] * (len(lengths) % size > 0)


@given(LENGTH_LISTS, st.integers(60, 300), st.integers(1, 3), st.integers(1, 4), st.none() | st.integers(1, 5))
def test_buckets_of_elements_have_every_sample_once(lengths, most, multiple_of, window, groups):
    size = groups and groups * multiple_of
    plan = Buckets(lengths, max_elements=most, multiple_of=multiple_of, window=window, batch_size=size)

    assert dealt(plan).tolist() == list(range(len(lengths)))
    for k, positions in enumerate(plan):
        padded = -(-len(positions) // multiple_of) * max(lengths[at] for at in positions)
        assert padded <= most
        assert len(positions) <= (size or len(lengths))
        assert len(positions) % multiple_of == 0 or k == len(plan) - 1


@pytest.mark.parametrize("options", [{"batch_size": 32}, {"max_elements": 3000}, {"batch_size": 64, "window": 3}])
def test_the_padding_of_buckets_is_what_they_say(options):
    plan = Buckets(LENGTHS, **options)
    for epoch in (0, 1):
        plan.set_epoch(epoch)
        padded = sum(len(positions) * LENGTHS[positions].max() for positions in plan)
        assert plan.padding == pytest.approx(1 - LENGTHS.sum() / padded)


def test_buckets_have_little_padding():
    """As little as all samples in one window, nearly; the last window is as long as the others."""
    lengths = np.random.default_rng(2).integers(20, 400, 32 * 101)

    whole, windows, short = (Buckets(lengths, batch_size=32, window=window).padding for window in (101, 50, 2))

    assert whole < windows < 0.05 < short
    assert Buckets(lengths, max_elements=8192).padding < 0.05


def test_buckets_are_as_full_as_the_elements_allow():
    plan = Buckets(np.full(1000, 10), max_elements=100, multiple_of=2)

    assert {len(positions) for positions in plan} == {20}


def test_lengths_are_copied():
    lengths = np.arange(1, 9)
    plans = [Buckets(lengths, batch_size=2), Packing(lengths, 8, batch_size=1)]
    expected = [[batch.tolist() for batch in copy.copy(plan)] for plan in plans]

    lengths[:] = 100

    assert [[batch.tolist() for batch in plan] for plan in plans] == expected


def test_the_longest_batch_of_a_window_is_not_always_its_last():
    lengths = np.arange(1, 101).repeat(10)
    plan = Buckets(lengths, batch_size=20, max_elements=400, window=200)
    longest = []
    for epoch in range(8):
        plan.set_epoch(epoch)
        longest.append(int(np.argmax([lengths[batch].max() for batch in plan])))

    assert len(set(longest)) > 4


def test_batches_of_buckets_come_in_no_order_of_length():
    lengths = np.arange(3200)

    firsts = [int(lengths[positions].max()) for positions in Buckets(lengths, batch_size=32, window=100)]

    assert abs(np.corrcoef(firsts[1:], firsts[:-1])[0, 1]) < 0.4


# Packing


def rows_of(plan):
    """The segments of each row, as (document, start, length)."""
    offsets, *columns = plan.segments(np.arange(plan.rows))
    return [
        list(zip(*(column[a:b].tolist() for column in columns), strict=True)) for a, b in itertools.pairwise(offsets)
    ]


@given(st.lists(st.integers(0, 90), max_size=150), st.integers(1, 40), st.integers(0, 3))
def test_packed_rows_have_every_element_once(lengths, length, seed):
    plan = Packing(lengths, length, batch_size=3, seed=seed)

    rows = rows_of(plan)

    pieces = sorted(segment for row in rows for segment in row)
    whole = [
        (document, start, min(length, size - start))
        for document, size in enumerate(lengths)
        for start in range(0, size, length)
    ]
    assert pieces == whole
    assert all(0 < sum(size for *_, size in row) <= length for row in rows)
    assert dealt(plan).tolist() == list(range(plan.rows))
    assert plan.most_segments == max(map(len, rows), default=0)
    assert plan.filled == (pytest.approx(sum(lengths) / (plan.rows * length)) if plan.rows else 1)


def test_lengths_that_no_memory_has_room_for_are_refused():
    """A process once died of the rows that such documents fill."""
    with pytest.raises(ValueError, match="document is 1, of 4611686018427387903 elements: give longer rows"):
        Packing([3, 2**62 - 1], 64, batch_size=2)


def test_packed_rows_are_nearly_full():
    assert Packing(LENGTHS, 512, batch_size=8).filled > 0.99
    assert Packing(LENGTHS, 100, batch_size=8).filled > 0.98


@pytest.mark.parametrize("length", [15, 16, 2**30])
def test_long_rows_hold_all_documents_and_take_no_memory(length):
    plan = Packing([3, 5, 0, 7], length, batch_size=1)

    assert [sorted(row) for row in rows_of(plan)] == [[(0, 0, 3), (1, 0, 5), (3, 0, 7)]]
    assert plan.filled == 15 / length


def test_epochs_shuffle_rows_and_seeds_pack_anew():
    plan, other = Packing(LENGTHS, 256, batch_size=8, seed=1), Packing(LENGTHS, 256, batch_size=8, seed=2)
    rows, first = rows_of(plan), np.concatenate(list(plan))
    plan.set_epoch(1)

    assert rows_of(plan) == rows
    assert not np.array_equal(np.concatenate(list(plan)), first)
    assert sorted(rows) != sorted(rows_of(other))


def test_segments_are_those_of_the_rows_asked_for():
    plan = Packing(LENGTHS, 256, batch_size=8)
    rows = rows_of(plan)

    offsets, *columns = plan.segments([5, 2, 5])

    assert offsets.tolist() == [0, *np.cumsum([len(rows[5]), len(rows[2]), len(rows[5])])]
    assert list(zip(*(column.tolist() for column in columns), strict=True)) == rows[5] + rows[2] + rows[5]
    assert plan.segments([]).offsets.tolist() == [0]
    with pytest.raises(IndexError, match="rows"):
        plan.segments([plan.rows])


# Bad arguments


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Batches(Shuffle(5), 0), ValueError, "batch_size=0: expected 1"),
        (lambda: Batches(Shuffle(5), 2.0), TypeError, "batch_size: expected an integer, got 2.0"),
        (lambda: Batches([1.5], 2), TypeError, "order: expected a Shuffle, a Weighted, or an array of positions"),
        (lambda: Batches([[1]], 2), TypeError, "array of positions"),
        (lambda: Batches([3, -1], 2), ValueError, r"positions from 0 to 2\^62 - 1, found -1"),
        (lambda: Batches(np.array([1, 2**64 - 1], "u8"), 2), ValueError, f"found {2**64 - 1}"),
        (lambda: Buckets(np.array([1, 2**64 - 1], "u8"), batch_size=2), ValueError, f"found {2**64 - 1} at 1"),
        (lambda: Packing([1], 1 << 31, batch_size=1), ValueError, "length=2147483648: expected 1 to 2147483647"),
        (lambda: Buckets([1, 2]), ValueError, "expected `batch_size`, `max_elements` or both"),
        (lambda: Buckets([1, 2], batch_size=3, multiple_of=2), ValueError, "a multiple of multiple_of=2"),
        (lambda: Buckets([1, 9], max_elements=5), ValueError, "sample 1 has 9 elements, and max_elements is 5"),
        (lambda: Buckets([1, -9], batch_size=1), ValueError, r"expected 0 to 2\^62 - 1, found -9 at 1"),
        (lambda: Buckets([1.0], batch_size=1), TypeError, "one integer per sample, got float64"),
        (lambda: Buckets(mn.shared_list([[1], [2, 3]]), batch_size=1), TypeError, "RaggedMmap; pass its `lengths`"),
        (lambda: Buckets([1], batch_size=1, window=0), ValueError, "window=0"),
        (lambda: Packing([1, 9], 5, batch_size=1, split=False), ValueError, "document 1 has 9 elements, and a row 5"),
        (lambda: Packing([1], 0, batch_size=1), ValueError, "length=0"),
        (lambda: Packing(["a"], 5, batch_size=1), TypeError, "lengths: expected one integer"),
    ],
)
def test_bad_arguments_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()
