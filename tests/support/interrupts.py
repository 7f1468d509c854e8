"""Interrupts at every opcode of an act: traces of acts, and an exception or a signal at a position in one.

An interrupt comes in one of two ways. By "signal", like a real one: it arrives during an opcode, and Python calls the
handler at its next check for signals (after calls, at the start of functions, and in loops). By "raise": right before
the opcode, even where Python itself never raises.
"""

import _thread
import dis
import faulthandler
import gc
import itertools
import mmap
import random
import shutil
import signal
import sys
import warnings
from collections import Counter
from pathlib import Path

from support.faults import fork, result_of, watched

TESTS = str(Path(__file__).parents[1])
SECONDS = 20  # after so long, a case counts as hanging
BATCH = 20  # cases per child, which ends at the first failure
_NOTE_SIZE = 4096
_MOST_OFFSETS = 1 << 20  # in one function
_CHECKING = "CALL", "JUMP_BACKWARD", "POP_JUMP_BACKWARD"  # opcodes that end with a check for signals
_LOADING = (  # opcodes that change nothing, so that an exception after them is the same as before
    "COPY", "KW_NAMES", "LOAD_CLOSURE", "LOAD_CONST", "LOAD_DEREF", "LOAD_FAST", "LOAD_GLOBAL", "NOP", "PRECALL",
    "PUSH_NULL", "RESUME", "SWAP",
)  # fmt: skip


class Interrupted(KeyboardInterrupt):
    """Raised by Ctrl-C, anywhere in the program."""


class _Signal(int):
    """A signal that arrives when `arrive` is read: not by a call, after which Python would check for it at once."""

    arrive = property(_thread.interrupt_main)


_SIGNAL = _Signal(signal.SIGUSR1)


class Trace:
    """The opcodes that an act executes ("visits"), numbered from 1."""

    def __init__(self):
        self._codes = {}  # by id, since hashing a code object is slow
        self._visits = []  # the opcodes, each as an int
        self._edges = set()  # visits after which another frame begins, or this one ends
        self.turns = []  # visits at which (or a few before) the probed value changed

    def __len__(self):
        return len(self._visits)

    def site(self, number):
        """The opcode of a visit, for messages."""
        code, offset = divmod(self._visits[number - 1], _MOST_OFFSETS)
        return _place(self._codes[code], offset)

    def key(self, number):
        """The opcode of a visit."""
        return self._visits[number - 1]

    def candidates(self, by):
        """The visits that can lead to different outcomes."""
        edges = self._edges if by == "signal" else ()
        matter = {opcode: self._matters(opcode, by) for opcode in set(self._visits)}
        return [number for number, opcode in enumerate(self._visits, 1) if matter[opcode] or number in edges]

    def ends(self, by):
        """The first and the last visit of each opcode."""
        numbers = self.candidates(by)
        first = {self._visits[number - 1]: number for number in reversed(numbers)}
        last = {self._visits[number - 1]: number for number in numbers}
        return sorted({*first.values(), *last.values()})

    def _matters(self, opcode, by):
        """Whether an interrupt at an opcode differs from one at the next (for a signal) or at the last one."""
        code, offset = divmod(opcode, _MOST_OFFSETS)
        return offset in _offsets(self._codes[code])[by]

    def record(self, act, probe=None):
        """Run an act, and record the opcodes, and where the value of `probe()` changes."""
        codes, visits, edges = self._codes, self._visits, self._edges
        probed = [probe() if probe else None]

        def opcode(frame, event, _):
            if event == "opcode":
                visits.append(id(frame.f_code) * _MOST_OFFSETS + frame.f_lasti)
            elif event == "return":
                edge()
            return opcode

        def edge():
            edges.add(len(visits))
            if probe and (now := probe()) != probed[-1]:
                probed.append(now)
                self.turns.append(len(visits))

        def call(frame, *_):
            edge()
            code = frame.f_code
            if code.co_filename.startswith(TESTS):
                return None
            codes[id(code)] = code
            frame.f_trace_opcodes, frame.f_trace_lines = True, False
            return opcode

        with watched(Interrupt(None, "signal")._without_sync):
            sys.settrace(call)
            try:
                return act()
            finally:
                sys.settrace(None)


