"""`RecordsMmap`: a list of dicts on disk, whose fields are columns."""

import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, Self, cast

from mmap_ninja import _kernel
from mmap_ninja._kernel import column_of
from mmap_ninja.arrow import export, ingest
from mmap_ninja.builds import build, paced, sources
from mmap_ninja.builds.build import IfExists
from mmap_ninja.columns import nesting, specs
from mmap_ninja.columns.batch import Batch, Table
from mmap_ninja.columns.record_encoding import encode_records
from mmap_ninja.columns.specs import Spec, Specs
from mmap_ninja.columns.types import Array, Binary, Column, ColumnType, Json, Ragged, Text
from mmap_ninja.engine import files
from mmap_ninja.engine.added_column import AddedColumn
from mmap_ninja.engine.change import Change
from mmap_ninja.engine.dataset import DEFAULT_LOCK_TIMEOUT, Columns, Dataset, Durability
from mmap_ninja.engine.directory import is_vacant
from mmap_ninja.engine.open_column import open_column
from mmap_ninja.engine.seen import Seen, Snapshot
from mmap_ninja.errors import MmapNinjaError, StaleHandleError
from mmap_ninja.exported import exported
from mmap_ninja.kinds.arrays import ArrayMmap
from mmap_ninja.kinds.bytes import BytesMmap
from mmap_ninja.kinds.handle import Closed, DatasetHandle, Mode, PathLike, ReadMode, State
from mmap_ninja.kinds.indices import is_index, resolved, several
from mmap_ninja.kinds.ragged import RaggedMmap
from mmap_ninja.kinds.sequence import Indices
from mmap_ninja.kinds.spans import SpansHandle
from mmap_ninja.kinds.strings import StringsMmap
from mmap_ninja.legacy.dataset import LegacyDataset

Record = dict[str, Any]
Sample = Any  # a dict, a dataclass or a named tuple


class JsonColumn(SpansHandle[Any]):
    """What `ds["name"]` gives for a column of JSON: a list of decoded values; its bytes are the texts."""

    _kind = "records"
    _sample = "text"

    def _matches(self, value: object, start: int, stop: int) -> Iterator[int]:
        # Equal values may have several texts: keys in another order, 1 and 1.0.
        return (position for position in range(start, stop) if self[position] == value)


_CLASSES: Final[dict[type[ColumnType], type[DatasetHandle[Any]]]] = {
    Text: StringsMmap,
    Binary: BytesMmap,
    Json: JsonColumn,
    Array: ArrayMmap,
    Ragged: RaggedMmap,
}


