"""The loader: whole batches of an epoch, which goes on exactly where it stopped."""

# ruff: noqa: SLF001 - plans, orders and loaders belong together

import copy
import weakref
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self

import numpy.typing as npt

from mmap_ninja.exported import exported
from mmap_ninja.kinds.loadable import Collate
from mmap_ninja.kinds.nulls import Nulls
from mmap_ninja.kinds.reading import ReadingHandle
from mmap_ninja.loading.collate import Forms, Pad, check_samples, reader_of
from mmap_ninja.loading.course import Course, Maker, Place, Rest
from mmap_ninja.loading.mixing import Mix
from mmap_ninja.loading.moment import Moment, Source, Turn
from mmap_ninja.loading.orders import MOST, SEEDS, Listed, Order, Shuffle, number, order_of
from mmap_ninja.loading.packed import check_packing, packed_reader
from mmap_ninja.loading.packing import Packing
from mmap_ninja.loading.plans import Batches, Plan
from mmap_ninja.loading.running import Running
from mmap_ninja.loading.states import VERSION, State, check_fingerprint, told_by


@exported
class Loader:
    """Batches for training, epoch by epoch, which stop and go on exactly where they stopped.

    Each `iter()` is the next epoch, from its start, over the snapshot that the dataset shows then. A batch is read by
    one native call per column, in this process: there are no workers.

    Args:
        dataset: A dataset, a view, a `concat`, a `mix`, windows, or any list.
        batch_size: Samples in a batch of one process. Without a plan it is required.
        plan: `Batches`, `Buckets` or a `Packing`; it takes the place of `batch_size`, `shuffle`
            and `drop_last`, and its sizes are of all processes together.
        shuffle: Whether each epoch has a new order. Or the order: a `Shuffle`, a `Weighted`, or an array of positions.
        seed: What decides the order and `rng`: a number from 0 to 2^64 - 1. An order or a plan has its own seed.
        rank: The number of this process, from 0.
        world_size: How many processes there are. Where the last batch does not divide, samples from the start of the
            epoch fill it up, so that all processes have equally many.
        drop_last: Whether to leave out the last batch if it is short.
        columns: The columns of records to read; None: all.
        collate: The form of batches. "auto": one array of samples that have one shape by their type; padded if `pad`
            is given; otherwise a list; a dict of these for records. "stack": one array, also of ragged samples, which
            then must have one shape. "pad": as with `pad=Pad()`. "jagged": `(values, offsets)` as from `take_jagged`.
            "list": a list of samples.
        pad: How ragged samples are padded, for all columns or by column in a dict: a batch is then
            `(array, lengths[, mask])`, or, for records, `x`, `x_lengths` and `x_mask`.
        nulls: What a null of a nullable column becomes. "mask": None in a list; masked in an array, with NaN or NaT
            under the mask where the dtype has one. "raise": a ValueError that names the column and the position.
        fill: A value for nulls, which their columns hold exactly, or, for records, a dict with a value for each of
            some columns; None: as `nulls` says.
        transform: Called with each batch; its result is the batch. With `rng`, also with a random generator.
        rng: Whether `transform` gets a `numpy.random.Generator`, which is the same for the same batch of the same
            epoch, also after a resume.
        num_threads: How many threads make batches ahead. None: as many as make the steps of your loop shorter, by
            measurement, at most 4; 0: none, batches are made where they are needed. `transform` then runs in them, for
            several batches at once.
        prefetch: How many batches threads make ahead, at most, or one for each thread if that is more.
        with_index: Whether to return `(indices, batch)`: the positions of the samples in the dataset, int64.

    Raises:
        TypeError: if an argument has another type.
        ValueError: if arguments contradict each other, or a number is out of range.

    Example:
        >>> import mmap_ninja as mn
        >>> samples = mn.ArrayMmap.from_generator("samples", range(10))
        >>> loader = mn.Loader(samples, batch_size=4, shuffle=True)
        >>> batches = iter(loader)
        >>> next(batches)
        array([0, 7, 2, 8])
        >>> state = loader.state_dict()
        >>> [batch.tolist() for batch in batches]
        [[5, 4, 6, 9], [1, 3]]
        >>> loader.load_state_dict(state)
        >>> [batch.tolist() for batch in loader]
        [[5, 4, 6, 9], [1, 3]]
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int | None = None,
        *,
        plan: Plan | None = None,
        shuffle: bool | Order | npt.ArrayLike = False,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        drop_last: bool = False,
        columns: list[str] | None = None,
        collate: Collate = "auto",
        pad: Pad | Mapping[str, Pad] | None = None,
        nulls: Nulls = "raise",
        fill: Any = None,
        transform: Callable[..., Any] | None = None,
        rng: bool = False,
        num_threads: int | None = None,
        prefetch: int = 2,
        with_index: bool = False,
    ) -> None:
        check_samples(dataset)
        self.dataset: Any = dataset
        self.world_size: int = number(world_size, "world_size", 1, MOST)
        self.rank: int = number(rank, "rank", 0, self.world_size)
        self.drop_last: bool = drop_last
        self.num_threads: int | None = None if num_threads is None else number(num_threads, "num_threads", 0, 1025)
        self.prefetch: int = number(prefetch, "prefetch", 1, 1025)
        self.with_index: bool = with_index
        self._columns = list(columns) if isinstance(columns, tuple) else columns
        self._forms = Forms(collate, pad, nulls, fill)
        self._transform: Callable[..., Any] | None = _checked_transform(transform, rng=rng)
        self._has_rng = rng
        if isinstance(dataset, Mix):
            if plan is not None or shuffle is not False:
                raise ValueError(
                    "dataset: a mix is shuffled already, and its next epoch has other samples; leave out `shuffle` and "
                    "`plan`, or load mix.select(slice(None)), the same list in every epoch"
                )
            shuffle = dataset._order
        source: Source
        if plan is not None:
            if batch_size is not None or shuffle is not False or drop_last:
                raise ValueError("plan: decides batch_size, shuffle and drop_last, too; leave them out")
            source = _checked_plan(plan, self.world_size)
            if isinstance(plan, Packing):
                check_packing(plan, self.world_size, self._forms)
            self.batch_size: int | None = source.batch_size and source.batch_size // self.world_size
        else:
            if batch_size is None:
                raise TypeError("batch_size: expected the samples in a batch of this process, or a plan, got neither")
            source = shuffle if isinstance(shuffle, bool) else order_of(shuffle)
            self.batch_size = number(batch_size, "batch_size", 1, MOST // self.world_size)
        place = Place(0 if isinstance(source, bool) else source.epoch, 0)
        self._now = Moment(source, number(seed, "seed", 0, SEEDS), place, None, None)
        self._running: weakref.ref[Running] | None = None
        self._convert: Callable[[Any], Any] | None = None  # what becomes of each batch last, where it is made

    @property
    def epoch(self) -> int:
        """The epoch of the iteration in progress, or else of the next one.

        Example:
            >>> import mmap_ninja as mn
            >>> loader = mn.Loader(["a", "b", "c"], batch_size=2)
            >>> for epoch in range(3):
            ...     for batch in loader:
            ...         pass
            >>> loader.epoch
            3
        """
        return self._now.place.epoch

    @property
    def seed(self) -> int:
        """The seed of the order, or else of `rng`.

        Example:
            >>> import mmap_ninja as mn
            >>> mn.Loader(["a", "b", "c"], batch_size=2, shuffle=True, seed=7).seed
            7
        """
        return self._now.seed_of_order

    def set_epoch(self, epoch: int) -> None:
        """Begin this epoch with the next `iter()`, unless a state of it was just loaded.

        Args:
            epoch: A number from 0 to 2^64 - 1.

        Raises:
            ValueError: if it is not.

        Example:
            >>> import mmap_ninja as mn
            >>> loader = mn.Loader(["a", "b", "c"], batch_size=3, shuffle=True)
            >>> loader.set_epoch(5)  # as if there had been five before
            >>> next(iter(loader)), loader.epoch
            (['b', 'c', 'a'], 5)
        """
        place, now = Place(number(epoch, "epoch", 0, SEEDS), 0), self._now
        if place.epoch != now.place.epoch or now.turn is not None:
            self._change_to(now.at(place))

    def __len__(self) -> int:
        """The number of batches of the whole epoch, also after a resume."""
        return self._count(self._course_of(self._now).plan, 0)

    def __iter__(self) -> Iterator[Any]:
        now = self._now if self._now.turn is None else self._now.at(self._now.place.next_epoch)
        course = self._course_of(now)
        self._count_of(course)
        turn = Turn(course, Rest(*now.place, self._count(course.plan, now.place.position)))
        now = now._replace(turn=turn, samples=None)
        self._end_iteration()
        running = Running(course, self.num_threads, self.prefetch)
        epoch = _Epoch(self, running, turn)
        self._running = weakref.ref(running)  # an iterator that nobody has any more ends its threads
        self._now = now  # last: an interrupt before is one before the epoch
        return epoch

    def close(self) -> None:
        """End the iteration in progress, and its threads; the next `iter()` is the next epoch.

        Leaving a loop does that, too, as soon as nobody has its iterator any more.

        Example:
            >>> import mmap_ninja as mn
            >>> with mn.Loader(["a", "b", "c"], batch_size=2) as loader:  # closes at the end
            ...     for batch in loader:
            ...         break
            >>> loader.epoch
            0
        """
        now = self._now
        self._change_to(now if now.turn is None else now._replace(turn=copy.copy(now.turn)))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def state_dict(self) -> State:
        """Where the loader is: what `load_state_dict` needs to go on with exactly the next batch.

        Returns:
            A dict of integers and strings, which JSON can hold: "version"; "fingerprint" of the dataset and the plan;
            "seed"; "epoch"; "position", the samples, or rows of a packing, of all processes that were handed out in
            this epoch; "batch_size" and "world_size". After the last batch it is the start of the next epoch.

        Example:
            >>> import mmap_ninja as mn
            >>> loader = mn.Loader(["a", "b", "c", "d"], batch_size=1)
            >>> _ = next(iter(loader))
            >>> state = loader.state_dict()
            >>> state["epoch"], state["position"]
            (0, 1)
        """
        now = self._now
        course = self._course_of(now)
        is_over = now.turn is not None and not now.turn.rest.batches
        place = now.place.next_epoch if is_over else now.place
        return {
            "version": VERSION,
            "fingerprint": course.fingerprint(),
            "seed": now.seed_of_order,
            **place._asdict(),
            "batch_size": self.batch_size,
            "world_size": self.world_size,
        }

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> None:
        """Go on where a loader was, with the next `iter()`; `batch_size` and `world_size` may be others now.

        The seed of the state becomes that of this loader.

        Args:
            state: From `state_dict`, perhaps of another process; or with an "epoch" and a "position" of your own.
            strict: Whether the dataset must be the same one. If not, it may be another one of as many samples, such as
                one that was built again.

        Raises:
            ValueError: if the state is of another dataset or plan, or no batch begins at its position.

        Example:
            >>> import mmap_ninja as mn
            >>> import json
            >>> loader = mn.Loader(["a", "b", "c", "d"], batch_size=1)
            >>> _ = next(iter(loader))
            >>> saved = json.dumps(loader.state_dict())
            >>> other = mn.Loader(["a", "b", "c", "d"], batch_size=2)
            >>> other.load_state_dict(json.loads(saved))
            >>> list(other)
            [['b', 'c'], ['d']]
        """
        place, seed, fingerprint = told_by(state)
        now = self._now
        course = self._course_of(now.at(place._replace(position=0)))
        check_fingerprint(fingerprint, course.fingerprint(), strict=strict)
        plan = course.plan._with_seed(seed)
        plan.set_epoch(place.epoch)
        if place.position > plan._units:
            raise ValueError(f"state: position {place.position}: the epoch has {plan._units}")
        if place.position and not plan._batches_from(place.position):
            place = place.next_epoch
        samples = course.samples if place.position else None
        self._change_to(now.with_seed(seed, plan).at(place)._replace(samples=samples))

    def __getstate__(self) -> dict[str, Any]:
        # A copy is at the same place of the same samples, but the iteration in progress is not its own.
        now = self._now
        if now.turn is not None:
            samples = now.samples if now.turn.course is None else now.turn.course.samples
            now = now._replace(turn=Turn(None, now.turn.rest), samples=samples)
        return self.__dict__ | {"_now": now, "_running": None}

    def __repr__(self) -> str:
        source = self._now.source
        what = f"plan={source!r}" if isinstance(source, Plan) else f"batch_size={self.batch_size}"
        ranks = "" if self.world_size == 1 else f", rank {self.rank} of {self.world_size}"
        return f"Loader({self._name}, {what}{ranks})"

    def _handed_out(self, batch: Any) -> Any:
        """What becomes of a batch in the thread that uses it."""
        return batch

    @property
    def _name(self) -> str:
        return str(getattr(self.dataset, "path", None) or type(self.dataset).__name__)

    def _change_to(self, now: Moment) -> None:
        """Be somewhere else, and end the iteration in progress."""
        self._now = now
        self._end_iteration()

    def _end_iteration(self) -> None:
        running = None if self._running is None else self._running()
        if running is not None:
            running.close()

    def _course_of(self, now: Moment) -> Course:
        """The epoch in progress, or else the one that begins or goes on next, over what the dataset shows now."""
        if now.turn is not None and now.turn.course is not None:
            return now.turn.course
        samples = self._snapshot() if now.samples is None else now.samples
        plan = self._plan_for(now, len(samples))
        plan._check(len(samples), self._name)
        plan.set_epoch(now.place.epoch)
        if isinstance(plan, Packing):
            read = packed_reader(samples, plan, plan.batch_size // self.world_size)
        else:
            read = reader_of(samples, self._forms)
        seed = now.seed if self._has_rng else None
        maker = Maker(self._name, self.rank, self.world_size, self._transform, seed, self.with_index, self._convert)
        return Course(samples, plan, read, maker)

    def _snapshot(self) -> Any:
        """What the dataset shows now."""
        samples: Any = self.dataset.samples if isinstance(self.dataset, Mix) else self.dataset
        if self._columns is not None:
            if not hasattr(samples, "columns"):
                raise TypeError(f"{self._name}: columns={self._columns!r:.80}: the samples have no columns")
            samples = samples[self._columns]
        return samples.select(slice(None)) if isinstance(samples, ReadingHandle) else samples

    def _plan_for(self, now: Moment, count: int) -> Plan:
        if isinstance(now.source, Plan):
            return copy.copy(now.source)
        order = now.source
        if isinstance(order, bool):
            order = Shuffle(count, now.seed) if order else Listed(range(count))
        return Batches(order, (self.batch_size or 1) * self.world_size)

    def _count_of(self, course: Course) -> int:
        """The number of batches of a whole epoch.

        Raises:
            ValueError: if there are none.
        """
        plan = course.plan
        if not plan._units:
            raise ValueError(f"{self._name}: has no samples, so there are no batches")
        if not (count := self._count(plan, 0)):
            raise ValueError(
                f"{self._name}: has {plan._units} samples, fewer than the {plan._multiple} of a batch of all "
                "processes, and drop_last leaves out shorter ones"
            )
        return count

    def _count(self, plan: Plan, position: int) -> int:
        """The number of batches from a position on."""
        is_short = self.drop_last and (plan._units - position) % plan._multiple != 0
        return plan._batches_from(position) - is_short


class _Epoch(Iterator[Any]):
    """The batches of an epoch from the loader's place on; it moves the loader."""

    def __init__(self, loader: Loader, running: Running, turn: Turn) -> None:
        self._loader = loader
        self._running = running
        self._turn = turn
        self._is_over = False

    def __next__(self) -> Any:
        if self._is_over:
            raise StopIteration
        loader, turn = self._loader, self._turn
        if loader._now.turn is not turn or self._running.is_closed:
            self._running.close()
            raise RuntimeError(self._ended)
        if not turn.rest.batches:
            self._is_over = True
            loader._change_to(loader._now.at(turn.rest.place.next_epoch))
            raise StopIteration
        try:
            batch, rest = self._running.first_of(turn.rest)
        except StopIteration as error:  # of `transform`, or of the samples: it would end the epoch without a word
            raise RuntimeError(f"{loader._name}: making a batch raised StopIteration") from error
        if loader._now.turn is not turn:  # another thread has ended this iteration
            raise RuntimeError(self._ended)
        batch = loader._handed_out(batch)
        turn.rest = rest  # last: what an interrupt comes before is not handed out
        return batch

    @property
    def _ended(self) -> str:
        return (
            f"{self._loader._name}: a newer iter(), set_epoch, load_state_dict or close() has ended this iteration; "
            "go on with a new one"
        )


def _checked_transform(transform: Callable[..., Any] | None, *, rng: bool) -> Callable[..., Any] | None:
    if transform is not None and not callable(transform):
        raise TypeError(f"transform: expected a function, got {type(transform).__name__}")
    if rng and transform is None:
        raise ValueError("rng=True: there is no transform that could use it")
    return transform


def _checked_plan(plan: Plan, world_size: int) -> Plan:
    """A copy of a plan that deals to so many processes."""
    if not isinstance(plan, Plan):
        raise TypeError(f"plan: expected Batches, Buckets or a Packing, got {type(plan).__name__}")
    if plan._multiple % world_size:
        raise ValueError(
            f"plan: batches are multiples of {plan._multiple}, which {world_size} processes cannot share; sizes are of "
            "all processes together"
        )
    return copy.copy(plan)
