"""What all kinds share: a handle on a dataset, which is the list of its samples and the engine's client."""

import copy
import operator
import os
import warnings
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Final,
    Literal,
    NamedTuple,
    NoReturn,
    Self,
    SupportsIndex,
    TypeVar,
    cast,
    get_args,
)

import numpy as np
import numpy.typing as npt

from mmap_ninja import _kernel, progress
from mmap_ninja._kernel import column_of
from mmap_ninja.arrow import export, ingest
from mmap_ninja.builds import build, paced, sources
from mmap_ninja.builds.build import IfExists
from mmap_ninja.builds.paced import Chunked
from mmap_ninja.builds.sources import Indexable
from mmap_ninja.columns import encoding
from mmap_ninja.columns.batch import Batch, Parts, Values
from mmap_ninja.columns.types import Column, Role
from mmap_ninja.engine import compaction, files
from mmap_ninja.engine.change import Change
from mmap_ninja.engine.commit_file import Told
from mmap_ninja.engine.dataset import (
    DEFAULT_LOCK_TIMEOUT,
    Columns,
    Dataset,
    Durability,
    Encode,
    nothing,
)
from mmap_ninja.engine.directory import create, is_vacant
from mmap_ninja.engine.edits import Edit
from mmap_ninja.engine.generation import Identity
from mmap_ninja.engine.open_column import open_column
from mmap_ninja.engine.seen import Seen, Snapshot
from mmap_ninja.errors import IncompleteDatasetWarning, MmapNinjaError, ReadOnlyError, StaleHandleError
from mmap_ninja.exported import exported
from mmap_ninja.format.meta import Kind, first_columns
from mmap_ninja.format.names import FIRST_OFFSET
from mmap_ninja.kinds.indices import is_index, resolved, several
from mmap_ninja.kinds.sequence import PREVIEW_SAMPLES, Indices, SampleSequence, preview_html
from mmap_ninja.legacy import upgrade
from mmap_ninja.legacy.dataset import LegacyDataset, open_dataset
from mmap_ninja.legacy.layout import Keys
from mmap_ninja.maintenance.verify import Level, Report, examine

if TYPE_CHECKING:
    import pyarrow as pa

T = TypeVar("T")
PathLike = str | os.PathLike[str]
Mode = Literal["r", "rb", "r+", "r+b", "c"]
ReadMode = Literal["mmap", "pread"]
Positions = npt.NDArray[np.int64]
Selection = range | Positions

_WRITABLE_MODES = (None, "r+", "r+b")
_END: Final = object()  # what no key is


class _Moment(Enum):
    """What a handle shows when it shows no commit."""

    NEW = "nothing is at the path yet"
    BEHIND = "a commit was made that could not be mapped"


_NEW: Final = _Moment.NEW  # asked for at every commit, and slow to find in the class


@dataclass(frozen=True, slots=True)
class Closed:
    """What a closed handle still tells.

    Args:
        columns: Of records: what `_pairs` was.
    """

    columns: tuple[tuple[str, Column], ...]


# What a handle shows, beside the samples; a view shows a part of a snapshot.
State = Seen | LegacyDataset | Snapshot | Closed | _Moment


class GivenOut(NamedTuple):
    """How samples become the user's: arrays as copies, and what is called with each."""

    copies: bool
    wrapper: Callable[[Any], Any] | None


@dataclass(frozen=True, slots=True, eq=False)
class _Places:
    """Samples that are to be edited: their positions, and the rows that they had at first, in which numbering."""

    at: Positions
    rows: Positions
    numbering: tuple[bytes, str] | None  # None: that of the generation that an upgrade makes
    looked_in: Seen | None  # the commit that they were looked up in
    stored: Positions | None = None  # where they must be stored still


