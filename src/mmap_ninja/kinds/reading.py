"""Reading beyond the list protocol: properties of the samples, views, Arrow and pickles."""

import copy
import operator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from mmap_ninja._kernel import Column, column_of
from mmap_ninja.arrow import export
from mmap_ninja.engine.commit_file import Told
from mmap_ninja.engine.directory import is_vacant
from mmap_ninja.engine.generation import Identity
from mmap_ninja.errors import StaleHandleError
from mmap_ninja.exported import exported
from mmap_ninja.kinds.indices import resolved
from mmap_ninja.kinds.options import HandleOptions
from mmap_ninja.kinds.sequence import PREVIEW_SAMPLES, Indices, preview_html
from mmap_ninja.kinds.showing import ShowingHandle, showing
from mmap_ninja.kinds.state import Field, Selection, State, View
from mmap_ninja.maintenance.verify import Level, Report, examine

if TYPE_CHECKING:
    import pyarrow as pa

T = TypeVar("T")


class ReadingHandle(ShowingHandle[T]):
    """The reading methods; none of them takes a lock."""

    def select(self, indices: Indices) -> Self:
        """A read-only view of some of the samples, on the snapshot that this handle sees now; nothing is read.

        Args:
            indices: Integers in any order, also repeated, negative ones counted from the end; a boolean mask; or a
                slice.

        Returns:
            A handle of the same class, with all its reading methods. Its pickle is small if the samples are a range.
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
        """The commit that this handle shows, as a short string; None if nothing is at the path yet.

        `mmap_ninja.open(path, commit_id=...)` shows exactly the same samples, here or in a copy of the directory,
        whatever was appended, deleted or replaced since. It can no longer be opened once the dataset has a new
        generation (after `compact`, `clear`, a replacement, or a change of columns or metadata), or if the commit was
        lost by a power loss or by restoring a backup.

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
        """Size in bytes of the unit in which the kernel counts the sizes of samples."""
        return 1

    @property
    def garbage(self) -> int:
        """Bytes that `compact` would free: deleted and replaced samples, and the records of their edits."""
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
        """
        return export.reader(self._exported()).read_all()

    def __reduce__(self) -> tuple[Any, ...]:
        if self._closed:
            raise ValueError(f"{self.path}: the dataset is closed; open it again to pickle it")
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
    if selection is None:
        return handle
    if isinstance(selection, range):
        stop = selection.stop if selection.stop >= 0 else None
        return handle.select(slice(selection.start, stop, selection.step) if len(selection) else slice(0))
    return handle.select(selection)
