"""Ragged arrays: any shape and rank, growing ranks, padded and jagged batches, wrappers."""

import pickle
import shutil
import sys
import threading
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import mmap_ninja as mn
from mmap_ninja import CorruptDatasetError, RaggedMmap, ReadOnlyError, StaleHandleError
from mmap_ninja.builds import paced
from mmap_ninja.parallel import make_indexable
from support import reference_reader
from support.faults import change_slots, overwrite
from support.memory import LARGE, is_mapped

RNG = np.random.default_rng(0)
SAMPLES = {
    "scalars": [np.float32(1.5), np.float32(2.5)],
    "1-D": [np.arange(k, dtype=np.int32) for k in (3, 0, 1, 7)],
    "2-D": [np.ones((2, 3), "u1"), np.zeros((0, 3), "u1"), np.full((1, 1), 7, "u1"), np.ones((4, 0), "u1")],
    "images": [RNG.integers(0, 255, (k, 3 * k, 3), np.uint8) for k in (5, 1, 9)],
    "mixed": [np.arange(3.0), np.float64(5), np.ones((2, 2)), np.empty((0, 4, 2)), np.arange(2.0), np.ones([1] * 12)],
    "big-endian": [np.arange(3, dtype=">i2"), np.arange(2, dtype=">i2").reshape(1, 2)],
    "structured": [np.zeros(2, [("a", "u1"), ("b", "<f4")]), np.ones((1, 3), [("a", "u1"), ("b", "<f4")])],
    "dates": [np.array(["2026-11-22", "NaT"], "M8[D]"), np.array([["1970-01-01"]], "M8[D]")],
    "text": [np.array(["ab", "ß"], "<U3"), np.array([], "<U3")],
}


@pytest.fixture(params=SAMPLES)
def samples(request):
    return SAMPLES[request.param]


@pytest.fixture
def rows(tmp_path):
    return RaggedMmap.from_lists(tmp_path / "ds", SAMPLES["1-D"])


def same(found, expected):
    found, expected = np.asarray(found), np.asarray(expected)
    return (found.dtype, found.shape, found.tobytes()) == (expected.dtype, expected.shape, expected.tobytes())


def all_same(found, expected):
    return len(found) == len(expected) and all(map(same, found, expected))


@pytest.mark.parametrize("batch_size", [1, 2, 1024])
def test_samples_come_back_with_their_shapes(tmp_path, samples, batch_size):
    stored = RaggedMmap.from_generator(tmp_path / "ds", iter(samples), batch_size=batch_size)
    stored.close()

    reopened = mn.open(tmp_path / "ds")
    assert isinstance(reopened, RaggedMmap)
    assert all_same(list(reopened), samples)
    assert all_same(reopened.take(np.arange(len(samples))[::-1]), samples[::-1])
    assert all_same(reopened[-2:], samples[-2:])
    assert [tuple(shape) for shape in reopened.shapes] == [np.shape(sample) for sample in samples]
    assert reopened.flattened_shapes.tolist() == [np.size(sample) for sample in samples]
    assert reopened.dtype == np.asarray(samples[0]).dtype
    assert reopened.nbytes == sum(np.asarray(sample).nbytes for sample in samples)
    flat = reopened.memmap
    assert all(
        same(flat[a:b].reshape(np.shape(s)), s) for a, b, s in zip(reopened.starts, reopened.ends, samples, strict=True)
    )


@given(data=st.data())
def test_appends_of_any_shapes_read_as_a_list(tmp_path_factory, data):
    shapes = st.lists(st.integers(0, 3), max_size=4).map(tuple)
    expected = []
    stored = RaggedMmap(tmp_path_factory.mktemp("ragged") / "ds")

    for batch in data.draw(st.lists(st.lists(shapes, max_size=4), min_size=1, max_size=4)):
        arrays = [
            np.arange(np.prod(shape, dtype=int), dtype=np.int16).reshape(shape) + len(expected) for shape in batch
        ]
        arrays = [np.asarray(array, np.int16) for array in arrays]
        stored.extend(arrays)
        expected += arrays
        assert all_same(list(stored), expected)
    other = RaggedMmap(stored.path)

    assert all_same(list(other), expected)
    assert all_same(other.take(list(range(len(expected)))), expected)
    assert [tuple(shape) for shape in other.shapes] == [sample.shape for sample in expected]


