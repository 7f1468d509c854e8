"""Any plan, stopped anywhere, goes on with exactly what is left, whatever the number of processes and batch sizes."""

import copy
import itertools
import json
import pickle

import numpy as np
import pytest

import mmap_ninja as mn
from mmap_ninja import Buckets, Loader, Packing, Shuffle

COUNT = 423
SIZES = np.random.default_rng(8).integers(1, 40, COUNT)
LENGTH = 48


@pytest.fixture
def documents(tmp_path):
    """Each has its number as every element."""
    return mn.RaggedMmap.from_lists(
        tmp_path / "documents", [[1 + k] * size for k, size in enumerate(SIZES.tolist())], dtype="i4"
    )


@pytest.fixture
def numbers(tmp_path):
    return mn.ArrayMmap.from_ndarray(tmp_path / "numbers", np.arange(COUNT))


# What makes the loader of a rank over documents, for batches of so many samples, or rows, of all ranks together.
PLANS = {
    "fixed": lambda samples, size, **rank: Loader(samples, size // rank.get("world_size", 1), shuffle=True, **rank),
    "blocks": lambda samples, size, **rank: Loader(
        samples, size // rank.get("world_size", 1), shuffle=Shuffle(COUNT, 5, block=16, window=4), **rank
    ),
    "packing": lambda samples, size, **rank: Loader(
        samples, plan=Packing(SIZES, LENGTH, batch_size=size, seed=3), **rank
    ),
    "packing, cut": lambda samples, size, **rank: Loader(
        samples, plan=Packing(SIZES, 16, batch_size=size, seed=3), **rank
    ),
    "buckets": lambda samples, size, **rank: Loader(
        samples, plan=Buckets(SIZES, batch_size=16, window=3, seed=3), **rank
    ),
    "buckets of elements": lambda samples, size, **rank: Loader(
        samples, plan=Buckets(SIZES, max_elements=80, multiple_of=8, window=2, seed=3), **rank
    ),
}


def units(batch):
    """The samples of a batch, or its rows."""
    return [
        tuple(row) for row in (batch["tokens"].tolist() if isinstance(batch, dict) else map(np.ndarray.tolist, batch))
    ]


def dealt(loaders, steps=None):
    """What all ranks together get in some steps, in the order before it was dealt."""
    found = []
    for batches in itertools.islice(zip(*loaders, strict=True), steps):
        found += itertools.chain(*zip(*map(units, batches), strict=True))
    return found


def world(name, documents, size, world_size, state=None):
    loaders = [PLANS[name](documents, size, rank=rank, world_size=world_size) for rank in range(world_size)]
    for loader in loaders:
        if state is not None:
            loader.load_state_dict(json.loads(json.dumps(state)))
    return loaders


@pytest.mark.parametrize("name", PLANS)
@pytest.mark.parametrize("worlds", [(8, 2, 8), (1, 8, 4, 1), (2, 8)])
def test_worlds_change_with_nothing_lost_or_twice(documents, name, worlds):
    """Bugs of others: ranks that began anew, or skipped what other ranks had seen, after the world had changed."""
    expected = dealt(world(name, documents, 16, 1))
    state, found = None, []
    for turn, world_size in enumerate(worlds):
        loaders = world(name, documents, 16, world_size, state)
        found += dealt(loaders, None if turn == len(worlds) - 1 else 2)
        states = [loader.state_dict() for loader in loaders]
        assert all(other == states[0] for other in states)
        state = states[0]

    # Where the last batch does not divide, the first ones of the epoch fill it up.
    assert found == expected + expected[: -len(expected) % worlds[-1]]
    assert (state["epoch"], state["position"]) == (1, 0)


@pytest.mark.parametrize("name", ["fixed", "blocks", "packing", "packing, cut"])
def test_other_batch_sizes_go_on(documents, name):
    expected = dealt(world(name, documents, 16, 1))
    state, found = None, []
    for size, world_size in [(16, 2), (8, 1), (24, 8), (2, 2)]:
        loaders = world(name, documents, size, world_size, state)
        found += dealt(loaders, 2 if size > 2 else None)
        state = loaders[0].state_dict()

    assert found == expected + expected[: len(expected) % 2]


@pytest.mark.parametrize("name", PLANS)
def test_a_state_of_any_batch_goes_on(documents, name):
    loader = PLANS[name](documents, 16)
    states, batches = [loader.state_dict()], []
    for batch in loader:
        batches.append(units(batch))
        states.append(loader.state_dict())

    for k, state in enumerate(states[:-1]):
        for _ in range(2):  # a state of a resumed loader is the same state
            again = PLANS[name](documents, 16)
            again.load_state_dict(state)
            assert again.state_dict() == state
            assert len(again) == len(batches)
            assert [units(batch) for batch in again] == batches[k:]
    assert (states[-1]["epoch"], states[-1]["position"]) == (1, 0)


@pytest.mark.parametrize("name", PLANS)
def test_a_state_of_another_plan_is_refused(documents, name):
    state = PLANS[name](documents, 16).state_dict()

    for other in set(PLANS) - {name}:
        loader = PLANS[other](documents, 16)
        for strict in (True, False):
            with pytest.raises(ValueError, match="state: is of .*; load it with the same dataset and plan"):
                loader.load_state_dict(state, strict)


@pytest.mark.parametrize("num_threads", [0, 3])
@pytest.mark.parametrize("name", ["fixed", "buckets"])
def test_random_transforms_go_on_to_the_last_bit(documents, name, num_threads):
    def noisy(batch, rng):
        return [sample + rng.standard_normal(len(sample)) for sample in batch]

    def ranks(state=None):
        loaders = world(name, documents, 16, 2, state)
        for loader in loaders:
            loader._transform, loader._has_rng, loader.num_threads = noisy, True, num_threads
        return loaders

    loaders = ranks()
    dealt(loaders)  # the second epoch
    iterators = list(map(iter, loaders))
    for batches in iterators:
        next(batches), next(batches)
    state = loaders[0].state_dict()
    expected = [[sample.tobytes() for batch in batches for sample in batch] for batches in iterators]

    found = [[sample.tobytes() for batch in loader for sample in batch] for loader in ranks(state)]

    assert found == expected
    assert found[0] != found[1]


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda loader: pickle.loads(pickle.dumps(loader))])
def test_copies_keep_the_samples_of_their_epoch(numbers, copied):
    """A copy of a loader with a state, or in the middle of an epoch, once saw what had been appended since."""
    loader = Loader(numbers, 8, shuffle=True)
    batches = iter(loader)
    next(batches)
    state = loader.state_dict()
    loaded = Loader(numbers, 8, shuffle=True)
    loaded.load_state_dict(state)

    numbers.append(COUNT)

    assert copied(loader).state_dict() == state
    other = copied(loaded)
    assert other.state_dict() == state
    assert np.concatenate(list(other)).tolist() == Shuffle(COUNT)[8:].tolist()
    assert len(np.concatenate(list(other))) == COUNT + 1


