"""Batches in another dtype than the samples', padded on either side, with a mask; compared with NumPy."""

import numpy as np
import pytest

import mmap_ninja as mn
from mmap_ninja import ArrayMmap, RaggedMmap

ROWS = [[1, 2, 3], [4], [], [5, 60_000]]


@pytest.fixture(params=["mmap", "pread"])
def rows(tmp_path, request):
    RaggedMmap.from_lists(tmp_path / "ds", ROWS, dtype=np.uint16).close()
    return mn.open(tmp_path / "ds", read_mode=request.param)


@pytest.fixture
def images(tmp_path):
    return RaggedMmap.from_lists(tmp_path / "images", [np.arange(6, dtype="u1").reshape(2, 3), np.ones((1, 2), "u1")])


def test_take_padded_gives_another_dtype(rows):
    """A bug once: the padding -100 was refused by uint16, and so was an array of int64 to fill."""
    out = np.empty((3, 3), np.int64)

    batch, lengths = rows.take_padded([0, 1, 3], value=-100, dtype="int64")
    filled, _ = rows.take_padded([0, 1, 3], value=-100, out=out)

    assert filled is out
    assert batch.dtype == np.int64
    assert batch.tolist() == out.tolist() == [[1, 2, 3], [4, -100, -100], [5, 60_000, -100]]
    assert lengths.tolist() == [3, 1, 2]


@pytest.mark.parametrize("dtype", ["i4", "u4", "u8", "f4", "f8", ">u2"])
def test_take_padded_gives_any_dtype_that_holds_the_values(rows, dtype):
    batch, _ = rows.take_padded([3, 0], dtype=dtype)

    assert batch.dtype == dtype
    assert batch.tolist() == [[5, 60_000, 0], [1, 2, 3]]


def test_strided_array_of_another_dtype_is_filled(rows):
    out = np.full((3, 2), -1.0).T

    rows.take_padded([3, 1], value=0.5, length=3, out=out)

    assert out.tolist() == [[5, 60_000, 0.5], [4, 0.5, 0.5]]


def test_padding_on_the_left_with_a_mask(rows):
    batch, lengths, mask = rows.take_padded([0, 1, 2], value=9, side="left", mask=True)

    assert batch.tolist() == [[1, 2, 3], [9, 9, 4], [9, 9, 9]]
    assert lengths.tolist() == [3, 1, 0]
    assert mask.dtype == bool
    assert mask.tolist() == [[True] * 3, [False, False, True], [False] * 3]
    assert rows.take_padded([0, 1], length=2, side="left")[0].tolist() == [[1, 2], [0, 4]]
    assert rows.take_padded([0, 1], length=4, mask=True)[2].sum(axis=1).tolist() == [3, 1]
    assert len(rows.take_padded([], mask=True)) == 3


def test_boxes_are_padded_on_the_left_in_every_dimension(images):
    batch, _, mask = images.take_padded([0, 1], side="left", mask=True, dtype=np.float32)

    expected = np.zeros((2, 2, 3), np.float32)
    expected[0], expected[1, 1:, 1:] = images[0], 1
    assert np.array_equal(batch, expected)
    assert np.array_equal(mask, [[[True] * 3] * 2, [[False] * 3, [False, True, True]]])


def test_mask_of_nulls_is_false(tmp_path):
    columns = {"x": mn.Ragged("u2", ndim=1, nullable=True)}
    records = mn.RecordsMmap.from_generator(tmp_path / "ds", [{"x": [1, 2]}, {"x": None}], columns=columns)

    batch, lengths, mask = records["x"].take_padded([0, 1], -1, dtype="i8", mask=True)

    assert batch.tolist() == [[1, 2], [-1, -1]]
    assert lengths.tolist() == [2, 0]
    assert mask.tolist() == [[True, True], [False, False]]


