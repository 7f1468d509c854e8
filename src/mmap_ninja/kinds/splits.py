"""Splits: which samples belong to which part."""

import itertools
import operator
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from mmap_ninja import _kernel
from mmap_ninja._kernel import Column
from mmap_ninja.columns.casting import AnyArray, is_float
from mmap_ninja.columns.types import Array, Binary, ColumnType, Text
from mmap_ninja.kinds.state import Draw, Positions, positions_of

Hashes = npt.NDArray[np.uint64]
Fractions = Sequence[float]

_HASHES: Final = 1 << 64
_ROUNDING: Final = 1e-9  # of a sum of fractions
_SAMPLES_AT_ONCE: Final = 1 << 16  # whose hashes stay in a cache of the processor
_BYTES_AT_ONCE: Final = 64 << 20


def check_by(by: str | None, seed: int | None, *, exact: bool) -> None:
    """Raise ValueError if values should be hashed for a split that uses no hashes."""
    if by is not None and (seed is None or exact):
        raise ValueError(f"by {by!r}: expected a seed, and exact=False, since groups have the sizes that they have")


def check(fractions: Fractions) -> npt.NDArray[np.float64]:
    """The fractions as an array.

    Raises:
        ValueError: if it is a single number, a fraction is negative, or they add up to more than 1.
    """
    shares = np.asarray(fractions, np.float64)
    if shares.ndim == 0:
        raise ValueError(f"fractions {fractions!r:.80}: expected a fraction for each part, such as [0.9, 0.1]")
    if shares.ndim != 1 or not len(shares) or not (shares >= 0).all() or shares.sum() > 1 + _ROUNDING:
        raise ValueError(f"fractions {fractions!r:.80}: expected numbers of at least 0 that add up to at most 1")
    return shares


def exact(count: int, fractions: Fractions, seed: int | None) -> list[slice | Positions]:
    """Which of `count` samples belong to each part, if its size is exact: a run, or random ones if there is a seed."""
    shares = check(fractions)
    ends = np.minimum(np.rint(np.cumsum(shares) * count), count).astype(np.int64).tolist()
    bounds = list(zip([0, *ends], ends, strict=False))
    if seed is None:
        return [slice(start, stop) for start, stop in bounds]
    # RandomState's stream is frozen, default_rng's is not: https://numpy.org/neps/nep-0019-rng-policy.html
    shuffled = np.random.RandomState(seed).permutation(count)
    return [np.sort(shuffled[start:stop]) for start, stop in bounds]


def draws(fractions: Fractions, seed: int, by: str | None, before: Sequence[Draw] = ()) -> list[Draw]:
    """The parts of a split by a seed, of samples that others chose before.

    Raises:
        ValueError: if a fraction is negative, they add up to more than 1, or the seed has more than 64 bits.
    """
    number = operator.index(seed)
    if not 0 <= number < _HASHES:
        raise ValueError(f"seed {seed}: expected 0 to 2^64 - 1")
    # The same hashes again would leave nothing for the later parts.
    while by is not None and any(part.by is not None and part.seed == number for part in before):
        number = _kernel.xxh64(number.to_bytes(8, "little"))
    ends = np.cumsum(check(fractions)).tolist()
    bounds = [0, *(_HASHES if end > 1 - _ROUNDING else int(end * _HASHES) for end in ends)]
    return [Draw(number, low, high, by) for low, high in itertools.pairwise(bounds)]


def drawn(hashes: Iterable[Hashes], parts: Sequence[Draw]) -> list[Positions]:
    """The positions of the samples of each part, ascending, from the hashes of all samples."""
    found: list[list[Positions]] = [[np.empty(0, np.int64)] for _ in parts]
    first = 0
    for some in hashes:
        for positions, part in zip(found, parts, strict=True):
            if part.low < part.high:
                is_in = (some >= np.uint64(part.low)) & (some <= np.uint64(part.high - 1))
                positions.append(np.flatnonzero(is_in) + first)
        first += len(some)
    return [np.concatenate(positions) for positions in found]


def hashes_of_positions(positions: range | Positions, seed: int) -> Iterator[Hashes]:
    """XXH64 of each position as a u64."""
    for first in range(0, len(positions), _SAMPLES_AT_ONCE):
        some = positions_of(positions[first : first + _SAMPLES_AT_ONCE])
        yield _kernel.word_hashes(some.astype(np.uint64), seed)


def hashes_of_values(column: Column, kind: ColumnType, where: str, seed: int) -> Iterator[Hashes]:
    """XXH64 of each value: of its bytes, or of a number as an i64 or f64; a null counts as no bytes.

    Raises:
        TypeError: if the values are no texts, bytes or numbers.
    """
    if isinstance(kind, Text | Binary):
        for piece in _pieces(column.sizes()):
            yield _kernel.span_hashes(*column.take_jagged(piece), seed)
        return
    if not isinstance(kind, Array) or kind.shape:
        raise TypeError(f"{where}: by: expected texts, bytes or numbers, got {kind!r:.80}; choose another column")
    for first in range(0, len(column), _SAMPLES_AT_ONCE):
        values, mask = column.take_rows(slice(first, first + _SAMPLES_AT_ONCE), None)
        hashes = _hashes_of_numbers(values, where, seed)
        yield hashes if mask is None else np.where(mask, np.uint64(_kernel.xxh64(b"", seed)), hashes)


def _hashes_of_numbers(values: AnyArray, where: str, seed: int) -> Hashes:
    """The hashes do not depend on the width and byte order that the numbers are stored with."""
    dtype = values.dtype
    if dtype.kind in "US":
        texts = [value.encode("utf-8", "surrogatepass") if dtype.kind == "U" else value for value in values.tolist()]
        offsets = np.cumsum([0, *map(len, texts)], dtype=np.int64)
        return _kernel.span_hashes(np.frombuffer(b"".join(texts), np.uint8), offsets, seed)
    if dtype.kind in "mM":
        words = values.astype(dtype.newbyteorder("="), copy=False).view(np.int64)
    elif dtype.kind in "biu":
        words = values.astype(np.int64)
    elif is_float(dtype):
        floats = values.astype(np.float64) + 0.0  # makes 0.0 of -0.0
        floats[np.isnan(floats)] = np.nan  # one of many
        words = floats.view(np.int64)
    else:
        raise TypeError(f"{where}: by: expected texts, bytes or numbers, got {dtype}; choose another column")
    return _kernel.word_hashes(words.view(np.uint64), seed)


def _pieces(sizes: npt.NDArray[np.int64]) -> Iterator[slice]:
    """Slices of samples that fit in memory, or of one sample."""
    ends, start = np.cumsum(sizes), 0
    while start < len(ends):
        before = int(ends[start - 1]) if start else 0
        stop = int(np.searchsorted(ends, before + _BYTES_AT_ONCE, side="right"))
        stop = min(max(stop, start + 1), start + _SAMPLES_AT_ONCE)
        yield slice(start, stop)
        start = stop
