"""Possible contents of a disk after a power loss: from recorded calls, and any part of what was not synced."""

import errno
import fcntl
import functools
import itertools
import math
import os
import shutil
from dataclasses import dataclass

from mmap_ninja import _kernel
from mmap_ninja.format.names import BUILD, COMMIT
from support.crash_actions import is_clean, is_replaced_without_leftovers, seen, takes_appends
from support.faults import unsynced, watched

_PAGE = 4096
_BOOT = b"the boot before."
_VARIED = 4  # so many of the last writes without a sync (and names, if any of them may be lost) are varied

# Fates of a write without a sync. A file can grow without the bytes, since the system allocates late.
_WHOLE, _LOST, _HEAD, _TAIL, _ZEROS = _FATES = range(5)


class Recorder:
    """A hook that records every call, from which the files after any power loss can be made."""

    def __init__(self):
        self.calls = []  # (call, path, offset, size, data)

    def __call__(self, call, where, offset, size, data):
        if call == "copy_file_range":  # refused, so that the copy becomes ordinary writes
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        path = where if isinstance(where, str) else _path_of(where)
        self.calls.append((call, path, offset, size, data))


class FailingSync(Recorder):
    """Records calls; the n-th sync of a file fails, and the system drops the data without reporting it again.

    If names are given, only syncs of files with these names count.
    """

    def __init__(self, number, names=None):
        super().__init__()
        self.number = number
        self.names = names
        self.fired = False

    def __call__(self, call, where, offset, size, data):
        super().__call__(call, where, offset, size, data)
        if call != "fdatasync" or (self.names and os.path.basename(self.calls[-1][1]) not in self.names):
            return
        self.number -= 1
        if self.number == 0:
            self.fired = True
            self.calls[-1] = "failed fdatasync", *self.calls[-1][1:]
            raise OSError(errno.EIO, os.strerror(errno.EIO))


def _path_of(fd):
    if hasattr(fcntl, "F_GETPATH"):  # macOS
        return os.fsdecode(fcntl.fcntl(fd, fcntl.F_GETPATH, bytes(1024)).rstrip(b"\0"))
    return os.readlink(f"/proc/self/fd/{fd}")


def content(path):
    """The start of a `Disk`: the bytes of every file below a path, None for every folder; empty without a path."""
    found = {}
    for folder, _, names in os.walk(path):
        found[os.path.relpath(folder, path)] = None
        for name in names:
            file = os.path.join(folder, name)
            with open(file, "rb") as opened:
                found[os.path.relpath(file, path)] = opened.read()
    return found


def put(state, path):
    """Write the content of a disk to a directory, as after a reboot; no directory if its own name was lost."""
    if state is None:
        shutil.rmtree(path, ignore_errors=True)
        return
    wanted = {name: _of_another_boot(data) if name in (COMMIT, BUILD) else data for name, data in state.items()}
    found = content(path)  # existing files are reused, since creating and removing them is slow
    for name in sorted(found.keys() - wanted.keys() - {"."}, reverse=True):
        if found[name] is not None:
            (path / name).unlink()
        elif not any(other.startswith(f"{name}/") for other in wanted):
            (path / name).rmdir()
    for name, data in wanted.items():
        if found.get(name) != data:
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            with (path / name).open("r+b" if name in found else "wb") as file:
                file.write(data)
                file.truncate()
    path.mkdir(exist_ok=True)


def _of_another_boot(commit):
    """A commit file with slots from an earlier boot."""
    pages = []
    for at in range(0, len(commit), _kernel.SLOT_STRIDE):
        page = commit[at : at + _kernel.SLOT_STRIDE]
        _, slot, _ = _kernel.decode_slot(page[: _kernel.SLOT_SIZE].ljust(_kernel.SLOT_SIZE, b"\0"))
        if slot is not None:
            slot.boot = _BOOT
            page = _kernel.encode_slot(slot) + page[_kernel.SLOT_SIZE :]
        pages.append(page)
    return b"".join(pages)


