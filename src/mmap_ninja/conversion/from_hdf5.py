"""Files of HDF5: a dataset, or the datasets of a group as records."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from mmap_ninja.columns import specs
from mmap_ninja.conversion.from_texts import decoded
from mmap_ninja.conversion.libraries import imported
from mmap_ninja.conversion.source import Source, Wanted
from mmap_ninja.format.meta import Kind

FORM: Final = "HDF5"

_DAMAGES: Final = (OSError, RuntimeError, KeyError)  # as h5py tells them
_BLOCK_BYTES: Final = 4 << 20  # read at once
_MOST_BYTES: Final = 128 << 20  # read at once, if a chunk is so large, to unpack it once
_LONG_ROWS: Final = 256  # read at once, where texts and arrays may have any length


@dataclass(frozen=True, slots=True)
class Column:
    """A dataset in a file, or a field of a compound one.

    Args:
        name: The column that it becomes; "" if it is all that there is.
        dataset: The name of the dataset.
        fields: The names of the field and those that it is nested in.
        spec: What it holds.
    """

    name: str
    dataset: str
    fields: tuple[str, ...]
    spec: specs.Spec

    def of(self, block: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The values in rows of the dataset."""
        for field in self.fields:
            block = block[field]
        return block


def rows(path: Path, wanted: Wanted) -> Source:
    """The only dataset, or the one that is wanted; datasets of one group and one length are records."""
    h5py = imported("h5py", "hdf5", path)
    with _opened(h5py, path) as file, _naming(path):
        found = _chosen(h5py, file, wanted, path)
        columns = [column for name, of in found.items() for column in _columns(h5py, name, file[of], path)]
        datasets = [file[of] for of in found.values()]
        block = _block_rows(datasets, columns)
        total = len(datasets[0])
    kind: Kind = "records" if columns[0].name else _kind(columns[0].spec, wanted)
    declared = wanted.over({column.name: column.spec for column in columns}, path) if kind == "records" else {}
    texts = {column.name for column in columns if isinstance(column.spec, specs.Text)}
    texts -= {name for name in texts if kind == "bytes" or isinstance(declared.get(name), specs.Bytes)}
    samples = Rows(path, columns, texts, total, block)
    return Source(
        form=f"{FORM}, {columns[0].dataset}" if len(found) == 1 else f"{FORM}, {len(found)} datasets",
        kind=kind,
        samples=samples,
        feed="indexable",
        columns=declared,
        total=total,
        place=samples.place,
    )


class Rows:
    """Rows of datasets by position; each process opens the file itself, and reads a block of rows at a time.

    Args:
        path: The file.
        columns: What a row consists of.
        texts: The names of columns that are decoded.
        total: The number of rows.
        block: How many rows are read at once.
    """

    def __init__(self, path: Path, columns: list[Column], texts: set[str], total: int, block: int) -> None:
        self._given = path, columns, texts, total, block
        self._path, self._columns, self._texts, self._total, self._block = self._given
        self._datasets: dict[str, Any] = {}  # opened on use
        self._start = self._stop = 0
        self._values: list[tuple[str, npt.NDArray[Any]]] = []  # of the block, by columns

    def __len__(self) -> int:
        return self._total

    def __getitem__(self, index: int) -> Any:
        if not self._start <= index < self._stop:
            self._read(index)
        row = {name: values[index - self._start] for name, values in self._values}
        for name in self._texts:
            row[name] = decoded(row[name], f"{self.place(index)}{name and f', column {name!r}'}")
        return row if self._columns[0].name else row[""]

    def __reduce__(self) -> tuple[Any, ...]:
        return Rows, self._given

    def place(self, index: int) -> str:
        """Where a sample comes from."""
        return f"{self._path}, {self._columns[0].dataset}, row {index}"

    def _read(self, index: int) -> None:
        """Read the block of a row; only the row, if others in it cannot be read."""
        first = index - index % self._block
        try:
            self._read_rows(first, min(first + self._block, self._total))
        except _DAMAGES:
            with _naming(self.place(index)):
                self._read_rows(index, index + 1)

    def _read_rows(self, start: int, stop: int) -> None:
        if not self._datasets:
            file = _opened(imported("h5py", "hdf5", self._path), self._path)
            self._datasets = {column.dataset: file[column.dataset] for column in self._columns}
        blocks = {name: dataset[start:stop] for name, dataset in self._datasets.items()}
        self._values = [(column.name, column.of(blocks[column.dataset])) for column in self._columns]
        self._start, self._stop = start, stop


