"""Crashes, failing disks and power losses at every system call that changes a file."""

import contextlib
import errno
import itertools
import os
import shutil
import warnings

import numpy as np
import pytest
from faults import At, change_slots, killed_at, opened, overwrite, slots, watched

import mmap_ninja
from mmap_ninja import (
    ArrayMmap,
    CommitUncertainError,
    CorruptDatasetError,
    IncompleteDatasetWarning,
    RaggedMmap,
    RecordsMmap,
    StringsMmap,
    _kernel,
    files,
)
from mmap_ninja.generation import read_commit

OLD = ["one", "zwölf", ""]
BLOCKS = [f"{number:05d}" * 400 for number in range(150)]  # 300 kB: blocks of payload, and their sums
NEW = [f"new {number}" * (number + 1) for number in range(7)]
ROWS = [[1.0, 2.0], [3.0]]
BATCHES = [NEW[:3], NEW[:6], NEW]  # what is stored after each batch of 3


def append_first(path, done):
    texts = StringsMmap(path)
    texts.append("first")
    done(["first"])


def append_twice(path, done):
    texts = StringsMmap(path)
    for added in (["a"], ["a", "b"]):
        texts.append(added[-1])
        done(OLD + added)


def extend_blocks(path, done):
    texts = StringsMmap(path)
    texts.append("a")
    done([*OLD, "a"])
    texts.extend(BLOCKS)
    done([*OLD, "a", *BLOCKS])
    texts.append("b")
    done([*OLD, "a", *BLOCKS, "b"])


def append_durably(path, done):
    texts = StringsMmap(path, durability="machine")
    for added in (["a"], ["a", "b"], ["a", "b", "c"]):
        texts.append(added[-1])
        done(OLD + added)


def append_and_flush(path, done):
    texts = StringsMmap(path)
    texts.append("a")
    done([*OLD, "a"])
    texts.flush()
    texts.append("b")
    done([*OLD, "a", "b"])
    texts.close()


def build_first(path, done):
    StringsMmap.from_generator(path, iter(NEW), batch_size=3)
    done(NEW)


def build_again(path, done):
    StringsMmap.from_generator(path, iter(NEW), batch_size=3, if_exists="replace")
    done(NEW)


def build_more(path, done):
    StringsMmap.from_generator(path, iter(NEW), batch_size=3, if_exists="append")
    done(OLD + NEW)


def resume_first(path, done):
    StringsMmap.from_generator(path, iter(NEW), batch_size=3, if_exists="resume")
    done(NEW)


def append_ranks(path, done):
    rows = RaggedMmap(path)
    rows.append(np.float64(5))
    done([*ROWS, 5.0])
    rows.append(np.zeros((1, 1, 2)))
    done([*ROWS, 5.0, [[[0.0, 0.0]]]])


def append_first_array(path, done):
    arrays = ArrayMmap(path)
    arrays.append(np.arange(2.0))
    done([[0.0, 1.0]])


def build_ranks(path, done):
    RaggedMmap.from_generator(path, [*map(np.array, ROWS), np.float64(5), np.ones((1, 1))], batch_size=1)
    done([*ROWS, 5.0, [[1.0]]])


def unseal(path, done):
    mmap_ninja.np_open_existing(path, "r+")
    done([[1.0, 2.0]])


def edit(path, done):
    texts = StringsMmap(path)
    expected = list(OLD)
    texts[0] = expected[0] = "longer than before"
    done(list(expected))
    del texts[1], expected[1]
    done(list(expected))
    texts[0:2] = expected[0:2] = ["x" * 70_000, "y"]
    done(list(expected))
    texts.append("z")
    done([*expected, "z"])
    del texts[:2]
    texts.close()
    done(["z"])


EDITED = [
    OLD,
    ["longer than before", *OLD[1:]],
    ["longer than before", ""],
    ["x" * 70_000, "y"],
    ["x" * 70_000, "y", "z"],
    ["z"],
]


def edited(path):
    texts = StringsMmap.from_strings(path, BLOCKS[:40] + OLD)
    del texts[:40]
    texts[0] = "other"


def compact(path, done):
    texts = StringsMmap(path)
    texts.compact()
    done(["other", *OLD[1:]])
    texts.compact(order=[2, 0, 1])
    done(["", "other", OLD[1]])


def clear(path, done):
    texts = StringsMmap(path)
    texts.clear()
    done([])


