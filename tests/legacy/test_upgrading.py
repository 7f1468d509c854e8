"""Upgrades of directories of 0.x: the same samples, in one step, and 0.x refuses them afterwards."""

import itertools
import operator
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest

import mmap_ninja
from mmap_ninja import (
    ArrayMmap,
    CorruptDatasetError,
    NotADatasetError,
    RaggedMmap,
    ReadOnlyError,
    StaleHandleError,
    StringsMmap,
)
from mmap_ninja.engine import upgrade_marks
from mmap_ninja.format.names import is_own_name
from support import reference_reader
from support.faults import At, in_child, watched
from support.golden import (
    ARRAY,
    F_ORDER,
    GOLDEN,
    KEYS,
    MIXED,
    PLAIN,
    RAGGED,
    READABLE,
    STRINGS,
    content,
    expected_samples,
    plain,
)
from support.golden import opened as opened_golden

MARKS = ["data.ninja", "dtype.ninja", "order.ninja", "shape.ninja", "shapes_are_flat.ninja", "starts", "type.ninja"]


def referred(path):
    """What the independent reader finds, in the form of `plain`; it also checks sums and digest."""
    samples = reference_reader.read(path)
    if not samples or isinstance(samples[0], str):
        return samples
    dtype = mmap_ninja.open(path).dtype.str
    return [(dtype, shape, data) for shape, data in samples]


def test_upgrade_keeps_the_samples(copy):
    for name in READABLE:
        path, samples = copy(name, to=name), plain(expected_samples(name))
        before = (path / "data.ninja").read_bytes()

        mmap_ninja.upgrade(path, **KEYS.get(name, {}))

        assert plain(mmap_ninja.open(path)) == samples
        assert referred(path) == samples
        assert mmap_ninja.open(path).complete
        copied = "array-f" in name
        assert (path / "data.ninja").read_bytes() == (b"" if copied else before)
        assert (path / "c0.data-1").exists() == copied


def test_upgrade_waits_for_the_payload_before_a_commit_file_names_it(copy):
    """0.x did not sync: what it has just written may only be in memory."""
    path = copy(STRINGS)
    payload, seen = (path / "data.ninja").stat().st_ino, []

    def note(call, where, *_):
        if call == "fdatasync" and os.fstat(where).st_ino == payload:
            seen.append("payload")
        elif call == "rename" and where.endswith("COMMIT.new"):
            seen.append("commit file")

    with watched(note):
        mmap_ninja.upgrade(path)

    assert seen == ["payload", "commit file"]


@pytest.mark.parametrize("change", [lambda texts: texts.append("new"), lambda texts: operator.setitem(texts, 0, "new")])
def test_first_change_encodes_once(copy, monkeypatch, change):
    texts, encode, batches = StringsMmap(copy(STRINGS)), StringsMmap._encode, []

    def counted(batch, *rest):
        batches.append(batch)
        return encode(batch, *rest)

    monkeypatch.setattr(StringsMmap, "_encode", staticmethod(counted))
    change(texts)

    assert batches == [["new"]]


@pytest.mark.parametrize("name", [STRINGS, ARRAY, F_ORDER, RAGGED, MIXED, "0.9.0-ragged-1d", "0.9.0-ragged-scalars"])
def test_upgraded_dataset_grows(copy, name):
    path, samples = copy(name), expected_samples(name)
    mmap_ninja.upgrade(path)

    grown = mmap_ninja.open(path)
    grown.append(samples[0])
    grown.extend(samples[1:3])

    expected = plain([*samples, samples[0], *samples[1:3]])
    assert plain(grown) == plain(mmap_ninja.open(path)) == expected
    grown.flush()
    assert referred(path) == expected


@pytest.mark.parametrize("name", [name for name in READABLE if name != "0.9.0-array-empty"])
def test_first_change_upgrades(copy, name):
    path, samples = copy(name), expected_samples(name)
    reader, writer = (opened_golden(name, path) for _ in range(2))

    writer.append(samples[0])

    assert plain(writer) == plain(mmap_ninja.open(path)) == plain([*samples, samples[0]])
    assert plain(reader) == plain(samples)
    reader.refresh()
    assert plain(reader) == plain([*samples, samples[0]])
    reader.append(samples[-1])
    assert len(mmap_ninja.open(path)) == len(samples) + 2


