"""Grain and JAX: a `Loader` for each process, as an `IterDataset` or as a source of whole batches; and of samples."""

# ruff: noqa: SLF001 - what reads the batches of a loader belongs to it

import copy
import functools
from collections.abc import Mapping
from typing import Any, Unpack

import grain

from mmap_ninja.integrations._loaders import Options, process_of
from mmap_ninja.kinds.reading import ReadingHandle
from mmap_ninja.loading import loader
from mmap_ninja.loading.course import Course, Place
from mmap_ninja.loading.fingerprint import described
from mmap_ninja.loading.orders import MOST, number

_EPOCHS = 2  # that are kept: threads read ahead into the next one


class Loader(loader.Loader):
    """`mmap_ninja.Loader` for one of the processes of JAX.

    Its batches are NumPy arrays, which a jitted function takes. It needs nothing of Grain.

    Args:
        dataset: As for `mmap_ninja.Loader`.
        batch_size: Likewise.
        rank: The number of this process; None: `jax.process_index()`, or 0 without JAX.
        world_size: How many processes there are; None: `jax.process_count()`, or 1 without JAX.
        options: The other arguments of `mmap_ninja.Loader`.

    Example:
        >>> import mmap_ninja as mn
        >>> from mmap_ninja.integrations.grain import Loader
        >>> samples = mn.ArrayMmap.from_generator("samples", range(4))
        >>> next(iter(Loader(samples, batch_size=4, shuffle=True)))
        array([0, 3, 2, 1])
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int | None = None,
        *,
        rank: int | None = None,
        world_size: int | None = None,
        **options: Unpack[Options],
    ) -> None:
        rank, world_size = process_of(rank, world_size, _process)
        super().__init__(dataset, batch_size, rank=rank, world_size=world_size, **options)


def _process() -> tuple[int, int]:
    """The number of this process, and how many there are."""
    try:
        import jax  # noqa: PLC0415 - Grain does without it
    except ImportError:
        return 0, 1
    return jax.process_index(), jax.process_count()


class LoaderIterDataset(grain.IterDataset[Any]):
    """The batches of a loader as a dataset of Grain, whose states are those of the loader.

    A state is of all processes together: any number of them goes on from it. Each iterator has a loader of its own,
    which begins where the given one is.

    Args:
        loader: An `mmap_ninja.Loader`. Its threads make batches ahead; Grain need not prefetch.
        epochs: How many there are, from the loader's on. Grain's own `repeat` would give the same order again.

    Raises:
        ValueError: if `epochs` is below 1.

    Example:
        >>> import mmap_ninja as mn
        >>> from mmap_ninja.integrations.grain import Loader, LoaderIterDataset
        >>> samples = mn.ArrayMmap.from_generator("samples", range(4))
        >>> batches = iter(LoaderIterDataset(Loader(samples, batch_size=2, shuffle=True), epochs=2))
        >>> next(batches)
        array([0, 3])
        >>> state = batches.get_state()
        >>> [batch.tolist() for batch in batches]
        [[2, 1], [1, 0], [3, 2]]
        >>> batches.set_state(state)
        >>> next(batches)
        array([2, 1])
    """

    def __init__(self, loader: loader.Loader, epochs: int = 1) -> None:
        super().__init__()
        self._loader = copy.copy(loader)
        self._loader.load_state_dict(loader.state_dict())  # also in the middle of an iteration
        self._end = self._loader.epoch + number(epochs, "epochs", 1, MOST)

    def __iter__(self) -> grain.DatasetIterator[Any]:
        return _LoaderIterator(self._loader, self._end)

    def __str__(self) -> str:
        return f"LoaderIterDataset({self._loader!r})"


class _LoaderIterator(grain.DatasetIterator[Any]):
    """The batches of a loader up to an epoch."""

    def __init__(self, loader: loader.Loader, end: int) -> None:
        super().__init__()
        self._loader = copy.copy(loader)
        self._end = end
        self._batches: Any = iter(())

    def __next__(self) -> Any:
        self._assert_not_closed()
        while True:
            for batch in self._batches:
                return batch
            if self._loader.epoch >= self._end:
                raise StopIteration
            self._batches = iter(self._loader)

    def get_state(self) -> dict[str, Any]:
        return self._loader.state_dict()

    def set_state(self, state: Mapping[str, Any]) -> None:
        self._loader.load_state_dict(state)
        self._batches = iter(())

    def close(self) -> None:
        super().close()
        self._loader.close()

    def __str__(self) -> str:
        return f"LoaderIterDataset({self._loader!r})"


class BatchSource:
    """The batches of a loader as a data source of Grain: an element is a whole batch, in the loader's order.

    Element `k` is the batch that the loader gives after `k` others, also in another process. So Grain's threads and
    workers make them, by one native call per column, and the shuffle is the loader's: leave out Grain's own `shuffle`,
    which repeats some samples and drops others of 65,537.

    It shows what the dataset shows when it is made.

    Args:
        loader: An `mmap_ninja.Loader`, of which the batches are from the start of its epoch on.
        epochs: How many there are. Grain's own `repeat` would give the same order again.

    Raises:
        ValueError: if there are no batches, or `epochs` is below 1. From an element: if epochs differ in their number
            of batches, as those of `Buckets` with `max_elements` do; take a `LoaderIterDataset` then.

    Example:
        >>> import grain
        >>> import mmap_ninja as mn
        >>> from mmap_ninja.integrations.grain import BatchSource, Loader
        >>> samples = mn.ArrayMmap.from_generator("samples", range(4))
        >>> source = BatchSource(Loader(samples, batch_size=2, shuffle=True), epochs=2)
        >>> len(source), source[2]
        (4, array([1, 0]))
        >>> [batch.tolist() for batch in grain.MapDataset.source(source)]
        [[0, 3], [2, 1], [1, 0], [3, 2]]
    """

    def __init__(self, loader: loader.Loader, epochs: int = 1) -> None:
        self._loader = copy.copy(loader)
        self._loader.dataset = loader._snapshot()
        self._epochs = number(epochs, "epochs", 1, MOST)
        self._opened = functools.lru_cache(_EPOCHS)(self._open)
        _, self._batches = self._opened(loader.epoch)

    def __len__(self) -> int:
        return self._batches * self._epochs

    def __getitem__(self, index: int) -> Any:
        if not 0 <= index < len(self):
            raise IndexError(f"index {index} is out of range for {len(self)} batches")
        first = self._loader.epoch
        course, batches = self._opened(first + index // self._batches)
        if batches != self._batches:
            raise ValueError(
                f"{self._loader._name}: epoch {course.plan.epoch} has {batches} batches, and epoch {first} "
                f"{self._batches}; take a LoaderIterDataset"
            )
        return course.batch(index % self._batches)

    def __repr__(self) -> str:
        course, _ = self._opened(self._loader.epoch)
        decided = {"seed": self._loader.seed, "epoch": self._loader.epoch, "batch_size": course.plan.batch_size}
        return f"BatchSource({course.fingerprint() | decided})"

    def _open(self, epoch: int) -> tuple[Course, int]:
        """An epoch, and its number of batches."""
        course = self._loader._course_of(self._loader._now.at(Place(epoch, 0)))
        return course, self._loader._count_of(course)

    def __reduce__(self) -> tuple[Any, ...]:
        return BatchSource, (self._loader, self._epochs)


class SampleSource:
    """A dataset as a data source of Grain: an element is a sample.

    It shows what the dataset shows when it is made. Its `repr`, by which Grain knows a source again, is the same in
    every process, and wherever the directory lies.

    Args:
        dataset: A dataset, a view, a `concat`, windows, or any list.

    Example:
        >>> import grain
        >>> import mmap_ninja as mn
        >>> from mmap_ninja.integrations.grain import SampleSource
        >>> texts = mn.StringsMmap.from_strings("texts", ["a", "b"])
        >>> list(grain.MapDataset.source(SampleSource(texts)))
        ['a', 'b']
    """

    def __init__(self, dataset: Any) -> None:
        self._samples = dataset.select(slice(None)) if isinstance(dataset, ReadingHandle) else dataset

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> Any:
        return self._samples[index]

    def __repr__(self) -> str:
        return f"SampleSource({described(self._samples)})"