def records(count):
    return [{"n": number, "t": "t" * number, "r": [number] * (number + 1)} for number in range(count)]


def two_records(path):
    RecordsMmap.from_generator(path, records(2)).close()


def append_first_record(path, done):
    dataset = RecordsMmap(path)
    dataset.append(records(1)[0])
    done(records(1))


def change_records(path, done):
    dataset = RecordsMmap(path)
    dataset.extend(records(4)[2:])
    done(records(4))
    del dataset[0]
    done(records(4)[1:])
    dataset.add_column("c", [7, 8, 9])
    done(ADDED)
    dataset.rename_column("c", "d")
    done(RENAMED)
    dataset.drop_column("r")
    done(DROPPED)


ADDED = [sample | {"c": 7 + place} for place, sample in enumerate(records(4)[1:])]
RENAMED = [sample | {"d": 7 + place} for place, sample in enumerate(records(4)[1:])]
DROPPED = [{key: value for key, value in sample.items() if key != "r"} for sample in RENAMED]


def nothing(path):
    pass


def two_rows(path):
    RaggedMmap.from_lists(path, ROWS).close()


def one_array(path):
    ArrayMmap.from_ndarray(path, [[1.0, 2.0]]).close()


def three_samples(path):
    StringsMmap.from_strings(path, OLD).close()


def interrupted_build(path):
    with contextlib.suppress(RuntimeError):
        StringsMmap.from_generator(path, interrupted(), batch_size=3)


def interrupted_replacement(path):
    three_samples(path)
    interrupted_build(path)


def interrupted():
    yield from NEW[:4]
    raise RuntimeError("source")


# name: (what is there before, what is done, what may be seen afterwards, the least calls that it makes)
ACTIONS = {
    "first append": (nothing, append_first, [None, [], ["first"]], 20),
    "append": (three_samples, append_twice, [OLD, [*OLD, "a"], [*OLD, "a", "b"]], 10),
    "extend": (three_samples, extend_blocks, [OLD, [*OLD, "a"], [*OLD, "a", *BLOCKS], [*OLD, "a", *BLOCKS, "b"]], 15),
    "durable append": (three_samples, append_durably, [OLD + list("abc")[:k] for k in range(4)], 30),
    "flush and close": (three_samples, append_and_flush, [OLD, [*OLD, "a"], [*OLD, "a", "b"]], 20),
    "first build": (nothing, build_first, [None, [], *BATCHES], 35),
    "replacement": (three_samples, build_again, [OLD, NEW], 50),
    "append build": (three_samples, build_more, [OLD + batch for batch in [[], *BATCHES]], 20),
    "resume": (interrupted_build, resume_first, BATCHES, 10),
    "resumed replacement": (interrupted_replacement, resume_first, [OLD, NEW], 20),
    "first array": (nothing, append_first_array, [None, [], [[0.0, 1.0]]], 30),
    "other ranks": (two_rows, append_ranks, [ROWS, [*ROWS, 5.0], [*ROWS, 5.0, [[[0.0, 0.0]]]]], 40),
    "rebuilt ranks": (two_rows, build_ranks, [ROWS, [*ROWS, 5.0, [[1.0]]]], 60),
    "edits": (three_samples, edit, EDITED, 15),
    "compaction": (edited, compact, [["other", *OLD[1:]], ["", "other", OLD[1]]], 40),
    "clear": (edited, clear, [["other", *OLD[1:]], []], 20),
    "first record": (nothing, append_first_record, [None, [], records(1)], 30),
    "records": (two_records, change_records, [records(2), records(4), records(4)[1:], ADDED, RENAMED, DROPPED], 60),
    "unsealed": (one_array, unseal, [[[1.0, 2.0]]], 10),
}


@pytest.fixture(params=ACTIONS)
def action(request):
    """One way to change a dataset, with all states that it goes through."""
    return ACTIONS[request.param]


def seen(path):
    """The samples of a dataset; None where there is none."""
    return listed(opened(path)) if (path / "COMMIT").exists() else None


def listed(samples):
    """All samples as plain Python values."""
    return [listed_sample(sample) for sample in samples]


def listed_sample(sample):
    if isinstance(sample, dict):
        return {key: listed_sample(value) for key, value in sample.items()}
    return sample.tolist() if hasattr(sample, "tolist") else sample


