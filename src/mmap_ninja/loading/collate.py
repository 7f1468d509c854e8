"""Batches from samples: stacked, padded, jagged, or as lists."""

import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial, reduce
from operator import getitem
from typing import Any, Final, Literal, NoReturn, get_args

import numpy as np
import numpy.typing as npt

from mmap_ninja._kernel import column_of
from mmap_ninja.columns import nesting
from mmap_ninja.columns.casting import AnyArray, fitted, held_by
from mmap_ninja.columns.dtypes import DType
from mmap_ninja.columns.json_values import as_json
from mmap_ninja.exported import exported
from mmap_ninja.kinds import nulls as null_samples
from mmap_ninja.kinds.array_reading import ArrayHandle
from mmap_ninja.kinds.loadable import Collate
from mmap_ninja.kinds.nulls import Nulls, exactly
from mmap_ninja.kinds.ragged_reading import RaggedHandle, check_side, extents_of
from mmap_ninja.kinds.reading import ReadingHandle
from mmap_ninja.kinds.record_reading import JsonColumn, RecordsHandle
from mmap_ninja.kinds.windows import WindowSequence, common_rank
from mmap_ninja.loading.orders import Positions

Read = Callable[[Positions], Any]

_COLLATES: Final = get_args(Collate)
# Forms that not all samples can have: which ones can, and what their batches are.
_FORMS: Final = {
    "pad": ("ragged samples", tuple),
    "jagged": ("ragged samples, texts or bytes", tuple),
    "stack": ("numbers or arrays", np.ndarray),
}


@exported
@dataclass(frozen=True)
class Pad:
    """How a `Loader` pads ragged samples to one shape: the arguments of `take_padded`.

    Args:
        value: The padding; 0 is the zero of any dtype (of texts, the empty text).
        length: Size to pad to: a number for the first dimension, or one for each dimension; None: the largest size
            in the batch. Longer samples are cut off.
        multiple_of: Round the size up to a multiple of this: a number for the first dimension, or one for each
            dimension; None: do not round.
        side: Where the padding is. "right": after each sample. "left": before it, as a language model that
            generates text needs it; samples that are too long are still cut off at their end.
        mask: Whether to return a mask as well, as an attention layer needs it.
        dtype: The dtype of the array, which must hold the values; None: the dataset's.

    Example:
        >>> import mmap_ninja as mn
        >>> rows = mn.RaggedMmap.from_lists("rows", [[1, 2, 3], [4]])
        >>> next(iter(rows.loader(2, pad=mn.Pad(value=-1, multiple_of=2))))
        (array([[ 1,  2,  3, -1],
               [ 4, -1, -1, -1]]), array([3, 1]))
    """

    value: Any = 0
    length: int | Sequence[int | None] | None = None
    multiple_of: int | Sequence[int | None] | None = None
    side: Literal["right", "left"] = "right"
    mask: bool = False
    dtype: npt.DTypeLike | None = None

    def __post_init__(self) -> None:
        check_side(self.side)
        try:
            np.dtype(self.dtype)
        except TypeError as error:
            raise TypeError(f"pad: dtype {self.dtype!r:.80}: {error}") from None
        extents_of(self.length, "length")
        extents_of(self.multiple_of, "multiple_of")


@dataclass(frozen=True)
class Forms:
    """How samples become a batch; see `Loader`."""

    collate: Collate
    pad: Pad | Mapping[str, Pad] | None
    nulls: Nulls
    fill: Any

    def __post_init__(self) -> None:
        if self.collate not in _COLLATES:
            raise ValueError(f"collate {self.collate!r} is unknown (expected one of {_COLLATES})")
        null_samples.check_option(self.nulls)
        pads = self.pad.values() if isinstance(self.pad, Mapping) else [self.pad]
        for pad in pads:
            if pad is not None and not isinstance(pad, Pad):
                raise TypeError(f"pad: expected an mmap_ninja.Pad, or a dict of them, got {pad!r:.80}")
        if self.pad is not None and self.collate not in ("auto", "pad"):
            raise ValueError(f"collate={self.collate!r}: pads nothing; leave out `pad`, or pass collate='pad'")

    @property
    def form(self) -> str:
        """What was asked for, also by `pad`."""
        return "pad" if self.pad is not None else self.collate

    def refuse(self, where: str) -> NoReturn:
        """Raise ValueError: samples cannot have the form that was asked for."""
        option = "pad" if self.pad is not None else f"collate={self.collate!r}"
        raise ValueError(f"{where}: {option}: expected {_FORMS[self.form][0]}, found none; leave it out")

    def pad_of(self, name: str | None) -> Pad | None:
        """How a column is padded; None: not at all."""
        pad = self.pad.get(name or "") if isinstance(self.pad, Mapping) else self.pad
        return Pad() if pad is None and self.collate == "pad" else pad

    def fill_of(self, name: str) -> Any:
        """The value for nulls of a column."""
        return self.fill.get(name) if isinstance(self.fill, Mapping) else self.fill


