"""Sources: where a build's samples come from, by iteration or by position."""

import collections
import itertools
from collections.abc import Iterable, Iterator, Sized
from pathlib import Path
from typing import Generic, Protocol, TypeVar

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Indexable(Protocol[T_co]):
    """What `from_indexable` reads: samples by position, with or without a length."""

    def __getitem__(self, index: int, /) -> T_co:
        """The sample at a position; IndexError past the end."""


class Source(Protocol[T_co]):
    """Where a build's samples come from."""

    total: int | None

    def after(self, count: int, last: object, path: Path) -> Iterator[T_co]:
        """The samples from position `count` on.

        Raises:
            ValueError: if the source is shorter, or its sample before that position is not equal to `last`.
        """


class Iterated(Generic[T]):
    """Samples from any iterable, which starts again from its first sample when a build is resumed."""

    def __init__(self, samples: Iterable[T], total: int | None = None) -> None:
        self._samples = iter(samples)  # now: what is not iterable must not leave a dataset behind
        self.total = len(samples) if total is None and isinstance(samples, Sized) else total

    def after(self, count: int, last: object, path: Path) -> Iterator[T]:
        """The samples from position `count` on."""
        skipped = collections.deque(enumerate(itertools.islice(self._samples, count), 1), maxlen=1)
        if count:
            number, sample = skipped[0] if skipped else (0, None)
            _check_resumed(number, sample, count, last, path)
        return self._samples


class Indexed(Generic[T]):
    """Samples by position; only where the source has no length does an IndexError mean its end."""

    def __init__(self, source: Indexable[T]) -> None:
        self._source = source
        self.total = len(source) if isinstance(source, Sized) else None

    def after(self, count: int, last: object, path: Path) -> Iterator[T]:
        """The samples from position `count` on."""
        if count:
            before = list(itertools.islice(self._from(count - 1), 1))
            _check_resumed(count - 1 + len(before), before[0] if before else None, count, last, path)
        return self._from(count)

    def _from(self, start: int) -> Iterator[T]:
        for index in itertools.count(start) if self.total is None else range(start, self.total):
            try:
                sample = self._source[index]
            except IndexError:
                if self.total is None:
                    return
                raise
            yield sample


def _check_resumed(number: int, sample: object, count: int, last: object, path: Path) -> None:
    if number < count:
        raise ValueError(
            f"{path}: the source ends before the {count} samples that are stored; resume with the same one"
        )
    if sample != last:
        raise ValueError(
            f"{path}: sample {count - 1} of the source is {sample!r:.80}, the stored one is {last!r:.80}: this is not "
            "the source that the build was started with, or something else was appended since; resume with that "
            "source, or pass if_exists='replace'"
        )
