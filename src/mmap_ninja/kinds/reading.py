"""Reading beyond the list protocol: properties of the samples, views, Arrow and pickles."""

import operator
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from mmap_ninja._kernel import Column, column_of
from mmap_ninja.arrow import export, frames
from mmap_ninja.columns.types import Column as OfDataset
from mmap_ninja.columns.types import decode_type
from mmap_ninja.engine import files
from mmap_ninja.engine.commit_file import Told
from mmap_ninja.engine.dataset import Columns
from mmap_ninja.engine.directory import is_vacant
from mmap_ninja.engine.generation import Identity
from mmap_ninja.errors import StaleHandleError
from mmap_ninja.exported import exported
from mmap_ninja.kinds import splits
from mmap_ninja.kinds.indices import clipped
from mmap_ninja.kinds.joined import Joined, Parts, Pickled
from mmap_ninja.kinds.nulls import Nulls, check_option, filled, refuse
from mmap_ninja.kinds.options import HandleOptions
from mmap_ninja.kinds.sequence import PREVIEW_SAMPLES, Indices, preview_html
from mmap_ninja.kinds.showing import ShowingHandle, showing
from mmap_ninja.kinds.splits import Hashes
from mmap_ninja.kinds.state import Draw, Drawn, Field, Positions, Selection, State, Vacant, View, among
from mmap_ninja.maintenance.verify import Level, Report, examine

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

T = TypeVar("T")
H = TypeVar("H", bound="ReadingHandle[Any]")


