"""What all kinds share: a handle on a dataset, which is the list of its samples and the engine's client."""

from collections.abc import Callable, Iterable
from typing import Any, Self, TypeVar

from mmap_ninja.arrow import ingest
from mmap_ninja.builds import build, paced, sources
from mmap_ninja.builds.build import IfExists
from mmap_ninja.builds.paced import Chunked
from mmap_ninja.builds.sources import Indexable
from mmap_ninja.engine import files
from mmap_ninja.engine.dataset import DEFAULT_LOCK_TIMEOUT, Columns, Dataset, Durability
from mmap_ninja.format.meta import first_columns
from mmap_ninja.kinds.mutating import MutatingHandle
from mmap_ninja.kinds.options import HandleOptions, Mode, PathLike, check_mode
from mmap_ninja.kinds.showing import warn_of
from mmap_ninja.kinds.state import Legacy
from mmap_ninja.legacy.dataset import LegacyDataset
from mmap_ninja.legacy.layout import Keys

T = TypeVar("T")


class DatasetHandle(MutatingHandle[T]):
    """An open dataset: a list of samples on disk.

    Reads are safe from several threads; mutations are serialised by a lock of the handle's own.
    """

    def __init__(self, out_dir: PathLike, options: HandleOptions) -> None:
        path = files.absolute(out_dir)
        column, state = self._found_at(path, options)
        super().__init__(out_dir, path, options, column, state)
        warn_of(self, state.dataset if isinstance(state, Legacy) else None, stacklevel=4)  # the kind's constructor
        if options.keys != Keys() and not isinstance(state, Legacy):
            raise ValueError(
                f"{path}: {', '.join(set(options.keys) - set(Keys()))}: such names are for directories of "
                "mmap_ninja 0.x, which this is not, or no longer; leave them out"
            )

    @classmethod
    def from_arrow(
        cls,
        out_dir: PathLike,
        data: object,
        batch_size: int = 1024,
        verbose: bool = False,
        *,
        mode: Mode | None = None,
        if_exists: IfExists = "replace",
        metadata: dict[str, Any] | None = None,
        durability: Durability | None = None,
        lock_timeout: float = DEFAULT_LOCK_TIMEOUT,
    ) -> Self:
        """Store a table of pyarrow, Polars, DuckDB, or whatever else speaks the Arrow PyCapsule protocol.

        It is read batch by batch.

        Args:
            out_dir: The dataset's directory; missing parents are made.
            data: A table with one column, or the values of one, which are the samples; for records, a table with a
                column for each of theirs.
            batch_size: Samples per commit, at most.
            verbose: Whether to show a progress bar.
            mode: That of the handle that is returned. None: reads need no write permission, and the first mutation asks
                for it. "r": mutations raise. "c": they raise, too, and arrays are given out as writable copies.
            if_exists: What to do where there is a dataset already. "replace": build a new one beside it and switch to
                it at the end; what others append to the old one meanwhile goes with it. "error": raise. "append": add
                to it. "resume": go on with an interrupted build, for which the samples start again from the first one;
                a finished dataset is returned as it is.
            metadata: What the property of this name gives back: a dict that JSON can hold.
            durability: None: safe against power loss when this returns. "process": without any wait, where no dataset
                is replaced; until a `flush`, each open after a reboot, or of a copy, then checks all that was written.
                "machine": safe after every batch.
            lock_timeout: Seconds to wait for other processes' commits.

        Raises:
            ImportError: if `pip install "mmap_ninja[arrow]"` is still to be done.
            TypeError: if `data` is no table, or its values are no samples of this kind.
            ValueError: if it has more columns, or its data is not valid.
        """
        options = build.Options(batch_size, verbose, if_exists, metadata, durability, lock_timeout)
        source: Any = ingest.Batches(data, str(out_dir), named=False)
        return cls._build(out_dir, source, mode, options)

    @classmethod
    def from_generator(
        cls,
        out_dir: PathLike,
        sample_generator: Iterable[T],
        batch_size: int = 1024,
        verbose: bool = False,
        *,
        mode: Mode | None = None,
        if_exists: IfExists = "replace",
        total: int | None = None,
        metadata: dict[str, Any] | None = None,
        durability: Durability | None = None,
        lock_timeout: float = DEFAULT_LOCK_TIMEOUT,
    ) -> Self:
        """Store the samples of an iterable, batch by batch, and open the dataset.

        An error in the iterable propagates; the batches before it stay committed, and `if_exists="resume"` goes on
        after them.

        Args:
            out_dir: The dataset's directory; missing parents are made.
            sample_generator: Any iterable of samples.
            batch_size: Samples per commit, at most.
            verbose: Whether to show a progress bar.
            mode: That of the handle that is returned. None: reads need no write permission, and the first mutation asks
                for it. "r": mutations raise. "c": they raise, too, and arrays are given out as writable copies.
            if_exists: What to do where there is a dataset already. "replace": build a new one beside it and switch to
                it at the end; what others append to the old one meanwhile goes with it. "error": raise. "append": add
                to it. "resume": go on with an interrupted build, for which the samples start again from the first one;
                a finished dataset is returned as it is.
            total: Number of samples, for the progress bar, where the iterable has no length.
            metadata: What the property of this name gives back: a dict that JSON can hold.
            durability: None: safe against power loss when this returns. "process": without any wait, where no dataset
                is replaced; until a `flush`, each open after a reboot, or of a copy, then checks all that was written.
                "machine": safe after every batch.
            lock_timeout: Seconds to wait for other processes' commits.

        Raises:
            FileExistsError: if there is a dataset and `if_exists="error"`.
            NotADatasetError: if the path is a file, or a directory with files that are no dataset's.
            TypeError: if a sample is of another type; the batches before it stay.
        """
        source = sources.Iterated(sample_generator, total)
        options = build.Options(batch_size, verbose, if_exists, metadata, durability, lock_timeout)
        return cls._build(out_dir, source, mode, options)

    @classmethod
    def from_indexable(
        cls,
        out_dir: PathLike,
        indexable: Indexable[T] | Callable[[int], T],
        batch_size: int = 1024,
        n_jobs: int | None = None,
        verbose: bool = False,
        *,
        mode: Mode | None = None,
        if_exists: IfExists = "replace",
        metadata: dict[str, Any] | None = None,
        durability: Durability | None = None,
        lock_timeout: float = DEFAULT_LOCK_TIMEOUT,
    ) -> Self:
        """Store the samples `indexable[0], indexable[1], ...`, and open the dataset.

        Where it has no `len`, its first IndexError ends it; all its other errors propagate, with a note that names the
        index, and leave what is committed. An interrupted build is resumed at the first missing sample.

        Args:
            out_dir: The dataset's directory; missing parents are made.
            indexable: Samples by position, or a function that gives the sample at a position.
            batch_size: Samples per commit, at most.
            n_jobs: How many worker processes read and encode samples, ahead of this one, which stores them in order:
                None is 1, -1 all CPUs, -2 all but one. The source is sent to each worker once, by cloudpickle, before
                its first sample is read; the work moves there when the measured cost of a sample makes it worthwhile, a
                chunk of samples at a time, and each chunk is one commit. An error leaves all samples before it
                committed.
            verbose: Whether to show a progress bar.
            mode: That of the handle that is returned. None: reads need no write permission, and the first mutation asks
                for it. "r": mutations raise. "c": they raise, too, and arrays are given out as writable copies.
            if_exists: What to do where there is a dataset already. "replace": build a new one beside it and switch to
                it at the end; what others append to the old one meanwhile goes with it. "error": raise. "append": add
                to it. "resume": go on with an interrupted build, for which the samples start again from the first one;
                a finished dataset is returned as it is.
            metadata: What the property of this name gives back: a dict that JSON can hold.
            durability: None: safe against power loss when this returns. "process": without any wait, where no dataset
                is replaced; until a `flush`, each open after a reboot, or of a copy, then checks all that was written.
                "machine": safe after every batch.
            lock_timeout: Seconds to wait for other processes' commits.

        Raises:
            ImportError: if workers are asked for and cloudpickle is missing: `pip install "mmap_ninja[parallel]"`.
            TypeError: if the source cannot be sent to workers, or a sample is of another type.
            WorkerError: if a worker process dies, or its source raises what cannot be sent back.
        """
        options = build.Options(batch_size, verbose, if_exists, metadata, durability, lock_timeout)
        return cls._build(out_dir, paced.indexed(indexable, n_jobs, options), mode, options)

    @classmethod
    def _build(
        cls,
        out_dir: PathLike,
        source: sources.Source[T] | Chunked[T],
        mode: Mode | None,
        options: build.Options,
        columns: Columns | None = None,
        configuration: dict[str, Any] | None = None,
    ) -> Self:
        check_mode(mode)
        path = files.absolute(out_dir)
        columns = first_columns(cls._kind) if columns is None else columns
        with files.Scope() as scope:
            started = build.begin(path, cls._kind, columns, options, scope)
            if started is not None:
                with started:
                    last = cls._over(started.dataset, path, HandleOptions("c"))[-1] if started.skip else None
                    if isinstance(source, Chunked):
                        source.source.check_resumed(started.skip, last, path)
                        source.run(started, cls._encode, options)
                    else:
                        batches = source.batches(options.batch_size, started.skip, last, path)
                        build.run(started, batches, cls._encode, source.total, options)
        durability = options.durability or "process"
        opened: Callable[..., Self] = cls  # as users call it, so that classes derived from the kinds can have their own
        return opened(
            out_dir, mode=mode, durability=durability, lock_timeout=options.lock_timeout, **configuration or {}
        )


def handle_over(
    cls: type[DatasetHandle[Any]], dataset: Dataset | LegacyDataset, out_dir: PathLike, options: HandleOptions
) -> DatasetHandle[Any]:
    """A handle of a class on an engine that is open already."""
    return cls._over(dataset, out_dir, options)
