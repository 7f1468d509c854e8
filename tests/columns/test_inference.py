"""Inference: the first samples decide columns and dtypes, whatever batches and processes bring them."""

import datetime as dt
import itertools
import os
import time

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from PIL import Image

import mmap_ninja as mn
from mmap_ninja import RaggedMmap, RecordsMmap
from mmap_ninja.columns.limits import BATCH_BYTES, DECIDING_SAMPLES, count_deciding

MOST = DECIDING_SAMPLES


def schema_of(samples, tmp_path, **options):
    return RecordsMmap.from_generator(tmp_path / "ds", samples, **options).schema


def scalar(dtype, **options):
    return mn.Scalar(np.dtype(dtype), **options)


def ragged(dtype, **options):
    return mn.Ragged(np.dtype(dtype), **options)


DECIDED = {
    "a null, then texts": ([None, "a"], mn.Text(nullable=True)),
    "texts, then a null": (["a", "b", None], mn.Text(nullable=True)),
    "a null, then bytes": ([None, b"a"], mn.Bytes(nullable=True)),
    "a null, then lists": ([None, ["a"]], mn.Json(nullable=True)),
    "integers, then a float": ([1, 2, 2.5], scalar(np.float64)),
    "a float, then integers": ([2.5, 1], scalar(np.float64)),
    "a float, then a complex": ([2.5, 1j], scalar(np.complex128)),
    "a bool, then an integer": ([True, 2], scalar(np.int64)),
    "bools": ([True, False], scalar(bool)),
    "a large integer": ([1, 2**63], scalar(np.uint64)),
    "nulls and floats": ([None, 1, None, 2.5], scalar(np.float64, nullable=True)),
    "float32, then an exact float": ([np.float32(1), 0.5], scalar(np.float32)),
    "a float, then float32": ([0.1, np.float32(1)], scalar(np.float64)),
    "int8 and int16": ([np.int8(1), np.int16(2)], scalar(np.int16)),
    "int8 and a small integer": ([np.int8(1), 2], scalar(np.int8)),
    "int8 and a large integer": ([np.int8(1), 200], scalar(np.int64)),
    "dates of two units": ([np.datetime64("2020-01-01"), np.datetime64("2020-01-01T01")], scalar("<M8[h]")),
    "an empty list, then numbers": ([[], [1]], ragged(np.int64)),
    "an empty list, then texts": ([[], ["a"]], mn.Json()),
    "an empty list, then uneven lists": ([[], [[1], [2, 3]]], mn.Json()),
    "even lists, then uneven ones": ([[[1, 2], [3, 4]], [[1, 2], [3]]], mn.Json()),
    "lists of integers, then of floats": ([[1, 2], [0.5]], ragged(np.float64)),
    "a number, then a list": ([1, [1, 2]], ragged(np.int64)),
    "an array, then a list": ([np.zeros(2, np.float32), [1, 2]], ragged(np.float32)),
    "arrays of two dtypes": ([np.zeros(2, np.uint8), np.zeros(2, np.int8)], ragged(np.int16)),
    "only empty lists": ([[], []], ragged(np.float64)),
    "an empty array, then integers": ([np.array([]), np.array([1])], ragged(np.int64)),
    "an empty dict, then lists": ([{}, [1]], mn.Json()),
    "tuples": ([("a", 1), ["b"]], mn.Json()),
}


@pytest.mark.parametrize("name", DECIDED)
def test_first_samples_decide_together_in_any_order(tmp_path, name):
    """A bug once: the first sample decided alone, and the next ones did not fit."""
    values, expected = DECIDED[name]

    for order in itertools.permutations(values):
        dataset = RecordsMmap.from_generator(tmp_path / "ds", [{"x": value} for value in order])
        stored = [value.tolist() if hasattr(value, "tolist") else value for value in dataset["x"]]

        assert dataset.schema == {"x": expected}
        given = [value.tolist() if hasattr(value, "tolist") else value for value in order]
        assert name.startswith("dates") or stored == [list(v) if isinstance(v, tuple) else v for v in given]


def late(value, first=1):
    """The samples that decide, the last of which has another value."""
    return [{"x": first}] * (MOST - 1) + [{"x": value}]


