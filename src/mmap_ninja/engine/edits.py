"""Edits: which rows stop being samples, or are stored elsewhere, as the lines of the edits file."""

import struct
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from mmap_ninja import _kernel
from mmap_ninja.engine.generation import Generation
from mmap_ninja.errors import StaleHandleError

Rows = npt.NDArray[np.int64]

_LINE: Final = struct.Struct("<4Q")


@dataclass(frozen=True, slots=True, eq=False)
class Edit:
    """What is to happen to some samples of a handle.

    Args:
        numbering: What the rows are numbered by: `Meta.numbering` of the generation that they were looked up in.
        rows: The samples', before any replacement: `[n]`.
        replaces: Whether a batch of n samples takes their place; else they are deleted.
        stored: The rows where they were stored then, `[n]`, if that must be so still; None: it may have changed.
    """

    numbering: tuple[bytes, str]
    rows: Rows
    replaces: bool
    stored: Rows | None = None

    def check(self, numbering: tuple[bytes, str], edits: _kernel.Edits, path: str) -> None:
        """Raise StaleHandleError if the samples are no longer there."""
        what = "replaced" if self.replaces else "deleted"
        if numbering != self.numbering:
            raise StaleHandleError(
                f"{path}: was replaced or compacted since this handle looked, so its indices no longer mean what they "
                f"did; nothing was {what}: call refresh() and look again"
            )
        if (row := edits.first_hidden(self.rows)) >= 0:
            raise StaleHandleError(
                f"{path}: the sample of row {row} was deleted since this handle looked; nothing was {what}: call "
                "refresh() and look again"
            )
        if self.stored is not None and (row := edits.first_moved(self.rows, self.stored)) >= 0:
            raise StaleHandleError(
                f"{path}: the sample of row {row} was replaced since this handle looked; nothing was {what}: call "
                "refresh() and look again"
            )

    def lines(self) -> bytes:
        """As the edits file has it; new rows count from the start of the batch that the commit appends."""
        operation = _kernel.EDIT_REPLACE if self.replaces else _kernel.EDIT_DELETE
        if len(self.rows) == 1:  # at a tenth of the cost
            return _LINE.pack(operation, self.rows[0], 1, 0)
        rows = self.rows if self.replaces else _ascending(self.rows)
        starts = np.concatenate([[0], np.flatnonzero(np.diff(rows) != 1) + 1]) if len(rows) else np.empty(0, np.int64)
        lines = np.zeros((len(starts), 4), np.uint64)
        lines[:, 0] = operation
        lines[:, 1] = rows[starts]
        lines[:, 2] = np.diff(starts, append=len(rows))
        lines[:, 3] = starts if self.replaces else 0
        return lines.tobytes()


def _ascending(rows: Rows) -> Rows:
    """Rows in their order, each once; np.unique, which hashes, takes microseconds per row."""
    ordered = np.sort(rows, kind="stable")  # in no time where they are in order, as those of a slice
    once: Rows = ordered[np.diff(ordered, prepend=-1) != 0]
    return once


def unneeded(generation: Generation, edits: _kernel.Edits) -> list[int]:
    """How many bytes of each of a generation's files are of rows that no sample is stored in."""
    ranges = edits.ranges()
    moved = ranges[ranges[:, 2] >= 0]
    hidden, stored = (
        ranges[:, :2],
        moved[:, [2, 1]],
    )  # where a replacement is stored, no row of its own is: both have it
    return [
        0 if file.column is None else generation.size_of(index, hidden) - generation.size_of(index, stored)
        for index, file in enumerate(generation.meta.files)
    ]
