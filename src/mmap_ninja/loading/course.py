"""One epoch, or the rest of one: what its batches are made of, and how, for one of several processes."""

# ruff: noqa: SLF001 - plans, orders and loaders belong together

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from mmap_ninja import _kernel
from mmap_ninja.builds.located import locate
from mmap_ninja.loading.collate import Read
from mmap_ninja.loading.fingerprint import described
from mmap_ninja.loading.orders import SEEDS, Positions
from mmap_ninja.loading.plans import Plan

_SHOWN = 10  # positions in a message


class Place(NamedTuple):
    """Where a loader is."""

    epoch: int
    position: int  # samples of all processes, or rows of a packing, that were handed out in this epoch

    @property
    def next_epoch(self) -> "Place":
        """The start of the epoch after this one; after the last number, epochs begin at 0 again."""
        return Place((self.epoch + 1) % SEEDS, 0)


class Rest(NamedTuple):
    """What is left of an epoch."""

    epoch: int
    position: int  # where it begins
    batches: int

    @property
    def place(self) -> Place:
        """Where it begins."""
        return Place(self.epoch, self.position)

    def after(self, size: int) -> "Rest":
        """What is left after a batch of so many samples of all processes."""
        return Rest(self.epoch, self.position + size, self.batches - 1)


@dataclass(frozen=True)
class Maker:
    """What a loader does with each batch.

    Args:
        name: The dataset, for messages.
        rank: The number of this process.
        world_size: How many processes there are.
        transform: Called with the batch; None: nothing is.
        seed: That of the generators for `transform`; None: it gets none.
        with_index: Whether the samples' positions come with the batch.
        convert: Called with what is handed out; None: nothing is.
    """

    name: str
    rank: int
    world_size: int
    transform: Callable[..., Any] | None
    seed: int | None
    with_index: bool
    convert: Callable[[Any], Any] | None

    def transformed(self, transform: Callable[..., Any], batch: Any, positions: Positions, place: Place) -> Any:
        """A batch after `transform`.

        Raises:
            TypeError: if it returns nothing.
        """
        try:
            if self.seed is None:
                result = transform(batch)
            else:
                numbers = (self.seed, place.epoch, place.position + self.rank)
                key = _kernel.xxh64(b"".join(part.to_bytes(8, "little") for part in numbers))
                result = transform(batch, np.random.Generator(np.random.Philox(key=key)))
        except Exception as error:
            locate(error, f"transform of the samples {_shown(positions)} of epoch {place.epoch}")
            raise
        if result is None:
            raise TypeError(
                f"{self.name}: transform: expected it to return a batch, got None for the samples {_shown(positions)}"
            )
        return result


@dataclass(frozen=True)
class Course:
    """The batches of an epoch. Threads may share it.

    Args:
        samples: A snapshot of the dataset.
        plan: The plan of this epoch.
        read: Reads the samples at some positions of the plan.
        maker: What is done with them.
    """

    samples: Any
    plan: Plan
    read: Read
    maker: Maker

    def fingerprint(self) -> dict[str, Any]:
        """What a state belongs to."""
        return {"dataset": described(self.samples), "samples": len(self.samples), "plan": self.plan._described()}

    def share(self, position: int) -> tuple[Positions, int]:
        """This process's part of the batch that begins at a position, and the size of the whole batch."""
        positions, world_size = self.plan._batch_from(position), self.maker.world_size
        size = len(positions)
        if world_size == 1:
            return positions, size
        if rest := size % world_size:
            positions = np.concatenate([positions, np.resize(self.plan._batch_from(0), world_size - rest)])
        return positions[self.maker.rank :: world_size], size

    def batch(self, k: int) -> Any:
        """A batch by its number in the epoch."""
        rest = Rest(self.plan.epoch, self.plan._unit_of(k), 1)
        return self.make(self.share(rest.position)[0], rest)[0]

    def make(self, positions: Positions, rest: Rest) -> tuple[Any, float]:
        """The first batch of a rest, and the seconds that making it took."""
        begin = time.perf_counter()
        batch = self.read(positions)
        if self.maker.transform is not None:
            batch = self.maker.transformed(self.maker.transform, batch, positions, rest.place)
        if self.maker.with_index:
            batch = self.plan._indices(positions), batch
        if self.maker.convert is not None:
            batch = self.maker.convert(batch)
        return batch, time.perf_counter() - begin


def _shown(positions: Positions) -> str:
    shown = ", ".join(map(str, positions[:_SHOWN].tolist()))
    return f"[{shown}, ...]" if len(positions) > _SHOWN else f"[{shown}]"
