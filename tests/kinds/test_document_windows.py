"""Windows that say where the documents in them begin, compared with plain Python."""

import pickle
import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mmap_ninja as mn
from mmap_ninja import CorruptDatasetError, RaggedMmap
from support.attention import described, listed
from support.golden import GOLDEN
from support.kinds import plain


def cut(lengths, length, stride):
    """The lengths of the pieces of documents in each window over all of them."""
    owners = [number for number, size in enumerate(lengths) for _ in range(size)]
    windows = [owners[at : at + length] for at in range(0, len(owners) - length + 1, stride)]
    return [[window.count(owner) for owner in dict.fromkeys(window)] for window in windows]


def check(windows, plain_windows, expected, length):
    """Check windows against those without documents, and the lengths of pieces in each."""
    batch = windows.take(slice(None))
    count = len(batch["cu_seqlens"])

    assert batch["tokens"].tolist() == plain_windows.take(slice(None)).tolist()
    assert listed(batch) == described(expected, length, count)
    for position, lengths in enumerate(expected):
        window = windows[position]
        assert window["tokens"].tolist() == plain_windows[position].tolist()
        assert window["seq_lens"].tolist() == lengths
        parts = described([lengths], length, len(window["cu_seqlens"]))
        assert [window["segment_ids"].tolist()] == parts["segment_ids"]
        assert [window["positions"].tolist()] == parts["positions"]
        assert (window["cu_seqlens"].tolist(), window["max_seqlen"]) == (parts["cu_seqlens"], parts["max_seqlen"])


@pytest.mark.parametrize("read_mode", ["mmap", "pread"])
@pytest.mark.parametrize("within_samples", [False, True])
@given(lengths=st.lists(st.integers(0, 9), min_size=1, max_size=6), length=st.integers(1, 7), stride=st.integers(1, 7))
def test_windows_know_their_documents(tmp_path_factory, read_mode, within_samples, lengths, length, stride):
    path = tmp_path_factory.mktemp("windows") / "ds"
    samples = [np.full(size, number, np.int16) for number, size in enumerate(lengths)]
    RaggedMmap.from_lists(path, samples, dtype=np.int16).close()
    rows = RaggedMmap(path, read_mode=read_mode)

    windows = rows.windows(length, stride, within_samples=within_samples, documents=True)

    plain_windows = rows.windows(length, stride, within_samples=within_samples)
    expected = [[length]] * len(plain_windows) if within_samples else cut(lengths, length, stride)
    check(windows, plain_windows, expected, length)


@pytest.fixture
def rows(tmp_path):
    return RaggedMmap.from_lists(tmp_path / "ds", [[1, 2, 3], [], [4, 5], [6], [7, 8, 9, 10]])


def test_the_rest_of_a_document_is_a_segment_of_its_own(rows):
    batch = rows.windows(5, documents=True).take([1, 0])

    assert batch["tokens"].tolist() == [[6, 7, 8, 9, 10], [1, 2, 3, 4, 5]]
    assert batch["positions"].tolist() == [[0, 0, 1, 2, 3], [0, 1, 2, 0, 1]]
    assert rows.windows(4, documents=True)[1]["positions"].tolist() == [0, 0, 0, 1]


def test_cu_seqlens_has_one_length_for_as_many_windows(rows):
    windows = rows.windows(2, 1, documents=True)

    sizes = {len(windows.take([k, k])["cu_seqlens"]) for k in range(len(windows))}

    assert sizes == {len(windows.select([3]).take([0, 0])["cu_seqlens"])} == {2 * 2 + 1}


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_documents_of_frames_are_counted_along_the_first_axis(tmp_path, stride):
    sizes = [3, 1, 4]
    frames = [np.arange(6 * size, dtype=np.int16).reshape(size, 3, 2) for size in sizes]
    stored = RaggedMmap.from_lists(tmp_path / "frames", frames)

    check(stored.windows(3, stride, documents=True), stored.windows(3, stride), cut(sizes, 3, stride), 3)