@pytest.mark.parametrize("batch_size", [1, 7, MOST, 5000])
def test_schema_does_not_depend_on_the_size_of_batches(tmp_path, batch_size):
    """A bug once: only the first batch decided."""
    assert schema_of(late(2.5), tmp_path, batch_size=batch_size) == {"x": scalar(np.float64)}
    assert schema_of(late(None), tmp_path, batch_size=batch_size) == {"x": scalar(np.int64, nullable=True)}
    for values in ([*late(2.5), {"x": 3}], [{"x": 1}] * MOST + [{"x": 2.0}]):
        kept = RecordsMmap.from_generator(tmp_path / "kept", values, batch_size=batch_size)
        assert [one["x"] for one in kept] == [one["x"] for one in values]


@pytest.mark.parametrize("batch_size", [1, 7, MOST, 5000])
def test_later_contradiction_names_the_declaration_that_mends_it(tmp_path, batch_size):
    numbers = [{"x": 1}] * MOST

    with pytest.raises(TypeError, match=rf"sample {MOST}: .*columns={{'x': mn.Scalar\('float64'\)}}"):
        schema_of([*numbers, {"x": 2.5}], tmp_path, batch_size=batch_size)

    with pytest.warns(mn.IncompleteDatasetWarning):
        assert len(mn.open(tmp_path / "ds")) == MOST // batch_size * batch_size
    assert schema_of([*numbers, {"x": 2.5}], tmp_path, columns={"x": mn.Scalar("float64")})


MENDED = {
    "a null": ("a", None, "mn.Text(nullable=True)"),
    "a null among bytes": (b"a", None, "mn.Bytes(nullable=True)"),
    "a null among integers": (1, None, "mn.Scalar('int64', nullable=True)"),
    "a null among lists": ([1], None, "mn.Ragged('int64', nullable=True)"),
    "a number among texts": ("a", 1, "mn.Json()"),
    "a text among numbers": (1, "a", "mn.Json()"),
    "a list among numbers": (1, [1, 2], "mn.Ragged('int64')"),
    "floats in lists": ([1], [0.5], "mn.Ragged('float64')"),
    "texts in lists": ([1], ["a"], "mn.Json()"),
    "uneven lists": ([[1, 2], [3, 4]], [[1, 2], [3]], "mn.Json()"),
}


@pytest.mark.parametrize("name", MENDED)
def test_declaration_that_an_error_names_mends_it(tmp_path, name):
    first, value, declaration = MENDED[name]
    samples = [{"x": first}] * MOST + [{"x": value}]

    with pytest.raises((TypeError, ValueError)) as error:
        schema_of(samples, tmp_path)

    assert str(error.value).endswith(f"build the dataset with columns={{'x': {declaration}}}")
    columns = {"x": eval(declaration)}  # noqa: S307 - as a user would write it
    assert len(RecordsMmap.from_generator(tmp_path / "ds", samples, columns=columns)) == MOST + 1


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        ([{"x": 1}, {"x": "a"}], r"column 'x': sample 0 is a number and sample 1 is a str.*columns={'x': mn.Json\(\)}"),
        ([{"x": b"a"}, {"x": "a"}], "column 'x': sample 0 is bytes and sample 1 is a str, .*; convert the samples"),
        ([{"x": 1}, {"x": {"a": 1}}], r"'x': sample 0 is int where other samples have a dict.*{'x': mn.Json\(\)}"),
        ([{"x": None}, {"x": None}], r"no value.*columns={'x': mn.Text\(nullable=True\)}"),
        ([{"a": {"b": None}}], r"no value.*columns={'a.b': mn.Text\(nullable=True\)}"),
        ([{"x": 1}, 5], "sample 1: expected a dict, a dataclass or a named tuple, got int"),
        ([{"x": 1}, {"x": object()}], "column 'x': its value <object .* of sample 1 does not define a type"),
    ],
)
def test_samples_that_no_type_unites_store_nothing(tmp_path, samples, message):
    with pytest.raises(TypeError, match=f"ds: .*{message}"):
        schema_of(samples, tmp_path, batch_size=1)
    with pytest.raises(TypeError, match=f"other: .*{message}"):
        RecordsMmap(tmp_path / "other").extend(samples)

    assert not (tmp_path / "other").exists()


def test_column_that_some_of_the_first_samples_lack_is_nullable(tmp_path):
    samples = [{"a": 1}, {"a": 2, "b": "x", "c": {"d": 1.5}}, {"b": "y", "c": None}, {"a": 3, "c": {}}]

    dataset = RecordsMmap.from_generator(tmp_path / "ds", samples)

    assert dataset.schema == {
        "a": scalar(np.int64, nullable=True),
        "b": mn.Text(nullable=True),
        "c.d": scalar(np.float64, nullable=True),
    }
    assert dataset[:] == [
        {"a": 1, "b": None, "c": {"d": None}},
        {"a": 2, "b": "x", "c": {"d": 1.5}},
        {"a": None, "b": "y", "c": {"d": None}},
        {"a": 3, "b": None, "c": {"d": None}},
    ]


