"""Concatenated datasets."""

import pickle

import numpy as np
import pytest

import mmap_ninja as mn
from mmap_ninja import ArrayMmap, RaggedMmap, RecordsMmap, StringsMmap
from support.faults import in_child

NAMES = ["a", "b", "c"]


@pytest.fixture
def texts(tmp_path):
    """Three datasets of strings, one of them empty, and a list of all samples."""
    parts = [
        StringsMmap.from_strings(tmp_path / name, [f"{name}{k}" for k in range(count)])
        for name, count in zip(NAMES, (4, 0, 7), strict=True)
    ]
    return mn.concat(parts), [f"a{k}" for k in range(4)] + [f"c{k}" for k in range(7)]


def test_concat_is_the_list_of_all_samples(texts):
    both, expected = texts

    assert len(both) == 11
    assert list(both) == expected
    assert [both[index] for index in range(-11, 11)] == expected * 2
    assert both[np.int64(5)] == expected[5]
    assert both[2:9:3] == expected[2:9:3]
    assert both[::-1] == list(reversed(both)) == expected[::-1]
    assert both[[10, 0, -2, 0]] == both.take([10, 0, -2, 0]) == both.__getitems__([10, 0, -2, 0])
    assert both.take([10, 0, -2, 0]) == [expected[k] for k in (10, 0, -2, 0)]
    assert both.take(np.arange(11) % 2 == 0) == expected[::2]
    assert both.take([]) == []
    assert both.index("c3") == 7
    assert both.count("a1") == 1
    assert "c6" in both
    assert "b0" not in both
    with pytest.raises(ValueError, match="'zz' is not among the samples 0 to 11"):
        both.index("zz")
    for wrong in (11, -12, [11], [0, -12]):
        with pytest.raises(IndexError, match="is out of range for 11 samples"):
            both[wrong]


def test_views_of_concat_are_lists_again(texts):
    both, expected = texts
    order = np.random.default_rng(0).permutation(11)

    views = [both.select(slice(9, 1, -2)), both.select(order), both.select(order).select(slice(1, 5))]

    assert list(views[0]) == expected[9:1:-2]
    assert list(views[1]) == [expected[k] for k in order]
    assert views[1].take([3, 1]) == [expected[order[3]], expected[order[1]]]
    assert list(views[2]) == [expected[k] for k in order[1:5]]
    assert views[1].index("c3") == order.tolist().index(7)
    restored = [pickle.loads(pickle.dumps(view)) for view in [both, *views]]
    assert [list(view) for view in restored] == [expected, *map(list, views)]
    assert len(pickle.dumps(both)) < 1024
    assert in_child(lambda: list(pickle.loads(pickle.dumps(both)))) == expected


def test_concat_keeps_the_snapshots_of_its_parts(tmp_path, texts):
    both, expected = texts

    StringsMmap(tmp_path / "a").append("more")
    del StringsMmap(tmp_path / "c")[0]

    assert list(both) == expected
    assert both.parts[0].path == tmp_path / "a"


def test_concat_of_arrays_takes_one_array(tmp_path):
    parts = [ArrayMmap.from_ndarray(tmp_path / str(k), np.full((k, 2), k, np.int16)) for k in (1, 0, 3)]
    both = mn.concat(parts)

    taken = both.take([3, 0, 1])

    assert taken.tolist() == [[3, 3], [1, 1], [3, 3]]
    assert taken.dtype == np.int16
    assert both[1:3].tolist() == [[3, 3], [3, 3]]
    assert both.take([]).shape == (0, 2)
    assert [row.tolist() for row in both] == [[1, 1], *[[3, 3]] * 3]


def test_concat_of_ragged_arrays_and_records(tmp_path):
    rows = [RaggedMmap.from_lists(tmp_path / f"r{k}", [[k] * j for j in range(3)]) for k in range(2)]
    records = [
        RecordsMmap.from_columns(tmp_path / f"d{k}", {"n": np.arange(3) + 10 * k, "m": {"t": list("xyz")}})
        for k in range(2)
    ]

    both, many = mn.concat(rows), mn.concat(records)

    assert [row.tolist() for row in both.take([5, 2, 4])] == [[1, 1], [0, 0], [1]]
    batch = many.take([4, 0])
    assert batch["n"].tolist() == [11, 0]
    assert batch["m"] == {"t": ["y", "x"]}
    assert many[5] == {"n": 12, "m": {"t": "z"}}
    assert many["n"].take([4, 0]).tolist() == [11, 0]
    assert many[["m"]][3] == {"m": {"t": "x"}}
    assert many[1:4][2]["n"] == 10


def test_incompatible_parts_are_refused(tmp_path, texts):
    rows = RaggedMmap.from_lists(tmp_path / "rows", [[1]])
    one = RecordsMmap.from_columns(tmp_path / "one", {"n": [1]})
    other = RecordsMmap.from_columns(tmp_path / "other", {"m": [1]})

    with pytest.raises(ValueError, match="concat: expected at least one dataset"):
        mn.concat([])
    with pytest.raises(TypeError, match="rows: concat: expected StringsMmap as in .*a, got RaggedMmap"):
        mn.concat([texts[0].parts[0], rows])
    with pytest.raises(TypeError, match=r"other: concat: expected the columns \['n'\] as in .*one, found \['m'\]"):
        mn.concat([one, other])
    with pytest.raises(TypeError, match="concat: expected datasets, got str; open it with mmap_ninja.open first"):
        mn.concat(["a"])
