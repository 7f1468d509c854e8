"""Merged datasets: the samples in order, the files copied, complete or not at all."""

import dataclasses
import os
import re
import shutil

import numpy as np
import pytest

import mmap_ninja as mn
from mmap_ninja import (
    ArrayMmap,
    BytesMmap,
    CorruptDatasetError,
    IncompleteDatasetWarning,
    RecordsMmap,
    StringsMmap,
    _kernel,
)
from mmap_ninja.engine import files
from support.faults import watched
from support.golden import GOLDEN
from support.kinds import KINDS, plain


@pytest.fixture(params=KINDS)
def kind(request):
    return KINDS[request.param]


def built(kind, path, numbers):
    """A dataset of a kind, and its samples."""
    return kind.build(path, len(numbers), numbers.start), kind.samples(len(numbers), numbers.start)


# ---- results


def test_merge_has_all_samples_in_order(tmp_path, kind, capsys):
    expected = []
    for name, numbers in (("a", range(10)), ("b", range(10, 12)), ("c", range(0)), ("d", range(12, 40))):
        expected += built(kind, tmp_path / name, numbers)[1]

    mn.merge([tmp_path / name for name in "abcd"], tmp_path / "deep" / "out")

    assert capsys.readouterr().err == ""
    merged = mn.open(tmp_path / "deep" / "out")
    assert type(merged) is kind.cls
    assert merged.complete
    assert plain(list(merged)) == plain(expected)
    merged.append(expected[3])
    assert plain(list(mn.open(tmp_path / "deep" / "out"))) == plain([*expected, expected[3]])
    assert sorted(os.listdir(tmp_path / "deep")) == ["out"]


def test_merge_leaves_edited_samples_behind(tmp_path, kind):
    one, samples = built(kind, tmp_path / "a", range(20))
    other, others = built(kind, tmp_path / "b", range(20, 30))
    del one[::3], samples[::3]
    one[4] = samples[4] = kind.sample(67)
    del other[:], others[:]

    mn.merge([tmp_path / "a", tmp_path / "b", tmp_path / "a"], tmp_path / "out")

    merged = mn.open(tmp_path / "out")
    assert plain(list(merged)) == plain(samples * 2)
    assert merged.garbage == 0


def test_merge_of_large_samples_has_the_sums_of_its_blocks(tmp_path):
    samples = [os.urandom(150_000), b"x", os.urandom(300_000)]
    one = BytesMmap.from_bytes(tmp_path / "a", [b"gone" * 50_000, *samples])
    del one[0]

    mn.merge([tmp_path / "a", tmp_path / "a"], tmp_path / "out")

    assert list(mn.open(tmp_path / "out")) == samples * 2
    data = (tmp_path / "out" / "c0.data-1").read_bytes()
    sums = np.fromfile(tmp_path / "out" / "sums-1", np.uint64).reshape(-1, 3)
    assert len(sums) == len(data) // 65536
    for file, block, found in sums.tolist():
        assert found == _kernel.xxh64(data[block * 65536 : (block + 1) * 65536], file << 48 | block)


def test_merge_replaces_a_dataset_that_readers_keep(tmp_path):
    built(KINDS["strings"], tmp_path / "a", range(5))
    StringsMmap.from_strings(tmp_path / "out", ["old"])
    reader = StringsMmap(tmp_path / "out")

    mn.merge([tmp_path / "a"], tmp_path / "out", if_exists="replace", metadata={"v": 2}, verbose=True)

    assert list(reader) == ["old"]
    reader.refresh()
    assert list(reader) == list(StringsMmap(tmp_path / "a"))
    assert reader.metadata == {"v": 2}


def test_merge_takes_the_metadata_of_the_first(tmp_path):
    StringsMmap.from_strings(tmp_path / "a", ["x"], metadata={"v": 1})

    mn.merge([tmp_path / "a", tmp_path / "a"], tmp_path / "out")

    assert mn.open(tmp_path / "out").metadata == {"v": 1}


@pytest.mark.parametrize("names", [["none", "one", "two"], ["one", "none", "two"], ["one", "two", "none"]])
def test_records_without_columns_yet_take_those_of_the_others(tmp_path, names):
    """A bug once: the first of three had no columns, and the third was compared with it."""
    for name, samples in (("none", []), ("one", [{"n": 1}]), ("two", [{"n": 2}])):
        RecordsMmap.from_generator(tmp_path / name, samples)

    mn.merge([tmp_path / name for name in names], tmp_path / "out")

    assert list(mn.open(tmp_path / "out")) == [{"n": 1}, {"n": 2}]


