"""Batches have the form that was asked for, by the type of their column."""

import numpy as np
import pytest

import mmap_ninja as mn
from mmap_ninja import Loader, Pad

SAMPLES = [
    {
        "text": f"text {k}",
        "label": k,
        "vector": np.full(3, k, "f4"),
        "tokens": list(range(k % 4 + 1)),
        "meta": {"id": k},
    }
    for k in range(10)
]


@pytest.fixture
def records(tmp_path):
    return mn.RecordsMmap.from_generator(tmp_path / "records", SAMPLES)


@pytest.fixture
def ragged(tmp_path):
    return mn.RaggedMmap.from_lists(tmp_path / "ragged", [[1], [2, 3], [4, 5, 6]], dtype="u2")


def first(*args, **options):
    return next(iter(Loader(*args, **options)))


def test_records_are_dicts_of_batches(records):
    batch = first(records, 4)

    assert batch["text"] == ["text 0", "text 1", "text 2", "text 3"]
    np.testing.assert_array_equal(batch["label"], np.arange(4))
    np.testing.assert_array_equal(batch["vector"], np.repeat(np.arange(4, dtype="f4")[:, None], 3, 1))
    assert [tokens.tolist() for tokens in batch["tokens"]] == [[0], [0, 1], [0, 1, 2], [0, 1, 2, 3]]
    np.testing.assert_array_equal(batch["meta"]["id"], np.arange(4))


def test_columns_are_chosen(records):
    assert list(first(records, 4, columns=["label", "text"])) == ["label", "text"]


def test_lists_are_samples(records, ragged):
    samples = first(records, 4, collate="list")

    assert [sample["text"] for sample in samples] == ["text 0", "text 1", "text 2", "text 3"]
    assert samples[2]["meta"] == {"id": 2}
    assert [sample.tolist() for sample in first(ragged, 3, collate="list")] == [[1], [2, 3], [4, 5, 6]]


def test_jagged_batches_are_values_and_offsets(records, ragged):
    values, offsets = first(ragged, 3, collate="jagged")
    batch = first(records, 2, collate="jagged")

    assert (values.tolist(), offsets.tolist()) == ([1, 2, 3, 4, 5, 6], [0, 1, 3, 6])
    assert (bytes(batch["text"][0]), batch["text"][1].tolist()) == (b"text 0text 1", [0, 6, 12])
    assert batch["label"].tolist() == [0, 1]


def test_padded_batches_have_lengths(records, ragged):
    rows, lengths = first(ragged, 3, collate="pad")
    batch = first(records, 3, pad={"tokens": Pad(value=-1, length=2)})

    assert (rows.tolist(), lengths.tolist()) == ([[1, 0, 0], [2, 3, 0], [4, 5, 6]], [1, 2, 3])
    assert batch["tokens"].tolist() == [[0, -1], [0, 1], [0, 1]]
    assert batch["tokens_lengths"].tolist() == [1, 2, 2]
    assert "tokens_mask" not in batch


def test_stacked_batches_are_one_array(ragged):
    assert first(ragged.select([1, 1]), 2, collate="stack").tolist() == [[2, 3], [2, 3]]
    with pytest.raises(ValueError, match="one shape to stack, found .*; pass collate='pad', 'jagged' or 'list'"):
        first(ragged, 3, collate="stack")


def test_nulls_are_refused_filled_or_masked(tmp_path):
    columns = {"note": mn.Text(nullable=True), "score": mn.Scalar("f4", nullable=True)}
    records = mn.RecordsMmap.create(tmp_path / "nulls", columns=columns)
    records.extend([{"note": "a", "score": 1.5}, {"note": None, "score": None}])

    with pytest.raises(ValueError, match="sample 1 is null; give a value for nulls as fill="):
        first(records, 2)
    batch = first(records, 2, fill={"note": "", "score": 0})
    assert (batch["note"], batch["score"].tolist()) == (["a", ""], [1.5, 0])
    batch = first(records, 2, nulls="mask")
    assert (batch["note"], batch["score"].tolist()) == (["a", None], [1.5, None])
    with pytest.raises(KeyError, match="has no column 'nothing'"):
        first(records, 2, fill={"nothing": 0})


@pytest.mark.parametrize("form", ["jagged", "pad"])
def test_nulls_are_refused_or_empty_in_forms_without_a_place_for_them(tmp_path, form):
    records = mn.RecordsMmap.create(tmp_path / "nulls", columns={"x": mn.Ragged("i4", nullable=True)})
    records.extend([{"x": [1]}, {"x": None}])

    with pytest.raises(ValueError, match="column 'x': sample 1 is null"):
        first(records, 2, collate=form)
    batch = first(records, 2, collate=form, nulls="mask")
    if form == "pad":
        assert (batch["x"].tolist(), batch["x_lengths"].tolist()) == ([[1], [0]], [1, 0])
    else:
        assert [part.tolist() for part in batch["x"]] == [[1], [0, 1, 1]]


@pytest.mark.parametrize("pad", [Pad(), Pad(value=9, length=2), Pad(multiple_of=4)])
def test_arrays_in_memory_are_padded_as_stored_ones(ragged, pad):
    options = {"value": pad.value, "length": pad.length, "multiple_of": pad.multiple_of}

    rows, lengths = first(list(ragged), 3, pad=pad)

    expected, sizes = ragged.take_padded([0, 1, 2], **options)
    np.testing.assert_array_equal(rows, expected)
    np.testing.assert_array_equal(lengths, sizes)
    assert rows.dtype == expected.dtype


def test_any_list_is_collated(ragged):
    assert first([1.5, 2.5], 2).tolist() == [1.5, 2.5]
    assert first(["a", "b"], 2) == ["a", "b"]
    assert first([{"x": 1, "y": "a"}, {"x": 2, "y": "b"}], 2)["x"].tolist() == [1, 2]
    assert first([{"x": 1}, {"x": 2}], 2, collate="list") == [{"x": 1}, {"x": 2}]
    assert first(mn.Wrapped(ragged, len), 3).tolist() == [1, 2, 3]
    with pytest.raises(ValueError, match="one shape to stack"):
        first(list(ragged), 3)
    values, offsets = first(list(ragged), 3, collate="jagged")
    assert (values.tolist(), offsets.tolist()) == ([1, 2, 3, 4, 5, 6], [0, 1, 3, 6])


def test_windows_and_concatenations_are_loaded(ragged):
    assert first(ragged.windows(2), 2).tolist() == [[1, 2], [3, 4]]
    assert [row.tolist() for row in first(mn.concat([ragged, ragged]), 4)] == [[1], [2, 3], [4, 5, 6], [1]]


def test_a_pad_by_column_needs_columns(records, ragged):
    with pytest.raises(TypeError, match="these samples have no columns, got a dict"):
        first(ragged, 2, pad={"x": Pad()})
    with pytest.raises(KeyError, match="has no column 'nothing'"):
        first(records, 2, pad={"nothing": Pad()})
