"""Acts to interrupt: every mutation of every kind, and opening, refreshing, closing and pickling."""

import contextlib
import functools
import pickle
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import mmap_ninja as mn
from mmap_ninja import ArrayMmap, RaggedMmap, RecordsMmap, StringsMmap
from support.faults import DATA, overwrite, unsynced, watched
from support.golden import F_ORDER, GOLDEN, MIXED, STRINGS, expected_samples
from support.kinds import KINDS as STORED
from support.kinds import TRAINED, Kind, text

LOCK_TIMEOUT = 0.1  # for handles that never have to wait for a lock
BASE = [32, 12, 13, 14, 16]  # numbers of the samples before
BATCHES = [[41, 42, 43], [41, 42, 43, 44, 45, 46], [41, 42, 43, 44, 45, 46, 47]]  # numbers after each batch of a build
OTHERS = [41, 42]  # numbers of samples that replace all
ORDER = [4, 2, 0, 1, 3]
WHOLE = ["A" * 70_000, "B" * 70_000, "C"]  # several blocks; the first one gets damaged
DAMAGED = ["!" + WHOLE[0][1:], *WHOLE[1:]]


def _of_0x(name, cls):
    samples = expected_samples(name)
    return Kind(cls, lambda number: samples[number % len(samples)])


def simple_record(number):
    return {"n": number, "t": text(number), "r": np.arange(number % 6)}


KINDS = STORED | {
    "strings-zstd": TRAINED,
    "records-inferred": Kind(RecordsMmap, simple_record),
    "0.x-strings": _of_0x(STRINGS, StringsMmap),
    "0.x-array": _of_0x(F_ORDER, ArrayMmap),
    "0.x-ragged": _of_0x(MIXED, RaggedMmap),
}
OF_0X = {"0.x-strings": STRINGS, "0.x-array": F_ORDER, "0.x-ragged": MIXED}


def value(sample):
    """A sample, read in any way, as a value that `==` can compare."""
    if isinstance(sample, dict):
        return {key: value(inner) for key, inner in sample.items()}
    if isinstance(sample, list | tuple):
        return [value(inner) for inner in sample]
    if isinstance(sample, int | float | np.ndarray | np.generic):
        stored = np.asarray(sample)
        return stored.dtype.str, stored.shape, stored.tobytes()
    return sample


@functools.cache
def _value_of_number(name, number):
    return value(KINDS[name].sample(number))


@functools.cache
def _numbers_by_value(name):
    return {repr(_value_of_number(name, number)): number for number in reversed(range(100))}


@dataclass(frozen=True)
class Act:
    """Something to interrupt.

    Args:
        do: Does it, with a `Stage`; may return a handle.
        change: The samples after it: `change(old, of)`, where `of(number...)` makes samples.
        steps: For several commits: the samples after each of them, `steps(old, of)`.
        template: The state before: a key of `TEMPLATES`.
        arrange: Done before, without interrupts.
        after: The samples after `template` and `arrange`, `after(of)`.
        role: What the open handle does: "writes", "refreshes", "reads", or "watches" others write; "absent": there is
            none.
        closes: Whether the handle may be closed afterwards.
        builds: Whether it builds a dataset, so that it can be repeated.
        kinds: The kinds that it is for; None: all that were not written by 0.x.
    """

    do: Callable
    change: Callable = lambda old, of: old
    steps: Callable | None = None
    template: str = "base"
    arrange: Callable = lambda stage: None
    after: Callable = lambda of: of(*BASE)
    role: str = "writes"
    closes: bool = False
    builds: bool = False
    kinds: tuple | None = None


class Stage:
    """The surroundings of an act, in a child.

    Args:
        kind: A key of `KINDS`.
        root: A directory with a copy of the template.
        role: The role of the act.
    """

    def __init__(self, kind, root, role):
        self.kind = KINDS[kind]
        self.root = root
        self.path = root / "ds"
        self.handle = None if role == "absent" else self.opened()

    def opened(self, **options):
        """Another handle."""
        return self.kind.cls(self.path, lock_timeout=LOCK_TIMEOUT, **options)

    def samples(self, *numbers):
        return [self.kind.sample(number) for number in numbers]

    def build(self, numbers, **options):
        options = {"batch_size": 3, "lock_timeout": LOCK_TIMEOUT, **options}
        if options.get("if_exists") != "append":  # which keeps the options of the dataset
            options |= _build_options(self.kind)
        return self.kind.cls.from_generator(self.path, self.samples(*numbers), **options)


def _build_options(kind):
    """The options of a build with few samples."""
    return {key: option for key, option in kind.options.items() if key != "zstd_train_dictionary_size"}


