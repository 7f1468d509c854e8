"""Datasets without samples, and samples without bytes."""

import pytest

import mmap_ninja
from support.kinds import KINDS
from support.reads import check_is


@pytest.mark.parametrize("kind", KINDS)
def test_dataset_without_samples_is_an_empty_list(tmp_path, kind):
    stored, sample = KINDS[kind], KINDS[kind].sample(3)
    dataset = stored.store(tmp_path / "ds", [])

    check_is(dataset, [])
    assert len(dataset[5:]) == 0
    assert (dataset.nbytes, dataset.garbage) == (0, 0)
    dataset.extend([])
    del dataset[:]
    dataset.compact()
    dataset.clear()
    dataset.flush()
    check_is(mmap_ninja.open(tmp_path / "ds"), [])
    dataset.append(sample)
    check_is(dataset, [sample])
    del dataset[0]
    check_is(dataset, [])
    dataset.compact()
    check_is(mmap_ninja.open(tmp_path / "ds"), [])


@pytest.mark.parametrize("kind", KINDS)
def test_empty_samples_are_samples(tmp_path, kind):
    stored, empty, sample = KINDS[kind], KINDS[kind].sample(0), KINDS[kind].sample(3)
    dataset = stored.store(tmp_path / "ds", [empty] * 1000, batch_size=300)

    check_is(dataset, [empty] * 1000)
    dataset.extend([empty, sample, empty])
    dataset[0] = sample
    dataset[0] = empty
    del dataset[1:990]
    check_is(dataset, [empty] * 12 + [sample, empty])
    dataset.compact()
    check_is(mmap_ninja.open(tmp_path / "ds"), [empty] * 12 + [sample, empty])
