"""Casting to a dataset's dtype: values that are read back equal, or an error."""

import numpy as np
import pytest

from mmap_ninja import ArrayMmap, RaggedMmap
from mmap_ninja.columns.casting import convert
from mmap_ninja.columns.dtypes import decode_dtype

PAIR = np.zeros(2, [("a", "<i4"), ("b", "<i4")])


@pytest.mark.parametrize(("sample", "dtype"), [([-1], "u8"), ([2**63], "i8"), (-1, "u8"), ([2.0**63], "i8")])
def test_integer_of_the_other_sign_range_raises(sample, dtype):
    """A bug once: [-1] was stored as 2**64 - 1 in a uint64 dataset, since it was equal when cast back."""
    with pytest.raises(TypeError, match="the dataset's dtype u?int64 cannot hold these"):
        convert(sample, 0, np.dtype(dtype), "ds", declared=True)


@pytest.mark.parametrize(
    ("sample", "dtype"), [([2**53 + 1], "f8"), ([2**24 + 1], "f4"), ([2**63 - 1], "f4"), ([2**53 + 1], "c16")]
)
def test_plain_integer_that_a_float_rounds_raises(sample, dtype):
    """A bug once: 2**53 + 1 was stored as 2**53, since NumPy calls the cast safe."""
    with pytest.raises(TypeError, match="the dataset's dtype (float|complex)\\d+ cannot hold these"):
        convert(sample, 0, np.dtype(dtype), "ds", declared=False)


@pytest.mark.parametrize("sample", [[2**53], [2**62], 7, [[1, 2]], [True]])
def test_plain_integer_that_a_float_holds_is_taken(sample):
    assert convert(sample, 0, np.dtype("f8"), "ds", declared=False).tolist() == np.array(sample, float).tolist()


def test_integers_that_numpy_takes_for_floats_are_stored_exactly(tmp_path):
    """A bug once: [1, 2**63 + 1] was stored as [1, 2**63], since NumPy makes floats of such a list."""
    stored = RaggedMmap.from_lists(tmp_path / "ds", [[1, 2**63 + 1]], dtype=np.uint64)

    assert stored[0].tolist() == [1, 2**63 + 1]


def test_real_numbers_fit_complex_ones(tmp_path):
    """A bug once: a list of real numbers gave a ComplexWarning."""
    stored = RaggedMmap.from_lists(tmp_path / "ds", [[1, 2], [0.5]], dtype=np.complex64)

    assert [sample.tolist() for sample in stored] == [[1, 2], [0.5]]


@pytest.mark.parametrize(
    "value", [np.datetime64("3000-01-01", "D"), np.datetime64(2**62, "s"), np.datetime64("-3000-01-01", "s")]
)
def test_date_that_overflows_raises(tmp_path, value):
    """A bug once: the year 3000 was stored as 1830 in a dataset of nanoseconds."""
    stored = ArrayMmap.from_ndarray(tmp_path / "ds", np.array(["2026-11-22", "NaT"], "M8[ns]"))

    stored.extend([np.datetime64("NaT", "s"), np.datetime64("2026-11-22", "D")])
    with pytest.raises(TypeError, match=r"the dataset's dtype datetime64\[ns\] cannot hold these"):
        stored.append(value)

    assert np.isnat(stored[2])
    assert stored[3] == stored[0]


@pytest.mark.parametrize("names", [("b", "a"), ("x", "y")])
def test_structure_of_other_field_names_raises(tmp_path, names):
    """A bug once: fields were matched by position, so that the value of `a` came back in `b`."""
    stored = ArrayMmap.from_ndarray(tmp_path / "ds", PAIR)
    other = np.ones((), [(name, "<i4") for name in names])
    nested = ArrayMmap.from_ndarray(tmp_path / "nested", np.zeros(2, [("p", PAIR.dtype)]))

    with pytest.raises(TypeError, match="the dataset's dtype .* cannot hold these"):
        stored.append(other)
    with pytest.raises(TypeError, match="the dataset's dtype .* cannot hold these"):
        nested.append(np.zeros((), [("p", other.dtype)]))


def test_structure_that_is_only_aligned_fits(tmp_path):
    aligned = np.ones(1, np.dtype([("a", "u1"), ("b", "<i4")], align=True))
    stored = ArrayMmap.from_ndarray(tmp_path / "ds", np.zeros(1, [("a", "u1"), ("b", "<i4")]))

    stored.extend(aligned)

    assert stored[1].item() == (1, 1)


def test_raw_bytes_of_another_length_raise(tmp_path):
    """A bug once: eight raw bytes came back after four were appended, since NumPy pads them with zeros."""
    stored = ArrayMmap.from_ndarray(tmp_path / "ds", np.zeros(1, "V8"))

    with pytest.raises(TypeError, match="the dataset's dtype .* cannot hold these"):
        stored.append(np.void(b"abcd"))


@pytest.mark.parametrize("document", [[["a", "<i4", [0]]], "<M8[0s]", ">m8[00D]", [["a", "<i4"], ["b", "<M8[0s]"]]])
def test_dtype_that_no_code_can_divide_by_is_refused(document):
    """A bug once: an item size of 0 bytes in a meta file ended the process with a division by zero."""
    with pytest.raises(ValueError, match="dtype"):
        decode_dtype(document)


def test_unknown_type_of_ml_dtypes_is_an_import_error():
    """A bug once: an AttributeError for a dtype that this version of ml_dtypes lacks."""
    pytest.importorskip("ml_dtypes")

    with pytest.raises(ImportError, match="float8_other"):
        decode_dtype("float8_other")
