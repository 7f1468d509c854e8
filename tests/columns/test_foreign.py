"""Values of pandas, Polars, Arrow, PyTorch and Pillow, dates and masked arrays are stored as what they are."""

import datetime as dt
import subprocess
import sys

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from PIL import Image

import mmap_ninja as mn
from mmap_ninja import ArrayMmap, BytesMmap, RaggedMmap, RecordsMmap, StringsMmap

DAY = dt.datetime.fromisoformat("2020-01-02T03:04:05.000006")
NUMBERS = {
    "pandas series": lambda: pd.Series([3, 1, 2], index=[9, 8, 7], dtype="int8"),
    "pandas index": lambda: pd.Index([3, 1, 2], dtype="int8"),
    "pandas nullable": lambda: pd.Series([3, 1, 2], dtype="Int8"),
    "pandas extension array": lambda: pd.array([3, 1, 2], dtype="Int8"),
    "pandas categorical": lambda: pd.Series(pd.Categorical(np.array([3, 1, 2], "int8"))),
    "pandas arrow": lambda: pd.Series([3, 1, 2], dtype=pd.ArrowDtype(pa.int8())),
    "polars": lambda: pl.Series([3, 1, 2], dtype=pl.Int8),
    "arrow": lambda: pa.array([3, 1, 2], pa.int8()),
    "arrow chunks": lambda: pa.chunked_array([[3], [1, 2]], pa.int8()),
    "arrow dictionary": lambda: pa.array([3, 1, 2], pa.int8()).dictionary_encode(),
    "masked": lambda: np.ma.array([3, 1, 2], mask=[0, 0, 0], dtype="int8"),
}
DATES = {
    "pandas series": lambda: pd.Series([DAY, DAY], dtype="M8[us]"),
    "pandas time zone": lambda: pd.Series([DAY, DAY], dtype="M8[us]").dt.tz_localize("UTC").dt.tz_convert("Asia/Tokyo"),
    "polars": lambda: pl.Series([DAY, DAY]),
    "arrow": lambda: pa.array([DAY, DAY]),
    "list": lambda: [DAY, DAY],
    "time zone": lambda: [DAY.replace(tzinfo=dt.UTC).astimezone(dt.timezone(dt.timedelta(hours=9)))] * 2,
    "timestamps": lambda: [pd.Timestamp(DAY)] * 2,
    "arrow scalars": lambda: [pa.scalar(DAY)] * 2,
}
TEXTS = {
    "pandas": lambda: pd.Series(["b", "a"], index=[1, 0]),
    "pandas string": lambda: pd.Series(["b", "a"], dtype="string"),
    "pandas categorical": lambda: pd.Series(pd.Categorical(["b", "a"])),
    "polars": lambda: pl.Series(["b", "a"]),
    "polars categorical": lambda: pl.Series(["b", "a"], dtype=pl.Categorical),
    "arrow": lambda: pa.array(["b", "a"]),
    "arrow dictionary": lambda: pa.array(["b", "a"]).dictionary_encode(),
    "arrow scalars": lambda: [pa.scalar("b"), pa.scalar("a")],
}
NULLS = {
    "pandas": lambda: pd.Series([1, None, 3], dtype="Int16"),
    "pandas categorical": lambda: pd.Series(pd.Categorical.from_codes([0, -1, 1], np.array([1, 3], "int16"))),
    "polars": lambda: pl.Series([1, None, 3], dtype=pl.Int16),
    "arrow": lambda: pa.array([1, None, 3], pa.int16()),
    "masked": lambda: np.ma.array([1, 2, 3], mask=[0, 1, 0], dtype="int16"),
}


def each(cases):
    return pytest.mark.parametrize("make", cases.values(), ids=cases)


def same(one, other):
    return one.dtype == other.dtype and np.array_equal(one, other)


