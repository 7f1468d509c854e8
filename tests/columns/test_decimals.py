"""Narrow floats as decimals: few digits, and the same value when they are read."""

import numpy as np
import pytest

from mmap_ninja.columns.decimals import as_decimals


@pytest.mark.parametrize("dtype", [np.float16, np.float32, ">f4"])
def test_decimals_give_the_value_back_and_are_no_longer_than_those_of_numpy(dtype):
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 1 << 32, 20_000, np.uint32).view(np.dtype(dtype).newbyteorder("=")).astype(dtype)
    rounded = (rng.normal(size=20_000).round(3) * 10.0 ** rng.integers(-4, 4, 20_000)).astype(dtype)
    values = np.concatenate([bits, rounded])
    values = values[np.isfinite(values)]

    decimals = as_decimals(values)

    np.testing.assert_array_equal(decimals.astype(dtype), values)
    longer = [
        len(repr(got)) - len(repr(float(str(value)))) for got, value in zip(decimals.tolist(), values, strict=True)
    ]
    assert max(longer) <= 1  # one digit more where two decimals are equally near
    assert np.mean(np.array(longer) > 0) < 0.001


def test_shape_sign_and_what_is_not_finite_stay():
    values = np.array([[-0.0, np.inf, 8.3], [np.nan, -np.inf, 16777216]], np.float32)

    assert repr(as_decimals(values.T).tolist()) == "[[-0.0, nan], [inf, -inf], [8.3, 16777216.0]]"
    assert as_decimals(np.float32(0.1)[...]).tolist() == 0.1


def test_other_dtypes_are_left_as_they_are():
    for values in (np.array([0.1]), np.arange(3), np.array(["a"])):
        assert as_decimals(values) is values
