"""Arrays of one shape as `np.memmap`: the functions that 0.x had for them."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from mmap_ninja.builds import build, sources
from mmap_ninja.columns.casting import AnyArray, as_array, checked_dtype
from mmap_ninja.columns.types import Array
from mmap_ninja.engine import upgrade_marks
from mmap_ninja.engine.dataset import DEFAULT_LOCK_TIMEOUT, Dataset
from mmap_ninja.exported import exported
from mmap_ninja.format.meta import one_column
from mmap_ninja.kinds.arrays import ArrayMmap
from mmap_ninja.kinds.options import PathLike
from mmap_ninja.legacy.read import read_layout

Memmap = np.memmap[Any, Any]
MemmapMode = Literal["r", "r+", "c"]

_BATCH: Final = 1024


@exported
def np_from_ndarray(out_dir: PathLike, arr: npt.ArrayLike) -> Memmap:
    """Store an array, and map it writable: what is assigned to the result is written to the dataset's file.

    Whatever was at the path is replaced. Since its bytes may change in place, the payload has no checksums;
    `ArrayMmap.from_ndarray` makes the same dataset with them.

    Args:
        out_dir: The dataset's directory; missing parents are made.
        arr: `[n, ...]`, of any memory layout; it is stored in C order.

    Example:
        >>> import numpy as np
        >>> import mmap_ninja
        >>> images = mmap_ninja.np_from_ndarray("images", np.zeros((3, 2)))
        >>> images[0] = 1
        >>> mmap_ninja.np_append(images, np.full(2, 7.0))
        >>> mmap_ninja.np_open_existing("images").tolist()
        [[1.0, 1.0], [0.0, 0.0], [0.0, 0.0], [7.0, 7.0]]
    """
    array = as_array(arr, str(out_dir), 0)
    if array.ndim == 0:
        raise ValueError(f"{out_dir}: an array of no dimensions has no samples; give one of shape [n, ...]")
    column = Array(checked_dtype(array.dtype, str(out_dir)), array.shape[1:], sealed=False)
    return _store(out_dir, sources.Sliced(array), _BATCH, column, verbose=False)


@exported
def np_from_generator(
    out_dir: PathLike, sample_generator: Iterable[AnyArray], batch_size: int, verbose: bool = False
) -> Memmap:
    """Store the samples of an iterable, batch by batch, and map them writable, as `np_from_ndarray` does.

    Args:
        out_dir: The dataset's directory; missing parents are made.
        sample_generator: Any iterable of arrays of one shape.
        batch_size: Samples per commit, at most.
        verbose: Whether to show a progress bar.
    """
    return _store(out_dir, sources.Iterated(sample_generator), batch_size, Array(sealed=False), verbose=verbose)


def _store(out_dir: PathLike, source: sources.Source[Any], batch_size: int, column: Array, *, verbose: bool) -> Memmap:
    options = build.Options(batch_size, verbose, "replace", None, None, DEFAULT_LOCK_TIMEOUT)
    with ArrayMmap._build(out_dir, source, None, options, one_column(column)) as stored:  # noqa: SLF001 - it is a build
        path = stored.path
    return np_open_existing(path, "r+")


@exported
def np_open_existing(out_dir: PathLike, mode: MemmapMode = "r") -> Memmap:
    """Map the samples of an array dataset.

    Args:
        out_dir: The dataset's directory.
        mode: "r": read-only. "r+": what is assigned is written to the file; from the first time on, the payload has no
            checksums. "c": it is kept in memory only.

    Returns:
        `[n, ...]`, of as many samples as there are now.

    Raises:
        NotADatasetError: if the path holds no dataset.
        TypeError: if it holds another kind.
        ValueError: for another mode; "w+" would erase the samples. Or if samples were deleted or replaced, until
            `compact`.
    """
    if mode not in ("r", "r+", "c"):
        raise ValueError(f"mode {mode!r} is unknown (expected 'r', 'r+' or 'c'; np_from_ndarray makes a new dataset)")
    path = Path(out_dir)
    if upgrade_marks.detect(path):
        layout = read_layout(path)
        if layout.kind != "array" or layout.dtype is None or layout.sample_shape is None:
            raise TypeError(f"{path}: holds {layout.kind}, not array; mmap_ninja.open finds the class by itself")
        shape = (layout.rows, *layout.sample_shape)
        return _map(path / layout.payload.name, layout.dtype, mode, shape, layout.order)
    dataset = Dataset(path.absolute(), "array", "process", DEFAULT_LOCK_TIMEOUT)
    if dataset.seen.slot.edits:
        raise ValueError(
            f"{path}: has deleted or replaced samples, so its file is not the list of its samples; call compact() of "
            "ArrayMmap first, or read it through that"
        )
    column = dataset.meta.columns[0]
    if mode == "r+" and isinstance(column.type, Array) and column.type.sealed:
        dataset.change_columns((replace(column, type=replace(column.type, sealed=False)),))
        column = dataset.meta.columns[0]
    array = column.type
    if not isinstance(array, Array) or array.dtype is None or array.shape is None:
        raise ValueError(f"{path}: holds no samples yet, so neither dtype nor shape is known; append one first")
    name = dataset.meta.files[dataset.meta.index("data", column.id)].name
    return _map(path / name, array.dtype, mode, (dataset.seen.rows, *array.shape), "C")


def _map(
    path: Path, dtype: np.dtype[Any], mode: MemmapMode, shape: tuple[int, ...], order: Literal["C", "F"]
) -> Memmap:
    if 0 not in shape:
        return np.memmap(path, dtype, mode, 0, shape, order)
    nothing = np.empty(shape, dtype, order).view(np.memmap)  # the system maps no empty files
    nothing.filename = str(path.absolute())
    nothing.mode = mode
    return nothing


@exported
def np_extend_dir(out_dir: PathLike, arr: npt.ArrayLike) -> None:
    """Add samples to an array dataset.

    Args:
        out_dir: The dataset's directory.
        arr: `[n, ...]`, of any memory layout; it is stored in C order.

    Raises:
        TypeError: if the values do not fit the dataset's dtype.
        ValueError: if the samples have another shape.
    """
    ArrayMmap(out_dir).extend(as_array(arr, str(out_dir), 0))


@exported
def np_extend(np_mmap: Memmap, arr: npt.ArrayLike) -> None:
    """Add samples to the dataset that a memmap of this module is of; the memmap itself does not grow.

    Args:
        np_mmap: What `np_from_ndarray`, `np_from_generator` or `np_open_existing` returned.
        arr: `[n, ...]`, of any memory layout; it is stored in C order.
    """
    if np_mmap.filename is None:
        raise ValueError("this memmap is of no file; see np_extend_dir")
    np_extend_dir(Path(np_mmap.filename).parent, arr)


@exported
def np_append(np_mmap: Memmap, arr: npt.ArrayLike) -> None:
    """Add one sample to the dataset that a memmap of this module is of; the memmap itself does not grow.

    Args:
        np_mmap: What `np_from_ndarray`, `np_from_generator` or `np_open_existing` returned.
        arr: One sample, `[...]`.
    """
    np_extend(np_mmap, np.asarray(arr)[None])
