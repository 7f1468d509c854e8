"""Reading records by columns: handles for single columns, views of several, and their types."""

import operator
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self, SupportsIndex, TypeVar, overload

import numpy as np

from mmap_ninja import _kernel
from mmap_ninja._kernel import column_of
from mmap_ninja.arrow import export, frames
from mmap_ninja.builds import sources
from mmap_ninja.columns import nesting, specs
from mmap_ninja.columns.specs import Spec
from mmap_ninja.columns.types import Array, Binary, ColumnType, Json, Ragged, Text
from mmap_ninja.engine.dataset import Columns
from mmap_ninja.engine.open_column import open_column
from mmap_ninja.engine.seen import Seen
from mmap_ninja.kinds import splits
from mmap_ninja.kinds.arrays import ArrayMmap
from mmap_ninja.kinds.bytes import BytesMmap
from mmap_ninja.kinds.comparing import Compare, Mask, except_nulls
from mmap_ninja.kinds.handle import DatasetHandle
from mmap_ninja.kinds.indices import is_index, several
from mmap_ninja.kinds.joined import Parts, records_of_parts
from mmap_ninja.kinds.nulls import Nulls, masked
from mmap_ninja.kinds.options import HandleOptions
from mmap_ninja.kinds.ragged import RaggedMmap
from mmap_ninja.kinds.sequence import Indices
from mmap_ninja.kinds.showing import showing
from mmap_ninja.kinds.spans import SpansHandle
from mmap_ninja.kinds.state import Draw, Field, Live, State, View
from mmap_ninja.kinds.strings import StringsMmap

if TYPE_CHECKING:
    import pandas as pd

H = TypeVar("H", bound=DatasetHandle[Any])
Record = dict[str, Any]
Sample = Any  # a dict, a dataclass or a named tuple
Asked = tuple[tuple[str, str], ...]  # columns: the names to show, and the names in the dataset


class JsonColumn(SpansHandle[Any]):
    """A JSON column, as `ds["name"]` gives it: a list of decoded values; `take_jagged` gives the texts."""

    _kind = "records"
    _sample = "text"

    def _matches(self, value: object, start: int, stop: int) -> Iterator[int]:
        # Equal values may have different texts: another order of keys, 1 and 1.0.
        return (position for position in range(start, stop) if self[position] == value)

    def _compared(self, value: Any, compare: Compare) -> Mask:
        column, wanted = column_of(self), value.item() if isinstance(value, np.generic) else value
        return except_nulls(np.array([compare(sample, wanted) for sample in column], np.bool_), column)

    def _checked_fill(self, value: object) -> Any:
        return value


_CLASSES: Final[dict[type[ColumnType], type[DatasetHandle[Any]]]] = {
    Text: StringsMmap,
    Binary: BytesMmap,
    Json: JsonColumn,
    Array: ArrayMmap,
    Ragged: RaggedMmap,
}