def takes_appends(path):
    """Whether the next writer goes on where the last one stopped."""
    before = seen(path) or []
    samples = opened(path)
    added = ["next", "and", "more" * 20_000]
    if isinstance(samples, RecordsMmap):
        added = [before[0] if before else records(3)[2]] * 3
    elif not isinstance(samples, StringsMmap):
        added = [[0.0, 1.0]] * 3 if not before else [before[0]] * 2 + [before[-1]]
    samples.append(added[0])
    samples.extend(added[1:])
    return listed(samples) == listed(opened(path)) == [*before, *added]


def prepared(tmp_path, prepare, name):
    """A fresh directory's path, as the action expects it."""
    path = tmp_path / name
    prepare(path)
    return path


@pytest.mark.parametrize("name", ACTIONS)
def test_kill_at_every_call_keeps_whole_commits(tmp_path, name):
    prepare, act, states, least_calls = ACTIONS[name]
    template = prepared(tmp_path, prepare, "template")

    for number in itertools.count(1):
        path = tmp_path / str(number)
        if template.exists():
            shutil.copytree(template, path)
            adopt_copy(path)
        killed, acknowledged = killed_at(number, lambda done, path=path: act(path, done))
        if not killed:
            break
        found = seen(path)
        assert found in states
        if acknowledged is not None:
            assert states.index(found) >= states.index(acknowledged)
        assert takes_appends(path)
        shutil.rmtree(path)

    assert acknowledged == states[-1]
    assert number > least_calls


def adopt_copy(path):
    """Make a copied dataset look as if it had been written in place."""
    for name in ("COMMIT", "BUILD"):
        if (path / name).exists():
            info = (path / name).stat()

            def change(slot, info=info):
                slot.device, slot.inode = info.st_dev, info.st_ino

            change_slots(path, change, name)


@pytest.mark.parametrize("name", ["first build", "replacement", "resume", "resumed replacement"])
def test_killed_build_is_resumed_or_replaced_without_leftovers(tmp_path, name):
    prepare, act, _, _ = ACTIONS[name]

    for number in itertools.count(1):
        path = prepared(tmp_path, prepare, str(number))
        killed, _ = killed_at(number, lambda done, path=path: act(path, done))
        if not killed:
            break
        build_left = (path / "BUILD").exists()
        complete = (path / "COMMIT").exists() and opened(path).complete
        resumed = list(StringsMmap.from_generator(path, iter(NEW), batch_size=3, if_exists="resume"))
        assert resumed == NEW or (resumed == OLD and complete and not build_left)
        StringsMmap.from_strings(path, ["end"])
        assert list(StringsMmap(path)) == ["end"]
        left = [file.rsplit("-", 1)[-1].removesuffix(".json") for file in os.listdir(path) if "-" in file]
        assert len(left) == 5
        assert len(set(left)) == 1
        assert sorted(file for file in os.listdir(path) if "-" not in file) == ["COMMIT", "LOCK"]

    assert number > 10


# ---- errors


def fail_with(code):
    """What a hook does to make the call fail."""

    def fail(_size):
        raise OSError(code, os.strerror(code))

    return fail


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("name", ACTIONS)
def test_error_at_every_call_is_clean(tmp_path, name, code):
    prepare, act, states, least_calls = ACTIONS[name]
    uncertain = 0

    for number in itertools.count(1):
        path = prepared(tmp_path, prepare, str(number))
        acknowledged, raised = [], None
        hook = At(number, fail_with(code))
        with watched(hook):
            try:
                act(path, acknowledged.append)
            except OSError as error:
                raised = error
        if not hook.fired:
            break
        found = seen(path)
        assert found in states
        if acknowledged:
            assert states.index(found) >= states.index(acknowledged[-1])
        if isinstance(raised, CommitUncertainError):
            uncertain += 1
            assert hook.call in ("fdatasync", "pwrite")  # of a durable slot
        elif raised is not None:
            assert raised.errno == code
            assert str(tmp_path) in str(raised)
            assert takes_appends(path)
        else:
            assert found == states[-1]
            assert hook.call in ("pwrite", "unlink")
        shutil.rmtree(path)

    assert raised is None
    assert number > least_calls - 10
    assert (uncertain > 0) == (name not in ("first append", "append", "extend"))


