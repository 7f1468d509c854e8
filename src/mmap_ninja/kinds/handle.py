"""What all kinds share: a handle is the list of a dataset's samples, and a client of the engine."""

import inspect
import json
import warnings
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, Self, TypeVar

import numpy as np

from mmap_ninja._kernel import column_of
from mmap_ninja.arrow import ingest
from mmap_ninja.builds import build, paced, sources
from mmap_ninja.builds.build import Define, IfExists, Options
from mmap_ninja.builds.paced import Chunked
from mmap_ninja.builds.sources import Indexable
from mmap_ninja.columns.limits import BATCH_BYTES
from mmap_ninja.columns.types import Column
from mmap_ninja.engine import compaction, files
from mmap_ninja.engine.change import Change
from mmap_ninja.engine.dataset import DEFAULT_LOCK_TIMEOUT, Columns, Dataset, Durability
from mmap_ninja.exported import exported
from mmap_ninja.format.meta import checked_metadata, first_columns, one_column
from mmap_ninja.kinds import metadata as metadata_shown
from mmap_ninja.kinds.mutating import MutatingHandle
from mmap_ninja.kinds.options import HandleOptions, Mode, PathLike
from mmap_ninja.kinds.showing import warn_of
from mmap_ninja.kinds.state import Field, Legacy
from mmap_ninja.legacy.dataset import LegacyDataset
from mmap_ninja.legacy.layout import Keys

T = TypeVar("T")


