"""Attaching: the files of one column, mapped for the kernel's object that reads its samples."""

import json
from functools import partial
from typing import Any

from mmap_ninja import _kernel
from mmap_ninja.columns import codec
from mmap_ninja.columns.types import Array, ColumnType, Json, Ragged
from mmap_ninja.engine.generation import Generation
from mmap_ninja.errors import CorruptDatasetError


def attach(samples: _kernel.Samples, generation: Generation, extents: list[int], rows: int, place: int) -> None:
    """Map the files of the column at a place, whose physical rows the samples are then."""
    column, meta, fds = generation.meta.columns[place], generation.meta, generation.descriptors
    kind = column.type
    index = meta.index("data", column.id)
    data, size = fds[index], extents[index]
    if isinstance(kind, Array | Ragged) and kind.dtype is not None:
        shape = list(kind.shape or ()) if isinstance(kind, Array) else []
        samples._describe(kind.dtype, shape, [])
    if not kind.is_known:
        samples._attach_nothing()
        return
    if isinstance(kind, Array):
        samples._attach_fixed(data, size, kind.row_size, rows)
    elif isinstance(kind, Ragged):
        unit = kind.dtype.itemsize if kind.dtype is not None else 1
        samples._attach(data, size, unit, fds[meta.index("offsets", column.id)], rows)
        shapes = fds[meta.index("shapes", column.id)] if kind.shape_width else -1
        samples._attach_shapes(kind.shape_form, shapes, kind.shape_width)
    elif kind.codec is None:
        samples._attach(data, size, 1, fds[meta.index("offsets", column.id)], rows)
    else:
        offsets, sizes = fds[meta.index("offsets", column.id)], fds[meta.index("sizes", column.id)]
        samples._attach(data, size, 1, offsets, rows, codec.opened(kind.codec, str(generation.path)), sizes)
    if kind.nullable:
        samples._attach_nulls(fds[meta.index("nulls", column.id)])
    if isinstance(kind, Json):
        samples._wrap_with(partial(_decoded, path=str(generation.path / meta.files[index].name)))


def _decoded(text: str, path: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CorruptDatasetError(
            f"{path}: {text!r:.80} is no JSON ({error}); the payload is damaged: restore it from a copy"
        ) from None


def kernel_kind(column: ColumnType) -> str:
    """What the kernel calls the samples of a column."""
    return "text" if isinstance(column, Json) else column.name
