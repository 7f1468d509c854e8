"""Mutations: samples are added, replaced or deleted, each time in one commit; `compact` rewrites the files."""

import operator
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Self, SupportsIndex, TypeVar

import numpy as np

from mmap_ninja import progress
from mmap_ninja._kernel import column_of
from mmap_ninja.builds.located import locate
from mmap_ninja.columns import encoding, foreign
from mmap_ninja.columns.batch import Batch, Parts, refuse_one
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
from mmap_ninja.kinds.refusing import RefusingHandle
from mmap_ninja.kinds.sequence import Indices
from mmap_ninja.kinds.state import Behind, Closed, Legacy, Live, Positions, Vacant, View
from mmap_ninja.legacy import upgrade

T = TypeVar("T")


class _Places(NamedTuple):
    """Samples to edit: their positions, the rows they had at first, and the numbering of these rows."""

    at: Positions
    rows: Positions
    numbering: tuple[bytes, str] | None  # None: that of the generation that the upgrade will make
    looked_in: Seen | None  # the commit in which they were looked up
    stored: Positions | None = None  # where they must still be stored

    @property
    def first(self) -> int | None:
        """The position of the first one; None if they do not follow each other."""
        first = int(self.at[0]) if len(self.at) else 0
        if len(self.at) > 1 and not np.array_equal(self.at, np.arange(first, first + len(self.at))):
            return None
        return first


