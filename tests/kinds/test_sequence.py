"""Indexing, views and batches: the list protocol that all kinds share."""

import bisect
import operator
import pickle
import random
from collections.abc import Sequence

import numpy as np
import pytest

import mmap_ninja as mn
from mmap_ninja import RaggedMmap, ReadOnlyError, StringsMmap
from support.kinds import KINDS, plain

TEXTS = [f"text {i}" for i in range(10)]


@pytest.fixture
def texts(tmp_path):
    return StringsMmap.from_strings(tmp_path / "ds", TEXTS)


@pytest.mark.parametrize("index", [10, -11, 2**62, -(2**62)])
def test_index_out_of_range_names_the_length(texts, index):
    with pytest.raises(IndexError, match=f"index {index} is out of range for 10 samples"):
        texts[index]


BEYOND = {
    "index": lambda ds: ds[10],
    "from the end": lambda ds: ds[-11],
    "list": lambda ds: ds[[0, 10]],
    "mask": lambda ds: ds[np.ones(11, bool)],
    "array": lambda ds: ds[np.array([10])],
    "take": lambda ds: ds.take([10]),
    "take without nulls": lambda ds: ds.take([10], nulls="raise"),
    "batch of a loader": lambda ds: ds.__getitems__([10]),
    "select": lambda ds: ds.select([10]),
    "prefetch": lambda ds: ds.prefetch([10]),
    "delete": lambda ds: operator.delitem(ds, 10),
    "replace": lambda ds: operator.setitem(ds, 10, ds[0]),
    "pop": lambda ds: ds.pop(10),
}


@pytest.mark.parametrize("kind", ["strings", "array", "array-scalars", "ragged", "records"])
def test_index_out_of_range_names_the_commit_and_says_that_there_may_be_more(tmp_path, kind):
    """A bug once: workers that were started before samples were added died of a bare IndexError."""
    ds = KINDS[kind].build(tmp_path / "ds", 10)
    mn.open(tmp_path / "ds").append(KINDS[kind].sample(10))
    told = f"; this handle shows commit {ds.commit_id} of {ds.path}, and another process may have stored more since: "
    ways = BEYOND | ({"jagged": lambda ds: ds.take_jagged([10]), "padded": lambda ds: ds.take_padded([10])}
                     if kind == "ragged" else {})  # fmt: skip

    for way, read in ways.items():
        with pytest.raises(IndexError) as raised:
            read(ds)
        assert str(raised.value).endswith(f"{told}call refresh()"), way
    ds.refresh()
    assert plain(ds[10]) == plain(KINDS[kind].sample(10))


def test_index_out_of_range_of_a_view_says_that_the_dataset_is_to_be_refreshed(tmp_path):
    ds = KINDS["records"].build(tmp_path / "ds", 10)
    told = (
        f"; this view shows commit {ds.commit_id} of {ds.path}, .* since: refresh the dataset, and make the view anew$"
    )

    for view in (ds.select(slice(None)), ds["text"], ds["image"], ds[["tokens"]], ds["more"], ds["more"]["label"]):
        for read in (BEYOND["index"], BEYOND["take"], BEYOND["batch of a loader"], BEYOND["select"]):
            with pytest.raises(IndexError, match=f"^index 10 is out of range for 10 samples{told}"):
                read(view)


def test_index_out_of_range_where_no_dataset_is_yet_says_so(tmp_path):
    for ds in (StringsMmap(tmp_path / "ds"), mn.ArrayMmap(tmp_path / "ds"), mn.RecordsMmap(tmp_path / "ds")):
        for read in (BEYOND["index"], BEYOND["take"]):
            with pytest.raises(
                IndexError, match="^index 10 is out of range for 0 samples; .*ds held nothing when this"
            ):
                read(ds)


def test_index_error_of_a_function_or_a_key_is_told_as_it_is(tmp_path):
    def fails(sample):
        raise IndexError("of the wrapper")

    ds = RaggedMmap.from_lists(tmp_path / "ds", [[1], [2]], wrapper_fn=fails)

    for read in (lambda: ds[0], lambda: ds.take([0]), lambda: ds[:]):
        with pytest.raises(IndexError, match="^of the wrapper$"):
            read()
    with pytest.raises(IndexError, match=r"^index of shape \(1, 1\): expected one dimension$"):
        ds.take([[0]])
    rows = mn.ArrayMmap.from_ndarray(tmp_path / "rows", np.zeros((2, 3)))
    with pytest.raises(IndexError, match="^index 3 is out of bounds for axis 1 with size 3$"):
        rows[0, 3]


