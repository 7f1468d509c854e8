"""Truncated and missing files: refused, or harmless."""

import os
import shutil

import numpy as np
import pytest

from mmap_ninja import CorruptDatasetError, DatasetTruncatedError, NotADatasetError, StringsMmap
from support.damage import SAMPLES, refuses_all_but
from support.faults import DATA, META, OFFSETS, opened, replace_meta


@pytest.mark.parametrize("name", [DATA, OFFSETS])
def test_truncated_payload_or_offsets_raise_at_every_length(path, name):
    content = (path / name).read_bytes()

    for length in range(len(content)):
        (path / name).write_bytes(content[:length])
        message = rf"{name}: {length} bytes where the commit needs {len(content)};"
        with pytest.raises(DatasetTruncatedError, match=message):
            StringsMmap(path)

    (path / name).write_bytes(content)
    assert list(StringsMmap(path)) == SAMPLES


def test_refresh_after_a_truncated_file_was_put_back_reads_it(path):
    texts = StringsMmap(path)
    shutil.copy(path / DATA, path.parent / "copy")
    os.truncate(path / DATA, 0)
    os.rename(path.parent / "copy", path / DATA)

    texts.refresh()

    assert list(texts) == SAMPLES


def test_truncated_sums_raise(tmp_path):
    StringsMmap.from_strings(tmp_path, ["x" * 200_000]).close()
    os.truncate(tmp_path / "sums-1", 71)

    with pytest.raises(DatasetTruncatedError, match="sums-1: 71 bytes where the commit needs 72"):
        StringsMmap(tmp_path)


def test_truncated_commit_is_refused_or_harmless_at_many_lengths(path):
    content = (path / "COMMIT").read_bytes()
    refused = []

    for length in [
        0,
        1,
        8,
        251,  # without the checksum
        256,
        257,
        4095,
        4096,
        4097,
        4351,
        4352,
        8192,
        8447,
        8448,
        12_288,
        12_543,
        12_544,
        16_383,
    ]:
        (path / "COMMIT").write_bytes(content[:length])
        if refuses_all_but(path, [SAMPLES]):
            refused.append(length)
            continue
        with pytest.raises(DatasetTruncatedError, match="COMMIT file holds .* bytes where the commit needs 16384"):
            opened(path).append("lost")

    assert refused == [0, 1, 8, 251]


def test_refused_append_to_truncated_commit_leaks_no_descriptors(path):
    """A bug once: each attempt leaked six descriptors of a log."""
    os.truncate(path / "COMMIT", 9000)
    texts = StringsMmap(path)
    before = len(os.listdir("/proc/self/fd"))

    for _ in range(3):
        with pytest.raises(DatasetTruncatedError, match="COMMIT"):
            texts.append("lost")

    assert len(os.listdir("/proc/self/fd")) <= before  # fewer if garbage of other tests goes meanwhile


def test_truncated_meta_raises_at_many_lengths(path):
    content = (path / META).read_bytes()

    for length in [0, 1, 2, 10, len(content) // 2, len(content) - 1]:
        (path / META).write_bytes(content[:length])
        with pytest.raises(CorruptDatasetError, match="meta-1.json: checksum .* where the commit has"):
            StringsMmap(path)
        replace_meta(path, content[:length])
        with pytest.raises(CorruptDatasetError, match="meta-1.json: invalid JSON"):
            StringsMmap(path)


@pytest.mark.parametrize("name", [DATA, OFFSETS, "edits-1", "sums-1", META])
def test_missing_file_raises(path, name):
    os.remove(path / name)

    with pytest.raises(CorruptDatasetError, match=f"a file of its newest commit is missing .*{name}"):
        StringsMmap(path)


def test_missing_lock_reads_but_refuses_to_append(path):
    os.remove(path / "LOCK")
    texts = StringsMmap(path)

    with pytest.raises(
        NotADatasetError, match="LOCK: is missing, so nothing can be written; create it as an empty file"
    ):
        texts.append("lost")

    assert list(texts) == SAMPLES


def test_batches_of_a_payload_truncated_under_the_handle_raise(path):
    texts, numbers = StringsMmap(path), np.arange(len(SAMPLES))
    os.truncate(path / "c0.data-1", 0)

    for read in (
        lambda: texts.take(numbers),
        lambda: texts.take_jagged(numbers),
        lambda: list(texts),
        lambda: "x" in texts,
        lambda: texts.byte_lengths,
        lambda: texts[:],
    ):
        with pytest.raises(DatasetTruncatedError, match="its data file holds 0 bytes where the commit needs"):
            read()


def test_commit_file_truncated_under_a_writer_raises(path):
    texts = StringsMmap(path)
    texts.append("x")
    os.truncate(path / "COMMIT", 4096)

    with pytest.raises(DatasetTruncatedError, match="its COMMIT file holds 4096 bytes"):
        texts.append("y")
