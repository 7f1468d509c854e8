"""What from_arrow takes: files, queries, iterables, and tables of other libraries."""

import subprocess
import sys
import threading

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset as pds
import pyarrow.parquet as pq
import pytest

import mmap_ninja as mn
from mmap_ninja import RecordsMmap, StringsMmap
from mmap_ninja.arrow import streams

TABLE = pa.table({"n": pa.array(range(10), pa.int8()), "t": [str(k) * k for k in range(10)]})
ROWS = TABLE.to_pylist()


@pytest.fixture
def folder(tmp_path):
    """A folder of Parquet files, and what else lies in such folders."""
    for split, cut in (("test", slice(7, 10)), ("train", slice(0, 7))):
        inner = tmp_path / "files" / f"split={split}"
        inner.mkdir(parents=True)
        pq.write_table(TABLE.slice(cut.start, cut.stop - cut.start), inner / "0.parquet", row_group_size=2)
    (tmp_path / "files" / "_SUCCESS").touch()
    (tmp_path / "files" / "README.md").write_text("about them")
    (tmp_path / "files" / "_tmp").mkdir()
    (tmp_path / "files" / "_tmp" / "half.parquet").write_bytes(b"PAR1")
    return tmp_path / "files"


@pytest.fixture
def file(tmp_path):
    pq.write_table(TABLE, tmp_path / "one.parquet")
    return tmp_path / "one.parquet"


# ---- files


@pytest.mark.parametrize("name", ["one.arrow", "one.arrows", "one.feather"])
def test_path_of_an_arrow_file_is_read(tmp_path, name):
    with (pa.ipc.new_stream if name.endswith("s") else pa.ipc.new_file)(tmp_path / name, TABLE.schema) as writer:
        writer.write_table(TABLE, max_chunksize=4)

    assert RecordsMmap.from_arrow(tmp_path / "ds", tmp_path / name, batch_size=3)[:] == ROWS


def test_reading_that_is_given_up_leaves_no_thread(file):
    before = set(threading.enumerate())
    stream = streams.opened(file, "ds", 1)

    first = next(stream.batches)
    during = set(threading.enumerate())
    stream.batches.close()

    assert first.num_rows == 1
    assert len(during - before) == 1
    assert set(threading.enumerate()) <= before


@pytest.mark.parametrize("of", [str, lambda path: path])
def test_path_of_a_parquet_file_is_read(tmp_path, file, of):
    records = RecordsMmap.from_arrow(tmp_path / "ds", of(file), batch_size=3)

    assert records[:] == ROWS
    assert records.schema["n"] == mn.Scalar(np.dtype(np.int8))


def test_folder_of_parquet_files_is_read_in_the_order_of_names_with_keys_of_folders(tmp_path, folder):
    records = RecordsMmap.from_arrow(tmp_path / "ds", folder)

    assert records[:] == [row | {"split": "test"} for row in ROWS[7:]] + [row | {"split": "train"} for row in ROWS[:7]]


def test_key_of_a_folder_that_is_also_in_its_files_is_that_of_the_files(tmp_path):
    (tmp_path / "files" / "k=1").mkdir(parents=True)
    pq.write_table(pa.table({"k": [1, 1], "n": [3, 4]}), tmp_path / "files" / "k=1" / "0.parquet")

    assert RecordsMmap.from_arrow(tmp_path / "ds", tmp_path / "files")[:] == [{"k": 1, "n": 3}, {"k": 1, "n": 4}]


def test_files_of_a_folder_have_the_types_that_hold_all(tmp_path):
    (tmp_path / "files").mkdir()
    for number, values in enumerate((pa.nulls(2), pa.array([1, 2], pa.int8()), pa.array([300, None], pa.int32()))):
        pq.write_table(pa.table({"n": values}), tmp_path / "files" / f"{number}.parquet")

    records = RecordsMmap.from_arrow(tmp_path / "ds", tmp_path / "files")

    assert records.schema["n"] == mn.Scalar(np.dtype(np.int32), nullable=True)
    assert [sample["n"] for sample in records] == [None, None, 1, 2, 300, None]


