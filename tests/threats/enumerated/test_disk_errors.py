"""Failing disks: errors at every system call that changes a file, limits of resources, and failing syncs."""

import contextlib
import ctypes
import errno
import functools
import gc
import itertools
import os
import pickle
import random
import resource
import shutil
import sys

import numpy as np
import pytest

import mmap_ninja
from mmap_ninja import (
    ArrayMmap,
    BytesMmap,
    CommitUncertainError,
    CorruptDatasetError,
    NotADatasetError,
    RaggedMmap,
    RecordsMmap,
    StringsMmap,
    _kernel,
)
from mmap_ninja.engine import files
from mmap_ninja.engine.commit_file import read_commit
from support.crash_actions import (
    ACTIONS,
    BLOCKS,
    OLD,
    is_clean,
    is_replaced_without_leftovers,
    listed,
    listed_sample,
    prepared,
    seen,
    takes_appends,
    three_samples,
)
from support.faults import At, fail_with, in_child, unsynced, watched
from support.power_loss import FailingSync, content, each_loss, promise, violation

CODES = [errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.ENOMEM, errno.EMFILE]
# These sync nothing, or only files that are not visible yet: a failing sync is an ordinary error.
NEVER_UNCERTAIN = {"append", "extend"}


@pytest.mark.parametrize(
    "codes", [pytest.param(CODES, id="mixed"), *(pytest.param([code], marks=pytest.mark.torture) for code in CODES)]
)
@pytest.mark.parametrize("name", ACTIONS)
def test_error_at_every_call_is_clean(tmp_path, count, name, codes):
    action = ACTIONS[name]
    gc.collect()
    uncertain, files_before = 0, open_files()

    for number in itertools.count(1):
        path = prepared(tmp_path, action, str(number))
        acknowledged, raised, code = [], None, codes[number % len(codes)]
        hook = At(number, fail_with(code))
        with watched(unsynced(hook)):
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
            assert hook.call in ("fdatasync", "fsync", "pwrite")  # of a durable slot
        elif raised is not None:
            assert raised.errno == code
            assert str(tmp_path) in str(raised)
            assert takes_appends(path)
        else:
            assert found == action.states[-1]
            # Steps that may fail: slots other than the durable one, and clean-up, which others will repeat.
            assert hook.call in ("pwrite", "unlink") or name == "replacement of 0.x"
        shutil.rmtree(path)

    assert raised is None
    gc.collect()
    assert open_files() == files_before
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

    with watched(hook), pytest.raises(CommitUncertainError, match="fdatasync failed .*unknown, and this handle"):
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


def test_failed_fast_slot_after_a_durable_one_is_not_an_error(tmp_path):
    """A bug once: append raised although the sample was stored, and a retry stored it twice."""
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

    with watched(unsynced(hook)):
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
    """A bug once: after a failed sync, bytes dropped by the system were read as zeros in the same boot."""
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
    """A bug once: a full disk at that write marked the dataset as suspect for ever."""
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


def test_damaged_end_of_durable_data_gets_no_new_sum(tmp_path):
    three_samples(tmp_path)
    with (tmp_path / "c0.data-1").open("r+b") as payload:
        payload.write(b"X")

    with pytest.raises(CorruptDatasetError, match="the ends of its files do not match its durable commit"):
        StringsMmap(tmp_path).append("x")


# ---- real limits


def test_file_size_limit_is_a_plain_error(tmp_path):
    three_samples(tmp_path)

    def fill():
        texts, stored, refused = StringsMmap(tmp_path), list(OLD), 0
        for limit in (1, 100, 5000, 70_000, 150_000):
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
            with pytest.raises(OSError, match="File too large.*") as raised:
                texts.extend(BLOCKS)
            refused += raised.value.errno == errno.EFBIG
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
            assert list(texts) == list(StringsMmap(tmp_path)) == stored
            assert is_clean(tmp_path)
            texts.append(str(limit))
            stored.append(str(limit))
        return refused, stored

    refused, stored = in_child(fill)

    assert refused == 5
    assert seen(tmp_path) == stored
    assert takes_appends(tmp_path)


def open_files():
    return len(os.listdir("/dev/fd"))