_offsets_by_code = {}


def _offsets(code):
    """The offsets of the opcodes that matter, by the way of the interrupt."""
    if id(code) not in _offsets_by_code:
        opcodes = list(dis.get_instructions(code))
        checking = {it.offset for it in opcodes if it.opname.startswith(_CHECKING)}
        after_loads = {
            it.offset
            for before, it in itertools.pairwise(opcodes)
            if before.opname.startswith(_LOADING) and not it.is_jump_target
        }
        offsets = {"signal": checking, "raise": {it.offset for it in opcodes} - after_loads}
        _offsets_by_code[id(code)] = code, offsets  # keeps the code alive, and thus its id
    return _offsets_by_code[id(code)][1]


def _place(code, offset):
    """The position of an opcode, in words."""
    line = next((line for start, stop, line in code.co_lines() if start <= offset < stop), None)
    return f"{'/'.join(Path(code.co_filename).parts[-2:])}:{line} in {code.co_name} (offset {offset})"


def _counter(number, arriving, action):
    """A trace function with a signal, or an action, at the n-th opcode."""

    def opcode(frame, event, _):
        nonlocal number
        if event == "opcode":
            number -= 1
            if number == 0:
                sys.settrace(None)
                if arriving is None:
                    action(frame)
                else:
                    arriving.arrive  # last, so that no call comes between it and the traced opcode
        return opcode

    def call(frame, *_):
        if frame.f_code.co_filename.startswith(TESTS):
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return opcode

    return call


class Interrupt:
    """An interrupt of an act at its n-th opcode, and the result.

    Args:
        number: The visit; None for no interrupt.
        by: "signal" or "raise".
        note: Shared memory for the position of the interrupt, in case this process dies.
    """

    def __init__(self, number, by, note=None):
        self.number = number
        self.by = by
        self.action = None  # called at the interrupt; None: raise Interrupted
        self.note = note
        self.site = None
        self.error = None
        self.result = None
        self.lost = []  # errors in destructors
        self._deferred = False
        self._hook_before = sys.unraisablehook

    @property
    def ended(self):
        """Whether the act ended normally."""
        return self.error is None

    def drop(self):
        """Drop what the act returned or raised, and the signal."""
        self.error = self.result = self.action = None
        gc.collect()
        signal.signal(_SIGNAL, signal.SIG_DFL)
        sys.unraisablehook = self._hook_before

    def run(self, act):
        """Run an act with the interrupt."""
        signal.signal(_SIGNAL, self._arrived)
        self._hook_before, sys.unraisablehook = sys.unraisablehook, self._lost
        try:
            with watched(self._without_sync):
                try:
                    if self.number is not None:
                        sys.settrace(_counter(self.number, _SIGNAL if self.by == "signal" else None, self._come))
                    self.result = act()
                finally:
                    sys.settrace(None)
        except BaseException as error:
            self.error = error  # with its traceback, as a notebook keeps it

    def _without_sync(self, call, *_):
        verdict = 1 if call in ("fdatasync", "fsync") else None  # no case here simulates a power loss
        if self._deferred:
            self._deferred = False
            _SIGNAL.arrive
        return verdict

    def _arrived(self, _, frame):
        if frame.f_code is Interrupt._without_sync.__code__:
            self._deferred = True  # inside the tests' hook, where a real program has no signal
        else:
            self._come(frame)

    def _come(self, frame):
        sys.settrace(None)
        self.site = _place(frame.f_code, frame.f_lasti)
        if self.note is not None:
            write(self.note, self.site)
        if self.action is None:
            raise Interrupted
        self.action()

    def _lost(self, unraisable):
        if unraisable.exc_type is not Interrupted:
            self.lost.append(f"{unraisable.exc_type.__name__}: {unraisable.exc_value} in {unraisable.object!r:.100}")


def write(note, text):
    """Write a text to shared memory."""
    data = text.encode()[: _NOTE_SIZE - 1] + b"\0"
    note[: len(data)] = data


