"""How a handle shows a commit: its samples and its state change in one step."""

import warnings
from contextlib import nullcontext
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self, TypeVar

from mmap_ninja import _kernel
from mmap_ninja._kernel import Column
from mmap_ninja.engine import files
from mmap_ninja.engine.commit_file import Told
from mmap_ninja.engine.dataset import Columns, Dataset
from mmap_ninja.engine.directory import is_vacant
from mmap_ninja.engine.open_column import open_column
from mmap_ninja.engine.seen import Seen
from mmap_ninja.errors import IncompleteDatasetWarning, MmapNinjaError, StaleHandleError
from mmap_ninja.format.meta import Kind, first_columns
from mmap_ninja.kinds.joined import Parts, column_of_parts
from mmap_ninja.kinds.options import HandleOptions, Mode, PathLike, ReadMode
from mmap_ninja.kinds.sequence import SampleSequence
from mmap_ninja.kinds.state import Behind, Closed, Legacy, Live, State, Vacant, View
from mmap_ninja.legacy import upgrade
from mmap_ninja.legacy.dataset import LegacyDataset, open_dataset

_ATTEMPTS: Final = 10  # a generation can be switched under a reader; twice in a row is rare

T = TypeVar("T")
H = TypeVar("H", bound="ShowingHandle[Any]")

if TYPE_CHECKING:
    _ShownMode = Mode
    _ShownReadMode = ReadMode
else:  # jedi, which completes names in IPython, fails at a property that returns a Literal
    _ShownMode = _ShownReadMode = str


