"""`Wrapped`: a function over the samples of any list."""

from collections.abc import Callable, Iterator
from copy import copy
from typing import Any

from mmap_ninja.exported import exported


@exported
class Wrapped:
    """Samples that pass through a function when they are read.

    Args:
        data: Any object with indices and a length.
        wrapper_fn: Called with the result of indexing: a sample for a number, a list or array for a slice.
        copy_before_wrapper_fn: Whether `wrapper_fn` gets a shallow copy.

    Example:
        >>> upper = Wrapped(["a", "b"], str.upper)
        >>> upper[1], len(upper)
        ('B', 2)
    """

    def __init__(self, data: Any, wrapper_fn: Callable[[Any], Any], copy_before_wrapper_fn: bool = True) -> None:
        check_wrapper(wrapper_fn)
        self.data = data
        self.wrapper_fn = wrapper_fn
        self.copy_before_wrapper_fn = copy_before_wrapper_fn

    def __getitem__(self, item: Any) -> Any:
        return self._wrapped(self.data[item])

    def __iter__(self) -> Iterator[Any]:
        return map(self._wrapped, self.data)

    def _wrapped(self, sample: Any) -> Any:
        return self.wrapper_fn(copy(sample) if self.copy_before_wrapper_fn else sample)

    def __len__(self) -> int:
        return len(self.data)


def check_wrapper(wrapper_fn: object) -> None:
    """Raise TypeError if what is to be called with samples is no function, such as a mode in its place."""
    if wrapper_fn is not None and not callable(wrapper_fn):
        raise TypeError(
            f"wrapper_fn {wrapper_fn!r:.80}: expected a function, got {type(wrapper_fn).__name__}; pass a mode by its "
            "name: mode='r'"
        )
