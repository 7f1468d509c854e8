"""`verify`: all damage is found and reported by file, block and samples; intact parts are not reported."""

import itertools
import os
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest

import mmap_ninja
from mmap_ninja import (
    ArrayMmap,
    CorruptDatasetError,
    FormatVersionError,
    NotADatasetError,
    RaggedMmap,
    RecordsMmap,
    StringsMmap,
    _kernel,
)
from mmap_ninja._kernel import column_of
from mmap_ninja.engine import files
from mmap_ninja.maintenance import survey
from mmap_ninja.maintenance.verify import Places, _verify_samples, _verify_sums, find
from support.blocks import DATASETS, TEXTS
from support.faults import as_nobody, fail_to_sync, flip_bit, fork, in_child, overwrite, result_of, slot_places, watched
from support.golden import GOLDEN


@pytest.fixture(params=DATASETS)
def dataset(request, tmp_path):
    """A durable dataset of several blocks."""
    made = DATASETS[request.param](tmp_path / "ds")
    made.flush()
    return made


@pytest.fixture
def texts(tmp_path):
    """A durable dataset of texts."""
    made = StringsMmap.from_strings(tmp_path / "ds", TEXTS)
    made.flush()
    return made


def samples_of(problem):
    return [index for part in problem.samples for index in part]


# ---- intact datasets


@pytest.mark.parametrize("level", ["quick", "sums", "full"])
def test_intact_dataset_has_no_problems(dataset, level):
    report = dataset.verify(level)

    assert report.ok
    assert report.problems == ()
    assert report.notes == ()
    assert report.samples == len(dataset)
    assert str(report) == f"{dataset.path}: {len(dataset):,} samples, no problems at level {level!r}"


@pytest.mark.parametrize("level", ["quick", "sums", "full"])
@pytest.mark.parametrize(
    "make",
    [
        lambda path: StringsMmap.from_strings(path, []),
        lambda path: StringsMmap.from_strings(path, ["", "", ""]),
        lambda path: ArrayMmap.from_generator(path, []),
        lambda path: RecordsMmap.from_generator(path, []),
        lambda path: ArrayMmap.from_ndarray(path, np.zeros((3, 0))),
        lambda path: RaggedMmap.from_lists(path, [[], []], dtype=np.int8),
    ],
)
def test_empty_things_have_no_problems(tmp_path, make, level):
    made = make(tmp_path / "ds")

    assert mmap_ninja.verify(made.path, level).ok


def test_tail_that_is_not_durable_is_verified(texts):
    for number in range(5):
        texts.append("tail" * number * 10_000)

    assert texts.verify("full").ok
    size = (texts.path / "c0.data-1").stat().st_size
    flip_bit(texts.path / "c0.data-1", size - 1)
    (problem,) = texts.verify("sums").problems

    assert "c0.data-1" in problem.file
    assert "the bytes after the last complete block do not match the commit's digest" in problem.message
    assert samples_of(problem) == [len(TEXTS) + 4]  # earlier commits confirm the others


def test_verify_writes_nothing_and_needs_no_permission(texts):
    texts.close()
    for name in os.listdir(texts.path):
        os.chmod(texts.path / name, 0o444)
    os.chmod(texts.path, 0o555)
    for parent in texts.path.parents:
        if parent.stat().st_mode & 0o001:
            break
        os.chmod(parent, parent.stat().st_mode | 0o011)

    calls = []
    with watched(lambda call, *_: calls.append(call)):
        assert mmap_ninja.verify(texts.path, "full").ok
    ok = as_nobody(lambda: mmap_ninja.verify(texts.path, "full").ok)
    os.chmod(texts.path, 0o755)

    assert ok
    assert calls == []


def test_verify_beside_a_writer_finds_no_problems(tmp_path):
    path = tmp_path / "ds"
    StringsMmap.from_strings(path, TEXTS[:300])

    def write():
        texts = StringsMmap(path)
        for number in range(60):
            texts.extend(TEXTS[number : number + 9])
            texts[number] = "edited" * number
            del texts[number + 1]
            if number % 5 == 0:
                texts.compact()
        return True

    child = fork(write)
    reports = [mmap_ninja.verify(path, "full") for _ in range(40)]

    assert result_of(child)
    assert [str(report) for report in reports if not report.ok] == []