class Mixed:
    """Samples of which the last ones that decide differ from the others; slow enough for workers."""

    def __init__(self, count, seconds=0.0, fails_at=None):
        self.count = count
        self.seconds = seconds
        self.fails_at = fails_at

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        if index == self.fails_at:
            raise OSError("source")
        if index >= self.count:
            raise IndexError
        time.sleep(self.seconds)
        sample = {"n": 0.5 if index == MOST - 1 else index, "e": [] if index < MOST - 1 else [index]}
        return sample | ({"t": "t"} if index == MOST - 2 else {})


MIXED = {"n": scalar(np.float64), "e": ragged(np.int64), "t": mn.Text(nullable=True)}


@pytest.mark.parametrize("n_jobs", [None, 2])
def test_schema_does_not_depend_on_workers(tmp_path, n_jobs):
    source = Mixed(MOST + 100, 0.002 if n_jobs else 0)

    dataset = RecordsMmap.from_indexable(tmp_path / "ds", source, batch_size=50, n_jobs=n_jobs)

    assert dataset.schema == MIXED
    assert [one["n"] for one in dataset] == [source[index]["n"] for index in range(len(source))]


def test_workers_read_the_samples_that_decide(tmp_path):
    def sample(index):
        time.sleep(0.004)
        return {"process": os.getpid()}

    dataset = RecordsMmap.from_indexable(tmp_path / "ds", mn.parallel.make_indexable(sample, MOST), n_jobs=2)

    assert len(set(dataset["process"][:].tolist())) > 1


@pytest.mark.parametrize("n_jobs", [None, 2])
def test_error_among_the_samples_that_decide_leaves_those_before_it(tmp_path, n_jobs):
    source = Mixed(MOST + 10, 0.002 if n_jobs else 0, fails_at=500)

    with pytest.raises(OSError, match="source") as error:
        RecordsMmap.from_indexable(tmp_path / "ds", source, batch_size=50, n_jobs=n_jobs)

    assert "index 500 of the source" in "".join(map(str, [error.value, *getattr(error.value, "__notes__", [])]))
    with pytest.warns(mn.IncompleteDatasetWarning):
        assert len(RecordsMmap(tmp_path / "ds")) == 500


def test_resume_of_a_build_that_died_before_its_first_batch_decides_the_same(tmp_path):
    def dying():
        yield from map(Mixed(MOST).__getitem__, range(10))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        RecordsMmap.from_generator(tmp_path / "ds", dying(), batch_size=50, columns={"n": mn.Scalar("float32")})
    with pytest.warns(mn.IncompleteDatasetWarning):
        assert len(RecordsMmap(tmp_path / "ds")) == 0
    source = Mixed(MOST + 10)

    dataset = RecordsMmap.from_generator(tmp_path / "ds", source, if_exists="resume", columns={"n": mn.Scalar("f4")})

    assert dataset.schema == MIXED | {"n": mn.Scalar(np.dtype(np.float32))}


def test_samples_that_decide_are_bounded_in_bytes(tmp_path):
    alive, most = set(), [0]

    class Large:
        def __init__(self, number):
            self.number = number
            alive.add(number)
            most[0] = max(most[0], len(alive))

        def __array__(self, dtype=None, copy=None):
            return np.zeros(1000, np.uint8)

        nbytes = 1000

        def __del__(self):
            alive.discard(self.number)

    samples = ({"x": Large(number)} for number in range(300))

    RecordsMmap.from_generator(tmp_path / "ds", samples, batch_bytes=20_000)

    assert most[0] < 60


@pytest.mark.parametrize("batch_size", [1, 7, 5000])
@pytest.mark.parametrize("count", [1, MOST - 1, MOST, 2 * MOST])
def test_ragged_dtype_is_that_of_the_first_sample_with_an_element(tmp_path, batch_size, count):
    """A bug once: as many empty lists as are in a batch made integers float64."""
    samples = [[]] * count + [[1, 2], [], [3]]

    lists = RaggedMmap.from_generator(tmp_path / "lists", samples, batch_size=batch_size)
    records = RecordsMmap.from_generator(tmp_path / "records", [{"x": x} for x in samples], batch_size=batch_size)

    assert lists.dtype == records["x"].dtype == np.int64
    assert [array.tolist() for array in lists] == [array.tolist() for array in records["x"]] == samples
    assert mn.verify(tmp_path / "lists", level="full").ok