class RecordsHandle(DatasetHandle[Record]):
    """Records, which can also be read by columns."""

    _kind = "records"
    _sample = "record"

    if TYPE_CHECKING:

        @overload
        def __getitem__(self, key: SupportsIndex, /) -> Record: ...  # type: ignore[overload-overlap]  # 0-d arrays
        @overload
        def __getitem__(self, key: str, /) -> Any: ...  # the handle of the column's type, which only the files tell
        @overload
        def __getitem__(self, key: list[str], /) -> Self: ...
        @overload
        def __getitem__(self, key: Indices, /) -> list[Record]: ...
        def __getitem__(self, key: Any, /) -> Any: ...

    @property
    def columns(self) -> list[str]:
        """The names of the columns in their order, with dots for nested ones.

        Example:
            >>> import mmap_ninja as mn
            >>> mn.RecordsMmap.from_columns("ds", {"text": ["good"], "meta": {"stars": [5]}}).columns
            ['text', 'meta.stars']
        """
        return list(self._now().names)

    @property
    def schema(self) -> dict[str, Spec]:
        """The type of each column, by its name.

        Example:
            >>> import numpy as np
            >>> import mmap_ninja as mn
            >>> ds = mn.RecordsMmap.from_columns("ds", {"text": ["good"], "image": np.zeros((1, 2, 2))})
            >>> ds.schema["image"]
            Array(shape=(2, 2), dtype=dtype('float64'), nullable=False)
        """
        state = self._now()
        return {name: specs.spec_of(column.type) for name, column in zip(state.names, state.columns, strict=True)}

    @classmethod
    def _open_column(cls, seen: Seen, path: Path, options: HandleOptions, *, mapped: bool) -> _kernel.Column:
        fields = []
        for place, column in enumerate(seen.meta.columns):
            where = f"{path}: column {column.name!r}"
            copies = options.gives_copies
            field = open_column(seen.generation, place, seen.extents, seen.rows, where, mapped=mapped, copies=copies)
            fields.append((tuple(column.name.split(".")), field))
        return _kernel.Column.of_records(
            str(path), fields, edits=seen.edits, copies=options.gives_copies, mapped=mapped
        )

    @classmethod
    def _joined_column(cls, columns: Columns, path: str, parts: Parts) -> _kernel.Column:
        return records_of_parts(columns, path, parts)

    def _ipython_key_completions_(self) -> list[str]:
        """What a notebook offers in `ds["`: columns, and groups of nested ones."""
        return nesting.with_groups(self.columns)

    def _columns(self) -> dict[str, DatasetHandle[Any]]:
        """A handle for each column, on what this handle shows now."""
        column, state = self._moment()
        if not isinstance(state, Live | View):  # no columns yet, or closed
            return {}
        if state.handles is None:
            view = state.view(state.selection_of(len(column)), state.columns, state.asked)
            # A view, since a cycle with this handle would keep it alive until a garbage collection.
            records = self._showing(type(self), column, view)
            handles: dict[str, DatasetHandle[Any]] = {}
            for place, (name, of_dataset) in enumerate(zip(view.names, view.columns, strict=True)):
                shown = Field(view, records, name, of_dataset)
                handles[name] = self._showing(_CLASSES[type(of_dataset.type)], column.field(place), shown)
            state.handles = handles
        return state.handles

    def _showing(self, cls: type[H], column: _kernel.Column, state: State) -> H:
        """A handle of a class, with the options of this one."""
        return showing(cls, self.out_dir, self.path, self._options, column, state)

    def _get_many(self, key: Any) -> Any:
        if isinstance(key, str):
            handles = self._columns()
            return handles[key] if key in handles else self._view([key], grouped=True)
        if isinstance(key, list) and key and all(isinstance(name, str) for name in key):
            return self._view(key, grouped=False)
        return self[operator.index(key)] if is_index(key) else self._take(several(key))

    def _view(self, names: list[str], *, grouped: bool) -> Self:
        """A view of some columns, or of a group of nested columns by their names in the group."""
        column, state = self._moment()
        stored = dict(zip(state.names, (of_dataset.name for of_dataset in state.columns), strict=True))
        asked = []
        for name in names:
            prefix = f"{name}."
            found = [own for own in stored if own == name or own.startswith(prefix)]
            if not found:
                raise self._unknown(name)
            asked += [(own.removeprefix(prefix) if grouped else own, stored[own]) for own in found]
        return self._showing(type(self), *self._chosen(column, state, tuple(dict.fromkeys(asked))))

    def _with_columns(self, columns: Sequence[str]) -> Self:
        if isinstance(columns, str) or not all(isinstance(name, str) for name in columns):
            raise TypeError(f"{self.path}: columns {columns!r:.80}: expected a list of names")
        return self._view(list(columns), grouped=False)

    def _unknown(self, name: str) -> KeyError:
        known = ", ".join(map(repr, self.columns[:20]))
        return KeyError(f"{self.path}: has no column {name!r}; it has {known or 'none yet'}")

    def _chosen(self, records: _kernel.Column, state: State, asked: Asked) -> tuple[_kernel.Column, View]:
        """Some columns of records, by new names if they have any."""
        places = {column.name: place for place, column in enumerate(state.columns)}
        chosen = [places[stored] for _, stored in asked]
        fields = [
            (tuple(name.split(".")), records.field(place)) for (name, _), place in zip(asked, chosen, strict=True)
        ]
        copies, mapped = self._options.gives_copies, records.is_mapped
        column = _kernel.Column.of_records(self._path_text, fields, copies=copies, mapped=mapped)
        columns, names = tuple(state.columns[place] for place in chosen), tuple(name for name, _ in asked)
        return column, state.view(state.selection_of(len(records)), columns, names)

    def _draws(self, fractions: Sequence[float], seed: int, by: str | None) -> list[Draw]:
        state = self._now()
        stored = dict(zip(state.names, (column.name for column in state.columns), strict=True))
        if by is not None and by not in stored:
            raise self._unknown(by)
        return splits.draws(fractions, seed, None if by is None else stored[by], () if by is None else state.draws)

    def __reduce__(self) -> tuple[Any, ...]:
        reduced, state = super().__reduce__(), self._state
        if state.asked is None:
            return reduced
        return (*reduced, tuple(zip(state.asked, (column.name for column in state.columns), strict=True)))

    def __setstate__(self, asked: Asked) -> None:
        """Show only some columns: restores a pickled view of them."""
        self._show_column(*self._chosen(*self._moment(), asked))

    def take(  # type: ignore[override]
        self, indices: Indices, *, nulls: Nulls = "mask", fill: Any = None
    ) -> Record:
        """The samples at many positions, by columns: a dict of batches, nested like the samples.

        Args:
            indices: Integers in any order, also repeated, negative ones counted from the end; a boolean mask; or a
                slice.
            nulls: What a null of a nullable column becomes. "mask": None in a list; masked in an array, with NaN or NaT
                under the mask where the dtype has one. "raise": a ValueError that names the column and the position.
            fill: A value for nulls, which their columns hold exactly, or, for records, a dict with a value for each of
                some columns; None: as `nulls` says.

        Returns:
            Lists of `str`, `bytes`, arrays or JSON values; an array `[B, ...]` for `Array` and `Scalar`.

        Raises:
            IndexError: if an index is out of range.
            KeyError: if `fill` names a column that is not there.
            ValueError: if a sample is null and `nulls="raise"`.
            TypeError: if a column cannot hold its `fill`.

        Example:
            >>> import numpy as np
            >>> import mmap_ninja as mn
            >>> ds = mn.RecordsMmap.from_columns("ds", {"text": ["good", "bad", "new"], "stars": np.array([5, 1, 3])})
            >>> ds.take([2, 0])
            {'text': ['new', 'good'], 'stars': array([3, 5])}
        """
        if nulls == "mask" and fill is None:  # without handles of the columns, which each commit would make anew
            column, state = self._moment()
            columns = column.take_columns(self._resolved(indices, len(column)))
            batches = [batch if is_null is None else masked(batch, is_null) for batch, is_null in columns]
            return nesting.nested(dict(zip(state.names, batches, strict=True)))
        handles = self._columns()
        count = len(next(iter(handles.values()))) if handles else 0
        at, fills = self._resolved(indices, count), self._fills(fill, handles)
        return nesting.nested(
            {name: handle.take(at, nulls=nulls, fill=fills.get(name)) for name, handle in handles.items()}
        )

    def _fills(self, fill: Any, names: Collection[str]) -> Mapping[str, Any]:
        """The values for nulls by column, from one for all columns or for each of some."""
        if not isinstance(fill, Mapping):
            return dict.fromkeys(names, fill)
        if unknown := [name for name in fill if name not in names]:
            raise self._unknown(unknown[0])
        return fill

    def __getitems__(self, indices: Indices) -> list[Record]:
        """A batch for PyTorch's DataLoader, which calls this and collates the list of samples."""
        return self._take(indices)

    def _matches(self, value: object, start: int, stop: int) -> Iterator[int]:
        if isinstance(value, str):  # an honest answer would be taken for one about the columns
            raise TypeError(
                f"{self.path}: a sample of records is a dict, never {value!r:.80}; for the names of columns use "
                "ds.columns, for the values in one ds[name]"
            )
        for position, sample in enumerate(self.select(slice(start, stop)), start):
            if sources.same(value, sample):
                yield position

    @property
    def nbytes(self) -> int:
        """Bytes of the samples as they are stored, without their offsets.

        Example:
            >>> import mmap_ninja as mn
            >>> mn.RecordsMmap.from_columns("ds", {"text": ["good"], "stars": [5]}).nbytes
            12
        """
        if isinstance(self._state, View):
            return sum(handle.nbytes for handle in self._columns().values())
        return super().nbytes

    def _described(self) -> str:
        fields = [f"{name}: {specs.short(spec)}" for name, spec in self.schema.items()]
        return f"; {', '.join(fields) or 'no columns yet'}"

    def to_pandas(self) -> "pd.DataFrame":
        """The samples as a pandas DataFrame, copied; nested columns have their names with dots.

        Dtypes are kept: `int8` stays `int8`. Where samples may be null, integers and booleans have pandas' nullable
        dtypes (`Int8`, `boolean`), floats NaN, and dates NaT. Arrays, bytes and JSON values are objects.

        Raises:
            ImportError: if pandas is missing.

        Example:
            >>> import mmap_ninja as mn
            >>> mn.RecordsMmap.from_columns("ds", {"text": ["good", "bad"], "stars": [5, 1]}).to_pandas()
               text  stars
            0  good      5
            1   bad      1
        """
        return frames.frame(self._exported())

    def _exported(self) -> dict[str, Any]:
        return {
            name: export.Exported(column_of(handle), self.path, is_json=isinstance(handle, JsonColumn))
            for name, handle in self._columns().items()
        }
