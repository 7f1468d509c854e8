"""`BytesMmap` compared with a plain list."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmap_ninja import BytesMmap


@given(samples=st.lists(st.binary(), max_size=20), more=st.lists(st.binary(), max_size=5))
def test_dataset_reads_like_a_list(tmp_path_factory, samples, more):
    expected = samples + more
    dataset = BytesMmap.from_bytes(tmp_path_factory.mktemp("list") / "ds", samples)

    dataset += more

    assert list(dataset) == expected
    assert dataset.take(range(len(expected))) == expected
    assert dataset.byte_lengths.tolist() == [len(sample) for sample in expected]
    assert all(sample in dataset for sample in expected)


def test_bytes_like_samples_come_back_as_bytes(tmp_path):
    dataset = BytesMmap.from_bytes(tmp_path / "ds", [b"one"])

    dataset.extend([bytearray(b"two"), memoryview(b"three")])

    assert dataset[:] == [b"one", b"two", b"three"]
    assert bytearray(b"two") in dataset


@pytest.mark.parametrize("sample", ["text", 3, None, [1, 2]])
def test_append_with_another_type_stores_nothing(tmp_path, sample):
    dataset = BytesMmap.from_bytes(tmp_path / "ds", [b"one"])

    with pytest.raises(TypeError, match=f"expected bytes, got {type(sample).__name__}"):
        dataset.append(sample)

    assert list(dataset) == [b"one"]


def test_non_contiguous_memoryview_is_refused(tmp_path):
    dataset = BytesMmap.from_bytes(tmp_path / "ds", [b"one"])

    with pytest.raises(BufferError):
        dataset.append(memoryview(b"abcdef")[::2])

    assert len(dataset) == 1
