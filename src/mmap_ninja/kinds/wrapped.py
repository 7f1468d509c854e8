"""`Wrapped`, a function over the samples of any list, and `Mapped`, one over those of a dataset."""

from collections.abc import Callable, Iterator, Sequence
from copy import copy
from typing import Any, Generic, TypeVar

from mmap_ninja.exported import exported
from mmap_ninja.kinds.indices import is_index, several
from mmap_ninja.kinds.loadable import Loadable

R = TypeVar("R")


@exported
class Wrapped(Loadable, Generic[R]):
    """Samples that pass through a function when they are read.

    Args:
        data: Any object with indices and a length.
        wrapper_fn: Called with the result of indexing: a sample for a number, a list or array for a slice.
        copy_before_wrapper_fn: Whether `wrapper_fn` gets a shallow copy.

    Example:
        >>> import mmap_ninja as mn
        >>> upper = mn.Wrapped(["a", "b"], str.upper)
        >>> upper[1], len(upper)
        ('B', 2)
    """

    def __init__(self, data: Any, wrapper_fn: Callable[[Any], R], copy_before_wrapper_fn: bool = True) -> None:
        check_wrapper(wrapper_fn)
        self.data = data
        self.wrapper_fn = wrapper_fn
        self.copy_before_wrapper_fn = copy_before_wrapper_fn

    def __getitem__(self, item: Any) -> Any:
        return self._wrapped(self.data[item])

    def __getitems__(self, indices: Any) -> list[R]:
        """A batch for PyTorch's DataLoader, which calls this: the function gets each sample by itself."""
        read_many = getattr(self.data, "__getitems__", None)
        samples = [self.data[index] for index in indices] if read_many is None else read_many(indices)
        return list(map(self._wrapped, samples))

    def __iter__(self) -> Iterator[R]:
        return map(self._wrapped, self.data)

    def _wrapped(self, sample: Any) -> R:
        return self.wrapper_fn(copy(sample) if self.copy_before_wrapper_fn else sample)

    def __len__(self) -> int:
        return len(self.data)


@exported
class Mapped(Wrapped[R], Sequence[R]):
    """The samples of a dataset or view, each of which passes through a function when it is read; from `map`.

    Args:
        samples: The dataset or view.
        function: Called with each sample.

    Example:
        >>> import mmap_ninja as mn
        >>> upper = mn.StringsMmap.from_strings("texts", ["a", "b", "c"]).map(str.upper)
        >>> upper[1], upper[[2, 0]], len(upper)
        ('B', ['C', 'A'], 3)
    """

    def __init__(self, samples: Any, function: Callable[[Any], R]) -> None:
        super().__init__(samples, function, copy_before_wrapper_fn=False)

    def __getitem__(self, key: Any) -> Any:
        return self._wrapped(self.data[key]) if is_index(key) else self.__getitems__(several(key))

    def __repr__(self) -> str:
        return f"Mapped({self.data!r}, {self.wrapper_fn!r:.80})"


def check_wrapper(wrapper_fn: object) -> None:
    """Raise TypeError if what is to be called with samples is no function, such as a mode in its place."""
    if wrapper_fn is not None and not callable(wrapper_fn):
        raise TypeError(
            f"wrapper_fn {wrapper_fn!r:.80}: expected a function, got {type(wrapper_fn).__name__}; pass a mode by its "
            "name: mode='r'"
        )