@pytest.mark.parametrize("name", ["1-D", "images", "mixed", "scalars"])
def test_independent_reader_reads_the_files(tmp_path, name):
    samples = SAMPLES[name] * 3000
    stored = RaggedMmap.from_generator(tmp_path / "ds", samples, batch_size=4000)
    stored.extend(SAMPLES[name])
    stored.close()

    expected = [(np.shape(s), np.asarray(s).tobytes()) for s in samples + SAMPLES[name]]
    assert reference_reader.read(tmp_path / "ds") == expected


def test_new_rank_sums_the_new_shapes_and_forgets_the_old_ones(tmp_path):
    samples = [np.full((1, 2), k, np.int32) for k in range(9000)]  # more than one block of payload, offsets and shapes
    stored = RaggedMmap.from_generator(tmp_path / "ds", samples)

    stored.append(np.int32(5))
    stored.extend(samples[:10])
    stored.close()

    expected = [*samples, np.int32(5), *samples[:10]]
    assert reference_reader.read(tmp_path / "ds") == [(np.shape(s), s.tobytes()) for s in expected]


def test_new_rank_keeps_all_that_was_there(tmp_path):
    """0.9 lost the dataset here: it wrote the data, and then failed at the shape."""
    stored = RaggedMmap.from_lists(tmp_path / "ds", SAMPLES["1-D"])
    reader, sample = RaggedMmap(tmp_path / "ds"), stored[0]

    for added in (np.ones((2, 2), np.int32), np.int32(5), np.zeros((1, 2, 3, 4), np.int32)):
        stored.append(added)
        assert same(stored[-1], added)

    assert same(sample, SAMPLES["1-D"][0])
    assert all_same(list(reader), SAMPLES["1-D"])
    reader.refresh()
    assert [np.shape(s) for s in reader] == [(3,), (0,), (1,), (7,), (2, 2), (), (1, 2, 3, 4)]
    assert sorted(file.name for file in stored.path.iterdir() if "shapes" in file.name) == ["c0.shapes-5"]


def test_two_writers_of_different_ranks_both_get_through(tmp_path):
    first = RaggedMmap.from_lists(tmp_path / "ds", [[1, 2]])
    second = RaggedMmap(tmp_path / "ds")
    second.append([5])

    first.append([[1, 2], [3, 4]])
    second.append([6])
    second.append([[[7]]])
    first.append(8)

    assert [sample.tolist() for sample in first] == [[1, 2], [5], [[1, 2], [3, 4]], [6], [[[7]]], 8]


def test_build_whose_dataset_is_replaced_changes_nothing_of_the_new_one(tmp_path):
    """A bug once: the first batch set the columns of the dataset that took the place of the one that was built."""

    def source():
        shutil.rmtree(tmp_path / "ds")
        RaggedMmap.from_generator(tmp_path / "ds", [])
        yield np.ones((2, 2))

    with pytest.raises(StaleHandleError, match="another directory was put at this path"):
        RaggedMmap.from_generator(tmp_path / "ds", source())

    assert len(RaggedMmap(tmp_path / "ds")) == 0
    assert RaggedMmap(tmp_path / "ds").dtype is None  # not ==, since NumPy treats None as float64