class ReadingHandle(ShowingHandle[T]):
    """The reading methods; none of them takes a lock."""

    def select(self, indices: Indices) -> Self:
        """A read-only view of some of the samples, on the snapshot that this handle sees now; nothing is read.

        Args:
            indices: Integers in any order, also repeated, negative ones counted from the end; a boolean mask; or a
                slice.

        Returns:
            A handle of the same class, with all its reading methods. Its pickle is small if the samples are a range.

        Example:
            >>> import mmap_ninja as mn
            >>> texts = mn.StringsMmap.from_strings("texts", ["a", "b", "c"])
            >>> view = texts.select([2, 0])
            >>> view[0], len(view)
            ('c', 2)
        """
        if isinstance(self._state, Field):
            of_records: Self = self._state.records.select(indices)[self._state.name]
            return of_records
        return self._view_of(*self._moment(), indices, self._options)

    def _view_of(self, column: Column, state: State, indices: Indices, options: HandleOptions) -> Self:
        """A view of some samples of a column that this handle shows in a state."""
        count = len(column)
        base = state.selection_of(count)
        selection: Selection
        if isinstance(indices, slice):
            key = clipped(indices, count)
            chosen = range(count)[key]
            selected = column.selected_range(chosen.start, chosen.step, len(chosen))
            selection = base if indices == slice(None) else base[key]  # which stays a rule, if it is one
        else:
            at = self._resolved(indices, count)
            selected = column.selected(at)
            selection = among(base, at)
        view = state.view(selection, state.columns, state.asked)
        return showing(type(self), self.out_dir, self.path, options, selected, view)

    def split(
        self, fractions: Sequence[float], seed: int | None = None, *, by: str | None = None, exact: bool = False
    ) -> list[Self]:
        """Disjoint parts of the samples, as views: for training and validation, for example.

        With a seed, chance decides for each sample by itself, so the parts only have about these sizes, but a sample
        stays in its part when others are appended. Each part keeps the order of the samples, so that reading it in
        order is fast; shuffle when you read.

        Args:
            fractions: The size of each part as a fraction of all samples: numbers of at least 0 that add up to at most
                1.
            seed: None: each part is a run of consecutive samples. A number: it decides, with the position of a sample,
                which part has it, also in later versions.
            by: A column of texts, bytes or numbers whose value takes the place of the position: samples with the same
                value are in the same part, and those that are left stay there when others are deleted.
            exact: Whether the parts have exactly these sizes. With a seed, samples then move between them whenever the
                number of samples changes.

        Returns:
            A view for each fraction, as `select` gives it.

        Raises:
            ValueError: if a fraction is negative, or they add up to more than 1; or if `by` is given without a seed, or
                with `exact`.
            KeyError: if there is no such column.

        Example:
            >>> import mmap_ninja as mn
            >>> texts = mn.StringsMmap.from_strings("texts", [f"text {k}" for k in range(1000)])
            >>> train, validation = texts.split([0.9, 0.1], seed=0)
            >>> len(train), len(validation)
            (900, 100)
        """
        if isinstance(self._state, Field):
            parts = self._state.records.split(fractions, seed, by=by, exact=exact)
            return [part[self._state.name] for part in parts]
        splits.check_by(by, seed, exact=exact)
        if seed is None or exact:
            return [self.select(part) for part in splits.exact(len(self), fractions, seed)]
        return self._drawn(self._draws(fractions, seed, by))

    def _draws(self, fractions: Sequence[float], seed: int, by: str | None) -> list[Draw]:
        """The parts of a split by a seed."""
        if by is not None:
            raise ValueError(f"{self.path}: by {by!r}: samples of this kind have no columns; leave it out")
        return splits.draws(fractions, seed, by)

    def _drawn(self, parts: Sequence[Draw]) -> list[Self]:
        """Views of parts of one split by a seed."""
        column, state = self._moment()
        base, views = state.selection_of(len(column)), list[Self]()
        for part, at in zip(parts, splits.drawn(self._hashes(column, state, parts[0]), parts), strict=True):
            view = state.view(Drawn(among(base, at), base, part), state.columns, state.asked)
            views.append(showing(type(self), self.out_dir, self.path, self._options, column.selected(at), view))
        return views

    def _hashes(self, column: Column, state: State, part: Draw) -> Iterator[Hashes]:
        """The hash of each sample, by which it belongs to a part or not."""
        if part.by is None:
            return splits.hashes_of_positions(state.positions(len(column)), part.seed)
        place = [own.name for own in state.columns].index(part.by)
        where, kind = f"{self.path}: column {part.by!r}", state.columns[place].type
        return splits.hashes_of_values(column.field(place), kind, where, part.seed)

    def _take_without_nulls(self, indices: Indices, nulls: Nulls, fill: Any) -> list[T]:
        value = self._value_for_nulls(indices, nulls, fill)
        samples = self._take(indices)
        return samples if value is None else filled(samples, value)

    def _value_for_nulls(self, indices: Indices, nulls: Nulls, fill: object) -> Any:
        """`fill` as a sample; None if nothing can be null, or no null is allowed, and none of these samples is one."""
        check_option(nulls)
        column = column_of(self)
        if column.null_mask([]) is None:
            return None
        if fill is not None:
            return self._checked_fill(fill)
        at = self._resolved(indices, len(column))
        refuse(column.null_mask(at), at, self._where)
        return None

    def _checked_fill(self, value: object) -> Any:
        """A value for nulls, as a sample of this kind; TypeError if it cannot be one."""
        raise NotImplementedError

    @property
    def _where(self) -> str:
        """The dataset, and the column if this is one of records, for messages."""
        state = self._state
        return f"{self.path}: column {state.name!r}" if isinstance(state, Field) else str(self.path)

    def _shown_commit(self) -> str:
        """What an IndexError says about the commit that this handle shows; the kernel calls this."""
        state = self._state
        identity = state.snapshot.identity
        if isinstance(state, Joined):
            return f"this concatenation shows its {len(state.parts)} datasets as they were then: concatenate them anew"
        if identity is None:
            return f"{self.path} held nothing when this handle looked; refresh() looks again"
        what, remedy = "handle", "call refresh()"
        if isinstance(state, View):
            what, remedy = "view", "refresh the dataset, and make the view anew"
        return (
            f"this {what} shows commit {identity.commit_id} of {self.path}, and another process may have stored more "
            f"since: {remedy}"
        )

    @property
    def parts(self) -> tuple[Self, ...]:
        """The datasets that `concat` joined, each as a view of what it showed then; for all others, only this one.

        Example:
            >>> import mmap_ninja as mn
            >>> a, b = (mn.StringsMmap.from_strings(name, [name]) for name in ("a", "b"))
            >>> [part.path.name for part in mn.concat([a, b]).parts]
            ['a', 'b']
        """
        state = self._now()
        if isinstance(state, Field):
            return tuple(part[state.name] for part in state.records.parts)
        return tuple(state.parts) if isinstance(state, Joined) else (self,)

    @property
    def commit_id(self) -> str | None:
        """The commit that this handle shows, as a short string; None if nothing is at the path yet.

        `mmap_ninja.open(path, commit_id=...)` shows exactly the same samples, here or in a copy of the directory,
        whatever was appended, deleted or replaced since. It can no longer be opened once the dataset has a new
        generation (after `compact`, `clear`, a replacement, or a change of columns or metadata), or if the commit was
        lost by a power loss or by restoring a backup.

        Example:
            >>> import mmap_ninja as mn
            >>> texts = mn.StringsMmap.from_strings("reviews", ["good"])
            >>> trained_on = texts.commit_id
            >>> texts.append("bad")
            >>> list(mn.open("reviews", commit_id=trained_on))
            ['good']
        """
        identity = self._now().snapshot.identity
        return None if identity is None else identity.commit_id

    @property
    def complete(self) -> bool:
        """Whether the build that made this dataset has ended.

        Example:
            >>> import mmap_ninja as mn
            >>> mn.StringsMmap.from_strings("texts", ["a"]).complete
            True
        """
        return self._now().complete

    @property
    def nbytes(self) -> int:
        """Bytes of the samples as they are stored, without their offsets.

        Example:
            >>> import mmap_ninja as mn
            >>> mn.StringsMmap.from_strings("texts", ["good", "bad"]).nbytes
            7
        """
        state = self._now()
        return int(column_of(self).stored_sizes().sum()) * self._unit if isinstance(state, View) else state.nbytes

    @property
    def _unit(self) -> int:
        """Size in bytes of the unit in which the kernel counts the sizes of samples."""
        return 1

    @property
    def garbage(self) -> int:
        """Bytes that `compact` would free: deleted and replaced samples, and the records of their edits.

        Example:
            >>> import mmap_ninja as mn
            >>> texts = mn.StringsMmap.from_strings("texts", ["good", "bad"])
            >>> del texts[0]
            >>> texts.garbage > 0
            True
            >>> texts.compact()
            >>> texts.garbage
            0
        """
        return self._now().garbage

    def verify(self, level: Level = "sums", verbose: bool = False) -> Report:
        """Check that the dataset's files are as its newest commit left them: see `mmap_ninja.verify`.

        Args:
            level: "quick": the commit file, the meta file, the lengths of all files, and the edits; takes no noticeable
                time. "sums": also every byte, by the checksums of its block; finds all damage done by the disk, a copy
                or another program. "full": also the offsets, shape, UTF-8, JSON or compressed frame of each sample;
                finds what was wrong before it was written; use it for files of unknown origin.
            verbose: Whether to show a progress bar.

        Returns:
            A report: `ok` tells whether all is well, `problems` lists the damaged files, blocks and samples.

        Example:
            >>> import mmap_ninja as mn
            >>> texts = mn.StringsMmap.from_strings("texts", ["good", "bad"])
            >>> texts.verify(level="full").ok
            True
        """
        if isinstance(self._state, Joined):
            raise ValueError(  # noqa: TRY004 - of this handle, not of its type
                f"{self.path}: verify: expected one dataset, found {len(self._state.parts)}; verify each of its `parts`"
            )
        with files.following_links(self._options.follow_symlinks):
            return examine(self.path, level, verbose=verbose, keys=self._options.keys)[0]

    def __repr__(self) -> str:
        what = "closed" if self._closed else f"{len(self)} samples"
        if isinstance(self._state, Joined):
            what = f"concat of {len(self._state.parts)}, {what}"
        elif isinstance(self._state, View):
            what = f"view, {what}"
        elif not self._closed:
            what += f", {self.nbytes} bytes" + ("" if self.complete else ", incomplete")
        told = "no dataset yet" if isinstance(self._state, Vacant) else what + self._described()
        return f"{type(self).__name__}({str(self.path)!r}, {told})"

    def _described(self) -> str:
        """What the repr tells about the columns."""
        return ""

    def _repr_html_(self) -> str:
        shown = [] if self._closed else self[:PREVIEW_SAMPLES]
        return preview_html(repr(self), shown, 0 if self._closed else len(self))

    def _exported(self) -> dict[str, Any]:
        """The columns that are exported to Arrow, by their names."""
        return export.one_column(column_of(self), self.path)

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """The samples for another library, by Arrow's PyCapsule protocol; not copied where Arrow can read the files."""
        return export.reader(self._exported()).__arrow_c_stream__(requested_schema)

    def to_arrow(self) -> "pa.Table":
        """The samples as a pyarrow table; if the dataset has only one column, it is called `sample`.

        Nothing is copied where the files have Arrow's layout; the table then keeps the maps of the files open. Edited
        and compressed samples, and views by steps or indices, are copied.

        Raises:
            ImportError: if pyarrow is missing: `pip install "mmap_ninja[arrow]"`.
            TypeError: if a dtype has no type in Arrow.

        Example:
            >>> import mmap_ninja as mn
            >>> mn.StringsMmap.from_strings("texts", ["good", "bad"]).to_arrow().to_pydict()
            {'sample': ['good', 'bad']}
        """
        return export.reader(self._exported()).read_all()

    def to_pandas(self) -> "pd.Series":
        """The samples as a pandas Series, copied; it has the name of the column, or `sample`.

        Dtypes are kept: `int8` stays `int8`. Where samples may be null, integers and booleans have pandas' nullable
        dtypes (`Int8`, `boolean`), floats NaN, and dates NaT. Arrays, bytes and JSON values are objects.

        Raises:
            ImportError: if pandas is missing.

        Example:
            >>> import numpy as np
            >>> import mmap_ninja as mn
            >>> scores = mn.ArrayMmap.from_ndarray("scores", np.array([0.5, 1], np.float32))
            >>> scores.to_pandas()
            0    0.5
            1    1.0
            Name: sample, dtype: float32
        """
        (exported,), state = self._exported().values(), self._state
        return frames.series(exported, state.name if isinstance(state, Field) else export.SAMPLE)

    def __reduce__(self) -> tuple[Any, ...]:
        if self._closed:
            raise ValueError(f"{self.path}: the dataset is closed; open it again to pickle it")
        state = self._now()
        if isinstance(state, Field):
            return operator.getitem, (state.records, state.name)
        shown = state.snapshot
        told = None if shown.look is None else shown.look.told()
        selection: Any = state.selection if isinstance(state, View) else None
        draws: tuple[tuple[Any, ...], ...] = ()
        if isinstance(selection, Drawn):
            selection, draws = selection.base, tuple(map(tuple, selection.parts))
        if isinstance(state, Joined):
            told_of = state.parts.pickled(), state.parts.lengths, state.complete, state.types()
            return rejoin, (type(self), self._path_text, self._options, *told_of, selection, draws)
        return reopen, (type(self), str(self.path), self._options, shown.identity, told, selection, draws)


