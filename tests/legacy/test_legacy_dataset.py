"""Opened directories of 0.x: all reads return what 0.x stored, and nothing is changed."""

import os
import pickle
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest

import mmap_ninja
from mmap_ninja import (
    ArrayMmap,
    BytesMmap,
    CorruptDatasetError,
    LeftoverBytesWarning,
    RaggedMmap,
    ReadOnlyError,
    StaleHandleError,
    StringsMmap,
)
from support.faults import as_nobody, in_child
from support.golden import (
    ARRAY,
    CLASSES,
    EXPECTED,
    F_ORDER,
    GOLDEN,
    MIXED,
    PLAIN,
    RAGGED,
    READABLE,
    SCALARS,
    STRINGS,
    content,
    expected_samples,
    opened,
    plain,
)


@pytest.mark.parametrize("name", READABLE)
def test_class_reads_samples_of_0_x(name):
    before, samples = content(GOLDEN / name), expected_samples(name)

    found = opened(name)

    assert len(found) == len(samples)
    assert plain(found) == plain(samples)
    assert plain(found[i] for i in range(-len(samples), len(samples))) == plain(samples * 2)
    assert plain(found[::-2]) == plain(samples[::-2])
    assert plain(found.take([*range(len(samples))[::-1]])) == plain(samples[::-1])
    assert plain(found.__getitems__(list(range(len(samples))))) == plain(samples)
    assert plain(found.select([*range(len(samples))][::-1]).select(slice(1, None))) == plain(samples[::-1][1:])
    assert plain(opened(name, mode="c")) == plain(samples)
    assert (found.complete, found.metadata) == (True, {})
    if "zstd" not in name:
        assert found.nbytes == sum(len(s.encode()) if isinstance(s, str) else s.nbytes for s in samples)
    assert content(GOLDEN / name) == before


@pytest.mark.parametrize("name", PLAIN)
def test_open_finds_the_class(name):
    found = mmap_ninja.open(GOLDEN / name, mode="r")

    assert type(found) is CLASSES[EXPECTED[name]["kind"]]
    assert plain(found) == plain(expected_samples(name))


@pytest.mark.parametrize("name", [STRINGS, RAGGED, MIXED, ARRAY, F_ORDER])
def test_index_and_count_find_samples(name):
    samples, found = expected_samples(name), opened(name)

    assert [found.index(sample) for sample in samples] == list(range(len(samples)))
    assert [found.count(sample) for sample in samples] == [1] * len(samples)
    assert samples[1] in found


@pytest.mark.parametrize("name", READABLE)
def test_pickle_comes_back_to_the_same_samples(name):
    samples, found = expected_samples(name), opened(name)

    again, view = (pickle.loads(pickle.dumps(handle)) for handle in (found, found.select(slice(1, None))))

    assert plain(again) == plain(samples)
    assert plain(view) == plain(samples[1:])


def test_pickle_of_a_dataset_that_0_x_changed_is_stale(copy):
    path = copy(STRINGS)
    pickled = pickle.dumps(StringsMmap(path))
    os.utime(path / "data.ninja", ns=(1, 1))

    with pytest.raises(StaleHandleError, match="mmap_ninja 0.x changed the dataset after this handle was pickled"):
        pickle.loads(pickled)


def test_index_out_of_range_raises():
    for name in READABLE:
        with pytest.raises(IndexError, match="is out of range for"):
            opened(name).take([len(expected_samples(name))])


def test_array_in_f_order_is_one_array():
    expected, found = np.array(expected_samples(F_ORDER)), ArrayMmap(GOLDEN / F_ORDER)
    out = np.zeros((2, 3), np.float32)

    np.testing.assert_array_equal(np.asarray(found), expected, strict=True)
    np.testing.assert_array_equal(found[1:3], expected[1:3], strict=True)
    np.testing.assert_array_equal(found[1, 2], expected[1, 2])
    np.testing.assert_array_equal(found[np.array([True, False, True, False])], expected[::2])
    assert found.take([2, 0], out=out) is out
    np.testing.assert_array_equal(out, expected[[2, 0]])
    np.testing.assert_array_equal(np.asarray(found.select([3, 1])), expected[[3, 1]])
    np.testing.assert_array_equal(np.asarray(found.select(slice(None, None, -1))), expected[::-1])
    assert found.take([]).shape == (0, 3)
    assert found[1].flags.writeable is False
    assert found.take([1]).flags.c_contiguous


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("shape", [(3, 0, 2), (0, 4, 5), (5, 2, 3, 4), (1, 7)])
def test_arrays_of_any_shape_are_read(tmp_path, shape, order):
    array = np.arange(np.prod(shape), dtype=np.int16).reshape(shape)
    (tmp_path / "data.ninja").write_bytes(array.tobytes(order) or b"\0")
    (tmp_path / "dtype.ninja").write_bytes(b"int16")
    (tmp_path / "order.ninja").write_bytes(order.encode())
    (tmp_path / "shape.ninja").write_bytes(np.array(shape, "<u8").tobytes())
    (tmp_path / "type.ninja").write_bytes(b"numpy")

    found = ArrayMmap(tmp_path)

    np.testing.assert_array_equal(np.asarray(found), array, strict=True)
    np.testing.assert_array_equal(found.take(slice(None, None, -1)), array[::-1], strict=True)
    mmap_ninja.upgrade(tmp_path)
    np.testing.assert_array_equal(np.asarray(ArrayMmap(tmp_path)), array, strict=True)


