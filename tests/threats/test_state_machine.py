"""Every kind of dataset compared with a plain list, by random acts of several handles, crashes, copies and reboots."""

import contextlib
import itertools
import pickle
import shutil

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

import mmap_ninja
from mmap_ninja import StaleHandleError
from mmap_ninja.engine import files
from support.faults import killed_at
from support.kinds import KINDS, plain

HANDLES = st.integers(0, 1)  # two writers; the reader is the third handle
NUMBERS = st.integers(0, 50)
PLACES = st.integers(0, 1000)


class Item:
    """A sample of the list: its number, and its identity, which a replacement keeps."""

    identities = itertools.count()

    def __init__(self, number, identity=None):
        self.number = number
        self.identity = next(self.identities) if identity is None else identity

    def replaced(self, number):
        """The same sample with another value, of the same rank."""
        return Item(number * 3 + self.number % 3, self.identity)


class Handle:
    """A handle, and the list that it shows until a refresh."""

    def __init__(self, dataset, shown):
        self.dataset = dataset
        self.shown = shown


class Machine(RuleBasedStateMachine):
    """Handles of one dataset, and the committed list."""

    def __init__(self, kind, folder):
        super().__init__()
        self.kind = kind
        self.path = folder / "ds"
        self.folder = folder
        self.copies = itertools.count()
        self.committed = []

    def teardown(self):
        assert mmap_ninja.verify(self.path, "full").ok
        for handle in self.handles:
            handle.dataset.close()
        shutil.rmtree(self.folder)

    @initialize(count=st.integers(0, 12))
    def build(self, count):
        self.committed = [Item(number) for number in range(count)]
        self.kind.build(self.path, count, batch_size=5).close()
        modes = [None, None, "r"]
        self.handles = [Handle(mmap_ninja.open(self.path, mode), list(self.committed)) for mode in modes]

    # ---- comparisons

    def samples(self, items):
        return [plain(self.kind.sample(item.number)) for item in items]

    def check(self, dataset, items):
        expected = self.samples(items)
        assert len(dataset) == len(expected)
        assert plain(list(dataset)) == expected
        for place in {0, len(expected) // 2, len(expected) - 1} & set(range(len(expected))):
            assert plain(dataset[place]) == expected[place]
        order = list(range(len(expected)))[::-2]
        assert plain(dataset.__getitems__(order)) == [expected[place] for place in order]
        assert plain(list(dataset.select(order))) == [expected[place] for place in order]

    @invariant()
    def every_handle_shows_its_list(self):
        for handle in self.handles:
            self.check(handle.dataset, handle.shown)

    @invariant()
    def the_path_shows_what_is_committed(self):
        with mmap_ninja.open(self.path) as dataset:
            self.check(dataset, self.committed)

    # ---- changes

    def numbering(self, dataset):
        return dataset._state.seen.meta.numbering

    def edit(self, handle, chosen, act, change, *, as_they_were=False):
        """Change some samples that a handle shows; another one may have deleted, moved or replaced them."""
        if not chosen:
            return None
        with mmap_ninja.open(self.path) as newest:
            moved = self.numbering(newest) != self.numbering(handle.dataset)
        there = {item.identity for item in self.committed}
        gone = not {item.identity for item in chosen} <= there
        if moved or gone or (as_they_were and not set(chosen) <= set(self.committed)):
            before = (self.path / "COMMIT").read_bytes()
            with pytest.raises(StaleHandleError, match="call refresh"):
                act(handle.dataset)
            assert (self.path / "COMMIT").read_bytes() == before
            return None
        result = act(handle.dataset)
        self.committed = change(self.committed)
        handle.shown = list(self.committed)
        return result

    def replace(self, handle, key, numbers):
        chosen = [handle.shown[place] for place in key]
        new = {item.identity: item.replaced(number) for item, number in zip(chosen, numbers, strict=True)}
        values = [self.kind.sample(item.replaced(number).number) for item, number in zip(chosen, numbers, strict=True)]

        def change(items):
            return [new.get(item.identity, item) for item in items]

        return chosen, values, change

    def delete(self, handle, places, act, **options):
        chosen = [handle.shown[place] for place in places]
        gone = {item.identity for item in chosen}
        left = lambda items: [item for item in items if item.identity not in gone]  # noqa: E731
        return self.edit(handle, chosen, act, left, **options)

    def add(self, handle, items, act):
        act(handle.dataset)
        self.committed = [*self.committed, *items]
        handle.shown = list(self.committed)

    @rule(which=HANDLES, number=NUMBERS)
    def append(self, which, number):
        self.add(self.handles[which], [Item(number)], lambda ds: ds.append(self.kind.sample(number)))

    @rule(which=HANDLES, numbers=st.lists(NUMBERS, min_size=1, max_size=6))
    def extend(self, which, numbers):
        self.add(self.handles[which], map(Item, numbers), lambda ds: ds.extend(list(map(self.kind.sample, numbers))))

    @rule(which=HANDLES, place=PLACES, number=NUMBERS)
    def set_one(self, which, place, number):
        handle = self.handles[which]
        if handle.shown:
            place %= len(handle.shown)
            chosen, values, change = self.replace(handle, [place], [number])
            self.edit(handle, chosen, lambda ds: ds.__setitem__(place, values[0]), change)

    @rule(which=HANDLES, start=PLACES, numbers=st.lists(NUMBERS, min_size=1, max_size=5))
    def set_slice(self, which, start, numbers):
        handle = self.handles[which]
        start %= len(handle.shown) + 1
        places = range(len(handle.shown))[start : start + len(numbers)]
        chosen, values, change = self.replace(handle, places, numbers[: len(places)])
        self.edit(handle, chosen, lambda ds: ds.__setitem__(slice(start, start + len(places)), values), change)

    @rule(which=HANDLES, place=PLACES)
    def delete_one(self, which, place):
        handle = self.handles[which]
        if handle.shown:
            place = place % len(handle.shown) - len(handle.shown)
            self.delete(handle, [place], lambda ds: ds.__delitem__(place))

    @rule(which=HANDLES, start=PLACES, count=st.integers(1, 5), step=st.integers(1, 3))
    def delete_slice(self, which, start, count, step):
        handle = self.handles[which]
        start %= len(handle.shown) + 1
        piece = slice(start, start + count * step, step)
        self.delete(handle, range(len(handle.shown))[piece], lambda ds: ds.__delitem__(piece))

    @rule(which=HANDLES, rest=st.integers(0, 4))
    def delete_mask(self, which, rest):
        handle = self.handles[which]
        mask = np.array([place % 5 == rest for place in range(len(handle.shown))], bool)
        self.delete(handle, np.flatnonzero(mask), lambda ds: ds.__delitem__(mask))

    @rule(which=HANDLES, place=PLACES)
    def pop(self, which, place):
        handle = self.handles[which]
        if handle.shown:
            place %= len(handle.shown)
            (expected,) = self.samples([handle.shown[place]])
            popped = self.delete(handle, [place], lambda ds: plain([ds.pop(place)]), as_they_were=True)
            assert popped in (None, [expected])

    @rule(which=HANDLES)
    def clear(self, which):
        self.handles[which].dataset.clear()
        self.committed = []
        self.handles[which].shown = []

    @rule(which=HANDLES)
    def compact(self, which):
        self.handles[which].dataset.compact()
        self.handles[which].shown = list(self.committed)

    @rule(which=HANDLES, seed=st.integers(0, 9))
    def compact_in_an_order(self, which, seed):
        self.refresh(which)
        order = np.random.default_rng(seed).permutation(len(self.committed))
        self.handles[which].dataset.compact(order=order)
        self.committed = [self.committed[place] for place in order]
        self.handles[which].shown = list(self.committed)

    # ---- handles

    @rule(which=HANDLES)
    def flush(self, which):
        self.handles[which].dataset.flush()
        self.handles[which].shown = list(self.committed)

    @rule(which=st.integers(0, 2))
    def refresh(self, which):
        self.handles[which].dataset.refresh()
        self.handles[which].shown = list(self.committed)

    @rule(which=st.integers(0, 2), how=st.sampled_from(["open", "class"]))
    def close_and_open_again(self, which, how):
        self.handles[which].dataset.close()
        mode = "r" if which == 2 else None
        opened = (mmap_ninja.open if how == "open" else self.kind.cls)(self.path, mode=mode)
        self.handles[which] = Handle(opened, list(self.committed))

    @rule(which=st.integers(0, 2), goes_on=st.booleans())
    def pickle(self, which, goes_on):
        handle = self.handles[which]
        with mmap_ninja.open(self.path) as newest:
            is_kept = newest._state.seen.meta.generation == handle.dataset._state.seen.meta.generation
        pickled = pickle.dumps(handle.dataset)
        try:
            copy = pickle.loads(pickled)
        except StaleHandleError:
            assert not is_kept
            return
        self.check(copy, handle.shown)
        if goes_on and which != 2:
            handle.dataset.close()
            handle.dataset = copy

    # ---- accidents

    @rule(
        call=st.integers(1, 30),
        number=NUMBERS,
        act=st.sampled_from(["extend", "set", "delete", "compact", "flush", "clear"]),
    )
    def kill(self, call, number, act):
        place = number % max(len(self.committed), 1)
        chosen = self.committed[place : place + 1]
        after = list(self.committed)
        match act:
            case "extend":
                after += [Item(number), Item(number + 1)]
            case "set" if chosen:
                after[place] = chosen[0].replaced(number)
            case "delete" if chosen:
                del after[place]
            case "clear":
                after = []

        def change():
            dataset = self.kind.cls(self.path)
            match act:
                case "extend":
                    dataset.extend([self.kind.sample(number), self.kind.sample(number + 1)])
                case "set" if chosen:
                    dataset[place] = self.kind.sample(after[place].number)
                case "delete" if chosen:
                    del dataset[place]
                case "clear":
                    dataset.clear()
                case "compact":
                    dataset.compact()
                case _:
                    dataset.flush()

        killed = killed_at(call, change)
        with mmap_ninja.open(self.path) as dataset:
            found = plain(list(dataset))
        assert found == self.samples(after) or (killed and found == self.samples(self.committed))
        if found == self.samples(after):
            self.committed = after

    @rule()
    def copy(self):
        copied = shutil.copytree(self.path, self.folder / f"copy-{next(self.copies)}")
        with mmap_ninja.open(copied) as dataset:
            self.check(dataset, self.committed)
            dataset.append(self.kind.sample(7))
            self.check(dataset, [*self.committed, Item(7)])
        shutil.rmtree(copied)

    @rule(boot=st.sampled_from([bytes(16), b"another boot it!"]))
    def reboot(self, boot):
        """Commits that were not durable have survived by luck, as the digest shows."""
        known = files.boot_id
        files.boot_id = lambda: boot
        with contextlib.ExitStack() as stack:
            stack.callback(setattr, files, "boot_id", known)
            with mmap_ninja.open(self.path) as dataset:
                self.check(dataset, self.committed)
            for which in range(3):
                self.refresh(which)


def run(kind, folder, examples, steps, phases=tuple(Phase)):
    folders = itertools.count()
    run_state_machine_as_test(
        lambda: Machine(KINDS[kind], make(folder / str(next(folders)))),
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            phases=phases,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )


def make(folder):
    folder.mkdir()
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_random_acts_leave_the_same_as_in_a_list(tmp_path, kind):
    run(kind, tmp_path, examples=8, steps=20)


@pytest.mark.parametrize("broken", ["refresh", "__delitem__", "append"])
def test_broken_act_is_noticed(tmp_path, monkeypatch, broken):
    """A test of the test."""
    monkeypatch.setattr(KINDS["array"].cls, broken, lambda *_: None)

    with pytest.raises((AssertionError, IndexError, ValueError, StaleHandleError)):
        run("array", tmp_path, examples=50, steps=30, phases=[Phase.generate])


@pytest.mark.torture
@pytest.mark.parametrize("kind", KINDS)
def test_many_random_acts_leave_the_same_as_in_a_list(tmp_path, kind):
    run(kind, tmp_path, examples=200, steps=50)
