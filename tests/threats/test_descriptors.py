"""How many descriptors a dataset takes, and what happens when there are no more."""

import errno
import os
import pickle
import resource
import subprocess
import sys

import numpy as np
import pytest

import mmap_ninja as mn
from mmap_ninja.maintenance import merge
from support.faults import in_child

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere, maps do not tell of a truncation")


def descriptors():
    """The descriptors of this process, and the one that lists them."""
    return len(os.listdir("/proc/self/fd"))


def taken_by(function):
    """How many more descriptors are open while the result of a call is there."""
    before = descriptors()
    kept = function()
    taken = descriptors() - before
    del kept
    return taken


def texts(path, count, **options):
    """Records with so many columns of text."""
    names = [f"column {number}" for number in range(count)]
    columns = dict.fromkeys(names, mn.Text(**options))
    return mn.RecordsMmap.from_generator(path, ({name: name for name in names} for _ in range(3)), columns=columns)


def test_reading_over_maps_takes_a_descriptor_for_each_column_and_three(tmp_path):
    mn.StringsMmap.from_strings(tmp_path / "strings", ["one", "two"]).close()
    texts(tmp_path / "records", 20, nullable=True, codec="zstd").close()

    assert taken_by(lambda: list(mn.open(tmp_path / "strings"))) == 0
    for name, columns in (("strings", 1), ("records", 20)):
        ds = mn.open(tmp_path / name, mode="r")
        assert taken_by(lambda name=name: (handle := mn.open(tmp_path / name), list(handle), handle[:])) <= columns + 3
        mn.open(tmp_path / name).append(ds[0])
        assert taken_by(ds.refresh) == 0
        assert len(ds) == len(list(ds))


def test_writing_takes_a_descriptor_for_each_file_and_four(tmp_path):
    texts(tmp_path / "ds", 20).close()

    def written():
        ds = mn.open(tmp_path / "ds")
        ds.append(ds[0])
        assert len(ds.take([0, -1])["column 1"]) == 2
        return ds

    assert taken_by(written) <= 20 * 2 + 2 + 4


def test_reading_by_system_calls_takes_a_descriptor_for_each_file_and_four(tmp_path):
    texts(tmp_path / "ds", 20).close()

    def read(append):
        ds = mn.open(tmp_path / "ds", read_mode="pread")
        if append:
            ds.append(ds[0])
        return ds, list(ds)

    for append in (False, True):
        assert taken_by(lambda append=append: read(append)) <= 20 * 2 + 2 + 4


def with_limit(limit, function):
    """The result of a function in a child that may have so many descriptors."""

    def child():
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        return function()

    return in_child(child)


@pytest.mark.parametrize("of", ["numbers", "texts"])
def test_a_thousand_columns_are_read_with_the_usual_limit(tmp_path, of):
    """By a new process, as its user would: the tests' own has many descriptors."""
    values = {f"c{number}": np.arange(3) if of == "numbers" else list("abc") for number in range(1000)}
    mn.RecordsMmap.from_columns(tmp_path / "ds", values).close()
    program = f"""
import resource, mmap_ninja as mn
resource.setrlimit(resource.RLIMIT_NOFILE, (1024, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
ds = mn.open({str(tmp_path / "ds")!r})
assert len(ds[1]) == len(ds.take([2])) == len(list(ds)[0]) == 1000
assert ds["c999"][2] in (2, "c")
"""

    subprocess.run([sys.executable, "-c", program], check=True)


def test_error_names_the_limit_and_what_raises_it_and_nothing_is_stored(tmp_path):
    texts(tmp_path / "ds", 80).close()
    room = descriptors() + 100

    def append():
        handle = mn.open(tmp_path / "ds")
        told = None
        try:
            handle.append(handle[0])
        except OSError as error:
            told = error.errno, str(error)
        return *told, len(handle), descriptors()

    number, message, count, left = with_limit(room, append)

    assert number == errno.EMFILE
    assert f"may have {room} files open (RLIMIT_NOFILE)" in message
    assert "resource.setrlimit" in message
    assert "ulimit -n" in message
    assert count == len(mn.open(tmp_path / "ds")) == 3
    assert left <= room - 100 + 83 + 2


def test_dataset_that_could_not_be_opened_is_not_made(tmp_path):
    def create():
        with pytest.raises(OSError, match="RLIMIT_NOFILE"):
            mn.RecordsMmap(tmp_path / "ds").append({f"c{number}": number for number in range(50)})
        return sorted(os.listdir(tmp_path / "ds")) if (tmp_path / "ds").exists() else []

    assert [name for name in with_limit(descriptors() + 30, create) if name != "LOCK"] == []


