"""The files are as docs/format.md specifies, compared with a reader that only follows that page."""

import json
import re
import struct
import uuid
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmap_ninja import (
    Array,
    Bytes,
    BytesMmap,
    CorruptDatasetError,
    FormatVersionError,
    Json,
    Ragged,
    RecordsMmap,
    Scalar,
    StringsMmap,
    Text,
    _kernel,
)
from mmap_ninja.format.meta import decode_meta, first_columns, new_meta
from support import reference_reader

FORMAT_PAGE = Path(__file__).parents[2] / "docs" / "format.md"


def test_reference_reader_reads_strings_of_all_widths(tmp_path):
    samples = ["", "plain", "größer", "日本語", "😀", "x" * 100_000]

    StringsMmap.from_strings(tmp_path / "ds", samples)

    assert reference_reader.read(tmp_path / "ds") == samples


def test_reference_reader_reads_bytes_after_appends(tmp_path):
    samples = [bytes(range(256)) * 300, b"", b"\xff\xfe"]
    dataset = BytesMmap(tmp_path / "ds")

    for sample in samples:
        dataset.append(sample)

    assert reference_reader.read(tmp_path / "ds") == samples


@given(batches=st.lists(st.lists(st.binary(max_size=200_000), max_size=3), max_size=4), flush=st.booleans())
def test_reference_reader_agrees_whatever_the_batches(tmp_path_factory, batches, flush):
    path = tmp_path_factory.mktemp("format") / "ds"
    dataset = BytesMmap.from_bytes(path, [b"first"])

    for batch in batches:
        dataset.extend(batch)
        if flush:
            dataset.flush()

    assert reference_reader.read(path) == [b"first", *(sample for batch in batches for sample in batch)]


EDITS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 30), st.integers(1, 4), st.booleans()), max_size=12)


@given(edits=EDITS)
def test_reference_reader_agrees_whatever_is_edited(tmp_path_factory, edits):
    path = tmp_path_factory.mktemp("format") / "ds"
    samples = [bytes([k]) * (k % 5) for k in range(8)]
    dataset = BytesMmap.from_bytes(path, samples)

    for op, first, count, flush in edits:
        piece = slice(first % (len(samples) + 1), first % (len(samples) + 1) + count)
        if op == 0:
            del dataset[piece], samples[piece]
        else:
            new = [b"new" * first] * len(samples[piece])
            dataset[piece] = new
            samples[piece] = new
            dataset.append(b"end" * op)
            samples.append(b"end" * op)
        if flush:
            dataset.flush()

    assert reference_reader.read(path) == samples


def test_reference_reader_reads_records(tmp_path):
    columns = {
        "text": Text(codec="zstd"),
        "blob": Bytes(nullable=True),
        "meta": {"json": Json(nullable=True), "n": Scalar("<i4", nullable=True), "box": Array((2,), "<f8")},
        "rows": Ragged("<u2", nullable=True),
    }
    samples = [
        {
            "text": f"text {k} " * 20,
            "blob": None if k % 3 == 0 else b"x" * k,
            "meta": {"json": [k, {"a": None}] if k % 2 else None, "n": None if k == 4 else k, "box": [k, k / 2]},
            "rows": None if k == 5 else np.full((k, 2), k, "<u2"),
        }
        for k in range(9)
    ]
    records = RecordsMmap.from_generator(tmp_path / "ds", samples, columns=columns, batch_size=4)
    del records[2]
    records[1] = samples[7]
    records.add_column("more", list("abcdefgh"))
    records.drop_column("blob")
    expected = [samples[k] for k in (0, 7, 3, 4, 5, 6, 7, 8)]

    found = reference_reader.read(tmp_path / "ds")

    assert [sample["more"] for sample in found] == list("abcdefgh")
    for sample, wanted in zip(found, expected, strict=True):
        assert sample["text"] == wanted["text"]
        assert sample["meta"]["json"] == wanted["meta"]["json"]
        assert sample["meta"]["n"] == (
            None if wanted["meta"]["n"] is None else ((), struct.pack("<i", wanted["meta"]["n"]))
        )
        assert sample["meta"]["box"] == ((2,), struct.pack("<2d", *wanted["meta"]["box"]))
        rows = wanted["rows"]
        assert sample["rows"] == (None if rows is None else (rows.shape, rows.astype("<u2").tobytes()))


def test_two_writers_in_turn_keep_digest_and_sums_right(tmp_path):
    first = StringsMmap.from_strings(tmp_path / "ds", ["start"])
    second = StringsMmap(tmp_path / "ds")

    for number in range(40):
        (first, second)[number % 2].append(f"{number} " + "x" * 5000)

    assert len(reference_reader.read(tmp_path / "ds")) == 41


