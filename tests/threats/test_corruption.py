"""Damaged, hostile and unexpected files: a clear error or the right samples, never a wrong byte or a crash."""

import gc
import json
import os
import pickle
import shutil
import struct
import subprocess
import sys

import numpy as np
import pytest

import mmap_ninja
from mmap_ninja import (
    ArrayMmap,
    BytesMmap,
    CorruptDatasetError,
    DatasetTruncatedError,
    FormatVersionError,
    MmapNinjaError,
    NotADatasetError,
    RaggedMmap,
    ReadOnlyError,
    StaleHandleError,
    StringsMmap,
    _kernel,
)
from mmap_ninja.engine.commit_file import read_commit
from support.faults import (
    DATA,
    META,
    OFFSETS,
    as_nobody,
    change_slots,
    flip_bit,
    in_child,
    opened,
    overwrite,
    replace_meta,
    slot_places,
    slots,
)

SAMPLES = ["first", "größer", "", "the fourth", "日本"]
READS = {
    "index": lambda ds: ds[1],
    "slice": lambda ds: ds[1:2],
    "iteration": lambda ds: list(ds),
    "take": lambda ds: ds.take([4, 1]),
    "take_jagged": lambda ds: ds.take_jagged([4, 1]),
    "byte_lengths": lambda ds: ds.byte_lengths,
    "find": lambda ds: ds.index("no such sample"),
    "view": lambda ds: list(ds.select([1])),
    "reversed": lambda ds: list(reversed(ds)),
}


@pytest.fixture
def path(tmp_path):
    """A complete, durable dataset of SAMPLES."""
    StringsMmap.from_strings(tmp_path / "ds", SAMPLES).close()
    return tmp_path / "ds"


def refuses_all_but(path, expected):
    """Whether a dataset is refused cleanly, or shows one of the expected lists."""
    try:
        found = list(opened(path))
    except MmapNinjaError as error:
        assert str(path) in str(error)
        return True
    assert found in expected
    return False


# ---- what is no dataset


def test_open_path_that_is_a_file_raises(tmp_path):
    (tmp_path / "file").write_text("not a directory")

    for open_it in (StringsMmap, mmap_ninja.open, lambda path: StringsMmap(path, "r")):
        with pytest.raises(NotADatasetError, match="file: is a file, not the directory of a dataset"):
            open_it(tmp_path / "file")


def test_open_missing_path_raises(tmp_path):
    for open_it in (mmap_ninja.open, lambda path: StringsMmap(path, "r")):
        with pytest.raises(NotADatasetError, match="missing: no such directory; create the dataset with"):
            open_it(tmp_path / "missing")

    assert os.listdir(tmp_path) == []


def test_open_empty_directory_for_reading_raises(tmp_path):
    with pytest.raises(NotADatasetError, match="is an empty directory; it is no dataset of mmap_ninja"):
        mmap_ninja.open(tmp_path)