def test_change_of_columns_that_could_not_be_opened_is_not_made(tmp_path):
    texts(tmp_path / "ds", 10).close()
    before = sorted(os.listdir(tmp_path / "ds"))
    room = descriptors() + 10 + 3 + 24

    def add():
        ds = mn.open(tmp_path / "ds")
        with pytest.raises(OSError, match="RLIMIT_NOFILE"):
            ds.add_column("more", ["a", "b", "c"])
        return ds.columns

    assert len(with_limit(room, add)) == 10
    assert sorted(os.listdir(tmp_path / "ds")) == before


def test_concat_over_maps_takes_a_descriptor_for_each_column_of_each_part(tmp_path):
    paths = [tmp_path / f"part {number}" for number in range(10)]
    for path in paths:
        texts(path, 3, nullable=True, codec="zstd").close()

    def joined():
        parts = mn.concat(mn.open(path, mode="r") for path in paths)
        assert len(parts.take([*range(30)])["column 1"]) == len(list(parts)) == 30
        return parts

    pickled = pickle.dumps(joined())

    def unpickled(positions):
        parts = pickle.loads(pickled)
        parts.take(positions)
        return parts

    assert taken_by(joined) <= 10 * 3
    assert taken_by(lambda: unpickled([])) == 0
    assert taken_by(lambda: unpickled([4, 28])) <= 2 * 3
    assert taken_by(lambda: unpickled([*range(30)])) <= 10 * 3


@pytest.mark.parametrize("cls", [mn.StringsMmap, mn.RaggedMmap])
def test_concat_shows_more_parts_than_a_process_may_have_files(tmp_path, cls):
    samples = ["one", "two"] if cls is mn.StringsMmap else [np.arange(3), np.arange(5)]
    paths = [tmp_path / f"part {number}" for number in range(100)]
    for path in paths:
        cls.from_generator(path, samples).close()
    order = np.random.default_rng(0).permutation(200)

    def read():
        joined = mn.concat(mn.open(path) for path in paths)
        for of in (joined, pickle.loads(pickle.dumps(joined))):
            assert [len(of[k]) for k in order] == [len(sample) for sample in of.take(order)]
            assert list(map(len, of)) == list(map(len, samples)) * 100
        os.truncate(next(paths[-1].glob("*data*")), 0)
        with pytest.raises(mn.DatasetTruncatedError, match="part 99"):
            joined.take(order)

    # Maps may keep a quarter of the limit; what the tests before have open counts, too.
    with_limit((descriptors() + 25) * 4 // 3, read)


@pytest.mark.parametrize("codec", [None, "zstd"])  # of the first; samples of the others are compressed anew
def test_merge_takes_more_datasets_than_a_process_may_have_files(tmp_path, codec):
    paths = [tmp_path / f"part {number}" for number in range(60)]
    for path in paths:
        texts(path, 2, codec=codec if path == paths[0] else None).close()

    with_limit(descriptors() + 30, lambda: mn.merge(paths, tmp_path / "all"))

    assert len(mn.open(tmp_path / "all")) == 180


def test_merge_of_a_dataset_that_is_compacted_meanwhile_raises(tmp_path, monkeypatch):
    for name in ("a", "b"):
        mn.StringsMmap.from_strings(tmp_path / name, ["one", "two"]).close()
    check = merge._common_columns

    def compacted_after(datasets):
        columns = check(datasets)
        mn.open(tmp_path / "b").compact(order=[1, 0])
        return columns

    monkeypatch.setattr(merge, "_common_columns", compacted_after)

    with pytest.raises(mn.StaleHandleError, match="compacted"):
        mn.merge([tmp_path / "a", tmp_path / "b"], tmp_path / "all")
    assert not (tmp_path / "all" / "COMMIT").exists()


def test_reader_of_files_that_another_handle_removes_reads_all_that_it_shows(tmp_path):
    """Offsets are only mapped, so they cannot be opened again."""
    texts(tmp_path / "ds", 3).close()
    writer = mn.open(tmp_path / "ds")
    del writer[0]
    shown = mn.open(tmp_path / "ds")
    before = (shown.nbytes, shown.garbage, repr(shown), list(shown))

    writer.compact()

    assert (shown.nbytes, shown.garbage, repr(shown), list(shown)) == before
    shown.refresh()
    assert (shown.garbage, list(shown)) == (0, before[3])
