"""Batches of packed rows: the documents' elements, and what tells attention where each document is."""

# ruff: noqa: SLF001 - plans, orders and loaders belong together

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from mmap_ninja.kinds.ragged_reading import RaggedHandle
from mmap_ninja.kinds.record_reading import RecordsHandle
from mmap_ninja.loading.orders import Positions
from mmap_ninja.loading.packing import Packing, Segments

Batch = dict[str, Any]

_DESCRIBING: Final = ("segment_ids", "positions", "seq_lens", "cu_seqlens", "max_seqlen")


def packed_reader(samples: Any, plan: Packing, most_rows: int) -> Callable[[Positions], Batch]:
    """A function that reads rows of a packing, at most so many at a time.

    Raises:
        TypeError: if the samples are no sequences of numbers or bytes.
        ValueError: if a column has the name of a part of the batch.
    """
    if isinstance(samples, RecordsHandle):
        columns = {name: samples[name] for name in samples.columns}
        packed = {name: column for name, column in columns.items() if isinstance(column, RaggedHandle)}
    else:
        packed = {"tokens": samples}
    if not packed or not all(hasattr(column, "take_jagged") for column in packed.values()):
        raise TypeError(f"plan: a packing needs texts, bytes, or ragged samples of one dimension, got {samples!r:.120}")

    if taken := [name for name in packed if name in _DESCRIBING]:
        raise ValueError(f"{samples.path}: column {taken[0]!r} has the name of a part of packed batches; rename it")

    def read(rows: Positions) -> Batch:
        segments = plan.segments(rows)
        places = _places(segments, plan.length)
        batch = {
            name: _row_elements(column, segments, places, plan, f"{samples.path}: column {name!r}")
            for name, column in packed.items()
        }
        return batch | _described(segments, places, plan, len(rows), most_rows)

    return read


def _places(segments: Segments, length: int) -> Positions:
    """Where each segment begins in the flattened batch."""
    before = np.cumsum(segments.lengths) - segments.lengths
    counts = np.diff(segments.offsets)
    first = np.repeat(before[segments.offsets[:-1][counts > 0]], counts[counts > 0])
    return np.repeat(np.arange(len(counts)) * length, counts) + before - first


def _runs(starts: Positions, lengths: Positions) -> Positions:
    """The numbers start, start + 1, ... of each run, one run after the other."""
    before = np.cumsum(lengths) - lengths
    return np.repeat(starts - before, lengths) + np.arange(int(lengths.sum()))


def _row_elements(column: Any, segments: Segments, places: Positions, plan: Packing, where: str) -> Any:
    values, offsets = column.take_jagged(segments.documents)
    if values.ndim != 1:
        raise TypeError(
            f"{where}: a packing needs samples of one dimension, found elements of shape {values.shape[1:]}"
        )
    if differs := np.flatnonzero(np.diff(offsets) != plan._lengths[segments.documents]).tolist():
        document, length = segments.documents[differs[0]], np.diff(offsets)[differs[0]]
        raise ValueError(
            f"{where}: sample {document} has {length} elements, and the plan was made from a length of "
            f"{plan._lengths[document]}; make it from the lengths of this column, or choose others with columns="
        )
    rows = np.zeros((len(segments.offsets) - 1, plan.length), values.dtype)
    rows.reshape(-1)[_runs(places, segments.lengths)] = values[_runs(offsets[:-1] + segments.starts, segments.lengths)]
    return rows


def _described(segments: Segments, places: Positions, plan: Packing, count: int, most_rows: int) -> Batch:
    """Segment ids from 1, positions in segments, lengths, and offsets as variable-length attention wants them."""
    ids, positions = (np.zeros((count, plan.length), np.int32) for _ in range(2))
    at = _runs(places, segments.lengths)
    numbers = np.arange(len(places)) - np.repeat(segments.offsets[:-1], np.diff(segments.offsets))
    ids.reshape(-1)[at] = np.repeat(numbers + 1, segments.lengths)
    positions.reshape(-1)[at] = _runs(np.zeros_like(places), segments.lengths)
    # Each row's padding is a segment, too; the array has one length, whatever the batch.
    ends = np.full(most_rows * (plan.most_segments + 1) + 1, count * plan.length, np.int32)
    bounds = np.unique(np.concatenate([places, places + segments.lengths, np.arange(count + 1) * plan.length]))
    ends[: len(bounds)] = bounds
    return {
        "segment_ids": ids,
        "positions": positions,
        "seq_lens": (segments.lengths.astype(np.int32), segments.offsets),
        "cu_seqlens": ends,
        "max_seqlen": int(segments.lengths.max(initial=0)),
    }
