"""Sources of a build's samples, by iteration or by position."""

import collections
import copy
import inspect
import itertools
import operator
from collections.abc import Callable, Iterable, Iterator, Sized
from pathlib import Path
from typing import Any, Final, Generic, NamedTuple, Protocol, TypeVar, cast

import numpy as np
import numpy.typing as npt

from mmap_ninja import _kernel
from mmap_ninja.builds.located import locate
from mmap_ninja.columns import foreign
from mmap_ninja.columns.batch import Batch, Table, refuse_one
from mmap_ninja.columns.casting import as_array
from mmap_ninja.columns.json_values import without_tuples
from mmap_ninja.columns.limits import Limits
from mmap_ninja.columns.nesting import fields_of, nested, undotted

T = TypeVar("T")

_PLACE: Final = "index {} of the source".format
T_co = TypeVar("T_co", covariant=True)


class Indexable(Protocol[T_co]):
    """Samples by position, with or without a length, as `from_indexable` reads them."""

    def __getitem__(self, index: int, /) -> T_co:
        """The sample at a position; IndexError past the end."""


class Source(Protocol[T]):
    """The source of a build's samples."""

    total: int | None

    def batches(self, limits: Limits, count: int, last: object, path: Path) -> Iterator[Batch[T]]:
        """The samples from position `count` on, in batches within the limits.

        Raises:
            ValueError: if the source is shorter, or its sample before that position differs from `last`.
        """


class Iterated(Generic[T]):
    """Samples from any iterable; to resume a build, it must start from its first sample."""

    def __init__(self, samples: Iterable[T], total: int | None = None, place: Callable[[int], str] = _PLACE) -> None:
        refuse_one(samples, "samples")
        # Raises before a dataset is created, if it is not iterable.
        self._samples: Iterator[T] = iter(foreign.several(samples, "samples"))
        self.total: int | None = _length(samples) if total is None else total
        self._place = place

    def batches(self, limits: Limits, count: int, last: object, path: Path) -> Iterator[list[T]]:
        """The samples from position `count` on, in batches within the limits."""
        numbers = itertools.count(1)
        try:
            skipped = collections.deque(zip(itertools.islice(self._samples, count), numbers, strict=False), maxlen=1)
        except BaseException as error:
            locate(error, self._place(next(numbers) - 1))
            raise
        if count:
            sample, number = skipped[0] if skipped else (None, 0)
            check_resumed(number, sample, count, last, path)
        return self._batches(limits, count)

    def _batches(self, limits: Limits, count: int) -> Iterator[list[T]]:
        while True:
            batch: list[T] = []
            try:
                limits.fill(batch, self._samples)
            except BaseException as error:
                locate(error, self._place(count + len(batch)))
                raise
            if not batch:
                return
            count += len(batch)
            yield batch
            del batch  # before the next one is read


class Sliced:
    """Samples from one array."""

    def __init__(self, array: npt.NDArray[Any]) -> None:
        self._array = array
        self.total: int | None = len(array)

    def batches(self, limits: Limits, count: int, last: object, path: Path) -> Iterator[npt.NDArray[Any]]:
        """The samples from position `count` on, in batches within the limits."""
        if count:
            number = min(count, len(self._array))
            check_resumed(number, self._array[number - 1] if number else None, count, last, path)
        return limits.sliced(self._array, count)


