"""NumPy arrays of samples of any length: objects, unless a dtype is asked for."""

import tracemalloc

import numpy as np
import pytest

import mmap_ninja as mn
from mmap_ninja import ArrayMmap, BytesMmap, RaggedMmap, RecordsMmap, StringsMmap

TEXTS = ["a", "", "größer", "a\0", "x" * 500]
BLOBS = [b"a", b"", b"a\0", b"x" * 500]


@pytest.fixture
def texts(tmp_path):
    return StringsMmap.from_strings(tmp_path / "texts", TEXTS)


def json_column(path):
    ds = RecordsMmap.create(path, columns={"x": mn.Json()})
    ds.extend([{"x": value} for value in ([1, 2], [3, 4], {"a": 1}, None, "text")])
    return ds["x"]


@pytest.mark.parametrize(
    "convert", [np.asarray, np.array, lambda ds: np.asarray(ds, object), lambda ds: np.array(ds, "O")]
)
def test_array_of_strings_and_bytes_holds_the_objects(tmp_path, texts, convert):
    """A bug once: each text took the room of the longest one, 2.7 GB for 65 MB, and bytes lost their last zeros."""
    blobs = BytesMmap.from_bytes(tmp_path / "blobs", BLOBS)

    for ds in (texts, texts.select([4, 0]), blobs, blobs.select(slice(0)), json_column(tmp_path / "json"),
               StringsMmap(tmp_path / "missing"), StringsMmap(tmp_path / "texts", read_mode="pread"),
               mn.concat([texts, texts]), mn.concat([blobs, blobs]).select([3, 2, 6])):  # fmt: skip
        array = convert(ds)

        assert (array.dtype, array.shape) == (np.dtype(object), (len(ds),))
        assert array.tolist() == list(ds)
        assert array.flags.writeable
        assert array.flags.owndata


def test_array_of_long_and_short_texts_takes_the_room_of_the_texts(tmp_path):
    texts = StringsMmap.from_strings(tmp_path / "ds", ["a"] * 10_000 + ["x" * 10_000])

    tracemalloc.start()
    np.asarray(texts)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 2_000_000  # 400 MB by the longest one


@pytest.mark.parametrize("dtype", ["U", "U3", str, np.dtypes.StringDType(), np.dtypes.StringDType(na_object=None)])
def test_dtype_of_texts_is_that_which_was_asked_for(texts, dtype):
    expected = np.array(TEXTS, dtype)

    for ds, wanted in ((texts, expected), (mn.concat([texts, texts]), np.concatenate([expected, expected]))):
        array = np.asarray(ds, dtype=dtype)

        assert array.dtype == wanted.dtype
        assert array.tolist() == wanted.tolist()


def test_other_dtypes_follow_numpy(tmp_path):
    numbers = StringsMmap.from_strings(tmp_path / "numbers", ["1.5", "2"])
    blobs = BytesMmap.from_bytes(tmp_path / "blobs", [b"ab", b"c"])

    assert np.asarray(numbers, float).tolist() == [1.5, 2]
    assert np.asarray(numbers, "S").tolist() == [b"1.5", b"2"]
    assert np.asarray(blobs, "S1").tolist() == [b"a", b"c"]
    assert np.asarray(blobs, "S").dtype == np.dtype("S2")
    with pytest.raises(ValueError, match="could not convert string to float"):
        np.asarray(StringsMmap.from_strings(tmp_path / "texts", ["a"]), float)
    with pytest.raises(UnicodeEncodeError):
        np.asarray(StringsMmap.from_strings(tmp_path / "texts", ["ü"]), "S5")


def test_nulls_are_none_among_objects_and_refused_where_they_would_be_texts(tmp_path):
    ds = RecordsMmap.create(tmp_path / "ds", columns={"t": mn.Text(nullable=True)})
    ds.extend({"t": ["a", None]})

    assert np.asarray(ds["t"]).tolist() == ["a", None]
    assert np.asarray(ds["t"], np.dtypes.StringDType(na_object=None)).tolist() == ["a", None]
    for dtype in ("U5", "S5", np.dtypes.StringDType()):
        with pytest.raises(
            ValueError, match="ds: column 't': sample 1 is null, and dtype .* holds no nulls; use.*fill="
        ):
            np.asarray(ds["t"], dtype=dtype)
    assert np.asarray(ds["t"].take(slice(None), fill=""), "U5").tolist() == ["a", ""]


def test_copy_that_is_forbidden_raises(tmp_path, texts):
    with pytest.raises(
        ValueError, match="texts: samples of any length become an array by a copy; leave out copy=False"
    ):
        texts.__array__(copy=False)
    with pytest.raises(ValueError, match="texts: samples .*by a copy; leave out copy=False"):
        mn.concat([texts]).__array__(copy=False)


def test_array_of_concat_is_that_of_its_samples(tmp_path):
    rows = [
        ArrayMmap.from_ndarray(tmp_path / str(k), np.arange(k, k + 4, dtype=np.int16).reshape(2, 2)) for k in (0, 5)
    ]
    ragged = mn.concat([RaggedMmap.from_lists(tmp_path / "ragged", [[1, 2], [3, 4]])] * 2)
    both = mn.concat(rows)

    assert np.asarray(both).tolist() == np.concatenate(rows).tolist()
    assert np.asarray(both).dtype == np.int16
    assert np.asarray(both.select([3, 0]), float).tolist() == [[7.0, 8.0], [0.0, 1.0]]
    assert np.asarray(ragged).tolist() == [[1, 2], [3, 4]] * 2
    nullable = RecordsMmap.create(tmp_path / "ds", columns={"x": mn.Scalar("f4", nullable=True)})
    nullable.append({"x": None})
    with pytest.raises(ValueError, match="column 'x': sample 0 is null, and arrays hold no nulls.*fill="):
        np.asarray(mn.concat([nullable])["x"])


def test_numpy_functions_take_columns_of_texts(texts):
    assert np.unique(texts).tolist() == sorted(TEXTS)
    assert np.isin(texts, ["a", "größer"]).tolist() == [True, False, True, False, False]
    assert np.argsort(np.asarray(texts)).tolist() == sorted(range(5), key=TEXTS.__getitem__)
