"""Damage and crashes on purpose: what the tests of corruption, crashes and concurrency share."""

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
OLD = ["one", "zwölf", ""]  # what the fixture `path` holds
NEW = [f"new {number}" * (number + 1) for number in range(10)]


def sample(number):
    """The value that belongs to a number, of varying length and width."""
    return f"{number}:" + "aé日"[number % 3] * (number % 50)


def opened(path):
    """An open dataset, whether its build has ended or not."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", IncompleteDatasetWarning)
        exists = (Path(path) / "COMMIT").exists() or upgrade_marks.detect(Path(path))
        return mmap_ninja.open(path) if exists else StringsMmap(path)


def slot_places(name="COMMIT"):
    """Where the slots of a commit file start."""
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
    """The slots of a commit file, by place; None where there is no valid one."""
    data = (Path(path) / name).read_bytes()
    return [_kernel.decode_slot(data[at : at + _kernel.SLOT_SIZE])[1] for at in slot_places()]


def durable_rows(path):
    """How many rows a power loss leaves: those of the newest durable slot."""
    return max((slot for slot in slots(path) if slot is not None and slot.durable), key=lambda slot: slot.seq).rows


def change_slots(path, change, name="COMMIT"):
    """Let `change` edit every valid slot, and store them with the right checksums."""
    for at, slot in zip(slot_places(), slots(path, name), strict=True):
        if slot is not None:
            change(slot)
            overwrite(Path(path) / name, at, _kernel.encode_slot(slot))


def replace_meta(path, content):
    """Give the first generation another meta file, which all slots vouch for."""
    (Path(path) / META).write_bytes(content)

    def vouch(slot):
        slot.meta_digest = _kernel.xxh64(content)

    change_slots(path, vouch)


@contextlib.contextmanager
def watched(hook):
    """Pass the system calls that change files through `hook`."""
    files.watch(hook)
    try:
        yield
    finally:
        files.watch(None)


def unsynced(hook=lambda *_: None):
    """A hook that does not wait for the medium besides: no test here takes the power away."""

    def skip(call, *rest):
        verdict = hook(call, *rest)
        return 1 if verdict is None and call in ("fdatasync", "fsync") else verdict

    return skip


def fail_to_sync(dataset):
    """Let the next sync of a dataset fail: from then on, its last commits are in doubt."""
    hook = At(1, fail_with(errno.EIO), only=lambda call, _: call == "fdatasync")
    with watched(hook), pytest.raises(CommitUncertainError):
        dataset.flush()
    assert hook.fired


def is_unlock(call, offset):
    """Whether a watched call lets go of a lock, which no system refuses."""
    return call == "flock" and offset == 1


def fail_with(code):
    """What a hook does to make the call fail."""

    def fail(_size):
        raise OSError(code, os.strerror(code))

    return fail


class At:
    """A hook that does something at the n-th call that changes a file; `fired` tells whether there was one."""

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
    """Run a function in a forked child; its process id, and the read end of a pipe with its pickled result."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # a fork of a process with threads: the child only computes
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
    except BaseException:  # the child must not go on with the parent's tests, whatever happens
        traceback.print_exc()
    finally:
        os._exit(status)


def result_of(child):
    """What the function of a forked child returned."""
    pid, reading = child
    with os.fdopen(reading, "rb") as pipe:
        content = pipe.read()
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert status == 0, f"the child ended with {status}"
    return pickle.loads(content)


def start(method, function, *args):
    """Run a function of a test's module in a process of its own."""
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
    """What a function returns when it runs in a forked child."""
    return result_of(fork(function))


def killed_at(number, function):
    """Kill a forked child at its n-th system call that changes a file; False if the function ended before that call."""

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
    """What a function returns in a child without root's right to write everywhere."""

    def child():
        if os.getuid() == 0:
            os.setgid(65534)
            os.setuid(65534)
        return function()

    return in_child(child)
