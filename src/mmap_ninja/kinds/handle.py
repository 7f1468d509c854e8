"""What all kinds share: a handle on a dataset, which is the list of its samples and the engine's client."""

import copy
import operator
import warnings
from contextlib import nullcontext
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

from mmap_ninja import _kernel
from mmap_ninja._kernel import Column, column_of
from mmap_ninja.arrow import export
from mmap_ninja.engine import files
from mmap_ninja.engine.commit_file import Told
from mmap_ninja.engine.dataset import Dataset
from mmap_ninja.engine.directory import is_vacant
from mmap_ninja.engine.generation import Identity
from mmap_ninja.engine.open_column import open_column
from mmap_ninja.engine.seen import Seen
from mmap_ninja.errors import IncompleteDatasetWarning, MmapNinjaError, StaleHandleError
from mmap_ninja.exported import exported
from mmap_ninja.format.meta import Kind
from mmap_ninja.kinds.indices import resolved
from mmap_ninja.kinds.options import HandleOptions, Mode, PathLike, ReadMode
from mmap_ninja.kinds.sequence import PREVIEW_SAMPLES, Indices, SampleSequence, preview_html
from mmap_ninja.kinds.state import Behind, Closed, Field, Legacy, Live, Selection, State, Vacant, View
from mmap_ninja.legacy import upgrade
from mmap_ninja.legacy.dataset import LegacyDataset, open_dataset
from mmap_ninja.maintenance.verify import Level, Report, examine

if TYPE_CHECKING:
    import pyarrow as pa


from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import NamedTuple, NoReturn, SupportsIndex

import numpy as np

from mmap_ninja import progress
from mmap_ninja.arrow import ingest
from mmap_ninja.builds import build, paced, sources
from mmap_ninja.builds.build import IfExists
from mmap_ninja.builds.paced import Chunked
from mmap_ninja.builds.sources import Indexable
from mmap_ninja.columns import encoding
from mmap_ninja.columns.batch import Batch, Parts
from mmap_ninja.columns.types import Role
from mmap_ninja.engine import compaction
from mmap_ninja.engine.change import Change
from mmap_ninja.engine.dataset import DEFAULT_LOCK_TIMEOUT, Columns, Durability, Encode, nothing
from mmap_ninja.engine.directory import create
from mmap_ninja.engine.edits import Edit
from mmap_ninja.errors import ReadOnlyError
from mmap_ninja.format.meta import first_columns
from mmap_ninja.format.names import FIRST_OFFSET
from mmap_ninja.kinds.indices import is_index, several
from mmap_ninja.kinds.options import check_mode
from mmap_ninja.kinds.state import Positions
from mmap_ninja.legacy.layout import Keys

T = TypeVar("T")
H = TypeVar("H", bound="ShowingHandle[Any]")