def recorded(path, act, states):
    """The state before, the calls of an action, and which state must survive a power loss from which call on."""
    start, recorder, promised = content(path), Recorder(), [(0, 0)]
    with watched(unsynced(recorder)):
        act(path, functools.partial(promise, recorder, promised, states))
    return start, recorder.calls, promised


def promise(recorder, promised, states, state, durable=False):
    """Called by an action as `done(state)`: records what must survive a power loss from the next call on."""
    if durable:
        promised.append((len(recorder.calls), states.index(state)))


def each_loss(start, calls, promised, path, **options):
    """Puts each possible content of the disk at the path, once; yields the oldest state that it may show."""
    for _, least in each_loss_after(start, calls, promised, path, **options):
        yield least


def each_loss_after(start, calls, promised, path, **options):
    """As `each_loss`, also with the number of calls before the power loss."""
    known = set()
    for made, state in losses(start, calls, path, **options):
        least = max(place for at, place in promised if at <= made)
        key = least, None if state is None else hash(frozenset(state.items()))
        if key not in known:
            known.add(key)
            put(state, path)
            yield made, least


def moments(calls):
    """The numbers of calls after which a kill may leave another state than one call earlier."""
    return [number for number, call in enumerate(calls, 1) if call[0] != "flock"]


def tender_moments(calls):
    """The numbers of calls after which a commit or a name exists but is not synced yet."""

    def is_tender(call, path, offset, *_):
        return call in ("rename", "mkdir") or (
            call == "pwrite" and path.endswith(("COMMIT", "BUILD")) and offset >= 2 * _kernel.SLOT_STRIDE
        )

    return [number for number in moments(calls) if is_tender(*calls[number - 1])]


def shown(calls, number):
    """The last of a number of calls, in words."""
    if number == 0:
        return "nothing"
    call, path, offset, *_ = calls[number - 1]
    return f"call {number}, {call} of {os.path.basename(path)}" + f" at {offset}" * (call == "pwrite")


def violation(path, states, least, *, appends):
    """The problem of a dataset after a power loss, or None."""
    try:
        found = seen(path)
        if found not in states:
            return f"{found!r:.200} was never there"
        if states.index(found) < least:
            return f"state {states.index(found)} of {least} that were promised"
        if not is_clean(path):
            return "verify finds damage"
        if appends and not (takes_appends(path) and is_replaced_without_leftovers(path)):
            return "writers go wrong"
    except Exception as error:
        return repr(error)
    return None


def losses(start, calls, root, *, random=None, most=None, ordered=True, after=None):
    """All possible contents of a disk: the number of calls, and the files. At most `most` after each call.

    With `after`, only after these numbers of calls.
    """
    disk = Disk(start, root, ordered=ordered)
    for made in range(len(calls) + 1):
        for state in disk.states(random, most) if after is None or made in after else ():
            yield made, state
        if made < len(calls):
            disk.take(*calls[made])


@dataclass(eq=False)
class _File:
    synced: bytes = b""


_FOLDER = _File()


