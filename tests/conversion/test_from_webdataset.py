import gzip
import io
import json
import os
import subprocess
import sys
import tarfile

import numpy as np
import pytest
import webdataset
import zstandard

import mmap_ninja as mn


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def write(path, files):
    """A tar of files by name; a name may come twice."""
    path.parent.mkdir(exist_ok=True)
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in files:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


SAMPLE = [("a.txt", b"text a"), ("a.cls", b"3"), ("b.cls", b"4\n"), ("b.txt", b"text b")]
RECORDS = [{"key": "a", "cls": 3, "txt": "text a"}, {"key": "b", "cls": 4, "txt": "text b"}]


def test_what_webdataset_writes(tmp_path):
    path = tmp_path / "in.tar"
    with webdataset.TarWriter(str(path)) as writer:
        for n in range(4):
            sample = {
                "__key__": f"d/{n:03d}",
                "txt": f"tëxt {n}",
                "cls": -n,
                "json": {"n": [n, None]},
                "jpg": b"\xff\xd8",
            }
            writer.write({**sample, "npy": np.full(n, n, "f4"), "pyd": {n: n}, "seg.png": b"png", "transcript": "hi"})

    ds = mn.convert(path, tmp_path / "out")

    assert list(ds["key"]) == [f"d/{n:03d}" for n in range(4)]
    assert list(ds["txt"]) == [f"tëxt {n}" for n in range(4)]
    assert list(ds["cls"]) == [0, -1, -2, -3]
    assert list(ds["json"]) == [{"n": [n, None]} for n in range(4)]
    assert [array.tolist() for array in ds["npy"]] == [[n] * n for n in range(4)]
    assert ds["npy"].dtype == np.float32
    assert ds[2]["jpg"] == b"\xff\xd8"
    assert ds[2]["seg"] == {"png": b"png"}
    assert ds[2]["transcript"] == "hi"
    assert isinstance(ds[2]["pyd"], bytes)


def test_files_of_a_sample_may_come_in_any_order(tmp_path):
    assert list(mn.convert(write(tmp_path / "in.tar", SAMPLE), tmp_path / "out")) == RECORDS


def test_other_members_are_no_samples(tmp_path):
    path = tmp_path / "in.tar"
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT, pax_headers={"comment": "a global header"}) as tar:
        for kind, name in (
            (tarfile.DIRTYPE, "./d"), (tarfile.REGTYPE, "./d/.hidden.txt"), (tarfile.REGTYPE, "./._a.txt"),
            (tarfile.REGTYPE, "README"), (tarfile.SYMTYPE, "./d/link.txt"), (tarfile.LNKTYPE, "./d/hard.txt"),
            (tarfile.REGTYPE, "./d.v1/a.TXT"), (tarfile.REGTYPE, "./d.v1/" + "ü" * 150 + ".txt"),
        ):  # fmt: skip
            member = tarfile.TarInfo(name)
            member.type, member.linkname, data = kind, "d.v1/a.TXT", b"some text" if kind == tarfile.REGTYPE else b""
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))

    ds = mn.convert(path, tmp_path / "out")

    assert list(ds) == [{"key": "d.v1/a", "txt": "some text"}, {"key": "d.v1/" + "ü" * 150, "txt": "some text"}]


def test_a_missing_extension_is_a_null(tmp_path):
    files = [("a.txt", b"a"), ("a.json", b"{}"), ("b.txt", b"b"), ("c.json", b"[1]"), ("c.npy", npy(np.ones(2)))]

    ds = mn.convert(write(tmp_path / "in.tar", files), tmp_path / "out")

    assert [(sample["txt"], sample["json"]) for sample in ds] == [("a", {}), ("b", None), (None, [1])]
    assert [array is None for array in ds["npy"]] == [True, True, False]


def test_types_can_be_declared(tmp_path):
    files = [("a.txt", b"1.5"), ("a.id", b"x17"), ("a.npy", npy(np.eye(2, dtype="f4"))), ("a.class", b"yes")]
    columns = {"txt": mn.Scalar("float32"), "id": mn.Text(), "npy": mn.Array((2, 2), "f4"), "class": mn.Bytes()}

    ds = mn.convert(write(tmp_path / "in.tar", files), tmp_path / "out", columns=columns)

    assert (ds[0]["txt"], ds[0]["id"], ds[0]["class"]) == (1.5, "x17", b"yes")
    assert ds["npy"].shape == (1, 2, 2)


