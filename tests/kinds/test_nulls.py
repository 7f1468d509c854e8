"""Nulls in batches: what stands for them, and how a caller says so."""

import copy
import datetime as dt
import pickle
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
import pytest

import mmap_ninja as mn
from mmap_ninja import RecordsMmap
from support.kinds import plain


class Case(NamedTuple):
    """A nullable column.

    Args:
        spec: Its type.
        values: What is stored in it, in the order of the samples.
        fill: A value for nulls.
        missing: What stands under the mask of a batch of arrays; None for lists.
        wrong: Values for nulls that it cannot hold.
    """

    spec: Any
    values: list[Any]
    fill: Any
    missing: Any = None
    wrong: tuple[Any, ...] = ()


NAT = np.datetime64("NaT")
PAIR = np.dtype([("a", "i4"), ("b", "f4")])
CASES = {
    "text": Case(mn.Text(nullable=True), ["a", None, "ü"], "none", wrong=(0, b"none", "\ud800")),
    "compressed": Case(mn.Text(codec="zstd", nullable=True), ["a", None, "ü"], "", wrong=(0, None.__class__)),
    "bytes": Case(mn.Bytes(nullable=True), [b"a", None, b""], b"none", wrong=("none", 0)),
    "json": Case(mn.Json(nullable=True), [{"a": 1}, None, []], ["none"]),
    "ragged": Case(mn.Ragged("i4", ndim=1, nullable=True), [[1, 2], None, []], [7], wrong=(7, [[7]], [0.5], "a")),
    "ragged of any rank": Case(mn.Ragged("i4", nullable=True), [[1, 2], None, [[3]]], [[7]], wrong=([2**40],)),
    "float16": Case(mn.Scalar("f2", nullable=True), [1.5, None, -1], -0.5, np.nan, (0.1, 1e9, "a")),
    "float32": Case(mn.Scalar("f4", nullable=True), [1.5, None, -1], np.float64(0.25), np.nan, (0.1, 2**24 + 1)),
    "float64": Case(mn.Scalar("f8", nullable=True), [1.5, None, -1], np.nan, np.nan, (2**53 + 1, [0.5])),
    "big-endian": Case(mn.Scalar(">f8", nullable=True), [1.5, None, -1], 0, np.nan),
    "complex": Case(mn.Scalar("c8", nullable=True), [1j, None, -1], 1 + 1j, np.nan, (0.1j,)),
    "int8": Case(mn.Scalar("i1", nullable=True), [1, None, -1], np.int64(-100), 0, (0.5, 200, np.nan, "a")),
    "uint64": Case(mn.Scalar("u8", nullable=True), [1, None, 2**63], 2**64 - 1, 0, (-1, 2**64)),
    "bool": Case(mn.Scalar(bool, nullable=True), [True, None, False], False, False, (2, "a")),
    "datetime": Case(
        mn.Scalar("M8[s]", nullable=True), [np.datetime64(1, "s"), None, np.datetime64(2, "s")],
        np.datetime64("1970-01-01", "D"), NAT, (0, np.datetime64(1, "us")),
    ),
    "timedelta": Case(
        mn.Scalar("m8[s]", nullable=True), [np.timedelta64(1, "s"), None, np.timedelta64(2, "s")],
        np.timedelta64("NaT", "s"), np.timedelta64("NaT"), (0,),
    ),
    "bfloat16": Case(mn.Scalar(ml_dtypes.bfloat16, nullable=True), [1.5, None, -1.0], 0, np.nan, (0.1, "a")),
    "float8": Case(mn.Scalar(ml_dtypes.float8_e4m3fn, nullable=True), [1.5, None, -1.0], -1, np.nan, (0.1, 1e9)),
    "float4": Case(mn.Scalar(ml_dtypes.float4_e2m1fn, nullable=True), [1.5, None, -1.0], -1, 0, (0.1, np.nan)),
    "texts of one size": Case(mn.Scalar("U3", nullable=True), ["abc", None, ""], "no", "", ("none", 0)),
    "structured": Case(
        mn.Scalar(PAIR, nullable=True), [np.array((1, 2), PAIR)[()], None, np.array((3, 4), PAIR)[()]],
        np.array((5, 6), PAIR)[()], np.zeros((), PAIR)[()], (0,),
    ),
    "array": Case(mn.Array((2,), "f4", nullable=True), [[1, 2], None, [3, 4]], -1, np.nan, ([1, 2], 0.1)),
}  # fmt: skip
ARRAYS = [name for name, case in CASES.items() if isinstance(case.spec, mn.Scalar | mn.Array)]
LISTS = [name for name in CASES if name not in ARRAYS]


