"""Records compared with a plain list of dicts: created, read and edited, by column and by sample."""

import dataclasses
import json
import os
import pickle
import shutil
import sys
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import mmap_ninja as mn
from mmap_ninja import CorruptDatasetError, ReadOnlyError, RecordsMmap, StaleHandleError
from mmap_ninja.format import meta
from support.faults import in_child, overwrite

COLUMNS = {
    "image": mn.Ragged(np.uint8),
    "text": mn.Text(),
    "blob": mn.Bytes(nullable=True),
    "label": mn.Scalar(np.int32),
    "meta": {"box": mn.Array((2, 2), np.float32), "extra": mn.Json(), "score": mn.Scalar(np.float64, nullable=True)},
}
FLAT = ["image", "text", "blob", "label", "meta.box", "meta.extra", "meta.score"]


def sample(number):
    """One sample of these columns."""
    return {
        "image": np.full((number % 3 + 1, number % 2 + 1), number % 256, np.uint8),
        "text": f"text {number} " * (number % 4) + "ü",
        "blob": None if number % 3 == 0 else bytes([number % 256]) * (number % 5),
        "label": number,
        "meta": {
            "box": np.full((2, 2), number / 2, np.float32),
            "extra": {"tags": [str(number)], "none": None},
            "score": None if number % 4 == 1 else number / 4,
        },
    }


def plain(value):
    """A sample, or any value with arrays, as values that can be compared."""
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, np.ma.MaskedArray | np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    return value


def flat(value, prefix=""):
    """The columns of a nested sample by their dotted names."""
    found = {}
    for key, inner in value.items():
        nested = isinstance(inner, dict) and prefix + key != "meta.extra"
        found |= flat(inner, f"{prefix}{key}.") if nested else {prefix + key: inner}
    return found


@pytest.fixture
def records(tmp_path):
    """A dataset of twelve samples with all types of columns."""
    return RecordsMmap.from_generator(tmp_path / "ds", map(sample, range(12)), columns=COLUMNS, batch_size=5)


def check_same(dataset, expected):
    """Check that a dataset equals a list of samples, in all ways to read it."""
    wanted = plain(expected)
    order = np.random.default_rng(len(wanted)).permutation(len(wanted))

    assert len(dataset) == len(wanted)
    assert plain(list(dataset)) == wanted
    assert plain([dataset[index] for index in range(len(wanted))]) == wanted
    assert plain(dataset[::-2]) == wanted[::-2]
    assert plain(dataset.__getitems__(order)) == [wanted[index] for index in order]
    assert plain(list(dataset.select(order))) == [wanted[index] for index in order]
    batch = flat(dataset.take(order))
    for name in dataset.columns:
        values = [flat(value)[name] for value in wanted]
        assert plain(list(dataset[name])) == values
        assert plain(dataset[name].take(order)) == [values[index] for index in order]
        assert plain(batch[name]) == [values[index] for index in order]


# ---- a list of dicts


def test_records_are_a_list_of_dicts(records, tmp_path):
    expected = list(map(sample, range(12)))

    check_same(records, expected)
    check_same(mn.open(tmp_path / "ds"), expected)
    assert list(records[3]) == ["image", "text", "blob", "label", "meta"]
    assert isinstance(records["label"], mn.ArrayMmap)
    assert isinstance(records["image"], mn.RaggedMmap)
    assert records.columns == FLAT


@pytest.mark.parametrize("split", [1, 4, 12])
def test_append_and_extend_are_those_of_a_list(tmp_path, split):
    dataset = RecordsMmap.create(tmp_path / "ds", columns=COLUMNS)
    expected = list(map(sample, range(12)))

    dataset.append(expected[0])
    dataset.extend(expected[1:split])
    rest = expected[split:]
    columns = {name: [flat(value)[name] for value in rest] for name in FLAT}
    dataset.extend(columns)

    check_same(dataset, expected)
    check_same(RecordsMmap(tmp_path / "ds"), expected)


def test_columns_of_every_kind_are_read_only_views(records):
    labels = records["label"]

    records.append(sample(12))

    assert labels.tolist() if hasattr(labels, "tolist") else list(labels[:]) == list(range(12))
    assert len(labels) == 12
    assert len(records["label"]) == 13
    with pytest.raises(ReadOnlyError, match="a view is read-only"):
        labels.append(1)
    with pytest.raises(ReadOnlyError, match="a view is read-only"):
        labels[0] = 1


def test_no_view_of_columns_takes_a_sample_whatever_it_holds(records):
    for view in (*(records[name] for name in records.columns), records["meta"], records[["label"]]):
        with pytest.raises(ReadOnlyError, match="a view is read-only"):
            view.append(records[0])
        with pytest.raises(ReadOnlyError, match="a view is read-only"):
            view[0] = view[0]
        with pytest.raises(ReadOnlyError, match="a view is read-only"):
            view.clear()


def test_views_of_some_columns_have_these_only(records):
    view = records[["meta.box", "label"]]
    group = records["meta"]

    assert view.columns == ["meta.box", "label"]
    assert plain(view[3]) == {"meta": {"box": [[1.5, 1.5], [1.5, 1.5]]}, "label": 3}
    assert plain(group[2]) == plain(sample(2)["meta"])
    assert plain(group.select([4, 1])[1]) == plain(sample(1)["meta"])
    assert records[["meta"]].columns == FLAT[4:]
    with pytest.raises(ReadOnlyError):
        view.append({"label": 1})
    with pytest.raises(KeyError, match=r"has no column 'nope'; it has 'image', 'text'"):
        records["nope"]
    with pytest.raises(KeyError, match="has no column 'nope'"):
        records[["label", "nope"]]


