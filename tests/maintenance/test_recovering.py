"""`recover`: keeps what is left of a damaged dataset, in order, and loses nothing else."""

import errno
import os
import pickle
import shutil
from contextlib import suppress

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

import mmap_ninja
from mmap_ninja import (
    ArrayMmap,
    CommitUncertainError,
    CorruptDatasetError,
    NotADatasetError,
    RecordsMmap,
    StaleHandleError,
    StringsMmap,
    _kernel,
)
from support.blocks import DATASETS, TEXTS
from support.crash_actions import is_clean
from support.faults import (
    At,
    as_nobody,
    change_slots,
    fail_to_sync,
    fail_with,
    flip_bit,
    killed_at,
    overwrite,
    slot_places,
    slots,
    watched,
)


def plain(sample):
    if isinstance(sample, dict):
        return {key: plain(value) for key, value in sample.items()}
    return sample.tolist() if hasattr(sample, "tolist") else sample


def listed(path):
    """All samples of an intact dataset as plain values."""
    report = mmap_ninja.verify(path, "full")
    assert report.ok, str(report)
    return [plain(sample) for sample in mmap_ninja.open(path)]


@pytest.fixture
def path(tmp_path):
    """A durable dataset of texts with several blocks."""
    StringsMmap.from_strings(tmp_path / "ds", TEXTS).close()
    return tmp_path / "ds"


@pytest.mark.parametrize("kind", sorted(DATASETS.keys() - {"many edits"}))  # its payload is one short block
@pytest.mark.parametrize("where", ["in place", "elsewhere"])
def test_samples_before_the_first_damaged_one_are_kept(tmp_path, kind, where):
    made = DATASETS[kind](tmp_path / "ds")
    made.flush()
    before = [plain(sample) for sample in made]
    payload = max((tmp_path / "ds").glob("c*.data-*"), key=lambda file: file.stat().st_size)
    flip_bit(payload, _kernel.BLOCK + 9)
    damaged = {file.name: file.read_bytes() for file in (tmp_path / "ds").iterdir()}
    out = None if where == "in place" else tmp_path / "new" / "out"

    recovery = mmap_ninja.recover(tmp_path / "ds", out)

    assert 0 < recovery.samples < len(before)
    assert recovery.lost == (range(recovery.samples, len(before)),)
    assert recovery.report.problems[0].file == payload.name
    assert recovery.path == (out or tmp_path / "ds")
    assert listed(recovery.path) == before[: recovery.samples]
    if out:
        assert {file.name: file.read_bytes() for file in (tmp_path / "ds").iterdir()} == damaged
    else:
        assert not {file.name for file in (tmp_path / "ds").iterdir()} & (set(damaged) - {"LOCK", "COMMIT"})
    again = mmap_ninja.open(recovery.path)
    again.append(again[0])
    assert listed(recovery.path) == [*before[: recovery.samples], before[0]]


@pytest.mark.parametrize("kind", DATASETS)
def test_samples_that_are_not_damaged_are_kept(tmp_path, kind):
    made = DATASETS[kind](tmp_path / "ds")
    made.flush()
    before = [plain(sample) for sample in made]
    for file in (tmp_path / "ds").glob("c*.data-*"):
        if file.stat().st_size > 3 * _kernel.BLOCK:
            flip_bit(file, _kernel.BLOCK + 9)

    recovery = mmap_ninja.recover(tmp_path / "ds", keep="intact")

    lost = {index for part in recovery.lost for index in part}
    assert len(lost) < len(before) / 2
    assert listed(tmp_path / "ds") == [sample for index, sample in enumerate(before) if index not in lost]


def test_readable_samples_are_kept_although_no_checksum_confirms_them(tmp_path):
    path = tmp_path / "ds"
    StringsMmap.from_strings(path, ["one", "two", "three"]).close()
    flip_bit(path / "c0.data-1", 0)

    with pytest.raises(CorruptDatasetError, match=r"none of its 3 samples would be kept; .*, or pass keep='readable'"):
        mmap_ninja.recover(path)
    recovery = mmap_ninja.recover(path, keep="readable")

    assert recovery.lost == ()
    assert listed(path) == ["nne", "two", "three"]