def test_open_directory_of_foreign_files_raises_and_names_some(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")

    for open_it in (StringsMmap, mmap_ninja.open):
        with pytest.raises(NotADatasetError, match=r"holds \['notes.txt'\] but no COMMIT file"):
            open_it(tmp_path)

    assert os.listdir(tmp_path) == ["notes.txt"]


def test_build_into_directory_of_foreign_files_raises_and_keeps_them(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")

    with pytest.raises(NotADatasetError, match=r"holds files that are no dataset's, \['notes.txt'\]"):
        StringsMmap.from_strings(tmp_path, SAMPLES)

    assert os.listdir(tmp_path) == ["notes.txt"]


def test_append_below_a_file_raises(tmp_path):
    (tmp_path / "file").write_text("not a directory")
    texts = StringsMmap(tmp_path / "file" / "below")

    with pytest.raises(NotADatasetError, match="file: is a file where a directory was expected"):
        texts.append("lost")


def test_commit_of_another_program_raises(tmp_path):
    (tmp_path / "COMMIT").write_bytes(bytes(_kernel.SLOTS * _kernel.SLOT_STRIDE))

    with pytest.raises(NotADatasetError, match="COMMIT: is no commit file of mmap_ninja"):
        StringsMmap(tmp_path)


def test_lost_commit_is_not_taken_for_an_empty_dataset(path):
    """A bug once: the handle was empty, and its append began a new dataset beside the old samples."""
    os.remove(path / "COMMIT")
    before = (path / DATA).read_bytes()

    with pytest.raises(NotADatasetError, match="but no COMMIT file"):
        StringsMmap(path)
    with pytest.raises(
        CorruptDatasetError, match=r"holds samples in \['c0.data-1', 'c0.offsets-1'\] but no COMMIT file"
    ):
        StringsMmap.from_strings(path, ["new"])

    assert (path / DATA).read_bytes() == before


@pytest.mark.parametrize("how", ["append", "extend"])
def test_lost_commit_under_an_empty_handle_refuses_to_append(tmp_path, how):
    texts = StringsMmap(tmp_path / "ds")
    StringsMmap.from_strings(tmp_path / "ds", SAMPLES).close()
    os.remove(tmp_path / "ds" / "COMMIT")

    with pytest.raises(CorruptDatasetError, match="restore it from a copy, or move these files away"):
        getattr(texts, how)(["a"] if how == "extend" else "a")


def test_other_kind_raises(path):
    with pytest.raises(TypeError, match="ds: holds strings, not bytes; mmap_ninja.open finds the class by itself"):
        BytesMmap(path)
    with pytest.raises(TypeError, match="holds strings, not bytes; use its own class"):
        BytesMmap.from_bytes(path, [b"x"], if_exists="append")

    assert list(mmap_ninja.open(path)) == SAMPLES


def test_handle_keeps_its_samples_when_another_kind_replaces_them(path):
    """A bug once: the append stored its text among the bytes, and the next refresh showed wrong samples."""
    texts = StringsMmap(path)
    blobs = BytesMmap.from_bytes(path, [b"\xff\xfe", b"more bytes than before in the first samples"])

    for change in (lambda: texts.append("text"), texts.refresh, texts.refresh, texts.flush):
        with pytest.raises(TypeError, match="holds bytes, not strings; mmap_ninja.open finds the class"):
            change()

    blobs.refresh()
    assert list(texts) == SAMPLES
    assert len(blobs) == 2


def test_interrupted_build_of_another_kind_can_still_be_replaced(path):
    """A bug once: the refused resume kept the lock of BUILD for as long as the process lived."""

    def source():
        yield "new"
        raise RuntimeError("source")

    with pytest.raises(RuntimeError, match="source"):
        StringsMmap.from_generator(path, source(), batch_size=1)
    with pytest.raises(TypeError, match="holds strings, not bytes"):
        BytesMmap.from_generator(path, [b"new"], if_exists="resume")

    assert list(StringsMmap.from_strings(path, ["replaced"])) == ["replaced"]


# ---- newer versions


def test_newer_slot_version_raises_whatever_the_others_say(path):
    data = bytearray((path / "COMMIT").read_bytes()[: _kernel.SLOT_SIZE])
    struct.pack_into("<H", data, 8, 7)
    struct.pack_into("<I", data, 252, _kernel.crc32c(bytes(data[:252])))
    overwrite(path / "COMMIT", 0, data)

    message = "COMMIT: written in format version 7; .* reads version 1: upgrade mmap_ninja"
    for refused in (
        lambda: StringsMmap(path),
        lambda: StringsMmap.from_strings(path, ["new"]),
        lambda: StringsMmap.from_strings(path, ["new"], if_exists="append"),
    ):
        with pytest.raises(FormatVersionError, match=message):
            refused()

    assert not (path / "BUILD").exists()


def test_slot_with_unknown_features_raises(path):
    def set_features(slot):
        slot.features = 4

    change_slots(path, set_features)

    with pytest.raises(FormatVersionError, match="uses features 0x4 .* upgrade mmap_ninja"):
        StringsMmap(path)


@pytest.mark.parametrize("changes", [{"format": 2}, {"format": 2, "more": []}, {"features": 1}, {"features": ["zstd"]}])
def test_meta_of_newer_format_raises(path, changes):
    document = json.loads((path / META).read_bytes()) | changes
    replace_meta(path, json.dumps(document).encode())

    with pytest.raises(FormatVersionError, match="meta-1.json: format version .*: upgrade mmap_ninja"):
        StringsMmap(path)


# ---- short files


@pytest.mark.parametrize("name", [DATA, OFFSETS])
def test_truncated_payload_or_offsets_raise_at_every_length(path, name):
    content = (path / name).read_bytes()

    for length in range(len(content)):
        (path / name).write_bytes(content[:length])
        with pytest.raises(DatasetTruncatedError, match=rf"{name}: holds {length} bytes where the commit needs"):
            StringsMmap(path)

    (path / name).write_bytes(content)
    assert list(StringsMmap(path)) == SAMPLES


def test_truncated_sums_raise(tmp_path):
    StringsMmap.from_strings(tmp_path, ["x" * 200_000]).close()
    os.truncate(tmp_path / "sums-1", 71)

    with pytest.raises(DatasetTruncatedError, match="sums-1: holds 71 bytes where the commit needs 72"):
        StringsMmap(tmp_path)


def test_truncated_commit_is_refused_or_harmless_at_many_lengths(path):
    content = (path / "COMMIT").read_bytes()
    refused = []

    for length in [
        0,
        1,
        8,
        251,  # without the checksum
        256,
        257,
        4095,
        4096,
        4097,
        4351,
        4352,
        8192,
        8447,
        8448,
        12_288,
        12_543,
        12_544,
        16_383,
    ]:
        (path / "COMMIT").write_bytes(content[:length])
        if refuses_all_but(path, [SAMPLES]):
            refused.append(length)
            continue
        with pytest.raises(DatasetTruncatedError, match="COMMIT file holds .* bytes where the commit needs 16384"):
            opened(path).append("lost")

    assert refused == [0, 1, 8, 251]


def test_refused_append_to_truncated_commit_leaks_no_descriptors(path):
    """A bug once: each attempt leaked the six descriptors of a log."""
    os.truncate(path / "COMMIT", 9000)
    texts = StringsMmap(path)
    before = len(os.listdir("/proc/self/fd"))

    for _ in range(3):
        with pytest.raises(DatasetTruncatedError, match="COMMIT"):
            texts.append("lost")

    assert len(os.listdir("/proc/self/fd")) == before


def test_truncated_meta_raises_at_many_lengths(path):
    content = (path / META).read_bytes()

    for length in [0, 1, 2, 10, len(content) // 2, len(content) - 1]:
        (path / META).write_bytes(content[:length])
        with pytest.raises(CorruptDatasetError, match="meta-1.json: its checksum is .* where the commit says"):
            StringsMmap(path)
        replace_meta(path, content[:length])
        with pytest.raises(CorruptDatasetError, match="meta-1.json: invalid JSON"):
            StringsMmap(path)


@pytest.mark.parametrize("name", [DATA, OFFSETS, "edits-1", "sums-1", META])
def test_missing_file_raises(path, name):
    os.remove(path / name)

    with pytest.raises(CorruptDatasetError, match=f"its commit names a file that is missing .*{name}"):
        StringsMmap(path)


def test_missing_lock_reads_but_refuses_to_append(path):
    os.remove(path / "LOCK")
    texts = StringsMmap(path)

    with pytest.raises(
        NotADatasetError, match="LOCK: is missing, so nothing can be written; restore it as an empty file"
    ):
        texts.append("lost")

    assert list(texts) == SAMPLES


# ---- damaged bytes


@pytest.mark.parametrize("read", READS.values(), ids=READS)
@pytest.mark.parametrize("offset", [10**6, 2**63 - 1, 2**63, 2**64 - 1, 2**64 - 8])
def test_offset_past_the_end_raises_on_access(path, read, offset):
    overwrite(path / OFFSETS, 2 * 8, struct.pack("<Q", offset))
    texts = StringsMmap(path)

    with pytest.raises(CorruptDatasetError, match="sample [12] is said to lie at .* not in its payload"):
        read(texts)

    assert [texts[0], texts[3], texts[4]] == [SAMPLES[0], SAMPLES[3], SAMPLES[4]]


@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_offset_that_runs_backwards_raises_on_access(path, read):
    overwrite(path / OFFSETS, 2 * 8, struct.pack("<Q", 2))
    texts = StringsMmap(path)

    with pytest.raises(CorruptDatasetError, match="sample 1 is said to lie at 5 to 2, .*; the offsets file is damaged"):
        read(texts)

    assert [texts[0], texts[3], texts[4]] == [SAMPLES[0], SAMPLES[3], SAMPLES[4]]


def test_last_offset_past_the_end_raises_at_opening(path):
    for offset in (10**6, 2**63, 2**64 - 1):
        overwrite(path / OFFSETS, len(SAMPLES) * 8, struct.pack("<Q", offset))

        with pytest.raises(DatasetTruncatedError, match=f"{DATA}: holds 29 bytes where the commit needs {offset}"):
            StringsMmap(path)


def test_last_offset_too_small_raises_on_access(path):
    overwrite(path / OFFSETS, len(SAMPLES) * 8, struct.pack("<Q", 3))
    texts = StringsMmap(path)

    for index in range(len(SAMPLES)):
        with pytest.raises(CorruptDatasetError, match=f"sample {index} is said to lie at"):
            texts[index]


def test_append_behind_a_damaged_last_offset_raises(path):
    overwrite(path / OFFSETS, len(SAMPLES) * 8, struct.pack("<Q", 2**63))
    before = (path / "COMMIT").read_bytes()

    with pytest.raises(DatasetTruncatedError, match="it was truncated, or its offsets are damaged"):
        StringsMmap.from_strings(path, ["lost"], if_exists="append")

    assert (path / "COMMIT").read_bytes() == before


def test_all_slots_torn_raises_for_readers_and_writers(path):
    writer = StringsMmap(path)
    writer.append("kept")
    for at in slot_places():
        flip_bit(path / "COMMIT", at + 100)

    message = "COMMIT: none of its slots has a valid checksum; restore it from a copy"
    for refused in (
        lambda: StringsMmap(path),
        writer.refresh,
        lambda: writer.append("lost"),
        lambda: StringsMmap.from_strings(path, ["new"]),
        lambda: StringsMmap.from_strings(path, ["new"], if_exists="resume"),
    ):
        with pytest.raises(CorruptDatasetError, match=message):
            refused()

    assert list(writer) == [*SAMPLES, "kept"]
    assert not (path / "BUILD").exists()


@pytest.mark.parametrize("place", range(_kernel.SLOTS))
def test_one_torn_slot_is_passed_over_and_written_again(path, place):
    StringsMmap(path).flush()
    flip_bit(path / "COMMIT", slot_places()[place] + 40)

    texts = StringsMmap(path)
    texts.append("next")
    texts.flush()
    texts.append("after")
    texts.flush()

    assert list(StringsMmap(path)) == [*SAMPLES, "next", "after"]
    assert None not in slots(path)


def test_torn_newest_slot_shows_the_commit_before(path):
    texts = StringsMmap(path)
    texts.extend(["six"])
    texts.extend(["seven"])
    seqs = [slot.seq for slot in slots(path)]
    overwrite(path / "COMMIT", slot_places()[seqs.index(max(seqs))] + 30, b"torn")

    assert list(StringsMmap(path)) == [*SAMPLES, "six"]


def test_every_flipped_bit_of_commit_is_detected_or_harmless(path):
    texts = StringsMmap(path)
    texts.append("six")
    texts.append("seven")
    whole = [*SAMPLES, "six", "seven"]
    pristine = (path / "COMMIT").read_bytes()
    places = [at + k for at in slot_places() for k in range(_kernel.SLOT_SIZE)] + [300, 5000, 16_383]

    for place in places:
        flip_bit(path / "COMMIT", place, place % 8)
        assert not refuses_all_but(path, [whole, whole[:-1]])
        overwrite(path / "COMMIT", place, pristine[place : place + 1])


def test_every_flipped_bit_of_meta_is_detected(path):
    for place in range((path / META).stat().st_size):
        flip_bit(path / META, place, place % 8)
        with pytest.raises(CorruptDatasetError, match="meta-1.json: its checksum is"):
            StringsMmap(path)
        flip_bit(path / META, place, place % 8)

    assert list(StringsMmap(path)) == SAMPLES


def test_files_of_another_dataset_raise(path, tmp_path):
    StringsMmap.from_strings(tmp_path / "other", SAMPLES).close()
    shutil.copy(tmp_path / "other" / META, path / META)

    with pytest.raises(CorruptDatasetError, match="meta-1.json: its checksum is .* restore the file from a copy"):
        StringsMmap(path)
    replace_meta(path, (path / META).read_bytes())
    with pytest.raises(CorruptDatasetError, match="meta-1.json: belongs to dataset .* where the commit says"):
        StringsMmap(path)


@pytest.mark.parametrize("read", ["index", "slice", "iteration", "take", "view", "reversed"])
@pytest.mark.parametrize("bad", [b"\xff", b"\xc3(", b"\xed\xa0\x80", b"\xf8\x88\x80\x80\x80", b"\xc0\xaf"])
def test_invalid_utf8_raises_and_names_the_sample(path, read, bad):
    overwrite(path / DATA, 5 + 1, bad)
    texts = StringsMmap(path)

    with pytest.raises(
        CorruptDatasetError, match="ds: sample 1 is no valid UTF-8 from its byte 1 on; the payload is damaged"
    ):
        READS[read](texts)

    assert texts[0] == SAMPLES[0]
    assert bytes(texts.take_jagged([1])[0])[1 : 1 + len(bad)] == bad


# ---- hostile meta files


def meta_with(path, **changes):
    """The meta file's content with some keys replaced."""
    return json.dumps(json.loads((path / META).read_bytes()) | changes).encode()


def files_with(path, **changes):
    """The meta file's content with the payload's entry changed."""
    document = json.loads((path / META).read_bytes())
    document["files"][0] |= changes
    return json.dumps(document).encode()


HOSTILE = {
    "empty": lambda path: b"",
    "list": lambda path: b"[]",
    "number": lambda path: b"1",
    "nan": lambda path: meta_with(path, metadata={"a": float("nan")}),
    "infinity": lambda path: meta_with(path, metadata={"a": float("-inf")}),
    "duplicate key": lambda path: b'{"format": 1, "format": 1}',
    "deep list": lambda path: b"[" * 100_000 + b"]" * 100_000,
    "deep dict": lambda path: b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "deep metadata": lambda path: meta_with(path, metadata={"a": json.loads("[" * 40 + "]" * 40)}),
    "huge number": lambda path: meta_with(path).replace(b'"generation": 1', b'"generation": ' + b"9" * 5000),
    "no utf-8": lambda path: meta_with(path, metadata={"a": "b"}).replace(b'"b"', b'"\xff"'),
    "missing key": lambda path: b'{"format": 1, "features": 0}',
    "extra key": lambda path: meta_with(path, more=1),
    "format zero": lambda path: meta_with(path, format=0),
    "format text": lambda path: meta_with(path, format="1"),
    "uuid short": lambda path: meta_with(path, uuid="00"),
    "uuid number": lambda path: meta_with(path, uuid=0),
    "negative generation": lambda path: meta_with(path, generation=-1),
    "boolean generation": lambda path: meta_with(path, generation=True),
    "kind unknown": lambda path: meta_with(path, kind="pickles"),
    "kind list": lambda path: meta_with(path, kind=["strings"]),
    "kind dict": lambda path: meta_with(path, kind={}),
    "no columns": lambda path: meta_with(path, columns=[]),
    "columns dict": lambda path: meta_with(path, columns={}),
    "column number": lambda path: meta_with(path, columns=[1]),
    "column of bytes": lambda path: meta_with(path, columns=[{"id": 0, "name": "", "type": "binary"}]),
    "column type list": lambda path: meta_with(path, columns=[{"id": 0, "name": "", "type": ["text"]}]),
    "no files": lambda path: meta_with(path, files=[]),
    "file number": lambda path: meta_with(path, files=[1]),
    "metadata list": lambda path: meta_with(path, metadata=[]),
    "id twice": lambda path: files_with(path, id=2),
    "id huge": lambda path: files_with(path, id=2**64),
    "id text": lambda path: files_with(path, id="1"),
    "other role": lambda path: files_with(path, role="offsets"),
    "column huge": lambda path: files_with(path, name=f"c{'9' * 5000}.data-1"),
    "column of other digits": lambda path: files_with(path, name="c٠.data-1"),
    **{
        f"name {name!r}": lambda path, name=name: files_with(path, name=name)
        for name in [
            "", ".", "..", "../x", "../ds/c0.data-1", "/etc/passwd", "a/b", "c0.data-1/", "./c0.data-1", "c0.data-1\n",
            "c0.data-1\0", "C0.DATA-1", "COMMIT", "LOCK", META, "c1.data-1", "sums-1", "c0.data--1", "c0.data-1.json",
        ]
    },
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_meta_raises(path, name):
    replace_meta(path, HOSTILE[name](path))

    with pytest.raises(CorruptDatasetError, match=r"meta-1.json: .* expected; restore the file from a copy"):
        StringsMmap(path)


def test_huge_meta_raises_without_being_parsed(path):
    content = meta_with(path, metadata={"a": "x" * (16 << 20)})
    replace_meta(path, content)

    with pytest.raises(CorruptDatasetError, match="meta-1.json: .* restore the file from a copy"):
        StringsMmap(path)


def test_hostile_names_open_nothing_outside(path):
    names = ["../x", "/etc/passwd", "../../../etc/passwd", "..", "a/b"]

    def opened_paths():
        seen = []
        sys.addaudithook(lambda event, args: event == "open" and seen.append(str(args[0])))
        for name in names:
            replace_meta(path, pristine)
            replace_meta(path, files_with(path, name=name))
            seen.append("begin")
            with pytest.raises(CorruptDatasetError):
                StringsMmap(path)
            seen.append("end")
        return seen

    pristine = (path / META).read_bytes()
    seen = in_child(opened_paths)

    assert seen.count("begin") == len(names)
    inside, of_datasets = False, []
    for name in seen:
        inside = name == "begin" or (inside and name != "end")
        of_datasets += [name] if inside and name != "begin" else []
    assert {os.path.basename(name) for name in of_datasets} == {"COMMIT", META}


@pytest.mark.parametrize("name", [DATA, OFFSETS, "edits-1", "sums-1", META, "COMMIT"])
@pytest.mark.parametrize("what", ["symlink", "fifo", "directory"])
def test_irregular_file_raises_without_waiting(path, tmp_path, name, what):
    os.rename(path / name, tmp_path / "moved")
    if what == "symlink":
        os.symlink(tmp_path / "moved", path / name)
    elif what == "fifo":
        os.mkfifo(path / name)
    else:
        os.mkdir(path / name)

    with pytest.raises(CorruptDatasetError, match=f"{name}: is no regular file"):
        StringsMmap(path)


def test_symlinked_lock_refuses_to_append(path, tmp_path):
    os.rename(path / "LOCK", tmp_path / "LOCK")
    os.symlink(tmp_path / "LOCK", path / "LOCK")
    texts = StringsMmap(path)

    with pytest.raises(CorruptDatasetError, match="LOCK: is no regular file"):
        texts.append("lost")


def test_symlinked_directory_is_followed(path, tmp_path):
    os.symlink(path, tmp_path / "link")

    texts = StringsMmap(tmp_path / "link")
    texts.append("six")

    assert list(StringsMmap(path)) == [*SAMPLES, "six"]


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"a": "x" * (9 << 20)}, "metadata: 9437.* bytes of JSON, expected at most 8388608"),
        ({"a": json.loads("[" * 32 + "]" * 32)}, "metadata: nested deeper than 32"),
        ({"a": "\ud800"}, "metadata: .*surrogates not allowed; it must hold what JSON can"),
        ({"a": float("nan")}, "metadata: .*it must hold what JSON can"),
    ],
    ids=["large", "deep", "surrogate", "nan"],
)
def test_metadata_that_could_not_be_read_back_touches_nothing(tmp_path, metadata, message):
    """A bug once: it was written, and the dataset could not be opened."""
    with pytest.raises(ValueError, match=message):
        StringsMmap.from_strings(tmp_path / "ds", SAMPLES, metadata=metadata)

    assert os.listdir(tmp_path) == []


