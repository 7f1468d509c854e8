"""The list protocol over samples, for all kinds; the kernel's `Samples` implements what must be fast."""

import itertools
import operator
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Generic, Self, SupportsIndex, TypeVar, overload

import numpy as np
import numpy.typing as npt

from mmap_ninja import _kernel, progress
from mmap_ninja._kernel import column_of
from mmap_ninja.builds.located import locate
from mmap_ninja.engine import memory
from mmap_ninja.kinds.indices import is_index, several
from mmap_ninja.kinds.loadable import Loadable
from mmap_ninja.kinds.nulls import Nulls
from mmap_ninja.kinds.wrapped import Mapped

T = TypeVar("T")
R = TypeVar("R")
Indices = Sequence[int] | npt.NDArray[Any] | slice
_Positions = npt.NDArray[np.int64]

PREVIEW_SAMPLES = 5
_WARMED_AT_ONCE = 32 << 20  # bytes
_PREVIEW_CHARACTERS = 200


class SampleSequence(_kernel.Samples, Loadable, Generic[T]):
    """Samples that read like a list.

    The kernel implements `ds[i]`, `len(ds)` and iteration; this class adds the rest.
    """

    if TYPE_CHECKING:

        @overload
        def __getitem__(self, key: SupportsIndex, /) -> T: ...  # type: ignore[overload-overlap]  # 0-d arrays
        @overload
        def __getitem__(self, key: Indices, /) -> list[T]: ...
        def __getitem__(self, key: SupportsIndex | Indices, /) -> T | list[T]: ...
        def __iter__(self) -> Iterator[T]: ...

    def _get_many(self, key: Any) -> Any:
        """The result of `[]` for all keys but plain integers; the kernel calls this."""
        kind = type(key)
        if kind is slice or kind is list:  # nearly all
            return self.take(key)
        return self[operator.index(key)] if is_index(key) else self.take(several(key))

    def take(self, indices: Indices, *, nulls: Nulls = "mask", fill: Any = None) -> list[T]:
        """The samples at many positions, in their order, in one native call.

        Args:
            indices: Integers in any order, also repeated, negative ones counted from the end; a boolean mask; or a
                slice.
            nulls: What a null of a nullable column becomes. "mask": None in a list; masked in an array, with NaN or NaT
                under the mask where the dtype has one. "raise": a ValueError that names the column and the position.
            fill: A value for nulls, which the column holds exactly; None: as `nulls` says.

        Returns:
            A new list with one owned sample per index.

        Raises:
            IndexError: if an index is out of range.
            ValueError: if a sample is null and `nulls="raise"`.
            TypeError: if the column cannot hold `fill`.

        Example:
            >>> import numpy as np
            >>> import mmap_ninja as mn
            >>> texts = mn.StringsMmap.from_strings("texts", ["a", "b", "c"])
            >>> texts.take([2, 0, -1]), texts.take(np.array([True, False, True]))
            (['c', 'a', 'c'], ['a', 'c'])
        """
        if nulls == "mask" and fill is None:
            return self._take(indices)
        return self._take_without_nulls(indices, nulls, fill)

    def _take_without_nulls(self, indices: Indices, nulls: Nulls, fill: Any) -> list[T]:
        """The same where a null is refused, or becomes a value."""
        raise NotImplementedError

    def __getitems__(self, indices: Indices) -> list[T]:
        """A batch for PyTorch's DataLoader, which calls this."""
        return self.take(indices)

    def prefetch(self, indices: Indices) -> None:
        """Start reading the samples at these positions from disk, for a `take` that follows, and do not wait for them.

        `take` and a `Loader` do that themselves where samples are not in memory.

        Args:
            indices: Integers in any order, also repeated, negative ones counted from the end; a boolean mask; or a
                slice.

        Example:
            >>> import mmap_ninja as mn
            >>> texts = mn.StringsMmap.from_strings("texts", ["a", "b", "c"])
            >>> texts.prefetch([2, 0])  # while other work is done
            >>> texts.take([2, 0])
            ['c', 'a']
        """
        column = column_of(self)
        column.prefetch(self._resolved(indices, len(column)))

    def residency(self) -> float:
        """The share of these samples that is in memory, that is in the system's page cache.

        Counted are the bytes of these samples in all files, and of what tells where they are. Beyond 256 MiB, for
        views that skip samples, and for files of other users or before Linux 6.5, that is an estimate from 1,024
        places. Where the system does not tell (macOS, or an overlay filesystem), all counts as in memory.

        Returns:
            From 0.0 to 1.0, which is also that of no samples.

        Example:
            >>> import mmap_ninja as mn
            >>> mn.StringsMmap.from_strings("texts", ["just written"]).residency()
            1.0
        """
        return column_of(self).residency()

    def warm(self, verbose: bool = False) -> float:
        """Read these samples into memory, that is into the system's page cache, and wait.

        They are read in their order. If they do not fit into the memory that is available, the first ones are read
        that do. The system may drop them again when memory gets short.

        Args:
            verbose: Whether to show a progress bar.

        Returns:
            The `residency` after that: below 1.0 if not all of them fit.

        Example:
            >>> import mmap_ninja as mn
            >>> mn.StringsMmap.from_strings("texts", ["a", "b"]).warm()
            1.0
        """
        column = column_of(self)
        size = max(column.mean_size, 1)
        end, step = min(len(column), int(memory.available() / size)), max(int(_WARMED_AT_ONCE / size), 1)
        parts = [slice(start, min(start + step, end)) for start in range(0, end, step)]
        with progress.bar(len(column), " samples", shown=verbose) as tell:
            for part, following in itertools.zip_longest(parts, parts[1:]):
                if following is not None:
                    column.prefetch(following)
                column.read_in(part)
                tell(part.stop - part.start)
        return column.residency()

    def _matches(self, value: object, start: int, stop: int) -> Iterator[int]:
        """Positions of the samples in a range that are equal to a value, ascending."""
        raise NotImplementedError

    def _found(self, value: object, start: int, stop: int) -> Iterator[int]:
        """The same for samples that may be null; only None is equal to a null."""
        nulls = column_of(self).null_mask(slice(start, stop))
        if nulls is None:
            yield from self._matches(value, start, stop)
        elif value is None:
            yield from (start + np.flatnonzero(nulls)).tolist()
        else:
            yield from (position for position in self._matches(value, start, stop) if not nulls[position - start])

    def index(self, value: object, start: int = 0, stop: int | None = None) -> int:
        """Position of the first sample equal to `value`, between `start` and `stop`.

        Args:
            value: What to look for.
            start: The first position to look at; negative ones count from the end.
            stop: The position to stop before; None: at the end.

        Raises:
            ValueError: if no sample is equal.

        Example:
            >>> import mmap_ninja as mn
            >>> texts = mn.StringsMmap.from_strings("texts", ["a", "b", "a"])
            >>> texts.index("a"), texts.index("a", start=1)
            (0, 2)
        """
        first, end, _ = slice(start, stop).indices(len(self))
        for position in self._found(value, first, end):
            return position
        raise ValueError(f"{value!r:.80} is not among the samples {first} to {end}")

    def __contains__(self, value: object) -> bool:
        return any(True for _ in self._found(value, 0, len(self)))

    def count(self, value: object) -> int:
        """How many samples are equal to `value`.

        Args:
            value: What to look for.

        Example:
            >>> import mmap_ninja as mn
            >>> mn.StringsMmap.from_strings("texts", ["a", "b", "a"]).count("a")
            2
        """
        return sum(1 for _ in self._found(value, 0, len(self)))

    def __reversed__(self) -> Iterator[T]:
        return iter(self.select(slice(None, None, -1)))

    def select(self, indices: Indices) -> Self:
        """A read-only view of some samples of the snapshot that this handle sees now; nothing is read.

        Args:
            indices: Integers in any order, also repeated, negative ones counted from the end; a boolean mask; or a
                slice.
        """
        raise NotImplementedError

    def filter(
        self, function: Callable[[T], object], columns: Sequence[str] | None = None, verbose: bool = False
    ) -> Self:
        """A view of the samples for which a function returns true; all samples are read once, in their order.

        Args:
            function: Called with each sample.
            columns: Of records: the names of the columns that the function gets, as a dict; only these are read. None:
                all.
            verbose: Whether to show a progress bar.

        Returns:
            A view, as `select` gives it.

        Raises:
            TypeError: if `function` is no function, or `columns` no list of names.
            ValueError: if `columns` is given, and this holds no records.
            KeyError: if there is no such column.

        Example:
            >>> import mmap_ninja as mn
            >>> ds = mn.RecordsMmap.from_columns("ds", {"text": ["good", "bad", "new"], "stars": [5, 1, 3]})
            >>> liked = ds.filter(lambda sample: sample["stars"] >= 3, columns=["stars"])
            >>> liked["text"][:]
            ['good', 'new']
        """
        _check_function(function)
        whole = self.select(slice(None))  # of one snapshot, which the function may change
        read = whole if columns is None else whole._with_columns(columns)  # noqa: SLF001 - of the same snapshot
        is_chosen = np.zeros(len(whole), np.bool_)
        with progress.bar(len(whole), " samples", shown=verbose) as tell:
            for position, sample in enumerate(read):
                try:
                    is_chosen[position] = bool(function(sample))
                except Exception as error:
                    locate(error, f"sample {position}")
                    raise
                tell(1)
        return whole.select(is_chosen)

    def _with_columns(self, columns: Sequence[str]) -> Self:
        """A view of some columns."""
        raise ValueError(f"columns {columns!r:.80}: samples of this kind have no columns; leave it out")

    def map(self, function: Callable[[T], R]) -> Mapped[R]:
        """A lazy sequence of what a function makes of each sample, whenever it is read; it pickles as this does.

        The function gets what `[]` gives: arrays are read-only views, so copy one before you change it.

        Args:
            function: Called with each sample.

        Returns:
            A sequence that also has `loader`, and that `export` takes.

        Raises:
            TypeError: if `function` is no function.

        Example:
            >>> import mmap_ninja as mn
            >>> texts = mn.StringsMmap.from_strings("texts", ["good", "bad"])
            >>> lengths = texts.map(len)
            >>> lengths[0], list(lengths)
            (4, [4, 3])
        """
        _check_function(function)
        return Mapped(self.select(slice(None)), function)


def _check_function(function: object) -> None:
    if not callable(function):
        raise TypeError(f"function {function!r:.80}: expected a function, got {type(function).__name__}")


Sequence.register(SampleSequence)  # not a base class: the kernel's type has its own metaclass


def preview_html(title: str, samples: Sequence[object], total: int) -> str:
    """A small escaped table of the first samples, for notebooks."""
    import html  # noqa: PLC0415 - its table of entities is large, and only notebooks need it

    rows = []
    for index, sample in enumerate(samples):
        text = f"{sample!r:.{_PREVIEW_CHARACTERS}}"
        rows.append(f"<tr><th>{index}</th><td><code>{html.escape(text)}</code></td></tr>")
    if total > len(samples):
        rows.append(f"<tr><th>&hellip;</th><td>{total - len(samples)} more</td></tr>")
    return f"<p><code>{html.escape(title)}</code></p><table>{''.join(rows)}</table>"
