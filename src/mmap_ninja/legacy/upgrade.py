"""`upgrade`: converts a directory of 0.x to the current format, in place and in one step."""

import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

from mmap_ninja import _kernel
from mmap_ninja.columns.types import MOST_DIMENSIONS, Array, Column, ColumnType, Ragged, Role, ShapeForm, Text
from mmap_ninja.engine import copying, directory, files, publish, upgrade_marks
from mmap_ninja.engine.dataset import DEFAULT_LOCK_TIMEOUT
from mmap_ninja.engine.generation import newest
from mmap_ninja.engine.log import locked
from mmap_ninja.errors import LeftoverBytesWarning
from mmap_ninja.exported import exported
from mmap_ninja.format.meta import FileEntry, new_meta
from mmap_ninja.format.names import COMMIT, FIRST_OFFSET, LEGACY_DATA, UPGRADE
from mmap_ninja.legacy.dataset import GENERATION, LegacyDataset
from mmap_ninja.legacy.layout import Keys

Slices = Callable[[], Iterator[_kernel.Column]]

_ROWS_AT_ONCE: Final = 1 << 16
_BYTES_AT_ONCE: Final = 1 << 24


@exported
def upgrade(
    path: str | os.PathLike[str],
    *,
    starts_key: str = "starts",
    ends_key: str = "ends",
    shapes_key: str = "shapes",
    flattened_shapes_key: str = "flattened_shapes",
    lock_timeout: float = DEFAULT_LOCK_TIMEOUT,
) -> None:
    """Convert a directory of mmap_ninja 0.2 to 0.9 to the current format, as its first mutation would.

    The payload is read once, for its checksums, and stays where it is; only an array in F order is copied. Readers that
    have the directory open are not disturbed. 0.x cannot read it afterwards. A crash leaves either the old directory or
    the new one. A dataset of the current format is not changed.

    Args:
        path: The dataset's directory. No 0.x process may write to it meanwhile.
        starts_key: Name of the folder of starts in a directory of 0.x, if it differs.
        ends_key: Name of the folder of ends in a directory of 0.x, if it differs.
        shapes_key: Name of the folder of shapes in a directory of 0.x, if it differs.
        flattened_shapes_key: Name of the folder of flattened shapes in a directory of 0.x, if it differs.
        lock_timeout: Seconds to wait for other processes' commits.

    Raises:
        NotADatasetError: if there is no dataset at the path.
        CorruptDatasetError: if its files contradict each other; then nothing is changed.
        ReadOnlyError: if the permissions or the filesystem do not allow it.

    Example:
        >>> import mmap_ninja as mn
        >>> _ = mn.StringsMmap.from_strings("reviews", ["good", "bad"])
        >>> mn.upgrade("reviews")  # of the current format already: nothing to do
        >>> mn.open("reviews")[1]
        'bad'
    """
    directory_path = files.absolute(path)
    if upgrade_marks.detect(directory_path):
        keys = Keys(starts_key, ends_key, shapes_key, flattened_shapes_key)
        dataset = LegacyDataset(directory_path, None, keys=keys)
        warn_of_leftovers(dataset, stacklevel=3)
        adopt(directory_path, keys, lock_timeout)
        return
    newest(directory_path)
    if (directory_path / UPGRADE).exists():
        with locked(directory_path, lock_timeout):
            directory.finish_upgrade(directory_path)


def warn_of_leftovers(dataset: LegacyDataset, *, stacklevel: int) -> None:
    """Warn if an append of 0.x was interrupted."""
    if dataset.layout.leftovers:
        warnings.warn(
            f"{dataset.path}: {', '.join(dataset.layout.leftovers)} has more bytes than the samples need: an append of "
            "mmap_ninja 0.x was interrupted. Samples that were added after it are garbled: compare the last ones with "
            "their source",
            LeftoverBytesWarning,
            stacklevel=stacklevel,
        )


