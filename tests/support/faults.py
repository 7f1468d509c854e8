"""Injected damage and crashes, for the tests of corruption, crashes and concurrency."""

import contextlib
import errno
import multiprocessing
import os
import pickle
import signal
import traceback
import warnings
from pathlib import Path

import pytest

import mmap_ninja
from mmap_ninja import CommitUncertainError, IncompleteDatasetWarning, StringsMmap, _kernel
from mmap_ninja.engine import files, upgrade_marks

DATA, OFFSETS, META = "c0.data-1", "c0.offsets-1", "meta-1.json"
OLD = ["one", "zwölf", ""]  # the samples of the fixture `path`
NEW = [f"new {number}" * (number + 1) for number in range(10)]


def sample(number):
    """The text for a number, of varying length and width."""
    return f"{number}:" + "aé日"[number % 3] * (number % 50)


def opened(path):
    """An open dataset, even if its build has not ended."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", IncompleteDatasetWarning)
        exists = (Path(path) / "COMMIT").exists() or upgrade_marks.detect(Path(path))
        return mmap_ninja.open(path) if exists else StringsMmap(path)


def slot_places(name="COMMIT"):
    """The positions of the slots in a commit file."""
    return [place * _kernel.SLOT_STRIDE for place in range(_kernel.SLOTS)]


def overwrite(path, offset, data):
    """Change bytes of a file in place."""
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(data)


def flip_bit(path, offset, bit=0):
    """Flip one bit of a file in place."""
    with open(path, "rb") as file:
        file.seek(offset)
        byte = file.read(1)[0]
    overwrite(path, offset, bytes([byte ^ 1 << bit]))


def slots(path, name="COMMIT"):
    """The slots of a commit file, by place; None for one that is not valid."""
    data = (Path(path) / name).read_bytes()
    return [_kernel.decode_slot(data[at : at + _kernel.SLOT_SIZE])[1] for at in slot_places()]


def durable_rows(path):
    """The number of rows after a power loss: that of the newest durable slot."""
    return max((slot for slot in slots(path) if slot is not None and slot.durable), key=lambda slot: slot.seq).rows


def change_slots(path, change, name="COMMIT"):
    """Change every valid slot by `change`, with correct checksums."""
    for at, slot in zip(slot_places(), slots(path, name), strict=True):
        if slot is not None:
            change(slot)
            overwrite(Path(path) / name, at, _kernel.encode_slot(slot))


def replace_meta(path, content):
    """Replace the meta file of the first generation, with its digest in all slots."""
    (Path(path) / META).write_bytes(content)

    def update(slot):
        slot.meta_digest = _kernel.xxh64(content)

    change_slots(path, update)


@contextlib.contextmanager
def watched(hook):
    """Pass the system calls that change files through `hook`."""
    files.watch(hook)
    try:
        yield
    finally:
        files.watch(None)


def unsynced(hook=lambda *_: None):
    """A hook that also skips syncs, since no test with it simulates a power loss."""

    def skip(call, *rest):
        verdict = hook(call, *rest)
        return 1 if verdict is None and call in ("fdatasync", "fsync") else verdict

    return skip


def fail_to_sync(dataset):
    """Make the next sync of a dataset fail, so that its last commits are in doubt."""
    hook = At(1, fail_with(errno.EIO), only=lambda call, _: call == "fdatasync")
    with watched(hook), pytest.raises(CommitUncertainError):
        dataset.flush()
    assert hook.fired


def is_unlock(call, offset):
    """Whether a watched call releases a lock, which never fails."""
    return call == "flock" and offset == 1


def fail_with(code):
    """An action of a hook that makes the call fail."""

    def fail(_size):
        raise OSError(code, os.strerror(code))

    return fail


class At:
    """A hook with an action at the n-th call that changes a file; `fired`: whether there was such a call."""

    def __init__(self, number, action, *, only=lambda call, offset: not is_unlock(call, offset)):
        self.number = number
        self.action = action
        self.only = only
        self.seen = 0
        self.fired = False
        self.call = None

    def __call__(self, call, where, offset, size, data):
        if not self.only(call, offset):
            return None
        self.seen += 1
        if self.seen != self.number:
            return None
        self.fired = True
        self.call = call
        return self.action(size)


def fork(function):
    """Run a function in a forked child; returns the process id, and the read end of a pipe with the pickled result."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # about forking with threads; the child only computes
        pid = os.fork()
    if pid:
        os.close(writing)
        return pid, reading
    status = 1
    try:
        os.close(reading)
        with contextlib.suppress(BrokenPipeError), os.fdopen(writing, "wb") as pipe:
            pickle.dump(function(), pipe)
        status = 0
    except BaseException:  # the child must never continue with the parent's tests
        traceback.print_exc()
    finally:
        os._exit(status)


def result_of(child):
    """The result of the function of a forked child."""
    pid, reading = child
    with os.fdopen(reading, "rb") as pipe:
        content = pipe.read()
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert status == 0, f"the child ended with {status}"
    return pickle.loads(content)


def start(method, function, *args):
    """Run a function of a test's module in a new process."""
    process = multiprocessing.get_context(method).Process(target=function, args=args)
    process.start()
    return process


def ended(process):
    """The exit status of a process that is about to end."""
    process.join(60)
    status = process.exitcode
    process.close()
    return status


def in_child(function):
    """The result of a function that runs in a forked child."""
    return result_of(fork(function))


def killed_at(number, function):
    """Kill a forked child at its n-th system call that changes a file; False if the function ended before."""

    def child():
        kill = At(number, lambda _size: os.kill(os.getpid(), signal.SIGKILL), only=lambda _call, _offset: True)
        files.watch(unsynced(kill))
        function()

    pid, results = fork(child)
    os.close(results)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert status in (0, -signal.SIGKILL), f"the child ended with {status}"
    return status != 0


def as_nobody(function):
    """The result of a function that runs in a child without root's right to write everywhere."""

    def child():
        if os.getuid() == 0:
            os.setgid(65534)
            os.setuid(65534)
        return function()

    return in_child(child)
