"""Arrays of one shape as `np.memmap`: the functions of 0.x."""

import mmap
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from mmap_ninja.builds import build, sources
from mmap_ninja.columns.casting import AnyArray, as_array, checked_dtype
from mmap_ninja.columns.limits import BATCH_BYTES
from mmap_ninja.columns.types import Array
from mmap_ninja.engine import files, upgrade_marks
from mmap_ninja.engine.dataset import DEFAULT_LOCK_TIMEOUT, Dataset
from mmap_ninja.exported import exported
from mmap_ninja.format.meta import one_column
from mmap_ninja.kinds.arrays import ArrayMmap
from mmap_ninja.kinds.options import PathLike
from mmap_ninja.legacy.read import read_layout

Memmap = np.memmap[Any, Any]
MemmapMode = Literal["r", "r+", "c"]

_BATCH: Final = 1024
# Without the second one, Linux refuses maps larger than memory and swap. Python has a name for it since 3.13.
_PRIVATE: Final = mmap.MAP_PRIVATE | getattr(mmap, "MAP_NORESERVE", 0x40 if sys.platform == "darwin" else 0x4000)


@exported
def np_from_ndarray(out_dir: PathLike, arr: npt.ArrayLike) -> Memmap:
    """Store an array, and return a writable map of it: assignments go to the dataset's file.

    A dataset at the path is replaced. Since the bytes may change in place, the payload has no checksums;
    `ArrayMmap.from_ndarray` makes the same dataset with checksums.

    Args:
        out_dir: The dataset's directory; missing parents are created.
        arr: `[n, ...]`, of any memory layout; it is stored in C order.

    Example:
        >>> import numpy as np
        >>> import mmap_ninja as mn
        >>> images = mn.np_from_ndarray("images", np.zeros((3, 2)))
        >>> images[0] = 1
        >>> mn.np_open_existing("images").tolist()
        [[1.0, 1.0], [0.0, 0.0], [0.0, 0.0]]
    """
    array = as_array(arr, str(out_dir), 0)
    if array.ndim == 0:
        raise ValueError(
            f"{out_dir}: expected an array of shape [n, ...], got one without dimensions; wrap the value in a list"
        )
    column = Array(checked_dtype(array.dtype, str(out_dir)), array.shape[1:], sealed=False)
    return _store(out_dir, sources.Sliced(array), _BATCH, column, verbose=False)


@exported
def np_from_generator(
    out_dir: PathLike, sample_generator: Iterable[AnyArray], batch_size: int, verbose: bool = False
) -> Memmap:
    """Store the samples of an iterable, batch by batch, and return a writable map, as `np_from_ndarray` does.

    Args:
        out_dir: The dataset's directory; missing parents are created.
        sample_generator: Any iterable of arrays of one shape.
        batch_size: Samples per commit, at most.
        verbose: Whether to show a progress bar.

    Example:
        >>> import numpy as np
        >>> import mmap_ninja as mn
        >>> squares = mn.np_from_generator("squares", (np.array([k, k * k]) for k in range(1000)), batch_size=256)
        >>> squares.shape, squares[30].tolist()
        ((1000, 2), [30, 900])
    """
    return _store(out_dir, sources.Iterated(sample_generator), batch_size, Array(sealed=False), verbose=verbose)


def _store(out_dir: PathLike, source: sources.Source[Any], batch_size: int, column: Array, *, verbose: bool) -> Memmap:
    options = build.Options(batch_size, BATCH_BYTES, verbose, "replace", None, None, DEFAULT_LOCK_TIMEOUT)
    with ArrayMmap._build(out_dir, source, None, options, one_column(column)) as stored:  # noqa: SLF001 - same package
        path = stored.path
    return np_open_existing(path, "r+")


@exported
def np_open_existing(out_dir: PathLike, mode: MemmapMode = "r") -> Memmap:
    """Map the samples of an array dataset.

    Args:
        out_dir: The dataset's directory.
        mode: "r": read-only. "r+": assignments go to the file; the first such map removes the payload's checksums. "c":
            assignments stay in memory. What a library that ignores "r" writes stays in memory, too.

    Returns:
        `[n, ...]`, with the samples that there are now.

    Raises:
        NotADatasetError: if there is no dataset at the path.
        TypeError: if the dataset is of another kind.
        ValueError: if the mode is unknown ("w+" would erase the samples), or samples were deleted or replaced since the
            last `compact`.

    Example:
        >>> import numpy as np
        >>> import mmap_ninja as mn
        >>> _ = mn.np_from_ndarray("images", np.zeros((2, 3)))
        >>> images = mn.np_open_existing("images", mode="r+")
        >>> images[0] = 1  # goes to the file
        >>> mn.np_open_existing("images").sum().item()
        3.0
    """
    if mode not in ("r", "r+", "c"):
        raise ValueError(f"mode {mode!r} is unknown (expected 'r', 'r+' or 'c'; np_from_ndarray makes a new dataset)")
    path = Path(out_dir)
    if upgrade_marks.detect(path):
        layout = read_layout(path)
        if layout.kind != "array" or layout.dtype is None or layout.sample_shape is None:
            raise TypeError(
                f"{path}: expected a dataset of kind 'array', found {layout.kind!r}; mmap_ninja.open finds the class "
                "by itself"
            )
        shape = (layout.rows, *layout.sample_shape)
        return _map(path / layout.payload.name, layout.dtype, mode, shape, layout.order)
    dataset = Dataset(path.absolute(), "array", "process", DEFAULT_LOCK_TIMEOUT)
    if dataset.seen.slot.edits:
        raise ValueError(
            f"{path}: samples were deleted or replaced, so the file is not the list of samples; call ArrayMmap.compact "
            "first, or read the samples through ArrayMmap"
        )
    column = dataset.meta.columns[0]
    if mode == "r+" and isinstance(column.type, Array) and column.type.sealed:
        dataset.change_columns((replace(column, type=replace(column.type, sealed=False)),))
        column = dataset.meta.columns[0]
    array = column.type
    if not isinstance(array, Array) or array.dtype is None or array.shape is None:
        raise ValueError(f"{path}: the dataset is empty, so dtype and shape are unknown; append a sample first")
    name = dataset.meta.files[dataset.meta.index("data", column.id)].name
    return _map(path / name, array.dtype, mode, (dataset.seen.rows, *array.shape), "C")


