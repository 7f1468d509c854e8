"""Reads a dataset as docs/format.md describes, with struct and json only, without maps or mmap_ninja."""

import base64
import itertools
import json
import math
import re
import struct
from pathlib import Path

import google_crc32c
import xxhash

SLOT = struct.Struct("<8sHHIIIQQQQQQ16s16sQQQQQQQQI")
FIELDS = [
    "magic",
    "version",
    "kind",
    "features",
    "flags",
    "reserved",
    "seq",
    "generation",
    "rows",
    "edits",
    "durable_rows",
    "durable_edits",
    "uuid",
    "boot",
    "device",
    "inode",
    "digest",
    "meta_digest",
    "mount",
    "disk",
    "content",
    "edits_end",
    "carries",
]
SUMS = 1  # a slot carries a content sum
FAST, DURABLE = 1, 2
BLOCK = 65536


def read_slots(path: Path) -> list[dict]:
    """The intact slots of a commit file, newest first."""
    data = path.read_bytes()
    assert len(data) == 16384
    slots = []
    for place in range(4):
        raw = data[place * 4096 : place * 4096 + 256]
        (checksum,) = struct.unpack("<I", raw[252:])
        if checksum != google_crc32c.value(raw[:252]) or raw[:8] != b"MMNINJA\n":
            continue
        slot = dict(zip(FIELDS, SLOT.unpack(raw[: SLOT.size]), strict=True))
        assert slot["version"] == 1
        assert slot["reserved"] == 0
        assert not any(raw[SLOT.size : 252])
        assert slot["kind"] == (FAST if place < 2 else DURABLE)
        assert slot["carries"] in (0, SUMS)
        slots.append(slot)
    return sorted(slots, key=lambda slot: (slot["seq"], slot["kind"]), reverse=True)


def read_meta(directory: Path, slot: dict) -> dict:
    """The meta of the generation that a slot names."""
    data = (directory / f"meta-{slot['generation']}.json").read_bytes()
    assert xxhash.xxh64_intdigest(data) == slot["meta_digest"]
    meta = json.loads(data)
    assert meta["format"] == 1
    assert meta["features"] == 0
    assert bytes.fromhex(meta["uuid"]) == slot["uuid"]
    assert meta["generation"] == slot["generation"]
    for file in meta["files"]:
        assert re.fullmatch(r"((c\d+\.(data|offsets|sizes|shapes|nulls)|edits|sums)-\d+)|data\.ninja", file["name"])
    return meta


def itemsize(descr) -> int:
    """Bytes of a dtype that is not a structure."""
    return int(re.search(r"\d+", descr)[0]) * (4 if descr[1] == "U" else 1)


def shape_width(column: dict) -> int:
    """Numbers in a row of the shapes file."""
    least, greatest = column["ranks"] or (1, 1)
    return greatest + 1 if least < greatest else greatest if greatest > 1 else 0


def is_summed(meta: dict, file: dict) -> bool:
    """Whether the blocks of a file have sums."""
    column = next((column for column in meta["columns"] if column["id"] == file["column"]), {})
    return file["role"] != "sums" and column.get("sealed", True)


