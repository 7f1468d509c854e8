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


@pytest.fixture
def nullable(tmp_path):
    columns = {
        "a.x": mn.Scalar("i8", nullable=True),
        "text": mn.Text(nullable=True),
        "tokens": mn.Ragged("u2", nullable=True),
        "meta": mn.Json(nullable=True),
    }
    records = mn.RecordsMmap.create(tmp_path / "nullable", columns=columns)
    records.extend(
        [
            {"a": {"x": 1}, "text": "one", "tokens": [1], "meta": [1]},
            {"a": {"x": None}, "text": None, "tokens": None, "meta": None},
            {"a": {"x": 3}, "text": "three", "tokens": [3, 3], "meta": "é"},
        ]
    )
    return records


def test_lists_of_records_treat_nulls_as_others_do(nullable):
    with pytest.raises(ValueError, match=r"column 'a\.x': sample 1 is null"):
        first(nullable, 3, collate="list")
    assert first(nullable, 3, collate="list", nulls="mask")[1] == {
        "a": {"x": None},
        "text": None,
        "tokens": None,
        "meta": None,
    }
    assert first(nullable["a.x"], 3, collate="list", nulls="mask") == [1, None, 3]
    filled = first(nullable, 3, collate="list", fill={"a.x": -1, "text": "", "tokens": [7], "meta": 0})
    assert [record["a"]["x"] for record in filled] == [1, -1, 3]
    assert (filled[1]["text"], filled[1]["tokens"].tolist()) == ("", [7])


def test_a_fill_takes_the_place_of_nulls_in_every_form(nullable):
    values, offsets = first(nullable["tokens"], 3, collate="jagged", fill=[8, 9])
    assert (values.tolist(), offsets.tolist(), values.dtype) == ([1, 8, 9, 3, 3], [0, 1, 3, 5], np.uint16)
    values, offsets = first(nullable["text"], 3, collate="jagged", fill="é")
    assert (values.tobytes().decode(), offsets.tolist()) == ("oneéthree", [0, 3, 5, 10])
    values, offsets = first(nullable["meta"], 3, collate="jagged", fill={"id": 0})
    assert (values.tobytes().decode(), offsets.tolist()) == ('[1]{"id":0}"é"', [0, 3, 11, 15])
    for pad in (Pad(mask=True), Pad(value=9, length=1), Pad(side="left", multiple_of=4, dtype="i4", mask=True)):
        expected = first([np.array(sample, "u2") for sample in ([1], [8, 9], [3, 3])], 3, pad=pad)
        found = first(nullable["tokens"], 3, pad=pad, fill=[8, 9])
        for part, other in zip(found, expected, strict=True):
            np.testing.assert_array_equal(part, other)
            assert part.dtype == other.dtype


def test_nulls_of_any_list_are_refused_filled_or_kept():
    samples = [{"x": 1, "y": "a"}, {"x": None, "y": None}]
    with pytest.raises(ValueError, match="'x': sample 1 is null"):
        first(samples, 2)
    batch = first(samples, 2, fill={"x": 0, "y": ""})
    assert (batch["x"].tolist(), batch["y"]) == ([1, 0], ["a", ""])
    assert first([1, None], 2, nulls="mask") == [1, None]


def test_names_of_padded_parts_are_not_taken_twice(tmp_path):
    records = mn.RecordsMmap.from_generator(tmp_path / "clash", [{"x": [1, 2], "x_lengths": 5}])

    with pytest.raises(ValueError, match="column 'x_lengths' has the name of a part of the padded 'x'"):
        first(records, 1, pad=Pad())
    assert first(records, 1, collate="jagged")["x_lengths"].tolist() == [5]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"side": "middle"}, "side 'middle' is unknown"),
        ({"length": -1}, "length -1: expected at least 0"),
        ({"length": [2, "a"]}, "length .*: expected an integer, or one or None for each dimension"),
        ({"multiple_of": 0}, "multiple_of 0: expected at least 1"),
        ({"dtype": "int99"}, "pad: dtype 'int99'"),
    ],
)
def test_options_of_pad_are_checked_at_once(options, message):
    """Of samples in memory, unknown ones once did nothing."""
    with pytest.raises((ValueError, TypeError), match=message):
        Pad(**options)


NO_FORM = "expected .*, found none; leave it out"