def test_hex_dump_of_the_page_matches_the_written_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(uuid, "uuid4", lambda: uuid.UUID(bytes=bytes(range(16))))
    StringsMmap.from_strings(tmp_path / "ds", ["ninja", "né"]).close()
    page = FORMAT_PAGE.read_text()

    dumps = re.findall(r"```hexdump (\S+) (\d+)\n(.*?)```", page, re.DOTALL)
    (meta,) = re.findall(r"```json meta-1.json\n(.*?)\n```", page, re.DOTALL)

    assert [(name, int(offset)) for name, offset, _ in dumps] == [
        ("COMMIT", 4096),
        ("c0.data-1", 0),
        ("c0.offsets-1", 0),
    ]
    for name, offset, dump in dumps:
        cells = [cell for line in dump.splitlines() for cell in line.split("  ", 1)[1].split("  |")[0].split()]
        written = (tmp_path / "ds" / name).read_bytes()[int(offset) :]
        assert len(cells) == (256 if name == "COMMIT" else len(written))
        # ".." is for bytes that differ between machines: boot id, device, inode, and the checksum over them
        different = [at for at, cell in enumerate(cells) if cell not in ("..", f"{written[at]:02x}")]
        assert different == [], name
    assert (tmp_path / "ds" / "meta-1.json").read_text() == meta
    assert [(tmp_path / "ds" / name).read_bytes() for name in ("edits-1", "sums-1", "LOCK")] == [b""] * 3


def test_meta_round_trips():
    meta = new_meta("bytes", 3, bytes(range(16)), first_columns("bytes"), {"source": "web", "nested": {"a": [1, None]}})

    assert decode_meta(meta.encode(), "meta") == meta


META = json.loads(new_meta("strings", 1, bytes(16), first_columns("strings"), {}).encode())


WIDE = {"id": 0, "name": "", "type": "array", "dtype": "<i4", "shape": [0, 1 << 62], "declared": False, "sealed": True}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"uuid": "xyz"}, "32 hexadecimal digits"),
        ({"uuid": 5}, "uuid is 5 where str"),
        ({"generation": -1}, "generation is -1 where a number from 0 to 2\\^63"),
        ({"generation": True}, "generation is True where int"),
        ({"kind": "pickles"}, "kind 'pickles' where one of"),
        ({"columns": []}, "one text column"),
        ({"columns": [{"id": 0, "name": ""}]}, "id, name and type"),
        (
            {"columns": [{"id": 0, "name": "", "type": "object"}]},
            "'type': 'object'.* where a type that this version knows",
        ),
        ({"kind": "array", "columns": [WIDE]}, "column"),
        ({"columns": [{"id": 0, "name": "", "type": "binary"}]}, "one text column without a name for kind 'strings'"),
        ({"files": []}, "files of the roles \\['data', 'offsets', 'edits', 'sums'\\], in this order"),
        ({"files": META["files"][::-1]}, "in this order"),
        ({"files": [META["files"][0] | {"id": 0}, *META["files"][1:]]}, "file id 0 where 1 to 65535"),
        ({"files": [META["files"][0] | {"id": 65536}, *META["files"][1:]]}, "file id 65536 where 1 to 65535"),
        ({"metadata": []}, "metadata is \\[\\] where dict"),
        ({"extra": 1}, "keys"),
    ],
)
def test_meta_with_wrong_value_is_refused(change, message):
    data = json.dumps(META | change).encode()

    with pytest.raises(CorruptDatasetError, match=message):
        decode_meta(data, "ds/meta-1.json")


@pytest.mark.parametrize("name", ["../c0.data-1", "/etc/passwd", "c0.data-1/x", "c0.data-", "c0.data-1\0", "c1.data-1"])
def test_meta_with_file_name_of_another_place_is_refused(name):
    files = [META["files"][0] | {"name": name}, *META["files"][1:]]

    with pytest.raises(CorruptDatasetError, match="name made of the file's role"):
        decode_meta(json.dumps(META | {"files": files}).encode(), "ds/meta-1.json")


@pytest.mark.parametrize("change", [{"format": 2}, {"features": 1}])
def test_meta_of_a_newer_version_asks_for_an_upgrade(change):
    with pytest.raises(FormatVersionError, match="upgrade mmap_ninja"):
        decode_meta(json.dumps(META | change).encode(), "ds/meta-1.json")


@given(
    st.fixed_dictionaries(
        {name: st.integers(0, 2**64 - 1) for name in ("seq", "generation", "rows", "edits", "digest", "inode")}
        | {"flags": st.integers(0, 2**32 - 1), "durable": st.booleans(), "uuid": st.binary(min_size=16, max_size=16)}
    )
)
def test_slot_round_trips(fields):
    slot = _kernel.Slot()
    for name, value in fields.items():
        setattr(slot, name, value)

    state, decoded, version = _kernel.decode_slot(_kernel.encode_slot(slot))

    assert (state, version) == ("valid", 1)
    assert {name: getattr(decoded, name) for name in fields} == fields


@given(at=st.integers(0, 255), bit=st.integers(0, 7))
def test_slot_with_any_flipped_bit_is_torn(at, bit):
    data = bytearray(_kernel.encode_slot(_kernel.Slot()))
    data[at] ^= 1 << bit

    state, decoded, _ = _kernel.decode_slot(bytes(data))

    assert (state, decoded) == ("torn", None)


def test_slot_of_zeros_is_empty():
    assert _kernel.decode_slot(bytes(256))[:2] == ("empty", None)
