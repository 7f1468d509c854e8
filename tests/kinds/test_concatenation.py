"""Concatenated datasets."""

import dataclasses
import itertools
import os
import pickle
import shutil
import threading

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import mmap_ninja as mn
from mmap_ninja import ArrayMmap, BytesMmap, RaggedMmap, RecordsMmap, StringsMmap
from mmap_ninja.kinds import joined as of_parts
from support.faults import in_child
from support.kinds import KINDS, plain

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
    with pytest.raises(TypeError, match=r"other: expected the columns \['n'\] as in .*one, found \['m'\]"):
        mn.concat([one, other])
    with pytest.raises(TypeError, match="concat: expected datasets, got str; open it with mmap_ninja.open first"):
        mn.concat(["a"])
    with pytest.raises(TypeError, match=r"got Windows\(.*rows.*; store the windows first: ArrayMmap.from_generator"):
        mn.concat([rows.windows(1)])


# ---- parts of all kinds


def parts_of(kind, path):
    """Parts of a kind, each of which is read in another way, and the list of all their samples."""
    edited, samples = kind.edited(path / "edited")
    views = [kind.build(path / name, 12, start) for name, start in (("steps", 20), ("chosen", 40))]
    kind.build(path / "read", 9, 60)
    kind.build(path / "empty", 0)
    parts = [
        (edited, samples),
        (mn.open(path / "empty"), []),
        (views[0].select(slice(10, 1, -2)), kind.samples(12, 20)[10:1:-2]),
        (views[1].select([3, 3, 11, 0]), [kind.sample(40 + k) for k in (3, 3, 11, 0)]),
        (mn.open(path / "read", read_mode="pread"), kind.samples(9, 60)),
        (mn.concat([edited, views[0]]), samples + kind.samples(12, 20)),
    ]
    return [part for part, _ in parts], [sample for _, samples in parts for sample in samples]


@pytest.fixture(params=KINDS, scope="module")
def both(request, tmp_path_factory):
    """A concatenation of parts of a kind, the equal list, and one dataset with the same samples; for reading only."""
    kind, path = KINDS[request.param], tmp_path_factory.mktemp("both")
    parts, expected = parts_of(kind, path)
    return mn.concat(parts), expected, kind.store(path / "one", expected)