def alone(function):
    """The result of a function in a forked child, without garbage collections, alarms or handlers of the parent."""

    def child():
        faulthandler.disable()
        gc.collect()
        gc.freeze()
        gc.disable()
        warnings.simplefilter("ignore")
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        return function()

    return result_of(fork(child))


class Sweep:
    """Interrupts of acts, in child processes, until some have failed.

    Args:
        root: A directory for the datasets.
        check: `check(subject, path, interrupt)` runs the subject's act, with the interrupt, on the copy of its template
            at a path, and returns problems as texts.
    """

    MOST_FAILURES = 10

    def __init__(self, root, check):
        self.root = root
        self.check = check
        self.failures = []
        self.tried = 0
        self.missed = 0
        self._covered = Counter()
        self._note, self._at = mmap.mmap(-1, _NOTE_SIZE), mmap.mmap(-1, _NOTE_SIZE)

    def trace(self, subject, probe=None):
        """The trace of a subject's act, after a run without an interrupt; `probe` gets its directory."""
        path = self.root / "whole"
        shutil.copytree(subject.template, path)
        wrong = self.check(subject, path, Interrupt(None, "signal"))
        assert not wrong, f"{subject}, which nothing interrupts: {wrong}"
        shutil.rmtree(path)
        shutil.copytree(subject.template, path)
        trace = Trace()
        gc.disable()
        try:
            with subject.arranged(path) as act:
                trace.record(act, probe and (lambda: probe(path)))
        finally:
            gc.enable()
        shutil.rmtree(path)
        return trace

    def chosen(self, trace, by, most, seed):
        """A choice of visits of the opcodes that were tried least often; depends only on the seed."""
        numbers = trace.ends(by)
        random.Random(seed).shuffle(numbers)
        numbers.sort(key=lambda number: self._covered[trace.key(number), by])
        return self._cover(trace, by, sorted(numbers[:most]))

    def untried(self, trace, by):
        """The first and last visits of the opcodes that were not tried yet."""
        return self._cover(trace, by, [number for number in trace.ends(by) if not self._covered[trace.key(number), by]])

    def _cover(self, trace, by, numbers):
        for number in numbers:
            self._covered[trace.key(number), by] += 1
        return numbers

    def interrupt(self, subject, trace, by, numbers):
        """Interrupt a subject's act at some visits."""
        numbers = list(numbers)
        while numbers and len(self.failures) < self.MOST_FAILURES:
            write(self._note, "")
            batch = numbers[:BATCH]
            write(self._at, "0")
            try:
                done, wrong, missed = alone(lambda batch=batch: self._batch(subject, by, batch))
            except AssertionError as error:  # it was killed
                done, wrong, missed = int(_text(self._at)) + 1, [str(error)], 0
            del numbers[:done]
            self.tried += done
            self.missed += missed
            if wrong:
                number = batch[done - 1]
                where = _text(self._note) or trace.site(number)
                what = "\n      ".join(wrong)
                self.failures.append(f"{subject}: {by} {number} of {len(trace)} at {where}:\n      {what}")
                shutil.rmtree(self.root / "case", ignore_errors=True)

    def _batch(self, subject, by, numbers):
        """Run the first cases in a child, up to a failure: returns how many, the problems, and how many never came."""
        path, missed = self.root / "case", 0
        for place, number in enumerate(numbers):
            signal.alarm(SECONDS)
            write(self._at, str(place))
            shutil.copytree(subject.template, path)
            interrupt = Interrupt(number, by, self._note)
            wrong = self.check(subject, path, interrupt)
            shutil.rmtree(path)
            missed += interrupt.site is None
            if wrong:
                return place + 1, wrong, missed
        return len(numbers), [], missed

    def end(self):
        """Raise if there were failures."""
        assert not self.failures, f"{len(self.failures)} of {self.tried} failed:\n  " + "\n  ".join(self.failures)
        assert self.missed * 50 <= self.tried, f"{self.missed} of {self.tried} interrupts never came"


def _text(note):
    return note[:].split(b"\0")[0].decode()
