"""What `export` writes, as the format's own library reads it, and as `convert` gives it back."""

import csv
import gzip
import io
import json
import tarfile

import numpy as np
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
import zstandard

import mmap_ninja as mn

TEXTS = ["a", "", "two\nlines\r\n", '"quoted", zwölf 🥷\t', "\ufeff007"]
TIMES = np.array(["1969-12-31T23:59:59", "2026-02-28T12:00:00", "NaT", "1677-09-22", "2262-04-11"], "M8[ns]")


def column(spec, values, *nulls):
    """A type, and its samples."""
    return spec, [None if place in nulls else value for place, value in enumerate(values)]


def numbers(dtype):
    """The least and greatest numbers of a dtype, and others."""
    most = np.iinfo(dtype)
    return np.array([most.min, most.max, 0, 1, 7], dtype)


FLOATS = np.array([0.5, -0.0, 0.125, 600, 7], "f4")  # have few digits in every dtype
COLUMNS = {  # types by name, each with five samples
    "title": column(mn.Text(), TEXTS),
    "Note": column(mn.Text(nullable=True), TEXTS, 1, 3),
    "count": column(mn.Scalar("int64"), numbers("i8")),
    "label": column(mn.Scalar("uint8", nullable=True), numbers("u1"), 4),
    "huge": column(mn.Scalar("uint64"), numbers("u8")),
    "score": column(mn.Scalar("float32"), FLOATS),
    "weight": column(mn.Scalar("float64", nullable=True), FLOATS.astype("f8") / 3, 0),
    "is_good": column(mn.Scalar("bool"), np.arange(5) > 2),
    "day": column(mn.Scalar("datetime64[D]"), TIMES.astype("M8[D]")),
    "time": column(mn.Scalar("datetime64[ns]"), TIMES),
    "author.name": column(mn.Text(), TEXTS),
    "author.age": column(mn.Scalar("int16", nullable=True), numbers("i2"), 2),
    "rows": column(mn.Array((2, 3), "int32"), np.arange(30, dtype="i4").reshape(5, 2, 3)),
    "maybe": column(mn.Array((2,), ">f4", nullable=True), FLOATS.repeat(2).reshape(5, 2).astype(">f4"), 1),
    "tokens": column(mn.Ragged("uint16", ndim=1, nullable=True), [np.arange(n, dtype="u2") for n in range(5)], 3),
    "boxes": column(mn.Ragged("int8"), [np.ones((n, 4), "i1") for n in range(5)]),
    "json": column(mn.Json(nullable=True), [{"a": [1, None]}, [], "text", 1.5, False], 2),
    "image": column(mn.Bytes(), [text.encode() + b"\0\xff" for text in TEXTS]),
    "jpg": column(mn.Bytes(nullable=True), [text.encode() for text in TEXTS], 2),
    "span": column(mn.Scalar("timedelta64[us]"), numbers("i8").view("m8[us]")),
    "wave": column(mn.Scalar("complex64"), FLOATS.astype("c8") * 1j),
    "code": column(mn.Scalar("S3"), np.array([b"a", b"", b"abc", b"\xff", b"b"])),
    "half": column(mn.Scalar("float16", nullable=True), FLOATS.astype("f2"), 3),
    "point": column(mn.Scalar([("x", "i4"), ("y", "f8")]), np.arange(5).astype([("x", "i4"), ("y", "f8")])),
}  # fmt: skip
JSON_HAS_NO = {"image", "jpg", "span", "wave", "code", "point"}
CSV_HAS_NO = JSON_HAS_NO | {"rows", "maybe", "tokens", "boxes", "json"}
DATES = {"day", "time"}


def without(*names):
    return [name for name in COLUMNS if name not in names]


def plain(value):
    """A sample as the stdlib has it."""
    if isinstance(value, np.datetime64):
        return None if np.isnat(value) else str(value)
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


def check(back, made, columns=None, declared=None):
    """Check that columns come back: their samples, and the types of those that were declared."""
    for name in columns or made.columns:
        assert list(map(plain, back[name])) == list(map(plain, made[name])), name
    if declared is not None:
        assert {name: back.schema[name] for name in declared} == declared


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """A dataset of all columns."""
    columns = {name: spec for name, (spec, _) in COLUMNS.items()}
    made = mn.RecordsMmap.create(tmp_path_factory.mktemp("made") / "ds", columns)
    samples = zip(*(samples for _, samples in COLUMNS.values()), strict=True)
    made.extend([dict(zip(COLUMNS, sample, strict=True)) for sample in samples])
    return made


@pytest.mark.parametrize("name", ["a.parquet", "a.arrow"])
def test_tables(records, tmp_path, name):
    made = records[without("point")]

    mn.export(made, tmp_path / name)

    read = pq.read_table if name == "a.parquet" else pyarrow.feather.read_table
    table = read(tmp_path / name).flatten()
    for column in without("point", "day", "time", "boxes", "json", "span", "wave", "code"):
        assert table[column].to_pylist() == list(map(plain, made[column])), column
    check(mn.convert(tmp_path / name, tmp_path / "back"), made, declared=made.schema)


def from_json(data):
    rows = list(map(json.loads, data.splitlines()))
    rows = [row | {f"author.{name}": value for name, value in row["author"].items()} for row in rows]
    return {name: [row[name] for row in rows] for name in rows[0]}


