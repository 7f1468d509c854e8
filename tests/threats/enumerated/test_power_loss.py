"""Power losses: after every call of every operation, all possible contents of the disk, and the tail after a reboot."""

import errno
import os
import pickle
import random
import shutil
import warnings

import pytest

from mmap_ninja import CorruptDatasetError, IncompleteDatasetWarning, StaleHandleError, StringsMmap, _kernel
from mmap_ninja.engine import files
from support.crash_actions import (
    ACTIONS,
    BLOCKS,
    NEW,
    OLD,
    interrupted_build,
    is_clean,
    prepared,
    seen,
    takes_appends,
    three_samples,
)
from support.faults import At, fail_with, overwrite, slots, watched
from support.power_loss import each_loss, losses, put, recorded, violation

TEXTS = [
    "durable append",
    "flush and close",
    "extend",
    "partial block",
    "deletes",
    "replacements",
    "edits",
    "compaction",
]


# ---- all possible contents of the disk


SAMPLE = pytest.param(1, id="sample")
TORTURE = pytest.param(40, id="torture", marks=pytest.mark.torture)


def check_losses(tmp_path, name, **options):
    """Lose the power at every call of an action, and check the result; returns how often."""
    action = ACTIONS[name]
    path = prepared(tmp_path, action)
    start, calls, promised = recorded(path, action.act, action.states)

    tried = 0
    for least in each_loss(start, calls, promised, path, random=random.Random(name), **options):
        assert violation(path, action.states, least, appends=tried % 10 == 0) is None
        tried += 1

    assert tried > 5
    return tried


@pytest.mark.parametrize("most", [SAMPLE, TORTURE])
@pytest.mark.parametrize("name", ACTIONS)
def test_power_loss_at_every_call_shows_a_whole_commit(tmp_path, count, name, most):
    count("power losses", check_losses(tmp_path, name, most=most))


@pytest.mark.parametrize("most", [SAMPLE, TORTURE])
@pytest.mark.parametrize("name", ACTIONS)
def test_power_loss_with_names_in_any_order_shows_a_whole_commit(tmp_path, count, name, most):
    """A bug once: the commit file of a new dataset could arrive on the disk before the files that it names."""
    count("power losses", check_losses(tmp_path, name, most=most, ordered=False))


@pytest.mark.parametrize(
    ("firsts", "most"), [pytest.param(2, 2, id="sample"), pytest.param(12, 12, id="torture", marks=pytest.mark.torture)]
)
@pytest.mark.parametrize("name", TEXTS)
def test_second_power_loss_shows_a_whole_commit(tmp_path, count, name, firsts, most):
    action, rng = ACTIONS[name], random.Random(name)
    path = prepared(tmp_path, action)
    start, calls, _ = recorded(path, action.act, action.states)

    tried = 0
    for _, state in rng.sample(list(losses(start, calls, path, random=rng, most=10)), firsts):
        put(state, path)
        before = seen(path)

        def append(path, done, before=before):
            texts = StringsMmap(path)
            texts.append("again")
            texts.flush()
            done([*before, "again"], durable=True)
            texts.append("and again")

        states = [before, [*before, "again"], [*before, "again", "and again"]]
        second = recorded(path, append, states)
        for least in each_loss(*second, path, random=rng, most=most):
            assert violation(path, states, least, appends=tried % 10 == 0) is None
            tried += 1

    assert tried > 10 * firsts
    count("power losses after another", tried)


def violations(tmp_path, name, change):
    """The number of power losses that break the promise if the disk gets changed calls."""
    action, rng = ACTIONS[name], random.Random(name)
    path = prepared(tmp_path, action)
    start, calls, promised = recorded(path, action.act, action.states)
    # Dropped calls are replaced by harmless ones, since promises count calls.
    changed = [change(*call) for call in calls]
    assert changed != calls
    found = [
        violation(path, action.states, least, appends=False)
        for least in each_loss(start, changed, promised, path, random=rng, most=20)
    ]
    return len(found) - found.count(None)


NO_CALL = ("nothing", "/", 0, 0, None)


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("durable append", "c0.data-1"),
        ("durable append", "c0.offsets-1"),
        ("durable append", "COMMIT"),
        ("partial block", "sums-1"),
        ("deletes", "edits-1"),
        ("compaction", "meta-2.json"),
        ("compaction", "c0.data-2"),
    ],
)
def test_enumeration_finds_a_missing_sync_of_a_file(tmp_path, name, file):
    def change(call, path, *rest):
        return NO_CALL if call == "fdatasync" and path.endswith(file) else (call, path, *rest)

    assert violations(tmp_path, name, change) > 0