def test_largest_metadata_comes_back(tmp_path):
    metadata = {"a": json.loads("[" * 30 + "]" * 30), "b": [0] * (1 << 18)}

    StringsMmap.from_strings(tmp_path / "ds", SAMPLES, metadata=metadata)

    assert StringsMmap(tmp_path / "ds").metadata == metadata


# ---- interrupted builds


@pytest.mark.parametrize("damage", [lambda file: os.truncate(file, 0), lambda file: overwrite(file, 0, b"x" * 16_384)])
def test_damaged_build_is_refused_by_resume_and_dropped_by_replace(path, damage):
    """A bug once: it could not be replaced, and kept its lock in this process."""

    def source():
        yield "new"
        raise RuntimeError("source")

    with pytest.raises(RuntimeError, match="source"):
        StringsMmap.from_generator(path, source(), batch_size=1)
    damage(path / "BUILD")

    for _ in range(2):
        with pytest.raises(CorruptDatasetError, match="BUILD: "):
            StringsMmap.from_strings(path, ["new"], if_exists="resume")
    assert list(StringsMmap(path)) == SAMPLES
    assert list(StringsMmap.from_strings(path, ["new"])) == ["new"]


# ---- permissions


@pytest.fixture
def read_only_path(path):
    """A dataset that may be read only."""
    for name in os.listdir(path):
        os.chmod(path / name, 0o444)
    os.chmod(path, 0o555)
    for parent in path.parents:  # pytest's own directories are closed to others
        if parent.stat().st_mode & 0o001:
            break
        os.chmod(parent, parent.stat().st_mode | 0o011)
    yield path
    os.chmod(path, 0o755)


