"""Mutating records: samples are added by rows or columns; columns are added, dropped and renamed."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, cast

from mmap_ninja.builds.build import Define
from mmap_ninja.columns import foreign, inference, nesting, specs
from mmap_ninja.columns.batch import Batch, Table, refuse_one
from mmap_ninja.columns.record_encoding import defined, encode_records
from mmap_ninja.columns.specs import Spec
from mmap_ninja.columns.types import Column
from mmap_ninja.engine.added_column import AddedColumn
from mmap_ninja.engine.change import Change
from mmap_ninja.engine.dataset import Columns
from mmap_ninja.errors import StaleHandleError
from mmap_ninja.kinds.record_reading import Record, RecordsHandle, Sample

_BYTES_AT_ONCE: Final = 1 << 20


class MutableRecords(RecordsHandle):
    """Records that can be changed; each change of the columns makes a generation."""

    def extend(self, samples: Iterable[Sample] | Mapping[str, Any], verbose: bool = False) -> None:
        """Add samples at the end, all or none of them, in one commit.

        All samples are in memory at once, and so are their bytes as they are stored: about twice their size.
        `from_generator` with `if_exists="append"` commits batch by batch instead.

        Args:
            samples: Any iterable of samples; or a dict of columns, each a sequence, as for `from_columns`.
            verbose: Whether to show a progress bar.

        Raises:
            TypeError: if a sample has the wrong type; then nothing is stored.
            ValueError: if a column is unknown, or missing and not nullable, or if columns differ in length.
            ReadOnlyError: if the handle, the permissions or the filesystem do not allow it.

        Example:
            >>> import mmap_ninja as mn
            >>> ds = mn.RecordsMmap("ds")
            >>> ds.extend([{"text": "good", "stars": 5}, {"text": "bad", "stars": 1}])
            >>> ds.extend({"text": ["fine"], "stars": [3]})
            >>> ds["text"][:]
            ['good', 'bad', 'fine']
        """
        if isinstance(samples, Mapping):
            self._commit(Table.of(samples, self._path_text))
        else:
            super().extend(cast("Iterable[Record]", samples), verbose)

    def _batch_of(self, samples: Any) -> Batch[Record]:
        return Table.of(samples, self._path_text) if isinstance(samples, Mapping) else super()._batch_of(samples)

    def _check_places(self, key: Any) -> None:
        names = [key] if isinstance(key, str) else key
        if isinstance(names, list) and names and isinstance(names[0], str):
            raise TypeError(
                f"{self.path}: index {key!r:.80}: columns are not replaced in place; use add_column, drop_column or "
                "rename_column, or replace samples: ds[i] = {...}"
            )
        super()._check_places(key)

    _encode = staticmethod(encode_records)

    @classmethod
    def _definer(cls) -> Define[Record]:
        return defined

    def add_column(self, name: str, values: Iterable[Any], spec: Spec | None = None) -> None:
        """Add a column to the existing samples, in one step; the files of other columns are not touched.

        Readers keep what they see until their next `refresh`. Until this ends, other processes cannot write to the
        dataset.

        Args:
            name: The name of the column; nested columns have dots.
            values: One for each sample, in order; an iterable without indices is read into memory first.
            spec: The type of the column; None: the first 1,024 values decide.

        Raises:
            ValueError: if the name is taken or not valid, or there are more or fewer values than samples.
            TypeError: if a value has the wrong type; then nothing is changed.
            StaleHandleError: if others changed the dataset after this handle's snapshot.

        Example:
            >>> import mmap_ninja as mn
            >>> ds = mn.RecordsMmap.from_columns("ds", {"text": ["good", "bad"]})
            >>> ds.add_column("length", [4, 3], mn.Scalar("uint32"))
            >>> ds["length"][:]
            array([4, 3], dtype=uint32)
        """
        refuse_one(values, f"{self.path}: column {name!r}")
        where = f"{self.path}: column {name!r}"
        known: Any = foreign.several(values, where)
        listed: Sequence[Any] = known if hasattr(known, "__getitem__") else list(known)
        with self._mutex.turn():
            if len(listed) != len(self):
                raise ValueError(f"{where}: {len(listed)} values for {len(self)} samples; give one for each")
            self._check_names([*(column.name for column in self._now().columns), name])
            kind = inference.type_of_values(listed, name, "spec") if spec is None else specs.column_type(spec, name)
            dataset = self._writer()
            identity = self._now().snapshot.identity

            def change() -> Change:
                seen = dataset.seen
                if seen.identity != identity:
                    raise StaleHandleError(
                        f"{where}: others changed the dataset after this handle's snapshot; refresh, then try again"
                    )
                column = Column(max((c.id for c in seen.meta.columns), default=-1) + 1, name, kind)
                added = AddedColumn(column, listed, seen.edits.runs(seen.rows), seen.rows, where)
                return Change((*seen.meta.columns, added.column), added.contents())

            dataset.evolve(change)
            self._follow(dataset)

    def drop_column(self, name: str) -> None:
        """Remove a column and its files, in one step; readers keep what they see until their next `refresh`.

        Args:
            name: The name of the column; nested columns have dots.

        Raises:
            KeyError: if there is no such column.
            ValueError: if it is the only one.

        Example:
            >>> import mmap_ninja as mn
            >>> ds = mn.RecordsMmap.from_columns("ds", {"text": ["good", "bad"], "length": [4, 3]})
            >>> ds.drop_column("length")
            >>> ds.columns
            ['text']
        """
        self._change_columns(name, lambda columns: tuple(column for column in columns if column.name != name))

    def rename_column(self, name: str, new_name: str) -> None:
        """Rename a column, in one step; its files are not touched.

        Args:
            name: The name of the column; nested columns have dots.
            new_name: The new name; nested columns have dots.

        Raises:
            KeyError: if there is no such column.
            ValueError: if the new name is taken or not valid.

        Example:
            >>> import mmap_ninja as mn
            >>> ds = mn.RecordsMmap.from_columns("ds", {"text": ["good", "bad"]})
            >>> ds.rename_column("text", "review")
            >>> ds.columns
            ['review']
        """
        self._change_columns(
            name,
            lambda columns: tuple(replace(c, name=new_name) if c.name == name else c for c in columns),
        )

    def set_nullable(self, name: str) -> None:
        """Allow nulls in a column, in one step; a file that marks nulls is added, and all other files stay.

        From then on, a sample may have None in this column, or lack its key. What a `Json` column holds as JSON's
        `null` stays a value.

        Args:
            name: The name of the column; nested columns have dots.

        Raises:
            KeyError: if there is no such column.

        Example:
            >>> import mmap_ninja as mn
            >>> ds = mn.RecordsMmap.from_columns("ds", {"text": ["good", "bad"], "stars": [5, 1]})
            >>> ds.set_nullable("stars")
            >>> ds.append({"text": "new"})
            >>> ds["stars"][-1] is None
            True
        """

        def nullable(columns: Columns) -> Columns:
            return tuple(replace(c, type=replace(c.type, nullable=True)) if c.name == name else c for c in columns)

        self._change_columns(name, nullable, marks_nulls=True)

    def _check_names(self, names: list[str]) -> None:
        try:
            nesting.check_names(names)
        except ValueError as error:
            raise ValueError(f"{self.path}: {error}") from None

    def _change_columns(self, name: str, changed: Callable[[Columns], Columns], *, marks_nulls: bool = False) -> None:
        with self._mutex.turn():
            if name not in self.columns:
                raise KeyError(f"{self.path}: has no column {name!r}; it has {', '.join(map(repr, self.columns))}")
            dataset = self._writer()

            def change() -> Change | None:
                columns = changed(dataset.meta.columns)
                if not columns:
                    raise ValueError(
                        f"{self.path}: column {name!r} is the only column and cannot be dropped; clear() deletes all "
                        "samples"
                    )
                self._check_names([column.name for column in columns])
                if columns == dataset.meta.columns:
                    return None
                if not marks_nulls:
                    return Change(columns)
                (place,) = (column.id for column in columns if column.name == name)
                return Change(columns, {("nulls", place): _zeros(dataset.seen.rows)})

            dataset.evolve(change)
            self._follow(dataset)


def _zeros(count: int) -> Iterator[bytes]:
    """So many bytes that mark no null, a few at a time."""
    for first in range(0, count, _BYTES_AT_ONCE):
        yield bytes(min(_BYTES_AT_ONCE, count - first))