@contextlib.contextmanager
def files_limited(spare):
    """Limit how many more files this process may open."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    lowest = os.open("/", os.O_RDONLY)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest + spare, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


@pytest.mark.parametrize(
    ("act", "expected"),
    [
        (lambda path: StringsMmap(path).append("x"), [*OLD, "x"]),
        (lambda path: StringsMmap(path).compact(order=[2, 1, 0]), OLD[::-1]),
        (lambda path: StringsMmap.from_strings(path, ["new"]), ["new"]),
    ],
    ids=["append", "compact", "build"],
)
def test_too_many_open_files_is_a_plain_error(tmp_path, act, expected):
    """A bug once: an append that could not open another file left a descriptor of LOCK open."""
    three_samples(tmp_path)

    def starve():
        for spare in range(100):
            gc.collect()
            before = open_files()
            with files_limited(spare):
                try:
                    act(tmp_path)
                except OSError as error:
                    assert error.errno == errno.EMFILE
                else:
                    return spare
            gc.collect()
            assert open_files() == before
            assert seen(tmp_path) == OLD
            assert is_clean(tmp_path)
        return None

    assert in_child(starve) > 5
    assert seen(tmp_path) == expected
    assert takes_appends(tmp_path)


def addresses_in_use():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[0]) * resource.getpagesize()


@contextlib.contextmanager
def addresses_limited(spare):
    """Limit how many more bytes this process may map."""
    resource.setrlimit(resource.RLIMIT_AS, (addresses_in_use() + spare, resource.RLIM_INFINITY))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="no other system limits a process's addresses")
def test_too_little_address_space_is_a_plain_error(tmp_path):
    samples = ["a" * 20_000_000, "b"]
    with watched(unsynced()):
        StringsMmap.from_strings(tmp_path, samples).close()

    def starve():
        refused = 0
        for spare in (1 << 20, 5 << 20, 15 << 20):
            for act in (lambda: StringsMmap(tmp_path), lambda: StringsMmap(tmp_path).append("x")):
                with addresses_limited(spare), pytest.raises(OSError, match="Cannot allocate memory") as raised:
                    act()
                refused += raised.value.errno == errno.ENOMEM
        return refused

    assert in_child(starve) == 6
    assert seen(tmp_path) == samples
    assert takes_appends(tmp_path)


GROWING = {
    "bytes": (BytesMmap, lambda size: b"b" * size),
    "array": (ArrayMmap, lambda size: np.full(1 << 20, size % 251, np.uint8)),
    "ragged": (RaggedMmap, lambda size: np.full(size, 7, np.uint8)),
    "records": (RecordsMmap, lambda size: {"a": b"b" * size, "b": "text"}),
}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="no other system limits a process's addresses")
@pytest.mark.parametrize("kind", GROWING)
def test_too_little_address_space_to_show_an_append_is_not_an_error_of_the_append(tmp_path, kind):
    """A bug once: it raised after the commit, when the map had to grow, and a retry stored the sample twice."""
    cls, sample_of = GROWING[kind]
    path, added = tmp_path / "ds", sample_of(9000)

    def starve():
        with watched(unsynced()):
            cls.from_generator(path, [sample_of(1 << 20)] * 40).close()
        pickle.loads(pickle.dumps(cls(path))).close()  # lazy imports
        with addresses_limited(120 << 20):  # no room for a growing map
            dataset = cls(path)
        with addresses_limited(8 << 20):
            dataset.append(added)
            shown, pickled = len(dataset), pickle.dumps(dataset)
            try:
                right = shown == 40 or listed_sample(dataset[40]) == listed_sample(added)
            except (OSError, MemoryError):
                right = True
        assert len(pickle.loads(pickled)) == shown
        handles = [dataset, cls(path), pickle.loads(pickle.dumps(dataset))]
        found = [(len(handle), listed_sample(handle[-1]) == listed_sample(added)) for handle in handles]
        dataset.append(added)
        return right, found, len(dataset), len(cls(path))

    assert in_child(starve) == (True, [(41, True)] * 3, 42, 42)
    assert is_clean(path)


AFTERWARDS = {
    "append": lambda dataset: dataset.append({"a": 9}),
    "replace": lambda dataset: dataset.__setitem__(0, {"a": 9}),
    "delete": lambda dataset: dataset.__delitem__(-1),
    "pop": lambda dataset: dataset.pop(),
    "compact": lambda dataset: dataset.compact([3, 0, 2, 1]),
    "clear": lambda dataset: dataset.clear(),
    "flush": lambda dataset: dataset.flush(),
    "refresh": lambda dataset: dataset.refresh(),
    "add a column": lambda dataset: dataset.add_column("b", [1, 2, 3, 4]),
    "rename a column": lambda dataset: dataset.rename_column("a", "c"),
    "allow nulls": lambda dataset: dataset.set_nullable("a"),
    "metadata": lambda dataset: setattr(dataset, "metadata", {"a": 1}),
    "close": lambda dataset: dataset.close(),
}


@pytest.mark.parametrize("act", AFTERWARDS)
def test_act_after_a_commit_that_could_not_be_mapped_is_done(tmp_path, monkeypatch, act):
    """A bug once: it ran into its own lock when it read the samples; for records, even `close` did."""

    def refuse(*_):
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    found = []
    for name in ("one that could not be mapped", "another"):
        dataset = RecordsMmap.from_generator(tmp_path / name, [{"a": number} for number in range(3)])
        with monkeypatch.context() as patch:
            if not found:
                patch.setattr(dataset, "_show", refuse)
            dataset.append({"a": 3})
        AFTERWARDS[act](dataset)
        found.append((listed(mmap_ninja.open(tmp_path / name)), None if act == "close" else listed(dataset)))

    assert found[0] == found[1]


def test_records_close_though_their_last_commit_cannot_be_mapped(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    dataset = RecordsMmap.from_generator(tmp_path / "ds", [{"a": 1}])
    monkeypatch.setattr(dataset, "_show", refuse)
    dataset.append({"a": 2})
    dataset.close()

    with pytest.raises(ValueError, match="the dataset is closed"):
        len(dataset)
    assert listed(mmap_ninja.open(tmp_path / "ds")) == listed([{"a": 1}, {"a": 2}])


FIRST = {
    "strings": (StringsMmap, "first"),
    "array": (ArrayMmap, np.arange(3)),
    "records": (RecordsMmap, {"a": 1, "b": "first", "c": np.arange(3)}),
}


@pytest.mark.parametrize("kind", FIRST)
def test_too_many_open_files_at_the_first_append_leave_no_dataset(tmp_path, kind):
    """A bug once: an empty dataset was left behind, or the error came after the sample was stored."""
    cls, sample = FIRST[kind]

    def starve():
        files.watch(unsynced())
        cls(tmp_path / "imports").append(sample)
        for spare in range(100):
            path = tmp_path / str(spare)
            gc.collect()
            before = open_files()
            dataset = cls(path)
            with files_limited(spare):
                try:
                    dataset.append(sample)
                except OSError as error:
                    refused = error.errno == errno.EMFILE
                else:
                    refused = False
            if not refused:
                return spare, listed(mmap_ninja.open(path)), listed(dataset)
            with pytest.raises(NotADatasetError):
                mmap_ninja.open(path)
            assert open_files() == before
            cls(path).append(sample)
            assert listed(mmap_ninja.open(path)) == listed([sample])
        return None

    spare, *found = in_child(starve)

    assert spare > 5
    assert found == [listed([sample])] * 2


def mount_small_disk(path, size):
    """Mount a filesystem of a given size, for this process only; False if that is not permitted."""
    new_mounts, new_users, private = 0x20000, 0x10000000, 0x44000
    libc, user, group = ctypes.CDLL(None), os.getuid(), os.getgid()
    if libc.unshare(new_mounts | (new_users if user else 0)) != 0:
        return False
    if user:
        for name, content in (("setgroups", "deny"), ("uid_map", f"0 {user} 1"), ("gid_map", f"0 {group} 1")):
            with open(f"/proc/self/{name}", "w") as file:
                file.write(content)
    libc.mount(None, b"/", None, private, None)
    return libc.mount(b"tmpfs", os.fsencode(path), b"tmpfs", 0, f"size={size}".encode()) == 0


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="mounts as Linux does")
def test_disk_that_is_full_for_real_is_a_plain_error(tmp_path):
    def fill():
        if not mount_small_disk(tmp_path, 1 << 20):
            return None
        path, stored, refused = tmp_path / "ds", list(OLD), []
        three_samples(path)
        (tmp_path / "ballast").write_bytes(bytes(200_000))
        texts = StringsMmap(path)
        for act in (
            lambda: texts.extend(BLOCKS[:100]) or stored.extend(BLOCKS[:100]),
            lambda: texts.append("x" * 5000) or stored.append("x" * 5000),
            lambda: texts.compact(order=range(len(texts))),
            lambda: StringsMmap.from_strings(path, BLOCKS),
        ):
            with pytest.raises(OSError, match="No space left") as raised:
                for _ in range(1000):
                    act()
            refused.append(raised.value.errno)
            assert listed(texts) == seen(path) == stored
            assert is_clean(path)
        os.unlink(tmp_path / "ballast")
        return refused, takes_appends(path), is_replaced_without_leftovers(path)

    outcome = in_child(fill)

    if outcome is None:
        pytest.skip("nothing may be mounted here")
    assert outcome == ([errno.ENOSPC] * 4, True, True)


# ---- failing syncs


SAMPLE = [pytest.param(name, 1, id=name) for name in ("durable append", "compaction")]
TORTURE = [
    pytest.param(name, 25, id=f"{name}-torture", marks=pytest.mark.torture)
    for name in (
        "flush and close", "durable append", "partial block", "deletes", "replacements", "compaction", "replacement",
    )
]  # fmt: skip


@pytest.mark.parametrize(("name", "most"), SAMPLE + TORTURE)
def test_failed_sync_lets_the_next_writer_build_on_nothing_lost(tmp_path, count, name, most):
    """Later syncs succeed; but no power loss may show a durable commit whose bytes were dropped."""
    action, rng, tried = ACTIONS[name], random.Random(name), 0

    for number in itertools.count(1):
        path = prepared(tmp_path, action, f"ds{number}")
        start, recorder, promised = content(path), FailingSync(number), [(0, 0)]
        done = functools.partial(promise, recorder, promised, action.states)
        with watched(unsynced(recorder)):
            with contextlib.suppress(OSError):
                action.act(path, done)
            before = seen(path)
            with contextlib.suppress(OSError):
                texts = StringsMmap(path)
                texts.append("next")
                texts.flush()
                promised.append((len(recorder.calls), len(action.states)))
                texts.compact(order=range(len(texts)))
        if not recorder.fired:
            break
        states = [*action.states, [*before, "next"]]
        for least in each_loss(start, recorder.calls, promised, path, random=rng, most=most):
            assert violation(path, states, least, appends=False) is None
            tried += 1

    assert number > 3
    count("power losses after a failed sync", tried)


@pytest.mark.parametrize("number", range(1, 6))  # payload, offsets, sums, COMMIT before and after its slot is written
@pytest.mark.parametrize(
    "act", [StringsMmap.flush, StringsMmap.close, StringsMmap.compact, lambda texts: texts.append("c")]
)
def test_failed_sync_lets_no_writer_build_that_had_the_files_open(tmp_path, number, act):
    path = tmp_path / "ds"
    three_samples(path)
    start, recorder = content(path), FailingSync(number)

    with watched(unsynced(recorder)):
        one, other = StringsMmap(path), StringsMmap(path)
        one.extend(BLOCKS[:50])
        other.append("b")
        with pytest.raises(CommitUncertainError, match="fdatasync failed"):
            one.flush()
        with pytest.raises(CommitUncertainError, match="a sync of this dataset failed before"):
            act(other)

    assert recorder.fired
    states = [OLD, OLD + BLOCKS[:50], [*OLD, *BLOCKS[:50], "b"]]
    for _ in each_loss(start, recorder.calls, [(0, 0)], path, random=random.Random(number), most=3):
        assert violation(path, states, 0, appends=False) is None


def test_failed_write_of_a_slot_gives_back_space(path):
    """A bug once: bytes of the failed append stayed after the end of the commit, and could get into a copy."""
    texts = StringsMmap(path)
    texts.append("stored")
    before = {name: os.path.getsize(path / name) for name in os.listdir(path)}

    def fail(call, _where, _offset, size, _data):
        if call == "pwrite" and size == _kernel.SLOT_SIZE:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    with watched(fail), pytest.raises(OSError, match="Input/output"):
        texts.append("never stored" * 10_000)

    assert {name: os.path.getsize(path / name) for name in os.listdir(path)} == before
    texts.append("more")
    assert list(mmap_ninja.open(path)) == list(texts)