@exported
class DatasetHandle(MutatingHandle[T]):
    """An open dataset, or a view of one, of any kind: a list of samples on disk. It is the base of all kinds.

    Several threads may read at once; a lock of the handle serialises mutations.

    `mmap_ninja.open`, the classes of the kinds, and their `from_*` make them.

    Attributes:
        path: The dataset's directory, absolute: a `Path`.
        out_dir: The same as it was given.

    Example:
        >>> import mmap_ninja as mn
        >>> def longest(ds: mn.DatasetHandle[str]) -> str:
        ...     return max(ds, key=len)
        >>> longest(mn.StringsMmap.from_strings("texts", ["a", "abc"]))
        'abc'
    """

    def __init__(self, out_dir: PathLike, options: HandleOptions) -> None:
        path = files.absolute(out_dir)
        column, state = self._found_at(path, options)
        super().__init__(out_dir, path, options, column, state)
        warn_of(
            self, state.dataset if isinstance(state, Legacy) else None, stacklevel=4
        )  # the caller of the kind's constructor
        if options.keys != Keys() and not isinstance(state, Legacy):
            raise ValueError(
                f"{path}: {', '.join(set(options.keys) - set(Keys()))}: these are options for directories of "
                "mmap_ninja 0.x, and this is not one, or no longer; leave them out"
            )

    @property
    def metadata(self) -> dict[str, Any]:
        """The user's metadata: a dict that JSON can hold, read-only; assign a new one to store it, as a commit.

        Readers keep what they see until their next `refresh`. The samples and their files stay as they are, but pickles
        and commit ids of earlier commits are stale.

        Example:
            >>> import mmap_ninja as mn
            >>> texts = mn.StringsMmap.from_strings("reviews", ["good"], metadata={"source": "web"})
            >>> texts.metadata = {**texts.metadata, "license": "CC0"}
            >>> texts.metadata
            {'source': 'web', 'license': 'CC0'}

        Raises:
            TypeError: if JSON cannot hold it.
            ReadOnlyError: if the handle, the permissions or the filesystem do not allow it.
        """
        found: dict[str, Any] = metadata_shown.shown(self._now().snapshot.metadata)
        return found

    @metadata.setter
    def metadata(self, value: dict[str, Any]) -> None:
        stored = checked_metadata(value, f"{self.path}: ")
        with self._mutex.turn():
            dataset = self._writer()

            def change() -> Change | None:
                before = dataset.meta
                # As texts: 1 and True are equal, but not the same.
                if json.dumps(stored) == json.dumps(before.metadata):
                    return None
                return Change(before.columns, metadata=stored)

            dataset.evolve(change)
            self._follow(dataset)

    @classmethod
    def from_arrow(
        cls,
        out_dir: PathLike,
        data: object,
        batch_size: int = 1024,
        verbose: bool = False,
        *,
        batch_bytes: int = BATCH_BYTES,
        mode: Mode | None = None,
        if_exists: IfExists = "replace",
        metadata: dict[str, Any] | None = None,
        version: str | None = None,
        durability: Durability | None = None,
        lock_timeout: float = DEFAULT_LOCK_TIMEOUT,
    ) -> Self:
        """Store a table, Parquet files, or a query, of pyarrow, Polars, DuckDB, pandas, Hugging Face and others.

        Files and queries are read batch by batch, in bounded memory.

        Args:
            out_dir: The dataset's directory; missing parents are created.
            data: Anything with the Arrow PyCapsule protocol, the path of a Parquet or Arrow file, or of a folder of
                them, a dataset of pyarrow or Hugging Face, a LazyFrame, a DataFrame of pandas, whose index is dropped,
                or an iterable of these. Other kinds than records need one column, or an array of values.
            batch_size: Samples per commit, at most.
            verbose: Whether to show a progress bar.
            batch_bytes: Bytes with which a batch ends earlier, so that large samples do not fill the memory.
            mode: Mode of the returned handle. None: reading needs no write permission, only the first mutation does.
                "r": mutations raise. "c": mutations raise, and arrays are returned as writable copies.
            if_exists: What to do if there is a dataset already. "replace": build a new one beside it, then switch;
                samples that others append to the old one meanwhile are lost. "error": raise. "append": add to it.
                "resume": continue an interrupted build: pass all samples again, from the first one; a finished dataset
                is returned as it is, with a warning if the source is longer. "reuse": open a complete dataset of the
                same kind, columns and version; raise if it is another one; wait while another process builds it; go on
                with a build that ended early.
            metadata: A dict to store as JSON; the `metadata` property returns it.
            version: A string to store as `metadata["version"]`; a dataset of another version is not reused, resumed or
                appended to. None: any version will do.
            durability: None: safe against power loss when this returns. "process": do not wait for the disk, unless a
                dataset is replaced; until the next `flush`, opening it after a reboot, or opening a copy, checks all
                that was written. "machine": safe after every batch.
            lock_timeout: Seconds to wait for other processes' commits.

        Raises:
            ImportError: if pyarrow is missing: `pip install "mmap_ninja[arrow]"`.
            TypeError: if `data` is not a table, or this kind cannot hold its values.
            ValueError: if it has several columns, or its data is not valid.

        Example:
            >>> import mmap_ninja as mn
            >>> import pyarrow as pa
            >>> texts = mn.StringsMmap.from_arrow("texts", pa.table({"text": ["good", "bad"]}))
            >>> texts[:]
            ['good', 'bad']
        """
        options = Options(batch_size, batch_bytes, verbose, if_exists, metadata, durability, lock_timeout, version)
        source: Any = ingest.Batches(data, str(out_dir), batch_size, named=False)
        return cls._build(out_dir, source, mode, options)

    @classmethod
    def from_generator(
        cls,
        out_dir: PathLike,
        sample_generator: Iterable[T],
        batch_size: int = 1024,
        verbose: bool = False,
        *,
        batch_bytes: int = BATCH_BYTES,
        mode: Mode | None = None,
        if_exists: IfExists = "replace",
        total: int | None = None,
        metadata: dict[str, Any] | None = None,
        version: str | None = None,
        durability: Durability | None = None,
        lock_timeout: float = DEFAULT_LOCK_TIMEOUT,
    ) -> Self:
        r"""Store the samples of an iterable, batch by batch, and open the dataset.

        An error in the iterable propagates and names the index of the sample. The batches before it stay committed, and
        `if_exists="resume"` continues after them.

        Args:
            out_dir: The dataset's directory; missing parents are created.
            sample_generator: Any iterable of samples.
            batch_size: Samples per commit, at most.
            verbose: Whether to show a progress bar.
            batch_bytes: Bytes with which a batch ends earlier, so that large samples do not fill the memory.
            mode: Mode of the returned handle. None: reading needs no write permission, only the first mutation does.
                "r": mutations raise. "c": mutations raise, and arrays are returned as writable copies.
            if_exists: What to do if there is a dataset already. "replace": build a new one beside it, then switch;
                samples that others append to the old one meanwhile are lost. "error": raise. "append": add to it.
                "resume": continue an interrupted build: pass all samples again, from the first one; a finished dataset
                is returned as it is, with a warning if the source is longer. "reuse": open a complete dataset of the
                same kind, columns and version; raise if it is another one; wait while another process builds it; go on
                with a build that ended early.
            total: Number of samples, for the progress bar, if the iterable has no length.
            metadata: A dict to store as JSON; the `metadata` property returns it.
            version: A string to store as `metadata["version"]`; a dataset of another version is not reused, resumed or
                appended to. None: any version will do.
            durability: None: safe against power loss when this returns. "process": do not wait for the disk, unless a
                dataset is replaced; until the next `flush`, opening it after a reboot, or opening a copy, checks all
                that was written. "machine": safe after every batch.
            lock_timeout: Seconds to wait for other processes' commits.

        Raises:
            FileExistsError: if there is a dataset and `if_exists="error"`.
            NotADatasetError: if the path is a file, or a directory with files that do not belong to a dataset.
            TypeError: if a sample has the wrong type; the batches before it stay.

        Example:
            >>> import mmap_ninja as mn
            >>> with open("texts.txt", "w") as file:
            ...     print("good", "bad", sep="\n", file=file)
            >>> with open("texts.txt") as file:
            ...     texts = mn.StringsMmap.from_generator("texts", map(str.strip, file), batch_size=1024)
            >>> texts[:]
            ['good', 'bad']
        """
        source = sources.Iterated(sample_generator, total)
        options = Options(batch_size, batch_bytes, verbose, if_exists, metadata, durability, lock_timeout, version)
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
        batch_bytes: int = BATCH_BYTES,
        mode: Mode | None = None,
        if_exists: IfExists = "replace",
        metadata: dict[str, Any] | None = None,
        version: str | None = None,
        durability: Durability | None = None,
        lock_timeout: float = DEFAULT_LOCK_TIMEOUT,
    ) -> Self:
        """Store the samples `indexable[0], indexable[1], ...`, and open the dataset.

        Without `len`, the first IndexError ends it. All other errors propagate and name the index; what is
        committed stays. An interrupted build resumes at the first missing sample.

        Args:
            out_dir: The dataset's directory; missing parents are created.
            indexable: Samples by position, or a function that gives the sample at a position.
            batch_size: Samples per commit, at most.
            n_jobs: Number of worker processes that read and encode samples ahead; this process stores them in order.
                None is 1, -1 all CPUs, -2 all but one. cloudpickle sends the source to each worker once, before its
                first sample is read. Work moves to the workers when the measured cost of a sample makes that
                worthwhile, a chunk of samples at a time; each chunk is one commit. After an error, all samples before
                it are committed.
            verbose: Whether to show a progress bar.
            batch_bytes: Bytes with which a batch ends earlier, so that large samples do not fill the memory.
            mode: Mode of the returned handle. None: reading needs no write permission, only the first mutation does.
                "r": mutations raise. "c": mutations raise, and arrays are returned as writable copies.
            if_exists: What to do if there is a dataset already. "replace": build a new one beside it, then switch;
                samples that others append to the old one meanwhile are lost. "error": raise. "append": add to it.
                "resume": continue an interrupted build: pass all samples again, from the first one; a finished dataset
                is returned as it is, with a warning if the source is longer. "reuse": open a complete dataset of the
                same kind, columns and version; raise if it is another one; wait while another process builds it; go on
                with a build that ended early.
            metadata: A dict to store as JSON; the `metadata` property returns it.
            version: A string to store as `metadata["version"]`; a dataset of another version is not reused, resumed or
                appended to. None: any version will do.
            durability: None: safe against power loss when this returns. "process": do not wait for the disk, unless a
                dataset is replaced; until the next `flush`, opening it after a reboot, or opening a copy, checks all
                that was written. "machine": safe after every batch.
            lock_timeout: Seconds to wait for other processes' commits.

        Raises:
            ImportError: if workers are asked for and cloudpickle is missing: `pip install "mmap_ninja[parallel]"`.
            TypeError: if the source cannot be pickled for workers, or a sample has the wrong type.
            WorkerError: if a worker process dies, or its source raises an exception that cannot be pickled.

        Example:
            >>> import mmap_ninja as mn
            >>> texts = mn.StringsMmap.from_indexable("texts", ["good", "bad"])
            >>> texts[:]
            ['good', 'bad']
        """
        options = Options(batch_size, batch_bytes, verbose, if_exists, metadata, durability, lock_timeout, version)
        return cls._build(out_dir, paced.indexed(indexable, n_jobs, options), mode, options)

    def save(
        self,
        out_dir: PathLike,
        batch_size: int = 1024,
        verbose: bool = False,
        *,
        batch_bytes: int = BATCH_BYTES,
        mode: Mode | None = None,
        if_exists: IfExists = "error",
        metadata: dict[str, Any] | None = None,
        version: str | None = None,
        durability: Durability | None = None,
        lock_timeout: float = DEFAULT_LOCK_TIMEOUT,
    ) -> Self:
        """Store the samples that this handle or view shows as a dataset of its own, and open it.

        Types, dtypes and compression of the columns stay as they are. A view can replace its own dataset.

        Args:
            out_dir: The dataset's directory; missing parents are created.
            batch_size: Samples per commit, at most.
            verbose: Whether to show a progress bar.
            batch_bytes: Bytes with which a batch ends earlier, so that large samples do not fill the memory.
            mode: Mode of the returned handle. None: reading needs no write permission, only the first mutation does.
                "r": mutations raise. "c": mutations raise, and arrays are returned as writable copies.
            if_exists: What to do if there is a dataset already. "replace": build a new one beside it, then switch;
                samples that others append to the old one meanwhile are lost. "error": raise. "append": add to it.
                "resume": continue an interrupted build: pass all samples again, from the first one; a finished dataset
                is returned as it is, with a warning if the source is longer. "reuse": open a complete dataset of the
                same kind, columns and version; raise if it is another one; wait while another process builds it; go on
                with a build that ended early.
            metadata: A dict to store as JSON; None: the metadata of this dataset, without its version if `version` is
                given.
            version: A string to store as `metadata["version"]`; a dataset of another version is not reused, resumed or
                appended to. None: any version will do.
            durability: None: safe against power loss when this returns. "process": do not wait for the disk, unless a
                dataset is replaced; until the next `flush`, opening it after a reboot, or opening a copy, checks all
                that was written. "machine": safe after every batch.
            lock_timeout: Seconds to wait for other processes' commits.

        Raises:
            FileExistsError: if there is a dataset and `if_exists="error"`.
            ValueError: if this is a column of records with a null, which only records hold.
            TypeError: if this is a column of JSON values, which only records hold.

        Example:
            >>> import mmap_ninja as mn
            >>> texts = mn.StringsMmap.from_strings("texts", ["a", "b", "c", "d"])
            >>> texts.select(slice(None, None, 2)).save("even")[:]
            ['a', 'c']
        """
        if metadata is None and if_exists != "append":
            metadata = {key: value for key, value in self.metadata.items() if key != "version" or version is None}
        options = Options(batch_size, batch_bytes, verbose, if_exists, metadata, durability, lock_timeout, version)
        view, configuration = self._raw()
        source: sources.Source[T] = sources.Shown(view)
        columns = view._columns_to_store()  # noqa: SLF001 - of the same moment as its samples
        return self._build(out_dir, source, mode, options, columns, configuration)

    def _raw(self) -> tuple[Self, dict[str, Any]]:
        """A view of the samples as they are stored, and the options with which they are shown otherwise."""
        return self.select(slice(None)), {}

    def _columns_to_store(self) -> Columns:
        """The columns of a new dataset of the samples that this view shows."""
        shown = self._state
        if not shown.columns:  # nothing is at the path
            return first_columns(self._kind)
        if not isinstance(shown, Field):
            named = zip(shown.names, compaction.sealed(shown.columns), strict=True)
            return tuple(Column(place, name, column.type) for place, (name, column) in enumerate(named))
        (column,) = compaction.sealed(shown.columns)
        records = f"only records hold that; save them: ds[[{shown.name!r}]].save(path)"
        if self._kind == "records":
            raise TypeError(f"{self._where}: JSON values: {records}")
        is_null = column_of(self).null_mask(None)
        if is_null is not None and is_null.any():
            raise ValueError(f"{self._where}: sample {int(np.argmax(is_null))} is null: {records}")
        return one_column(replace(column.type, nullable=False))

    @classmethod
    def _definer(cls) -> Define[T] | None:
        """What defines columns by the first samples; None: they are known by the kind."""
        return None

    @classmethod
    def _build(
        cls,
        out_dir: PathLike,
        source: sources.Source[T] | Chunked[T],
        mode: Mode | None,
        options: Options,
        columns: Columns | None = None,
        configuration: dict[str, Any] | None = None,
    ) -> Self:
        HandleOptions(mode, **configuration or {})  # raises before anything is stored, if it is not valid
        path = files.absolute(out_dir)
        columns = first_columns(cls._kind) if columns is None else columns
        with files.Scope() as scope:
            started = build.begin(path, cls._kind, columns, options, scope)
            if started is not None:
                with started:
                    last = cls._over(started.dataset, path, HandleOptions("c"))[-1] if started.skip else None
                    if isinstance(source, Chunked):
                        source.source.check_resumed(started.skip, last, path)
                        source.run(started, cls._encode, options, cls._definer())
                    else:
                        batches = source.batches(started.limits, started.skip, last, path)
                        build.run(started, batches, cls._encode, source.total, options, cls._definer())
        durability = options.durability or "process"
        opened: Callable[..., Self] = cls  # as users call it, since derived classes may have their own constructor
        moved = files.absolute(out_dir) != path  # the working directory, meanwhile
        dataset = opened(
            path if moved else out_dir,
            mode=mode,
            durability=durability,
            lock_timeout=options.lock_timeout,
            **configuration or {},
        )
        if started is None and options.if_exists == "resume":
            _warn_if_longer(source.source if isinstance(source, Chunked) else source, dataset)
        return dataset


def _warn_if_longer(source: sources.Source[Any], dataset: DatasetHandle[Any]) -> None:
    """Warn if a build that was to be resumed had ended, but its source has more samples by now."""
    stored = len(dataset)
    count = sources.count_beyond(source, stored)
    if count is None:
        return
    level, frame = 1, inspect.currentframe()
    while frame is not None and frame.f_globals.get("__name__", "").startswith("mmap_ninja."):
        level, frame = level + 1, frame.f_back
    warnings.warn(
        f"{dataset.path}: the source has {count} samples, but the build ended with {stored}; nothing was added: pass "
        "if_exists='append' and the missing samples, or 'replace' and all",
        stacklevel=level,
    )


def handle_over(
    cls: type[DatasetHandle[Any]], dataset: Dataset | LegacyDataset, out_dir: PathLike, options: HandleOptions
) -> DatasetHandle[Any]:
    """A handle of a class on an engine that is already open."""
    return cls._over(dataset, out_dir, options)