@each(NUMBERS)
def test_numbers_are_stored_with_their_dtype_by_every_constructor(tmp_path, make):
    expected = np.array([3, 1, 2], np.int8)

    made = [
        ArrayMmap.from_ndarray(tmp_path / "array", make()),
        ArrayMmap.from_generator(tmp_path / "generator", make()),
        ArrayMmap.from_indexable(tmp_path / "indexable", make()),
        RecordsMmap.from_columns(tmp_path / "columns", {"x": make()})["x"],
    ]
    rows = RaggedMmap.from_lists(tmp_path / "lists", [make()])
    rows.append(make())
    rows.extend([make()])
    rows[0] = make()
    records = RecordsMmap.from_generator(tmp_path / "records", [{"x": make()}])
    records.append({"x": make()})

    assert all(same(dataset[:], expected) for dataset in made)
    assert all(same(row, expected) for row in [*rows, *records["x"]])


@each(NUMBERS)
def test_numbers_are_added_in_one_call(tmp_path, make):
    array = ArrayMmap.from_ndarray(tmp_path / "array", np.zeros(3, np.int64))
    records = RecordsMmap.from_columns(tmp_path / "records", {"x": np.zeros(3, np.int8)})

    array[:3] = make()
    array.extend(make())
    array.extend(make(), verbose=False)
    records.extend({"x": make()})
    records.add_column("y", [1, 2, 3] * 2)
    records.add_column("z", RecordsMmap.from_columns(tmp_path / "z", {"z": make()})["z"][[0, 1, 2, 0, 1, 2]])

    assert array[:].tolist() == [3, 1, 2] * 3
    assert records["x"][:].tolist() == [0, 0, 0, 3, 1, 2]
    assert records["z"].dtype == np.int8


@each(DATES)
def test_dates_are_stored_as_numpy_has_them(tmp_path, make):
    expected = np.array([DAY, DAY], "M8[us]")

    columns = RecordsMmap.from_columns(tmp_path / "columns", {"t": make()})["t"]
    generated = ArrayMmap.from_generator(tmp_path / "generator", make())
    rows = RaggedMmap.from_lists(tmp_path / "rows", [make()])
    records = RecordsMmap.from_generator(tmp_path / "records", [{"t": make()}])
    declared = RecordsMmap.create(tmp_path / "declared", columns={"t": mn.Scalar("M8[us]")})
    declared.extend({"t": make()})

    for stored in (columns[:], generated[:], rows[0], records[0]["t"], declared["t"][:]):
        assert same(stored, expected)


def test_dates_go_where_they_are_exact(tmp_path):
    seconds = ArrayMmap.from_ndarray(tmp_path / "s", np.zeros(0, "M8[s]"))
    durations = ArrayMmap.from_ndarray(tmp_path / "m", np.zeros(0, "m8[ms]"))

    seconds.extend([dt.date(2020, 1, 2), DAY.replace(microsecond=0), pd.Timestamp("2020-01-02"), pd.NaT])
    durations.append(dt.timedelta(milliseconds=5))
    with pytest.raises(TypeError, match=r"dtype datetime64\[s\] cannot hold 2020-01-02T03:04:05.000006"):
        seconds.append(DAY)

    assert seconds[:3].astype(str).tolist() == ["2020-01-02T00:00:00", "2020-01-02T03:04:05", "2020-01-02T00:00:00"]
    assert np.isnat(seconds[3])
    assert durations[0] == np.timedelta64(5, "ms")


@each(TEXTS)
def test_texts_are_stored_by_every_constructor(tmp_path, make):
    strings = StringsMmap.from_strings(tmp_path / "strings", make())
    strings.extend(make())
    strings[0:2] = make()
    strings.append(list(make())[1])
    records = RecordsMmap.from_columns(tmp_path / "columns", {"s": make()})
    records.append({"s": list(make())[1]})

    assert strings[:] == ["b", "a", "b", "a", "a"]
    assert records["s"][:] == ["b", "a", "a"]


def test_bytes_of_arrow_are_stored(tmp_path):
    stored = BytesMmap.from_bytes(tmp_path / "ds", pa.array([b"b", b"a"]))
    stored.append(pa.scalar(b"c"))

    assert stored[:] == [b"b", b"a", b"c"]


