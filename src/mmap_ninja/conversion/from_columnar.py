"""Parquet, Arrow and Feather files, folders of them, and datasets that Hugging Face's library saved."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, cast

from mmap_ninja.arrow import files, streams
from mmap_ninja.arrow.types import KIND_MARK, mark_of
from mmap_ninja.conversion.source import Source, Wanted
from mmap_ninja.format.meta import Kind
from mmap_ninja.kinds.opening import CLASSES

_ROWS: Final = 1 << 14  # to read at once, at most
_STATE: Final = "state.json"
_SPLITS: Final = "dataset_dict.json"


def parquet(path: Path, wanted: Wanted) -> Source:
    """A Parquet file, or a folder of them."""
    return _tables("Parquet files" if path.is_dir() else "Parquet file", path, files.listed(path, str(path)), wanted)


def arrow(path: Path, wanted: Wanted) -> Source:
    """A file of Arrow or Feather, or a folder of them."""
    return _tables("Arrow files" if path.is_dir() else "Arrow file", path, files.listed(path, str(path)), wanted)


def is_hugging_face(folder: Path) -> bool:
    """Whether a folder is a dataset that was saved by `save_to_disk`."""
    return (folder / _STATE).is_file() or (folder / _SPLITS).is_file()


def hugging_face(path: Path, wanted: Wanted) -> Source:
    """A dataset that was saved by `save_to_disk`, with all of its columns.

    Raises:
        ValueError: if it is a dict of splits, or shows its rows in another order than that of its files.
    """
    if (path / _SPLITS).is_file():
        splits = _read(path / _SPLITS).get("splits", [])
        shown = ", ".join(str(path / split) for split in splits)
        raise ValueError(f"{path}: expected a dataset, found a dict of {len(splits)}; convert one of them: {shown}")
    state = _read(path / _STATE)
    if state.get("_indices_data_files") or state.get("_indices_files"):
        raise ValueError(
            f"{path}: shows its rows by indices; load it by datasets, and save the dataset that flatten_indices() gives"
        )
    try:
        names = [Path(file["filename"]) for file in state["_data_files"]]
    except (KeyError, TypeError):
        raise ValueError(f"{path / _STATE}: expected the names of the data files; save the dataset again") from None
    return _tables("dataset of Hugging Face", path, names, wanted)


def _read(path: Path) -> dict[str, Any]:
    try:
        read: dict[str, Any] = json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path}: expected JSON ({error}); save the dataset again") from None
    return read


def _tables(form: str, path: Path, names: Sequence[Path], wanted: Wanted) -> Source:
    stream = streams.of_files(path, names, str(path), _ROWS)
    marked = mark_of(stream.schema, KIND_MARK) if len(stream.schema) == 1 else None
    return Source(
        form=form,
        kind=wanted.kind or cast("Kind", marked if marked in CLASSES else "records"),
        samples=stream,
        feed="arrow",
        columns=wanted.columns,
        total=stream.total,
    )
