"""The lengths of a generation's files. The kernel has the same rules; a test compares the two."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from mmap_ninja import _kernel
from mmap_ninja.columns.types import Array, Column, LengthRule
from mmap_ninja.format.slots import EDIT_SIZE, SUM_SIZE


@dataclass(frozen=True, slots=True)
class FileRule:
    """How long a file is at a commit: the kernel's struct of this name, without the open file."""

    length: LengthRule
    unit: int
    offsets: int  # of a payload: index of the offsets file that gives its length
    sealed: bool  # its complete blocks have sums, the rest is covered by the digest


_EDITS: Final = FileRule(LengthRule.EDITS, EDIT_SIZE, 0, sealed=True)
_SUMS: Final = FileRule(LengthRule.SUMS, SUM_SIZE, 0, sealed=False)


def file_rules(columns: Sequence[Column]) -> tuple[FileRule, ...]:
    """The rules of a generation's files in their order: those of each column, then edits and sums."""
    rules: list[FileRule] = []
    for column in columns:
        sealed = not isinstance(column.type, Array) or column.type.sealed
        of_column = column.type.files()
        offsets = len(rules) + [*of_column].index("offsets") if "offsets" in of_column else 0
        for length, unit in of_column.values():
            rules.append(FileRule(length, unit, offsets if length is LengthRule.PAYLOAD else 0, sealed))
    return (*rules, _EDITS, _SUMS)


def extents(rules: Sequence[FileRule], rows: int, edits: int, ends: Sequence[int]) -> list[int]:
    """The bytes of each file that belong to a commit.

    Args:
        rules: The rules of the generation's files, in their order.
        rows: The commit's rows.
        edits: Its edits.
        ends: For each payload, the offset at `rows`, where its last row ends; entries of other files are ignored.
    """
    blocks = 0  # complete blocks of the sealed files so far
    found = []
    for rule, end in zip(rules, ends, strict=True):
        match rule.length:
            case LengthRule.ROWS:
                units = rows
            case LengthRule.OFFSETS:
                units = rows + 1
            case LengthRule.PAYLOAD:
                units = end
            case LengthRule.EDITS:
                units = edits
            case _:
                units = blocks
        extent = units * rule.unit
        found.append(extent)
        if rule.sealed:
            blocks += extent // _kernel.BLOCK
    return found
