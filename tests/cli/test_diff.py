"""`diff`: whether two datasets are the same, and what differs."""

import shutil

import numpy as np
import pytest

import mmap_ninja as mn
from mmap_ninja.cli import differences
from support.golden import GOLDEN, PLAIN
from support.looks import look, look_json

LONG = "a film that drags on and on, with a plot that nobody needs, and actors who know it " * 2


def test_the_screen_of_texts(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    mn.StringsMmap.from_strings("a", ["same", "old", LONG], metadata={"version": "1"})
    mn.StringsMmap.from_strings("b", ["same", "new", f"{LONG}\n", "more"], zstd_level=3)

    assert look("diff", "a", "b", code=1).splitlines() == [
        "--- a",
        "+++ b",
        "samples",
        "- 3",
        "+ 4",
        "metadata",
        '- {"version": "1"}',
        "+ {}",
        "2 of 3 samples differ",
        "sample 1",
        "- old",
        "+ new",
        "sample 2",
        f"- …{LONG[-39:]}",
        rf"+ …{LONG[-39:]}\n",
    ]


def test_the_screen_of_records(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    one = {"text": "a", "inner": {"label": 1, "box": np.zeros(2)}, "left": b"\xff\xd8\xff"}
    mn.RecordsMmap.from_generator("a", [one, one])
    mn.RecordsMmap.from_generator("b", [one, {**one, "text": None, "inner": {"label": 2, "box": np.ones(2)}}])
    mn.open("b").drop_column("left")

    assert look("diff", "a", "b", code=1).splitlines() == [
        "--- a",
        "+++ b",
        "column text",
        "- str",
        "+ str or None",
        "column left",
        "- bytes",
        "+ none",
        "1 of 2 samples differ",
        "sample 1, text",
        "- a",
        "+ None",
        "sample 1, inner.label",
        "- 1",
        "+ 2",
        "sample 1, inner.box",
        "- float64 [2]  0.0 0.0",
        "+ float64 [2]  1.0 1.0",
    ]
    assert look_json("diff", "a", "b", code=1)["samples"][0] == {
        "index": 1, "column": "text", "first": "a", "second": None,
    }  # fmt: skip


def test_other_kinds_are_not_compared(tmp_path):
    mn.StringsMmap.from_strings(tmp_path / "a", ["x"])
    mn.BytesMmap.from_bytes(tmp_path / "b", [b"x"])

    facts = look_json("diff", tmp_path / "a", tmp_path / "b", code=1)

    assert facts["differences"] == [{"what": "kind", "first": "strings", "second": "bytes"}]
    assert facts["compared"] == 0


def test_few_are_shown_and_all_are_counted(tmp_path):
    mn.ArrayMmap.from_ndarray(tmp_path / "a", np.arange(200_000))
    mn.ArrayMmap.from_ndarray(tmp_path / "b", np.arange(200_000) // 2 * 2)

    facts = look_json("diff", tmp_path / "a", tmp_path / "b", "-n", 2, code=1)

    assert (facts["compared"], facts["differing"]) == (200_000, 100_000)
    assert [sample["index"] for sample in facts["samples"]] == [1, 3]


@pytest.mark.parametrize(
    "samples",
    [
        [np.array([1.0, np.nan]), np.array([np.nan, np.nan])],
        [np.zeros((2, 2)), np.zeros(3), np.array(np.nan)],
        [np.array(["2024-01-01", "NaT"], "datetime64[D]")],
    ],
    ids=["numbers", "ragged", "dates"],
)
def test_nan_is_equal_to_nan(tmp_path, samples):
    for name in ("a", "b"):
        kind = mn.ArrayMmap if len({sample.shape for sample in samples}) == 1 else mn.RaggedMmap
        kind.from_generator(tmp_path / name, samples, batch_size=len(name))
    mn.open(tmp_path / "b").append(samples[0])

    facts = look_json("diff", tmp_path / "a", tmp_path / "b", code=1)

    assert (facts["differing"], facts["compared"]) == (0, len(samples))


def test_copies_and_equal_builds_are_not_read(tmp_path, monkeypatch):
    for name in ("a", "b"):
        mn.StringsMmap.from_strings(tmp_path / name, ["text"] * 1000)
    shutil.copytree(tmp_path / "a", tmp_path / "c")
    monkeypatch.setattr(differences, "_compare_samples", pytest.fail)

    for other in "abc":
        assert look("diff", tmp_path / "a", tmp_path / other) == ""
        assert look_json("diff", tmp_path / "a", tmp_path / other)["equal"] is True


def test_payloads_written_in_place_are_read(tmp_path):
    memmap = mn.np_from_ndarray(tmp_path / "a", np.zeros(1000))
    del memmap
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    changed = np.memmap(next((tmp_path / "b").glob("*data*")), np.float64, "r+", shape=(1000,))
    changed[7] = 1
    del changed

    if all(rule.sealed for rule in mn.open(tmp_path / "a")._state.seen.meta.rules[:-1]):
        pytest.skip("stored with checksums")
    assert look_json("diff", tmp_path / "a", tmp_path / "b", code=1)["differing"] == 1


def test_other_codecs_nulls_and_edits_do_not_matter(tmp_path):
    texts = [None, "", "a", {"b": 1}]
    first = mn.RecordsMmap.create(tmp_path / "a", {"text": mn.Text(nullable=True), "json": mn.Json()})
    second = mn.RecordsMmap.create(tmp_path / "b", {"text": mn.Text(codec="zstd", nullable=True), "json": mn.Json()})
    first.extend({"text": text if isinstance(text, str) else None, "json": {"a": 1, "b": text}} for text in texts)
    second.extend({"text": text if isinstance(text, str) else None, "json": {"b": text, "a": 1}} for text in texts)
    second.append(second[0])
    del second[-1]

    assert look("diff", first.path, second.path) == ""


@pytest.mark.parametrize("name", PLAIN)
def test_directories_of_0x(name):
    assert look("diff", GOLDEN / name, GOLDEN / name) == ""


def test_parts_are_small_where_either_is_large(tmp_path):
    small = mn.StringsMmap.from_strings(tmp_path / "a", [""] * 3)
    large = mn.StringsMmap.from_strings(tmp_path / "b", ["x" * (4 << 20)] * 3)

    assert len(list(differences.parts_of(small, large))) == 3
