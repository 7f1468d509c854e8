"""JSON lines, CSV and TSV, as the libraries of these formats read them."""

import csv
import gzip
import json

import hypothesis
import hypothesis.strategies as st
import ml_dtypes
import numpy as np
import polars as pl
import pyarrow.csv
import pyarrow.json
import pytest
import zstandard

import mmap_ninja as mn

ROWS = [
    {"text": "plain", "number": 1, "score": 0.1, "yes": True},
    {"text": 'two\nlines,\r\nand a "quote"', "number": -(2**63), "score": -1e300, "yes": False},
    {"text": "", "number": 2**63 - 1, "score": 5e-324, "yes": True},
    {"text": "tab\there", "number": 0, "score": 1e16, "yes": False},
    {"text": "\ufeffmark, nul\0, zwölf 🥷\u2028", "number": 0, "score": 3.0, "yes": False},
]  # fmt: skip


def stored(path, rows, **columns):
    return mn.RecordsMmap.from_generator(path, rows, columns=columns)


def lines(path):
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def parsed(path, delimiter=","):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter=delimiter))


# ---- JSON lines


def test_json_lines_are_the_samples(tmp_path):
    rows = [row | {"list": [1, 2], "group": {"a": None, "b": [{"c": "d"}]}} for row in ROWS]
    made = stored(tmp_path / "a", rows, group=mn.Json())

    mn.export(made, tmp_path / "a.jsonl")

    assert lines(tmp_path / "a.jsonl") == rows
    assert pyarrow.json.read_json(tmp_path / "a.jsonl")["text"].to_pylist() == [row["text"] for row in rows]
    assert pl.read_ndjson(tmp_path / "a.jsonl")["number"].to_list() == [row["number"] for row in rows]


def test_nested_columns_and_nulls_of_json_lines(tmp_path):
    rows = [
        {"a": {"b": 1, "c%": {"d": "x"}}, "e": None, "%s": 0},
        {"a": {"b": None, "c%": {"d": "y"}}, "e": "z", "%s": 1},
    ]

    mn.export(stored(tmp_path / "a", rows), tmp_path / "a.jsonl")

    assert lines(tmp_path / "a.jsonl") == rows


@pytest.mark.parametrize("dtype", ["?", "i1", "u8", ">i4", "f2", "f4", ">f8", "<U3", "M8[D]", "M8[ns]"])
def test_values_of_json_lines_read_back_exactly(tmp_path, dtype):
    """Narrow floats have few digits, which give the same value back in their dtype."""
    texts = {"U": ["a", "", "xyz"], "M": ["NaT", "2020-02-29", "1969-12-31"]}.get(np.dtype(dtype).kind, [1, 0.1, 0])
    values = np.array(texts).astype(dtype)
    columns = {"one": mn.Scalar(dtype), "pair": mn.Array((2,), dtype), "some": mn.Ragged(dtype)}
    made = mn.RecordsMmap.create(tmp_path / "a", columns)
    made.extend([{"one": one, "pair": [one, one], "some": np.full((1, number), one, dtype)}
                 for number, one in enumerate(values)])  # fmt: skip

    mn.export(made, tmp_path / "a.jsonl")

    read = lines(tmp_path / "a.jsonl")
    back = np.array(["NaT" if line["one"] is None else line["one"] for line in read]).astype(dtype)
    np.testing.assert_array_equal(back, values)
    assert [line["pair"] for line in read] == [[line["one"]] * 2 for line in read]
    assert [line["some"] for line in read] == [[[line["one"]] * number] for number, line in enumerate(read)]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_json_has_no_nan(tmp_path, value):
    made = stored(tmp_path / "a", [{"x": 1.0, "y": [1.0]}, {"x": 2.0, "y": [1.0, value]}])
    (tmp_path / "outs").mkdir()

    with pytest.raises(
        ValueError, match=r"column 'y': sample 1: JSON has no NaN and no infinity, found \[1.0, -?(nan|inf)"
    ):
        mn.export(made, tmp_path / "outs" / "a.jsonl")

    assert list((tmp_path / "outs").iterdir()) == []


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        (mn.Bytes(), "bytes"),
        (mn.Scalar("c8"), "complex64"),
        (mn.Scalar("m8[s]"), r"timedelta64\[s\]"),
        (mn.Scalar("S3"), r"\|S3"),
        (mn.Array((2,), [("x", "i4")]), r"arrays of \[\('x', '<i4'\)\]"),
        (mn.Ragged(ml_dtypes.bfloat16), "ragged arrays of bfloat16"),
    ],
)
@pytest.mark.parametrize("name", ["a.jsonl", "a.csv"])
def test_what_texts_cannot_hold_raises_before_anything_is_written(tmp_path, spec, told, name):
    made = mn.RecordsMmap.create(tmp_path / "a", {"text": mn.Text(), "of": spec})
    (tmp_path / "outs").mkdir()

    with pytest.raises(
        TypeError, match=f"column 'of': .* cannot hold {told}; leave it out with columns=, or (export|cast it) to"
    ):
        mn.export(made, tmp_path / "outs" / name)

    assert list((tmp_path / "outs").iterdir()) == []