def test_read_only_directory_is_read_and_append_says_why_not(read_only_path):
    def use():
        texts = StringsMmap(read_only_path)
        copy = pickle.loads(pickle.dumps(texts))
        with pytest.raises(ReadOnlyError) as refused:
            texts.append("lost")
        texts.refresh()
        return list(texts), list(copy), str(refused.value)

    found, copied, message = as_nobody(use)

    assert (found, copied) == (SAMPLES, SAMPLES)
    assert "cannot be written (Permission denied); what is there can be read: to write, get write permission" in message


def test_read_only_directory_refuses_builds_and_keeps_its_files(read_only_path):
    before = sorted(os.listdir(read_only_path))

    def use():
        messages = []
        for if_exists in ("replace", "append"):
            with pytest.raises(ReadOnlyError, match="what is there can be read") as refused:
                StringsMmap.from_strings(read_only_path, ["new"], if_exists=if_exists)
            messages.append(str(refused.value))
        return messages

    messages = as_nobody(use)

    assert all("cannot be written" in message for message in messages)
    assert sorted(os.listdir(read_only_path)) == before
    assert list(StringsMmap(read_only_path)) == SAMPLES


def test_missing_path_in_read_only_directory_refuses_the_first_append(read_only_path):
    def use():
        texts = StringsMmap(read_only_path / "new")
        with pytest.raises(ReadOnlyError, match="new: cannot be written") as refused:
            texts.append("lost")
        return len(texts), str(refused.value)

    length, message = as_nobody(use)

    assert length == 0
    assert "Permission denied" in message


