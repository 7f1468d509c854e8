"""Mixes have each dataset as often as its weight says, go through all of its samples, and are the same everywhere."""

import copy
import inspect
import itertools
import json
import pickle

import numpy as np
import pytest

import mmap_ninja as mn
from mmap_ninja import Loader, mix

SIZES = [100, 37, 9]
WEIGHTS = [0.7, 0.25, 0.05]
STARTS = np.cumsum([0, *SIZES])


@pytest.fixture
def datasets(tmp_path):
    """Of numbers that tell which sample of which dataset they are."""
    return [
        mn.ArrayMmap.from_ndarray(tmp_path / str(k), np.arange(start, start + size))
        for k, (start, size) in enumerate(zip(STARTS, SIZES, strict=False))
    ]


def dataset_of(numbers):
    return np.searchsorted(STARTS, numbers, side="right") - 1


def flat(batches):
    return list(itertools.chain.from_iterable(np.asarray(batch).tolist() for batch in batches))


# The stream


@pytest.mark.parametrize("weights", [WEIGHTS, [1, 1, 1], [1e-3, 5, 1e-2], [3, 1e9, 7]])
def test_every_prefix_has_the_weights(datasets, weights):
    chosen = dataset_of(mix(datasets, weights, length=20_000)[:])

    counts = np.cumsum(np.eye(3)[chosen], axis=0)
    expected = np.arange(1, 20_001)[:, None] * (np.array(weights) / sum(weights))
    assert np.abs(counts - expected).max() < 256
    assert np.abs(counts - expected)[255::256].max() <= 2