@exported
def reopen(
    cls: type[ReadingHandle[Any]],
    path: str,
    options: HandleOptions,
    identity: Identity | None,
    told: Told | None,
    selection: range | Positions | None,
    draws: tuple[tuple[int, int, int, str | None], ...],
) -> ReadingHandle[Any]:
    """A handle from its pickle, on exactly the snapshot that it showed."""
    if identity is None:
        if not is_vacant(Path(path)):
            raise StaleHandleError(
                f"{path}: there was no dataset when this handle was pickled, now there is one; open it again"
            )
        handle = showing(cls, path, Path(path), options, *cls._nothing(Path(path), options))
    else:
        dataset = cls._opened(Path(path), options, told)
        dataset.pin(identity)
        handle = cls._over(dataset, path, options)
    return _narrowed(handle, selection, draws)


def join(cls: type[H], path: Path, options: HandleOptions, parts: Parts, complete: bool, columns: Columns) -> H:
    """A handle that shows all samples of several datasets."""
    column = cls._joined_column(columns, str(path), parts)
    return showing(cls, path, path, options, column, Joined(parts, complete, range(len(column)), columns))


@exported
def rejoin(
    cls: type[ReadingHandle[Any]],
    path: str,
    options: HandleOptions,
    pickled: Sequence[Pickled],
    lengths: Sequence[int],
    complete: bool,
    columns: Sequence[tuple[str, str, dict[str, Any]]],
    selection: range | Positions,
    draws: tuple[tuple[int, int, int, str | None], ...],
) -> ReadingHandle[Any]:
    """A handle of several datasets from its pickle; each is opened when a sample of it is read."""
    of_all = tuple(
        OfDataset(place, name, decode_type({**document, "type": of}))
        for place, (name, of, document) in enumerate(columns)
    )
    handle = join(cls, Path(path), options, Parts(pickled, lengths), complete, of_all)
    return _narrowed(handle, selection, draws)


def _narrowed(
    handle: ReadingHandle[Any],
    selection: range | Positions | None,
    draws: tuple[tuple[int, int, int, str | None], ...],
) -> ReadingHandle[Any]:
    """Some of the samples of a handle, as a pickle tells them."""
    if isinstance(selection, range):
        stop = selection.stop if selection.stop >= 0 else None
        handle = handle.select(slice(selection.start, stop, selection.step) if len(selection) else slice(0))
    elif selection is not None:
        handle = handle.select(selection)
    for draw in draws:
        (handle,) = handle._drawn([Draw(*draw)])  # noqa: SLF001 - as `split` does
    return handle
