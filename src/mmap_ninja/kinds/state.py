"""The states of a handle. A handle is in one of them, which changes in one step together with its samples.

States do not change, but they cache the handles of columns.
"""

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from mmap_ninja import _kernel
from mmap_ninja.columns.types import Column
from mmap_ninja.engine.dataset import Columns, Dataset
from mmap_ninja.engine.seen import Seen, Snapshot
from mmap_ninja.legacy.dataset import LegacyDataset

Positions = npt.NDArray[np.int64]

_NOTHING: Final = Snapshot(None, {}, complete=True)


class Draw(NamedTuple):
    """A part of a split by a seed: the samples whose hash is at least `low` and less than `high`."""

    seed: int
    low: int
    high: int
    by: str | None  # the column whose values are hashed; None: positions are


class Drawn:
    """Positions that seeds chose, with the rule that gives them again: a pickle keeps only that, which is small.

    Args:
        at: The positions.
        base: Those among which the first draw chose.
        parts: The draws, each of which chose among the samples of the one before.
    """

    __slots__ = ("at", "base", "parts")
    at: Positions
    base: range | Positions
    parts: tuple[Draw, ...]

    def __init__(self, at: Positions, base: "range | Positions | Drawn", part: Draw) -> None:
        self.at = at
        self.base, before = (base.base, base.parts) if isinstance(base, Drawn) else (base, ())
        self.parts = (*before, part)

    def __getitem__(self, key: slice | Positions) -> Positions:
        return self.at[key]


Selection = range | Positions | Drawn


def among(base: Selection, at: Positions) -> Positions:
    """Positions among those that a selection has."""
    if not isinstance(base, range):
        return base[at]
    return at if (base.start, base.step) == (0, 1) else base.start + base.step * at


def positions_of(selection: Selection) -> Positions:
    """The positions that a selection has."""
    if isinstance(selection, Drawn):
        return selection.at
    return np.arange(selection.start, selection.stop, selection.step) if isinstance(selection, range) else selection


class State:
    """Base of all states, with the answers of one that has no dataset."""

    __slots__ = ()

    @property
    def snapshot(self) -> Snapshot:
        """The snapshot that is shown, for views and pickles."""
        return _NOTHING

    @property
    def complete(self) -> bool:
        """Whether the build that made the dataset has ended."""
        return self.snapshot.complete

    @property
    def columns(self) -> Columns:
        """The columns that are shown."""
        return ()

    @property
    def names(self) -> tuple[str, ...]:
        """The names by which the handle shows the columns."""
        return tuple(column.name for column in self.columns)

    @property
    def draws(self) -> tuple[Draw, ...]:
        """The draws that chose the samples."""
        return ()

    def view(self, selection: Selection, columns: Columns, asked: tuple[str, ...] | None) -> "View":
        """The state of a view of some samples or columns of what is shown."""
        return View(self.snapshot, selection, columns, asked)

    def positions(self, count: int) -> range | Positions:
        """The position of each of `count` samples, by which a seed chooses."""
        return range(count)

    @property
    def asked(self) -> tuple[str, ...] | None:
        """These names, if the columns were chosen."""
        return None

    def selection_of(self, count: int) -> Selection:
        """Which of the snapshot's `count` samples are shown."""
        return range(count)

    @property
    def nbytes(self) -> int:
        """Bytes of the samples as they are stored."""
        return 0

    @property
    def garbage(self) -> int:
        """Bytes that `compact` would free."""
        return 0


class Vacant(State):
    """Nothing is at the path yet; a mutation creates a dataset there."""

    __slots__ = ()


class Live(State):
    """The commit that the engine made last, or moved to.

    Args:
        seen: The commit.
        dataset: The engine.
    """

    __slots__ = ("dataset", "handles", "seen")
    seen: Seen
    dataset: Dataset

    def __init__(self, seen: Seen, dataset: Dataset) -> None:
        self.seen = seen
        self.dataset = dataset
        self.handles: dict[str, Any] | None = None  # one for each column of records, made on first use

    @property
    def snapshot(self) -> Snapshot:
        """The commit, as views and pickles know it."""
        return self.seen.snapshot

    @property
    def complete(self) -> bool:
        """Whether the commit is marked complete."""
        return bool(self.seen.slot.flags & _kernel.COMPLETE)

    @property
    def columns(self) -> Columns:
        """All columns of the commit."""
        return self.seen.columns

    @property
    def nbytes(self) -> int:
        """Bytes of the samples as they are stored, without those that edits hide."""
        return self.seen.nbytes

    @property
    def garbage(self) -> int:
        """Bytes of the samples that edits hide, and of the edits."""
        return self.seen.garbage


class Legacy(State):
    """A directory of 0.x, as it was when it was opened; a mutation upgrades it.

    Args:
        dataset: The engine, with the open files.
    """

    __slots__ = ("columns", "dataset", "nbytes", "snapshot")
    dataset: LegacyDataset
    snapshot: Snapshot
    columns: Columns
    nbytes: int

    def __init__(self, dataset: LegacyDataset) -> None:
        self.dataset = dataset
        self.snapshot = dataset.snapshot
        self.columns = dataset.meta.columns
        self.nbytes = dataset.nbytes


class View(State):
    """Some samples of a snapshot that another handle showed; read-only.

    Args:
        snapshot: The snapshot.
        selection: Which of its samples.
        columns: Which of its columns.
        asked: The names by which they are shown, if they were chosen.
    """

    __slots__ = ("asked", "columns", "handles", "selection", "snapshot")
    snapshot: Snapshot
    selection: Selection
    columns: Columns
    asked: tuple[str, ...] | None

    def __init__(
        self, snapshot: Snapshot, selection: Selection, columns: Columns, asked: tuple[str, ...] | None = None
    ) -> None:
        self.snapshot = snapshot
        self.selection = selection
        self.columns = columns
        self.asked = asked
        self.handles: dict[str, Any] | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The chosen names, or those of the dataset."""
        return super().names if self.asked is None else self.asked

    @property
    def draws(self) -> tuple[Draw, ...]:
        """The draws that chose the samples."""
        return self.selection.parts if isinstance(self.selection, Drawn) else ()

    def selection_of(self, count: int) -> Selection:  # noqa: ARG002 - for other states
        """The samples that were selected."""
        return self.selection


class Field(View):
    """One column of records, shown by a handle of its own.

    Args:
        records: A handle on these records, which is a view.
        name: The name of the column in it.
    """

    __slots__ = ("name", "records")
    name: str
    records: Any

    def __init__(self, view: View, records: Any, name: str, column: Column) -> None:
        super().__init__(view.snapshot, view.selection, (column,))
        self.records = records
        self.name = name


class Behind(State):
    """A commit was made but could not be mapped; the next read tries again.

    Args:
        dataset: The engine; None if it could not be opened.
    """

    __slots__ = ("dataset",)
    dataset: Dataset | None

    def __init__(self, dataset: Dataset | None) -> None:
        self.dataset = dataset

    @property
    def columns(self) -> Columns:
        """The columns of the commit, which are known without a map."""
        return () if self.dataset is None else self.dataset.meta.columns


class Closed(State):
    """The handle was closed.

    Args:
        before: The state until then.
    """

    __slots__ = ("columns", "names")
    columns: Columns
    names: tuple[str, ...]

    def __init__(self, before: State) -> None:
        self.columns = before.columns
        self.names = before.names
