"""Edges: nothing, empty samples, more than 32 bits of everything, strange names, strange places."""

import contextlib
import os
import pickle
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import xxhash

import mmap_ninja
from mmap_ninja import ArrayMmap, BytesMmap, RaggedMmap, ReadOnlyError, RecordsMmap, StringsMmap, _kernel
from support.faults import OLD, change_slots, overwrite

MANY = 10**8
GIB = 1 << 30

# By kind: how it is made of samples, an empty one, and one that is not.
KINDS = {
    "strings": (StringsMmap.from_generator, "", "né"),
    "bytes": (BytesMmap.from_generator, b"", b"\0\xff"),
    "array": (ArrayMmap.from_generator, np.zeros((0, 3), np.float32), np.ones((0, 3), np.float32)),
    "numbers": (ArrayMmap.from_generator, np.float64(0), np.float64(1.5)),
    "ragged": (RaggedMmap.from_generator, np.zeros(0, np.int16), np.arange(3, dtype=np.int16)),
    "images": (RaggedMmap.from_generator, np.zeros((0, 4, 3), np.uint8), np.ones((2, 4, 3), np.uint8)),
    "records": (RecordsMmap.from_generator, {"text": "", "blob": b""}, {"text": "é", "blob": b"\0"}),
}


def same(one, other):
    """Whether two samples are equal."""
    if isinstance(one, np.ndarray):
        return one.shape == other.shape and one.dtype == other.dtype and bool(np.array_equal(one, other))
    return type(one) is type(other) and one == other


def check_is(dataset, expected):
    """Assert that a dataset is a list, read in many ways."""
    assert len(dataset) == len(expected)
    ways = [
        list(dataset),
        dataset[:],
        list(reversed(dataset))[::-1],
        list(dataset.select(slice(None))),
        list(dataset.select(range(len(dataset)))),
        list(pickle.loads(pickle.dumps(dataset))),
        [dataset[k - len(expected)] for k in range(len(expected))],
        dataset.__getitems__(list(range(len(expected)))),
    ]
    for found in ways:
        assert len(found) == len(expected)
        assert all(map(same, found, expected))
    for index in (len(expected), -len(expected) - 1, MANY, -MANY):
        with pytest.raises(IndexError, match="out of range"):
            dataset[index]
    assert mmap_ninja.verify(dataset.path, level="full").ok


# ---- nothing, and empty samples


@pytest.mark.parametrize("kind", KINDS)
def test_dataset_of_no_samples_is_an_empty_list(tmp_path, kind):
    make, _, sample = KINDS[kind]
    dataset = make(tmp_path / "ds", [])

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
    make, empty, sample = KINDS[kind]
    dataset = make(tmp_path / "ds", [empty] * 1000, batch_size=300)

    check_is(dataset, [empty] * 1000)
    dataset.extend([empty, sample, empty])
    dataset[0] = sample
    dataset[0] = empty
    del dataset[1:990]
    check_is(dataset, [empty] * 12 + [sample, empty])
    dataset.compact()
    check_is(mmap_ninja.open(tmp_path / "ds"), [empty] * 12 + [sample, empty])


# ---- more than 32 bits can say; the files are sparse, and take no space


def resident_bytes():
    """Private memory of this process that is in RAM."""
    fields = Path("/proc/self/statm").read_text().split()
    return (int(fields[1]) - int(fields[2])) * os.sysconf("SC_PAGE_SIZE")


@contextlib.contextmanager
def frugal(seconds=2.0, memory=32 << 20):
    """Assert that what is done costs neither time nor memory that grows with the dataset."""
    before, begin = resident_bytes(), time.process_time()
    yield
    assert time.process_time() - begin < seconds
    assert resident_bytes() - before < memory