def orders(count):
    """Ways to choose samples."""
    shuffled = np.random.default_rng(0).permutation(count)
    return {
        "all": slice(None),
        "backwards": slice(None, None, -1),
        "steps": slice(1, None, 3),
        "shuffled": shuffled,
        "sorted": np.sort(shuffled[: count // 2]),
        "one part": slice(2, 5),
        "none": [],
    }


def test_concat_of_any_parts_reads_as_a_list(both):
    joined, expected, one = both

    assert type(joined) is type(one)
    assert len(joined) == len(expected)
    assert plain([joined[k] for k in range(-len(expected), len(expected))]) == plain(expected * 2)
    assert plain(list(joined)) == plain(expected)
    assert plain(list(reversed(joined))) == plain(expected[::-1])
    assert joined.nbytes == sum(part.nbytes for part in joined.parts)
    assert [len(part) for part in joined.parts][1] == 0
    for key in orders(len(expected)).values():
        chosen = [expected[k] for k in np.arange(len(expected))[key]]
        assert plain(joined.__getitems__(key)) == plain(chosen)
        assert plain(joined.take(key)) == plain(one.take(key))
        view = joined.select(key)
        assert plain(list(view)) == plain([view[k] for k in range(len(view))]) == plain(chosen)
        assert plain(view.take(slice(None))) == plain(one.take(key))
        assert plain(list(pickle.loads(pickle.dumps(view)))) == plain(chosen)
    assert in_child(lambda: plain(list(pickle.loads(pickle.dumps(joined))))) == plain(expected)


def test_concat_finds_what_a_list_does(both):
    joined, expected, one = both
    keys = plain(expected)

    for place in range(0, len(expected), 3):
        first = keys.index(keys[place])
        assert joined.index(expected[place]) == one.index(expected[place]) == first
        assert joined.count(expected[place]) == keys.count(keys[place])
        assert expected[place] in joined
        assert joined.index(expected[place], place) == place
    with pytest.raises(ValueError, match="is not among the samples 0 to"):
        joined.index(KINDS["strings"].sample(99) if isinstance(joined, StringsMmap) else object())
    if isinstance(joined, StringsMmap | BytesMmap):
        assert (joined == expected[0]).tolist() == (one == expected[0]).tolist()
        assert joined == expected


METHODS = {
    "lengths": lambda ds, key: ds.lengths,
    "shapes": lambda ds, key: list(map(list, ds.shapes)),
    "flattened_shapes": lambda ds, key: ds.flattened_shapes,
    "byte_lengths": lambda ds, key: ds.byte_lengths,
    "take_jagged": lambda ds, key: ds.take_jagged(key),
    "take_padded": lambda ds, key: ds.take_padded(key),
    "take_padded to": lambda ds, key: ds.take_padded(key, value=7, length=2, multiple_of=3),
    "shape": lambda ds, key: (ds.shape, ds.ndim, ds.size),
    "dtype": lambda ds, key: ds.dtype.str,
    "columns": lambda ds, key: ds.columns,
    "schema": lambda ds, key: repr(ds.schema),
    "to_arrow": lambda ds, key: ds.to_arrow().to_pylist(),
    "asarray": lambda ds, key: list(np.asarray(ds)),
    "numpy": lambda ds, key: (ds[1:9:2], ds[..., 0:1], ds[key]),
    "some columns": lambda ds, key: ds[["more", "tokens"]].take(key),
    "save": lambda ds, key: list(ds.save(ds.parts[0].path.parent / "saved", if_exists="replace")),
    "filter": lambda ds, key: list(ds.filter(lambda sample: sample == ds[0] if isinstance(ds[0], str) else True)),
    "group": lambda ds, key: ds["more"][3],
}


@pytest.mark.parametrize("method", METHODS)
def test_concat_has_the_methods_of_its_kind(both, method):
    joined, expected, one = both

    def read(ds, key):
        try:
            return plain(METHODS[method](ds, key))
        except (AttributeError, TypeError, ValueError, LookupError) as error:
            return type(error)

    for key in orders(len(expected)).values():
        assert read(joined, key) == read(one, key)
        assert read(joined.select(key), slice(None)) == read(one.select(key), slice(None))


@pytest.mark.parametrize("name", KINDS["records"].options["columns"])
def test_column_of_a_concat_is_a_concat_of_columns(tmp_path, name):
    kind = KINDS["records"]
    parts, expected = parts_of(kind, tmp_path)
    values = [sample[name] for sample in expected]
    joined, order = mn.concat(parts), np.random.default_rng(0).permutation(len(expected))
    chosen = [values[k] for k in order]

    for column in (joined[name], mn.concat([part[name] for part in parts]), pickle.loads(pickle.dumps(joined[name]))):
        assert type(column) is type(parts[0][name])
        assert plain([column[k] for k in order]) == plain(chosen)
        assert plain(column.__getitems__(order)) == plain(chosen)
        assert plain(list(column.select(order))) == plain(chosen)
        assert [len(part) for part in column.parts] == [len(part) for part in joined.parts]
    named = pickle.loads(pickle.dumps(joined.select(order)[[name]]))
    assert plain([sample[name] for sample in named]) == plain(chosen)


# ---- single samples, in any order


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    """For each kind, datasets of 0 to 24 samples, open and as lists."""
    path, counts = tmp_path_factory.mktemp("shelf"), [5, 0, 1, 24, 5, 0, 9, 13]
    return {
        name: [(kind.build(path / name / str(k), count, k), kind.samples(count, k)) for k, count in enumerate(counts)]
        for name, kind in KINDS.items()
    }


@pytest.mark.parametrize("name", KINDS)
@given(data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20, deadline=None)
def test_samples_of_a_concat_in_any_order_are_those_of_the_list(shelf, name, data):
    chosen = data.draw(st.lists(st.sampled_from(shelf[name]), min_size=1, max_size=30))
    steps = data.draw(st.lists(st.sampled_from([(None, None, 1), (1, None, 1), (2, 9, 1), (None, None, -1)])))
    pairs = [*itertools.zip_longest(chosen, steps[: len(chosen)], fillvalue=(None, None, 1))]
    parts = [part.select(slice(*step)) for (part, _), step in pairs]
    expected = [sample for (_, samples), step in pairs for sample in samples[slice(*step)]]
    joined = mn.concat(parts)

    places = data.draw(st.lists(st.integers(-len(expected), len(expected) - 1))) if expected else []

    assert len(joined) == len(expected)
    assert plain([joined[k] for k in places]) == plain([expected[k] for k in places])
    assert plain([joined.select(slice(None, None, -1))[-1 - k] for k in places]) == plain([expected[k] for k in places])


@pytest.mark.parametrize("name", KINDS)
def test_samples_of_a_concat_are_the_same_whatever_was_read_before(tmp_path, name):
    """A sample is found in another way once its part was read."""
    kind = KINDS[name]
    parts = [kind.build(tmp_path / str(k), 300, 300 * k) for k in range(3)]  # of several pages
    joined, expected = mn.concat(parts), plain(kind.samples(900))
    order = np.random.default_rng(0).permutation(900)

    for read in (lambda: joined.take([0, 899]), lambda: list(joined), lambda: joined.select([1, 899])[1]):
        read()
        assert plain([joined[k] for k in order]) == [expected[k] for k in order]


@pytest.mark.parametrize("name", KINDS)
def test_threads_read_samples_of_all_parts_at_once(tmp_path, name):
    kind, wrong = KINDS[name], []
    paths = [kind.build(tmp_path / str(k), 5, 5 * k).path for k in range(8)]
    joined, expected = pickle.loads(pickle.dumps(mn.concat(map(mn.open, paths)))), plain(kind.samples(40))

    def read(seed):
        order = np.random.default_rng(seed).integers(0, 40, 400)
        wrong.extend(k for k in order if plain(joined[k]) != expected[k])

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert wrong == []


@pytest.mark.parametrize("name", KINDS)
def test_samples_stay_when_parts_are_closed_changed_or_removed(tmp_path, name):
    kind = KINDS[name]
    parts = [kind.build(tmp_path / str(k), 40, 40 * k) for k in range(4)]
    joined, expected = mn.concat(parts), plain(kind.samples(160))
    kept = [joined[k] for k in range(0, 160, 13)]

    parts[0].close()
    parts[1].extend(kind.samples(3000))  # outgrows its maps
    parts[1][0] = kind.sample(91)
    del parts[1][3]
    parts[1].refresh()
    shutil.rmtree(tmp_path / "2")
    parts[3].extend(kind.samples(3))
    del parts[3][:40]
    parts[3].compact()
    del parts

    assert plain([joined[k] for k in range(160)]) == expected
    assert plain(kept) == expected[::13]
    assert in_child(lambda: plain([joined[k] for k in reversed(range(160))])) == expected[::-1]
    joined.close()
    assert plain(kept) == expected[::13]


def test_damaged_sample_of_a_concat_is_told_by_the_name_of_its_part(tmp_path):
    parts = [StringsMmap.from_strings(tmp_path / name, ["one", "two"]) for name in "ab"]
    both = mn.concat(parts)
    assert [both[k] for k in (3, 2)] == ["two", "one"]
    payload = next((tmp_path / "b").glob("*data*"))
    payload.write_bytes(b"one\xff\xffo")

    with pytest.raises(mn.CorruptDatasetError, match="b: sample 1: expected UTF-8"):
        both[3]
    assert both[2] == "one"


# ---- columns that differ


@pytest.mark.parametrize("order", ["ab", "ba", "aab"])
@pytest.mark.parametrize("read_mode", ["mmap", "pread"])
def test_ragged_samples_without_elements_have_the_dtype_of_the_others(tmp_path, order, read_mode):
    samples = {"a": [[], []], "b": [[1, 2], [3]]}
    of_one = {name: RaggedMmap.from_lists(tmp_path / name, samples[name]) for name in samples}
    for name, of in samples.items():
        RecordsMmap.from_generator(tmp_path / f"{name} records", [{"tokens": sample} for sample in of])
    opened = {name: mn.open(of.path, read_mode=read_mode) for name, of in of_one.items()}
    records = {name: mn.open(tmp_path / f"{name} records", read_mode=read_mode) for name in samples}
    expected = [sample for name in order for sample in samples[name]]

    for both in (
        mn.concat([opened[name] for name in order]),
        mn.concat([mn.concat([opened[name]]) for name in order]),
        mn.concat([records[name]["tokens"].select(slice(None)) for name in order]),
        mn.concat([records[name] for name in order])["tokens"],
        pickle.loads(pickle.dumps(mn.concat([of_one[name] for name in order]))),
    ):
        assert both.dtype == np.int64
        for taken in (list(both), [both[k] for k in range(len(both))], both.take(slice(None))):
            assert [(sample.tolist(), sample.dtype) for sample in taken] == [(of, np.int64) for of in expected]
        assert both.take_jagged(slice(None))[0].tolist() == list(itertools.chain(*expected))
    declared = RaggedMmap.from_lists(tmp_path / "c", [[]], dtype="float32")
    with pytest.raises(TypeError, match="expected int64"):
        mn.concat([opened["b"], declared])


def test_columns_in_another_order_are_those_of_the_first(tmp_path):
    one = RecordsMmap.from_generator(tmp_path / "a", [{"n": 1, "of": {"t": "one", "r": [1]}}])
    other = RecordsMmap.from_generator(tmp_path / "b", [{"of": {"r": [2, 2], "t": "two"}, "n": 2}])

    both = mn.concat([one, other])

    assert both.columns == ["n", "of.t", "of.r"]
    assert [list(sample) for sample in both] == [["n", "of"]] * 2
    assert both["of"].take([1, 0])["t"] == ["two", "one"]
    assert plain(both[1]) == plain({"n": 2, "of": {"t": "two", "r": np.array([2, 2])}})
    assert plain(pickle.loads(pickle.dumps(both))[1]) == plain(both[1])


@pytest.mark.parametrize("order", [slice(None), slice(None, None, -1)])
def test_columns_of_which_only_some_are_nullable_have_nulls(tmp_path, order):
    columns = {"t": mn.Text(), "n": mn.Scalar("i1"), "r": mn.Ragged("i1"), "j": mn.Json(), "z": mn.Text(codec="zstd")}
    nullable = {name: dataclasses.replace(spec, nullable=True) for name, spec in columns.items()}
    full = {"t": "a", "n": 1, "r": [1, 2], "j": {}, "z": "z"}
    parts = [
        RecordsMmap.from_generator(tmp_path / "a", [full] * 2, columns=columns),
        RecordsMmap.from_generator(tmp_path / "b", [dict.fromkeys(full), full], columns=nullable),
    ][order]

    both = mn.concat(parts)

    expected = [sample for part in parts for sample in part]
    assert all(spec.nullable for spec in both.schema.values())
    assert plain(list(both)) == plain(both.__getitems__([0, 1, 2, 3])) == plain(expected)
    assert both["n"].take([3, 2, 1, 0]).mask.tolist() == [sample["n"] is None for sample in expected[::-1]]
    assert both.take([0, 1, 2, 3], fill={"n": 7, "t": ""})["t"] == [sample["t"] or "" for sample in expected]
    assert both["r"].take_padded([0, 1, 2, 3])[1].tolist() == [0 if x["r"] is None else 2 for x in expected]


def test_compressed_parts_and_plain_ones_are_one_list(tmp_path):
    samples = [f"sample {k} of {k * k} " * (k % 5) for k in range(500)]
    options = [{}, {"zstd_level": 1}, {"zstd_level": 9}, {"zstd_level": 3, "zstd_train_dictionary_size": 1024}]
    parts = [StringsMmap.from_strings(tmp_path / str(k), samples, **of) for k, of in enumerate(options)]
    order = np.random.default_rng(0).permutation(2000)

    both = mn.concat(parts)

    assert list(both) == samples * 4
    assert both.take(order) == [samples[k % 500] for k in order]
    assert both.byte_lengths.tolist() == [len(sample) for sample in samples] * 4
    values, offsets = both.take_jagged(order)
    spans = [values[start:end].tobytes() for start, end in itertools.pairwise(offsets)]
    assert [span.decode() for span in spans] == both.take(order)
    assert (both == samples[3]).sum() == 4
    assert len(pickle.dumps(both)) < 120_000  # the dictionary is only in the part's own files
    assert list(pickle.loads(pickle.dumps(both))) == samples * 4


@pytest.mark.parametrize("order", [[0, 1, 2], [1, 0, 2], [2, 1, 0]])
def test_datasets_without_columns_yet_fit_all_others(tmp_path, order):
    one = RecordsMmap.from_generator(tmp_path / "one", [{"x": 1, "y": 2}])
    parts = [RecordsMmap.from_generator(tmp_path / "empty", []), one, RecordsMmap(tmp_path / "nothing")]

    both = mn.concat([parts[k] for k in order])

    assert both.columns == ["x", "y"]
    assert list(both) == list(one)
    assert list(pickle.loads(pickle.dumps(both))["x"]) == [1]
    assert list(mn.concat([parts[0], parts[2]])) == []
    for kind in ("array", "ragged"):
        empty = KINDS[kind].build(tmp_path / f"{kind} empty", 0)
        full = KINDS[kind].build(tmp_path / kind, 3)
        assert plain(list(mn.concat([empty, full, empty]))) == plain(list(full))
        assert len(mn.concat([empty, empty]).take([])) == 0


@pytest.mark.parametrize("cls", [StringsMmap, BytesMmap, ArrayMmap, RaggedMmap, RecordsMmap])
def test_concat_of_paths_that_hold_nothing_is_empty(tmp_path, cls):
    nothing = mn.concat([cls(tmp_path / "a"), cls(tmp_path / "b")])

    for empty in (nothing, pickle.loads(pickle.dumps(nothing)), nothing[:], nothing.save(tmp_path / "saved")):
        assert list(empty) == []
    assert (len(nothing), nothing.nbytes) == (0, 0)
    assert plain(nothing.take([])) == plain(cls(tmp_path / "a").take([]))


def test_columns_that_do_not_fit_are_told_as_users_know_them(tmp_path):
    one = RecordsMmap.from_columns(tmp_path / "one", {"n": np.array([1], np.int32)})
    other = RecordsMmap.from_columns(tmp_path / "other", {"n": np.array([1.5])})

    with pytest.raises(TypeError, match=r"other: column 'n': expected int32 as in \S*one, found float64; select"):
        mn.concat([one, other])


# ---- parts that are opened when they are needed


def test_pickle_opens_a_part_when_one_of_its_samples_is_read(tmp_path):
    kind = KINDS["records"]
    for name in "abc":
        kind.build(tmp_path / name, 4)
    pickled = pickle.dumps(mn.concat(mn.open(tmp_path / name) for name in "abc"))
    before = len(os.listdir("/proc/self/fd"))

    joined = pickle.loads(pickled)
    view = pickle.loads(pickle.dumps(joined.select(slice(3, 9))[["text", "blob"]]))

    assert len(os.listdir("/proc/self/fd")) == before
    assert (len(joined), joined.columns) == (12, list(kind.build(tmp_path / "d", 0).columns))
    shutil.rmtree(tmp_path / "b")
    assert plain(joined[3]) == plain(kind.sample(3))
    assert plain(view.take([0, 5])["text"]) == plain([kind.sample(3)["text"], kind.sample(0)["text"]])
    with pytest.raises(mn.NotADatasetError, match=r"b: no such directory"):
        joined[4]
    with pytest.raises(mn.NotADatasetError, match=r"b: no such directory"):
        view.take([0, 2])
    with pytest.raises(mn.NotADatasetError, match=r"b: no such directory"):
        list(joined)


def test_threads_that_open_the_same_part_read_its_samples(tmp_path, monkeypatch):
    """A crash once: the slower thread replaced the part that the faster one was reading without a reference."""
    records = [{"text": "a" * 1000}, {"text": "b" * 1000}]
    parts = [RecordsMmap.from_generator(tmp_path / record["text"][0], [record]) for record in records]
    both = pickle.loads(pickle.dumps(mn.concat(parts)))
    slower, is_inside, may_end = threading.Thread(target=lambda: both[[0]]), threading.Event(), threading.Event()
    opened = of_parts._opened

    def slowly(reopen, arguments, *state):
        handle = opened(reopen, arguments, *state)
        if threading.current_thread() is slower:
            is_inside.set()
            may_end.wait()
        elif handle.path.name == "a":
            is_inside.wait()
        else:
            may_end.set()
            slower.join()
        return handle

    monkeypatch.setattr(of_parts, "_opened", slowly)
    slower.start()

    assert both[[0, 1]] == records


@pytest.mark.parametrize("name", ["strings", "array", "ragged", "records"])
def test_part_that_is_truncated_ends_batches_and_iteration(tmp_path, name):
    for part in "ab":
        KINDS[name].build(tmp_path / part, 40, 1)
    both = mn.concat([mn.open(tmp_path / part) for part in "ab"])
    os.truncate(next((tmp_path / "b").glob("*data*")), 0)

    assert plain(both.__getitems__([0, 1])) == plain(KINDS[name].samples(2, 1))
    for read in (lambda: both.take([3, 41, 2]), lambda: list(both), lambda: list(both.select([0, 79, 1, 40]))):
        with pytest.raises(mn.DatasetTruncatedError, match=r"b(/| |:)"):
            read()


def test_concat_is_read_only_and_says_so(tmp_path, texts):
    both, _ = texts

    with pytest.raises(mn.ReadOnlyError, match="a and 2 more: a view is read-only"):
        both.append("x")
    with pytest.raises(ValueError, match=r"a and 2 more: verify: expected one dataset, found 3; verify each of its"):
        both.verify()
    with pytest.raises(IndexError, match="index 11 is out of range for 11 samples; this concatenation shows its 3"):
        both[11]
    assert repr(both) == f"StringsMmap('{tmp_path}/a and 2 more', concat of 3, 11 samples)"
    assert both.commit_id is None
    both.close()
    with pytest.raises(ValueError, match="closed"):
        both[0]


def test_parts_by_value_of_parts_by_the_same_value_have_their_shares(tmp_path):
    records = [RecordsMmap.from_columns(tmp_path / name, {"user": np.arange(9000) % 3000}) for name in "ab"]
    train = mn.concat([of.split([0.8, 0.2], seed=0, by="user")[0] for of in records])

    some, others = train.split([0.5, 0.5], seed=0, by="user")

    assert len(others) == pytest.approx(len(some), rel=0.15)
    assert not set(some["user"].take(slice(None)).tolist()) & set(others["user"].take(slice(None)).tolist())


@pytest.mark.parametrize("within", [True, False])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_windows_of_a_concat_are_those_of_each_part(tmp_path, within, stride):
    kind = KINDS["ragged"]
    parts = [kind.build(tmp_path / name, 12, start) for name, start in (("a", 0), ("b", 5))]
    parts += [mn.open(tmp_path / "a", read_mode="pread").select(slice(3, 9)), kind.build(tmp_path / "empty", 0)]

    windows = mn.concat(parts).windows(2, stride, within_samples=within)

    expected = [window for part in parts for window in part.windows(2, stride, within_samples=within)]
    order = np.random.default_rng(0).permutation(len(expected))
    assert plain(list(windows)) == plain([windows[k] for k in range(len(windows))]) == plain(expected)
    assert windows.take(order).tolist() == [expected[k].tolist() for k in order]
    assert plain(list(pickle.loads(pickle.dumps(windows)))) == plain(expected)
    assert plain(list(windows.select(order))) == plain([expected[k] for k in order])
    some = mn.concat(parts).select([20, 3, 4, 28]).windows(2, stride, within_samples=True)
    one_by_one = [
        window
        for k in (20, 3, 4, 28)
        for window in mn.concat(parts).select([k]).windows(2, stride, within_samples=True)
    ]
    assert plain(list(some)) == plain(one_by_one)
