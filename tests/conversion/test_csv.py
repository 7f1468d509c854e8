"""CSV and TSV, as libraries write them, and what is wrong with them in the wild."""

import csv
import gzip
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
import zstandard

import mmap_ninja as mn
from mmap_ninja.conversion import from_csv


@pytest.fixture
def converted(tmp_path):
    """Converts the text of a file; with `on_error="skip"` also gives the warning."""

    def convert(data, name="source.csv", **options):
        (tmp_path / name).write_bytes(data if isinstance(data, bytes) else data.encode())
        if options.get("on_error") != "skip":
            return mn.convert(tmp_path / name, tmp_path / "out", **options)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            made = mn.convert(tmp_path / name, tmp_path / "out", **options)
        return made, "\n".join(str(warning.message) for warning in caught)

    return convert


def values(ds, name):
    """The samples of a column as Python's own values."""
    return [getattr(value, "tolist", lambda value=value: value)() for value in ds[name]]


@pytest.mark.parametrize(
    ("fields", "spec", "stored"),
    [
        (["1", "-2", " 3 ", "0"], mn.Scalar("int64"), [1, -2, 3, 0]),
        (["1", "", "3"], mn.Scalar("int64", nullable=True), [1, None, 3]),
        (["1", "2.5", "-1e-3", "nan", "inf"], mn.Scalar("float64"), [1, 2.5, -0.001, float("nan"), float("inf")]),
        (["0.5", ""], mn.Scalar("float64", nullable=True), [0.5, None]),
        (["true", "False", "TRUE"], mn.Scalar("bool"), [True, False, True]),
        (["true", ""], mn.Scalar("bool", nullable=True), [True, None]),
        (["a", "", "1"], mn.Text(), ["a", "", "1"]),
        (["007", "12"], mn.Text(), ["007", "12"]),
        (["1_000", "2"], mn.Text(), ["1_000", "2"]),
        (["+1", "2"], mn.Scalar("float64"), [1, 2]),
        (["٣", "2"], mn.Text(), ["٣", "2"]),
        (["18446744073709551616", "2"], mn.Text(), ["18446744073709551616", "2"]),
        (["9223372036854775807", "-9223372036854775808"], mn.Scalar("int64"), [(1 << 63) - 1, -(1 << 63)]),
        (["true", "1"], mn.Text(), ["true", "1"]),
        (["", ""], mn.Text(), ["", ""]),
    ],
)
def test_first_rows_define_a_column(converted, fields, spec, stored):
    ds = converted("a,b\n" + "".join(f"{field},x\n" for field in fields))

    assert ds.schema["a"] == spec
    assert values(ds, "a") == pytest.approx(stored, nan_ok=True) if "nan" in fields else values(ds, "a") == stored


@pytest.mark.parametrize(
    ("spec", "fields", "stored"),
    [
        (mn.Text(), ["1", ""], ["1", ""]),
        (mn.Text(nullable=True), ["1", ""], ["1", None]),
        (mn.Bytes(), ["é", ""], ["é".encode(), b""]),
        (mn.Scalar("uint8"), ["1", "255"], [1, 255]),
        (mn.Scalar("float32", nullable=True), ["1", ""], [1.0, None]),
        (mn.Scalar("bool"), ["true", "false"], [True, False]),
        (mn.Json(), ['"{""a"": [1]}"', "null"], [{"a": [1]}, None]),
        (mn.Ragged("int32"), ['"[1, 2]"', "[]"], [[1, 2], []]),
        (mn.Array((2,), "float64"), ['"[1, 2]"', '"[3, 4]"'], [[1.0, 2.0], [3.0, 4.0]]),
    ],
)
def test_columns_can_be_declared(converted, spec, fields, stored):
    ds = converted("a,b\n" + "".join(f"{field},x\n" for field in fields), columns={"a": spec})

    assert values(ds, "a") == stored
    assert type(ds.schema["a"]) is type(spec)


def test_dates_can_be_declared(converted):
    columns = {"a": mn.Scalar("datetime64[s]")}

    assert converted("a\n2026-11-29\n2026-11-29T05:45:00\n", columns=columns)["a"][:].tolist() == [
        np.datetime64("2026-11-29", "s").item(),
        np.datetime64("2026-11-29T05:45:00", "s").item(),
    ]
    with pytest.raises(ValueError, match=r"line 2: column 'a': '2026-11-29T05:45Z' is no datetime64\[s\]"):
        converted("a\n2026-11-29T05:45Z\n", columns=columns, if_exists="replace")