@pytest.mark.parametrize("index", [1.0, "1", None, True, np.True_, b"1", {}, {1}, object(), (0, 1)])
def test_index_of_another_type_raises(texts, index):
    with pytest.raises(TypeError, match="^index .*: expected (an integer, a slice|an index of samples alone)"):
        texts[index]


def test_index_of_several_dimensions_on_ragged_samples_says_how_to_read_a_part(tmp_path):
    frames = mn.RaggedMmap.from_lists(tmp_path / "frames", [np.ones((3, 2)), np.ones((2, 2))])

    with pytest.raises(TypeError, match=r"for a part of one, index the sample, as in ds\[0\]\[2:3\]; for several"):
        frames[0, 2:3]


def test_dataset_is_a_sequence_to_the_standard_library(texts):
    assert isinstance(texts, Sequence)
    assert sorted(random.Random(0).sample(texts, 10)) == TEXTS


def test_view_keeps_its_snapshot(texts):
    view = texts.select(slice(None))

    texts.append("later")

    assert list(view) == TEXTS
    assert len(texts) == 11


def test_view_of_a_view_composes(texts):
    view = texts.select(slice(1, None, 2)).select([-1, 0]).select(slice(None, None, -1))

    assert list(view) == ["text 1", "text 9"]
    assert view[-1] == "text 9"
    assert view.index("text 9") == 1
    assert view.byte_lengths.tolist() == [6, 6]
    assert list(pickle.loads(pickle.dumps(view))) == list(view)


@pytest.mark.parametrize("key", [slice(2, 8), slice(None, None, -1), slice(8, None, -3), slice(3, 3), [1, 5, 1]])
def test_pickled_view_is_the_same_view(texts, key):
    view = texts.select(key)

    assert list(pickle.loads(pickle.dumps(view))) == list(view)


def test_view_refuses_to_change(texts):
    view = texts.select([0, 1])

    for change in (lambda: view.append("x"), lambda: view.extend(["x"]), view.flush):
        with pytest.raises(ReadOnlyError, match="a view is read-only"):
            change()
    with pytest.raises(ValueError, match="a view cannot be refreshed"):
        view.refresh()
    with pytest.raises(AttributeError, match="a view by steps or indices has no starts"):
        _ = view.starts


def test_iteration_has_the_length_of_its_start(texts):
    seen = []

    for text in texts:
        seen.append(text)
        texts.append("more")

    assert seen == TEXTS
    assert len(texts) == 20


def test_iterator_has_a_length_hint_and_stays_exhausted(texts):
    iterator = iter(texts)
    next(iterator)

    assert iterator.__length_hint__() == 9
    assert list(iterator) == TEXTS[1:]
    assert next(iterator, None) is None


def test_repr_is_one_stable_line(texts):
    path = str(texts.path)

    assert repr(texts) == f"StringsMmap({path!r}, 10 samples, 60 bytes)"
    assert repr(texts.select([1])) == f"StringsMmap({path!r}, view, 1 samples)"
    texts.close()
    assert repr(texts) == f"StringsMmap({path!r}, closed)"


def test_repr_html_escapes_samples_and_path(tmp_path):
    dataset = StringsMmap.from_strings(tmp_path / "<b>", ["<script>alert(1)</script>", *TEXTS])

    page = dataset._repr_html_()

    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert "/<b>" not in page
    assert "6 more" in page


def test_numpy_and_bisect_take_datasets_for_lists(tmp_path):
    """A bug once: np.array(ds) was an array of one object, the dataset, and bisect raised TypeError."""
    texts = StringsMmap.from_strings(tmp_path / "texts", ["a", "b", "d"])
    rows = RaggedMmap.from_lists(tmp_path / "rows", [[1, 2], [3, 4]])

    assert np.array(texts).tolist() == ["a", "b", "d"]
    assert np.array(rows).tolist() == [[1, 2], [3, 4]]
    assert bisect.bisect(texts, "c") == 2
    with pytest.raises(IndexError, match="index 3 is out of range"):
        operator.getitem(texts, 3)
    assert texts.__getitem__(slice(1)) == ["a"]