class DatasetHandle(SampleSequence[T]):
    """An open dataset: a list of samples on disk.

    Reads are safe from several threads; mutations are serialised by a lock of the handle's own. The samples and the
    `_state` that they are of change together, in one step of the kernel's: an interrupt, a signal's handler or another
    thread sees one commit, whole.
    """

    _kind: ClassVar[Kind]
    _sample: ClassVar[str]  # what the kernel calls it

    def __init__(
        self,
        out_dir: PathLike,
        mode: Mode | None = None,
        *,
        durability: Durability = "process",
        lock_timeout: float = DEFAULT_LOCK_TIMEOUT,
        read_mode: ReadMode | None = None,
        keys: Keys = Keys(),  # noqa: B008 - it cannot change
    ) -> None:
        self._set_up(out_dir, files.absolute(out_dir), mode, durability, lock_timeout, keys, read_mode)
        if self._writable and is_vacant(self.path):
            copies, wrapper = self._given_out
            mapped = self._asked_read_mode != "pread"
            nothing = _kernel.Column(self._sample, self._path_text, copies=copies, wrapper=wrapper, mapped=mapped)
            self._show_column(nothing, _NEW)
        else:
            self._show(open_dataset(self.path, self._kind, durability, lock_timeout, keys))
            self._warn(stacklevel=4)  # the kind's constructor calls this one
        if keys != Keys() and not isinstance(self._dataset, LegacyDataset):
            raise ValueError(
                f"{self.path}: {', '.join(set(keys) - set(Keys()))}: such names are for directories of mmap_ninja 0.x, "
                "which this is not, or no longer; leave them out"
            )

    @classmethod
    def _over(
        cls,
        dataset: Dataset | LegacyDataset,
        out_dir: PathLike,
        mode: Mode | None,
        read_mode: ReadMode | None = None,
        configuration: dict[str, Any] | None = None,
    ) -> Self:
        """A handle on an engine that is open already."""
        handle = cls.__new__(cls)
        keys = dataset.keys if isinstance(dataset, LegacyDataset) else Keys()
        handle._set_up(out_dir, dataset.path, mode, dataset.durability, dataset.lock_timeout, keys, read_mode)
        handle._configure(configuration or {})
        handle._show(dataset)
        return handle

    def _set_up(
        self,
        out_dir: PathLike,
        path: Path,
        mode: Mode | None,
        durability: Durability,
        lock_timeout: float,
        keys: Keys,
        read_mode: ReadMode | None,
    ) -> None:
        check_mode(mode)
        if read_mode not in (None, *get_args(ReadMode)):
            raise ValueError(f"read_mode {read_mode!r} is unknown (expected None or one of {get_args(ReadMode)})")
        if durability not in get_args(Durability):
            raise ValueError(f"durability {durability!r} is unknown (expected one of {get_args(Durability)})")
        self.out_dir = Path(out_dir)
        self.path = path  # absolute: the working directory may change
        self.mode = mode
        self._path_text = str(self.path)
        super().__init__(self._path_text)
        self._durability: Durability = durability
        self._lock_timeout = lock_timeout
        self._keys = keys
        self._writable = mode in _WRITABLE_MODES
        self._asked_read_mode = read_mode
        self._mutex = _kernel.Mutex(self._path_text)
        self._state: State = _Moment.NEW
        self._dataset: Dataset | LegacyDataset | None = None
        self._selection: Selection | None = None
        self._field_of: tuple[DatasetHandle[Any], str] | None = None  # whose column this is, of which name

    def _show(self, dataset: Dataset | LegacyDataset) -> None:
        """Show what an engine is at now."""
        seen, shown = dataset if isinstance(dataset, LegacyDataset) else dataset.seen, self._state
        if isinstance(seen, Seen) and isinstance(shown, Seen) and seen.generation is shown.generation:
            if seen is not shown:
                extents = seen.extents
                sizes = [extents[index] for index in seen.generation.payloads]
                self._grow(sizes, seen.rows, seen.edits, seen)
        else:
            asked = self._asked_read_mode
            mapped = files.reads_by_map(dataset.any_descriptor) if asked is None else asked == "mmap"
            self._show_column(self._open_column(seen, mapped=mapped), seen)
        self._dataset = dataset

    def _follow(self, dataset: Dataset) -> None:
        """Show the commit that was just made. What fails now is no error of the commit: it is tried again later."""
        try:
            self._show(dataset)
        except (OSError, MemoryError, MmapNinjaError):
            self._dataset = dataset
            self._show_column(None, _Moment.BEHIND)

    def _attach_again(self) -> None:
        """Show a commit that could not be mapped when it was made; the kernel asks for it when samples are read."""
        if self._state is not _Moment.BEHIND:
            return
        # A mutation looks at the samples, too, and so may a signal's handler that comes in between.
        with nullcontext() if self._mutex.is_mine else self._mutex.turn():
            if self._state is _Moment.BEHIND:
                self._show(self._dataset or self._opened())

    def _opened(self) -> Dataset | LegacyDataset:
        return open_dataset(self.path, self._kind, self._durability, self._lock_timeout, self._keys)

    def _open_column(self, seen: Seen | LegacyDataset, *, mapped: bool) -> _kernel.Column:
        """The samples of a commit whose generation was not shown before."""
        copies, wrapper = self._given_out
        if isinstance(seen, LegacyDataset):
            return seen.open_column(mapped=mapped, copies=copies, wrapper=wrapper)
        path, extents, rows = self._path_text, seen.extents, seen.rows
        column = open_column(seen.generation, 0, extents, rows, path, mapped=mapped, copies=copies, wrapper=wrapper)
        return column.edited(seen.edits)

    @property
    def _given_out(self) -> GivenOut:
        """How samples become the user's."""
        return GivenOut(copies=self.mode == "c", wrapper=None)

    @property
    def _configuration(self) -> dict[str, Any]:
        """What a kind's constructor takes beyond the common options, for views and pickles."""
        return {}

    def _configure(self, configuration: dict[str, Any]) -> None:
        """Take over another handle's `_configuration`."""

    def _warn(self, *, stacklevel: int) -> None:
        """Warn of what is strange about a dataset that was just opened."""
        if isinstance(self._dataset, LegacyDataset):
            upgrade.warn_of_leftovers(self._dataset, stacklevel=stacklevel + 1)
        if not self.complete:
            warnings.warn(
                f"{self.path}: the build of this dataset has not ended; it shows the {len(self)} samples committed so "
                "far; go on with if_exists='resume'",
                IncompleteDatasetWarning,
                stacklevel=stacklevel,
            )

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

    @classmethod
    def _encode(cls, columns: Columns, batch: Batch[T], path: str, first: int) -> tuple[Columns, Parts]:
        """The bytes that each file of the generation grows by, and the columns that they fit: those given, or wider.

        `first` is the first sample's number in messages.
        """
        (column,) = columns
        kind, parts = encoding.encode(column.type, cast("Values[T]", batch), path, first)
        return (columns if kind is column.type else (replace(column, type=kind),)), parts

    def _check_replacements(self, batch: Batch[T], at: Positions) -> None:
        """Raise ValueError where a sample may not take the place of the one at its position, whatever its type."""

    def _commit(self, batch: Batch[T], key: Any = _END) -> None:
        """Store a batch at the end, or in the place of the samples that a key names."""

        def encode(columns: Columns) -> tuple[Columns, Parts]:
            return self._encode(columns, batch, self._path_text, 0)

        with self._mutex.turn():
            if not isinstance(self._state, Seen):
                if isinstance(self._dataset, LegacyDataset):  # an error must leave none that is upgraded
                    encode(self._dataset.meta.columns)
                is_first = key is _END and self._is_new
                if is_first and self._create(*encode(first_columns(self._kind)), len(batch)):
                    return
            if key is not _END:
                places = self._places(key)
                if len(batch) != len(places.at):
                    raise ValueError(
                        f"{self.path}: {len(batch)} samples for {len(places.at)} places; give one for each"
                    )
                self._check_replacements(batch, places.at)
                self._edit(places, encode, len(batch))
                return
            dataset = self._writer()
            dataset.commit(encode, len(batch))
            self._follow(dataset)

    def _create(self, columns: Columns, parts: Parts, rows: int) -> bool:
        """Make the dataset with its first batch, in one step: an error leaves nothing. False if there is one by now."""
        roles = [(role, column.id) for column in columns for role in column.type.files()]
        contents: dict[tuple[Role, int | None], list[bytes]] = {
            key: [*([FIRST_OFFSET] if key[0] == "offsets" else []), bytes(part or b"")]
            for key, part in zip(roles, parts, strict=False)
        }
        if not create(self.path, self._kind, columns, {}, True, self._lock_timeout, contents, rows):
            return False
        try:
            self._show(Dataset(self.path, self._kind, self._durability, self._lock_timeout))
        except (OSError, MemoryError, MmapNinjaError):  # what fails now is no error of the batch
            self._show_column(None, _Moment.BEHIND)
        return True

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
        self._commit([value] if is_index(key) else self._batch_of(value), key)

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
            self._edit(replace(places, stored=column_of(self).stored_rows(places.at)), nothing, 0)
        return sample

    def clear(self) -> None:
        """Delete all samples, and give their space back: the next generation has new files; the columns stay.

        Readers keep what they see until their next `refresh`.
        """
        with self._mutex.turn():
            if self._is_new:
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
            if self._is_new:
                return
            dataset = self._writer()
            compaction.compact(dataset, permutation, self._snapshot.identity, verbose=verbose)
            self._follow(dataset)

    @property
    def garbage(self) -> int:
        """Bytes that `compact` would give back: of deleted and replaced samples, and what tells of them."""
        state = self._now()
        return state.garbage if isinstance(state, Seen) else 0

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
        return examine(self.path, level, verbose=verbose, keys=self._keys)[0]

    def insert(self, *_: object) -> NoReturn:
        """A TypeError: samples are added at the end, and ordered by `compact`."""
        raise TypeError(f"{self.path}: samples are added at the end only; append them, then see compact(order=...)")

    def sort(self, **_: object) -> NoReturn:
        """A TypeError: samples are ordered by `compact`."""
        raise TypeError(f"{self.path}: samples are not moved one by one; see compact(order=...)")

    def reverse(self) -> NoReturn:
        """A TypeError: samples are ordered by `compact`; `reversed(ds)` reads them backwards."""
        raise TypeError(f"{self.path}: samples are not moved one by one; see reversed(ds), compact(order=...)")

    def _places(self, key: Any) -> _Places:
        """What the samples that a key names are, under this handle's lock: no edit comes between it and its use.

        Code of the user's, which a key or a sample may call, can still edit; what it does is found out by `Edit.check`.
        """
        at = resolved([operator.index(key)] if is_index(key) else several(key), len(self))
        state = self._now()
        if not isinstance(state, Seen):
            return _Places(at, column_of(self).base_rows(at), None, None)
        return _Places(at, column_of(self).base_rows(at), state.meta.numbering, state)

    def _batch_of(self, samples: Any) -> Batch[Any]:
        """What is assigned to several places, or extended by, as a batch."""
        return list(samples)

    def _edit(self, places: _Places, encode: Encode, count: int) -> None:
        """Delete some rows of what this handle shows, or put as many new samples in their place; under its lock."""
        if self._is_new:
            return  # there are no samples
        before = len(self)
        dataset = self._writer()
        if len(self) != before:  # it was of 0.x, and has changed before it was upgraded
            raise StaleHandleError(f"{self.path}: was changed by mmap_ninja 0.x since this handle looked; look again")
        numbering = dataset.meta.numbering if places.numbering is None else places.numbering
        edit = Edit(numbering, places.rows, count > 0, places.stored)
        dataset.commit(encode, count, edit, places.looked_in)
        self._follow(dataset)

    @property
    def _is_new(self) -> bool:
        """Whether nothing is at the path yet, which a mutation would make."""
        return self._state is _NEW and self._writable

    @property
    def _closed(self) -> bool:
        return isinstance(self._state, Closed)

    def _now(self) -> State:
        """What is shown; a commit that could not be mapped before is, or it is said why not."""
        self._attach_again()
        return self._state

    def _writer(self) -> Dataset:
        """The engine, for a mutation; made now if the path held no dataset yet."""
        if isinstance(self._dataset, Dataset) and self._writable and isinstance(self._state, Seen):
            return self._dataset
        if isinstance(self._state, Snapshot):
            raise ReadOnlyError(f"{self.path}: a view is read-only; change the dataset that it was selected from")
        if not self._writable:
            raise ReadOnlyError(f"{self.path}: opened with mode {self.mode!r}; open it without a mode to write")
        if self._closed:
            raise ValueError(f"{self.path}: the dataset is closed; open it again to write to it")
        if isinstance(self._dataset, Dataset):
            return self._dataset
        if self._dataset is not None:
            upgrade.adopt(self.path, self._keys, self._lock_timeout)
        elif self._is_new:
            columns = first_columns(self._kind)
            create(self.path, self._kind, columns, {}, True, self._lock_timeout)
        dataset = Dataset(self.path, self._kind, self._durability, self._lock_timeout)
        self._show(dataset)
        return dataset

    def flush(self) -> None:
        """Wait until all that is committed is safe against power loss; moves to the newest commit.

        Raises:
            CommitUncertainError: if the system could not write it.
        """
        with self._mutex.turn():
            if self._is_new or (self._writable and isinstance(self._dataset, LegacyDataset)):
                return  # nothing is at the path yet, or of this handle's
            dataset = self._writer()
            dataset.flush()
            self._follow(dataset)

    def refresh(self) -> None:
        """Move to the newest commit, whoever made it.

        Raises:
            NotADatasetError: if the dataset was deleted.
            ValueError: if this is a view or closed.
        """
        with self._mutex.turn():
            if self._closed or isinstance(self._state, Snapshot):
                raise ValueError(f"{self.path}: a {'closed handle' if self._closed else 'view'} cannot be refreshed")
            if isinstance(self._dataset, Dataset):
                self._dataset.refresh()
                self._show(self._dataset)
            elif self._dataset is not None or not is_vacant(self.path):
                self._show(self._opened())

    def close(self) -> None:
        """Make durable what this handle has committed, and let go of the files; views of it stay valid.

        What others have committed is theirs to make durable, or `flush`'s.

        Raises:
            CommitUncertainError: if the system could not write it; the handle is closed all the same.
        """
        with self._mutex.turn():
            try:
                if self._dataset is not None:
                    self._dataset.close()
            except (OSError, MmapNinjaError):
                self._show_column(None, self._as_closed())
                self._dataset = None
                raise
            # Not before: whoever interrupts this can close again.
            self._show_column(None, self._as_closed())
            self._dataset = None

    def _as_closed(self) -> Closed:
        return Closed(())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def select(self, indices: Indices) -> Self:
        """A read-only view of some of the samples, on the snapshot that this handle sees now; nothing is read.

        Args:
            indices: Integers in any order and number, negative ones counted from the end; a boolean mask; a slice.

        Returns:
            A handle of the same class, with all its reading methods. It pickles small if it is a range.
        """
        if self._field_of is not None:
            records, name = self._field_of
            return cast("Self", records.select(indices)._get_many(name))
        column, state = self._moment()
        return self._view_of(column, state, indices, self._configuration)

    def _view_of(self, column: _kernel.Column, state: State, indices: Indices, configuration: dict[str, Any]) -> Self:
        """A view of some of the samples of a column, which are this handle's at a state."""
        view: Self = self._like_this()
        view._configure(configuration)
        view._take_over(self, state)
        count = len(column)
        base: Selection = range(count) if self._selection is None else self._selection
        if isinstance(indices, slice):
            chosen = range(count)[indices]
            selected = column.selected_range(chosen.start, chosen.step, len(chosen))
            view._selection = base[indices]
        else:
            at = resolved(indices, count)
            selected = column.selected(at)
            view._selection = base.start + base.step * at if isinstance(base, range) else base[at]
        view._show_column(selected, view._state)
        return view

    def _like_this(self, cls: "type[DatasetHandle[Any]] | None" = None) -> Any:
        """A handle that is set up as this one, of this class if none is given, and shows nothing yet."""
        made = cls or type(self)
        handle = made.__new__(made)
        options = self.mode, self._durability, self._lock_timeout, self._keys, self._asked_read_mode
        handle._set_up(self.out_dir, self.path, *options)
        return handle

    def _take_over(self, parent: "DatasetHandle[Any]", state: State) -> None:  # noqa: ARG002 - for other kinds
        """Become a view of what another handle shows, whose samples this one shares."""
        self._state = _snapshot_of(state)

    @property
    def _snapshot(self) -> Snapshot:
        return _snapshot_of(self._now())

    @property
    def read_mode(self) -> ReadMode:
        """How the files are read: over maps, or into memory by system calls, which report what a map would die of."""
        return "mmap" if self._is_mapped else "pread"

    @property
    def metadata(self) -> dict[str, Any]:
        """The user metadata that the dataset was made with, as a copy."""
        return copy.deepcopy(self._snapshot.metadata)

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
        identity = self._snapshot.identity
        return None if identity is None else identity.commit_id

    @property
    def complete(self) -> bool:
        """Whether the build that made this dataset has ended."""
        return self._snapshot.complete

    @property
    def nbytes(self) -> int:
        """Bytes of the samples as they are stored, without their offsets."""
        state = self._now()
        if isinstance(state, Snapshot):
            return int(column_of(self).stored_sizes().sum()) * self._unit
        return 0 if isinstance(state, _Moment | Closed) else state.nbytes

    @property
    def _unit(self) -> int:
        """Bytes that the kernel counts the sizes of samples in."""
        return 1

    def __repr__(self) -> str:
        what = "closed" if self._closed else f"{len(self)} samples"
        if isinstance(self._state, Snapshot):
            what = f"view, {what}"
        elif not self._closed:
            what += f", {self.nbytes} bytes" + ("" if self.complete else ", incomplete")
        return f"{type(self).__name__}({str(self.path)!r}, {what})"

    def _repr_html_(self) -> str:
        shown = [] if self._closed else self[:PREVIEW_SAMPLES]
        return preview_html(repr(self), shown, 0 if self._closed else len(self))

    def __reduce__(self) -> tuple[Any, ...]:
        if self._closed:
            raise ValueError(f"{self.path}: the dataset is closed; a closed handle cannot be pickled")
        if self._field_of is not None:
            return operator.getitem, self._field_of
        options = (str(self.path), self.mode, self._durability, self._lock_timeout, self._keys, self._asked_read_mode)
        shown = self._snapshot
        told = None if shown.look is None else shown.look.told()
        return reopen, (type(self), options, shown.identity, self._selection, self._configuration, told)

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
                    last = cls._over(started.dataset, path, "c")[-1] if started.skip else None
                    if isinstance(source, Chunked):
                        source.source.check_resumed(started.skip, last, path)
                        source.run(started, cls._encode, options)
                    else:
                        batches = source.batches(options.batch_size, started.skip, last, path)
                        build.run(started, batches, cls._encode, source.total, options)
        durability = options.durability or "process"
        return cls(out_dir, mode=mode, durability=durability, lock_timeout=options.lock_timeout, **configuration or {})


