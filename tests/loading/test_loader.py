"""Epochs in batches: each sample once, in the form that was asked for, and going on exactly where they stopped."""

import copy
import itertools
import json
import pickle
from pathlib import Path

import numpy as np
import pytest

import mmap_ninja as mn
from mmap_ninja import Batches, Buckets, Loader, Shuffle, Weighted

COUNT = 103
SIZES = np.random.default_rng(3).integers(1, 30, COUNT)


@pytest.fixture
def numbers(tmp_path):
    return mn.ArrayMmap.from_ndarray(tmp_path / "numbers", np.arange(COUNT))


@pytest.fixture
def documents(tmp_path):
    return mn.RaggedMmap.from_lists(tmp_path / "documents", [[k] * size for k, size in enumerate(SIZES.tolist())])


def flat(batches):
    return list(itertools.chain.from_iterable(np.asarray(batch).tolist() for batch in batches))


# Every kind of plan, as what makes its loader from a dataset of one number per sample, or of the lengths SIZES.

MAKERS = {
    "in order": lambda samples, **options: Loader(samples, 8 // options.get("world_size", 1), **options),
    "shuffled": lambda samples, **options: Loader(samples, 8 // options.get("world_size", 1), shuffle=True, **options),
    "blocks": lambda samples, **options: Loader(
        samples, 8 // options.get("world_size", 1), shuffle=Shuffle(COUNT, 5, block=10, window=3), **options
    ),
    "listed": lambda samples, **options: Loader(
        samples, 8 // options.get("world_size", 1), shuffle=np.arange(COUNT)[::-1], **options
    ),
    "weighted": lambda samples, **options: Loader(
        samples, 8 // options.get("world_size", 1), shuffle=Weighted(SIZES, 70, seed=1), **options
    ),
    "batches": lambda samples, **options: Loader(samples, plan=Batches(Shuffle(COUNT, 2), 16), **options),
    "buckets": lambda samples, **options: Loader(samples, plan=Buckets(SIZES, batch_size=16, window=3), **options),
    "elements": lambda samples, **options: Loader(
        samples, plan=Buckets(SIZES, max_elements=60, multiple_of=8, window=2, seed=9), **options
    ),
}


@pytest.fixture(params=[(name, threads) for name in MAKERS for threads in (None, 0, 3)], ids=str)
def maker(request):
    name, num_threads = request.param
    return lambda samples, **options: MAKERS[name](samples, num_threads=num_threads, **options)


def test_epochs_have_every_sample_once(numbers, maker):
    loader = maker(numbers)
    for epoch in range(3):
        assert loader.epoch == epoch
        count = len(loader)
        batches = list(loader)
        assert len(batches) == count
        expected = range(COUNT) if len(flat(batches)) == COUNT else set(flat(batches))
        assert sorted(set(flat(batches))) == sorted(expected)
    assert loader.state_dict()["epoch"] == 3


def test_epochs_differ_where_they_are_shuffled(numbers):
    first, second = Loader(numbers, 8, shuffle=True), Loader(numbers, 8, shuffle=True, seed=1)

    epochs = [flat(first), flat(first), flat(second)]

    assert len({tuple(epoch) for epoch in epochs}) == 3
    assert flat(Loader(numbers, 8)) == list(range(COUNT))


def test_the_order_is_that_of_the_plan(numbers):
    order, plan = Shuffle(COUNT, 6), Buckets(SIZES, batch_size=8)

    assert flat(Loader(numbers, 8, shuffle=order)) == order[:].tolist()
    assert [batch.tolist() for batch in Loader(numbers, plan=plan)] == [positions.tolist() for positions in plan]


# Going on


def test_a_state_goes_on_with_the_next_batch(numbers, maker):
    """A bug of others: after a second resume, an epoch began again (Hugging Face datasets 8308)."""
    loader = maker(numbers)
    expected = [[batch.tolist() for batch in loader] for _ in range(3)]
    for stops in [(0, 1), (1, 0), (2, 3), (len(expected[0]), 2), (len(expected[0]) - 1, 1, 1, 2)]:
        found, state = [], None
        for stop in [*stops, None]:
            again = maker(numbers)
            if state is not None:
                again.load_state_dict(json.loads(json.dumps(state)))
            wanted = sum(map(len, expected)) if stop is None else len(found) + stop
            while len(found) < wanted:
                found += [batch.tolist() for batch in itertools.islice(again, wanted - len(found))]
            state = again.state_dict()
        assert found == list(itertools.chain.from_iterable(expected))


def test_a_state_may_be_loaded_after_iter(numbers, maker):
    """A bug of others: the state was dropped without a word (prime-rl 3332)."""
    loader = maker(numbers)
    expected = [batch.tolist() for batch in loader]
    other = maker(numbers)
    iterator = iter(other)
    next(iterator)
    state = other.state_dict()
    next(iterator)

    other.load_state_dict(state)

    with pytest.raises(RuntimeError, match="has ended this iteration"):
        next(iterator)
    assert [batch.tolist() for batch in other] == expected[1:]
    assert len(other) == len(expected)


def test_the_state_around_an_epoch(numbers):
    loader = Loader(numbers, 8, shuffle=True)
    places = [place_of(loader)]
    places += [place_of(loader) for _ in loader]

    assert places == [*((0, 8 * k) for k in range(13)), (1, 0)]
    assert (place_of(loader), loader.epoch) == ((1, 0), 1)


def place_of(loader):
    state = loader.state_dict()
    return state["epoch"], state["position"]


def test_every_iter_is_the_next_epoch(numbers):
    loader = Loader(numbers, 8, shuffle=True)
    next(iter(loader))
    assert (loader.epoch, place_of(loader)) == (0, (0, 8))

    later = flat(loader)

    assert later == flat(Loader(numbers, 8, shuffle=Shuffle(COUNT, 0, 1)))
    assert place_of(loader) == (2, 0)


def test_a_newer_iterator_ends_older_ones(numbers):
    loader = Loader(numbers, 8)
    first = iter(loader)
    next(first)
    second = iter(loader)
    next(second)

    with pytest.raises(RuntimeError, match="a newer iter"):
        next(first)
    loader.set_epoch(7)
    with pytest.raises(RuntimeError, match="set_epoch"):
        next(second)
    ended = iter(loader)
    assert len(list(ended)) == 13
    assert list(ended) == []


def test_set_epoch_keeps_a_loaded_place_of_this_epoch(numbers):
    loader = Loader(numbers, 8, shuffle=True)
    loader.set_epoch(4)
    expected = [batch.tolist() for batch in loader]
    loader.load_state_dict(loader.state_dict() | {"epoch": 4, "position": 16})

    loader.set_epoch(4)
    assert [batch.tolist() for batch in loader] == expected[2:]
    loader.load_state_dict(loader.state_dict() | {"epoch": 3, "position": 16})
    loader.set_epoch(4)
    assert [batch.tolist() for batch in loader] == expected
    loader.set_epoch(4)
    next(iter(loader))
    loader.set_epoch(4)
    assert [batch.tolist() for batch in loader] == expected


def test_a_step_count_is_a_state(numbers):
    loader = Loader(numbers, 8, shuffle=True)
    batches = [batch.tolist() for _ in range(3) for batch in loader]
    steps = 13 * 2 + 5

    loader.load_state_dict(loader.state_dict() | {"epoch": steps // 13, "position": steps % 13 * 8})

    assert [batch.tolist() for batch in loader] == batches[steps:]


@pytest.mark.parametrize("name", [name for name in MAKERS if name not in ("in order", "listed")])
def test_the_seed_of_a_state_is_taken(numbers, name):
    loader, state = MAKERS[name](numbers), MAKERS[name](numbers).state_dict()

    loader.load_state_dict(state | {"seed": 77})

    assert (loader.seed, loader.state_dict()["seed"]) == (77, 77)
    assert flat(loader) != flat(MAKERS[name](numbers))
    loader.load_state_dict(state)
    assert flat(loader) == flat(MAKERS[name](numbers))


def test_a_generator_has_the_seed_of_a_state(numbers):
    def random(batch, rng):
        return rng.random(3)

    batches = [
        flat(Loader(numbers, 50, shuffle=shuffle, seed=77, transform=random, rng=True))
        for shuffle in (False, True, np.arange(COUNT))
    ]

    for shuffle, expected in zip((False, True, np.arange(COUNT)), batches, strict=True):
        loader = Loader(numbers, 50, shuffle=shuffle, transform=random, rng=True)
        loader.load_state_dict(loader.state_dict() | {"seed": 77})
        assert flat(loader) == expected


# Processes


@pytest.mark.parametrize("name", [name for name in MAKERS if name != "weighted"])
@pytest.mark.parametrize("worlds", [(8, 2, 8), (1, 4), (2, 1, 8)])
def test_worlds_change_with_nothing_lost_or_twice(numbers, name, worlds):
    maker, state, found = MAKERS[name], None, []
    for turn, world_size in enumerate(worlds):
        loaders = [maker(numbers, rank=rank, world_size=world_size) for rank in range(world_size)]
        for loader in loaders:
            if state is not None:
                loader.load_state_dict(state)
        steps = zip(*loaders, strict=True)
        for batches in itertools.islice(steps, None if turn == len(worlds) - 1 else 2):
            found += np.stack(batches, axis=1).ravel().tolist()
        states = [loader.state_dict() for loader in loaders]
        assert all(other == states[0] for other in states)
        state = states[0]

    padding = -COUNT % worlds[-1]
    first = maker(numbers)
    start = flat(itertools.islice(iter(first), 1))[:padding]
    assert sorted(found) == sorted([*range(COUNT), *start])
    assert (state["epoch"], state["position"]) == (1, 0)


@pytest.mark.parametrize("count", [1, 2, 7, 8, 9, 15, 16, 17])
@pytest.mark.parametrize("drop_last", [False, True])
def test_ranks_have_equally_many_batches_and_samples(tmp_path, count, drop_last):
    samples, world_size = mn.ArrayMmap.from_ndarray(tmp_path / "few", np.arange(count)), 4
    loaders = [Loader(samples, 2, rank=rank, world_size=world_size, drop_last=drop_last) for rank in range(world_size)]
    if drop_last and count < 8:
        with pytest.raises(ValueError, match="fewer than the 8 of a batch of all processes"):
            iter(loaders[0])
        return

    batches = [list(loader) for loader in loaders]

    shapes = [[len(batch) for batch in of_rank] for of_rank in batches]
    assert shapes == [shapes[0]] * world_size
    assert len(loaders[0]) == len(batches[0])
    dealt = [number for step in zip(*batches, strict=True) for number in np.stack(step, axis=1).ravel().tolist()]
    whole = count // 8 * 8 if drop_last else count
    assert dealt == [*range(whole), *np.resize(np.arange(min(count, 8)), -whole % world_size).tolist()]


def test_another_batch_size_goes_on(numbers):
    loader = Loader(numbers, 8, shuffle=True)
    batches = iter(loader)
    found = flat([next(batches), next(batches)])

    for batch_size in (5, 30):
        state = loader.state_dict()
        loader = Loader(numbers, batch_size, shuffle=True)
        loader.load_state_dict(state)
        batches = iter(loader)
        found += flat([next(batches)])
    found += flat(batches)

    assert found == Shuffle(COUNT)[:].tolist()


def test_drop_last_leaves_out_what_the_current_batch_leaves(numbers):
    loader = Loader(numbers, 10, drop_last=True)
    assert (len(loader), len(list(loader))) == (10, 10)
    loader.load_state_dict(loader.state_dict() | {"epoch": 0, "position": 8})

    assert [len(batch) for batch in loader] == [10] * 9
    assert place_of(loader) == (1, 0)


# Other datasets, plans and versions


def test_a_state_of_something_else_is_refused(numbers, documents, tmp_path):
    state = Loader(numbers, 8, shuffle=True).state_dict()
    again = mn.ArrayMmap.from_ndarray(tmp_path / "again", np.arange(COUNT))

    for other, remedy in [
        (Loader(documents, 8, shuffle=True), "strict=False"),
        (Loader(again, 8, shuffle=True), "strict=False"),
        (Loader(numbers, 8), "the same dataset and plan"),
        (Loader(numbers, 8, shuffle=Shuffle(COUNT, block=4)), "the same dataset and plan"),
        (Loader(numbers, plan=Buckets(SIZES, batch_size=8)), "the same dataset and plan"),
        (Loader(numbers.select(np.arange(COUNT)[::-1]), 8, shuffle=True), "strict=False"),
    ]:
        with pytest.raises(ValueError, match=f"(?s)state: is of .*shuffle of {COUNT}.*{remedy}"):
            other.load_state_dict(state)
    other = Loader(again, 8, shuffle=True)
    other.load_state_dict(state | {"position": 8}, strict=False)
    assert flat(other) == Shuffle(COUNT)[8:].tolist()
    with pytest.raises(ValueError, match="state: is of"):
        Loader(again, 8).load_state_dict(state, strict=False)


def test_a_grown_dataset_is_refused_and_its_old_samples_match(numbers):
    loader = Loader(numbers, 8, shuffle=True)
    batches = iter(loader)
    next(batches)
    state = loader.state_dict()
    numbers.append(7)
    assert loader.state_dict() == state
    assert len(flat(batches)) == COUNT - 8

    grown = Loader(numbers, 8, shuffle=True)
    with pytest.raises(ValueError, match=rf"use dataset.select\(slice\(0, {COUNT}\)\)"):
        grown.load_state_dict(state)
    old = Loader(numbers.select(slice(0, COUNT)), 8, shuffle=True)
    old.load_state_dict(state)
    assert flat(old) == Shuffle(COUNT)[8:].tolist()
    assert len(flat(loader)) == COUNT + 1


def test_an_edit_changes_the_fingerprint(numbers):
    state = Loader(numbers, 8).state_dict()
    numbers[5] = 0

    with pytest.raises(ValueError, match="edits=0.*edits=1"):
        Loader(numbers, 8).load_state_dict(state)


def test_views_pickled_or_not_have_one_fingerprint(numbers, tmp_path):
    train, _ = numbers.split([0.7, 0.3], seed=4)
    records = mn.RecordsMmap.from_columns(tmp_path / "records", {"x": [1, 2], "y": [3, 4]})
    views = [train, numbers.select([3, 1, 4]), numbers.select(slice(5, 50, 3)), mn.concat([numbers, numbers])]
    views += [records["x"], records["y"].select([1, 0]), mn.concat([records, records])["x"]]  # they once had none

    prints = []
    for view in views:
        prints.append(Loader(view, 2).state_dict()["fingerprint"]["dataset"])
        assert Loader(copy.copy(view), 2).state_dict()["fingerprint"]["dataset"] == prints[-1]
    assert len(set(prints)) == len(views)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, "expected one of version 1"),
        ({"position": -1}, "position=-1"),
        ({"position": COUNT + 1}, f"position {COUNT + 1}: the epoch has {COUNT}"),
        ({"epoch": "a"}, "epoch: expected an integer"),
        ({"fingerprint": "abc"}, "expected a fingerprint like"),
    ],
)
def test_bad_states_are_refused_and_change_nothing(numbers, change, message):
    loader = Loader(numbers, 8, shuffle=True)
    next(iter(loader))
    state = loader.state_dict()

    with pytest.raises((ValueError, TypeError), match=message):
        loader.load_state_dict(state | change)
    with pytest.raises(ValueError, match="expected one of version 1"):
        loader.load_state_dict({name: value for name, value in state.items() if name != "seed"})
    assert loader.state_dict() == state


def test_a_position_within_a_bucket_is_refused(numbers):
    loader = Loader(numbers, plan=Buckets(SIZES, batch_size=8))

    with pytest.raises(ValueError, match="position 12: no batch of Buckets.* begins there; .* at 16"):
        loader.load_state_dict(loader.state_dict() | {"position": 12})


# Transforms


def test_transforms_get_batches_and_the_same_generator_again(numbers):
    def noisy(batch, rng):
        return batch + rng.random(len(batch))

    loader = Loader(numbers, 8, shuffle=True, transform=noisy, rng=True)
    epochs = [[batch.tolist() for batch in loader] for _ in range(2)]
    loader.load_state_dict(loader.state_dict() | {"epoch": 0, "position": 24})

    assert [batch.tolist() for batch in loader] == epochs[0][3:]
    assert epochs[0] != epochs[1]
    parts = [[number % 1 for number in batch] for batch in epochs[0]]
    assert len({tuple(part[:7]) for part in parts}) == 13
    ranks = [flat(Loader(numbers, 4, transform=noisy, rng=True, rank=rank, world_size=2))[:4] for rank in range(2)]
    assert [number % 1 for number in ranks[0]] != [number % 1 for number in ranks[1]]


def test_an_error_of_a_transform_names_the_samples(numbers):
    def fail(batch):
        if 20 in batch:
            raise ValueError("no twenty")
        return batch

    loader, found = Loader(numbers, 8, transform=fail), []
    with pytest.raises(ValueError, match=r"no twenty \(transform of the samples \[16, 17, .*\] of epoch 0\)") as caught:
        found.extend(batch.tolist() for batch in loader)

    assert [entry.name for entry in caught.traceback][-1] == "fail"
    assert place_of(loader) == (0, 16)


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda loader: pickle.loads(pickle.dumps(loader))])
@pytest.mark.parametrize("num_threads", [0, 2])
def test_a_copy_in_the_middle_leaves_the_iteration_alone(numbers, copied, num_threads):
    loader = Loader(numbers, 8, shuffle=True, num_threads=num_threads)
    expected = flat(loader)
    loader.set_epoch(0)
    batches = iter(loader)
    begun = flat([next(batches)])

    other = copied(loader)

    assert other.state_dict() == loader.state_dict()
    next(iter(other))
    assert begun + flat(batches) == expected
    assert (loader.epoch, other.epoch) == (1, 1)


