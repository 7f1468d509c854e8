"""Commit ids and pickles: each identifies what a handle shows, and never anything else."""

import contextlib
import itertools
import os
import pickle
import shutil
import subprocess

import pytest

import mmap_ninja as mn
from mmap_ninja import RecordsMmap, StaleHandleError, StringsMmap
from support.faults import OLD, opened, overwrite, unsynced, watched
from support.kinds import KINDS, plain

BLOCK = 64 << 10
FIRST = 210  # samples, enough for a dictionary
MINE = 423
# The number of a sample with as many bytes as that of MINE.
OTHER = dict.fromkeys(KINDS, 843) | {"ragged-2d": 425, "ragged-mixed": 421}


@pytest.fixture(autouse=True)
def nothing_waits_for_the_disk():
    with watched(unsynced()):
        yield


def shown(read):
    """The samples of a handle that `read` opens, as plain values; None if it raises StaleHandleError."""
    try:
        return plain(list(read()))
    except StaleHandleError:
        return None


def with_id(path, commit_id):
    """A function that opens a dataset at a commit."""
    return lambda: mn.open(path, commit_id=commit_id)


def from_pickle(handle):
    """A function that opens a handle from its pickle."""
    pickled = pickle.dumps(handle)
    return lambda: pickle.loads(pickled)


# ---- what they identify


def test_commit_id_is_a_short_text_that_identifies_the_commit(path):
    texts, other = StringsMmap(path), mn.open(path, "r")

    before = texts.commit_id
    assert other.commit_id == before
    texts.append("more")
    other.refresh()

    assert texts.commit_id == other.commit_id != before
    assert isinstance(before, str)
    assert 0 < len(before) < 200
    assert before.isascii()
    assert before.isprintable()


def test_commit_id_is_that_of_the_commit_that_the_handle_shows(path):
    reader = StringsMmap(path)
    before = reader.commit_id

    StringsMmap(path).append("by another one")

    assert reader.commit_id == before
    assert list(mn.open(path, commit_id=before)) == list(reader) == OLD
    reader.refresh()
    assert list(mn.open(path, commit_id=reader.commit_id)) == [*OLD, "by another one"]


@pytest.mark.parametrize("kind", KINDS)
def test_commit_ids_of_all_commits_open_to_their_samples(tmp_path, kind):
    path, of = tmp_path / "ds", KINDS[kind].samples
    KINDS[kind].build(path, FIRST).close()
    dataset, seen = mn.open(path), []

    def note():
        seen.append((dataset.commit_id, plain(list(dataset))))

    note()
    dataset.append(of(1, FIRST)[0])
    note()
    dataset.extend(of(3000, FIRST + 1))
    note()
    dataset[2] = of(1, 9002)[0]
    note()
    del dataset[1:2000]
    note()
    dataset.pop()
    note()
    dataset[-3:] = of(3, 9000)
    dataset.flush()
    note()

    assert len({commit_id for commit_id, _ in seen}) == len(seen)
    for commit_id, samples in seen:
        assert plain(list(mn.open(path, commit_id=commit_id))) == samples


@pytest.mark.parametrize("size", [100, BLOCK - 1, BLOCK, 3 * BLOCK + 7])
def test_commit_ids_over_many_blocks_open_to_their_samples(tmp_path, size):
    texts, expected = StringsMmap(tmp_path / "ds"), []
    ids = []
    for number in range(20):
        expected.append(chr(ord("0") + number) * size)
        texts.append(expected[-1])
        ids.append(texts.commit_id)

    for count, commit_id in enumerate(ids, 1):
        assert list(mn.open(tmp_path / "ds", commit_id=commit_id)) == expected[:count]


def test_commit_id_of_an_older_commit_takes_appends_at_the_end(path):
    before = StringsMmap(path).commit_id
    StringsMmap(path).append("later")

    texts = mn.open(path, commit_id=before)
    assert list(texts) == OLD
    texts.append("last")

    assert list(texts) == list(StringsMmap(path)) == [*OLD, "later", "last"]


def test_commit_id_of_a_copy_is_that_of_the_original(path, tmp_path):
    texts = StringsMmap(path)
    ids = [texts.commit_id]
    texts.append("more")
    ids.append(texts.commit_id)

    shutil.copytree(path, tmp_path / "copy")

    assert mn.open(tmp_path / "copy").commit_id == ids[1]
    assert [list(mn.open(tmp_path / "copy", commit_id=one)) for one in ids] == [OLD, [*OLD, "more"]]


def test_commit_id_of_another_dataset_is_stale(path, tmp_path):
    other = StringsMmap.from_strings(tmp_path / "other", OLD)

    with pytest.raises(StaleHandleError):
        mn.open(path, commit_id=other.commit_id)


RECORDS = [{"a": number, "t": f"text {number}"} for number in range(5)]

PARTS = {
    "view": lambda ds: ds.select([3, 1]),
    "range": lambda ds: ds.select(slice(1, None, 2)),
    "column": lambda ds: ds["t"],
    "columns": lambda ds: ds[["t"]],
    "view of a column": lambda ds: ds["a"].select(slice(2)),
}


