"""A storm: processes that change a dataset at random, are killed and interrupted, and log what they did.

Each operation has a line in a shared log before it begins, and another one when it has ended. Lines are appended by
single writes, so the log is in order of time. `problems` compares the log with the samples at the end.
"""

import contextlib
import errno
import faulthandler
import functools
import gc
import json
import multiprocessing
import os
import pickle
import random
import resource
import signal
import sys
import time
import traceback
from collections import Counter, defaultdict
from dataclasses import dataclass, field

from tqdm.auto import tqdm

import mmap_ninja
from mmap_ninja import RecordsMmap, StaleHandleError, _kernel
from mmap_ninja.engine import files
from support.faults import is_unlock, sample, slot_places

FIXED = ["id", "text"]
EXTRA = ["x", "y", "z"]  # columns that are added and dropped
OWN = 1_000_000  # the ids of a worker start at its number times this
OPERATIONS = 40
HANG_SECONDS = 60
LOCK_SECONDS = 30
INTERRUPTS = [signal.SIGINT, signal.SIGALRM]


# ---- the samples


def text(number):
    return "long" * 20_000 if number % 89 == 0 else sample(number)


def record(number, columns=()):
    """The sample with an id, which determines all its values."""
    return {"id": number, "text": text(number)} | {name: 7 * number for name in columns if name not in FIXED}


def ids_of(found):
    """The ids of samples, which must have the right values."""
    ids = []
    for one in found:
        number = int(one["id"])
        assert one == record(number, one), f"sample {number} holds {one!r:.300}"
        ids.append(number)
    return ids


# ---- the log


class Log:
    """The log of the processes: lines are JSON lists that start with the number of the worker."""

    def __init__(self, path):
        self.path = path
        self.fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def write(self, *line):
        os.write(self.fd, json.dumps(line).encode() + b"\n")

    def lines(self):
        with open(self.path) as file:
            return [json.loads(line) for line in file]


@dataclass
class Operation:
    """An operation that a worker did, or may have done, between two lines of the log."""

    worker: int
    name: str
    old: list  # ids of samples to delete or replace
    new: list  # ids of samples to store
    begin: int
    end: float = float("inf")
    outcome: str = "unknown"  # or "done", "failed"
    detail: dict = field(default_factory=dict)

    def __str__(self):
        what = " ".join([self.name, *(f"{key} {value}" for key, value in self.detail.items() if key != "error")])
        return f"{what} ({self.outcome}, by worker {self.worker}, lines {self.begin} to {self.end})"


def operations(lines):
    """The operations of a log. One without an end may have happened until its worker's next line or death."""
    made, running = [], {}
    for number, (worker, what, *rest) in enumerate(lines, 1):
        if worker in running and what != "end":
            running.pop(worker).end = number
        if what == "begin":
            name, old, new, detail = rest
            running[worker] = Operation(worker, name, old, new, number, detail=detail)
            made.append(running[worker])
        elif what == "end" and worker in running:
            ended = running.pop(worker)
            ended.end, ended.outcome, detail = number, *rest
            ended.detail |= detail
    return made


# ---- the expected samples at the end

EMPTYING = ("build", "clear")  # these remove all earlier samples


def problems(lines, ids, columns):
    """The problems with the remaining samples and columns."""
    everything = operations(lines)
    strangers = _strangers(everything, ids)
    if strangers:  # other problems would only follow from these
        return strangers
    return list(_problems([one for one in everything if one.outcome != "failed"], everything, ids, columns))


def _strangers(everything, ids):
    """Samples that are there, or were seen, but were never stored."""
    stored_by = {number: one for one in everything for number in one.new}
    shown = [("is there", number) for number in ids]
    shown += [(f"was there for {one}", number) for one in everything for number in one.old]
    return [
        f"id {number} {where}, which {stored_by.get(number, 'nobody')} stored"
        for where, number in shown
        if number not in stored_by or stored_by[number].outcome == "failed"
    ]