def test_full_disk_gives_back_space_and_the_next_append_works(tmp_path):
    three_samples(tmp_path / "ds")
    texts = StringsMmap(tmp_path / "ds")
    texts.append("a")
    sizes = {file.name: file.stat().st_size for file in (tmp_path / "ds").iterdir()}

    for number in range(1, 4):  # payload, offsets, sums
        hook = At(number, fail_with(errno.ENOSPC), only=lambda call, _: call == "pwrite")
        with watched(hook), pytest.raises(OSError, match="No space left on device.*ds") as full:
            texts.extend(BLOCKS)
        assert hook.fired
        assert full.value.errno == errno.ENOSPC
        assert {file.name: file.stat().st_size for file in (tmp_path / "ds").iterdir()} == sizes
    texts.extend(BLOCKS)

    assert list(texts) == list(StringsMmap(tmp_path / "ds")) == [*OLD, "a", *BLOCKS]


def test_failed_sync_makes_every_handle_refuse_to_write(tmp_path):
    three_samples(tmp_path)
    texts, other = StringsMmap(tmp_path), StringsMmap(tmp_path)
    texts.append("a")
    other.append("b")
    hook = At(1, fail_with(errno.EIO), only=lambda call, _: call == "fdatasync")

    with watched(hook), pytest.raises(CommitUncertainError, match="fdatasync failed .*unknown; this handle"):
        texts.flush()

    assert hook.fired
    for handle in (texts, other, StringsMmap(tmp_path)):
        for change in (lambda: handle.append("lost"), handle.flush):  # noqa: B023 - called at once
            with pytest.raises(CommitUncertainError, match="a sync of this dataset failed before"):
                change()
    assert list(StringsMmap(tmp_path)) == [*OLD, "a", "b"]
    assert list(StringsMmap.from_strings(tmp_path, ["rebuilt"])) == ["rebuilt"]
    StringsMmap(tmp_path).append("writable again")


def test_failed_sync_of_a_durable_append_shows_nothing(tmp_path):
    three_samples(tmp_path)

    for number in range(1, 5):  # payload, offsets, and COMMIT before and after its slot is written
        texts = StringsMmap(tmp_path, durability="machine")
        hook = At(number, fail_with(errno.EIO), only=lambda call, _: call == "fdatasync")
        with watched(hook), pytest.raises(CommitUncertainError, match="fdatasync failed"):
            texts.append("a")
        assert hook.fired
        assert list(texts) == list(StringsMmap(tmp_path)) == OLD
        three_samples(tmp_path)


def test_failed_fast_slot_after_a_durable_one_is_no_error(tmp_path):
    """A bug once: append raised although its sample was stored, and a retry stored it twice."""
    three_samples(tmp_path)
    texts = StringsMmap(tmp_path, durability="machine")
    texts.append("a")
    fast = [offset * _kernel.SLOT_STRIDE for offset in (0, 1)]

    def hook(call, where, offset, size, data):
        if call == "pwrite" and size == _kernel.SLOT_SIZE and offset in fast:
            raise OSError(errno.EIO, "the fast slot's sector is bad")

    with watched(hook):
        texts.append("b")
        texts.append("c")
    texts.append("d")

    assert list(texts) == list(StringsMmap(tmp_path)) == [*OLD, *"abcd"]


@pytest.mark.parametrize("name", ACTIONS)
def test_interrupted_calls_are_repeated(tmp_path, name):
    prepare, act, states, _ = ACTIONS[name]
    path = prepared(tmp_path, prepare, "ds")
    counts = itertools.count()

    def hook(call, where, offset, size, data):
        if next(counts) % 2 == 0:
            raise OSError(errno.EINTR, "signal")

    with watched(hook):
        act(path, lambda _state: None)

    assert next(counts) > 10
    assert seen(path) == states[-1]


@pytest.mark.parametrize("at_most", [1, 7, 100, 65_536])
def test_short_writes_go_on_where_they_stopped(tmp_path, at_most):
    three_samples(tmp_path)
    samples = BLOCKS[:3] if at_most < 100 else BLOCKS
    texts = StringsMmap(tmp_path)
    cut = []

    def hook(call, where, offset, size, data):
        if call != "pwrite" or size <= at_most:
            return None
        cut.append(size)
        return at_most

    with watched(hook):
        texts.extend(samples)
        texts.flush()

    assert cut
    assert list(texts) == list(StringsMmap(tmp_path)) == OLD + samples