class ShowingHandle(SampleSequence[T]):
    """Shows the samples at a path, or some of them, as they were at one moment.

    The samples and their `_state` change together, in one step of the kernel: an interrupt, a signal handler or another
    thread sees exactly one commit.

    Args:
        out_dir: The path as the user gave it.
        path: The absolute path, since the working directory may change.
        options: What the user asked for.
        column: The samples.
        state: The state that they belong to.
    """

    _kind: ClassVar[Kind]
    _sample: ClassVar[str]  # what the kernel calls it
    _state: State

    def __init__(self, out_dir: PathLike, path: Path, options: HandleOptions, column: Column, state: State) -> None:
        self.out_dir: Path = Path(out_dir)
        self.path = path
        self._path_text = str(path)
        self._options = options
        self._is_writable = options.is_writable  # looked at in each commit
        self._mutex = _kernel.Mutex(self._path_text)
        super().__init__(self._path_text)
        self._show_column(column, state)

    @classmethod
    def _over(cls, dataset: Dataset | LegacyDataset, out_dir: PathLike, options: HandleOptions) -> Self:
        """A handle on an engine that is already open."""
        return showing(cls, out_dir, dataset.path, options, *cls._shown_of(dataset, options))

    @classmethod
    def _found_at(cls, path: Path, options: HandleOptions) -> tuple[Column, State]:
        """What is at a path: a dataset, or nothing if the options allow creating one."""
        if options.is_writable and is_vacant(path):
            return cls._nothing(path, options)
        return cls._newest_of(cls._opened(path, options), options)

    @classmethod
    def _nothing(cls, path: Path, options: HandleOptions) -> tuple[Column, State]:
        copies, wrapper, mapped = options.gives_copies, options.wrapper_fn, options.read_mode != "pread"
        return Column(cls._sample, str(path), copies=copies, wrapper=wrapper, mapped=mapped), Vacant()

    @classmethod
    def _opened(cls, path: Path, options: HandleOptions, told: Told | None = None) -> Dataset | LegacyDataset:
        """The engine of the dataset at a path; `told`: what another process found out about the commit file."""
        with files.following_links(options.follow_symlinks):
            return open_dataset(path, cls._kind, options.durability, options.lock_timeout, options.keys, told)

    @classmethod
    def _shown_of(cls, dataset: Dataset | LegacyDataset, options: HandleOptions) -> tuple[Column, State]:
        """The commit that an engine is at; its files are mapped, or opened, again."""
        asked = options.read_mode
        mapped = files.reads_by_map(dataset.any_descriptor) if asked is None else asked == "mmap"
        if isinstance(dataset, LegacyDataset):
            column = dataset.open_column(mapped=mapped, copies=options.gives_copies, wrapper=options.wrapper_fn)
            return column, Legacy(dataset)
        seen = dataset.seen
        return cls._open_column(seen, dataset.path, options, mapped=mapped), Live(seen, dataset)

    @classmethod
    def _newest_of(cls, dataset: Dataset | LegacyDataset, options: HandleOptions) -> tuple[Column, State]:
        """The same, or a later commit if others remove the files of many columns while these are mapped."""
        for _ in range(_ATTEMPTS):
            try:
                return cls._shown_of(dataset, options)
            except StaleHandleError:
                if isinstance(dataset, LegacyDataset):
                    raise
                dataset.refresh()
        return cls._shown_of(dataset, options)

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

    @classmethod
    def _joined_column(cls, columns: Columns, path: str, parts: Parts) -> Column:
        """The samples of several datasets."""
        return column_of_parts(columns or first_columns(cls._kind), path, parts)  # none: nothing is at any path

    def _show(self, dataset: Dataset | LegacyDataset) -> None:
        """Show the commit that an engine is at now."""
        if isinstance(dataset, LegacyDataset):
            self._show_column(*self._shown_of(dataset, self._options))
            return
        seen, shown = dataset.seen, self._state
        if type(shown) is not Live or seen.generation is not shown.seen.generation:
            self._show_column(*self._newest_of(dataset, self._options))
        elif seen is not shown.seen:
            sizes = list(map(seen.extents.__getitem__, seen.generation.payloads))
            self._grow(sizes, seen.rows, seen.edits, Live(seen, dataset))

    def _follow(self, dataset: Dataset) -> None:
        """Show the commit that was just made. A failure is not an error of the commit: it is tried again later."""
        try:
            self._show(dataset)
        except (OSError, MemoryError, MmapNinjaError):
            self._show_column(None, Behind(dataset))

    def _attach_again(self) -> None:
        """Show a commit that could not be mapped when it was made; the kernel calls this when samples are read."""
        if not isinstance(self._state, Behind):
            return
        # A mutation reads samples while it holds the mutex, and so may a signal handler that interrupts it.
        with nullcontext() if self._mutex.is_mine else self._mutex.turn():
            if isinstance(self._state, Behind):
                self._show(self._state.dataset or self._opened(self.path, self._options))

    def _now(self) -> State:
        """The state; a commit that could not be mapped before is mapped now, or this raises."""
        self._attach_again()
        return self._state

    @property
    def _closed(self) -> bool:
        return isinstance(self._state, Closed)

    @property
    def mode(self) -> _ShownMode | None:
        """The mode that this was opened with.

        Example:
            >>> import mmap_ninja as mn
            >>> _ = mn.StringsMmap.from_strings("texts", ["a"])
            >>> mn.open("texts", "r").mode
            'r'
        """
        return self._options.mode

    @property
    def read_mode(self) -> _ShownReadMode:
        """How the files are read: from maps, or by system calls, which raise errors where a map kills the process.

        Example:
            >>> import mmap_ninja as mn
            >>> _ = mn.StringsMmap.from_strings("texts", ["a"])
            >>> mn.open("texts", read_mode="pread").read_mode
            'pread'
        """
        return "mmap" if self._is_mapped else "pread"

    def refresh(self) -> None:
        """Move to the newest commit, whoever made it.

        Only this handle moves. Its views stay, and so do its columns that were taken before, and its copies in other
        processes: workers of a DataLoader show the commit with which they were started, so with
        `persistent_workers=True` make a new loader after a refresh. For processes that must show the same samples, such
        as ranks, pass the `commit_id` of one of them to all: `mmap_ninja.open(path, commit_id=...)`.

        Raises:
            NotADatasetError: if the dataset was deleted.
            ValueError: if this is a view or closed.

        Example:
            >>> import mmap_ninja as mn
            >>> texts = mn.StringsMmap.from_strings("texts", ["a"])
            >>> mn.open("texts").append("b")  # by another handle, perhaps in another process
            >>> len(texts)
            1
            >>> texts.refresh()
            >>> len(texts)
            2
        """
        with self._mutex.turn():
            self._start_afresh()
            match self._state:
                case View():
                    raise ValueError(f"{self.path}: a view cannot be refreshed; refresh the dataset and select again")
                case Closed():
                    raise ValueError(f"{self.path}: the dataset is closed; open it again to refresh it")
                case Live(dataset=dataset) | Behind(dataset=Dataset() as dataset):
                    with files.following_links(self._options.follow_symlinks):
                        dataset.refresh()
                    self._show(dataset)
                case Legacy():
                    self._show(self._opened(self.path, self._options))
                case _ if not is_vacant(self.path):
                    self._show(self._opened(self.path, self._options))

    def close(self) -> None:
        """Make the commits of this handle durable, and release the files; views of it stay valid.

        Commits of others are not waited for; see `flush`.

        Raises:
            CommitUncertainError: if the system could not write them; the handle is closed nevertheless.

        Example:
            >>> import mmap_ninja as mn
            >>> with mn.StringsMmap("texts") as texts:  # closes at the end
            ...     texts.append("good")
            >>> texts
            StringsMmap('.../texts', closed)
        """
        with self._mutex.turn():
            state = self._state
            try:
                if isinstance(state, Live | Behind) and state.dataset is not None:
                    state.dataset.close()
            except (OSError, MmapNinjaError):
                self._show_column(None, Closed(state))
                raise
            # Last, so that close() can be called again after an interrupt.
            self._show_column(None, Closed(state))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def showing(cls: type[H], out_dir: PathLike, path: Path, options: HandleOptions, column: Column, state: State) -> H:
    """A handle of a class that shows these samples, without calling the constructor of the class."""
    handle = cls.__new__(cls)
    ShowingHandle.__init__(handle, out_dir, path, options, column, state)
    return handle


def warn_of(handle: Any, dataset: Dataset | LegacyDataset | None, *, stacklevel: int) -> None:
    """Warn if the dataset of a new handle has leftovers of an interrupted append, or its build has not ended."""
    if isinstance(dataset, LegacyDataset):
        upgrade.warn_of_leftovers(dataset, stacklevel=stacklevel + 1)
    if not handle.complete:
        warnings.warn(
            f"{handle.path}: the build of this dataset has not ended; it shows the {len(handle)} samples committed so "
            "far; continue it with if_exists='resume'",
            IncompleteDatasetWarning,
            stacklevel=stacklevel,
        )
