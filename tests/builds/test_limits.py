"""Batches of builds end at a number of samples or of bytes, so that a build takes little memory."""

import array
import subprocess
import sys
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image

import mmap_ninja as mn
from mmap_ninja import ArrayMmap, BytesMmap, RaggedMmap, RecordsMmap, StringsMmap, _kernel
from mmap_ninja.builds import build, paced
from mmap_ninja.columns import limits
from mmap_ninja.kinds import memmaps
from mmap_ninja.parallel import make_indexable


class Named(NamedTuple):
    text: str
    numbers: Any


@dataclass
class Typed:
    text: str
    numbers: Any


@dataclass(slots=True)
class Slotted:
    text: str
    numbers: Any


class Lazy:
    """A sample that tells its size only when it is converted."""

    def __init__(self, size):
        self.size = size

    def __array__(self, dtype=None, copy=None):
        return np.ones(self.size, np.uint8)


@pytest.fixture
def batches(monkeypatch):
    """The number of samples of each commit of builds."""
    counts = []
    append = build.Build.append

    def noted(self, encode, rows):
        counts.append(rows)
        append(self, encode, rows)

    monkeypatch.setattr(build.Build, "append", noted)
    return counts


SAMPLES = {  # of about 1000 bytes
    "text": (StringsMmap, "x" * 1000),
    "text of wide characters": (StringsMmap, "日" * 500),
    "bytes": (BytesMmap, b"x" * 1000),
    "bytearray": (BytesMmap, bytearray(1000)),
    "memoryview": (BytesMmap, memoryview(bytes(1000))),
    "array": (ArrayMmap, np.zeros((10, 25), np.float32)),
    "list of numbers": (RaggedMmap, [1.5] * 62),
    "list of lists": (RaggedMmap, [[1] * 6] * 9),
    "image": (RaggedMmap, Image.new("L", (40, 25))),
    "array of the standard library": (RaggedMmap, array.array("d", [1.5] * 125)),
    "record": (RecordsMmap, {"text": "x" * 800, "of": {"numbers": np.zeros(20)}}),
    "json": (RecordsMmap, {"boxes": [{"class": "x" * 450, "box": [1, 2]}, {"class": "x" * 450, "box": []}]}),
    "named tuple": (RecordsMmap, Named("x" * 800, np.zeros(20))),
    "dataclass": (RecordsMmap, Typed("x" * 800, np.zeros(20))),
    "dataclass with slots": (RecordsMmap, Slotted("x" * 800, np.zeros(20))),
}


@pytest.mark.parametrize("name", SAMPLES)
def test_batch_ends_when_its_samples_reach_the_bytes(tmp_path, batches, name):
    cls, sample = SAMPLES[name]

    dataset = cls.from_generator(tmp_path / "ds", iter([sample] * 25), batch_bytes=9_500)

    assert len(dataset) == 25
    assert batches[:2] in ([10, 10], [9, 9], [11, 11])
    assert sum(batches) == 25


def test_batch_that_reaches_no_bytes_ends_at_its_number_of_samples(tmp_path, batches):
    StringsMmap.from_generator(tmp_path / "ds", ["", *["x"] * 24], batch_size=10)

    assert batches == [10, 10, 5]


def test_sample_larger_than_the_bytes_ends_a_batch(tmp_path, batches):
    texts = ["a", "b" * 1000, "c" * 1000, "d", "e"]

    assert list(StringsMmap.from_strings(tmp_path / "ds", texts, batch_bytes=100)) == texts
    assert batches == [2, 1, 2]


def test_samples_that_tell_no_size_are_measured_when_they_are_encoded(tmp_path, batches):
    RaggedMmap.from_generator(tmp_path / "ds", [Lazy(1000)] * 25, batch_bytes=10_000)

    assert batches == [1, 10, 10, 4]


@pytest.mark.parametrize("size", [16, 10_000])
def test_lists_that_contain_themselves_are_measured_and_refused(tmp_path, size):
    endless = []
    endless += [endless, endless]

    with pytest.raises(ValueError, match="ircular|dimension|inhomogeneous"):
        RecordsMmap.from_generator(tmp_path / "ds", [{"any": endless}], columns={"any": mn.Json()}, batch_bytes=size)


def test_attributes_of_a_sample_that_raise_do_not_end_a_build(tmp_path):
    class Broken(Lazy):
        @property
        def nbytes(self):
            raise OSError("no size")

    class Misleading(Lazy):
        nbytes = "many"

    assert len(RaggedMmap.from_generator(tmp_path / "ds", [Broken(3), Misleading(4)])) == 2


def test_interrupt_while_a_sample_is_measured_ends_the_build(tmp_path):
    class Interrupted(Lazy):
        @property
        def nbytes(self):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        RaggedMmap.from_generator(tmp_path / "ds", [Interrupted(3)])


def test_arrays_and_columns_are_cut_by_bytes(tmp_path, batches):
    rows = np.arange(25 * 250, dtype=np.float32).reshape(25, 250)
    texts = np.array(["x" * 1000] * 25, object)

    assert (ArrayMmap.from_ndarray(tmp_path / "rows", rows, batch_bytes=10_000)[:] == rows).all()
    RecordsMmap.from_columns(tmp_path / "both", {"rows": rows, "texts": list(texts)}, batch_bytes=20_500)
    RecordsMmap.from_columns(tmp_path / "texts", {"texts": texts}, batch_bytes=10_500)

    assert batches == [6, 9, 10] * 3  # 25 are halved twice, 19 once