class Disk:
    """A directory after calls, of which each may be the last before a power loss.

    A sync of a file makes its bytes durable, but not its name; a sync of a directory makes changes of names in it
    durable. This is also true of the directory's own name: if one of the calls created it, a sync of its parent, which
    always existed, makes it durable; without that, everything may be lost. Writes without a sync arrive in any
    combination, each complete, in part, or not at all. Names arrive in order, as in a journal, or, if not `ordered`, in
    any combination.

    Args:
        start: The content before, see `content`; the directory itself is ".".
        root: The directory.
        ordered: Whether names arrive in order.
    """

    def __init__(self, start, root, *, ordered=True):
        self._root = root
        self._ordered = ordered
        self._names = {  # as seen by processes
            name: _FOLDER if content is None else _File(content) for name, content in start.items()
        }
        self._durable_names = dict(self._names)
        self._changes = []  # not durable yet: (folder, {name: file or None})
        self._writes = []  # not durable yet: (file, offset, data); data None: truncated there

    def take(self, call, path, offset, size, data):
        """Apply a recorded call."""
        name = os.path.relpath(path, self._root)
        file = self._names.get(name)
        if call == "pwrite" and file is not None:
            self._writes.append((file, offset, data))
        elif call == "ftruncate" and file is not None:
            self._writes.append((file, size, None))
        elif call == "fdatasync" and file is not None:
            file.synced = _content(file, [write for write in self._writes if write[0] is file])
            self._forget(file)
        elif call == "failed fdatasync" and file is not None:  # the system drops what it could not write
            self._forget(file)
        elif call == "fsync":
            for folder, change in self._changes:
                if folder == name:
                    self._durable_names |= change
            self._changes = [change for change in self._changes if change[0] != name]
        elif call in ("open", "mkdir") and file is None:
            self._change(name, {name: _File() if call == "open" else _FOLDER})
        elif call == "rename":
            self._change(name, {name: None, os.path.relpath(data.decode(), self._root): file})
        elif call in ("unlink", "rmdir") and file is not None and not self._holds_files(name):
            self._change(name, {name: None})

    def states(self, random=None, most=None):
        """The possible contents of the disk now: each file's bytes by path; None: the directory's name was lost.

        At most `most`, chosen at random.
        """
        choices = list(self._choices_of_names())
        early, late = self._writes[:-_VARIED], self._writes[-_VARIED:]
        fates = (len(_FATES),) * len(late)
        sizes = (len(choices), 2 if early else 1, *fates)  # early writes have all arrived, or none has
        number = math.prod(sizes)
        for chosen in range(number) if most is None or number <= most else random.sample(range(number), most):
            changes, early_fate, *late_fates = _digits(chosen, sizes)
            arrived = [] if early_fate else list(early)
            arrived += itertools.chain.from_iterable(map(_arrived, late, late_fates))
            yield self._put_together(choices[changes], arrived)

    def _change(self, name, change):
        if not name.startswith(".."):
            self._names |= change
            self._changes.append((".." if name == "." else os.path.dirname(name) or ".", change))

    def _holds_files(self, folder):
        return any(file for name, file in self._names.items() if name.startswith(f"{folder}/"))

    def _forget(self, file):
        self._writes = [write for write in self._writes if write[0] is not file]

    def _choices_of_names(self):
        changes = [change for _, change in self._changes]
        if self._ordered:
            yield from (changes[:count] for count in range(len(changes), -1, -1))
            return
        early, late = changes[:-_VARIED], changes[-_VARIED:]
        for kept in itertools.product((True, False), repeat=len(late)):
            yield [*early, *itertools.compress(late, kept)]

    def _put_together(self, changes, writes):
        names = dict(self._durable_names)
        for change in changes:
            names |= change
        if names.get(".") is not _FOLDER:
            return None
        return {
            name: _content(file, [write for write in writes if write[0] is file])
            for name, file in names.items()
            if file not in (None, _FOLDER) and all(names.get(folder) is _FOLDER for folder in _parents(name))
        }


def _digits(number, sizes):
    """The digits of a number in a mixed radix."""
    for size in sizes:
        number, digit = divmod(number, size)
        yield digit


def _parents(name):
    """The folders of a file, below the directory."""
    parts = name.split("/")[:-1]
    return ["/".join(parts[: count + 1]) for count in range(len(parts))]


def _content(file, writes):
    """A file's bytes after writes."""
    content = file.synced
    for _, offset, data in writes:
        if data is None:
            content = content[:offset].ljust(offset, b"\0")
        else:
            content = content.ljust(offset, b"\0")
            content = content[:offset] + data + content[offset + len(data) :]
    return content


def _arrived(write, fate):
    """The part of a write that has arrived, as writes."""
    file, offset, data = write
    if fate == _LOST:
        return []
    if data is None or fate == _WHOLE:
        return [write]
    middle = offset + len(data) // 2
    cut = (middle // _PAGE * _PAGE if middle // _PAGE * _PAGE > offset else middle) - offset
    end = (file, offset + len(data), b"")  # only extends the file
    return {_HEAD: [(file, offset, data[:cut])], _TAIL: [(file, offset + cut, data[cut:])], _ZEROS: [end]}[fate]
