"""`merge`: joins datasets at the speed of the disk, and decodes only what is compressed otherwise."""

import os
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final, Literal, get_args

from mmap_ninja.builds import build
from mmap_ninja.columns.joining import Joinable, joined
from mmap_ninja.columns.types import Column
from mmap_ninja.engine import copying, files, upgrade_marks
from mmap_ninja.engine.commit_file import read_commit
from mmap_ninja.engine.compaction import sealed
from mmap_ninja.engine.copying import CopiedRows
from mmap_ninja.engine.dataset import DEFAULT_LOCK_TIMEOUT, Dataset
from mmap_ninja.errors import IncompleteDatasetWarning, StaleHandleError
from mmap_ninja.exported import exported
from mmap_ninja.format.meta import checked_metadata

ErrorOrReplace = Literal["error", "replace"]

_REFUSED: Final = "nothing was written"


@exported
def merge(
    paths: Iterable[str | os.PathLike[str]],
    out_dir: str | os.PathLike[str],
    *,
    if_exists: ErrorOrReplace = "error",
    metadata: dict[str, Any] | None = None,
    verbose: bool = False,
    lock_timeout: float = DEFAULT_LOCK_TIMEOUT,
) -> None:
    """Join the samples of several datasets into a new one, in order; the system copies the files.

    Columns have the order and the compression of the first dataset that has samples; only samples that are compressed
    otherwise are decoded. Deleted and replaced ones are left out. The new dataset appears complete and safe against
    power loss, or not at all. Samples that others append to the inputs meanwhile are not in it. If the build of an
    input has not ended, its samples so far are merged, with an `IncompleteDatasetWarning`.

    Args:
        paths: The datasets, of one kind and with the same columns, in any order. What may differ: whether a column is
            nullable, how it is compressed, and the ranks of ragged samples.
        out_dir: The directory of the new dataset; missing parents are created.
        if_exists: What to do if there is a dataset already: raise, or replace it in one step; its readers are not
            disturbed.
        metadata: A dict to store as JSON; None: the metadata of the first dataset.
        verbose: Whether to show a progress bar.
        lock_timeout: Seconds to wait for other processes' commits.

    Raises:
        FileExistsError: if there is a dataset at `out_dir` and `if_exists="error"`.
        TypeError: if the kinds or columns differ, or `paths` is a single path.
        ValueError: if there are no datasets, or one was written by mmap_ninja 0.x, or one is `out_dir`.
        StaleHandleError: if an input is compacted or replaced meanwhile.

    Example:
        >>> import mmap_ninja as mn
        >>> _ = mn.StringsMmap.from_strings("a", ["one", "two"])
        >>> _ = mn.StringsMmap.from_strings("b", ["three"])
        >>> mn.merge(["a", "b"], "both")
        >>> list(mn.open("both"))
        ['one', 'two', 'three']
    """
    if if_exists not in get_args(ErrorOrReplace):
        raise ValueError(f"if_exists {if_exists!r} is unknown (expected one of {get_args(ErrorOrReplace)})")
    if isinstance(paths, str | bytes | os.PathLike):
        raise TypeError(f"paths {os.fspath(paths)!r}: expected a list of paths, got one path; {_REFUSED}")
    out = files.absolute(out_dir)
    datasets = [_opened(files.absolute(path), out) for path in paths]
    if not datasets:
        raise ValueError(f"{out}: merge: expected at least one dataset, got none; {_REFUSED}")
    columns = _common_columns(datasets)
    for dataset in datasets:
        if not dataset.snapshot.complete:
            warnings.warn(
                f"{dataset.path}: the build of this dataset has not ended; only the {dataset.seen.num_samples} samples "
                "committed so far are merged; finish it with if_exists='resume' and merge again",
                IncompleteDatasetWarning,
                stacklevel=2,
            )
    metadata = checked_metadata(datasets[0].meta.metadata if metadata is None else metadata)
    options = build.Options(1, 1, verbose, if_exists, metadata, None, lock_timeout)
    full = [dataset.seen for dataset in datasets if dataset.seen.num_samples]
    rows = [CopiedRows(seen.generation, seen.extents, seen.edits.runs(seen.rows)) for seen in full]
    with files.Scope() as scope, build.begin_hidden(out, datasets[0].meta.kind, columns, options, scope) as started:
        with copying.shown(copying.contents(columns, rows), rows, verbose=verbose) as contents:
            started.fill(contents, sum(seen.num_samples for seen in full))
        for dataset in datasets:
            _check_unchanged(dataset)
        started.finish()


def _opened(path: Path, out: Path) -> Dataset:
    if upgrade_marks.detect(path):
        raise ValueError(f"{path}: was written by mmap_ninja 0.x; {_REFUSED}: call mmap_ninja.upgrade on it first")
    dataset = Dataset(path, None, "process", DEFAULT_LOCK_TIMEOUT)
    if out.exists() and out.samefile(path):
        raise ValueError(f"{path}: is both input and output; {_REFUSED}: choose another output directory")
    dataset.seen.generation.let_go()  # there may be more inputs than a process can have files open
    return dataset


def _check_unchanged(dataset: Dataset) -> None:
    """Raise StaleHandleError if others took the files of a dataset away while they were read."""
    newest, slot = read_commit(dataset.path).slots[0][1], dataset.seen.slot
    if (newest.uuid, newest.generation) != (slot.uuid, slot.generation):
        raise StaleHandleError(
            f"{dataset.path}: the dataset was compacted or replaced while it was merged; {_REFUSED}: try again"
        )


def _common_columns(datasets: Sequence[Dataset]) -> tuple[Column, ...]:
    """Columns that fit the samples of all datasets; raises TypeError if there are none."""
    first = datasets[0]
    for dataset in datasets:
        if dataset.meta.kind != first.meta.kind:
            raise TypeError(
                f"{dataset.path}: expected kind {first.meta.kind!r} as in {first.path}, found {dataset.meta.kind!r}; "
                f"{_REFUSED}: merge datasets of one kind"
            )
    joinable = [
        Joinable(str(dataset.path), sealed(dataset.seen.columns), dataset.seen.num_samples > 0) for dataset in datasets
    ]
    return joined(joinable, f"{_REFUSED}: add, drop, rename or rebuild the columns that differ")
