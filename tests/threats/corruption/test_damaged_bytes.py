"""Damaged bytes of offsets, slots, meta files and builds: refused or ignored, but never a wrong sample."""

import os
import shutil
import struct

import pytest

from mmap_ninja import ArrayMmap, CorruptDatasetError, DatasetTruncatedError, RaggedMmap, StringsMmap, _kernel
from mmap_ninja.engine.commit_file import read_commit
from support.damage import READS, SAMPLES, refuses_all_but
from support.faults import DATA, META, OFFSETS, change_slots, flip_bit, overwrite, replace_meta, slot_places, slots


@pytest.mark.parametrize("read", READS.values(), ids=READS)
@pytest.mark.parametrize("offset", [10**6, 2**63 - 1, 2**63, 2**64 - 1, 2**64 - 8])
def test_offset_past_the_end_raises_on_access(path, read, offset):
    overwrite(path / OFFSETS, 2 * 8, struct.pack("<Q", offset))
    texts = StringsMmap(path)

    with pytest.raises(CorruptDatasetError, match="sample [12]: its offsets .* are not within the payload"):
        read(texts)

    assert [texts[0], texts[3], texts[4]] == [SAMPLES[0], SAMPLES[3], SAMPLES[4]]


@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_offset_that_runs_backwards_raises_on_access(path, read):
    overwrite(path / OFFSETS, 2 * 8, struct.pack("<Q", 2))
    texts = StringsMmap(path)

    with pytest.raises(CorruptDatasetError, match="sample 1: its offsets 5 to 2 .*; the offsets file is damaged"):
        read(texts)

    assert [texts[0], texts[3], texts[4]] == [SAMPLES[0], SAMPLES[3], SAMPLES[4]]


def test_last_offset_past_the_end_raises_at_opening(path):
    for offset in (10**6, 2**63, 2**64 - 1):
        overwrite(path / OFFSETS, len(SAMPLES) * 8, struct.pack("<Q", offset))

        with pytest.raises(DatasetTruncatedError, match=f"{DATA}: 29 bytes where the commit needs {offset}"):
            StringsMmap(path)


def test_last_offset_too_small_raises_on_access(path):
    overwrite(path / OFFSETS, len(SAMPLES) * 8, struct.pack("<Q", 3))
    texts = StringsMmap(path)

    for index in range(len(SAMPLES)):
        with pytest.raises(CorruptDatasetError, match=f"sample {index}: its offsets"):
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

    message = "COMMIT: no slot has a valid checksum; restore it from a copy"
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
        with pytest.raises(CorruptDatasetError, match="meta-1.json: checksum"):
            StringsMmap(path)
        flip_bit(path / META, place, place % 8)

    assert list(StringsMmap(path)) == SAMPLES


def test_files_of_another_dataset_raise(path, tmp_path):
    StringsMmap.from_strings(tmp_path / "other", SAMPLES).close()
    shutil.copy(tmp_path / "other" / META, path / META)

    with pytest.raises(CorruptDatasetError, match="meta-1.json: checksum .* restore the file from a copy"):
        StringsMmap(path)
    replace_meta(path, (path / META).read_bytes())
    with pytest.raises(CorruptDatasetError, match="meta-1.json: dataset .* where the commit has"):
        StringsMmap(path)


@pytest.mark.parametrize("read", ["index", "slice", "iteration", "take", "view", "reversed"])
@pytest.mark.parametrize("bad", [b"\xff", b"\xc3(", b"\xed\xa0\x80", b"\xf8\x88\x80\x80\x80", b"\xc0\xaf"])
def test_invalid_utf8_raises_and_names_the_sample(path, read, bad):
    overwrite(path / DATA, 5 + 1, bad)
    texts = StringsMmap(path)

    with pytest.raises(
        CorruptDatasetError, match="ds: sample 1: expected UTF-8, found an error at byte 1; the payload is damaged"
    ):
        READS[read](texts)

    assert texts[0] == SAMPLES[0]
    assert bytes(texts.take_jagged([1])[0])[1 : 1 + len(bad)] == bad


@pytest.mark.parametrize("rows", [2**60, 2**63, 2**64 - 1])
def test_slot_of_impossibly_many_rows_is_refused(path, rows):
    slots = read_commit(path).slots
    with (path / "COMMIT").open("r+b") as commit:
        for place, slot in slots:
            slot.rows = rows
            commit.seek(place * _kernel.SLOT_STRIDE)
            commit.write(_kernel.encode_slot(slot))

    with pytest.raises(CorruptDatasetError, match=f"its commit has {rows} rows"):
        StringsMmap(path)


@pytest.mark.parametrize("seq", [2**63, 2**64 - 1])
def test_commit_of_an_impossible_number_is_refused(path, seq):
    """A bug once: it was accepted, but then no commit could follow it; or a TypeError without a file name."""
    texts = StringsMmap(path)
    texts.append("six")

    def claim(slot):
        slot.seq = seq

    change_slots(path, claim)

    for refused in (lambda: StringsMmap(path), texts.refresh, texts.clear, lambda: texts.append("lost")):
        with pytest.raises(CorruptDatasetError, match=f"COMMIT: commit number {seq} where less than .*; restore it"):
            refused()
    assert list(texts) == [*SAMPLES, "six"]


@pytest.mark.parametrize("field", ["durable_rows", "durable_edits"])
@pytest.mark.parametrize("more", [1, 2**62])
def test_append_to_commit_of_fewer_samples_than_are_durable_raises(path, field, more):
    """A bug once: a commit with the missing rows could not be opened; or an OverflowError."""

    def claim(slot):
        setattr(slot, field, getattr(slot, field) + more)

    change_slots(path, claim)
    before = (path / "COMMIT").read_bytes()
    texts = StringsMmap(path)

    with pytest.raises(
        CorruptDatasetError, match="the ends of its files do not match its durable commit; nothing was written"
    ):
        texts.append("lost")

    assert (path / "COMMIT").read_bytes() == before
    assert list(texts) == SAMPLES


@pytest.mark.parametrize("kind", [ArrayMmap, RaggedMmap])
def test_samples_of_no_dtype_raise(tmp_path, kind):
    """A bug once: a commit with rows of unknown dtype ended the process at the first read after a `refresh`."""
    handle = kind.from_generator(tmp_path / "ds", [])
    at = {slot.generation: slot for slot in slots(handle.path) if slot}

    def claim(slot):
        slot.rows = slot.durable_rows = 3

    change_slots(handle.path, claim)
    if kind is RaggedMmap:
        (handle.path / f"c0.offsets-{max(at)}").write_bytes(bytes(8 * 4))

    with pytest.raises(CorruptDatasetError, match="its commit has 3 rows, but its meta file lacks their dtype"):
        handle.refresh()
    with pytest.raises(CorruptDatasetError, match="lacks their dtype"):
        kind(handle.path)


@pytest.mark.parametrize("damage", [lambda file: os.truncate(file, 0), lambda file: overwrite(file, 0, b"x" * 16_384)])
def test_damaged_build_is_refused_by_resume_and_dropped_by_replace(path, damage):
    """A bug once: it could not be replaced, and its lock was kept in this process."""

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