class Subject:
    """An act on a kind of dataset.

    Args:
        name: A key of `ACTS`.
        kind: A key of `KINDS`.
        templates: A directory for the templates.
    """

    def __init__(self, name, kind, templates):
        self.name = name
        self.kind = kind
        self.act = ACTS[name]
        self.template = templates / kind / self.act.template
        if not self.template.exists():
            self.template.mkdir(parents=True)
            with watched(unsynced()):
                TEMPLATES[self.act.template](kind, self.template)

    def __str__(self):
        return f"{self.kind}: {self.name}"

    def of(self, *numbers):
        """The values of samples."""
        return [_value_of_number(self.kind, number) for number in numbers]

    def named(self, samples):
        """Samples as their numbers, for messages."""
        numbers = _numbers_by_value(self.kind)
        named = [numbers.get(text := repr(sample), f"{text:.60}") for sample in samples]
        return f"[{', '.join(map(str, named))}]"

    @property
    def is_of_records(self):
        """Whether samples must have the same columns to fit."""
        return KINDS[self.kind].cls is RecordsMmap

    @property
    def before(self):
        """The samples before the act."""
        return self.act.after(self.of)

    @property
    def states(self):
        """The lists of samples that the act goes through, starting with the one before."""
        before = self.before
        if self.act.steps is not None:
            return [before, *self.act.steps(before, self.of)]
        return [before, self.act.change(before, self.of)]

    @property
    def shown_states(self):
        """The lists that the open handle may show, in order."""
        return self.states[:1] if self.act.role in ("reads", "watches") else self.states

    @property
    def stored_states(self):
        """The lists that a new handle may show, in order."""
        return self.states[-1:] if self.act.role in ("reads", "refreshes") else self.states

    @contextlib.contextmanager
    def arranged(self, root):
        """The act, ready to run."""
        with watched(unsynced()):
            stage = Stage(self.kind, root, self.act.role)
            self.act.arrange(stage)
        yield lambda: self.act.do(stage)


def _make_base(kind, root):
    """A dataset of BASE, with edits."""
    stored = KINDS[kind]
    samples = stored.build(root / "ds", 100 if stored is TRAINED else 7, start=11)
    del samples[6:]
    del samples[4]
    samples[0] = stored.sample(32)
    samples.close()


def _make_part(kind, root):
    """A build, interrupted in its second batch."""

    def source():
        yield from map(KINDS[kind].sample, BATCHES[-1][:4])
        raise RuntimeError("source")

    with contextlib.suppress(RuntimeError):
        KINDS[kind].cls.from_generator(root / "ds", source(), batch_size=3, **_build_options(KINDS[kind]))


def _make_inputs(kind, root):
    """Two datasets to merge."""
    stored = KINDS[kind]
    for name, numbers in (("a", [41, 42, 43]), ("b", [44])):
        stored.cls.from_generator(
            root / name, stored.samples(len(numbers), numbers[0]), **_build_options(stored)
        ).close()
    samples = mn.open(root / "a")
    del samples[1]
    samples.close()


def _make_inputs_and_base(kind, root):
    _make_inputs(kind, root)
    _make_base(kind, root)


def _make_damaged(_, root):
    """A dataset whose first block is damaged."""
    StringsMmap.from_strings(root / "ds", WHOLE).close()
    overwrite(root / "ds" / DATA, 0, b"!")


def _make_damaged_elsewhere(kind, root):
    _make_damaged(kind, root)
    (root / "ds").rename(root / "damaged")


TEMPLATES = {
    "nothing": lambda kind, root: None,
    "base": _make_base,
    "part": _make_part,
    "inputs": _make_inputs,
    "inputs and base": _make_inputs_and_base,
    "damaged": _make_damaged,
    "damaged elsewhere": _make_damaged_elsewhere,
    "0.x": lambda kind, root: shutil.copytree(GOLDEN / OF_0X[kind], root / "ds"),
}


def _append_one(stage):
    stage.handle.append(*stage.samples(40))


def _with_one(of):
    return of(*BASE, 40)


def _replace(stage, index, *numbers):
    stage.handle[index] = stage.samples(*numbers) if isinstance(index, slice) else stage.samples(*numbers)[0]


def _without(old, key):
    left = list(old)
    del left[key]
    return left


def _with(old, key, new):
    left = list(old)
    left[key] = new
    return left


def _by_other(change):
    """A change by another handle before the act."""

    def arrange(stage):
        other = stage.opened()
        change(other, stage)
        other.close()

    return arrange