def test_ragged_shapes_are_in_the_schema():
    flat, square, mixed, scalars = (RaggedMmap(GOLDEN / n) for n in ("0.9.0-ragged-1d", RAGGED, MIXED, SCALARS))

    assert flat.lengths.tolist() == [3, 0, 1, 5]
    assert flat.shapes.tolist() == [[3], [0], [1], [5]]
    assert square.lengths.tolist() == [2, 1, 0, 3]
    assert square.shapes.tolist() == [[2, 3], [1, 1], [0, 4], [3, 2]]
    assert square.select([3, 0]).shapes.tolist() == [[3, 2], [2, 3]]
    assert list(mixed.shapes) == [(2, 2), (3,), (), (1, 2, 3), (0,)]
    assert list(scalars.shapes) == [(), (), (2,), (0,)]
    assert scalars.flattened_shapes.tolist() == [1, 1, 2, 0]
    assert (square.starts.tolist(), square.ends.tolist()) == ([0, 6, 7, 7], [6, 7, 7, 13])
    assert len(square.memmap) == 13
    with pytest.raises(TypeError, match="sample 2 is a scalar"):
        mixed.lengths


def test_ragged_batches_and_windows():
    flat, square = RaggedMmap(GOLDEN / "0.9.0-ragged-1d"), RaggedMmap(GOLDEN / RAGGED)

    padded, lengths = flat.take_padded([0, 2], value=9)
    values, offsets = flat.take_jagged([3, 0])

    assert padded.tolist() == [[-3, -2, -1], [-3, 9, 9]]
    assert lengths.tolist() == [3, 1]
    assert (values.tolist(), offsets.tolist()) == ([-3, -2, -1, 0, 1, -3, -2, -1], [0, 5, 8])
    assert flat.windows(2).take([0, 3]).tolist() == [[-3, -2], [-1, 0]]
    assert len(flat.windows(2, 1, within_samples=True)) == 6
    assert square.take_padded([0, 3])[0].shape == (2, 3, 3)
    with pytest.raises(ValueError, match="windows: expected samples that differ in the first axis only"):
        square.windows(2)


def test_strings_without_objects():
    texts, found = expected_samples(STRINGS), StringsMmap(GOLDEN / STRINGS)

    values, offsets = found.take_jagged([2, 0])

    assert bytes(values[: offsets[1]]).decode() == texts[2]
    assert found.byte_lengths.tolist() == [len(text.encode()) for text in texts]


@pytest.mark.parametrize(("name", "cls"), [(STRINGS, BytesMmap), (ARRAY, RaggedMmap), (RAGGED, StringsMmap)])
def test_wrong_class_names_the_kind(name, cls):
    with pytest.raises(TypeError, match=f"found '{EXPECTED[name]['kind']}'; mmap_ninja.open finds the class"):
        cls(GOLDEN / name)


def test_names_of_index_folders_are_for_0_x_only(tmp_path, copy):
    StringsMmap.from_strings(tmp_path / "new", ["a"])
    upgraded = copy("0.9.0-strings-keys")
    StringsMmap(upgraded, starts_key="from", ends_key="to").append("b")

    for path in (tmp_path / "new", tmp_path / "missing", upgraded):
        with pytest.raises(ValueError, match="these are options for directories of mmap_ninja 0.x"):
            StringsMmap(path, starts_key="from", ends_key="to")
    with pytest.raises(ValueError, match="other names only serve to read"):
        RaggedMmap.from_lists(tmp_path / "r", [[1]], shapes_key="forms")
    with pytest.raises(CorruptDatasetError, match="pass that as a key"):
        StringsMmap(GOLDEN / "0.9.0-strings-keys")


@pytest.mark.parametrize("name", [n for n, entry in EXPECTED.items() if entry["kind"] == "refused"])
def test_inconsistent_directory_raises_with_the_reason(name):
    with pytest.raises(CorruptDatasetError) as raised:
        mmap_ninja.open(GOLDEN / name)

    assert EXPECTED[name]["message"] in str(raised.value)


