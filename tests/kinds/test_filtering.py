"""`filter` gives a view, `map` a lazy sequence, and `save` makes a dataset of either kind of view."""

import pickle

import numpy as np
import pytest

import mmap_ninja as mn
from mmap_ninja import RaggedMmap, RecordsMmap, StringsMmap
from mmap_ninja.kinds.wrapped import Mapped
from support import golden
from support.faults import overwrite
from support.kinds import KINDS, plain

every_kind = pytest.mark.parametrize("kind", sorted(KINDS))


def number_of(sample):
    """A number that some samples of each kind have."""
    return len(str(plain(sample))) % 2


def doubled(text):
    return text * 2


# ---- filter


@every_kind
def test_filter_gives_a_view_of_what_a_list_comprehension_gives(tmp_path, kind):
    dataset, samples = KINDS[kind].edited(tmp_path / "ds")

    chosen = dataset.filter(number_of)

    assert type(chosen) is type(dataset)
    assert plain(chosen) == plain([sample for sample in samples if number_of(sample)])
    assert plain(pickle.loads(pickle.dumps(chosen))) == plain(chosen)
    assert plain(dataset.select(slice(None, None, -1)).filter(number_of)) == plain(chosen)[::-1]


def test_filter_of_no_samples_and_of_all(tmp_path):
    texts = StringsMmap.from_strings(tmp_path / "ds", ["a", "b"])

    assert list(texts.filter(lambda _: False)) == list(StringsMmap(tmp_path / "none").filter(doubled)) == []
    assert list(texts.filter(lambda _: True)) == ["a", "b"]


@pytest.fixture
def records(tmp_path):
    samples = [{"label": k % 3, "text": str(k), "meta": {"name": f"n{k}", "score": k / 2}} for k in range(9)]
    return RecordsMmap.from_generator(tmp_path / "records", samples, metadata={"classes": ["a", "b", "c"]})


def test_filter_by_columns_gets_and_reads_only_these(records):
    seen = []
    path = next(records.path.glob("c1.data-*"))
    records.close()
    path.write_bytes(b"\xff" * path.stat().st_size)  # no text any more: reading it raises
    opened = mn.open(records.path)

    chosen = opened.filter(lambda sample: seen.append(sample) or sample["label"] == 1, columns=["label"])

    assert chosen["meta.name"][:] == ["n1", "n4", "n7"]
    assert (seen[0], opened.columns) == ({"label": 0}, chosen.columns)
    by_group = opened.filter(lambda sample: sample["meta"]["score"] > 3, columns=["meta"])
    assert by_group["label"][:].tolist() == [1, 2]


def test_filter_of_a_column_and_by_columns_that_are_not_there(records, tmp_path):
    assert records["text"].filter(lambda text: text > "6")[:] == ["7", "8"]
    with pytest.raises(KeyError, match="has no column 'labels'; it has 'label'"):
        records.filter(bool, columns=["labels"])
    with pytest.raises(TypeError, match="columns 'label': expected a list of names"):
        records.filter(bool, columns="label")
    with pytest.raises(ValueError, match=r"columns \['a'\]: samples of this kind have no columns; leave it out"):
        StringsMmap.from_strings(tmp_path / "ds", ["a"]).filter(bool, columns=["a"])


def test_filter_names_the_sample_at_which_the_function_fails(tmp_path):
    texts = StringsMmap.from_strings(tmp_path / "ds", ["1", "2", "x"])

    with pytest.raises(ValueError, match="invalid literal.*sample 2"):
        texts.filter(int)
    with pytest.raises(TypeError, match="function 'int': expected a function, got str"):
        texts.filter("int")


def test_filter_shows_one_snapshot_though_its_function_appends(tmp_path):
    texts = StringsMmap.from_strings(tmp_path / "ds", ["a", "b"])

    chosen = texts.filter(lambda text: texts.append(text * 2) or text == "b")

    assert (list(chosen), len(texts)) == (["b"], 4)


def test_filter_shows_its_progress(tmp_path, capsys):
    StringsMmap.from_strings(tmp_path / "ds", ["a", "b"]).filter(bool, verbose=True)

    assert "2/2" in capsys.readouterr().err


def test_windows_filter_and_map(tmp_path):
    windows = RaggedMmap.from_lists(tmp_path / "ds", [[1, 2, 3], [4, 5, 6]]).windows(2)

    assert [w.tolist() for w in windows.filter(lambda w: w.sum() > 3)] == [[3, 4], [5, 6]]
    assert list(windows.map(np.sum)) == [3, 7, 11]


# ---- map


@every_kind
def test_map_is_a_lazy_list(tmp_path, kind):
    dataset, samples = KINDS[kind].edited(tmp_path / "ds")
    expected = [number_of(sample) for sample in samples]

    for mapped in (dataset.map(number_of), pickle.loads(pickle.dumps(dataset.map(number_of)))):
        assert len(mapped) == len(expected)
        assert list(mapped) == [mapped[k] for k in range(len(expected))] == expected
        assert (mapped[-1], mapped[1:3], mapped[[2, 0]]) == (expected[-1], expected[1:3], [expected[2], expected[0]])
        assert mapped.__getitems__([1, 1]) == [expected[1]] * 2
        assert list(reversed(mapped)) == expected[::-1]


