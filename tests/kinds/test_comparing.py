"""`==` and `!=`: of each sample with a value, and of all samples with a list."""

import ctypes
import datetime as dt
import decimal
import fractions
import operator
import pickle

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mmap_ninja as mn
from mmap_ninja import ArrayMmap, BytesMmap, RaggedMmap, RecordsMmap, StringsMmap

TEXTS = ["train", "", "größer", "train", "trai", "train "]
VALUES = ["train", "", "größer", "tra", "\ud800", b"train", b"", 1, 1.0, True, 0, -1, 2**70, 1.5, 1j, np.nan,
          decimal.Decimal(1), fractions.Fraction(3, 2), np.float32(1.5), np.int8(1), np.str_("train"),
          np.bytes_(b"train"), np.array(1), np.array("train"), np.datetime64(1, "s"), dt.date(1970, 1, 1),
          dt.timedelta(seconds=1),          bytearray(b"train"), memoryview(b"train")]  # fmt: skip
COLUMNS = {
    "texts": (mn.Text(), TEXTS),
    "nullable texts": (mn.Text(nullable=True), [*TEXTS, None, "train", None]),
    "compressed": (mn.Text(codec="zstd", nullable=True), [*TEXTS, None]),
    "bytes": (mn.Bytes(), [text.encode() for text in TEXTS]),
    "nullable bytes": (mn.Bytes(nullable=True), [None, *(text.encode() for text in TEXTS)]),
    "int8": (mn.Scalar("i1"), [1, 0, -1, 1, 127]),
    "uint64": (mn.Scalar("u8"), [1, 0, 2**64 - 1]),
    "nullable float32": (mn.Scalar("f4", nullable=True), [1.5, None, 1, np.nan, 0]),
    "complex": (mn.Scalar("c16"), [1j, 1, 0]),
    "bool": (mn.Scalar(bool, nullable=True), [True, None, False]),
    "bfloat16": (mn.Scalar(ml_dtypes.bfloat16), [1.0, 1.5, 0.0]),
    "datetime": (mn.Scalar("M8[s]", nullable=True), [np.datetime64(1, "s"), None, np.datetime64(0, "s")]),
    "timedelta": (mn.Scalar("m8[s]"), [np.timedelta64(1, "s"), np.timedelta64(0, "s")]),
    "texts of one size": (mn.Scalar("U6"), ["train", "", "größer"]),
    "bytes of one size": (mn.Scalar("S5"), [b"train", b""]),
    "big-endian": (mn.Scalar(">i4"), [1, 0, 256]),
    "json": (mn.Json(nullable=True), ["train", None, 1, [1], {"a": 1}, 1.5, True]),
    "empty": (mn.Scalar("i4"), []),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A column of each type, by name: the handle."""
    path, columns = tmp_path_factory.mktemp("columns"), {}
    for name, (spec, values) in COLUMNS.items():
        ds = RecordsMmap.create(path / name, columns={"x": spec})
        ds.extend([{"x": value} for value in values])
        columns[name] = ds["x"]
    return columns


def is_equal(sample, value):
    """Whether a sample is equal to a value, as Python and NumPy compare one with one."""
    value = bytes(value) if isinstance(value, bytearray | memoryview) else value
    if type(sample) is str or type(sample) is bytes:
        return bool(sample == (value[()] if isinstance(value, np.ndarray) else value))
    try:
        return bool(np.all(np.asarray(sample) == np.asarray(value))) if not isinstance(sample, list | dict) else False
    except (TypeError, OverflowError):
        return False


@pytest.mark.parametrize("name", COLUMNS)
def test_value_is_compared_with_each_sample_and_nulls_are_neither_equal_nor_not(made, name):
    """A bug once: `ds["label"] == 1` was False, and so was `ds["split"] == "train"`, and selected nothing."""
    column = made[name]
    samples = list(column)

    for value in VALUES:
        equal, differ = column == value, column != value
        for mask in (equal, differ):
            assert (mask.dtype, mask.shape) == (np.bool_, (len(samples),)), value
        expected = [sample is not None and is_equal(sample, value) for sample in samples]
        assert equal.tolist() == expected, value
        assert differ.tolist() == [
            sample is not None and not same for sample, same in zip(samples, expected, strict=True)
        ]


@pytest.mark.parametrize("name", COLUMNS)
def test_value_on_the_left_gives_the_same(made, name):
    column = made[name]

    for value in ("train", b"train", 1, 1.5, True, 2**70):
        assert (value == column).tolist() == (column == value).tolist()
        assert (value != column).tolist() == (column != value).tolist()


@pytest.mark.parametrize("name", COLUMNS)
def test_list_is_compared_as_lists_are(made, name):
    column, values = made[name], COLUMNS[name][1]
    samples = list(column)
    others = [samples, values, samples[:-1], [*samples, None], samples[::-1], [], ["train"], [None] * len(samples),
              [0] * len(samples)]  # fmt: skip

    for other in others:
        for given_as in (list, tuple):
            assert (column == given_as(other)) is (list(column) == other)
            assert (column != given_as(other)) is (list(column) != other)


def test_long_list_that_differs_in_the_last_sample_is_another_list(tmp_path):
    numbers = ArrayMmap.from_ndarray(tmp_path / "ds", np.arange(5000))
    texts = StringsMmap.from_strings(tmp_path / "texts", list(map(str, range(5000))))

    assert numbers == list(range(5000))
    assert numbers != [*range(4999), 0]
    assert texts == list(map(str, range(5000)))
    assert texts != [*map(str, range(4999)), "0"]


def test_array_is_compared_as_numpy_does(tmp_path):
    numbers = ArrayMmap.from_ndarray(tmp_path / "numbers", np.arange(3))
    texts = StringsMmap.from_strings(tmp_path / "texts", ["a", "b", "c"])
    blobs = BytesMmap.from_bytes(tmp_path / "blobs", [b"a", b"b", b"c"])

    for compare, mask in ((operator.eq, [False, True, False]), (operator.ne, [True, False, True])):
        assert compare(numbers, np.array([2, 1, 0])).tolist() == mask
        assert compare(np.array([2, 1, 0]), numbers).tolist() == mask
        assert compare(numbers, np.array([[2, 1, 0]])).tolist() == [mask]
        assert compare(texts, np.array(["c", "b", "a"])).tolist() == mask
        assert compare(np.array(["c", "b", "a"], object), texts).tolist() == mask
        assert compare(blobs, np.array([b"c", b"b", b"a"])).tolist() == mask
    assert (texts == np.array(["b"])).tolist() == [False, True, False]
    with pytest.raises(ValueError, match="broadcast"):
        operator.eq(numbers, np.array([1, 2]))


def test_array_with_nulls_is_not_an_array_to_numpy(made):
    with pytest.raises(ValueError, match="sample 1 is null, and arrays hold no nulls.*fill="):
        operator.eq(made["nullable float32"], np.zeros(5))


def test_images_are_compared_element_by_element(tmp_path):
    images = ArrayMmap.from_ndarray(tmp_path / "ds", np.arange(12).reshape(3, 2, 2) % 4)

    assert (images == 1).tolist() == (np.asarray(images) == 1).tolist()
    assert (images != 1).shape == (3, 2, 2)
    assert images == np.asarray(images).tolist()
    assert images == list(images)
    assert images != np.asarray(images)[::-1].tolist()[:2]
    assert images != [np.zeros((2, 2))] * 3


def test_anything_else_is_another_object(tmp_path):
    texts = StringsMmap.from_strings(tmp_path / "texts", ["a", "b"])
    numbers = ArrayMmap.from_ndarray(tmp_path / "numbers", np.arange(2))

    class Always:
        def __eq__(self, other):
            return "asked"

        __hash__ = None

    for ds in (texts, numbers, mn.concat([texts]), mn.concat([numbers])):
        for other in (None, {}, {"a"}, {"a": 1}, range(2), object(), StringsMmap, iter("ab"), texts.select([0, 1]),
                      RaggedMmap.from_lists(tmp_path / "ragged", [[1]]), mn.concat([texts]), Ellipsis):  # fmt: skip
            assert (ds == other) is False
            assert (ds != other) is True
            assert ds.__eq__(other) is NotImplemented
            assert ds.__ne__(other) is NotImplemented
        assert (ds == ds) is True  # noqa: PLR0124 - with itself
        assert (ds != ds) is False  # noqa: PLR0124
        assert (ds == Always()) == "asked"


def test_handles_are_members_of_sets_and_keys_of_dicts_by_identity(tmp_path):
    texts = StringsMmap.from_strings(tmp_path / "texts", ["a"])
    numbers = ArrayMmap.from_ndarray(tmp_path / "numbers", np.arange(1))
    handles = [
        texts,
        StringsMmap(tmp_path / "texts"),
        numbers,
        texts.select([0]),
        mn.concat([texts]),
        mn.concat([texts]),
    ]

    assert len(set(handles)) == len(handles)
    assert {handle: place for place, handle in enumerate(handles)}[numbers] == 2
    assert [handle in handles for handle in handles] == [True] * len(handles)
    assert handles.index(handles[3]) == 3


def test_closed_handle_is_still_another_object(tmp_path):
    texts = StringsMmap.from_strings(tmp_path / "texts", ["a"])
    texts.close()

    assert texts != None  # noqa: E711
    assert texts == texts  # noqa: PLR0124
    for value in ("a", ["a"], np.array(["a"])):
        with pytest.raises(ValueError, match="the dataset is closed"):
            operator.eq(texts, value)


def test_kinds_that_hold_arrays_of_any_shape_records_and_windows_are_compared_by_identity(tmp_path):
    ragged = RaggedMmap.from_lists(tmp_path / "ragged", [[1, 2], [3]])
    records = RecordsMmap.from_generator(tmp_path / "records", [{"a": 1}])

    for ds in (ragged, records, ragged.windows(1), mn.concat([ragged]), mn.concat([records])):
        for other in (1, "a", [[1, 2], [3]], [{"a": 1}], None):
            assert (ds == other) is False
            assert (ds != other) is True
        assert ds == ds  # noqa: PLR0124
        hash(ds)


def test_mask_selects_the_samples(tmp_path):
    ds = RecordsMmap.create(tmp_path / "ds", columns={"split": mn.Text(), "label": mn.Scalar("i8", nullable=True)})
    ds.extend({"split": ["train", "test", "train", "train"], "label": [1, 1, None, 0]})

    assert ds.select(ds["split"] == "train")["label"].__getitems__([0, 1, 2]) == [1, None, 0]
    assert ds.take((ds["split"] == "train") & (ds["label"] != 1))["label"].tolist() == [0]
    assert ds["split"][ds["label"] == 1] == ["train", "test"]


@pytest.mark.parametrize("view", [slice(1, None, 2), slice(None, None, -1), [3, 3, 0], np.array([], np.int64)])
def test_views_are_compared_by_the_samples_that_they_show(made, view):
    for name in ("nullable texts", "compressed", "nullable bytes", "nullable float32", "json"):
        column = made[name].select(view if isinstance(view, slice) else np.asarray(view) % len(made[name]))
        value = next(sample for sample in made[name] if sample is not None)
        expected = [sample is not None and bool(sample == value) for sample in column]

        assert (column == value).tolist() == expected
        assert (pickle.loads(pickle.dumps(column)) == value).tolist() == expected
        assert (column == list(column)) is (list(column) == list(column))  # NaN differs from itself


def test_edited_datasets_are_compared_by_the_samples_that_they_show(tmp_path):
    ds = StringsMmap.from_strings(tmp_path / "ds", ["a", "b", "a", "c"] * 5000)
    del ds[3::7]
    ds[5] = "a"
    ds.append("a")

    for handle in (ds, mn.open(tmp_path / "ds", read_mode="pread")):
        assert (handle == "a").tolist() == [sample == "a" for sample in ds]
        assert handle == ds[:]


def test_concat_is_compared_part_by_part(made):
    for name in ("nullable texts", "nullable float32", "int8", "json"):
        both = mn.concat([made[name], made[name].select([2, 0])])
        for column in (both, both.select(slice(None, None, -2)), both.select([0, 3, 3])):
            samples, value = list(column), both[0]

            assert (column == value).tolist() == [sample is not None and bool(sample == value) for sample in samples]
            assert (column != value).tolist() == [sample is not None and bool(sample != value) for sample in samples]
            assert (column == samples) is (samples == list(column))
            assert column != [*samples, value]
    assert (mn.concat([made["int8"], made["int8"]]) == np.array([1] * 10)).tolist() == [
        True,
        *[False] * 2,
        True,
        False,
    ] * 2


@pytest.mark.parametrize("codec", [None, "zstd"])
@settings(max_examples=30)
@given(
    texts=st.lists(st.sampled_from(["", "a", "b", "aa", "ab", "ü" * 9])), wanted=st.sampled_from(["", "a", "ab", "zz"])
)
def test_mask_of_any_texts_is_that_of_the_list(tmp_path_factory, codec, texts, wanted):
    path = tmp_path_factory.mktemp("texts")
    ds = StringsMmap.from_strings(path / "ds", texts, zstd_level=None if codec is None else 1)

    for read_mode in ("mmap", "pread"):
        handle = StringsMmap(path / "ds", read_mode=read_mode)
        assert (handle == wanted).tolist() == [text == wanted for text in texts]
        assert handle.count(wanted) == texts.count(wanted)
        assert (wanted in handle) is (wanted in texts)
    assert ds == texts


@pytest.mark.parametrize("size", [1, 300_000])
def test_mask_of_samples_of_any_size_reads_a_part_of_them_at_a_time(tmp_path, size):
    samples = [bytes([number % 3]) * size for number in range(12 if size > 1 else 20_000)]
    ds = BytesMmap.from_bytes(tmp_path / "ds", samples)

    for handle in (ds, BytesMmap(tmp_path / "ds", read_mode="pread")):
        assert (handle == samples[1]).tolist() == [number % 3 == 1 for number in range(len(samples))]


def test_damaged_offsets_make_a_comparison_raise(tmp_path):
    StringsMmap.from_strings(tmp_path / "ds", ["a", "b"]).close()
    (offsets,) = (tmp_path / "ds").glob("c0.offsets*")
    offsets.write_bytes(offsets.read_bytes()[:8] + (99).to_bytes(8, "little") + offsets.read_bytes()[16:])

    with pytest.raises(mn.CorruptDatasetError, match="its offsets 0 to 99 are not within the payload"):
        operator.eq(StringsMmap(tmp_path / "ds"), "a")


def test_name_in_records_raises_since_it_would_always_be_false(tmp_path):
    """A bug once: `"text" in records`, which people write for the names of columns, was False."""
    ds = RecordsMmap.from_generator(tmp_path / "ds", [{"text": "a"}])

    for records in (ds, ds.select([]), ds[["text"]], mn.concat([ds, ds])):
        for look in (records.__contains__, records.count, records.index):
            with pytest.raises(TypeError, match="ds( and 1 more)?: a sample of records .*, never 'text'; .*ds.columns"):
                look("text")
    assert {"text": "a"} in ds
    assert 5 not in ds
    assert "text" in ds.columns
    assert "a" in ds["text"]


def test_what_a_library_writes_to_views_is_not_compared(tmp_path):
    numbers = ArrayMmap.from_ndarray(tmp_path / "ds", np.arange(100_000))
    view = numbers[:50_000]
    ctypes.memset(view.__array_interface__["data"][0], 0, view.nbytes)  # as PyTorch's in-place operations do

    assert (numbers == 0).sum() == 1
    assert numbers == np.arange(100_000).tolist()
