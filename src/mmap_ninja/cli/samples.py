"""Datasets as commands read them: by columns, and a part that fits the memory at a time."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import click

import mmap_ninja as mn

if TYPE_CHECKING:
    from mmap_ninja.columns.types import ColumnType
    from mmap_ninja.engine.dataset import Dataset
    from mmap_ninja.kinds.handle import DatasetHandle
    from mmap_ninja.kinds.options import ReadMode
    from mmap_ninja.legacy.dataset import LegacyDataset

SAMPLE: Final = "sample"  # the name of the column of a dataset with only one, as in `to_arrow`
_PART_BYTES: Final = 4 << 20
_PART_SAMPLES: Final = 1 << 16


def opened(path: str) -> "DatasetHandle[Any]":
    """The dataset at a path, for reading."""
    return mn.open(path, "r")


def opened_with_engine(
    path: str, read_mode: "ReadMode | None" = None
) -> "tuple[DatasetHandle[Any], Dataset | LegacyDataset]":
    """The same, with what tells about its files."""
    from mmap_ninja.engine import files
    from mmap_ninja.kinds.handle import handle_over
    from mmap_ninja.kinds.opening import CLASSES
    from mmap_ninja.kinds.options import HandleOptions
    from mmap_ninja.legacy.dataset import open_dataset

    options = HandleOptions("r", read_mode=read_mode)
    engine = open_dataset(files.absolute(path), None, options.durability, options.lock_timeout)
    return handle_over(CLASSES[engine.meta.kind], engine, path, options), engine


def columns_of(dataset: "DatasetHandle[Any]", name: str | None = None) -> "dict[str, DatasetHandle[Any]]":
    """The columns by their names; with a name, that column, or a group of nested ones."""
    if name is not None:
        column_of(dataset, name)  # raises if there is none
    if not isinstance(dataset, mn.RecordsMmap):
        return {SAMPLE: dataset}
    chosen = [own for own in dataset.columns if name is None or own == name or own.startswith(f"{name}.")]
    return {own: dataset[own] for own in chosen}


def names_of(dataset: "DatasetHandle[Any]") -> list[str] | None:
    """The names of the columns of records; None for other kinds."""
    return dataset.columns if isinstance(dataset, mn.RecordsMmap) else None


def column_of(dataset: "DatasetHandle[Any]", name: str | None) -> "DatasetHandle[Any]":
    """A column, or a group of nested ones; the dataset itself without a name."""
    if name is None:
        return dataset
    if not isinstance(dataset, mn.RecordsMmap):
        raise click.UsageError(f"{dataset.path}: its samples have no columns; leave out --column")
    column: DatasetHandle[Any] = dataset[name]
    return column


def parts_of(dataset: "DatasetHandle[Any]", *others: "DatasetHandle[Any]") -> Iterator[slice]:
    """Slices of all samples, each of a few megabytes on average, also in others of as many samples."""
    from mmap_ninja._kernel import column_of as samples_of

    count, mean_size = len(dataset), max(samples_of(it).mean_size for it in (dataset, *others))
    step = int(min(max(_PART_BYTES / max(mean_size, 1), 1), _PART_SAMPLES))
    return (slice(start, min(start + step, count)) for start in range(0, count, step))


def type_text(column: "ColumnType") -> str | None:
    """The type of a column, without its codec; None if no sample has told it yet."""
    from dataclasses import replace

    from mmap_ninja.columns import specs
    from mmap_ninja.columns.types import Array, Ragged

    plain = column if isinstance(column, Array | Ragged) else replace(column, codec=None)
    return specs.short(specs.spec_of(plain)) if column.is_known else None