@exported
class RecordsMmap(DatasetHandle[Record]):
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

    _kind = "records"
    _sample = "record"

    def __init__(
        self,
        out_dir: PathLike,
        mode: Mode | None = None,
        *,
        durability: Durability = "process",
        lock_timeout: float = DEFAULT_LOCK_TIMEOUT,
        read_mode: ReadMode | None = None,
    ) -> None:
        super().__init__(out_dir, mode, durability=durability, lock_timeout=lock_timeout, read_mode=read_mode)

    # ---- making

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

    def _exported(self) -> dict[str, Any]:
        return {
            name: export.Exported(column_of(handle), self.path, is_json=isinstance(handle, JsonColumn))
            for name, handle in self._columns().items()
        }

    # ---- columns

    @property
    def columns(self) -> list[str]:
        """The names of the columns, nested ones with dots, in their order."""
        return [name for name, _ in self._pairs]

    @property
    def schema(self) -> dict[str, Spec]:
        """What each column holds, by its name."""
        return {name: specs.spec_of(column.type) for name, column in self._pairs}

    _own_pairs: tuple[tuple[str, Column], ...] | None = None  # of a view, which may have other names
    _handles: dict[str, DatasetHandle[Any]] | None = None  # of a view's columns; others may move on
    _asked: tuple[tuple[str, str], ...] | None = None  # of a view of some columns: names, and the dataset's names

    @property
    def _pairs(self) -> tuple[tuple[str, Column], ...]:
        """What is shown: a name, and the dataset's column."""
        return _pairs_of(self._now()) if self._own_pairs is None else self._own_pairs

    @property
    def _configuration(self) -> dict[str, Any]:
        return {} if self._asked is None else {"asked": self._asked}

    def _configure(self, configuration: dict[str, Any]) -> None:
        self._asked = configuration.get("asked")

    def _show(self, dataset: Dataset | LegacyDataset) -> None:
        super()._show(dataset)
        if self._asked is not None:  # of a pickle
            self._restrict(self, self._asked)

    def _open_column(self, seen: Seen | LegacyDataset, *, mapped: bool) -> _kernel.Column:
        assert isinstance(seen, Seen)  # noqa: S101 - 0.x had no records
        copies, columns = self._given_out.copies, []
        for place, column in enumerate(seen.meta.columns):
            where = f"{self._path_text}: column {column.name!r}"
            opened = open_column(seen.generation, place, seen.extents, seen.rows, where, mapped=mapped, copies=copies)
            columns.append((tuple(column.name.split(".")), opened))
        records = _kernel.Column.of_records(self._path_text, columns, copies=copies, mapped=mapped)
        return records.edited(seen.edits)

    def _restrict(self, parent: "RecordsMmap", asked: tuple[tuple[str, str], ...]) -> None:
        """Show some columns only, by other names perhaps."""
        places = {column.name: place for place, (_, column) in enumerate(parent._pairs)}
        records = column_of(parent)
        columns = [(tuple(name.split(".")), records.field(places[stored])) for name, stored in asked]
        copies, mapped = self._given_out.copies, records.is_mapped
        shown = _kernel.Column.of_records(self._path_text, columns, copies=copies, mapped=mapped)
        self._own_pairs = tuple((name, parent._pairs[places[stored]][1]) for name, stored in asked)
        self._asked = asked
        self._show_column(shown, self._state)

    def _as_closed(self) -> Closed:
        try:
            return Closed(self._pairs)
        except (OSError, MemoryError, MmapNinjaError):  # a commit that cannot be mapped, which nobody will read now
            return Closed(())

    def _take_over(self, parent: DatasetHandle[Any], state: State) -> None:
        super()._take_over(parent, state)
        own = cast("RecordsMmap", parent)._own_pairs
        self._own_pairs = _pairs_of(state) if own is None else own

    def _columns(self) -> dict[str, DatasetHandle[Any]]:
        """A handle for each column, on what this handle shows now."""
        while True:
            state = self._now()
            known = state.column_handles if isinstance(state, Seen) else self._handles
            if known is not None:
                return cast("dict[str, DatasetHandle[Any]]", known)
            records = self.select(slice(None))  # not this handle, which would then live until a garbage collection
            handles = {name: records._column(place) for place, (name, _) in enumerate(records._pairs)}
            if self._state is not state:  # another thread has moved it meanwhile
                continue
            if isinstance(state, Seen):
                state.column_handles = handles
            else:
                self._handles = handles

    def _column(self, place: int) -> DatasetHandle[Any]:
        name, column = self._pairs[place]
        handle: DatasetHandle[Any] = self._like_this(_CLASSES[type(column.type)])
        handle._configure({})
        handle._field_of = (self, name)
        handle._show_column(column_of(self).field(place), self._state)
        return handle

    def _get_many(self, key: Any) -> Any:
        if isinstance(key, str):
            handles = self._columns()
            return handles[key] if key in handles else self._view([key], grouped=True)
        if isinstance(key, list) and key and all(isinstance(name, str) for name in key):
            return self._view(key, grouped=False)
        return self[operator.index(key)] if is_index(key) else self._take(several(key))

    def _view(self, names: list[str], *, grouped: bool) -> Self:
        """A view of some columns, or of a group of them by the names that they have in it."""
        asked = []
        view = self.select(slice(None))  # other threads may change the columns
        for name in names:
            prefix = f"{name}."
            found = [own for own in view.columns if own == name or own.startswith(prefix)]
            if not found:
                known = ", ".join(map(repr, view.columns[:20]))
                raise KeyError(f"{self.path}: has no column {name!r}; it has {known or 'none yet'}")
            asked += [(own.removeprefix(prefix) if grouped else own, own) for own in found]
        stored = {own: column.name for own, column in view._pairs}
        view._restrict(view, tuple(dict.fromkeys((shown, stored[own]) for shown, own in asked)))
        return view

    def add_column(self, name: str, values: Iterable[Any], spec: Spec | None = None) -> None:
        """Add a column to the samples that are there, in one step; the files of the others stay as they are.

        Readers keep what they see until their next `refresh`. Until it ends, other processes cannot write to the
        dataset.

        Args:
            name: The column's; nested columns have dots.
            values: One for each sample, in their order; what has no indices is read into memory first.
            spec: What the column holds; the first value tells it if None.

        Raises:
            ValueError: if the name is taken or cannot be one, or there are more or fewer values than samples.
            TypeError: if a value is of another type; nothing is changed then.
            StaleHandleError: if others changed the dataset since this handle looked.
        """
        listed = cast("Sequence[Any]", values) if hasattr(values, "__getitem__") else list(values)
        where = f"{self.path}: column {name!r}"
        with self._mutex.turn():
            if len(listed) != len(self):
                raise ValueError(f"{where}: {len(listed)} values for {len(self)} samples; give one for each")
            self._check_names([*(column.name for _, column in self._pairs), name])
            kind = specs.type_of_values(listed, name) if spec is None else specs.column_type(spec, name)
            dataset = self._writer()
            identity = self._snapshot.identity

            def change() -> Change:
                seen = dataset.seen
                if seen.identity != identity:
                    raise StaleHandleError(f"{where}: others changed the dataset since this handle looked; look again")
                column = Column(max((c.id for c in seen.meta.columns), default=-1) + 1, name, kind)
                added = AddedColumn(column, listed, seen.edits.runs(seen.rows), seen.rows, where)
                return Change((*seen.meta.columns, added.column), added.contents())

            dataset.evolve(change)
            self._follow(dataset)

    def drop_column(self, name: str) -> None:
        """Remove a column and its files, in one step; readers keep what they see until their next `refresh`.

        Args:
            name: The column's; nested columns have dots.

        Raises:
            KeyError: if there is no such column.
            ValueError: if it is the only one.
        """
        self._change_columns(name, lambda columns: tuple(column for column in columns if column.name != name))

    def rename_column(self, name: str, new_name: str) -> None:
        """Give a column another name, in one step; its files stay as they are.

        Args:
            name: The column's; nested columns have dots.
            new_name: What to call it.

        Raises:
            KeyError: if there is no such column.
            ValueError: if the new name is taken, or cannot be one.
        """
        self._change_columns(
            name,
            lambda columns: tuple(replace(c, name=new_name) if c.name == name else c for c in columns),
        )

    def _check_names(self, names: list[str]) -> None:
        try:
            nesting.check_names(names)
        except ValueError as error:
            raise ValueError(f"{self.path}: {error}") from None

    def _change_columns(self, name: str, changed: Callable[[Columns], Columns]) -> None:
        with self._mutex.turn():
            if name not in self.columns:
                raise KeyError(f"{self.path}: has no column {name!r}; it has {', '.join(map(repr, self.columns))}")
            dataset = self._writer()

            def change() -> Change | None:
                columns = changed(dataset.meta.columns)
                if not columns:
                    raise ValueError(f"{self.path}: column {name!r} is the only one; samples without columns are none")
                self._check_names([column.name for column in columns])
                return Change(columns) if columns != dataset.meta.columns else None

            dataset.evolve(change)
            self._follow(dataset)

    # ---- reading

    def take(self, indices: Indices) -> Record:  # type: ignore[override]
        """The columns of the samples at many positions: a dict, nested as the samples are, of each column's own batch.

        Args:
            indices: Integers in any order and number, negative ones counted from the end; a boolean mask; a slice.

        Returns:
            Lists of `str`, `bytes`, arrays or JSON values; an array `[B, ...]` for `Array` and `Scalar`. Where a column
            has nulls, None stands in its list, or the array is masked there.

        Raises:
            IndexError: if an index is out of range.
        """
        handles = self._columns()
        count = len(next(iter(handles.values()))) if handles else 0
        at = resolved(indices, count)
        return nesting.nested({name: handle.take(at) for name, handle in handles.items()})

    def __getitems__(self, indices: Indices) -> list[Record]:
        """What PyTorch's DataLoader calls for a batch: a list of samples, which it collates itself."""
        return self._take(indices)

    def _matches(self, value: object, start: int, stop: int) -> Iterator[int]:
        for position, sample in enumerate(self.select(slice(start, stop)), start):
            if sources.same(value, sample):
                yield position

    @property
    def nbytes(self) -> int:
        """Bytes of the samples as they are stored, without their offsets."""
        if not isinstance(self._state, Snapshot):
            return super().nbytes
        return sum(handle.nbytes for handle in self._columns().values())

    def __repr__(self) -> str:
        fields = [f"{name}: {specs.short(spec)}" for name, spec in self.schema.items()]
        return f"{super().__repr__()[:-1]}; {', '.join(fields) or 'no columns yet'})"

    # ---- writing

    def extend(self, samples: Iterable[Sample] | Mapping[str, Any], verbose: bool = False) -> None:
        """Add samples at the end, all or none of them, in one commit.

        Args:
            samples: Any iterable of samples; or a dict of columns, each a sequence, as `from_columns` takes it.
            verbose: Whether to show a progress bar.

        Raises:
            TypeError: if a sample is of another type; nothing is stored then.
            ValueError: if a column is missing, or there is one more; if columns have several lengths.
            ReadOnlyError: if the handle, the permissions or the medium do not allow it.
        """
        if isinstance(samples, Mapping):
            self._commit(Table.of(samples, self._path_text))
        else:
            super().extend(cast("Iterable[Record]", samples), verbose)

    def _batch_of(self, samples: Any) -> Batch[Record]:
        return Table.of(samples, self._path_text) if isinstance(samples, Mapping) else list(samples)

    _encode = staticmethod(encode_records)


def _pairs_of(state: State) -> tuple[tuple[str, Column], ...]:
    """The names and columns of what is shown, where that is no view."""
    if isinstance(state, Closed):
        return state.columns
    return tuple((column.name, column) for column in state.meta.columns) if isinstance(state, Seen) else ()
