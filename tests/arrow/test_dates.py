"""Dates in Arrow and Parquet, where NaT is null, and nothing is coarser than a millisecond."""

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmap_ninja import Array, RecordsMmap, Scalar


def records(path, spec, samples):
    made = RecordsMmap.create(path, columns={"x": spec})
    made.extend([{"x": sample} for sample in samples])
    return made


@pytest.mark.parametrize("dtype", ["M8[D]", "M8[s]", "M8[ns]", ">M8[us]", "m8[ms]"])
@pytest.mark.parametrize("nullable", [False, True])
def test_nat_is_a_null_that_the_schema_allows(tmp_path, dtype, nullable):
    """A bug once: of a nullable column, pyarrow made the earliest of all dates of it; else Parquet refused it."""
    made = records(tmp_path / "a", Scalar(dtype, nullable=nullable), np.array(["NaT", 5], dtype))

    pq.write_table(made.to_arrow(), tmp_path / "a.parquet")

    assert pq.read_table(tmp_path / "a.parquet")["x"].is_null().to_pylist() == [True, False]
    assert pl.DataFrame(made.to_arrow())["x"].null_count() == 1
    back = RecordsMmap.from_arrow(tmp_path / "b", tmp_path / "a.parquet")
    np.testing.assert_array_equal(back["x"].take([0, 1]), np.array(["NaT", 5], dtype))
    assert back["x"].dtype == np.dtype(dtype)


def test_seconds_come_back_from_parquet_as_seconds(tmp_path):
    """A bug once: Parquet has no seconds, and pyarrow makes milliseconds of them."""
    made = records(tmp_path / "a", Array((2,), "M8[s]"), np.array([[1, 2], [3, -4]], "M8[s]"))

    pq.write_table(made.to_arrow(), tmp_path / "a.parquet")

    assert pq.read_schema(tmp_path / "a.parquet").field("x").type.value_type == pa.timestamp("ms")
    back = RecordsMmap.from_arrow(tmp_path / "b", tmp_path / "a.parquet")
    assert back.schema == made.schema
    np.testing.assert_array_equal(np.asarray(back["x"]), np.asarray(made["x"]))


def test_mark_of_seconds_does_not_cut_fractions_off(tmp_path):
    field = pa.field("x", pa.timestamp("ms"), metadata={"mmap_ninja.dtype": "<M8[s]"})
    table = pa.table([pa.array([1500], pa.timestamp("ms"))], schema=pa.schema([field]))

    with pytest.raises(ValueError, match=r"marked as datetime64\[s\] have fractions of it"):
        RecordsMmap.from_arrow(tmp_path / "a", table)


def test_null_arrays_of_dates_stay_null(tmp_path):
    """A bug once: a null came back as an array of the year 1970."""
    day = np.array(["2020-02-02", "NaT"], "M8[D]")
    made = records(tmp_path / "a", Array((2,), "M8[D]", nullable=True), [day, None])

    back = RecordsMmap.from_arrow(tmp_path / "b", made)

    assert back.schema == made.schema
    np.testing.assert_array_equal(back[0]["x"], day)
    assert back[1]["x"] is None
