"""Mutating: samples added, replaced and deleted, each in one commit, and files written anew."""

import operator
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, Self, SupportsIndex, TypeVar

import numpy as np

from mmap_ninja import progress
from mmap_ninja._kernel import column_of
from mmap_ninja.columns import encoding
from mmap_ninja.columns.batch import Batch, Parts
from mmap_ninja.columns.types import Role
from mmap_ninja.engine import compaction
from mmap_ninja.engine.change import Change
from mmap_ninja.engine.dataset import Columns, Dataset, Encode, nothing
from mmap_ninja.engine.directory import create
from mmap_ninja.engine.edits import Edit
from mmap_ninja.engine.seen import Seen
from mmap_ninja.errors import MmapNinjaError, ReadOnlyError, StaleHandleError
from mmap_ninja.format.meta import first_columns
from mmap_ninja.format.names import FIRST_OFFSET
from mmap_ninja.kinds.indices import is_index, resolved, several
from mmap_ninja.kinds.reading import ReadingHandle
from mmap_ninja.kinds.sequence import Indices
from mmap_ninja.kinds.state import Behind, Closed, Legacy, Live, Positions, Vacant, View
from mmap_ninja.legacy import upgrade

T = TypeVar("T")


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
    def _encode(cls, batch: Batch[T], path: str, first: int, columns: Columns) -> tuple[Columns, Parts]:
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
        encode: Encode = partial(self._encode, batch, self._path_text, 0)
        with self._mutex.turn():
            if isinstance(self._state, Legacy | Vacant):
                # Before anything is made, or upgraded: an error in a sample must leave none of that.
                columns = self._state.columns if isinstance(self._state, Legacy) else first_columns(self._kind)
                encoded = encode(columns)
                if isinstance(self._state, Vacant) and self._create(*encoded, len(batch)):
                    return
                encode = _once(encode, columns, encoded)
            dataset = self._writer()
            dataset.commit(encode, len(batch))
            self._follow(dataset)

    def _replace(self, key: SupportsIndex | Indices, batch: Batch[T]) -> None:
        """Store a batch in the place of the samples that a key names."""
        encode: Encode = partial(self._encode, batch, self._path_text, 0)
        with self._mutex.turn():
            if isinstance(self._state, Legacy):  # as in `_commit`
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
        state = self._state
        if isinstance(state, Live) and self._is_writable:
            return state.dataset
        match state:
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
    hint = f"expected each of 0 to {count - 1} once; see np.argsort"
    try:
        indices = resolved(order, count)
    except IndexError as error:
        raise ValueError(f"{path}: order: {error}, {hint}") from None
    is_counted_from_end = not isinstance(order, slice) and (np.asarray(order) < 0).any()
    if is_counted_from_end or len(indices) != count or not np.array_equal(np.sort(indices), np.arange(count)):
        raise ValueError(f"{path}: order: {len(indices)} positions, {hint}")
    return indices