def _permutation(order: Indices, count: int, path: Path) -> Positions:
    """An order of all samples, as positions."""
    indices = resolved(order, count)
    is_counted_from_end = not isinstance(order, slice) and (np.asarray(order) < 0).any()
    if is_counted_from_end or len(indices) != count or not np.array_equal(np.sort(indices), np.arange(count)):
        raise ValueError(
            f"{path}: order: {len(indices)} positions, expected each of 0 to {count - 1} once; see np.argsort"
        )
    return indices


def check_mode(mode: str | None) -> None:
    """Raise ValueError for a mode that does not exist."""
    if mode not in (*_WRITABLE_MODES, *get_args(Mode)):
        raise ValueError(f"mode {mode!r} is unknown (expected None, 'r', 'r+' or 'c'; new datasets are made by from_*)")


def _snapshot_of(state: State) -> Snapshot:
    if isinstance(state, _Moment | Closed):
        return Snapshot(None, {}, complete=True)
    return state if isinstance(state, Snapshot) else state.snapshot


@exported
def reopen(
    cls: type[DatasetHandle[Any]],
    options: tuple[str, Mode | None, Durability, float, Keys, ReadMode | None],
    identity: Identity | None,
    selection: Selection | None,
    configuration: dict[str, Any],
    told: Told | None,
) -> DatasetHandle[Any]:
    """A pickled handle, on exactly the snapshot that it had."""
    path, mode, durability, lock_timeout, keys, read_mode = options
    if identity is None:
        if not is_vacant(Path(path)):
            raise StaleHandleError(
                f"{path}: nothing was here when this handle was pickled, and now there is a dataset; open it again"
            )
        new = cls(
            path, mode=mode, durability=durability, lock_timeout=lock_timeout, read_mode=read_mode, **configuration
        )
        return new if selection is None else new.select(slice(0))
    dataset = open_dataset(Path(path), cls._kind, durability, lock_timeout, keys, told)
    dataset.pin(identity)
    handle = cls._over(dataset, path, mode, read_mode, configuration)
    if selection is None:
        return handle
    if isinstance(selection, range):
        stop = selection.stop if selection.stop >= 0 else None
        selection_slice = slice(selection.start, stop, selection.step) if len(selection) else slice(0)
        return handle.select(selection_slice)
    return handle.select(selection)
