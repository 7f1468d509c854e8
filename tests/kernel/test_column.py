"""The kernel's column, from wrong arguments: an error, but never the end of the process."""

import numpy as np
import pytest

from mmap_ninja import RaggedMmap, _kernel

TEXT = _kernel.Column("text", "ds")
RECORDS = _kernel.Column.of_records("ds", [(("a",), TEXT)])


@pytest.mark.parametrize("columns", [[(("a",), None)], [(("a",), RECORDS)], [((), TEXT)]])
def test_records_of_other_than_columns_with_keys_raise(columns):
    with pytest.raises(TypeError, match="ds: expected columns, each with its keys"):
        _kernel.Column.of_records("ds", columns)


@pytest.mark.parametrize("kind", ["array", "ragged"])
def test_arrays_without_dtype_raise(kind):
    with pytest.raises(TypeError, match="ds: expected a dtype for arrays"):
        _kernel.Column(kind, "ds", rows=1)


@pytest.mark.parametrize("kind", ["text", "binary"])
def test_rows_without_files_raise(kind):
    with pytest.raises(TypeError, match="ds: expected a data file for the rows"):
        _kernel.Column(kind, "ds", rows=1)


@pytest.mark.parametrize("arguments", [([], 1), ([-1], 1), ([1] * 65, 1), ([1], 0)])
@pytest.mark.parametrize("within_samples", [False, True])
def test_windows_of_no_shape_or_stride_raise(tmp_path, arguments, within_samples):
    column = _kernel.column_of(RaggedMmap.from_generator(tmp_path / "ds", [np.arange(5)]))

    with pytest.raises(TypeError, match="expected ragged samples, a shape and a stride"):
        column.windows(*arguments, within_samples)


@pytest.mark.parametrize("column", [TEXT, RECORDS])
def test_windows_of_other_than_ragged_samples_raise(column):
    with pytest.raises(TypeError, match="expected ragged samples, a shape and a stride"):
        column.windows([1], 1, False)


@pytest.mark.parametrize("arguments", [([2**61], 1), ([1, 2**61, 8], 1)])
def test_windows_of_more_than_64_bits_raise(tmp_path, arguments):
    column = _kernel.column_of(RaggedMmap.from_generator(tmp_path / "ds", [np.arange(5)]))

    with pytest.raises(OverflowError, match="window"):
        column.windows(*arguments, True)


def test_windows_of_a_column_without_files_are_none():
    column = _kernel.Column("ragged", "ds", dtype=np.dtype(np.int64))

    assert list(column.windows([1], 1, False)) == []
