"""What a handle shows: always one of these states, which changes in one step with the samples that it is of.

None of them changes; what is worth keeping once it is made is kept where it belongs to.
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from mmap_ninja import _kernel
from mmap_ninja.columns.types import Column
from mmap_ninja.engine.dataset import Columns, Dataset
from mmap_ninja.engine.seen import Seen, Snapshot
from mmap_ninja.legacy.dataset import LegacyDataset

Positions = npt.NDArray[np.int64]
Selection = range | Positions

_NOTHING: Final = Snapshot(None, {}, complete=True)


class State:
    """Any state: what it answers where there is nothing to tell."""

    __slots__ = ()

    @property
    def snapshot(self) -> Snapshot:
        """The moment that is shown, for views to keep and pickles to come back to."""
        return _NOTHING

    @property
    def complete(self) -> bool:
        """Whether the build that made the dataset has ended."""
        return self.snapshot.complete

    @property
    def columns(self) -> Columns:
        """The dataset's columns that are shown."""
        return ()

    @property
    def names(self) -> tuple[str, ...]:
        """What they are called here."""
        return tuple(column.name for column in self.columns)

    @property
    def asked(self) -> tuple[str, ...] | None:
        """The same, if they were chosen."""
        return None

    def selection_of(self, count: int) -> Selection:
        """Which of the snapshot's samples are shown, if it is so many."""
        return range(count)

    @property
    def nbytes(self) -> int:
        """Bytes of the samples as they are stored."""
        return 0

    @property
    def garbage(self) -> int:
        """Bytes that `compact` would give back."""
        return 0


class Vacant(State):
    """Nothing is at the path yet; a mutation makes a dataset there."""

    __slots__ = ()


class Live(State):
    """The commit that the engine made last, or has moved to.

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
        self.handles: dict[str, Any] | None = None  # of records: one for each column, from the first use on

    @property
    def snapshot(self) -> Snapshot:
        """The commit, as views and pickles know it."""
        return self.seen.snapshot

    @property
    def complete(self) -> bool:
        """As the commit says."""
        return bool(self.seen.slot.flags & _kernel.COMPLETE)

    @property
    def columns(self) -> Columns:
        """All of the commit's."""
        return self.seen.meta.columns

    @property
    def nbytes(self) -> int:
        """Without what edits hide."""
        return self.seen.nbytes

    @property
    def garbage(self) -> int:
        """What edits hide, and what tells of them."""
        return self.seen.garbage


class Legacy(State):
    """A directory of 0.x, as it was when it was opened; a mutation upgrades it.

    Args:
        dataset: Its open files.
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
    """Some samples of what another handle showed; read-only.

    Args:
        snapshot: What that was.
        selection: Which of its samples.
        columns: Which of its columns.
        asked: What these are called here, if they were chosen.
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
        """Those that were asked for, or the dataset's."""
        return super().names if self.asked is None else self.asked

    def selection_of(self, count: int) -> Selection:  # noqa: ARG002 - for other states
        """Those that were selected."""
        return self.selection


class Field(View):
    """One column of records, by itself.

    Args:
        records: A handle on these records, which is a view.
        name: What the column is called there.
    """

    __slots__ = ("name", "records")
    name: str
    records: Any

    def __init__(self, view: View, records: Any, name: str, column: Column) -> None:
        super().__init__(view.snapshot, view.selection, (column,))
        self.records = records
        self.name = name


class Behind(State):
    """A commit was made that could not be mapped; whoever reads tries it again.

    Args:
        dataset: The engine; None if it could not be opened.
    """

    __slots__ = ("dataset",)
    dataset: Dataset | None

    def __init__(self, dataset: Dataset | None) -> None:
        self.dataset = dataset

    @property
    def columns(self) -> Columns:
        """Those of the commit, which need no map."""
        return () if self.dataset is None else self.dataset.meta.columns


class Closed(State):
    """Nothing, any more.

    Args:
        before: What was shown.
    """

    __slots__ = ("columns", "names")
    columns: Columns
    names: tuple[str, ...]

    def __init__(self, before: State) -> None:
        self.columns = before.columns
        self.names = before.names