@pytest.mark.parametrize(
    ("samples", "options", "message"),
    [
        ("texts", {"pad": Pad()}, f"texts: pad: {NO_FORM}"),
        ("texts", {"collate": "stack"}, f"texts: collate='stack': {NO_FORM}"),
        ("numbers", {"collate": "pad"}, f"numbers: collate='pad': {NO_FORM}"),
        ("numbers", {"collate": "jagged"}, f"numbers: collate='jagged': {NO_FORM}"),
        ("label", {"pad": Pad()}, f"column 'label': pad: {NO_FORM}"),
        ("records", {"pad": {"label": Pad()}}, f"records: column 'label': pad: {NO_FORM}"),
        ("records", {"pad": {"text": Pad()}}, f"records: column 'text': pad: {NO_FORM}"),
        ("flat", {"pad": Pad()}, f"records: pad: {NO_FORM}"),
        ("flat", {"collate": "pad"}, f"records: collate='pad': {NO_FORM}"),
        ("windows", {"pad": Pad()}, "have one length, .*; leave out pad and collate"),
        ("windows", {"collate": "pad"}, "have one length, .*; leave out pad and collate"),
        ("windows", {"collate": "jagged"}, "have one length, .*; leave out pad and collate"),
        ("windows", {"fill": 0}, "have no nulls; leave out nulls and fill"),
        ("windows", {"nulls": "mask"}, "have no nulls; leave out nulls and fill"),
        ("list of texts", {"pad": Pad()}, f"list: pad: {NO_FORM}"),
        ("list of texts", {"collate": "stack"}, f"list: collate='stack': {NO_FORM}"),
        ("list of numbers", {"collate": "jagged"}, f"list: collate='jagged': {NO_FORM}"),
    ],
)
def test_forms_that_no_sample_can_have_are_refused(records, ragged, tmp_path, samples, options, message):
    """They once did nothing."""
    numbers = mn.ArrayMmap.from_ndarray(tmp_path / "numbers", np.arange(3))
    of = {
        "texts": mn.StringsMmap.from_strings(tmp_path / "texts", ["a", "b"]),
        "numbers": numbers,
        "label": records["label"],
        "records": records,
        "flat": records[["label", "text"]],
        "windows": ragged.windows(2),
        "list of texts": ["a", "b"],
        "list of numbers": [1, 2],
    }[samples]

    with pytest.raises(ValueError, match=message):
        first(of, 2, **options)


def test_samples_of_several_ranks_are_lists(tmp_path):
    mixed = mn.RaggedMmap.from_lists(tmp_path / "mixed", [[1], [[2, 3]], [4, 5]])

    for samples in (mixed, mixed.select([0, 2, 1]), list(mixed)):
        for collate in ("stack", "pad", "jagged"):
            with pytest.raises(ValueError, match="collate='list'$"):
                first(samples, 3, collate=collate)
        assert len(first(samples, 3, collate="list")) == 3
    images = [np.zeros((2, 3)), np.zeros((4, 2))]
    with pytest.raises(ValueError, match="differ in the first dimension only; pass collate='list'"):
        first(images, 2, collate="jagged")


def test_padding_of_another_dtype_is_refused(ragged):
    for samples in (ragged, list(ragged)):
        with pytest.raises(TypeError, match="-1.*; choose another"):
            first(samples, 3, pad=Pad(value=-1))
        with pytest.raises(ValueError, match=r"dtype uint8.* cannot hold 300.*; (read into|choose) another one"):
            first([*samples, np.array([300], "u2")], 4, pad=Pad(dtype="u1"))
        with pytest.raises(ValueError, match="length and multiple_of: expected at most the 1 dimensions"):
            first(samples, 3, pad=Pad(length=[2, 2]))
    assert first(list(ragged), 3, pad=Pad(value=-1, dtype="i4"))[0].dtype == np.int32


def test_lists_in_memory_have_the_forms_of_stored_samples(records, tmp_path):
    dicts = [{"tokens": np.asarray(sample["tokens"]), "text": sample["text"]} for sample in SAMPLES]
    stored = records[["tokens", "text"]]

    for options in ({"pad": Pad(mask=True)}, {"collate": "jagged"}):
        expected, found = first(stored, 4, **options), first(dicts, 4, **options)
        assert list(found) == list(expected)
        for name, values in expected.items():
            for part, other in zip(found[name], values, strict=True):
                np.testing.assert_array_equal(part, other)
    assert first([[1], [2, 3]], 2, pad=Pad())[0].tolist() == [[1, 0], [2, 3]]
    assert first(["é", "a"], 2, collate="jagged")[1].tolist() == [0, 2, 3]
    with pytest.raises(ValueError, match="column 'x_mask' has the name of a part of the padded 'x'"):
        first([{"x": np.arange(2), "x_mask": 1}], 1, pad=Pad())
