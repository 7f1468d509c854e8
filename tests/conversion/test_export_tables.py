"""Parquet and Arrow files, as the libraries of these formats read them, and as datasets again."""

import sys

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest

import mmap_ninja as mn
from mmap_ninja.conversion import to_tables
from mmap_ninja.engine import files

TEXTS = ["a", "", "two\nlines", 'a "quote"', "nul\0", "\ufeffmark", "zwölf 🥷", "x" * 5000]
DTYPES = [
    "?", "i1", "u1", "<i2", ">i4", "i8", ">u8", "f2", "<f4", ">f8", "c8", ">c16", "S3", "<U4", ">U4", "V5",
    "M8[D]", "M8[s]", ">M8[ms]", "M8[ns]", "m8[us]",
]  # fmt: skip


def read(path):
    """A file as its library reads it."""
    if path.suffix == ".parquet":
        return pq.read_table(path)
    with pa.ipc.open_file(path) as file:
        return file.read_all()


def again(path, to, cls=mn.RecordsMmap):
    """A dataset of what a file holds."""
    return cls.from_arrow(to, path if path.suffix == ".parquet" else read(path))


def values(dtype, shape):
    """Different values of a dtype, with the least and greatest ones."""
    dtype, size = np.dtype(dtype), int(np.prod(shape))
    if not size:
        return np.empty(shape, dtype)
    if dtype.kind in "SU":
        return np.resize(np.array(["a", "", "xyz"], dtype), shape)
    if dtype.kind == "V":
        return np.frombuffer(bytes(range(size * dtype.itemsize)), dtype).reshape(shape)
    made = np.arange(size).reshape(shape).astype(dtype)
    if dtype.kind in "iu":
        made.flat[0], made.flat[-1] = np.iinfo(dtype).min, np.iinfo(dtype).max
    if dtype.kind in "fc":
        made.flat[0], made.flat[-1] = np.nan, -0.1
    if dtype.kind in "mM":
        made.flat[0] = np.array("NaT", dtype)
    return made


def same(one, other):
    if one is None or other is None:
        return one is other
    one, other = np.asarray(one), np.asarray(other)
    return (one.dtype, one.shape, one.tobytes()) == (other.dtype, other.shape, other.tobytes())


@pytest.mark.parametrize("name", ["a.parquet", "a.arrow"])
def test_every_dtype_comes_back_exactly(tmp_path, name):
    columns = {}
    for number, dtype in enumerate(DTYPES):
        columns |= {
            f"scalar{number}": mn.Scalar(dtype),
            f"array{number}": mn.Array((2, 2), dtype, nullable=True),
            f"flat{number}": mn.Ragged(dtype, ndim=1, nullable=True),
            f"ragged{number}": mn.Ragged(dtype),
        }
    made = mn.RecordsMmap.create(tmp_path / "a", columns)
    for row in range(4):
        sample = {}
        for number, dtype in enumerate(DTYPES):
            sample |= {
                f"scalar{number}": values(dtype, (4,))[row],
                f"array{number}": values(dtype, (4, 2, 2))[row] if row != 1 else None,
                f"flat{number}": values(dtype, (3,))[:row] if row != 2 else None,
                f"ragged{number}": values(dtype, (3,) * row)[:2] if row else values(dtype, (0, 2)),
            }
        made.append(sample)

    mn.export(made, tmp_path / name)

    back = again(tmp_path / name, tmp_path / "b")
    assert back.columns == made.columns
    for column in made.columns:
        assert list(map(same, back[column], made[column])) == [True] * 4, column


@pytest.mark.parametrize("name", ["a.parquet", "a.arrow"])
def test_texts_bytes_json_and_nested_columns_come_back(tmp_path, name):
    made = mn.RecordsMmap.create(
        tmp_path / "a",
        {
            "text": mn.Text(codec="zstd"),
            "maybe": mn.Text(nullable=True),
            "bytes": mn.Bytes(nullable=True),
            "json": mn.Json(),
            "of": {"a group": {"number": mn.Scalar("i4", nullable=True)}, "other": mn.Text()},
        },
    )
    for number, text in enumerate(TEXTS):
        none = number % 3 == 1
        made.append(
            {
                "text": text,
                "maybe": None if none else text,
                "bytes": None if none else text.encode() + b"\xff\0",
                "json": {"of": [number, text, None]},
                "of": {"a group": {"number": None if none else number}, "other": text},
            }
        )

    mn.export(made, tmp_path / name)

    assert read(tmp_path / name)["text"].to_pylist() == TEXTS
    assert read(tmp_path / name)["of"][0].as_py() == {"a group": {"number": 0}, "other": "a"}
    assert list(again(tmp_path / name, tmp_path / "b")) == list(made)


@pytest.mark.parametrize("name", ["a.parquet", "a.arrow", "a.feather"])
def test_other_libraries_read_it(tmp_path, name):
    made = mn.RecordsMmap.from_generator(tmp_path / "a", [{"text": text, "n": len(text)} for text in TEXTS])

    mn.export(made, tmp_path / name)

    frame = pl.read_parquet(tmp_path / name) if name == "a.parquet" else pl.read_ipc(tmp_path / name)
    assert frame.to_dicts() == list(made)
    if name == "a.feather":
        assert pyarrow.feather.read_table(tmp_path / name).to_pylist() == list(made)