@pytest.mark.parametrize("kept", [1, 100, 65_536, 200_000])
def test_short_write_then_full_disk_shows_nothing(tmp_path, kept):
    three_samples(tmp_path)
    texts = StringsMmap(tmp_path)
    calls = []

    def hook(call, where, offset, size, data):
        if call == "pwrite":
            calls.append(size)
            if len(calls) == 1:
                return kept
            raise OSError(errno.ENOSPC, "full")
        return None

    with watched(hook), pytest.raises(OSError, match="No space left on device"):
        texts.extend(BLOCKS)

    assert len(calls) == 2
    assert list(StringsMmap(tmp_path)) == OLD
    assert takes_appends(tmp_path)


def test_torn_slot_write_shows_the_commit_before(tmp_path):
    three_samples(tmp_path)
    texts = StringsMmap(tmp_path)
    states = [OLD]

    for kept in range(1, _kernel.SLOT_SIZE, 5):
        short = At(1, lambda _size, kept=kept: kept, only=lambda _call, _offset: True)

        def hook(call, where, offset, size, data, short=short):
            at = offset % _kernel.SLOT_STRIDE
            if call == "pwrite" and at == 0 and size == _kernel.SLOT_SIZE:
                return short(call, where, offset, size, data)
            if call == "pwrite" and short.fired and at + size == _kernel.SLOT_SIZE:
                raise OSError(errno.EIO, "torn")
            return None

        with watched(hook), pytest.raises(OSError, match="Input/output error"):
            texts.append("torn")
        assert short.fired
        assert list(StringsMmap(tmp_path)) == states[-1]
        texts.append(str(kept))
        states.append([*states[-1], str(kept)])

    assert list(texts) == list(StringsMmap(tmp_path)) == states[-1]


# ---- power loss


@pytest.fixture
def reboot(monkeypatch):
    """Let readers believe that the machine was started again."""
    boots = itertools.count(1)

    def start_again():
        boot = next(boots).to_bytes(16, "little")
        monkeypatch.setattr(files, "boot_id", lambda: boot)

    return start_again


@pytest.mark.parametrize("tail", [["a"], [""], ["a", "", "ß" * 70_000], BLOCKS])
def test_reboot_keeps_an_intact_tail(tmp_path, reboot, tail):
    three_samples(tmp_path)
    texts = StringsMmap(tmp_path)
    for sample in tail:
        texts.append(sample)

    reboot()

    assert list(StringsMmap(tmp_path)) == OLD + tail
    assert takes_appends(tmp_path)


@pytest.mark.parametrize("name", ["c0.data-1", "c0.offsets-1", "sums-1"])
def test_reboot_rolls_back_a_damaged_tail_to_the_last_durable_commit(tmp_path, reboot, name):
    three_samples(tmp_path)
    texts = StringsMmap(tmp_path)
    durable = (tmp_path / name).stat().st_size
    texts.append("lost" * 50_000)
    texts.append("lost, too")
    overwrite(tmp_path / name, durable + 1, b"\xfe")

    reboot()
    reader = StringsMmap(tmp_path)
    writer = StringsMmap(tmp_path)
    writer.append("new")

    assert list(reader) == OLD
    assert list(writer) == list(StringsMmap(tmp_path)) == [*OLD, "new"]
    newest = max(slot.seq for slot in slots(tmp_path) if slot)
    assert [slot.rows for slot in slots(tmp_path) if slot and slot.seq == newest] == [len(OLD) + 1]
    assert all(slot is None or slot.rows in (0, len(OLD), len(OLD) + 1) for slot in slots(tmp_path))


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


def test_reboot_with_zeros_for_offsets_keeps_flushed_samples(tmp_path, reboot):
    """Zeros, which a power loss can leave, gave the tail a negative length: nobody could open the dataset."""
    three_samples(tmp_path)
    texts = StringsMmap(tmp_path)
    texts.append("flushed" * 20_000)
    texts.flush()
    before, size = list(texts), (tmp_path / "c0.offsets-1").stat().st_size
    texts.append("lost")
    overwrite(tmp_path / "c0.offsets-1", size, bytes(8))

    reboot()

    assert list(StringsMmap(tmp_path)) == before
    assert mmap_ninja.verify(tmp_path, "full").ok
    assert takes_appends(tmp_path)