# ---- handles after their end


def test_deleted_dataset_stays_readable_and_refuses_the_writer(path):
    reader, writer = StringsMmap(path), StringsMmap(path)
    writer.append("six")
    shutil.rmtree(path)

    with pytest.raises(StaleHandleError, match="was deleted or replaced by another one; open the path again"):
        writer.append("lost")
    with pytest.raises(NotADatasetError, match="no such directory"):
        reader.refresh()
    with pytest.raises(NotADatasetError, match="ds: was deleted"):
        reader.append("lost")

    assert list(reader) == SAMPLES
    assert list(writer) == [*SAMPLES, "six"]
    assert not path.exists()


def test_commit_file_put_in_place_of_the_writers_refuses_the_append(path):
    """A bug once: the writer went on in the unlinked file, as after an rsync, and its samples were lost."""
    texts = StringsMmap(path)
    texts.append("six")
    shutil.copy(path / "COMMIT", path / "COMMIT.new")
    os.rename(path / "COMMIT.new", path / "COMMIT")

    with pytest.raises(StaleHandleError, match="was deleted or replaced by another one; open the path again; nothing"):
        texts.append("lost")
    texts.refresh()
    texts.append("seven")

    assert list(texts) == list(StringsMmap(path)) == [*SAMPLES, "six", "seven"]