def build(path, name):
    """Records with one nullable column of a case, and one that is not nullable."""
    ds = RecordsMmap.create(path, columns={"x": CASES[name].spec, "id": mn.Scalar("i8")})
    ds.extend({"x": CASES[name].values, "id": range(len(CASES[name].values))})
    return ds


def cast(name, value):
    """A value as a case's arrays hold it."""
    return np.asarray(value).astype(CASES[name].spec.dtype)


def ways(ds):
    """All ways to take samples with a null of a column, by name."""
    both = mn.concat([ds, ds.select([1])])
    return {
        "records": lambda *args, **options: ds.take(*args, **options)["x"],
        "column": ds["x"].take,
        "view": ds.select([2, 1, 0])["x"].select([2, 1, 0]).take,
        "column of a view": ds[["x"]]["x"].take,
        "pickled": pickle.loads(pickle.dumps(ds))["x"].take,
        "concat of records": lambda *args, **options: both.take(*args, **options)["x"],
        "concat of columns": both["x"].take,
    }


@pytest.mark.parametrize("name", ARRAYS)
def test_batch_of_arrays_masks_nulls_over_nan_or_nat_where_the_dtype_has_one(tmp_path, name):
    """A bug once: PyTorch, which drops the mask, got the number 0 where nothing was."""
    ds, case = build(tmp_path / "ds", name), CASES[name]
    expected = cast(name, case.missing)

    for way, take in ways(ds).items():
        taken = take([2, 1, 0])
        assert isinstance(taken, np.ma.MaskedArray), way
        assert np.all(np.ma.getmaskarray(taken)[1].tolist()), way
        assert not np.any(np.ma.getmaskarray(taken)[::2].tolist()), way
        assert plain(taken.data[1:2].reshape(-1)[:1]) == plain(expected.reshape(1)), way
        assert plain(list(taken.data[::2])) == plain([cast(name, case.values[k])[()] for k in (2, 0)]), way


@pytest.mark.parametrize("key", [slice(None), [0, 1, 2], np.array([True] * 3)])
def test_key_in_brackets_gives_the_same_as_take(tmp_path, key):
    column = build(tmp_path / "ds", "float32")["x"]

    assert plain(column[key]) == plain(column.take(key))
    assert np.isnan(column[key].data[1])


def test_masked_batch_fills_itself_with_nan(tmp_path):
    column = build(tmp_path / "ds", "float32")["x"]

    assert np.isnan(column.take([1]).filled()).all()  # 1e20 is NumPy's default


@pytest.mark.parametrize("name", CASES)
def test_fill_takes_the_place_of_nulls_in_plain_batches(tmp_path, name):
    ds, case = build(tmp_path / "ds", name), CASES[name]
    stored = {"x": [*case.values[:1], case.fill, *case.values[2:]], "id": [0, 1, 2]}
    filled = RecordsMmap.create(tmp_path / "filled", columns={"x": case.spec, "id": mn.Scalar("i8")})
    filled.extend({"x": stored["x"], "id": stored["id"]} if name in LISTS else {
        "x": np.stack([np.broadcast_to(cast(name, value), ds["x"].shape[1:]) for value in stored["x"]]), "id": range(3),
    })  # fmt: skip
    expected = filled.take([2, 1, 0, 1])["x"]
    expected = expected.data if name in ARRAYS else expected

    for options in ({"fill": case.fill}, {"fill": case.fill, "nulls": "raise"}):
        for way, take in ways(ds).items():
            taken = take([2, 1, 0, 1], **options)
            assert not isinstance(taken, np.ma.MaskedArray), way
            assert plain(taken) == plain(expected), way
            assert plain(list(take([0], **options))) == plain(list(expected[2:3])), way


