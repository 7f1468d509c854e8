"""Arrays of one shape: NumPy's indexing, dtypes, memory layouts, batches, protocols of other libraries."""

import ctypes
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import mmap_ninja as mn
from mmap_ninja import ArrayMmap, ReadOnlyError
from mmap_ninja.kinds import array_reading
from support import reference_reader
from support.memory import LARGE, is_mapped

DTYPES = [
    "?",
    "u1",
    "<i2",
    ">i4",
    ">f8",
    "<f2",
    "<c16",
    "M8[ns]",
    ">m8[3D]",
    "S5",
    "<U3",
    ">U2",
    "V3",
    [("a", "<i4"), ("b", ">f8", (2,))],
    np.dtype([("x", "u1"), ("y", "<i4")], align=True),
    np.dtype({"names": ["f"], "formats": ["<i2"], "offsets": [3], "itemsize": 8}),
    [("nested", [("a", "u1"), ("b", "<U2")])],
    [(("title", "name"), "<i4"), ("ab", "<i4")],
]
LAYOUTS = {
    "C": lambda array: array,
    "Fortran": np.asfortranarray,
    "backwards": lambda array: array[::-1, ::-1][::-1, ::-1],
    "negative strides": lambda array: array[::-1].copy()[::-1],
    "strided": lambda array: np.repeat(array, 2, axis=0)[::2],
    "transposed": lambda array: np.ascontiguousarray(array.T).T,
    "broadcast": lambda array: np.broadcast_to(array[:1], array.shape),
}
NUMBERS = np.arange(60, dtype=np.int32).reshape(5, 3, 4)


@pytest.fixture
def numbers(tmp_path):
    return ArrayMmap.from_ndarray(tmp_path / "ds", NUMBERS)


def same(found, expected):
    if (found.dtype, found.shape) != (expected.dtype, expected.shape):
        return False
    return found.tobytes() == expected.tobytes() or bool((found == expected).all())  # padding is not copied


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_dtype_round_trips(tmp_path, dtype):
    array = np.frombuffer(bytes(range(1, 255)) * 4, np.uint8)
    array = np.resize(array, 6 * np.dtype(dtype).itemsize).view(dtype) if np.dtype(dtype).kind != "?" else None
    array = np.zeros(6, dtype) if array is None or np.dtype(dtype).kind in "Ub" else array

    stored = ArrayMmap.from_ndarray(tmp_path / "ds", array.reshape(3, 2))
    stored.append(array.reshape(3, 2)[1])

    reopened = ArrayMmap(tmp_path / "ds", "r")
    assert reopened.dtype == np.dtype(dtype)
    assert same(np.asarray(reopened), array.reshape(3, 2)[[0, 1, 2, 1]])
    assert same(reopened[2], array.reshape(3, 2)[2])
    assert same(reopened.take([2, 0]), array.reshape(3, 2)[[2, 0]])


@pytest.mark.parametrize("name", ["bfloat16", "float8_e4m3fn", "int4"])
def test_dtype_of_ml_dtypes_round_trips(tmp_path, name):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    dtype = np.dtype(getattr(ml_dtypes, name))
    array = np.array([[1, 2], [-3, 4]], np.float32).astype(dtype)

    ArrayMmap.from_ndarray(tmp_path / "ds", array)

    assert same(np.asarray(ArrayMmap(tmp_path / "ds")), array)
    assert ArrayMmap(tmp_path / "ds").dtype == dtype


