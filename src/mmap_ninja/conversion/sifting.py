"""Samples of which those that cannot be read or stored are left out, and noted."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

from mmap_ninja.builds.build import EncodeBatch
from mmap_ninja.columns import inference
from mmap_ninja.columns.limits import Limits
from mmap_ninja.conversion.source import Skipped, Source
from mmap_ninja.engine.dataset import Columns

T = TypeVar("T")


def readable(found: Source, skipped: Skipped) -> Iterator[tuple[int, Any]]:
    """The samples of a source that can be read, with their positions in it; iterators note the others themselves."""
    if found.feed == "generator":
        yield from enumerate(found.samples)
        return
    for index in range(len(found.samples)):
        try:
            sample = found.samples[index]
        except (OSError, ValueError) as error:
            skipped.note(found.place(index), error)
        else:
            yield index, sample


def agreed(samples: list[Any], known: Columns) -> Columns:
    """The columns of the first samples without those that disagree with the ones before them.

    Raises:
        TypeError: if no sample defines columns.
    """
    kept = list[Any]()

    def keep(part: list[Any]) -> None:
        try:
            inference.inferred([*kept, *part], known)
        except (TypeError, ValueError):
            if len(part) > 1:
                middle = len(part) // 2
                keep(part[:middle])
                keep(part[middle:])
        else:
            kept.extend(part)

    keep(samples)
    return inference.inferred(kept or samples, known)


def sifted(
    numbered: Iterator[tuple[int, T]],
    encode: EncodeBatch[T],
    columns: Columns,
    source: Path,
    found: Source,
    skipped: Skipped,
    limits: Limits,
) -> Iterator[T]:
    """The samples that can be stored, by trial: each batch is encoded, and halved if that fails."""
    numbers = list[int]()

    def samples() -> Iterator[T]:
        for number, sample in numbered:
            numbers.append(number)
            yield sample

    def fitting(batch: list[T], first: int) -> list[T]:
        nonlocal columns
        try:
            columns, _ = encode(batch, str(source), numbers[first], columns)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            if len(batch) == 1:
                skipped.note(found.place(numbers[first]), ValueError(str(error).removeprefix(f"{source}: ")))
                return []
            middle = len(batch) // 2
            return fitting(batch[:middle], first) + fitting(batch[middle:], first + middle)
        return batch

    for batch in limits.gathered(samples()):
        yield from fitting(batch, 0)
        numbers.clear()
