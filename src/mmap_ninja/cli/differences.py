"""How two datasets differ: in what they are, and in which samples, by position."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

import mmap_ninja as mn
from mmap_ninja._kernel import column_of
from mmap_ninja.cli.samples import SAMPLE, columns_of, names_of, opened_with_engine, parts_of, type_text
from mmap_ninja.engine.dataset import Dataset

if TYPE_CHECKING:
    from mmap_ninja.kinds.handle import DatasetHandle
    from mmap_ninja.legacy.dataset import LegacyDataset

AnyArray = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]


@dataclass(slots=True)
class Differences:
    """What differs.

    Args:
        facts: What differs about the datasets as wholes: its name, and what it is in the first and in the second.
        compared: How many samples were compared by position.
        num_samples: How many of these differ.
        shown: The first ones of them: index, column or None, and both values.
    """

    facts: list[tuple[str, Any, Any]] = field(default_factory=list)
    compared: int = 0
    num_samples: int = 0
    shown: list[tuple[int, str | None, Any, Any]] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.facts or self.num_samples)


def compare(first: str, second: str, most_shown: int, tell: Callable[[int, int], object]) -> Differences:
    """Compare two datasets.

    Args:
        first: The path of one.
        second: The path of the other.
        most_shown: How many samples that differ are told.
        tell: Called with the number of samples that were compared, and of those to compare.
    """
    (one, engine), (other, of_other) = map(opened_with_engine, (first, second))
    found = Differences()
    if engine.meta.kind != of_other.meta.kind:
        found.facts.append(("kind", engine.meta.kind, of_other.meta.kind))
        return found
    types, other_types = (
        {of.name or SAMPLE: type_text(of.type) for of in it.meta.columns} for it in (engine, of_other)
    )
    found.facts += [
        (f"column {name}", types.get(name), other_types.get(name))
        for name in {**types, **other_types}
        if types.get(name) != other_types.get(name)
    ]
    if len(one) != len(other):
        found.facts.append(("samples", len(one), len(other)))
    if one.complete != other.complete:
        found.facts.append(("complete", one.complete, other.complete))
    if one.metadata != other.metadata:
        found.facts.append(("metadata", one.metadata, other.metadata))
    found.compared = min(len(one), len(other))
    if not _have_same_content(engine, of_other):
        _compare_samples(one, other, found, most_shown, tell)
    return found


def _have_same_content(one: "Dataset | LegacyDataset", other: "Dataset | LegacyDataset") -> bool:
    """Whether the checksums tell that all samples are equal, without reading them; False: unknown."""
    if not isinstance(one, Dataset) or not isinstance(other, Dataset):
        return False
    sides = [
        (seen.meta.columns, [file.id for file in seen.meta.files], seen.identity[3:]) for seen in (one.seen, other.seen)
    ]
    # Payloads that are written in place have no checksums.
    return sides[0] == sides[1] and all(rule.sealed for rule in one.meta.rules[:-1])


def _compare_samples(
    one: "DatasetHandle[Any]",
    other: "DatasetHandle[Any]",
    found: Differences,
    most_shown: int,
    tell: Callable[[int, int], object],
) -> None:
    columns, of_other = columns_of(one), columns_of(other)
    pairs = {name: (columns[name], of_other[name]) for name in columns if name in of_other}
    pairs = {name: pair for name, pair in pairs.items() if type(pair[0]) is type(pair[1])}
    for part in parts_of(*(it.select(slice(found.compared)) for it in (one, other))):
        differs = {name: _differing(*pair, part) for name, pair in pairs.items()}
        any_differs = np.logical_or.reduce([*differs.values(), np.zeros(part.stop - part.start, np.bool_)])
        found.num_samples += int(any_differs.sum())
        for place in np.flatnonzero(any_differs)[: most_shown - len({index for index, *_ in found.shown})].tolist():
            index = part.start + place
            found.shown += [
                (index, name if names_of(one) else None, pairs[name][0][index], pairs[name][1][index])
                for name in pairs
                if differs[name][place]
            ]
        tell(part.stop - part.start, found.compared)


def _differing(one: Any, other: Any, part: slice) -> Mask:
    """Which samples of a part differ in a column; NaN is equal to NaN."""
    count = part.stop - part.start
    nulls = [column_of(it).null_mask(part) for it in (one, other)]
    is_null, other_null = (np.zeros(count, np.bool_) if mask is None else mask for mask in nulls)
    if isinstance(one, mn.ArrayMmap):
        if one.shape[1:] != other.shape[1:]:
            return np.ones(count, np.bool_)
        rows = [column_of(it).take_rows(part, None)[0] for it in (one, other)]
        unequal = np.asarray(_unequal(*rows).reshape(count, -1).any(axis=1))
        return np.asarray((is_null != other_null) | (unequal & ~is_null))
    same_nulls = bool((is_null == other_null).all())
    if same_nulls and not isinstance(one, mn.RaggedMmap):
        pairs = zip(one.take_jagged(part), other.take_jagged(part), strict=True)
        if all(np.array_equal(*pair) for pair in pairs):
            return np.zeros(count, np.bool_)
    samples = zip(one.select(part), other.select(part), strict=True)
    return np.fromiter((not _are_equal(*pair) for pair in samples), np.bool_, count)


def _are_equal(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return one.shape == other.shape and not _unequal(one, other).any()
    return bool(one is other or (one is not None and other is not None and one == other))


def _unequal(one: AnyArray, other: AnyArray) -> Mask:
    unequal: Mask = (one != other) & ((one == one) | (other == other))  # noqa: PLR0124 - NaN differs from itself
    return unequal
