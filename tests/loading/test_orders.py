"""Orders have each position once, are the same everywhere, and look like chance."""

import copy
import itertools
import pickle
import threading

import numpy as np
import pytest

from mmap_ninja import Shuffle, Weighted, _kernel

NEAR_POWERS = sorted({2**k + d for k in range(27) for d in (-1, 0, 1)} - {0})
LARGE = 2**22  # sizes beyond it take a second each


def network(size, key):
    """All numbers of the Feistel network itself, also where a Shuffle would not use it."""
    return _kernel.Permutation(size, key, 0).at(0, 1, size)


def is_permutation(numbers):
    found = np.zeros(len(numbers), bool)
    found[numbers] = True
    return found.all()


def surprise(counts, expected):
    """How many standard deviations chi-squared is off, by Wilson and Hilferty's approximation (PNAS 17, 1931)."""
    counts = np.asarray(counts, float).ravel()
    degrees = len(counts) - 1
    chi_squared = ((counts - expected) ** 2 / expected).sum()
    return ((chi_squared / degrees) ** (1 / 3) - (1 - 2 / (9 * degrees))) / (2 / (9 * degrees)) ** 0.5


# Permutations


@pytest.mark.parametrize("epoch", [0, 1])
def test_every_small_size_is_a_permutation(epoch):
    for size in range(1, 2001):
        assert is_permutation(Shuffle(size, seed=size, epoch=epoch)[:]), size
        assert is_permutation(network(size, size + epoch)), size


@pytest.mark.parametrize(
    "size", [pytest.param(size, marks=[pytest.mark.torture] * (size > LARGE)) for size in NEAR_POWERS]
)
def test_sizes_near_powers_of_two_are_permutations(size):
    """A bug of a peer: 65,537 gives one number twice (Grain 0.2.18)."""
    assert is_permutation(Shuffle(size, seed=3)[:])
    assert is_permutation(network(size, 3))


@pytest.mark.parametrize(("block", "window"), [(1, 1), (1, 9), (7, 3), (64, None), (1000, 4), (5000, 2)])
def test_blocks_are_permutations(block, window):
    for size in (1, 2, 63, 64, 65, 1000, 4999, 5000):
        assert is_permutation(Shuffle(size, seed=size, block=block, window=window)[:])


def test_no_positions_are_an_empty_order():
    for order in (Shuffle(0), Shuffle(0, block=4), Shuffle(0).shard(1, 2), Weighted([1], size=0)):
        assert (len(order), list(order), order[:].dtype, len(order[::-1])) == (0, [], np.int64, 0)


# Chance


@pytest.mark.parametrize("size", [3, 4, 5])
def test_all_permutations_of_few_positions_are_equally_likely(size):
    trials = 24_000
    places = {permutation: k for k, permutation in enumerate(itertools.permutations(range(size)))}

    found = [places[tuple(Shuffle(size, seed=seed, epoch=seed % 7)[:].tolist())] for seed in range(trials)]

    assert abs(surprise(np.bincount(found, minlength=len(places)), trials / len(places))) < 4


def test_every_position_is_as_likely_at_every_place():
    size, trials = 1000, 4000
    for read in (lambda seed: Shuffle(size, seed)[:], lambda seed: network(size, seed)):
        counts = np.zeros((size, size))
        for seed in range(trials):
            counts[np.arange(size), read(seed)] += 1
        assert abs(surprise(counts, trials / size)) < 4


@pytest.mark.parametrize("block", [None, 3000])
def test_neighbours_are_like_those_of_numpy(block):
    """A peer's order has a lag-1 correlation of 0.09, and a step that comes 49 times (Grain 0.2.18)."""
    size = 60_000
    for seed in range(3):
        orders = [Shuffle(size, seed, block=block, window=20)[:]] if block else [Shuffle(size, seed)[:]]
        orders += [network(size, seed)]
        for order in orders:
            assert abs(np.corrcoef(order[1:], order[:-1])[0, 1]) < 4 / size**0.5
            assert np.unique(np.diff(order), return_counts=True)[1].max() <= 9


def test_epochs_and_seeds_do_not_alias():
    keys = itertools.product([0, 1, 2, 2**64 - 1], [0, 1, 2, 2**64 - 1])

    orders = [tuple(Shuffle(100, seed, epoch)[:].tolist()) for seed, epoch in keys]

    assert len(set(orders)) == 16