@each(NULLS)
def test_nulls_make_a_nullable_column_or_an_error(tmp_path, make):
    records = RecordsMmap.from_columns(tmp_path / "columns", {"x": make()})
    records.extend({"x": make()})
    batches = RecordsMmap.from_columns(tmp_path / "batches", {"x": make()}, batch_size=1)

    assert records["x"].dtype == np.int16
    assert records["x"].take(slice(None)).tolist() == [1, None, 3] * 2
    assert batches["x"].take(slice(None)).tolist() == [1, None, 3]
    with pytest.raises(TypeError, match="sample 0: only some of its elements are masked or null"):
        RaggedMmap.from_lists(tmp_path / "lists", [make()])
    with pytest.raises(TypeError, match="sample 0: only some of its elements are masked or null"):
        ArrayMmap.from_ndarray(tmp_path / "array", make())
    with pytest.raises(TypeError, match=r"sample 1: (is null|.*object)"):
        ArrayMmap.from_generator(tmp_path / "generator", make())


@pytest.mark.parametrize("null", [None, pd.NA, pa.scalar(None, pa.int16()), pa.NA, np.ma.masked], ids=repr)
def test_single_nulls_are_nulls_of_nullable_columns(tmp_path, null):
    columns = {"x": mn.Scalar("i2", nullable=True), "s": mn.Text(nullable=True), "r": mn.Ragged("i2", nullable=True)}
    records = RecordsMmap.create(tmp_path / "ds", columns=columns)

    records.extend([{"x": 1, "s": "a", "r": [1]}, {"x": null, "s": null, "r": null}])
    with pytest.raises(TypeError, match="column 'y': sample 1: is None, which the column does not allow"):
        records.add_column("y", [1, null], mn.Scalar("i2"))

    assert records[1] == {"x": None, "s": None, "r": None}


def test_missing_texts_are_nulls(tmp_path):
    series = [pd.Series(["a", None]), pd.Series(["a", pd.NA], dtype="string"), pl.Series(["a", None])]

    for number, texts in enumerate([*series, pd.Series(pd.Categorical(["a", None])), pa.array(["a", None])]):
        columns = {"s": mn.Text(nullable=True)}
        records = RecordsMmap.from_columns(tmp_path / f"{number}", {"s": texts}, columns=columns)
        assert records["s"][:] == ["a", None]
        with pytest.raises(TypeError, match="sample 1: expected str, got NoneType"):
            StringsMmap.from_strings(tmp_path / "strings", texts)


def test_rows_of_a_frame_are_records(tmp_path):
    frame = pd.DataFrame({"n": np.arange(2, dtype="i1"), "t": [DAY, DAY], "s": ["b", "a"]})
    rows = (row._asdict() for row in frame.itertuples(index=False))

    stored = RecordsMmap.from_generator(tmp_path / "rows", rows)
    columns = RecordsMmap.from_columns(tmp_path / "columns", frame)

    assert [stored[1]["n"], stored[1]["t"], stored[1]["s"]] == [1, np.datetime64(DAY), "a"]
    assert columns["n"].dtype == np.int8
    assert columns["t"][:].tolist() == [DAY, DAY]


def test_lists_keep_the_dtype_of_their_elements(tmp_path):
    for number, lists in enumerate(
        [pl.Series([[1, 2], [3]], dtype=pl.List(pl.Int8)), pa.array([[1, 2], [3]], pa.list_(pa.int8()))]
    ):
        rows = RaggedMmap.from_lists(tmp_path / f"{number}", lists)
        records = RecordsMmap.from_columns(tmp_path / f"r{number}", {"x": lists})
        assert rows.dtype == records["x"].dtype == np.int8
        assert [row.tolist() for row in records["x"]] == [[1, 2], [3]]


