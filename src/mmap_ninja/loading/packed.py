"""Batches of packed rows: the documents' elements, and what tells attention where each document is."""

# ruff: noqa: SLF001 - plans, orders and loaders belong together

from collections.abc import Callable
from typing import Any, Final

from mmap_ninja._kernel import column_of
from mmap_ninja.columns import nesting
from mmap_ninja.kinds.document_windows import DESCRIPTION, TOKENS, Description
from mmap_ninja.kinds.indices import resolved
from mmap_ninja.kinds.ragged_reading import RaggedHandle
from mmap_ninja.kinds.record_reading import RecordsHandle
from mmap_ninja.loading.collate import Forms
from mmap_ninja.loading.orders import Positions
from mmap_ninja.loading.packing import Packing

_MOST_ELEMENTS: Final = (1 << 31) - 1  # of a batch: cu_seqlens is int32, as attention wants it


def check_packing(plan: Packing, world_size: int, forms: Forms) -> None:
    """Check that a loader can give batches of a packing, and is asked for no other form.

    Raises:
        ValueError: if a batch of one process is too large for int32, or a form was asked for.
    """
    given = {
        "collate": forms.collate != "auto",
        "pad": forms.pad is not None,
        "nulls": forms.nulls != "raise",
        "fill": forms.fill is not None,
    }
    for name, is_given in given.items():
        if is_given:
            raise ValueError(f"{name}: a packing has a form of its own, in which nulls are in no row; leave it out")
    rows = plan.batch_size // world_size
    if rows * plan.length > _MOST_ELEMENTS:
        raise ValueError(
            f"plan: expected fewer than 2^31 elements in a batch of one process, since cu_seqlens is int32, found "
            f"{rows} rows of {plan.length}; make batch_size or length smaller"
        )


def packed_reader(samples: Any, plan: Packing, most_rows: int) -> Callable[[Positions], Description]:
    """A function that reads rows of a packing, at most so many at a time.

    Raises:
        TypeError: if the samples are no sequences of numbers or bytes.
        ValueError: if a column has the name of a part of the batch.
    """
    if isinstance(samples, RecordsHandle):
        columns = {name: samples[name] for name in samples.columns}
        packed = {
            name: column
            for name, column in columns.items()
            if isinstance(column, RaggedHandle) and _is_packable(column)
        }
    else:
        packed = {TOKENS: samples} if _is_packable(samples) else {}
    if not packed:
        raise TypeError(f"plan: a packing needs texts, bytes, or ragged samples of one dimension, got {samples!r:.120}")
    if taken := [name for name in packed if name.partition(".")[0] in DESCRIPTION]:
        raise ValueError(f"{samples.path}: column {taken[0]!r} has the name of a part of packed batches; rename it")

    def read(rows: Positions) -> Description:
        parts = plan._packed.batch(list(packed.values()), resolved(rows, plan.rows, "rows"), most_rows)
        return nesting.nested(dict(zip((*packed, *DESCRIPTION), parts, strict=True)))

    return read


def _is_packable(column: Any) -> bool:
    """Whether the samples have one dimension, as far as their type says it."""
    return hasattr(column, "take_jagged") and column_of(column).rank in (None, 1)