@contextmanager
def _naming(where: object) -> Iterator[None]:
    """Name the place in what h5py raises about damaged files."""
    try:
        yield
    except _DAMAGES as error:
        raise ValueError(f"{where}: cannot be read ({error.args[0] if error.args else error})") from None


def _opened(h5py: Any, path: Path) -> Any:
    try:
        return h5py.File(path, "r")
    except OSError as error:
        if type(error) is not OSError:  # there is no permission, or somebody writes
            raise
        raise ValueError(f"{path}: is no whole file of HDF5 ({error})") from None


def _chosen(h5py: Any, file: Any, wanted: Wanted, path: Path) -> dict[str, str]:
    """The datasets to read, by the columns that they become; "" if that is the only one.

    Raises:
        ValueError: if it is not clear which, or they differ in length.
    """
    found: dict[str, Any] = {}
    file.visititems(lambda name, of: found.update({name: of}) if isinstance(of, h5py.Dataset) and of.shape else None)
    group = (wanted.dataset or "").strip("/")
    if group in found or (wanted.dataset is None and len(found) == 1):
        name = group or next(iter(found))
        return {name.rpartition("/")[2] if wanted.kind == "records" and found[name].dtype.names is None else "": name}
    inside = {name: of for name, of in found.items() if not group or name.startswith(f"{group}/")}
    # Groups are often parts of a split: they become one table only if that is asked for.
    is_one_group = wanted.dataset is not None or len({name.rpartition("/")[0] for name in inside}) == 1
    if not inside or not is_one_group or len({len(of) for of in inside.values()}) > 1:
        known = ", ".join(f"{name} {list(of.shape)}" for name, of in sorted((inside or found).items())[:20])
        asked = "one dataset, or a group of datasets of one length" if inside or not group else f"a dataset {group!r}"
        raise ValueError(
            f"{path}: expected {asked}, found {known or 'none'}; name one or a group by dataset= (--dataset)"
        )
    prefix = group if wanted.dataset is not None else next(iter(inside)).rpartition("/")[0]
    return {name.removeprefix(prefix).strip("/").replace("/", "."): name for name in inside}


def _columns(h5py: Any, name: str, dataset: Any, path: Path) -> Iterator[Column]:
    where = f"{path}: {dataset.name}"
    for leaf, fields, spec in _leaves(h5py, name, (), dataset.dtype, dataset.shape[1:], where):
        yield Column(leaf, dataset.name, fields, spec)


def _leaves(
    h5py: Any, name: str, fields: tuple[str, ...], dtype: np.dtype[Any], shape: tuple[int, ...], where: str
) -> Iterator[tuple[str, tuple[str, ...], specs.Spec]]:
    """The columns of values of a dtype: one for each field of a compound one."""
    items = h5py.check_vlen_dtype(dtype)
    if dtype.names is not None and not shape:
        for field in dtype.names:
            of = dtype[field]
            yield from _leaves(h5py, f"{name}.{field}" if name else field, (*fields, field), of.base, of.shape, where)
    elif h5py.check_string_dtype(dtype) is not None and not shape:
        yield name, fields, specs.Text()
    elif items is not None and not shape and not items.hasobject:
        yield name, fields, specs.Ragged(np.dtype(items.str), ndim=1)
    elif dtype.hasobject or dtype.kind == "S":
        raise ValueError(
            f"{where}: holds {dtype} of shape {shape} in a row, which no column stores; name another dataset"
        )
    else:
        plain = dtype if dtype.names else np.dtype(dtype.str)  # without the names of an enumeration
        yield name, fields, specs.Array(shape, plain) if shape else specs.Scalar(plain)


def _kind(spec: specs.Spec, wanted: Wanted) -> Kind:
    match spec:
        case specs.Text():
            return "bytes" if wanted.kind == "bytes" else "strings"
        case specs.Ragged():
            return "ragged"
        case _:
            return "array"


def _block_rows(datasets: Sequence[Any], columns: Sequence[Column]) -> int:
    """How many rows to read at once: whole chunks where they are packed."""
    row_bytes: int = max(1, sum(dataset.dtype.itemsize * math.prod(dataset.shape[1:]) for dataset in datasets))
    rows = max(1, _BLOCK_BYTES // row_bytes)
    if any(isinstance(column.spec, specs.Text | specs.Ragged) for column in columns):
        return min(rows, _LONG_ROWS)
    packed = [of.chunks[0] for of in datasets if of.chunks and of.id.get_create_plist().get_nfilters()]
    chunk: int = max(packed, default=1)
    return max(rows - rows % chunk, min(chunk, _MOST_BYTES // row_bytes), 1)
