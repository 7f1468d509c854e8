"""JSON Lines and arrays of JSON, as libraries write them, and what is wrong with them in the wild."""

import gzip
import json
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
import zstandard

import mmap_ninja as mn
from mmap_ninja.conversion import from_json, text_files

ROWS = [
    {"text": "a\nb", "label": 1, "scores": [0.5, 1.0], "meta": {"tags": ["x", "y"], "class": "c"}},
    {"text": "é日", "label": -2, "scores": [], "meta": {"tags": [], "class": ""}},
    {"text": "", "label": 1 << 40, "scores": [2.0], "meta": {"tags": ["z"], "class": "d"}},
]


def lines(*rows):
    return "".join(row + "\n" for row in rows).encode()


def array(*rows):
    return ("[" + ",\n".join(rows) + "]\n").encode()


@pytest.fixture(params=["jsonl", "json"])
def form(request):
    """How texts of JSON make a file."""
    return {"jsonl": lines, "json": array}[request.param]


@pytest.fixture
def converted(tmp_path):
    """Converts the bytes of a file; with `on_error="skip"` also gives the warning."""

    def convert(data, name="source.json", **options):
        (tmp_path / name).write_bytes(data)
        if options.get("on_error") != "skip":
            return mn.convert(tmp_path / name, tmp_path / "out", **options)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            made = mn.convert(tmp_path / name, tmp_path / "out", **options)
        return made, "\n".join(str(warning.message) for warning in caught)

    return convert


def plain(ds):
    return [json.loads(json.dumps(sample, default=lambda value: value.tolist())) for sample in ds]


def test_samples_are_what_was_written(converted, form):
    ds = converted(form(*map(json.dumps, ROWS)))

    assert plain(ds) == ROWS
    assert ds.columns == ["text", "label", "scores", "meta.tags", "meta.class"]
    assert ds.schema["scores"] == mn.Ragged("float64")
    assert ds.schema["meta.tags"] == mn.Json()


def test_columns_can_be_declared(converted, form):
    ds = converted(form('{"age": 3}', '{"age": null}'), columns={"age": mn.Scalar("int8", nullable=True)})

    assert plain(ds) == [{"age": 3}, {"age": None}]
    assert ds["age"].dtype == np.int8