def test_ragged_dtype_is_decided_by_a_later_append(tmp_path):
    dataset, other = RaggedMmap(tmp_path / "ds"), None
    for empty in ([], np.zeros(0, np.int8), np.zeros((0, 2), np.int32)):
        dataset.append(empty)
        other = other or RaggedMmap(tmp_path / "ds")
    assert dataset.dtype == np.float64

    dataset.append(np.array([1, 2], np.uint16))
    dataset.append([])

    assert dataset.dtype == np.uint16
    assert [array.shape for array in dataset] == [(0,), (0,), (0, 2), (2,), (0,)]
    with pytest.raises(TypeError, match="dtype uint16"):
        other.append([-1])
    with pytest.raises(TypeError, match="dtype uint16"):
        dataset.append([0.5])
    other.append([7])
    assert other[-1].tolist() == [7]


def test_ragged_dtype_that_another_writer_decided_is_kept(tmp_path):
    first = RaggedMmap.from_lists(tmp_path / "ds", [[], []])
    second = RaggedMmap(tmp_path / "ds")
    second.append([])
    first.append([0.5])  # of the dtype that the empty lists have: the columns do not change

    second.append([2])

    assert [array.tolist() for array in second] == [[], [], [], [0.5], [2.0]]
    assert mn.verify(tmp_path / "ds", level="full").ok


def test_ragged_dtype_stays_once_there_were_elements(tmp_path):
    dataset = RaggedMmap.from_lists(tmp_path / "ds", [[1], []])
    del dataset[0]
    with pytest.raises(TypeError, match="dtype int64"):
        dataset.append([0.5])

    dataset.clear()

    with pytest.raises(TypeError, match="dtype int64"):
        dataset.append([0.5])
    declared = RaggedMmap.from_lists(tmp_path / "declared", [[]], dtype=np.uint8)
    with pytest.raises(TypeError, match="dtype uint8"):
        declared.append([0.5])


def test_added_column_is_decided_by_its_first_values_and_may_begin_empty(tmp_path):
    records = RecordsMmap.from_columns(tmp_path / "ds", {"a": np.arange(3000)})

    records.add_column("e", [[]] * 2000 + [[1]] * 1000)
    records.add_column("n", [1, None, 2.5] * 1000)

    assert records.schema["e"] == ragged(np.int64)
    assert records.schema["n"] == scalar(np.float64, nullable=True)


@pytest.mark.parametrize("batch_size", [1, 2, 100])
def test_columns_that_are_declared_leave_the_others_to_the_samples(tmp_path, batch_size):
    """A bug once: a declaration of one column made all others unknown."""
    rows = [{"id": 0, "a": "x", "note": None}, {"id": 1, "a": "y", "note": "n"}, {"id": 2, "a": "z"}]
    declared = {"note": mn.Text(nullable=True, codec="zstd"), "id": mn.Scalar("uint8")}
    expected = {"id": mn.Scalar(np.dtype(np.uint8)), "a": mn.Text(), "note": mn.Text(nullable=True, codec="zstd")}

    build = RecordsMmap.from_generator(tmp_path / "a", rows, batch_size=batch_size, columns=declared)
    indexed = RecordsMmap.from_indexable(tmp_path / "b", rows, batch_size=batch_size, n_jobs=2, columns=declared)
    table = {"id": [0, 1, 2], "a": ["x", "y", "z"], "note": [None, "n", None]}
    columns = RecordsMmap.from_columns(tmp_path / "c", table, batch_size=batch_size, columns=declared)

    for dataset in (build, indexed, columns):
        assert dataset.schema == expected
        assert list(dataset.schema) == ["id", "a", "note"]
        assert dataset[:] == [*rows[:2], rows[2] | {"note": None}]
        assert mn.verify(dataset.path, level="full").ok


def test_declared_part_of_an_arrow_table_leaves_the_rest_to_its_schema(tmp_path):
    pa = pytest.importorskip("pyarrow")
    table = pa.table({"a": [1, 2], "m": [{"x": 1.5, "y": "u"}, {"x": 2.5, "y": "v"}]})

    dataset = RecordsMmap.from_arrow(tmp_path / "ds", table, columns={"m": {"x": mn.Scalar("float32")}})

    assert dataset.schema == {"a": scalar(np.int64), "m.x": mn.Scalar(np.dtype(np.float32)), "m.y": mn.Text()}


