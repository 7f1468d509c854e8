"""Parquet, Arrow and Feather files, folders of them, and saved datasets of Hugging Face."""

import decimal
import json
import subprocess
import sys
from datetime import UTC, date, datetime, time, timedelta

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest

import mmap_ninja as mn

TABLE = pa.table(
    {
        "text": ["a", "é日", None, ""],
        "label": pa.array([1, -2, 3, 4], pa.int32()),
        "score": [0.5, None, float("nan"), 2.0],
        "ids": pa.array([[1, 2], [], None, [3]], pa.list_(pa.int64())),
        "boxes": [[{"x": 1}], [], [{"x": None}], []],
        "meta": [{"class": "c", "n": 1}, {"class": "d", "n": 2}, {"class": "e", "n": 3}, {"class": "f", "n": 4}],
        "raw": [b"\x00", b"", b"\xff", b"x"],
        "ok": [True, False, True, True],
    }
)


def write(table, path, **options):
    """Write a table in the format that the end of a name tells, as pyarrow does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        pq.write_table(table, path, **options)
    elif path.suffix == ".feather":
        pyarrow.feather.write_feather(table, path, **options)
    else:
        make = pa.ipc.new_stream if path.suffix == ".arrows" else pa.ipc.new_file
        with make(path, table.schema) as writer:
            writer.write_table(table, **options)


def save_to_disk(table, folder, parts=2, **state):
    """Lay a table out as `datasets.Dataset.save_to_disk` does."""
    folder.mkdir(parents=True)
    names = [f"data-{part:05}-of-{parts:05}.arrow" for part in range(parts)]
    rows = -(-len(table) // parts)
    for part, name in enumerate(names):
        with pa.ipc.new_stream(folder / name, table.schema) as writer:
            writer.write_table(table.slice(part * rows, rows), max_chunksize=1)
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": name} for name in names], **state}))
    (folder / "dataset_info.json").write_text(json.dumps({"features": {}}))


def listed(value):
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


def same(ds, table):
    """Whether records are what pyarrow reads."""
    for number, row in enumerate(table.to_pylist()):
        for name, wanted in row.items():
            found = ds[number][name]
            if isinstance(wanted, dict):
                found = {key: listed(value) for key, value in found.items()}
            assert listed(found) == wanted or (wanted != wanted and found != found), (number, name)  # noqa: PLR0124
    return len(ds) == len(table)


@pytest.mark.parametrize("name", ["a.parquet", "A.PARQUET", "a.arrow", "a.arrows", "a.feather", "a.ipc"])
def test_records_are_those_of_the_file(tmp_path, name):
    write(TABLE, tmp_path / name) if name[0] == "a" else pq.write_table(TABLE, tmp_path / name)

    ds = mn.convert(tmp_path / name, tmp_path / "out")

    assert same(ds, TABLE)
    assert ds.schema["label"] == mn.Scalar("int32")
    assert ds.schema["text"] == mn.Text(nullable=True)
    assert ds.schema["meta.class"] == mn.Text()


@pytest.mark.parametrize("library", ["pandas", "pandas feather", "polars", "polars ipc", "polars stream"])
def test_files_of_libraries_are_read(tmp_path, library):
    frame = {"text": ["a", "é日", ""], "x": [1.5, -2.0, 0.0], "n": [1, 2, 1 << 60], "ids": [[1], [], [2, 3]]}
    match library:
        case "pandas":
            pd.DataFrame(frame, index=[5, 6, 7]).to_parquet(path := tmp_path / "a.parquet")
        case "pandas feather":
            pd.DataFrame(frame).to_feather(path := tmp_path / "a.feather")
        case "polars":
            pl.DataFrame(frame).write_parquet(path := tmp_path / "a.parquet")
        case "polars ipc":
            pl.DataFrame(frame).write_ipc(path := tmp_path / "a.arrow", compression="zstd")
        case _:
            pl.DataFrame(frame).write_ipc_stream(path := tmp_path / "a.arrows")

    ds = mn.convert(path, tmp_path / "out")

    assert same(ds, pa.table(frame))


def test_columns_can_be_declared_and_one_column_can_become_another_kind(tmp_path):
    write(TABLE, tmp_path / "a.parquet")
    write(TABLE.select(["label"]), tmp_path / "label.parquet")

    ds = mn.convert(tmp_path / "a.parquet", tmp_path / "out", columns={"label": mn.Scalar("int8")})

    assert ds["label"].dtype == np.int8
    labels = mn.convert(tmp_path / "label.parquet", tmp_path / "labels", kind="array")
    assert labels[:].tolist() == [1, -2, 3, 4]


@pytest.mark.parametrize("suffix", ["parquet", "arrow"])
def test_a_folder_is_read_in_the_order_of_its_names(tmp_path, suffix):
    for part in (2, 0, 1):
        write(pa.table({"n": [part, part]}), tmp_path / "source" / "ab"[part > 1] / f"part-{part}.{suffix}")
    (tmp_path / "source" / "_SUCCESS").touch()

    ds = mn.convert(tmp_path / "source", tmp_path / "out")

    assert ds["n"][:].tolist() == [0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize("suffix", ["parquet", "arrow"])
@pytest.mark.parametrize(
    ("other", "message"),
    [
        (pa.table({"n": [1], "m": [2]}), r"expected the columns \['n', 'm'\], found \['n'\]"),
        (pa.table({"n": ["x"]}), r"Unable to merge: Field n has incompatible types: int64 vs string"),
    ],
)
def test_files_of_a_folder_with_other_columns_raise(tmp_path, suffix, other, message):
    write(pa.table({"n": [1]}), tmp_path / "source" / f"0.{suffix}")
    write(other, tmp_path / "source" / f"1.{suffix}")

    with pytest.raises(ValueError, match=rf"source/[01].{suffix}: {message}"):
        mn.convert(tmp_path / "source", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("values", "stored"),
    [
        (pa.array([date(2026, 11, 29), None]), np.array(["2026-11-29", "NaT"], "M8[D]")),
        (pa.array([datetime(2026, 11, 29, 5, 45)]), np.array(["2026-11-29T05:45"], "M8[us]")),  # noqa: DTZ001
        (pa.array([datetime(2026, 11, 29, tzinfo=UTC)]), np.array(["2026-11-29"], "M8[us]")),
        (pa.array([timedelta(seconds=3)]), np.array([3_000_000], "m8[us]")),
        (pa.array([1.5], pa.float16()), np.array([1.5], np.float16)),
        (pa.array([True, False]), np.array([True, False])),
        (pa.array([[1, 2]], pa.list_(pa.int8(), 2)), np.array([[1, 2]], np.int8)),
        (pa.array(["a", "b", "a"]).dictionary_encode(), ["a", "b", "a"]),
        (pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64())), "refused"),
        (pa.array([decimal.Decimal("1.5")]), "refused"),
        (pa.array([time(5, 45)]), "refused"),
        (pa.nulls(2), "refused"),
    ],
    ids=lambda value: str(getattr(value, "type", "")) or None,
)
@pytest.mark.parametrize("suffix", ["parquet", "arrow"])
def test_types_of_arrow_are_stored_or_refused(tmp_path, suffix, values, stored):
    write(pa.table({"n": range(len(values)), "value": values}), tmp_path / f"a.{suffix}")

    if isinstance(stored, str):
        with pytest.raises(TypeError, match=r"a\.\w+: column 'value': Arrow type .* cannot be stored; cast it to"):
            mn.convert(tmp_path / f"a.{suffix}", tmp_path / "out")
        assert not (tmp_path / "out").exists()
        return
    found = mn.convert(tmp_path / f"a.{suffix}", tmp_path / "out")["value"][:]
    if isinstance(stored, list):
        assert found == stored
    else:
        np.testing.assert_array_equal(found, stored)
        assert found.dtype == stored.dtype


def test_a_union_is_refused(tmp_path):
    values = pa.UnionArray.from_sparse(pa.array([0, 1], pa.int8()), [pa.array([1, 2]), pa.array(["a", "b"])])
    write(pa.table({"value": values}), tmp_path / "a.arrow")

    with pytest.raises(TypeError, match=r"column 'value': Arrow type sparse_union.* cannot be stored"):
        mn.convert(tmp_path / "a.arrow", tmp_path / "out")


@pytest.mark.parametrize("names", [["class", "a/b", "self"], ["a.b", "a.c", "é"]])
def test_names_of_columns(tmp_path, names):
    write(pa.table({name: [1] for name in names}), tmp_path / "a.parquet")

    assert mn.convert(tmp_path / "a.parquet", tmp_path / "out").columns == names


@pytest.mark.parametrize("suffix", ["parquet", "arrow", "arrows", "feather"])
@pytest.mark.parametrize("left", [0, 3, 20, 0.5, 0.99, -8])
def test_a_file_that_is_cut_off_raises(tmp_path, suffix, left):
    path = tmp_path / f"a.{suffix}"
    write(pa.table({"n": range(10_000), "t": [str(number) for number in range(10_000)]}), path)
    data = path.read_bytes()
    path.write_bytes(data[: int(left * len(data))] if isinstance(left, float) else data[:left])

    with pytest.raises(ValueError, match=rf"a.{suffix}: "):
        mn.convert(path, tmp_path / "out")


@pytest.mark.parametrize("suffix", ["parquet", "arrow"])
def test_a_damaged_file_raises(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    texts = pa.table({"t": [f"text {number}" for number in range(50_000)]})
    write(texts, path, **({"compression": "zstd"} if suffix == "parquet" else {}))
    data = bytearray(path.read_bytes())
    middle = len(data) // 2 if suffix == "parquet" else data.index(b"text 0text 1")
    data[middle : middle + 4000] = b"\xff" * 4000
    path.write_bytes(data)

    with pytest.raises(ValueError, match=rf"a.{suffix}: "):
        mn.convert(path, tmp_path / "out")


def test_an_encrypted_file_is_refused(tmp_path):
    (tmp_path / "a.parquet").write_bytes(b"PARE" + bytes(40) + (20).to_bytes(4, "little") + b"PARE")

    with pytest.raises(ValueError, match=r"a.parquet: .*encrypted"):
        mn.convert(tmp_path / "a.parquet", tmp_path / "out")


def test_feather_of_version_1_is_refused(tmp_path):
    (tmp_path / "a.feather").write_bytes(b"FEA1" + bytes(100) + b"FEA1")

    with pytest.raises(ValueError, match=r"a.feather: is of Feather's version 1"):
        mn.convert(tmp_path / "a.feather", tmp_path / "out")


@pytest.mark.parametrize("suffix", ["parquet", "arrow", "arrows", "feather"])
def test_a_table_without_rows_keeps_its_columns(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    if suffix == "parquet":
        pq.ParquetWriter(path, TABLE.schema).close()
        assert pq.ParquetFile(path).num_row_groups == 0
    else:
        write(TABLE.slice(0, 0), path)

    ds = mn.convert(path, tmp_path / "out")

    assert len(ds) == 0
    assert ds.columns == ["text", "label", "score", "ids", "boxes", "meta.class", "meta.n", "raw", "ok"]


def test_nulls_after_many_rows_make_a_column_nullable(tmp_path):
    table = pa.table({"n": [*range(40_000), None], "t": [*["x"] * 40_000, None]})
    write(table, tmp_path / "a.parquet", row_group_size=10_000)

    ds = mn.convert(tmp_path / "a.parquet", tmp_path / "out")

    assert ds[40_000] == {"n": None, "t": None}
    assert ds[39_999] == {"n": 39_999, "t": "x"}


@pytest.mark.torture
@pytest.mark.parametrize("suffix", ["parquet", "arrow"])
def test_text_of_more_than_two_gigabytes_in_a_column(tmp_path, suffix):
    """The offsets of `string` end at 2^31 bytes; one batch of `large_string` holds more, and so do several batches."""
    size, count = 1 << 20, (1 << 11) + 5
    path, out = tmp_path / f"a.{suffix}", tmp_path / "out"
    texts = (f"{number:07}" + "x" * (size - 7) for number in range(count))
    write(pa.table({"t": pa.array(texts, pa.large_string())}), path)

    ds = mn.convert(path, out)

    assert [len(ds), ds["t"][0][:8], ds["t"][-1][:8]] == [count, "0000000x", f"{count - 1:07}x"]
    assert len(ds["t"][count - 1]) == size


MEMORY = """
import sys, threading, time
import mmap_ninja as mn

