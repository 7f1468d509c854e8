"""`head`, `get`, `sample`, `cat`, `grep`: what they write, of every kind of dataset."""

import re

import numpy as np
import pytest

import mmap_ninja as mn
from support.golden import GOLDEN, PLAIN, expected_samples
from support.looks import look, look_json, refusal, screen_of
from support.shell import process, script

LONG = "a film that drags on and on, with a plot that nobody needs, and actors who know it " * 2


@pytest.fixture
def texts(tmp_path):
    return mn.StringsMmap.from_strings(tmp_path / "texts", ["good", "", "two\nlines", "evil \x1b[31mred", LONG]).path


@pytest.fixture
def records(tmp_path):
    columns = {
        "text": mn.Text(nullable=True),
        "inner": {"label": mn.Scalar("int8", nullable=True), "tags": mn.Json()},
        "image": mn.Bytes(),
        "tokens": mn.Ragged("int32", nullable=True),
    }
    ds = mn.RecordsMmap.create(tmp_path / "records", columns)
    for index in range(3):
        inner = {"label": None if index == 1 else index, "tags": {"n": index}}
        tokens = None if index == 2 else np.arange(index)
        ds.append({"text": None if index == 1 else "text", "inner": inner, "image": b"\xff\xd8\xff", "tokens": tokens})
    ds.close()
    return ds.path


def test_head_of_texts(texts):
    assert look("head", texts, "-n", 4).splitlines() == ["0  good", "1", r"2  two\nlines", r"3  evil \x1b[31mred"]
    assert look("head", texts).splitlines()[-1] == f"4  {LONG[:76]}…"


def test_head_of_records(records):
    assert look("head", records).splitlines() == [
        "0  text         text",
        "   inner.label  0",
        '   inner.tags   {"n": 0}',
        "   image        JPEG, 3 bytes  ff d8 ff",
        "   tokens       int32 [0]",
        "1  text         None",
        "   inner.label  None",
        '   inner.tags   {"n": 1}',
        "   image        JPEG, 3 bytes  ff d8 ff",
        "   tokens       int32 [1]  0",
        "2  text         text",
        "   inner.label  2",
        '   inner.tags   {"n": 2}',
        "   image        JPEG, 3 bytes  ff d8 ff",
        "   tokens       None",
    ]


def test_json_of_records(records):
    first, second, _ = look_json("head", records)

    inner = {"label": 0, "tags": {"n": 0}}
    assert first == {"text": "text", "inner": inner, "image": {"base64": "/9j/"}, "tokens": []}
    assert (second["text"], second["inner"]["label"], second["tokens"]) == (None, None, [0])


def test_head_of_other_kinds(tmp_path):
    mn.ArrayMmap.from_ndarray(tmp_path / "array", np.array([[1.5, np.nan]], np.float32))
    mn.RaggedMmap.from_generator(tmp_path / "ragged", [np.zeros((2, 2), np.uint8), np.array(7, np.uint8)])
    mn.BytesMmap.from_bytes(tmp_path / "bytes", [b"abc"], zstd_level=3)

    assert look("head", tmp_path / "array") == "0  float32 [2]  1.5 nan\n"
    assert look_json("head", tmp_path / "array") == [[1.5, "NaN"]]
    assert look("head", tmp_path / "ragged") == "0  uint8 [2, 2]  0 0 0 0\n1  7\n"
    assert look_json("head", tmp_path / "ragged") == [[[0, 0], [0, 0]], 7]
    assert look("head", tmp_path / "bytes") == "0  3 bytes  61 62 63\n"


@pytest.mark.parametrize("kind", ["StringsMmap", "BytesMmap", "ArrayMmap", "RaggedMmap", "RecordsMmap"])
def test_empty_datasets(tmp_path, kind):
    getattr(mn, kind).from_generator(tmp_path / "empty", [])

    for command in ("head", "sample", "cat"):
        assert look(command, tmp_path / "empty") == ""
        assert look_json(command, tmp_path / "empty") == []


@pytest.mark.parametrize("name", PLAIN)
def test_directories_of_0x(name):
    assert len(look_json("head", GOLDEN / name, "-n", 100)) == len(expected_samples(name))


def test_get_by_index_and_slice(texts):
    assert look("get", texts, 2) == "2  two\n   lines\n"
    assert look_json("get", texts, "-4", "-5:2", "0", "4:0:-2") == ["", "good", "", "good", LONG, "two\nlines"]
    assert look("get", texts, "-1") == f"4  {LONG.rstrip()}\n"


