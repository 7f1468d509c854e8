"""Ctrl-C at every opcode of everything that opens, changes, refreshes, closes: nothing half done stays or is shown."""

import contextlib
import fcntl
import gc
import os
import pickle
import random
import signal
import sys
import threading
import time
from collections import Counter

import numpy as np
import pytest
from tqdm import tqdm

import mmap_ninja as mn
from mmap_ninja import LockTimeoutError, MmapNinjaError, RecordsMmap, StaleHandleError, StringsMmap
from support.faults import unsynced, watched
from support.interrupt_acts import ACTS, KINDS, LOCK_TIMEOUT, Stage, Subject, acts_of, value
from support.interrupts import Interrupted, Sweep, alone

pytestmark = pytest.mark.filterwarnings("ignore::mmap_ninja.IncompleteDatasetWarning")  # of interrupted builds

BY_SIGNAL, BY_RAISE = 1500, 500  # interrupts of `make test`
STORM_SECONDS = 2
THREAD_SECONDS = 5


@pytest.fixture(autouse=True)
def tqdm_lock_of_this_process():
    """Instead of the lock that tqdm shares with forked processes, which those that an interrupt ends keep for ever."""
    before = tqdm.get_lock()
    tqdm.set_lock(threading.RLock())
    yield
    tqdm.set_lock(before)


@pytest.fixture(autouse=True)
def few_objects_to_collect():
    """Each case collects garbage: without this, what all other tests have loaded is looked through every time."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


class Wrong:
    """Collects what is wrong.

    Args:
        by: How the interrupt came. Where Python itself never raises, a lock may stay: an exception before the call that
            a `with` statement ends with is nothing that a program could survive.
    """

    def __init__(self, by):
        self.lenient = by == "raise"
        self.texts = []
        self.ends = False

    def add(self, text, *, left=False):
        """Note something; `left`: that something was not given back."""
        if not (left and self.lenient) and not self.ends:
            self.texts.append(text)

    @contextlib.contextmanager
    def during(self, what):
        """Note the errors of a block, which ends the case where they mean that nothing goes on."""
        try:
            yield
        except LockTimeoutError as error:
            self.add(f"{what}: {error}", left=True)
            self.ends = True
        except BaseException as error:
            self.add(f"{what}: {type(error).__name__}: {error}")
            self.ends = True


def said(subject, found, expected):
    """What was found, and what was expected, in words."""
    found, expected = (subject.named(it) if isinstance(it, list) else f"{it!r:.200}" for it in (found, expected))
    return f"{found} instead of {expected}"


def flat_names(sample, prefix=""):
    """The names of a record's columns."""
    names = []
    for name, inner in sample.items():
        is_group = isinstance(inner, dict) and prefix + name != "more.any"  # that is one of JSON
        names += flat_names(inner, f"{prefix}{name}.") if is_group else [prefix + name]
    return names


def listed(samples):
    return [value(sample) for sample in samples]


def reads_of(handle, shown):
    """Everything that reads several samples or one: by name, what is read, and what it must be."""
    count = len(shown)
    backwards = list(range(count - 1, -1, -1))
    yield "len", lambda: len(handle), count
    yield "each index", lambda: [value(handle[index]) for index in range(-count, count)], shown + shown
    yield "a slice", lambda: listed(handle[::-1]), shown[::-1]
    yield "a list of indices", lambda: listed(handle[backwards]), shown[::-1]
    yield "reversed", lambda: listed(reversed(handle)), shown[::-1]
    yield "a view", lambda: listed(handle.select(slice(None))), shown
    yield "a view of indices", lambda: listed(handle.select(backwards)), shown[::-1]
    yield "a pickle", lambda: listed(pickle.loads(pickle.dumps(handle))), shown
    yield "repr", lambda: isinstance(repr(handle), str), True
    if isinstance(handle, RecordsMmap):
        if shown:
            yield "columns", lambda: list(handle.columns), flat_names(shown[0])
        for name in shown[0] if shown else ():
            column = [sample[name] for sample in shown]
            yield f"column {name}", lambda name=name: listed(handle[name]), column
        yield (
            "taken texts",
            lambda: list(handle.take(backwards).get("text", [])),
            [sample["text"] for sample in shown[::-1] if "text" in sample],
        )
    else:
        yield "take", lambda: listed(handle.take(backwards)), shown[::-1]
    if hasattr(type(handle), "byte_lengths"):
        yield "byte lengths", lambda: len(handle.byte_lengths), count
    if hasattr(type(handle), "shapes"):
        yield "shapes", lambda: len(list(handle.shapes)), count