@pytest.mark.parametrize("names", [["full", "empty"], ["empty", "full"], ["empty", "full", "empty", "full"]])
def test_dataset_without_samples_takes_the_dictionary_of_the_others(tmp_path, names):
    samples = [f"sample {k} of {k * k} " * 5 for k in range(2000)]
    for name, stored in (("full", samples), ("empty", [])):
        StringsMmap.from_strings(tmp_path / name, stored, zstd_level=3, zstd_train_dictionary_size=2048)

    mn.merge([tmp_path / name for name in names], tmp_path / "out")

    merged = mn.open(tmp_path / "out")
    merged.append("one more")
    assert list(merged) == [*samples * names.count("full"), "one more"]


def test_build_that_has_not_ended_is_merged_with_a_warning(tmp_path):
    def interrupted():
        yield from "abc"
        raise RuntimeError("source")

    with pytest.raises(RuntimeError, match="source"):
        StringsMmap.from_generator(tmp_path / "a", interrupted(), batch_size=2)

    with pytest.warns(IncompleteDatasetWarning, match=r"a: .* has not ended; only the 2 samples") as warned:
        mn.merge([tmp_path / "a"], tmp_path / "out")

    assert warned[0].filename == __file__
    assert list(mn.open(tmp_path / "out")) == ["a", "b"]


TEXTS = [f"sample {k} of {k * k} " * (k % 5) for k in range(2000)]
STORED = {
    "plain": {},
    "fast": {"zstd_level": -1},
    "good": {"zstd_level": 9},
    "trained": {"zstd_level": 3, "zstd_train_dictionary_size": 2048},
}


@pytest.mark.parametrize("other", STORED)
@pytest.mark.parametrize("first", STORED)
def test_samples_that_are_compressed_otherwise_are_recoded(tmp_path, monkeypatch, first, other):
    monkeypatch.setattr("mmap_ninja.engine.copying._BYTES_AT_ONCE", 5000)
    StringsMmap.from_strings(tmp_path / "a", TEXTS, **STORED[first])
    texts, expected = StringsMmap.from_strings(tmp_path / "b", TEXTS[::-1], **STORED[other]), TEXTS[::-1]
    del texts[5:900:2], expected[5:900:2]
    texts[3] = expected[3] = "größer" * 900

    mn.merge([tmp_path / "b", tmp_path / "a", tmp_path / "b"], tmp_path / "out")

    merged = mn.open(tmp_path / "out")
    assert list(merged) == [*expected, *TEXTS, *expected]
    assert merged.byte_lengths.tolist() == [len(text.encode()) for text in merged]
    assert merged.verify("full").ok
    (column,) = merged._state.columns
    assert column.type.codec == texts._state.columns[0].type.codec


def test_columns_in_another_order_are_matched_by_name(tmp_path):
    RecordsMmap.from_generator(tmp_path / "a", [{"n": 1, "of": {"t": "one", "r": [1]}}])
    RecordsMmap.from_generator(tmp_path / "b", [{"of": {"r": [2, 2], "t": "two"}, "n": 2}])

    mn.merge([tmp_path / "b", tmp_path / "a"], tmp_path / "out")

    merged = mn.open(tmp_path / "out")
    assert merged.columns == ["of.r", "of.t", "n"]
    assert plain(merged.take([1, 0])) == plain(
        {"of": {"r": [np.array([1]), np.array([2, 2])], "t": ["one", "two"]}, "n": np.array([1, 2])}
    )


