"""`RecordsMmap`: a list of dicts on disk, whose fields are columns."""

import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Self, TypeVar, cast

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
from mmap_ninja.engine.dataset import DEFAULT_LOCK_TIMEOUT, Columns, Durability
from mmap_ninja.engine.directory import is_vacant
from mmap_ninja.engine.open_column import open_column
from mmap_ninja.engine.seen import Seen
from mmap_ninja.errors import StaleHandleError
from mmap_ninja.exported import exported
from mmap_ninja.kinds.arrays import ArrayMmap
from mmap_ninja.kinds.bytes import BytesMmap
from mmap_ninja.kinds.handle import DatasetHandle, showing
from mmap_ninja.kinds.indices import is_index, resolved, several
from mmap_ninja.kinds.options import HandleOptions, Mode, PathLike, ReadMode
from mmap_ninja.kinds.ragged import RaggedMmap
from mmap_ninja.kinds.sequence import Indices
from mmap_ninja.kinds.spans import SpansHandle
from mmap_ninja.kinds.state import Field, Live, State, View
from mmap_ninja.kinds.strings import StringsMmap

H = TypeVar("H", bound=DatasetHandle[Any])
Record = dict[str, Any]
Sample = Any  # a dict, a dataclass or a named tuple
Asked = tuple[tuple[str, str], ...]  # columns: what they are to be called, and their names in the dataset


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


class RecordsHandle(DatasetHandle[Record]):
    """Records, which are read by columns, too."""

    _kind = "records"
    _sample = "record"

    @property
    def columns(self) -> list[str]:
        """The names of the columns, nested ones with dots, in their order."""
        return list(self._now().names)

    @property
    def schema(self) -> dict[str, Spec]:
        """What each column holds, by its name."""
        state = self._now()
        return {name: specs.spec_of(column.type) for name, column in zip(state.names, state.columns, strict=True)}

    @classmethod
    def _open_column(cls, seen: Seen, path: Path, options: HandleOptions, *, mapped: bool) -> _kernel.Column:
        fields = []
        for place, column in enumerate(seen.meta.columns):
            where = f"{path}: column {column.name!r}"
            copies = options.gives_copies
            field = open_column(seen.generation, place, seen.extents, seen.rows, where, mapped=mapped, copies=copies)
            fields.append((tuple(column.name.split(".")), field))
        return _kernel.Column.of_records(str(path), fields, copies=options.gives_copies, mapped=mapped)

    def _columns(self) -> dict[str, DatasetHandle[Any]]:
        """A handle for each column, on what this handle shows now."""
        column, state = self._moment()
        if not isinstance(state, Live | View):  # without columns
            return {}
        if state.handles is None:
            view = View(state.snapshot, state.selection_of(len(column)), state.columns, state.asked)
            # Not this handle, which would then live until a garbage collection.
            records = self._showing(type(self), column, view)
            handles: dict[str, DatasetHandle[Any]] = {}
            for place, (name, of_dataset) in enumerate(zip(view.names, view.columns, strict=True)):
                shown = Field(view, records, name, of_dataset)
                handles[name] = self._showing(_CLASSES[type(of_dataset.type)], column.field(place), shown)
            state.handles = handles
        return state.handles

    def _showing(self, cls: type[H], column: _kernel.Column, state: State) -> H:
        """A handle of a class as this one was opened."""
        return showing(cls, self.out_dir, self.path, self._options, column, state)

    def _get_many(self, key: Any) -> Any:
        if isinstance(key, str):
            handles = self._columns()
            return handles[key] if key in handles else self._view([key], grouped=True)
        if isinstance(key, list) and key and all(isinstance(name, str) for name in key):
            return self._view(key, grouped=False)
        return self[operator.index(key)] if is_index(key) else self._take(several(key))

    def _view(self, names: list[str], *, grouped: bool) -> Self:
        """A view of some columns, or of a group of them by the names that they have in it."""
        column, state = self._moment()
        stored = dict(zip(state.names, (of_dataset.name for of_dataset in state.columns), strict=True))
        asked = []
        for name in names:
            prefix = f"{name}."
            found = [own for own in stored if own == name or own.startswith(prefix)]
            if not found:
                known = ", ".join(map(repr, [*stored][:20]))
                raise KeyError(f"{self.path}: has no column {name!r}; it has {known or 'none yet'}")
            asked += [(own.removeprefix(prefix) if grouped else own, stored[own]) for own in found]
        return self._showing(type(self), *self._chosen(column, state, tuple(dict.fromkeys(asked))))

    def _chosen(self, records: _kernel.Column, state: State, asked: Asked) -> tuple[_kernel.Column, View]:
        """Of some records, only some columns, by other names perhaps."""
        places = {column.name: place for place, column in enumerate(state.columns)}
        chosen = [places[stored] for _, stored in asked]
        fields = [
            (tuple(name.split(".")), records.field(place)) for (name, _), place in zip(asked, chosen, strict=True)
        ]
        copies, mapped = self._options.gives_copies, records.is_mapped
        column = _kernel.Column.of_records(self._path_text, fields, copies=copies, mapped=mapped)
        columns, names = tuple(state.columns[place] for place in chosen), tuple(name for name, _ in asked)
        return column, View(state.snapshot, state.selection_of(len(records)), columns, names)

    def __reduce__(self) -> tuple[Any, ...]:
        reduced, state = super().__reduce__(), self._state
        if state.asked is None:
            return reduced
        return (*reduced, tuple(zip(state.asked, (column.name for column in state.columns), strict=True)))

    def __setstate__(self, asked: Asked) -> None:
        """Show only some columns, as a pickled view of them does."""
        self._show_column(*self._chosen(*self._moment(), asked))

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
        if isinstance(self._state, View):
            return sum(handle.nbytes for handle in self._columns().values())
        return super().nbytes

    def __repr__(self) -> str:
        fields = [f"{name}: {specs.short(spec)}" for name, spec in self.schema.items()]
        return f"{super().__repr__()[:-1]}; {', '.join(fields) or 'no columns yet'})"

    def _exported(self) -> dict[str, Any]:
        return {
            name: export.Exported(column_of(handle), self.path, is_json=isinstance(handle, JsonColumn))
            for name, handle in self._columns().items()
        }


class MutableRecords(RecordsHandle):
    """Records that are added to, and whose columns change: each such change is a generation."""

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
            self._check_names([*(column.name for column in self._now().columns), name])
            kind = specs.type_of_values(listed, name) if spec is None else specs.column_type(spec, name)
            dataset = self._writer()
            identity = self._now().snapshot.identity

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