def test_index_and_count_compare_whole_samples(records):
    assert records.index(sample(7)) == 7
    assert sample(30) not in records
    assert records.count(sample(2)) == 1
    assert records["blob"].index(None, 1) == 3
    assert records["meta.extra"].index({"tags": ["5"], "none": None}) == 5
    assert b"" in records["blob"]
    assert records["blob"].index(b"") == 5  # not a null, which is also empty in the files
    assert {"none": None, "tags": ["5"]} in records["meta.extra"]  # compared as dicts, not as texts
    assert 0.0 in records["meta.score"]
    assert records["meta.score"].count(None) == 3
    for fields in ({"label": 7.5}, {"label": "a"}, {"label": None}, {"image": [[1], [2, 3]]}, {"image": ["a"]}):
        assert sample(7) | fields not in records


OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(["append", "extend", "set", "set slice", "delete", "mask", "compact", "reopen", "refresh"]),
        st.integers(0, 20),
        st.integers(0, 20),
    ),
    max_size=15,
)


@given(operations=OPERATIONS)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_random_changes_are_those_of_a_list(tmp_path, operations):
    shutil.rmtree(tmp_path / "ds", ignore_errors=True)
    dataset = RecordsMmap.from_generator(tmp_path / "ds", map(sample, range(6)), columns=COLUMNS)
    other = RecordsMmap(tmp_path / "ds")
    samples = list(map(sample, range(6)))

    for operation, first, second in operations:
        count = len(samples)
        at, piece = first % max(count, 1), slice(min(first, second), max(first, second))
        match operation:
            case "append":
                dataset.append(sample(second))
                samples.append(sample(second))
            case "extend":
                dataset.extend([sample(first), sample(second)])
                samples += [sample(first), sample(second)]
            case "set" if count:
                dataset[at] = samples[at] = sample(second + 100)
            case "set slice":
                new = [sample(place + 50) for place in range(count)[piece]]
                dataset[piece] = new
                samples[piece] = new
            case "delete" if count:
                del dataset[at], samples[at]
            case "mask":
                mask = np.arange(count) % 3 == first % 3
                del dataset[mask]
                samples = [value for value, gone in zip(samples, mask, strict=True) if not gone]
            case "compact":
                dataset.compact()
            case "reopen":
                dataset = RecordsMmap(tmp_path / "ds")
            case "refresh":
                other.refresh()
                dataset, other = other, dataset
        assert plain(list(dataset)) == plain(samples)

    check_same(dataset, samples)


def test_handles_views_and_columns_pickle_small_to_the_same_samples(records):
    del records[2:4]
    records[0] = sample(50)
    shown = [
        records,
        records.select(slice(1, 7, 2)),
        records[["label", "meta"]],
        records["meta"].select(slice(3)),
        records["image"],
        records["label"].select(slice(None, None, -1)),
        records["meta.extra"],
    ]

    pickled = [pickle.dumps(handle) for handle in shown]
    records.append(sample(60))

    assert max(map(len, pickled)) < 1024
    for data, handle in zip(pickled[1:], shown[1:], strict=True):
        restored = pickle.loads(data)
        assert plain(list(restored)) == plain(list(handle))
        assert type(restored) is type(handle)
    assert plain(list(pickle.loads(pickled[0]))) == plain(list(records)[:-1])
    assert in_child(lambda: plain(list(pickle.loads(pickled[2])))) == plain(list(shown[2]))


def test_mode_c_gives_owned_arrays(records, tmp_path):
    owned = RecordsMmap(tmp_path / "ds", mode="c")

    image = owned[1]["image"]
    image[:] = 0
    owned["image"][1][:] = 0

    assert records[1]["image"].max() == 1
    assert not records[1]["image"].flags.writeable


# ---- forms of samples


@dataclasses.dataclass
class Box:
    x: int
    size: float


@dataclasses.dataclass
class Labelled:
    name: str
    box: Box


class Point(NamedTuple):
    x: int
    y: float


def test_dataclasses_and_named_tuples_are_samples(tmp_path):
    labelled = RecordsMmap.from_generator(tmp_path / "a", [Labelled("a", Box(1, 2.0)), Labelled("b", Box(3, 4.0))])
    points = RecordsMmap.from_generator(tmp_path / "b", [Point(1, 2.0), {"x": 3, "y": 4.0}])

    assert plain(labelled[1]) == {"name": "b", "box": {"x": 3, "size": 4.0}}
    assert plain(points[:]) == [{"x": 1, "y": 2.0}, {"x": 3, "y": 4.0}]
    assert points.index(Point(3, 4.0)) == 1


def test_columns_are_those_of_the_first_sample(tmp_path):
    dataset = RecordsMmap(tmp_path / "ds")

    dataset.append({"s": "a", "b": b"b", "i": 1, "f": 1.5, "t": True, "a": np.zeros((2, 2), np.uint8), "l": [1, 2],
                    "j": ["x", 1], "d": {"e": np.float32(2)}})  # fmt: skip

    assert dataset.schema == {
        "s": mn.Text(),
        "b": mn.Bytes(),
        "i": mn.Scalar(np.dtype(np.int64)),
        "f": mn.Scalar(np.dtype(np.float64)),
        "t": mn.Scalar(np.dtype(bool)),
        "a": mn.Ragged(np.dtype(np.uint8)),
        "l": mn.Ragged(np.dtype(np.int64)),
        "j": mn.Json(),
        "d.e": mn.Scalar(np.dtype(np.float32)),
    }
    assert repr(dataset).endswith(
        "; s: str, b: bytes, i: int64, f: float64, t: bool, a: uint8[...], l: int64[...], j: json, d.e: float32)"
    )