def test_threads_append_different_ranks(tmp_path):
    stored = RaggedMmap(tmp_path / "ds")

    def work(rank):
        for _ in range(20):
            stored.append(np.full((1,) * rank, rank))

    threads = [threading.Thread(target=work, args=(rank,)) for rank in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(sample.ndim for sample in stored) == sorted([0, 1, 2, 3] * 20)
    assert all(sample.sum() == sample.ndim for sample in stored)


def test_samples_are_not_copied(tmp_path):
    rows = RaggedMmap.from_lists(tmp_path / "ds", [np.zeros(1000, np.uint8)] * (LARGE // 1000))

    for view in (rows[0], rows.memmap, rows.windows(50)[3], next(iter(rows))):
        assert is_mapped(view, rows.path)


def test_samples_are_read_only_views_and_batches_are_owned(rows):
    assert not rows[0].flags.writeable
    for sample in [*rows.take([0]), *rows[:1], *rows[[0]], *rows.__getitems__([0]), RaggedMmap(rows.path, mode="c")[0]]:
        sample[...] = 99

    assert same(RaggedMmap(rows.path)[0], SAMPLES["1-D"][0])


def test_samples_survive_growth_and_close(rows):
    sample = rows[3]
    for _ in range(200):
        rows.extend([np.arange(5000, dtype=np.int32)] * 20)
    rows.close()

    assert same(sample, SAMPLES["1-D"][3])


# ---- batches


@pytest.mark.parametrize(
    ("options", "shape"),
    [
        ({}, (4, 7)),
        ({"value": -1}, (4, 7)),
        ({"length": 2}, (4, 2)),
        ({"length": 9}, (4, 9)),
        ({"length": 0}, (4, 0)),
        ({"multiple_of": 4}, (4, 8)),
        ({"length": 9, "multiple_of": 4, "value": 3}, (4, 12)),
        ({"length": [5]}, (4, 5)),
        ({"length": (None,), "multiple_of": (None,)}, (4, 7)),
    ],
)
def test_take_padded_matches_a_loop(rows, options, shape):
    batch, lengths = rows.take_padded([0, 1, 2, 3], **options)

    expected = np.full(shape, options.get("value", 0), np.int32)
    for k, sample in enumerate(SAMPLES["1-D"]):
        kept = sample[: shape[1]]
        expected[k, : len(kept)] = kept
    assert same(batch, expected)
    assert lengths.tolist() == [min(len(sample), shape[1]) for sample in SAMPLES["1-D"]]
    assert batch.flags.writeable


@given(
    shapes=st.lists(hnp.array_shapes(min_dims=3, max_dims=3, min_side=0, max_side=4), min_size=1, max_size=5),
    length=st.tuples(*[st.none() | st.integers(0, 5)] * 3),
    value=st.integers(0, 255),
)
def test_take_padded_of_images_matches_a_loop(tmp_path_factory, shapes, length, value):
    samples = [RNG.integers(0, 255, shape, np.uint8) for shape in shapes]
    stored = RaggedMmap.from_lists(tmp_path_factory.mktemp("padded") / "ds", samples)

    batch, lengths = stored.take_padded(slice(None), value, length)

    box = [max(dims) if asked is None else asked for dims, asked in zip(zip(*shapes, strict=True), length, strict=True)]
    expected = np.full((len(samples), *box), value, np.uint8)
    for k, sample in enumerate(samples):
        kept = sample[: box[0], : box[1], : box[2]]
        expected[(k, *map(slice, kept.shape))] = kept
    assert same(batch, expected)
    assert lengths.tolist() == [list(map(min, shape, box)) for shape in shapes]


def test_take_padded_fills_out(rows):
    out = np.full((2, 5), -1, np.int32)
    strided = np.full((2, 10), -1, np.int32)[:, ::2]

    for target in (out, strided):
        assert rows.take_padded([3, 0], length=5, out=target)[0] is target
        assert target.tolist() == [[0, 1, 2, 3, 4], [0, 1, 2, 0, 0]]


@pytest.mark.parametrize(
    ("indices", "options", "error", "message"),
    [
        ([0, 4], {}, ValueError, "take_padded: sample 4 has rank 2 where the batch's first has rank 1"),
        ([5], {}, ValueError, "take_padded: sample 5 is a scalar, which has no length"),
        ([0], {"length": (1, 2)}, ValueError, "length and multiple_of: expected at most the 1 dimensions"),
        ([0], {"length": -1}, ValueError, "length -1: expected at least 0"),
        ([0], {"multiple_of": 0}, ValueError, "multiple_of 0: expected at least 1"),
        ([0], {"length": "5"}, TypeError, "length '5': expected an integer, or one or None for each dimension"),
        ([0], {"length": 2.5}, TypeError, r"length 2\.5: expected an integer"),
        ([0], {"multiple_of": [2.5]}, TypeError, r"multiple_of \[2\.5\]: expected an integer"),
        ([0], {"length": 2**63}, ValueError, "array is too big"),
        ([0], {"value": 1.5}, TypeError, "value: dtype int32 .* cannot hold 1.5"),
        ([0], {"value": [1]}, ValueError, "expected one number"),
        ([0], {"out": np.empty((1, 2), np.int32)}, ValueError, "out: expected int32"),
        ([9], {}, IndexError, "index 9 is out of range for 6 samples"),
    ],
)
def test_bad_take_padded_raises(rows, indices, options, error, message):
    rows.extend([np.ones((2, 2), np.int32), np.int32(1)])

    with pytest.raises(error, match=message):
        rows.take_padded(indices, **options)


def test_take_jagged_joins_samples(tmp_path, rows):
    values, offsets = rows.take_jagged([3, 1, 0])
    assert same(values, np.concatenate([SAMPLES["1-D"][k] for k in (3, 1, 0)]))
    assert offsets.tolist() == [0, 7, 7, 10]

    points = [RNG.random((k, 2, 3)) for k in (4, 0, 2)]
    values, offsets = RaggedMmap.from_lists(tmp_path / "points", points).take_jagged([2, 1, 0, 2])
    assert same(values, np.concatenate([points[k] for k in (2, 1, 0, 2)]))
    assert offsets.tolist() == [0, 2, 2, 6, 8]

    hollow = RaggedMmap.from_lists(tmp_path / "hollow", [np.empty((2, 0)), np.empty((5, 0))])
    values, offsets = hollow.take_jagged([1, 0])
    assert (values.shape, offsets.tolist()) == ((7, 0), [0, 5, 7])


def test_take_jagged_of_unequal_trailing_dimensions_raises(tmp_path):
    stored = RaggedMmap.from_lists(tmp_path / "ds", [np.ones((2, 3)), np.ones((2, 4)), np.ones(5), 1.0])

    for indices, message in [
        ([0, 1], "sample 1 differs from the batch's first in its trailing dimensions"),
        ([0, 2], "sample 2 has rank 1"),
        ([3], "scalar"),
    ]:
        with pytest.raises(ValueError, match=message):
            stored.take_jagged(indices)


def test_empty_batches_and_datasets(tmp_path, rows):
    empty = RaggedMmap(tmp_path / "none")
    for dataset in (rows, empty, RaggedMmap.from_generator(tmp_path / "made", [])):
        assert dataset.take([]) == []
        assert dataset[:0] == []
        assert len(dataset.take_padded([])[0]) == len(dataset.take_padded([])[1]) == 0
        assert dataset.take_jagged([])[1].tolist() == [0]
    for read in (empty.take, empty.take_padded, empty.take_jagged):
        with pytest.raises(IndexError, match="out of range for 0 samples"):
            read([0])
    assert empty.dtype is None
    assert (list(empty), len(empty.lengths), len(empty.shapes), len(empty.memmap)) == ([], 0, 0, 0)


def test_lengths_are_first_dimensions(tmp_path, rows):
    assert rows.lengths.tolist() == [3, 0, 1, 7]
    assert RaggedMmap.from_lists(tmp_path / "images", SAMPLES["images"]).lengths.tolist() == [5, 1, 9]
    with pytest.raises(TypeError, match="sample 1 is a scalar"):
        RaggedMmap.from_lists(tmp_path / "mixed", SAMPLES["mixed"]).lengths


def test_shapes_of_mixed_ranks_are_a_sequence(tmp_path):
    stored = RaggedMmap.from_lists(tmp_path / "ds", SAMPLES["mixed"])

    assert list(stored.shapes) == [np.shape(sample) for sample in SAMPLES["mixed"]]
    assert stored.shapes[-1] == (1,) * 12
    assert stored.shapes[1:3] == [(), (2, 2)]
    assert stored.select([2, 0]).shapes[0] == (2, 2)


# ---- views, search, pickle


def test_views_have_all_reading_methods(tmp_path):
    images = SAMPLES["images"]
    stored = RaggedMmap.from_lists(tmp_path / "ds", images)

    for chosen in (slice(None, None, -1), [2, 2, 0], np.array([False, True, True])):
        view, expected = stored.select(chosen), [images[k] for k in np.arange(3)[chosen]]
        assert all_same(list(view), expected)
        assert view.shapes.tolist() == [list(image.shape) for image in expected]
        assert view.lengths.tolist() == [len(image) for image in expected]
        assert view.nbytes == sum(image.nbytes for image in expected)
        assert same(view.take_jagged([0])[0], expected[0])
        assert all_same(list(pickle.loads(pickle.dumps(view))), expected)
        assert len(pickle.dumps(view)) < 1024
        with pytest.raises(ReadOnlyError):
            view.append(images[0])


def test_index_count_and_in_compare_whole_samples(tmp_path):
    stored = RaggedMmap.from_lists(tmp_path / "ds", [[1, 2], [[1, 2]], [1, 2], 3])

    assert (stored.index([1, 2]), stored.index([1, 2], 1), stored.count([1, 2]), stored.index([[1, 2]])) == (0, 2, 2, 1)
    assert 3 in stored
    for missing in ([1, 3], [1], "a", None, [[1], [2, 3]]):
        assert missing not in stored


def test_structured_samples_are_not_equal_to_incomparable_values(tmp_path):
    pair = np.dtype([("a", np.int32), ("b", np.float64)])
    stored = RaggedMmap.from_lists(tmp_path / "ds", [np.zeros((), pair), np.zeros(1, pair)])

    assert np.zeros((), pair) in stored
    for missing in (5, [5], "a", None, np.zeros((), [("z", np.int32)]), np.zeros(1, [("z", np.int32)])):
        assert missing not in stored


def double(sample):
    sample *= 2
    return sample


def test_wrapper_gets_writable_copies(rows):
    wrapped = RaggedMmap(rows.path, wrapper_fn=double)

    for found in (
        [wrapped[0]],
        wrapped[:1],
        wrapped[[0]],
        wrapped.take([0]),
        wrapped.__getitems__([0]),
        [*wrapped][:1],
    ):
        assert found[0].tolist() == [0, 2, 4]
    assert wrapped.select([0])[0].tolist() == pickle.loads(pickle.dumps(wrapped))[0].tolist() == [0, 2, 4]
    assert wrapped.take_padded([0])[0].tolist() == [[0, 1, 2]]
    assert wrapped.take_jagged([0])[0].tolist() == [0, 1, 2]
    assert [0, 1, 2] in wrapped
    assert wrapped.windows(2)[0].tolist() == [0, 1]
    assert same(rows[0], SAMPLES["1-D"][0])


def test_wrapper_without_copy_gets_the_view(rows):
    wrapped = RaggedMmap(rows.path, wrapper_fn=lambda sample: sample, copy_before_wrapper_fn=False)

    assert not wrapped[0].flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        RaggedMmap(rows.path, wrapper_fn=double, copy_before_wrapper_fn=False)[0]
    assert RaggedMmap.from_lists(rows.path, [[1]], wrapper_fn=double)[0].tolist() == [2]


def test_wrapper_may_close_its_handle_and_raise(rows):
    def close(sample):
        wrapped.close()
        return len(sample)

    wrapped = RaggedMmap(rows.path, wrapper_fn=close)
    assert wrapped[0] == 3
    failing = RaggedMmap(rows.path, wrapper_fn=lambda sample: 1 // 0)
    for read in (lambda: failing[0], lambda: list(failing), lambda: failing.take([0])):
        with pytest.raises(ZeroDivisionError):
            read()


# ---- dtypes


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        ([300, -1], r"the dataset's dtype uint8 \(0 to 255\) cannot hold 300, at \[0\]"),
        ([1.5], "cannot hold 1.5"),
        (np.array([[1, 2], [3, 256]], np.int64), r"cannot hold 256, at \[1, 1\]"),
        (np.array([1.0]), "cannot hold these float64 values"),
        ([None], "cannot hold these object values"),
        (["a"], "cannot hold these .* values"),
        ([[1], [2, 3]], "expected an array"),
        (np.ma.array([1], mask=[True]), "is null"),
        (np.array([object()]), "cannot hold these object values"),
        ([1 + 2j], "cannot hold these complex128 values"),
        ([float("nan")], "cannot hold nan"),
    ],
)
def test_sample_that_does_not_fit_raises_and_stores_nothing(tmp_path, sample, message):
    """In 0.9, [300, -1] was stored as [44, 255]."""
    stored = RaggedMmap.from_lists(tmp_path / "ds", [np.array([1], np.uint8)])

    with pytest.raises(TypeError, match=f"sample 2: .*{message}"):
        stored.extend([[1], sample])

    assert len(RaggedMmap(tmp_path / "ds")) == 1


@pytest.mark.parametrize("sample", [[255, 0], [], [[]], 7, [True], np.array([True]), [3.0]])
def test_sample_that_fits_exactly_is_taken(tmp_path, sample):
    stored = RaggedMmap.from_lists(tmp_path / "ds", [np.array([1], np.uint8)])

    stored.append(sample)

    assert same(stored[-1], np.array(sample, np.uint8))


def test_declared_float_dtype_narrows(tmp_path):
    stored = RaggedMmap.from_generator(tmp_path / "ds", [[0.1], np.array([0.2])], dtype=np.float32)
    assert stored[0].tolist() == [np.float32(0.1)]
    RaggedMmap(tmp_path / "ds").append(np.array([0.3]))
    with pytest.raises(TypeError, match="cannot hold 1e\\+300"):
        stored.append([1e300])
    with pytest.raises(TypeError, match="cannot hold 0.1, at .* with dtype='float32', which rounds"):
        RaggedMmap.from_lists(tmp_path / "found", [np.array([1], np.float32)]).append([0.1])


def test_first_sample_that_has_a_dtype_gives_it(tmp_path):
    assert RaggedMmap.from_lists(tmp_path / "a", [[], np.array([1], np.int8)]).dtype == np.int8
    assert RaggedMmap.from_lists(tmp_path / "b", [[], []]).dtype == np.float64
    assert RaggedMmap.from_generator(tmp_path / "c", [[]], dtype="u2").dtype == np.uint16
    with pytest.raises(TypeError, match="holds Python objects"):
        RaggedMmap(tmp_path / "d").append([None])
    assert not (tmp_path / "d").exists()


def test_any_memory_layout_is_stored_in_c_order(tmp_path):
    array = np.arange(24).reshape(2, 3, 4)
    layouts = [
        array[::-1, :, ::-2],
        np.asfortranarray(array),
        array.transpose(2, 0, 1),
        np.broadcast_to(array[0, 0], (5, 4)),
    ]

    assert all_same(list(RaggedMmap.from_lists(tmp_path / "ds", layouts)), [np.ascontiguousarray(a) for a in layouts])


# ---- damage


@pytest.mark.parametrize("rank", [0, 3, 2**40, 2**64 - 1])
def test_damaged_shape_raises_on_access(tmp_path, rank):
    stored = RaggedMmap.from_lists(tmp_path / "ds", [np.ones((2, 3)), np.ones(4), np.ones((1, 1, 2))])
    (shapes,) = tmp_path.glob("ds/c0.shapes-*")
    overwrite(shapes, 0, rank.to_bytes(8, "little"))
    damaged = RaggedMmap(stored.path)

    reads = [
        lambda: damaged[0],
        lambda: damaged.take([0]),
        lambda: list(damaged),
        lambda: damaged.take_padded([0]),
        lambda: damaged.take_jagged([0]),
        lambda: damaged.lengths,
        lambda: damaged.shapes[0],
        lambda: [0] in damaged or np.ones((2, 3)) in damaged,
    ]
    for read in reads:
        with pytest.raises(CorruptDatasetError, match="sample 0: its shape does not match its 6 elements"):
            read()
    assert same(damaged[1], np.ones(4))


@pytest.mark.parametrize("extent", [0, 1, 2**62, 2**63, 2**64 - 1])
def test_damaged_extent_raises_on_access(tmp_path, extent):
    RaggedMmap.from_lists(tmp_path / "ds", [np.ones((2, 3)), np.ones((1, 2))])
    overwrite(tmp_path / "ds" / "c0.shapes-2", 8, extent.to_bytes(8, "little"))

    with pytest.raises(CorruptDatasetError, match="sample 0: its shape does not match"):
        RaggedMmap(tmp_path / "ds")[0]


def test_offsets_beyond_2_to_31_elements_are_read(tmp_path):
    """The file is sparse: 5 * 2^30 elements of 4 bytes, nearly all of them holes."""
    stored = RaggedMmap.from_lists(tmp_path / "ds", [np.arange(3, dtype=np.int32)], durability="process")
    stored.close()
    total = 5 << 30
    offsets = np.array([0, 3, total - 4, total], np.uint64)
    overwrite(tmp_path / "ds" / "c0.offsets-1", 0, offsets.tobytes())
    with open(tmp_path / "ds" / "c0.data-1", "r+b") as file:
        file.truncate(total * 4)
        file.seek((total - 4) * 4)
        file.write(np.arange(4, dtype=np.int32).tobytes())
    with open(tmp_path / "ds" / "sums-1", "r+b") as file:
        file.truncate(total * 4 // 65536 * 24)

    def claim(slot):
        slot.rows = slot.durable_rows = 3

    change_slots(tmp_path / "ds", claim)
    huge = RaggedMmap(tmp_path / "ds", mode="r")

    assert huge[2].tolist() == huge.take([2])[0].tolist() == [0, 1, 2, 3]
    assert huge[1].shape == (total - 7,)
    assert huge.lengths.tolist() == [3, total - 7, 4]
    assert huge.take_jagged([2, 0])[0].tolist() == [0, 1, 2, 3, 0, 1, 2]
    assert huge.windows(4)[-1].tolist() == [0, 1, 2, 3]
    assert huge.take_padded([1], length=3)[0].tolist() == [[0, 0, 0]]


# ---- builds


def test_workers_meet_another_rank(tmp_path, monkeypatch):
    pytest.importorskip("cloudpickle")
    monkeypatch.setattr(paced.Pace, "useful_jobs", lambda pace, left: 2)
    monkeypatch.setattr(paced, "CHUNK_SECONDS", 0.005)

    stored = RaggedMmap.from_indexable(tmp_path / "ds", make_indexable(make_sample, 300), 16, n_jobs=2)

    assert all_same(list(stored), [make_sample(index) for index in range(300)])


def make_sample(index):
    time.sleep(0.002)
    return np.full((1,) * (1 + index // 150), index)


# ---- handles that move during reads


@pytest.mark.parametrize("batch", ["take", "iteration", "slice"])
def test_wrapper_that_moves_its_handle_to_another_dtype_changes_no_sample(tmp_path, batch):
    """A bug once: the rest of the batch was read with the new dtype from the old map, past the end of its memory."""
    read = {"take": lambda ds: ds.take(range(5)), "iteration": list, "slice": lambda ds: ds[:]}[batch]

    def move(sample):
        if handle.dtype == np.float64:
            RaggedMmap.from_lists(tmp_path / "ds", [np.zeros(100_000, np.uint8)] * 5)
            handle.refresh()
        return sample

    RaggedMmap.from_lists(tmp_path / "ds", [np.ones(1000)] * 5)
    handle = RaggedMmap(tmp_path / "ds", wrapper_fn=move)

    samples = read(handle)

    assert all(same(sample, np.ones(1000)) for sample in samples)
    assert handle.dtype == np.uint8


def test_reader_in_another_thread_sees_no_shape_of_a_generation_that_is_half_shown(tmp_path):
    """A bug once: while a new rank was appended, other threads saw samples without their dimensions."""
    rows = RaggedMmap.from_lists(tmp_path / "ds", [np.arange(6).reshape(2, 3)] * 8)
    seen, over = set(), threading.Event()

    def read():
        while not over.is_set():
            seen.update(rows[k].shape for k in range(8))

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        readers = [threading.Thread(target=read) for _ in range(2)]
        for thread in readers:
            thread.start()
        for rank in range(3, 9):
            rows.append(np.zeros([1] * rank, int))
        over.set()
        for thread in readers:
            thread.join()
    finally:
        sys.setswitchinterval(interval)

    assert seen == {(2, 3)}


def test_handle_on_a_dataset_that_was_emptied_has_no_dtype(rows):
    """A bug once: the dtype of the replaced samples stayed, and windows divided by zero."""
    RaggedMmap.from_lists(rows.path, [])

    rows.refresh()

    assert rows.dtype is None
    assert rows.windows(2).take([]).shape == (0, 2)
    assert rows.take([]) == []


def test_padding_is_of_the_dtype_of_the_samples_that_are_padded(tmp_path):
    """A bug once: a handle that moved to another dtype meanwhile read past the end of the padding value."""

    class Value:
        def __array__(self, dtype=None, copy=None):
            RaggedMmap.from_lists(tmp_path / "ds", [np.ones(3, "S100"), np.ones(2, "S100")])
            rows.refresh()
            return np.array(7, np.uint8)

    rows = RaggedMmap.from_lists(tmp_path / "ds", [np.ones(3, np.uint8), np.ones(2, np.uint8)])

    batch, lengths = rows.take_padded([0, 1], value=Value())

    assert batch.tolist() == [[1, 1, 1], [1, 1, 7]]
    assert lengths.tolist() == [3, 2]
    assert rows.dtype == "S100"
