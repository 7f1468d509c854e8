"""Progress bars and lines.

tqdm is imported only here, when a bar is shown: the import takes a tenth of a second, and forked processes share its
lock, which one that is killed may keep.
"""

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar

T = TypeVar("T")


@contextmanager
def bar(
    total: int | None, unit: str, *, shown: bool, initial: int = 0, scaled: bool = False
) -> Iterator[Callable[[int], object]]:
    """Show a bar; gives a function to call with the progress.

    Args:
        total: The amount of work, if known.
        unit: The unit of counting.
        shown: Whether to show a bar at all.
        initial: The amount already done.
        scaled: Whether to write large numbers with k, M and so on.
    """
    if not shown:
        yield _untold
        return
    from tqdm.auto import tqdm  # noqa: PLC0415

    with tqdm(total=total, initial=initial, unit=unit, unit_scale=scaled) as shown_bar:
        yield shown_bar.update


def note(text: str) -> None:
    """Write a line to stderr, without tqdm and its lock; nothing if stderr is missing, closed or a broken pipe."""
    with suppress(OSError, ValueError):
        if sys.stderr is not None:
            sys.stderr.write(f"{text}\n")
            sys.stderr.flush()


def through(items: Iterable[T], unit: str) -> Iterable[T]:
    """The same items, with a progress bar."""
    from tqdm.auto import tqdm  # noqa: PLC0415

    passed: Iterable[T] = tqdm(items, unit=unit)
    return passed


def _untold(_: int) -> None:
    pass
