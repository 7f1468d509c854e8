"""How large a batch may be: in samples, and in bytes; and how many samples decide what columns are."""

import itertools
from collections.abc import Iterable, Iterator
from typing import Any, Final, Protocol, Self, TypeVar

from mmap_ninja import _kernel

T = TypeVar("T")

BATCH_BYTES: Final = 64 << 20  # the default of builds: takes much longer to write than a commit, and fits any memory

DECIDING_SAMPLES: Final = 1024  # that decide; a schema must not depend on the size of batches


def deciding_bytes(samples: Any, size_bytes: int) -> int:
    """The bytes of samples that are to decide, at most so many; a part that tells no size counts as its share."""
    return _kernel.size_of(samples, size_bytes, max(1, size_bytes // DECIDING_SAMPLES))


class Sliceable(Protocol):
    """Samples that can be sliced: an array, a table, a batch of Arrow."""

    def __len__(self) -> int: ...

    def __getitem__(self, key: slice, /) -> Self: ...


S = TypeVar("S", bound=Sliceable)


def count_deciding(samples: Iterable[Any], size_bytes: int) -> int:
    """How many samples decide: the first `DECIDING_SAMPLES`, up to the one with which they have so many bytes."""
    count, left = 0, size_bytes
    for sample in itertools.islice(samples, DECIDING_SAMPLES):
        if left <= 0:
            break
        count += 1
        left -= deciding_bytes(sample, size_bytes)
    return count


class Limits:
    """The most that a batch may hold, in samples and in bytes; a single sample may have more bytes.

    Samples are measured before they are encoded. One whose type does not tell its size, such as a lazy image, counts as
    much as samples of the batch before had on average when they were encoded; the first one makes a batch.
    """

    def __init__(self, samples: int, size_bytes: int) -> None:
        self._samples = samples
        self._size_bytes = size_bytes
        self._typical = size_bytes

    def note(self, samples: int, size_bytes: int) -> None:
        """Note how large samples were when they were encoded, or are likely to be."""
        self._typical = max(1, size_bytes // samples)

    def fill(self, batch: list[T], samples: Iterator[T]) -> None:
        """Move samples to an empty list, up to the one that reaches a limit."""
        _kernel.fill(batch, samples, self._samples, self._size_bytes, self._typical)

    def gathered(self, samples: Iterator[T]) -> Iterator[list[T]]:
        """All samples, batch by batch."""
        while True:
            batch: list[T] = []
            self.fill(batch, samples)
            if not batch:
                return
            yield batch
            del batch  # before the next one is read

    def sliced(self, whole: S, first: int = 0, *, tells_size: bool = True) -> Iterator[S]:
        """The samples from position `first` on, batch by batch; `tells_size`: whether slices show how large they are.

        Slices that do not are read from a file, or made when they are encoded.
        """
        while first < len(whole):
            rows = self._samples if tells_size else min(self._samples, max(1, self._size_bytes // self._typical))
            part = whole[first : first + rows]
            while tells_size and len(part) > 1 and self._is_exceeded(part):
                part = part[: len(part) // 2]
            first += len(part)
            yield part
            del part  # before the next one is read

    def _is_exceeded(self, part: object) -> bool:
        return _kernel.size_of(part, self._size_bytes + 1, self._typical) > self._size_bytes
