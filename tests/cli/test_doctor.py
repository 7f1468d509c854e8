"""`doctor`: each thing that can be wrong is found, with its remedy."""

import json
import os
import subprocess
import sys

import pytest

import mmap_ninja as mn
from mmap_ninja.cli import findings, machine
from mmap_ninja.columns import codec
from mmap_ninja.engine import files, memory
from support.faults import as_nobody
from support.shell import run

HOLDER = """
import sys, mmap_ninja as mn
def texts():
    yield "one"
    print("ready", flush=True)
    sys.stdin.read()
mn.StringsMmap.from_generator(sys.argv[1], texts(), batch_size=1, if_exists=sys.argv[2])
"""


@pytest.fixture
def texts(tmp_path):
    mn.StringsMmap.from_strings(tmp_path / "texts", ["good", "bad"] * 500).close()
    return tmp_path / "texts"


def found(path, topic):
    """The findings on a topic, as JSON, and the exit code."""
    ended = run("doctor", path, "--json")
    assert ended.err == ""
    all_of_them = json.loads(ended.out)
    assert ended.code == any(finding["level"] == "problem" for finding in all_of_them)
    return [finding for finding in all_of_them if finding["topic"] == topic]


def one(path, topic):
    (finding,) = found(path, topic)
    assert bool(finding["remedy"]) == (finding["level"] != "ok")
    return finding


def test_healthy_dataset_has_no_problem_and_names_what_was_looked_at(texts):
    ended = run("doctor", texts, "--json")

    all_of_them = json.loads(ended.out)
    assert ended.code == 0
    assert {finding["topic"] for finding in all_of_them} >= {
        "versions", "filesystem", "permissions", "space", "locks", "descriptors", "memory", "maps", "overcommit",
        "opening", "garbage", "residency", "damage",
    }  # fmt: skip
    assert one(texts, "opening")["found"] == f"1,000 samples of kind strings, read by {mn.open(texts).read_mode}"


def test_lines_for_people_fit_the_terminal(texts):
    ended = run("doctor", texts)

    assert ended.code == 0
    assert "\nok       locks        nobody holds one\n" in ended.out
    assert all(len(line) <= 80 or "/sys/" in line for line in ended.out.splitlines())


def test_without_a_dataset_only_the_machine_is_looked_at():
    ended = run("doctor", "--json")

    assert [finding["topic"] for finding in json.loads(ended.out)][:5] == [
        "versions", "descriptors", "memory", "maps", "overcommit"
    ]  # fmt: skip


# ---- the dataset


def test_damage_is_a_problem(texts):
    data = texts / "c0.data-1"
    os.truncate(data, data.stat().st_size - 1)

    finding = one(texts, "opening")

    assert finding["level"] == "problem"
    assert "c0.data-1" in finding["found"]
    assert finding["remedy"] == f"mmap-ninja verify {texts}, then mmap-ninja recover {texts} OUT"


def test_garbage_is_a_note(texts):
    with mn.open(texts) as dataset:
        del dataset[:900]

    finding = one(texts, "garbage")

    assert (finding["level"], finding["remedy"]) == ("note", f"mmap-ninja compact {texts}")
    assert "of deleted and replaced samples, after 1 edit (" in finding["found"]


def test_directory_of_0x_is_a_note(copy):
    path = copy("0.9.0-strings")

    assert one(path, "format")["remedy"] == f"mmap-ninja upgrade {path}"
    assert one(path, "filesystem")["level"] == "ok"


def test_build_that_has_not_ended_is_a_problem(tmp_path):
    def source():
        yield "one"
        raise ValueError("source")

    with pytest.raises(ValueError, match="source"):
        mn.StringsMmap.from_generator(tmp_path / "texts", source(), batch_size=1)

    finding = one(tmp_path / "texts", "build")

    assert (finding["level"], "--resume" in finding["remedy"]) == ("problem", True)


def test_replacement_that_was_interrupted_is_a_leftover(texts):
    def source():
        yield "one"
        raise ValueError("source")

    with pytest.raises(ValueError, match="source"):
        mn.StringsMmap.from_generator(texts, source(), batch_size=1)

    assert one(texts, "leftovers")["level"] == "note"