def check_reads(subject, handle, states, wrong, *, when, tolerates=lambda name, error: False):
    """Check that all that a handle reads is of one of some states."""
    try:
        shown = listed(handle)
    except BaseException as error:
        if not tolerates("list", error):
            wrong.add(f"{when}: list: {type(error).__name__}: {error}")
            return
        shown = states[-1]
    if shown not in states:
        wrong.add(f"{when}: list: {said(subject, shown, ' or '.join(map(subject.named, states)))}")
        return
    for name, read, expected in reads_of(handle, shown):
        try:
            found = read()
        except BaseException as error:
            if not tolerates(name, error):
                wrong.add(f"{when}: {name}: {type(error).__name__}: {error}")
        else:
            if found != expected:
                wrong.add(f"{when}: {name}: {said(subject, found, expected)}")


def check_list(subject, handle, expected, wrong, when):
    """Check what a handle shows, in short."""
    shown = listed(handle)
    if shown != expected:
        wrong.add(f"{when}: list: {said(subject, shown, expected)}")


def in_thread(function, wrong, what):
    """Do something in another thread, which a lock of this one's would keep waiting."""

    def work():
        with wrong.during(what):
            function()

    if wrong.lenient or wrong.ends:
        work()
        return
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(THREAD_SECONDS)
    if thread.is_alive():
        wrong.add(f"{what}: hangs in another thread: this one has kept the handle's lock", left=True)
        wrong.ends = True


def descriptors():
    """The open descriptors, by what they are of."""
    found = Counter()
    for fd in os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else ():
        with contextlib.suppress(OSError):
            found[os.readlink(f"/proc/self/fd/{fd}")] += 1
    return found


def maps(root):
    """The maps of files below a directory."""
    if not os.path.exists("/proc/self/maps"):
        return []
    with open("/proc/self/maps") as lines:
        return [line.split()[-1] for line in lines if str(root) in line]


def locked_files(root):
    """The files below a directory that are locked."""
    found = []
    for folder, _, names in os.walk(root):
        found += [name for name in names if is_locked(os.path.join(folder, name))]
    return found