def test_blocks_stay_together():
    order = Shuffle(10_000, seed=1, block=100, window=5)[:]

    for window in order.reshape(-1, 500):
        assert len(np.unique(window // 100)) == 5
        assert not np.array_equal(np.sort(window), window)
    assert not np.array_equal(np.unique(order[:500] // 100), np.arange(5))


def test_weights_decide_how_often():
    weights = np.array([1, 0, 2.5, 1e-3, 6])
    draws = Weighted(weights, size=200_000, seed=5)[:]

    counts = np.bincount(draws, minlength=5)

    assert counts[1] == 0
    expected = (weights / weights.sum() * len(draws))[weights > 0]
    assert ((counts[weights > 0] - expected) ** 2 / expected).sum() < 20


@pytest.mark.parametrize("weights", [[5], [1e308, 1e308, 1e-308], [5e-324, 0], np.full(1000, 0.1), [0.1] * 9 + [0.7]])
def test_extreme_weights_are_drawn(weights):
    draws = Weighted(weights, size=20_000)[:]

    assert np.asarray(weights)[draws].min() > 0
    likely = np.flatnonzero(np.asarray(weights) / np.max(weights) > 0.01)
    assert set(likely) <= set(draws.tolist())


# The same everywhere

GOLDEN = {
    "Shuffle(10, seed=11, epoch=2)": [0, 2, 5, 1, 4, 7, 8, 6, 3, 9],
    "Shuffle(1000, seed=1001, epoch=2)": [451, 339, 146, 602, 349, 498, 555, 608, 858, 759],
    "Shuffle(1048576, seed=1048577, epoch=2)": [
        764164,
        665154,
        881932,
        289372,
        968730,
        261158,
        358271,
        636100,
        946187,
        429866,
    ],
    "Shuffle(1048577, seed=1048578, epoch=2)": [
        193791,
        670972,
        376377,
        687429,
        1002436,
        612,
        632794,
        693666,
        320120,
        974866,
    ],
    "Shuffle(1000000000, seed=1000000001, epoch=2)": [
        542779586,
        709586905,
        915799615,
        724847085,
        67683894,
        208525736,
        967739390,
        151580655,
        47765528,
        240636044,
    ],
    "Shuffle(1000000000000, seed=1000000000001, epoch=2)": [
        199502978389,
        778308431381,
        619885337900,
        228142352655,
        394616317087,
        130962347120,
        129903169868,
        983737094232,
        935877976202,
        710863643191,
    ],
    "Shuffle(4611686018427387904, seed=4611686018427387905, epoch=2)": [
        1399957854767946923,
        1893706259898763402,
        4328485782366636458,
        4076475342264344386,
        2797767921949817093,
        1745435561725021217,
        3532598317206144289,
        1824345548847590986,
        1709129107377737499,
        4204551041882642579,
    ],
    "Shuffle(10000, seed=3, epoch=0, block=64, window=8)": [2328, 9587, 8311, 9572, 8256, 2060, 5657, 5310, 9541, 2319],
    "Shuffle(10000000000, seed=18446744073709551615, epoch=0, block=1000)": [
        1835289336,
        9486156152,
        7749239383,
        2598240405,
        2598240836,
        6817970217,
        653090449,
        8396234958,
        9486156302,
        3419918732,
    ],
    "Weighted(4 weights, size=100, seed=9, epoch=0)": [2, 2, 2, 2, 3, 2, 2, 2, 2, 2],
}


def test_orders_are_the_same_on_every_platform():
    orders = {repr(order): order[:10].tolist() for order in golden_orders()}

    assert orders == GOLDEN


def golden_orders():
    shuffles = [Shuffle(n, seed=n + 1, epoch=2) for n in (10, 1000, 2**20, 2**20 + 1, 10**9, 10**12, 2**62)]
    blocks = [Shuffle(10**4, seed=3, block=64, window=8), Shuffle(10**10, seed=2**64 - 1, block=1000)]
    return [*shuffles, *blocks, Weighted([0.5, 1, 7, 0.25], size=100, seed=9)]


# A sequence


ORDERS = [
    Shuffle(100, 4),
    Shuffle(100, 4, block=7, window=3),
    Shuffle(100, 4).shard(1, 3),
    Shuffle(100, 4, block=7).shard(2, 3),
    Weighted(np.arange(30), size=100, seed=2),
    Weighted(np.arange(30), size=100, seed=2).shard(0, 7),
]


@pytest.mark.parametrize("order", ORDERS, ids=repr)
def test_slices_and_indices_are_those_of_a_list(order):
    numbers = list(order)

    bounds = [None, 0, 1, 5, len(numbers) - 1, len(numbers), len(numbers) + 9, -1, -7, -len(numbers) - 9]
    for start, stop, step in itertools.product(bounds, bounds, [None, 1, 2, 13, -1, -4, 2**70, -(2**70)]):
        part = order[start:stop:step]
        assert (part.dtype, part.tolist()) == (np.int64, numbers[start:stop:step])
    assert [order[place] for place in range(-len(numbers), len(numbers))] == numbers * 2
    np.testing.assert_array_equal(order, numbers)
    assert (order[np.int64(3)], type(order[3]), list(reversed(order))) == (numbers[3], int, numbers[::-1])
    for place in (len(numbers), -len(numbers) - 1):
        with pytest.raises(IndexError, match=f"index {place} is out of range"):
            order[place]


@pytest.mark.parametrize("order", ORDERS, ids=repr)
def test_pickles_and_copies_are_equal_and_go_to_epochs_by_themselves(order):
    numbers = order[:]
    for other in (pickle.loads(pickle.dumps(order)), copy.copy(order), copy.deepcopy(order)):
        assert (repr(other), other.epoch) == (repr(order), order.epoch)
        np.testing.assert_array_equal(other[:], numbers)
        other.set_epoch(1)
        assert (order.epoch, other.epoch) == (0, 1)
        assert not np.array_equal(other[:], numbers)
        np.testing.assert_array_equal(order[:], numbers)


@pytest.mark.parametrize("options", [{}, {"block": 10**6, "window": 10**3}])
def test_a_huge_order_is_small_and_starts_at_once(options):
    order = Shuffle(10**12, seed=2**64 - 1, epoch=10**6, **options)

    assert len(pickle.dumps(order)) < 200
    assert len(set(order[10**11 : 10**11 + 1000].tolist())) == 1000
    assert 0 <= order[-1] < 10**12


def test_an_iterator_keeps_its_epoch():
    for order in (Shuffle(10_000), Shuffle(10_000).shard(0, 2), Weighted(np.ones(9), 10_000)):
        expected = order[:].tolist()
        iterator = iter(order)
        first = next(iterator)
        order.set_epoch(1)
        assert [first, *iterator] == expected


def test_threads_read_the_epoch_that_they_set():
    order = Shuffle(50_000)
    expected = {tuple(Shuffle(50_000, epoch=epoch)[:50].tolist()) for epoch in range(4)}
    found = set()

    def read(epoch):
        for _ in range(50):
            order.set_epoch(epoch)
            found.add(tuple(order[:50].tolist()))

    threads = [threading.Thread(target=read, args=[epoch]) for epoch in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert found <= expected


# Processes


@pytest.mark.parametrize("size", [1, 2, 7, 8, 9, 1000])
@pytest.mark.parametrize("world_size", [1, 2, 3, 8, 64])
def test_shards_have_each_position_and_equal_lengths(size, world_size):
    order = Shuffle(size, seed=1)
    total = -(-size // world_size) * world_size

    shards = [order.shard(rank, world_size)[:] for rank in range(world_size)]

    dealt = np.stack(shards, axis=1).ravel()
    np.testing.assert_array_equal(dealt, np.resize(order[:], total))


def test_the_epoch_of_a_shard_is_its_own():
    order = Shuffle(100)
    shard = order.shard(1, 4)
    shard.set_epoch(3)

    assert (order.epoch, shard.epoch) == (0, 3)
    np.testing.assert_array_equal(shard[:], Shuffle(100, epoch=3)[1::4])


def test_orders_are_samplers_of_pytorch():
    torch = pytest.importorskip("torch")
    order = Shuffle(20, seed=1)

    loader = torch.utils.data.DataLoader(range(20), batch_size=8, sampler=order)

    assert len(loader) == 3
    assert torch.cat(list(loader)).tolist() == list(order)
    order.set_epoch(1)
    assert torch.cat(list(loader)).tolist() == list(Shuffle(20, seed=1, epoch=1))


# Bad arguments


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Shuffle(-1), ValueError, "n=-1: expected 0 to"),
        (lambda: Shuffle(2**62 + 1), ValueError, "expected 0 to 4611686018427387904"),
        (lambda: Shuffle(["a", "b"]), TypeError, "n: expected a number of samples, got list; give len"),
        (lambda: Shuffle(1.5), TypeError, "n: expected a number of samples, got float"),
        (lambda: Shuffle(5, seed=-1), ValueError, "seed=-1: expected 0 to 18446744073709551615"),
        (lambda: Shuffle(5, seed="a"), TypeError, "seed: expected an integer, got 'a'"),
        (lambda: Shuffle(5, epoch=2**64), ValueError, "epoch=18446744073709551616"),
        (lambda: Shuffle(5).set_epoch(-1), ValueError, "epoch=-1"),
        (lambda: Shuffle(5, block=0), ValueError, "block=0: expected 1"),
        (lambda: Shuffle(5, block=2, window=0), ValueError, "window=0: expected 1"),
        (lambda: Shuffle(5, window=2), ValueError, "window=2: expected `block`, too"),
        (lambda: Shuffle(5).shard(2, 2), ValueError, "rank=2: expected 0 to 1"),
        (lambda: Shuffle(5).shard(0, 0), ValueError, "world_size=0: expected 1"),
        (lambda: Shuffle(5)["a"], TypeError, "cannot be interpreted as an integer"),
        (lambda: Weighted([]), ValueError, "expected a weight above 0, found none among 0"),
        (lambda: Weighted([0, 0]), ValueError, "expected a weight above 0, found none among 2"),
        (lambda: Weighted([1, -2]), ValueError, "of at least 0, found -2.0 at 1"),
        (lambda: Weighted([1, np.nan]), ValueError, "found nan at 1"),
        (lambda: Weighted([1, np.inf]), ValueError, "found inf at 1"),
        (lambda: Weighted([[1, 2]]), TypeError, "got int64 of shape"),
        (lambda: Weighted(["a"]), TypeError, "expected one number each"),
        (lambda: Weighted({"a": 1}), TypeError, "expected one number each"),
        (lambda: Weighted([1], size=-1), ValueError, "size=-1"),
    ],
)
def test_bad_arguments_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()