class Tabled:
    """Samples from columns."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self.total: int | None = len(table)

    def batches(self, limits: Limits, count: int, last: object, path: Path) -> Iterator[Table]:
        """The samples from position `count` on, in batches within the limits."""
        if count:
            number = min(count, len(self._table))
            before = {name: column[number - 1] for name, column in self._table.columns.items()} if number else None
            check_resumed(number, before and nested(before), count, last, path)
        return limits.sliced(self._table, count, tells_size=self._table.is_in_memory)


class Shown(Generic[T]):
    """Samples that a view of a dataset shows.

    Args:
        view: The view, with the methods of lists and `select`.
    """

    def __init__(self, view: Any) -> None:
        self._view = view
        self.total: int | None = len(view)

    def batches(self, limits: Limits, count: int, last: object, path: Path) -> Iterator[list[T]]:
        """The samples from position `count` on, in batches within the limits."""
        if count:
            number = min(count, len(self._view))
            check_resumed(number, self._view[number - 1] if number else None, count, last, path)
        return limits.gathered(iter(self._view.select(slice(count, None))))


class Called(Generic[T]):
    """A function of a position, as an indexable object."""

    def __init__(self, function: Callable[[int], T]) -> None:
        self._function = function

    def __getitem__(self, index: int) -> T:
        return self._function(index)


class CalledWithLength(Called[T]):
    """The same with a known length."""

    def __init__(self, function: Callable[[int], T], length: int) -> None:
        super().__init__(function)
        self._length = length

    def __len__(self) -> int:
        return self._length


def make_indexable(func: Callable[[int], T], length: int | None = None) -> Called[T]:
    """An object for `from_indexable`, from a function that returns the sample at a position.

    Args:
        func: Called with 0, 1, ...
        length: The number of samples; None: the function raises IndexError after the last one.

    Example:
        >>> import mmap_ninja as mn
        >>> squares = mn.parallel.make_indexable(lambda index: str(index**2), length=4)
        >>> squares[3], len(squares)
        ('9', 4)
        >>> list(mn.StringsMmap.from_indexable("squares", squares))
        ['0', '1', '4', '9']
    """
    return Called(func) if length is None else CalledWithLength(func, operator.index(length))


class Reading(NamedTuple, Generic[T]):
    """The samples read from consecutive positions, then perhaps the end of the source, or an error."""

    samples: list[T]
    ended: bool  # whether the source ends after them
    error: BaseException | None  # raised by the position after them


class Indexed(Generic[T]):
    """Samples by position; an IndexError means the end only if the source has no length.

    Raises:
        TypeError: if the source can be neither indexed nor called.
    """

    def __init__(self, source: Indexable[T] | Callable[[int], T], place: Callable[[int], str] | None = None) -> None:
        if isinstance(cast("object", source), str | bytes | bytearray):
            refuse_one(source, "indexable")
        source = foreign.several(source, "indexable")
        yields = inspect.isgeneratorfunction(source)
        if hasattr(source, "__getitem__"):
            self.source: Indexable[T] | Called[T] = cast(Indexable[T], source)
        elif callable(source) and not yields:
            self.source = Called(source)
        else:
            found = "generator function" if yields else type(source).__name__
            raise TypeError(
                f"expected an indexable object or a function of an index, got {found}; pass iterables to from_generator"
            )
        self.total: int | None = _length(source)
        self.place: Callable[[int], str] = place or _PLACE

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "place": _PLACE}  # workers send only numbers

    def unread(self) -> "Indexed[T]":
        """A shallow copy, if that is cheap: without what the source will keep in its attributes when it is read."""
        kind, plain = type(self.source), True
        for name in ("__reduce_ex__", "__reduce__", "__getstate__"):
            plain = plain and getattr(kind, name) is getattr(object, name)
        if not plain or hasattr(kind, "__copy__") or issubclass(kind, list | dict | tuple):
            return self
        unread = copy.copy(self)
        unread.source = copy.copy(self.source)
        return unread

    def batches(self, limits: Limits, count: int, last: object, path: Path) -> Iterator[list[T]]:
        """The samples from position `count` on, in batches within the limits."""
        self.check_resumed(count, last, path)
        return limits.gathered(self._from(count))

    def check_resumed(self, count: int, last: object, path: Path) -> None:
        """Raise ValueError if this is not the source of the `count` stored samples."""
        if count:
            before = list(itertools.islice(self._from(count - 1), 1))
            check_resumed(count - 1 + len(before), before[0] if before else None, count, last, path)

    def _from(self, start: int) -> Iterator[T]:
        for index in itertools.count(start) if self.total is None else range(start, self.total):
            try:
                sample = self.source[index]
            except BaseException as error:
                if self.total is None and isinstance(error, IndexError):
                    return
                locate(error, self.place(index))
                raise
            yield sample

    def read(self, start: int, stop: int, size_bytes: int) -> Reading[T]:
        """The samples from `start` to `stop`, or to the one that reaches the bytes, or that cannot be read."""
        source, samples, left = self.source, list[T](), size_bytes
        try:
            for index in range(start, stop):
                samples.append(source[index])
                left -= _kernel.size_of(samples[-1], size_bytes, 0)
                if left <= 0:
                    break
        except BaseException as error:  # noqa: BLE001 - the caller raises it, after storing them
            if self.total is None and isinstance(error, IndexError):
                return Reading(samples, ended=True, error=None)
            return Reading(samples, ended=False, error=error)
        return Reading(samples, ended=start + len(samples) == self.total, error=None)


def count_beyond(source: Source[Any], stored: int) -> str | None:
    """How many samples a source has, if they are more than those stored; None if they are not, or nobody can tell.

    Iterators are not read: they would have to make all stored samples again.
    """
    if source.total is not None or not isinstance(source, Indexed):
        return str(source.total) if source.total is not None and source.total > stored else None
    read = source.read(stored, stored + 1, 1)
    if read.error is not None and not isinstance(read.error, Exception):
        raise read.error
    return None if read.ended else f"at least {stored + 1}"


def _length(samples: object) -> int | None:
    try:
        return len(samples) if isinstance(samples, Sized) else None
    except TypeError:  # `__len__` may raise it if an object has no length
        return None


def same(sample: object, stored: object) -> bool:
    """Whether a sample is equal to the stored one, allowing for what storing changes."""
    if isinstance(stored, dict):
        fields = fields_of(sample)
        if fields is not None and fields.keys() != stored.keys():
            fields = undotted(fields, "sample")
        return fields is not None and fields.keys() == stored.keys() and all(same(fields[k], stored[k]) for k in stored)
    if not isinstance(stored, np.ndarray | np.generic):
        known = foreign.plain(sample, "")
        return bool((known.tolist() if isinstance(known, np.ndarray) else known) == stored)
    try:
        array = as_array(sample, "", 0)  # with its dtype before storing
        with np.errstate(invalid="ignore"):
            cast = array.astype(stored.dtype)
    except (TypeError, ValueError, OverflowError):  # such a sample cannot have been stored
        return False
    if cast.dtype.kind in "iu" and array.dtype.kind != "b" and not np.array_equal(cast, array):
        return False  # storing only rounds floats
    return array.shape == stored.shape and cast.tobytes() == stored.tobytes()


def _as_stored(sample: Any, stored: object) -> Any:
    """A sample with None for the columns that it lacks, and without tuples in JSON."""
    if isinstance(stored, list):
        return without_tuples(sample)
    fields = {} if sample is None else fields_of(sample)
    if not isinstance(stored, dict) or fields is None:
        return sample
    fields = undotted(fields, "sample")
    return {**fields, **{key: _as_stored(fields.get(key), value) for key, value in stored.items()}}


def check_resumed(number: int, sample: object, count: int, last: object, path: Path) -> None:
    """Raise ValueError if sample `number` - 1 of a source, its last if it is too short, is not the last stored one.

    `count`: the number of stored samples.
    """
    if number < count:
        raise ValueError(f"{path}: the source has fewer than the {count} stored samples; resume with the same source")
    if not same(_as_stored(sample, last), last):
        raise ValueError(
            f"{path}: sample {count - 1} of the source is {sample!r:.80}, the stored one is {last!r:.80}: this is not "
            "the source with which the build was started, or other samples were appended since; resume with that "
            "source, or pass if_exists='replace'"
        )
