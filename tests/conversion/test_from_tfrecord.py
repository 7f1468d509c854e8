import base64
import gzip
import os
import struct
import sys

import google_crc32c
import numpy as np
import pytest

import mmap_ninja as mn


def framed(record):
    length = struct.pack("<Q", len(record))
    return length + masked(length) + record + masked(record)


def masked(data):
    crc = google_crc32c.value(data)
    return struct.pack("<I", (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF)


def varint(number):
    number &= (1 << 64) - 1
    data = bytearray()
    while number > 127:
        data.append(number & 127 | 128)
        number >>= 7
    return bytes([*data, number])


def part(field, data):
    return varint(field << 3 | 2) + varint(len(data)) + data


def feature(values):
    """A tf.train.Feature; floats and integers are packed, as by TensorFlow."""
    if values is None:
        return b""
    if all(isinstance(value, bytes) for value in values) and values:
        return part(1, b"".join(part(1, value) for value in values))
    if all(isinstance(value, float) for value in values) and values:
        return part(2, part(1, struct.pack(f"<{len(values)}f", *values)))
    return part(3, part(1, b"".join(map(varint, values))) if values else b"")


def example(**features):
    entries = (part(1, name.encode()) + part(2, feature(values)) for name, values in features.items())
    return part(1, b"".join(part(1, entry) for entry in entries))


def write(path, records, opener=open):
    path.parent.mkdir(exist_ok=True)
    with opener(path, "wb") as file:
        file.writelines(map(framed, records))
    return path


EXAMPLES = [
    example(
        image=[b"\xff\xd8" + bytes(n)], label=[-n], score=[n / 2], ids=list(range(n)), box=[0.5] * 4, words=[b"a", b"b"]
    )
    for n in range(5)
]


def test_features_are_columns(tmp_path):
    ds = mn.convert(write(tmp_path / "in.tfrecord", EXAMPLES), tmp_path / "out")

    assert ds[3]["image"] == b"\xff\xd8\0\0\0"
    assert list(ds["label"]) == [0, -1, -2, -3, -4]
    assert (ds["label"].dtype, ds["score"].dtype, ds["ids"][0].dtype) == (np.int64, np.float32, np.int64)
    assert [ids.tolist() for ids in ds["ids"]] == [list(range(n)) for n in range(5)]
    assert ds[0]["box"].tolist() == [0.5] * 4
    assert ds[0]["words"] == ["a", "b"]


def test_types_can_be_declared(tmp_path):
    columns = {"image": mn.Bytes(), "box": mn.Array((2, 2), "float64"), "label": mn.Scalar("int8"), "words": mn.Json()}
    records = [
        example(text=["ä".encode()], box=[0.0, 1.0, 2.0, 3.0], image=[b"\xff"], label=[n], words=[1]) for n in range(3)
    ]

    ds = mn.convert(write(tmp_path / "in.tfrecord", records), tmp_path / "out", columns={**columns, "text": mn.Text()})

    assert (ds[0]["text"], ds[0]["words"]) == ("ä", [1])
    assert ds[2]["box"].tolist() == [[0, 1], [2, 3]]
    assert ds["label"].dtype == np.int8


def test_what_an_example_lacks_is_a_null_or_empty(tmp_path):
    records = [example(label=[1], ids=[1, 2], name=[b"x"]), example(ids=None), example(label=[], name=[b"y"])]

    ds = mn.convert(write(tmp_path / "in.tfrecord", records), tmp_path / "out")

    assert [sample["label"] for sample in ds] == [1, None, None]
    assert [sample["name"] for sample in ds] == [b"x", None, b"y"]
    assert [sample["ids"].tolist() for sample in ds] == [[1, 2], [], []]


def test_names_may_be_those_of_python(tmp_path):
    ds = mn.convert(write(tmp_path / "in.tfrecord", [example(**{"class": [1], "image/def": [2]})]), tmp_path / "out")

    assert ds[0] == {"class": 1, "image/def": 2}


@pytest.mark.parametrize("records", [[b"hello", b"world"], [b"", b""], [b"\x0a\x00\x12\x00"], [part(2, b"")]])
def test_other_records_are_bytes(tmp_path, records):
    ds = mn.convert(write(tmp_path / "in.tfrecords", records), tmp_path / "out")

    assert type(ds) is mn.BytesMmap
    assert list(ds) == records


def test_a_record_of_tensorflow(tmp_path):
    """The record "foo" with which Apache Beam tests that it reads what TensorFlow writes."""
    (tmp_path / "in.tfrecord").write_bytes(base64.b64decode("AwAAAAAAAACwmUkOZm9vYYq+/g=="))

    assert list(mn.convert(tmp_path / "in.tfrecord", tmp_path / "out")) == [b"foo"]


def test_examples_can_be_kept_as_bytes(tmp_path):
    ds = mn.convert(write(tmp_path / "in.tfrecord", EXAMPLES), tmp_path / "out", kind="bytes")

    assert list(ds) == EXAMPLES


def test_an_empty_file(tmp_path):
    assert len(mn.convert(write(tmp_path / "in.tfrecord", []), tmp_path / "out")) == 0


@pytest.mark.parametrize(
    "name", ["in.tfrecord.gz", "in.tfrecords", "train-00000-of-00001", "in.tfrecord-00000-of-00001.gz"]
)
def test_packed_files(tmp_path, name):
    ds = mn.convert(write(tmp_path / name, EXAMPLES, gzip.open), tmp_path / "out")

    assert list(ds["label"]) == [0, -1, -2, -3, -4]


def test_shards_are_read_in_their_order(tmp_path):
    for number in range(3):
        write(
            tmp_path / "in" / f"train.tfrecord-0000{number}-of-00003", [example(n=[10 * number + k]) for k in range(2)]
        )
    (tmp_path / "in" / "README.md").write_text("no shard")

    ds = mn.convert(tmp_path / "in", tmp_path / "out")
    one = mn.convert(tmp_path / "in" / "train.tfrecord-00001-of-00003", tmp_path / "one")

    assert list(ds["n"]) == [0, 1, 10, 11, 20, 21]
    assert list(one["n"]) == [10, 11]


@pytest.mark.parametrize("first", [0, 1])
def test_shards_without_a_suffix(tmp_path, first):
    """The names of ImageNet's files; some programs count from 1."""
    for number in (first, first + 1):
        write(tmp_path / "v1.0" / f"train-{number:05d}-of-00002", [example(n=[number])])

    assert list(mn.convert(tmp_path / "v1.0", tmp_path / "out")["n"]) == [first, first + 1]


def test_braces_stand_for_shards(tmp_path):
    for number in range(3):
        write(tmp_path / f"a.tfrecord-0000{number}-of-00003", [example(n=[number])])

    ds = mn.convert(tmp_path / "a.tfrecord-{00001..00002}-of-00003", tmp_path / "out")

    assert list(ds["n"]) == [1, 2]


def test_a_missing_shard_is_named(tmp_path):
    for number in (0, 2):
        write(tmp_path / "in" / f"train.tfrecord-0000{number}-of-00003", EXAMPLES)

    with pytest.raises(
        ValueError, match="in/train.tfrecord-00001-of-00003: expected 3 files, found 2 without this one"
    ):
        mn.convert(tmp_path / "in", tmp_path / "out")


def test_a_damaged_record_is_named_and_can_be_left_out(tmp_path):
    path = write(tmp_path / "in.tfrecord", EXAMPLES)
    start = sum(len(framed(record)) for record in EXAMPLES[:2])
    data = bytearray(path.read_bytes())
    data[start + 20] ^= 1
    path.write_bytes(data)

    with pytest.raises(ValueError, match=rf"in.tfrecord, byte {start}: a record of \d+ bytes is damaged: its CRC"):
        mn.convert(path, tmp_path / "out")
    with pytest.warns(match="1 sample was left out"):
        ds = mn.convert(path, tmp_path / "skipped", on_error="skip")

    assert list(ds["label"]) == [0, -1, -3, -4]


def test_a_damaged_length_ends_its_file_only(tmp_path):
    first, _ = (write(tmp_path / "in" / f"{name}.tfrecord", EXAMPLES) for name in "ab")
    start = len(framed(EXAMPLES[0]))
    data = bytearray(first.read_bytes())
    data[start + 1] ^= 1
    first.write_bytes(data)

    with pytest.raises(ValueError, match=f"a.tfrecord, byte {start}: expected a record of TFRecord"):
        mn.convert(tmp_path / "in", tmp_path / "out")
    with pytest.warns(match="1 sample was left out"):
        ds = mn.convert(tmp_path / "in", tmp_path / "skipped", on_error="skip")

    assert list(ds["label"]) == [0, 0, -1, -2, -3, -4]


@pytest.mark.parametrize("size", [-1, -4, -5, -40])
def test_a_truncated_file_is_refused(tmp_path, size):
    path = write(tmp_path / "in.tfrecord", EXAMPLES)
    start = sum(len(framed(record)) for record in EXAMPLES[:-1])
    os.truncate(path, path.stat().st_size + size)

    with pytest.raises(ValueError, match=f"in.tfrecord, byte {start}: the file ends within a record"):
        mn.convert(path, tmp_path / "out")


def test_a_truncated_packed_file_is_refused(tmp_path):
    path = write(tmp_path / "in.tfrecord.gz", [os.urandom(3000) for _ in range(3)], gzip.open)
    os.truncate(path, 8000)

    with pytest.raises(ValueError, match=r"in.tfrecord.gz, byte \d+ of what is packed in it: cannot be unpacked"):
        mn.convert(path, tmp_path / "out")


@pytest.mark.parametrize(
    ("later", "message"),
    [
        ({"n": [1, 2]}, r"feature 'n': found 2 values of int64_list, which is none for mn.Scalar\('int64'\)"),
        ({"n": [b"1"]}, r"feature 'n': found 1 values of bytes_list, which is none for mn.Scalar"),
        ({"n": [1], "new": [1]}, r"features \['new'\] are in none of the first examples"),
        ({}, "column 'n': sample 1100: is None"),
    ],
)
def test_an_example_that_differs_from_the_first_is_named(tmp_path, later, message):
    records = [example(n=[k]) for k in range(1100)]
    path = write(tmp_path / "in.tfrecord", [*records, example(**later)])
    start = sum(len(framed(record)) for record in records)

    with pytest.raises((TypeError, ValueError), match=message) as raised:
        mn.convert(path, tmp_path / "out")
    assert f"in.tfrecord, byte {start}" in str(raised.value)

    with pytest.warns(match="1 sample was left out"):
        assert len(mn.convert(path, tmp_path / "skipped", on_error="skip")) == 1100


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ([example(x=[1]), example(x=[0.5])], "feature 'x': expected values of one type .*, found float_list and int64"),
        ([example(x=None)], "feature 'x': expected values of one type in the first examples, found no value"),
        (
            [example(x=[b"a", b"\xff"])],
            "feature 'x': no column holds several bytes a sample, only texts: byte 0 is 0xff",
        ),
    ],
)
def test_a_feature_without_a_column_is_named(tmp_path, records, message):
    with pytest.raises(ValueError, match=f"in.tfrecord: {message}"):
        mn.convert(write(tmp_path / "in.tfrecord", records), tmp_path / "out")