# ---- CSV and TSV


@pytest.mark.parametrize(("name", "delimiter"), [("a.csv", ","), ("a.tsv", "\t")])
def test_separated_values_read_back(tmp_path, name, delimiter):
    mn.export(stored(tmp_path / "a", ROWS), tmp_path / name)

    rows = parsed(tmp_path / name, delimiter)
    assert [row["text"] for row in rows] == [row["text"] for row in ROWS]
    assert [int(row["number"]) for row in rows] == [row["number"] for row in ROWS]
    assert [float(row["score"]) for row in rows] == [row["score"] for row in ROWS]
    assert [row["yes"] for row in rows] == ["true", "false", "true", "false", "false"]
    options = {
        "parse_options": pyarrow.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
        "convert_options": pyarrow.csv.ConvertOptions(quoted_strings_can_be_null=False),
    }
    assert pyarrow.csv.read_csv(tmp_path / name, **options).to_pylist() == ROWS
    assert pl.read_csv(tmp_path / name, separator=delimiter).to_dicts() == ROWS


def test_null_is_an_empty_field_and_an_empty_text_has_quotes(tmp_path):
    rows = [{"text": "", "number": None}, {"text": None, "number": 1}]

    mn.export(stored(tmp_path / "a", rows), tmp_path / "a.csv")

    assert (tmp_path / "a.csv").read_text() == 'text,number\n"",\n,1\n'
    options = pyarrow.csv.ConvertOptions(strings_can_be_null=True, quoted_strings_can_be_null=False)
    assert pyarrow.csv.read_csv(tmp_path / "a.csv", convert_options=options).to_pylist() == rows
    assert pl.read_csv(tmp_path / "a.csv").to_dicts() == rows


def test_line_with_only_a_null_is_refused(tmp_path):
    made = stored(tmp_path / "a", [{"text": "a"}, {"text": None}])

    with pytest.raises(ValueError, match="column 'text': sample 1 is null, which alone makes an empty line"):
        mn.export(made, tmp_path / "a.csv")
    mn.export(made.select([0]), tmp_path / "a.csv")


def test_floats_dates_and_fixed_texts_of_csv(tmp_path):
    columns = {"f": mn.Scalar("f4"), "d": mn.Scalar("M8[ms]"), "u": mn.Scalar("<U3"), "b": mn.Scalar(">u2")}
    made = mn.RecordsMmap.create(tmp_path / "a", columns)
    dates = np.array(["2020-01-02", "NaT", "1969-12-31T23:59"], "M8[ms]")
    floats = np.array([0.1, np.nan, -np.inf], "f4")
    made.extend({"f": floats, "d": dates, "u": ["a,b", "", "x"], "b": [1, 2, 65535]})

    mn.export(made, tmp_path / "a.csv")

    rows = parsed(tmp_path / "a.csv")
    assert [row["f"] for row in rows] == ["0.1", "nan", "-inf"]
    assert [row["d"] for row in rows] == ["2020-01-02T00:00:00.000", "", "1969-12-31T23:59:00.000"]
    assert [(row["u"], row["b"]) for row in rows] == [("a,b", "1"), ("", "2"), ("x", "65535")]


