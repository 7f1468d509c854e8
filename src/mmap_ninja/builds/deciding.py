"""The first samples of a source, which decide what columns a dataset gets; they are held back for that."""

import itertools
from collections.abc import Iterator
from typing import Any, TypeVar

from mmap_ninja.columns import inference
from mmap_ninja.columns.batch import Batch, Table
from mmap_ninja.columns.limits import DECIDING_SAMPLES, Limits, deciding_bytes
from mmap_ninja.columns.types import Column

T = TypeVar("T")


def deciding(
    batches: Iterator[Batch[T]], known: tuple[Column, ...], limits: Limits, size_bytes: int
) -> tuple[Batch[T], Iterator[Batch[T]]]:
    """The samples that decide, as one batch, and all batches again.

    An error of the source comes after the batches before it, as if nothing had been held back. Nothing is, and no
    sample decides, if the first one has only columns that are known.

    Args:
        batches: The samples.
        known: The columns that are known.
        limits: Those of the batches, which are told how large samples are.
        size_bytes: Bytes with which fewer samples decide, so that they do not fill the memory.
    """
    held, left, error = list[Any](), size_bytes, None
    try:
        for batch in batches:
            held.append(batch)
            if len(held) == 1 and inference.are_known(_first(batch), known):
                return [], itertools.chain(held, batches)
            size = _size(batch, size_bytes)
            if isinstance(batch, Table):  # it may not have been measured before it was made
                limits.note(len(batch), size)
            left -= size
            if left <= 0 or sum(map(len, held)) >= DECIDING_SAMPLES:
                break
    except Exception as raised:  # noqa: BLE001 - raised again after these batches
        error = raised

    def again() -> Iterator[Batch[T]]:
        while held:
            yield held.pop(0)
        if error is not None:
            raise error
        yield from batches

    return _joined(held), again()


def _first(batch: Any) -> Any:
    return batch if isinstance(batch, Table) else batch[0]


def _joined(held: list[Any]) -> Any:
    if not held or not isinstance(held[0], Table):
        return list(itertools.chain.from_iterable(held))
    return Table({name: inference.joined([batch.columns[name] for batch in held]) for name in held[0].columns})


def _size(batch: Any, most: int) -> int:
    """The bytes that a batch takes up while it is held."""
    if not isinstance(batch, Table):
        return deciding_bytes(batch, most)
    return sum(deciding_bytes(column, most) for column in batch.columns.values())