def test_map_calls_its_function_when_a_sample_is_read(tmp_path):
    called = []
    texts = StringsMmap.from_strings(tmp_path / "ds", ["a", "b", "c"])

    mapped = texts.map(called.append)
    texts.append("d")

    assert (called, len(mapped)) == ([], 3)
    mapped[1]
    assert called == ["b"]
    assert isinstance(mapped, mn.Wrapped)
    assert isinstance(mapped, Mapped)
    assert repr(mapped).startswith(f"Mapped(StringsMmap('{tmp_path}/ds', view, 3 samples), <built-in method append")


def test_map_of_other_than_a_function_raises(records):
    with pytest.raises(TypeError, match="function None: expected a function, got NoneType"):
        records.map(None)
    with pytest.raises(TypeError, match="expected an index of samples alone"):
        records.map(len)[0, 1]


@pytest.mark.parametrize("data", [["a", "b", "c"], np.array(["a", "b", "c"])])
def test_wrapped_gives_batches_sample_by_sample(tmp_path, data):
    texts = StringsMmap.from_strings(tmp_path / "ds", list(data))

    for of in (data, texts):
        wrapped = mn.Wrapped(of, doubled) if isinstance(of, (list, StringsMmap)) else mn.Wrapped(of, str)
        batch = wrapped.__getitems__([2, 0])
        assert batch == [wrapped[2], wrapped[0]]


def test_wrapped_over_a_dataset_passes_copies_to_its_function(tmp_path):
    rows = RaggedMmap.from_lists(tmp_path / "ds", [[1, 2], [3]])

    def negated(row):
        row *= -1
        return row.tolist()

    assert mn.Wrapped(rows, negated).__getitems__([1, 0]) == [[-3], [-1, -2]]
    assert rows[0].tolist() == [1, 2]


# ---- save


def types_of(dataset):
    return [(column.name, column.type) for column in dataset._state.columns]


@every_kind
@pytest.mark.parametrize("select", [slice(None), slice(7, 1, -2), [3, 3, 0], []])
def test_save_stores_any_view_with_its_types(tmp_path, kind, select):
    dataset, _ = KINDS[kind].edited(tmp_path / "ds")
    view = dataset.select(select)

    saved = view.save(tmp_path / "saved", batch_size=2)

    assert type(saved) is type(dataset)
    assert (plain(saved), saved.complete, saved.garbage) == (plain(view), True, 0)
    assert types_of(saved) == types_of(dataset)
    assert mn.verify(tmp_path / "saved", "full").ok
    saved.append(dataset[0])


def test_save_stores_columns_under_the_names_that_they_are_shown_by(records, tmp_path):
    for name, names in (
        (["text", "label"], ["text", "label"]),
        ("meta", ["name", "score"]),
        (["meta"], ["meta.name", "meta.score"]),
    ):
        saved = records[name].save(tmp_path / "saved", if_exists="replace")
        assert (saved.columns, list(saved)) == (names, list(records[name]))


def test_save_of_a_column_is_a_dataset_of_its_kind(records, tmp_path):
    saved = records["text"].select([2, 1]).save(tmp_path / "texts")

    assert (type(saved), saved[:]) == (StringsMmap, ["2", "1"])
    assert types_of(records["meta.score"].save(tmp_path / "scores"))[0][1] == types_of(records["meta.score"])[0][1]


def test_save_of_a_column_that_only_records_can_hold_says_so(tmp_path):
    columns = {"note": mn.Text(nullable=True), "any": mn.Json()}
    records = RecordsMmap.create(tmp_path / "ds", columns)
    records.extend([{"note": "a", "any": {}}, {"note": None, "any": 1}])

    with pytest.raises(
        ValueError, match=r"column 'note': sample 1 is null: only records .* ds\[\['note'\]\]\.save\(path\)"
    ):
        records["note"].save(tmp_path / "saved")
    with pytest.raises(TypeError, match=r"column 'any': JSON values: only records .* ds\[\['any'\]\]\.save\(path\)"):
        records["any"].save(tmp_path / "saved")
    assert not (tmp_path / "saved").exists()
    assert list(records["note"].select([0]).save(tmp_path / "saved")) == ["a"]
    assert list(records[["any"]].save(tmp_path / "any")) == [{"any": {}}, {"any": 1}]


def test_save_keeps_metadata_unless_others_are_given(records, tmp_path):
    kept = records.save(tmp_path / "a")
    given = records.save(tmp_path / "b", metadata={"of": 1}, version="2")
    again = given.save(tmp_path / "c", version="3")

    assert kept.metadata == records.metadata == {"classes": ["a", "b", "c"]}
    assert (given.metadata, again.metadata) == ({"of": 1, "version": "2"}, {"of": 1, "version": "3"})


