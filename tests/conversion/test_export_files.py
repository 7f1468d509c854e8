"""A folder of files, and a WebDataset tar, as the system and `tarfile` read them."""

import io
import json
import re
import tarfile

import ml_dtypes
import numpy as np
import pytest

import mmap_ninja as mn

TEXTS = ["a", "", "two\r\nlines", "\ufeffmark", "nul\0", "zwölf 🥷"]


@pytest.fixture
def folder(tmp_path):
    """A folder to export into, which has nothing else."""
    (tmp_path / "outs").mkdir()
    return tmp_path / "outs"


def below(folder):
    """The files below a folder, by their paths."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def members(path):
    """The files of a tar in their order."""
    with tarfile.open(path) as tar:
        return [(entry.name, tar.extractfile(entry).read()) for entry in tar]


def named(path, names, column="path"):
    rows = [{column: name, "text": f"of {name}"} for name in names]
    return mn.RecordsMmap.from_generator(path, rows, columns={column: mn.Text(), "text": mn.Text()})


# ---- a folder


def test_texts_become_files_under_their_numbers(tmp_path, folder):
    mn.export(mn.StringsMmap.from_strings(tmp_path / "a", TEXTS), folder / "texts")

    assert below(folder) == {f"texts/00000{number}.txt": text.encode() for number, text in enumerate(TEXTS)}


def test_bytes_become_files_with_a_suffix(tmp_path, folder):
    made = mn.BytesMmap.from_bytes(tmp_path / "a", [b"\xff\0", b""])

    mn.export(made, folder / "default")
    mn.export(made, folder / "images.v2", form="files", suffix=".jpg")

    assert below(folder / "default") == {"000000.bin": b"\xff\0", "000001.bin": b""}
    assert below(folder / "images.v2") == {"000000.jpg": b"\xff\0", "000001.jpg": b""}
    with pytest.raises(ValueError, match="expected the end of a file's name, such as '.txt'"):
        mn.export(made, folder / "other", suffix="/../../x")


@pytest.mark.parametrize("column", ["path", "name"])
def test_paths_name_files_and_folders(tmp_path, folder, column):
    names = ["a.txt", "deep/er/b.txt", "deep/c", " spaces and ünicode.txt", "deep/er/..b", "-rf"]

    mn.export(named(tmp_path / "a", names, column), folder / "out")

    assert below(folder / "out") == {name: f"of {name}".encode() for name in names}


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("../a", "leads out of the folder"),
        ("a/../../b", "leads out of the folder"),
        ("..", "leads out of the folder"),
        ("/etc/passwd", "is an absolute path"),
        ("", "is empty"),
        ("a//b", "has an empty part"),
        ("a/", "has an empty part"),
        ("./a", "has an empty part"),
        ("a\0b", "has a null character"),
        ("fine", "names sample 0, too"),
    ],
)
def test_paths_that_lead_elsewhere_or_twice_to_one_place_are_refused(tmp_path, folder, name, told):
    made = named(tmp_path / "a", ["fine", "b/fine", name])

    with pytest.raises(ValueError, match=f"column 'path': sample 2: {re.escape(repr(name))} {told}, so it cannot name"):
        mn.export(made, folder / "out")

    assert list(folder.iterdir()) == []
    mn.export(made, folder / "out", columns=["text"])
    assert len(below(folder / "out")) == 3


@pytest.mark.parametrize("names", [["a", "a/b"], ["a/b", "a"]])
def test_path_that_is_a_file_and_a_folder_is_refused(tmp_path, folder, names):
    with pytest.raises(ValueError, match="one needs a file where the other needs a folder"):
        mn.export(named(tmp_path / "a", names), folder / "out")

    assert list(folder.iterdir()) == []


def test_folder_is_converted_back(tmp_path, folder):
    """But for a mark of the byte order, which is not text."""
    made = mn.StringsMmap.from_strings(tmp_path / "a", TEXTS)

    mn.export(made, folder / "out")

    assert list(mn.convert(folder / "out", tmp_path / "b")) == [text.removeprefix("\ufeff") for text in made]


def test_path_that_the_system_refuses_leaves_nothing(tmp_path, folder):
    with pytest.raises(OSError, match="File name too long"):
        mn.export(named(tmp_path / "a", ["fine", "long" * 100]), folder / "out")

    assert list(folder.iterdir()) == []


def test_records_need_one_column_for_the_content(tmp_path, folder):
    made = mn.RecordsMmap.from_generator(tmp_path / "a", [{"text": "a", "title": "b", "n": 1}])

    with pytest.raises(ValueError, match="found 'text', 'title', 'n'; choose with columns="):
        mn.export(made, folder / "out")
    with pytest.raises(TypeError, match="a folder of files cannot hold int64; export to a WebDataset tar"):
        mn.export(made, folder / "out", columns=["n"])
    mn.export(made, folder / "out", columns=["title"])
    assert below(folder) == {"out/000000.txt": b"b"}


def test_null_is_no_file(tmp_path, folder):
    made = mn.RecordsMmap.from_generator(tmp_path / "a", [{"text": "a"}, {"text": None}])

    with pytest.raises(ValueError, match="column 'text': sample 1 is null, which no file holds; leave it out with"):
        mn.export(made, folder / "out")
    assert list(folder.iterdir()) == []


def test_empty_dataset_becomes_an_empty_folder(tmp_path, folder):
    mn.export(mn.StringsMmap.from_strings(tmp_path / "a", []), folder / "out")

    assert list((folder / "out").iterdir()) == []


# ---- WebDataset


def test_each_column_has_files_with_its_name_as_extension(tmp_path, folder):
    columns = {
        "jpg": mn.Bytes(), "raw": mn.Bytes(), "txt": mn.Text(), "title": mn.Text(), "json": mn.Json(),
        "boxes": mn.Json(), "cls": mn.Scalar("u1"), "label": mn.Scalar(">i8"), "score": mn.Scalar("f4"),
        "yes": mn.Scalar("?"),
        "pixels": mn.Array((2, 2), ">u2"), "ids": mn.Ragged("i4"), "day": mn.Scalar("M8[D]"), "of": {"a b": mn.Text()},
    }  # fmt: skip
    sample = {
        "jpg": b"\xff\xd8", "raw": b"\0", "txt": "ein Text", "title": "zwölf", "json": {"a": [1, None]}, "boxes": [],
        "cls": 7, "label": -(2**63), "score": np.float32(0.1), "yes": True, "pixels": np.eye(2, dtype="u2"),
        "ids": np.arange(3), "day": np.datetime64("2020-02-29"), "of": {"a b": "nested"},
    }  # fmt: skip
    made = mn.RecordsMmap.create(tmp_path / "a", columns)
    made.append(sample)

    mn.export(made, folder / "a.tar")

    found = dict(members(folder / "a.tar"))
    arrays = {name: np.load(io.BytesIO(found.pop(f"000000.{name}.npy"))) for name in ("pixels", "ids", "day")}
    for name, array in arrays.items():
        assert (array.dtype, array.tolist()) == (made[name].dtype, np.asarray(made[name][0]).tolist())
    assert np.float32(json.loads(found.pop("000000.score.json"))) == np.float32(0.1)
    assert json.loads(found.pop("000000.json")) == {"a": [1, None]}
    assert found == {
        "000000.jpg": b"\xff\xd8", "000000.raw.bin": b"\0", "000000.txt": b"ein Text",
        "000000.title.txt": "zwölf".encode(), "000000.cls": b"7", "000000.label.cls": b"-9223372036854775808",
        "000000.yes.json": b"true", "000000.boxes.json": b"[]", "000000.of.a b.txt": b"nested",
    }  # fmt: skip


def test_files_of_a_sample_stand_together_in_the_order_of_samples(tmp_path, folder):
    rows = [{"txt": f"text {number}", "cls": number} for number in range(1200)]

    mn.export(mn.RecordsMmap.from_generator(tmp_path / "a", rows), folder / "a.tar")

    names = [name for name, _ in members(folder / "a.tar")]
    assert names == [f"{number:06}.{extension}" for number in range(1200) for extension in ("txt", "cls")]


@pytest.mark.parametrize("column", ["key", "__key__"])
def test_keys_are_a_column(tmp_path, folder, column):
    keys = ["a", "dir/b", "ünicode " + "long" * 60]

    mn.export(named(tmp_path / "a", keys, column), folder / "a.tar")

    assert members(folder / "a.tar") == [(f"{key}.text", f"of {key}".encode()) for key in keys]


@pytest.mark.parametrize(
    ("key", "told"),
    [("a.b", "has a dot, which WebDataset takes"), ("../a", "leads out of"), ("", "is empty"), ("x", "names sample 0")],
)
def test_keys_that_readers_would_take_for_others_are_refused(tmp_path, folder, key, told):
    with pytest.raises(ValueError, match=f"column 'key': sample 2: {re.escape(repr(key))} {told}"):
        mn.export(named(tmp_path / "a", ["x", "dir.d/y", key], "key"), folder / "a.tar")

    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("cls", "sample", "name", "content"),
    [
        (mn.StringsMmap, "a", "000000.txt", b"a"),
        (mn.BytesMmap, b"\0", "000000.bin", b"\0"),
        (mn.ArrayMmap, np.int64(5), "000000.cls", b"5"),
    ],
)
def test_other_kinds_have_the_extension_alone(tmp_path, folder, cls, sample, name, content):
    mn.export(cls.from_generator(tmp_path / "a", [sample]), folder / "a.tar")

    assert members(folder / "a.tar") == [(name, content)]


def test_null_has_no_file_and_a_sample_has_one(tmp_path, folder):
    made = mn.RecordsMmap.from_generator(
        tmp_path / "a", [{"a": "x", "b": None}, {"a": None, "b": None}, {"a": "y", "b": "z"}]
    )

    mn.export(made.select([0, 2]), folder / "a.tar")

    assert members(folder / "a.tar") == [("000000.a.txt", b"x"), ("000001.a.txt", b"y"), ("000001.b.txt", b"z")]
    with pytest.raises(ValueError, match="sample 1 is null, and would be missing in a tar"):
        mn.export(made, folder / "b.tar")
    assert [path.name for path in folder.iterdir()] == ["a.tar"]


def test_what_a_tar_cannot_hold_is_told(tmp_path, folder):
    columns = {"a/b": mn.Text(), "x": mn.Array((1,), ml_dtypes.bfloat16), "y": mn.Scalar("f8"), "z": mn.Text()}
    made = mn.RecordsMmap.create(tmp_path / "a", columns)
    made.append({"a/b": "", "x": np.zeros(1, ml_dtypes.bfloat16), "y": np.nan, "z": ""})

    with pytest.raises(ValueError, match="column 'a/b': cannot be the extension of a file; rename the column"):
        mn.export(made, folder / "a.tar")
    with pytest.raises(TypeError, match="column 'x': .npy cannot hold arrays of bfloat16"):
        mn.export(made, folder / "a.tar", columns=["x", "z"])
    with pytest.raises(ValueError, match="column 'y': sample 0: Out of range float values are not JSON compliant"):
        mn.export(made, folder / "a.tar", columns=["y", "z"])
    assert list(folder.iterdir()) == []


def test_the_same_samples_make_the_same_tar(tmp_path, folder):
    made = named(tmp_path / "a", ["a", "b"], "key")

    mn.export(made, folder / "a.tar")
    mn.export(made, folder / "b.tar")

    assert (folder / "a.tar").read_bytes() == (folder / "b.tar").read_bytes()


def test_empty_dataset_becomes_an_empty_tar(tmp_path, folder):
    mn.export(mn.StringsMmap.from_strings(tmp_path / "a", []), folder / "a.tar")

    assert members(folder / "a.tar") == []