@pytest.mark.parametrize("within_samples", [False, True])
def test_views_concatenations_and_pickles_of_windows_know_their_documents(tmp_path, rows, within_samples):
    more = RaggedMmap.from_lists(tmp_path / "more", [[7] * size for size in (1, 1, 1, 3)])
    whole = mn.concat([rows.select(slice(1, None)), mn.concat([more, rows])])
    options = {"length": 3, "stride": 2, "within_samples": within_samples}
    windows, plain_windows = whole.windows(**options, documents=True), whole.windows(**options)
    parts = ([0, 2, 1, 4], [1, 1, 1, 3], [3, 0, 2, 1, 4])
    expected = [lengths for part in parts for lengths in cut(part, 3, 2)]
    if within_samples:
        expected = [[3]] * len(plain_windows)

    check(windows, plain_windows, expected, 3)
    check(pickle.loads(pickle.dumps(windows)), plain_windows, expected, 3)
    order = [3, 0, 1, 3]
    check(windows.select(order), plain_windows.select(order), [expected[k] for k in order], 3)
    check(windows.select(slice(None, None, -1)), plain_windows.select(slice(None, None, -1)), expected[::-1], 3)


def test_windows_within_samples_of_an_edited_dataset_are_one_document_each(rows):
    rows[0] = [11, 12, 13, 14]
    del rows[2]

    windows = rows.windows(2, within_samples=True, documents=True)

    check(windows, rows.windows(2, within_samples=True), [[2]] * 4, 2)
    with pytest.raises(ValueError, match="pass within_samples=True, or call compact first"):
        rows.windows(2, documents=True)


def test_windows_of_directories_of_0_x_know_their_documents():
    flat = RaggedMmap(GOLDEN / "0.9.0-ragged-1d")

    check(flat.windows(2, 1, documents=True), flat.windows(2, 1), cut(flat.lengths.tolist(), 2, 1), 2)


def test_document_windows_are_a_list(rows):
    windows = rows.windows(3, documents=True)

    assert repr(windows) == f"DocumentWindows('{rows.path}', 3 windows of 3, stride 3)"
    assert plain(list(windows)) == plain([windows[k] for k in range(3)]) == plain(windows.__getitems__([0, 1, -1]))
    assert plain(list(reversed(windows))) == plain(list(windows)[::-1])
    assert plain(windows[1:]) == plain(windows[[1, 2]]) == plain(windows.take([1, 2]))
    assert plain(windows[np.int64(1)]) == plain(windows[-2])
    assert (windows.index(windows[2]), windows.count(windows[1]), windows[0] in windows) == (2, 1, True)
    assert [1, 2, 3] not in windows
    assert {} not in windows
    assert windows.map(lambda window: window["max_seqlen"])[[0, 1]] == [3, 2]
    assert len(windows.filter(lambda window: window["max_seqlen"] == 3)) == 2
    for wrong in (3, -4):
        with pytest.raises(IndexError, match="is out of range for 3 windows"):
            windows[wrong]
    with pytest.raises(TypeError, match="expected an index of samples alone"):
        windows[0, 1]


def test_tokens_are_read_into_an_array_and_as_a_dtype(rows):
    windows, out = rows.windows(2, documents=True), np.empty((2, 2), np.int32)

    assert windows.take([0, 1], out=out)["tokens"] is out
    assert windows.take([0], dtype=np.float64)["tokens"].dtype == np.float64
    assert out.tolist() == [[1, 2], [3, 4]]


def test_no_windows_have_no_documents(tmp_path, rows):
    for windows in (RaggedMmap(tmp_path / "none").windows(3, documents=True), rows.windows(99, documents=True)):
        batch = windows.take([])
        assert (len(windows), list(windows)) == (0, [])
        assert batch["tokens"].shape == batch["segment_ids"].shape == (0, windows.length)
        assert listed(batch) == described([], windows.length, 1)


def test_a_batch_beyond_int32_is_refused_before_it_is_read(tmp_path):
    rows = RaggedMmap.from_lists(tmp_path / "ds", [np.zeros(1 << 20, np.uint8)])

    with pytest.raises(ValueError, match=r"fewer than 2\^31 elements in a batch, found 2048 rows of 1048576"):
        rows.windows(1 << 20, documents=True).take([0] * 2048)


def test_documents_that_do_not_follow_each_other_raise(tmp_path):
    shutil.copytree(GOLDEN / "0.9.0-ragged-1d", tmp_path / "ds")
    flat = RaggedMmap(tmp_path / "ds")
    assert len(flat.windows(2, documents=True)) > 0
    flat.close()
    starts = tmp_path / "ds" / "starts" / "data.ninja"
    numbers = np.fromfile(starts, np.int64)
    numbers[1] += 1
    starts.write_bytes(numbers.tobytes())

    with pytest.raises(CorruptDatasetError, match="offset"):
        RaggedMmap(tmp_path / "ds").windows(2, documents=True)