def test_empty_lists_get_the_type_of_the_next_ones(tmp_path):
    samples = [{"b": [], "c": {"d": []}, "u": []}, {"b": ["x"], "c": {"d": [1.5]}, "u": [[1], [2, 3]]}]

    dataset = RecordsMmap.from_generator(tmp_path / "ds", samples)

    assert dataset.schema == {"b": mn.Json(), "c.d": mn.Ragged(np.dtype(np.float64)), "u": mn.Json()}
    assert plain(dataset[:]) == samples
    other = RecordsMmap.from_generator(tmp_path / "other", [{"b": ["x"], "c": {"d": []}}])
    other.append({"b": ["x"], "c": {"d": [1]}})
    assert other.schema == {"b": mn.Json(), "c.d": mn.Ragged(np.dtype(np.int64))}


def test_schema_makes_the_same_columns_again(records, tmp_path):
    again = RecordsMmap.create(tmp_path / "again", columns=records.schema)

    again.extend(records)

    assert again.schema == records.schema
    check_same(again, list(map(sample, range(12))))


def test_from_columns_takes_arrays_as_fixed_ones(tmp_path):
    images = np.arange(24, dtype=np.uint8).reshape(6, 2, 2)

    dataset = RecordsMmap.from_columns(
        tmp_path / "ds", {"image": images, "text": list("abcdef"), "meta": {"label": np.arange(6)}}, batch_size=4
    )

    assert dataset.schema["image"] == mn.Array((2, 2), np.dtype(np.uint8))
    assert np.array_equal(dataset["image"], images)
    assert plain(dataset[5]) == {"image": [[20, 21], [22, 23]], "text": "f", "meta": {"label": 5}}


def test_from_columns_takes_other_datasets(tmp_path):
    texts = mn.StringsMmap.from_strings(tmp_path / "texts", ["a", "b"])
    rows = mn.RaggedMmap.from_lists(tmp_path / "rows", [[1], [2, 3]])

    dataset = RecordsMmap.from_columns(tmp_path / "ds", {"text": texts, "row": rows})

    assert plain(dataset[:]) == [{"text": "a", "row": [1]}, {"text": "b", "row": [2, 3]}]


@pytest.mark.parametrize("n_jobs", [None, 2])
def test_from_indexable_stores_them_in_order(tmp_path, n_jobs):
    dataset = RecordsMmap.from_indexable(
        tmp_path / "ds", mn.parallel.make_indexable(sample, 30), 7, n_jobs, columns=COLUMNS
    )

    check_same(dataset, list(map(sample, range(30))))


def test_interrupted_build_continues_after_its_last_sample(tmp_path):
    def interrupted():
        yield from map(sample, range(7))
        raise RuntimeError("source")

    with pytest.raises(RuntimeError, match="source"):
        RecordsMmap.from_generator(tmp_path / "ds", interrupted(), batch_size=3, columns=COLUMNS)
    with pytest.raises(ValueError, match="this is not the source with which the build was started"):
        RecordsMmap.from_generator(tmp_path / "ds", map(sample, range(1, 9)), batch_size=3, if_exists="resume")

    dataset = RecordsMmap.from_generator(tmp_path / "ds", map(sample, range(9)), batch_size=3, if_exists="resume")

    check_same(dataset, list(map(sample, range(9))))


def test_resume_of_columns_compares_the_last_sample(tmp_path):
    columns = {"a": np.arange(5), "b": {"c": list("vwxyz")}}

    class Failing(list):
        def __getitem__(self, key):
            if key.start == 4:
                raise RuntimeError("source")
            return super().__getitem__(key)

    with pytest.raises(RuntimeError, match="source"):
        RecordsMmap.from_columns(tmp_path / "ds", {"a": np.arange(5), "b": {"c": Failing("vwxyz")}}, batch_size=2)
    dataset = RecordsMmap.from_columns(tmp_path / "ds", columns, batch_size=2, if_exists="resume")

    assert plain(dataset[:]) == [{"a": k, "b": {"c": letter}} for k, letter in enumerate("vwxyz")]


def test_append_build_of_other_columns_raises(records, tmp_path):
    with pytest.raises(ValueError, match=r"ds: columns: got \['texts'\], but the dataset has \['image', "):
        RecordsMmap.from_generator(tmp_path / "ds", [], columns={"texts": mn.Text()}, if_exists="append")
    with pytest.raises(TypeError, match=r"ds: column 'label': dtype: got int64, but the dataset has int32"):
        wrong = COLUMNS | {"label": mn.Scalar(np.int64)}
        RecordsMmap.from_generator(tmp_path / "ds", [], columns=wrong, if_exists="append")


def test_compressed_columns_read_as_others(tmp_path):
    columns = {"t": mn.Text(codec="zstd"), "b": mn.Bytes(codec="zstd", nullable=True), "j": mn.Json(codec="zstd")}
    samples = [
        {"t": f"text {k} " * 50, "b": None if k % 2 else bytes(k), "j": {"k": [k] * 30}} for k in range(20)
    ]  # fmt: skip

    dataset = RecordsMmap.from_generator(tmp_path / "ds", samples, columns=columns)
    dataset[3] = samples[3] = samples[7]

    assert dataset[:] == samples
    assert list(dataset) == samples
    assert dataset.take([3, 0]) == {
        "t": [samples[3]["t"], samples[0]["t"]],
        "b": [None, b""],
        "j": [samples[3]["j"], {"k": [0] * 30}],
    }
    assert list(dataset["b"]) == [value["b"] for value in samples]
    assert dataset.nbytes < 20 * 400


# ---- adding, dropping and renaming columns


def inodes(path):
    """The files of columns, which a change of other columns must not touch."""
    return {name: os.stat(path / name).st_ino for name in os.listdir(path) if name.startswith("c")}