@pytest.mark.parametrize("name", CASES)
def test_raise_names_column_and_position_and_takes_what_is_not_null(tmp_path, name):
    ds, case = build(tmp_path / "ds", name), CASES[name]

    for way, take in ways(ds).items():
        with pytest.raises(ValueError, match="ds( and 1 more)?: column 'x': sample 1 is null; give a value "):
            take([0, 2, -2] if "concat" not in way else [0, 1], nulls="raise")
        taken = take([2, 0], nulls="raise")
        assert not isinstance(taken, np.ma.MaskedArray) or name in LISTS, way
        assert plain(list(taken)) == plain(ds["x"].__getitems__([2, 0])), way
        assert len(take([], nulls="raise")) == 0, way
    assert case.values[1] is None


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.wrong])
def test_fill_that_the_column_cannot_hold_exactly_is_refused_whatever_the_batch_holds(tmp_path, name):
    ds = build(tmp_path / "ds", name)

    for fill in CASES[name].wrong:
        for way, take in ways(ds).items():
            for indices in ([0, 1], [0], []):
                with pytest.raises(TypeError, match="ds( and 1 more)?: column 'x': fill.*: expected .*; .*by column"):
                    take(indices, fill=fill)
                assert way


def test_each_null_gets_a_fill_of_its_own(tmp_path):
    for name in ("json", "ragged"):
        column, fill = build(tmp_path / name, name)["x"], copy.deepcopy(CASES[name].fill)

        one, other = column.take([1, 1], fill=fill)
        one[0] = 99

        assert plain(list(other)) == plain(list(column.take([1], fill=fill)[0])) != plain(list(one))
        assert fill == CASES[name].fill


@pytest.mark.parametrize("options", [{}, {"fill": 7}])
def test_out_holds_the_batch_also_where_it_is_masked(tmp_path, options):
    column, out = build(tmp_path / "ds", "float32")["x"], np.zeros(3, "f4")

    taken = column.take([0, 1, 2], out, **options)

    assert out.tolist()[::2] == [1.5, -1]
    assert out[1] == 7 if options else np.isnan(out[1])
    assert taken is out if options else (isinstance(taken, np.ma.MaskedArray) and np.shares_memory(taken.data, out))


@pytest.mark.parametrize("options", [{"nulls": "raise"}, {"fill": 0.1}, {"nulls": "drop"}])
def test_out_stays_as_it_was_if_the_batch_is_refused(tmp_path, options):
    column, out = build(tmp_path / "ds", "float32")["x"], np.full(3, 9, "f4")

    with pytest.raises((ValueError, TypeError)):
        column.take([0, 1, 2], out, **options)

    assert out.tolist() == [9, 9, 9]


def nested(path):
    ds = RecordsMmap.create(
        path,
        columns={
            "n": mn.Scalar("i8", nullable=True),
            "more": {"n": mn.Scalar("f4", nullable=True), "t": mn.Text(nullable=True)},
            "id": mn.Scalar("u1"),
        },
    )
    ds.append({"n": None, "more": {"n": None, "t": None}, "id": 1})
    return ds


def test_fill_by_column_has_dotted_names_and_leaves_other_columns_masked(tmp_path):
    ds = nested(tmp_path / "ds")

    taken = ds.take([0], fill={"more.n": 2, "id": "not looked at, since it has no nulls"})

    assert taken["more"]["n"].tolist() == [2]
    assert not isinstance(taken["more"]["n"], np.ma.MaskedArray)
    assert taken["n"].mask.tolist() == [True]
    assert taken["more"]["t"] == [None]
    assert ds["more"].take([0], fill={"n": 3})["n"].tolist() == [3]
    with pytest.raises(ValueError, match="column 'n': sample 0 is null"):
        ds.take([0], nulls="raise", fill={"more.n": 2, "more.t": ""})
    with pytest.raises(KeyError, match="ds: has no column 'more'; it has 'n', 'more.n', 'more.t', 'id'"):
        ds.take([0], fill={"more": {"n": 2}})


def test_one_fill_is_for_all_nullable_columns(tmp_path):
    ds = nested(tmp_path / "ds")

    assert ds[["n", "more.n", "id"]].take([0], fill=3)["more"]["n"].tolist() == [3]
    with pytest.raises(TypeError, match="ds: column 'more.t': fill 3: expected a str; .*by column"):
        ds.take([0], fill=3)


