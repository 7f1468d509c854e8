"""Edits: rows that are deleted, or stored elsewhere, as lines of the edits file."""

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
    """A change of some samples of a handle.

    Args:
        numbering: `Meta.numbering` of the generation in which the rows were looked up.
        rows: The rows of the samples before any replacement: `[n]`.
        replaces: Whether a batch of n samples takes their places; else they are deleted.
        stored: The rows where they must still be stored, `[n]`; None: anywhere.
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
                f"{path}: the dataset was replaced or compacted after this handle's snapshot, so its indices are "
                f"no longer valid; nothing was {what}: call refresh() and look again"
            )
        if (row := edits.first_hidden(self.rows)) >= 0:
            raise StaleHandleError(
                f"{path}: the sample of row {row} was deleted after this handle's snapshot; nothing was {what}: call "
                "refresh() and look again"
            )
        if self.stored is not None and (row := edits.first_moved(self.rows, self.stored)) >= 0:
            raise StaleHandleError(
                f"{path}: the sample of row {row} was replaced after this handle's snapshot; nothing was {what}: call "
                "refresh() and look again"
            )

    def lines(self) -> bytes:
        """The lines for the edits file; new rows count from the start of the batch that the commit appends."""
        operation = _kernel.EDIT_REPLACE if self.replaces else _kernel.EDIT_DELETE
        if len(self.rows) == 1:  # ten times as fast
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
    """Rows sorted, each once; np.unique hashes, which takes microseconds per row."""
    ordered = np.sort(rows, kind="stable")  # immediate if they are sorted, as those of a slice
    once: Rows = ordered[np.diff(ordered, prepend=-1) != 0]
    return once


def unneeded(generation: Generation, edits: _kernel.Edits) -> list[int]:
    """Bytes of rows without a sample, in each of a generation's files."""
    ranges = edits.ranges()
    moved = ranges[ranges[:, 2] >= 0]
    hidden, stored = (
        ranges[:, :2],
        moved[:, [2, 1]],
    )  # the row of a replacement is in both
    return [
        0 if file.column is None else generation.size_of(index, hidden) - generation.size_of(index, stored)
        for index, file in enumerate(generation.meta.files)
    ]
