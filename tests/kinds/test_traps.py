"""Calls that look right and mean something else: each raises, and says what to do instead."""

import functools
import os
import shutil

import numpy as np
import pytest

import mmap_ninja as mn
from mmap_ninja import ArrayMmap, BytesMmap, RaggedMmap, RecordsMmap, StringsMmap
from support.kinds import KINDS


@pytest.fixture
def texts(tmp_path):
    return StringsMmap.from_strings(tmp_path / "texts", ["a", "b", "c"])


@pytest.fixture
def rows(tmp_path):
    return ArrayMmap.from_ndarray(tmp_path / "rows", np.zeros((3, 2)))


@pytest.fixture
def records(tmp_path):
    return RecordsMmap.from_generator(tmp_path / "records", [{"x": 1, "t": "a"}] * 3)


# ---- a mode in the place of a function


def test_mode_in_the_place_of_a_function_is_refused(tmp_path, texts, rows):
    ragged = RaggedMmap.from_lists(tmp_path / "ragged", [[1]])
    for act in (
        lambda: RaggedMmap(ragged.path, "r"),
        lambda: mn.open_existing(texts.path, "r"),
        lambda: mn.open_existing(rows.path, "r"),
        lambda: mn.open_existing(ragged.path, "r"),
        lambda: mn.Wrapped([1], "r"),
        lambda: RaggedMmap.from_lists(tmp_path / "new", [[1]], wrapper_fn="r"),
        lambda: RaggedMmap.from_generator(tmp_path / "new", [[1]], wrapper_fn="r"),
    ):
        with pytest.raises(TypeError, match=r"^wrapper_fn 'r': expected a function, got str; .*: mode='r'$"):
            act()

    assert not (tmp_path / "new").exists()
    assert mn.open_existing(texts.path, None, "r").mode == "r"


# ---- one sample in the place of several


def test_one_text_is_not_taken_for_its_letters(tmp_path, texts, records):
    acts = (
        lambda: StringsMmap.from_strings(tmp_path / "new", "hello"),
        lambda: StringsMmap.from_generator(tmp_path / "new", "hello"),
        lambda: StringsMmap.from_indexable(tmp_path / "new", "hello"),
        lambda: BytesMmap.from_bytes(tmp_path / "new", b"hello"),
        lambda: texts.extend("abc"),
        lambda: texts.__iadd__("abc"),
        lambda: texts.__setitem__(slice(None), "abc"),
        lambda: texts.__setitem__([2, 0, 1], "abc"),
        lambda: records.add_column("new", "abc"),
    )
    for act in acts:
        with pytest.raises(TypeError, match=r"expected several samples, got one (str|bytes) b?'\w+'; put it in a list"):
            act()
    with pytest.raises(TypeError, match="expected a sequence with a value for each sample, got str"):
        records.extend({"x": [1, 2, 3], "t": "abc"})

    assert not (tmp_path / "new").exists()
    assert list(texts) == ["a", "b", "c"]
    assert (records.columns, len(records)) == (["x", "t"], 3)


def test_one_number_for_several_places_is_refused(rows):
    with pytest.raises(
        TypeError, match=r"rows: samples: expected several samples, got one float 5.0; put it in a list"
    ):
        rows[0:2] = 5.0
    with pytest.raises(TypeError, match="got one int 5; put it in a list"):
        rows.extend(5)

    assert np.asarray(rows).tolist() == np.zeros((3, 2)).tolist()


def test_one_dataset_is_not_concatenated(texts):
    with pytest.raises(TypeError, match="texts: concat: expected several datasets, got one; put it in a list"):
        mn.concat(texts)


# ---- functions that were not called


def letters():
    yield from "abc"


@pytest.mark.parametrize("function", [letters, functools.partial(letters), lambda: ["a"]])
def test_function_that_was_not_called_is_refused(tmp_path, texts, function):
    for act in (
        lambda: StringsMmap.from_generator(tmp_path / "new", function),
        lambda: StringsMmap.from_strings(tmp_path / "new", function),
        lambda: mn.np_from_generator(tmp_path / "new", function, 2),
        lambda: texts.extend(function),
    ):
        with pytest.raises(TypeError, match="samples: expected several samples, got a function; call it, or pass"):
            act()

    assert not (tmp_path / "new").exists()
    assert len(texts) == 3


@pytest.mark.parametrize(("source", "found"), [(letters, "generator function"), (letters(), "generator")])
def test_source_without_positions_is_sent_to_from_generator(tmp_path, source, found):
    with pytest.raises(TypeError, match=f"got {found}; pass iterables to from_generator"):
        StringsMmap.from_indexable(tmp_path / "new", source)

    assert not (tmp_path / "new").exists()


# ---- paths


def test_path_of_bytes_is_refused(texts, tmp_path):
    path = os.fsencode(texts.path)
    for act in (
        StringsMmap,
        mn.open,
        mn.open_existing,
        mn.verify,
        mn.upgrade,
        mn.recover,
        lambda path: StringsMmap.from_strings(path, ["a"]),
        lambda path: mn.merge([path], tmp_path / "new"),
        lambda path: mn.merge([texts.path], path + b"2"),
    ):
        with pytest.raises(TypeError, match=r"^path b'.*: expected a str or a pathlib.Path; os.fsdecode makes a str"):
            act(path)
    with pytest.raises(TypeError, match=r"paths b'.*': expected a list of paths, got one path"):
        mn.merge(path, tmp_path / "new")
    with pytest.raises(TypeError, match=r"^path 3: expected a str or a pathlib.Path"):
        mn.open(3)

    assert os.listdir(tmp_path) == ["texts"]
    assert list(mn.open(os.fsdecode(path))) == ["a", "b", "c"]


