"""Arrow export and import: the stored values, without a copy where none is needed."""

import datetime as dt
import subprocess
import sys
import threading

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pytest

import mmap_ninja as mn
from mmap_ninja import ArrayMmap, BytesMmap, CorruptDatasetError, RaggedMmap, RecordsMmap, StringsMmap
from mmap_ninja.arrow import export
from support.faults import overwrite
from support.memory import LARGE, is_mapped

TEXTS = ["one", "", "zwölf", "x" * 1000]


def plain(value):
    """Values as builtin types."""
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    return value.tolist() if hasattr(value, "tolist") else value


def column(dataset):
    """The only column of a dataset as one Arrow array."""
    table = pa.table(dataset)
    assert table.column_names == ["sample"]
    table.validate(full=True)
    chunks = table["sample"]
    return chunks.chunk(0) if chunks.num_chunks == 1 else chunks.combine_chunks()


# ---- out


def test_strings_and_bytes_are_not_copied(tmp_path):
    samples = TEXTS * (LARGE // 8)
    texts = StringsMmap.from_strings(tmp_path / "t", samples)
    blobs = BytesMmap.from_bytes(tmp_path / "b", [text.encode() for text in samples])

    for dataset, of in ((texts, pa.large_utf8()), (blobs, pa.large_binary())):
        array = pa.table(dataset)["sample"].chunk(0)
        array.validate(full=True)
        assert array.type == of
        assert array.to_pylist() == list(dataset)
        assert all(is_mapped(buffer.address, dataset.path) for buffer in array.buffers()[1:])


@pytest.mark.parametrize("dtype", ["i1", "u2", "i4", "u8", "f2", "f4", "f8", "S3", "V2", "c8", "c16"])
@pytest.mark.parametrize("shape", [(), (3,), (2, 3)])
def test_arrays_are_not_copied(tmp_path, dtype, shape):
    row = np.dtype((dtype, shape)).itemsize
    numbers = np.resize(np.arange(100), (-(-LARGE // row), *shape))
    values = numbers.astype("u2").view("V2") if dtype[0] == "V" else numbers.astype(dtype)
    dataset = ArrayMmap.from_ndarray(tmp_path / "ds", values)

    array = column(dataset)

    leaf = array
    while pa.types.is_fixed_size_list(leaf.type):
        leaf = leaf.values
    assert is_mapped(leaf.buffers()[1].address, dataset.path)
    assert leaf.buffers()[1].to_pybytes() == values.tobytes()
    assert str(array.type).count("fixed_size_list") == len(shape) + (dtype[0] == "c")


def test_rows_are_not_copied(tmp_path):
    samples = [[1, 2], [], [3]] * (LARGE // 12)
    rows = RaggedMmap.from_lists(tmp_path / "ds", samples, dtype=np.int32, wrapper_fn=sum)

    array = column(rows)

    assert array.type == pa.large_list(pa.int32())
    assert array.to_pylist() == samples
    assert is_mapped(array.buffers()[1].address, rows.path)
    assert is_mapped(array.values.buffers()[1].address, rows.path)


def test_records_are_not_copied(tmp_path):
    times = LARGE // 16
    lists = [[1], [], [2, 3], [4]] * times
    values = {
        "t": TEXTS * times,
        "n": np.arange(4 * times),
        "m": {"r": lists, "a": np.ones((4 * times, 2), np.float32)},
    }
    records = RecordsMmap.from_columns(tmp_path / "ds", values)

    table = pa.table(records)

    table.validate(full=True)
    assert table.schema.names == ["t", "n", "m"]
    assert table.slice(0, 9).to_pylist() == [plain(sample) for sample in records[:9]]
    nested = table["m"].chunk(0)
    for buffer in (
        table["n"].chunk(0).buffers()[1],
        table["t"].chunk(0).buffers()[2],
        nested.field("r").values.buffers()[1],
        nested.field("a").values.buffers()[1],
    ):
        assert is_mapped(buffer.address, records.path)
    assert pa.table(records[["n"]]).column_names == ["n"]
    assert pa.table(records["t"])["sample"].slice(0, 4).to_pylist() == TEXTS


def test_range_views_are_not_copied(tmp_path):
    texts = StringsMmap.from_strings(tmp_path / "ds", list("abcdef") * LARGE)

    array = column(texts.select(slice(2, 5 + 6 * LARGE // 2)))

    assert array[:3].to_pylist() == ["c", "d", "e"]
    assert is_mapped(array.buffers()[1].address, texts.path)


COPIED = {
    "bool": np.array([True, False, True]),
    "big-endian": np.array([1, -2, 3], ">i4"),
    "texts": np.array(["ab", "c", ""]),
    "seconds": np.array(["2020-01-01T00:00:01", "NaT", "1999-01-01"], "M8[s]"),
    "durations": np.array([1, 2, 3], "m8[us]"),
    "days": np.array(["2020-01-01", "1969-12-31", "NaT"], "M8[D]"),
}


@pytest.mark.parametrize("name", COPIED)
def test_other_dtypes_are_copied_right(tmp_path, name):
    values = COPIED[name]
    fixed = ArrayMmap.from_ndarray(tmp_path / "a", values)
    rows = RaggedMmap.from_lists(tmp_path / "r", [values[:2], values[2:]])
    expected = [None if value is None or value != value else value for value in values.tolist()]  # noqa: PLR0124

    assert column(fixed).to_pylist() == expected
    assert column(rows).to_pylist() == [expected[:2], expected[2:]]


@pytest.mark.parametrize("dtype", [[("a", "i4"), ("b", "f8")], "M8[h]", "g"])
def test_dtype_without_a_type_in_arrow_raises(tmp_path, dtype):
    dataset = ArrayMmap.from_ndarray(tmp_path / "ds", np.zeros(2, dtype))

    with pytest.raises(TypeError, match="ds: column 'sample': dtype .* has no Arrow type"):
        pa.table(dataset)


def test_ragged_arrays_of_several_dimensions_keep_their_shapes(tmp_path):
    samples = [np.zeros((2, 0)), np.arange(6.0).reshape(2, 3), np.float64(5), np.arange(4.0)]
    rows = RaggedMmap.from_lists(tmp_path / "ds", samples)

    array = column(rows)
    again = RaggedMmap.from_arrow(tmp_path / "again", rows)

    assert array.to_pylist() == [{"values": s.ravel().tolist(), "shape": list(s.shape)} for s in samples]
    assert [sample.shape for sample in again] == [sample.shape for sample in samples]
    assert plain(list(again)) == plain(samples)


def test_edited_compressed_and_other_views_are_copied_right(tmp_path):
    texts = StringsMmap.from_strings(tmp_path / "t", [str(k) * (k % 7) for k in range(300)])
    packed = StringsMmap.from_strings(tmp_path / "z", list(texts), zstd_level=1)
    rows = RaggedMmap.from_lists(tmp_path / "r", [[k] * (k % 3) for k in range(300)])
    images = ArrayMmap.from_ndarray(tmp_path / "a", np.arange(600).reshape(300, 2))
    for dataset, new in ((texts, "new"), (packed, "new"), (rows, [7, 7]), (images, [5, 5])):
        assert column(dataset.select(slice(None, None, -3))).to_pylist() == plain(list(dataset))[::-3]
        assert column(dataset.select([5, 0, 5])).to_pylist() == [plain(list(dataset))[k] for k in (5, 0, 5)]
        assert column(dataset).to_pylist() == plain(list(dataset))
        del dataset[10:20]
        dataset[3] = new
        assert column(dataset).to_pylist() == plain(list(dataset))


def test_copies_come_in_batches_of_bounded_size(tmp_path, monkeypatch):
    blobs = BytesMmap.from_bytes(tmp_path / "ds", [bytes(1000)] * 200)
    del blobs[0]
    monkeypatch.setattr(export, "_BATCH_BYTES", 10_000)

    batches = pa.RecordBatchReader.from_stream(blobs)
    sizes = [batch.num_rows for batch in batches]

    assert sum(sizes) == 199
    assert set(sizes[:-1]) == {10}


def test_nulls_are_nulls(tmp_path):
    columns = {
        "t": mn.Text(nullable=True),
        "n": mn.Scalar(np.int16, nullable=True),
        "a": mn.Array((2,), np.int8, nullable=True),
        "r": mn.Ragged(np.float32, nullable=True),
        "d": mn.Ragged(np.float32, ndim=2, nullable=True),
        "b": mn.Scalar(bool, nullable=True),
        "j": mn.Json(nullable=True),
    }
    values = {"t": ["x", None, ""], "n": [1, None, 0], "a": [[1, 2], None, [0, 0]], "r": [[1], None, []],
              "d": [[[1]], None, [[]]], "b": [True, None, False], "j": [[1], None, {"a": None}]}  # fmt: skip
    records = RecordsMmap.create(tmp_path / "ds", columns=columns)
    records.extend(values)
    again = RecordsMmap.from_arrow(tmp_path / "again", records)

    table = pa.table(records)

    table.validate(full=True)
    for name in "tnarb":
        assert table[name].to_pylist() == values[name]
    assert table["d"].to_pylist()[1] is None
    assert table["j"].to_pylist() == ["[1]", None, '{"a":null}']
    assert [field.nullable for field in table.schema] == [True] * 7
    assert plain(list(again)) == plain(list(records))
    assert all(spec.nullable for spec in again.schema.values())


@pytest.mark.parametrize("cls", [StringsMmap, BytesMmap, ArrayMmap, RaggedMmap, RecordsMmap])
def test_empty_datasets_are_empty_tables(tmp_path, cls):
    dataset = cls.from_generator(tmp_path / "ds", [])

    assert pa.table(dataset).num_rows == 0
    assert dataset.to_arrow().num_rows == 0


def test_table_outlives_its_dataset(tmp_path):
    texts = StringsMmap.from_strings(tmp_path / "ds", TEXTS)
    table = texts.to_arrow()

    texts.extend(["more"] * 100)
    del texts[0]
    texts.compact()
    texts.close()

    assert table["sample"].to_pylist() == TEXTS


@pytest.mark.parametrize(("offset", "value"), [(8, 1 << 40), (16, 0), (8, 1 << 63), (32, 1 << 40)])
def test_damaged_offsets_raise_before_others_read_them(tmp_path, offset, value):
    StringsMmap.from_strings(tmp_path / "ds", TEXTS).close()
    texts = StringsMmap(tmp_path / "ds")
    overwrite(tmp_path / "ds" / "c0.offsets-1", offset, value.to_bytes(8, "little"))

    with pytest.raises(
        CorruptDatasetError, match="its offsets .* are not within the payload; the offsets file is damaged"
    ):
        pa.table(texts)


def test_missing_pyarrow_names_the_extra(tmp_path):
    code = (
        "import sys; sys.modules['pyarrow'] = None; import mmap_ninja as mn;"
        f"ds = mn.StringsMmap.from_strings({str(tmp_path / 'ds')!r}, ['a'])\n"
        "try: ds.to_arrow()\n"
        "except ImportError as error: print(error)"
    )

    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert output.startswith('Arrow needs pyarrow: pip install "mmap_ninja[arrow]"')


# ---- in


DTYPES = ["?", "i1", "<u8", ">i4", "<f2", ">f8", "<c8", ">c16", "S3", "V3", "<U3", ">U3", "<M8[s]", ">M8[ns]", "<M8[D]",
          "<m8[us]"]  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
def test_round_trip_of_every_dtype(tmp_path, dtype):
    values = np.arange(6).astype("u1").view("V3" if dtype == "V3" else "u1").astype(dtype)
    datasets = [
        ArrayMmap.from_ndarray(tmp_path / "scalars", values),
        ArrayMmap.from_ndarray(tmp_path / "arrays", np.repeat(values, 6).reshape(-1, 3, 2)),
        RaggedMmap.from_lists(tmp_path / "rows", [values[:2], values[:0], values]),
        RaggedMmap.from_lists(tmp_path / "shapes", [values[:2].reshape(2, 1), values[0].reshape(()), values[:0]]),
        RecordsMmap.from_columns(
            tmp_path / "records",
            {"s": values, "n": {"a": np.stack([values] * 2, axis=1)}},
            columns={"s": mn.Scalar(dtype), "n": {"a": mn.Array((2,), dtype)}},
        ),
    ]

    for number, dataset in enumerate(datasets):
        again = type(dataset).from_arrow(tmp_path / f"again{number}", dataset, batch_size=2)
        columns = dataset.columns if number == 4 else [slice(None)]
        for name in columns:
            pairs = zip(again[name], dataset[name], strict=True)
            assert all(a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes() for a, b in pairs)
        assert getattr(again, "dtype", None) == getattr(dataset, "dtype", None)


def test_round_trip_of_every_kind(tmp_path):
    datasets = [
        StringsMmap.from_strings(tmp_path / "t", TEXTS),
        BytesMmap.from_bytes(tmp_path / "b", [b"a", b"", b"\xff"]),
        ArrayMmap.from_ndarray(tmp_path / "a", np.arange(12, dtype=np.uint8).reshape(3, 2, 2)),
        ArrayMmap.from_ndarray(tmp_path / "d", COPIED["seconds"]),
        RaggedMmap.from_lists(tmp_path / "r", [[1.5], [], [2, 3]]),
    ]

    for number, dataset in enumerate(datasets):
        again = type(dataset).from_arrow(tmp_path / f"again{number}", dataset, batch_size=2)
        assert plain(list(again)) == plain(list(dataset))
        assert getattr(again, "dtype", None) == getattr(dataset, "dtype", None)


TABLE = {
    "s": pa.array(["a", "b", "c", "d"]),
    "view": pa.array(["a", "b", "c", "d"], pa.string_view()),
    "dict": pa.array(["x", "y", "x", "x"]).dictionary_encode(),
    "bin": pa.array([b"1", b"", b"3", b"4"]),
    "fixed": pa.array([b"12", b"34", b"56", b"78"], pa.binary(2)),
    "i": pa.array([1, 2, 3, 4], pa.int8()),
    "b": pa.array([True, False, True, True]),
    "day": pa.array([dt.date(2020, 1, day) for day in (1, 2, 3, 4)]),
    "time": pa.array([dt.timedelta(hours=hour) for hour in (1, 2, 3, 4)], pa.duration("us")),
    "list": pa.array([[1], [], [2, 3], [4]], pa.list_(pa.int32())),
    "box": pa.array([[1.0, 2.0]] * 4, pa.list_(pa.float32(), 2)),
    "words": pa.array([["a"], [], ["b", None], None]),
    "struct": pa.array([{"x": 1, "y": "a"}, {"x": 2, "y": "b"}, {"x": 3, "y": "c"}, {"x": 4, "y": "d"}]),
    "nulls": pa.array([None, 1.5, None, 2.5]),
}


@pytest.mark.parametrize("cut", [slice(None), slice(1, None), slice(1, 3)])
@pytest.mark.parametrize("chunked", [False, True])
def test_tables_become_records(tmp_path, cut, chunked):
    table = pa.table(TABLE).slice(*cut.indices(4)[:1], len(range(4)[cut]))
    source = pa.concat_tables([table.slice(0, 1), table.slice(1)]) if chunked else table
    columns = RecordsMmap.from_arrow(tmp_path / "whole", pa.table(TABLE)).schema

    records = RecordsMmap.from_arrow(tmp_path / "ds", source, batch_size=3, columns=columns if chunked else None)

    expected = table.to_pylist()
    for sample, wanted in zip(records, expected, strict=True):
        found = plain(sample) | {"fixed": bytes(sample["fixed"].tobytes())}
        assert found == wanted
    assert records.columns == [*list(TABLE)[:12], "struct.x", "struct.y", "nulls"]
    assert records.schema["list"] == mn.Ragged(np.dtype(np.int32), ndim=1)
    assert records.schema["box"] == mn.Array((2,), np.dtype(np.float32))


def test_polars_and_duckdb_read_a_dataset_and_are_read(tmp_path):
    values = {"text": ["a", "bb", None], "n": np.array([1, 2, 3], np.int32), "r": [[1, 2], [], [3]]}
    columns = {"text": mn.Text(nullable=True), "n": mn.Scalar(np.int32), "r": mn.Ragged(np.int64)}
    records = RecordsMmap.from_columns(tmp_path / "ds", values, columns=columns)

    frame = pl.from_arrow(records.to_arrow())
    with duckdb.connect() as connection:
        connection.register("records", records.to_arrow())
        rows = connection.sql("select n, upper(text), list_sum(r) from records where n > 1 order by n").fetchall()
        back = connection.sql("select * from records order by n desc").to_arrow_table()
    from_frame = RecordsMmap.from_arrow(tmp_path / "frame", frame)
    from_query = RecordsMmap.from_arrow(tmp_path / "query", back)

    assert frame.to_dicts() == [plain(sample) for sample in records]
    assert rows == [(2, "BB", None), (3, None, 3)]
    assert plain(list(from_frame)) == plain(list(records))
    assert plain(list(from_query)) == plain(list(records))[::-1]


def test_polars_and_duckdb_take_the_protocol_itself(tmp_path):
    texts = StringsMmap.from_strings(tmp_path / "ds", TEXTS)

    frame = pl.DataFrame(pa.RecordBatchReader.from_stream(texts).read_all())
    with duckdb.connect() as connection:
        lengths = (
            connection.from_arrow(pa.RecordBatchReader.from_stream(texts)).aggregate("sum(length(sample))").fetchall()
        )

    assert frame["sample"].to_list() == TEXTS
    assert lengths == [(sum(map(len, TEXTS)),)]


def test_shapes_survive_libraries_that_drop_metadata_of_columns(tmp_path):
    images = RaggedMmap.from_lists(tmp_path / "ds", [np.zeros((2, 3)), np.ones((1, 0, 2)), np.float64(7)])

    frame = pl.from_arrow(images.to_arrow())
    again = RaggedMmap.from_arrow(tmp_path / "again", frame)

    assert [sample.shape for sample in again] == [(2, 3), (1, 0, 2), ()]


@pytest.mark.parametrize(
    "data",
    [pa.array(TEXTS), pa.chunked_array([TEXTS[:1], TEXTS[1:]]), pl.Series(TEXTS), pl.DataFrame({"any": TEXTS})],
    ids=lambda data: f"{type(data).__module__.partition('.')[0]}-{type(data).__name__}",
)
def test_values_without_a_name_are_samples(tmp_path, data):
    texts = StringsMmap.from_arrow(tmp_path / "ds", data, batch_size=3)

    assert list(texts) == TEXTS


def test_empty_first_batch_does_not_decide_on_nulls(tmp_path):
    schema = pa.schema([("n", pa.int64())])
    batches = [pa.record_batch({"n": pa.array(values, pa.int64())}) for values in ([], [1, None])]

    records = RecordsMmap.from_arrow(tmp_path / "ds", pa.RecordBatchReader.from_batches(schema, batches))

    assert records[:] == [{"n": 1}, {"n": None}]


@pytest.mark.filterwarnings("ignore::mmap_ninja.IncompleteDatasetWarning")
@pytest.mark.parametrize("if_exists", ["append", "resume"])
def test_existing_dataset_keeps_its_columns(tmp_path, if_exists):
    columns = {"t": mn.Text(nullable=True), "n": mn.Scalar(np.int64), "r": mn.Ragged(np.int64), "j": mn.Json()}
    table = pa.table({"t": ["a"], "n": pa.array([1], pa.int8()), "r": pa.array([[1]], pa.list_(pa.int8())), "j": [[2]]})

    def interrupted():
        yield from table.to_batches()
        raise RuntimeError("source")

    reader = pa.RecordBatchReader.from_batches(table.schema, interrupted())
    with pytest.raises(pa.ArrowInvalid, match="source"):
        RecordsMmap.from_arrow(tmp_path / "ds", reader, columns=columns)
    records = RecordsMmap.from_arrow(
        tmp_path / "ds", table if if_exists == "append" else pa.concat_tables([table, table]), if_exists=if_exists
    )

    assert plain(list(records)) == [{"t": "a", "n": 1, "r": [1], "j": [2]}] * 2
    assert records.schema["n"] == mn.Scalar(np.dtype(np.int64))


def test_tables_that_are_appended_may_make_the_columns(tmp_path):
    RecordsMmap.from_generator(tmp_path / "ds", []).close()

    records = RecordsMmap.from_arrow(tmp_path / "ds", pa.table({"t": ["a"], "r": [[1, 2]]}), if_exists="append")

    assert plain(records[0]) == {"t": "a", "r": [1, 2]}


def test_tables_are_of_one_commit_while_others_write(tmp_path):
    def sample(number):
        return {"n": number, "t": str(number), "r": [number] * (number % 3)}

    records = RecordsMmap.from_generator(tmp_path / "ds", map(sample, range(10)))
    stop = threading.Event()

    def write():
        number = 10
        while not stop.is_set():
            records.extend([sample(number + k) for k in range(7)])
            records[3] = sample(3)
            number += 7
            if number % 3 == 0:
                records.compact()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        tables = [pa.table(records) for _ in range(50)]
    finally:
        stop.set()
        writer.join()

    for table in tables:
        table.validate(full=True)
        assert table.to_pylist() == list(map(sample, range(table.num_rows)))


def test_streams_are_read_batch_by_batch(tmp_path):
    read = []

    def batches():
        for number in range(5):
            read.append(number)
            yield pa.record_batch({"n": [number] * 3})
            assert len(RecordsMmap(tmp_path / "ds")) >= 3 * number if number else True

    stream = pa.RecordBatchReader.from_batches(pa.schema([("n", pa.int64())]), batches())
    with pytest.warns(mn.IncompleteDatasetWarning):
        records = RecordsMmap.from_arrow(tmp_path / "ds", stream)

    assert records["n"][:].tolist() == [number for number in range(5) for _ in range(3)]
    assert read == [0, 1, 2, 3, 4]


def test_interrupted_import_continues(tmp_path):
    table = pa.table({"n": list(range(10)), "t": [str(k) for k in range(10)]})

    def batches():
        yield from table.slice(0, 6).to_batches()
        raise RuntimeError("source")

    with pytest.raises(pa.ArrowInvalid, match="Unknown error: source"):
        RecordsMmap.from_arrow(
            tmp_path / "ds", pa.RecordBatchReader.from_batches(table.schema, batches()), batch_size=4
        )
    with pytest.raises(ValueError, match="this is not the source"):
        RecordsMmap.from_arrow(tmp_path / "ds", table.slice(1), batch_size=4, if_exists="resume")
    records = RecordsMmap.from_arrow(tmp_path / "ds", table, batch_size=4, if_exists="resume")

    assert records[:] == table.to_pylist()


# ---- bad input


@pytest.mark.filterwarnings("ignore::mmap_ninja.IncompleteDatasetWarning")
@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        ([1, 2], TypeError, "item 0: expected a table, got int; pass a Parquet file, a table of pyarrow"),
        (7, TypeError, "expected a table, got int; pass a Parquet file, a table of pyarrow"),
        (pa.chunked_array([[1]]), TypeError, "expected str, got"),
        (pa.table({"a": [1], "b": [2]}), ValueError, r"the table has the columns \['a', 'b'\]; expected one"),
        (pa.table({}), ValueError, r"the table has the columns \[\]; expected one"),
        (pa.table({"a": [1]}), TypeError, "expected str, got"),
        (pa.table({"a": ["x", None]}), TypeError, "sample 1: is None, which the column does not allow"),
    ],
)
def test_tables_without_texts_are_refused(tmp_path, data, error, message):
    with pytest.raises(error, match=f"ds: .*{message}|{message}"):
        StringsMmap.from_arrow(tmp_path / "ds", data)

    assert len(StringsMmap(tmp_path / "ds")) == 0


@pytest.mark.filterwarnings("ignore::mmap_ninja.IncompleteDatasetWarning")
def test_invalid_utf8_is_refused(tmp_path):
    bad = pa.Array.from_buffers(
        pa.utf8(), 2, [None, pa.py_buffer(np.array([0, 1, 2], np.int32)), pa.py_buffer(b"a\xff")]
    )

    with pytest.raises(ValueError, match="ds: a batch of the table is not valid Arrow data"):
        StringsMmap.from_arrow(tmp_path / "ds", pa.table({"a": bad}))

    assert len(StringsMmap(tmp_path / "ds")) == 0


@pytest.mark.parametrize(
    "array",
    [
        pa.array([1, 2], pa.decimal128(5)),
        pa.array([None, None], pa.null()),
        pa.array([[("a", 1)], []], pa.map_(pa.string(), pa.int64())),
        pa.array([1, 2], pa.time32("s")),
        pa.array([{}, {}], pa.struct([])),
        pa.UnionArray.from_sparse(pa.array([0, 1], pa.int8()), [pa.array([1, 2]), pa.array(["a", "b"])]),
    ],
)
def test_columns_that_no_dataset_holds_are_refused(tmp_path, array):
    with pytest.raises(TypeError, match="ds: column 'x': Arrow type .* cannot be stored"):
        RecordsMmap.from_arrow(tmp_path / "ds", pa.table({"x": array}))

    assert not (tmp_path / "ds").exists()


NESTED = pa.list_(pa.list_(pa.int16(), 1), 2)


@pytest.mark.filterwarnings("ignore::mmap_ninja.IncompleteDatasetWarning")
def test_nulls_within_samples_are_refused(tmp_path):
    with pytest.raises(TypeError, match="has nulls within a sample"):
        RaggedMmap.from_arrow(tmp_path / "ds", pa.table({"x": [[1, None]]}))
    for array in (pa.array([[1, 2], [3, None]], pa.list_(pa.int16(), 2)), pa.array([[[1], None]], NESTED)):
        with pytest.raises(TypeError, match="has nulls within a sample"):
            RecordsMmap.from_arrow(tmp_path / "records", pa.table({"x": array}))


@pytest.mark.parametrize("cut", [slice(None), slice(1, 4), slice(3, None)])
@pytest.mark.parametrize(
    "array",
    [
        pa.ListViewArray.from_arrays(
            pa.array([3, 0, 1, 0, 2], pa.int32()), pa.array([1, 3, 0, 2, 1], pa.int32()), [1, 2, 3, 4]
        ),
        pa.array([[1, 2], None, [], [3], [4]], pa.large_list_view(pa.int8())),
        pa.array([[1, 2], None, [3, 4], [5, 6], None], pa.list_(pa.int16(), 2)),
        pa.array([[[1, 2]], None, [[3, 4]], [[5, 6]], None], pa.list_(pa.list_(pa.int16(), 2), 1)),
        pa.array([[], None, [], None, []], pa.list_(pa.int16(), 0)),
    ],
    ids=str,
)
def test_nulls_and_views_of_lists_are_read_correctly(tmp_path, array, cut):
    array = array[cut]

    dataset = RecordsMmap.from_arrow(tmp_path / "ds", pa.table({"c": array}))

    assert plain([sample["c"] for sample in dataset]) == array.to_pylist()
    assert pa.table(dataset)["c"].to_pylist() == array.to_pylist()


def test_columns_given_twice_are_refused(tmp_path):
    for table in (
        pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"]),
        pa.table({"a.b": [1], "a": [{"b": 2}]}),
    ):
        with pytest.raises(ValueError, match=r"ds: column '(a|a\.b)': the name occurs twice; rename one"):
            RecordsMmap.from_arrow(tmp_path / "ds", table)

    assert not (tmp_path / "ds").exists()


@pytest.mark.filterwarnings("ignore::mmap_ninja.IncompleteDatasetWarning")
def test_structs_cannot_be_samples_of_one_column(tmp_path):
    with pytest.raises(TypeError, match="ds: column 'x': Arrow type struct<a: string, b: string> cannot be stored"):
        StringsMmap.from_arrow(tmp_path / "ds", pa.table({"x": [{"a": "1", "b": "2"}]}))

    assert len(StringsMmap(tmp_path / "ds")) == 0


def test_values_without_a_name_cannot_be_records(tmp_path):
    with pytest.raises(
        TypeError, match="ds: expected a table of named columns, got Series of string_view without a name"
    ):
        RecordsMmap.from_arrow(tmp_path / "ds", pl.Series(["a"]))


SHAPED = pa.struct([("values", pa.large_list(pa.int32())), ("shape", pa.large_list(pa.int64()))])


def marked(values, of, **marks):
    """A table whose column has marks that may be wrong."""
    metadata = {{"kind": "mmap_ninja", "dtype": "mmap_ninja.dtype"}[key]: mark for key, mark in marks.items()}
    return pa.table([pa.array(values, of)], schema=pa.schema([pa.field("x", of, metadata=metadata)]))


@pytest.mark.parametrize(
    "table",
    [
        marked([1, 2], pa.int32(), kind="json"),
        marked([1, 2], pa.int32(), kind="ragged"),
        marked([1, 2], pa.int32(), dtype="<c8"),
        marked([1, 2], pa.int32(), dtype="<f4"),
        marked([1, 2], pa.int32(), dtype="|O"),
        marked([1, 2], pa.int32(), dtype="i4,i4"),
        marked([1, 2], pa.int32(), kind=b"\xff", dtype=b"\xff"),
    ],
    ids=lambda table: str(table.schema.field("x").metadata),
)
def test_notes_that_do_not_fit_a_column_are_ignored(tmp_path, table):
    records = RecordsMmap.from_arrow(tmp_path / "ds", table)

    assert records["x"].dtype == np.int32
    assert records["x"][:].tolist() == [1, 2]


@pytest.mark.filterwarnings("ignore::mmap_ninja.IncompleteDatasetWarning")
@pytest.mark.parametrize("shape", [[3], [-1], [1, -1], [-1, -2], [2, None], None, [], [2, *[1] * 64], [2**62, 8]])
def test_shapes_that_their_values_do_not_have_are_refused(tmp_path, shape):
    with pytest.raises(ValueError, match="ds: column 'x': the shape .* does not match its 2 values"):
        RecordsMmap.from_arrow(tmp_path / "ds", marked([{"values": [1, 2], "shape": shape}], SHAPED, kind="ragged"))


@pytest.mark.filterwarnings("ignore::mmap_ninja.IncompleteDatasetWarning")
@pytest.mark.parametrize("text", ["{", "", "[" * 10_000, '{"a": NaN}'])
def test_invalid_json_is_refused(tmp_path, text):
    with pytest.raises(ValueError, match=r"ds: column 'x': (expected JSON, got |sample 0: Out of range float)"):
        RecordsMmap.from_arrow(tmp_path / "ds", marked([text], pa.utf8(), kind="json"))