def test_a_dataset_goes_through_all_samples_before_any_comes_again(datasets):
    numbers = mix(datasets, WEIGHTS, length=50_000)[:]

    for k, (start, size) in enumerate(zip(STARTS, SIZES, strict=False)):
        own = numbers[dataset_of(numbers) == k]
        epochs = own[: len(own) // size * size].reshape(-1, size)
        np.testing.assert_array_equal(np.sort(epochs), np.broadcast_to(np.arange(start, start + size), epochs.shape))
        assert len({tuple(epoch) for epoch in epochs.tolist()}) == len(epochs)


def test_many_datasets_and_one(datasets):
    many = mix(datasets * 200, np.arange(1, 601), length=30_000)
    assert len(np.unique(many.samples[:])) == sum(SIZES)
    assert sorted(mix(datasets[:1], [5])) == list(range(100))
    assert len(many[:]) == 30_000


def test_places_of_the_datasets_are_chance(datasets):
    for size in (2, 3):
        chosen = dataset_of(mix(datasets[:size], [1] * size, length=256 * 400, seed=4)[:]).reshape(-1, 256)
        counts = np.stack([(chosen == k).sum(axis=0) for k in range(size)])
        assert (((counts - 400 / size) ** 2 / (400 / size)).sum() / (256 * (size - 1))) < 1.3


@pytest.mark.parametrize(("stop", "which"), [("first", min), ("all", max)])
def test_a_mix_ends_where_it_was_asked_to(datasets, stop, which):
    whole = mix(datasets, WEIGHTS, length=5000, seed=3)[:]
    ends = [np.flatnonzero(dataset_of(whole) == k)[size - 1] + 1 for k, size in enumerate(SIZES)]

    ended = mix(datasets, WEIGHTS, seed=3, stop=stop)

    assert len(ended) == which(ends)
    np.testing.assert_array_equal(ended[:], whole[: len(ended)])
    if stop == "first":
        assert len(np.unique(ended[:])) == len(ended)
    else:
        assert len(np.unique(ended[:])) == sum(SIZES)


def test_seeds_are_different_streams(datasets):
    streams = {tuple(mix(datasets, WEIGHTS, seed=seed, length=200)) for seed in [0, 1, 2, 2**64 - 1]}

    assert len(streams) == 4


def test_mixes_are_the_same_on_every_platform(datasets):
    assert mix(datasets, WEIGHTS, length=25)[:].tolist() == GOLDEN
    assert mix(datasets, WEIGHTS, seed=2**64 - 1, length=10**6)[-25:].tolist() == GOLDEN_END
    assert [len(mix(datasets, WEIGHTS, stop=stop)) for stop in ("first", "all")] == GOLDEN_LENGTHS


GOLDEN = [111, 76, 122, 96, 31, 105, 88, 70, 46, 101, 113, 79, 90, 84, 136, 64, 47, 68, 83, 3, 22, 75, 144, 115, 81]
GOLDEN_END = [
    16,
    137,
    123,
    126,
    103,
    130,
    51,
    96,
    58,
    7,
    91,
    65,
    108,
    89,
    5,
    46,
    136,
    18,
    38,
    142,
    120,
    138,
    22,
    60,
    11,
]
GOLDEN_LENGTHS = [136, 174]


# A list


def test_a_mix_is_a_list(datasets):
    mixed = mix(datasets, WEIGHTS)
    numbers = mixed[:].tolist()

    assert list(mixed) == numbers
    assert [mixed[place] for place in range(-len(mixed), len(mixed))] == numbers * 2
    for key in (slice(3, 50, 7), slice(None, None, -1), slice(5, 5), [4, -1, 4], np.arange(20) % 3 * 5):
        expected = np.array(numbers)[key].tolist()
        assert mixed[key].tolist() == mixed.take(key).tolist() == list(mixed.select(key)) == expected
        assert list(mixed.__getitems__(key)) == expected
    assert (mixed.index(numbers[7]), numbers[7] in mixed, mixed.count(numbers[7])) == (7, True, 1)
    assert list(reversed(mixed)) == numbers[::-1]
    for place in (len(mixed), -len(mixed) - 1):
        with pytest.raises(IndexError, match="is out of range for"):
            mixed[place]
    with pytest.raises(IndexError, match="out of range"):
        mixed.take([len(mixed)])


def test_pickles_and_copies_are_equal(datasets):
    mixed = mix(datasets, WEIGHTS, seed=8, stop="all")

    for other in (pickle.loads(pickle.dumps(mixed)), copy.copy(mixed), copy.deepcopy(mixed)):
        assert (repr(other), len(other)) == (repr(mixed), len(mixed))
        np.testing.assert_array_equal(other[:], mixed[:])


def test_records_are_mixed_by_columns(tmp_path):
    records = [
        mn.RecordsMmap.from_generator(tmp_path / name, [{"text": f"{name}{k}", "label": k} for k in range(20)])
        for name in "ab"
    ]
    mixed = mix(records, [1, 2])

    assert mixed["text"][:] == [record["text"] for record in mixed]
    assert mixed[["label"]][3] == {"label": mixed[3]["label"]}
    batch = next(iter(mixed.loader(8, columns=["text"])))
    assert batch == {"text": mixed["text"][:8]}


def test_samples_that_are_appended_later_are_not_in_it(datasets):
    mixed = mix(datasets, WEIGHTS)
    before = mixed[:].tolist()

    datasets[2].append(5)

    assert mixed[:].tolist() == before
    assert flat(Loader(mixed, 8)) == before


def test_huge_datasets_start_at_once(datasets):
    order = mn.mix(datasets, WEIGHTS)._order
    huge = type(order)([10**12, 10**11], np.array([1e-3, 1]), 0, None, "all")

    assert 10**12 < len(huge) < 10**16
    assert len(np.unique(huge[10**10 : 10**10 + 1000])) == 1000
    assert huge[-1] < 10**12  # the dataset that takes longest


# Loading


def test_epochs_go_on_in_the_stream(datasets):
    loader = Loader(mix(datasets, WEIGHTS, seed=1), 16)
    length = len(loader.dataset)

    epochs = [flat(loader) for _ in range(4)]

    assert [len(epoch) for epoch in epochs] == [length] * 4
    assert list(itertools.chain(*epochs)) == mix(datasets, WEIGHTS, seed=1, length=4 * length)[:].tolist()
    loader.set_epoch(2)
    assert flat(loader) == epochs[2]
    loader.set_epoch(2**64 - 1)
    assert len(flat(loader)) == length


@pytest.mark.parametrize("worlds", [(8, 2, 8), (1, 4), (2, 1, 8)])
def test_worlds_change_with_nothing_lost_or_twice(datasets, worlds):
    mixed = mix(datasets, WEIGHTS, length=203)
    expected = mixed[:].tolist()
    state, found = None, []
    for turn, world_size in enumerate(worlds):
        loaders = [mixed.loader(8 // world_size, rank=rank, world_size=world_size) for rank in range(world_size)]
        for loader in loaders:
            if state is not None:
                loader.load_state_dict(json.loads(json.dumps(state)))
        steps = zip(*loaders, strict=True)
        for batches in itertools.islice(steps, None if turn == len(worlds) - 1 else 5):
            found += np.stack(batches, axis=1).ravel().tolist()
        state = loaders[0].state_dict()

    assert found == expected + expected[: -203 % worlds[-1]]
    assert (state["epoch"], state["position"]) == (1, 0)


def test_a_state_goes_on_in_a_later_epoch(datasets):
    loader = mix(datasets, WEIGHTS).loader(7)
    flat(loader)
    batches = iter(loader)
    next(batches)
    state = loader.state_dict()

    again = mix(datasets, WEIGHTS).loader(7)
    again.load_state_dict(state)

    assert (flat(again), again.epoch) == (flat(batches), 2)


def test_a_state_of_another_mix_is_refused(datasets):
    state = mix(datasets, WEIGHTS).loader(8).state_dict()

    for other in [
        mix(datasets, [0.7, 0.2, 0.1]),
        mix(datasets[::-1], WEIGHTS),
        mix(datasets, WEIGHTS, stop="all"),
        mix(datasets, WEIGHTS, length=90),
        mn.concat(datasets),
    ]:
        with pytest.raises(ValueError, match=r"(?s)state: is of .*mix of \[100, 37, 9\] samples by \[0.7, "):
            other.loader(8).load_state_dict(state)
    other = mix(datasets, WEIGHTS, seed=5).loader(8)
    other.load_state_dict(state)
    assert flat(other) == list(mix(datasets, WEIGHTS))
    datasets[0].append(5)
    with pytest.raises(ValueError, match=r"if its datasets have grown, join dataset.select\(slice\(0, n\)\) of each"):
        mix(datasets, WEIGHTS).loader(8).load_state_dict(state)
    old = mix([datasets[0].select(slice(0, 100)), *datasets[1:]], WEIGHTS).loader(8)
    old.load_state_dict(state)


def test_indices_are_positions_in_all_samples(datasets):
    mixed = mix(datasets, WEIGHTS)
    for indices, batch in mixed.loader(16, with_index=True):
        np.testing.assert_array_equal(mixed.samples.take(indices), batch)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda of: mix(of, [1, 2]), ValueError, "expected one for each of 3 datasets, got 2"),
        (lambda of: mix(of, [1, 0, 2]), ValueError, "expected numbers above 0, found 0 at 1; leave out .*1$"),
        (lambda of: mix(of, [1, -1, 2]), ValueError, "of at least 0, found -1.0 at 1"),
        (lambda of: mix(of, "abc"), TypeError, "weights: expected one number each"),
        (lambda of: mix(of, WEIGHTS, stop="last"), ValueError, "stop 'last' is unknown"),
        (lambda of: mix(of, WEIGHTS, length=0), ValueError, "length=0: expected 1"),
        (lambda of: mix(of, WEIGHTS, seed=-1), ValueError, "seed=-1: expected 0"),
        (lambda of: mix([], []), ValueError, "expected at least one dataset, got none"),
        (lambda of: mix(of[0], [1]), TypeError, "expected several datasets, got one"),
        (lambda of: mix([of[0], of[1].select([])], [1, 1]), ValueError, "1: mix: dataset 1 has no samples; leave it"),
        (lambda of: mix([of[0], mix(of, WEIGHTS)], [1, 1]), TypeError, r"got a mix; .* mix.select\(slice\(None\)\)"),
        (lambda of: mix([of[0], [1, 2]], [1, 1]), TypeError, "concat: expected datasets, got list"),
        (lambda of: mix(of, [1e-300, 1, 1], stop="all"), ValueError, "so little weight that .*; give it more, or pass"),
        (lambda of: Loader(mix(of, WEIGHTS), 8, shuffle=True), ValueError, "a mix is shuffled already.*leave out"),
        (
            lambda of: Loader(mix(of, WEIGHTS), plan=mn.Batches(mn.Shuffle(5), 2)),
            ValueError,
            r"load mix.select\(slice\(None\)\)",
        ),
    ],
)
def test_bad_arguments_are_refused(datasets, make, error, message):
    with pytest.raises(error, match=message):
        make(datasets)