@pytest.mark.parametrize("library", ["csv", "excel", "pandas", "pandas index", "polars"])
@pytest.mark.parametrize("separator", [",", "\t"])
def test_files_of_libraries_are_read(tmp_path, library, separator):
    frame = {"text": ["a", 'b "q"\n,\t', "é日", " "], "x": [1.5, -2.0, 1e300, 0.1], "n": [1, 2, 1 << 60, 0]}
    path = tmp_path / ("a.csv" if separator == "," else "a.tsv")
    if library.startswith("pandas"):
        pd.DataFrame(frame).to_csv(path, sep=separator, index="index" in library)
    elif library == "polars":
        pl.DataFrame(frame).write_csv(path, separator=separator)
    else:
        with path.open("w", newline="", encoding="utf-8-sig" if library == "excel" else "utf-8") as file:
            writer = csv.writer(file, delimiter=separator, lineterminator="\r\n" if library == "excel" else "\n")
            writer.writerows([frame, *zip(*frame.values(), strict=True)])

    ds = mn.convert(path, tmp_path / "out")

    index = {"index": [0, 1, 2, 3]} if "index" in library else {}
    assert {name: values(ds, name) for name in ds.columns} == {**index, **frame}


@pytest.mark.parametrize("name", ["a.csv.gz", "a.csv.zst", "A.CSV"])
def test_compressed_files_are_read(converted, name):
    pack = {"gz": gzip.compress, "zst": zstandard.compress, "CSV": bytes}[name.rpartition(".")[2]]

    assert values(converted(pack(b"a,b\n1,x\n"), name), "b") == ["x"]


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("", r"source.csv: is empty; expected a first line with the names of the columns"),
        (
            "1,2.5\n3,4\n",
            r"line 1: expected the names of the columns, found \['1', '2.5'\]: give the file a first",
        ),
        ("\n1,-2\n", r"line 2: expected the names of the columns, found \['1', '-2'\]"),
        ("a,b,a\n1,2,3\n", r"line 1: .*found 'a' twice: give each column a name of its own"),
        ("a,b,\n1,2,3\n", r"line 1: .*found none for column 3"),
        ("a,a.b\n1,2\n", r"line 1: column 'a': is also a group of columns"),
        ("a,b\x07\n1,2\n", r"line 1: column 'b\\x07': has characters that cannot be printed"),
    ],
)
def test_a_file_without_names_of_columns_raises(converted, header, message):
    with pytest.raises(ValueError, match=message):
        converted(header)


def test_a_header_alone_makes_a_dataset_without_samples(converted):
    ds = converted("a,b\n")

    assert ds.columns == ["a", "b"]
    assert len(ds) == 0


@pytest.mark.parametrize("names", ["0,1,2", ",0,1", "class,a/b,self", "class, a b ,é"])
def test_names_of_columns(converted, names):
    ds = converted(f"{names}\n1,2,3\n")

    assert ds.columns == [name.strip() or "index" for name in names.split(",")]


def test_a_name_with_a_dot_nests(converted):
    assert converted("a.b,a.c\n1,2\n")[0] == {"a": {"b": 1, "c": 2}}


def test_a_declared_column_that_is_not_there_raises(converted):
    with pytest.raises(ValueError, match=r"line 1: .*to hold 'c', whose type was given, found \['a', 'b'\]"):
        converted("a,b\n1,2\n", columns={"c": mn.Text()})


@pytest.mark.parametrize("end", ["", "\n", "\r\n", "\n\n", '""'])
def test_a_last_line_needs_no_end(converted, end):
    assert values(converted("a,b\n1,x\n2,y" + end.replace('""', "")), "b") == ["x", "y"]


def test_a_last_line_that_is_cut_off_raises(converted):
    with pytest.raises(ValueError, match=r"source.csv, line 3: expected 2 fields, as in the first line, found 1"):
        converted("a,b\n1,x\n2")
    with pytest.raises(ValueError, match=r"source.csv, line 3: unexpected end of data; is a quote missing"):
        converted('a,b\n1,x\n2,"y')


