"""Casting to a dataset's dtype: values that are read back equal, or an error."""

import ml_dtypes
import numpy as np
import pytest

from mmap_ninja import ArrayMmap, RaggedMmap
from mmap_ninja.columns.casting import convert
from mmap_ninja.columns.dtypes import decode_dtype
from mmap_ninja.columns.encoding import encode
from mmap_ninja.columns.types import Array

PAIR = np.zeros(2, [("a", "<i4"), ("b", "<i4")])


@pytest.mark.parametrize(("sample", "dtype"), [([-1], "u8"), ([2**63], "i8"), (-1, "u8"), ([2.0**63], "i8")])
def test_integer_of_the_other_sign_range_raises(sample, dtype):
    """A bug once: [-1] was stored as 2**64 - 1 in a uint64 dataset, since it was equal when cast back."""
    with pytest.raises(TypeError, match="the dataset's dtype u?int64 \\(.*\\) cannot hold"):
        convert(sample, 0, np.dtype(dtype), "ds", declared=True)


@pytest.mark.parametrize(
    ("sample", "dtype"), [([2**53 + 1], "f8"), ([2**24 + 1], "f4"), ([2**63 - 1], "f4"), ([2**53 + 1], "c16")]
)
def test_plain_integer_that_a_float_rounds_raises(sample, dtype):
    """A bug once: 2**53 + 1 was stored as 2**53, since NumPy calls the cast safe."""
    with pytest.raises(TypeError, match="the dataset's dtype (float|complex)\\d+ cannot hold \\d+"):
        convert(sample, 0, np.dtype(dtype), "ds", declared=False)


@pytest.mark.parametrize("sample", [[2**53], [2**62], 7, [[1, 2]], [True]])
def test_plain_integer_that_a_float_holds_is_taken(sample):
    assert convert(sample, 0, np.dtype("f8"), "ds", declared=False).tolist() == np.array(sample, float).tolist()


def test_integers_that_numpy_takes_for_floats_are_stored_exactly(tmp_path):
    """A bug once: [1, 2**63 + 1] was stored as [1, 2**63], since NumPy makes floats of such a list."""
    stored = RaggedMmap.from_lists(tmp_path / "ds", [[1, 2**63 + 1]], dtype=np.uint64)

    assert stored[0].tolist() == [1, 2**63 + 1]


@pytest.mark.parametrize(
    ("sample", "told"),
    [
        ([1, 2**63 + 1], r"9223372036854775809, at \[1\]"),
        ([[0.5, 2**53 + 1], [1, 2]], r"9007199254740993, at \[0, 1\]"),
        ((np.int64(2**53 + 1), 1j), r"9007199254740993, at \[0\]"),
    ],
)
def test_integers_beside_floats_in_a_list_are_stored_exactly_or_raise(tmp_path, sample, told):
    """A bug once: [2**53 + 1, 0.5] was stored as [2**53, 0.5], since NumPy makes floats of such a list."""
    for options in ({}, {"dtype": np.complex128}):
        with pytest.raises(TypeError, match=f"cannot hold {told}; nothing of this batch was stored: create the data"):
            RaggedMmap.from_lists(tmp_path / "ds", [sample], **options)
    stored = RaggedMmap.from_lists(tmp_path / "exact", [[2**53, 0.5, np.inf, np.nan, 2.0**60, -(2**60)]])

    np.testing.assert_array_equal(stored[0], [2.0**53, 0.5, np.inf, np.nan, 2.0**60, -(2.0**60)])


@pytest.mark.parametrize("name", ["float8_e5m2", "float8_e4m3fn", "bfloat16"])
def test_integers_fit_small_floats_that_hold_them(name):
    """A bug once: NumPy knows no limits of float8_e5m2, whose kind is that of its own floats."""
    dtype = np.dtype(getattr(ml_dtypes, name))

    assert convert(np.array([-3, 16]), 0, dtype, "ds", declared=False).astype(int).tolist() == [-3, 16]
    with pytest.raises(TypeError, match=rf"dtype {name} cannot hold 1001, at \[1\]"):
        convert(np.array([1, 1001]), 0, dtype, "ds", declared=False)


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
    with pytest.raises(TypeError, match=r"the dataset's dtype datetime64\[ns\] cannot hold"):
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


INTEGERS = [np.dtype(f"{order}{kind}{size}") for kind in "iu" for size in (1, 2, 4, 8) for order in "<>"]


@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
def test_integers_of_any_dtype_are_taken_if_they_fit(tmp_path, dtype):
    """A bug once: np.array([5, 6]) was refused by a dataset of uint16, which took the list [5, 6]."""
    limits = np.iinfo(dtype)
    stored = ArrayMmap.from_ndarray(tmp_path / "ds", np.zeros((0, 2), dtype))
    rows = RaggedMmap.from_lists(tmp_path / "rows", [], dtype=dtype)

    for other in INTEGERS:
        least, greatest = max(limits.min, np.iinfo(other).min), min(limits.max, np.iinfo(other).max)
        sample = np.array([least, greatest], other)
        stored.extend(np.stack([sample] * 2))
        stored.append(sample)
        rows.append(sample[::-1])
        for value in (int(np.iinfo(other).min), int(np.iinfo(other).max)):
            batch = np.array([[0, 1], [1, value]], other)
            for samples in (batch, list(batch)) if not limits.min <= value <= limits.max else ():
                with pytest.raises(TypeError, match=rf"sample {len(stored) + 1}: .* cannot hold {value}, at \[1\]; .*"):
                    stored.extend(samples)

        assert stored.dtype == dtype
        assert stored[-3:].tolist() == [[least, greatest]] * 3
        assert rows[-1].tolist() == [greatest, least]


