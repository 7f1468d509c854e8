"""Files that are truncated while open: reads of several samples raise, and nothing wrong is read.

Of a file that is only mapped, the system tells the length in pages. A cut within the last page shows by the bytes that
are zeros now; if all of them were zeros, what is read is right.

With read_mode="pread", this is true of all reads. Over a map, reading single samples, and returned views, can kill the
process, as documented.
"""

import os
import signal

import numpy as np
import pytest

import mmap_ninja as mn
from mmap_ninja import ArrayMmap, DatasetTruncatedError, RaggedMmap, StringsMmap
from support.faults import fork, in_child
from support.kinds import plain
from support.reads import COUNT, STORED, bulk_reads, outcome, single_reads

PAGE = os.sysconf("SC_PAGESIZE")

# Reads that may succeed although a file was truncated, since they read other files, or nothing. All others raise.
UNCONCERNED = {
    "strings": {"past the end", "starts", "ends"},
    "strings-zstd": {"past the end", "starts", "ends"},
    "strings-trained": {"past the end", "starts", "ends"},
    "bytes": {"past the end", "starts", "ends", "not in"},
    "array": {"past the end", "not in", "shape", "part of a view"},
    "array-scalars": {"past the end", "shape", "part of a view"},
    "ragged": {"past the end", "starts", "ends", "memmap"},
    "ragged-2d": {
        "past the end",
        "starts",
        "ends",
        "memmap",
        "windows",
        "some windows",
        "windows within samples",
        "iterated windows",
    },
    "ragged-mixed": {"past the end", "starts", "ends", "memmap"},
    "records": {"past the end", "group", "some columns", "renamed"},
}
# These also read single samples: the one that they look for, or those of each column.
NOT_ONLY_BULK = {"index", "count", "columns"}


@pytest.fixture(params=sorted(STORED))
def kind(request):
    return request.param