def test_names_of_columns_are_quoted_and_nested_with_dots(tmp_path):
    made = mn.RecordsMmap.create(tmp_path / "a", {'a,"b': mn.Text(), "c": {"d e": mn.Scalar("i4")}, "class": mn.Text()})

    mn.export(made, tmp_path / "a.csv")

    assert (tmp_path / "a.csv").read_text(encoding="utf-8") == '"a,""b",c.d e,class\n'


@pytest.mark.parametrize("spec", [mn.Json(), mn.Array((2,), "i4"), mn.Ragged("i4")])
def test_what_lines_of_fields_cannot_hold_is_sent_to_json_lines(tmp_path, spec):
    made = mn.RecordsMmap.create(tmp_path / "a", {"of": spec})

    with pytest.raises(TypeError, match="TSV cannot hold .*; leave it out with columns=, or export to JSONL"):
        mn.export(made, tmp_path / "a.tsv")


# ---- all


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv"])
def test_half_a_character_is_told(tmp_path, name):
    """Which only a dtype of texts can hold."""
    made = mn.ArrayMmap.from_ndarray(tmp_path / "a", np.array(["fine", "half \ud83e"]))

    with pytest.raises(ValueError, match=r"a: sample 1: has half a character \(a surrogate\), which UTF-8 cannot hold"):
        mn.export(made, tmp_path / name)
    assert not (tmp_path / name).exists()


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.tsv"])
def test_compressed_files_have_the_same_text(tmp_path, name):
    made = stored(tmp_path / "a", ROWS * 100)
    for suffix in ("", ".gz", ".zst"):
        mn.export(made, tmp_path / f"{name}{suffix}")

    text = (tmp_path / name).read_bytes()
    assert gzip.decompress((tmp_path / f"{name}.gz").read_bytes()) == text
    with (tmp_path / f"{name}.zst").open("rb") as file:
        assert zstandard.ZstdDecompressor().stream_reader(file).read() == text
    mn.export(made, tmp_path / f"b{name}.gz")
    assert (tmp_path / f"b{name}.gz").read_bytes() == (tmp_path / f"{name}.gz").read_bytes()


def test_other_kinds_than_records_have_one_column(tmp_path):
    mn.export(mn.StringsMmap.from_strings(tmp_path / "a", ["x", ""]), tmp_path / "a.csv")
    mn.export(mn.ArrayMmap.from_ndarray(tmp_path / "b", np.eye(2)), tmp_path / "b.jsonl")

    assert (tmp_path / "a.csv").read_text() == 'sample\nx\n""\n'
    assert (tmp_path / "b.jsonl").read_text() == '{"sample":[1.0,0.0]}\n{"sample":[0.0,1.0]}\n'


@pytest.mark.parametrize(("name", "content"), [("a.jsonl", ""), ("a.csv", "sample\n"), ("a.tsv", "sample\n")])
def test_empty_dataset_has_no_line_of_a_sample(tmp_path, name, content):
    mn.export(mn.StringsMmap.from_strings(tmp_path / "a", []), tmp_path / name)

    assert (tmp_path / name).read_text() == content


@hypothesis.settings(max_examples=6)
@hypothesis.given(st.lists(st.tuples(st.text(), st.none() | st.integers(-(2**63), 2**63 - 1), st.text()), max_size=50))
def test_any_texts_read_back(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("texts")
    columns = {"a": mn.Text(), "n": mn.Scalar("i8", nullable=True), "b": mn.Text()}
    made = mn.RecordsMmap.create(path / "ds", columns)
    made.extend([dict(zip("anb", row, strict=True)) for row in rows])

    mn.export(made, path / "a.jsonl")
    mn.export(made, path / "a.csv")

    assert [tuple(line.values()) for line in lines(path / "a.jsonl")] == rows
    read = [(row["a"], int(row["n"]) if row["n"] else None, row["b"]) for row in parsed(path / "a.csv")]
    assert read == rows