@pytest.mark.parametrize(("name", "unpack"), [("a.jsonl", bytes), ("a.ndjson.gz", gzip.decompress)])
def test_json(records, tmp_path, name, unpack):
    made = records[without(*JSON_HAS_NO)]

    mn.export(made, tmp_path / name)

    read = from_json(unpack((tmp_path / name).read_bytes()))
    assert {column: read[column] for column in made.columns} == {of: list(map(plain, made[of])) for of in made.columns}
    check(mn.convert(tmp_path / name, tmp_path / "back", columns={"json": mn.Json(nullable=True)}), made)
    declared = mn.convert(tmp_path / name, tmp_path / "declared", columns=made.schema)
    check(declared, made, declared=made.schema)


@pytest.mark.parametrize(("name", "separator"), [("a.csv", ","), ("a.tsv.zst", "\t")])
def test_csv(records, tmp_path, name, separator):
    made = records[without(*CSV_HAS_NO)]
    names = {True: "true", False: "false", None: ""}

    mn.export(made, tmp_path / name)

    data = (tmp_path / name).read_bytes()
    data = zstandard.ZstdDecompressor().decompressobj().decompress(data) if name.endswith("zst") else data
    header, *rows = csv.reader(io.StringIO(data.decode(), newline=""), delimiter=separator)
    assert header == made.columns
    for column, fields in zip(header, zip(*rows, strict=True), strict=True):
        values = list(map(plain, made[column]))
        assert list(fields) == [names[of] if of is None or of is True or of is False else str(of) for of in values]
    # Undeclared, an empty field of texts is "", and dates are texts.
    inferred = [column for column in made.columns if column not in ("Note", *DATES)]
    check(mn.convert(tmp_path / name, tmp_path / "back"), made, inferred)
    declared = mn.convert(tmp_path / name, tmp_path / "declared", columns=made.schema)
    check(declared, made, declared=made.schema)


def test_webdataset(records, tmp_path):
    mn.export(records, tmp_path / "a.tar")

    with tarfile.open(tmp_path / "a.tar") as tar:
        files = {member.name: tar.extractfile(member).read() for member in tar}
    for column, end, read in [
        ("title", "title.txt", bytes.decode), ("Note", "Note.txt", bytes.decode), ("count", "count", int),
        ("label", "label.cls", int), ("weight", "weight.json", json.loads), ("is_good", "is_good.json", json.loads),
        ("author.name", "author.name.txt", bytes.decode), ("json", "json", json.loads), ("jpg", "jpg", bytes),
        ("image", "image.bin", bytes), ("rows", "rows.npy", lambda data: np.load(io.BytesIO(data)).tolist()),
    ]:  # fmt: skip
        found = [files.get(f"{number:06d}.{end}") for number in range(len(records))]
        assert [data if data is None else read(data) for data in found] == list(map(plain, records[column])), column
    back = mn.convert(tmp_path / "a.tar", tmp_path / "back")
    assert sorted(back.columns) == sorted(["key", *records.columns])
    check(back, records)
    scalars = {name: of for name, of in back.schema.items() if isinstance(of, mn.Scalar)}
    assert {"label", "huge", "score", "weight", "is_good", "day", "wave"} <= scalars.keys()  # not JSON, nor arrays
    declared = mn.convert(tmp_path / "a.tar", tmp_path / "declared", columns=records.schema)
    check(declared, records, declared=records.schema)


@pytest.mark.parametrize("name", ["count", "score", "is_good", "time", "rows", "span", "wave", "point"])
def test_npy(records, tmp_path, name):
    mn.export(records[name], tmp_path / "a.npy")

    back = mn.convert(tmp_path / "a.npy", tmp_path / "back")
    for found in (np.load(tmp_path / "a.npy"), back):
        assert (found.dtype, found[:].tobytes()) == (records[name].dtype, records[name][:].tobytes())


KINDS = [
    (mn.StringsMmap, TEXTS),
    (mn.BytesMmap, [text.encode() + b"\xff" for text in TEXTS]),
    (mn.ArrayMmap, list(np.arange(30, dtype="i4").reshape(5, 2, 3))),
    (mn.RaggedMmap, [np.ones((number, 4)) for number in range(5)]),
]


@pytest.mark.parametrize("name", ["a.parquet", "a.arrow"])
@pytest.mark.parametrize(("cls", "samples"), KINDS)
def test_kinds(tmp_path, cls, samples, name):
    made = cls.from_generator(tmp_path / "made", samples)
    (tmp_path / "folder").mkdir()

    for number in range(2):
        mn.export(made, tmp_path / "folder" / f"{number}{name}")
    back = mn.convert(tmp_path / "folder", tmp_path / "back")

    assert type(back) is cls
    assert list(map(plain, back)) == list(map(plain, samples)) * 2


def test_columns_with_nulls_are_records(records, tmp_path):
    mn.export(records["Note"], tmp_path / "a.parquet")

    assert mn.convert(tmp_path / "a.parquet", tmp_path / "back").schema == {"sample": mn.Text(nullable=True)}


def test_files(records, tmp_path):
    texts = [text.removeprefix("\ufeff") for text in TEXTS]  # which is taken for the mark of an encoding
    made = mn.StringsMmap.from_strings(tmp_path / "made", texts)

    mn.export(made, tmp_path / "files")

    assert [(tmp_path / "files" / f"{number:06d}.txt").read_bytes().decode() for number in range(5)] == texts
    assert list(mn.convert(tmp_path / "files", tmp_path / "back")) == texts


def test_files_in_folders(tmp_path):
    samples = [
        {"text": "a", "path": "neg/1.txt"},
        {"text": "", "path": "neg/2.txt"},
        {"text": "é", "path": "pos/1.txt"},
    ]
    made = mn.RecordsMmap.from_generator(tmp_path / "made", samples)

    mn.export(made, tmp_path / "files")

    assert (tmp_path / "files/pos/1.txt").read_text("utf-8") == "é"
    assert list(mn.convert(tmp_path / "files", tmp_path / "back", with_path=True)) == samples