@pytest.mark.parametrize(
    "make",
    [
        lambda: pl.Series([[1, 2], [3, 4]], dtype=pl.Array(pl.Int8, 2)),
        lambda: pa.array([[1, 2], [3, 4]], pa.list_(pa.int8(), 2)),
        lambda: pa.FixedShapeTensorArray.from_numpy_ndarray(np.array([[1, 2], [3, 4]], np.int8)),
    ],
    ids=["polars", "arrow", "tensors of arrow"],
)
def test_lists_of_one_length_are_arrays(tmp_path, make):
    stored = RecordsMmap.from_columns(tmp_path / "ds", {"x": make()})

    assert stored.schema == {"x": mn.Array((2,), np.dtype("int8"))}
    assert stored["x"][:].tolist() == [[1, 2], [3, 4]]


def test_pictures_are_arrays(tmp_path):
    image = Image.fromarray(np.arange(36, dtype=np.uint8).reshape(3, 4, 3))

    rows = RaggedMmap.from_lists(tmp_path / "rows", [image])
    records = RecordsMmap.from_generator(tmp_path / "records", [{"image": image}])
    array = ArrayMmap.from_generator(tmp_path / "array", [image])

    for stored in (rows[0], records[0]["image"], array[0]):
        assert same(stored, np.asarray(image))


def test_tensors_of_torch_are_arrays(tmp_path):
    torch = pytest.importorskip("torch")
    tensor = torch.arange(8, dtype=torch.float16).reshape(2, 4)

    of_tensor = RecordsMmap.from_columns(tmp_path / "tensor", {"e": tensor})
    of_array = RecordsMmap.from_columns(tmp_path / "array", {"e": tensor.numpy()})

    assert of_tensor.schema == of_array.schema == {"e": mn.Array((4,), np.dtype("float16"))}
    assert np.array_equal(of_tensor["e"][:], of_array["e"][:])


def test_build_of_a_series_is_resumed_by_position(tmp_path):
    """A bug once: the last stored sample was looked up by the labels of the series' index."""
    numbers = pd.Series([3, 1, 2], index=[2, 0, 1], dtype="int8")
    RecordsMmap.from_columns(tmp_path / "ds", {"x": numbers[:2]})

    grown = RecordsMmap.from_columns(tmp_path / "ds", {"x": numbers[2:]}, if_exists="append")
    texts = StringsMmap.from_generator(tmp_path / "texts", pd.Series(["b", "a"]), if_exists="append")

    assert grown["x"][:].tolist() == [3, 1, 2]
    assert texts[:] == ["b", "a"]


def test_no_library_is_imported_for_other_values(tmp_path):
    program = (
        "import sys, datetime, numpy as np, mmap_ninja as mn\n"
        f"r = mn.RecordsMmap.from_generator({str(tmp_path / 'ds')!r}, [{{'t': datetime.date.today(), 's': 'a'}}])\n"
        "r.append({'t': datetime.date.today(), 's': 'b'})\n"
        "print([n for n in ('pandas', 'polars', 'pyarrow', 'torch', 'PIL') if n in sys.modules])"
    )

    found = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)

    assert found.stdout == "[]\n"


@pytest.mark.parametrize(
    "part",
    [
        np.ma.array([1, 2], mask=[0, 1]),
        pd.Series([1, None], dtype="Int8"),
        pl.Series([1, None]),
        pa.array([1, None]),
    ],
    ids=["masked", "pandas", "polars", "arrow"],
)
def test_nulls_of_arrays_in_a_list_are_not_lost(tmp_path, part):
    """A bug once: what lies below the mask was stored, or NaN."""
    for sample in ([part], [[part], [part]], [[1, 2], part]):
        with pytest.raises(TypeError, match="only some of its elements are masked or null"):
            RaggedMmap.from_lists(tmp_path / "ds", [sample])
    stored = RaggedMmap.from_lists(tmp_path / "whole", [[pd.Series([1, 2], dtype="Int8"), np.ma.array([3, 4])]])

    assert stored[0].tolist() == [[1, 2], [3, 4]]


