"""`read_mode`: system calls and maps read the same, for every kind and every way to read."""

import os
import pickle
import re
import shutil
import sys
import threading
from pathlib import Path

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

import mmap_ninja as mn
from mmap_ninja import ArrayMmap, CorruptDatasetError, RaggedMmap, RecordsMmap, StringsMmap
from mmap_ninja.engine import files
from support.faults import overwrite
from support.golden import GOLDEN, READABLE
from support.golden import opened as opened_golden
from support.kinds import COLUMNS, plain
from support.reads import COUNT, STORED, outcome, outcomes


def both(cls, path, **options):
    """A handle for each mode."""
    return [cls(path, read_mode=mode, **options) for mode in ("mmap", "pread")]


def stored(kind, path):
    """Store a dataset of a kind; returns its class."""
    STORED[kind].build(path, COUNT).close()
    return STORED[kind].cls


def check_same(mapped, read):
    """Check that every read returns the same in both modes."""
    assert (mapped.read_mode, read.read_mode) == ("mmap", "pread")
    expected, found = outcomes(mapped), outcomes(read)
    for name, value in expected.items():
        assert found[name] == value, name


@pytest.fixture(params=sorted(STORED))
def kind(request):
    return request.param


def test_every_read_gives_the_same(tmp_path, kind):
    cls = stored(kind, tmp_path / "ds")

    check_same(*both(cls, tmp_path / "ds"))


def test_every_read_of_writable_copies_gives_the_same(tmp_path, kind):
    cls = stored(kind, tmp_path / "ds")

    check_same(*both(cls, tmp_path / "ds", mode="c"))


def test_every_read_of_views_gives_the_same(tmp_path, kind):
    cls = stored(kind, tmp_path / "ds")
    mapped, read = both(cls, tmp_path / "ds")

    for key in (slice(20, 680), slice(None, None, -1), list(range(699, 10, -1))):
        check_same(mapped.select(key), read.select(key))


def test_every_read_of_edited_samples_gives_the_same(tmp_path, kind):
    cls = stored(kind, tmp_path / "ds")
    writer = cls(tmp_path / "ds")
    del writer[5:9]
    writer[20] = writer[26]
    writer[[301, 7]] = writer.__getitems__([313, 31])

    check_same(*both(cls, tmp_path / "ds"))
    writer.compact(order=np.arange(len(writer))[::-1])
    check_same(*both(cls, tmp_path / "ds"))


def test_samples_appended_since_are_read(tmp_path, kind):
    cls = stored(kind, tmp_path / "ds")
    mapped, read = both(cls, tmp_path / "ds")
    more = STORED[kind].samples(900, 1000)
    iterator = iter(read)
    first = next(iterator)

    read.extend(more[:500])
    cls(tmp_path / "ds").extend(more[500:])

    assert plain([first, *iterator]) == plain(list(mapped))  # the snapshot on which they were made
    read.refresh()
    mapped.refresh()
    assert len(read) == 1600
    check_same(mapped, read)


def test_new_dataset_is_written_and_read(tmp_path, kind):
    cls, samples = STORED[kind].cls, STORED[kind].samples
    if kind == "records":  # one sample does not define its columns
        RecordsMmap.create(tmp_path / "ds", COLUMNS)
    dataset = cls(tmp_path / "ds", read_mode="pread")
    assert (dataset.read_mode, list(dataset)) == ("pread", [])

    dataset.extend(samples(20))
    dataset.append(samples(1, 20)[0])

    assert plain(list(dataset)) == plain(list(mn.open(tmp_path / "ds", read_mode="mmap")))
    assert dataset.read_mode == "pread"


@pytest.mark.parametrize("name", READABLE)
def test_every_read_of_0_x_gives_the_same(name):
    check_same(*(opened_golden(name, read_mode=mode) for mode in ("mmap", "pread")))


def test_wrapped_samples_are_the_same(tmp_path):
    stored("ragged", tmp_path / "ds")
    for options in ({}, {"copy_before_wrapper_fn": False}):
        check_same(*both(RaggedMmap, tmp_path / "ds", wrapper_fn=lambda array: [array, array.sum()], **options))