def test_progress_bar_is_shown_when_asked_for(texts, capsys):
    assert texts.verify("full", verbose=True).ok

    shown = capsys.readouterr().err
    assert "100%" in shown
    assert "samples/s" in shown


# ---- damage


def test_flipped_bit_in_any_block_is_found_there(dataset):
    """In complete blocks: the file, the block and its samples are reported."""
    rows = column_of(dataset).stored_rows(np.arange(len(dataset)))
    found = 0

    for path in sorted(dataset.path.glob("*-[12]")):
        for block in range(path.stat().st_size // _kernel.BLOCK):
            if path.name.startswith("sums"):
                continue
            place = block * _kernel.BLOCK + (block * 7919) % _kernel.BLOCK
            flip_bit(path, place, block % 8)
            report = dataset.verify("sums")
            flip_bit(path, place, block % 8)
            problem = next(of for of in report.problems if of.blocks)
            assert (problem.file, problem.blocks) == (path.name, range(block, block + 1))
            assert "the checksum does not match the bytes" in problem.message
            assert f"{path.name}: block {block} (bytes {block * _kernel.BLOCK} to" in str(report)
            if path.name.startswith("edits"):
                assert [of.file for of in report.problems] == [path.name] * 2
            else:
                assert len(report.problems) == 1
                if path.name.startswith("c0.offsets"):
                    expected = [k for k, row in enumerate(rows) if place // 8 - 1 in (row - 1, row)]
                    assert set(expected) <= set(samples_of(problem))
                assert samples_of(problem)
            found += 1

    assert found > 0
    assert dataset.verify("sums").ok


def test_damaged_samples_are_those_in_the_block(texts):
    starts, ends = texts.starts.astype(int), texts.ends.astype(int)
    flip_bit(texts.path / "c0.data-1", 3 * _kernel.BLOCK + 1)

    (problem,) = texts.verify().problems

    block = range(3 * _kernel.BLOCK, 4 * _kernel.BLOCK)
    hit = [k for k in range(len(TEXTS)) if starts[k] < block.stop and ends[k] > block.start]
    assert set(hit) <= set(samples_of(problem))
    assert len(samples_of(problem)) <= len(hit) + 3  # and empty samples between them


def test_damaged_samples_are_reported_by_index_after_edits(tmp_path):
    texts = StringsMmap.from_strings(tmp_path / "ds", ["x" * 100] * 1000 + ["y" * 70_000])
    texts[0] = "z" * 200_000
    del texts[1:500]
    texts.flush()
    end = 100_000 + 70_000
    flip_bit(texts.path / "c0.data-1", end + 100_000)  # in the replacement
    flip_bit(texts.path / "c0.data-1", 10)  # a block with samples 0 to 655, of which 1 to 500 are deleted

    first, second = texts.verify().problems

    assert samples_of(first) == [*range(1, 656 - 499)]
    assert samples_of(second) == [0]


def test_truncated_file_is_found_at_every_level(dataset):
    held = [path for path in sorted(dataset.path.glob("*-[12]")) if path.stat().st_size]
    assert len(held) >= 2
    for path, cut, level in itertools.product(held, [1, 500, 10**9], ["quick", "sums", "full"]):
        size, name = path.stat().st_size, path.name
        left = max(size - cut, 0)
        content = path.read_bytes()
        os.truncate(path, left)
        report = mmap_ninja.verify(dataset.path, level)
        path.write_bytes(content)
        assert report.ok == (level == "quick" and name.startswith("sums"))
        if not report.ok:
            assert report.problems[0].file == name
        if name.startswith("c"):
            assert f"{left} bytes where the commit needs {size}" in report.problems[0].message
            assert samples_of(report.problems[0])


@pytest.mark.parametrize("level", ["quick", "sums", "full"])
def test_every_missing_file_is_found(dataset, level):
    for path in sorted(dataset.path.iterdir()):
        if path.name == "LOCK":
            continue
        content = path.read_bytes()
        path.unlink()
        report = mmap_ninja.verify(dataset.path, level)
        path.write_bytes(content)
        assert not report.ok
        assert path.name in str(report)


@pytest.mark.parametrize("what", ["symlink", "fifo", "directory"])
def test_irregular_file_is_reported_without_waiting(texts, tmp_path, what):
    path = texts.path / "c0.offsets-1"
    path.rename(tmp_path / "moved")
    make = {"symlink": lambda: path.symlink_to(tmp_path / "moved"), "fifo": lambda: os.mkfifo(path)}
    make.get(what, path.mkdir)()

    report = mmap_ninja.verify(texts.path, "full")

    assert report.problems[0].file == "c0.offsets-1"
    assert "expected a regular file" in report.problems[0].message


def test_invalid_samples_are_found_by_full(tmp_path):
    texts = StringsMmap.from_strings(tmp_path / "ds", [f"sample {number}" for number in range(50)])
    texts.flush()
    overwrite(texts.path / "c0.data-1", int(texts.starts[7]), b"\xff")
    overwrite(texts.path / "c0.data-1", int(texts.starts[8]), b"\xff")
    overwrite(texts.path / "c0.data-1", int(texts.starts[30]), b"\xff")
    overwrite(texts.path / "c0.offsets-1", 41 * 8, struct.pack("<Q", 2**63))

    report = texts.verify("full")

    assert [problem.samples for problem in report.problems[1:]] == [(range(7, 9),), (range(30, 31),), (range(40, 42),)]
    expected = ("sample 7: expected UTF-8", "sample 30: expected UTF-8", "sample 40: its offsets")
    for problem, message in zip(report.problems[1:], expected, strict=True):
        assert message in problem.message
    assert "hits samples 7 to 8" in str(report)


@pytest.mark.parametrize(
    ("make", "name", "at", "message"),
    [
        (lambda path: StringsMmap.from_strings(path, ["text" * 9] * 4, zstd_level=1), "c0.data-1", 1, "decompressed"),
        (
            lambda path: RecordsMmap.from_columns(path, {"j": [{"a": 1}] * 4}, columns={"j": mmap_ninja.Json()}),
            "c0.data-1",
            0,
            "is not JSON",
        ),
        (
            lambda path: RaggedMmap.from_lists(path, [np.ones((2, 2))] * 4),
            "c0.shapes-2",
            0,
            "its shape does not match its 4 elements",
        ),
    ],
    ids=["zstd", "json", "shapes"],
)
def test_samples_that_cannot_be_decoded_are_found_by_full(tmp_path, make, name, at, message):
    made = make(tmp_path / "ds")
    made.close()
    overwrite(tmp_path / "ds" / name, at, b"\x07")

    report = mmap_ninja.verify(tmp_path / "ds", "full")

    assert any(message in problem.message and problem.samples == (range(1),) for problem in report.problems)


def test_torn_slot_is_a_note_and_all_torn_are_a_problem(texts):
    flip_bit(texts.path / "COMMIT", slot_places()[1] + 60)

    report = texts.verify("full")

    assert report.ok
    assert "1 of the commit's 4 slots are torn or empty" in report.notes[0]
    for at in slot_places():
        overwrite(texts.path / "COMMIT", at + 60, b"damaged")
    report = texts.verify("full")
    assert report.problems[0].file == "COMMIT"
    assert "no slot has a valid checksum" in report.problems[0].message
    assert report.samples == len(TEXTS)


def test_commit_that_did_not_survive_is_a_note(texts, monkeypatch):
    texts.append("lost")
    texts.append("lost, too")
    overwrite(texts.path / "c0.data-1", int(texts.starts[-2]), b"X")
    monkeypatch.setattr(files, "boot_id", lambda: bytes([7] * 16))

    report = mmap_ninja.verify(texts.path, "full")

    assert report.ok
    assert report.samples == len(TEXTS)
    assert "2 commits were lost by a power loss" in report.notes[0]


def test_failed_sync_is_a_problem(texts):
    texts.append("x")

    fail_to_sync(texts)

    (problem,) = texts.verify().problems
    assert problem.file == "COMMIT"
    assert "a sync failed" in problem.message


def test_payload_that_may_be_written_in_place_is_a_note(tmp_path):
    ArrayMmap.from_ndarray(tmp_path / "ds", np.arange(50_000)).close()
    memmap = mmap_ninja.np_open_existing(tmp_path / "ds", "r+")
    memmap[7] = 1

    report = mmap_ninja.verify(tmp_path / "ds", "full")

    assert report.ok
    assert report.notes == ("c0.data-1 may be written in place, so it has no checksums; compact adds them",)


def test_incomplete_build_is_verified(tmp_path):
    def source():
        yield from TEXTS
        raise RuntimeError("source")

    with pytest.raises(RuntimeError, match="source"):
        StringsMmap.from_generator(tmp_path / "ds", source(), batch_size=100)

    assert mmap_ninja.verify(tmp_path / "ds", "full").ok


def test_file_truncated_after_it_was_opened_raises_or_is_reported(tmp_path):
    """In a child, since reading a map past the end of its file kills the process."""
    StringsMmap.from_strings(tmp_path / "ds", TEXTS).close()

    def verify_truncated(name):
        found = find(tmp_path / "ds")
        os.truncate(tmp_path / "ds" / name, 0)
        try:
            _verify_sums(found, verbose=False)
            _verify_samples(found, verbose=False)
        except CorruptDatasetError as error:
            return "truncated" in str(error)
        return bool(found.findings)

    content = (tmp_path / "ds" / "c0.data-1").read_bytes()
    assert in_child(lambda: verify_truncated("c0.data-1"))
    (tmp_path / "ds" / "c0.data-1").write_bytes(content)
    assert in_child(lambda: verify_truncated("c0.offsets-1"))


# ---- directories of 0.x, and other paths


def copy_of_0x(tmp_path):
    return Path(shutil.copytree(GOLDEN / "0.9.0-strings", tmp_path / "ds"))


def test_directory_of_0x_is_read_by_full(tmp_path):
    path = copy_of_0x(tmp_path)

    report = mmap_ninja.verify(path, "full")

    assert report.ok
    assert "written by mmap_ninja 0.x, which stored no checksums" in report.notes[0]
    overwrite(path / "data.ninja", 0, b"\xff")
    assert [problem.samples for problem in mmap_ninja.verify(path, "full").problems] == [(range(1),)]
    assert mmap_ninja.verify(path, "sums").ok


def test_damaged_directory_of_0x_is_reported(tmp_path):
    path = copy_of_0x(tmp_path)
    os.truncate(path / "data.ninja", 1)

    assert "data.ninja" in str(mmap_ninja.verify(path, "quick").problems[0])


def test_no_dataset_raises(tmp_path):
    with pytest.raises(NotADatasetError, match="no such directory"):
        mmap_ninja.verify(tmp_path / "missing")
    with pytest.raises(NotADatasetError, match="is an empty directory"):
        mmap_ninja.verify(tmp_path)
    assert os.listdir(tmp_path) == []


def test_newer_version_raises(texts):
    data = bytearray((texts.path / "COMMIT").read_bytes()[: _kernel.SLOT_SIZE])
    struct.pack_into("<H", data, 8, 7)
    struct.pack_into("<I", data, 252, _kernel.crc32c(bytes(data[:252])))
    overwrite(texts.path / "COMMIT", 0, data)

    with pytest.raises(FormatVersionError, match="version 7"):
        mmap_ninja.verify(texts.path)


def test_bit_that_makes_the_meta_file_one_of_a_newer_version_is_damage(texts):
    """A bug once: the error asked to upgrade mmap_ninja, although the checksum showed damage."""
    meta = next(texts.path.glob("meta-*.json"))
    meta.write_bytes(meta.read_bytes().replace(b'"features": 0', b'"features": 1'))

    report = mmap_ninja.verify(texts.path)

    assert f"{meta.name}: checksum " in str(report)


def test_unknown_level_raises(texts):
    with pytest.raises(ValueError, match="level 'deep' is unknown"):
        texts.verify("deep")


def test_open_with_verify_raises_with_the_report(texts):
    assert len(mmap_ninja.open(texts.path, verify="full")) == len(TEXTS)
    flip_bit(texts.path / "c0.data-1", 70_000)

    assert len(mmap_ninja.open(texts.path, verify="quick")) == len(TEXTS)
    with pytest.raises(CorruptDatasetError, match=r"1 problem at level 'sums'\n  c0.data-1: block 1 "):
        mmap_ninja.open(texts.path, verify="sums")


def test_damaged_offset_at_the_end_of_the_durable_part_is_found(texts):
    """A bug once: an offset that made the durable part longer than its file was only a note."""
    texts.append("tail")
    texts.append("tail")
    overwrite(texts.path / "c0.offsets-1", 8 * len(TEXTS), struct.pack("<Q", 2**40))

    assert not texts.verify("sums").ok


def test_invalid_empty_samples_are_found_by_full(tmp_path):
    """A bug once: columns without any bytes were not read, but an empty text is not JSON."""
    path = tmp_path / "ds"
    columns = {"j": mmap_ninja.Json(nullable=True)}
    RecordsMmap.from_columns(path, {"j": [None, None]}, columns=columns).close()
    overwrite(path / "c0.nulls-1", 1, b"\0")

    problem = mmap_ninja.verify(path, "full").problems[-1]

    assert "is not JSON" in problem.message
    assert problem.samples == (range(1, 2),)


def test_damaged_end_does_not_affect_the_edits(tmp_path):
    texts = DATASETS["edited"](tmp_path / "ds")
    texts.flush()
    flip_bit(texts.path / "c0.data-1", (texts.path / "c0.data-1").stat().st_size - 1)

    (problem,) = texts.verify().problems

    assert problem.file == "c0.data-1, c0.offsets-1"


def test_edits_that_end_with_a_block_have_no_problems(tmp_path):
    texts = StringsMmap.from_strings(tmp_path / "ds", ["x"] * 4096)
    del texts[::2]

    assert (tmp_path / "ds" / "edits-1").stat().st_size == _kernel.BLOCK
    assert texts.verify().ok


def test_many_problems_of_many_edits_are_reported(tmp_path):
    arrays = ArrayMmap.from_ndarray(tmp_path / "ds", np.zeros((2**16, 16), np.uint32))
    del arrays[::2]
    arrays.flush()
    for block in range(0, 2**6, 2):
        flip_bit(arrays.path / "c0.data-1", block * _kernel.BLOCK)

    report = arrays.verify()

    assert [problem.samples for problem in report.problems] == [
        (range(block * 512, block * 512 + 512),) for block in range(0, 2**6, 2)
    ]


def test_no_rows_hit_no_samples(texts):
    assert Places(find(texts.path)).between([(700, 700)]) == ()


def test_many_ranges_of_one_problem_are_counted(tmp_path):
    texts = StringsMmap.from_strings(tmp_path / "ds", ["x"] * 16)
    texts[::2] = ["y"] * 8
    texts.flush()
    flip_bit(texts.path / "c0.data-1", 23)

    (problem,) = texts.verify().problems

    assert [len(part) for part in problem.samples] == [1] * 8
    assert str(problem).endswith("hits sample 0, sample 2, sample 4, sample 6, sample 8 and 3 more ranges")


def test_decreasing_offsets_are_found_with_any_chunk_size(tmp_path, monkeypatch):
    StringsMmap.from_strings(tmp_path / "ds", ["ab"] * 9).close()
    overwrite(tmp_path / "ds" / "c0.offsets-1", 3 * 8, b"\x03")
    monkeypatch.setattr(survey, "_OFFSETS_AT_ONCE", 3)

    assert find(tmp_path / "ds").ascents(0).parts == [range(3), range(3, 10)]