def test_half_precision_becomes_wider(tmp_path):
    halves = RaggedMmap.from_lists(tmp_path / "ds", [np.array([0.5, 1], "f2"), np.array([2], "f2")])

    assert halves.take_padded([0, 1], dtype="f4")[0].tolist() == [[0.5, 1], [2, 0]]


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_of_half_precision_needs_to_fit_only_the_wider_dtype(tmp_path, side):
    """A bug once: 0.1 became 0.09997559, and 1e6 was refused, as float16 has it."""
    halves = RaggedMmap.from_lists(tmp_path / "ds", [np.array([1.5, 2], "f2"), np.array([3], "f2")])
    at = {"left": 0, "right": 1}[side]

    for dtype, value in (("f8", 0.1), ("f4", 1e6), ("c16", 1j)):
        batch, _, mask = halves.take_padded([0, 1], value, dtype=dtype, side=side, mask=True)
        out, _ = halves.take_padded([0, 1], value, out=np.ones((2, 2), dtype), side=side)

        assert batch.dtype == dtype
        assert batch.tolist() == out.tolist() == [[1.5, 2], [value, 3] if side == "left" else [3, value]]
        assert np.argwhere(~mask).tolist() == [[1, at]]


def test_padding_is_stored_in_the_byte_order_that_is_asked_for(rows):
    batch, _ = rows.take_padded([1, 2], 258, length=2, dtype=">u2")

    assert batch.tolist() == [[4, 258], [258, 258]]


def test_dataset_without_samples_gives_the_dtype(tmp_path):
    batch, _, mask = RaggedMmap(tmp_path / "ds").take_padded([], dtype="i4", mask=True)

    assert batch.dtype == np.int32
    assert mask.shape == batch.shape == (0, 0)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"value": -100}, TypeError, r"value: dtype uint16 \(0 to 65535\) cannot hold -100; .* a dtype= that holds it"),
        ({"dtype": "u1"}, ValueError, r"sample 3: dtype uint8 cannot hold 60000, at \[1\]; read into another one"),
        ({"out": np.empty((1, 2), "i2")}, ValueError, r"sample 3: dtype int16 cannot hold 60000, at \[1\]"),
        ({"dtype": "M8[s]"}, TypeError, r"dtype: expected one that holds uint16, got datetime64\[s\]"),
        (
            {"out": np.empty((1, 2), bool)},
            ValueError,
            "out: expected uint16 of shape .*, or a dtype that holds it, got",
        ),
        ({"out": np.empty((1, 2), "i4"), "dtype": "i8"}, ValueError, "out has dtype int32, but dtype is int64"),
        ({"side": "middle"}, ValueError, r"side 'middle' is unknown \(expected one of \('right', 'left'\)\)"),
    ],
)
def test_dtype_that_does_not_hold_the_batch_raises(rows, options, error, message):
    """The message is about reading: a bug once, it said that nothing of the batch was stored."""
    with pytest.raises(error, match=message) as caught:
        rows.take_padded([3], **options)

    assert "stored" not in str(caught.value)


def test_what_is_cut_off_need_not_fit(rows):
    assert rows.take_padded([3], length=1, dtype="u1")[0].tolist() == [[5]]


def test_windows_are_converted(rows):
    windows, out = rows.windows(2), np.empty((2, 2), np.int64)

    assert windows.take([2, 0], out=out) is out
    assert out.tolist() == [[5, 60_000], [1, 2]]
    assert windows.take([0], dtype=np.float32).dtype == np.float32
    assert windows.take([], dtype="i8").dtype == np.int64
    with pytest.raises(ValueError, match=r"the window from element 4 on: dtype int8 cannot hold 60000, at \[1\]"):
        windows.take([0, 2], dtype="i1")


@pytest.mark.parametrize("dtype", ["i8", "f4", "u1"])
def test_arrays_are_converted(tmp_path, dtype):
    numbers = np.arange(12, dtype="u2").reshape(3, 2, 2)
    stored = ArrayMmap.from_ndarray(tmp_path / "ds", numbers)
    out, strided = np.empty((2, 2, 2), dtype), np.empty((2, 2, 4), dtype)[..., ::2]

    for target in (out, strided):
        assert stored.take([2, 0], target) is target
        assert target.tolist() == numbers[[2, 0]].tolist()

    stored.append(np.full((2, 2), 300))
    if dtype == "u1":
        with pytest.raises(ValueError, match=r"sample 3: dtype uint8 cannot hold 300, at \[0, 0\]"):
            stored.take([0, 3], out)
    else:
        assert stored.take([0, 3], out).max() == 300
