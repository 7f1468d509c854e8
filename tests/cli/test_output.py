"""How samples are written: nothing reaches a terminal that controls it, and JSON is valid whatever a sample holds."""

import base64
import json

import click
import ml_dtypes
import numpy as np
import pytest

from mmap_ninja.cli.output import cut, escaped, in_a_line, in_full, json_line, plain, table


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, None),
        (True, True),
        ("größer", "größer"),
        (b"\x00\xff", {"base64": base64.b64encode(b"\x00\xff").decode()}),
        (float("nan"), "NaN"),
        (np.float32("inf"), "Infinity"),
        (np.float32("8.3"), 8.3),
        (np.array([[0.1, 1e-40], [-0.0, np.nan]], np.float32), [[0.1, 1e-40], [-0.0, "NaN"]]),
        (np.array([1.5, -np.inf, np.nan]), [1.5, "-Infinity", "NaN"]),
        (np.arange(4, dtype=np.uint8).reshape(2, 2), [[0, 1], [2, 3]]),
        (np.int64(2**62 + 1), 2**62 + 1),
        (np.datetime64("2024-01-02T03:04:05.678901234", "ns"), "2024-01-02T03:04:05.678901234"),
        (np.array(["2024-01-02", "NaT"], "datetime64[D]"), ["2024-01-02", "NaT"]),
        (np.timedelta64(3, "h"), "3 hours"),
        (np.complex64(1 + 2j), "(1+2j)"),
        (np.array([1, 2], ml_dtypes.bfloat16), [1.0, 2.0]),
        (np.array([(1, b"x")], [("a", "i4"), ("b", "S1")]), [{"a": 1, "b": {"base64": "eA=="}}]),
        (np.array(["text"]), ["text"]),
        ({"a": [b"x", (1, None)]}, {"a": [{"base64": "eA=="}, [1, None]]}),
    ],
    ids=repr,
)
def test_json_of_any_value(value, shown):
    assert plain(value) == shown
    assert json.loads(json_line(value)) == shown


def test_json_escapes_controls():
    text = "\x1b[2J\x9b\x7f\u202e\n"

    line = json_line({text: text})

    assert json.loads(line) == {text: text}
    assert line.isascii()
    assert line.isprintable()


def test_texts_cannot_control_a_terminal():
    assert escaped("a\x1b]0;title\x07\r\n\tb\u202e\x9b") == r"a\x1b]0;title\x07\r\n\tb\u202e\x9b"
    assert escaped("a\n\tb\r\x1b", lines=True) == "a\n\tb\\r\\x1b"
    assert escaped("größer 漢字 👩‍🔬 नमस्ते") == "größer 漢字 👩‍🔬 नमस्ते"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("12345678", "12345678"),
        ("123456789", "1234567…"),
        ("漢字漢字", "漢字漢字"),
        ("漢字漢字漢", "漢字漢…"),
        ("e\u0301" * 8, "e\u0301" * 8),
    ],
)
def test_texts_are_cut_by_the_columns_that_they_take(text, shown):
    assert cut(text, 8) == shown


@pytest.mark.parametrize(
    ("value", "line"),
    [
        (None, "None"),
        ("two\nlines", r"two\nlines"),
        (b"", "0 bytes"),
        (b"\xff\xd8\xff" + bytes(30), "JPEG, 33 bytes  ff d8 ff 00 00 00 00 00 00 00 00 00 00 00 00 00…"),
        (b"\x89PNG\r\n\x1a\n", "PNG, 8 bytes  89 50 4e 47 0d 0a 1a 0a"),
        (np.float32(0.5), "0.5"),
        (np.zeros((2, 2), np.uint8), "uint8 [2, 2]  0 0 0 0"),
        (np.zeros(0), "float64 [0]"),
        (np.array("\x1b[31m"), r"\x1b[31m"),
        ({"a": [1, None]}, '{"a": [1, null]}'),
    ],
    ids=repr,
)
def test_a_sample_in_a_line(value, line):
    assert in_a_line(value, 80) == line


def test_long_samples_in_a_line_are_cut():
    for value in ("text " * 100, np.arange(1000), list(range(1000)), b"\xff\xd8\xff" + bytes(1000)):
        shown = in_a_line(value, 40)

        assert len(shown) == 40
        assert shown.endswith("…")


def test_a_sample_in_full():
    assert in_full("one\ntwo\x1b\n", 80) == ["one", "two\\x1b"]
    assert in_full("", 80) == [""]
    assert in_full(np.arange(4).reshape(2, 2), 80) == ["int64 [2, 2]", "[[0 1]", " [2 3]]"]
    assert in_full({"a": [1, 2]}, 80) == ['{"a": [1, 2]}']
    assert in_full({"a": [1, 2]}, 8) == ["{", '  "a": [', "    1,", "    2", "  ]", "}"]


def shown(rows, numbers):
    return list(map(click.unstyle, table(rows, numbers)))


def test_tables_fit_80_columns():
    lines = shown([("name", "size"), ("column " * 20, "1"), ("b\x1b", "22")], "lr")

    assert lines == [
        "name                                      size",
        "column column column column column colu…     1",
        r"b\x1b                                       22",
    ]
    rows = [("name", *["number"] * 7), ("column " * 9, *["1234567"] * 7)]
    assert [len(line) for line in shown(rows, "lrrrrrrr")] == [80, 80]
