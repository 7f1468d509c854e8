"""`RecordsMmap`: a list of dicts on disk, stored as columns."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, Self

from mmap_ninja.arrow import ingest
from mmap_ninja.builds import paced, sources
from mmap_ninja.builds.build import IfExists, Options
from mmap_ninja.columns import nesting, specs
from mmap_ninja.columns.batch import Table
from mmap_ninja.columns.limits import BATCH_BYTES
from mmap_ninja.columns.specs import Spec, Specs  # noqa: F401 - get_type_hints needs Spec to resolve Specs
from mmap_ninja.engine import files
from mmap_ninja.engine.dataset import DEFAULT_LOCK_TIMEOUT, Durability
from mmap_ninja.engine.directory import is_vacant
from mmap_ninja.exported import exported
from mmap_ninja.kinds.options import HandleOptions, Mode, PathLike, ReadMode
from mmap_ninja.kinds.record_mutating import MutableRecords
from mmap_ninja.kinds.record_reading import Sample


@exported
class RecordsMmap(MutableRecords):
    """A list of dicts that lives in a directory: each field is a column with its own files, all of the same length.

    `ds[i]` is a dict, `ds["label"]` a column, `ds[["image", "label"]]` a view of some columns; `take` gives a dict of
    batches. Dicts within samples become nested columns: `{"a": {"b": 1}}` has the column `a.b`. A dot in a name always
    means that: `{"a.b": 1}` is the same sample. Arrays in a dict are read-only views of the map. What a library that
    ignores the flag writes to one, such as PyTorch in `torch.as_tensor(ds[i]["image"]).add_(1)`, is stored nowhere, but
    `ds[i]` shows it until the next `iter(ds)` or `refresh()`: call `.clone()` first, or open with mode "c".

    Args:
        out_dir: The dataset's directory. If it is missing, the handle is empty, and its first samples define the
            columns.
        mode: None: reading needs no write permission, only the first mutation does. "r": mutations raise. "c":
            mutations raise, and arrays are returned as writable copies.
        durability: "process": a commit survives a crash of this process at once, and a power loss after the next
            `flush` or `close`. "machine": each commit waits until it survives both.
        lock_timeout: Seconds to wait for other processes' commits.
        read_mode: "mmap": samples are read from memory maps of the files. "pread": system calls read samples into
            memory of their own, so that a file that is truncated meanwhile, or a disk that disappears, raises an error
            instead of killing the process. None: "pread" on network filesystems and FUSE, else "mmap".

    Example:
        >>> import mmap_ninja as mn
        >>> ds = mn.RecordsMmap.create("train", columns={"text": mn.Text(), "label": mn.Scalar("int64")})
        >>> ds.extend([{"text": "good", "label": 1}, {"text": "bad", "label": 0}])
        >>> ds[0]["text"], ds["label"][-1].item(), len(ds)
        ('good', 0, 2)
        >>> ds.take([1, 0])
        {'text': ['bad', 'good'], 'label': array([0, 1])}

    Raises:
        NotADatasetError: if there is something else at the path.
        TypeError: if the dataset is of another kind.
        CorruptDatasetError: if the dataset's files contradict each other.
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
        version: str | None = None,
        durability: Durability | None = None,
        lock_timeout: float = DEFAULT_LOCK_TIMEOUT,
    ) -> Self:
        """Create an empty dataset with these columns, and open it; an existing dataset is an error by default.

        Args:
            out_dir: The dataset's directory; missing parents are created.
            columns: The type of each column, by its name; a nested dict for nested columns. There will be no others.
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
            FileExistsError: if there is a dataset and `if_exists="error"`.
            TypeError: if a column is given something that is not a column type.
            ValueError: if a column's name is empty, too long, or nested in the name of another column.

        Example:
            >>> import mmap_ninja as mn
            >>> ds = mn.RecordsMmap.create("ds", columns={"text": mn.Text(), "box": {"xy": mn.Array((2,), "float32")}})
            >>> ds.append({"text": "cat", "box": {"xy": [0.5, 0.25]}})
            >>> ds.columns, ds[0]["box"]["xy"].tolist()
            (['text', 'box.xy'], [0.5, 0.25])
        """
        options = Options(1, BATCH_BYTES, False, if_exists, metadata, durability, lock_timeout, version, is_closed=True)
        return cls._build(out_dir, sources.Iterated(()), mode, options, specs.columns_of(columns))

    @classmethod
    def from_generator(
        cls,
        out_dir: PathLike,
        sample_generator: Iterable[Sample],
        batch_size: int = 1024,
        verbose: bool = False,
        *,
        batch_bytes: int = BATCH_BYTES,
        columns: Specs | None = None,
        mode: Mode | None = None,
        if_exists: IfExists = "replace",
        total: int | None = None,
        metadata: dict[str, Any] | None = None,
        version: str | None = None,
        durability: Durability | None = None,
        lock_timeout: float = DEFAULT_LOCK_TIMEOUT,
    ) -> Self:
        """Store the samples of an iterable, batch by batch, and open the dataset.

        An error in the iterable propagates and names the index of the sample. The batches before it stay committed, and
        `if_exists="resume"` continues after them.

        Columns that `columns` does not name are defined by the first 1,024 samples together, which are held back for
        that (fewer if they have `batch_bytes`): a str makes a `Text` column, bytes `Bytes`, a number `Scalar`, an array
        or a list of numbers `Ragged`, a dict nested columns, any other list `Json`. A column that one of them lacks, or
        in which one has None, is nullable. If the first sample has only columns that are named, there are no others,
        and nothing is held back. Samples are dicts, dataclasses or named tuples.

        Args:
            out_dir: The dataset's directory; missing parents are created.
            sample_generator: Any iterable of samples.
            batch_size: Samples per commit, at most.
            verbose: Whether to show a progress bar.
            batch_bytes: Bytes with which a batch ends earlier, so that large samples do not fill the memory.
            columns: The types of all or some columns, by their names; a nested dict for nested columns. The samples
                define the others.
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
            >>> samples = ({"text": str(k), "label": k % 2} for k in range(1000))
            >>> ds = mn.RecordsMmap.from_generator("ds", samples, columns={"label": mn.Scalar("uint8")})
            >>> ds.schema["label"], ds[7]["text"]
            (Scalar(dtype=dtype('uint8'), nullable=False), '7')
        """
        options = Options(batch_size, batch_bytes, verbose, if_exists, metadata, durability, lock_timeout, version)
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
        batch_bytes: int = BATCH_BYTES,
        columns: Specs | None = None,
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

        Columns that `columns` does not name are defined by the first 1,024 samples together, which are held back for
        that (fewer if they have `batch_bytes`): a str makes a `Text` column, bytes `Bytes`, a number `Scalar`, an array
        or a list of numbers `Ragged`, a dict nested columns, any other list `Json`. A column that one of them lacks, or
        in which one has None, is nullable. If the first sample has only columns that are named, there are no others,
        and nothing is held back. Samples are dicts, dataclasses or named tuples.

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
            columns: The types of all or some columns, by their names; a nested dict for nested columns. The samples
                define the others.
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
            >>> source = mn.parallel.make_indexable(lambda k: {"name": f"{k}.png", "size": k * 10}, length=100)
            >>> ds = mn.RecordsMmap.from_indexable("ds", source, n_jobs=2)
            >>> ds.take([99, 0])
            {'name': ['99.png', '0.png'], 'size': array([990,   0])}
        """
        options = Options(batch_size, batch_bytes, verbose, if_exists, metadata, durability, lock_timeout, version)
        source: Any = paced.indexed(indexable, n_jobs, options)
        return cls._build(out_dir, source, mode, options, specs.columns_of(columns or {}))

    @classmethod
    def from_columns(
        cls,
        out_dir: PathLike,
        values: "Mapping[str, Any] | RecordsMmap",
        batch_size: int = 1024,
        verbose: bool = False,
        *,
        batch_bytes: int = BATCH_BYTES,
        columns: Specs | None = None,
        mode: Mode | None = None,
        if_exists: IfExists = "replace",
        metadata: dict[str, Any] | None = None,
        version: str | None = None,
        durability: Durability | None = None,
        lock_timeout: float = DEFAULT_LOCK_TIMEOUT,
    ) -> Self:
        """Store columns that are in memory, or in other datasets, and open the dataset.

        Args:
            out_dir: The dataset's directory; missing parents are created.
            values: A sequence for each column, all of the same length, in nested dicts or with dotted names. An array
                makes an `Array` or `Scalar` column. Or records, whose columns keep their types.
            batch_size: Samples per commit, at most.
            verbose: Whether to show a progress bar.
            batch_bytes: Bytes with which a batch ends earlier, so that large samples do not fill the memory.
            columns: The types of all or some columns, by their names; a nested dict for nested columns. The samples
                define the others.
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
            ValueError: if the columns differ in length.

        Example:
            >>> import numpy as np
            >>> import mmap_ninja as mn
            >>> ds = mn.RecordsMmap.from_columns("ds", {"image": np.zeros((3, 28, 28), np.uint8), "label": [1, 0, 1]})
            >>> ds
            RecordsMmap('.../ds', 3 samples, 2376 bytes; image: uint8[28, 28], label: int64)
        """
        made = specs.columns_of(columns or {})
        if isinstance(values, RecordsMmap):
            view = values.select(slice(None))
            shown = view._columns_to_store()  # noqa: SLF001 - both of one moment
            asked = {column.name: column for column in made}
            made = tuple(replace(asked.pop(column.name, column), id=column.id) for column in shown)
            made += tuple(replace(column, id=place) for place, column in enumerate(asked.values(), len(made)))
            nesting.check_names([column.name for column in made])
            values = view._columns()  # noqa: SLF001
        table = Table.of(values, str(out_dir))
        names = tuple(table.columns)
        options = Options(
            batch_size, batch_bytes, verbose, if_exists, metadata, durability, lock_timeout, version, names
        )
        return cls._build(out_dir, sources.Tabled(table), mode, options, made)

    @classmethod
    def from_arrow(
        cls,
        out_dir: PathLike,
        data: object,
        batch_size: int = 1024,
        verbose: bool = False,
        *,
        batch_bytes: int = BATCH_BYTES,
        columns: Specs | None = None,
        mode: Mode | None = None,
        if_exists: IfExists = "replace",
        metadata: dict[str, Any] | None = None,
        version: str | None = None,
        durability: Durability | None = None,
        lock_timeout: float = DEFAULT_LOCK_TIMEOUT,
    ) -> Self:
        """Store a table, Parquet files, or a query, of pyarrow, Polars, DuckDB, pandas, Hugging Face and others.

        Files and queries are read batch by batch, in bounded memory. The schema defines the columns of a new dataset
        that `columns` does not name: a struct makes nested columns, and so does a name with a dot; a list of numbers
        makes `Ragged`, any other list `Json`. A column is nullable from its first null on, wherever that comes.

        Args:
            out_dir: The dataset's directory; missing parents are created.
            data: Anything with the Arrow PyCapsule protocol, the path of a Parquet or Arrow file, or of a folder of
                them, a dataset of pyarrow or Hugging Face, a LazyFrame, a DataFrame of pandas, whose index is dropped,
                or an iterable of these. Other kinds than records need one column, or an array of values.
            batch_size: Samples per commit, at most.
            verbose: Whether to show a progress bar.
            batch_bytes: Bytes with which a batch ends earlier, so that large samples do not fill the memory.
            columns: The types of all or some columns, by their names; a nested dict for nested columns. The samples
                define the others.
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
            ValueError: if its data is not valid.

        Example:
            >>> import mmap_ninja as mn
            >>> import pyarrow as pa
            >>> table = pa.table({"text": ["good", None], "stars": [5, 1]})
            >>> ds = mn.RecordsMmap.from_arrow("reviews", table, columns={"stars": mn.Scalar("uint8")})
            >>> ds["text"][:], ds["stars"][:]
            (['good', None], array([5, 1], dtype=uint8))
        """
        options = Options(batch_size, batch_bytes, verbose, if_exists, metadata, durability, lock_timeout, version)
        options.check()  # before anything is read
        source: Any = ingest.Batches(data, str(out_dir), batch_size, named=True)
        is_new = if_exists in ("replace", "error") or is_vacant(files.absolute(out_dir))
        given = specs.flat(columns or {})
        if is_new or if_exists != "append":
            source.undeclared = frozenset(source.names) - given.keys()
        # The schema of a table tells all columns.
        options = replace(options, names=source.names, undeclared=source.undeclared, is_closed=is_new)
        made = specs.columns_of(source.specs(given) if is_new else given)
        return cls._build(out_dir, source, mode, options, made)
