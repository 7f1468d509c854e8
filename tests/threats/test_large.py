"""More than 32 bits of samples, bytes and elements. The files are sparse, and take no space."""

import contextlib
import os
import pickle
import time
from pathlib import Path

import numpy as np
import pytest
import xxhash

import mmap_ninja
from mmap_ninja import ArrayMmap, RaggedMmap, RecordsMmap, StringsMmap, _kernel
from support.faults import change_slots, overwrite
from support.kinds import KINDS, plain
from support.reads import check_is

MANY = 10**8
GIB = 1 << 30


def resident_bytes():
    """Private memory of this process in RAM."""
    fields = Path("/proc/self/statm").read_text().split()
    return (int(fields[1]) - int(fields[2])) * os.sysconf("SC_PAGE_SIZE")


@contextlib.contextmanager
def frugal(seconds=2.0, memory=32 << 20):
    """Assert that time and memory do not grow with the dataset."""
    before, begin = resident_bytes(), time.process_time()
    yield
    assert time.process_time() - begin < seconds
    assert resident_bytes() - before < memory


def make_sparse(path, rows, sizes, offsets=()):
    """Extend the only generation of a dataset to so many rows, by holes in its files.

    `sizes`: the sizes of files by role; `offsets`: the first offsets.
    """
    meta = mmap_ninja.open(path)._state.dataset.meta
    digest, sums, zeros = 0, [], bytes(_kernel.BLOCK)
    for file in meta.files[:-1]:
        size = sizes.get(file.role, os.path.getsize(path / file.name))
        os.truncate(path / file.name, size)
        if file.role == "offsets":
            overwrite(path / file.name, 0, np.array(offsets, np.uint64).tobytes())
        fd = os.open(path / file.name, os.O_RDONLY)
        digest += _kernel.range_digest(file.id, fd, size // _kernel.BLOCK * _kernel.BLOCK, size, "")[0]
        os.close(fd)
        count = size // _kernel.BLOCK
        sums += [(file.id, block, xxhash.xxh64_intdigest(zeros, file.id << 48 | block)) for block in range(count)]
    (path / meta.files[-1].name).write_bytes(np.array(sums, np.uint64).tobytes())

    def change(slot):
        slot.rows = slot.durable_rows = rows
        slot.digest = digest % 2**64

    change_slots(path, change)


@pytest.mark.parametrize("kind", ["strings", "bytes", "ragged"])
def test_hundred_million_samples_cost_no_more_than_a_few(tmp_path, kind):
    stored, empty, sample = KINDS[kind], KINDS[kind].sample(0), KINDS[kind].sample(3)
    path = tmp_path / "ds"
    stored.store(path, [empty]).close()
    make_sparse(path, MANY, {"offsets": 8 * (MANY + 1)})

    with frugal():
        dataset = mmap_ninja.open(path)
        assert len(dataset) == MANY
        for index in (0, -1, MANY - 1, MANY // 2):
            assert plain(dataset[index]) == plain(empty)
        assert all(plain(found) == plain(empty) for found in dataset.__getitems__([5, MANY - 1, -MANY]))
        assert len(dataset[MANY - 3 :]) == 3
        assert len(pickle.dumps(dataset)) < 1024
        assert len(pickle.loads(pickle.dumps(dataset.select(slice(None, None, -7))))) == -(-MANY // 7)
        assert plain(next(iter(dataset))) == plain(empty)
        dataset.append(sample)
        dataset.extend([empty, sample])
        dataset.flush()
        dataset[0] = dataset[MANY // 2] = sample
        del dataset[7]
        del dataset[MANY - 10 : MANY - 4]
        dataset.close()

    with frugal():
        dataset = mmap_ninja.open(path)
        assert len(dataset) == MANY + 3 - 7
        for index in (0, MANY // 2 - 1, -3, -1):
            assert plain(dataset[index]) == plain(sample)
        for index in (-2, 7):
            assert plain(dataset[index]) == plain(empty)
        dataset.refresh()
        assert dataset.garbage > 0
        assert str(dataset.nbytes) in repr(dataset)
        assert mmap_ninja.verify(path, level="quick").ok


def test_slice_of_many_samples_is_deleted_in_time(tmp_path):
    """A bug once: np.unique hashes, which takes 3 microseconds per sample."""
    path = tmp_path / "ds"
    StringsMmap.from_strings(path, [""]).close()
    make_sparse(path, MANY, {"offsets": 8 * (MANY + 1)})
    texts = StringsMmap(path)

    with frugal(seconds=2, memory=400 << 20):
        del texts[10:4_000_010]

    assert len(texts) == MANY - 4_000_000


def test_hundred_million_records_cost_no_more_than_a_few(tmp_path):
    path = tmp_path / "ds"
    columns = {"text": mmap_ninja.Text(), "number": mmap_ninja.Scalar("int32"), "json": mmap_ninja.Json(nullable=True)}
    record = {"text": "é", "number": np.int32(5), "json": None}
    RecordsMmap.create(path, columns).close()
    os.truncate(path / "c1.data-1", 4 * MANY)
    make_sparse(path, MANY, {"offsets": 8 * (MANY + 1), "nulls": MANY})

    with frugal():
        records = RecordsMmap(path)
        assert (len(records), len(records["text"])) == (MANY, MANY)
        assert records["number"][-1] == 0
        assert len(pickle.dumps(records)) < 1024
        records.append(record)
        records[MANY // 2] = record
        del records[1]
        records.rename_column("text", "words")
        records.drop_column("json")
        records.close()

    with frugal():
        records = mmap_ninja.open(path)
        assert len(records) == MANY
        assert records[-1] == records[MANY // 2 - 1] == {"words": "é", "number": 5}
        assert records[0] == {"words": "", "number": 0}
        assert mmap_ninja.verify(path, level="quick").ok


@pytest.mark.parametrize("kind", ["strings", "bytes"])
def test_payload_of_more_than_4_gib_grows_at_its_end(tmp_path, kind):
    stored, sample = KINDS[kind], KINDS[kind].sample(3)
    path, first, zeros = tmp_path / "ds", 5 * GIB, type(sample)(10) if kind == "bytes" else "\0" * 10
    stored.store(path, [sample]).close()
    make_sparse(path, 2, {"data": first + 10, "offsets": 24}, [0, first, first + 10])

    with frugal():
        dataset = mmap_ninja.open(path)
        assert dataset.byte_lengths.tolist() == [first, 10]
        assert dataset[1] == zeros
        dataset.append(sample)
        dataset.extend([sample * 3, sample])
        dataset[1] = sample
        del dataset[3]
        dataset.flush()

    size = len(sample.encode() if kind == "strings" else sample)
    ends = [first + 10 + size * batches for batches in (1, 4, 5, 6)]
    assert np.fromfile(path / "c0.offsets-1", np.uint64).tolist() == [0, first, first + 10, *ends]
    assert list(mmap_ninja.open(path)[1:]) == [sample, sample, sample]
    assert mmap_ninja.verify(path, level="quick").ok
    with frugal(memory=64 << 20):
        del dataset[0]
        dataset.compact()
    check_is(dataset, [sample, sample, sample])


def test_ragged_sample_of_more_than_2_31_elements(tmp_path):
    path, count = tmp_path / "ds", 2**31 + 5
    RaggedMmap.from_generator(path, [np.zeros(1, np.float32)]).close()
    make_sparse(path, 2, {"data": 4 * (count + 3), "offsets": 24}, [0, count, count + 3])
    new = np.arange(4, dtype=np.float32)

    with frugal():
        rows = mmap_ninja.open(path)
        assert (rows[0].shape, rows[1].shape) == ((count,), (3,))
        assert rows[0][-1] == rows[0][count - 1] == 0
        rows.append(new)
        windows = rows.windows(1000)
        assert len(windows) == (count + 7) // 1000
        assert windows[-1].shape == (1000,)
        rows[1] = new + 1
        again = mmap_ninja.open(path)
        assert [again[k].shape for k in range(3)] == [(count,), (4,), (4,)]
        rows[0] = new + 2
        assert rows.garbage > 4 * count
        rows.compact()

    check_is(rows, [new + 2, new + 1, new])


@pytest.mark.parametrize("shape", [(), (3,), (1 << 20,)])
def test_array_of_more_than_2_31_elements(tmp_path, shape):
    """A bug once: a slice of an array with an edit gathered all samples to select a few."""
    path, width = tmp_path / "ds", int(np.prod(shape))
    count = 2**31 // width + 7
    ArrayMmap.from_generator(path, [np.zeros(shape, np.int8)]).close()
    make_sparse(path, count, {"data": count * width})
    new = np.ones(shape, np.int8)

    with frugal():
        array = mmap_ninja.open(path)
        assert array.shape == (count, *shape)
        assert array.size > 2**31
        assert not array[count - 1].any()
        assert mmap_ninja.np_open_existing(path).shape == (count, *shape)
        array.append(new)
        array[count - 2] = new
        del array[3]
        array.close()
        array = mmap_ninja.open(path)
        assert len(array) == count
        assert [bool(array[k].any()) for k in (-1, -2, -3, -4, 0)] == [True, False, True, False, False]
        np.testing.assert_array_equal(array.take([-1, -3, -1]), [new] * 3)
        np.testing.assert_array_equal(array[count - 3 : count : 2], [new] * 2)
        np.testing.assert_array_equal(array[-3::2, ...], [new] * 2)
        assert len(pickle.loads(pickle.dumps(array))) == count
        assert mmap_ninja.verify(path, level="quick").ok
