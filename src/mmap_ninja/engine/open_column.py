"""Opening a column of a generation: the kernel reads its samples."""

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from mmap_ninja import _kernel
from mmap_ninja.columns import codec
from mmap_ninja.columns.types import Array, ColumnType, Json, Ragged
from mmap_ninja.engine.generation import Generation
from mmap_ninja.errors import CorruptDatasetError


def open_column(
    generation: Generation,
    place: int,
    extents: list[int],
    rows: int,
    path: str,
    *,
    mapped: bool,
    edits: _kernel.Edits | None = None,
    copies: bool = False,
    wrapper: Callable[[Any], Any] | None = None,
) -> _kernel.Column:
    """Open the column at a place.

    Args:
        generation: Its files.
        place: The column's position among its columns.
        extents: The length of each file in bytes.
        rows: The number of rows.
        path: The name of the samples in errors.
        mapped: Whether the files are mapped, or read by system calls.
        edits: The edits of the rows; None for a column of records, since the records apply them.
        copies: Whether arrays are returned as copies.
        wrapper: Called with each sample that is returned; not for JSON, whose wrapper decodes.
    """
    column, meta = generation.meta.columns[place], generation.meta
    kind = column.type
    files: dict[str, tuple[_kernel.File, int]] = {}
    if kind.is_known:
        for index, file in enumerate(meta.files):
            if file.column == column.id:
                files[file.role] = generation.files[index], extents[index]
    if isinstance(kind, Json):
        wrapper = partial(_decoded, path=str(generation.path / meta.files[meta.index("data", column.id)].name))
    return _kernel.Column(
        kernel_kind(kind),
        path,
        rows if files else 0,
        files,
        **_described(kind, generation.path),
        wrapper=wrapper,
        edits=edits,
        copies=copies,
        mapped=mapped,
    )


def joined_column(
    kind: ColumnType, path: str, lengths: Sequence[int], open_part: Callable[[int], _kernel.Column]
) -> _kernel.Column:
    """A column over the samples of several datasets.

    Args:
        kind: The type that they have in common.
        path: The name of the samples in errors.
        lengths: How many samples each dataset has.
        open_part: Gives the samples of a dataset by its place; called when one of them is read.
    """
    described = {"codec": None, **_described(kind, Path(path))}
    del described["codec"]
    return _kernel.Column.joined(kernel_kind(kind), path, lengths, open_part, **described, nullable=kind.nullable)


def _described(kind: ColumnType, path: Path) -> dict[str, Any]:
    """The column type as arguments of the kernel."""
    match kind:
        case Array(dtype, shape):
            return {"unit": kind.row_size, "dtype": dtype, "shape": shape or ()}
        case Ragged(dtype):
            unit = 1 if dtype is None else dtype.itemsize
            return {
                "unit": unit,
                "dtype": dtype,
                "shape_form": kind.shape_form,
                "shape_width": kind.shape_width,
            }
        case _:
            return {} if kind.codec is None else {"codec": codec.opened(kind.codec, str(path))}


def _decoded(text: str, path: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CorruptDatasetError(
            f"{path}: {text!r:.80} is not JSON ({error}); the payload is damaged: restore it from a copy"
        ) from None


def kernel_kind(column: ColumnType) -> str:
    """The kernel's name for the kind of a column."""
    return "text" if isinstance(column, Json) else column.name
