"""Windows along the first axis of samples, compared with slices of plain arrays."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mmap_ninja as mn
from mmap_ninja import CorruptDatasetError, RaggedMmap, _kernel
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
@settings(max_examples=30)  # of each
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


@pytest.mark.parametrize("index", [3, -4])
def test_index_out_of_range_raises(rows, index):
    with pytest.raises(IndexError, match="is out of range for 3 windows"):
        rows.windows(4)[index]


def test_take_out_of_range_raises(rows):
    for wrong in (3, -4):
        with pytest.raises(IndexError, match="is out of range for 3 windows"):
            rows.windows(4).take([0, wrong])


@pytest.mark.parametrize(
    ("samples", "found"),
    [
        ([1.0], "one rank, at least 1, found rank 0"),
        ([1.0, [1.0]], "one rank, at least 1, found several ranks"),
        ([np.ones((2, 2)), np.ones((2, 3))], r"that differ in the first axis only.* found \(\*, 2\) and \(\*, 3\)"),
        ([np.ones((2, 0))], r"that differ in the first axis only, and have elements, found \(\*, 0\)"),
    ],
)
@pytest.mark.parametrize("within_samples", [False, True])
def test_samples_without_a_first_axis_in_common_have_no_windows(tmp_path, samples, found, within_samples):
    with pytest.raises(ValueError, match=f"ds: windows: expected samples (of )?{found}"):
        RaggedMmap.from_lists(tmp_path / "ds", samples).windows(2, within_samples=within_samples)


def test_empty_dataset_has_no_windows(tmp_path):
    windows = RaggedMmap(tmp_path / "none").windows(3)

    assert (len(windows), list(windows), windows.take([]).shape) == (0, [], (0, 3))
    assert repr(windows) == f"Windows('{tmp_path}/none', 0 windows of 3, stride 3)"


def test_damaged_offsets_raise(rows):

    overwrite(rows.path / "c0.offsets-1", 8, (2**62).to_bytes(8, "little"))
    damaged = RaggedMmap(rows.path)

    with pytest.raises(CorruptDatasetError, match="are not within the payload"):
        damaged.windows(2, within_samples=True).take(slice(None))


def test_one_window_is_read_by_the_kernel_as_one_sample_is():
    windows, samples = type(RaggedMmap("none").windows(1)), _kernel.Samples

    assert (windows.__getitem__, windows.__iter__, windows.__len__) == (
        samples.__getitem__, samples.__iter__, samples.__len__,
    )  # fmt: skip


def test_numpy_integers_and_tensors_of_one_element_are_indices(rows):
    assert rows.windows(4)[np.int64(1)].tolist() == rows.windows(4)[np.array(1)].tolist() == TOKENS[4:8].tolist()


@pytest.mark.parametrize("expected", [across, within])
@pytest.mark.parametrize("read_mode", ["mmap", "pread"])
@settings(max_examples=30)  # of each
@given(lengths=st.lists(st.integers(0, 6), min_size=1, max_size=5), length=st.integers(1, 4), stride=st.integers(1, 5))
def test_windows_run_along_the_first_axis(tmp_path_factory, expected, read_mode, lengths, length, stride):
    samples = [np.arange(6 * size, dtype=np.int16).reshape(size, 3, 2) + 100 * k for k, size in enumerate(lengths)]
    path = tmp_path_factory.mktemp("windows") / "ds"
    RaggedMmap.from_lists(path, samples, dtype=np.int16).close()

    windows = RaggedMmap(path, read_mode=read_mode).windows(length, stride, within_samples=expected is within)

    wanted = expected(samples, length, stride)
    assert len(windows) == len(wanted)
    assert [window.tolist() for window in windows] == [windows[k].tolist() for k in range(len(wanted))] == wanted
    assert windows.take(slice(None)).tolist() == wanted
    assert windows.take([]).shape == (0, length, 3, 2)


@pytest.fixture(params=["deleted", "replaced"])
def edited(request, rows):
    expected = list(ROWS)
    if request.param == "deleted":
        del rows[2], expected[2]
    else:
        rows[0] = expected[0] = np.arange(70, 76, dtype=np.int32)
    return rows, expected


def test_windows_within_samples_of_an_edited_dataset(edited):
    rows, expected = edited

    windows = rows.windows(2, within_samples=True)

    assert windows.take(slice(None)).tolist() == [list(w) for w in windows] == within(expected, 2, 2)
    assert windows[1].tolist() == within(expected, 2, 2)[1]


def test_windows_across_samples_of_an_edited_dataset_name_compact(edited):
    rows, expected = edited

    for shown in (rows, rows.select(slice(1, None))):
        with pytest.raises(ValueError, match="deleted or replaced.*pass within_samples=True, or call compact first"):
            shown.windows(2)
    rows.compact()
    assert rows.windows(2, 1).take(slice(None)).tolist() == across(expected, 2, 1)


@pytest.mark.parametrize("read_mode", ["mmap", "pread"])
@pytest.mark.parametrize("stride", [1, 2])
def test_windows_are_read_only_and_writable_copies_in_mode_c(rows, read_mode, stride):
    for mode, writeable in (("r", False), ("c", True)):
        windows = RaggedMmap(rows.path, mode=mode, read_mode=read_mode).windows(2, stride)
        assert windows[0].flags.writeable is writeable
        assert {window.flags.writeable for window in windows} == {writeable}


def test_windows_skip_nulls(tmp_path):
    columns = {"one": mn.Ragged(np.int32, ndim=1, nullable=True), "two": mn.Ragged(np.int32, ndim=2, nullable=True)}
    records = mn.RecordsMmap.create(tmp_path / "ds", columns)
    records.extend(
        [{"one": None, "two": None}, {"one": [1, 2, 3], "two": [[1, 2], [3, 4], [5, 6]]}, {"one": None, "two": None}]
    )

    for within_samples in (False, True):
        assert records["one"].windows(2, 1, within_samples=within_samples).take([0, 1]).tolist() == [[1, 2], [2, 3]]
        assert [w.tolist() for w in records["two"].windows(3, within_samples=within_samples)] == [
            [[1, 2], [3, 4], [5, 6]]
        ]


@pytest.mark.parametrize("within_samples", [False, True])
def test_windows_are_a_list_with_views_of_its_own(rows, within_samples):
    windows = rows.windows(2, 1, within_samples=within_samples)
    expected = (within if within_samples else across)(ROWS, 2, 1)

    assert [w.tolist() for w in reversed(windows)] == expected[::-1]
    assert (windows.index(expected[3]), windows.count(expected[3]), [7, 7] in windows) == (3, 1, False)
    some = windows.select(slice(6, 1, -2)).select([2, 0])
    wanted = [expected[6:1:-2][2], expected[6:1:-2][0]]
    for view in (some, pickle.loads(pickle.dumps(some))):
        assert view.take(slice(None)).tolist() == [w.tolist() for w in view] == wanted
    with pytest.raises(IndexError, match="index 2 is out of range for 2 windows"):
        some.select([2])


def test_windows_of_samples_that_end_before_they_start_raise(rows):
    overwrite(rows.path / "c0.offsets-1", 0, np.array([12, 13], "<u8").tobytes())

    with pytest.raises(CorruptDatasetError, match="are not within the payload"):
        RaggedMmap(rows.path).select(slice(3)).windows(2)


def test_length_and_stride_are_integers(rows):
    with pytest.raises(TypeError, match="float"):
        rows.windows(2.5)


@pytest.mark.parametrize("stride", [2**31, 2**61, 2**63, 2**70])
def test_stride_beyond_all_samples_gives_their_first_windows(tmp_path, rows, stride):
    frames = RaggedMmap.from_generator(tmp_path / "frames", [np.ones((3, 80), np.int64)] * 2)

    assert [window.tolist() for window in rows.windows(2, stride)] == across(ROWS, 2, stride)
    assert [window.tolist() for window in rows.windows(2, stride, within_samples=True)] == within(ROWS, 2, stride)
    assert [window.shape for window in frames.windows(2, stride, within_samples=True)] == [(2, 80)] * 2


@pytest.mark.parametrize("length", [2**62, 2**63, 2**70])
def test_length_beyond_64_bits_raises(rows, length):
    with pytest.raises(OverflowError, match=r"ds: the window would exceed 2\^63 bytes"):
        rows.windows(length)