def test_epochs_begin_again_after_the_last_number(numbers):
    """The state after epoch 2^64 - 1 once could not be loaded."""
    loader = Loader(numbers, 8, shuffle=True)
    loader.set_epoch(2**64 - 1)
    assert np.concatenate(list(loader)).tolist() == Shuffle(COUNT, epoch=2**64 - 1)[:].tolist()

    state = json.loads(json.dumps(loader.state_dict()))
    again = Loader(numbers, 8, shuffle=True)
    again.load_state_dict(state)

    assert state["epoch"] == 0
    assert np.concatenate(list(again)).tolist() == Shuffle(COUNT)[:].tolist()


def test_a_seed_of_a_state_packs_once(documents, monkeypatch):
    """Each of several copies once packed all documents anew."""
    calls = []
    pack = mn._kernel.PackedRows
    monkeypatch.setattr("mmap_ninja._kernel.PackedRows", lambda *arguments: calls.append(0) or pack(*arguments))
    loader = PLANS["packing"](documents, 16)
    state = loader.state_dict() | {"position": 16}

    for seed in (3, 4):
        calls.clear()
        loader.load_state_dict(state | {"seed": seed})
        assert len(list(loader)) == len(loader) - 1
        loader.load_state_dict(loader.state_dict())
        assert len(calls) == 1


def test_buckets_are_counted_once_for_all_copies(documents, monkeypatch):
    """Every `len`, state and iteration once went through all lengths."""
    loader = PLANS["buckets of elements"](documents, 16)
    count = len(loader)
    with monkeypatch.context() as patch:
        patch.setattr(Buckets, "_batches_in", lambda *_: pytest.fail("counted again"))
        assert len(loader) == count
        loader.load_state_dict(loader.state_dict())
        assert len(list(loader)) == count
    assert loader.epoch == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epoch": 1.5}, "state: epoch: expected an integer, got 1.5"),
        ({"epoch": 2**64}, "state: epoch=18446744073709551616: expected 0 to"),
        ({"position": "8"}, "state: position: expected an integer, got '8'"),
        ({"seed": None}, "state: seed: expected an integer, got None"),
        ({"world_size": 0}, "state: world_size=0: expected 1 to"),
        ({"batch_size": [8]}, r"state: batch_size: expected an integer, got \[8\]"),
        ({"version": [1]}, "state: expected one of version 1"),
        ({"fingerprint": None}, "state: expected a fingerprint like"),
        ({"fingerprint": {"dataset": "a", "samples": "103", "plan": "b"}}, "state: expected a fingerprint like"),
        ({"fingerprint": {"dataset": 5, "samples": 103, "plan": "b"}}, "state: expected a fingerprint like"),
    ],
)
def test_states_with_wrong_values_are_refused(numbers, change, message):
    loader = Loader(numbers, 8, shuffle=True)
    state = loader.state_dict()

    with pytest.raises((ValueError, TypeError), match=message):
        loader.load_state_dict(state | change)
    assert loader.state_dict() == state
