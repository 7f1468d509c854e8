"""What strings and bytes share: samples that are runs of bytes, which can be read without an object for each."""

from collections.abc import Iterator
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from mmap_ninja.dataset import DEFAULT_LOCK_TIMEOUT, Durability
from mmap_ninja.handle import DatasetHandle, Mode, PathLike
from mmap_ninja.legacy import Keys
from mmap_ninja.sequence import Indices

T = TypeVar("T")


class SpansHandle(DatasetHandle[T]):
    """A dataset whose samples are runs of bytes."""

    def __init__(
        self,
        out_dir: PathLike,
        mode: Mode | None = None,
        starts_key: str = "starts",
        ends_key: str = "ends",
        *,
        durability: Durability = "process",
        lock_timeout: float = DEFAULT_LOCK_TIMEOUT,
    ) -> None:
        keys = Keys(starts_key, ends_key)
        super().__init__(out_dir, mode, durability=durability, lock_timeout=lock_timeout, keys=keys)

    def take_jagged(self, indices: Indices) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
        """The bytes of many samples back to back, without an object for each: what a tokenizer wants.

        Args:
            indices: As for `take`.

        Returns:
            `(values, offsets)`: uint8 `[total]` and int64 `[len(indices) + 1]`, both owned and writable. Sample k is
            `values[offsets[k]:offsets[k + 1]]`.

        Raises:
            IndexError: if an index is out of range.
        """
        return self._take_jagged(indices)

    def _key_bytes(self, value: object) -> bytes | None:
        """The stored form of a sample, or None for a value that no sample can be."""
        raise NotImplementedError

    def _matches(self, value: object, start: int, stop: int) -> Iterator[int]:
        wanted = self._key_bytes(value)
        while wanted is not None and (start := self._find(wanted, start, stop)) >= 0:
            yield start
            start += 1

    @property
    def byte_lengths(self) -> npt.NDArray[np.int64]:
        """Bytes of each sample: int64 `[n]`, a new array."""
        return self._sizes()

    @property
    def starts(self) -> npt.NDArray[np.uint64]:
        """Where each sample starts in the payload, in bytes: uint64 `[n]`, read-only, over the map."""
        return self._bounds()[0]

    @property
    def ends(self) -> npt.NDArray[np.uint64]:
        """Where each sample ends in the payload, in bytes: uint64 `[n]`, read-only, over the map."""
        return self._bounds()[1]


def check_keys(*keys: str) -> None:
    """Raise ValueError for other keys than the default: they named the index folders of 0.x."""
    if keys != Keys()[: len(keys)]:
        raise ValueError(f"keys {keys}: expected {Keys()[: len(keys)]}; other names are for reading directories of 0.x")