@pytest.mark.parametrize(
    ("dtype", "fits", "value"),
    [
        ("f2", 2048, 2049),
        ("f2", 1, 70_000),
        ("f4", 2**24, 2**24 + 1),
        ("f8", 2**53 + 2, 2**53 + 1),
        (">f8", 2**63 - 2**10, 2**63 - 1),
        ("c8", -(2**24), 2**24 + 1),
        ("c16", 2**53, 2**53 + 1),
        ("bfloat16", 256, 257),
    ],
)
def test_array_of_integers_that_a_float_rounds_raises(tmp_path, dtype, fits, value):
    """A bug once: np.array([2**53 + 1]) was stored as 2**53 by a dataset of float64."""
    dtype = np.dtype(getattr(ml_dtypes, dtype) if dtype == "bfloat16" else dtype)
    stored = RaggedMmap.from_lists(tmp_path / "ds", [np.zeros(1, dtype)])

    stored.append(np.array([0, fits]))
    with pytest.raises(TypeError, match=rf"sample 2: the dataset's dtype \S+ cannot hold {value}, at \[2\]"):
        stored.append(np.array([0, fits, value]))

    assert stored[1].dtype == dtype
    assert stored[1].tolist() == [0, fits]


def test_array_of_integers_goes_into_a_long_double(tmp_path):
    stored = RaggedMmap.from_lists(tmp_path / "ds", [np.zeros(1, np.longdouble)])

    stored.append(np.array([2**53]))

    assert stored[1].tolist() == [2**53]


@pytest.mark.parametrize("dtype", ["i8", "u1"])
@pytest.mark.parametrize("of", ["f4", "f8", "f2"])
def test_array_of_floats_never_becomes_integers(tmp_path, dtype, of):
    declared = RaggedMmap.from_lists(tmp_path / "ds", [[1.0, 2.0]], dtype=dtype)

    for sample in (np.array([1.0], of), np.array(1.0, of)[()]):
        with pytest.raises(TypeError, match=r"cannot hold these float\d\d values unchanged; nothing of .*: create"):
            declared.append(sample)

    assert declared[0].tolist() == [1, 2]


def test_error_about_a_value_gives_no_advice_that_loses_data(tmp_path):
    """A bug once: the error about 70,000 in uint16 advised np.asarray(sample, 'uint16'), which makes it 4,464."""
    stored = RaggedMmap.from_lists(tmp_path / "ds", [[1]], dtype=np.uint16)

    with pytest.raises(TypeError) as caught:
        stored.append(np.array([[5, 6], [7, 70_000]]))

    told = (
        "ds: sample 1: the dataset's dtype uint16 (0 to 65535) cannot hold 70000, at [1, 1]; nothing of this batch was"
    )
    assert str(caught.value).startswith(str(tmp_path / told))
    assert "asarray" not in str(caught.value)


@pytest.mark.parametrize("layout", [lambda a: a.T, lambda a: a[::2, ::-1], lambda a: np.asfortranarray(a)])
def test_integers_of_any_layout_are_converted(tmp_path, layout):
    numbers = layout(np.arange(3000).reshape(100, 30))
    stored = RaggedMmap.from_lists(tmp_path / "ds", [numbers], dtype=np.uint16)
    array = ArrayMmap.from_ndarray(tmp_path / "array", numbers, dtype=np.uint16)

    assert stored[0].tolist() == array[:].tolist() == numbers.tolist()
    assert array.dtype == stored.dtype == np.uint16


@pytest.mark.parametrize(
    "values",
    [[1, 2], [True, False], [0.5, 2.0], [1.0, 2.0], [1 << 62, 3], [1 << 63, 3], [1 << 70, 3], [float("nan"), 1.0],
     [-1, 1], [1, 2.0], [True, 2], [1e300, 1.0], [(1 << 53) + 1, 1]],
)  # fmt: skip
@pytest.mark.parametrize("dtype", ["int64", "uint8", "float64", "float32", "bool", "complex64", "M8[s]", "S3", ">i4"])
@pytest.mark.parametrize("declared", [False, True])
def test_numbers_convert_together_as_they_do_one_by_one(values, dtype, declared):
    column = Array(np.dtype(dtype), (), declared=declared)

    def outcome(act):
        try:
            return act()
        except TypeError as error:
            return str(error).partition("sample")[0]

    together = outcome(lambda: bytes(encode(column, values, "ds", 0)[1][0]))
    one_by_one = outcome(
        lambda: b"".join(convert(value, 0, column.dtype, "ds", declared=declared).tobytes() for value in values)
    )

    assert together == one_by_one
