"""Which samples are in memory, and reading in those that are not."""

import os
import resource
import shutil
import time

import numpy as np
import pytest

import mmap_ninja as mn
from mmap_ninja.engine import memory
from support.cold import evicted
from support.golden import GOLDEN, PLAIN
from support.kinds import KINDS, plain

COUNT = 3000
LARGE = 64 << 10  # bytes of a sample


def built(path, kind="strings", count=COUNT):
    """A dataset of a kind that is not in memory."""
    KINDS[kind].build(path, count).close()
    evicted(path)
    return path


@pytest.fixture
def large(tmp_path):
    """The path of 1,000 arrays of 64 KiB that are not in memory."""
    samples = np.arange(1000, dtype=np.int64)[:, None] + np.zeros(LARGE // 8, np.int64)
    mn.ArrayMmap.from_ndarray(tmp_path / "large", samples).close()
    evicted(tmp_path / "large")
    return tmp_path / "large"


def awaited(samples):
    """Wait until samples are in memory, which nobody waits for."""
    deadline = time.monotonic() + 20
    while samples.residency() < 1 and time.monotonic() < deadline:
        time.sleep(0.001)
    return samples.residency()


@pytest.mark.parametrize("mode", ["mmap", "pread"])
@pytest.mark.parametrize("kind", KINDS)
def test_warm_reads_all_samples_of_every_kind(tmp_path, kind, mode):
    dataset = mn.open(built(tmp_path / "ds", kind), read_mode=mode)

    before, returned, after = dataset.residency(), dataset.warm(), dataset.residency()

    assert before < 0.5
    assert returned == after == 1


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_just_written_is_in_memory(tmp_path, kind):
    dataset = KINDS[kind].build(tmp_path / "ds", 100)

    assert dataset.residency() == 1.0
    assert dataset.warm() == 1.0


@pytest.mark.parametrize("kind", KINDS)
def test_no_samples_are_in_memory(tmp_path, kind):
    KINDS[kind].build(tmp_path / "ds", 3).close()
    dataset = mn.open(tmp_path / "ds")

    assert dataset.select([]).residency() == dataset.select([]).warm() == 1.0


def test_residency_is_that_of_the_samples_of_a_view(large):
    dataset = mn.open(large)
    dataset.select(slice(200, 600)).warm()

    assert dataset.select(slice(200, 600)).residency() == 1
    assert dataset.select(slice(610, None)).residency() == 0
    assert dataset.residency() == pytest.approx(0.4, abs=0.02)
    assert dataset.select(range(0, 1000, 2)).residency() == pytest.approx(0.4, abs=0.05)
    assert dataset.select(list(range(600, 800)) + list(range(400, 600))).residency() == pytest.approx(0.5, abs=0.05)


def test_residency_of_a_concat_is_that_of_all_its_parts(large):
    dataset = mn.open(large)
    dataset.select(slice(500)).warm()

    both = mn.concat([dataset.select(slice(500)), dataset.select(slice(500, None))])

    assert both.residency() == pytest.approx(0.5, abs=0.02)
    assert both.select(list(range(480, 520))).residency() == pytest.approx(0.5, abs=0.1)
    assert both.warm() == dataset.residency() == 1


def test_records_are_counted_over_the_columns_that_are_shown(tmp_path):
    records = ({"small": k, "large": bytes(LARGE)} for k in range(200))
    mn.RecordsMmap.from_generator(tmp_path / "ds", records).close()
    evicted(tmp_path / "ds")
    dataset = mn.open(tmp_path / "ds")

    dataset["small"].warm()

    assert dataset["small"].residency() == dataset[["small"]].residency() == 1
    assert dataset["large"].residency() < 0.01
    assert dataset.residency() < 0.1


@pytest.mark.parametrize("kind", ["strings", "array", "ragged-2d", "records"])
@pytest.mark.parametrize("mode", ["mmap", "pread"])
def test_prefetch_reads_in_the_samples_that_were_named(tmp_path, kind, mode):
    dataset = mn.open(built(tmp_path / "ds", kind), read_mode=mode)
    chosen = [5, 1000, 2999, -1, 5]

    dataset.prefetch(chosen)

    assert awaited(dataset.select(chosen)) == 1


def test_prefetch_reads_in_nothing_else(large):
    dataset = mn.open(large)

    dataset.prefetch(slice(0, 100))

    assert awaited(dataset.select(slice(100))) == 1
    assert dataset.select(slice(110, None)).residency() == 0


def test_windows_are_read_in(tmp_path):
    mn.RaggedMmap.from_generator(tmp_path / "ds", (np.arange(1000) for _ in range(1000))).close()
    evicted(tmp_path / "ds")
    windows = mn.open(tmp_path / "ds").windows(100)

    assert windows.residency() < 0.5
    windows.prefetch([3, 5000])
    assert awaited(windows.select([3, 5000])) == 1
    assert windows.warm() == 1


@pytest.mark.parametrize("mode", ["mmap", "pread"])
@pytest.mark.parametrize("name", PLAIN)
def test_directories_of_0_x_are_read_in(tmp_path, name, mode):
    shutil.copytree(GOLDEN / name, tmp_path / "ds")
    dataset = mn.open(tmp_path / "ds", read_mode=mode)

    dataset.prefetch(slice(None))

    assert dataset.warm() == dataset.select(slice(None, None, 2)).warm() == 1


def test_cold_batch_is_asked_for_before_it_is_read(large):
    """A batch of faults one by one took 0.4 to 1.6 s, the first one always."""
    dataset, rows = mn.open(large), list(range(0, 1000, 11))
    faults = resource.getrusage(resource.RUSAGE_THREAD).ru_majflt

    batch = dataset.take(rows)

    # Where a fault reads megabytes around the sample, there are about ten.
    assert resource.getrusage(resource.RUSAGE_THREAD).ru_majflt - faults < 4
    assert batch[:, 0].tolist() == rows


@pytest.mark.parametrize("mode", ["mmap", "pread"])
@pytest.mark.parametrize("kind", KINDS)
def test_cold_samples_are_the_same_ones(tmp_path, kind, mode):
    path = built(tmp_path / "ds", kind)
    rows = np.random.default_rng(0).integers(0, COUNT, 300).tolist()

    taken = mn.open(path, read_mode=mode).__getitems__(rows)
    parts = [mn.open(path, read_mode=mode).select(part) for part in (slice(1000), slice(1000, None))]
    joined = mn.concat(parts).__getitems__(rows)

    expected = [plain(KINDS[kind].sample(row)) for row in rows]
    assert [plain(sample) for sample in taken] == [plain(sample) for sample in joined] == expected


@pytest.mark.parametrize("read", [lambda ds: ds.residency(), lambda ds: ds.warm(), lambda ds: ds.prefetch([0])])
def test_closed_dataset_says_so(tmp_path, read):
    dataset = KINDS["strings"].build(tmp_path / "ds", 3)
    dataset.close()

    with pytest.raises(ValueError, match="closed"):
        read(dataset)


def test_files_that_are_gone_are_not_missed(large):
    dataset = mn.open(large)
    for file in large.iterdir():
        file.unlink()

    dataset.prefetch(slice(None))

    assert 0 <= dataset.residency() <= dataset.warm() <= 1
    assert dataset.take([3])[0, 0] == 3


def test_warm_reads_the_first_samples_where_not_all_fit(large, monkeypatch):
    monkeypatch.setattr(memory, "available", lambda: 400 * LARGE)
    dataset = mn.open(large)

    assert dataset.warm() == pytest.approx(0.4, abs=0.02)
    assert dataset.select(slice(390)).residency() == 1
    assert dataset.select(slice(410, None)).residency() == 0


def test_warm_shows_a_bar(tmp_path, capsys):
    KINDS["strings"].build(tmp_path / "ds", 30).warm(verbose=True)

    assert "30/30" in capsys.readouterr().err


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become another user")
@pytest.mark.parametrize("kind", ["strings", "array"])
def test_files_of_another_user_are_told_apart(tmp_path, kind):
    """Without the right to write to a file, mincore says that all of it is in memory, and cachestat nothing."""
    dataset = mn.open(built(tmp_path / "ds", kind, 20_000), read_mode="pread")  # keeps descriptors
    child = os.fork()
    if child == 0:
        passed = False
        try:
            os.setuid(65534)
            before = dataset.residency()
            dataset.take(range(0, 20_000, 100))
            passed = before < 0.9 and dataset.warm() == 1
        finally:
            os._exit(0 if passed else 1)

    assert os.waitpid(child, 0)[1] == 0