@pytest.mark.parametrize("library", ["pandas", "pandas array", "polars", "polars lines"])
def test_files_of_libraries_are_read(tmp_path, library):
    frame = {"text": ["a", 'b "q"\n', "é日"], "x": [1.5, -2.0, 1e300], "n": [1, 2, 1 << 60]}
    path = tmp_path / ("a.json" if "array" in library or library == "polars" else "a.jsonl")
    if library.startswith("pandas"):
        lines_ = {"lines": True} if path.suffix == ".jsonl" else {}
        pd.DataFrame(frame).to_json(path, orient="records", double_precision=15, **lines_)
    elif path.suffix == ".jsonl":
        pl.DataFrame(frame).write_ndjson(path)
    else:
        pl.DataFrame(frame).write_json(path)

    ds = mn.convert(path, tmp_path / "out")

    assert ds["text"][:] == frame["text"]
    assert ds["n"][:].tolist() == frame["n"]
    assert ds["x"][:].tolist() == pytest.approx(frame["x"])


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.ndjson.zst", "A.JSON.GZ", "two frames.jsonl.zst"])
def test_compressed_files_are_read(converted, name):
    data = lines(*map(json.dumps, ROWS))
    half = data.index(b"\n") + 1
    pack = gzip.compress if name.lower().endswith("gz") else zstandard.compress
    packed = pack(data[:half]) + pack(data[half:]) if " " in name else pack(data)

    assert plain(converted(packed, name)) == ROWS


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.jsonl.zst"])
@pytest.mark.parametrize("fault", ["cut", "other"])
def test_compressed_files_that_are_damaged_raise(converted, name, fault):
    pack = gzip.compress if name.endswith("gz") else zstandard.compress
    packed = pack(lines(*(json.dumps({"n": number**3}) for number in range(2000))))
    damaged = packed[: len(packed) // 2] if fault == "cut" else packed[:4] + bytes(20) + packed[24:]

    with pytest.raises(ValueError, match=f"{name}: its compressed data is damaged or cut off"):
        converted(damaged, name)


def test_an_end_of_line_of_windows_and_a_byte_order_mark_are_taken_off(converted, form):
    data = b"\xef\xbb\xbf" + form(*map(json.dumps, ROWS)).replace(b"\n", b"\r\n")

    assert plain(converted(data)) == ROWS


@pytest.mark.parametrize("data", [b"", b"\n\n", b"[]", b" [\n] \n", b"\xef\xbb\xbf"])
def test_a_file_without_samples_makes_a_dataset_without_samples(converted, data):
    assert list(converted(data)) == []


def test_blank_lines_are_none(converted):
    assert plain(converted(b'\n{"a": 1}\n \r\n{"a": 2}')) == [{"a": 1}, {"a": 2}]


def test_the_last_line_that_is_cut_off_raises(converted, form):
    data = form('{"a": "x"}', '{"a": "yyyy"}').rstrip(b"]\n")[:-4]

    with pytest.raises(ValueError, match=r"source.json, line 2: .*Unterminated string; the file ends here: it may be"):
        converted(data)


@pytest.mark.parametrize("end", ["", ",", " ", ', {"a"', ', {"a": tr'])
def test_an_array_that_is_cut_off_raises(converted, end):
    with pytest.raises(ValueError, match=r"source.json, line 2: .*the file ends here: it may be cut off"):
        converted(b'[{"a": 1},\n {"a": 2}' + end.encode(), on_error="skip")


def test_what_follows_an_array_raises(converted):
    with pytest.raises(ValueError, match=r"line 2: expected the end of the file after its array"):
        converted(b'[{"a": 1}]\n[{"a": 2}]')


def test_a_line_that_is_no_json_raises_and_can_be_left_out(converted):
    data = lines('{"a": 1}', '{"a": 2', '{"a": 3}')

    with pytest.raises(ValueError, match=r"source.json, line 2: character 8: Expecting ',' delimiter$"):
        converted(data)
    ds, told = converted(data, on_error="skip")
    assert plain(ds) == [{"a": 1}, {"a": 3}]
    assert "source.json, line 2: character 8" in told


def test_an_object_over_several_lines_is_no_line(converted):
    with pytest.raises(ValueError, match=r"source.json, line 1: character 2: Expecting property name"):
        converted(b'{\n"a": 1\n}\n')


def test_a_name_that_occurs_twice_raises_and_can_be_left_out(converted, form):
    data = form('{"a": 1}', '{"a": {"b": 1, "b": 2}}', "7", "[1]", '{"a": 3}')

    with pytest.raises(ValueError, match=r"source.json, line 2: the name 'b' occurs twice in an object"):
        converted(data)
    ds, told = converted(data, on_error="skip")
    assert plain(ds) == [{"a": 1}, {"a": 3}]
    assert "3 samples were left out" in told
    assert "line 3: expected an object, found 7" in told


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ('"x"', r"dtype int64 cannot hold .*columns={'a': mn.Json\(\)}"),
        ("2.5", r"cannot hold 2.5; .*columns={'a': mn.Scalar\('float64'\)}"),
        ("null", r"is None, .*columns={'a': mn.Scalar\('int64', nullable=True\)}"),
        ("9223372036854775808", r"cannot hold 9223372036854775808; .*columns={'a': mn.Scalar\('uint64'\)}"),
        ("1" * 30, r"columns={'a': mn.Json\(\)}"),
        ("[1]", r"columns={'a': mn.Ragged\('int64'\)}"),
        ('1, "b": 2', r"has an unknown column 'b'"),
    ],
)
def test_a_later_value_of_another_type_raises_and_can_be_left_out(converted, form, value, message):
    rows = ['{"a": 1}'] * 1500
    rows[1200] = f'{{"a": {value}}}'

    with pytest.raises((TypeError, ValueError), match=message) as raised:
        converted(form(*rows))
    assert "source.json, line 1201" in str(raised.value)
    ds, told = converted(form(*rows), on_error="skip", if_exists="replace")
    assert plain(ds) == [{"a": 1}] * 1499
    assert "source.json, line 1201: " in told


@pytest.mark.torture
def test_a_value_of_another_type_in_row_1_000_000(converted, form):
    rows = ['{"a": 1}'] * 1_100_000
    rows[999_999] = '{"a": "x"}'

    with pytest.raises(TypeError, match=r"source.json, line 1000000\)"):
        converted(form(*rows))
    ds, told = converted(form(*rows), on_error="skip", if_exists="replace")
    assert len(ds) == 1_099_999
    assert "1 sample was left out" in told


def test_integers_beyond_64_bits_are_kept_as_json(converted, form):
    ds = converted(form(f'{{"a": {1 << 64}}}', f'{{"a": {-(1 << 90)}}}'))

    assert plain(ds) == [{"a": 1 << 64}, {"a": -(1 << 90)}]


def test_numbers_that_json_does_not_have_are_floats(converted, form):
    ds = converted(form('{"a": 1.5}', '{"a": NaN}', '{"a": Infinity}', '{"a": -Infinity}'))

    assert ds["a"][:].tolist() == pytest.approx([1.5, float("nan"), float("inf"), float("-inf")], nan_ok=True)


def test_nulls_make_a_column_nullable(converted, form):
    ds = converted(form('{"a": 1, "t": null}', '{"a": null, "t": "x"}', "{}"))

    assert plain(ds) == [{"a": 1, "t": None}, {"a": None, "t": "x"}, {"a": None, "t": None}]