def is_locked(path):
    """Whether somebody holds the lock of a file."""
    with open(path, "rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def check_stored(subject, stage, states, wrong, when):
    """Check what a new handle shows; returns that."""
    found = None
    with wrong.during(when):
        found = listed(stage.opened())
        if found not in states:
            wrong.add(f"{when}: {said(subject, found, ' or '.join(map(subject.named, states)))}")
            wrong.ends = True
    return found


def is_closed(error):
    return isinstance(error, ValueError) and "closed" in str(error)


def check_interrupted(subject, root, interrupt):
    """Do an act with an exception in it, and use what it has left for all that can be done; what is wrong then."""

    def do(stage, wrong):
        interrupt.run(lambda: subject.act.do(stage))
        if interrupt.error is not None and not isinstance(interrupt.error, Interrupted):
            wrong.add(f"it raised {type(interrupt.error).__name__}: {interrupt.error}")

    return checked(subject, root, interrupt, do, check_left)


def checked(subject, root, interrupt, do, examine):
    """Do an act, examine what it has left, and drop all of it; what is wrong then."""
    wrong = Wrong(interrupt.by)
    gc.collect()
    before = descriptors()
    with watched(unsynced()):
        stage = Stage(subject.kind, root, subject.act.role)
        subject.act.arrange(stage)
    do(stage, wrong)
    with watched(unsynced()):  # while the interrupt's traceback is kept, as a notebook does
        examine(subject, stage, interrupt, wrong)
    del stage
    interrupt.drop()
    for what, left in (
        ("open descriptors", sorted((descriptors() - before).elements())),
        ("maps", maps(root)),
        ("locks", locked_files(root)),
    ):
        if left:
            wrong.add(f"{what} are left: {', '.join(left)}", left=True)
    for lost in interrupt.lost:
        wrong.add(f"error in a destructor: {lost}")
    return [text.replace(f"{root}/", "") for text in wrong.texts]


def check_left(subject, stage, interrupt, wrong):
    """Check what an interrupted act has left."""
    act, handle = subject.act, stage.handle
    shown_states, stored_states = subject.shown_states, subject.stored_states
    if interrupt.ended:
        shown_states, stored_states = shown_states[-1:], stored_states[-1:]

    def tolerates(name, error):
        stale = name == "a pickle" and act.role == "watches" and isinstance(error, StaleHandleError)
        clear = isinstance(error, MmapNinjaError) and not interrupt.ended
        return stale or clear or (act.closes and is_closed(error))

    if handle is not None:
        check_reads(subject, handle, shown_states, wrong, when="at once", tolerates=tolerates)
    stored = check_stored(subject, stage, stored_states, wrong, "a new handle")
    if act.closes:
        with wrong.during("close again"):
            handle.close()
        handle = None
    if handle is not None:
        with wrong.during("refresh"):
            handle.refresh()
            check_reads(subject, handle, [stored], wrong, when="after refresh")
    if not wrong.ends:
        check_writes(subject, stage, handle, stored, wrong)
    if act.builds:
        with wrong.during("a new build"):
            stage.build([61, 62])
            check_stored(subject, stage, [subject.of(61, 62)], wrong, "a new handle after a new build")


def check_writes(subject, stage, handle, stored, wrong):
    """Check that others can append, and the interrupted handle can append and edit, if there is one."""
    with wrong.during("an append by another"):
        other = stage.opened()
        new = stage.kind.sample(60 if subject.is_of_records else 51)  # that of 60 tells the types of all columns
        if stored and subject.is_of_records:
            new = other[0]
        other.append(new)
        expected = [*stored, value(new)]
    if not wrong.ends and handle is not None:
        with wrong.during("refresh after an append by another"):
            handle.refresh()
            check_list(subject, handle, expected, wrong, "after an append by another")
        in_thread(lambda: handle.append(new), wrong, "append")
        expected.append(value(new))
    if not wrong.ends and handle is not None:
        with wrong.during("an edit"):
            check_list(subject, handle, expected, wrong, "after an append")
            del handle[0]
            del expected[0]
            check_reads(subject, handle, [expected], wrong, when="after an edit")
    if not wrong.ends:
        check_stored(subject, stage, [expected], wrong, "a new handle at the end")
    if not wrong.ends and not (subject.act.template == "damaged" and stored == subject.before):
        with wrong.during("verify"):
            report = mn.verify(stage.path, "full")
            if not report.ok:
                wrong.add(f"verify: {report}")


def check_handled(subject, root, interrupt):
    """Do an act with a signal in it whose handler uses the same handle; what is wrong then."""
    act = subject.act
    done = []

    def do(stage, wrong):
        handle, new = stage.handle, stage.kind.sample(51)

        def tolerates(name, error):
            # What is shown may have been taken back on the disk already.
            return (name == "a pickle" and isinstance(error, StaleHandleError)) or (act.closes and is_closed(error))

        def use():
            check_reads(subject, handle, subject.shown_states, wrong, when="in the handler", tolerates=tolerates)
            try:
                if subject.is_of_records:
                    del handle[0]
                else:
                    handle.append(new)
                done.append(new)
            except BaseException as error:
                refused = type(error) is RuntimeError and "already changing" in str(error)
                if not refused and not (act.closes and is_closed(error)):
                    wrong.add(f"a change in the handler: {type(error).__name__}: {error}")

        interrupt.action = use
        interrupt.run(lambda: act.do(stage))
        if interrupt.error is not None and not done:
            wrong.add(f"it raised {type(interrupt.error).__name__}: {interrupt.error}")

    def examine(subject, stage, interrupt, wrong):
        states = [subject.states[-1]]
        if done:  # it was changed before the act had begun, or after it had ended
            states = changed_states(subject)
            if interrupt.error is not None and not isinstance(interrupt.error, MmapNinjaError | ValueError):
                wrong.add(f"it raised {type(interrupt.error).__name__}: {interrupt.error}")
        stored = check_stored(subject, stage, states, wrong, "a new handle")
        handle = stage.handle
        if act.closes:
            with wrong.during("close again"):
                handle.close()
            handle = None
        elif not wrong.ends:
            check_reads(subject, handle, [stored], wrong, when="afterwards")
        if not wrong.ends:
            check_writes(subject, stage, handle, stored, wrong)

    return checked(subject, root, interrupt, do, examine)


def changed_states(subject):
    """What may be there after an act and a change in a handler, in any order."""

    def change(samples):
        return samples[1:] if subject.is_of_records else samples + subject.of(51)

    before, after = subject.states
    states = [change(after)]
    if subject.act.role == "writes":
        states.append(change(before))  # where the act found this, and raised
        with contextlib.suppress(IndexError):
            states.append(subject.act.change(change(before), subject.of))
    return states


def subjects(tmp_path, kind, names=None):
    """The acts on a kind."""
    return [Subject(name, kind, tmp_path / "templates") for name in names or acts_of(kind)]


NUM_SUBJECTS = sum(len(acts_of(kind)) for kind in KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_interrupt_at_some_opcodes_leaves_a_whole_commit_and_a_handle_that_goes_on(tmp_path, count, kind):
    sweep = Sweep(tmp_path, check_interrupted)

    for subject in subjects(tmp_path, kind):
        trace = sweep.trace(subject)
        for by, most in (("signal", BY_SIGNAL), ("raise", BY_RAISE)):
            chosen = sweep.chosen(trace, by, round(most / NUM_SUBJECTS), f"{subject} {by}")
            sweep.interrupt(subject, trace, by, chosen)

    count("interrupts at opcodes", sweep.tried)
    sweep.end()


@pytest.mark.torture
@pytest.mark.timeout(4 * 3600)
@pytest.mark.parametrize("name", ACTS)
def test_interrupt_at_every_opcode_leaves_a_whole_commit_and_a_handle_that_goes_on(tmp_path, count, name):
    sweep = Sweep(tmp_path, check_interrupted)

    for kind in KINDS:
        if name in acts_of(kind):
            (subject,) = subjects(tmp_path, kind, [name])
            trace = sweep.trace(subject)
            for by in ("signal", "raise"):
                sweep.interrupt(subject, trace, by, sweep.untried(trace, by))

    count("interrupts at opcodes", sweep.tried)
    sweep.end()


def has_locked(root):
    """Whether somebody holds the lock of the dataset at "ds"."""
    try:
        return is_locked(root / "ds" / "LOCK")
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("name", ["append", "replace again", "compact", "replacement", "merge over"])
def test_interrupt_as_a_lock_is_taken_or_given_back_leaves_it_free(tmp_path, count, name):
    """The traceback is kept, as by a notebook, and with it all that is on the stack."""
    sweep = Sweep(tmp_path, check_interrupted)
    (subject,) = subjects(tmp_path, "strings", [name])

    trace = sweep.trace(subject, has_locked)
    candidates = trace.candidates("signal")
    near = {np.searchsorted(candidates, turn) + offset for turn in trace.turns for offset in range(-6, 3)}
    sweep.interrupt(subject, trace, "signal", [candidates[place] for place in sorted(near) if place < len(candidates)])

    count("interrupts at opcodes", sweep.tried)
    assert len(trace.turns) >= 2
    sweep.end()


EVERY_VISIT = ["append", "append again", "refresh after an append", "refresh after a replacement", "close"]


@pytest.mark.torture
@pytest.mark.timeout(4 * 3600)
@pytest.mark.parametrize("kind", ["strings", "records"])
@pytest.mark.parametrize("name", EVERY_VISIT)
@pytest.mark.parametrize("by", ["signal", "raise"])
def test_interrupt_at_every_visit_leaves_a_whole_commit_and_a_handle_that_goes_on(tmp_path, count, kind, name, by):
    sweep = Sweep(tmp_path, check_interrupted)
    (subject,) = subjects(tmp_path, kind, [name])

    trace = sweep.trace(subject)
    sweep.interrupt(subject, trace, by, trace.candidates(by))

    count("interrupts at opcodes", sweep.tried)
    sweep.end()


def handled(kind):
    """The acts whose handle can be used by a signal's handler."""
    return [name for name in acts_of(kind) if ACTS[name].role in ("writes", "refreshes")]


HANDLED_KINDS = ["strings", "records", "0.x-strings"]


@pytest.mark.parametrize("kind", HANDLED_KINDS)
def test_handler_that_uses_the_handle_reads_a_whole_commit_and_is_refused_changes(tmp_path, count, kind):
    sweep = Sweep(tmp_path, check_handled)

    for subject in subjects(tmp_path, kind, handled(kind)):
        trace = sweep.trace(subject)
        sweep.interrupt(subject, trace, "signal", sweep.chosen(trace, "signal", 5, f"{subject} handled"))

    count("uses of a handle in a signal's handler", sweep.tried)
    sweep.end()


@pytest.mark.torture
@pytest.mark.timeout(4 * 3600)
@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in HANDLED_KINDS for name in handled(kind)])
def test_handler_at_every_opcode_reads_a_whole_commit_and_is_refused_changes(tmp_path, count, kind, name):
    sweep = Sweep(tmp_path, check_handled)
    (subject,) = subjects(tmp_path, kind, [name])

    trace = sweep.trace(subject)
    sweep.interrupt(subject, trace, "signal", trace.ends("signal"))

    count("uses of a handle in a signal's handler", sweep.tried)
    sweep.end()