def test_text_that_is_no_utf8_is_named(tmp_path):
    path = write(tmp_path / "in.tfrecord", [example(text=[b"b\xffd"])])

    with pytest.raises(ValueError, match="in.tfrecord, byte 0: feature 'text': byte 1 is 0xff"):
        mn.convert(path, tmp_path / "out", columns={"text": mn.Text()})


def test_an_interrupted_conversion_resumes(tmp_path):
    path = write(tmp_path / "in.tfrecord", [example(n=[n], ids=[n] * (n % 3)) for n in range(3000)])
    whole = mn.convert(path, tmp_path / "whole")
    half = path.read_bytes()
    path.write_bytes(half[: len(half) * 3 // 4])
    with pytest.raises(ValueError, match="ends within a record"):
        mn.convert(path, tmp_path / "out")
    path.write_bytes(half)

    ds = mn.convert(path, tmp_path / "out", if_exists="resume")

    assert [repr(sample) for sample in ds] == [repr(sample) for sample in whole]


def test_a_missing_library_names_the_extra(tmp_path, monkeypatch):
    path = write(tmp_path / "in.tfrecord", EXAMPLES)
    monkeypatch.setitem(sys.modules, "google.protobuf", None)

    with pytest.raises(ImportError, match=r'in.tfrecord: needs google.protobuf: pip install "mmap_ninja\[tfrecord\]"'):
        mn.convert(path, tmp_path / "out")