def test_declared_part_is_compared_by_later_builds(tmp_path):
    rows = [{"id": 0, "a": "x"}]
    RecordsMmap.from_generator(tmp_path / "ds", rows, columns={"id": mn.Scalar("uint8")})

    more = RecordsMmap.from_generator(tmp_path / "ds", rows, columns={"id": mn.Scalar("uint8")}, if_exists="append")

    assert len(more) == 2
    for options in ({"if_exists": "append"}, {"if_exists": "resume"}, {"if_exists": "reuse"}):
        with pytest.raises(TypeError, match="column 'id': dtype: got int8, but the dataset has uint8"):
            RecordsMmap.from_generator(tmp_path / "ds", rows, columns={"id": mn.Scalar("int8")}, **options)
        with pytest.raises(ValueError, match=r"columns: got \['b'\], but the dataset has \['id', 'a'\]"):
            RecordsMmap.from_generator(tmp_path / "ds", rows, columns={"b": mn.Text()}, **options)
        with pytest.raises(ValueError, match=r"columns: got \['id'\], but the dataset has \['id', 'a'\]"):
            RecordsMmap.create(tmp_path / "ds", {"id": mn.Scalar("uint8")}, **options)


@pytest.mark.parametrize("n_jobs", [None, 2])
def test_build_whose_first_sample_has_only_declared_columns_holds_nothing_back(tmp_path, n_jobs):
    stored = []

    class Watched:
        def __len__(self):
            return 20

        def __getitem__(self, index):
            stored.append(len(mn.open(tmp_path / "ds")))
            return {"a": index} | ({"b": 1} if index == 15 else {})

    with pytest.warns(mn.IncompleteDatasetWarning), pytest.raises(ValueError, match="unknown column 'b'.* columns="):
        RecordsMmap.from_indexable(
            tmp_path / "ds", Watched(), batch_size=5, n_jobs=n_jobs, columns={"a": mn.Scalar("int64")}
        )

    assert stored[10] >= 5


def test_created_columns_are_all_there_are(tmp_path):
    dataset = RecordsMmap.create(tmp_path / "ds", {"id": mn.Scalar("uint8")})

    with pytest.raises(ValueError, match="unknown column 'labels'"):
        dataset.append({"id": 1, "labels": 2})
    with pytest.raises(ValueError, match="unknown column 'labels'"):
        RecordsMmap.from_generator(tmp_path / "ds", [{"id": 1, "labels": 2}], if_exists="append")

    assert RecordsMmap(tmp_path / "ds").columns == ["id"]


def test_deciding_samples_are_counted_the_same_everywhere():
    assert count_deciding([{"x": "a"}] * 5000, BATCH_BYTES) == MOST
    assert count_deciding([{"x": "a" * 100}] * 50, 250) == 3
    assert count_deciding([], 1) == 0


OTHERS = {  # values of other libraries, or of which NumPy is told by their type
    "date": lambda: dt.datetime.fromisoformat("2020-01-02T03:04:05"),
    "duration": lambda: dt.timedelta(seconds=1),
    "timestamp": lambda: pd.Timestamp("2020-01-02"),
    "polars": lambda: pl.Series([1, 2]),
    "arrow": lambda: pa.scalar(1),
    "image": lambda: Image.new("L", (2, 3)),
}


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("batch_size", [1, 1024])
def test_values_of_other_libraries_do_not_end_what_decides(tmp_path, batch_size, name):
    """A bug once: such a value tells no size, so that the first sample alone decided."""
    samples = [{"x": OTHERS[name](), "n": n} for n in [None, *[1] * 500, 2.5]]

    stored = RecordsMmap.from_generator(tmp_path / "ds", samples, batch_size)

    assert stored.schema["n"] == mn.Scalar(np.dtype("f8"), nullable=True)
    assert stored[0]["n"] is None


@pytest.mark.parametrize("n_jobs", [None, 2])
@pytest.mark.parametrize("batch_size", [1, 1024])
def test_first_sample_without_fields_decides_nothing_alone(tmp_path, batch_size, n_jobs):
    """A bug once: {} counted as a sample whose columns are all declared, so that the first batch decided."""
    samples = [{}, {"n": 1}, {"n": 2.5}]

    stored = RecordsMmap.from_indexable(tmp_path / "ds", samples, batch_size, n_jobs)

    assert [sample["n"] for sample in stored] == [None, 1, 2.5]


def test_numbers_of_numpy_decide_with_their_dtype(tmp_path):
    """A bug once: float64 is a float, so that its values were thought to fit float32, which then refused them."""
    stored = RecordsMmap.from_generator(tmp_path / "ds", [{"n": np.float32(1.5)}, {"n": np.float64(0.5)}])

    assert stored["n"].dtype == np.float64