def make_sparse(path, rows, sizes, offsets=()):
    """Let a dataset of one generation have so many rows, in files that are holes but for their starts.

    `sizes` are those of the files with a role, `offsets` the first ones.
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
def test_hundred_million_samples_cost_what_few_do(tmp_path, kind):
    make, empty, sample = KINDS[kind]
    path = tmp_path / "ds"
    make(path, [empty]).close()
    make_sparse(path, MANY, {"offsets": 8 * (MANY + 1)})

    with frugal():
        dataset = mmap_ninja.open(path)
        assert len(dataset) == MANY
        for index in (0, -1, MANY - 1, MANY // 2):
            assert same(dataset[index], empty)
        assert all(same(found, empty) for found in dataset.__getitems__([5, MANY - 1, -MANY]))
        assert len(dataset[MANY - 3 :]) == 3
        assert len(pickle.dumps(dataset)) < 1024
        assert len(pickle.loads(pickle.dumps(dataset.select(slice(None, None, -7))))) == -(-MANY // 7)
        assert same(next(iter(dataset)), empty)
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
            assert same(dataset[index], sample)
        for index in (-2, 7):
            assert same(dataset[index], empty)
        dataset.refresh()
        assert dataset.garbage > 0
        assert str(dataset.nbytes) in repr(dataset)
        assert mmap_ninja.verify(path, level="quick").ok


def test_slice_of_many_samples_is_deleted_in_time(tmp_path):
    """A bug once: np.unique hashes, for 3 microseconds per sample."""
    path = tmp_path / "ds"
    StringsMmap.from_strings(path, [""]).close()
    make_sparse(path, MANY, {"offsets": 8 * (MANY + 1)})
    texts = StringsMmap(path)

    with frugal(seconds=2, memory=400 << 20):
        del texts[10:4_000_010]

    assert len(texts) == MANY - 4_000_000


def test_hundred_million_records_cost_what_few_do(tmp_path):
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
def test_payload_of_more_than_4_gib_goes_on_where_it_ends(tmp_path, kind):
    make, _, sample = KINDS[kind]
    path, first, zeros = tmp_path / "ds", 5 * GIB, type(sample)(10) if kind == "bytes" else "\0" * 10
    make(path, [sample]).close()
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
    """A bug once: a slice of an array with an edit gathered all samples to take some of them."""
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


# ---- names


NAMES = [
    "with space",
    " leading and trailing ",
    "ünï-日本-😀",
    "e\u0301",  # not normalised
    "new\nline",
    "tab\tand\\backslash",
    "quotes\"'`$(x)%s{}",
    "-dash",
    "x" * 255,
    "é" * 127,
    "ds.",
    "COMMIT",
    "con",
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["strings", "records"])
def test_any_name_of_a_directory_will_do(tmp_path, name, kind):
    make, empty, sample = KINDS[kind]
    path = tmp_path / name

    dataset = make(path, [empty, sample])
    dataset.append(sample)
    dataset[0] = sample
    del dataset[1]
    dataset.compact()
    dataset.flush()
    make(tmp_path / "other", [empty]).close()
    mmap_ninja.merge([path, tmp_path / "other"], tmp_path / f"m{name[1:]}")

    check_is(mmap_ninja.open(str(path)), [sample, sample])
    check_is(mmap_ninja.open(tmp_path / f"m{name[1:]}"), [sample, sample, empty])
    make(path, [empty]).close()
    check_is(dataset if dataset.refresh() else mmap_ninja.open(path), [empty])
    assert set(os.listdir(tmp_path)) == {name, "other", f"m{name[1:]}"}


@pytest.mark.parametrize(
    ("name", "message"), [("null\0character", "has a null character"), (os.fsdecode(b"not \xff UTF-8"), "is not UTF-8")]
)
def test_names_that_cannot_be_said_are_refused_and_touch_nothing(tmp_path, name, message):
    """A bug once: the first append to a path with a null character made the directory named before it."""
    path = os.path.join(tmp_path, name)

    for act in (
        lambda: StringsMmap(path).append("text"),
        lambda: StringsMmap.from_strings(path, ["text"]),
        lambda: RecordsMmap.from_generator(path, [{"a": 1}]),
        lambda: RecordsMmap.create(path, {"a": mmap_ninja.Text()}),
        lambda: mmap_ninja.open(path),
        lambda: mmap_ninja.verify(path),
        lambda: mmap_ninja.recover(path),
        lambda: mmap_ninja.upgrade(path),
        lambda: mmap_ninja.merge([path], tmp_path / "out"),
    ):
        with pytest.raises(ValueError, match=message):
            act()
    assert os.listdir(tmp_path) == []


def test_names_that_the_system_refuses_are_refused_and_touch_nothing(tmp_path):
    for path in (tmp_path / ("x" * 256), Path(tmp_path, *["y" * 200] * 25)):
        for act in (
            lambda path=path: StringsMmap(path).append("text"),
            lambda path=path: StringsMmap.from_strings(path, ["text"]),
            lambda path=path: mmap_ninja.open(path),
        ):
            with pytest.raises(OSError, match="File name too long"):
                act()
    assert os.listdir(tmp_path) == []


def test_path_that_is_not_utf8_is_reached_through_a_link(tmp_path):
    strange = os.path.join(tmp_path, os.fsdecode(b"not \xff UTF-8"))
    os.mkdir(strange)
    os.symlink(strange, tmp_path / "link")

    StringsMmap.from_strings(tmp_path / "link", OLD).append("more")

    check_is(mmap_ninja.open(tmp_path / "link"), [*OLD, "more"])
    assert "COMMIT" in os.listdir(strange)


def test_relative_path_means_the_directory_that_it_meant_when_it_was_opened(tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    texts = StringsMmap.from_strings("ds", OLD)
    view, pickled = texts.select([1]), pickle.dumps(texts)

    monkeypatch.chdir(tmp_path / "elsewhere")
    texts.append("more")
    texts[0] = "first"
    texts.compact()
    texts.refresh()
    StringsMmap(texts.path).append("last")
    texts.refresh()

    assert list(texts) == ["first", *OLD[1:], "more", "last"]
    assert list(view) == [OLD[1]]
    with pytest.raises(mmap_ninja.StaleHandleError):
        pickle.loads(pickled)
    assert os.listdir() == []
    assert mmap_ninja.verify("../ds").ok


# ---- places


def test_symbolic_link_to_a_dataset_is_the_dataset(tmp_path):
    (tmp_path / "disk").mkdir()
    os.symlink("disk/target", tmp_path / "link")
    (tmp_path / "disk" / "target").mkdir()
    path = tmp_path / "link"
    records = [{"a": str(k), "b": k} for k in range(10)]

    dataset = RecordsMmap.from_generator(path, records)
    dataset.append({"a": "more", "b": 10})
    dataset[0] = {"a": "first", "b": -1}
    del dataset[1:9]
    dataset.compact()
    dataset.add_column("c", range(3))
    dataset.drop_column("b")
    expected = [{"a": "first", "c": 0}, {"a": "9", "c": 1}, {"a": "more", "c": 2}]
    check_is(mmap_ninja.open(path), expected)
    RecordsMmap.from_generator(path, records[:2]).close()
    dataset.refresh()

    check_is(dataset, records[:2])
    check_is(mmap_ninja.open(tmp_path / "disk" / "target"), records[:2])
    assert path.is_symlink()
    assert os.listdir(tmp_path / "disk") == ["target"]


def test_symbolic_link_to_nothing_is_refused(tmp_path):
    os.symlink("nothing", tmp_path / "link")

    for act in (
        lambda: mmap_ninja.open(tmp_path / "link"),
        lambda: StringsMmap.from_strings(tmp_path / "link", OLD),
        lambda: StringsMmap(tmp_path / "link").append("text"),
    ):
        with pytest.raises(mmap_ninja.NotADatasetError, match="link"):
            act()
    assert os.listdir(tmp_path) == ["link"]


@contextlib.contextmanager
def mounted(*arguments, at):
    """Mount something, where this process may."""
    done = subprocess.run(["mount", *arguments, at], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"mount {' '.join(map(str, arguments))}: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", at], check=True)


@pytest.fixture
def mount_point(tmp_path):
    if os.getuid() or not os.path.exists("/proc/mounts"):
        pytest.skip("only root on Linux can mount")
    (tmp_path / "mount").mkdir()
    return tmp_path / "mount"


def use(path):
    """Everything that changes a dataset."""
    expected = [{"a": str(k), "b": k} for k in range(100)]
    with RecordsMmap.from_generator(path, expected) as dataset:
        dataset.append({"a": "more", "b": 100})
        dataset[0] = {"a": "first", "b": -1}
        del dataset[1:9]
        dataset.compact()
        dataset.add_column("c", range(len(dataset)))
        dataset.flush()
        assert mmap_ninja.verify(path, level="full").ok
        RecordsMmap.from_generator(path, expected).close()
        dataset.refresh()
        check_is(dataset, expected)


def test_tmpfs_holds_datasets(mount_point):
    with mounted("-t", "tmpfs", "-o", "size=16m", "none", at=mount_point):
        use(mount_point / "ds")


def test_overlay_shows_what_is_below_and_takes_what_is_new(mount_point, tmp_path):
    """A bug once: the first write copies a file up; the maps of who had it open showed zeros where it had grown."""
    for name in ("upper", "work"):
        (tmp_path / name).mkdir()
    StringsMmap.from_strings(tmp_path / "lower" / "ds", OLD).close()
    options = f"lowerdir={tmp_path}/lower,upperdir={tmp_path}/upper,workdir={tmp_path}/work"

    with mounted("-t", "overlay", "-o", options, "none", at=mount_point):
        reader, texts = StringsMmap(mount_point / "ds"), StringsMmap(mount_point / "ds")
        texts.append("new")
        texts.append("newer")
        reader.refresh()
        check_is(reader, [*OLD, "new", "newer"])
        check_is(texts, [*OLD, "new", "newer"])
        texts.compact(order=range(4, -1, -1))
        reader.refresh()
        check_is(reader, ["newer", "new", *OLD[::-1]])
        use(mount_point / "other")

    check_is(mmap_ninja.open(tmp_path / "lower" / "ds"), OLD)


def test_read_only_medium_is_read_and_says_why_it_is_not_written(mount_point, tmp_path):
    with StringsMmap.from_strings(tmp_path / "ds", OLD) as texts:
        texts.append("un-synced")
        expected = list(texts)

    with mounted("-o", "bind,ro", tmp_path / "ds", at=mount_point):
        texts = mmap_ninja.open(mount_point)
        check_is(texts, expected)
        for act in (
            lambda: texts.append("refused"),
            lambda: texts.__setitem__(0, "refused"),
            lambda: texts.compact(range(3, -1, -1)),
            lambda: StringsMmap.from_strings(mount_point, ["refused"]),
            lambda: StringsMmap.from_strings(mount_point, ["refused"], if_exists="append"),
            lambda: StringsMmap.from_strings(mount_point / "new", ["refused"]),
            lambda: mmap_ninja.recover(mount_point),
        ):
            with pytest.raises(ReadOnlyError, match="cannot be written .Read-only file system."):
                act()
        texts.refresh()
        check_is(texts, expected)


def test_dataset_that_is_a_mount_point_is_written_and_replaced(mount_point, tmp_path):
    (tmp_path / "disk").mkdir()

    with mounted("-o", "bind", tmp_path / "disk", at=mount_point):
        use(mount_point)

    assert mmap_ninja.verify(tmp_path / "disk").ok