@hypothesis.given(data=st.data())
def test_reads_match_a_list(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("ds") / "ds"
    expected = data.draw(st.lists(st.text(max_size=20), max_size=30))
    writer = StringsMmap.from_strings(path, expected)
    for _ in range(data.draw(st.integers(0, 4))):
        at = data.draw(st.integers(0, len(expected)))
        if at == len(expected):
            expected.append(data.draw(st.text(max_size=20)))
            writer.append(expected[-1])
        elif data.draw(st.booleans()):
            del expected[at], writer[at]
        else:
            expected[at] = data.draw(st.text(max_size=20))
            writer[at] = expected[at]

    dataset = StringsMmap(path, read_mode="pread")
    key = data.draw(st.slices(len(expected)))
    indices = data.draw(st.lists(st.integers(-len(expected), len(expected) - 1), max_size=9)) if expected else []

    assert list(dataset) == expected
    assert dataset[key] == expected[key]
    assert dataset.take(indices) == [expected[index] for index in indices]
    assert dataset.byte_lengths.tolist() == [len(text.encode()) for text in expected]
    assert [dataset.count(text) for text in expected] == [expected.count(text) for text in expected]


def test_errors_name_the_samples_own_row(tmp_path):
    StringsMmap.from_strings(tmp_path / "ds", ["a"] * 600)
    overwrite(tmp_path / "ds" / "c0.data-1", 555, b"\xff")
    overwrite(tmp_path / "ds" / "c0.offsets-1", 577 * 8, (1 << 40).to_bytes(8, "little"))

    for dataset in both(StringsMmap, tmp_path / "ds"):
        for read, row in (
            (lambda ds: ds[555], 555),
            (lambda ds: ds.take([3, 555]), 555),
            (lambda ds: ds[550:560], 555),
            (lambda ds: ds.take_jagged([4, 577]), 577),
            (lambda ds: ds.byte_lengths, 576),
            (lambda ds: ds.count("a"), 576),
        ):
            with pytest.raises(CorruptDatasetError, match=rf"sample {row}\b"):
                read(dataset)


def test_iteration_continues_after_a_damaged_sample(tmp_path):
    StringsMmap.from_strings(tmp_path / "ds", ["a"] * 600)
    overwrite(tmp_path / "ds" / "c0.offsets-1", 577 * 8, (1 << 40).to_bytes(8, "little"))
    iterator = iter(StringsMmap(tmp_path / "ds", read_mode="pread"))

    read = []
    for position in range(600):
        try:
            next(iterator)
        except CorruptDatasetError as error:
            assert re.search(rf"sample {position}\b", str(error))
        else:
            read.append(position)

    assert sorted(set(range(600)) - set(read)) == [576, 577]


def test_nothing_of_a_dataset_is_mapped(tmp_path, kind):
    if not Path("/proc/self/maps").exists():
        pytest.skip("needs /proc")
    cls = stored(kind, tmp_path / "dataset-of-this-test")

    mapped, read = both(cls, tmp_path / "dataset-of-this-test")
    assert "dataset-of-this-test" in Path("/proc/self/maps").read_text()  # so it can be seen
    mapped.close()
    outcomes(read)

    assert "dataset-of-this-test" not in Path("/proc/self/maps").read_text()


def test_kept_samples_of_an_iteration_keep_no_others(tmp_path):
    ArrayMmap.from_ndarray(tmp_path / "ds", np.zeros((64, 1 << 12), np.uint8))

    kept = list(ArrayMmap(tmp_path / "ds", read_mode="pread"))

    assert all(sample.base is None and not sample.flags.writeable for sample in kept)


def test_filesystem_decides_by_default(tmp_path, kind, monkeypatch):
    cls = stored(kind, tmp_path / "ds")
    monkeypatch.setattr(files, "reads_by_map", lambda _fd: True)
    assert cls(tmp_path / "ds").read_mode == "mmap"

    monkeypatch.setattr(files, "reads_by_map", lambda _fd: False)

    assert cls(tmp_path / "ds").read_mode == "pread"
    assert mn.open(tmp_path / "ds").read_mode == "pread"
    assert mn.open(tmp_path / "ds", read_mode="mmap").read_mode == "mmap"
    remote = cls(tmp_path / "ds")
    remote.append(remote[3])
    del remote[1]
    remote.compact()
    assert plain(list(remote)) == plain(list(mn.open(tmp_path / "ds", read_mode="mmap")))


def test_filesystem_decides_for_0_x_and_its_upgrade(tmp_path, monkeypatch):
    shutil.copytree(GOLDEN / "0.9.0-ragged-mixed", tmp_path / "ds")
    expected = plain(list(RaggedMmap(tmp_path / "ds")))
    monkeypatch.setattr(files, "reads_by_map", lambda _fd: False)

    dataset = RaggedMmap(tmp_path / "ds")
    assert dataset.read_mode == "pread"
    dataset.append(dataset[0])

    assert plain(list(dataset)) == [*expected, expected[0]]
    assert dataset.read_mode == "pread"


REMOTE = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "lustre", "9p", "gpfs", "ceph", "afs", "fuse", "fuseblk", "virtiofs"}