@pytest.mark.parametrize("name", ["compaction", "merge"])
def test_enumeration_finds_a_missing_sync_of_the_directory(tmp_path, name):
    assert violations(tmp_path, name, lambda call, *rest: NO_CALL if call == "fsync" else (call, *rest)) > 0


@pytest.mark.parametrize("name", ["first build", "merge"])
def test_enumeration_finds_a_missing_sync_of_the_parent(tmp_path, name):
    def change(call, path, *rest):
        return NO_CALL if call == "fsync" and path == str(tmp_path) else (call, path, *rest)

    assert violations(tmp_path, name, change) > 0


def test_enumeration_finds_that_one_durable_slot_is_not_enough(tmp_path):
    first, second = 2 * _kernel.SLOT_STRIDE, 3 * _kernel.SLOT_STRIDE

    def change(call, path, offset, *rest):
        return call, path, first if path.endswith("COMMIT") and offset == second else offset, *rest

    assert violations(tmp_path, "durable append", change) > 0


# ---- a tail that is damaged after a reboot


@pytest.mark.parametrize("tail", [["a"], [""], ["a", "", "ß" * 70_000], BLOCKS])
def test_reboot_keeps_an_intact_tail(tmp_path, reboot, tail):
    three_samples(tmp_path)
    texts = StringsMmap(tmp_path)
    for sample in tail:
        texts.append(sample)

    reboot()

    assert list(StringsMmap(tmp_path)) == OLD + tail
    assert takes_appends(tmp_path)


@pytest.mark.parametrize(("name", "place"), [("c0.data-1", 1), ("c0.offsets-1", 1), ("sums-1", 1), ("sums-1", 25)])
def test_reboot_rolls_back_a_damaged_tail_to_the_last_durable_commit(tmp_path, reboot, name, place):
    three_samples(tmp_path)
    texts = StringsMmap(tmp_path)
    durable = (tmp_path / name).stat().st_size
    texts.append("lost" * 50_000)
    texts.append("lost, too")
    overwrite(tmp_path / name, durable + place, b"\xfe")

    reboot()
    reader = StringsMmap(tmp_path)
    writer = StringsMmap(tmp_path)
    writer.append("new")

    assert list(reader) == OLD
    assert list(writer) == list(StringsMmap(tmp_path)) == [*OLD, "new"]
    newest = max(slot.seq for slot in slots(tmp_path) if slot)
    assert [slot.rows for slot in slots(tmp_path) if slot and slot.seq == newest] == [len(OLD) + 1]
    assert all(slot is None or slot.rows in (0, len(OLD), len(OLD) + 1) for slot in slots(tmp_path))


def test_reboot_with_zeros_for_offsets_keeps_flushed_samples(tmp_path, reboot):
    """A bug once: opening failed with a tail of zeros, which a power loss can leave: its length was negative."""
    StringsMmap.from_strings(tmp_path, BLOCKS)
    durable = (tmp_path / "c0.offsets-1").stat().st_size
    StringsMmap(tmp_path).append("lost")
    overwrite(tmp_path / "c0.offsets-1", durable, bytes(8))

    reboot()

    assert list(StringsMmap(tmp_path)) == BLOCKS
    assert is_clean(tmp_path)
    assert takes_appends(tmp_path)


def test_reboot_keeps_the_commits_before_the_damaged_one(tmp_path, reboot):
    three_samples(tmp_path)
    texts = StringsMmap(tmp_path)
    texts.append("kept")
    size = (tmp_path / "c0.data-1").stat().st_size
    texts.append("lost")
    overwrite(tmp_path / "c0.data-1", size, b"\0")

    reboot()

    assert list(StringsMmap(tmp_path)) == [*OLD, "kept"]
    assert takes_appends(tmp_path)


def test_reboot_with_lost_tail_keeps_flushed_samples(tmp_path, reboot):
    three_samples(tmp_path)
    texts = StringsMmap(tmp_path)
    texts.append("flushed")
    texts.flush()
    sizes = {name: (tmp_path / name).stat().st_size for name in ("c0.data-1", "c0.offsets-1", "sums-1")}
    texts.extend(BLOCKS)
    for name, size in sizes.items():
        os.truncate(tmp_path / name, size)

    reboot()

    assert list(StringsMmap(tmp_path)) == [*OLD, "flushed"]
    assert takes_appends(tmp_path)