def test_columns_of_datasets_are_cut_by_bytes_before_they_are_read(tmp_path, batches, monkeypatch):
    rows = RaggedMmap.from_lists(tmp_path / "rows", [np.full(1000, k % 250, np.uint8) for k in range(100)])
    batches.clear()
    asked = []
    get_many = RaggedMmap._get_many
    monkeypatch.setattr(RaggedMmap, "_get_many", lambda self, key: asked.append(key) or get_many(self, key))

    copied = RecordsMmap.from_columns(tmp_path / "ds", {"rows": rows}, batch_bytes=10_000)

    assert max(key.stop - key.start for key in asked) <= 10
    assert (max(batches), sum(batches)) == (9, 100)  # of 1000 bytes and their offsets
    assert [row.tolist() for row in copied["rows"]] == [row.tolist() for row in rows]


def test_tables_of_arrow_are_cut_by_bytes(tmp_path, batches):
    pa = pytest.importorskip("pyarrow")
    texts = [f"{k:1000}" for k in range(25)]
    types = [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())]

    for number, of in enumerate(types):
        batches.clear()
        column = pa.array(texts).cast(of) if of != types[-1] else pa.array(texts).dictionary_encode()
        table = pa.table({"text": column, "numbers": pa.array([[1, 2]] * 25, pa.list_view(pa.int64()))})
        stored = RecordsMmap.from_arrow(tmp_path / f"{number}", table, batch_bytes=10_000)
        assert list(stored["text"]) == texts
        assert (max(batches), sum(batches)) == (9, 25), of


def test_functions_of_the_inherited_module_bound_their_batches(tmp_path, batches, monkeypatch):
    monkeypatch.setattr(memmaps, "BATCH_BYTES", 10_000)
    rows = np.zeros((25, 250), np.float32)

    mn.np_from_ndarray(tmp_path / "a", rows)
    mn.np_from_generator(tmp_path / "b", iter(rows), 1024)

    assert batches == [6, 9, 10, 10, 10, 5]


def test_added_column_is_encoded_in_bounded_batches(tmp_path, monkeypatch):
    monkeypatch.setattr("mmap_ninja.engine.added_column._BYTES_AT_ONCE", 10_000)
    records = RecordsMmap.from_columns(tmp_path / "ds", {"n": np.arange(30)})
    del records[::6]
    texts = [f"{k:1000}" for k in range(25)]
    counts = []
    note = limits.Limits.note
    monkeypatch.setattr(limits.Limits, "note", lambda self, *args: counts.append(args[0]) or note(self, *args))

    records.add_column("text", texts)
    records.add_column("row", [np.full(k % 2 * 1000, k, np.uint8) for k in range(25)])

    assert list(records["text"]) == texts
    assert [len(row) for row in records["row"]] == [k % 2 * 1000 for k in range(25)]
    assert max(counts) < 30


@pytest.mark.parametrize("batch_bytes", [10_000, 64 << 20])
def test_chunks_of_workers_are_bounded_in_bytes(tmp_path, batches, monkeypatch, batch_bytes):
    """Also where the samples are suddenly much larger than those before."""
    monkeypatch.setattr(paced.Pace, "useful_jobs", lambda pace, left: 2)
    monkeypatch.setattr(paced.Pace, "rows", lambda pace, left: min(left, 100))

    def sample(index):
        return bytes([index % 251]) * (1000 if index > 300 else 1)

    blobs = BytesMmap.from_indexable(tmp_path / "ds", make_indexable(sample, 500), n_jobs=2, batch_bytes=batch_bytes)

    assert list(blobs) == [sample(index) for index in range(500)]
    assert max(batches) == 100
    assert (batches[-1] <= 10) == (batch_bytes == 10_000)


def test_expected_size_of_chunks_follows_the_bytes(tmp_path):
    for chunk_bytes in (1000, 100_000):
        pace = paced.Pace(1024, chunk_bytes, 2)
        pace.note(100, 1e-6, 100 * 100)
        assert pace.rows(None) == min(chunk_bytes // 100, 400)


@pytest.mark.parametrize(
    ("batch_bytes", "error"), [(0, ValueError), (-1, ValueError), (1 << 63, ValueError), (1.5, TypeError)]
)
def test_impossible_bytes_are_refused(tmp_path, batch_bytes, error):
    with pytest.raises(error, match=f"batch_bytes {batch_bytes}: expected at least 1|integer"):
        StringsMmap.from_strings(tmp_path / "ds", ["a"], batch_bytes=batch_bytes)

    assert list(tmp_path.iterdir()) == []


def test_values_are_measured_in_memory():
    nothing = object()

    sizes = [
        _kernel.size_of(value, 1000, 7) for value in ("abc", "日本", b"12", None, 5, nothing, [nothing, 1], {1: "ab"})
    ]

    assert sizes == [3, 4, 2, 8, 8, 7, 8 + 7 + 8 + 8, 8 + 2]


@pytest.mark.parametrize("kind", ["ragged", "array", "indexable", "record"])
def test_build_of_large_images_takes_little_memory(tmp_path, kind):
    """A bug once: 1,024 images of 1 MB were kept, and then encoded, before any of them was written."""
    code = f"""
import resource, numpy as np, mmap_ninja as mn
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> {"20" if sys.platform == "darwin" else "10"}
def image(index): return np.full((1000, 1000), index % 256, np.uint8)
images = map(image, range(300))
before = peak()
match {kind!r}:
    case "ragged": mn.RaggedMmap.from_generator("ds", images, durability="process")
    case "array": mn.ArrayMmap.from_generator("ds", images, durability="process")
    case "indexable": mn.RaggedMmap.from_indexable("ds", mn.parallel.make_indexable(image, 300), durability="process")
    case "record": mn.RecordsMmap.from_generator("ds", ({{"image": i, "n": 1}} for i in images), durability="process")
print(peak() - before)
"""

    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)

    assert int(done.stdout) < 200  # MiB
