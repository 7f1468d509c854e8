"""`RecordsMmap`: a list of dicts on disk, whose fields are columns."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Self

from mmap_ninja.arrow import ingest
from mmap_ninja.builds import build, paced, sources
from mmap_ninja.builds.build import IfExists
from mmap_ninja.columns import specs
from mmap_ninja.columns.batch import Table
from mmap_ninja.columns.specs import Spec, Specs  # noqa: F401 - Specs names Spec, which get_type_hints looks for here
from mmap_ninja.engine import files
from mmap_ninja.engine.dataset import DEFAULT_LOCK_TIMEOUT, Durability
from mmap_ninja.engine.directory import is_vacant
from mmap_ninja.exported import exported
from mmap_ninja.kinds.options import HandleOptions, Mode, PathLike, ReadMode
from mmap_ninja.kinds.record_mutating import MutableRecords
from mmap_ninja.kinds.record_reading import Sample


@exported
class RecordsMmap(MutableRecords):
    """A list of dicts that lives in a directory: each field is a column with files of its own, all have one length.

    `ds[i]` is a dict, `ds["label"]` a column, `ds[["image", "label"]]` a view of some columns; `take` gives a dict of
    batches. Dicts in the samples are nested columns: `{"a": {"b": 1}}` has the column `a.b`.

    Args:
        out_dir: The dataset's directory. If it is missing, the handle is empty, and its first sample makes the columns.
        mode: None: reads need no write permission, and the first mutation asks for it. "r": mutations raise. "c": they
            raise, too, and arrays are given out as writable copies.
        durability: "process": a commit survives a crash of the process at once, a power loss from the next `flush` or
            `close` on. "machine": every commit waits until it survives both.
        lock_timeout: Seconds to wait for other processes' commits.
        read_mode: "mmap": samples are read over maps of the files. "pread": by system calls, so that a file that is cut
            while it is read, or a medium that goes away, is an error, not the end of the process; arrays are in memory
            of their own then. None: "pread" on network filesystems and FUSE, else "mmap".

    Example:
        >>> import mmap_ninja as mn
        >>> ds = mn.RecordsMmap.create("train", columns={"text": mn.Text(), "label": mn.Scalar("int64")})
        >>> ds.extend([{"text": "good", "label": 1}, {"text": "bad", "label": 0}])
        >>> ds[0]["text"], ds["label"][-1].item(), len(ds)
        ('good', 0, 2)
        >>> ds.take([1, 0])
        {'text': ['bad', 'good'], 'label': array([0, 1])}

    Raises:
        NotADatasetError: if the path holds something else.
        TypeError: if it holds a dataset of another kind.
        CorruptDatasetError: if its files contradict each other.
    """

    def __init__(
        self,
        out_dir: PathLike,
        mode: Mode | None = None,
        *,
        durability: Durability = "process",
        lock_timeout: float = DEFAULT_LOCK_TIMEOUT,
        read_mode: ReadMode | None = None,
    ) -> None:
        super().__init__(out_dir, HandleOptions(mode, durability, lock_timeout, read_mode))

    @classmethod
    def create(
        cls,
        out_dir: PathLike,
        columns: Specs,
        *,
        mode: Mode | None = None,
        if_exists: IfExists = "error",
        metadata: dict[str, Any] | None = None,
        durability: Durability | None = None,
        lock_timeout: float = DEFAULT_LOCK_TIMEOUT,
    ) -> Self:
        """Make an empty dataset with these columns, and open it; nothing is written over unless it is told to be.

        Args:
            out_dir: The dataset's directory; missing parents are made.
            columns: What each column holds, by its name; a nested dict for nested columns.
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
            FileExistsError: if there is a dataset.
            TypeError: if a column's type is none.
            ValueError: if a column's name is empty, too long, or nested in another column.
        """
        return cls.from_generator(
            out_dir,
            (),
            columns=columns,
            mode=mode,
            if_exists=if_exists,
            metadata=metadata,
            durability=durability,
            lock_timeout=lock_timeout,
        )

    @classmethod
    def from_generator(
        cls,
        out_dir: PathLike,
        sample_generator: Iterable[Sample],
        batch_size: int = 1024,
        verbose: bool = False,
        *,
        columns: Specs | None = None,
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

        Without `columns`, the first sample makes them: a str makes `Text`, bytes `Bytes`, a number `Scalar`, an array
        or a list of numbers `Ragged`, a dict nested columns, any other list `Json`; of an empty list, the next samples
        of the first batch tell what it holds. Samples are dicts, dataclasses or named tuples.

        Args:
            out_dir: The dataset's directory; missing parents are made.
            sample_generator: Any iterable of samples.
            batch_size: Samples per commit, at most.
            verbose: Whether to show a progress bar.
            columns: What each column holds, by its name; a nested dict for nested columns. None: the samples tell.
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
        options = build.Options(batch_size, verbose, if_exists, metadata, durability, lock_timeout)
        source: sources.Source[Any] = sources.Iterated(sample_generator, total)
        return cls._build(out_dir, source, mode, options, specs.columns_of(columns or {}))

    @classmethod
    def from_indexable(
        cls,
        out_dir: PathLike,
        indexable: sources.Indexable[Sample] | Callable[[int], Sample],
        batch_size: int = 1024,
        n_jobs: int | None = None,
        verbose: bool = False,
        *,
        columns: Specs | None = None,
        mode: Mode | None = None,
        if_exists: IfExists = "replace",
        metadata: dict[str, Any] | None = None,
        durability: Durability | None = None,
        lock_timeout: float = DEFAULT_LOCK_TIMEOUT,
    ) -> Self:
        """Store the samples `indexable[0], indexable[1], ...`, and open the dataset.

        Where it has no `len`, its first IndexError ends it; all its other errors propagate, with a note that names the
        index, and leave what is committed. An interrupted build is resumed at the first missing sample.

        Without `columns`, the first sample makes them: a str makes `Text`, bytes `Bytes`, a number `Scalar`, an array
        or a list of numbers `Ragged`, a dict nested columns, any other list `Json`; of an empty list, the next samples
        of the first batch tell what it holds. Samples are dicts, dataclasses or named tuples.

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
            columns: What each column holds, by its name; a nested dict for nested columns. None: the samples tell.
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
        source: Any = paced.indexed(indexable, n_jobs, options)
        return cls._build(out_dir, source, mode, options, specs.columns_of(columns or {}))

    @classmethod
    def from_columns(
        cls,
        out_dir: PathLike,
        values: Mapping[str, Any],
        batch_size: int = 1024,
        verbose: bool = False,
        *,
        columns: Specs | None = None,
        mode: Mode | None = None,
        if_exists: IfExists = "replace",
        metadata: dict[str, Any] | None = None,
        durability: Durability | None = None,
        lock_timeout: float = DEFAULT_LOCK_TIMEOUT,
    ) -> Self:
        """Store columns that are in memory, or in other datasets, and open the dataset.

        Args:
            out_dir: The dataset's directory; missing parents are made.
            values: A sequence for each column, all of one length; nested as the samples are, or with dotted names. An
                array makes an `Array` or `Scalar` column.
            batch_size: Samples per commit, at most.
            verbose: Whether to show a progress bar.
            columns: What each column holds, by its name; a nested dict for nested columns. None: the samples tell.
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
            ValueError: if the columns have several lengths.
        """
        options = build.Options(batch_size, verbose, if_exists, metadata, durability, lock_timeout)
        table = Table.of(values, str(out_dir))
        return cls._build(out_dir, sources.Tabled(table), mode, options, specs.columns_of(columns or {}))

    @classmethod
    def from_arrow(
        cls,
        out_dir: PathLike,
        data: object,
        batch_size: int = 1024,
        verbose: bool = False,
        *,
        columns: Specs | None = None,
        mode: Mode | None = None,
        if_exists: IfExists = "replace",
        metadata: dict[str, Any] | None = None,
        durability: Durability | None = None,
        lock_timeout: float = DEFAULT_LOCK_TIMEOUT,
    ) -> Self:
        """Store a table of pyarrow, Polars, DuckDB, or whatever else speaks the Arrow PyCapsule protocol.

        It is read batch by batch. Without `columns`, a new dataset has those that the table's schema makes: a struct
        makes nested columns, a list of numbers `Ragged`, any other list `Json`. Nullable are the columns with nulls in
        the table's first batch that is not empty: give `columns` where some have them only later.

        Args:
            out_dir: The dataset's directory; missing parents are made.
            data: A table with one column, or the values of one, which are the samples; for records, a table with a
                column for each of theirs.
            batch_size: Samples per commit, at most.
            verbose: Whether to show a progress bar.
            columns: What each column holds, by its name; a nested dict for nested columns. None: the samples tell.
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
            ValueError: if its data is not valid.
        """
        options = build.Options(batch_size, verbose, if_exists, metadata, durability, lock_timeout)
        source: Any = ingest.Batches(data, str(out_dir), named=True)
        is_new = if_exists in ("replace", "error") or is_vacant(files.absolute(out_dir))
        made = specs.columns_of(columns or (source.specs() if is_new else {}))
        return cls._build(out_dir, source, mode, options, made)