def check_samples(dataset: object) -> None:
    """Raise TypeError if that is no list of samples: a path has a length, too, and so have several datasets."""
    if isinstance(dataset, str | os.PathLike):
        raise TypeError(f"dataset: expected a dataset, got the path {str(dataset)!r}; pass mmap_ninja.open of it")
    is_list = hasattr(dataset, "__getitem__") and hasattr(dataset, "__len__")
    if not is_list or isinstance(dataset, Mapping):
        raise TypeError(f"dataset: expected a list of samples, got {type(dataset).__name__}")


def reader_of(samples: Any, forms: Forms) -> Read:
    """A function that reads the samples at some positions as a batch.

    Raises:
        KeyError: if `pad` or `fill` names a column that is not there.
        ValueError: if the samples cannot have the form that was asked for.
    """
    if isinstance(samples, RecordsHandle):
        return _reader_of_records(samples, forms)
    if isinstance(forms.pad, Mapping):
        raise TypeError("pad: expected one mmap_ninja.Pad, since these samples have no columns, got a dict")
    if isinstance(samples, WindowSequence):
        if forms.pad is not None or forms.collate in ("pad", "jagged"):
            raise ValueError(f"{samples!r}: have one length, so nothing is padded or jagged; leave out pad and collate")
        if forms.nulls != "raise" or forms.fill is not None:
            raise ValueError(f"{samples!r}: have no nulls; leave out nulls and fill")
        return samples.__getitems__ if forms.collate == "list" else samples.take
    if isinstance(samples, ReadingHandle):
        _check_use([samples], forms, samples._where)  # noqa: SLF001 - for its message
        return _reader_of_column(samples, forms, None, forms.fill)
    return _reader_of_sequence(samples, forms)


def _reader_of_records(samples: RecordsHandle, forms: Forms) -> Read:
    columns = {name: samples[name] for name in samples.columns}
    for option in (forms.pad, forms.fill):
        for name in option if isinstance(option, Mapping) else ():
            if name not in columns:
                raise KeyError(f"{samples.path}: has no column {name!r}; it has {', '.join(map(repr, columns))}")
    for name in forms.pad if isinstance(forms.pad, Mapping) else ():
        if not _has_use("pad", columns[name]):
            forms.refuse(f"{samples.path}: column {name!r}")
    _check_use(columns.values(), forms, str(samples.path))
    if forms.collate == "list":
        return partial(_listed_records, samples, columns, forms)
    readers = {name: _reader_of_column(column, forms, name, forms.fill_of(name)) for name, column in columns.items()}
    padded = {name: _padded_names(name) for name, column in columns.items() if _is_padded(column, forms, name)}
    for names in padded.values():
        _check_names(names, columns, str(samples.path))

    def read(positions: Positions) -> Any:
        batch: dict[str, Any] = {}
        for name, read_column in readers.items():
            values = read_column(positions)
            if name in padded:
                batch |= zip(padded[name], values, strict=False)
            else:
                batch[name] = values
        return nesting.nested(batch)

    return read


def _check_use(columns: Iterable[Any], forms: Forms, where: str) -> None:
    """Raise ValueError if a form was asked for that no column has."""
    if forms.form in _FORMS and not any(_has_use(forms.form, column) for column in columns):
        forms.refuse(where)


def _has_use(form: str, column: Any) -> bool:
    if form == "jagged":
        return hasattr(column, "take_jagged")
    return isinstance(column, RaggedHandle if form == "pad" else RaggedHandle | ArrayHandle)


def _listed_records(
    samples: RecordsHandle, columns: Mapping[str, Any], forms: Forms, positions: Positions
) -> list[dict[str, Any]]:
    records = samples.__getitems__(positions)
    for name, column in columns.items():
        is_null = column_of(column).null_mask(positions)
        if is_null is None or not is_null.any():
            continue
        values = _listed(column, forms.nulls, forms.fill_of(name), positions)
        *groups, last = name.split(".")
        for k in np.flatnonzero(is_null).tolist():
            reduce(getitem, groups, records[k])[last] = values[k]
    return records


def _padded_names(name: str) -> tuple[str, str, str]:
    return name, f"{name}_lengths", f"{name}_mask"


def _check_names(names: tuple[str, str, str], columns: Collection[str], where: str) -> None:
    """Raise ValueError if a column has the name of a part of a padded one."""
    if taken := [other for other in names[1:] if other in columns]:
        raise ValueError(f"{where}: column {taken[0]!r} has the name of a part of the padded {names[0]!r}; rename it")


