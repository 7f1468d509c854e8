"""Hostile meta files and directories: no file outside is opened, nothing blocks, no memory is allocated."""

import json
import os
import sys

import pytest

from mmap_ninja import CorruptDatasetError, NotADatasetError, StringsMmap
from support.damage import SAMPLES
from support.faults import DATA, META, OFFSETS, in_child, replace_meta


def meta_with(path, **changes):
    """The meta file's content with some keys replaced."""
    return json.dumps(json.loads((path / META).read_bytes()) | changes).encode()


def files_with(path, **changes):
    """The meta file's content with the payload's entry changed."""
    document = json.loads((path / META).read_bytes())
    document["files"][0] |= changes
    return json.dumps(document).encode()


HOSTILE = {
    "empty": lambda path: b"",
    "list": lambda path: b"[]",
    "number": lambda path: b"1",
    "nan": lambda path: meta_with(path, metadata={"a": float("nan")}),
    "infinity": lambda path: meta_with(path, metadata={"a": float("-inf")}),
    "duplicate key": lambda path: b'{"format": 1, "format": 1}',
    "deep list": lambda path: b"[" * 100_000 + b"]" * 100_000,
    "deep dict": lambda path: b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "deep metadata": lambda path: meta_with(path, metadata={"a": json.loads("[" * 40 + "]" * 40)}),
    "huge number": lambda path: meta_with(path).replace(b'"generation": 1', b'"generation": ' + b"9" * 5000),
    "no utf-8": lambda path: meta_with(path, metadata={"a": "b"}).replace(b'"b"', b'"\xff"'),
    "missing key": lambda path: b'{"format": 1, "features": 0}',
    "extra key": lambda path: meta_with(path, more=1),
    "format zero": lambda path: meta_with(path, format=0),
    "format text": lambda path: meta_with(path, format="1"),
    "uuid short": lambda path: meta_with(path, uuid="00"),
    "uuid number": lambda path: meta_with(path, uuid=0),
    "negative generation": lambda path: meta_with(path, generation=-1),
    "boolean generation": lambda path: meta_with(path, generation=True),
    "kind unknown": lambda path: meta_with(path, kind="pickles"),
    "kind list": lambda path: meta_with(path, kind=["strings"]),
    "kind dict": lambda path: meta_with(path, kind={}),
    "no columns": lambda path: meta_with(path, columns=[]),
    "columns dict": lambda path: meta_with(path, columns={}),
    "column number": lambda path: meta_with(path, columns=[1]),
    "column of bytes": lambda path: meta_with(path, columns=[{"id": 0, "name": "", "type": "binary"}]),
    "column type list": lambda path: meta_with(path, columns=[{"id": 0, "name": "", "type": ["text"]}]),
    "column type unknown": lambda path: meta_with(path, columns=[{"id": 0, "name": "", "type": "pickle"}]),
    "no files": lambda path: meta_with(path, files=[]),
    "file number": lambda path: meta_with(path, files=[1]),
    "metadata list": lambda path: meta_with(path, metadata=[]),
    "id twice": lambda path: files_with(path, id=2),
    "id huge": lambda path: files_with(path, id=2**64),
    "id text": lambda path: files_with(path, id="1"),
    "other role": lambda path: files_with(path, role="offsets"),
    "column huge": lambda path: files_with(path, name=f"c{'9' * 5000}.data-1"),
    "column of other digits": lambda path: files_with(path, name="c٠.data-1"),
    **{
        f"name {name!r}": lambda path, name=name: files_with(path, name=name)
        for name in [
            "", ".", "..", "../x", "../ds/c0.data-1", "/etc/passwd", "a/b", "c0.data-1/", "./c0.data-1", "c0.data-1\n",
            "c0.data-1\0", "C0.DATA-1", "COMMIT", "LOCK", META, "c1.data-1", "sums-1", "c0.data--1", "c0.data-1.json",
        ]
    },
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_meta_raises(path, name):
    replace_meta(path, HOSTILE[name](path))

    with pytest.raises(CorruptDatasetError, match=r"meta-1.json: .* expected; restore the file from a copy"):
        StringsMmap(path)


def test_huge_meta_raises_without_being_parsed(path):
    content = meta_with(path, metadata={"a": "x" * (16 << 20)})
    replace_meta(path, content)

    with pytest.raises(CorruptDatasetError, match="meta-1.json: .* restore the file from a copy"):
        StringsMmap(path)


def test_hostile_names_open_nothing_outside(path):
    names = ["../x", "/etc/passwd", "../../../etc/passwd", "..", "a/b"]

    def opened_paths():
        seen = []
        sys.addaudithook(lambda event, args: event == "open" and seen.append(str(args[0])))
        for name in names:
            replace_meta(path, pristine)
            replace_meta(path, files_with(path, name=name))
            seen.append("begin")
            with pytest.raises(CorruptDatasetError):
                StringsMmap(path)
            seen.append("end")
        return seen

    pristine = (path / META).read_bytes()
    seen = in_child(opened_paths)

    assert seen.count("begin") == len(names)
    inside, of_datasets = False, []
    for name in seen:
        inside = name == "begin" or (inside and name != "end")
        of_datasets += [name] if inside and name != "begin" else []
    assert {os.path.basename(name) for name in of_datasets} == {"COMMIT", META}


@pytest.mark.parametrize("name", [DATA, OFFSETS, "edits-1", "sums-1", META, "COMMIT"])
@pytest.mark.parametrize("what", ["symlink", "fifo", "directory"])
def test_irregular_file_raises_without_waiting(path, tmp_path, name, what):
    os.rename(path / name, tmp_path / "moved")
    if what == "symlink":
        os.symlink(tmp_path / "moved", path / name)
    elif what == "fifo":
        os.mkfifo(path / name)
    else:
        os.mkdir(path / name)

    error = NotADatasetError if (name, what) == ("COMMIT", "symlink") else CorruptDatasetError
    with pytest.raises(error, match=f"{name}: expected a regular file"):
        StringsMmap(path)


def test_symlinked_lock_refuses_to_append(path, tmp_path):
    os.rename(path / "LOCK", tmp_path / "LOCK")
    os.symlink(tmp_path / "LOCK", path / "LOCK")
    texts = StringsMmap(path)

    with pytest.raises(CorruptDatasetError, match="LOCK: expected a regular file"):
        texts.append("lost")


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"a": "x" * (9 << 20)}, "metadata: got 9437.* bytes of JSON, expected at most 8388608"),
        ({"a": json.loads("[" * 32 + "]" * 32)}, "metadata: nested deeper than 32"),
        ({"a": "\ud800"}, "metadata: .*surrogates not allowed; expected values that JSON can hold"),
        ({"a": float("nan")}, "metadata: .*expected values that JSON can hold"),
    ],
    ids=["large", "deep", "surrogate", "nan"],
)
def test_metadata_that_could_not_be_read_back_touches_nothing(tmp_path, metadata, message):
    """A bug once: it was written, and then the dataset could not be opened."""
    with pytest.raises(ValueError, match=message):
        StringsMmap.from_strings(tmp_path / "ds", SAMPLES, metadata=metadata)

    assert os.listdir(tmp_path) == []


def test_largest_metadata_comes_back(tmp_path):
    metadata = {"a": json.loads("[" * 30 + "]" * 30), "b": [0] * 1_677_000}  # 8 MiB less 3.4 kB

    StringsMmap.from_strings(tmp_path / "ds", SAMPLES, metadata=metadata)

    assert StringsMmap(tmp_path / "ds").metadata == metadata