def test_interrupted_build_of_files_continues(tmp_path, folder):
    broken = folder / "split=train" / "0.parquet"
    whole = broken.read_bytes()
    middle = whole.index(b"PAR1", 1) if whole.count(b"PAR1") > 2 else len(whole) // 4
    broken.write_bytes(whole[:middle] + bytes(40) + whole[middle + 40 :])
    with pytest.raises((ValueError, OSError)):
        RecordsMmap.from_arrow(tmp_path / "ds", folder, batch_size=1)
    broken.write_bytes(whole)

    with pytest.warns(mn.IncompleteDatasetWarning):
        before = len(RecordsMmap(tmp_path / "ds"))
    records = RecordsMmap.from_arrow(tmp_path / "ds", folder, batch_size=1, if_exists="resume")

    assert 3 <= before < 10
    assert [sample["n"] for sample in records] == [7, 8, 9, *range(7)]


def test_paths_that_hold_no_parquet_files_are_named(tmp_path):
    (tmp_path / "text.parquet").write_text("no such thing")
    (tmp_path / "empty").mkdir()

    for name, error, message in [
        ("none", FileNotFoundError, "expected a Parquet or Arrow file or a folder of them, found nothing"),
        ("empty", ValueError, r"expected a folder of Parquet or Arrow files, found no \*.parquet or \*.arrow in it"),
        ("text.parquet", ValueError, "not a parquet file"),
    ]:
        with pytest.raises(error, match=f"ds: {tmp_path / name}: .*{message}"):
            RecordsMmap.from_arrow(tmp_path / "ds", tmp_path / name)
    assert not (tmp_path / "ds").exists()


@pytest.mark.parametrize("source", ["path", "iterable", "dataset", "frame", "query"])
def test_large_samples_are_read_in_little_memory(tmp_path, source):
    """1,024 rows of 1 MB at once would be all of them."""
    image = np.arange(1_000_000).astype(np.uint8).tobytes()
    with pq.ParquetWriter(tmp_path / "images.parquet", pa.schema([("n", pa.int64()), ("image", pa.binary())])) as file:
        for number in range(0, 300, 10):
            numbers = range(number, number + 10)
            file.write_table(pa.table({"n": numbers, "image": [b"%d" % n + image for n in numbers]}))
    code = f"""
import resource, duckdb, polars as pl, pyarrow.dataset as pds, pyarrow.parquet as pq, mmap_ninja as mn
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> {"20" if sys.platform == "darwin" else "10"}
match {source!r}:
    case "path": data = "images.parquet"
    case "iterable": data = pq.ParquetFile("images.parquet", pre_buffer=False).iter_batches(10)
    case "dataset": data = pds.dataset("images.parquet")
    case "frame": data = pl.scan_parquet("images.parquet")
    case "query": data = duckdb.sql("from 'images.parquet'")
mn.RecordsMmap.from_arrow("ds", [pq.read_table("images.parquet", columns=["n"])])
before = peak()
records = mn.RecordsMmap.from_arrow("ds", data, durability="process")
print(peak() - before)
assert (len(records), records.nbytes > 300_000_000) == (300, True)
"""

    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[-1]) < 200  # MiB; DuckDB may show a bar before


# ---- queries


@pytest.mark.parametrize("batch_size", [0, "ten"])
def test_batch_size_is_refused_before_anything_is_read(tmp_path, file, batch_size):
    for source in (file, pl.scan_parquet(file), iter([TABLE])):
        with pytest.raises((ValueError, TypeError), match="batch_size 0: expected at least 1|cannot be interpreted"):
            RecordsMmap.from_arrow(tmp_path / "ds", source, batch_size)


def test_pyarrow_dataset_is_read_with_its_filter(tmp_path, file):
    dataset = pds.dataset(file).filter(pds.field("n") > 4)

    assert RecordsMmap.from_arrow(tmp_path / "ds", dataset)[:] == ROWS[5:]
    assert RecordsMmap.from_arrow(tmp_path / "ds", dataset.scanner(["n"]).to_reader())[:] == [
        {"n": row["n"]} for row in ROWS[5:]
    ]


def test_lazy_frame_is_read_in_its_order(tmp_path, file):
    frame = pl.scan_parquet(file).sort("n", descending=True).filter(pl.col("n") > 2)

    records = RecordsMmap.from_arrow(tmp_path / "ds", frame, batch_size=2)

    assert records[:] == ROWS[:2:-1]
    assert records.schema["n"] == mn.Scalar(np.dtype(np.int8))


def test_duckdb_relation_is_read(tmp_path, file):
    with duckdb.connect() as connection:
        records = RecordsMmap.from_arrow(tmp_path / "ds", connection.sql(f"from '{file}' where n > 4 order by n desc"))

    assert records[:] == ROWS[:4:-1]