def extents(directory: Path, meta: dict, rows: int, edits: int) -> dict[str, int]:
    """Committed bytes of each file, by name."""
    sizes = {}
    summed = []
    for file in meta["files"]:
        column = next((column for column in meta["columns"] if column["id"] == file["column"]), None)
        if file["role"] == "offsets":
            sizes[file["name"]] = 8 * (rows + 1)
        elif file["role"] == "shapes":
            sizes[file["name"]] = 8 * shape_width(column) * rows
        elif file["role"] == "data" and column["type"] == "array":
            sizes[file["name"]] = rows * itemsize(column["dtype"]) * math.prod(column["shape"]) if rows else 0
        elif file["role"] == "data":
            offsets = next(f for f in meta["files"] if (f["role"], f["column"]) == ("offsets", file["column"]))
            raw = (directory / offsets["name"]).read_bytes()
            (end,) = struct.unpack("<Q", raw[8 * rows : 8 * rows + 8])
            sizes[file["name"]] = end * (itemsize(column["dtype"]) if column.get("dtype") else 1)
        elif file["role"] == "edits":
            sizes[file["name"]] = 32 * edits
        elif file["role"] == "nulls":
            sizes[file["name"]] = rows
        elif file["role"] == "sizes":
            sizes[file["name"]] = 4 * rows
        else:
            sizes[file["name"]] = 24 * sum(sizes[name] // BLOCK for name in summed)
        if is_summed(meta, file):
            summed.append(file["name"])
    return sizes


def digest(directory: Path, meta: dict, slot: dict) -> int:
    """The correct digest of a slot."""
    durable = extents(directory, meta, slot["durable_rows"], slot["durable_edits"])
    ends = extents(directory, meta, slot["rows"], slot["edits"])
    total = 0
    for file in meta["files"]:
        if not is_summed(meta, file):
            continue
        data = (directory / file["name"]).read_bytes()[: ends[file["name"]]]
        for block in range(durable[file["name"]] // BLOCK, -(-len(data) // BLOCK)):
            part = data[block * BLOCK : (block + 1) * BLOCK]
            total += xxhash.xxh64_intdigest(part, seed=file["id"] << 48 | block)
    return total % 2**64


def content(directory: Path, meta: dict, slot: dict) -> tuple[int, int]:
    """The correct content sum of a slot, and hash of the end of the edits file."""
    ends = extents(directory, meta, slot["rows"], slot["edits"])
    total, edits_end = 0, 0
    for file in meta["files"]:
        data = (directory / file["name"]).read_bytes()[: ends[file["name"]]]
        for block in range(-(-len(data) // BLOCK) if is_summed(meta, file) else 0):
            part = data[block * BLOCK : (block + 1) * BLOCK]
            checksum = xxhash.xxh64_intdigest(part, seed=file["id"] << 48 | block)
            total += checksum
            if file["role"] == "edits" and len(part) < BLOCK:
                edits_end = checksum
    return total % 2**64, edits_end


def check_sums(directory: Path, meta: dict, slot: dict) -> int:
    """Compare each entry of the sums file with its block; returns the number of entries."""
    sizes = extents(directory, meta, slot["rows"], slot["edits"])
    names = {file["id"]: file["name"] for file in meta["files"]}
    sums_name = next(file["name"] for file in meta["files"] if file["role"] == "sums")
    lines = list(struct.iter_unpack("<QQQ", (directory / sums_name).read_bytes()[: sizes[sums_name]]))
    seen = {(file, block) for file, block, _ in lines}
    assert len(seen) == len(lines) == sizes[sums_name] // 24
    for file, block, checksum in lines:
        data = (directory / names[file]).read_bytes()[block * BLOCK : (block + 1) * BLOCK]
        assert len(data) == BLOCK
        assert xxhash.xxh64_intdigest(data, seed=file << 48 | block) == checksum
    return len(lines)


def decompress(frames: list[bytes], sizes: tuple[int, ...], codec: dict) -> list[bytes]:
    """The samples of a compressed column; frames must have the stated sizes."""
    import zstandard  # noqa: PLC0415 - only for datasets that need it

    assert codec["name"] == "zstd"
    dictionary = codec["dictionary"] and zstandard.ZstdCompressionDict(base64.b64decode(codec["dictionary"]))
    decompressor = zstandard.ZstdDecompressor(dict_data=dictionary or None)
    samples = [decompressor.decompress(frame) if frame else b"" for frame in frames]
    assert tuple(map(len, samples)) == sizes
    return samples


def read_shapes(directory: Path, names: dict, column: dict, offsets: tuple) -> list[tuple[int, ...]]:
    """The shapes of ragged samples."""
    lengths = [end - start for start, end in itertools.pairwise(offsets)]
    least, greatest = column["ranks"] or (1, 1)
    width = shape_width(column)
    if width == 0:
        return [(length,) if greatest else () for length in lengths]
    raw = (directory / names["shapes"]).read_bytes()[: 8 * width * len(lengths)]
    shapes = list(struct.iter_unpack(f"<{width}Q", raw))
    if least < greatest:
        shapes = [row[1 : 1 + row[0]] for row in shapes]
    assert [math.prod(shape) for shape in shapes] == lengths
    return shapes


def stored_rows(directory: Path, meta: dict, slot: dict) -> list[int]:
    """The row where each sample is stored, in order."""
    name = next(file["name"] for file in meta["files"] if file["role"] == "edits")
    rows = {row: row for row in range(slot["rows"])}
    for op, row, count, new_row in struct.iter_unpack("<QQQQ", (directory / name).read_bytes()[: 32 * slot["edits"]]):
        assert op in (1, 2)
        assert 0 < count <= slot["rows"] - row
        for k in range(count):
            if op == 1:
                del rows[row + k]
            else:
                assert row + count <= new_row <= slot["rows"] - count
                assert row + k in rows
                rows[row + k] = new_row + k
                del rows[new_row + k]
    return list(rows.values())


def read_column(directory: Path, meta: dict, column: dict, rows: int) -> list:
    """All rows of one column."""
    names = {file["role"]: file["name"] for file in meta["files"] if file["column"] == column["id"]}
    payload = (directory / names["data"]).read_bytes()
    if column["type"] == "array":
        size = itemsize(column["dtype"]) * math.prod(column["shape"]) if rows else 0
        samples = [(tuple(column["shape"]), payload[size * k : size * (k + 1)]) for k in range(rows)]
    else:
        offsets = struct.unpack(f"<{rows + 1}Q", (directory / names["offsets"]).read_bytes()[: 8 * (rows + 1)])
        assert offsets[0] == 0
        assert list(offsets) == sorted(offsets)
        unit = itemsize(column["dtype"]) if column.get("dtype") else 1
        samples = [payload[start * unit : end * unit] for start, end in itertools.pairwise(offsets)]
        if column["type"] == "ragged":
            samples = list(zip(read_shapes(directory, names, column, offsets), samples, strict=True))
        if "codec" in column:
            lengths = struct.unpack(f"<{rows}I", (directory / names["sizes"]).read_bytes()[: 4 * rows])
            samples = decompress(samples, lengths, column["codec"])
        if column["type"] in ("text", "json"):
            samples = [sample.decode() for sample in samples]
    if column.get("nullable"):
        nulls = (directory / names["nulls"]).read_bytes()[:rows]
        assert len(nulls) == rows
        samples = [None if null else sample for sample, null in zip(samples, nulls, strict=True)]
    if column["type"] == "json":
        samples = [None if sample is None else json.loads(sample) for sample in samples]
    return samples


def read(directory: Path) -> list:
    """All samples of the newest commit, after checking everything that can be checked."""
    slot = read_slots(directory / "COMMIT")[0]
    meta = read_meta(directory, slot)
    assert digest(directory, meta, slot) == slot["digest"]
    if slot["carries"] & SUMS:
        assert content(directory, meta, slot) == (slot["content"], slot["edits_end"])
    check_sums(directory, meta, slot)
    columns = {column["name"]: read_column(directory, meta, column, slot["rows"]) for column in meta["columns"]}
    stored = stored_rows(directory, meta, slot)
    if meta["kind"] != "records":
        return [columns[""][row] for row in stored]
    return [nested({name: column[row] for name, column in columns.items()}) for row in stored]


def nested(values: dict) -> dict:
    """Values with dotted names as nested dicts."""
    sample = {}
    for name, value in values.items():
        *groups, last = name.split(".")
        node = sample
        for group in groups:
            node = node.setdefault(group, {})
        node[last] = value
    return sample
