"""How a handle shows a commit: its samples and its state, which change in one step."""

import warnings
from contextlib import nullcontext
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self, TypeVar

from mmap_ninja import _kernel
from mmap_ninja._kernel import Column
from mmap_ninja.engine import files
from mmap_ninja.engine.commit_file import Told
from mmap_ninja.engine.dataset import Dataset
from mmap_ninja.engine.directory import is_vacant
from mmap_ninja.engine.open_column import open_column
from mmap_ninja.engine.seen import Seen
from mmap_ninja.errors import IncompleteDatasetWarning, MmapNinjaError
from mmap_ninja.format.meta import Kind
from mmap_ninja.kinds.options import HandleOptions, Mode, PathLike, ReadMode
from mmap_ninja.kinds.sequence import SampleSequence
from mmap_ninja.kinds.state import Behind, Closed, Legacy, Live, State, Vacant, View
from mmap_ninja.legacy import upgrade
from mmap_ninja.legacy.dataset import LegacyDataset, open_dataset

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
        self.out_dir: Path = Path(out_dir)
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
        return cls._open_column(seen, dataset.path, options, mapped=mapped), Live(seen, dataset)

    @classmethod
    def _open_column(cls, seen: Seen, path: Path, options: HandleOptions, *, mapped: bool) -> Column:
        """The samples of a commit."""
        return open_column(
            seen.generation,
            0,
            seen.extents,
            seen.rows,
            str(path),
            mapped=mapped,
            edits=seen.edits,
            copies=options.gives_copies,
            wrapper=options.wrapper_fn,
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
            sizes = list(map(seen.extents.__getitem__, seen.generation.payloads))
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
                self._show_column(None, Closed(state))
                raise
            # Not before: whoever interrupts this can close again.
            self._show_column(None, Closed(state))

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