def _is_padded(column: Any, forms: Forms, name: str | None) -> bool:
    return isinstance(column, RaggedHandle) and forms.pad_of(name) is not None


def _reader_of_column(samples: Any, forms: Forms, name: str | None, fill: Any) -> Read:
    """For one column, whose type alone decides the form."""
    if forms.collate == "list":
        return partial(_listed, samples, forms.nulls, fill)
    if isinstance(samples, RaggedHandle) and (forms.collate == "jagged" or forms.pad_of(name) is not None):
        _check_rank(samples)
    if forms.collate == "jagged" and hasattr(samples, "take_jagged"):
        in_memory = partial(_jagged_json if isinstance(samples, JsonColumn) else _jagged, where=samples._where)  # noqa: SLF001
        return partial(_without_nulls, samples, forms.nulls, fill, samples.take_jagged, in_memory)
    has_nulls = column_of(samples).null_mask([]) is not None
    take = partial(samples.take, nulls=forms.nulls, fill=fill) if has_nulls or fill is not None else samples.take
    if not isinstance(samples, RaggedHandle):
        return take
    if (pad := forms.pad_of(name)) is not None:
        options = {field.name: getattr(pad, field.name) for field in fields(pad)}
        pad_in_memory = partial(_padded, pad=pad, where=samples._where)  # noqa: SLF001 - for its messages
        return partial(
            _without_nulls, samples, forms.nulls, fill, partial(samples.take_padded, **options), pad_in_memory
        )
    if forms.collate == "stack":
        return lambda positions: _stacked(take(positions), samples._where)  # noqa: SLF001 - for its message
    return take


def _check_rank(samples: Any) -> None:
    """Raise ValueError if no batch of ragged samples could be one array, whatever it happens to hold."""
    column = column_of(samples)
    if len(column) and common_rank(column) is None:
        raise ValueError(f"{samples._where}: the samples have several ranks; pass collate='list'")  # noqa: SLF001


def _listed(samples: Any, nulls: Nulls, fill: Any, positions: Positions) -> list[Any]:
    if nulls == "mask" and fill is None:
        return list(samples.__getitems__(positions))
    return list(samples.take(positions, nulls=nulls, fill=fill))


def _without_nulls(
    samples: Any, nulls: Nulls, fill: Any, read: Read, in_memory: Callable[[list[Any]], Any], positions: Positions
) -> Any:
    """A batch in a form that has no place for nulls: they are empty in it, or become `fill`."""
    is_null = column_of(samples).null_mask(positions)
    if is_null is not None and is_null.any():
        if fill is not None:
            return in_memory(list(samples.take(positions, fill=fill)))
        if nulls == "raise":
            null_samples.refuse(is_null, positions, samples._where)  # noqa: SLF001
    return read(positions)


def _reader_of_sequence(samples: Any, forms: Forms) -> Read:
    """For samples that only Python knows: the first one of a batch tells what they are."""
    collated = partial(_collated, forms=forms, fill=forms.fill, where=type(samples).__name__)
    fetch = getattr(samples, "__getitems__", None) or (lambda positions: [samples[at] for at in positions])

    def read(positions: Positions) -> Any:
        fetched = fetch(positions.tolist())
        batch = fetched if isinstance(fetched, np.ndarray) else collated(list(fetched), positions)
        has_form = forms.form not in _FORMS or isinstance(batch, (_FORMS[forms.form][1], dict))
        if not has_form and not any(sample is None for sample in fetched):
            forms.refuse(type(samples).__name__)
        return batch

    return read


def _collated(batch: list[Any], positions: Positions, forms: Forms, fill: Any, where: str) -> Any:
    is_null = np.array([sample is None for sample in batch])
    if is_null.any():
        if fill is not None:
            batch = null_samples.filled(batch, fill)
        elif forms.nulls == "raise":
            null_samples.refuse(is_null, positions, where)
        else:
            return batch
    if forms.collate == "list" or not batch:
        return batch
    if isinstance(batch[0], Mapping):
        return _collated_dicts(batch, positions, forms, where)
    if forms.form in _FORMS and isinstance(batch[0], list | tuple):
        batch = list(map(np.asarray, batch))
    is_text = isinstance(batch[0], str | bytes)
    if forms.collate == "jagged" and (is_text or _is_array(batch[0])):
        return _jagged(batch, where)
    if is_text or not (_is_array(batch[0]) or isinstance(batch[0], np.generic | int | float | complex)):
        return batch
    if (pad := forms.pad_of(None)) is not None and _is_array(batch[0]):
        return _padded(batch, pad, where)
    return _stacked(batch, where)


