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


@pytest.mark.parametrize("starts", [None, [0], np.array([0], np.int8), np.arange(4)[::2]])
def test_windows_at_other_than_int64_raise(tmp_path, starts):
    column = _kernel.column_of(RaggedMmap.from_generator(tmp_path / "ds", [np.arange(5)]))

    with pytest.raises(TypeError, match=r"starts: expected an array of int64|incompatible function arguments"):
        column.take_windows(starts, 1, None)


def test_windows_of_a_column_without_files_raise():
    column = _kernel.Column("ragged", "ds", dtype=np.dtype(np.int64))

    with pytest.raises(ValueError, match="ds"):
        column.take_windows(np.array([0]), 1, None)