def test_added_column_loses_no_elements_beside_masked_ones(tmp_path):
    """A bug once: a sample of which some elements are masked became a null in a nullable column."""
    records = RecordsMmap.from_columns(tmp_path / "ds", {"a": [1, 2]})

    with pytest.raises(TypeError, match="sample 0: only some of its elements are masked or null"):
        records.add_column("b", [np.ma.array([1, 2], mask=[0, 1]), None])
    records.add_column("c", np.ma.array([[1, 2], [3, 4]], mask=[[0, 0], [1, 1]]))

    assert list(records.columns) == ["a", "c"]
    assert records[0]["c"].tolist() == [1, 2]
    assert records[1]["c"] is None


def test_nan_of_pandas_is_a_value_as_it_is_in_numpy(tmp_path):
    """A bug once: NaN became a null in from_columns, and a Series with NaN was no sample."""
    numbers = pd.Series([1.0, np.nan])
    mixed = pd.Series([1, None, 2], dtype=object)

    columns = RecordsMmap.from_columns(tmp_path / "columns", {"x": numbers})
    generated = RecordsMmap.from_generator(tmp_path / "generated", [{"x": value} for value in numbers])
    rows = RaggedMmap.from_lists(tmp_path / "rows", [numbers])
    nulls = RecordsMmap.from_columns(
        tmp_path / "nulls", {"x": mixed, "y": mixed.astype("str").where(mixed.notna(), None)}
    )

    assert columns.schema == generated.schema == {"x": mn.Scalar(np.dtype("f8"))}
    for stored in (columns["x"][:], generated["x"][:], rows[0]):
        np.testing.assert_array_equal(stored, [1, np.nan])
    assert [sample["x"] for sample in nulls] == [1, None, 2]
    assert nulls.schema["y"] == mn.Text(nullable=True)


def test_durations_and_dates_at_the_ends_of_their_ranges_are_exact_or_raise(tmp_path):
    """A bug once: NumPy let the longest timedelta overflow; an early date with a time zone raised OverflowError."""
    early = dt.datetime(1, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=2)))

    with pytest.raises(TypeError, match=r"sample 0: timedelta64\[us\] cannot hold datetime.timedelta\(days=9"):
        ArrayMmap.from_generator(tmp_path / "longest", [dt.timedelta.max])
    dates = ArrayMmap.from_generator(tmp_path / "dates", [early])

    assert dates[0] == np.datetime64("0000-12-31T22:00:00", "us")


def test_interrupted_build_of_arrays_in_json_continues(tmp_path):
    """A bug once: they were compared as arrays, which have no truth value."""

    def samples(count):
        for number in range(count):
            yield {"x": pa.array([number, 2])}
        if count == 3:
            raise OSError

    with pytest.raises(OSError):  # noqa: PT011 - has no message
        RecordsMmap.from_generator(tmp_path / "ds", samples(3), batch_size=1, columns={"x": mn.Json()})
    stored = RecordsMmap.from_generator(tmp_path / "ds", samples(5), columns={"x": mn.Json()}, if_exists="resume")

    assert [sample["x"] for sample in stored] == [[number, 2] for number in range(5)]


@pytest.mark.parametrize("axes", [(0, 1, 2, 3), (0, 2, 1, 3)])
def test_tensors_of_arrow_keep_their_shape_in_every_constructor(tmp_path, axes):
    """A bug once: from_arrow stored them flat, in the order of their memory."""
    expected = np.arange(72, dtype="int16").reshape(3, 2, 3, 4).transpose(axes)
    tensors = pa.FixedShapeTensorArray.from_numpy_ndarray(expected)
    sliced = pa.table({"x": tensors}).slice(1)
    nulls = pa.table({"x": pa.ExtensionArray.from_storage(tensors.type, tensors.storage.take(pa.array([2, None])))})

    columns = RecordsMmap.from_columns(tmp_path / "columns", {"x": tensors})["x"]
    table = RecordsMmap.from_arrow(tmp_path / "table", sliced)["x"]
    nullable = RecordsMmap.from_arrow(tmp_path / "nulls", nulls)

    assert same(columns[:], expected)
    assert same(table[:], expected[1:])
    assert same(nullable[0]["x"], expected[2])
    assert nullable[1]["x"] is None