@pytest.mark.parametrize("names", ["ab", "ba"])
def test_merge_of_columns_of_which_only_some_are_nullable_is_nullable(tmp_path, names):
    columns = {
        "t": mn.Text(),
        "n": mn.Scalar("int8"),
        "r": mn.Ragged("int8"),
        "j": mn.Json(),
        "z": mn.Text(codec="zstd"),
    }
    nullable = {name: dataclasses.replace(spec, nullable=True) for name, spec in columns.items()}
    full = {"t": "a", "n": 1, "r": [1, 2], "j": {}, "z": "z"}
    for name, some, samples in (("a", columns, [full] * 2), ("b", nullable, [dict.fromkeys(full), full])):
        RecordsMmap.from_generator(tmp_path / name, samples, columns=some)

    mn.merge([tmp_path / name for name in names], tmp_path / "out")

    merged = mn.open(tmp_path / "out")
    assert all(spec.nullable for spec in merged.schema.values())
    expected = [sample for name in names for sample in mn.open(tmp_path / name)]
    assert plain(list(merged)) == plain(expected)
    merged.append(dict.fromkeys(full))
    assert merged.verify("full").ok


@pytest.mark.parametrize("order", ["ab", "ba", "aab"])
def test_ragged_samples_without_elements_take_the_dtype_of_the_others(tmp_path, order):
    mn.RaggedMmap.from_lists(tmp_path / "a", [[], []])
    mn.RaggedMmap.from_lists(tmp_path / "b", [[1, 2], [3]])

    mn.merge([tmp_path / name for name in order], tmp_path / "out")

    merged = mn.open(tmp_path / "out")
    assert (merged.dtype, merged[0].dtype) == (np.int64, np.int64)
    samples = {"a": [[], []], "b": [[1, 2], [3]]}
    assert [sample.tolist() for sample in merged] == [sample for name in order for sample in samples[name]]
    assert not mn.verify(tmp_path / "out", "full").problems


# ---- refusals


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda path: BytesMmap.from_bytes(path, [b"x"]),
            TypeError,
            "b: expected kind 'strings' as in .*a, found 'bytes'",
        ),
    ],
)
def test_other_kinds_are_refused(tmp_path, make, error, message):
    StringsMmap.from_strings(tmp_path / "a", ["a"])
    make(tmp_path / "b")

    with pytest.raises(error, match=message):
        mn.merge([tmp_path / "a", tmp_path / "b"], tmp_path / "out")

    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "other",
    [{"n": np.int64(1), "t": "a"}, {"n": np.int32(1)}, {"n": np.int32(1), "m": "a"}],
)
def test_other_columns_are_refused(tmp_path, other):
    RecordsMmap.from_generator(tmp_path / "a", [{"n": np.int32(1), "t": "a"}])
    RecordsMmap.from_generator(tmp_path / "b", [other])

    other_type = "column 'n': expected int32 as in .*a, found int64; nothing was written: "
    other_names = rf"expected the columns .'n', 't'. as in .*a, found {re.escape(str([*other]))}"
    with pytest.raises(TypeError, match=f"b: ({other_type}|{other_names})"):
        mn.merge([tmp_path / "a", tmp_path / "b"], tmp_path / "out")

    assert not (tmp_path / "out").exists()


def test_other_dtypes_and_shapes_are_refused(tmp_path):
    ArrayMmap.from_ndarray(tmp_path / "a", np.zeros((2, 3), np.int8))
    ArrayMmap.from_ndarray(tmp_path / "b", np.zeros((2, 4), np.int8))
    ArrayMmap.from_ndarray(tmp_path / "c", np.zeros((2, 3), np.int16))

    for name in "bc":
        with pytest.raises(TypeError, match=rf"{name}: expected int8\[3\] as in .*a, found int(8\[4\]|16\[3\]); "):
            mn.merge([tmp_path / "a", tmp_path / name], tmp_path / "out")


def test_bad_calls_are_refused(tmp_path):
    StringsMmap.from_strings(tmp_path / "a", ["a"])
    StringsMmap.from_strings(tmp_path / "out", ["old"])

    with pytest.raises(FileExistsError, match="out: a dataset already exists"):
        mn.merge([tmp_path / "a"], tmp_path / "out")
    with pytest.raises(ValueError, match="out: is both input and output"):
        mn.merge([tmp_path / "a", tmp_path / "out"], tmp_path / "out", if_exists="replace")
    with pytest.raises(ValueError, match="merge: expected at least one dataset"):
        mn.merge([], tmp_path / "new")
    for single in (tmp_path / "a", str(tmp_path / "a")):
        with pytest.raises(TypeError, match="a': expected a list of paths, got one path"):
            mn.merge(single, tmp_path / "new")
    with pytest.raises(ValueError, match="if_exists 'append' is unknown"):
        mn.merge([tmp_path / "a"], tmp_path / "new", if_exists="append")
    with pytest.raises(mn.NotADatasetError, match="missing: no such directory"):
        mn.merge([tmp_path / "a", tmp_path / "missing"], tmp_path / "new")
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "notes.txt").write_text("mine")
    with pytest.raises(mn.NotADatasetError, match="foreign: holds files that do not belong to a dataset"):
        mn.merge([tmp_path / "a"], tmp_path / "foreign")
    with pytest.raises(mn.NotADatasetError, match="txt: is a file where a directory was expected"):
        mn.merge([tmp_path / "a"], tmp_path / "foreign" / "notes.txt")

    assert list(StringsMmap(tmp_path / "out")) == ["old"]
    assert not (tmp_path / "new").exists()
    assert os.listdir(tmp_path / "foreign") == ["notes.txt"]


