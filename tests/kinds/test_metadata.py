"""The user's metadata: shown read-only, and replaced in one commit."""

import copy
import json
import pickle

import pytest

import mmap_ninja
from mmap_ninja import ReadOnlyError, StringsMmap

OLD = ["old 0", "old 1"]
METADATA = {"source": "web", "splits": [1, 2.5, None, {"a": "ü"}], "sizes": {"train": [3]}}


def test_metadata_comes_back_equal(tmp_path):
    dataset = StringsMmap.from_strings(tmp_path / "ds", OLD, metadata=METADATA)

    assert StringsMmap(tmp_path / "ds").metadata == dataset.metadata == METADATA
    assert dataset.select([0]).metadata == METADATA
    assert repr(dataset.metadata) == repr(METADATA)
    assert json.loads(json.dumps(dataset.metadata)) == METADATA


@pytest.mark.parametrize(
    "change",
    [
        lambda metadata: metadata.__setitem__("source", "changed"),
        lambda metadata: metadata.__delitem__("source"),
        lambda metadata: metadata.__ior__({"a": 1}),
        lambda metadata: metadata.update(a=1),
        lambda metadata: metadata.setdefault("a", 1),
        lambda metadata: metadata.pop("source"),
        lambda metadata: metadata.popitem(),
        lambda metadata: metadata.clear(),
        lambda metadata: metadata["sizes"].update(test=1),
        lambda metadata: metadata["splits"].append(1),
        lambda metadata: metadata["splits"].extend([1]),
        lambda metadata: metadata["splits"].insert(0, 1),
        lambda metadata: metadata["splits"].remove(1),
        lambda metadata: metadata["splits"].reverse(),
        lambda metadata: metadata["splits"].sort(),
        lambda metadata: metadata["splits"].__setitem__(0, 2),
        lambda metadata: metadata["splits"].__delitem__(0),
        lambda metadata: metadata["splits"].__iadd__([1]),
        lambda metadata: metadata["splits"].__imul__(2),
        lambda metadata: metadata["splits"][3].clear(),
        lambda metadata: metadata["sizes"]["train"].pop(),
    ],
)
def test_change_of_shown_metadata_is_refused_with_the_remedy(tmp_path, change):
    """A bug once: it was lost without a word."""
    dataset = StringsMmap.from_strings(tmp_path / "ds", OLD, metadata=METADATA)
    shown = dataset.metadata

    with pytest.raises(TypeError, match=r"metadata: .* would be lost; .*: ds.metadata = \{\*\*ds.metadata"):
        change(shown)

    assert shown == dataset.metadata == METADATA


@pytest.mark.parametrize(
    "copied",
    [copy.copy, copy.deepcopy, dict.copy, lambda shown: shown.copy(), lambda shown: pickle.loads(pickle.dumps(shown))],
)
def test_copy_of_shown_metadata_is_a_plain_dict_that_can_be_changed_and_stored(tmp_path, copied):
    dataset = StringsMmap.from_strings(tmp_path / "ds", OLD, metadata=METADATA)

    found = copied(dataset.metadata)
    found["source"] = "books"
    dataset.metadata = found

    assert type(found) is dict
    assert dataset.metadata == StringsMmap(tmp_path / "ds").metadata == METADATA | {"source": "books"}


def test_assigned_metadata_is_a_commit_that_leaves_the_files_alone(tmp_path):
    """A bug once: the property had no setter, and what changed needed a rebuild."""
    texts = StringsMmap.from_strings(tmp_path / "ds", OLD)
    reader, inodes = StringsMmap(tmp_path / "ds"), {file.name: file.stat().st_ino for file in tmp_path.glob("ds/d*")}

    texts.metadata = {"number": 1, "pair": (1, 2)}
    texts.append("a")

    assert texts.metadata == {"number": 1, "pair": [1, 2]}
    assert (reader.metadata, list(reader)) == ({}, OLD)
    reader.refresh()
    assert (reader.metadata, list(reader)) == (texts.metadata, [*OLD, "a"])
    assert {file.name: file.stat().st_ino for file in tmp_path.glob("ds/d*")} == inodes
    assert mmap_ninja.verify(tmp_path / "ds", level="full").ok


def test_assigned_metadata_that_is_the_same_changes_nothing(tmp_path):
    texts = StringsMmap.from_strings(tmp_path / "ds", OLD, metadata={"a": 1})
    before = texts.commit_id

    texts.metadata = {"a": 1}
    assert texts.commit_id == before

    texts.metadata = {"a": True}
    assert texts.metadata["a"] is True
    assert texts.commit_id != before


@pytest.mark.parametrize(
    ("value", "message"),
    [([1], "ds: metadata: expected a dict, got list"), ({"a": b"x"}, "ds: metadata: .* values that JSON can hold")],
)
def test_assigned_metadata_that_json_does_not_hold_is_refused(tmp_path, value, message):
    texts = StringsMmap.from_strings(tmp_path / "ds", OLD, metadata={"a": 1})

    with pytest.raises(TypeError, match=message):
        texts.metadata = value
    with pytest.raises(ReadOnlyError):
        StringsMmap(tmp_path / "ds", "r").metadata = {}
    with pytest.raises(ReadOnlyError):
        texts.select([0]).metadata = {}

    assert StringsMmap(tmp_path / "ds").metadata == {"a": 1}


def test_metadata_of_a_dataset_that_is_not_there_yet_makes_it(tmp_path):
    StringsMmap(tmp_path / "ds").metadata = {"a": 1}

    assert (StringsMmap(tmp_path / "ds").metadata, len(StringsMmap(tmp_path / "ds"))) == ({"a": 1}, 0)


def test_metadata_with_tuples_is_stored_with_lists_and_compared_so(tmp_path):
    texts = StringsMmap.from_strings(tmp_path / "ds", OLD, metadata={"size": (2, 3)})

    assert texts.metadata == {"size": [2, 3]}
    texts = StringsMmap.from_strings(tmp_path / "ds", OLD, metadata={"size": (2, 3)}, if_exists="resume")
    assert texts.metadata == {"size": [2, 3]}