def test_added_column_leaves_the_other_files_alone(records, tmp_path):
    before, reader, view = inodes(tmp_path / "ds"), RecordsMmap(tmp_path / "ds", mode="r"), records.select([1, 2])

    records.add_column("meta.rank", np.arange(12, dtype=np.uint16) * 2)
    records.add_column("words", [["w"] * (k % 3) for k in range(12)], mn.Json())
    records.add_column("rows", ([[k]] * (k % 3) if k % 2 else [[k, k]] for k in range(12)), mn.Ragged(np.int64))

    assert before.items() <= inodes(tmp_path / "ds").items()
    assert records["meta.rank"].dtype == np.uint16
    assert plain(records[5]) == plain(sample(5)) | {
        "meta": plain(sample(5)["meta"]) | {"rank": 10},
        "words": ["w", "w"],
        "rows": [[5], [5]],
    }
    assert plain(reader[5]) == plain(sample(5))
    assert plain(view[1]) == plain(sample(2))
    reader.refresh()
    assert plain(list(reader)) == plain(list(records)) == plain(list(RecordsMmap(tmp_path / "ds")))
    records.append(records[0])
    assert plain(records[-1]) == plain(records[0])


@pytest.mark.parametrize(
    ("values", "spec"),
    [
        (list("abcdefgh"), mn.Text(codec="zstd")),
        ([None, *"bcdefgh"], mn.Text(nullable=True)),
        ([np.zeros((k, 2), np.uint8) for k in range(8)], None),
        ([np.zeros((1,) * (k % 3), np.uint8) for k in range(8)], mn.Ragged(np.uint8)),
        (np.arange(16).reshape(8, 2), None),
        ([1.5, *[None] * 7], mn.Scalar(np.float64, nullable=True)),
        (np.ma.MaskedArray(np.arange(8), [1, 0] * 4), mn.Scalar(np.int64, nullable=True)),
    ],
)
def test_column_added_to_edited_records_meets_its_samples(tmp_path, values, spec):
    dataset = RecordsMmap.from_columns(tmp_path / "ds", {"n": np.arange(12)})
    del dataset[2:6]
    dataset.append({"n": 12})
    dataset[1] = {"n": 50}
    del dataset[-1]

    dataset.add_column("more", values, spec)

    numbers = [0, 50, 6, 7, 8, 9, 10, 11]
    expected = [{"n": n, "more": value} for n, value in zip(numbers, plain(list(values)), strict=True)]
    assert plain(list(dataset)) == plain(list(RecordsMmap(tmp_path / "ds"))) == expected
    dataset.append(dataset[3])
    dataset.compact()
    assert plain(list(dataset)) == [*expected, expected[3]]


def test_writer_that_missed_a_new_column_takes_samples_that_have_it(tmp_path):
    one = RecordsMmap.from_generator(tmp_path / "ds", [{"n": 1}])
    other = RecordsMmap(tmp_path / "ds")
    one.add_column("t", ["a"])

    with pytest.raises(ValueError, match="lacks the column 't'"):
        other.append({"n": 2})
    RecordsMmap(tmp_path / "ds").append({"n": 2, "t": "b"})
    other.append({"n": 3, "t": "c"})

    assert plain(list(other)) == [{"n": 1, "t": "a"}, {"n": 2, "t": "b"}, {"n": 3, "t": "c"}]


def test_dropped_and_renamed_columns_leave_the_other_files_alone(records, tmp_path):
    before, reader = inodes(tmp_path / "ds"), RecordsMmap(tmp_path / "ds")

    records.drop_column("image")
    records.rename_column("label", "meta.label")

    left = inodes(tmp_path / "ds")
    assert left.items() < before.items()
    assert {name.partition(".")[0] for name in before.keys() - left.keys()} == {"c0"}
    assert records.columns == ["text", "blob", "meta.label", *FLAT[4:]]
    assert records[3]["meta"]["label"] == 3
    assert plain(reader[3]) == plain(sample(3))
    with pytest.raises(KeyError, match="has no column 'image'"):
        records.drop_column("image")
    with pytest.raises(ValueError, match="column 'text': the name occurs twice"):
        records.rename_column("blob", "text")
    for name in records.columns[:-1]:
        records.drop_column(name)
    with pytest.raises(ValueError, match="column 'meta.score' is the only column"):
        records.drop_column("meta.score")


def test_added_column_that_does_not_fit_changes_nothing(records, tmp_path):
    before = sorted(os.listdir(tmp_path / "ds"))

    with pytest.raises(ValueError, match="column 'x': 3 values for 12 samples"):
        records.add_column("x", [1, 2, 3])
    with pytest.raises(ValueError, match="column 'text': the name occurs twice"):
        records.add_column("text", ["a"] * 12)
    with pytest.raises(ValueError, match="column 'meta': is also a group"):
        records.add_column("meta", ["a"] * 12)
    with pytest.raises(TypeError, match=r"sample 0 is a str and sample 11 is a number.*: spec=mn.Json\(\)"):
        records.add_column("x", ["a"] * 11 + [5])
    with pytest.raises(TypeError, match="column 'x': sample 11: expected str, got int"):
        records.add_column("x", ["a"] * 11 + [5], mn.Text())
    with pytest.raises(TypeError, match=r"column 'x': .* no value.* spec=mn.Text\(nullable=True\)"):
        records.add_column("x", [None] * 12)
    with pytest.raises(TypeError, match="column 'x': sample 3: is None, which the column does not allow"):
        records.add_column("x", np.ma.masked_equal(np.arange(12), 3), mn.Scalar(np.int64))
    RecordsMmap(tmp_path / "ds").append(sample(12))
    with pytest.raises(StaleHandleError, match="others changed the dataset"):
        records.add_column("x", ["a"] * 12)

    assert plain(list(RecordsMmap(tmp_path / "ds"))) == plain(list(map(sample, range(13))))
    assert sorted(os.listdir(tmp_path / "ds")) == before


# ---- bad input


