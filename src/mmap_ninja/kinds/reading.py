"""Reading: what a handle tells of its samples beyond the list protocol, its views, and its pickles."""

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