def _problems(made, everything, ids, columns):
    stored_by = {number: one for one in made for number in one.new}
    roots = _roots(made, everything)
    shown, deletes, sets = defaultdict(list), defaultdict(list), defaultdict(list)
    for number in ids:
        shown[roots[number]].append(number)
    for one in made:
        for number in one.old:
            (sets if one.name == "set" else deletes)[roots[number]].append(one)
    emptying = [one for one in made if one.name in EMPTYING]

    def may_be_gone(root):
        """The operations that may have deleted a stored sample."""
        born = stored_by[root]
        return [*deletes[root], *(one for one in emptying if one is not born and one.end > born.begin)]

    def must_be_gone(root):
        """The operations that have certainly deleted a sample."""
        born = stored_by[root]
        before = [one for one in emptying if one is not born and one.outcome == "done" and one.begin > born.end]
        return [*(one for one in deletes[root] if one.outcome == "done"), *before]

    for root in sorted({roots[number] for number in stored_by}):
        born = stored_by[root]
        if len(shown[root]) > 1:
            yield f"ids {shown[root]} are there, of which one took the place of another: {born}"
        elif shown[root] and must_be_gone(root):
            yield f"id {shown[root][0]} is there after {must_be_gone(root)[0]}; it came with {born}"
        elif not shown[root] and born.outcome == "done" and not may_be_gone(root):
            yield f"id {root} is lost: {born}; {'; '.join(map(str, sets[root])) or 'nobody replaced it'}"
        elif shown[root]:
            writer = stored_by[shown[root][0]]
            for one in sets[root]:
                if one is not writer and one.outcome == "done" and one.begin > writer.end:
                    yield f"id {shown[root][0]} is there after {one}; it came with {writer}"
    for one in made:
        known = [number for number in one.new if one.name != "set" and (shown[number] or not may_be_gone(number))]
        if len({bool(shown[number]) for number in known}) > 1:
            yield f"half of {one} is there: {[number for number in known if shown[number]]}"
        if one.name == "delete":
            others = [root for root in map(roots.get, one.old) if not set(map(id, may_be_gone(root))) - {id(one)}]
            if len({bool(shown[root]) for root in others if stored_by[root].outcome == "done"}) > 1:
                yield f"half of {one} is there: {[root for root in others if shown[root]]}"
    yield from _disorder(ids, roots)
    yield from _wrong_columns(made, columns)


def _roots(made, everything):
    """The first id of each sample: replacements take its place, and edits from older snapshots still mean it."""
    roots = {number: number for one in everything for number in (*one.old, *one.new)}
    for one in made:
        if one.name == "set":
            for old, new in zip(one.old, one.new, strict=True):
                roots[new] = roots[old]
    return roots