BAD = [
    ({"a": "x"}, ValueError, "sample 0: lacks the column 'b'"),
    ({"a": "x", "b": {"c": 1, "d": [1.0]}, "e": 1}, ValueError, "sample 0: has an unknown column 'e'"),
    ({"a": "x", "b": {"c": 1}}, ValueError, "sample 0: lacks the column 'b.d'"),
    ({"a": "x", "b": 1}, TypeError, "sample 0: column 'b': expected a dict, got int"),
    ({"a": "x", "b.c": 1, "b.e": 2}, ValueError, "sample 0: lacks the column 'b.d' and has an unknown column 'b.e'"),
    ({"a": 1, "b": {"c": 1, "d": [1.0]}}, TypeError, "column 'a': sample 0: expected str, got int"),
    (
        {"a": None, "b": {"c": 1, "d": [1.0]}},
        TypeError,
        "column 'a': sample 0: is None, which the column does not allow",
    ),
    ({"a": "x", "b": {"c": None, "d": [1.0]}}, TypeError, "column 'b.c': sample 0: is None"),
    (
        {"a": "x", "b": {"c": 1.5, "d": [1.0]}},
        TypeError,
        "column 'b.c': sample 0: the dataset's dtype int64 (.*) cannot hold 1.5",
    ),
    ({"a": "x", "b": {"c": [1], "d": [1.0]}}, ValueError, r"column 'b.c': sample 0: expected shape \(\), got \(1,\)"),
    (
        {"a": "x", "b": {"c": 1, "d": "y"}},
        TypeError,
        "column 'b.d': sample 0: the dataset's dtype float64 cannot hold these <U1 values",
    ),
    (["a", "b"], TypeError, "sample 0: expected a dict, a dataclass or a named tuple, got list"),
    (None, TypeError, "sample 0: expected a dict, a dataclass or a named tuple, got NoneType"),
]


@pytest.mark.parametrize(("wrong", "error", "message"), BAD)
def test_sample_that_does_not_fit_stores_nothing(tmp_path, wrong, error, message):
    first = {"a": "x", "b": {"c": 1, "d": [1.0]}}
    dataset = RecordsMmap.from_generator(tmp_path / "ds", [first])

    with pytest.raises(error, match=f"ds: {message.replace('sample 0', 'sample 1')}"):
        dataset.append(wrong)
    with pytest.raises(error, match=f"ds: {message.replace('sample 0', 'sample 2')}"):
        dataset.extend([first, wrong])
    with pytest.raises(error, match=f"ds: {message}"):
        dataset[0] = wrong

    assert plain(list(RecordsMmap(tmp_path / "ds"))) == [first]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (float("nan"), "Out of range float values are not JSON compliant"),
        ({"a": [float("inf")]}, "Out of range float values are not JSON compliant"),
        ([Point(1, 2)], "JSON would change the value"),
        ({1: 2}, "JSON would change the value"),
        ({"a": {1}}, r"a value of type set at \['a'\], which JSON does not hold"),
        ({"a": [np.int8(1)]}, r"a value of type int8 at \['a'\]\[0\], .* convert it with .tolist"),
        (b"x", "a value of type bytes, which JSON does not hold"),
        ("\ud800", "lone surrogate"),
    ],
)
def test_json_that_would_change_is_refused(tmp_path, value, message):
    dataset = RecordsMmap.create(tmp_path / "ds", columns={"j": mn.Json()})

    with pytest.raises((TypeError, ValueError), match=f"column 'j': sample 1: .*{message}"):
        dataset.extend([{"j": [1]}, {"j": value}])

    assert len(RecordsMmap(tmp_path / "ds")) == 0


def test_json_nested_too_deep_is_refused(tmp_path):
    dataset, value = RecordsMmap.create(tmp_path / "ds", columns={"j": mn.Json()}), []
    for _ in range(100_000):
        value = [value]

    with pytest.raises(ValueError, match="column 'j': sample 0: maximum recursion depth"):
        dataset.append({"j": value})

    assert len(dataset) == 0


NAMES = [
    ("", "has 0 characters"),
    ("x" * 256, "has 256 characters; expected 1 to 255"),
    ("x" * 1000, "has 1000 characters; expected 1 to 255"),
    (".", "has an empty part"),
    ("a..b", "has an empty part"),
    (".a", "has an empty part"),
    ("../../outside", "has an empty part"),
    ("a\nb", "has characters that cannot be printed"),
    ("a\0b", "has characters that cannot be printed"),
    ("\ud800", "has characters that cannot be printed"),
]


@pytest.mark.parametrize(("name", "message"), NAMES)
def test_name_that_no_column_can_have_is_refused(tmp_path, name, message):
    with pytest.raises(ValueError, match=f"column .*: {message}"):
        RecordsMmap.create(tmp_path / "ds", columns={name: mn.Text()})
    with pytest.raises(ValueError, match="column"):
        RecordsMmap.from_generator(tmp_path / "ds", [{name: "a"}])
    with pytest.raises(ValueError, match="column"):
        RecordsMmap.from_columns(tmp_path / "ds", {name: ["a"]})

    assert not list(tmp_path.glob("ds/c*"))


@pytest.mark.parametrize("name", ["/etc/passwd", "a/b", "COMMIT", "c0", "con", "ü 漢", "a.b.c", "x" * 255])
def test_names_are_never_names_of_files(tmp_path, name):
    path = tmp_path / "in" / "ds"
    dataset = RecordsMmap.create(path, columns={name: mn.Text()})

    dataset.extend({name: ["a", "b"]})

    assert list(RecordsMmap(path)[name]) == ["a", "b"]
    assert sorted(os.listdir(tmp_path)) == ["in"]
    assert os.listdir(tmp_path / "in") == ["ds"]
    assert all(file.rsplit("-", 1)[0] in ("COMMIT", "LOCK", "meta", "edits", "sums", "c0.data", "c0.offsets")
               for file in os.listdir(path))  # fmt: skip