@pytest.mark.parametrize(
    "dtype",
    [
        object,
        [("a", "u1"), ("b", object)],
        "S0",
        np.dtypes.StringDType() if hasattr(np.dtypes, "StringDType") else object,
    ],
    ids=str,
)
def test_dtype_without_bytes_is_refused(tmp_path, dtype):
    with pytest.raises(TypeError, match=r"ds.*(holds Python objects|has an item size of 0 bytes)"):
        ArrayMmap.from_generator(tmp_path / "ds", [], dtype=dtype)

    assert not (tmp_path / "ds").exists()


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_any_memory_layout_is_stored_in_c_order(tmp_path, layout):
    array = layout(NUMBERS)

    whole = ArrayMmap.from_ndarray(tmp_path / "whole", array)
    one_by_one = ArrayMmap.from_generator(tmp_path / "one", iter(array), batch_size=2)
    one_by_one.extend(array)

    assert same(np.asarray(whole), array)
    assert same(np.asarray(one_by_one), np.concatenate([array, array]))
    assert np.asarray(whole).flags.c_contiguous


@pytest.mark.parametrize("shape", [(3,), (3, 0), (3, 2, 0, 5), (0, 4), (0,), (2, 1, 1, 1), (3, *[1] * 20)])
def test_any_shape_round_trips(tmp_path, shape):
    array = np.arange(np.prod(shape, dtype=int), dtype=np.int16).reshape(shape)

    stored = ArrayMmap.from_ndarray(tmp_path / "ds", array)

    assert stored.shape == shape == ArrayMmap(tmp_path / "ds").shape
    assert same(np.asarray(ArrayMmap(tmp_path / "ds")), array)
    assert [sample.tolist() for sample in stored] == array.tolist()
    assert same(stored.take(np.arange(len(array))), array)


def test_scalars_are_numpy_scalars(tmp_path):
    stored = ArrayMmap.from_generator(tmp_path / "ds", [1.5, 2.5])

    assert type(stored[1]) is np.float64
    assert stored[1] == 2.5
    assert stored[:].tolist() == [1.5, 2.5]
    assert [type(sample) for sample in stored] == [np.float64] * 2


KEYS = [
    2,
    -1,
    np.int64(1),
    slice(None),
    slice(3, 0, -2),
    [4, 0, 4],
    [],
    np.array([[0, 1], [2, 3]]),
    np.array([True, False, True, False, True]),
    [True, False, False, False, False],
    (1, 2),
    (slice(None), 0, slice(1, 3)),
    (Ellipsis, -1),
    Ellipsis,
    None,
    (None, 1),
    ([0, 1], [2, 0]),
    (slice(1, 4), [0, 2]),
    NUMBERS > 30,
    True,
    np.array(3),
]


@pytest.mark.parametrize("key", KEYS, ids=lambda key: str(key)[:30])
def test_indexing_follows_numpy(numbers, key):
    assert same(np.asarray(numbers[key]), np.asarray(NUMBERS[key]))


@pytest.mark.parametrize("key", KEYS[:12], ids=lambda key: str(key)[:30])
def test_indexing_of_views_follows_numpy(numbers, key):
    for chosen in (slice(None, None, -1), [3, 3, 0, 1, 2]):
        assert same(np.asarray(numbers.select(chosen)[key]), np.asarray(NUMBERS[chosen][key]))


@pytest.mark.parametrize("key", [5, -6, [0, 5], (0, 3), np.zeros(4, bool), "a", 1.5])
def test_bad_index_raises_as_numpy_does(numbers, key):
    with pytest.raises(IndexError) as expected:
        NUMBERS[key]
    with pytest.raises((IndexError, TypeError)) as found:
        numbers[key]

    assert found.type in (expected.type, TypeError)


@given(array=hnp.arrays(hnp.scalar_dtypes(), hnp.array_shapes(min_dims=1, max_dims=3, max_side=4)), data=st.data())
def test_random_arrays_index_as_numpy(tmp_path_factory, array, data):
    path = tmp_path_factory.mktemp("arrays") / "ds"
    stored = ArrayMmap.from_ndarray(path, array, batch_size=2)
    key = data.draw(hnp.basic_indices(array.shape, allow_newaxis=True))

    assert same(np.asarray(stored[key]), np.asarray(array[key]))
    rows = data.draw(st.lists(st.integers(-len(array), len(array) - 1)))
    assert same(stored.take(rows), array[np.array(rows, int)])


