"""The functions of 0.x for arrays: writable memmaps, and what becomes of checksums."""

import itertools

import numpy as np
import pytest

import mmap_ninja as mn
from mmap_ninja import ArrayMmap, NotADatasetError, generic, numpy
from support import reference_reader
from support.faults import slots

NUMBERS = np.arange(24, dtype=np.int32).reshape(4, 3, 2)


def meta(path):
    return reference_reader.read_meta(path, reference_reader.read_slots(path / "COMMIT")[0])


def test_names_are_those_of_0_9():
    for name in ("from_ndarray", "from_generator", "open_existing", "extend_dir", "extend", "append"):
        assert getattr(mn, f"np_{name}") is getattr(numpy, name)
    assert mn.open_existing is generic.open_existing


def test_stored_array_is_a_writable_memmap(tmp_path):
    memmap = mn.np_from_ndarray(tmp_path / "ds", NUMBERS)

    assert type(memmap) is np.memmap
    assert memmap.tolist() == NUMBERS.tolist()
    memmap[1] = 7
    memmap.flush()
    assert ArrayMmap(tmp_path / "ds")[1].tolist() == [[7, 7]] * 3


def test_generated_samples_are_a_memmap(tmp_path):
    memmap = mn.np_from_generator(tmp_path / "deep" / "ds", iter(NUMBERS), 3)

    assert memmap.tolist() == NUMBERS.tolist()
    assert memmap.flags.writeable


def test_append_and_extend_find_the_dataset_by_the_file_name(tmp_path):
    memmap = mn.np_from_ndarray(tmp_path / "ds", NUMBERS)

    mn.np_append(memmap, NUMBERS[0])
    mn.np_extend(memmap, NUMBERS[:2])
    mn.np_extend_dir(tmp_path / "ds", NUMBERS[3:])

    assert mn.np_open_existing(tmp_path / "ds").tolist() == NUMBERS[[0, 1, 2, 3, 0, 0, 1, 3]].tolist()
    assert len(memmap) == 4


@pytest.mark.parametrize(
    ("added", "error", "message"),
    [
        (NUMBERS * 1.0, TypeError, "the dataset's dtype int32 cannot hold these float64 values"),
        (NUMBERS[:, :2], ValueError, r"expected shape \(3, 2\), got \(2, 2\)"),
        ([[2**40] * 2] * 3, TypeError, "cannot hold 1099511627776"),
    ],
)
def test_extending_with_something_else_raises(tmp_path, added, error, message):
    """In 0.9 they were cast silently."""
    memmap = mn.np_from_ndarray(tmp_path / "ds", NUMBERS)

    with pytest.raises(error, match=message):
        mn.np_extend(memmap, added)


@pytest.mark.parametrize("shape", [(0, 3), (2, 0)])
def test_memmap_of_nothing(tmp_path, shape):
    memmap = mn.np_from_ndarray(tmp_path / "ds", np.empty(shape, "u1"))

    mn.np_extend(memmap, np.ones((1, shape[1]), "u1"))

    assert type(memmap) is np.memmap
    assert mn.np_open_existing(tmp_path / "ds").shape == (shape[0] + 1, shape[1])


def test_modes(tmp_path):
    ArrayMmap.from_ndarray(tmp_path / "ds", NUMBERS)

    assert not mn.np_open_existing(tmp_path / "ds").flags.writeable
    copy_on_write = mn.np_open_existing(tmp_path / "ds", "c")
    copy_on_write[:] = 0
    assert mn.np_open_existing(tmp_path / "ds").tolist() == NUMBERS.tolist()
    assert meta(tmp_path / "ds")["columns"][0]["sealed"]
    with pytest.raises(ValueError, match="mode 'w\\+' is unknown"):
        mn.np_open_existing(tmp_path / "ds", "w+")


