"""Names of files that samples tell: only such that stay where they are written to, each once."""

from typing import Final

import numpy as np

from mmap_ninja.columns.types import Text
from mmap_ninja.conversion.samples import OutColumn, Samples
from mmap_ninja.kinds.splits import hashes_of_values

_ROWS: Final = 1 << 12  # at once


def column_named(samples: Samples, *names: str) -> OutColumn | None:
    """The column of texts that tells the names of files: the first of these that is there, beside another column."""
    columns = {column.name: column for column in samples.columns if column.holds == "text"}
    found = [columns[name] for name in names if name in columns]
    return found[0] if found and len(samples.columns) > 1 else None


def check_names(column: OutColumn, *, dotless: bool) -> None:
    """Raise ValueError if names are no relative paths within a folder, or one is there twice.

    Args:
        column: The names.
        dotless: Whether a dot may not be in the last part of a name.
    """
    remedy = "so it cannot name a file; change it, or leave the column out with columns=, and numbers name them"
    for start in range(0, len(column.samples), _ROWS):
        names = column.samples.take(slice(start, start + _ROWS))
        for number, name in enumerate(names, start):
            if (wrong := _wrong(name, dotless=dotless)) is not None:
                raise ValueError(f"{column.where}: sample {number}: {name!r:.80} {wrong}, {remedy}")
    hashes = np.concatenate([np.empty(0, np.uint64), *hashes_of_values(column.samples, Text(), column.where, 0)])
    order = np.argsort(hashes, kind="stable")
    for place in np.flatnonzero(hashes[order[1:]] == hashes[order[:-1]]).tolist():
        first, again = order[place : place + 2].tolist()
        name, other = column.samples.take([first, again])
        if name == other:
            raise ValueError(f"{column.where}: sample {again}: {name!r:.80} names sample {first}, too, {remedy}")


def numbered(first: int, columns: tuple[OutColumn, ...], total: int) -> list[str]:
    """The numbers of the samples of some columns, from `first`, as names that sort like the samples."""
    width = max(6, len(str(total - 1)))
    return [str(number).zfill(width) for number in range(first, first + len(columns[0].samples))]


def _wrong(name: str | None, *, dotless: bool) -> str | None:
    """What is wrong with a name; None if nothing is."""
    if not name:
        return "is empty"
    if "\0" in name:
        return "has a null character"
    parts = name.split("/")
    if name.startswith("/"):
        return "is an absolute path"
    if ".." in parts:
        return "leads out of the folder"
    if "" in parts or "." in parts:
        return "has an empty part"
    if dotless and "." in parts[-1]:
        return "has a dot, which WebDataset takes for the start of the column's name"
    return None