class ShowingHandle(SampleSequence[T]):
    """What shows the samples at a path, or some of them, as they were at one moment.

    The samples and the `_state` that they are of change together, in one step of the kernel's: an interrupt, a signal's
    handler or another thread sees one commit, whole.

    Args:
        out_dir: The path, as the user has given it.
        path: The absolute path: the working directory may change.
        options: What the user has asked for.
        column: The samples.
        state: What they are of.
    """

    _kind: ClassVar[Kind]
    _sample: ClassVar[str]  # what the kernel calls it
    _state: State

    def __init__(self, out_dir: PathLike, path: Path, options: HandleOptions, column: Column, state: State) -> None:
        self.out_dir = Path(out_dir)
        self.path = path
        self._path_text = str(path)
        self._options = options
        self._is_writable = options.is_writable  # asked for at every commit
        self._mutex = _kernel.Mutex(self._path_text)
        super().__init__(self._path_text)
        self._show_column(column, state)

    @classmethod
    def _over(cls, dataset: Dataset | LegacyDataset, out_dir: PathLike, options: HandleOptions) -> Self:
        """A handle on an engine that is open already."""
        return showing(cls, out_dir, dataset.path, options, *cls._shown_of(dataset, options))

    @classmethod
    def _found_at(cls, path: Path, options: HandleOptions) -> tuple[Column, State]:
        """What lies at a path; where nothing does and a dataset can be made, that."""
        if options.is_writable and is_vacant(path):
            return cls._nothing(path, options)
        return cls._shown_of(cls._opened(path, options), options)

    @classmethod
    def _nothing(cls, path: Path, options: HandleOptions) -> tuple[Column, State]:
        copies, wrapper, mapped = options.gives_copies, options.wrapper_fn, options.read_mode != "pread"
        return Column(cls._sample, str(path), copies=copies, wrapper=wrapper, mapped=mapped), Vacant()

    @classmethod
    def _opened(cls, path: Path, options: HandleOptions, told: Told | None = None) -> Dataset | LegacyDataset:
        """The engine of what lies at a path; `told`: what another process has found out about the commit file."""
        return open_dataset(path, cls._kind, options.durability, options.lock_timeout, options.keys, told)

    @classmethod
    def _shown_of(cls, dataset: Dataset | LegacyDataset, options: HandleOptions) -> tuple[Column, State]:
        """What an engine is at, whose files are mapped, or opened, anew."""
        asked = options.read_mode
        mapped = files.reads_by_map(dataset.any_descriptor) if asked is None else asked == "mmap"
        if isinstance(dataset, LegacyDataset):
            column = dataset.open_column(mapped=mapped, copies=options.gives_copies, wrapper=options.wrapper_fn)
            return column, Legacy(dataset)
        seen = dataset.seen
        return cls._open_column(seen, dataset.path, options, mapped=mapped).edited(seen.edits), Live(seen, dataset)

    @classmethod
    def _open_column(cls, seen: Seen, path: Path, options: HandleOptions, *, mapped: bool) -> Column:
        """The physical rows of a commit."""
        copies, wrapper = options.gives_copies, options.wrapper_fn
        return open_column(
            seen.generation, 0, seen.extents, seen.rows, str(path), mapped=mapped, copies=copies, wrapper=wrapper
        )

    def _show(self, dataset: Dataset | LegacyDataset) -> None:
        """Show what an engine is at now."""
        if isinstance(dataset, LegacyDataset):
            self._show_column(*self._shown_of(dataset, self._options))
            return
        seen, shown = dataset.seen, self._state
        if type(shown) is not Live or seen.generation is not shown.seen.generation:
            self._show_column(*self._shown_of(dataset, self._options))
        elif seen is not shown.seen:
            extents = seen.extents
            sizes = [extents[index] for index in seen.generation.payloads]
            self._grow(sizes, seen.rows, seen.edits, Live(seen, dataset))

    def _follow(self, dataset: Dataset) -> None:
        """Show the commit that was just made. What fails now is no error of the commit: it is tried again later."""
        try:
            self._show(dataset)
        except (OSError, MemoryError, MmapNinjaError):
            self._show_column(None, Behind(dataset))

    def _attach_again(self) -> None:
        """Show a commit that could not be mapped when it was made; the kernel asks for it when samples are read."""
        if not isinstance(self._state, Behind):
            return
        # A mutation looks at the samples, too, and so may a signal's handler that comes in between.
        with nullcontext() if self._mutex.is_mine else self._mutex.turn():
            if isinstance(self._state, Behind):
                self._show(self._state.dataset or self._opened(self.path, self._options))

    def _now(self) -> State:
        """What is shown; a commit that could not be mapped before is, or it is said why not."""
        self._attach_again()
        return self._state

    @property
    def _closed(self) -> bool:
        return isinstance(self._state, Closed)

    @property
    def mode(self) -> Mode | None:
        """The mode that this was opened with."""
        return self._options.mode

    @property
    def read_mode(self) -> ReadMode:
        """How the files are read: over maps, or into memory by system calls, which report what a map would die of."""
        return "mmap" if self._is_mapped else "pread"

    def refresh(self) -> None:
        """Move to the newest commit, whoever made it.

        Raises:
            NotADatasetError: if the dataset was deleted.
            ValueError: if this is a view or closed.
        """
        with self._mutex.turn():
            match self._state:
                case View():
                    raise ValueError(f"{self.path}: a view cannot be refreshed")
                case Closed():
                    raise ValueError(f"{self.path}: a closed handle cannot be refreshed")
                case Live(dataset=dataset) | Behind(dataset=Dataset() as dataset):
                    dataset.refresh()
                    self._show(dataset)
                case Legacy():
                    self._show(self._opened(self.path, self._options))
                case _ if not is_vacant(self.path):
                    self._show(self._opened(self.path, self._options))

    def close(self) -> None:
        """Make durable what this handle has committed, and let go of the files; views of it stay valid.

        What others have committed is theirs to make durable, or `flush`'s.

        Raises:
            CommitUncertainError: if the system could not write it; the handle is closed all the same.
        """
        with self._mutex.turn():
            state = self._state
            try:
                if isinstance(state, Live | Behind) and state.dataset is not None:
                    state.dataset.close()
            except (OSError, MmapNinjaError):
                self._show_column(None, self._as_closed())
                raise
            # Not before: whoever interrupts this can close again.
            self._show_column(None, self._as_closed())

    def _as_closed(self) -> Closed:
        try:
            return Closed(self._now())
        except (OSError, MemoryError, MmapNinjaError):  # a commit that cannot be mapped, which nobody will read now
            return Closed(self._state)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def showing(cls: type[H], out_dir: PathLike, path: Path, options: HandleOptions, column: Column, state: State) -> H:
    """A handle of a class that shows this, whatever the class's own constructor takes and does."""
    handle = cls.__new__(cls)
    ShowingHandle.__init__(handle, out_dir, path, options, column, state)
    return handle