def test_samples_are_read_only_views_and_batches_are_owned(numbers):
    assert not numbers[0].flags.writeable
    assert not numbers[1:3].flags.writeable
    for batch in (numbers.take([0, 1]), numbers[[0, 1]], np.array(numbers)):
        assert batch.flags.writeable


def test_samples_and_slices_are_not_copied(tmp_path):
    images = ArrayMmap.from_ndarray(tmp_path / "ds", np.zeros((1000, LARGE // 1000), np.uint8))

    for view in (images[0], images[:2], images[:, 0], images[:], np.asarray(images), next(iter(images))):
        assert is_mapped(view, images.path)
    for batch in (images.take([0, 1]), images[[0, 1]], np.array(images)):
        assert not is_mapped(batch, images.path)


def test_mode_c_gives_writable_copies(numbers):
    copies = ArrayMmap(numbers.path, "c")
    for sample in (copies[0], copies[1:], next(iter(copies))):
        sample[...] = 0

    assert same(np.asarray(ArrayMmap(numbers.path)), NUMBERS)
    with pytest.raises(ReadOnlyError):
        copies.append(NUMBERS[0])


def test_views_survive_close_and_appends(numbers):
    sample, rest = numbers[1], numbers[2:]

    numbers.extend(np.zeros((1000, 3, 4), np.int32))
    numbers.close()

    assert same(sample, NUMBERS[1])
    assert same(rest, NUMBERS[2:])


def test_take_fills_out(numbers):
    out = np.full((2, 3, 4), -1, np.int32)
    strided = np.full((2, 3, 8), -1, np.int32)[:, :, ::2]

    assert numbers.take([3, 0], out=out) is out
    assert numbers.take([3, 0], out=strided) is strided

    assert same(out, NUMBERS[[3, 0]])
    assert same(np.array(strided), NUMBERS[[3, 0]])


@pytest.mark.parametrize(
    ("out", "message"),
    [
        (np.empty((3, 3, 4), np.int32), r"out: expected int32 of shape \(2, 3, 4\), got int32 of shape \(3, 3, 4\)"),
        (np.empty((2, 3, 4), bool), "out: expected int32 .*, or a dtype that holds it, got bool"),
        (np.empty((2, 3, 4), "M8[s]"), "out: expected int32 .*, or a dtype that holds it, got datetime64"),
        (NUMBERS[:2].copy(), "out: expected a writable array, got a read-only one"),
    ],
)
def test_take_into_something_else_raises(numbers, out, message):
    out.flags.writeable = "read-only" not in message

    with pytest.raises(ValueError, match=message):
        numbers.take([3, 0], out=out)


def test_take_into_a_list_raises(numbers):
    with pytest.raises(TypeError, match="out: expected an ndarray"):
        numbers.take([0], out=[0])


def test_empty_dataset_gets_its_dtype_and_shape_from_the_first_sample(tmp_path):
    empty = ArrayMmap(tmp_path / "ds")
    assert empty.dtype is None
    assert (len(empty), empty.shape, empty.nbytes) == (0, (0,), 0)
    assert empty[:].shape == (0,)
    assert empty.take([]).shape == (0,)

    empty.append([1, 2])

    assert (empty.dtype, empty.shape) == (np.dtype(int), (1, 2))
    assert ArrayMmap.from_generator(tmp_path / "none", []).shape == (0,)
    assert ArrayMmap.from_generator(tmp_path / "none", [], dtype="f4").dtype == np.dtype("f4")
    assert ArrayMmap.from_ndarray(tmp_path / "none", np.empty((0, 2), "i1")).shape == (0, 2)


def test_sample_of_another_shape_raises_and_stores_nothing(numbers):
    for samples in ([NUMBERS[0], NUMBERS[0][:2]], np.zeros((2, 4, 3), np.int32), [5]):
        with pytest.raises(ValueError, match=r"sample \d: expected shape \(3, 4\), got .*; nothing of this batch"):
            numbers.extend(samples)

    assert len(ArrayMmap(numbers.path)) == 5


def test_first_batch_of_two_shapes_leaves_nothing(tmp_path):
    with pytest.raises(ValueError, match=r"sample 1: expected shape \(2,\), got"):
        ArrayMmap(tmp_path / "ds").extend([[1, 2], [3]])

    assert not (tmp_path / "ds").exists()


def test_failed_source_keeps_finished_batches_and_resumes(tmp_path):
    def source():
        yield from NUMBERS[:4]
        raise RuntimeError("source")

    with pytest.raises(RuntimeError, match="source"):
        ArrayMmap.from_generator(tmp_path / "ds", source(), batch_size=2)
    with pytest.warns(mn.IncompleteDatasetWarning):
        assert same(np.asarray(ArrayMmap(tmp_path / "ds")), NUMBERS[:4])

    for _ in range(2):
        resumed = ArrayMmap.from_generator(tmp_path / "ds", iter(NUMBERS), batch_size=2, if_exists="resume")
        assert same(np.asarray(resumed), NUMBERS)


def test_resume_with_another_source_raises(tmp_path):
    def source():
        yield from NUMBERS[:2]
        raise RuntimeError("source")

    with pytest.raises(RuntimeError):
        ArrayMmap.from_generator(tmp_path / "ds", source(), batch_size=1)

    with pytest.raises(ValueError, match="this is not the source"):
        ArrayMmap.from_ndarray(tmp_path / "ds", NUMBERS + 1, if_exists="resume")


@pytest.mark.parametrize("if_exists", ["append", "resume"])
def test_build_onto_another_dtype_raises(numbers, if_exists):
    with pytest.raises(TypeError, match="dtype: got float64, but the dataset has int32"):
        ArrayMmap.from_ndarray(numbers.path, NUMBERS * 1.0, if_exists=if_exists)


def test_index_count_and_in_compare_whole_samples(tmp_path):
    stored = ArrayMmap.from_ndarray(tmp_path / "ds", [[1, 2], [3, 4], [1, 2]])

    assert (stored.index([1, 2]), stored.index([1, 2], 1), stored.count([1, 2])) == (0, 2, 2)
    assert [3, 4] in stored
    for missing in ([1, 3], [1], 1, "a", None, [[1, 2]], [[1], [2, 3]]):
        assert missing not in stored
    with pytest.raises(ValueError, match="is not among the samples"):
        stored.index([2, 1])


def test_structured_samples_are_not_equal_to_incomparable_values(tmp_path):
    pair = np.dtype([("a", np.int32), ("b", np.float64)])
    stored = ArrayMmap.from_ndarray(tmp_path / "ds", np.zeros(3, pair))

    assert np.zeros((), pair) in stored
    for missing in (5, [5], "a", None, np.zeros((), [("z", np.int32)]), np.zeros(1, [("z", np.int32)])):
        assert missing not in stored


def test_dlpack_of_edited_samples_gives_the_samples(tmp_path):
    """A bug once: they were exported as in the file, including deleted and replaced ones."""
    images = ArrayMmap.from_ndarray(tmp_path / "ds", np.arange(12).reshape(6, 2))
    del images[1]
    images[3] = [70, 80]

    assert np.from_dlpack(images).tolist() == images[:].tolist() == [[0, 1], [4, 5], [6, 7], [70, 80], [10, 11]]


@pytest.mark.parametrize("name", ["bfloat16", "float8_e4m3fn", "float8_e5m2"])
def test_dlpack_exports_dtypes_that_numpy_does_not(tmp_path, name):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    torch = pytest.importorskip("torch")
    values = np.arange(12).astype(getattr(ml_dtypes, name)).reshape(4, 3)
    numbers = ArrayMmap.from_ndarray(tmp_path / "ds", values)

    for samples in (numbers, numbers.select(slice(1, 3)), numbers.select([2, 0])):
        tensor = torch.from_dlpack(samples)
        assert str(tensor.dtype) == f"torch.{name}"
        assert tensor.float().tolist() == np.asarray(samples, np.float32).tolist()
        tensor.zero_()
    assert np.asarray(numbers).tobytes() == values.tobytes()


def test_dlpack_of_nulls_raises(tmp_path):
    scores = mn.RecordsMmap.create(tmp_path / "ds", {"score": mn.Scalar("f4", nullable=True)})
    scores.extend([{"score": 1.5}, {"score": None}])

    with pytest.raises(ValueError, match="sample 1 is null, and arrays hold no nulls"):
        np.from_dlpack(scores["score"])


def test_array_protocol_copies_only_when_asked(numbers):
    assert numbers.__array__(copy=True).flags.writeable
    assert np.asarray(numbers, np.float32).dtype == np.float32
    with pytest.raises(ValueError, match="without a copy"):
        numbers.__array__(np.float32, copy=False)
    assert np.mean(numbers) == NUMBERS.mean()


def test_dlpack_hands_over_memory_that_may_be_written_to(numbers):
    """A bug once: PyTorch wrote to the read-only map, which killed the process."""
    for exporter in (numbers, numbers.select([1, 0]), numbers.select(slice(0)), ArrayMmap(numbers.path, "r")):
        received = np.from_dlpack(exporter)
        assert same(received, np.asarray(exporter))
        assert not np.shares_memory(received, numbers[:])
        as_writable(received)[...] = 9

    assert same(np.asarray(numbers), NUMBERS)
    assert numbers.__dlpack_device__() == (1, 0)


def as_writable(array):
    """The same memory, but writable: as a library does that has no read-only arrays."""
    memory = (ctypes.c_char * array.nbytes).from_address(array.ctypes.data)
    return np.frombuffer(memory, array.dtype).reshape(array.shape)


def test_dlpack_does_not_copy_where_that_is_forbidden(numbers):
    assert numbers.__dlpack__(copy=False)

    with pytest.raises(BufferError, match="not stored in order are copied; leave out copy=False"):
        numbers.select(slice(None, None, 2)).__dlpack__(copy=False)


def test_dlpack_copies_where_asked(numbers):
    capsule = numbers.__dlpack__(copy=True)

    assert type(capsule).__name__ == "PyCapsule"


def test_pickled_handle_and_views_come_back(numbers):
    for handle in (numbers, numbers.select(slice(1, 4)), numbers.select([2, 2])):
        data = pickle.dumps(handle)
        assert len(data) < 1024
        assert same(np.asarray(pickle.loads(data)), np.asarray(handle))


def test_handles_and_views_have_a_clear_repr(numbers):
    assert (numbers.shape, numbers.ndim, numbers.size, numbers.nbytes) == ((5, 3, 4), 3, 60, 240)
    assert repr(numbers) == f"ArrayMmap('{numbers.path}', 5 samples, 240 bytes; int32[3, 4])"
    view = numbers.select([0, 1])
    assert (view.shape, view.nbytes) == ((2, 3, 4), 96)
    assert [sample.tolist() for sample in reversed(numbers)] == NUMBERS[::-1].tolist()
    assert [sample.tolist() for sample in numbers.__getitems__([2, 0])] == NUMBERS[[2, 0]].tolist()


def test_another_class_raises(numbers):
    for cls in (mn.StringsMmap, mn.RaggedMmap):
        with pytest.raises(TypeError, match="found 'array'; mmap_ninja.open finds the class"):
            cls(numbers.path)
    assert isinstance(mn.open(numbers.path), ArrayMmap)


def test_independent_reader_reads_the_files(tmp_path):
    array = np.random.default_rng(0).integers(0, 99, (50_000, 5), np.int16)
    stored = ArrayMmap.from_ndarray(tmp_path / "ds", array)
    stored.extend(array[:7])
    stored.close()

    assert reference_reader.read(tmp_path / "ds") == [((5,), row.tobytes()) for row in [*array, *array[:7]]]


def test_array_beyond_4_gib_is_read(tmp_path):
    """The file is sparse: it has 3 * 2^31 elements, but only the last sample is written."""
    row = 1 << 20
    stored = ArrayMmap.from_ndarray(tmp_path / "ds", np.zeros((1, row), np.uint8), durability="process")
    grow_sparse(tmp_path / "ds", rows := 6 * 1024)
    stored = ArrayMmap(tmp_path / "ds", "r")

    assert (stored.shape, stored.size > 2**32) == ((rows, row), True)
    assert stored[-1].sum() == stored.take([rows - 1, 5000])[0].sum() == row
    assert stored[5000].sum() == 0


def grow_sparse(path, rows):
    """Extend a dataset of one sample by holes; only the last sample is written, with ones."""
    from support.faults import change_slots  # noqa: PLC0415 - only here

    size = (path / "c0.data-1").stat().st_size
    with open(path / "c0.data-1", "r+b") as file:
        file.truncate(rows * size)
        file.seek((rows - 1) * size)
        file.write(b"\1" * size)
    with open(path / "sums-1", "r+b") as file:
        file.truncate(rows * size // 65536 * 24)

    def claim(slot):
        slot.rows = slot.durable_rows = rows

    change_slots(path, claim)


def test_batch_is_of_the_snapshot_that_its_indices_were_resolved_in(tmp_path):
    """A bug once: indices whose code moved the handle to smaller samples made a batch overrun its memory."""

    class Indices:
        def __len__(self):
            return 300

        def __array__(self, dtype=None, copy=None):
            ArrayMmap.from_ndarray(tmp_path / "ds", np.zeros((300, 1), np.uint8))
            images.refresh()
            return np.arange(300)

    images = ArrayMmap.from_ndarray(tmp_path / "ds", np.ones((300, 1000)))

    batch = images.take(Indices())

    assert np.array_equal(batch, np.ones((300, 1000)))
    assert images.shape == (300, 1)


def test_handle_on_a_dataset_that_was_emptied_has_no_shape(tmp_path):
    """A bug once: the shape of the replaced samples stayed."""
    images = ArrayMmap.from_ndarray(tmp_path / "ds", np.ones((3, 2)))
    ArrayMmap.from_generator(tmp_path / "ds", [])

    images.refresh()

    assert images.dtype is None
    assert images.shape == (0,)


@pytest.mark.parametrize("values", [np.array(["a", "abc"]), np.array([b"", b"ab"]), np.array([1, 2], ">i4")])
def test_array_gives_an_empty_dataset_its_own_dtype(tmp_path, values):
    """A bug once: the dtype was that of its first scalar, so 'abc' did not fit after 'a', and byte order was lost."""
    stored = ArrayMmap(tmp_path / "ds")

    stored.extend(values)

    assert stored.dtype == values.dtype
    assert stored[:].tolist() == values.tolist()


def test_count_while_another_thread_moves_the_handle_to_other_shapes_compares_one_snapshot(tmp_path, monkeypatch):
    """A bug once: the shape was from one commit, the samples from another, which NumPy could not compare."""
    array = ArrayMmap.from_ndarray(tmp_path, np.zeros((2, 3)))
    column_of = array_reading.column_of

    def move(handle):
        with monkeypatch.context() as patch:
            patch.setattr(array_reading, "column_of", column_of)
            ArrayMmap.from_ndarray(tmp_path, np.zeros((2, 2, 2)))
            array.refresh()
            return column_of(handle)

    monkeypatch.setattr(array_reading, "column_of", move)

    assert array.count(np.zeros(3)) == 0