@pytest.mark.parametrize(
    ("columns", "error", "message"),
    [
        ({"a": mn.Text(), "a.b": mn.Text()}, ValueError, "column 'a': is also a group"),
        ({"a": {"b": mn.Text()}, "a.b": mn.Json()}, ValueError, "column 'a.b': the name occurs twice"),
        ({f"c{k}": mn.Text() for k in range(1001)}, ValueError, "1001 columns; expected at most 1000"),
        ({"a": str}, TypeError, r"column 'a': expected Text\(\), Bytes\(\)"),
        ({"a": "text"}, TypeError, r"column 'a': expected Text\(\)"),
        ({5: mn.Text()}, TypeError, "column 5: expected a str, got int"),
        ([("a", mn.Text())], TypeError, "columns: expected a dict, got list"),
        ({"a": mn.Scalar(object)}, TypeError, "column 'a': dtype object holds Python objects"),
        ({"a": mn.Array((-1,), np.int8)}, ValueError, r"column 'a': shape \(-1,\)"),
        ({"a": mn.Array(8, np.int8)}, TypeError, r"column 'a': shape 8: expected a tuple of lengths, such as \(8,\)"),
        ({"a": mn.Scalar("int9")}, TypeError, "column 'a': data type 'int9' not understood"),
        ({"a": mn.Array((2**40, 2**40), np.int8)}, ValueError, "column 'a': shape .*: expected a sample of less than"),
        ({"a": mn.Array((0, 2**63), np.int8)}, ValueError, "column 'a': shape .*: expected a sample of less than"),
        ({"a": mn.Ragged(np.int8, ndim=40)}, ValueError, "column 'a': ndim 40: expected 0 to 32"),
        ({"a": mn.Text(codec="lz4")}, ValueError, r"column 'a': codec 'lz4' is unknown \(expected None or 'zstd'\)"),
    ],
)
def test_invalid_columns_are_refused(tmp_path, columns, error, message):
    with pytest.raises(error, match=message):
        RecordsMmap.create(tmp_path / "ds", columns=columns)

    assert not (tmp_path / "ds").exists()


def test_columns_of_several_lengths_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"expected columns of one length, got 'a' 2, 'b' 3; nothing was stored"):
        RecordsMmap.from_columns(tmp_path / "ds", {"a": [1, 2], "b": [1, 2, 3]})
    with pytest.raises(TypeError, match="column 'a': expected a sequence with a value for each sample, got int"):
        RecordsMmap.from_columns(tmp_path / "ds", {"a": 5})

    assert not (tmp_path / "ds").exists()


@pytest.mark.parametrize("first", [None, 5, {}, {"a": None}, {"a": object()}, {"a": {"b..c": 1}}, {1: 2}])
def test_first_sample_without_columns_leaves_nothing(tmp_path, first):
    with pytest.raises((TypeError, ValueError), match="ds: (sample|column)"):
        RecordsMmap(tmp_path / "ds").append(first)

    assert not (tmp_path / "ds").exists()


def test_create_does_not_overwrite(records, tmp_path):
    with pytest.raises(FileExistsError, match="ds: a dataset already exists"):
        RecordsMmap.create(tmp_path / "ds", columns={"a": mn.Text()})

    assert len(RecordsMmap(tmp_path / "ds")) == 12


def test_fixed_number_of_dimensions_is_kept(tmp_path):
    dataset = RecordsMmap.create(tmp_path / "ds", columns={"r": mn.Ragged(np.int8, ndim=2, nullable=True)})

    dataset.append({"r": None})
    with pytest.raises(ValueError, match="column 'r': sample 1: expected 2 dimensions, got 1"):
        dataset.append({"r": [1]})
    dataset.append({"r": [[1]]})

    assert plain(dataset[:]) == [{"r": None}, {"r": [[1]]}]
    assert dataset["r"].shapes.tolist() == [[0, 0], [1, 1]]


def test_nulls_are_not_values(tmp_path):
    dataset = RecordsMmap.create(tmp_path / "ds", columns={"n": mn.Scalar(np.int64, nullable=True)})
    dataset.extend({"n": [0, None, 2]})
    column = dataset["n"]

    assert column.index(0) == 0
    assert column.count(0) == 1
    assert column[:].mask.tolist() == [False, True, False]
    with pytest.raises(ValueError, match="ds: column 'n': sample 1 is null, and arrays hold no nulls; use take.*fill="):
        np.asarray(column)
    assert column.__getitems__([0, 1]) == [0, None]


def test_column_given_twice_is_refused(tmp_path):
    dataset = RecordsMmap.create(tmp_path / "ds", columns={"a": {"b": mn.Scalar(np.int64)}})

    with pytest.raises(ValueError, match="ds: column 'a.b': given twice, nested and with a dot"):
        dataset.extend({"a": {"b": [1]}, "a.b": [2]})

    assert len(dataset) == 0


@pytest.mark.parametrize("ndim", [2, None])
def test_nulls_among_images_are_empty_in_jagged_and_padded_batches(tmp_path, ndim):
    dataset = RecordsMmap.create(tmp_path / "ds", columns={"r": mn.Ragged(np.int32, ndim=ndim, nullable=True)})
    dataset.extend([{"r": None}, {"r": [[1, 2], [3, 4]]}, {"r": None}, {"r": [[5, 6]]}])
    column = dataset["r"]

    values, offsets = column.take_jagged([0, 1, 2, 3])
    padded, lengths = column.take_padded([2, 3])

    assert values.tolist() == [[1, 2], [3, 4], [5, 6]]
    assert offsets.tolist() == [0, 0, 2, 2, 3]
    assert padded.tolist() == [[[0, 0]], [[5, 6]]]
    assert lengths.tolist() == [[0, 0], [1, 2]]
    assert column.take_jagged([0])[1].tolist() == [0, 0]
    assert column.take_padded([0, 2])[1].tolist() == [[0, 0], [0, 0]]


