"""`bench`: rates of every way to read, of every kind, and what limits them."""

import json

import pytest

import mmap_ninja as mn
from mmap_ninja.cli import speeds
from support.cold import evicted
from support.kinds import KINDS
from support.shell import run

NAMES = ["one at random", "all in order", "take of 256", "loader of 256"]
SECONDS = 0.001


@pytest.mark.parametrize("kind", KINDS)
def test_every_way_is_measured_for_every_kind(tmp_path, kind):
    KINDS[kind].build(tmp_path / "ds", 300).close()

    ended = run("bench", tmp_path / "ds", "--seconds", SECONDS, "--json")

    measured = json.loads(ended.out)
    assert (ended.code, ended.err) == (0, "")
    assert (measured["samples"], [row["name"] for row in measured["rows"]]) == (300, NAMES)
    assert all(row["warm"]["samples"] > 0 for row in measured["rows"])
    if measured["disk"] is None:  # this filesystem, or so small a dataset, stays in memory
        assert all(row["cold"] is row["limit"] is None for row in measured["rows"])
        assert measured["notes"][0].startswith("nothing cold was measured")
    else:
        assert all(row["cold"]["samples"] > 0 for row in measured["rows"])
        assert all(row["limit"] in ("disk", "processor", "latency") for row in measured["rows"])
        assert min(measured["disk"].values()) > 0
    assert mn.verify(tmp_path / "ds").ok


def test_table_fits_a_terminal_and_names_every_way(tmp_path):
    mn.StringsMmap.from_strings(tmp_path / "ds", ["good"] * 1000).close()

    ended = run("bench", tmp_path / "ds", "--seconds", SECONDS)

    lines = ended.out.splitlines()
    assert ended.code == 0
    assert lines[0].startswith(f"{tmp_path}/ds: 1,000 samples of kind strings, ")
    assert [line[:14].strip() for line in lines if line.startswith(("one", "all", "take", "loader"))] == [
        "one at random", "all in order", "take of 256", "loader of 256"
    ]  # fmt: skip
    assert max(map(len, lines[1:])) <= 90


def test_files_that_stay_in_memory_have_only_warm_rates_and_a_note(tmp_path, monkeypatch):
    mn.StringsMmap.from_strings(tmp_path / "ds", ["good"] * 1000).close()
    monkeypatch.setattr(speeds, "_drop", lambda paths: None)

    ended = run("bench", tmp_path / "ds", "--seconds", SECONDS)

    assert ended.code == 0
    assert "note: nothing cold was measured: " in ended.out
    assert "the disk itself" not in ended.out


def test_cold_rates_are_those_of_samples_that_are_not_in_memory(tmp_path, monkeypatch):
    """Before each pass, nothing of the samples is in memory."""
    mn.StringsMmap.from_strings(tmp_path / "ds", [f"sample {i:01000}" for i in range(5000)]).close()
    evicted(tmp_path / "ds")
    seen = []

    def read(dataset, _):
        seen.append(dataset.residency())
        yield len(list(dataset))

    way = speeds._Way("all", read, lambda disk, mean: 1.0)
    speeds._cold(tmp_path / "ds", speeds.own_files(tmp_path / "ds"), way, 0.05)

    assert len(seen) >= 1
    assert max(seen) < 0.5


def test_large_datasets_are_measured_warm_by_a_part(tmp_path, monkeypatch):
    mn.StringsMmap.from_strings(tmp_path / "ds", ["good"] * 1000).close()
    assert speeds._warmed(10**9, 8 * 10**9) == 1 << 20
    assert speeds._warmed(10**6, 10**12) == 268
    assert speeds._warmed(1000, 4000) == 1000
    monkeypatch.setattr(speeds, "_warmed", lambda count, size: 10)

    ended = run("bench", tmp_path / "ds", "--seconds", SECONDS)

    assert ended.code == 0
    assert "note: warm rates are those of the first 10 samples\n" in ended.out


def test_directory_of_0x_is_measured(copy):
    ended = run("bench", copy("0.9.0-strings"), "--seconds", SECONDS)

    assert ended.code == 0


def test_empty_dataset_is_refused(tmp_path):
    mn.StringsMmap.from_strings(tmp_path / "ds", []).close()

    ended = run("bench", tmp_path / "ds")

    assert ended == (2, "", f"mmap-ninja: {tmp_path}/ds: has no samples to measure; append some first\n")


def test_time_is_bounded():
    clock = speeds._Clock(0.05)

    passes = [clock.run(iter([1])) for _ in clock.passes()]

    assert clock.count == len(passes) >= 1
    assert clock.rate > 0