def _map(
    path: Path, dtype: np.dtype[Any], mode: MemmapMode, shape: tuple[int, ...], order: Literal["C", "F"]
) -> Memmap:
    if 0 not in shape:
        return (
            np.memmap(path, dtype, mode, 0, shape, order) if mode == "r+" else _private(path, dtype, mode, shape, order)
        )
    nothing = np.empty(shape, dtype, order).view(np.memmap)  # empty files cannot be mapped
    nothing.filename = str(path.absolute())
    nothing.mode = mode
    return nothing


def _private(
    path: Path, dtype: np.dtype[Any], mode: MemmapMode, shape: tuple[int, ...], order: Literal["C", "F"]
) -> Memmap:
    """A map whose changes stay in this process: with "r", NumPy refuses them, but not every other library does.

    `np.memmap` shares the file with "r", so that a write by PyTorch ends the process.
    """
    size = int(np.prod(shape, dtype=object)) * dtype.itemsize
    with files.open_read(path) as opened:
        try:
            mapped = mmap.mmap(opened.fileno(), size, _PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE)
        except OSError as error:
            raise MemoryError(
                f"{path}: the system refuses a private map of {size} bytes ({error}); read the samples through "
                'ArrayMmap with mode="c"'
            ) from None
    array = np.ndarray.__new__(np.memmap, shape, dtype, mapped, 0, None, order)
    array.flags.writeable = mode == "c"
    array._mmap, array.offset, array.mode = mapped, 0, mode  # type: ignore[attr-defined]  # noqa: SLF001 - as its constructor does
    array.filename = path.resolve()  # type: ignore[assignment]
    return array


@exported
def np_extend_dir(out_dir: PathLike, arr: npt.ArrayLike) -> None:
    """Add samples to an array dataset.

    Args:
        out_dir: The dataset's directory.
        arr: `[n, ...]`, of any memory layout; it is stored in C order.

    Raises:
        TypeError: if the values do not fit the dataset's dtype.
        ValueError: if the samples have another shape.

    Example:
        >>> import numpy as np
        >>> import mmap_ninja as mn
        >>> _ = mn.np_from_ndarray("images", np.zeros((2, 3)))
        >>> mn.np_extend_dir("images", np.ones((5, 3)))
        >>> mn.np_open_existing("images").shape
        (7, 3)
    """
    ArrayMmap(out_dir).extend(as_array(arr, str(out_dir), 0))


@exported
def np_extend(np_mmap: Memmap, arr: npt.ArrayLike) -> None:
    """Add samples to the dataset of a memmap; the memmap itself does not grow.

    Args:
        np_mmap: A memmap from `np_from_ndarray`, `np_from_generator` or `np_open_existing`.
        arr: `[n, ...]`, of any memory layout; it is stored in C order.

    Example:
        >>> import numpy as np
        >>> import mmap_ninja as mn
        >>> images = mn.np_from_ndarray("images", np.zeros((2, 3)))
        >>> mn.np_extend(images, np.ones((5, 3)))
        >>> images.shape, mn.np_open_existing("images").shape
        ((2, 3), (7, 3))
    """
    if np_mmap.filename is None:
        raise ValueError("np_extend: the memmap has no file name; use np_extend_dir with the dataset's path")
    np_extend_dir(Path(np_mmap.filename).parent, arr)


@exported
def np_append(np_mmap: Memmap, arr: npt.ArrayLike) -> None:
    """Add one sample to the dataset of a memmap; the memmap itself does not grow.

    Args:
        np_mmap: A memmap from `np_from_ndarray`, `np_from_generator` or `np_open_existing`.
        arr: One sample, `[...]`.

    Example:
        >>> import numpy as np
        >>> import mmap_ninja as mn
        >>> images = mn.np_from_ndarray("images", np.zeros((2, 3)))
        >>> mn.np_append(images, np.ones(3))
        >>> images.shape, mn.np_open_existing("images").shape
        ((2, 3), (3, 3))
    """
    np_extend(np_mmap, as_array(arr, "np_append", 0)[None])