def test_null_before_the_first_image_is_empty_in_batches(tmp_path):
    dataset = RecordsMmap.create(tmp_path / "ds", columns={"r": mn.Ragged(np.int32, nullable=True)})
    for value in (None, [[1, 2]], None):
        dataset.append({"r": value})

    batch, lengths = dataset["r"].take_padded([0, 1, 2])

    assert dataset["r"][1].tolist() == [[1, 2]]
    assert batch.tolist() == [[[0, 0]], [[1, 2]], [[0, 0]]]
    assert lengths.tolist() == [[0, 0], [1, 2], [0, 0]]


def test_array_of_which_a_part_is_masked_is_refused(tmp_path):
    dataset = RecordsMmap.create(tmp_path / "ds", columns={"a": mn.Array((2,), np.int64, nullable=True)})
    values = np.ma.MaskedArray([[1, 2], [3, 4], [5, 6]], [[1, 1], [0, 0], [0, 1]])

    with pytest.raises(TypeError, match="column 'a': sample 2: only some of its elements are masked"):
        dataset.extend({"a": values})
    dataset.extend({"a": values[:2]})

    assert plain(dataset[:]) == [{"a": None}, {"a": [3, 4]}]


def test_column_whose_files_no_reader_would_accept_is_refused_before_the_commit(tmp_path, monkeypatch):
    monkeypatch.setattr(meta, "FILE_ID_LIMIT", 12)  # 65535 in fact; ids grow with each added column
    ds = RecordsMmap.create(tmp_path / "ds", columns={"text": mn.Text()})
    ds.append({"text": "kept"})

    with pytest.raises(CorruptDatasetError, match="file id 13 where 1 to 12 was expected"):
        for number in range(12):
            ds.add_column(f"column {number}", [str(number)])

    again = mn.open(tmp_path / "ds")
    assert list(again) == list(ds)
    assert again["text"][0] == "kept"
    assert len(again.columns) > 1


@pytest.mark.parametrize("of", [np.str_, type("Name", (str,), {})])
def test_names_of_columns_are_plain_strings_whatever_they_were_given_as(tmp_path, of):
    ds = RecordsMmap.create(tmp_path / "ds", columns={"text": mn.Text()})
    ds.append({"text": "one"})

    ds.add_column(of("more"), ["two"])

    assert [*map(type, ds.columns)] == [str, str]


def test_renamed_column_that_would_be_a_group_changes_nothing(tmp_path):
    dataset = RecordsMmap(tmp_path / "ds")
    dataset.append({"a": 1, "b": {"c": 2}})

    with pytest.raises(ValueError, match="ds: column 'b': is also a group of columns"):
        dataset.rename_column("a", "b")

    assert dataset.columns == ["a", "b.c"]


def test_damage_names_the_column(records, tmp_path):
    name = next(file["name"] for file in json.loads(next((tmp_path / "ds").glob("meta*")).read_text())["files"]
                if file["column"] == 1 and file["role"] == "data")  # fmt: skip
    (tmp_path / "ds" / name).write_bytes(b"\xff" * (tmp_path / "ds" / name).stat().st_size)
    damaged = RecordsMmap(tmp_path / "ds")

    for read in (lambda: damaged[1], lambda: list(damaged), lambda: damaged["text"][1], lambda: damaged.take([1])):
        with pytest.raises(mn.CorruptDatasetError, match="ds.*sample 1: expected UTF-8|sample 0: expected UTF-8"):
            read()
    with pytest.raises(mn.CorruptDatasetError, match="ds: column 'text': sample 1: expected UTF-8"):
        damaged[1]


@pytest.mark.parametrize("text", [b'{"a": 1,}', b'["bbbbbbb"', b"[[[[[[[[["])
def test_damaged_json_names_its_file(tmp_path, text):
    RecordsMmap.create(tmp_path / "ds", columns={"j": mn.Json()}).append({"j": "a" * (len(text) - 2)})
    (data,) = (tmp_path / "ds").glob("c0.data*")
    overwrite(data, 0, text)
    damaged = RecordsMmap(tmp_path / "ds")

    for read in (lambda: damaged[0], lambda: damaged["j"][:], lambda: damaged.take([0])):
        with pytest.raises(CorruptDatasetError, match="c0.data-.*is not JSON .* restore it from a copy"):
            read()


def test_shape_of_no_elements_that_is_too_big_is_damage(tmp_path):
    RecordsMmap.create(tmp_path / "ds", columns={"r": mn.Ragged(np.int16, ndim=2)}).append({"r": np.zeros((0, 2))})
    (shapes,) = (tmp_path / "ds").glob("c0.shapes*")
    overwrite(shapes, 8, (1 << 62).to_bytes(8, "little"))
    damaged = RecordsMmap(tmp_path / "ds")

    for read in (lambda: damaged[0], lambda: damaged[:], lambda: damaged["r"].take([0])):
        with pytest.raises(CorruptDatasetError, match="the shapes file is damaged"):
            read()


NULLABLE = {"id": mn.Scalar(np.int64), "note": mn.Text(nullable=True), "m": {"a": mn.Scalar("f4", nullable=True)}}