def test_writing_in_place_leaves_the_sums_honest(tmp_path):
    big = np.random.default_rng(0).integers(0, 255, (3000, 100), np.uint8)
    stored = ArrayMmap.from_ndarray(tmp_path / "ds", big)
    assert (tmp_path / "ds" / "sums-1").stat().st_size == 24 * (big.nbytes // 65536)

    memmap = mn.np_open_existing(tmp_path / "ds", "r+")
    memmap[5] = 0
    memmap[2999] = 1
    stored.refresh()
    stored.extend(big[:1000])
    stored.close()

    assert not meta(tmp_path / "ds")["columns"][0]["sealed"]
    found = reference_reader.read(tmp_path / "ds")
    assert [row for _, row in found[5:7]] == [bytes(100), big[6].tobytes()]
    assert len(found) == 4000
    assert ArrayMmap(tmp_path / "ds")[2999].tolist() == [1] * 100


def test_a_second_writable_memmap_changes_no_files(tmp_path):
    mn.np_from_ndarray(tmp_path / "ds", NUMBERS)
    before = sorted(file.name for file in (tmp_path / "ds").iterdir())

    mn.np_open_existing(tmp_path / "ds", "r+")

    assert sorted(file.name for file in (tmp_path / "ds").iterdir()) == before


def test_writers_of_before_go_on_after_a_memmap_was_given_out(tmp_path):
    writer = ArrayMmap.from_ndarray(tmp_path / "ds", NUMBERS)
    writer.append(NUMBERS[0])

    mn.np_open_existing(tmp_path / "ds", "r+")[0] = 9
    writer.append(NUMBERS[1])
    writer.flush()

    assert [int(sample.sum()) for sample in ArrayMmap(tmp_path / "ds")] == [54, *NUMBERS[[1, 2, 3, 0, 1]].sum((1, 2))]


def test_unsealed_tail_of_another_boot_is_not_trusted(tmp_path, monkeypatch):
    memmap = mn.np_from_ndarray(tmp_path / "ds", NUMBERS)
    mn.np_append(memmap, NUMBERS[0])
    assert len(ArrayMmap(tmp_path / "ds")) == 5

    monkeypatch.setattr("mmap_ninja.engine.files.boot_id", lambda: b"another boot....")

    assert len(ArrayMmap(tmp_path / "ds")) == 4
    assert {slot.rows for slot in slots(tmp_path / "ds")} >= {4, 5}


def test_wrong_paths_raise(tmp_path):
    mn.StringsMmap.from_strings(tmp_path / "texts", ["a"])
    with pytest.raises(TypeError, match="expected a dataset of kind 'array', found 'strings'"):
        mn.np_open_existing(tmp_path / "texts")
    with pytest.raises(NotADatasetError):
        mn.np_open_existing(tmp_path / "missing")
    with pytest.raises(ValueError, match="the dataset is empty, so dtype and shape are unknown"):
        ArrayMmap.from_generator(tmp_path / "empty", [])
        mn.np_open_existing(tmp_path / "empty")
    with pytest.raises(ValueError, match="got one without dimensions"):
        mn.np_from_ndarray(tmp_path / "scalar", 5)


def test_open_existing_returns_the_same_as_0_9(tmp_path):
    mn.np_from_ndarray(tmp_path / "array", NUMBERS)
    mn.RaggedMmap.from_lists(tmp_path / "ragged", [[1, 2], [3]])
    mn.StringsMmap.from_strings(tmp_path / "strings", ["a", "b"])

    array, ragged, strings = (mn.open_existing(tmp_path / name) for name in ("array", "ragged", "strings"))
    assert (type(array), type(ragged), type(strings)) == (np.memmap, mn.RaggedMmap, mn.StringsMmap)
    wrapped = [mn.open_existing(tmp_path / name, wrapper_fn=len) for name in ("array", "ragged", "strings")]
    assert [type(samples) for samples in wrapped] == [mn.Wrapped, mn.RaggedMmap, mn.Wrapped]
    assert [samples[0] for samples in wrapped] == [3, 2, 1]
    assert [len(samples) for samples in wrapped] == [4, 2, 2]
    assert list(itertools.islice(wrapped[2], 5)) == [1, 1]


def test_wrapped_copies_by_default():
    def add(sample):
        sample += 1
        return sample

    data = np.zeros((2, 2))
    assert mn.Wrapped(data, add)[0].tolist() == [1, 1]
    assert data.sum() == 0
    assert mn.Wrapped(data, add, copy_before_wrapper_fn=False)[0:2].tolist() == [[1, 1], [1, 1]]
    assert data.sum() == 4