def test_columns_without_nulls_take_both_options(tmp_path):
    ds = build(tmp_path / "ds", "float32")
    texts = mn.StringsMmap.from_strings(tmp_path / "texts", ["a", "b"])
    rows = mn.ArrayMmap.from_ndarray(tmp_path / "rows", np.arange(2))
    ragged = mn.RaggedMmap.from_lists(tmp_path / "ragged", [[1], []])

    for options in ({"nulls": "raise"}, {"fill": "anything"}, {"nulls": "raise", "fill": 0}):
        assert ds["id"].take([2], **options).tolist() == [2]
        assert texts.take([1], **options) == ["b"]
        assert rows.take([1], **options).tolist() == [1]
        assert rows.take([1], np.zeros(1, rows.dtype), **options).tolist() == [1]
        assert [row.tolist() for row in ragged.take([0, 1], **options)] == [[1], []]


def test_unknown_option_for_nulls_is_refused(tmp_path):
    ds = build(tmp_path / "ds", "float32")

    for take in (ds.take, ds["x"].take, ds["id"].take, mn.concat([ds]).take, mn.concat([ds])["x"].take):
        for options in ({}, {"fill": 0}):
            with pytest.raises(ValueError, match=r"nulls 'drop' is unknown \(expected one of \('mask', 'raise'\)\)"):
                take([0], nulls="drop", **options)


def test_samples_one_by_one_are_none(tmp_path):
    for name in CASES:
        ds = build(tmp_path / name, name)

        assert ds["x"].__getitems__([1]) == [None]
        assert ds.__getitems__([1])[0]["x"] is None
        assert mn.concat([ds])["x"].__getitems__([1, 1]) == [None, None]
        assert [sample is None for sample in ds["x"]] == [False, True, False]


@pytest.mark.parametrize("export", [np.asarray, np.from_dlpack])
def test_array_of_a_column_with_nulls_is_refused_and_names_fill(tmp_path, export):
    column = build(tmp_path / "ds", "float32")["x"]

    with pytest.raises(ValueError, match="column 'x': sample 1 is null, and arrays hold no nulls; use take.*fill="):
        export(column)
    assert export(column.select([0, 2])).tolist() == [1.5, -1]
    assert np.asarray(column.take(slice(None), fill=0)).tolist() == [1.5, 0, -1]


def test_masked_batch_is_stored_as_nulls_again(tmp_path):
    ds = build(tmp_path / "ds", "datetime")
    again = RecordsMmap.create(tmp_path / "again", columns={"x": CASES["datetime"].spec})

    again.extend({"x": ds.take([0, 1, 2])["x"]})

    assert again["x"].__getitems__([0, 1, 2]) == ds["x"].__getitems__([0, 1, 2])
    (data,) = (tmp_path / "again").glob("c0.data*")
    assert data.read_bytes()[8:16] == bytes(8)  # not the NaT that was under the mask


def test_concat_of_columns_of_which_only_some_are_nullable_keeps_the_mask(tmp_path):
    """A bug once: where the first part was not nullable, the nulls of the others became numbers."""
    parts = [
        RecordsMmap.create(tmp_path / str(nullable), columns={"x": mn.Scalar("f8", nullable=nullable)})
        for nullable in (False, True)
    ]
    parts[0].append({"x": 1.5})
    parts[1].append({"x": None})

    taken = mn.concat(parts).take([1, 0, 1])["x"]

    assert np.ma.getmaskarray(taken).tolist() == [True, False, True]
    assert taken[1] == 1.5


def test_dates_of_python_are_fills_of_columns_that_hold_them_exactly(tmp_path):
    column = build(tmp_path / "ds", "datetime")["x"]

    assert column.take([1], fill=dt.date(2020, 1, 1)).astype(str).tolist() == ["2020-01-01T00:00:00"]
    with pytest.raises(TypeError, match="fill datetime.datetime.* a value that dtype datetime64.s. holds exactly"):
        column.take([1], fill=dt.datetime.fromisoformat("2020-01-01T00:00:00.000001"))