def _collated_dicts(batch: list[Any], positions: Positions, forms: Forms, where: str) -> dict[str, Any]:
    collated: dict[str, Any] = {}
    for name in batch[0]:
        values = [sample[name] for sample in batch]
        column = _collated(values, positions, forms, forms.fill_of(name), f"{where}: {name!r}")
        if isinstance(column, tuple) and forms.pad_of(None) is not None:
            names = _padded_names(name)
            _check_names(names, batch[0], where)
            collated |= zip(names, column, strict=False)
        else:
            collated[name] = column
    return collated


def _is_array(sample: Any) -> bool:
    return isinstance(sample, np.ndarray) and sample.ndim > 0


def _jagged(batch: list[Any], where: str) -> tuple[npt.NDArray[Any], Positions]:
    """As `take_jagged`, for samples in memory."""
    encoded = [sample.encode() if isinstance(sample, str) else sample for sample in batch]
    arrays = [np.frombuffer(sample, np.uint8) if isinstance(sample, bytes) else sample for sample in encoded]
    if len({np.shape(array)[1:] for array in arrays}) > 1 or len(set(map(np.ndim, arrays))) > 1:
        raise ValueError(f"{where}: expected samples that differ in the first dimension only; pass collate='list'")
    return np.concatenate(arrays), np.cumsum([0, *map(len, arrays)])


def _jagged_json(batch: list[Any], where: str) -> tuple[npt.NDArray[Any], Positions]:
    """As `take_jagged` of a column of JSON, for its values."""
    return _jagged([as_json(value, where, k) for k, value in enumerate(batch)], where)


def _stacked(batch: list[Any], where: str) -> npt.NDArray[Any]:
    """Arrays of one shape as one.

    Raises:
        ValueError: if they have several.
    """
    shapes = {np.shape(sample) for sample in batch}
    if len(shapes) > 1:
        remedy = "'pad', 'jagged' or 'list'" if len(set(map(len, shapes))) == 1 else "'list'"
        raise ValueError(
            f"{where}: expected samples of one shape to stack, found {sorted(shapes)!s:.80}; pass collate={remedy}"
        )
    return np.stack(batch) if batch else np.empty(0)


def _padded(batch: list[Any], pad: Pad, where: str) -> tuple[npt.NDArray[Any], ...]:
    """As `take_padded`, for arrays in memory."""
    arrays = [np.asarray(sample) for sample in batch]
    rank = arrays[0].ndim
    if any(array.ndim != rank for array in arrays):
        raise ValueError(f"{where}: expected samples of {rank} dimensions as the batch's first; pass collate='list'")
    if max(map(len, map(_listed_extents, (pad.length, pad.multiple_of)))) > rank:
        raise ValueError(f"{where}: length and multiple_of: expected at most the {rank} dimensions of the samples")
    shapes = np.array([array.shape for array in arrays])
    box = [
        size if length is None else length
        for size, length in zip(shapes.max(0).tolist(), _extents(pad.length, rank), strict=True)
    ]
    box = [
        -(-size // (step or 1)) * (step or 1) for size, step in zip(box, _extents(pad.multiple_of, rank), strict=True)
    ]
    dtype = np.result_type(*arrays) if pad.dtype is None else np.dtype(pad.dtype)
    out = np.full((len(arrays), *box), exactly(pad.value, dtype, f"{where}: pad: value"), dtype)
    mask = np.zeros(out.shape, bool)
    lengths = np.minimum(shapes, box)
    for k, (array, sizes) in enumerate(zip(arrays, lengths.tolist(), strict=True)):
        space = tuple(
            slice(size - own, None) if pad.side == "left" else slice(own) for own, size in zip(sizes, box, strict=True)
        )
        out[k][space] = _in_dtype(array[tuple(map(slice, sizes))], dtype, where)
        mask[k][space] = True
    valid = lengths[:, 0] if rank == 1 else lengths
    return (out, valid, mask) if pad.mask else (out, valid)


def _in_dtype(array: AnyArray, dtype: DType, where: str) -> AnyArray:
    """An array in another dtype.

    Raises:
        ValueError: if it does not hold a value.
    """
    cast = fitted(array, array, dtype, declared=True)
    if isinstance(cast, np.ndarray):
        return cast
    found = f"{array.dtype}" if cast is None else f"{array.flat[cast]}"
    raise ValueError(f"{where}: pad: dtype {held_by(dtype)} cannot hold {found}; choose another one")


def _listed_extents(given: int | Sequence[int | None] | None) -> list[int | None]:
    return list(given) if isinstance(given, Sequence) else [given]


def _extents(given: int | Sequence[int | None] | None, rank: int) -> list[int | None]:
    listed = _listed_extents(given)
    return [*listed, *[None] * (rank - len(listed))]