def test_save_keeps_a_wrapper_but_stores_what_it_gets(tmp_path):
    rows = RaggedMmap.from_lists(tmp_path / "ds", [[1, 2], [3]], wrapper_fn=len)

    saved = rows.select([1]).save(tmp_path / "saved")

    assert (list(saved), saved.wrapper_fn, mn.open(tmp_path / "saved")[0].tolist()) == ([1], len, [3])


def test_save_is_an_error_where_there_is_a_dataset_and_can_replace_its_own(records):
    chosen = records.filter(lambda sample: sample["label"] == 2)
    expected = list(chosen)

    with pytest.raises(FileExistsError, match="a dataset already exists"):
        chosen.save(records.path)
    saved = chosen.save(records.path, if_exists="replace")

    assert list(saved) == list(chosen) == expected
    records.refresh()
    assert list(records) == expected


def test_save_appends_resumes_and_reuses(tmp_path):
    texts = StringsMmap.from_strings(tmp_path / "ds", list("abcdef"), metadata={"of": "ds"})
    out = tmp_path / "out"

    StringsMmap.from_strings(out, ["x"])
    assert texts.select([1]).save(out, if_exists="append")[:] == ["x", "b"]

    def dying():
        yield from "abc"
        raise OSError("source died")

    with pytest.raises(OSError, match="source died"):
        StringsMmap.from_generator(out, dying(), batch_size=1, metadata={"of": "ds"})
    assert texts.save(out, if_exists="resume")[:] == list("abcdef")
    assert texts.save(out, if_exists="reuse")[:] == list("abcdef")


def test_save_that_fails_half_way_leaves_what_was_there(tmp_path):
    texts = StringsMmap.from_strings(tmp_path / "ds", ["a", "b", "c"])
    saved = texts.save(tmp_path / "saved")
    overwrite(tmp_path / "ds" / "c0.data-1", 2, b"\xff")
    damaged = StringsMmap(tmp_path / "ds")

    with pytest.raises(mn.CorruptDatasetError, match="sample 2"):
        damaged.save(tmp_path / "saved", 1, if_exists="replace")

    assert mn.open(tmp_path / "saved")[:] == saved[:] == ["a", "b", "c"]


def test_save_of_nothing_is_an_empty_dataset(tmp_path):
    nothing = StringsMmap(tmp_path / "none").save(tmp_path / "a")

    assert (len(nothing), nothing.complete) == (0, True)
    assert len(RecordsMmap(tmp_path / "none").save(tmp_path / "b")) == 0


@pytest.mark.parametrize("name", golden.READABLE)
def test_save_stores_what_a_directory_of_0x_shows(tmp_path, name):
    shown = golden.opened(name, mode="r")

    shown.save(tmp_path / "saved")

    saved = mn.open(tmp_path / "saved")
    assert golden.plain(saved) == golden.plain(golden.expected_samples(name))
    assert mn.verify(saved.path, "full").ok


# ---- from_columns


def test_from_columns_keeps_the_types_of_records_that_are_not_declared_anew(tmp_path):
    """A bug once: if one column was declared, the others were inferred: arrays became ragged."""
    given = {"a": mn.Array((3,), "i2"), "j": mn.Json(), "t": mn.Text(nullable=True)}
    records = RecordsMmap.create(tmp_path / "ds", columns=given)
    records.extend([{"a": [1, 2, 3], "j": {"z": 1}, "t": "x"}, {"a": [4, 5, 6], "j": [2], "t": None}])
    asked = {"n": mn.Scalar("i4", nullable=True), "t": mn.Text(codec="zstd", nullable=True)}

    stored = RecordsMmap.from_columns(tmp_path / "out", records, columns=asked)

    assert stored.schema == {**records.schema, **mn.RecordsMmap.create(tmp_path / "asked", columns=asked).schema}
    assert [dict(sample, a=sample["a"].tolist()) for sample in stored] == [
        {"a": [1, 2, 3], "j": {"z": 1}, "t": "x", "n": None},
        {"a": [4, 5, 6], "j": [2], "t": None, "n": None},
    ]
    with pytest.raises(ValueError, match="column 'a': is also a group of columns"):
        RecordsMmap.from_columns(tmp_path / "out", records, columns={"a.b": mn.Text(nullable=True)})


def test_from_columns_takes_records_and_views_of_them(tmp_path):
    dataset, samples = KINDS["records"].edited(tmp_path / "ds")

    for view, expected in (
        (dataset, samples),
        (dataset.select([4, 1]), [samples[4], samples[1]]),
        (dataset[["text", "more"]], [{"text": s["text"], "more": s["more"]} for s in samples]),
    ):
        stored = RecordsMmap.from_columns(tmp_path / "out", view)
        assert plain(stored) == plain(expected)
        assert types_of(stored) == types_of(view)


def test_from_columns_of_records_takes_other_types(records, tmp_path):
    columns = {"label": mn.Scalar("int64", nullable=True), "text": mn.Text(codec="zstd")}

    stored = RecordsMmap.from_columns(tmp_path / "out", records[["label", "text"]], columns=columns)

    assert (stored.schema["label"], stored["text"][:]) == (
        mn.Scalar(np.dtype("int64"), nullable=True),
        records["text"][:],
    )