@pytest.mark.parametrize("kind", KINDS)
def test_first_index_error_names_a_misspelt_path(tmp_path, kind):
    dataset = KINDS[kind].cls(tmp_path / "absent")
    acts = (
        lambda: dataset[0],
        lambda: dataset[[0]],
        lambda: dataset.take([0]),
        lambda: dataset.select([0]),
        lambda: dataset.pop(),
        lambda: dataset.__delitem__(0),
        lambda: dataset.__setitem__(0, KINDS[kind].sample(1)),
    )
    for act in acts:
        with pytest.raises(IndexError, match=rf"is out of (range|bounds) .*; {tmp_path}/absent held nothing when"):
            act()


def test_writer_of_a_moved_dataset_says_that_it_was_moved(tmp_path):
    for name, first in (("new", []), ("old", ["b"])):
        texts = StringsMmap.from_strings(tmp_path / name, ["a"])
        texts.extend(first)
        shutil.move(tmp_path / name, tmp_path / f"{name} moved")
        with pytest.raises(mn.MmapNinjaError, match=f"{name}: the dataset is no longer at this path: it was moved"):
            texts.append("c")

        assert list(mn.open(tmp_path / f"{name} moved")) == ["a", *first]


# ---- which sample


def test_error_of_a_mutation_names_the_place_of_the_sample(texts, rows, records):
    cases = [
        (lambda: texts.append(1), TypeError, "texts: sample 3: expected str, got int"),
        (lambda: rows.append(np.zeros(3)), ValueError, r"rows: sample 3: expected shape \(2,\), got \(3,\)"),
        (lambda: records.append({"x": 1}), ValueError, "records: sample 3: lacks the column 't'"),
        (lambda: records.append({"x": 1, "t": 2}), TypeError, "records: column 't': sample 3: expected str"),
        (lambda: texts.__setitem__(1, 5), TypeError, "texts: sample 1: expected str"),
        (lambda: texts.__setitem__(-1, 5), TypeError, "texts: sample 2: expected str"),
        (lambda: texts.extend(["d", 5]), TypeError, r"sample 4: expected str.*\(sample 3 is the first new one\)"),
        (lambda: texts.__setitem__(slice(1, 3), ["d", 5]), TypeError, r"sample 2: .*\(sample 1 is the first new one\)"),
        (lambda: texts.__setitem__([2, 0], ["d", 5]), TypeError, r"sample 1: .*\(counted among the new samples\)"),
    ]
    for act, error, message in cases:
        with pytest.raises(error, match=message):
            act()

    assert (list(texts), len(rows), len(records)) == (["a", "b", "c"], 3, 3)


def test_error_of_the_first_append_names_sample_0(tmp_path):
    with pytest.raises(TypeError, match="ds: sample 0: expected str, got int"):
        StringsMmap(tmp_path / "ds").append(1)


# ---- methods and keys that datasets do not have


@pytest.mark.parametrize("kind", KINDS)
def test_every_method_of_a_list_works_or_says_what_to_use(tmp_path, kind):
    dataset = KINDS[kind].build(tmp_path / "ds", 3)
    hints = {
        "insert": (r"append them, then use compact\(order=...\)", (0, None)),
        "sort": (r"use compact\(order=...\)", ()),
        "reverse": (r"read them by reversed\(ds\), or use compact", ()),
        "remove": (r"use del ds\[ds.index\(sample\)\]", (None,)),
        "copy": (r"use ds.select\(slice\(None\)\) .* list\(ds\)", ()),
        "shuffle": (r"read ds.select\(np.random.permutation\(len\(ds\)\)\), or use compact", ()),
    }

    for name in {*dir(list), "shuffle"}:
        if name.startswith("_"):
            continue
        assert callable(getattr(dataset, name)), name
        if name in hints:
            with pytest.raises(TypeError, match=f"ds: .*{hints[name][0]}"):
                getattr(dataset, name)(*hints[name][1])


def test_hints_are_right(tmp_path, texts):
    del texts[texts.index("b")]

    assert list(texts) == ["a", "c"]
    assert sorted(texts.select(np.random.permutation(len(texts)))) == ["a", "c"]  # noqa: NPY002 - as in the hint
    mn.merge([texts.path], tmp_path / "copy")
    assert list(mn.open(tmp_path / "copy")) == ["a", "c"]


def test_part_of_a_sample_is_not_assigned(rows, texts):
    for dataset in (rows, texts):
        for act in (lambda of=dataset: of.__setitem__((0, 1), 5.0), lambda of=dataset: of.__delitem__((0, 1))):
            with pytest.raises(TypeError, match=r"index \(0, 1\): samples are replaced and deleted as a whole; copy"):
                act()
    sample = np.array(rows[0])
    sample[1] = 5.0
    rows[0] = sample

    assert np.asarray(rows).tolist() == [[0, 5], [0, 0], [0, 0]]


@pytest.mark.parametrize("key", ["x", ["x"], "new"])
def test_column_is_not_assigned_by_its_name(records, key):
    for act in (lambda: records.__setitem__(key, [1, 2, 3]), lambda: records.__delitem__(key)):
        with pytest.raises(TypeError, match=r"records: index .*: columns are not replaced in place; use add_column"):
            act()

    assert records["x"][:].tolist() == [1, 1, 1]