class MutatingHandle(RefusingHandle[T]):
    """The mutating methods; a lock of the handle runs one at a time."""

    def append(self, sample: T) -> None:
        """Add one sample at the end, in one commit.

        It survives a crash of this process at once, and a power loss after the next `flush` or `close`. Other processes
        see it after their next `refresh`.

        Args:
            sample: A value of the type that this kind holds.

        Raises:
            TypeError: if the sample is of another type.
            ReadOnlyError: if the handle, the permissions or the filesystem do not allow it.

        Example:
            >>> import mmap_ninja as mn
            >>> texts = mn.StringsMmap("texts")  # nothing is there yet
            >>> texts.append("good")
            >>> texts[-1], len(texts)
            ('good', 1)
        """
        self._commit([sample])

    def extend(self, samples: Iterable[T], verbose: bool = False) -> None:
        """Add samples at the end, all or none of them, in one commit.

        All samples are in memory at once, and so are their bytes as they are stored: about twice their size.
        `from_generator` with `if_exists="append"` commits batch by batch instead.

        Args:
            samples: Any iterable; it is read to its end first.
            verbose: Whether to show a progress bar.

        Raises:
            TypeError: if a sample has the wrong type; then nothing is stored.
            ReadOnlyError: if the handle, the permissions or the filesystem do not allow it.

        Example:
            >>> import mmap_ninja as mn
            >>> texts = mn.StringsMmap.from_strings("texts", ["good"])
            >>> texts.extend(f"text {k}" for k in range(3))
            >>> len(texts), texts[-1]
            (4, 'text 2')
        """
        refuse_one(samples, f"{self.path}: samples")
        samples = foreign.several(samples, f"{self.path}: samples")
        if verbose:
            samples = progress.through(samples, " samples")
        self._commit(list(samples))

    def __iadd__(self, samples: Iterable[T]) -> Self:
        self.extend(samples)
        return self

    def __setitem__(self, key: SupportsIndex | Indices, value: Any) -> None:
        """Replace one sample, or the samples that a slice, a list of indices or a mask selects, in one commit.

        New samples may have any size. The old ones take up space until `compact`, and readers keep them until their
        next `refresh`.

        Raises:
            IndexError: if an index is out of range.
            ValueError: if there are more or fewer new samples than places.
            TypeError: if a sample has the wrong type.
            StaleHandleError: if others deleted one of the samples after this handle's snapshot.
            ReadOnlyError: if the handle, the permissions or the filesystem do not allow it.

        Example:
            >>> import mmap_ninja as mn
            >>> texts = mn.StringsMmap.from_strings("texts", ["a", "b", "c"])
            >>> texts[0] = "of any length"
            >>> texts[1:] = ["B", "C"]
            >>> texts[:]
            ['of any length', 'B', 'C']
        """
        if is_index(key):
            self._replace(key, [value])
            return
        self._check_places(key)
        refuse_one(value, f"{self.path}: samples")
        self._replace(key, self._batch_of(value))

    def __delitem__(self, key: SupportsIndex | Indices) -> None:
        """Delete one sample, or the samples that a slice, a list of indices or a mask selects, in one commit.

        They take up space until `compact`, and readers keep them until their next `refresh`. The cost does not depend
        on the number of samples in the dataset.

        Raises:
            IndexError: if an index is out of range.
            StaleHandleError: if others deleted one of the samples after this handle's snapshot.
            ReadOnlyError: if the handle, the permissions or the filesystem do not allow it.

        Example:
            >>> import mmap_ninja as mn
            >>> texts = mn.StringsMmap.from_strings("texts", ["good", "", "bad"])
            >>> del texts[texts == ""]
            >>> texts[:]
            ['good', 'bad']
        """
        if not is_index(key):
            self._check_places(key)
        with self._mutex.turn():
            self._edit(self._places(key), nothing, 0)

    def pop(self, index: SupportsIndex = -1) -> T:
        """Delete one sample and return it, owned.

        Args:
            index: Its position; negative ones count from the end.

        Raises:
            IndexError: if there is no such sample.
            StaleHandleError: if others deleted or replaced it after this handle's snapshot.

        Example:
            >>> import mmap_ninja as mn
            >>> texts = mn.StringsMmap.from_strings("texts", ["a", "b", "c"])
            >>> texts.pop(), texts.pop(0), texts[:]
            ('c', 'a', ['b'])
        """
        if not is_index(index):
            raise TypeError(f"index {index!r:.80}: expected an integer")
        with self._mutex.turn():
            places = self._places(index)
            (sample,) = self.__getitems__(places.at)
            self._edit(places._replace(stored=column_of(self).stored_rows(places.at)), nothing, 0)
        return sample

    def clear(self) -> None:
        """Delete all samples and free their space, in a new generation with new files; the columns stay.

        Readers keep what they see until their next `refresh`.

        Example:
            >>> import mmap_ninja as mn
            >>> texts = mn.StringsMmap.from_strings("texts", ["good", "bad"])
            >>> texts.clear()
            >>> texts[:]
            []
        """
        with self._mutex.turn():
            if isinstance(self._state, Vacant):
                return
            dataset = self._writer()
            dataset.evolve(lambda: Change(compaction.sealed(dataset.meta.columns), rows=0))
            self._follow(dataset)

    def compact(self, order: Indices | None = None, verbose: bool = False) -> None:
        """Rewrite the files without deleted and replaced samples, to free their space.

        Readers keep the old files until their next `refresh`. Until this ends, other processes cannot write to the
        dataset. Afterwards, views and pickles of earlier commits are stale.

        Args:
            order: The new order: a permutation of `range(len(self))`, such as `np.argsort(ds.byte_lengths)`. None: the
                order stays, and if there is nothing to free, nothing is done.
            verbose: Whether to show a progress bar.

        Raises:
            ValueError: if `order` is not a permutation.
            StaleHandleError: if an order is given, and others changed the dataset after this handle's snapshot.

        Example:
            >>> import numpy as np
            >>> import mmap_ninja as mn
            >>> texts = mn.StringsMmap.from_strings("texts", ["ccc", "a", "bb"])
            >>> texts.compact(order=np.argsort(texts.byte_lengths))
            >>> texts[:]
            ['a', 'bb', 'ccc']
        """
        with self._mutex.turn():
            permutation = None if order is None else _permutation(order, len(self), self.path)
            if isinstance(self._state, Vacant):
                return
            dataset = self._writer()
            compaction.compact(dataset, permutation, self._now().snapshot.identity, verbose=verbose)
            self._follow(dataset)

    def flush(self) -> None:
        """Move to the newest commit, and wait until it is safe against power loss.

        Raises:
            CommitUncertainError: if the system could not write it.

        Example:
            >>> import mmap_ninja as mn
            >>> texts = mn.StringsMmap("texts")
            >>> texts.append("good")  # safe from a crash of this process
            >>> texts.flush()  # from here on, also from a power loss
        """
        with self._mutex.turn():
            if isinstance(self._state, Vacant) or (self._is_writable and isinstance(self._state, Legacy)):
                return  # there is no dataset, or none of this handle
            dataset = self._writer()
            dataset.flush()
            self._follow(dataset)

    @classmethod
    def _encode(cls, batch: Batch[T], path: str, first: int, columns: Columns) -> tuple[Columns, Parts]:
        """The bytes to add to each file of the generation, and the columns that they fit: those given, or wider ones.

        `first` is the number of the first sample, for messages.
        """
        (column,) = columns
        values: Any = batch
        kind, parts = encoding.encode(column.type, values, path, first)
        return (columns if kind is column.type else (replace(column, type=kind),)), parts

    def _check_replacements(self, batch: Batch[T], at: Positions) -> None:
        """Raise ValueError if a sample of the right type still cannot replace the one at its position."""

    def _check_places(self, key: Any) -> None:
        """Raise TypeError if a key means a part of samples, which are replaced and deleted as a whole."""
        if isinstance(key, tuple):
            raise TypeError(
                f"{self.path}: index {key!r:.80}: samples are replaced and deleted as a whole; copy the sample, change "
                "the copy, and store it: sample = np.array(ds[i]); sample[...] = value; ds[i] = sample"
            )

    def _commit(self, batch: Batch[T]) -> None:
        """Store a batch at the end."""
        # The position of the first sample, for messages. Not for a handle where finding it out could fail.
        first = len(self) if type(self._state) in (Live, Legacy) else 0
        encode: Encode = partial(self._encode, batch, self._path_text, first)
        if first and len(batch) > 1:
            encode = _telling(encode, f"sample {first} is the first new one")
        with self._mutex.turn():
            if isinstance(self._state, Legacy | Vacant):
                # Encode before anything is created or upgraded: an error in a sample must leave no trace.
                columns = self._state.columns if isinstance(self._state, Legacy) else first_columns(self._kind)
                encoded = encode(columns)
                if isinstance(self._state, Vacant) and self._create(*encoded, len(batch)):
                    return
                encode = _once(encode, columns, encoded)
            dataset = self._writer()
            dataset.commit(encode, len(batch))
            self._follow(dataset)

    def _replace(self, key: SupportsIndex | Indices, batch: Batch[T]) -> None:
        """Store a batch in place of the samples that a key selects."""
        with self._mutex.turn():
            places = self._places(key)
            encode: Encode = partial(self._encode, batch, self._path_text, places.first or 0)
            if len(batch) > 1:
                first = places.first
                told = "counted among the new samples" if first is None else f"sample {first} is the first new one"
                encode = _telling(encode, told)
            if isinstance(self._state, Legacy):  # as in `_commit`
                columns = self._state.columns
                encode = _once(encode, columns, encode(columns))
            if len(batch) != len(places.at):
                raise ValueError(f"{self.path}: {len(batch)} samples for {len(places.at)} places; give one for each")
            self._check_replacements(batch, places.at)
            self._edit(places, encode, len(batch))

    def _create(self, columns: Columns, parts: Parts, rows: int) -> bool:
        """Create the dataset with its first batch in one step: an error leaves nothing. False if it exists by now."""
        roles = [(role, column.id) for column in columns for role in column.type.files()]
        contents: dict[tuple[Role, int | None], list[bytes]] = {
            key: [*([FIRST_OFFSET] if key[0] == "offsets" else []), bytes(part or b"")]
            for key, part in zip(roles, parts, strict=False)
        }
        if create(self.path, self._kind, columns, {}, self._options.lock_timeout, contents, rows) is None:
            return False
        try:
            self._show_column(*self._shown_of(self._engine(), self._options))
        except (OSError, MemoryError, MmapNinjaError):  # the batch is committed, only showing it failed
            self._show_column(None, Behind(None))
        return True

    def _places(self, key: Any) -> _Places:
        """Look up the samples that a key selects; the caller holds this handle's lock, so no edit comes in between.

        A key or a sample may run code of the user, which can still edit; `Edit.check` finds that out.
        """
        at = self._resolved([operator.index(key)] if is_index(key) else several(key), len(self))
        state = self._now()
        rows = column_of(self).base_rows(at)
        if not isinstance(state, Live):
            return _Places(at, rows, None, None)
        return _Places(at, rows, state.seen.meta.numbering, state.seen)

    def _batch_of(self, samples: Any) -> Batch[Any]:
        """The argument of `extend`, or of an assignment to several places, as a batch."""
        return list(foreign.several(samples, f"{self.path}: samples"))

    def _edit(self, places: _Places, encode: Encode, count: int) -> None:
        """Delete rows that this handle shows, or put as many new samples in their place; the caller holds its lock."""
        if isinstance(self._state, Vacant):
            return  # there are no samples
        before = len(self)
        dataset = self._writer()
        if len(self) != before:  # a dataset of 0.x that changed before it was upgraded
            raise StaleHandleError(
                f"{self.path}: mmap_ninja 0.x changed the dataset after this handle's snapshot; look again"
            )
        numbering = dataset.meta.numbering if places.numbering is None else places.numbering
        edit = Edit(numbering, places.rows, count > 0, places.stored)
        dataset.commit(encode, count, edit, places.looked_in)
        self._follow(dataset)

    def _writer(self) -> Dataset:
        """The engine, for a mutation; the dataset is created or upgraded first if need be."""
        state = self._state
        if isinstance(state, Live) and self._is_writable:
            return state.dataset
        match state:
            case View():
                raise ReadOnlyError(f"{self.path}: a view is read-only; change the dataset that it was selected from")
            case _ if self._options.follow_symlinks:
                raise ReadOnlyError(
                    f"{self.path}: opened with follow_symlinks=True, which is for reading; to write, copy the files "
                    "that the links lead to"
                )
            case _ if not self._is_writable:
                raise ReadOnlyError(f"{self.path}: opened with mode {self.mode!r}; open it without a mode to write")
            case Closed():
                raise ValueError(f"{self.path}: the dataset is closed; open it again to write to it")
            case Behind(dataset=Dataset() as dataset):
                return dataset
            case Legacy():
                upgrade.adopt(self.path, self._options.keys, self._options.lock_timeout)
            case Vacant():
                create(self.path, self._kind, first_columns(self._kind), {}, self._options.lock_timeout)
        dataset = self._engine()
        self._show(dataset)
        return dataset

    def _engine(self) -> Dataset:
        """The engine of a dataset that was just created or upgraded."""
        return Dataset(self.path, self._kind, self._options.durability, self._options.lock_timeout)


def _telling(encode: Encode, told: str) -> Encode:
    """The same function, which tells in an error how its samples are counted."""

    def encoded(columns: Columns) -> tuple[Columns, Parts]:
        try:
            return encode(columns)
        except Exception as error:
            locate(error, told)
            raise

    return encoded


def _once(encode: Encode, columns: Columns, encoded: tuple[Columns, Parts]) -> Encode:
    """The same function, with its result for these columns already known."""
    return lambda wanted: encoded if wanted == columns else encode(wanted)


def _permutation(order: Indices, count: int, path: Path) -> Positions:
    """An order of all samples, as an array of positions."""
    hint = f"expected each position from 0 to {count - 1} once, as np.argsort gives them"
    try:
        indices = resolved(order, count)
    except IndexError as error:
        raise ValueError(f"{path}: order: {error}; {hint}") from None
    is_counted_from_end = not isinstance(order, slice) and (np.asarray(order) < 0).any()
    if is_counted_from_end or len(indices) != count or not np.array_equal(np.sort(indices), np.arange(count)):
        raise ValueError(f"{path}: order: got {len(indices)} positions that are not a permutation; {hint}")
    return indices