def _disorder(ids, roots):
    """Samples of a worker that are not in the order of storing."""
    last = {}
    for number in ids:
        root = roots[number]
        if root < last.get(root // OWN, -1):
            yield f"id {root} comes after {last[root // OWN]}, which the same worker stored later"
        last[root // OWN] = root


def _wrong_columns(made, columns):
    if not set(FIXED) <= set(columns) <= {*FIXED, *EXTRA} or len(columns) != len(set(columns)):
        yield f"the columns are {columns}"
    changes = [one for one in made if one.name in ("add", "rename", "drop", "build")]
    for one in changes:
        if one.outcome != "done" or any(other is not one and other.end > one.begin for other in changes):
            continue  # others may have dropped or added columns
        there, gone = one.detail.get("there", []), one.detail.get("gone", [])
        if not set(there) <= set(columns) or set(gone) & set(columns):
            yield f"the columns are {columns} after {one}"


# ---- the workers


class Injected:
    """A hook that makes one of the calls that change files fail, and skips syncs."""

    def __init__(self):
        self.calls_left = 0
        self.error = None
        self.spares_slots = False

    def arm(self, calls, error, *, spares_slots=False):
        self.calls_left, self.error, self.spares_slots = calls, error, spares_slots

    def __call__(self, call, where, offset, size, data):
        if call in ("fdatasync", "fsync"):
            return 1
        if self.error is None or is_unlock(call, offset) or (self.is_slot(offset, size) and self.spares_slots):
            return None
        self.calls_left -= 1
        if self.calls_left == 0:
            raise OSError(self.error, os.strerror(self.error))
        return None

    def is_slot(self, offset, size):
        return size == _kernel.SLOT_SIZE and offset in slot_places()

    def runs_in(self, frame):
        """Whether a Python frame belongs to the hook."""
        while frame is not None and frame.f_code is not Injected.__call__.__code__:
            frame = frame.f_back
        return frame is not None


class Worker:
    """Repeats random operations on the dataset, through one handle."""

    def __init__(self, path, log, number, seed):
        self.log = log
        self.number = number
        self.random = random.Random(f"{seed}, {number}")
        self.path = path
        self.last_id = number * OWN
        self.running = False
        self.is_exposed = False  # to interrupts
        self.stale = 0  # consecutive StaleHandleErrors
        self.interrupts = 0
        self.injected = Injected()
        self.dataset = None
        self.operations = [self.append] * 6 + [self.extend] * 3 + [self.delete, self.pop, self.replace] * 2
        self.operations += [self.compact, self.add_column, self.rename_column, self.drop_column]
        self.operations += [self.refresh, self.flush, self.read, self.pickle, self.fork]
        if number % 4 == 0:
            self.operations += [self.build, self.clear]

    def run(self):
        files.watch(self.injected)
        signal.signal(signal.SIGALRM, self.interrupt)
        signal.signal(signal.SIGINT, self.interrupt)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, INTERRUPTS)
        files_before = open_files()
        while self.dataset is None:
            self.operate(self.open)
        for _ in range(OPERATIONS):
            self.operate(self.random.choice(self.operations))
        self.dataset.close()
        gc.collect()
        left_open = open_files()
        left_open.subtract(files_before)
        self.log.write(self.number, "files", self.interrupts, sorted(left_open.elements()))

    def interrupt(self, _, frame):
        if not self.is_exposed:
            return
        if self.injected.runs_in(frame):  # code of the test, which does not exist in real programs
            signal.setitimer(signal.ITIMER_REAL, 0.0003)
        else:
            self.is_exposed = False
            self.interrupts += 1
            raise KeyboardInterrupt

    def operate(self, operation):
        """Run an operation; only expected errors may occur."""
        error = self.random.choice([errno.ENOSPC, errno.EMFILE, errno.EDQUOT]) if self.random.random() < 0.15 else None
        # A slot that cannot be written during a switch leaves doubt, like a failed sync.
        spares_slots = operation not in (self.append, self.extend, self.delete, self.pop, self.replace)
        self.injected.arm(self.random.randrange(1, 20), error, spares_slots=spares_slots)
        spare = self.random.randrange(8) if self.random.random() < 0.05 else None
        refused = {error} | ({errno.EMFILE} if spare is not None else set())
        self.running = False
        try:
            try:
                limit_files(spare)
                self.is_exposed = True
                operation()
            finally:
                self.is_exposed = False
                limit_files(None)
                self.injected.arm(0, None)
            self.stale = 0
        except KeyboardInterrupt:
            self.end("unknown", error="interrupted")
        except StaleHandleError as raised:
            self.end("failed", error=str(raised))
            self.stale += 1
            assert self.stale < 30, "the handle is stale for ever"
            self.dataset.refresh()
        except (KeyError, ValueError) as raised:
            # Others have changed the columns.
            if isinstance(raised, mmap_ninja.MmapNinjaError) or "column" not in str(raised):
                raise
            self.end("failed", error=str(raised))
            self.dataset.refresh()
        except OSError as raised:
            if isinstance(raised, mmap_ninja.MmapNinjaError) or raised.errno not in refused:
                raise
            self.end("failed", error=str(raised))

    def begin(self, name, old=(), new=(), **detail):
        self.running = True  # first, since an interrupt may come in between
        self.log.write(self.number, "begin", name, list(old), list(new), detail)

    def end(self, outcome="done", **detail):
        if self.running:
            self.log.write(self.number, "end", outcome, detail)
            self.running = False

    def next_ids(self, count):
        self.last_id += count
        return list(range(self.last_id - count + 1, self.last_id + 1))

    def some_place(self):
        return self.random.randrange(len(self.dataset)) if len(self.dataset) else None

    # ---- the operations

    def open(self):
        self.dataset = mmap_ninja.open(self.path, lock_timeout=LOCK_SECONDS)

    def append(self):
        (number,) = self.next_ids(1)
        self.begin("append", new=[number])
        self.dataset.append(record(number, self.dataset.columns))
        self.end()
        assert int(self.dataset[-1]["id"]) == number, "the handle does not show what it has just stored"

    def extend(self):
        new = self.next_ids(self.random.randrange(2, 30))
        self.begin("extend", new=new)
        self.dataset.extend([record(number, self.dataset.columns) for number in new])
        self.end()

    def delete(self):
        start = self.some_place()
        if start is None:
            return
        stop = start + self.random.choice([1, 1, 1, 5])
        old = ids_of(self.dataset[start:stop])
        self.begin("delete", old=old)
        del self.dataset[start:stop]
        self.end()

    def pop(self):
        place = self.random.choice([-1, self.some_place()])
        if not len(self.dataset):
            return
        (number,) = ids_of([self.dataset[place]])
        self.begin("delete", old=[number], how="pop")
        popped = self.dataset.pop(place)
        self.end()
        assert ids_of([popped]) == [number], f"pop returned {popped!r:.200} where {number} was shown"

    def replace(self):
        place = self.some_place()
        if place is None:
            return
        old, new = ids_of([self.dataset[place]]), self.next_ids(1)
        self.begin("set", old=old, new=new)
        self.dataset[place] = record(new[0], self.dataset.columns)
        self.end()

    def compact(self):
        self.begin("compact")
        self.dataset.compact()
        self.end()

    def add_column(self):
        missing = [name for name in EXTRA if name not in self.dataset.columns]
        if missing:
            self.begin("add", there=[missing[0]])
            self.dataset.refresh()
            if len(self.dataset) and missing[0] not in self.dataset.columns:
                self.dataset.add_column(missing[0], [7 * int(number) for number in self.dataset["id"]])
                self.end()
            else:
                self.end("failed")

    def rename_column(self):
        self.dataset.refresh()
        extra = [name for name in self.dataset.columns if name not in FIXED]
        missing = [name for name in EXTRA if name not in self.dataset.columns]
        if extra and missing:
            self.begin("rename", gone=[extra[0]], there=[missing[-1]])
            self.dataset.refresh()
            self.dataset.rename_column(extra[0], missing[-1])
            self.end()

    def drop_column(self):
        self.dataset.refresh()
        extra = [name for name in self.dataset.columns if name not in FIXED]
        if extra:
            self.begin("drop", gone=[extra[0]])
            self.dataset.refresh()
            self.dataset.drop_column(extra[0])
            self.end()

    def build(self):
        new = self.next_ids(self.random.randrange(1, 40))
        self.begin("build", new=new, gone=EXTRA)
        made = RecordsMmap.from_generator(self.path, map(record, new), batch_size=16, lock_timeout=LOCK_SECONDS)
        self.end()
        made.close()
        self.dataset.refresh()

    def clear(self):
        self.begin("clear")
        self.dataset.clear()
        self.end()

    def refresh(self):
        self.dataset.refresh()

    def flush(self):
        self.dataset.flush()

    def read(self):
        count = len(self.dataset)
        shown = ids_of(self.dataset)
        assert len(shown) == len(set(shown)) == count, f"{shown} are not {count} samples"
        places = [self.random.randrange(count) for _ in range(20)] if count else []
        view = self.dataset.select(places)
        assert ids_of(view) == [shown[place] for place in places]
        assert ids_of(self.dataset) == shown, "the handle shows something else than before"

    def pickle(self):
        shown = ids_of(self.dataset)
        assert ids_of(pickle.loads(pickle.dumps(self.dataset))) == shown

    def fork(self):
        shown = ids_of(self.dataset)
        signal.pthread_sigmask(signal.SIG_BLOCK, INTERRUPTS)
        child = os.fork()
        if child == 0:
            status = 1
            try:
                status = int(ids_of(self.dataset) != shown)
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(status)
        _, status = os.waitpid(child, 0)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, INTERRUPTS)
        assert status == 0, f"the forked child ended with {status}"