def adopt(path: Path, keys: Keys, lock_timeout: float) -> None:
    """Upgrade a directory of 0.x under its lock; does nothing if another process was faster."""
    with directory.make_lock(path, lock_timeout):
        if not upgrade_marks.detect(path):
            directory.finish_upgrade(path)
            return
        directory.remove_unnamed(path)  # left by an interrupted upgrade
        dataset = LegacyDataset(path, None, keys=keys)
        column, contents, payload_stays = _contents(dataset)
        kept = (FileEntry(1, "data", 0, LEGACY_DATA),) if payload_stays else ()
        columns = (Column(0, "", column),)
        meta = new_meta(dataset.layout.kind, GENERATION, dataset.meta.uuid, columns, {}, kept)
        folders = {"strings": keys[:2], "ragged": keys, "array": ()}[dataset.layout.kind]
        upgrade_marks.announce(path, keys.starts, list(folders))
        size = dataset.layout.payload.size_bytes
        with files.Scope() as scope:
            flags, like = _kernel.COMPLETE, publish.model(path, scope)
            publish.publish(path, meta, contents, dataset.rows, COMMIT, flags, scope, like, adopted_size=size)
        directory.finish_upgrade(path)


def _contents(dataset: LegacyDataset) -> tuple[ColumnType, copying.Contents, bool]:
    """The column that an upgrade makes, the contents of new files, and whether the payload stays as it is."""
    column, mapped = dataset.meta.columns[0].type, files.reads_by_map(dataset.any_descriptor)
    samples = dataset.open_column(mapped=mapped)
    if isinstance(column, Array):
        strided = bool(dataset.layout.strides)
        return column, {("data", 0): _in_c_order(samples, column)} if strided else {}, not strided
    slices = partial(_slices, samples)
    contiguous = _are_contiguous(slices)
    contents: dict[tuple[Role, int | None], Iterable[bytes]] = {("offsets", 0): _offsets(slices)}
    if not contiguous:
        contents["data", 0] = iter(dataset.open_bytes(mapped=mapped))
    if isinstance(column, Text) and column.codec is not None:
        contents["sizes", 0] = (part.sizes().astype(np.uint32).tobytes() for part in slices())
    if isinstance(column, Ragged):
        column = _with_ranks(column, slices, dataset.path)
        if column.shape_width:
            contents["shapes", 0] = _shape_rows(column, slices)
    return column, contents, contiguous


def _slices(samples: _kernel.Column) -> Iterator[_kernel.Column]:
    """The samples in slices of bounded size."""
    for first in range(0, len(samples), _ROWS_AT_ONCE):
        yield samples.selected_range(first, 1, min(_ROWS_AT_ONCE, len(samples) - first))


def _are_contiguous(slices: Slices) -> bool:
    """Whether each sample starts where the one before ends, as the current format needs; checks each sample."""
    contiguous, before = True, 0
    for part in slices():
        part.sizes()
        starts, ends = part.bounds()
        contiguous &= int(starts[0]) == before and bool((starts[1:] == ends[:-1]).all())
        before = int(ends[-1])
    return contiguous


def _offsets(slices: Slices) -> Iterator[bytes]:
    end = 0
    yield FIRST_OFFSET
    for part in slices():
        ends = end + np.cumsum(part.stored_sizes())
        end = int(ends[-1])
        yield ends.astype(np.uint64).tobytes()


def _with_ranks(column: Ragged, slices: Slices, path: Path) -> Ragged:
    for part in slices():
        ranks = part.shape_table(0)
        column = column.with_ranks(int(ranks.min()), int(ranks.max()))
    if column.ranks is not None and column.ranks[1] > MOST_DIMENSIONS:
        raise ValueError(f"{path}: a sample has {column.ranks[1]} dimensions; expected at most {MOST_DIMENSIONS}")
    return column


def _shape_rows(column: Ragged, slices: Slices) -> Iterator[bytes]:
    ranked = column.shape_form is ShapeForm.RANKED
    for part in slices():
        extents = np.maximum(part.shape_table(column.shape_width - ranked), 0)  # -1: the sample has fewer dimensions
        rows = np.hstack([part.shape_table(0), extents]) if ranked else extents
        yield rows.astype(np.uint64).tobytes()


def _in_c_order(samples: _kernel.Column, column: Array) -> Iterator[bytes]:
    array = samples.whole()
    assert array is not None  # noqa: S101 - these are all samples, in their order
    step = max(_BYTES_AT_ONCE // column.row_size, 1)
    for first in range(0, len(array), step):
        yield array[first : first + step].tobytes()
