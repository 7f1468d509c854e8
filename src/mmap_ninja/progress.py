"""Progress bars, for those who want to see them.

tqdm is imported here alone, and where a bar is shown: it takes a tenth of a second, and its lock is one with all forked
processes, which one that is killed may keep.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")


@contextmanager
def bar(
    total: int | None, unit: str, *, shown: bool, initial: int = 0, scaled: bool = False
) -> Iterator[Callable[[int], object]]:
    """A bar that is told of progress by what this gives.

    Args:
        total: How much there is to do, if that is known.
        unit: What is counted.
        shown: Whether there is a bar at all.
        initial: How much was done before.
        scaled: Whether large numbers are written with k, M and so on.
    """
    if not shown:
        yield _untold
        return
    from tqdm.auto import tqdm  # noqa: PLC0415

    with tqdm(total=total, initial=initial, unit=unit, unit_scale=scaled) as shown_bar:
        yield shown_bar.update


def through(items: Iterable[T], unit: str) -> Iterable[T]:
    """The same items, shown as they are read."""
    from tqdm.auto import tqdm  # noqa: PLC0415

    passed: Iterable[T] = tqdm(items, unit=unit)
    return passed


def _untold(_: int) -> None:
    pass