@pytest.mark.parametrize(
    ("cls", "samples"),
    [
        (mn.StringsMmap, TEXTS),
        (mn.BytesMmap, [b"", b"\0\xff"]),
        (mn.ArrayMmap, [np.full((2, 3), 7, ">i2")] * 3),
        (mn.RaggedMmap, [np.arange(3), np.arange(0), np.arange(5)]),
        (mn.RaggedMmap, [np.ones((2, 3)), np.ones((0, 3)), np.float64(1)]),
        (mn.RecordsMmap, [{"n": 1}]),
    ],
)
@pytest.mark.parametrize("name", ["a.parquet", "a.arrow"])
def test_every_kind_comes_back_and_is_told(tmp_path, cls, samples, name):
    made = cls.from_generator(tmp_path / "a", samples)

    mn.export(made, tmp_path / name)

    assert read(tmp_path / name).schema.metadata[b"mmap_ninja"].decode() == made._kind
    back = again(tmp_path / name, tmp_path / "b", cls)
    assert len(back) == len(made) == len(samples)
    if cls in (mn.ArrayMmap, mn.RaggedMmap):
        assert all(map(same, back, made))
    else:
        assert list(back) == list(made)


@pytest.mark.parametrize("name", ["a.parquet", "a.arrow"])
@pytest.mark.parametrize("cls", [mn.StringsMmap, mn.BytesMmap, mn.ArrayMmap, mn.RaggedMmap])
def test_empty_datasets_have_their_column(tmp_path, name, cls):
    mn.export(cls.from_generator(tmp_path / "a", []), tmp_path / name)

    assert (read(tmp_path / name).num_rows, read(tmp_path / name).column_names) == (0, ["sample"])
    assert list(again(tmp_path / name, tmp_path / "b", cls)) == []


def test_empty_records_keep_their_types(tmp_path):
    columns = {"n": mn.Scalar(">u2"), "j": mn.Json(), "a": mn.Array((2,), "f4"), "r": mn.Ragged("i4", ndim=1)}
    mn.export(mn.RecordsMmap.create(tmp_path / "a", columns), tmp_path / "a.parquet")

    back = mn.RecordsMmap.from_arrow(tmp_path / "b", tmp_path / "a.parquet")

    assert back.schema == {**columns, "n": mn.Scalar(np.dtype(">u2")), "a": mn.Array((2,), np.dtype("f4")),
                           "r": mn.Ragged(np.dtype("i4"), ndim=1)}  # fmt: skip


def test_arrays_without_elements_are_for_arrow(tmp_path):
    made = mn.ArrayMmap.from_ndarray(tmp_path / "a", np.empty((3, 0, 2)))
    (tmp_path / "outs").mkdir()

    with pytest.raises(TypeError, match="Parquet cannot hold arrays of float64; export to Arrow, which holds"):
        mn.export(made, tmp_path / "outs" / "a.parquet")
    assert list((tmp_path / "outs").iterdir()) == []
    mn.export(made, tmp_path / "a.arrow")
    assert again(tmp_path / "a.arrow", tmp_path / "b", mn.ArrayMmap).shape == (3, 0, 2)


def test_dtypes_without_an_arrow_type_raise_before_anything_is_written(tmp_path):
    made = mn.ArrayMmap.from_ndarray(tmp_path / "a", np.zeros(3, [("x", "i4"), ("y", "f8")]))
    (tmp_path / "outs").mkdir()

    with pytest.raises(TypeError, match=r"column 'sample': dtype .* has no Arrow type"):
        mn.export(made, tmp_path / "outs" / "a.parquet")

    assert list((tmp_path / "outs").iterdir()) == []


def test_groups_of_rows_are_bounded_in_bytes_and_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(to_tables, "_GROUP_BYTES", 4 << 10)
    monkeypatch.setattr(to_tables, "_GROUP_ROWS", 300)
    monkeypatch.setattr(to_tables, "_STEP_ROWS", 250)
    texts = ["small"] * 1000 + ["large " * 100] * 40
    made = mn.StringsMmap.from_strings(tmp_path / "a", texts)

    mn.export(made, tmp_path / "a.parquet")
    mn.export(made.select(slice(None, None, -1)), tmp_path / "b.parquet")  # copied

    assert pq.read_table(tmp_path / "a.parquet")["sample"].to_pylist() == texts
    assert pq.read_table(tmp_path / "b.parquet")["sample"].to_pylist() == texts[::-1]
    metadata = pq.read_metadata(tmp_path / "a.parquet")
    rows = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
    assert max(rows) <= 550
    assert len(rows) >= 8


@pytest.mark.skipif(sys.platform != "linux", reason="asks the system how much memory is used")
def test_memory_does_not_grow_with_the_dataset(tmp_path, monkeypatch):
    text, used = "word " * 20_000, []
    part = mn.StringsMmap.from_generator(tmp_path / "a", (f"{number} {text}" for number in range(200)), zstd_level=1)
    write = files.write

    def measured(*arguments):
        used.append(anonymous_bytes())
        write(*arguments)

    monkeypatch.setattr(files, "write", measured)

    mn.export(mn.concat([part] * 20), tmp_path / "a.parquet")  # 400 MB, which are decompressed

    assert max(used) - used[0] < 250 << 20
    assert pq.read_metadata(tmp_path / "a.parquet").num_rows == 4000


def anonymous_bytes():
    """The memory of this process that is no map of a file."""
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) << 10 for line in lines if line.startswith("RssAnon"))
