"""`.npy`, as NumPy reads it."""

import ml_dtypes
import numpy as np
import pytest

import mmap_ninja as mn
from mmap_ninja.conversion import to_arrays

DTYPES = [
    "?", "i1", ">i4", "u8", "f2", "f4", "g", "c16", "S3", "<U4", ">U4", "V5", "M8[s]", ">M8[ns]", "m8[h]",
    [("a", "<i4"), ("b", "f8", (2,)), ("zwölf", "U2")],
]  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(5,), (3, 2, 2), (3, 0), (0, 4)])
def test_every_dtype_is_the_same_array(tmp_path, dtype, shape):
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    text = np.dtype(dtype).kind in "US?" or np.dtype(dtype).fields
    array = np.zeros(shape, dtype) if text else np.frombuffer(bytes(range(7, 7 + size % 240)) * size, "u1")[:size]
    array = array if text else array.view(dtype).reshape(shape)
    made = mn.ArrayMmap.from_ndarray(tmp_path / "a", array)

    mn.export(made, tmp_path / "a.npy")

    read = np.load(tmp_path / "a.npy", mmap_mode="r" if array.size else None)
    assert (read.dtype, read.shape, read.flags.c_contiguous) == (array.dtype, array.shape, True)
    assert read.tobytes() == array.tobytes()


def test_views_edits_and_parts_are_joined(tmp_path, monkeypatch):
    monkeypatch.setattr(to_arrays, "_AT_ONCE", 64)
    array = np.arange(200, dtype="i4").reshape(100, 2)
    made = mn.ArrayMmap.from_ndarray(tmp_path / "a", array)
    made[3] = [7, 8]
    wanted = {"edited": made, "view": made.select([5, 3, 3]), "concat": mn.concat([made, made.select(slice(0, 50, 7))])}

    for name, ds in wanted.items():
        mn.export(ds, tmp_path / f"{name}.npy")
        np.testing.assert_array_equal(np.load(tmp_path / f"{name}.npy"), np.stack(list(ds)))


def test_column_of_records_is_chosen(tmp_path):
    made = mn.RecordsMmap.from_columns(tmp_path / "a", {"x": np.eye(3, dtype="f4"), "y": np.arange(3)})

    mn.export(made["x"], tmp_path / "x.npy")
    mn.export(made, tmp_path / "y.npy", columns=["y"])

    assert np.load(tmp_path / "x.npy").tolist() == np.eye(3).tolist()
    assert np.load(tmp_path / "y.npy").tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match=".npy holds one column, found 'x', 'y'; choose one with columns="):
        mn.export(made, tmp_path / "a.npy")


def test_nulls_are_refused_and_told(tmp_path):
    made = mn.RecordsMmap.create(tmp_path / "a", {"x": mn.Scalar("i4", nullable=True)})
    made.extend({"x": [1, 2, None]})

    with pytest.raises(ValueError, match="column 'x': sample 2 is null, which .npy cannot hold"):
        mn.export(made, tmp_path / "a.npy")
    mn.export(made.select([0, 1]), tmp_path / "a.npy")
    assert np.load(tmp_path / "a.npy").tolist() == [1, 2]


@pytest.mark.parametrize(
    ("cls", "sample", "told"),
    [
        (mn.RaggedMmap, np.arange(3), "ragged arrays of int64"),
        (mn.StringsMmap, "a", "texts"),
        (mn.BytesMmap, b"a", "bytes"),
    ],
)
def test_other_samples_are_refused(tmp_path, cls, sample, told):
    made = cls.from_generator(tmp_path / "a", [sample])

    with pytest.raises(TypeError, match=f".npy cannot hold {told}; export to Parquet"):
        mn.export(made, tmp_path / "a.npy")


def test_dtypes_that_numpy_does_not_know_are_refused(tmp_path):
    made = mn.RecordsMmap.create(tmp_path / "a", {"x": mn.Scalar(ml_dtypes.bfloat16)})

    with pytest.raises(TypeError, match=".npy cannot hold bfloat16; leave it out with columns=, or cast it to float32"):
        mn.export(made, tmp_path / "a.npy")


def test_array_without_samples_and_dtype_is_empty(tmp_path):
    mn.export(mn.ArrayMmap.from_generator(tmp_path / "a", []), tmp_path / "a.npy")

    assert np.load(tmp_path / "a.npy").shape == (0,)