def test_missing_key_of_a_nullable_column_is_a_null(tmp_path):
    """A bug once: each sample had to spell out None."""
    dataset = RecordsMmap.create(tmp_path / "ds", columns=NULLABLE)

    dataset.append({"id": 0})
    dataset.extend([{"id": 1, "m": None}, {"id": 2, "note": "x", "m": {"a": 0.5}}, {"id": 3, "m": {}}])
    dataset.extend({"id": [4, 5], "note": ["y", None]})
    dataset[1] = {"id": 6}
    built = RecordsMmap.from_generator(tmp_path / "ds", [{"id": 7}], if_exists="append")

    assert plain(built[:]) == [
        {"id": number, "note": note, "m": {"a": a}}
        for number, note, a in [(0, None, None), (6, None, None), (2, "x", 0.5), (3, None, None), (4, "y", None),
                                (5, None, None), (7, None, None)]
    ]  # fmt: skip
    with pytest.raises(ValueError, match="sample 7: lacks the column 'id'; .*: only nullable columns may be missing"):
        built.append({"note": "x"})
    with pytest.raises(ValueError, match="ds: lacks the column 'id'"):
        built.extend({"note": ["x"]})
    with pytest.raises(TypeError, match="sample 7: column 'm': expected a dict, got int"):
        built.append({"id": 1, "m": 5})


def test_resume_compares_a_sample_that_lacks_a_key_or_has_tuples(tmp_path):
    samples = [{"id": number, "j": ("a", {"b": (number,)})} for number in range(5)]

    def dying():
        yield from samples[:4]
        raise RuntimeError

    columns = NULLABLE | {"j": mn.Json()}
    with pytest.raises(RuntimeError):
        RecordsMmap.from_generator(tmp_path / "ds", dying(), batch_size=2, columns=columns)

    dataset = RecordsMmap.from_generator(tmp_path / "ds", samples, if_exists="resume")

    assert [one["j"] for one in dataset] == [["a", {"b": [number]}] for number in range(5)]


@pytest.mark.parametrize("name", FLAT)
def test_column_that_becomes_nullable_gets_a_file_and_leaves_the_others_alone(records, tmp_path, name):
    del records[2]
    reader = RecordsMmap(tmp_path / "ds")
    before, expected = {file.name for file in tmp_path.glob("ds/c*")}, plain(records[:])

    records.set_nullable(name)

    added = {file.name for file in tmp_path.glob("ds/c*")} - before
    assert len(added) == (0 if records.schema[name] == reader.schema[name] else 1)
    assert {file.name for file in tmp_path.glob("ds/c*")} >= before
    assert records.schema[name].nullable
    assert plain(records[:]) == plain(reader[:]) == expected
    missing = sample(12)
    group, _, last = name.rpartition(".")
    del (missing[group] if group else missing)[last]
    records.append(missing)
    assert records[name][-1] is None
    assert mn.verify(tmp_path / "ds", level="full").ok


def test_column_that_is_nullable_already_stays_as_it_is(records):
    commit = records.commit_id

    records.set_nullable("blob")

    assert records.commit_id == commit
    with pytest.raises(KeyError, match="has no column 'blub'"):
        records.set_nullable("blub")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([b"a", b"b"], "a list of bytes, which no column holds yet; .*: store b''.join"),
        ([np.zeros((2, 2)), np.zeros((3, 2))], "a list of arrays of several shapes, which no column holds yet"),
    ],
)
def test_list_that_no_column_holds_says_what_to_store(tmp_path, value, message):
    """A bug once: the error spoke of JSON, which nobody had asked for."""
    with pytest.raises(TypeError, match=f"column 'x': sample 0: {message}") as error:
        RecordsMmap.from_generator(tmp_path / "ds", [{"x": value}])

    assert "JSON" not in str(error.value)


def test_tuples_are_lists(tmp_path):
    """A bug once: JSON refused them, though a list of the same items was taken."""
    dataset = RecordsMmap.from_generator(tmp_path / "ds", [{"t": ("a", ("b", 1))}, {"t": [{"c": (1, 2)}]}])

    dataset.append({"t": ()})

    assert [one["t"] for one in dataset] == [["a", ["b", 1]], [{"c": [1, 2]}], []]


def calls_of(function):
    """How many functions a call runs, in Python and in C."""
    events = []
    sys.setprofile(lambda _frame, event, _argument: events.append(event))
    try:
        function()
    finally:
        sys.setprofile(None)
    return sum(event in ("call", "c_call") for event in events)


def test_take_after_a_commit_does_no_more_than_without_one(tmp_path):
    ds = RecordsMmap.from_generator(tmp_path / "ds", map(sample, range(20)), columns=COLUMNS)
    places = np.arange(5)
    ds.take(places)  # what is found once for each type
    undisturbed = calls_of(lambda: ds.take(places))

    for change in (lambda: ds.append(sample(20)), lambda: ds.__delitem__(0), lambda: ds.__setitem__(1, sample(21))):
        change()

        assert calls_of(lambda: ds.take(places)) == undisturbed


@pytest.mark.parametrize("read_mode", ["mmap", "pread"])
def test_take_by_columns_is_what_the_handles_of_the_columns_take(tmp_path, read_mode):
    RecordsMmap.from_generator(tmp_path / "ds", map(sample, range(20)), columns=COLUMNS)
    ds = RecordsMmap(tmp_path / "ds", read_mode=read_mode)
    ds[3] = sample(30)
    del ds[7]
    with_nulls = {**COLUMNS, "label": mn.Scalar(np.int32, nullable=True)}
    RecordsMmap.from_generator(tmp_path / "more", map(sample, range(7)), columns=with_nulls).append(sample(7))
    both = mn.concat([ds, RecordsMmap(tmp_path / "more", read_mode=read_mode)])
    views = ds.select([9, 4, 2]), both.select([20, 25, 1, 22]), both[["meta.box", "label"]], both["meta"]

    for shown in (ds, ds[["text", "meta.score"]], ds["meta"], both, *views):
        taken = flat(shown.take([2, 0, -1]))

        assert list(taken) == shown.columns
        for name, batch in taken.items():
            expected = shown[name].take([2, 0, -1])
            assert type(batch) is type(expected)
            assert plain(batch) == plain(expected)