def test_handle_writes_again_after_refresh_of_a_recreated_path(path):
    """A bug once: the log of the deleted dataset refused every append, also after the refresh."""
    texts = StringsMmap(path)
    texts.append("six")
    shutil.rmtree(path)
    StringsMmap.from_strings(path, ["new"])

    with pytest.raises(StaleHandleError, match="was deleted or replaced"):
        texts.append("lost")
    texts.refresh()
    texts.append("newer")

    assert list(texts) == list(StringsMmap(path)) == ["new", "newer"]


def test_refresh_after_directory_was_swapped_for_its_copy_reads_the_copy(path, tmp_path):
    """A bug once: it took the copy's commit and the old directory's files, since both have the same uuid."""
    shutil.copytree(path, tmp_path / "copy")
    StringsMmap(tmp_path / "copy").append("in the copy")
    texts = StringsMmap(path)
    texts.extend(["in the original", "and one more"])
    os.rename(path, tmp_path / "original")
    os.rename(tmp_path / "copy", path)

    texts.refresh()

    assert list(texts) == [*SAMPLES, "in the copy"]


def test_handle_shows_the_new_generation_after_a_failed_append(path):
    """A bug once: the append after the failed one showed the old payload with the new extents."""
    texts = StringsMmap(path)
    StringsMmap.from_strings(path, ["a new first sample that is longer", "b"])
    os.rename(path / "LOCK", path / "LOCK-")
    with pytest.raises(NotADatasetError, match="LOCK"):
        texts.append("lost")
    os.rename(path / "LOCK-", path / "LOCK")
    os.truncate(path / "COMMIT", 9000)  # seen only once the new generation is open
    with pytest.raises(DatasetTruncatedError, match="COMMIT"):
        texts.append("lost")
    os.truncate(path / "COMMIT", 16_384)

    texts.append("c")

    assert list(texts) == ["a new first sample that is longer", "b", "c"]


