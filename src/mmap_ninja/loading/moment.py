"""`Moment`: where a loader is, in an epoch or before one."""

# ruff: noqa: SLF001 - plans, orders and loaders belong together

from dataclasses import dataclass
from typing import Any, NamedTuple

from mmap_ninja.loading.course import Course, Place, Rest
from mmap_ninja.loading.orders import Order
from mmap_ninja.loading.plans import Plan

Source = Plan | Order | bool  # what decides which samples come when; a bool: whether they are shuffled


@dataclass(eq=False, slots=True)
class Turn:
    """An iteration in progress."""

    course: Course | None  # None: it is that of another loader, of which this one is a copy
    rest: Rest


class Moment(NamedTuple):
    """What changes in a loader. It is replaced as a whole, so that an interrupt finds all of it changed, or nothing."""

    source: Source
    seed: int
    start: Place  # of the next iteration, if none is in progress
    turn: Turn | None  # another one whenever older iterators become invalid
    samples: Any  # those of a place in the middle of an epoch, if no iteration of this loader has them

    @property
    def place(self) -> Place:
        """What was not handed out yet begins here."""
        return self.start if self.turn is None else self.turn.rest.place

    @property
    def seed_of_order(self) -> int:
        """The seed of the order, or else of `rng`."""
        own = getattr(self.source, "seed", None)
        return self.seed if own is None else own

    def at(self, place: Place) -> "Moment":
        """Before an iteration that begins at a place."""
        return self._replace(start=place, turn=None, samples=None)

    def with_seed(self, seed: int, plan: Plan) -> "Moment":
        """The same with another seed, that of a plan."""
        source = self.source
        if isinstance(source, Plan):
            source = plan
        elif isinstance(source, Order):
            source = source._with_seed(seed)
        changed = self._replace(source=source)
        return changed if changed.seed_of_order == seed else changed._replace(seed=seed)  # it is that of `rng`
