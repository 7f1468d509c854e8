"""Directories from the first writer of each format version: they must stay readable, with every bit the same."""

import hashlib
import shutil

import numpy as np
import pytest

import mmap_ninja
from mmap_ninja import Array, ArrayMmap, Bytes, BytesMmap, Json, Ragged, RaggedMmap, RecordsMmap, Scalar, StringsMmap
from mmap_ninja import Text as TextColumn
from support.golden import GOLDEN
from support.kinds import plain
from support.reference_reader import read as read_by_the_page

REVIEWS = [f"review {number} of a film that was not {'so ' * (number % 7)}bad" for number in range(200)]
COLUMNS = {
    "text": TextColumn(),
    "packed": TextColumn(codec="zstd", nullable=True),
    "blob": Bytes(nullable=True),
    "tokens": Ragged(np.int32, 1),
    "image": Ragged(np.uint8, nullable=True),
    "inner": {"box": Array((2, 2), np.float32), "extra": Json(), "score": Scalar(np.float64, nullable=True)},
}
# name: (class, options of the build, samples). tests/golden/make_format_1.py made them.
FORMAT_1 = {
    "strings": (StringsMmap, {"metadata": {"language": "de"}}, ["first", "", "größer: äöü", "四", "🥷", "last\n"]),
    "strings-blocks": (StringsMmap, {}, ["first", "0123456789" * 6600, "end"]),
    "strings-zstd": (StringsMmap, {"zstd_level": 3}, ["the same words " * 20, "", "日本 " * 30, "last"]),
    "strings-zstd-dictionary": (StringsMmap, {"zstd_level": 1, "zstd_train_dictionary_size": 512}, REVIEWS),
    "bytes": (BytesMmap, {}, [b"\0\1\2", b"", bytes(range(256)), b"last"]),
    "array": (ArrayMmap, {}, list(np.array([[1, -2], [3, 4], [2**31 - 1, -(2**31)]], np.int32))),
    "array-big-endian": (ArrayMmap, {}, list(np.array([[0.5, -0.0], [np.inf, 1e-300], [2.0, 3.0]], ">f8"))),
    "array-scalars": (ArrayMmap, {}, [np.float32(1.5), np.float32(-2), np.float32(0.1)]),
    "array-dates": (ArrayMmap, {}, list(np.array(["2026-11-26", "1970-01-01", "NaT"], "<M8[D]"))),
    "ragged": (RaggedMmap, {}, [np.arange(n, dtype=np.int16) - 3 for n in (3, 0, 1, 5)]),
    "ragged-2d": (RaggedMmap, {}, [np.full(shape, 1 / 3) for shape in ((2, 3), (1, 1), (0, 4), (3, 2))]),
    "ragged-mixed": (
        RaggedMmap,
        {},
        [np.ones((2, 2), np.uint8), np.arange(3, dtype=np.uint8), np.array(7, np.uint8), np.zeros((1, 2, 3), np.uint8)],
    ),
    "records": (
        RecordsMmap,
        {"columns": COLUMNS},
        [
            {
                "text": "größer " * number,
                "packed": None if number == 1 else "the same words " * (10 * number),
                "blob": None if number == 2 else bytes([number, 255]),
                "tokens": np.arange(number, dtype=np.int32),
                "image": None if number == 0 else np.full((number, 2), 200 + number, np.uint8),
                "inner": {
                    "box": np.array([[number, 0], [0.5, -1]], np.float32),
                    "extra": {"tags": ["a", "ü"], "none": None, "number": number},
                    "score": None if number == 3 else np.float64(number / 3),
                },
            }
            for number in range(5)
        ],
    ),
}


def in_the_readers_form(value):
    """A sample as the reference reader returns it: arrays as shape and bytes."""
    if isinstance(value, dict):
        return {key: in_the_readers_form(inner) for key, inner in value.items()}
    return (value.shape, value.tobytes()) if isinstance(value, np.ndarray | np.generic) else value


def manifest(folder):
    """The checksums of all files of format 1, in the form of `sha256sum`."""
    files = sorted(file for file in folder.glob("format-1-*/*") if file.is_file())
    return [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.relative_to(folder)}" for file in files]


@pytest.mark.parametrize("name", FORMAT_1)
def test_golden_directory_is_read_bit_by_bit(name):
    cls, _, expected = FORMAT_1[name]
    path = GOLDEN / f"format-1-{name}"

    dataset = mmap_ninja.open(path)

    assert type(dataset) is cls
    assert plain(list(dataset)) == plain(expected)
    assert plain([dataset[place] for place in range(len(expected))]) == plain(expected)
    assert plain(dataset.__getitems__(range(len(expected)))) == plain(expected)
    assert dataset.garbage > 0
    assert mmap_ninja.verify(path, "full").ok


@pytest.mark.parametrize("name", FORMAT_1)
def test_golden_directory_is_read_by_the_reference_reader(name):
    _, _, expected = FORMAT_1[name]

    assert read_by_the_page(GOLDEN / f"format-1-{name}") == list(map(in_the_readers_form, expected))


@pytest.mark.parametrize("name", FORMAT_1)
def test_copy_of_golden_directory_is_written_to(tmp_path, name):
    cls, _, expected = FORMAT_1[name]
    path = shutil.copytree(GOLDEN / f"format-1-{name}", tmp_path / "ds")
    dataset = cls(path)

    dataset.extend(expected[:2])
    dataset[0] = expected[0]
    del dataset[1]
    dataset.close()

    after = [expected[0], *expected[2:], *expected[:2]]
    assert plain(list(cls(path))) == plain(after)
    cls(path).compact()
    assert plain(list(cls(path))) == plain(after)
    assert read_by_the_page(path) == list(map(in_the_readers_form, after))
    assert mmap_ninja.verify(path, "full").ok


def test_metadata_of_golden_directory_is_read():
    assert mmap_ninja.open(GOLDEN / "format-1-strings").metadata == {"language": "de"}


def test_golden_directories_of_format_1_are_never_changed():
    assert manifest(GOLDEN) == (GOLDEN / "format-1.sha256").read_text().splitlines()
    assert {path.name for path in GOLDEN.glob("format-1-*")} == {f"format-1-{name}" for name in FORMAT_1}