@pytest.mark.parametrize(
    "use",
    [
        lambda ds: ds[0],
        lambda ds: ds[:2],
        lambda ds: ds[[0]],
        len,
        iter,
        lambda ds: ds.take([0]),
        lambda ds: ds.take_jagged([0]),
        lambda ds: ds.byte_lengths,
        lambda ds: ds.select([0]),
        lambda ds: ds.index("first"),
        lambda ds: ds.append("lost"),
        lambda ds: ds.extend(["lost"]),
        lambda ds: ds.flush(),
        lambda ds: ds.refresh(),
        lambda ds: ds.prefetch([0]),
        pickle.dumps,
    ],
)
def test_use_after_close_raises(path, use):
    texts = StringsMmap(path)
    texts.close()
    texts.close()

    with pytest.raises(ValueError, match="closed"):
        use(texts)


def test_views_iterators_and_pickles_survive_close(path):
    texts = StringsMmap(path)
    view, iterator, pickled = texts.select(slice(1, 3)), iter(texts), pickle.dumps(texts)
    next(iterator)

    texts.close()
    del texts
    gc.collect()

    assert list(view) == SAMPLES[1:3]
    assert list(iterator) == SAMPLES[1:]
    assert list(pickle.loads(pickled)) == SAMPLES


UNINITIALISED = {
    "StringsMmap.__new__(StringsMmap)": [
        "it[0]",
        "it[:]",
        "len(it)",
        "iter(it)",
        "it.take([0])",
        "it.append('x')",
        "'x' in it",
    ],
    "_kernel.Samples.__new__(_kernel.Samples)": ["it[0]", "len(it)", "iter(it)", "it._show_column(None, None)"],
    "_kernel.Log.__new__(_kernel.Log)": ["it.state", "it.close()"],
    "_kernel.SamplesIterator.__new__(_kernel.SamplesIterator)": ["next(it)", "it.__length_hint__()"],
}


