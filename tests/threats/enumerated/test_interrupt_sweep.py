"""Ctrl-C at every opcode of opening, changing, refreshing and closing: nothing half done stays or is shown."""

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

BY_SIGNAL, BY_RAISE = 800, 300  # interrupts in `make test`
STORM_SECONDS = 2
THREAD_SECONDS = 5


@pytest.fixture(autouse=True)
def tqdm_lock_of_this_process():
    """Replace tqdm's lock, which forked processes share, and keep for ever if an interrupt ends them."""
    before = tqdm.get_lock()
    tqdm.set_lock(threading.RLock())
    yield
    tqdm.set_lock(before)


class Wrong:
    """Collects problems.

    Args:
        by: The way of the interrupt. With "raise", a lock may stay: no program can survive an exception right before
            the call that ends a `with` statement, but Python never raises there.
    """

    def __init__(self, by):
        self.lenient = by == "raise"
        self.texts = []
        self.ends = False

    def add(self, text, *, left=False):
        """Note a problem; `left`: something was not released."""
        if not (left and self.lenient) and not self.ends:
            self.texts.append(text)

    @contextlib.contextmanager
    def during(self, what):
        """Note the errors of a block; ends the case if it cannot continue after them."""
        try:
            yield
        except LockTimeoutError as error:
            self.add(f"{what}: {error}", left=True)
            self.ends = True
        except BaseException as error:
            self.add(f"{what}: {type(error).__name__}: {error}")
            self.ends = True


def said(subject, found, expected):
    """A message with what was found and expected."""
    found, expected = (subject.named(it) if isinstance(it, list) else f"{it!r:.200}" for it in (found, expected))
    return f"{found} instead of {expected}"


def flat_names(sample, prefix=""):
    """The names of a record's columns."""
    names = []
    for name, inner in sample.items():
        is_group = isinstance(inner, dict) and prefix + name != "more.any"  # a JSON column
        names += flat_names(inner, f"{prefix}{name}.") if is_group else [prefix + name]
    return names


def listed(samples):
    return [value(sample) for sample in samples]


def reads_of(handle, shown):
    """All reads of one or several samples: by name, the result and the expected result."""
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
    """Check that all reads of a handle show one of some states."""
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
    """Check what a handle shows, briefly."""
    shown = listed(handle)
    if shown != expected:
        wrong.add(f"{when}: list: {said(subject, shown, expected)}")


def in_thread(function, wrong, what):
    """Run something in another thread, which a lock kept by this one would block."""

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
    """The open descriptors, with their files."""
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
    """The locked files below a directory."""
    found = []
    for folder, _, names in os.walk(root):
        found += [name for name in names if is_locked(os.path.join(folder, name))]
    return found


def is_locked(path):
    """Whether a file is locked."""
    with open(path, "rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def check_stored(subject, stage, states, wrong, when):
    """Check what a new handle shows, and return it."""
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
    """Run an act with an exception in it, then use its remains in all ways; returns the problems."""

    def do(stage, wrong):
        interrupt.run(lambda: subject.act.do(stage))
        if interrupt.error is not None and not isinstance(interrupt.error, Interrupted):
            wrong.add(f"it raised {type(interrupt.error).__name__}: {interrupt.error}")

    return checked(subject, root, interrupt, do, check_left)


def checked(subject, root, interrupt, do, examine):
    """Run an act, examine its remains, and drop them; returns the problems."""
    wrong = Wrong(interrupt.by)
    gc.collect()
    before = descriptors()
    with watched(unsynced()):
        stage = Stage(subject.kind, root, subject.act.role)
        subject.act.arrange(stage)
    do(stage, wrong)
    with watched(unsynced()):  # while the traceback of the interrupt is kept, as in a notebook
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
    """Check the state after an interrupted act."""
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
    """Check that others can append, and that the interrupted handle, if there is one, can append and edit."""
    with wrong.during("an append by another"):
        other = stage.opened()
        new = stage.kind.sample(52 if subject.is_of_records else 51)  # sample 52 defines the types of all columns
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
    """Run an act with a signal whose handler uses the same handle; returns the problems."""
    act = subject.act
    done = []

    def do(stage, wrong):
        handle, new = stage.handle, stage.kind.sample(51)

        def tolerates(name, error):
            # The state that is shown may have been undone on the disk already.
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
        if done:  # the handler ran before the act began, or after it ended
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
    """The possible states after an act and a change in a handler, in any order."""

    def change(samples):
        return samples[1:] if subject.is_of_records else samples + subject.of(51)

    before, after = subject.states
    states = [change(after)]
    if subject.act.role == "writes":
        states.append(change(before))  # if the act found the change, and raised
        with contextlib.suppress(IndexError):
            states.append(subject.act.change(change(before), subject.of))
    return states


def subjects(tmp_path, kind, names=None):
    """The acts for a kind."""
    return [Subject(name, kind, tmp_path / "templates") for name in names or acts_of(kind)]


NUM_SUBJECTS = sum(len(acts_of(kind)) for kind in KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_interrupt_at_some_opcodes_leaves_a_whole_commit_and_a_usable_handle(tmp_path, count, kind):
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
def test_interrupt_at_every_opcode_leaves_a_whole_commit_and_a_usable_handle(tmp_path, count, name):
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
    """Whether the dataset at "ds" is locked."""
    try:
        return is_locked(root / "ds" / "LOCK")
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("name", ["append", "replace again", "compact", "replacement", "merge over"])
def test_interrupt_as_a_lock_is_taken_or_given_back_leaves_it_free(tmp_path, count, name):
    """The traceback is kept, as in a notebook, and with it everything on the stack."""
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
def test_interrupt_at_every_visit_leaves_a_whole_commit_and_a_usable_handle(tmp_path, count, kind, name, by):
    sweep = Sweep(tmp_path, check_interrupted)
    (subject,) = subjects(tmp_path, kind, [name])

    trace = sweep.trace(subject)
    sweep.interrupt(subject, trace, by, trace.candidates(by))

    count("interrupts at opcodes", sweep.tried)
    sweep.end()


def handled(kind):
    """The acts whose handle can be used in a signal handler."""
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
    """Many acts on one handle, each interrupted by a signal after a random time.

    Args:
        cls: The class of the dataset.
        sample: Makes the sample of a number.
        number: Returns the number of a sample.
        path: Where to create the dataset.
        seed: The seed of acts and times.
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
        """By name: an act, and its effect on the numbers."""
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
        """Run an act until a signal comes; returns whether it ended."""
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
        """Run acts for some time; returns the problems."""
        sys.unraisablehook = lambda _: None
        threading.Timer(seconds + 30, os._exit, [3]).start()  # in case it hangs
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
        """Append, compact, or replace everything by another handle."""
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
        """The numbers of the samples that a handle shows; checks each sample."""
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
def test_storm_of_signals_leaves_whole_commits_and_a_usable_handle(tmp_path, count, kind, seed):
    wrong, hits = alone(lambda: Storm(*STORMS[kind], tmp_path / "ds", seed).run(STORM_SECONDS))

    count("signals at random times", hits)
    assert not wrong, "\n".join(wrong)
    assert hits > 20
