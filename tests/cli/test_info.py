"""`info`: all facts at a glance, by work that does not grow with the samples."""

import re
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest

import mmap_ninja as mn
from support.golden import GOLDEN, PLAIN
from support.looks import look, look_json


@pytest.fixture
def records(tmp_path):
    columns = {"text": mn.Text(nullable=True), "label": mn.Scalar("int8"), "box": mn.Array((2, 2), "float32")}
    ds = mn.RecordsMmap.create(tmp_path / "records", columns, metadata={"made by": "a test"})
    ds.extend([{"text": "ab" * (n % 16), "label": n, "box": np.zeros((2, 2), np.float32)} for n in range(64)])
    ds[0] = {**ds[0], "text": None}
    del ds[1]
    ds.flush()
    return ds


def test_the_screen_of_records(records):
    shown = look("info", records.path).replace(str(records.path), "PATH").replace(records.commit_id, "COMMIT")
    shown = re.sub(r"\d+% is", "SHARE is", re.sub("filesystem  .*, read by (mmap|pread)", "filesystem  KIND", shown))

    assert shown.splitlines() == [
        "PATH",
        "  kind        records",
        "  samples     63",
        "  size        2.03 kB of samples, 2.72 kB in 7 files",
        "  garbage     118 bytes after 2 edits",
        "  generation  1",
        "  commit id   COMMIT",
        "  residency   SHARE is in memory",
        "  filesystem  KIND",
        '  metadata    {"made by": "a test"}',
        "",
        "column  type               size",
        "text    str or None     1.55 kB",
        "label   int8           65 bytes",
        "box     float32[2, 2]   1.04 kB",
        "",
        "file          column  role          size",
        "c0.data-1     text    data     960 bytes",
        "c0.offsets-1  text    offsets  528 bytes",
        "c0.nulls-1    text    nulls     65 bytes",
        "c1.data-1     label   data      65 bytes",
        "c2.data-1     box     data       1.04 kB",
        "edits-1       all     edits     64 bytes",
        "sums-1        all     sums       0 bytes",
        "",
        "lengths of text in bytes, of all samples",
        "  0 to 30, median 16, 1 missing",
        "  from  0  █████████████████████████████████▍        10",
        "  from  5  ██████████████████████████▊               8",
        "  from 10  ████████████████████████████████████████  12",
        "  from 15  ██████████████████████████▊               8",
        "  from 20  ████████████████████████████████████████  12",
        "  from 25  ██████████████████████████▊               8",
        "  from 30  █████████████▍                            4",
    ]


def test_the_facts_are_those_of_the_handle(records):
    facts = look_json("info", records.path)

    assert (facts["kind"], facts["samples"], facts["complete"]) == ("records", 63, True)
    assert facts["bytes"]["samples"] == records.nbytes
    assert facts["bytes"]["garbage"] == records.garbage
    assert facts["bytes"]["files"] == sum(file["bytes"] for file in facts["files"])
    assert {file["name"] for file in facts["files"]} == {
        path.name for path in records.path.iterdir() if "-" in path.name and not path.name.startswith("meta")
    }
    assert (facts["commit_id"], facts["edits"], facts["metadata"]) == (records.commit_id, 2, records.metadata)
    assert facts["read_mode"] == records.read_mode
    assert 0 <= facts["residency"] <= 1


def test_lengths_are_sampled_and_said_to_be(tmp_path):
    rng = np.random.default_rng(0)
    texts = ["x" * int(length) for length in rng.lognormal(4, 1, 5000)]
    path = mn.StringsMmap.from_strings(tmp_path / "texts", texts).path

    (column,) = look_json("info", path)["columns"]

    lengths = column["lengths"]
    assert (lengths["sampled"], sum(lengths["counts"])) == (1000, 1000)
    assert lengths["edges"] == [1 << bit for bit in range(len(bin(lengths["edges"][0])) - 3, 12)]  # powers of 2
    assert abs(lengths["median"] - np.median([*map(len, texts)])) < 5
    assert "lengths in bytes, of 1,000 samples drawn at random" in look("info", path)


