"""What a disk may hold after a power loss: the calls that a recorder has seen, and any part of what was not synced."""

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
_VARIED = 4  # of the un-synced writes, and of the names where any of them may be lost: the last so many

# What becomes of an un-synced write. A file can have grown without the bytes: the system allocates late.
_WHOLE, _LOST, _HEAD, _TAIL, _ZEROS = _FATES = range(5)


class Recorder:
    """A hook that notes every call, so that the files can be put together as any power loss may leave them."""

    def __init__(self):
        self.calls = []  # (call, path, offset, size, data)

    def __call__(self, call, where, offset, size, data):
        if call == "copy_file_range":  # goes through memory instead: the bytes are those of the writes that follow
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        path = where if isinstance(where, str) else _path_of(where)
        self.calls.append((call, path, offset, size, data))


class FailingSync(Recorder):
    """Notes calls; the n-th sync of a file fails, and the system drops what was to be written and tells nobody else.

    Where names are given, only syncs of such files count.
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
    """What `Disk` starts with: the bytes of every file below a path, None for every folder; nothing without a path."""
    found = {}
    for folder, _, names in os.walk(path):
        found[os.path.relpath(folder, path)] = None
        for name in names:
            file = os.path.join(folder, name)
            with open(file, "rb") as opened:
                found[os.path.relpath(file, path)] = opened.read()
    return found


def put(state, path):
    """Make a directory of what is on the disk, as it is found in the next boot; none where its own name was lost."""
    if state is None:
        shutil.rmtree(path, ignore_errors=True)
        return
    wanted = {name: _of_another_boot(data) if name in (COMMIT, BUILD) else data for name, data in state.items()}
    found = content(path)  # files that are there are used again: to make and remove them is what takes the time
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
    """A commit file whose slots were written in a boot before this one."""
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
    """What was there, the calls of an action, and which state must survive a power loss from which call on."""
    start, recorder, promised = content(path), Recorder(), [(0, 0)]
    with watched(unsynced(recorder)):
        act(path, functools.partial(promise, recorder, promised, states))
    return start, recorder.calls, promised


def promise(recorder, promised, states, state, durable=False):
    """What an action calls as `done(state)`: notes what must survive a power loss from the next call on."""
    if durable:
        promised.append((len(recorder.calls), states.index(state)))


def each_loss(start, calls, promised, path, **options):
    """Each content of the disk once: it is put at the path, and comes with the least state that it must show."""
    for _, least in each_loss_after(start, calls, promised, path, **options):
        yield least


def each_loss_after(start, calls, promised, path, **options):
    """As `each_loss`, with the number of the calls that were made before the power was lost."""
    known = set()
    for made, state in losses(start, calls, path, **options):
        least = max(place for at, place in promised if at <= made)
        key = least, None if state is None else hash(frozenset(state.items()))
        if key not in known:
            known.add(key)
            put(state, path)
            yield made, least


def moments(calls):
    """After how many calls a kill may leave something else than after one call less."""
    return [number for number, call in enumerate(calls, 1) if call[0] != "flock"]


def tender_moments(calls):
    """After how many calls a commit or a name is there, and not synced yet."""

    def is_tender(call, path, offset, *_):
        return call in ("rename", "mkdir") or (
            call == "pwrite" and path.endswith(("COMMIT", "BUILD")) and offset >= 2 * _kernel.SLOT_STRIDE
        )

    return [number for number in moments(calls) if is_tender(*calls[number - 1])]


def shown(calls, number):
    """The last of so many calls, in words."""
    if number == 0:
        return "nothing"
    call, path, offset, *_ = calls[number - 1]
    return f"call {number}, {call} of {os.path.basename(path)}" + f" at {offset}" * (call == "pwrite")


def violation(path, states, least, *, appends):
    """What is wrong with a dataset after a power loss; None if nothing is."""
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
    """All that a disk may hold: how many of the calls were made, and the files. At most so many after each call.

    Where `after` is given, only after these numbers of calls.
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
    """A directory as calls leave it, where each may be the last before the power is lost.

    A sync of a file makes its bytes durable, not its name; a sync of a directory makes durable the names that were
    made, given and removed in it. The directory's own name is no exception: where one of the calls made it, a sync of
    its parent, which has always been there, makes it durable; without, all may be gone. Writes that were not synced
    arrive in any combination, each whole, in part, or not at all; names arrive in their order, as in a journal, or, if
    they are not `ordered`, in any combination.

    Args:
        start: What is there before, see `content`; the directory itself is ".".
        root: The directory.
        ordered: Whether names arrive in their order.
    """

    def __init__(self, start, root, *, ordered=True):
        self._root = root
        self._ordered = ordered
        self._names = {  # as the processes see them
            name: _FOLDER if content is None else _File(content) for name, content in start.items()
        }
        self._durable_names = dict(self._names)
        self._changes = []  # (folder, {name: file or None}) that are not durable yet
        self._writes = []  # (file, offset, data; None: cut off there) that are not durable yet

    def take(self, call, path, offset, size, data):
        """Let a recorded call happen."""
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
        """What the disk may hold now: the content of each file by its path; None: the directory's name was lost.

        At most so many, chosen at random.
        """
        choices = list(self._choices_of_names())
        early, late = self._writes[:-_VARIED], self._writes[-_VARIED:]
        fates = (len(_FATES),) * len(late)
        sizes = (len(choices), 2 if early else 1, *fates)  # of the early writes all have arrived, or none
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
    """A number's digits where each has a base of its own."""
    for size in sizes:
        number, digit = divmod(number, size)
        yield digit


def _parents(name):
    """The folders below the directory that a file is in."""
    parts = name.split("/")[:-1]
    return ["/".join(parts[: count + 1]) for count in range(len(parts))]


def _content(file, writes):
    """A file's bytes after some writes."""
    content = file.synced
    for _, offset, data in writes:
        if data is None:
            content = content[:offset].ljust(offset, b"\0")
        else:
            content = content.ljust(offset, b"\0")
            content = content[:offset] + data + content[offset + len(data) :]
    return content


def _arrived(write, fate):
    """What has arrived of a write, as other writes."""
    file, offset, data = write
    if fate == _LOST:
        return []
    if data is None or fate == _WHOLE:
        return [write]
    middle = offset + len(data) // 2
    cut = (middle // _PAGE * _PAGE if middle // _PAGE * _PAGE > offset else middle) - offset
    end = (file, offset + len(data), b"")  # only makes the file as long
    return {
        _HEAD: [(file, offset, data[:cut])],
        _TAIL: [(file, offset + cut, data[cut:])],
        _ZEROS: [end],
    }[fate]
