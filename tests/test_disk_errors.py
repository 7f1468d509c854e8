"""Failing disks: errors at every system call that changes a file, limits that are reached, and syncs that fail."""

import errno
import itertools
import os
import resource
import shutil

import pytest
from crash_actions import ACTIONS, BLOCKS, OLD, is_clean, prepared, seen, takes_appends, three_samples
from faults import At, fail_with, in_child, watched
from power_loss import Recorder, content, losses, put

import mmap_ninja
from mmap_ninja import CommitUncertainError, CorruptDatasetError, StringsMmap, _kernel
from mmap_ninja.generation import read_commit

OTHER_CODES = [errno.EDQUOT, errno.EFBIG, errno.ENOMEM, errno.EMFILE]
CODES = [errno.EIO, errno.ENOSPC, *(pytest.param(code, marks=pytest.mark.torture) for code in OTHER_CODES)]
# What these acknowledge survives no power loss, or is no commit of theirs when it does: a failed sync is a plain error.
NEVER_UNCERTAIN = {"first append", "append", "extend"}


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("name", ACTIONS)
def test_error_at_every_call_is_clean(tmp_path, count, name, code):
    action = ACTIONS[name]
    uncertain = 0

    for number in itertools.count(1):
        path = prepared(tmp_path, action, str(number))
        acknowledged, raised = [], None
        hook = At(number, fail_with(code))
        with watched(hook):
            try:
                action.act(path, lambda state, durable=False: acknowledged.append(state))  # noqa: B023 - called at once
            except OSError as error:
                raised = error
        if not hook.fired:
            break
        found = seen(path)
        assert found in action.states
        if acknowledged:
            assert action.states.index(found) >= action.states.index(acknowledged[-1])
        assert is_clean(path)
        if isinstance(raised, CommitUncertainError):
            uncertain += 1
            assert hook.call in ("fdatasync", "pwrite")  # of a durable slot
        elif raised is not None:
            assert raised.errno == code
            assert str(tmp_path) in str(raised)
            assert takes_appends(path)
        else:
            assert found == action.states[-1]
            assert hook.call in ("pwrite", "unlink")
        shutil.rmtree(path)

    assert raised is None
    assert number > action.least_calls - 10
    assert (uncertain > 0) == (name not in NEVER_UNCERTAIN)
    count("errors of system calls", number - 1)


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
    action = ACTIONS[name]
    path = prepared(tmp_path, action)
    counts = itertools.count()

    def hook(call, where, offset, size, data):
        if next(counts) % 2 == 0:
            raise OSError(errno.EINTR, "signal")

    with watched(hook):
        action.act(path, lambda *_, **__: None)

    assert next(counts) > 10
    assert seen(path) == action.states[-1]


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