def test_compressed_strings_without_the_library_say_what_to_install(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)

    with pytest.raises(ImportError, match=r'zstd: .*pip install "mmap_ninja\[zstd\]"'):
        StringsMmap(GOLDEN / "0.9.0-strings-zstd")


def test_leftovers_of_an_interrupted_append_warn(copy):
    path = copy(STRINGS)
    with open(path / "data.ninja", "ab") as file:
        file.write(b"left")

    array_path = copy(ARRAY, to="array")
    with open(array_path / "data.ninja", "ab") as file:
        file.write(b"left")

    with pytest.warns(LeftoverBytesWarning, match="data.ninja has more bytes") as caught:
        texts = StringsMmap(path)
        mmap_ninja.open(path)
        ArrayMmap(array_path)
        mmap_ninja.upgrade(array_path)

    assert [warning.filename for warning in caught] == [__file__] * 4
    np.testing.assert_array_equal(np.asarray(ArrayMmap(array_path)), np.array(expected_samples(ARRAY)))
    texts.append("new")
    assert list(mmap_ninja.open(path)) == [*expected_samples(STRINGS), "new"]


def test_refresh_sees_new_samples_of_0_x(copy):
    path = copy(ARRAY)
    array = ArrayMmap(path)
    with open(path / "data.ninja", "ab") as file:
        file.write(np.ones(3, np.float32).tobytes())
    (path / "shape.ninja").write_bytes(np.array([5, 3], "<u8").tobytes())
    assert len(array) == 4

    array.refresh()

    assert array.shape == (5, 3)
    assert array[4].tolist() == [1, 1, 1]


def test_bad_offsets_raise_when_read(copy):
    path = copy(STRINGS)
    starts = np.fromfile(path / "starts" / "data.ninja", "<i8")
    starts[2] = -5
    starts.tofile(path / "starts" / "data.ninja")
    texts = StringsMmap(path)

    assert texts[1] == expected_samples(STRINGS)[1]
    with pytest.raises(CorruptDatasetError):
        texts[2]
    with pytest.raises(CorruptDatasetError):
        list(texts)


def test_read_only_handle_and_filesystem_refuse_changes(copy):
    path = copy(STRINGS)
    before = content(path)

    with pytest.raises(ReadOnlyError, match="opened with mode 'r'"):
        StringsMmap(path, mode="r").append("x")
    with pytest.raises(ReadOnlyError, match="a view is read-only"):
        StringsMmap(path).select([0]).append("x")
    path.chmod(0o555)
    path.parent.chmod(0o755)
    for folder in path.parent.parents:
        if folder.stat().st_uid == os.getuid() and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o5)

    def change():
        outcomes = []
        for act in (lambda: StringsMmap(path).append("x"), lambda: mmap_ninja.upgrade(path)):
            try:
                act()
            except ReadOnlyError as error:
                outcomes.append(str(error))
        return outcomes, list(StringsMmap(path))

    (first, second), texts = as_nobody(change)

    assert "cannot be written" in first
    assert "cannot be written" in second
    assert texts == expected_samples(STRINGS)
    assert content(path) == before


def test_flush_and_close_change_nothing(copy):
    path = copy(STRINGS)
    before = content(path)

    with StringsMmap(path) as texts:
        texts.flush()

    assert content(path) == before
    with pytest.raises(ValueError, match="closed"):
        texts[0]


def test_forked_reader_sees_the_samples(copy):
    texts = StringsMmap(copy(STRINGS))

    assert in_child(lambda: list(texts)) == expected_samples(STRINGS)


def test_sample_that_does_not_fit_upgrades_nothing(copy):
    path = copy(RAGGED)
    before = content(path)

    with pytest.raises(TypeError):
        RaggedMmap(path).append("no array")

    assert content(path) == before


def test_no_golden_directory_is_warned_of():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in READABLE:
            opened(name)


@pytest.mark.parametrize("name", PLAIN)
def test_legacy_directories_become_tables(name, tmp_path):
    dataset = opened(name)

    dataset.to_arrow().validate(full=True)
    again = type(dataset).from_arrow(tmp_path / "again", dataset)

    assert plain(again) == plain(expected_samples(name))


def test_commit_id_depends_on_files_only(tmp_path):
    """A bug once: it depended on names of the library's classes, so that a later version could not open it."""
    shutil.copytree(GOLDEN / STRINGS, tmp_path / "ds")
    for file in (tmp_path / "ds").rglob("*"):
        os.utime(file, ns=(0, 10**18))

    assert mmap_ninja.open(tmp_path / "ds").commit_id == "873d716dea6ac48d-6-0-0000000000000000"
