"""`to_pandas`: the stored values as columns of pandas, which keep their dtypes."""

import sys

import numpy as np
import pandas as pd
import pytest

import mmap_ninja as mn
from mmap_ninja import ArrayMmap, RecordsMmap, StringsMmap


def test_records_become_a_data_frame_that_keeps_dtypes(tmp_path):
    columns = {
        "t": mn.Text(nullable=True), "b": mn.Bytes(), "j": mn.Json(), "i": mn.Scalar("i1"),
        "n": mn.Scalar("u2", nullable=True), "f": mn.Scalar("f4", nullable=True), "z": mn.Scalar("?", nullable=True),
        "d": mn.Scalar("M8[D]", nullable=True), "be": mn.Scalar(">i4"), "u": mn.Scalar("U3"),
        "a": mn.Array((2, 2), "u1", nullable=True), "r": mn.Ragged("f4", nullable=True), "m": {"s": mn.Scalar("S2")},
    }  # fmt: skip
    full = {"t": "x", "b": b"q", "j": {"k": [1]}, "i": 1, "n": 2, "f": 1.5, "z": True, "d": np.datetime64("2020-01-01"),
            "be": 3, "u": "abc", "a": np.ones((2, 2), "u1"), "r": np.ones((1, 2), "f4"), "m": {"s": b"ab"}}  # fmt: skip
    records = RecordsMmap.create(tmp_path / "ds", columns=columns)
    records.extend([full, full | dict.fromkeys("tnfzdar")])

    frame = records.to_pandas()

    text = pd.Series(["x", None], dtype="str").dtype
    assert {name: str(of) for name, of in frame.dtypes.items()} == {
        "t": str(text), "b": "object", "j": "object", "i": "int8", "n": "UInt16", "f": "float32", "z": "boolean",
        "d": "datetime64[s]", "be": "int32", "u": str(text), "a": "object", "r": "object", "m.s": "object",
    }  # fmt: skip
    assert frame[list("tnfzdar")].isna().to_numpy().tolist() == [[False] * 7, [True] * 7]
    assert frame["n"].tolist() == [2, pd.NA]
    assert frame["j"][0] == {"k": [1]}
    frame["a"][0][:] = 7
    frame["r"][0][:] = 7
    assert (records[0]["a"] == 1).all()
    assert (records[0]["r"] == 1).all()
    assert records.select([1, 0])[["i", "m"]].to_pandas().columns.tolist() == ["i", "m.s"]
    assert records.select([1])["n"].to_pandas().isna().tolist() == [True]
    assert records["m"].to_pandas().columns.tolist() == ["s"]


def test_data_frame_becomes_the_same_records_again(tmp_path):
    columns = {
        "t": mn.Text(nullable=True),
        "n": mn.Scalar("i1", nullable=True),
        "f": mn.Scalar("f4"),
        "m": {"k": mn.Scalar("?")},
    }
    records = RecordsMmap.create(tmp_path / "ds", columns=columns)
    records.extend([{"t": "a", "n": None, "f": 0.5, "m.k": True}, {"t": None, "n": 3, "f": 1, "m.k": False}])

    again = RecordsMmap.from_arrow(tmp_path / "again", records.to_pandas())

    assert again[:] == records[:]
    assert again.schema == records.schema


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        (np.arange(3, dtype=np.int8), "int8"),
        (np.arange(3, dtype=">f8"), "float64"),
        (np.arange(3, dtype="c8"), "complex64"),
        (np.array([0, 1, 2], "m8[us]"), "timedelta64[us]"),
        (np.array([0, 1, 2], "M8[h]"), "datetime64[s]"),
        (np.array([b"a", b"b", b"c"]), "object"),
        (np.zeros((3, 2), "f4"), "object"),
    ],
    ids=str,
)
def test_arrays_become_a_series(tmp_path, values, dtype):
    dataset = ArrayMmap.from_ndarray(tmp_path / "ds", values)

    series = dataset.to_pandas()

    assert (series.name, str(series.dtype)) == ("sample", dtype)
    assert [np.asarray(found).tolist() for found in series.tolist()] == [
        np.asarray(value).tolist() for value in (values if dtype == "object" else series.tolist())
    ]


@pytest.mark.parametrize("values", [np.array([2**62], "M8[D]"), np.array([2**60 + 1], "M8[ps]")], ids=str)
def test_dates_that_pandas_does_not_hold_raise(tmp_path, values):
    """A bug once: a day in a far year became 1970-01-01, and picoseconds were cut to seconds."""
    with pytest.raises(
        TypeError, match=r"column 'sample': dtype datetime64\[.*\] has values that pandas does not hold"
    ):
        ArrayMmap.from_ndarray(tmp_path / "ds", values).to_pandas()

    exact = ArrayMmap.from_ndarray(tmp_path / "exact", np.array([2000, "NaT"], "M8[ps]")).to_pandas()

    assert exact.astype("int64")[0] == 2
    assert exact.isna().tolist() == [False, True]


def test_other_kinds_become_a_series_also_when_empty_edited_or_wrapped(tmp_path):
    texts = StringsMmap.from_strings(tmp_path / "t", ["a", "b", "c"])
    del texts[1]
    rows = mn.RaggedMmap.from_lists(tmp_path / "r", [[1, 2], [3]], wrapper_fn=sum)

    assert texts.to_pandas().tolist() == ["a", "c"]
    assert [row.tolist() for row in rows.to_pandas()] == [[1, 2], [3]]
    assert StringsMmap(tmp_path / "none").to_pandas().dtype == pd.Series(["a"], dtype="str").dtype
    assert ArrayMmap(tmp_path / "none").to_pandas().empty
    assert RecordsMmap(tmp_path / "none").to_pandas().empty


def test_missing_pandas_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    texts = StringsMmap.from_strings(tmp_path / "ds", ["a"])

    with pytest.raises(ImportError, match="to_pandas needs pandas: pip install pandas"):
        texts.to_pandas()