def test_unreadable_samples_are_never_kept(tmp_path):
    path = tmp_path / "ds"
    StringsMmap.from_strings(path, ["one", "two", "three"]).close()
    overwrite(path / "c0.data-1", 3, b"\xff")

    recovery = mmap_ninja.recover(path, keep="readable")

    assert recovery.lost == (range(1, 2),)
    assert listed(path) == ["one", "three"]


def test_intact_dataset_is_left_as_it_is_or_copied(path, tmp_path):
    before = sorted(os.listdir(path))

    here = mmap_ninja.recover(path)
    there = mmap_ninja.recover(path, tmp_path / "copy")

    assert (here.samples, here.lost, here.report.ok) == (len(TEXTS), (), True)
    assert (there.samples, there.lost, there.report.ok) == (len(TEXTS), (), True)
    assert sorted(os.listdir(path)) == before
    assert listed(tmp_path / "copy") == listed(path) == TEXTS


def test_readers_keep_what_they_see_and_writers_raise(path):
    reader, writer = StringsMmap(path), StringsMmap(path)
    writer.append("tail")
    writer.flush()
    pickled = pickle.dumps(reader)
    flip_bit(path / "c0.data-1", 3 * _kernel.BLOCK)

    kept = mmap_ninja.recover(path).samples

    assert reader[-1] == TEXTS[-1]
    with pytest.raises(StaleHandleError, match="moved, deleted or replaced"):
        writer.append("lost")
    with pytest.raises(StaleHandleError, match="its files were written anew since"):
        pickle.loads(pickled)
    reader.refresh()
    writer.refresh()
    writer.append("next")
    assert list(reader) == TEXTS[:kept]
    assert listed(path) == [*TEXTS[:kept], "next"]


@pytest.mark.parametrize("damage", ["missing", "torn", "truncated", "fifo"])
def test_lost_commit_is_rebuilt(path, damage):
    commit = path / "COMMIT"
    if damage in ("missing", "fifo"):
        commit.unlink()
    if damage == "fifo":
        os.mkfifo(commit)
    if damage == "torn":
        for at in slot_places():
            overwrite(commit, at + 100, b"damage")
    if damage == "truncated":
        os.truncate(commit, 100)

    recovery = mmap_ninja.recover(path)

    assert recovery.lost == ()
    assert listed(path) == TEXTS


def test_lost_commit_beside_an_interrupted_replacement_is_that_of_the_old_data(path):
    def source():
        yield "new"
        raise RuntimeError("source")

    with pytest.raises(RuntimeError, match="source"):
        StringsMmap.from_generator(path, source(), batch_size=1)
    (path / "COMMIT").unlink()

    mmap_ninja.recover(path)

    assert listed(path) == TEXTS
    assert list(StringsMmap.from_generator(path, iter(["new", "er"]), batch_size=1, if_exists="resume")) == [
        "new",
        "er",
    ]


def test_lost_meta_cannot_be_rebuilt(path):
    (path / "meta-1.json").unlink()
    before = sorted(os.listdir(path))

    assert not mmap_ninja.verify(path, "quick").ok
    with pytest.raises(CorruptDatasetError, match=r"no meta file can be read.*\n.*meta-1.json: cannot"):
        mmap_ninja.recover(path)

    assert sorted(os.listdir(path)) == before


def test_lost_checksums_lose_no_samples(path):
    (path / "sums-1").unlink()

    recovery = mmap_ninja.recover(path)

    assert recovery.lost == ()
    assert listed(path) == TEXTS


