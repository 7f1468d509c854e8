"""Arrays that other libraries write to, although they are read-only: what is written stays in this process."""

import ctypes
import itertools
import multiprocessing
import os
import subprocess
import sys

import numpy as np
import pytest

import mmap_ninja as mn
from mmap_ninja import ArrayMmap, RaggedMmap, RecordsMmap
from mmap_ninja.kinds.wrapped import Wrapped
from support.memory import address

SAMPLE = 100_000  # bytes: most samples of a dataset are before the page in which it ends
COUNT = 12


def image(number):
    return np.full((10, SAMPLE // 10), number, np.uint8)


def scribble(array):
    """Write to the memory of an array, as PyTorch's in-place operations do."""
    if array.nbytes:
        ctypes.memset(array.__array_interface__["data"][0], 0xEE, array.nbytes)


def scribble_elements(array):
    """The same for an array that is not contiguous, through its first element."""
    ctypes.memset(array.__array_interface__["data"][0], 0xEE, array.itemsize)


def arrays(path):
    return ArrayMmap.from_generator(path, map(image, range(COUNT)))


def rows(path):
    return RaggedMmap.from_generator(path, (image(number).reshape(-1) for number in range(COUNT)))


def records(path):
    columns = {
        "image": mn.Array((10, SAMPLE // 10), np.uint8),
        "row": mn.Ragged(np.uint8, ndim=1),
        "at": mn.Array((2,), np.float64),
    }
    samples = ({"image": image(n), "row": image(n).reshape(-1), "at": np.full(2, n, np.float64)} for n in range(COUNT))
    return RecordsMmap.from_generator(path, samples, columns=columns)


def samples_of(ds):
    return [ds[i] for i in range(len(ds))]


def of_records(read):
    return lambda ds: [array for record in read(ds) for array in record.values()]


GIVEN = {
    "samples": (arrays, samples_of),
    "iterated": (arrays, list),
    "reversed": (arrays, lambda ds: list(reversed(ds))),
    "slice": (arrays, lambda ds: [ds[2:5], ds[-3:], ds[::-1][:0]]),
    "all": (arrays, lambda ds: [ds[:], np.asarray(ds)]),
    "view": (arrays, lambda ds: samples_of(ds.select(slice(1, None)))),
    "selected": (arrays, lambda ds: samples_of(ds.select([3, 11, 3]))),
    "numbers": (lambda path: ArrayMmap.from_ndarray(path, np.arange(10**5)), lambda ds: [ds[:], ds[5:50_000]]),
    "ragged": (rows, samples_of),
    "ragged, iterated": (rows, list),
    "wrapped": (rows, lambda ds: list(RaggedMmap(ds.path, wrapper_fn=lambda x: x, copy_before_wrapper_fn=False))),
    "memmap": (rows, lambda ds: [ds.memmap]),
    "starts": (rows, lambda ds: [ds.starts, ds.ends]),
    "windows": (rows, lambda ds: [*ds.windows(5000), ds.windows(7)[3], ds.windows(7)[-1]]),
    "records": (records, of_records(samples_of)),
    "records, iterated": (records, of_records(list)),
    "column": (records, lambda ds: [*samples_of(ds["image"]), *ds["row"], ds["at"][:], np.asarray(ds["image"])]),
    "concat": (arrays, lambda ds: [*mn.concat([ds, ds]), mn.concat([ds, ds])[13]]),
    "concat, one by one": (arrays, lambda ds: samples_of(mn.concat([ds, ds]))),
    "concat of rows": (rows, lambda ds: samples_of(mn.concat([ds, ds]))),
    "concat of records": (records, of_records(lambda ds: samples_of(mn.concat([ds, ds])))),
    "memmap of 0.x": (arrays, lambda ds: [np.asarray(mn.np_open_existing(ds.path)), mn.np_open_existing(ds.path)[3]]),
    "pread": (arrays, lambda ds: samples_of(ArrayMmap(ds.path, read_mode="pread"))),
    "dlpack": (arrays, lambda ds: [np.from_dlpack(ds), np.from_dlpack(ds.select(slice(2, 5)))]),
    "dlpack of a sample": (arrays, lambda ds: [np.from_dlpack(ds[i]) for i in (0, 11)]),
}


def files_of(path):
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}


@pytest.mark.parametrize("given", GIVEN)
def test_what_is_written_to_an_array_is_seen_by_no_batch_no_other_handle_and_no_file(tmp_path, given):
    make, give = GIVEN[given]
    make(tmp_path / "ds").close()
    before, expected = files_of(tmp_path / "ds"), [np.copy(array) for array in give(mn.open(tmp_path / "ds"))]
    dataset, view = mn.open(tmp_path / "ds"), mn.open(tmp_path / "ds").select(slice(None))
    batch = dataset.take(slice(None))
    written = give(dataset)
    for array in written:
        assert not array.flags.writeable or given.startswith("dlpack")
        scribble(array)
    assert all((array == 0xEE).all() for array in written if array.dtype == np.uint8)
    for handle in (view, mn.open(tmp_path / "ds")):
        np.testing.assert_equal(give(handle), expected)
    np.testing.assert_equal(dataset.take(slice(None)), batch)
    assert files_of(tmp_path / "ds") == before


def test_arrays_of_arrow_can_be_written(tmp_path):
    pytest.importorskip("pyarrow")
    dataset = records(tmp_path / "ds")
    kept = dataset.to_arrow()
    for column in ("row", "at"):
        values = dataset.to_arrow()[column].chunk(0).flatten()
        scribble(values.to_numpy(zero_copy_only=True))
    for number in range(COUNT):
        scribble(dataset[number]["row"])
    assert kept["row"][0].values.to_numpy().tolist() == [0] * SAMPLE
    assert dataset.to_arrow().equals(kept)


PAGES = np.arange(64 * 512).reshape(64, 512)  # each sample is a page, so all can be views


@pytest.mark.parametrize(
    "read",
    [
        pytest.param(lambda ds: ds[np.array([3, 5])], id="indices"),
        pytest.param(lambda ds: ds[np.arange(64) < 5], id="mask"),
        pytest.param(lambda ds: ds[[3, 5], 2], id="indices of two dimensions"),
        pytest.param(lambda ds: ds[3:5, [1, 2]], id="indices in samples"),
        pytest.param(np.asarray, id="asarray"),
        pytest.param(np.array, id="array"),
        pytest.param(lambda ds: np.asarray(ds, np.float32), id="another dtype"),
        pytest.param(lambda ds: [PAGES[3] in ds, ds.index(PAGES[3]), ds.count(PAGES[3])], id="search"),
        pytest.param(lambda ds: stored_by_extend(ds), id="extend"),
        pytest.param(lambda ds: ArrayMmap.from_ndarray(ds.path.parent / "copy", ds)[:], id="from_ndarray"),
    ],
)
def test_copies_have_nothing_of_what_was_written(tmp_path, read):
    dataset = ArrayMmap.from_ndarray(tmp_path / "ds", PAGES)
    expected = read(ArrayMmap(tmp_path / "ds"))
    for sample in samples_of(dataset):
        scribble(sample)
    np.testing.assert_equal(read(dataset), expected)


def test_copies_of_mode_c_have_nothing_of_what_was_written(tmp_path):
    ArrayMmap.from_ndarray(tmp_path / "ds", PAGES)
    dataset = mn.open(tmp_path / "ds", mode="c")
    scribble(np.asarray(dataset))
    np.testing.assert_equal([dataset[2], dataset[2:3][0], dataset[:][2], np.asarray(dataset)[2]], [PAGES[2]] * 4)


def stored_by_extend(dataset):
    other = ArrayMmap(dataset.path.parent / "other")
    other.extend(dataset)
    return other[-64:]


@pytest.mark.parametrize(
    "name", ["0.9.0-array-c", "0.9.0-array-f", "0.9.0-ragged-1d", "0.9.0-ragged-2d", "0.2.4-array-f"]
)
def test_arrays_of_directories_of_0_x_can_be_written(copy, name):
    path = copy(name)
    before = files_of(path)
    dataset = mn.open(path, mode="r")
    expected = [np.copy(sample) for sample in dataset]
    for array in [*samples_of(dataset), *dataset, *([np.asarray(dataset)] if "array" in name else [dataset.memmap])]:
        scribble_elements(array)
    if "array" in name:
        scribble_elements(mn.np_open_existing(path))
    np.testing.assert_equal(list(mn.open(path, mode="r")), expected)
    np.testing.assert_equal(list(dataset.take(slice(None))), expected)
    assert files_of(path) == before


@pytest.mark.parametrize("size", [1, 100, 4095, 4096, 4097, 3 * 4096, SAMPLE, 10**6])
@pytest.mark.parametrize("make", [arrays, rows], ids=["array", "ragged"])
def test_appended_samples_are_read_right_after_the_last_one_was_written(tmp_path, make, size):
    def sample(number):
        return np.full(size, number, np.uint8)

    cls = ArrayMmap if make is arrays else RaggedMmap
    dataset, other = cls.from_generator(tmp_path / "ds", map(sample, range(3))), cls(tmp_path / "ds")
    whole = np.asarray(dataset) if cls is ArrayMmap else dataset.memmap
    kept = []
    for number in range(3, 9):
        last = dataset[-1]
        scribble(last)
        scribble(whole)
        for _ in range(2):
            dataset.append(sample(number))
        del dataset[-1]
        kept.append(last)
        np.testing.assert_equal(dataset[-1], sample(number))
        np.testing.assert_equal(dataset.take([-1])[0], sample(number))
        np.testing.assert_equal(dataset.take(slice(None))[-2], sample(number - 1))
    assert all((array == 0xEE).all() for array in kept)
    other.refresh()
    for number in range(9):
        np.testing.assert_equal(other[number], sample(number))


PASSES = {
    "array": (arrays, lambda ds: ds),
    "ragged": (rows, lambda ds: ds),
    "column": (records, lambda ds: ds["image"]),
    "reversed": (arrays, reversed),
    "view": (arrays, lambda ds: ds.select([1, 2, 3])),
    "windows": (rows, lambda ds: ds.windows(1000)),
    "concat": (arrays, lambda ds: mn.concat([ds, ds])),
    "some of a concat": (arrays, lambda ds: mn.concat([ds, ds]).select([1, 13])),
    "wrapped": (arrays, lambda ds: Wrapped(ds, lambda sample: sample, copy_before_wrapper_fn=False)),
}


@pytest.mark.parametrize("of", PASSES)
def test_each_pass_reads_what_is_stored(tmp_path, of):
    make, passed = PASSES[of]
    dataset = make(tmp_path / "ds")
    expected = [np.copy(sample) for sample in passed(dataset)]
    samples = passed(dataset)
    for epoch in range(3):
        seen = []
        for sample in samples if of != "reversed" else passed(dataset):
            seen.append(np.copy(sample))
            scribble(sample)
        np.testing.assert_equal(seen, expected, err_msg=f"epoch {epoch}")


def test_a_pass_over_records_reads_what_is_stored(tmp_path):
    dataset = records(tmp_path / "ds")
    for _ in range(3):
        for number, record in enumerate(dataset):
            assert record["image"][0, 0] == record["row"][0] == record["at"][0] == number
            for array in record.values():
                scribble(array)


def test_what_is_written_is_read_again_by_index_until_the_next_pass_or_refresh(tmp_path):
    dataset = arrays(tmp_path / "ds")
    for restart in (dataset.refresh, lambda: next(iter(dataset))):
        scribble(dataset[3])
        assert dataset[3][0, 0] == 0xEE
        kept = dataset[3]
        restart()
        assert dataset[3][0, 0] == 3
        assert kept[0, 0] == 0xEE


def test_overlapping_windows_do_not_see_what_was_written_to_each_other(tmp_path):
    windows = rows(tmp_path / "ds").windows(10, 1)
    by_index = (windows[k] for k in range(20))
    for window in itertools.chain(itertools.islice(windows, 20), by_index):
        assert not window.flags.writeable
        assert window.tolist() == [0] * 10
        scribble(window)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the system does not tell what was written to")
def test_passes_after_which_nothing_was_written_read_the_same_pages(tmp_path):
    dataset = arrays(tmp_path / "ds")
    places = set()
    for _ in range(3):
        for sample in dataset:
            assert not sample.flags.writeable
        places.add(address(dataset[0]))
    assert len(places) == 1

    written = dataset[0]
    scribble(written)
    next(iter(dataset))
    assert address(dataset[0]) not in places
    assert written[0, 0] == 0xEE != dataset[0][0, 0]


def test_iterators_in_progress_keep_their_arrays(tmp_path):
    dataset = arrays(tmp_path / "ds")
    slow = iter(dataset)
    scribble(next(slow))
    for sample in dataset:
        scribble(sample)
    assert [sample[0, 0] for sample in slow] == list(range(1, COUNT))


@pytest.mark.parametrize("make", [arrays, records])
def test_iterators_that_start_together_do_not_see_what_was_written_to_each_other(tmp_path, make):
    dataset = make(tmp_path / "ds")
    image_of = (lambda sample: sample["image"]) if make is records else np.asarray
    for number, (one, other) in enumerate(zip(dataset, dataset, strict=True)):
        scribble(image_of(one))
        assert image_of(other)[0, 0] == number


@pytest.mark.parametrize("mode", ["r", "c"])
def test_a_memmap_of_0_x_that_is_not_for_writing_is_private(tmp_path, mode):
    arrays(tmp_path / "ds").close()
    before = files_of(tmp_path / "ds")
    memmap = mn.np_open_existing(tmp_path / "ds", mode)
    assert type(memmap) is np.memmap
    assert (memmap.mode, memmap.flags.writeable, memmap.offset) == (mode, mode == "c", 0)
    assert type(memmap[2:5]) is np.memmap
    scribble(memmap)
    memmap.flush()
    assert (np.asarray(memmap) == 0xEE).all()
    assert files_of(tmp_path / "ds") == before


def test_a_forked_child_sees_what_was_written_before_and_keeps_its_own_to_itself(tmp_path):
    dataset = arrays(tmp_path / "ds")
    sample = dataset[3]
    scribble(sample)
    child = os.fork()
    if child == 0:
        scribble(dataset[4])
        os._exit(int(not (sample[0, 0] == 0xEE == dataset[4][0, 0])))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert dataset[4][0, 0] == 4


def scribble_all(dataset):
    for sample in samples_of(dataset):
        scribble(sample)
    return [int(sample[0, 0]) for sample in dataset]


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_workers_can_write_to_samples(tmp_path, start):
    dataset = arrays(tmp_path / "ds")
    with multiprocessing.get_context(start).Pool(2) as pool:
        assert pool.map(scribble_all, [dataset] * 4) == [list(range(COUNT))] * 4
    assert [sample[0, 0] for sample in dataset] == list(range(COUNT))


def in_place(dataset, count=COUNT):
    torch = pytest.importorskip("torch")

    class Pixels(torch.utils.data.Dataset):
        def __len__(self):
            return count

        def __getitem__(self, index):
            return torch.as_tensor(dataset[index]).add_(1)

    return torch.utils.data.DataLoader(Pixels(), batch_size=4, num_workers=2, multiprocessing_context="fork")


@pytest.mark.filterwarnings("ignore:The given NumPy array is not writ:UserWarning")
def test_pytorch_can_work_in_place_on_samples(tmp_path):
    torch = pytest.importorskip("torch")
    dataset = arrays(tmp_path / "ds")
    found = [int(image[0, 0]) for batch in in_place(dataset) for image in batch]
    assert found == [number + 1 for number in range(COUNT)]
    tensor = torch.as_tensor(dataset[1])
    tensor.add_(1)
    assert tensor[0, 0] == 2
    torch.from_dlpack(dataset).add_(1)
    assert dataset.take([1])[0, 0, 0] == 1


HUGE = 100 << 30
WIDE = 1 << 20


@pytest.fixture
def huge(tmp_path):
    """An array dataset of 0.x of 100 GB, nearly all of it a hole."""
    path = tmp_path / "huge"
    np_directory = {"type": b"numpy", "dtype": b"uint8", "order": b"C"}
    path.mkdir()
    for name, content in np_directory.items():
        (path / f"{name}.ninja").write_bytes(content)
    np.array([HUGE // WIDE, WIDE], np.int64).tofile(path / "shape.ninja")
    with (path / "data.ninja").open("wb") as file:
        file.truncate(HUGE)
        file.seek(5 * WIDE)
        file.write(b"\x05" * WIDE)
    return path


def test_arrays_of_100_gb_are_given_out(huge):
    dataset = mn.open(huge, mode="r")
    assert len(dataset) == HUGE // WIDE
    for array in (dataset[5], dataset[-1], dataset[:], np.asarray(dataset), mn.np_open_existing(huge)):
        scribble(array[-1:])
    dataset.refresh()
    assert dataset[5].tolist() == [5] * WIDE
    assert not dataset[-1].any()


REFUSED = """
import resource, sys  # the limits leave room for a few samples, but not for a map of all
import numpy as np
import mmap_ninja as mn
from threats.test_written_views import scribble, files_of
dataset = mn.open(sys.argv[1])
used = next(int(line.split()[1]) << 10 for line in open("/proc/self/status") if line.startswith(sys.argv[3]))
resource.setrlimit(getattr(resource, sys.argv[2]), (used + (40 << 20), resource.RLIM_INFINITY))
for number, sample in enumerate(dataset):
    assert not sample.flags.writeable
    assert sample[0, 0] == number, sample
    scribble(sample)
scribble(dataset[3])
assert dataset[3][0, 0] == 3  # a copy
try:
    np.asarray(dataset)
except MemoryError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(("limit", "used"), [("RLIMIT_DATA", "VmData"), ("RLIMIT_AS", "VmSize")])
def test_without_private_maps_samples_are_copies_and_large_arrays_are_refused(tmp_path, limit, used):
    samples = (np.full((1 << 10, 8 << 10), number, np.uint8) for number in range(COUNT))
    ArrayMmap.from_generator(tmp_path / "ds", samples, batch_size=1).close()
    before = files_of(tmp_path / "ds")
    done = subprocess.run(
        [sys.executable, "-c", REFUSED, str(tmp_path / "ds"), limit, used],
        env=os.environ | {"PYTHONPATH": "tests", "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert 'refuses a private map of so many; open the dataset with mode "c"' in done.stdout, done
    assert files_of(tmp_path / "ds") == before


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_many_views_leave_maps_for_the_rest_of_the_process(tmp_path):
    dataset = arrays(tmp_path / "ds")
    views = [dataset.select([k % COUNT]) for k in range(17_000)]
    samples = [view[0] for view in views]
    with open("/proc/self/maps") as file:
        assert sum(1 for _ in file) < 20_000
    assert [sample[0, 0] for sample in samples] == [k % COUNT for k in range(17_000)]
    assert not any(sample.flags.writeable for sample in samples)
    del views, samples
    assert dataset.select([3])[0].base is not None  # a view again


def anonymous_bytes():
    with open("/proc/self/smaps_rollup") as file:
        return next(int(line.split()[1]) << 10 for line in file if line.startswith("Anonymous:"))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_pass_that_writes_to_all_samples_needs_little_memory(huge):
    before, most = anonymous_bytes(), 0
    for number, sample in enumerate(mn.open(huge, mode="r")):
        scribble(sample)
        if number % 64 == 0:
            most = max(most, anonymous_bytes())
        if number == 1024:  # samples of 1 MiB
            break
    assert most - before < 600 << 20


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_who_does_not_write_needs_no_memory(tmp_path):
    ArrayMmap.from_generator(tmp_path / "ds", (np.full(1 << 20, n, np.uint8) for n in range(32)), batch_size=8).close()
    dataset = mn.open(tmp_path / "ds")
    before = anonymous_bytes()
    kept = [*dataset, *samples_of(dataset), dataset[:]]
    assert sum(int(array[..., ::4096].sum()) for array in kept) == 3 * 256 * sum(range(32))
    assert anonymous_bytes() - before < 4 << 20