def cuts(path):
    """Truncate each file with samples to several lengths, one by one; restores its bytes each time.

    Also tells whether anything is lost: bytes other than zeros, or pages.
    """
    names = sorted(name for name in os.listdir(path) if name.startswith("c") and (path / name).stat().st_size)
    for name in names:
        content = (path / name).read_bytes()
        around = (PAGE - 1, PAGE + 1) if len(names) < 10 else (PAGE + 1,)  # fewer for each column of records
        for length in sorted({0, 1, len(content) - 1, *(at for at in around if at < len(content))}):
            yield name, length, any(content[length:]) or -(-length // PAGE) < -(-len(content) // PAGE)
            (path / name).write_bytes(content)  # keeps the inode


def opened_then_cut(path, mode, name, length, _loses=True):
    """A handle that has read a sample before one of its files was truncated."""
    dataset = mn.open(path, read_mode=mode)
    next(iter(dataset))
    os.truncate(path / name, length)
    return dataset


def is_cut(found):
    """Whether an outcome is the error for a truncated file."""
    return isinstance(found, tuple) and found[0] is DatasetTruncatedError


def signal_of(function):
    """The signal that ends a child when it runs a function, or None."""
    pid, reading = fork(function)
    with os.fdopen(reading, "rb") as pipe:
        pipe.read()
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return signal.Signals(-status) if status < 0 else None


def outcomes_after_cuts(path, mode, reads):
    """The outcome of each read of an intact dataset, and in a child after each truncation."""
    good = {name: outcome(read, mn.open(path, read_mode=mode)) for name, read in reads.items()}
    found = []
    for cut in cuts(path):

        def read_all(cut=cut):
            dataset = opened_then_cut(path, mode, *cut)
            return {name: outcome(read, dataset) for name, read in reads.items()}

        found.append((cut, in_child(read_all)))
    assert found
    return good, found


def test_over_maps_whatever_reads_several_samples_raises(tmp_path, kind):
    STORED[kind].build(tmp_path / "ds", COUNT).close()
    reads = {name: read for name, read in bulk_reads(mn.open(tmp_path / "ds")).items() if name not in NOT_ONLY_BULK}

    good, found = outcomes_after_cuts(tmp_path / "ds", "mmap", reads)

    for cut, outcomes in found:
        may_be_right = () if cut[2] or ".data-" in cut[0] else outcomes
        for name, value in outcomes.items():
            right = value == good[name] and (name in UNCONCERNED[kind] or name in may_be_right)
            assert is_cut(value) or right, (name, cut)


def test_by_system_calls_every_read_is_right_or_raises(tmp_path, kind):
    STORED[kind].build(tmp_path / "ds", COUNT).close()
    dataset = mn.open(tmp_path / "ds")
    reads = bulk_reads(dataset) | single_reads(dataset)
    reads.pop("columns", None)  # the same reads of each column

    good, found = outcomes_after_cuts(tmp_path / "ds", "pread", reads)

    for cut, outcomes in found:
        assert is_cut(outcomes["list"]), cut
        for name, value in outcomes.items():
            assert is_cut(value) or value == good[name], (name, cut)


def test_error_names_the_dataset_the_file_and_its_length(tmp_path):
    STORED["strings-trained"].build(tmp_path / "ds", COUNT).close()
    sizes = tmp_path / "ds" / "c0.sizes-1"
    needed = sizes.stat().st_size
    told = {
        "mmap": f"its sizes file holds less than the {needed} bytes that the commit needs",
        "pread": f"its sizes file holds 100 bytes where the commit needs {needed}",
    }

    for mode, message in told.items():
        content = sizes.read_bytes()
        dataset = opened_then_cut(tmp_path / "ds", mode, sizes.name, 100)
        with pytest.raises(DatasetTruncatedError) as caught:
            dataset.take(range(700))
        sizes.write_bytes(content)
        assert str(caught.value).startswith(f"{tmp_path / 'ds'}: {message}")


@pytest.mark.parametrize("read", [lambda ds: ds[-1], lambda ds: ds.select(slice(9))[8]])
@pytest.mark.parametrize("name", ["c0.data-1", "c0.offsets-1"])
def test_one_sample_over_a_truncated_map_ends_the_process(tmp_path, read, name):
    """A guard would make these reads slower, so this is documented, and read_mode="pread" avoids it."""
    STORED["strings"].build(tmp_path / "ds", COUNT).close()

    def in_mode(mode):
        def run():
            with pytest.raises(DatasetTruncatedError):
                read(dataset)

        content = (tmp_path / "ds" / name).read_bytes()
        dataset = opened_then_cut(tmp_path / "ds", mode, name, 0)
        found = signal_of(run)
        (tmp_path / "ds" / name).write_bytes(content)
        return found

    assert in_mode("mmap") is signal.SIGBUS
    assert in_mode("pread") is None


@pytest.mark.parametrize("mode", ["mmap", "pread"])
def test_iteration_over_a_file_that_is_truncated_midway_raises(tmp_path, mode, kind):
    """Over a map, at the next of the checks that it makes every 256 samples."""
    STORED[kind].build(tmp_path / "ds", COUNT).close()
    expected = plain(list(mn.open(tmp_path / "ds")))
    names = [name for name in os.listdir(tmp_path / "ds") if ".data-" in name]

    def iterate():
        iterator = iter(mn.open(tmp_path / "ds", read_mode=mode))
        read = [next(iterator) for _ in range(256)]
        for name in names:
            os.truncate(tmp_path / "ds" / name, 0)
        try:
            read.extend(iterator)  # keeps the samples before the error
        except DatasetTruncatedError:
            return plain(read) if mode == "pread" else [len(read)]
        return "no error"

    found = in_child(iterate)

    assert found == [256] if mode == "mmap" else found == expected[: len(found)]


def test_iteration_over_large_samples_raises_where_pages_are_gone(tmp_path):
    """A sequential pass reads pages ahead, by a call that reports errors that would kill a reader of the map."""
    images = ArrayMmap.from_ndarray(tmp_path / "ds", np.ones((200, 1 << 18), np.uint8))

    def iterate():
        iterator = iter(images)
        for position in range(200):
            if position == 20:
                os.truncate(tmp_path / "ds" / "c0.data-1", 30 << 18)
            try:
                sample = next(iterator)
            except DatasetTruncatedError:
                return position
            assert sample.all()
        return None

    assert 20 < in_child(iterate) <= 30


@pytest.mark.parametrize("mode", ["mmap", "pread"])
def test_windows_over_a_truncated_file_raise(tmp_path, mode):
    RaggedMmap.from_lists(tmp_path / "ds", [[number] * 9 for number in range(2000)], dtype=np.int32)
    windows = mn.open(tmp_path / "ds", read_mode=mode).windows(4)
    count = len(windows)

    os.truncate(tmp_path / "ds" / "c0.data-1", PAGE)

    reads = [lambda: windows.take(range(count)), lambda: list(windows)]
    for read in [*reads, *([lambda: windows[count - 1]] if mode == "pread" else [])]:
        with pytest.raises(DatasetTruncatedError, match=f"its data file holds {PAGE} bytes"):
            read()


@pytest.mark.parametrize("mode", ["mmap", "pread"])
def test_growing_files_are_not_truncated(tmp_path, mode):
    STORED["strings"].build(tmp_path / "ds", COUNT).close()
    dataset = StringsMmap(tmp_path / "ds", read_mode=mode)

    with open(tmp_path / "ds" / "c0.data-1", "ab") as data:
        data.write(b"a torn write")

    assert len(dataset.take(slice(None))) == len(list(dataset)) == 700


def test_prefetch_of_a_truncated_file_raises(tmp_path):
    STORED["strings"].build(tmp_path / "ds", COUNT).close()
    for mode in ("mmap", "pread"):
        content = (tmp_path / "ds" / "c0.offsets-1").read_bytes()
        dataset = opened_then_cut(tmp_path / "ds", mode, "c0.offsets-1", 8)
        with pytest.raises(DatasetTruncatedError, match="its offsets file holds (8 bytes|less than the 5608 bytes)"):
            dataset.prefetch([600])
        (tmp_path / "ds" / "c0.offsets-1").write_bytes(content)
