"""`StringsMmap` compared with a plain list, and properties of text."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmap_ninja import StringsMmap
from mmap_ninja.string import StringsMmap as InheritedStringsMmap

TEXTS = ["zero", "", "größer", "日本語", "a😀b", "x" * 3000, "zero"]


@pytest.fixture
def texts(tmp_path):
    return StringsMmap.from_strings(tmp_path / "ds", TEXTS)


def test_inherited_module_exports_the_same_class():
    assert InheritedStringsMmap is StringsMmap


def test_story_of_the_notebook_runs(tmp_path):
    def texts_generator():
        for number in range(3000):
            yield f"review {number}"

    StringsMmap.from_generator(
        out_dir=tmp_path / "aclImdb_mmap", sample_generator=texts_generator(), batch_size=1024, verbose=True
    )
    texts = StringsMmap(tmp_path / "aclImdb_mmap")
    assert (len(texts), texts[0], texts[-3:]) == (3000, "review 0", ["review 2997", "review 2998", "review 2999"])
    assert sum(1 for _ in texts) == 3000

    texts.append("This is a new document")
    assert texts[-1] == "This is a new document"

    texts.extend(["New doc0", "New doc1"])
    assert texts[-3:] == ["This is a new document", "New doc0", "New doc1"]


@given(
    samples=st.lists(st.text(), max_size=20),
    more=st.lists(st.text(), max_size=5),
    start=st.none() | st.integers(-25, 25),
    stop=st.none() | st.integers(-25, 25),
    step=st.none() | st.integers(-4, 4).filter(bool),
)
@settings(max_examples=80)
def test_dataset_reads_like_a_list(tmp_path_factory, samples, more, start, stop, step):
    expected = samples + more
    dataset = StringsMmap.from_strings(tmp_path_factory.mktemp("list") / "ds", samples)
    dataset.extend(more)

    assert len(dataset) == len(expected)
    assert list(dataset) == expected
    assert [dataset[i] for i in range(len(expected))] == expected
    assert [dataset[i] for i in range(-len(expected), 0)] == expected
    assert dataset[start:stop:step] == expected[start:stop:step]
    assert list(dataset.select(slice(start, stop, step))) == expected[start:stop:step]
    assert list(reversed(dataset)) == expected[::-1]
    for value in {*expected, "not there"}:
        assert (value in dataset) == (value in expected)
        assert dataset.count(value) == expected.count(value)
    for value in set(expected):
        assert dataset.index(value) == expected.index(value)


@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=200), max_size=30))
def test_samples_of_any_characters_come_back_equal(tmp_path_factory, samples):
    dataset = StringsMmap.from_strings(tmp_path_factory.mktemp("text") / "ds", samples)

    assert dataset.take(range(len(samples))) == samples
    for stored, sample in zip(dataset, samples, strict=True):
        assert stored == sample
        assert hash(stored) == hash(sample)
        # CPython's narrowest representation: wastes no memory, and keeps comparisons fast.
        assert stored.__sizeof__() <= sample.__sizeof__()


def test_take_jagged_gives_bytes_and_offsets(texts):
    indices = [3, 0, -1, 1]

    values, offsets = texts.take_jagged(indices)

    assert (values.dtype, offsets.dtype) == (np.uint8, np.int64)
    assert values.flags.writeable
    assert values.flags.owndata
    assert offsets.tolist() == np.cumsum([0, *(len(TEXTS[i].encode()) for i in indices)]).tolist()
    assert values.tobytes() == "".join(TEXTS[i] for i in indices).encode()


def test_byte_lengths_starts_and_ends_agree(texts):
    assert texts.byte_lengths.tolist() == [len(text.encode()) for text in TEXTS]
    assert (texts.ends - texts.starts).tolist() == texts.byte_lengths.tolist()
    assert not texts.starts.flags.writeable
    assert texts.nbytes == sum(texts.byte_lengths)


def test_starts_of_a_closed_dataset_stay_valid(texts):
    starts = texts.starts
    expected = starts.tolist()

    texts.close()

    assert starts.tolist() == expected


@pytest.mark.parametrize("sample", [b"bytes", None, 3, ["list"]])
def test_extend_with_another_type_in_the_middle_stores_nothing(texts, sample):
    kind = type(sample).__name__

    with pytest.raises(TypeError, match=f"ds: sample 8: expected str, got {kind}; nothing of this batch was stored"):
        texts.extend(["good", sample, "good"])

    assert list(texts) == TEXTS


@pytest.mark.parametrize("text", ["\ud800", "ok \udfff", "é\udc80", "日\ud83d\ude00"])
def test_append_with_lone_surrogate_stores_nothing(texts, text):
    position = next(i for i, c in enumerate(text) if "\ud800" <= c <= "\udfff")

    with pytest.raises(ValueError, match=f"sample 7: its character {position} is a lone surrogate"):
        texts.append(text)

    assert list(texts) == TEXTS


def test_from_generator_with_wrong_type_names_the_sample_and_keeps_finished_batches(tmp_path):
    samples = [f"text {i}" for i in range(10)] + [10]

    with pytest.raises(TypeError, match="sample 10: expected str, got int"):
        StringsMmap.from_generator(tmp_path / "ds", samples, batch_size=4)

    with pytest.warns(UserWarning, match="has not ended"):
        dataset = StringsMmap(tmp_path / "ds")
    assert list(dataset) == samples[:8]


def test_values_of_other_types_are_not_in_a_dataset(texts):
    assert 5 not in texts
    assert b"zero" not in texts
    assert "\ud800" not in texts
    assert texts.count(None) == 0
    with pytest.raises(ValueError, match="5 is not among the samples 0 to 7"):
        texts.index(5)


def test_index_within_bounds_matches_list(texts):
    assert texts.index("zero", 1) == TEXTS.index("zero", 1)
    assert texts.index("", -6, -1) == TEXTS.index("", -6, -1)
    with pytest.raises(ValueError, match="'zero' is not among the samples 1 to 6"):
        texts.index("zero", 1, 6)


def test_str_subclass_is_stored_as_str(tmp_path):
    class Special(str):
        __slots__ = ()

    dataset = StringsMmap.from_strings(tmp_path / "ds", [Special("text")])

    assert type(dataset[0]) is str


def test_first_batch_is_encoded_once(tmp_path, monkeypatch):
    """A bug once: it was encoded to find errors, and again to store it."""
    texts, encode, batches = StringsMmap(tmp_path), StringsMmap._encode, []

    def counted(batch, *rest):
        batches.append(batch)
        return encode(batch, *rest)

    monkeypatch.setattr(StringsMmap, "_encode", staticmethod(counted))
    texts.append("first")

    assert batches == [["first"]]