def test_rejected_commit_does_not_come_back_when_its_bytes_do(tmp_path, reboot):
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
    """Two machines never share a dataset; but a handle must not resurrect what another one rolled back."""
    three_samples(tmp_path)
    old = StringsMmap(tmp_path)
    old.append("rolled back")
    overwrite(tmp_path / "c0.data-1", 9, b"R")
    reboot()
    StringsMmap(tmp_path).append("new")

    old.append("newer")

    assert list(old) == list(StringsMmap(tmp_path)) == [*OLD, "new", "newer"]


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


# ---- power loss, enumerated


class Recorder:
    """A hook that notes every call, so that the files can be put together as any power loss may leave them."""

    def __init__(self):
        self.calls = []

    def __call__(self, call, where, offset, size, data):
        if call == "copy_file_range":  # goes through memory instead: the bytes are those of the writes that follow
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        path = where if isinstance(where, str) else os.readlink(f"/proc/self/fd/{where}")
        self.calls.append((call, path, offset, size, data))


def disk_states(calls, start, root):
    """The content of `root` that a power loss may leave, call by call: what was synced, and any part of what was not.

    Directory operations are taken as ordered and durable, which the syncs of the directory and of each new file make
    them; of the un-synced writes any subset has arrived, each whole, missing, or cut in its middle.
    """
    synced = dict(start)  # name: content
    pending = []  # (name, offset, data)
    for call, path, offset, _, data in [*calls, ("end", "", 0, 0, None)]:
        for last_fates in itertools.product((0.0, 0.5, 1.0), repeat=min(len(pending), 4)):
            # Beyond four un-synced writes: those before the last four have arrived.
            fates = (1.0,) * (len(pending) - len(last_fates)) + last_fates
            state = dict(synced)
            for (name, at, written), fate in zip(pending, fates, strict=True):
                part = written[: int(len(written) * fate)]
                content = state[name].ljust(at, b"\0") if part else state[name]
                state[name] = content[:at] + part + content[at + len(part) :]
            yield state
        name = os.path.relpath(path or root, root)
        if call == "pwrite":
            pending.append((name, offset, data))
        elif call == "fdatasync":
            for kept, at, written in pending:
                if kept == name:
                    content = synced[name].ljust(at, b"\0")
                    synced[name] = content[:at] + written + content[at + len(written) :]
            pending = [write for write in pending if write[0] != name]
        elif call == "open":
            synced[name] = b""
        elif call == "rename":
            new = os.path.relpath(data.decode(), root)
            synced[new] = synced.pop(name)
            pending = [(new if of == name else of, at, written) for of, at, written in pending]
        elif call == "unlink":
            synced.pop(name, None)
            pending = [write for write in pending if write[0] != name]


@pytest.mark.parametrize(
    "name", ["durable append", "flush and close", "replacement", "first build", "other ranks", "compaction"]
)
def test_power_loss_at_every_call_shows_a_whole_commit(tmp_path, reboot, name):
    prepare, act, states, _ = ACTIONS[name]
    path = prepared(tmp_path, prepare, "ds")
    start = {file.name: file.read_bytes() for file in path.iterdir()} if path.exists() else {}
    recorder = Recorder()
    promised = []  # (calls made, state that must survive a power loss from then on)

    with watched(recorder):
        act(path, lambda state: promised.append((len(recorder.calls), state)))
    shutil.rmtree(path)
    reboot()

    tried, last = 0, 0
    for state in unique(disk_states(recorder.calls, start, path)):
        path.mkdir()
        for file, content in state.items():
            (path / file).write_bytes(content)
        found = seen(path)
        assert found in states
        last = max(last, states.index(found))
        if tried % 10 == 0:
            assert takes_appends(path)
        shutil.rmtree(path)
        tried += 1

    assert last == len(states) - 1
    assert promised[-1][1] == states[-1]
    assert tried > 50