def open_files():
    """The number of descriptors of each open file."""
    names = Counter()
    for fd in os.listdir("/dev/fd"):
        with contextlib.suppress(OSError):  # the descriptor of the listing itself
            names[os.path.basename(os.readlink(f"/dev/fd/{fd}"))] += 1
    return names


@functools.cache
def most_files():
    return resource.getrlimit(resource.RLIMIT_NOFILE)


def limit_files(spare):
    """Limit how many more files the process may open; None: the original limit."""
    soft, hard = most_files()
    if spare is not None:
        lowest = os.dup(0)
        os.close(lowest)
        soft = min(soft, lowest + spare)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def run_worker(path, log, number, seed, errors):
    """Run in a forked process, until it exits with 0, or with an error that is written to the file `errors`."""
    status = 1
    try:
        fd = os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(fd, 2)
        os.close(fd)
        # Pytest would keep what is interrupted during Hypothesis's callback of the garbage collector, with open files.
        gc.callbacks.clear()
        sys.unraisablehook = sys.__unraisablehook__
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115 - until the process exits
        faulthandler.enable(sys.stderr)  # a hang is ended by SIGABRT, which then shows tracebacks
        Worker(path, log, number, seed).run()
        status = 0
    except BaseException:
        signal.pthread_sigmask(signal.SIG_BLOCK, INTERRUPTS)
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