def test_queries_do_not_run_for_a_dataset_that_is_complete(tmp_path):
    ran = []
    frame = pl.LazyFrame({"n": [1, 2]}).map_batches(lambda part: ran.append(1) or part, schema={"n": pl.Int64})
    RecordsMmap.from_arrow(tmp_path / "ds", frame, if_exists="reuse")
    first = len(ran)

    assert RecordsMmap.from_arrow(tmp_path / "ds", frame, if_exists="reuse")["n"][:].tolist() == [1, 2]
    assert (first, len(ran)) == (1, 1)


# ---- iterables


@pytest.mark.parametrize(
    "tables",
    [
        TABLE.to_batches(max_chunksize=3),
        (TABLE.slice(at, 2) for at in range(0, 10, 2)),
        iter([pl.DataFrame(ROWS[:4], schema={"n": pl.Int8, "t": pl.String}), TABLE.slice(4)]),
        [TABLE.slice(0, 5), TABLE.slice(5).select(["t", "n"])],
        pa.RecordBatchReader.from_batches(TABLE.schema, TABLE.to_batches(max_chunksize=4)),
    ],
    ids=["batches", "generator", "libraries", "order", "reader"],
)
def test_tables_of_an_iterable_follow_one_another(tmp_path, tables):
    assert RecordsMmap.from_arrow(tmp_path / "ds", tables)[:] == ROWS


def test_paths_in_a_list_follow_one_another(tmp_path, file):
    assert RecordsMmap.from_arrow(tmp_path / "ds", [file, str(file)])[:] == ROWS * 2


def test_arrays_of_an_iterable_are_samples_of_one_column(tmp_path):
    texts = StringsMmap.from_arrow(tmp_path / "ds", (pa.array([str(k)] * k) for k in range(1, 4)))

    assert list(texts) == ["1", "2", "2", "3", "3", "3"]


def test_iterable_without_tables_is_empty(tmp_path):
    assert len(RecordsMmap.from_arrow(tmp_path / "ds", iter([]))) == 0


def test_tables_are_asked_for_one_by_one(tmp_path):
    asked = []

    def tables():
        for number in range(5):
            asked.append(number)
            yield pa.table({"n": [number] * 3})
            if number:
                assert len(RecordsMmap(tmp_path / "ds")) == 3 * (number + 1)

    with pytest.warns(mn.IncompleteDatasetWarning):
        records = RecordsMmap.from_arrow(tmp_path / "ds", tables())

    assert records["n"][:].tolist() == [number for number in range(5) for _ in range(3)]
    assert asked == [0, 1, 2, 3, 4]


@pytest.mark.filterwarnings("ignore::mmap_ninja.IncompleteDatasetWarning")
def test_error_of_an_iterable_is_raised_as_it_is_and_the_tables_before_it_stay(tmp_path):
    def tables():
        yield TABLE
        raise KeyError("shard-7")

    with pytest.raises(KeyError, match="shard-7"):
        RecordsMmap.from_arrow(tmp_path / "ds", tables())

    assert RecordsMmap(tmp_path / "ds")[:] == ROWS


@pytest.mark.filterwarnings("ignore::mmap_ninja.IncompleteDatasetWarning")
def test_tables_that_do_not_fit_the_first_one_are_named(tmp_path):
    for second, message in [
        (pa.table({"n": [1]}), r"ds: item 1: expected the columns \['n', 't'\], found \['n'\]"),
        (pa.table({"n": [300], "t": ["x"]}), "ds: item 1: column 'n': .* int8: .*300"),
    ]:
        with pytest.raises(ValueError, match=message):
            RecordsMmap.from_arrow(tmp_path / "ds", [TABLE, second])
        assert RecordsMmap(tmp_path / "ds")[:] == ROWS


