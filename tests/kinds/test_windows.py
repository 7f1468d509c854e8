"""Windows over the elements of 1-D samples, compared with slices of plain arrays."""

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmap_ninja import CorruptDatasetError, RaggedMmap
from support.faults import overwrite

ROWS = [np.arange(k * 10, k * 10 + k, dtype=np.int32) for k in (3, 0, 5, 1, 4)]
TOKENS = np.concatenate(ROWS)


@pytest.fixture
def rows(tmp_path):
    return RaggedMmap.from_lists(tmp_path / "ds", ROWS)


def across(rows, length, stride):
    tokens = np.concatenate(rows)
    return [tokens[at : at + length].tolist() for at in range(0, len(tokens) - length + 1, stride)]


def within(rows, length, stride):
    return [row[at : at + length].tolist() for row in rows for at in range(0, len(row) - length + 1, stride)]


@pytest.mark.parametrize("expected", [across, within])
@given(lengths=st.lists(st.integers(0, 9), min_size=1, max_size=6), length=st.integers(1, 5), stride=st.integers(1, 7))
def test_windows_are_slices(tmp_path_factory, expected, lengths, length, stride):
    samples = [np.arange(k * 10, k * 10 + size, dtype=np.int16) for k, size in enumerate(lengths)]
    stored = RaggedMmap.from_lists(tmp_path_factory.mktemp("windows") / "ds", samples, dtype=np.int16)

    windows = stored.windows(length, stride, within_samples=expected is within)

    wanted = expected(samples, length, stride)
    assert len(windows) == len(wanted)
    assert [window.tolist() for window in windows] == wanted
    assert windows.take(slice(None)).tolist() == wanted
    assert windows.take(list(range(len(wanted)))[::-1]).shape == (len(wanted), length)
    assert windows[-2:].tolist() == wanted[-2:]


def test_stride_is_the_length_by_default(rows):
    assert rows.windows(4).take(slice(None)).tolist() == TOKENS[:12].reshape(3, 4).tolist()


def test_single_windows_are_read_only_views_and_batches_are_owned(rows):
    windows = rows.windows(2)

    assert not windows[0].flags.writeable
    assert windows.take([0]).flags.writeable
    assert [window.tolist() for window in windows.__getitems__([1, 0])] == [[32, 50], [30, 31]]
    out = np.zeros((2, 2), np.int32)
    assert windows.take([1, -1], out=out) is out
    assert out.tolist() == [[32, 50], windows[-1].tolist()]


def test_windows_keep_their_snapshot(rows):
    windows = rows.windows(4)
    rows.append(np.arange(100, dtype=np.int32))
    rows.close()

    assert len(windows) == 3
    assert windows[2].tolist() == TOKENS[8:12].tolist()


@pytest.mark.parametrize("within_samples", [False, True])
def test_windows_of_views_and_pickled_windows(rows, within_samples):
    windows = rows.select(slice(2, None)).windows(2, 1, within_samples=within_samples)
    expected = (within if within_samples else across)(ROWS[2:], 2, 1)
    windows.take([0])

    assert windows.take(slice(None)).tolist() == expected
    assert pickle.loads(pickle.dumps(windows)).take(slice(None)).tolist() == expected
    assert len(pickle.dumps(windows)) < 1024


def test_windows_within_the_samples_of_a_view_by_indices(rows):
    view = rows.select([4, 0, 4])

    assert view.windows(2, 2, within_samples=True).take(slice(None)).tolist() == within(
        [ROWS[4], ROWS[0], ROWS[4]], 2, 2
    )
    with pytest.raises(ValueError, match="is not contiguous in the payload; pass within_samples=True"):
        view.windows(2)


@pytest.mark.parametrize("arguments", [(0,), (-1,), (2, 0), (2, -1)])
def test_bad_length_or_stride_raises(rows, arguments):
    with pytest.raises(ValueError, match="expected at least 1 each"):
        rows.windows(*arguments)


@pytest.mark.parametrize("index", [3, -4, 10**20])
def test_index_out_of_range_raises(rows, index):
    with pytest.raises(IndexError, match="is out of range for 3 windows"):
        rows.windows(4)[index]


def test_take_out_of_range_raises(rows):
    for wrong in (3, -4):
        with pytest.raises(IndexError, match="is out of range for 3 windows"):
            rows.windows(4).take([0, wrong])


def test_samples_of_other_ranks_have_no_windows(tmp_path):
    for samples, found in [([np.ones((2, 2))], "rank 2"), ([1.0], "rank 0"), ([1.0, [1.0]], "several ranks")]:
        with pytest.raises(ValueError, match=f"windows: expected samples of rank 1, found {found}"):
            RaggedMmap.from_lists(tmp_path / "ds", samples).windows(2)


def test_empty_dataset_has_no_windows(tmp_path):
    windows = RaggedMmap(tmp_path / "none").windows(3)

    assert (len(windows), list(windows), windows.take([]).shape) == (0, [], (0, 3))
    assert repr(windows) == f"Windows('{tmp_path}/none', 0 windows of 3, stride 3)"


def test_damaged_offsets_raise(rows):

    overwrite(rows.path / "c0.offsets-1", 8, (2**62).to_bytes(8, "little"))
    damaged = RaggedMmap(rows.path)

    with pytest.raises(CorruptDatasetError, match="are not within the payload"):
        damaged.windows(2, within_samples=True).take(slice(None))