@pytest.mark.parametrize("name", ["in.tar.gz", "in.tgz", "in.tar.zst", "in.tar"])
def test_packed_tars(tmp_path, name):
    plain = write(tmp_path / "plain", SAMPLE).read_bytes()
    packed = zstandard.compress(plain) if name.endswith("zst") else gzip.compress(plain)
    (tmp_path / name).write_bytes(packed)

    assert list(mn.convert(tmp_path / name, tmp_path / "out")) == RECORDS


def test_shards_are_read_in_their_order(tmp_path):
    for shard in range(3):
        write(tmp_path / "in" / f"train-{shard:03d}.tar", [(f"{n}.cls", b"%d" % (10 * shard + n)) for n in range(2)])

    ds = mn.convert(tmp_path / "in", tmp_path / "out")

    assert list(ds["cls"]) == [0, 1, 10, 11, 20, 21]
    assert list(ds["key"]) == ["0", "1"] * 3


def test_braces_stand_for_shards(tmp_path):
    for shard in range(8, 12):
        write(tmp_path / f"train-{shard:03d}.tar", [("a.cls", b"%d" % shard)])

    ds = mn.convert(tmp_path / "train-{009..011}.tar", tmp_path / "out")

    assert list(ds["cls"]) == [9, 10, 11]
    with pytest.raises(FileNotFoundError, match="train-012.tar: expected a file or folder to convert, found nothing"):
        mn.convert(tmp_path / "train-{009..013}.tar", tmp_path / "more")