@pytest.mark.parametrize("old", [None, OLD])
def test_power_loss_at_every_call_of_a_merge_leaves_the_old_or_the_new(tmp_path, reboot, old):
    long = "long enough for a copy of its own" * 2000
    for name, samples in (("a", [long, "gone", "b"]), ("b", ["c"])):
        StringsMmap.from_strings(tmp_path / name, samples).close()
    edited = StringsMmap(tmp_path / "a")
    del edited[1]
    edited.close()
    path, expected = tmp_path / "out", [long, "b", "c"]
    if old:
        three_samples(path)
    start = {file.name: file.read_bytes() for file in path.iterdir()} if old else {}
    recorder = Recorder()

    with watched(recorder):
        mmap_ninja.merge([tmp_path / "a", tmp_path / "b"], path, if_exists="replace")
    shutil.rmtree(path)
    reboot()

    found = []
    for state in unique(disk_states(recorder.calls, start, path)):
        path.mkdir()
        for file, content in state.items():
            (path / file).write_bytes(content)
        found.append(seen(path))
        assert found[-1] in (old, expected)
        if len(found) % 10 == 0:
            mmap_ninja.merge([tmp_path / "a", tmp_path / "b"], path, if_exists="replace")
            assert seen(path) == expected
        shutil.rmtree(path)

    assert found[0] == old
    assert found[-1] == expected
    assert len(found) > 50


def unique(states):
    """Each state once."""
    known = set()
    for state in states:
        key = hash(frozenset(state.items()))
        if key not in known:
            known.add(key)
            yield state


def test_power_loss_after_a_durable_append_keeps_it(tmp_path, reboot):
    three_samples(tmp_path / "ds")
    start = {file.name: file.read_bytes() for file in (tmp_path / "ds").iterdir()}
    recorder = Recorder()
    texts = StringsMmap(tmp_path / "ds", durability="machine")
    with watched(recorder):
        texts.append("a")
    made = len(recorder.calls)
    with watched(recorder):
        texts.append("b")
    reboot()

    everything = list(map(frozenset, (state.items() for state in disk_states(recorder.calls, start, tmp_path / "ds"))))
    before = set(
        map(frozenset, (state.items() for state in disk_states(recorder.calls[: made - 1], start, tmp_path / "ds")))
    )
    tried = 0
    for number, state in enumerate(dict.fromkeys(everything)):
        if state in before:
            continue
        path = tmp_path / str(number)
        path.mkdir()
        for name, content in state:
            (path / name).write_bytes(content)
        assert list(StringsMmap(path))[: len(OLD) + 1] == [*OLD, "a"]
        shutil.rmtree(path)
        tried += 1

    assert tried > 20


def test_suspect_dataset_is_read_by_its_digest_only(tmp_path):
    """A bug once: after a failed sync, what the system had dropped was read as zeros in the same boot."""
    three_samples(tmp_path)
    texts = StringsMmap(tmp_path)
    texts.append("lost by the disk")
    hook = At(1, fail_with(errno.EIO), only=lambda call, _: call == "fdatasync")
    with watched(hook), pytest.raises(CommitUncertainError):
        texts.flush()
    assert list(StringsMmap(tmp_path)) == [*OLD, "lost by the disk"]

    size = sum(len(text.encode()) for text in OLD)
    with (tmp_path / "c0.data-1").open("r+b") as payload:
        payload.seek(size)
        payload.write(bytes(16))

    assert list(StringsMmap(tmp_path)) == OLD
    with pytest.raises(CommitUncertainError, match="a sync of this dataset failed before"):
        StringsMmap(tmp_path).append("x")


def test_failed_write_of_a_durable_slot_is_a_plain_error(tmp_path):
    """A bug once: a full disk at that write made the dataset suspect for ever."""
    three_samples(tmp_path)
    texts = StringsMmap(tmp_path)
    texts.append("a")

    def full(call, _, offset, size, data):
        if call == "pwrite" and size == _kernel.SLOT_SIZE and offset >= 2 * _kernel.SLOT_STRIDE:
            raise OSError(errno.ENOSPC, "full")

    with watched(full), pytest.raises(OSError, match="No space left"):
        texts.flush()
    texts.append("b")
    texts.flush()

    assert list(StringsMmap(tmp_path)) == [*OLD, "a", "b"]


def test_complete_flag_of_a_build_without_sync_is_made_durable_by_flush(tmp_path):
    texts = StringsMmap.from_generator(tmp_path, [], durability="process")

    texts.flush()

    assert all(slot.flags & _kernel.COMPLETE for _, slot in read_commit(tmp_path).slots[:2])


def test_damaged_end_of_durable_data_is_not_summed_anew(tmp_path):
    three_samples(tmp_path)
    with (tmp_path / "c0.data-1").open("r+b") as payload:
        payload.write(b"X")

    with pytest.raises(CorruptDatasetError, match="the last bytes of its files are not those"):
        StringsMmap(tmp_path).append("x")
