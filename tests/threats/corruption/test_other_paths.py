"""Paths with something else: other files, nothing, another kind, a newer format."""

import json
import os
import struct

import pytest

import mmap_ninja
from mmap_ninja import BytesMmap, CorruptDatasetError, FormatVersionError, NotADatasetError, StringsMmap, _kernel
from support.damage import SAMPLES
from support.faults import DATA, META, change_slots, overwrite, replace_meta


def test_open_path_that_is_a_file_raises(tmp_path):
    (tmp_path / "file").write_text("not a directory")

    for open_it in (StringsMmap, mmap_ninja.open, lambda path: StringsMmap(path, "r")):
        with pytest.raises(NotADatasetError, match="file: is a file, not the directory of a dataset"):
            open_it(tmp_path / "file")


def test_open_missing_path_raises(tmp_path):
    for open_it in (mmap_ninja.open, lambda path: StringsMmap(path, "r")):
        with pytest.raises(
            NotADatasetError, match="missing: no such directory; check the path, or create the dataset with"
        ):
            open_it(tmp_path / "missing")

    assert os.listdir(tmp_path) == []


def test_open_empty_directory_for_reading_raises(tmp_path):
    with pytest.raises(NotADatasetError, match="is an empty directory; it is not a dataset of mmap_ninja"):
        mmap_ninja.open(tmp_path)


def test_open_directory_of_foreign_files_raises_and_names_some(tmp_path):
    for number in range(6):
        (tmp_path / f"{number}.txt").write_text("mine")

    for open_it in (StringsMmap, mmap_ninja.open):
        with pytest.raises(NotADatasetError, match=r"holds \['\d.txt'(, '\d.txt'){4}\] but no COMMIT file"):
            open_it(tmp_path)

    assert len(os.listdir(tmp_path)) == 6


def test_build_into_directory_of_foreign_files_raises_and_keeps_them(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")

    with pytest.raises(NotADatasetError, match=r"holds files that do not belong to a dataset: \['notes.txt'\]"):
        StringsMmap.from_strings(tmp_path, SAMPLES)

    assert os.listdir(tmp_path) == ["notes.txt"]


def test_append_below_a_file_raises(tmp_path):
    (tmp_path / "file").write_text("not a directory")
    texts = StringsMmap(tmp_path / "file" / "below")

    with pytest.raises(NotADatasetError, match="file: is a file where a directory was expected"):
        texts.append("lost")


def test_commit_of_another_program_raises(tmp_path):
    (tmp_path / "COMMIT").write_bytes(bytes(_kernel.SLOTS * _kernel.SLOT_STRIDE))

    with pytest.raises(NotADatasetError, match="COMMIT: is not a commit file of mmap_ninja"):
        StringsMmap(tmp_path)


def test_lost_commit_is_not_taken_for_an_empty_dataset(path):
    """A bug once: the handle was empty, and its append created a new dataset beside the old samples."""
    os.remove(path / "COMMIT")
    before = (path / DATA).read_bytes()

    with pytest.raises(NotADatasetError, match="but no COMMIT file"):
        StringsMmap(path)
    with pytest.raises(
        CorruptDatasetError, match=r"holds samples in \['c0.data-1', 'c0.offsets-1'\], but no COMMIT file"
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
    with pytest.raises(
        TypeError,
        match="ds: expected a dataset of kind 'bytes', found 'strings'; mmap_ninja.open finds the class by itself",
    ):
        BytesMmap(path)
    with pytest.raises(TypeError, match="expected a dataset of kind 'bytes', found 'strings'; use its class"):
        BytesMmap.from_bytes(path, [b"x"], if_exists="append")

    assert list(mmap_ninja.open(path)) == SAMPLES


def test_handle_keeps_its_samples_when_another_kind_replaces_them(path):
    """A bug once: the append stored its text among byte strings, and the next refresh showed wrong samples."""
    texts = StringsMmap(path)
    blobs = BytesMmap.from_bytes(path, [b"\xff\xfe", b"more bytes than before in the first samples"])

    for change in (lambda: texts.append("text"), texts.refresh, texts.refresh, texts.flush):
        with pytest.raises(
            TypeError, match="expected a dataset of kind 'strings', found 'bytes'; mmap_ninja.open finds the class"
        ):
            change()

    blobs.refresh()
    assert list(texts) == SAMPLES
    assert len(blobs) == 2


def test_interrupted_build_of_another_kind_can_still_be_replaced(path):
    """A bug once: the refused resume kept the lock of BUILD until the process ended."""

    def source():
        yield "new"
        raise RuntimeError("source")

    with pytest.raises(RuntimeError, match="source"):
        StringsMmap.from_generator(path, source(), batch_size=1)
    with pytest.raises(TypeError, match="expected a dataset of kind 'bytes', found 'strings'"):
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