@pytest.mark.parametrize(("name", "doing"), [("new", "builds this dataset"), ("texts", "builds its replacement")])
@pytest.mark.skipif(not os.access("/proc/locks", os.R_OK), reason="the system does not tell")
def test_holders_of_locks_are_named_with_their_commands(texts, tmp_path, name, doing):
    path = tmp_path / name
    words = [sys.executable, "-c", HOLDER, str(path), "replace"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as builder:
        builder.stdout.readline()

        finding = one(path, "locks")
        others = found(path, "build") + found(path, "leftovers")
        builder.stdin.close()

    assert f"process {builder.pid} ({sys.executable} -c" in finding["found"]
    assert finding["found"].endswith(doing)
    assert others == []
    assert one(path, "locks")["found"] == "nobody holds one"


def test_sync_that_failed_is_a_problem(texts, monkeypatch):
    read = findings.read_commit

    def suspect(path, name):
        commit = read(path, name)
        commit.suspect = True
        return commit

    monkeypatch.setattr(findings, "read_commit", suspect)

    assert one(texts, "syncs")["level"] == "problem"


def test_many_tiny_commits_are_a_note(texts, monkeypatch):
    monkeypatch.setattr(findings, "_MANY_COMMITS", 0)
    monkeypatch.setattr(findings, "_TINY", 1e9)

    assert "commits for 1,000 samples" in one(texts, "commits")["found"]


def test_missing_zstandard_is_a_problem(copy, monkeypatch):
    path = copy("format-1-strings-zstd")
    monkeypatch.setitem(sys.modules, "zstandard", None)
    codec._opened.cache_clear()

    finding = found(path, "opening")[0]

    assert finding["level"] == "problem"
    assert 'pip install "mmap_ninja[zstd]"' in finding["found"]


# ---- the place and the machine


def test_permissions(texts, tmp_path):
    for folder in (tmp_path, *list(tmp_path.parents)[:2]):
        folder.chmod(0o755)
    assert one(texts, "permissions")["level"] == "ok"

    assert as_nobody(lambda: one(texts, "permissions"))["level"] == "note"
    (texts / "c0.data-1").chmod(0)
    assert as_nobody(lambda: one(texts, "permissions")) == {
        "level": "problem",
        "topic": "permissions",
        "found": "no permission to read c0.data-1",
        "remedy": f"as their owner: chmod -R a+rX {texts}",
    }
    texts.chmod(0)
    assert as_nobody(lambda: one(texts, "permissions"))["found"] == "no permission to read the directory"
    texts.chmod(0o755)


@pytest.mark.parametrize(
    ("patched", "value", "expected"),
    [
        ("reads_by_map", False, "samples are read by system calls"),
        ("stays_itself", False, "the first write to a file copies all of it"),
    ],
)
def test_filesystems_that_are_no_disks_are_notes(texts, monkeypatch, patched, value, expected):
    monkeypatch.setattr(files, patched, lambda fd: value)

    finding = one(texts, "filesystem")

    assert (finding["level"], expected in finding["found"]) == ("note", True)


@pytest.mark.parametrize(
    ("topic", "changes", "level", "expected"),
    [
        ("descriptors", {"NOFILE": 256}, "note", "256 files"),
        ("descriptors", {"NOFILE": 6}, "problem", "a writer of this dataset takes"),
        ("address space", {"AS": 1000}, "problem", "may map 1 kB (ulimit -v)"),
        ("memory", {"memory": 1000}, "note", "1 kB are free for files; the dataset has 3.5 kB"),
        ("maps", {"/proc/sys/vm/max_map_count": 10}, "problem", "10 maps (vm.max_map_count)"),
        ("overcommit", {"/proc/sys/vm/overcommit_memory": 2, "CommitLimit": 2**30}, "note", "1.07 GB are left"),
        ("overcommit", {"/proc/sys/vm/overcommit_memory": 2, "CommitLimit": 0}, "problem", "0 bytes are left"),
        ("read-ahead", {"read_ahead_kb": 8192}, "note", "which makes reading samples at random slow"),
        ("read-ahead", {"read_ahead_kb": 0}, "note", "which makes reading samples in order slow"),
        ("read-ahead", {"read_ahead_kb": 128}, "ok", "the disk fetches 128 KiB around a cold read"),
        ("space", {"free": 10}, "note", "10 bytes are free"),
        ("residency", {"residency": 0.1}, "note", "10% of it is in memory; the first epoch reads the disk"),
    ],
)
def test_limits_of_the_machine(texts, monkeypatch, topic, changes, level, expected):
    limit_of, number_of = findings.resource_limit, findings.number_in
    monkeypatch.setattr(findings, "resource_limit", lambda name: changes.get(name, limit_of(name)))
    monkeypatch.setattr(findings, "read_ahead_file", lambda path: "read_ahead_kb")
    monkeypatch.setattr(findings, "number_in", lambda path, default: changes.get(path, number_of(path, default)))
    monkeypatch.setattr(findings, "meminfo", lambda name: changes.get(name, 0))
    if "memory" in changes:
        monkeypatch.setattr(memory, "available", lambda: changes["memory"])
    if "free" in changes:
        usage = findings.shutil.disk_usage(texts)
        monkeypatch.setattr(findings.shutil, "disk_usage", lambda path: usage._replace(free=changes["free"]))
    if "residency" in changes:
        monkeypatch.setattr(mn.StringsMmap, "residency", lambda self: changes["residency"])

    finding = one(texts, topic)

    assert (finding["level"], expected in finding["found"]) == (level, True), finding


def test_mounts_and_holders_are_read_from_the_system(tmp_path):
    mount = machine.mount_of(tmp_path)
    assert os.path.ismount(mount.point)
    assert machine.lock_holders(tmp_path / "missing") == []
    assert machine.number_in(tmp_path / "missing", 7) == 7