class Storm:
    """Many acts on one handle, each of which a signal interrupts after a random time.

    Args:
        cls: The class of the dataset.
        sample: The sample of a number.
        number: The number of a sample.
        path: Where to make the dataset.
        seed: Of the acts and times.
    """

    def __init__(self, cls, sample, number, path, seed):
        self.sample, self.number, self.path = sample, number, path
        self.random = random.Random(seed)
        self.handle = cls.from_generator(path, map(sample, range(30)), lock_timeout=LOCK_TIMEOUT)
        self.numbers = list(range(30))
        self.before = self.numbers
        self.next = 1000
        self.armed = False
        self.hits = 0
        signal.signal(signal.SIGALRM, self._arrived)

    def _arrived(self, *_):
        if self.armed:
            self.armed = False
            raise Interrupted

    def opened(self):
        return type(self.handle)(self.path, lock_timeout=LOCK_TIMEOUT)

    def acts(self):
        """By name: an act, and what it makes of the numbers."""
        handle, old, new = self.handle, self.numbers, self.sample(self.next)
        place = self.random.randrange(len(old)) if old else 0
        yield "append", lambda: handle.append(new), [*old, self.next]
        yield "extend", lambda: handle.extend([new] * 3), [*old, *[self.next] * 3]
        yield "compact", handle.compact, old
        yield "order", lambda: handle.compact(order=range(len(old))[::-1]), old[::-1]
        yield "read", lambda: [list(handle.select(slice(None))), handle.take([]), list(handle)], old
        yield "pickle", lambda: pickle.loads(pickle.dumps(handle)), old
        yield "refresh", handle.refresh, old
        yield "flush", handle.flush, old
        if len(old) > 20:
            yield "delete", lambda: handle.__delitem__(place), old[:place] + old[place + 1 :]
            yield "replace", lambda: handle.__setitem__(place, new), [*old[:place], self.next, *old[place + 1 :]]
        if len(old) > 100:
            yield "clear", handle.clear, []

    def interrupted(self, act):
        """Do an act until a signal comes; whether it came to its end."""
        try:
            try:
                self.armed = True
                signal.setitimer(signal.ITIMER_REAL, self.random.uniform(2e-5, 3e-3))
                act()
            finally:
                self.armed = False
                signal.setitimer(signal.ITIMER_REAL, 0)
        except Interrupted:
            self.hits += 1
            return False
        return True

    def run(self, seconds):
        """Do acts for a time; what is wrong."""
        sys.unraisablehook = lambda _: None
        threading.Timer(seconds + 30, os._exit, [3]).start()  # where it hangs
        wrong, end = [], time.monotonic() + seconds
        while time.monotonic() < end and len(wrong) < Sweep.MOST_FAILURES:
            self.next += 1
            name, act, after = self.random.choice(list(self.acts()))
            if name == "refresh":
                self.other_writes()
                after = self.numbers
            found = len(wrong)
            try:
                done = self.interrupted(act)
                shown = self.shown(self.handle)
                if shown not in ([after] if done else [self.numbers, self.before, after]):
                    wrong.append(f"{name}: shows {shown} instead of {self.numbers} or {after}")
                self.handle.refresh()
                shown, stored = self.shown(self.handle), self.shown(self.opened())
                if stored not in ([after] if done else [self.numbers, after]) or shown != stored:
                    wrong.append(f"{name}: stored {stored}, shows {shown} instead of {self.numbers} or {after}")
            except (Exception, Interrupted) as error:
                wrong.append(f"{name}: {type(error).__name__}: {error}")
            if len(wrong) > found:
                self.handle = self.opened()
            self.before = self.numbers = self.shown(self.opened())
        if not (report := mn.verify(self.path, "full")).ok:
            wrong.append(f"verify: {report}")
        return wrong, self.hits

    def other_writes(self):
        """Let another handle append, compact, or replace all."""
        self.before = self.numbers
        other = self.opened()
        if self.random.random() < 0.5:
            other.append(self.sample(self.next))
            self.numbers = [*self.numbers, self.next]
        elif self.random.random() < 0.5:
            other.compact(order=range(len(other))[::-1])
            self.numbers = self.numbers[::-1]
        else:
            type(other).from_generator(self.path, map(self.sample, range(25)), lock_timeout=LOCK_TIMEOUT)
            self.numbers = list(range(25))

    def shown(self, handle):
        """The numbers of the samples that a handle shows; each sample is whole."""
        numbers = [self.number(sample) for sample in handle]
        assert listed(handle) == listed(map(self.sample, numbers))
        return numbers


STORMS = {
    "strings": (StringsMmap, lambda number: f"{number} " * (1 + number % 9), lambda text: int(text.split()[0])),
    "records": (
        RecordsMmap,
        lambda number: {"n": number, "t": f"{number}" * 9, "r": np.arange(number % 5)},
        lambda record: int(record["n"]),
    ),
}


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("kind", STORMS)
def test_storm_of_signals_leaves_whole_commits_and_a_handle_that_goes_on(tmp_path, count, kind, seed):
    wrong, hits = alone(lambda: Storm(*STORMS[kind], tmp_path / "ds", seed).run(STORM_SECONDS))

    count("signals at random times", hits)
    assert not wrong, "\n".join(wrong)
    assert hits > 20
