"""`concat`: several datasets as one list, without a copy."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from mmap_ninja.columns.joining import Joinable, joined
from mmap_ninja.exported import exported
from mmap_ninja.kinds.handle import DatasetHandle
from mmap_ninja.kinds.joined import Parts
from mmap_ninja.kinds.reading import join
from mmap_ninja.kinds.windows import WindowSequence

H = TypeVar("H", bound=DatasetHandle[Any])


@exported
def concat(datasets: Iterable[H]) -> H:
    """Several datasets as one list: lazy, read-only and picklable, on the commits that their handles show now.

    It is a view, as `select` gives them: a handle of the same class, with all its reading methods. Columns may differ
    in their order, in whether they are nullable, and in their compression. Handles that are used nowhere else need not
    stay open: pass a generator of them.

    Args:
        datasets: Datasets, views, columns of records, or other concatenations, all of one class. Samples that are
            appended to them later are not in the list.

    Raises:
        TypeError: if their classes differ, or their columns do in names, dtypes or shapes.
        ValueError: if there are no datasets.

    Example:
        >>> import mmap_ninja as mn
        >>> a = mn.StringsMmap.from_strings("a", ["one", "two"])
        >>> b = mn.StringsMmap.from_strings("b", ["three"])
        >>> both = mn.concat([a, b])
        >>> len(both), both[-1], both.take([2, 0])
        (3, 'three', ['three', 'one'])
        >>> [part.path.name for part in both.parts]
        ['a', 'b']
    """
    if isinstance(datasets, DatasetHandle):
        raise TypeError(f"{datasets.path}: concat: expected several datasets, got one; put it in a list")
    views: list[H] = []
    for dataset in datasets:
        _check_class(dataset, views)
        views.append(dataset.select(slice(None)))
    if not views:
        raise ValueError("concat: expected at least one dataset, got none")
    first, others = views[0], len(views) - 1
    columns = joined(list(map(_joinable, views)), "select the same columns of each, or rebuild those that differ")
    path = Path(f"{first.path} and {others} more") if others else first.path
    parts = Parts(views, list(map(len, views)))
    complete = all(view.complete for view in views)
    options = first._options  # noqa: SLF001 - those of the first, as a view has those of its dataset
    return join(type(first), path, options, parts, complete, columns)


def _check_class(dataset: object, before: list[H]) -> None:
    if isinstance(dataset, WindowSequence):
        raise TypeError(
            f"concat: expected datasets, got {dataset!r:.200}; store the windows first: ArrayMmap.from_generator(path, "
            "ds.windows(length))"
        )
    if not isinstance(dataset, DatasetHandle):
        raise TypeError(f"concat: expected datasets, got {type(dataset).__name__}; open it with mmap_ninja.open first")
    if before and type(dataset) is not type(before[0]):
        raise TypeError(
            f"{dataset.path}: concat: expected {type(before[0]).__name__} as in {before[0].path}, "
            f"got {type(dataset).__name__}; concatenate datasets of one class"
        )


def _joinable(view: DatasetHandle[Any]) -> Joinable:
    state = view._state  # noqa: SLF001 - names and types at one moment
    # A column of records is its own dataset here, whatever its name.
    names = state.names if hasattr(view, "columns") else [""] * len(state.columns)
    columns = tuple(replace(column, name=name) for name, column in zip(names, state.columns, strict=True))
    return Joinable(str(view.path), columns, len(view) > 0)