def test_an_epoch_may_be_a_number_of_numpy(numbers):
    loader = Loader(numbers, 8, shuffle=True, transform=lambda batch, rng: batch + rng.integers(9), rng=True)

    loader.set_epoch(np.int64(2))

    assert json.loads(json.dumps(loader.state_dict()))["epoch"] == 2
    assert len(flat(loader)) == COUNT


def test_the_seed_of_a_shard_is_in_states(numbers):
    loader = Loader(numbers, 8, shuffle=Shuffle(COUNT, seed=1).shard(1, 2))
    batches = iter(loader)
    next(batches)

    other = Loader(numbers, 8, shuffle=Shuffle(COUNT, seed=2).shard(1, 2))
    other.load_state_dict(loader.state_dict())

    assert flat(other) == flat(batches)


@pytest.mark.parametrize("state", [None, 5, {}, []])
def test_what_is_no_state_is_refused(numbers, state):
    with pytest.raises(ValueError, match="state: expected one of version 1"):
        Loader(numbers, 8).load_state_dict(state)


def test_with_index_tells_which_samples(numbers):
    for positions, batch in Loader(numbers, 8, shuffle=True, with_index=True, transform=lambda batch: -batch):
        np.testing.assert_array_equal(positions, -batch)


# Bad arguments


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda ds: Loader(ds), TypeError, "batch_size: expected the samples in a batch"),
        (lambda ds: Loader(ds, 0), ValueError, "batch_size=0"),
        (lambda ds: Loader(ds, 8, plan=Batches(Shuffle(COUNT), 8)), ValueError, "plan: decides batch_size, shuffle"),
        (lambda ds: Loader(ds, plan=Batches(Shuffle(COUNT), 8), drop_last=True), ValueError, "plan: decides"),
        (lambda ds: Loader(ds, plan=[1, 2]), TypeError, "plan: expected Batches, Buckets or a Packing, got list"),
        (lambda ds: Loader(ds, 8, rank=2, world_size=2), ValueError, "rank=2: expected 0 to 1"),
        (lambda ds: Loader(ds, plan=Batches(Shuffle(COUNT), 9), world_size=2), ValueError, "which 2 processes cannot"),
        (lambda ds: Loader(5, 8), TypeError, "dataset: expected a list of samples, got int"),
        (lambda ds: Loader({"x": ds}, 8), TypeError, "dataset: expected a list of samples, got dict"),
        (lambda ds: Loader(ds.path, 8), TypeError, "expected a dataset, got the path .*pass mmap_ninja.open"),
        (lambda ds: Loader(Path("train"), 8), TypeError, "expected a dataset, got the path 'train'"),
        (lambda ds: Loader(ds, 8, collate="sum"), ValueError, "collate 'sum' is unknown"),
        (lambda ds: Loader(ds, 8, nulls="drop"), ValueError, "nulls 'drop' is unknown"),
        (lambda ds: Loader(ds, 8, pad=0), TypeError, "pad: expected an mmap_ninja.Pad"),
        (lambda ds: Loader(ds, 8, pad=mn.Pad(), collate="jagged"), ValueError, "leave out `pad`"),
        (lambda ds: Loader(ds, 8, transform=5), TypeError, "transform: expected a function, got int"),
        (lambda ds: Loader(ds, 8, rng=True), ValueError, "rng=True: there is no transform"),
        (lambda ds: Loader(ds, 8, shuffle="yes"), TypeError, "order: expected a Shuffle"),
        (lambda ds: Loader(ds, 8, transform=lambda batch: None), TypeError, "expected it to return a batch, got None"),
        (lambda ds: Loader(ds, 8, shuffle=Buckets([1, 2], batch_size=1)), TypeError, "got the plan Buckets"),
        (lambda ds: Loader(ds, 8, shuffle=[5, COUNT]), IndexError, f"position {COUNT} of 2 positions"),
        (
            lambda ds: Loader(ds, 8, shuffle=Shuffle(COUNT + 9)),
            IndexError,
            "make the order for the dataset as it is now",
        ),
        (lambda ds: Loader(ds, plan=Buckets([1, 2], batch_size=1)), ValueError, "was made from 2 lengths"),
        (lambda ds: Loader(ds, 200, drop_last=True), ValueError, "fewer than the 200 of a batch"),
        (lambda ds: Loader(ds.select([]), 8), ValueError, "has no samples"),
        (lambda ds: Loader(ds, 8, columns=["a"]), TypeError, "the samples have no columns"),
    ],
)
def test_bad_arguments_are_refused(numbers, make, error, message):
    with pytest.raises(error, match=message):
        list(make(numbers))