@pytest.mark.parametrize(
    ("which", "said"),
    [
        ("5", "5: index is out of range for 5 samples"),
        ("-6", "-6: index is out of range for 5 samples"),
        ("x", "x: expected an index such as 17 or -1, or a slice such as 10:20"),
        ("-:2", "-:2: expected an index such as 17 or -1, or a slice such as 10:20"),
        ("--column", "No such option '--column'."),
        ("::0", "::0: the step of a slice must not be 0"),
    ],
)
def test_get_refuses(texts, which, said):
    assert said in refusal("get", texts, which)


def test_sample_is_drawn_by_the_seed(tmp_path):
    path = mn.ArrayMmap.from_ndarray(tmp_path / "numbers", np.arange(1000)).path

    drawn = look_json("sample", path, "-n", 20, "--seed", 1)

    assert drawn == sorted(set(drawn)) == look_json("sample", path, "-n", 20, "--seed", 1)
    assert len(drawn) == 20
    assert drawn != look_json("sample", path, "-n", 20)
    assert look_json("sample", path, "-n", 2000) == list(range(1000))


def test_cat_writes_texts_and_bytes_as_they_are(texts, tmp_path):
    mn.BytesMmap.from_bytes(tmp_path / "bytes", [b"\xff\n", b"\x00"])

    assert look("cat", texts) == f"good\n\ntwo\nlines\nevil \x1b[31mred\n{LONG}\n"
    assert look("cat", texts, "-0").split("\0") == [*mn.open(texts), ""]
    assert process("cat", tmp_path / "bytes", text=False).out == b"\xff\n\n\x00\n"


def test_cat_of_columns(records):
    assert look("cat", records, "--column", "text") == "text\n\ntext\n"
    assert look_json("cat", records, "--column", "text") == ["text", None, "text"]
    assert look("cat", records, "--column", "inner.label") == "0\nnull\n2\n"
    assert look("cat", records, "--column", "inner").splitlines()[1] == '{"label": null, "tags": {"n": 1}}'
    assert len(look("cat", records).splitlines()) == 3
    assert "has no column 'label'; it has 'text', 'inner.label'" in refusal("cat", records, "--column", "label")


def test_cat_does_not_control_a_terminal(texts):
    assert screen_of("mmap-ninja cat", texts) == f"good\n\ntwo\nlines\nevil \\x1b[31mred\n{LONG}\n"


def test_cat_stops_quietly_when_nobody_reads(tmp_path):
    path = mn.StringsMmap.from_strings(tmp_path / "texts", ["text" * 100] * 40_000).path

    ended = script(f"mmap-ninja cat {path} | head -n 1; echo ${{PIPESTATUS[0]}}")

    assert (ended.out, ended.err) == (f"{'text' * 100}\n141\n", "")


def test_grep_shows_the_line_of_the_first_match(texts):
    assert look("grep", "^li.es$", texts) == "2:lines\n"
    assert look("grep", "-i", "GOOD|RED", texts) == "0:good\n3:evil \\x1b[31mred\n"
    assert look("grep", "-c", "o", texts) == "3\n"
    assert look("grep", "-m", 1, "o", texts) == "0:good\n"
    assert look_json("grep", "red", texts) == [{"index": 3, "line": "evil \x1b[31mred"}]


def test_grep_of_records_looks_into_all_texts(records):
    assert look("grep", "e", records) == "0:text:text\n2:text:text\n"
    assert look_json("grep", "e", records, "--column", "text")[1] == {"index": 2, "column": "text", "line": "text"}


def test_grep_finds_nothing(texts):
    assert look("grep", "nowhere", texts, code=1) == ""
    assert look("grep", "-c", "nowhere", texts, code=1) == "0\n"


def test_grep_refuses(texts, records, tmp_path):
    numbers = mn.ArrayMmap.from_ndarray(tmp_path / "numbers", np.arange(3)).path

    assert "pattern '(': missing )" in refusal("grep", "(", texts)
    assert f"{numbers}: holds no texts\n" in refusal("grep", "a", numbers)
    assert f"{records}: column 'image' holds no texts\n" in refusal("grep", "a", records, "--column", "image")
    assert "its samples have no columns; leave out --column" in refusal("grep", "a", texts, "--column", "b")


def test_colors_only_in_terminals_that_want_them(texts):
    colored = screen_of("mmap-ninja grep oo", texts)

    assert "\x1b[" in colored
    assert re.sub(r"\x1b\[\d*m", "", colored) == "0:good\n"
    assert screen_of("env NO_COLOR=1 mmap-ninja grep oo", texts) == "0:good\n"


def test_head_takes_the_width_of_the_terminal(texts):
    assert screen_of("env NO_COLOR=1 COLUMNS=40 mmap-ninja head", texts).splitlines()[-1] == f"4  {LONG[:36]}…"