@pytest.mark.skipif(not Path("/proc/mounts").exists(), reason="needs /proc")
def test_filesystems_are_distinguished():
    found = {}
    for line in Path("/proc/mounts").read_text().splitlines():
        _, place, kind = line.split()[:3]
        found[place.encode().decode("unicode_escape")] = kind  # the last one covers the others

    for place, kind in found.items():
        try:
            fd = os.open(place, os.O_RDONLY)
        except OSError:
            continue
        if kind != "autofs":
            assert files.reads_by_map(fd) is (kind.partition(".")[0] not in REMOTE), (place, kind)
        os.close(fd)
    assert found


def test_views_pickles_and_columns_keep_the_mode(tmp_path):
    stored("records", tmp_path / "ds")
    dataset = RecordsMmap(tmp_path / "ds", read_mode="pread")

    for handle in (
        dataset.select([1, 2]),
        dataset["text"],
        dataset["more"],
        dataset[["text"]].select(slice(3)),
        pickle.loads(pickle.dumps(dataset)),
        pickle.loads(pickle.dumps(dataset.select(slice(3)))),
        pickle.loads(pickle.dumps(dataset["image"])),
    ):
        assert handle.read_mode == "pread"


def test_handle_of_a_build_has_the_mode_of_its_filesystem(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "reads_by_map", lambda _fd: False)

    assert StringsMmap.from_strings(tmp_path / "ds", ["a"]).read_mode == "pread"


def _append_all(read, iterator):
    for sample in iterator:
        read.append(sample)


@pytest.mark.parametrize("options", [{}, {"zstd_level": 1}])
def test_threads_that_share_an_iterator_get_each_sample_once(tmp_path, options):
    """A bug once: samples decompressed by one thread were taken for the chunk of another."""
    texts = [f"{number} " * 20 for number in range(20_000)]
    StringsMmap.from_generator(tmp_path / "ds", texts, **options).close()
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for _ in range(4):
            iterator, read = iter(StringsMmap(tmp_path / "ds", read_mode="pread")), []
            threads = [threading.Thread(target=_append_all, args=(read, iterator)) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

            assert sorted(read) == sorted(texts)
    finally:
        sys.setswitchinterval(interval)


def test_unknown_mode_raises(tmp_path):
    with pytest.raises(ValueError, match="read_mode 'read' is unknown"):
        StringsMmap(tmp_path / "ds", read_mode="read")


def test_closed_handle_raises(tmp_path):
    stored("strings", tmp_path / "ds")
    dataset = StringsMmap(tmp_path / "ds", read_mode="pread")
    view = dataset.select(slice(3))

    dataset.close()

    assert outcome(lambda ds: ds[0], dataset)[0] is ValueError
    assert len(list(view)) == 3