def warn_of(handle: Any, dataset: Dataset | LegacyDataset | None, *, stacklevel: int) -> None:
    """Warn of what is strange about a dataset that a handle was opened on just now."""
    if isinstance(dataset, LegacyDataset):
        upgrade.warn_of_leftovers(dataset, stacklevel=stacklevel + 1)
    if not handle.complete:
        warnings.warn(
            f"{handle.path}: the build of this dataset has not ended; it shows the {len(handle)} samples committed so "
            "far; go on with if_exists='resume'",
            IncompleteDatasetWarning,
            stacklevel=stacklevel,
        )


class ReadingHandle(ShowingHandle[T]):
    """What is read of the samples, none of which takes a lock."""

    def select(self, indices: Indices) -> Self:
        """A read-only view of some of the samples, on the snapshot that this handle sees now; nothing is read.

        Args:
            indices: Integers in any order and number, negative ones counted from the end; a boolean mask; a slice.

        Returns:
            A handle of the same class, with all its reading methods. It pickles small if it is a range.
        """
        if isinstance(self._state, Field):
            of_records: Self = self._state.records.select(indices)[self._state.name]
            return of_records
        return self._view_of(*self._moment(), indices, self._options)

    def _view_of(self, column: Column, state: State, indices: Indices, options: HandleOptions) -> Self:
        """A view of some of the samples of a column, which are this handle's at a state."""
        count = len(column)
        base = state.selection_of(count)
        selection: Selection
        if isinstance(indices, slice):
            chosen = range(count)[indices]
            selected = column.selected_range(chosen.start, chosen.step, len(chosen))
            selection = base[indices]
        else:
            at = resolved(indices, count)
            selected = column.selected(at)
            selection = base.start + base.step * at if isinstance(base, range) else base[at]
        view = View(state.snapshot, selection, state.columns, state.asked)
        return showing(type(self), self.out_dir, self.path, options, selected, view)

    @property
    def metadata(self) -> dict[str, Any]:
        """The user metadata that the dataset was made with, as a copy."""
        return copy.deepcopy(self._now().snapshot.metadata)

    @property
    def commit_id(self) -> str | None:
        """The commit that this handle shows, as a short string; None where nothing is at the path yet.

        `mmap_ninja.open(path, commit_id=...)` shows exactly the same samples, here or in a copy of the directory,
        whatever was appended, deleted or replaced since. It is no longer to be had when the dataset has got a new
        generation: columns or metadata that changed, a `compact` or `clear`, a replacement; or when the commit was
        lost, by a power loss or a backup that was restored.

        Example:
            >>> import mmap_ninja
            >>> texts = mmap_ninja.StringsMmap.from_strings("reviews", ["good"])
            >>> trained_on = texts.commit_id
            >>> texts.append("bad")
            >>> list(mmap_ninja.open("reviews", commit_id=trained_on))
            ['good']
        """
        identity = self._now().snapshot.identity
        return None if identity is None else identity.commit_id

    @property
    def complete(self) -> bool:
        """Whether the build that made this dataset has ended."""
        return self._now().complete

    @property
    def nbytes(self) -> int:
        """Bytes of the samples as they are stored, without their offsets."""
        state = self._now()
        return int(column_of(self).stored_sizes().sum()) * self._unit if isinstance(state, View) else state.nbytes

    @property
    def _unit(self) -> int:
        """Bytes that the kernel counts the sizes of samples in."""
        return 1

    @property
    def garbage(self) -> int:
        """Bytes that `compact` would give back: of deleted and replaced samples, and what tells of them."""
        return self._now().garbage

    def verify(self, level: Level = "sums", verbose: bool = False) -> Report:
        """Look whether the dataset's files are what its newest commit was made of: see `mmap_ninja.verify`.

        Args:
            level: "quick": the commit file, the meta file, the lengths of all files, and the edits, in no time. "sums":
                also every byte, by the checksums of its block: finds all damage that the disk, a copy or another
                program has done. "full": also each sample: offsets, shapes, UTF-8, JSON, compressed frames: finds what
                was wrong before it was written, and what matters in files of unknown origin.
            verbose: Whether to show a progress bar.

        Returns:
            A report: `ok` tells whether all is well, `problems` the files, blocks and samples that are not.
        """
        return examine(self.path, level, verbose=verbose, keys=self._options.keys)[0]

    def __repr__(self) -> str:
        what = "closed" if self._closed else f"{len(self)} samples"
        if isinstance(self._state, View):
            what = f"view, {what}"
        elif not self._closed:
            what += f", {self.nbytes} bytes" + ("" if self.complete else ", incomplete")
        return f"{type(self).__name__}({str(self.path)!r}, {what})"

    def _repr_html_(self) -> str:
        shown = [] if self._closed else self[:PREVIEW_SAMPLES]
        return preview_html(repr(self), shown, 0 if self._closed else len(self))

    def _exported(self) -> dict[str, Any]:
        """The columns that Arrow sees, by their names."""
        return export.one_column(column_of(self), self.path)

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """The samples for another library, over the files where Arrow can read them: its PyCapsule protocol."""
        return export.reader(self._exported()).__arrow_c_stream__(requested_schema)

    def to_arrow(self) -> "pa.Table":
        """The samples as a table of pyarrow; the only column of a dataset that has one is called `sample`.

        Where they lie in the files as Arrow has them, nothing is copied, and the table keeps the files' maps. Samples
        that were edited, are compressed, or are views by steps or indices, are copied.

        Raises:
            ImportError: if `pip install "mmap_ninja[arrow]"` is still to be done.
            TypeError: if a dtype has no type in Arrow.
        """
        return export.reader(self._exported()).read_all()

    def __reduce__(self) -> tuple[Any, ...]:
        if self._closed:
            raise ValueError(f"{self.path}: the dataset is closed; a closed handle cannot be pickled")
        state = self._now()
        if isinstance(state, Field):
            return operator.getitem, (state.records, state.name)
        shown = state.snapshot
        told = None if shown.look is None else shown.look.told()
        selection = state.selection if isinstance(state, View) else None
        return reopen, (type(self), str(self.path), self._options, shown.identity, told, selection)