def _merge(stage, **options):
    mn.merge([stage.root / "a", stage.root / "b"], stage.path, lock_timeout=LOCK_TIMEOUT, **options)


def _read(stage):
    handle = stage.handle
    handle.select([3, 1])[0], handle[-1], handle.take([2, 0]), handle[1:3], len(handle), repr(handle)
    for _ in handle.select(slice(None, None, 2)):
        pass
    return list(handle)


def _samples_of_0x(of):
    return of(*_numbers_of_0x(of))


def _numbers_of_0x(of):
    name = of.__self__.kind
    return range(len(expected_samples(OF_0X[name])))


PLAIN = tuple(name for name in KINDS if name not in OF_0X and name != "records-inferred")
RECORDS = ("records",)
BUILT = ("nothing", "base")
_OLD_SAMPLES: Any = {"template": "0.x", "after": _samples_of_0x, "kinds": tuple(OF_0X)}

ACTS = {
    "append": Act(lambda stage: stage.handle.append(*stage.samples(41)), lambda old, of: old + of(41)),
    "append again": Act(
        lambda stage: stage.handle.append(*stage.samples(41)),
        lambda old, of: old + of(41),
        arrange=_append_one,
        after=_with_one,
    ),
    "append durably": Act(
        lambda stage: stage.opened(durability="machine").append(*stage.samples(41)),
        lambda old, of: old + of(41),
        role="watches",
        kinds=("strings", "records"),
    ),
    "extend": Act(lambda stage: stage.handle.extend(stage.samples(41, 42, 43)), lambda old, of: old + of(41, 42, 43)),
    "delete": Act(lambda stage: stage.handle.__delitem__(1), lambda old, of: _without(old, 1)),
    "delete again": Act(
        lambda stage: stage.handle.__delitem__(1),
        lambda old, of: _without(old, 1),
        arrange=_append_one,
        after=_with_one,
    ),
    "delete a slice": Act(
        lambda stage: stage.handle.__delitem__(slice(1, 4)), lambda old, of: _without(old, slice(1, 4))
    ),
    "replace": Act(lambda stage: _replace(stage, 2, 43), lambda old, of: _with(old, 2, *of(43))),
    "replace again": Act(
        lambda stage: _replace(stage, 2, 43),
        lambda old, of: _with(old, 2, *of(43)),
        arrange=_append_one,
        after=_with_one,
    ),
    "replace several": Act(
        lambda stage: _replace(stage, slice(1, 3), 42, 43), lambda old, of: _with(old, slice(1, 3), of(42, 43))
    ),
    "pop": Act(lambda stage: stage.handle.pop(), lambda old, of: old[:-1]),
    "clear": Act(lambda stage: stage.handle.clear(), lambda old, of: []),
    "compact": Act(lambda stage: stage.handle.compact()),
    "compact in an order": Act(
        lambda stage: stage.handle.compact(order=ORDER), lambda old, of: [old[place] for place in ORDER]
    ),
    "compact after an append": Act(lambda stage: stage.handle.compact(), arrange=_append_one, after=_with_one),
    "refresh": Act(lambda stage: stage.handle.refresh(), role="refreshes"),
    "refresh after an append": Act(
        lambda stage: stage.handle.refresh(),
        lambda old, of: old + of(41),
        arrange=_by_other(lambda other, stage: other.append(*stage.samples(41))),
        role="refreshes",
    ),
    "refresh after edits": Act(
        lambda stage: stage.handle.refresh(),
        lambda old, of: _without(old, 1),
        arrange=_by_other(lambda other, stage: other.__delitem__(1)),
        role="refreshes",
    ),
    "refresh after a compaction": Act(
        lambda stage: stage.handle.refresh(),
        lambda old, of: [old[place] for place in ORDER],
        arrange=_by_other(lambda other, stage: other.compact(order=ORDER)),
        role="refreshes",
    ),
    "refresh after a replacement": Act(
        lambda stage: stage.handle.refresh(),
        lambda old, of: of(*OTHERS),
        arrange=lambda stage: stage.build(OTHERS).close(),
        role="refreshes",
    ),
    "refresh a writer after a compaction": Act(
        lambda stage: stage.handle.refresh(),
        lambda old, of: of(32, 13, 14, 16, 40),
        arrange=lambda stage: (_append_one(stage), _delete_and_compact(stage)),
        after=_with_one,
        role="refreshes",
    ),
    "flush": Act(lambda stage: stage.handle.flush(), arrange=_append_one, after=_with_one),
    "close": Act(lambda stage: stage.handle.close(), arrange=_append_one, after=_with_one, closes=True),
    "close a reader": Act(lambda stage: stage.handle.close(), closes=True),
    "open": Act(lambda stage: mn.open(stage.path), role="reads"),
    "open by class": Act(lambda stage: stage.opened(), role="absent"),
    "pickle": Act(lambda stage: pickle.loads(pickle.dumps(stage.handle)), role="reads"),
    "read": Act(_read, role="reads"),
    "first append": Act(
        lambda stage: stage.handle.append(*stage.samples(41)),
        lambda old, of: old + of(41),
        template="nothing",
        after=lambda of: [],
        kinds=("strings", "bytes", "array", "array-scalars", "ragged", "ragged-2d", "ragged-mixed", "records-inferred"),
    ),
    "first build": Act(
        lambda stage: stage.build(BATCHES[-1]),
        steps=lambda old, of: [of(*batch) for batch in BATCHES],
        template="nothing",
        after=lambda of: [],
        role="absent",
        builds=True,
    ),
    "replacement": Act(
        lambda stage: stage.build(BATCHES[-1]), lambda old, of: of(*BATCHES[-1]), role="watches", builds=True
    ),
    "append build": Act(
        lambda stage: stage.build(BATCHES[-1], if_exists="append"),
        steps=lambda old, of: [old + of(*batch) for batch in BATCHES],
        role="watches",
        builds=True,
    ),
    "resumed build": Act(
        lambda stage: stage.build(BATCHES[-1], if_exists="resume"),
        steps=lambda old, of: [of(*batch) for batch in BATCHES[1:]],
        template="part",
        after=lambda of: of(*BATCHES[0]),
        role="watches",
        builds=True,
    ),
    "merge": Act(
        _merge, lambda old, of: of(41, 43, 44), template="inputs", after=lambda of: [], role="absent", builds=True
    ),
    "merge over": Act(
        lambda stage: _merge(stage, if_exists="replace"),
        lambda old, of: of(41, 43, 44),
        template="inputs and base",
        role="watches",
        builds=True,
    ),
    "add a column": Act(
        lambda stage: stage.handle.add_column("c", list(range(5))),
        lambda old, of: [sample | {"c": value(np.int64(place))} for place, sample in enumerate(old)],
        kinds=RECORDS,
    ),
    "drop a column": Act(
        lambda stage: stage.handle.drop_column("tokens"),
        lambda old, of: [{key: inner for key, inner in sample.items() if key != "tokens"} for sample in old],
        kinds=RECORDS,
    ),
    "rename a column": Act(
        lambda stage: stage.handle.rename_column("tokens", "t"),
        lambda old, of: [{"t" if key == "tokens" else key: inner for key, inner in sample.items()} for sample in old],
        kinds=RECORDS,
    ),
    "allow nulls": Act(
        lambda stage: stage.handle.set_nullable("tokens"),
        lambda old, of: list(old),
        kinds=RECORDS,
    ),
    "metadata": Act(
        lambda stage: setattr(stage.handle, "metadata", {"a": 1}),
        lambda old, of: list(old),
    ),
    "recover": Act(
        lambda stage: mn.recover(stage.path, keep="intact", lock_timeout=LOCK_TIMEOUT),
        lambda old, of: WHOLE[1:],
        template="damaged",
        after=lambda of: DAMAGED,
        role="watches",
        kinds=("strings",),
    ),
    "recover elsewhere": Act(
        lambda stage: mn.recover(stage.root / "damaged", stage.path, keep="intact", lock_timeout=LOCK_TIMEOUT),
        lambda old, of: WHOLE[1:],
        template="damaged elsewhere",
        after=lambda of: [],
        role="absent",
        builds=True,
        kinds=("strings",),
    ),
    "open 0.x": Act(lambda stage: mn.open(stage.path), role="reads", **_OLD_SAMPLES),
    "upgrade": Act(lambda stage: mn.upgrade(stage.path, lock_timeout=LOCK_TIMEOUT), role="watches", **_OLD_SAMPLES),
    "first change of 0.x": Act(
        lambda stage: stage.handle.append(*stage.samples(0)), lambda old, of: old + of(0), **_OLD_SAMPLES
    ),
    "first edit of 0.x": Act(
        lambda stage: stage.handle.__delitem__(0), lambda old, of: _without(old, 0), **_OLD_SAMPLES
    ),
}


def _delete_and_compact(stage):
    other = stage.opened()
    del other[1]
    other.compact()
    other.close()


def acts_of(kind):
    """The acts for a kind."""
    return [name for name, act in ACTS.items() if kind in (PLAIN if act.kinds is None else act.kinds)]
