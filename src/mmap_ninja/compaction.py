"""Compaction: the samples of a dataset written anew, without what was deleted or replaced."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, NoReturn

import numpy as np
import numpy.typing as npt

from mmap_ninja import copying, files
from mmap_ninja.columns import Array
from mmap_ninja.dataset import Columns, Dataset, Identity
from mmap_ninja.directory import Change
from mmap_ninja.edits import unneeded
from mmap_ninja.errors import StaleHandleError

if TYPE_CHECKING:
    from tqdm import tqdm


def compact(dataset: Dataset, order: npt.NDArray[np.int64] | None, identity: Identity | None, *, verbose: bool) -> None:
    """Make a generation of the samples alone, in a new order of what `identity` saw, if there is one."""

    def change() -> Change | None:
        if order is not None and dataset.snapshot.identity != identity:
            raise StaleHandleError(
                f"{dataset.path}: was changed since this handle looked, which the order was made for; nothing was "
                "compacted: call refresh() and make it again"
            )
        columns = sealed(dataset.meta.columns)
        if order is None and not dataset.slot.edits and columns == dataset.meta.columns:
            return None
        runs = dataset.edits.runs(dataset.rows)
        if order is not None:
            runs = copying.collected(copying.expanded(runs)[order])
        contents = copying.contents(columns, [copying.Source(dataset.generation, dataset.extents, runs)])
        bar = stack.enter_context(_progress_bar(dataset, verbose=verbose))
        return Change(columns, {key: _counted(parts, bar) for key, parts in contents.items()}, dataset.num_samples)

    with ExitStack() as stack:
        dataset.evolve(change)


def sealed(columns: Columns) -> Columns:
    """The columns with payloads that nobody may write to in place, as new files can promise."""
    return tuple(
        replace(column, type=replace(column.type, sealed=True)) if isinstance(column.type, Array) else column
        for column in columns
    )


def _progress_bar(dataset: Dataset, *, verbose: bool) -> "tqdm[NoReturn]":
    from tqdm.auto import tqdm  # noqa: PLC0415 - here, for opening a dataset to be quick

    total = sum(size for file, size in zip(dataset.meta.files, dataset.extents, strict=True) if file.column is not None)
    left = total - sum(unneeded(dataset.generation, dataset.edits))
    return tqdm(total=left, unit="B", unit_scale=True, disable=not verbose)


def _counted(parts: Iterable[files.Content], bar: "tqdm[NoReturn]") -> Iterator[files.Content]:
    for part in parts:
        yield part
        bar.update(part.size if isinstance(part, files.Range) else len(part))