@pytest.mark.parametrize("part", PARTS)
def test_commit_id_of_a_part_is_that_of_the_snapshot_that_it_was_taken_from(tmp_path, part):
    records = RecordsMmap.from_generator(tmp_path / "ds", RECORDS)
    before, taken = records.commit_id, PARTS[part](records)

    records.append(RECORDS[0])

    assert taken.commit_id == before != records.commit_id
    assert list(mn.open(tmp_path / "ds", commit_id=taken.commit_id)) == RECORDS


# ---- what makes them stale

ENDS = {
    "compact": lambda ds: ds.compact(),
    "order": lambda ds: ds.compact(order=range(len(ds) - 1, -1, -1)),
    "clear": lambda ds: ds.clear(),
    "add a column": lambda ds: ds.add_column("b", range(len(ds))),
    "drop a column": lambda ds: ds.drop_column("t"),
    "rename a column": lambda ds: ds.rename_column("t", "u"),
    "replace": lambda ds: RecordsMmap.from_generator(ds.path, list(ds)),
    "metadata": lambda ds: RecordsMmap.from_generator(ds.path, list(ds), metadata={"new": 1}),
}


@pytest.mark.parametrize("end", ENDS)
def test_commit_id_from_before_a_new_generation_is_stale(tmp_path, end):
    path = tmp_path / "ds"
    records = RecordsMmap.from_generator(path, RECORDS)
    ids = [records.commit_id]
    del records[1]
    ids.append(records.commit_id)

    ENDS[end](records)

    for commit_id in ids:
        with pytest.raises(StaleHandleError):
            mn.open(path, commit_id=commit_id)
    after = mn.open(path)
    assert after.commit_id not in ids
    assert list(mn.open(path, commit_id=after.commit_id)) == list(after)


# ---- restored backups


def rebuilt(backup, path):
    shutil.rmtree(path)
    shutil.copytree(backup, path)


def by_cp(backup, path):
    subprocess.run(["cp", "-r", f"{backup}/.", path], check=True)


def in_place(backup, path):
    """Restore as `rsync --inplace` does: files are overwritten and truncated."""
    for name in os.listdir(backup):
        content = (backup / name).read_bytes()
        with open(path / name, "r+b") as file:
            file.write(content)
            file.truncate()


def by_rsync(backup, path):
    if shutil.which("rsync") is None:
        pytest.skip("rsync is not installed")
    subprocess.run(["rsync", "-a", "--inplace", "--ignore-times", "--delete", f"{backup}/", path], check=True)


RESTORES = [rebuilt, by_cp, in_place]
IN_PLACE = [by_cp, in_place]


def backed_up(kind, path, backup):
    """Back up a dataset, and append to it; returns the ways to open that commit, and its samples."""
    kind.build(path, FIRST).close()
    shutil.copytree(path, backup)
    with mn.open(path) as dataset:
        dataset.append(kind.sample(MINE))
        reads = [from_pickle(dataset), from_pickle(dataset.select(slice(None))), with_id(path, dataset.commit_id)]
        return reads, plain(list(dataset))


@pytest.mark.parametrize("restore", RESTORES)
@pytest.mark.parametrize("kind", KINDS)
def test_pickle_after_a_backup_was_restored_and_appended_to_shows_nothing_else(tmp_path, kind, restore):
    """A bug once: others' samples with the same generation and number of rows were shown as the old ones."""
    path, of = tmp_path / "ds", KINDS[kind].sample
    reads, expected = backed_up(KINDS[kind], path, tmp_path / "backup")

    restore(tmp_path / "backup", path)
    with mn.open(path) as restored:
        restored.append(of(OTHER[kind]))
        other = plain(list(restored))

    assert other != expected
    assert all(shown(read) in (None, expected) for read in reads)
    assert shown(lambda: mn.open(path)) == other


@pytest.mark.parametrize("restore", [*RESTORES, by_rsync])
def test_pickle_of_a_column_after_a_backup_was_restored_shows_nothing_else(tmp_path, restore):
    """A bug once: the same, for a column."""
    path = tmp_path / "ds"
    RecordsMmap.from_generator(path, RECORDS).close()
    shutil.copytree(path, tmp_path / "backup")
    with RecordsMmap(path) as records:
        records.append({"a": 7, "t": "mine"})
        reads = [from_pickle(part) for part in (records["t"], records[["t"]]["t"], records["t"].select(slice(None)))]

    restore(tmp_path / "backup", path)
    RecordsMmap(path).append({"a": 8, "t": "them"})

    expected = [*(record["t"] for record in RECORDS), "mine"]
    assert all(shown(read) in (None, expected) for read in reads)


@pytest.mark.parametrize("restore", RESTORES)
@pytest.mark.parametrize("kind", KINDS)
def test_pickle_after_equal_samples_took_the_place_of_those_rolled_back_is_valid(tmp_path, kind, restore):
    path, of = tmp_path / "ds", KINDS[kind].sample
    reads, expected = backed_up(KINDS[kind], path, tmp_path / "backup")

    restore(tmp_path / "backup", path)
    with mn.open(path) as restored:
        restored.append(of(MINE))
        restored.append(of(OTHER[kind]))

    assert [shown(read) for read in reads] == [expected] * 3