@pytest.mark.parametrize("make", UNINITIALISED)
def test_uninitialised_object_raises_instead_of_crashing(make):
    lines = ["from mmap_ninja import StringsMmap, _kernel"]
    for use in UNINITIALISED[make]:
        lines += [f"it = {make}", "try:", f"    {use}", "except Exception as error:", "    print(type(error).__name__)"]

    result = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=False)

    assert result.returncode == 0, result.stderr
    assert len(result.stdout.split()) == len(UNINITIALISED[make])


@pytest.mark.parametrize("rows", [2**60, 2**63, 2**64 - 1])
def test_slot_of_impossibly_many_rows_is_refused(path, rows):
    slots = read_commit(path).slots
    with (path / "COMMIT").open("r+b") as commit:
        for place, slot in slots:
            slot.rows = rows
            commit.seek(place * _kernel.SLOT_STRIDE)
            commit.write(_kernel.encode_slot(slot))

    with pytest.raises(CorruptDatasetError, match=f"speaks of {rows} samples"):
        StringsMmap(path)


@pytest.mark.parametrize("seq", [2**63, 2**64 - 1])
def test_commit_of_an_impossible_number_is_refused(path, seq):
    """A bug once: it was read, and then no commit came after it, or a TypeError that named no file."""
    texts = StringsMmap(path)
    texts.append("six")

    def claim(slot):
        slot.seq = seq

    change_slots(path, claim)

    for refused in (lambda: StringsMmap(path), texts.refresh, texts.clear, lambda: texts.append("lost")):
        with pytest.raises(CorruptDatasetError, match=f"COMMIT: speaks of commit number {seq}; restore it"):
            refused()
    assert list(texts) == [*SAMPLES, "six"]


@pytest.mark.parametrize("field", ["durable_rows", "durable_edits"])
@pytest.mark.parametrize("more", [1, 2**62])
def test_append_to_commit_of_fewer_samples_than_are_durable_raises(path, field, more):
    """A bug once: the commit that made up for the difference could not be opened, or an OverflowError."""

    def claim(slot):
        setattr(slot, field, getattr(slot, field) + more)

    change_slots(path, claim)
    before = (path / "COMMIT").read_bytes()
    texts = StringsMmap(path)

    with pytest.raises(CorruptDatasetError, match="not those that its durable commit was made of; nothing was written"):
        texts.append("lost")

    assert (path / "COMMIT").read_bytes() == before
    assert list(texts) == SAMPLES


def test_batches_of_a_payload_truncated_under_the_handle_raise(path):
    texts, numbers = StringsMmap(path), np.arange(len(SAMPLES))
    os.truncate(path / "c0.data-1", 0)

    for read in (
        lambda: texts.take(numbers),
        lambda: texts.take_jagged(numbers),
        lambda: list(texts),
        lambda: "x" in texts,
        lambda: texts.byte_lengths,
        lambda: texts[:],
    ):
        with pytest.raises(DatasetTruncatedError, match="its data file holds 0 bytes where the commit needs"):
            read()


def test_commit_file_truncated_under_a_writer_raises(path):
    texts = StringsMmap(path)
    texts.append("x")
    os.truncate(path / "COMMIT", 4096)

    with pytest.raises(DatasetTruncatedError, match="its COMMIT file holds 4096 bytes"):
        texts.append("y")


def test_index_whose_own_code_closes_the_dataset_raises(path):
    """A bug once: the samples were read through a map that was gone."""
    texts = StringsMmap(path)

    class Closing:
        def __index__(self):
            texts.close()
            return 0

    with pytest.raises(ValueError, match="closed"):
        texts[Closing()]


@pytest.mark.parametrize("kind", [ArrayMmap, RaggedMmap])
def test_samples_of_no_dtype_raise(tmp_path, kind):
    """A commit with rows, of which no dtype is known, ended the process at the first read after a `refresh`."""
    handle = kind.from_generator(tmp_path / "ds", [])
    at = {slot.generation: slot for slot in slots(handle.path) if slot}

    def claim(slot):
        slot.rows = slot.durable_rows = 3

    change_slots(handle.path, claim)
    if kind is RaggedMmap:
        (handle.path / f"c0.offsets-{max(at)}").write_bytes(bytes(8 * 4))

    with pytest.raises(CorruptDatasetError, match="speaks of 3 samples, of which its meta file tells no dtype"):
        handle.refresh()
    with pytest.raises(CorruptDatasetError, match="tells no dtype"):
        kind(handle.path)