def test_directory_of_0x_must_be_upgraded_first(tmp_path):
    shutil.copytree(GOLDEN / "0.9.0-strings", tmp_path / "a")

    with pytest.raises(ValueError, match=r"a: was written by mmap_ninja 0.x; .*call mmap_ninja.upgrade"):
        mn.merge([tmp_path / "a"], tmp_path / "out")
    mn.upgrade(tmp_path / "a")
    mn.merge([tmp_path / "a", tmp_path / "a"], tmp_path / "out")

    assert list(mn.open(tmp_path / "out")) == list(mn.open(tmp_path / "a")) * 2


@pytest.mark.parametrize("value", [5, 1 << 40, 2**63])
def test_damaged_offsets_are_found(tmp_path, value):
    texts = StringsMmap.from_strings(tmp_path / "a", ["aa", "bb", "cc", "dd"])
    del texts[2]
    with open(tmp_path / "a" / "c0.offsets-1", "r+b") as file:
        file.seek(8)
        file.write(value.to_bytes(8, "little"))

    with pytest.raises(CorruptDatasetError, match=r"a/c0\.(data|offsets)-1: "):
        mn.merge([tmp_path / "a"], tmp_path / "out")

    assert not (tmp_path / "out" / "COMMIT").exists()
    assert mn.StringsMmap(tmp_path / "out")[:] == []  # the leftovers are not a dataset, and do not get in the way


# ---- copies


def two(path):
    """Two datasets in one folder, one of them edited."""
    one = BytesMmap.from_bytes(path / "a", [b"a" * 100_000, b"b", b"c"])
    del one[1]
    one.close()
    BytesMmap.from_bytes(path / "b", [b"d"]).close()
    return [b"a" * 100_000, b"c", b"d"]


def seen(path):
    return list(BytesMmap(path)) if (path / "COMMIT").exists() else None


def test_copies_go_through_memory_where_the_system_does_not_copy(tmp_path):
    expected = two(tmp_path)
    calls = []

    def hook(call, where, offset, size, data):
        if call == "copy_file_range":
            calls.append(size)
            raise OSError(18, "another file system")

    with watched(hook):
        mn.merge([tmp_path / "a", tmp_path / "b"], tmp_path / "out")

    assert calls
    assert seen(tmp_path / "out") == expected


@pytest.mark.parametrize("at_most", [1000, 4096, 65_536])
def test_short_copies_go_on_where_they_stopped(tmp_path, at_most):
    expected = two(tmp_path)
    cut = []

    def hook(call, where, offset, size, data):
        if call == "copy_file_range" and size > at_most:
            cut.append(size)
            return at_most
        return None

    with watched(hook):
        mn.merge([tmp_path / "a", tmp_path / "b"], tmp_path / "out")

    assert cut
    assert seen(tmp_path / "out") == expected


def test_merge_that_runs_is_not_disturbed(tmp_path):
    two(tmp_path)
    build = None

    def hook(call, where, offset, size, data):
        nonlocal build
        if call == "copy_file_range" and build is None:
            build = files.open_write(tmp_path / "out" / "BUILD")
            assert not build.try_lock("BUILD")
            with pytest.raises(mn.LockTimeoutError, match="BUILD: .* is building this dataset now"):
                mn.StringsMmap.from_strings(tmp_path / "out", ["other"], lock_timeout=0)

    with watched(hook):
        mn.merge([tmp_path / "a", tmp_path / "b"], tmp_path / "out")

    build.close()
