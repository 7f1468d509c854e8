"""What the loaders for frameworks share."""

from collections.abc import Callable, Mapping
from typing import Any, TypedDict

import numpy.typing as npt

from mmap_ninja.kinds.loadable import Collate
from mmap_ninja.kinds.nulls import Nulls
from mmap_ninja.loading.collate import Pad
from mmap_ninja.loading.orders import Order
from mmap_ninja.loading.plans import Plan


class Options(TypedDict, total=False):
    """Arguments of `mmap_ninja.Loader` that they pass on."""

    plan: Plan | None
    shuffle: bool | Order | npt.ArrayLike
    seed: int
    drop_last: bool
    columns: list[str] | None
    collate: Collate
    pad: Pad | Mapping[str, Pad] | None
    nulls: Nulls
    fill: Any
    transform: Callable[..., Any] | None
    rng: bool
    num_threads: int | None
    prefetch: int
    with_index: bool


def process_of(rank: int | None, world_size: int | None, told: Callable[[], tuple[int, int]]) -> tuple[int, int]:
    """The number of this process, and how many there are; the framework tells it if neither is given.

    Raises:
        TypeError: if only one of them is given.
    """
    if rank is not None and world_size is not None:
        return rank, world_size
    if rank is not None or world_size is not None:
        raise TypeError("rank, world_size: expected both of them, or neither")
    return told()