CHANGING = {
    "text as a number": (pa.array([1]), pa.array(["007"])),
    "a number as text": (pa.array(["a"]), pa.array([7])),
    "a number as bool": (pa.array([True]), pa.array([7])),
    "a wider float": (pa.array([1.5], pa.float32()), pa.array([0.1])),
    "a time as a date": (pa.array([1], pa.date32()), pa.array([5], pa.timestamp("us"))),
    "a time as a number": (pa.array([1]), pa.array([5], pa.timestamp("us"))),
    "another field": (pa.array([{"x": 1}]), pa.array([{"x": 1, "y": 2}])),
    "numbers as texts": (pa.array([["a"]]), pa.array([[7]])),
}
KEEPING = {
    "a smaller integer": (pa.array([1]), pa.array([7], pa.uint8())),
    "an integer": (pa.array([1.5]), pa.array([7])),
    "a dictionary": (pa.array(["a"]), pa.array(["b"]).dictionary_encode()),
    "a date": (pa.array([5], pa.timestamp("us")), pa.array([1], pa.date32())),
    "only nulls": (pa.array(["a"]), pa.nulls(1)),
    "a field less": (pa.array([{"x": 1, "y": 2}]), pa.array([{"x": 1}])),
    "large lists": (pa.array([[1]]), pa.array([[7]], pa.large_list(pa.int8()))),
}


@pytest.mark.parametrize("name", CHANGING)
def test_later_tables_whose_values_a_cast_changes_are_refused(tmp_path, name):
    """A bug once: "007" was stored as 7, 7 as True, and a time as its date."""
    first, second = (pa.table({"c": values}) for values in CHANGING[name])

    with pytest.raises(ValueError, match=r"item 1: column 'c': the first of them has .*, and this one .*; cast it"):
        RecordsMmap.from_arrow(tmp_path / "ds", [first, second])


@pytest.mark.parametrize("name", KEEPING)
def test_later_tables_of_other_types_are_stored_if_that_changes_no_value(tmp_path, name):
    first, second = (pa.table({"c": values}) for values in KEEPING[name])

    stored = RecordsMmap.from_arrow(tmp_path / "ds", [first, second])

    assert len(stored) == 2
    assert stored.columns == RecordsMmap.from_arrow(tmp_path / "first", first).columns


def test_rows_without_columns_are_refused(tmp_path):
    with pytest.raises(ValueError, match="ds: the table has no columns; expected at least one"):
        RecordsMmap.from_arrow(tmp_path / "ds", pa.Table.from_pandas(pd.DataFrame(index=["a", "b"])))
    with pytest.raises(ValueError, match=r"ds: the table has the columns \[\]; expected one"):
        StringsMmap.from_arrow(tmp_path / "ds", pd.DataFrame(index=["a", "b"]))


def test_dicts_of_tables_are_refused_with_their_keys(tmp_path):
    with pytest.raises(
        TypeError, match="ds: expected a table, got dict of 'train', 'test'; pass one of its values, or columns to"
    ):
        RecordsMmap.from_arrow(tmp_path / "ds", {"train": TABLE, "test": TABLE})


# ---- nulls


def test_nulls_of_later_batches_make_their_columns_nullable(tmp_path):
    columns = {"n": [1], "x": [0.5], "t": ["a"], "b": [b""], "r": [[1]], "j": [["a"]], "s": [{"i": 1}], "m": ["kept"]}
    first = pa.table(columns)
    later = pa.table({name: [None] if name != "m" else ["too"] for name in columns}).cast(first.schema)
    table = pa.concat_tables([first, first, later, first])

    records = RecordsMmap.from_arrow(tmp_path / "ds", table, batch_size=1)

    assert [sample["n"] for sample in records] == [1, 1, None, 1]
    assert records[2] == {name: "too" if name == "m" else {"i": None} if name == "s" else None for name in columns}
    assert {name for name, spec in records.schema.items() if not spec.nullable} == {"m"}
    assert mn.verify(tmp_path / "ds", level="full").ok


@pytest.mark.parametrize("if_exists", ["replace", "append", "error", "reuse"])
def test_nulls_of_later_batches_are_stored_by_every_build(tmp_path, if_exists):
    if if_exists == "replace":
        RecordsMmap.from_generator(tmp_path / "ds", [{"old": 1}])
    batches = (pa.table({"n": pa.array([None if number > 2 else number], pa.int64())}) for number in range(5))

    records = RecordsMmap.from_arrow(tmp_path / "ds", batches, if_exists=if_exists)

    assert [sample["n"] for sample in records] == [0, 1, 2, None, None]


def test_nulls_of_later_batches_are_stored_by_a_resumed_build(tmp_path):
    batches = [pa.table({"n": pa.array([None if number > 2 else number], pa.int64())}) for number in range(5)]

    def interrupted():
        yield from batches[:2]
        raise RuntimeError("source")

    with pytest.raises(RuntimeError, match="source"):
        RecordsMmap.from_arrow(tmp_path / "ds", interrupted())
    records = RecordsMmap.from_arrow(tmp_path / "ds", batches, if_exists="resume")

    assert [sample["n"] for sample in records] == [0, 1, 2, None, None]