def test_upgrade_of_todays_format_changes_nothing(tmp_path, copy):
    path = copy(STRINGS)
    mmap_ninja.upgrade(path)
    StringsMmap.from_strings(tmp_path / "new", ["a"])

    for dataset in (path, tmp_path / "new"):
        before = content(dataset)
        mmap_ninja.upgrade(dataset)
        assert content(dataset) == before
    with pytest.raises(NotADatasetError):
        mmap_ninja.upgrade(tmp_path / "missing")


def test_upgrade_leaves_no_index_of_0_x(copy):
    for name in (STRINGS, RAGGED, MIXED, *KEYS, ARRAY, F_ORDER):
        path = copy(name, to=name)
        mmap_ninja.upgrade(path, **KEYS.get(name, {}))

        left = {entry for entry in os.listdir(path) if not is_own_name(entry)}
        assert left == {*MARKS, *(["from"] if name in KEYS else [])}
        assert all(upgrade_marks.owns(path, entry) for entry in left)
        assert upgrade_marks.is_marked(path)
        assert not upgrade_marks.detect(path)


def test_large_payload_has_the_sums_of_its_blocks(tmp_path):
    texts = [f"{number} " * (number % 400) for number in range(2000)]
    write_strings(tmp_path, texts)

    mmap_ninja.upgrade(tmp_path)

    assert reference_reader.read(tmp_path) == texts
    assert (tmp_path / "sums-1").stat().st_size == 24 * ((tmp_path / "data.ninja").stat().st_size // 65536)
    StringsMmap(tmp_path).extend(texts)
    assert reference_reader.read(tmp_path) == texts * 2


def write_index(path, values, dtype="int64"):
    path.mkdir(exist_ok=True)
    values = np.asarray(values, dtype)
    (path / "data.ninja").write_bytes(values.tobytes() or b"\0")
    (path / "dtype.ninja").write_text(values.dtype.name)
    (path / "order.ninja").write_text("C")
    (path / "shape.ninja").write_bytes(np.array(values.shape, "<u8").tobytes())


def write_strings(path, texts, payload=None, starts=None, ends=None):
    """Write a directory like 0.9, or one with gaps."""
    path.mkdir(exist_ok=True)
    encoded = [text.encode() for text in texts]
    bounds = np.cumsum([0, *map(len, encoded)])
    (path / "data.ninja").write_bytes(b"".join(encoded) if payload is None else payload)
    (path / "type.ninja").write_text("string")
    write_index(path / "starts", bounds[:-1] if starts is None else starts)
    write_index(path / "ends", bounds[1:] if ends is None else ends)


def test_payload_with_holes_is_copied(tmp_path):
    write_strings(tmp_path, [], b"one--twotwothree", [0, 5, 5, 5, 11], [3, 8, 8, 5, 16])

    before = list(StringsMmap(tmp_path))
    mmap_ninja.upgrade(tmp_path)

    assert before == reference_reader.read(tmp_path) == ["one", "two", "two", "", "three"]
    assert (tmp_path / "c0.data-1").read_bytes() == b"onetwotwothree"


def test_ragged_payload_with_holes_is_copied(tmp_path):
    write_index(tmp_path, range(10), "int16")
    for key, values in {"starts": [0, 6], "ends": [4, 10], "flattened_shapes": [4, 4]}.items():
        write_index(tmp_path / key, values)
    (tmp_path / "type.ninja").write_text("ragged")
    (tmp_path / "shapes_are_flat.ninja").write_bytes(b"\1\0\0\0")
    write_index(tmp_path / "shapes", [[4], [4]])

    mmap_ninja.upgrade(tmp_path)

    assert [sample.tolist() for sample in RaggedMmap(tmp_path)] == [[0, 1, 2, 3], [6, 7, 8, 9]]


def test_bad_offsets_refuse_the_upgrade(copy):
    path = copy(STRINGS)
    ends = np.fromfile(path / "ends" / "data.ninja", "<i8")
    ends[1] = 1000
    ends.tofile(path / "ends" / "data.ninja")
    before = content(path)

    for act in (lambda: mmap_ninja.upgrade(path), lambda: StringsMmap(path).append("x")):
        with pytest.raises(CorruptDatasetError):
            act()

    after = content(path)
    assert after.pop("LOCK")[0] == b""
    assert after == before


def test_pickled_handle_survives_the_upgrade(copy):
    for name in PLAIN:
        path = copy(name, to=name)
        handle = mmap_ninja.open(path)
        pickled, view = pickle.dumps(handle), pickle.dumps(handle.select(slice(1, None)))
        mmap_ninja.upgrade(path)

        assert plain(pickle.loads(pickled)) == plain(expected_samples(name))
        assert plain(pickle.loads(view)) == plain(expected_samples(name)[1:])


def test_pickled_handle_of_a_replaced_dataset_is_stale(copy):
    path = copy(STRINGS)
    pickled = pickle.dumps(StringsMmap(path))

    StringsMmap.from_strings(path, ["new"])

    with pytest.raises(StaleHandleError):
        pickle.loads(pickled)


def test_two_first_changes_are_both_stored(copy):
    path = copy(STRINGS)
    first, second = StringsMmap(path), StringsMmap(path)

    first.append("a")
    second.append("b")
    in_child(lambda: StringsMmap(path).append("c"))

    assert list(StringsMmap(path)) == [*expected_samples(STRINGS), "a", "b", "c"]


# ---- from_* onto a directory of 0.x


def build(path, **options):
    return StringsMmap.from_generator(path, iter(["x", "y", "z"]), batch_size=2, **options)


def failing():
    yield from ["x", "y", "z"]
    raise RuntimeError("source")


def test_replace_builds_beside_and_switches(copy):
    path, old = copy(STRINGS), expected_samples(STRINGS)
    reader = StringsMmap(path)

    def source():
        yield "x"
        assert list(StringsMmap(path)) == old
        yield "y"

    assert list(StringsMmap.from_generator(path, source(), batch_size=1)) == ["x", "y"]

    assert list(reader) == old
    reader.refresh()
    assert list(reader) == ["x", "y"]
    assert (path / "data.ninja").read_bytes() == b""
    assert sorted(n for n in os.listdir(path) if not is_own_name(n)) == MARKS
    assert list(StringsMmap.from_strings(path, ["again"])) == ["again"]


def test_failed_replacement_leaves_0_x_as_it_was(copy):
    path = copy(STRINGS)
    before = content(path)

    with pytest.raises(RuntimeError, match="source"):
        StringsMmap.from_generator(path, failing(), batch_size=2)

    after = content(path)
    assert {name: after[name] for name in before} == before
    assert list(StringsMmap(path)) == expected_samples(STRINGS)
    assert list(build(path, if_exists="resume")) == ["x", "y", "z"]
    assert list(StringsMmap(path)) == ["x", "y", "z"]


def test_append_while_a_replacement_waits_is_replaced(copy):
    path = copy(STRINGS)
    with pytest.raises(RuntimeError):
        StringsMmap.from_generator(path, failing(), batch_size=2)

    StringsMmap(path).append("late")
    assert list(StringsMmap(path)) == [*expected_samples(STRINGS), "late"]
    assert list(build(path, if_exists="resume")) == ["x", "y", "z"]

    assert list(StringsMmap(path)) == ["x", "y", "z"]
    assert (path / "data.ninja").read_bytes() == b""


@pytest.mark.parametrize("name", ["0.9.0-array-text", "0.9.0-ragged-rank-changed", "0.9.0-strings-zstd", F_ORDER])
def test_replace_of_an_unreadable_dataset_builds_a_new_one(copy, name):
    path = copy(name)

    with pytest.raises(RuntimeError):
        StringsMmap.from_generator(path, failing(), batch_size=2)
    assert content(path).keys() > content(GOLDEN / name).keys()
    build(path)

    assert reference_reader.read(path) == ["x", "y", "z"]
    assert sorted(n for n in os.listdir(path) if not is_own_name(n)) == MARKS


def test_replace_refuses_foreign_files(copy):
    path = copy(STRINGS)
    (path / "notes.txt").write_text("mine")

    with pytest.raises(NotADatasetError, match="notes.txt"):
        build(path)

    assert list(StringsMmap(path)) == expected_samples(STRINGS)
    mmap_ninja.upgrade(path)
    assert (path / "notes.txt").read_text() == "mine"


def test_append_upgrades_and_adds(copy):
    path = copy(STRINGS)

    assert list(build(path, if_exists="append")) == [*expected_samples(STRINGS), "x", "y", "z"]
    assert (path / "COMMIT").exists()


def test_append_of_another_kind_changes_nothing(copy):
    path = copy(STRINGS)

    with pytest.raises(TypeError, match="expected a dataset of kind 'ragged', found 'strings'"):
        RaggedMmap.from_lists(path, [[1]], if_exists="append")

    assert {name for name in content(path) if name != "LOCK"} == content(GOLDEN / STRINGS).keys()
    assert upgrade_marks.detect(path)


def test_resume_returns_0_x_as_it_is(copy):
    path = copy(STRINGS)

    assert list(build(path, if_exists="resume")) == expected_samples(STRINGS)

    assert upgrade_marks.detect(path)
    with pytest.raises(TypeError, match="expected a dataset of kind 'ragged', found 'strings'"):
        RaggedMmap.from_lists(path, [[1]], if_exists="resume")
    with pytest.raises(TypeError, match="dtype: got int8, but the dataset has float32"):
        ArrayMmap.from_ndarray(copy(ARRAY, to="array"), np.zeros(1, np.int8), if_exists="resume")


def test_error_refuses(copy):
    path = copy(STRINGS)

    with pytest.raises(FileExistsError, match="a dataset already exists"):
        build(path, if_exists="error")

    assert content(path) == content(GOLDEN / STRINGS)


# ---- interruptions


OLD = expected_samples(STRINGS)


def test_reader_that_opens_during_an_upgrade_sees_the_samples(copy):
    for number in itertools.count(1):
        path = copy(STRINGS, to=str(number))
        seen = []

        def look(_size, path=path, seen=seen):
            seen.append(in_child(lambda: list(StringsMmap(path))))

        hook = At(number, look)
        with watched(hook):
            mmap_ninja.upgrade(path)
        if not hook.fired:
            break
        assert seen == [OLD]


def test_list_of_folders_leads_nowhere_else(tmp_path, copy):
    path, outside = copy(STRINGS), copy(ARRAY, to="outside")
    mmap_ninja.upgrade(path)
    (path / "UPGRADE").write_text(f"starts\n../outside\n{outside}\n..\n.\nlink")
    (path / "link").symlink_to(outside)

    StringsMmap(path).append("x")

    assert content(outside).keys() == content(GOLDEN / ARRAY).keys()


def test_commit_file_lost_after_an_upgrade_is_damage(copy):
    path = copy(STRINGS)
    StringsMmap(path).append("x")
    (path / "COMMIT").unlink()

    with pytest.raises(NotADatasetError, match="no COMMIT"):
        StringsMmap(path)
    with pytest.raises(CorruptDatasetError, match="holds samples in .*data.ninja"):
        build(path)


def test_read_only_index_folder_refuses_before_anything(copy, monkeypatch):
    path = copy(STRINGS)
    monkeypatch.setattr(os, "access", lambda folder, mode: folder.name != "ends")  # since root may write everywhere

    with pytest.raises(ReadOnlyError, match="ends: cannot be written"):
        mmap_ninja.upgrade(path)

    assert upgrade_marks.detect(path)
    assert list(StringsMmap(path)) == OLD


# ---- 0.9 itself


RELEASE = """
import sys
sys.path.insert(0, sys.argv[1])
sys.meta_path[:] = [finder for finder in sys.meta_path if "editable" not in type(finder).__module__]
import numpy as np
import mmap_ninja
from mmap_ninja import generic, numpy
from mmap_ninja.ragged import RaggedMmap
from mmap_ninja.string import StringsMmap
assert mmap_ninja.__version__ == "0.9.0", mmap_ninja.__file__
path = sys.argv[2]
for act in (
    lambda: StringsMmap(path),
    lambda: StringsMmap(path, mode="rb"),
    lambda: StringsMmap(path).extend(["lost"]),
    lambda: RaggedMmap(path),
    lambda: RaggedMmap(path, mode="r+").append(np.ones(3)),
    lambda: numpy.open_existing(path),
    lambda: numpy.open_existing(path, mode="r+"),
    lambda: numpy.extend_dir(path, np.ones((1, 3))),
    lambda: generic.open_existing(path),
):
    try:
        act()
    except (TypeError, ValueError) as error:
        print(error)
    else:
        print("NOT REFUSED")
"""


@pytest.mark.parametrize("name", [STRINGS, ARRAY, F_ORDER, RAGGED, MIXED, "0.9.0-strings-keys"])
@pytest.mark.parametrize("written", ["0.9.0"], indirect=True)
def test_0_9_refuses_an_upgraded_directory(written, copy, name):
    path = copy(name)
    mmap_ninja.upgrade(path, **KEYS.get(name, {}))
    replaced = copy(name, to="replaced") if name not in KEYS else path
    if replaced != path:
        StringsMmap.from_strings(replaced, ["new"])

    for directory in (path, replaced):
        before = content(directory)
        output = subprocess.run(
            [sys.executable, "-c", RELEASE, written / "site", directory], check=True, capture_output=True, text=True
        ).stdout
        assert len(output.splitlines()) == 9
        assert all("this directory was upgraded: install mmap_ninja>=1" in line for line in output.splitlines())
        assert content(directory) == before