def test_codec_and_ratio(tmp_path):
    path = mn.StringsMmap.from_strings(tmp_path / "texts", ["ab" * 500] * 10, zstd_level=3).path

    (column,) = look_json("info", path)["columns"]

    assert column["codec"] == "zstd, level 3"
    assert column["ratio"] > 10
    assert re.search(r"^sample  str, zstd, level 3, \d\d\.\d times smaller  ", look("info", path), re.MULTILINE)


@pytest.mark.parametrize(
    ("kind", "samples", "shown"),
    [
        ("StringsMmap", [], "str"),
        ("BytesMmap", [b"x"], "bytes"),
        ("ArrayMmap", [], "not known yet"),
        ("ArrayMmap", [np.zeros((2, 3), np.uint8)], "uint8[2, 3]"),
        ("RaggedMmap", [], "not known yet"),
        ("RaggedMmap", [np.zeros(3)], "float64[...]"),
    ],
)
def test_types_of_other_kinds(tmp_path, kind, samples, shown):
    getattr(mn, kind).from_generator(tmp_path / "ds", samples)

    assert re.search(rf"^sample  {re.escape(shown)}  +\d", look("info", tmp_path / "ds"), re.MULTILINE)


def test_records_without_columns(tmp_path):
    mn.RecordsMmap.from_generator(tmp_path / "ds", [])

    assert look_json("info", tmp_path / "ds")["columns"] == []
    assert "\ncolumn  type  size\n\n" in look("info", tmp_path / "ds")


def test_of_many_columns_only_some_are_sampled(tmp_path):
    mn.RecordsMmap.from_generator(tmp_path / "ds", [{f"c{n}": "text" for n in range(50)}])

    facts = look_json("info", tmp_path / "ds")

    assert len(facts["columns"]) == 50
    assert sum("lengths" in column for column in facts["columns"]) == 8


@pytest.mark.parametrize("name", PLAIN)
def test_directories_of_0x(name):
    facts = look_json("info", GOLDEN / name)

    assert (facts["format"], facts["generation"], facts["edits"]) == ("0.x", None, 0)
    assert all((GOLDEN / name / file["name"]).stat().st_size >= file["bytes"] for file in facts["files"])
    assert "  generation  written by 0.x\n" in look("info", GOLDEN / name)


def test_a_build_that_has_not_ended(tmp_path):
    def samples():
        yield "one"
        raise ValueError("interrupted")

    with pytest.raises(ValueError, match="interrupted"):
        mn.StringsMmap.from_generator(tmp_path / "half", samples(), batch_size=1)

    assert "  samples     1, and the build has not ended\n" in look("info", tmp_path / "half")
    assert look_json("info", tmp_path / "half")["complete"] is False


def test_names_and_metadata_cannot_control_a_terminal(tmp_path):
    mn.RecordsMmap.from_generator(tmp_path / "e\x1b[2Jvil", [{"text": "\x1b[2J"}], metadata={"e\x9bvil": "\x1b"})

    for command in ("info", "head", "stats"):
        assert "\x1b" not in look(command, tmp_path / "e\x1b[2Jvil")


def test_memory_does_not_grow_with_the_samples(tmp_path):
    count = 4_000_000
    offsets = pa.py_buffer(np.zeros(count + 1, np.int64))
    texts = pa.LargeStringArray.from_buffers(count, offsets, pa.py_buffer(b""))
    path = mn.StringsMmap.from_arrow(tmp_path / "texts", pa.table({"text": texts}), batch_size=count).path
    code = (
        "import contextlib, io, resource, sys; from mmap_ninja.cli.main import cli; import mmap_ninja as mn; mn.open\n"
        "usage = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "def run(path):\n"
        "    with contextlib.redirect_stdout(io.StringIO()): cli.main(['info', path], standalone_mode=False)\n"
        "run(sys.argv[1]); before = usage(); run(sys.argv[2]); print(usage() - before)"
    )
    small = mn.StringsMmap.from_strings(tmp_path / "small", [""]).path

    process = subprocess.run([sys.executable, "-c", code, small, path], capture_output=True, text=True, check=True)

    assert int(process.stdout) < 8 * 1024  # KiB; an int64 for each sample takes 31 MiB