def test_rejected_commit_does_not_return_when_its_bytes_do(tmp_path, reboot):
    three_samples(tmp_path)
    texts = StringsMmap(tmp_path)
    texts.append("rejected")
    overwrite(tmp_path / "c0.data-1", 9, b"R")

    reboot()
    with (
        pytest.raises(OSError, match="No space left"),
        watched(At(1, fail_with(errno.ENOSPC), only=lambda call, offset: call == "pwrite" and 0 < offset < 100)),
    ):
        StringsMmap(tmp_path).append("never stored")
    overwrite(tmp_path / "c0.data-1", 9, b"r")

    assert list(StringsMmap(tmp_path)) == OLD


def test_writer_alive_over_a_rollback_sees_it(tmp_path, reboot):
    """Machines never share a dataset, but a handle must not resurrect what another one rolled back."""
    three_samples(tmp_path)
    old = StringsMmap(tmp_path)
    old.append("rolled back")
    overwrite(tmp_path / "c0.data-1", 9, b"R")
    reboot()
    StringsMmap(tmp_path).append("new")

    old.append("newer")

    assert list(old) == list(StringsMmap(tmp_path)) == [*OLD, "new", "newer"]


@pytest.mark.parametrize(("name", "found"), [("boot_id", b"\xff" * 16), ("surroundings", (2**40, 2**40))])
def test_pickle_from_before_a_reboot_or_mount_is_not_trusted(tmp_path, monkeypatch, name, found):
    three_samples(tmp_path)
    texts = StringsMmap(tmp_path)
    texts.append("lost")
    pickled = pickle.dumps(StringsMmap(tmp_path))
    overwrite(tmp_path / "c0.data-1", 9, b"L")
    monkeypatch.setattr(files, name, lambda *_: found)

    with pytest.raises(StaleHandleError, match="it was rolled back since, as by a power loss"):
        pickle.loads(pickled)


def test_no_boot_id_verifies_every_time(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "boot_id", lambda: bytes(16))
    texts = StringsMmap(tmp_path / "ds")
    for sample in (*OLD, *BLOCKS):
        texts.append(sample)

    assert list(StringsMmap(tmp_path / "ds")) == OLD + BLOCKS
    flipped = (tmp_path / "ds" / "c0.data-1").stat().st_size - 1
    overwrite(tmp_path / "ds" / "c0.data-1", flipped, b"x")
    assert list(StringsMmap(tmp_path / "ds")) == OLD + BLOCKS[:-1]


def test_damage_to_both_durable_slots_and_the_tail_is_refused(tmp_path, reboot):
    three_samples(tmp_path)
    StringsMmap(tmp_path).extend(["a", "b"])
    for place in (2, 3):
        overwrite(tmp_path / "COMMIT", place * _kernel.SLOT_STRIDE + 50, b"torn")
    overwrite(tmp_path / "c0.data-1", 0, b"X")
    overwrite(tmp_path / "c0.data-1", 9, b"X")

    reboot()

    with pytest.raises(
        CorruptDatasetError, match="no durable commit is intact, and the data of the others does not match"
    ):
        StringsMmap(tmp_path)


@pytest.mark.parametrize("added", [["a"], BLOCKS])
def test_copy_of_a_live_dataset_opens_and_appends(tmp_path, added):
    three_samples(tmp_path / "ds")
    texts = StringsMmap(tmp_path / "ds")
    for sample in added:
        texts.append(sample)

    shutil.copytree(tmp_path / "ds", tmp_path / "copy")
    texts.append("only in the original")

    assert list(StringsMmap(tmp_path / "copy")) == OLD + added
    assert takes_appends(tmp_path / "copy")
    assert list(StringsMmap(tmp_path / "ds")) == [*OLD, *added, "only in the original"]


def test_copy_with_older_payload_than_commit_opens_to_a_prefix(tmp_path):
    three_samples(tmp_path / "ds")
    texts = StringsMmap(tmp_path / "ds")
    shutil.copytree(tmp_path / "ds", tmp_path / "copy")
    texts.append("not in the copied payload")
    shutil.copy(tmp_path / "ds" / "COMMIT", tmp_path / "copy" / "COMMIT")

    assert list(StringsMmap(tmp_path / "copy")) == OLD


def test_incomplete_build_after_reboot_is_resumed(tmp_path, reboot):
    interrupted_build(tmp_path)
    reboot()

    with pytest.warns(IncompleteDatasetWarning, match="shows the 3 samples committed so far"):
        assert list(StringsMmap(tmp_path)) == NEW[:3]
    with warnings.catch_warnings():
        texts = StringsMmap.from_generator(tmp_path, iter(NEW), batch_size=3, if_exists="resume")

    assert list(texts) == NEW
    assert texts.complete