@pytest.mark.parametrize("how", ["missing", "cut", "damaged"])
def test_lost_edits_restore_deleted_samples(tmp_path, how):
    path, before = tmp_path / "ds", [str(number) for number in range(9000)]
    texts = StringsMmap.from_strings(path, before)
    del texts[::3]  # 3000 lines; a block holds 2048
    texts.close()
    good = {"missing": 0, "cut": 100, "damaged": 10}[how]
    if how == "missing":
        (path / "edits-1").unlink()
    elif how == "cut":
        os.truncate(path / "edits-1", good * 32 + 5)
    else:
        overwrite(path / "edits-1", good * 32, b"\x07")

    report = mmap_ninja.verify(path, "quick")
    recovery = mmap_ninja.recover(path)

    assert f"{good} valid lines where the commit needs 3000" in str(report)
    good = 0 if how == "damaged" else good  # the whole block cannot be trusted
    assert recovery.lost == ()
    assert listed(path) == [text for number, text in enumerate(before) if number % 3 or number >= 3 * good]


def test_damaged_end_of_the_edits_does_not_affect_the_ends_of_other_files(tmp_path):
    """A bug once: one digest covered all ends, so that keep="intact" kept no sample."""
    texts = StringsMmap.from_strings(tmp_path / "ds", ["one", "two", "three"])
    for number in range(2):
        texts[number] = f"new {number}"
        texts.flush()
    texts.close()
    flip_bit(tmp_path / "ds" / "edits-1", 8)

    problems = mmap_ninja.verify(tmp_path / "ds").problems
    mmap_ninja.recover(tmp_path / "ds")

    assert {problem.file for problem in problems} == {"edits-1"}
    assert problems[0].blocks == range(1)
    assert list(StringsMmap(tmp_path / "ds")) == ["one", "two", "three", "new 0", "new 1"]


def test_lost_column_file_loses_all_records(tmp_path):
    dataset = RecordsMmap.from_columns(tmp_path / "ds", {"a": ["x", "y"], "b": [1, 2]})
    dataset.close()
    next((tmp_path / "ds").glob("c1.data-*")).unlink()

    with pytest.raises(
        CorruptDatasetError, match="none of its 2 samples would be kept; nothing was changed: restore it"
    ):
        mmap_ninja.recover(tmp_path / "ds", keep="readable")


def test_dataset_whose_sync_failed_can_be_written_again(path):
    texts = StringsMmap(path)
    texts.append("last")

    fail_to_sync(texts)
    with pytest.raises(CommitUncertainError, match="recover"):
        StringsMmap(path).append("lost")

    recovery = mmap_ninja.recover(path)
    StringsMmap(path).append("next")

    assert recovery.lost == ()
    assert listed(path) == [*TEXTS, "last", "next"]


def test_incomplete_build_stays_resumable(tmp_path):
    path = tmp_path / "ds"

    def source():
        yield from TEXTS
        raise RuntimeError("source")

    with pytest.raises(RuntimeError, match="source"):
        StringsMmap.from_generator(path, source(), batch_size=100)
    flip_bit(path / "c0.data-1", 2 * _kernel.BLOCK)

    with pytest.warns(mmap_ninja.IncompleteDatasetWarning):
        kept = mmap_ninja.recover(path).samples
        assert not mmap_ninja.open(path).complete

    assert 0 < kept < len(TEXTS)
    assert list(StringsMmap.from_generator(path, iter(TEXTS), batch_size=100, if_exists="resume")) == TEXTS


def test_copy_of_an_incomplete_build_is_incomplete(tmp_path):
    def source():
        yield from TEXTS[:3]
        raise OSError("the source ended early")

    with pytest.raises(OSError, match="ended early"):
        StringsMmap.from_generator(tmp_path / "ds", source(), batch_size=1)
    mmap_ninja.recover(tmp_path / "ds", tmp_path / "copy")

    with pytest.warns(mmap_ninja.IncompleteDatasetWarning):
        assert not mmap_ninja.open(tmp_path / "copy").complete
    reused = StringsMmap.from_generator(tmp_path / "copy", TEXTS[:5], if_exists="reuse")
    assert list(reused) == TEXTS[:5]