# ---- kills and interrupts


class Storm:
    """Four workers on one dataset, which are interrupted and killed."""

    def __init__(self, folder, seed):
        self.folder = folder
        self.seed = seed
        self.random = random.Random(seed)
        self.path = folder / "ds"
        self.log = Log(folder / "log")
        self.living = {}  # process ids, by the number of the worker
        self.started = 0
        self.killed = set()
        self.failures = []
        self.interrupts = 0

    def run(self):
        """Interrupt and kill until all workers have ended."""
        tqdm.set_lock(
            multiprocessing.RLock()
        )  # like tqdm's own, it is shared by forked processes, and a kill may leave it locked
        first = list(range(1, 40))
        self.log.write(-1, "begin", "build", [], first, {})
        RecordsMmap.from_generator(self.path, map(record, first)).close()
        self.log.write(-1, "end", "done", {})
        while self.started < 4:
            self.start(self.started + 1)
        for _ in range(self.random.randrange(10, 40)):
            time.sleep(self.random.uniform(0.001, 0.02))
            number = self.random.choice(sorted(self.living))
            if self.random.random() < 0.85:
                self.send(number, signal.SIGINT)
                self.interrupts += 1
            elif len(self.killed) < 8:
                self.killed.add(number)
                self.send(number, signal.SIGKILL)
                self.reap(number)
                self.start(number + 4)  # a successor with the same behaviour
        for number in sorted(self.living):
            self.reap(number)
        os.close(self.log.fd)
        tqdm.set_lock(multiprocessing.RLock())

    def start(self, number):
        before = signal.pthread_sigmask(signal.SIG_BLOCK, INTERRUPTS)
        pid = os.fork()
        if pid == 0:
            run_worker(self.path, self.log, number, self.seed, self.errors_of(number))
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        self.living[number] = pid
        self.started += 1

    def send(self, number, what):
        os.kill(self.living[number], what)  # safe: a worker that has ended is not reaped yet

    def reap(self, number):
        pid, deadline, status = self.living.pop(number), time.monotonic() + HANG_SECONDS, None
        while status is None:
            ended, found = os.waitpid(pid, os.WNOHANG)
            status = os.waitstatus_to_exitcode(found) if ended else None
            if status is None and time.monotonic() > deadline:
                os.kill(pid, signal.SIGABRT)
                deadline = float("inf")
            time.sleep(0.002)
        self.log.write(number, "died", status)
        if status != 0 and not (status == -signal.SIGKILL and number in self.killed):
            self.failures.append(f"worker {number} ended with {status}:\n{self.errors_of(number).read_text()[:4000]}")

    def errors_of(self, number):
        return self.folder / f"worker-{number}.err"

    def check(self):
        """The problems at the end."""
        if self.failures:
            return self.failures
        lines = self.log.lines()
        found = [
            f"worker {worker} was interrupted {rest[0]} times, and left these files open: {rest[1]}"
            for worker, what, *rest in lines
            if what == "files" and len(rest[1]) > rest[0]  # Python itself may leak a file that a call has just opened
        ]
        report = mmap_ninja.verify(self.path, level="full")
        dataset = mmap_ninja.open(self.path, lock_timeout=2)
        found += [] if report.ok else [str(report)]
        found += problems(lines, ids_of(dataset), dataset.columns)
        dataset.append(record(OWN - 1, dataset.columns))  # no lock was left behind
        assert int(mmap_ninja.open(self.path)[-1]["id"]) == OWN - 1
        return found