def test_dataset_that_became_nullable_is_reused_by_who_has_read_only_the_first_batch(tmp_path, monkeypatch):
    """A second rank has found its columns before the first one made them nullable."""
    table = pa.concat_tables([pa.table({"n": [1]}), pa.table({"n": pa.array([None], pa.int64())})])
    from_arrow = RecordsMmap.from_arrow
    from_arrow(tmp_path / "ds", table)
    monkeypatch.setattr("mmap_ninja.kinds.records.is_vacant", lambda path: True)

    assert [sample["n"] for sample in from_arrow(tmp_path / "ds", table, if_exists="reuse")] == [1, None]
    with pytest.raises(TypeError, match="column 'n': got .* but the dataset has"):
        from_arrow(tmp_path / "ds", table, if_exists="reuse", columns={"n": mn.Scalar(np.int64)})


@pytest.mark.filterwarnings("ignore::mmap_ninja.IncompleteDatasetWarning")
def test_nulls_are_refused_by_declared_columns_and_by_those_of_another_build(tmp_path):
    nulls = pa.table({"n": pa.array([1, None], pa.int64())})
    RecordsMmap.from_arrow(tmp_path / "old", nulls.slice(0, 1))

    for path, options in (("ds", {"columns": {"n": mn.Scalar(np.int64)}}), ("old", {"if_exists": "append"})):
        with pytest.raises(TypeError, match=r"column 'n': sample \d: is None, which the column does not allow"):
            RecordsMmap.from_arrow(tmp_path / path, nulls, batch_size=1, **options)


# ---- pandas and Hugging Face


@pytest.mark.parametrize("named", [False, True])
def test_pandas_index_is_dropped_unless_it_is_made_a_column(tmp_path, named):
    frame = pd.DataFrame({"n": pd.array([1, None], "Int8"), "t": ["a", "b"]}, index=["x", "y"])
    frame.index.name = "key" if named else None
    frame.to_parquet(tmp_path / "file.parquet")

    assert RecordsMmap.from_arrow(tmp_path / "ds", frame)[:] == [{"n": 1, "t": "a"}, {"n": None, "t": "b"}]
    assert RecordsMmap.from_arrow(tmp_path / "ds", frame.reset_index()).columns[0] == ("key" if named else "index")
    assert list(StringsMmap.from_arrow(tmp_path / "t", frame["t"])) == ["a", "b"]
    assert list(StringsMmap.from_arrow(tmp_path / "t", frame[["t"]])) == ["a", "b"]
    if not named:  # nobody has named it in the file
        assert RecordsMmap.from_arrow(tmp_path / "ds", tmp_path / "file.parquet").columns == ["n", "t"]
        assert RecordsMmap.from_arrow(tmp_path / "ds", pa.Table.from_pandas(frame)).columns == ["n", "t"]


def test_hugging_face_dataset_is_read_with_its_indices_and_columns(tmp_path):
    datasets = pytest.importorskip("datasets")
    whole = datasets.Dataset.from_dict({"n": list(range(100)), "t": [str(k) for k in range(100)]})
    chosen = whole.shuffle(seed=0).select(range(10, 40))

    records = RecordsMmap.from_arrow(tmp_path / "ds", chosen)

    assert records[:] == list(chosen)
    assert len(RecordsMmap.from_arrow(tmp_path / "none", chosen.select([]))) == 0
    assert list(StringsMmap.from_arrow(tmp_path / "t", chosen.with_format("numpy", columns=["t"]))) == chosen["t"][:]
    with pytest.raises(TypeError, match="got DatasetDict of 'train'; pass one of its values"):
        RecordsMmap.from_arrow(tmp_path / "ds", datasets.DatasetDict({"train": whole}))


def test_hugging_face_stream_is_read_in_batches(tmp_path):
    datasets = pytest.importorskip("datasets")
    whole = datasets.Dataset.from_dict({"n": list(range(10))}).to_iterable_dataset()
    mapped = whole.map(lambda row: {"even": row["n"] % 2 == 0})

    records = RecordsMmap.from_arrow(tmp_path / "ds", mapped, batch_size=4)

    assert records[:] == list(mapped)