def rolled_back(path, tmp_path, restore, *, wrote, added=True):
    """A handle that shows a sample that was then rolled back; if `added`, another one took its place."""
    shutil.copytree(path, tmp_path / "backup")
    writer = StringsMmap(path)
    writer.append("mine")
    handle = writer if wrote else StringsMmap(path)
    if not wrote:
        writer.close()
    restore(tmp_path / "backup", path)
    if added:
        StringsMmap(path).append("them")
    return handle


EDITS = {  # of the rolled-back sample
    "del": lambda texts: texts.__delitem__(3),
    "set": lambda texts: texts.__setitem__(3, "x"),
    "pop": lambda texts: texts.pop(),
    "del slice": lambda texts: texts.__delitem__(slice(2, None)),
}


@pytest.mark.parametrize("wrote", [True, False])
@pytest.mark.parametrize("restore", IN_PLACE)
@pytest.mark.parametrize(("edit", "added"), [*((edit, True) for edit in EDITS), ("del", False), ("set", False)])
def test_edit_of_a_sample_that_was_rolled_back_in_place_is_stale(path, tmp_path, edit, restore, wrote, added):
    """A bug once: it changed the sample that had replaced the one that the handle showed."""
    handle = rolled_back(path, tmp_path, restore, wrote=wrote, added=added)

    with pytest.raises(StaleHandleError):
        EDITS[edit](handle)

    assert list(mn.open(path)) == [*OLD, *["them"] * added]
    assert mn.verify(path, level="full").ok


@pytest.mark.parametrize("added", [True, False])
@pytest.mark.parametrize("wrote", [True, False])
@pytest.mark.parametrize("restore", [*IN_PLACE, by_rsync])
def test_append_through_a_handle_that_was_rolled_back_in_place_loses_nothing(path, tmp_path, restore, wrote, added):
    handle, restored = rolled_back(path, tmp_path, restore, wrote=wrote, added=added), [*OLD, *["them"] * added]

    try:
        handle.append("new")
    except StaleHandleError:
        assert list(mn.open(path)) == restored
    else:
        assert list(handle) == list(mn.open(path)) == [*restored, "new"]
    with contextlib.suppress(StaleHandleError):
        handle.close()

    assert list(mn.open(path))[: len(restored)] == restored
    assert mn.verify(path, level="full").ok


# ---- resumed builds


def failing(samples):
    yield from samples
    raise RuntimeError("the source fails")


@pytest.mark.parametrize("restore", [rebuilt, in_place])
def test_pickle_of_an_unfinished_build_is_valid_after_it_was_rolled_back_and_resumed(tmp_path, restore):
    path, samples = tmp_path / "ds", [f"sample {number}" for number in range(9)]

    def build(source):
        return StringsMmap.from_generator(path, source, batch_size=2, if_exists="resume")

    with pytest.raises(RuntimeError):
        build(failing(samples[:2]))
    shutil.copytree(path, tmp_path / "backup")
    with pytest.raises(RuntimeError):
        build(failing(samples[:6]))
    unfinished = opened(path)
    count, reads = len(unfinished), [from_pickle(unfinished), with_id(path, unfinished.commit_id)]
    unfinished.close()
    restore(tmp_path / "backup", path)
    build(samples)

    assert count > 2
    assert [shown(read) for read in reads] == [samples[:count]] * 2


# ---- power losses


@pytest.mark.parametrize("flushed", [False, True])
@pytest.mark.parametrize("kind", ["strings", "array", "ragged", "records"])
def test_ids_of_commits_lost_by_power_losses_never_show_later_samples(tmp_path, kind, reboot, flushed):
    path, of = tmp_path / "ds", KINDS[kind].samples
    KINDS[kind].build(path, 3).close()
    payload, seen, handles, numbers = path / "c0.data-1", [], [], itertools.count(MINE, 420)

    def note(dataset):
        handles.append(dataset)  # kept open, since a process does not close anything at a power loss
        seen.append((from_pickle(dataset), plain(list(dataset))))
        seen.append((with_id(path, dataset.commit_id), plain(list(dataset))))

    reboot()
    for _ in range(4):
        durable = os.path.getsize(payload)
        dataset = mn.open(path)
        for _ in range(2):
            dataset.append(of(1, next(numbers))[0])
            note(dataset)
        overwrite(payload, durable, b"\xff\xfe")
        reboot()
        survivor = mn.open(path)
        survivor.append(of(1, next(numbers))[0])
        if flushed:
            survivor.flush()
        note(survivor)

    found = [shown(read) for read, _ in seen]
    assert all(now in (None, then) for now, (_, then) in zip(found, seen, strict=True))
    assert found[-2:] == [seen[-1][1]] * 2
    assert found.count(None) >= 8