@pytest.mark.parametrize("rows", [2**40, 2**60, 2**64 - 1])
def test_impossible_commit_is_recovered_from_the_sizes_of_files(path, rows):
    def claim(slot):
        slot.rows = slot.durable_rows = rows

    change_slots(path, claim)

    recovery = mmap_ninja.recover(path, keep="readable")

    assert recovery.samples == len(TEXTS)
    assert recovery.lost == ((range(len(TEXTS), rows),) if rows < 2**60 else ())
    assert (f"has {rows} rows, more than are possible" in str(recovery.report)) == (rows >= 2**60)
    assert listed(path) == TEXTS


@pytest.mark.parametrize("keep", ["intact", "prefix"])
def test_killed_at_every_call_keeps_the_damaged_or_has_the_recovered(tmp_path, keep):
    template = tmp_path / "template"
    StringsMmap.from_strings(template, TEXTS[:600]).close()
    flip_bit(template / "c0.data-1", 70_000)
    names = {file.name: file.read_bytes() for file in template.iterdir()}
    expected = listed(mmap_ninja.recover(template, tmp_path / "expected", keep=keep).path)
    number, states = 1, set()

    while True:
        path = tmp_path / str(number)
        shutil.copytree(template, path)
        killed = killed_at(number, lambda path=path: mmap_ninja.recover(path, keep=keep))
        if not killed:
            break
        if mmap_ninja.verify(path).ok:
            states.add("recovered")
            assert listed(path) == expected
        else:
            states.add("damaged")
            assert {name: (path / name).read_bytes() for name in names} == names
        mmap_ninja.recover(path, keep=keep)
        assert listed(path) == expected
        assert len(os.listdir(path)) == len(names)
        shutil.rmtree(path)
        number += 1

    assert states == {"damaged", "recovered"}
    assert number > 20


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_error_at_every_call_keeps_the_damaged_or_has_the_recovered(tmp_path, code):
    template = tmp_path / "template"
    StringsMmap.from_strings(template, TEXTS[:600]).close()
    flip_bit(template / "c0.data-1", 70_000)
    names = {file.name: file.read_bytes() for file in template.iterdir()}
    number = 1

    while True:
        path = tmp_path / str(number)
        shutil.copytree(template, path)
        hook = At(number, fail_with(code))
        raised = None
        with watched(hook):
            try:
                mmap_ninja.recover(path, keep="intact")
            except OSError as error:
                raised = error
        if not hook.fired:
            break
        if not is_clean(path):
            assert raised is not None
            assert {name: (path / name).read_bytes() for name in names} == names
        mmap_ninja.recover(path, keep="intact")
        assert mmap_ninja.verify(path, "full").ok
        shutil.rmtree(path)
        number += 1

    assert number > 20


def test_refusals(path, tmp_path):
    shutil.copytree(path, tmp_path / "other")

    with pytest.raises(FileExistsError, match="a dataset already exists"):
        mmap_ninja.recover(path, tmp_path / "other")
    with pytest.raises(ValueError, match="keep 'all' is unknown"):
        mmap_ninja.recover(path, keep="all")
    with pytest.raises(NotADatasetError, match="no such directory"):
        mmap_ninja.recover(tmp_path / "missing")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(NotADatasetError, match="it is not a dataset"):
        mmap_ninja.recover(tmp_path / "mine")
    assert os.listdir(tmp_path / "mine") == ["notes.txt"]
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "type.ninja").write_text("string")
    with pytest.raises(ValueError, match="call mmap_ninja.upgrade on it first"):
        mmap_ninja.recover(tmp_path / "old")


def test_array_without_samples_is_recovered(tmp_path):
    ArrayMmap.from_generator(tmp_path / "ds", []).close()
    (tmp_path / "ds" / "COMMIT").unlink()

    assert mmap_ninja.recover(tmp_path / "ds").samples == 0

    arrays = ArrayMmap(tmp_path / "ds")
    arrays.append(np.zeros(3))
    assert len(arrays) == 1