def anonymous():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("RssAnon"))

thread = threading.Thread(target=lambda: mn.convert(*sys.argv[1:]))
thread.start()
peak = 0
while thread.is_alive():
    peak = max(peak, anonymous())
    time.sleep(0.005)
print(peak >> 10)
"""


@pytest.mark.torture
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("name", ["a.parquet", "a.arrow", "a.jsonl", "a.json", "a.csv"])
def test_a_file_of_ten_times_the_memory(tmp_path, name):
    """Groups of rows, and batches, have 500 MB each. What Python parses takes minutes for 3 GB, so that it is 1 GB."""
    path, rows = tmp_path / name, 500_000
    parts = 6 if name in ("a.parquet", "a.arrow") else 2
    part = pa.table({"n": range(rows), "t": ["text " * 200] * rows})
    if name == "a.parquet":
        with pq.ParquetWriter(path, part.schema, compression="none", use_dictionary=False) as writer:
            for _ in range(parts):
                writer.write_table(part, row_group_size=rows)
    elif name == "a.arrow":
        with pa.ipc.new_file(path, part.schema) as writer:
            for _ in range(parts):
                writer.write_table(part)
    else:
        line = {"a.csv": "%d,%s\n", "a.json": '%s {"n": %d, "t": "%s"}\n', "a.jsonl": '{"n": %d, "t": "%s"}\n'}[name]
        with path.open("w") as file:
            file.write("n,t\n" if name == "a.csv" else "")
            for number in range(parts * rows):
                given = (number, "text " * 200)
                file.write(line % (("," if number else "[", *given) if name == "a.json" else given))
            file.write("]" if name == "a.json" else "")
    assert path.stat().st_size > parts * 500_000_000

    run = subprocess.run([sys.executable, "-c", MEMORY, path, tmp_path / "out"], check=True, capture_output=True)

    assert int(run.stdout) < 300
    with mn.open(tmp_path / "out") as ds:
        assert len(ds) == parts * rows
        assert ds[-1]["t"] == "text " * 200


def test_a_saved_dataset_of_hugging_face_is_read(tmp_path):
    save_to_disk(TABLE, tmp_path / "saved")
    (tmp_path / "saved" / "cache-0123456789.arrow").write_bytes(b"what a map left behind")

    ds = mn.convert(tmp_path / "saved", tmp_path / "out")

    assert same(ds, TABLE)


def test_a_dict_of_splits_names_them(tmp_path):
    for split in ("train", "test"):
        save_to_disk(TABLE, tmp_path / "saved" / split)
    (tmp_path / "saved" / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')

    with pytest.raises(ValueError, match=rf"found a dict of 2; convert one of them: {tmp_path}/saved/train, "):
        mn.convert(tmp_path / "saved", tmp_path / "out")
    assert same(mn.convert(tmp_path / "saved" / "test", tmp_path / "out"), TABLE)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"_indices_data_files": [{"filename": "indices.arrow"}]}, "saved: shows its rows by indices; load it by dat"),
        ({"_data_files": None}, "state.json: expected the names of the data files"),
    ],
)
def test_a_saved_dataset_that_cannot_be_read_is_refused(tmp_path, state, message):
    save_to_disk(TABLE, tmp_path / "saved", **state)

    with pytest.raises(ValueError, match=message):
        mn.convert(tmp_path / "saved", tmp_path / "out")


def test_a_saved_dataset_that_misses_a_file_raises(tmp_path):
    save_to_disk(TABLE, tmp_path / "saved")
    (tmp_path / "saved" / "data-00001-of-00002.arrow").unlink()

    with pytest.raises(FileNotFoundError, match=r"data-00001-of-00002.arrow"):
        mn.convert(tmp_path / "saved", tmp_path / "out")


@pytest.mark.parametrize("suffix", ["parquet", "arrow"])
def test_a_conversion_is_resumed(tmp_path, suffix):
    parts = [pa.table({"n": range(part * 1000, part * 1000 + 1000), "t": ["x" * part] * 1000}) for part in range(3)]
    for part, table in enumerate(parts):
        write(table, tmp_path / "source" / f"{part}.{suffix}")
    whole = (tmp_path / "source" / f"2.{suffix}").read_bytes()
    start = whole.index(b"xx" * 100) if suffix == "arrow" else 0
    source, out = tmp_path / "source", tmp_path / "out"
    if suffix == "arrow":
        (source / f"2.{suffix}").write_bytes(whole[:start] + b"\xff" * 2000 + whole[start + 2000 :])
    else:
        write(pa.table({"n": [1], "other": [1]}), source / f"2.{suffix}")
        write(parts[2], source / f"2.{suffix}")
        (source / f"2.{suffix}").write_bytes(whole[:4] + b"\xff" * 200 + whole[204:])
    with pytest.raises(ValueError, match=rf"2.{suffix}|valid Arrow data"):
        mn.convert(source, out)
    (source / f"2.{suffix}").write_bytes(whole)

    ds = mn.convert(source, out, if_exists="resume")

    assert ds["n"][:].tolist() == list(range(3000))
    assert ds["t"][2999] == "xx"


def test_checksums_of_pages_are_compared(tmp_path):
    path = tmp_path / "a.parquet"
    options = {"use_dictionary": False, "compression": "none", "write_page_checksum": True}
    pq.write_table(pa.table({"a": ["x" * 20, "y" * 20]}), path, **options)
    path.write_bytes(path.read_bytes().replace(b"\x14\0\0\0" + b"y" * 20, b"\x14\0\0\0" + b"y" * 19 + b"z", 1))

    with pytest.raises(ValueError, match=f"^{path}: .*CRC"):
        mn.convert(path, tmp_path / "out")


def test_what_pyarrow_tells_is_one_line(tmp_path):
    path = tmp_path / "a.parquet"
    path.write_bytes(b"PAR1" + bytes(20) + (20).to_bytes(4, "little") + b"PAR1")

    with pytest.raises(ValueError, match=f"^{path}: ") as raised:
        mn.convert(path, tmp_path / "out")
    assert "\n" not in str(raised.value)


def test_indices_of_a_dictionary_are_checked_before_they_are_followed(tmp_path):
    path = tmp_path / "a.arrow"
    indices = pa.array([0, 1, 5], pa.int32())
    column = pa.DictionaryArray.from_arrays(indices, pa.array(["a", "b"]), safe=False)
    with pa.ipc.new_file(str(path), pa.schema({"a": column.type})) as file:
        file.write_batch(pa.record_batch({"a": column}))

    with pytest.raises(ValueError, match=f"^{path}: .* is not valid Arrow data"):
        mn.convert(path, tmp_path / "out")


def test_a_column_that_a_table_lacks_cannot_be_declared(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"a": [1]}), path)

    with pytest.raises(ValueError, match=r"a.parquet: column 'b': is not there; expected one of \['a'\]"):
        mn.convert(path, tmp_path / "out", columns={"b": mn.Text(nullable=True)})
    assert not (tmp_path / "out").exists()