@exported
def reopen(
    cls: type[ReadingHandle[Any]],
    path: str,
    options: HandleOptions,
    identity: Identity | None,
    told: Told | None,
    selection: Selection | None,
) -> ReadingHandle[Any]:
    """A pickled handle, on exactly the snapshot that it had."""
    if identity is None:
        if not is_vacant(Path(path)):
            raise StaleHandleError(
                f"{path}: nothing was here when this handle was pickled, and now there is a dataset; open it again"
            )
        handle = showing(cls, path, Path(path), options, *cls._nothing(Path(path), options))
    else:
        dataset = cls._opened(Path(path), options, told)
        dataset.pin(identity)
        handle = cls._over(dataset, path, options)
    if selection is None:
        return handle
    if isinstance(selection, range):
        stop = selection.stop if selection.stop >= 0 else None
        return handle.select(slice(selection.start, stop, selection.step) if len(selection) else slice(0))
    return handle.select(selection)


class _Places(NamedTuple):
    """Samples that are to be edited: their positions, and the rows that they had at first, in which numbering."""

    at: Positions
    rows: Positions
    numbering: tuple[bytes, str] | None  # None: that of the generation that an upgrade makes
    looked_in: Seen | None  # the commit that they were looked up in
    stored: Positions | None = None  # where they must be stored still