@hypothesis.given(data=st.data())
@hypothesis.settings(max_examples=40)
def test_whatever_is_damaged_a_prefix_comes_back(tmp_path_factory, data):
    """Or nothing, with an error: a wrong sample never counts as a right one."""
    tmp_path = tmp_path_factory.mktemp("damage")
    kind = data.draw(st.sampled_from(sorted(DATASETS.keys() - {"many edits", "edited"})))
    made = DATASETS[kind](tmp_path / "ds")
    if kind == "strings":
        for number in range(data.draw(st.integers(0, 3))):
            made.append("tail" * number)
    made.close()
    before = [plain(sample) for sample in mmap_ninja.open(tmp_path / "ds")]
    for _ in range(data.draw(st.integers(1, 3))):
        file = data.draw(st.sampled_from(sorted((tmp_path / "ds").glob("c*-*"))))
        size = file.stat().st_size
        if size == 0:
            continue
        if data.draw(st.booleans()):
            flip_bit(file, data.draw(st.integers(0, size - 1)), data.draw(st.integers(0, 7)))
        else:
            os.truncate(file, data.draw(st.integers(0, size - 1)))

    try:
        recovery = mmap_ninja.recover(tmp_path / "ds", tmp_path / "out")
    except CorruptDatasetError as error:
        assert "none of its" in str(error)
    else:
        assert listed(tmp_path / "out") == before[: recovery.samples]


def test_full_disk_beside_a_lost_commit_destroys_nothing(path):
    """A bug once: a failed recovery unlinked all files that no COMMIT named; without COMMIT, the whole dataset."""
    (path / "COMMIT").unlink()
    names = {file.name: file.read_bytes() for file in path.iterdir()}
    number = 1

    while True:

        def fail(_size):
            raise OSError(errno.ENOSPC, "full")

        hook = At(number, fail)
        with watched(hook), suppress(OSError):
            mmap_ninja.recover(path)
        if not hook.fired:
            break
        if (path / "COMMIT").exists():
            shutil.rmtree(path)
            path.mkdir()
            for name, content in names.items():
                (path / name).write_bytes(content)
        assert {file.name: file.read_bytes() for file in path.iterdir() if file.name in names} == names
        assert {file.name for file in path.iterdir()} - set(names) <= {"COMMIT.new"}
        number += 1

    assert number > 20
    assert listed(path) == TEXTS


@pytest.mark.parametrize("keep", ["prefix", "intact"])
@pytest.mark.parametrize("offset", [0, 2**62])
def test_damaged_offset_does_not_hide_which_rows_are_in_a_damaged_block(tmp_path, keep, offset):
    """A bug once: a damaged offset misled the search for the rows of a damaged block, and wrong bytes were kept."""
    path, before = tmp_path / "ds", [f"{number:020d}" for number in range(30_000)]
    StringsMmap.from_strings(path, before).close()
    flip_bit(path / "c0.data-1", 4000 * 20)
    flip_bit(path / "c0.data-1", 26_000 * 20)
    for number in (14_999, 15_000, 15_001):  # where a binary search over all of them begins
        overwrite(path / "c0.offsets-1", number * 8, offset.to_bytes(8, "little"))

    recovery = mmap_ninja.recover(path, keep=keep)

    lost = {index for part in recovery.lost for index in part}
    assert {4000, 26_000, 15_000} <= lost
    assert len(lost) < (30_000 if keep == "prefix" else 15_500)
    assert listed(path) == [text for number, text in enumerate(before) if number not in lost]


@pytest.mark.parametrize("damage", ["flipped", "zeroed"])
def test_damaged_last_offsets_lose_the_last_samples_alone(tmp_path, damage):
    """A bug once: the last offset was taken as the payload's length, so that nearly everything was lost."""
    path, before = tmp_path / "ds", [f"{number:020d}" for number in range(20_000)]
    StringsMmap.from_strings(path, before).close()
    if damage == "flipped":
        flip_bit(path / "c0.offsets-1", 20_000 * 8 + 2, 2)
    else:
        overwrite(path / "c0.offsets-1", 20_001 * 8 - 4096, bytes(4096))

    recovery = mmap_ninja.recover(path, keep="intact")

    assert recovery.lost == (range(2 * 8192 - 1, 20_000),)  # the rows after the last complete block of offsets
    assert listed(path) == before[: recovery.samples]


