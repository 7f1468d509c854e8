"""`merge`: joins datasets at the speed of the disk, without decoding."""

import os
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Literal, get_args

from mmap_ninja import _kernel
from mmap_ninja.builds import build
from mmap_ninja.columns.types import Array, Binary, Column, ColumnType, Json, Ragged, Text, Zstd
from mmap_ninja.engine import copying, files, upgrade_marks
from mmap_ninja.engine.compaction import sealed
from mmap_ninja.engine.copying import CopiedRows
from mmap_ninja.engine.dataset import DEFAULT_LOCK_TIMEOUT, Dataset
from mmap_ninja.errors import IncompleteDatasetWarning
from mmap_ninja.exported import exported
from mmap_ninja.format.meta import checked_metadata

ErrorOrReplace = Literal["error", "replace"]

_REFUSED: Final = "nothing was written"
_Spans = Text | Binary | Json


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

    Samples are neither decoded nor compressed again; deleted and replaced ones are left out. The new dataset appears
    complete and safe against power loss, or not at all. Samples that others append to the inputs meanwhile are not in
    it. If the build of an input has not ended, its samples so far are merged, with an `IncompleteDatasetWarning`.

    Args:
        paths: The datasets, of one kind and with the same columns. The ranks of ragged samples may differ.
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

    Example:
        >>> import mmap_ninja
        >>> _ = mmap_ninja.StringsMmap.from_strings("a", ["one", "two"])
        >>> _ = mmap_ninja.StringsMmap.from_strings("b", ["three"])
        >>> mmap_ninja.merge(["a", "b"], "both")
        >>> list(mmap_ninja.open("both"))
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
        started.finish()


def _opened(path: Path, out: Path) -> Dataset:
    if upgrade_marks.detect(path):
        raise ValueError(f"{path}: was written by mmap_ninja 0.x; {_REFUSED}: call mmap_ninja.upgrade on it first")
    dataset = Dataset(path, None, "process", DEFAULT_LOCK_TIMEOUT)
    if out.exists() and out.samefile(path):
        raise ValueError(f"{path}: is both input and output; {_REFUSED}: choose another output directory")
    return dataset


def _common_columns(datasets: Sequence[Dataset]) -> tuple[Column, ...]:
    """Columns that fit the samples of all datasets; raises TypeError if there are none."""
    # Empty records may have no columns yet, and take those of the others.
    first = next((dataset for dataset in datasets if dataset.meta.columns), datasets[0])
    columns = list(sealed(first.meta.columns))
    for dataset in datasets:
        if dataset.meta.kind != first.meta.kind:
            raise TypeError(
                f"{dataset.path}: expected kind {first.meta.kind!r} as in {first.path}, found {dataset.meta.kind!r}; "
                f"{_REFUSED}: merge datasets of one kind"
            )
        if not dataset.meta.columns:
            continue
        names = [[column.name for column in of.meta.columns] for of in (first, dataset)]
        if names[0] != names[1]:
            raise TypeError(
                f"{dataset.path}: expected the columns {names[0]} as in {first.path}, found {names[1]}; {_REFUSED}: "
                "add, drop or rename columns first"
            )
        for place, (column, other) in enumerate(zip(columns, sealed(dataset.meta.columns), strict=True)):
            common = _common(column.type, other.type)
            if common is None:
                where = f"{dataset.path}: column {other.name!r}" if other.name else str(dataset.path)
                raise TypeError(
                    f"{where}: expected {_shown(column.type)} as in {first.path}, found {_shown(other.type)}; "
                    f"{_REFUSED}: "
                    "rebuild one of them"
                )
            columns[place] = replace(column, type=common)
    return tuple(columns)


def _common(one: ColumnType, other: ColumnType) -> ColumnType | None:
    """A type that fits the rows of two columns; None if their files differ in more than the ranks."""
    if isinstance(one, _Spans) and isinstance(other, _Spans):
        one, other = _with_dictionary(one, other.codec), _with_dictionary(other, one.codec)
    if isinstance(one, Array | Ragged) and isinstance(other, Array | Ragged) and type(one) is type(other):
        if not one.is_known or not other.is_known:
            # An empty column takes the type of the other one, unless its dtype was declared.
            known, open_ = (one, other) if one.is_known else (other, one)
            fits = open_.dtype is None or known.dtype is None or open_.dtype == known.dtype
            return known if fits and one.nullable == other.nullable else None
        declared = one.declared and other.declared
        if isinstance(one, Ragged) and isinstance(other, Ragged) and one.ranks and other.ranks:
            ndim = one.ndim if one.ndim == other.ndim else None
            one = replace(one.with_ranks(*other.ranks), declared=declared, ndim=ndim)
            other = replace(other.with_ranks(*one.ranks or ()), declared=declared, ndim=ndim)
        else:
            one, other = replace(one, declared=declared), replace(other, declared=declared)
    return one if one == other else None


def _with_dictionary(column: _Spans, codec: Zstd | None) -> _Spans:
    """A column with the dictionary of another codec, if its own is not trained yet."""
    if column.codec is None or codec is None or not column.codec.is_untrained:
        return column
    return replace(column, codec=replace(column.codec, dictionary=codec.dictionary))


def _shown(column: ColumnType) -> str:
    """A column's type in a message, with a digest instead of the bytes of a dictionary."""
    if not isinstance(column, _Spans) or column.codec is None or column.codec.dictionary is None:
        return f"{column!r:.200}"
    without = replace(column, codec=replace(column.codec, dictionary=None))
    return f"{without!r:.200} with the dictionary {_kernel.xxh64(column.codec.dictionary):016x}"