def test_kinds_are_not_mixed(datasets, tmp_path):
    texts = mn.StringsMmap.from_strings(tmp_path / "texts", ["a"])

    with pytest.raises(TypeError, match="concat: expected ArrayMmap as in .*, got StringsMmap"):
        mix([datasets[0], texts], [1, 1])


# What has a loader


def test_everything_with_samples_has_a_loader(datasets, tmp_path):
    rows = mn.RaggedMmap.from_lists(tmp_path / "rows", [[1, 2], [3, 4, 5]])
    view = datasets[0].select(slice(10))
    everything = [datasets[0], view, mn.concat(datasets), rows.windows(2), view.map(int), mn.Wrapped([1, 2, 3], int)]

    for samples in everything:
        expected = [np.asarray(batch).tolist() for batch in Loader(samples, 2, shuffle=True, seed=3)]
        loader = samples.loader(2, shuffle=True, seed=3)
        assert (type(loader), loader.dataset) == (Loader, samples)
        assert [np.asarray(batch).tolist() for batch in loader] == expected


def test_a_loader_gets_all_arguments():
    of_class, of_method = (inspect.signature(of).parameters for of in (Loader, mn.StringsMmap.loader))
    given = {}

    class Recording:
        def __init__(self, dataset, batch_size, **options):
            given.update(options, batch_size=batch_size)

    names = [name for name in of_class if name != "dataset"]
    assert [name for name in of_method if name != "self"] == names
    assert all(of_method[name].default == of_class[name].default for name in names)
    values = {name: object() for name in names}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mn, "Loader", Recording)
        mn.Wrapped([1], int).loader(**values)
    assert given == values