@pytest.mark.parametrize("damage", ["flipped", "of another dataset"])
def test_meta_of_another_commit_is_not_used(tmp_path, damage):
    """A bug once: a meta file with a wrong checksum was used, and the resulting garbage reported as intact."""
    path = tmp_path / "ds"
    ArrayMmap.from_ndarray(path, np.arange(1000, dtype="<i4")).close()
    meta = path / "meta-1.json"
    if damage == "flipped":
        flip_bit(meta, meta.read_bytes().index(b"<i4"), 1)  # ">i4"
    else:
        StringsMmap.from_strings(tmp_path / "other", ["x"]).close()
        shutil.copy(tmp_path / "other" / "meta-1.json", meta)

    assert not mmap_ninja.verify(path).ok
    with pytest.raises(CorruptDatasetError, match="no meta file can be read"):
        mmap_ninja.recover(path)


def test_lost_commit_beside_half_a_newer_generation_is_that_of_the_older_one(path):
    """A bug once: the newest meta file was used, although files that it names were lost."""
    meta = (path / "meta-1.json").read_bytes()
    (path / "meta-2.json").write_bytes(meta.replace(b'-1"', b'-2"').replace(b'"generation": 1', b'"generation": 2'))
    (path / "COMMIT").unlink()

    mmap_ninja.recover(path)

    assert listed(path) == TEXTS


@pytest.mark.parametrize(("lost", "left"), [("COMMIT", TEXTS[1:]), ("meta-2.json", TEXTS)])
def test_newest_complete_generation_is_recovered(path, lost, left):
    shutil.copytree(path, path.parent / "older", ignore=shutil.ignore_patterns("COMMIT"))
    with StringsMmap(path) as texts:
        del texts[0]
        texts.compact()
    shutil.copytree(path.parent / "older", path, dirs_exist_ok=True)
    os.truncate(path / lost, 0)

    mmap_ninja.recover(path, keep="readable")

    assert listed(path) == left


def test_newer_durable_commit_that_is_damaged_is_not_taken_for_an_older_one(path):
    """A bug once: with damage in the newest durable slot and its data, the older slot was reported as intact."""
    newest = max(slot.seq for slot in slots(path))

    def age(slot):
        slot.device += 1  # as in a copy, so that the digest is checked

    change_slots(path, age)
    for at, slot in zip(slot_places(), slots(path), strict=True):
        if slot.durable and slot.seq == newest:
            flip_bit(path / "COMMIT", at + 50)
    flip_bit(path / "c0.data-1", 0)
    flip_bit(path / "c0.offsets-1", 8 * len(TEXTS) - 8)
    assert any(slot and slot.rows == 0 for slot in slots(path))

    report = mmap_ninja.verify(path)

    assert report.samples == len(TEXTS)
    assert "no durable commit is intact" in str(report)
    with pytest.raises(CorruptDatasetError, match=f"none of its {len(TEXTS)} samples would be kept"):
        mmap_ninja.recover(path)


def test_missing_permission_is_not_damage(tmp_path):
    """A bug once: an unreadable edits file was treated as lost, and deleted samples came back."""
    path = tmp_path / "ds"
    texts = StringsMmap.from_strings(path, ["one", "two", "three"])
    del texts[1]
    texts.close()
    os.chmod(path, 0o777)
    for file in path.iterdir():
        os.chmod(file, 0o666)
    os.chmod(path / "edits-1", 0)
    for parent in path.parents:
        if not parent.stat().st_mode & 0o001:  # this one may be open already, but not the next one
            os.chmod(parent, parent.stat().st_mode | 0o011)

    def attempt():
        errors = []
        for call in (mmap_ninja.verify, mmap_ninja.recover):
            try:
                call(path)
            except PermissionError as error:
                errors.append(error.filename)
        return errors

    assert as_nobody(attempt) == [str(path / "edits-1")] * 2
    os.chmod(path / "edits-1", 0o666)
    assert listed(path) == ["one", "three"]
