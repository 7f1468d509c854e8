"""The loader's batches are made in the memory of earlier ones, and nobody can see it."""

import gc
import os
import random
import threading

import numpy as np
import pytest
from tests.support.memory import address

import mmap_ninja as mn
from mmap_ninja import Loader, _kernel

COUNT = 400


@pytest.fixture
def images(tmp_path):
    """Batches of 20 take 1.5 MiB."""
    values = (np.full((160, 160, 3), k % 100, np.int8) for k in range(COUNT))
    return mn.ArrayMmap.from_generator(tmp_path / "images", values)


@pytest.fixture(autouse=True)
def nothing_is_kept_before_and_after():
    gc.collect()
    assert _kernel.kept_bytes() == 0
    yield
    gc.collect()
    assert _kernel.kept_bytes() == 0


@pytest.mark.parametrize("num_threads", [0, 2])
def test_an_epoch_needs_the_memory_of_few_batches(images, num_threads):
    places = {address(batch) for batch in Loader(images, 20, num_threads=num_threads, prefetch=2)}

    # The one in use, the one before, and those that are made ahead.
    assert len(places) <= 2 + 2 * (num_threads > 0) + num_threads


@pytest.mark.parametrize("num_threads", [0, 3])
def test_batches_that_live_are_nobody_elses(images, num_threads):
    expected = images.take(range(COUNT))
    loader = Loader(images, 20, num_threads=num_threads)

    kept, batches = [], iter(loader)
    for k, batch in enumerate(batches):
        if k % 3 == 0:
            kept.append((k, batch))
        elif k % 3 == 1:
            kept.append((k, batch[2:5]))  # a view is enough
        batch[5:] += 1

    for k, batch in kept:
        first = k * 20 + (2 if len(batch) == 3 else 0)
        right = expected[first : first + len(batch)].copy()
        right[5:] += 1
        assert np.array_equal(batch, right)


@pytest.mark.parametrize("end", ["break", "close", "newer", "error", "last"])
def test_the_memory_goes_back_when_the_iteration_ends(images, end):
    def fail(batch):
        if end == "error" and batch[0, 0, 0, 0] != images[0][0, 0, 0]:
            raise OSError("no more")
        return batch

    loader = Loader(images, 20, transform=fail, num_threads=0)
    batches = iter(loader)
    next(batches)
    assert _kernel.kept_bytes() > 0
    if end == "break":
        del batches
    elif end == "close":
        loader.close()
    elif end == "newer":
        batches = iter(loader)
    elif end == "last":
        assert len(list(batches)) == 19
    else:
        with pytest.raises(OSError, match="no more"):
            next(batches)
        del batches
    gc.collect()

    assert _kernel.kept_bytes() == 0


def test_padded_batches_of_other_sizes_take_few_pieces_of_memory(tmp_path):
    lengths = np.random.default_rng(0).integers(3000, 4000, 400)
    dataset = mn.RaggedMmap.from_generator(tmp_path / "ds", (np.full((n, 10), n, np.float32) for n in lengths))

    places = [address(batch) for batch, _ in Loader(dataset, 10, pad=mn.Pad(), num_threads=0)]

    assert len(set(places)) <= len(places) // 4


def test_threads_that_take_and_drop_batches_get_what_they_asked_for(images):
    expected = images.take(range(COUNT))
    errors = []

    def use(seed):
        numbers = random.Random(seed)
        kept = []
        for _ in range(60):
            recycler = _kernel.Recycler()
            chosen = [numbers.randrange(COUNT) for _ in range(numbers.randrange(14, 40))]
            kept.append((chosen, images.take(chosen)))
            if len(kept) > 2:
                chosen, batch = kept.pop(numbers.randrange(3))
                if not np.array_equal(batch, expected[chosen]):
                    errors.append(chosen)
                batch[:] = seed  # whoever gets the memory must not see it
            del recycler

    threads = [threading.Thread(target=use, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert errors == []


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_child_that_is_forked_in_the_middle_goes_on(images):
    expected = images.take(range(COUNT))
    loader = Loader(images, 20, num_threads=2, prefetch=4)
    batches = iter(loader)
    first = next(batches)
    is_over = threading.Event()

    def churn():
        while not is_over.is_set():
            images.take(range(30))

    thread = threading.Thread(target=churn)
    thread.start()
    for _ in range(5):
        child = os.fork()
        if child == 0:
            rest = np.concatenate([first, *batches])
            again = np.concatenate(list(loader))
            good = np.array_equal(rest, expected) and np.array_equal(again, expected)
            os._exit(0 if good else 1)
        assert os.waitpid(child, 0)[1] == 0
    is_over.set()
    thread.join()

    assert np.array_equal(np.concatenate([first, *batches]), expected)