def test_nulls_alone_define_no_type(converted, form):
    with pytest.raises(TypeError, match=r"column 'a': .*which defines no type; declare it, as with columns={'a': mn.T"):
        converted(form('{"a": null}', '{"a": null}'))


def test_invalid_utf_8_names_the_byte(converted, form):
    data = form('{"a": "é"}', '{"a": "x\x7f"}', '{"a": "z"}').replace(b"\x7f", b"\xe9")
    at = data.index(b'\xe9"')

    with pytest.raises(ValueError, match=f"source.json, line 2: byte {at} is 0xe9: expected text in UTF-8"):
        converted(data)


def test_lines_of_invalid_utf_8_can_be_left_out(converted):
    ds, told = converted(b'{"a": "x"}\n{"a": "\xff"}\n{"a": "z"}\n', on_error="skip")

    assert plain(ds) == [{"a": "x"}, {"a": "z"}]
    assert "line 2: byte 18 is 0xff" in told


def test_a_lone_surrogate_raises(converted, form):
    with pytest.raises(ValueError, match=r"lone surrogate.*line 2"):
        converted(form('{"a": "x"}', r'{"a": "\ud800"}'))


def test_json_that_is_nested_too_deep_raises(converted, form):
    with pytest.raises(ValueError, match=r"line 2: is nested too deep"):
        converted(form('{"a": []}', '{"a": ' + "[" * 100_000 + "]" * 100_000 + "}"))


@pytest.mark.parametrize("name", ["class", "a/b", "a b", "é", "self"])
def test_any_printable_name_is_one_of_a_column(converted, form, name):
    ds = converted(form(json.dumps({name: 1})))

    assert ds.columns == [name]


def test_a_name_with_a_dot_nests(converted, form):
    assert plain(converted(form('{"a.b": 1, "c": {"d.e": 2}}'))) == [{"a": {"b": 1}, "c": {"d": {"e": 2}}}]


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 50])
def test_arrays_are_read_in_parts(converted, monkeypatch, chunk):
    monkeypatch.setattr(from_json, "_CHUNK", chunk)
    rows = [{"a": 'é\\"\n', "n": number, "x": number / 7, "t": number % 2 == 0, "o": [{}, []]} for number in range(20)]

    assert plain(converted(json.dumps(rows, indent=1, ensure_ascii=False).encode())) == rows


def test_samples_that_have_no_end_raise(converted, monkeypatch):
    for module in (from_json, text_files):
        monkeypatch.setattr(module, "MOST_BYTES", 1000)
    monkeypatch.setattr(from_json, "_CHUNK", 100)

    with pytest.raises(ValueError, match=r"source.json, line 1: an item has more than 1,000 characters"):
        converted(b'[{"a": "' + b"x" * 5000)
    with pytest.raises(ValueError, match=r"source.json, line 1: expected less than 1,000 bytes in a line"):
        converted(b'{"a": "' + b"x" * 5000)


def test_a_conversion_is_resumed(tmp_path, form):
    rows = [json.dumps({"n": number, "t": "x" * (number % 50)}) for number in range(5000)]
    good = form(*rows)
    (tmp_path / "a.json").write_bytes(form(*rows[:3000], '{"n": 1', *rows[3000:]))
    with pytest.raises(ValueError, match="line 300[12]"):
        mn.convert(tmp_path / "a.json", tmp_path / "out", batch_bytes=1000)
    (tmp_path / "a.json").write_bytes(good)

    ds = mn.convert(tmp_path / "a.json", tmp_path / "out", batch_bytes=1000, if_exists="resume")

    assert plain(ds) == list(map(json.loads, rows))


def test_texts_of_declared_dates_become_dates(converted):
    data = lines('{"at": "2026-11-29", "of": {"day": "2026-11-29"}}', '{"at": null, "of": {"day": null}}')
    columns = {"at": mn.Scalar("datetime64[s]"), "of.day": mn.Scalar("datetime64[D]", nullable=True)}

    ds = converted(data, columns=columns)

    assert ds["at"][:].tolist() == [np.datetime64("2026-11-29", "s").item(), None]
    assert ds[0]["of"]["day"] == np.datetime64("2026-11-29")
    assert ds[1]["of"]["day"] is None
    with pytest.raises(ValueError, match=r"line 1: column 'at': '29.11.2026' is no datetime64\[s\]"):
        converted(lines('{"at": "29.11.2026"}'), columns={"at": columns["at"]}, if_exists="replace")


def test_lines_that_end_as_on_old_macs_are_not_said_to_be_cut_off(converted):
    with pytest.raises(ValueError, match=r"line 1: character 10: Extra data$"):
        converted(b'{"a": 1}\r{"a": 2}\r')
