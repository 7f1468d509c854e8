"""Compaction: rewrites a dataset without deleted and replaced samples."""

from contextlib import ExitStack
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from mmap_ninja.columns.types import Array
from mmap_ninja.engine import copying
from mmap_ninja.engine.change import Change
from mmap_ninja.engine.dataset import Columns, Dataset
from mmap_ninja.engine.generation import Identity
from mmap_ninja.errors import StaleHandleError


def compact(dataset: Dataset, order: npt.NDArray[np.int64] | None, identity: Identity | None, *, verbose: bool) -> None:
    """Make a generation of the current samples only; `order` is for the commit `identity`."""

    def change() -> Change | None:
        seen = dataset.seen
        if order is not None and seen.identity != identity:
            raise StaleHandleError(
                f"{dataset.path}: others changed the dataset after this handle's snapshot, for which the order was "
                "made; nothing was compacted: call refresh(), and make the order again"
            )
        columns = sealed(seen.meta.columns)
        if order is None and not seen.slot.edits and columns == seen.meta.columns:
            return None
        runs = seen.edits.runs(seen.rows)
        if order is not None:
            runs = copying.collected(copying.expanded(runs)[order])
        rows = [copying.CopiedRows(seen.generation, seen.extents, runs)]
        contents = stack.enter_context(copying.shown(copying.contents(columns, rows), rows, verbose=verbose))
        return Change(columns, contents, seen.num_samples)

    with ExitStack() as stack:
        dataset.evolve(change)


def sealed(columns: Columns) -> Columns:
    """The columns, with payloads that are never written in place: true of new files."""
    return tuple(
        replace(column, type=replace(column.type, sealed=True)) if isinstance(column.type, Array) else column
        for column in columns
    )
