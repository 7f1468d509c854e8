"""`.npy`: arrays of one shape as one array."""

from typing import Any, BinaryIO, Final

import numpy as np

from mmap_ninja.columns.casting import is_ml_dtype
from mmap_ninja.conversion.samples import OutColumn, Samples
from mmap_ninja.conversion.target import Target

_AT_ONCE: Final = 8 << 20  # bytes


def npy(samples: Samples, target: Target) -> None:
    """One array of all samples, which `np.load` can map."""
    if len(samples.columns) != 1:
        names = ", ".join(repr(column.name) for column in samples.columns)
        raise ValueError(f"{samples.path}: .npy holds one column, found {names}; choose one with columns=")
    (column,) = samples.columns
    if column.holds not in ("scalar", "array") or is_ml_dtype(column.dtype):
        raise column.refused(".npy", "export to Parquet")
    if (null := column.first_null()) is not None:
        raise ValueError(f"{column.where}: sample {null} is null, which .npy cannot hold; export to Parquet")
    with target.file() as file:
        _write_header(file, column, (len(samples), *column.samples.sample_shape))
        for _, (part,) in samples.parts(_AT_ONCE):
            block = part.samples.whole()  # over the map of the file, if it can be
            if block is None:
                block = part.samples.take_rows(slice(None), None)[0]
            file.write(np.ascontiguousarray(block).reshape(-1).view(np.uint8).data)


def _write_header(file: BinaryIO, column: OutColumn, shape: tuple[int, ...]) -> None:
    header: dict[str, Any] = {
        "descr": np.lib.format.dtype_to_descr(column.dtype),
        "fortran_order": False,
        "shape": shape,
    }
    try:
        np.lib.format.write_array_header_1_0(file, header)
    except ValueError:  # many fields, or names that are not Latin
        np.lib.format.write_array_header_2_0(file, header)