def test_rows_that_cannot_be_read_can_be_left_out(converted):
    ds, told = converted('a,b\n1,x\n2\n3,"y"z\n4,\xe9,6\n"5\n5",w\n6,v\n'.encode("latin-1"), on_error="skip")

    assert values(ds, "a") == ["1", "5\n5", "6"]
    assert "3 samples were left out" in told
    for place in ("line 3: expected 2 fields", "line 4: ',' expected after '\"'", "line 5: byte 19 is 0xe9"):
        assert f"source.csv, {place}" in told


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ("x", r"'x' is no int64; to store it, convert with columns={'n': mn.Text\(\)}"),
        ("007", r"'007' is no int64; to store it, convert with columns={'n': mn.Text\(\)}"),
        ("1.5", r"'1.5' is no int64; to store it, convert with columns={'n': mn.Scalar\('float64'\)}"),
        (str(1 << 63), r"'9223372036854775808' is no int64; .*mn.Text\(\)}"),
        ("", r"an empty field, where it was expected int64; .*mn.Scalar\('int64', nullable=True\)}"),
    ],
)
def test_a_later_field_of_another_type_raises_and_can_be_left_out(converted, field, message):
    rows = [f"{number},t\n" for number in range(1500)]
    rows[1200] = f"{field},t\n"
    text = 'n,"t\n"\n' + "".join(rows)

    with pytest.raises(ValueError, match=f"source.csv, line 1203: column 'n': {message}"):
        converted(text)
    ds, told = converted(text, on_error="skip", if_exists="replace")
    assert values(ds, "n") == [number for number in range(1500) if number != 1200]
    assert "source.csv, line 1203: column 'n'" in told


@pytest.mark.torture
def test_a_field_of_another_type_in_row_1_000_000(converted):
    rows = ["1,t\n"] * 1_100_000
    rows[999_999] = "x,t\n"

    with pytest.raises(ValueError, match=r"source.csv, line 1000001: column 'n': 'x' is no int64"):
        converted("n,t\n" + "".join(rows))


def test_what_the_kernel_refuses_names_the_line(converted):
    with pytest.raises(TypeError, match=r"line 3"):
        converted('a\n"[1, 2]"\n"[1, ""x""]"\n', columns={"a": mn.Ragged("int64")})


def test_invalid_utf_8_names_line_and_byte(converted):
    with pytest.raises(ValueError, match=r"source.csv, line 2: byte 12 is 0xff: expected text in UTF-8"):
        converted(b'a,b\n1,"\xc3\xa9\n x\xff"\n')


def test_long_fields_are_read_and_leave_the_limit_of_csv(converted):
    before = csv.field_size_limit()

    ds = converted("a,b\n" + "x" * (before + 1) + ",1\n")

    assert len(ds["a"][0]) == before + 1
    assert csv.field_size_limit() == before


def test_a_quote_that_is_not_closed_raises_before_memory_is_full(converted, monkeypatch):
    monkeypatch.setattr(from_csv, "_MOST_CHARACTERS", 5000)

    with pytest.raises(ValueError, match=r"source.csv, line 3: field larger than field limit \(5000\); is a quote"):
        converted('a,b\n1,2\n"3,4\n' + "5,6\n" * 5000)


def test_a_conversion_is_resumed(tmp_path):
    rows = [f"{number},{'x' * (number % 50)}\n" for number in range(5000)]
    source = tmp_path / "a.csv"
    source.write_text("n,t\n" + "".join([*rows[:3000], "bad\n", *rows[3000:]]))
    with pytest.raises(ValueError, match="line 3002"):
        mn.convert(source, tmp_path / "out", batch_bytes=1000)
    source.write_text("n,t\n" + "".join(rows))

    ds = mn.convert(source, tmp_path / "out", batch_bytes=1000, if_exists="resume")

    assert values(ds, "n") == list(range(5000))
    assert values(ds, "t") == ["x" * (number % 50) for number in range(5000)]


def test_a_date_that_the_dtype_does_not_reach_is_refused(converted):
    """NumPy makes one within its reach of it: of the year 3000 that of 1830."""
    columns = {"day": mn.Scalar("datetime64[ns]")}
    with pytest.raises(ValueError, match=r"source.csv, line 4: column 'day': '3000-01-01' is no datetime64\[ns\]"):
        converted("day\n2020-02-29\nNaT\n3000-01-01\n", columns=columns)