@pytest.mark.parametrize(
    ("files", "what", "first", "second", "left"),
    [
        ([*SAMPLE, ("a.txt", b"again")], "key 'a'", 0, 4096, ["a", "b"]),
        ([("a.txt", b"a"), ("b.txt", b"b"), ("a.cls", b"1"), ("c.txt", b"")], "key 'a'", 0, 2048, ["a", "b", "c"]),
        ([("b.cls", b"1"), ("a.txt", b"a"), ("a.TXT", b"again")], "file 'a.TXT'", 1024, 2048, ["b"]),
    ],
)
def test_a_key_twice_is_named_with_both_places_and_can_be_left_out(tmp_path, files, what, first, second, left):
    path = write(tmp_path / "in.tar", files)

    with pytest.raises(ValueError, match=f"in.tar: {what}: is at byte {first} and again at byte {second}; the files"):
        mn.convert(path, tmp_path / "out")
    with pytest.warns(match="1 sample was left out"):
        ds = mn.convert(path, tmp_path / "skipped", on_error="skip")

    assert list(ds["key"]) == left


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("c.txt", b"b\xffd", "in.tar: file 'c.txt': byte 1 is 0xff: expected text in UTF-8"),
        ("c.json", b'{"a": ', r"in.tar: file 'c.json': expected JSON, found b'{\"a\": ' \(Expecting value"),
        ("c.json", b'"\xff"', r"in.tar: file 'c.json': expected JSON, found .* can't decode byte 0xff in pos"),
        ("c.cls", b"cat", r"in.tar: file 'c.cls': expected a number, int64, found b'cat'"),
        ("c.npy", b"\x80\x04K\x01.", "in.tar: file 'c.npy': cannot be read as an array"),
        ("c.npy", b"", "in.tar: file 'c.npy': cannot be read as an array"),
        (
            "c.npy",
            npy(np.array([{}], dtype=object)),
            "in.tar: file 'c.npy': cannot be read as an array .*objects of Python",
        ),
        ("c.key", b"", "in.tar: file 'c.key': column 'key' is that of the keys; rename the file"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_and_can_be_left_out(tmp_path, name, data, message):
    path = write(tmp_path / "in.tar", [*SAMPLE, (name, data)])

    with pytest.raises(ValueError, match=message):
        mn.convert(path, tmp_path / "out")
    with pytest.warns(match="1 sample was left out"):
        ds = mn.convert(path, tmp_path / "skipped", on_error="skip")

    assert [sample["key"] for sample in ds] == ["a", "b"]


def damaged(data, at):
    return data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1 :]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data[: 3 * 1024 + 515], "unexpected end of data, after byte 3072"),
        (lambda data: data[: 3 * 1024 + 100], "truncated header, after byte 2048"),
        (lambda data: data[: 4 * 1024], "empty header, after byte 3072"),
        (lambda data: damaged(data, 3 * 1024 + 20), "bad checksum, after byte 2048"),
        (lambda data: data + data, "more data follows its end mark, as in two tars in one file, after byte 3072"),
        (lambda _: b"", "empty header, after byte 0"),
        (lambda _: b"no tar" * 1000, "invalid header, after byte 0"),
        (lambda data: gzip.compress(data)[:-20], ", after byte"),
        (lambda data: damaged(gzip.compress(data), -5 % len(gzip.compress(data))), ", after byte"),
        (lambda data: zstandard.compress(data)[:-20], ", after byte"),
    ],
)
def test_a_tar_that_is_not_whole_is_refused(tmp_path, change, message):
    path = write(tmp_path / "in.tar", SAMPLE)
    path.write_bytes(change(path.read_bytes()))

    with pytest.raises(ValueError, match=f"in.tar: is no whole tar: .*{message}.*; copy or write it again"):
        mn.convert(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_truncated_tar_can_be_left_out_with_its_last_sample(tmp_path):
    path = write(tmp_path / "in" / "0.tar", [*SAMPLE, ("c.cls", b"5"), ("c.txt", b"x" * 2000)])
    os.truncate(path, 6 * 1024)
    write(tmp_path / "in" / "1.tar", SAMPLE)

    with pytest.warns(match="1 sample was left out"):
        ds = mn.convert(tmp_path / "in", tmp_path / "out", on_error="skip")

    assert list(ds["key"]) == ["a", "b", "a", "b"]


def test_a_sample_that_differs_from_the_first_is_named(tmp_path):
    files = [(f"{n:04d}.txt", b"text") for n in range(1100)]
    path = write(tmp_path / "in.tar", [*files, ("new.cls", b"1")])

    with pytest.raises(ValueError, match=f"in.tar, byte {1100 * 1024}"):
        mn.convert(path, tmp_path / "out")


def test_an_interrupted_conversion_resumes(tmp_path):
    files = [(f"{n:04d}.{end}", b"%d" % n) for n in range(1500) for end in ("cls", "json")]
    path = write(tmp_path / "in.tar", files)
    whole = mn.convert(path, tmp_path / "whole")
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 3 // 4])
    with pytest.raises(ValueError, match="is no whole tar"):
        mn.convert(path, tmp_path / "out")
    path.write_bytes(data)

    ds = mn.convert(path, tmp_path / "out", if_exists="resume")

    assert list(ds) == list(whole)
    assert ds[1400] == {"key": "1400", "cls": 1400, "json": 1400}


def test_memory_does_not_grow_with_the_tar(tmp_path):
    """The members that `tarfile` keeps would take more than a kilobyte each."""
    code = (
        "import resource, sys, mmap_ninja as mn; mn.convert(sys.argv[1], sys.argv[2]);"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    used = []
    for count in (1000, 6000):
        path = write(tmp_path / f"{count}.tar", [(f"{n:06d}.txt", b"") for n in range(count)])
        command = [sys.executable, "-c", code, path, tmp_path / f"out{count}"]
        used.append(int(subprocess.run(command, capture_output=True, check=True, text=True).stdout))

    assert used[1] - used[0] < 5000 * (1 if sys.platform == "linux" else 1024)


def test_an_end_that_tells_only_the_type_is_none_of_the_name(tmp_path):
    files = [("a.label.cls", b"1"), ("a.Seg.JSON", b"2.5"), ("a.in.txt", b"x"), ("a.in.npy", npy(np.ones(2))),
             ("a.id.txt", b"y"), ("a.id.png", b"z"), ("a.txt", b"t")]  # fmt: skip

    ds = mn.convert(write(tmp_path / "in.tar", files), tmp_path / "out")

    assert set(ds.columns) == {"key", "label", "Seg", "in.txt", "in.npy", "id.txt", "id.png", "txt"}
    assert (ds[0]["label"], ds[0]["Seg"], ds[0]["id"]) == (1, 2.5, {"txt": "y", "png": b"z"})


@pytest.mark.parametrize(
    ("values", "spec"),
    [
        ((1, 2), mn.Scalar(np.dtype("int64"))),
        ((1, 2.5), mn.Scalar(np.dtype("float64"))),
        ((True, False), mn.Scalar(np.dtype("bool"))),
        ((True, 1), mn.Json()),
        ((1, "a"), mn.Json()),
        ((1, None), mn.Json()),
    ],
)
def test_json_of_numbers_makes_numbers(tmp_path, values, spec):
    files = [(f"{place}.score.json", json.dumps(value).encode()) for place, value in enumerate(values)]

    ds = mn.convert(write(tmp_path / "in.tar", files), tmp_path / "out")

    assert ds.schema["score"] == spec
    assert list(ds["score"]) == list(values)


def test_a_column_is_declared_by_its_name(tmp_path):
    path = write(tmp_path / "in.tar", [("a.label.cls", b"1"), ("b.label.cls", b"2")])

    for name in ("label", "label.cls"):
        ds = mn.convert(path, tmp_path / name, columns={name: mn.Scalar("uint8")})
        assert (ds.columns, ds[name].dtype) == (["key", name], np.uint8)