class MutatingHandle(ReadingHandle[T]):
    """What changes the dataset, one mutation after the other: a lock of the handle's own serialises them."""

    def append(self, sample: T) -> None:
        """Add one sample at the end, in one commit.

        It survives a crash of this process at once, and a power loss from the next `flush` or `close` on. Other
        processes see it after their next `refresh`.

        Args:
            sample: Of the type that this kind holds.

        Raises:
            TypeError: if the sample is of another type.
            ReadOnlyError: if the handle, the permissions or the medium do not allow it.
        """
        self._commit([sample])

    def extend(self, samples: Iterable[T], verbose: bool = False) -> None:
        """Add samples at the end, all or none of them, in one commit.

        Args:
            samples: Any iterable; it is read to its end first.
            verbose: Whether to show a progress bar.

        Raises:
            TypeError: if a sample is of another type; nothing is stored then.
            ReadOnlyError: if the handle, the permissions or the medium do not allow it.
        """
        if verbose:
            samples = progress.through(samples, " samples")
        self._commit(list(samples))

    def __iadd__(self, samples: Iterable[T]) -> Self:
        self.extend(samples)
        return self

    def __setitem__(self, key: SupportsIndex | Indices, value: Any) -> None:
        """Replace one sample, or as many as a slice, a list of indices or a mask names, in one commit.

        New samples may have any size. The old ones take up space until `compact`, and readers keep them until their
        next `refresh`.

        Raises:
            IndexError: if an index is out of range.
            ValueError: if there are more or fewer samples than places.
            TypeError: if a sample is of another type.
            StaleHandleError: if a sample that is replaced was deleted since this handle looked.
            ReadOnlyError: if the handle, the permissions or the medium do not allow it.
        """
        self._replace(key, [value] if is_index(key) else self._batch_of(value))

    def __delitem__(self, key: SupportsIndex | Indices) -> None:
        """Delete one sample, or those that a slice, a list of indices or a mask names, in one commit.

        They take up space until `compact`, and readers keep them until their next `refresh`. The cost does not depend
        on the number of samples in the dataset.

        Raises:
            IndexError: if an index is out of range.
            StaleHandleError: if a sample was deleted since this handle looked.
            ReadOnlyError: if the handle, the permissions or the medium do not allow it.
        """
        with self._mutex.turn():
            self._edit(self._places(key), nothing, 0)

    def pop(self, index: SupportsIndex = -1) -> T:
        """Delete one sample and return it, owned.

        Args:
            index: Its position; a negative one counts from the end.

        Raises:
            IndexError: if there is no such sample.
            StaleHandleError: if others have deleted or replaced it since this handle looked.
        """
        if not is_index(index):
            raise TypeError(f"index {index!r:.80}: expected an integer")
        with self._mutex.turn():
            places = self._places(index)
            (sample,) = self.__getitems__(places.at)
            self._edit(places._replace(stored=column_of(self).stored_rows(places.at)), nothing, 0)
        return sample

    def clear(self) -> None:
        """Delete all samples, and give their space back: the next generation has new files; the columns stay.

        Readers keep what they see until their next `refresh`.
        """
        with self._mutex.turn():
            if isinstance(self._state, Vacant):
                return
            dataset = self._writer()
            dataset.evolve(lambda: Change(compaction.sealed(dataset.meta.columns), rows=0))
            self._follow(dataset)

    def compact(self, order: Indices | None = None, verbose: bool = False) -> None:
        """Write the samples anew without what was deleted or replaced, and give that space back.

        It is one step, which readers survive: they keep the old files until their next `refresh`. Until it ends, other
        processes cannot write to the dataset. Views and pickles of earlier commits are stale afterwards.

        Args:
            order: The new order: a permutation of `range(len(self))`, such as `np.argsort(ds.byte_lengths)`. None: the
                order stays, and where there is nothing to give back, nothing is done.
            verbose: Whether to show a progress bar.

        Raises:
            ValueError: if `order` is no permutation.
            StaleHandleError: if others changed the dataset since this handle looked, and an order is given.
        """
        with self._mutex.turn():
            permutation = None if order is None else _permutation(order, len(self), self.path)
            if isinstance(self._state, Vacant):
                return
            dataset = self._writer()
            compaction.compact(dataset, permutation, self._now().snapshot.identity, verbose=verbose)
            self._follow(dataset)

    def insert(self, *_: object) -> NoReturn:
        """A TypeError: samples are added at the end, and ordered by `compact`."""
        raise TypeError(f"{self.path}: samples are added at the end only; append them, then see compact(order=...)")

    def sort(self, **_: object) -> NoReturn:
        """A TypeError: samples are ordered by `compact`."""
        raise TypeError(f"{self.path}: samples are not moved one by one; see compact(order=...)")

    def reverse(self) -> NoReturn:
        """A TypeError: samples are ordered by `compact`; `reversed(ds)` reads them backwards."""
        raise TypeError(f"{self.path}: samples are not moved one by one; see reversed(ds), compact(order=...)")

    def flush(self) -> None:
        """Wait until all that is committed is safe against power loss; moves to the newest commit.

        Raises:
            CommitUncertainError: if the system could not write it.
        """
        with self._mutex.turn():
            if isinstance(self._state, Vacant) or (self._is_writable and isinstance(self._state, Legacy)):
                return  # nothing is at the path yet, or of this handle's
            dataset = self._writer()
            dataset.flush()
            self._follow(dataset)

    @classmethod
    def _encode(cls, columns: Columns, batch: Batch[T], path: str, first: int) -> tuple[Columns, Parts]:
        """The bytes that each file of the generation grows by, and the columns that they fit: those given, or wider.

        `first` is the first sample's number in messages.
        """
        (column,) = columns
        values: Any = batch
        kind, parts = encoding.encode(column.type, values, path, first)
        return (columns if kind is column.type else (replace(column, type=kind),)), parts

    def _check_replacements(self, batch: Batch[T], at: Positions) -> None:
        """Raise ValueError where a sample may not take the place of the one at its position, whatever its type."""

    def _commit(self, batch: Batch[T]) -> None:
        """Store a batch at the end."""
        encode: Encode = partial(self._encode, batch=batch, path=self._path_text, first=0)
        with self._mutex.turn():
            match self._state:
                case Legacy(columns=columns):  # an error in a sample must leave none that is upgraded
                    encode = _once(encode, columns, encode(columns))
                case Vacant():
                    columns = first_columns(self._kind)
                    encoded = encode(columns)
                    if self._create(*encoded, len(batch)):
                        return
                    encode = _once(encode, columns, encoded)
            dataset = self._writer()
            dataset.commit(encode, len(batch))
            self._follow(dataset)

    def _replace(self, key: SupportsIndex | Indices, batch: Batch[T]) -> None:
        """Store a batch in the place of the samples that a key names."""
        encode: Encode = partial(self._encode, batch=batch, path=self._path_text, first=0)
        with self._mutex.turn():
            if isinstance(self._state, Legacy):  # as above
                columns = self._state.columns
                encode = _once(encode, columns, encode(columns))
            places = self._places(key)
            if len(batch) != len(places.at):
                raise ValueError(f"{self.path}: {len(batch)} samples for {len(places.at)} places; give one for each")
            self._check_replacements(batch, places.at)
            self._edit(places, encode, len(batch))

    def _create(self, columns: Columns, parts: Parts, rows: int) -> bool:
        """Make the dataset with its first batch, in one step: an error leaves nothing. False if there is one by now."""
        roles = [(role, column.id) for column in columns for role in column.type.files()]
        contents: dict[tuple[Role, int | None], list[bytes]] = {
            key: [*([FIRST_OFFSET] if key[0] == "offsets" else []), bytes(part or b"")]
            for key, part in zip(roles, parts, strict=False)
        }
        if not create(self.path, self._kind, columns, {}, True, self._options.lock_timeout, contents, rows):
            return False
        try:
            self._show_column(*self._shown_of(self._engine(), self._options))
        except (OSError, MemoryError, MmapNinjaError):  # what fails now is no error of the batch
            self._show_column(None, Behind(None))
        return True

    def _places(self, key: Any) -> _Places:
        """What the samples that a key names are, under this handle's lock: no edit comes between it and its use.

        Code of the user's, which a key or a sample may call, can still edit; what it does is found out by `Edit.check`.
        """
        at = resolved([operator.index(key)] if is_index(key) else several(key), len(self))
        state = self._now()
        rows = column_of(self).base_rows(at)
        if not isinstance(state, Live):
            return _Places(at, rows, None, None)
        return _Places(at, rows, state.seen.meta.numbering, state.seen)

    def _batch_of(self, samples: Any) -> Batch[Any]:
        """What is assigned to several places, or extended by, as a batch."""
        return list(samples)

    def _edit(self, places: _Places, encode: Encode, count: int) -> None:
        """Delete some rows of what this handle shows, or put as many new samples in their place; under its lock."""
        if isinstance(self._state, Vacant):
            return  # there are no samples
        before = len(self)
        dataset = self._writer()
        if len(self) != before:  # it was of 0.x, and has changed before it was upgraded
            raise StaleHandleError(f"{self.path}: was changed by mmap_ninja 0.x since this handle looked; look again")
        numbering = dataset.meta.numbering if places.numbering is None else places.numbering
        edit = Edit(numbering, places.rows, count > 0, places.stored)
        dataset.commit(encode, count, edit, places.looked_in)
        self._follow(dataset)

    def _writer(self) -> Dataset:
        """The engine, for a mutation; made now if the path held no dataset of today's format yet."""
        match self._state:
            case Live(dataset=dataset) if self._is_writable:
                return dataset
            case View():
                raise ReadOnlyError(f"{self.path}: a view is read-only; change the dataset that it was selected from")
            case _ if not self._is_writable:
                raise ReadOnlyError(f"{self.path}: opened with mode {self.mode!r}; open it without a mode to write")
            case Closed():
                raise ValueError(f"{self.path}: the dataset is closed; open it again to write to it")
            case Behind(dataset=Dataset() as dataset):
                return dataset
            case Legacy():
                upgrade.adopt(self.path, self._options.keys, self._options.lock_timeout)
            case Vacant():
                create(self.path, self._kind, first_columns(self._kind), {}, True, self._options.lock_timeout)
        dataset = self._engine()
        self._show(dataset)
        return dataset

    def _engine(self) -> Dataset:
        """The engine of a dataset that was made just now."""
        return Dataset(self.path, self._kind, self._options.durability, self._options.lock_timeout)


def _once(encode: Encode, columns: Columns, encoded: tuple[Columns, Parts]) -> Encode:
    """The same, where it has encoded for these columns already."""
    return lambda wanted: encoded if wanted == columns else encode(wanted)


def _permutation(order: Indices, count: int, path: Path) -> Positions:
    """An order of all samples, as positions."""
    indices = resolved(order, count)
    is_counted_from_end = not isinstance(order, slice) and (np.asarray(order) < 0).any()
    if is_counted_from_end or len(indices) != count or not np.array_equal(np.sort(indices), np.arange(count)):
        raise ValueError(
            f"{path}: order: {len(indices)} positions, expected each of 0 to {count - 1} once; see np.argsort"
        )
    return indices


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
