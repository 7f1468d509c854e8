"""Parquet and Arrow IPC files, with the marks in their schemas from which `from_arrow` and `convert` restore types."""

from collections.abc import Iterator
from typing import Any, Final

from mmap_ninja.arrow import export
from mmap_ninja.arrow.types import KIND_MARK, library
from mmap_ninja.conversion.samples import Samples
from mmap_ninja.conversion.target import Target

_GROUP_BYTES: Final = 64 << 20  # of a group of rows, which readers load as a whole
_GROUP_ROWS: Final = 1 << 20  # as pyarrow has them
_STEP_ROWS: Final = 1 << 18  # at once


def parquet(samples: Samples, target: Target) -> None:
    """A Parquet file."""
    schema = _schema(samples)
    import pyarrow.parquet as pq  # noqa: PLC0415 - an extra

    for column in samples.columns:
        if 0 in column.samples.sample_shape:
            raise column.refused("Parquet", "export to Arrow, which holds arrays without elements")
    with target.file() as file, pq.ParquetWriter(file, schema) as writer:
        for group in _groups(samples, schema):
            writer.write_table(group, row_group_size=len(group))


def arrow(samples: Samples, target: Target) -> None:
    """An Arrow IPC file, which is also Feather, version 2; not compressed, so that readers can map it."""
    schema = _schema(samples)
    with target.file() as file, library().ipc.new_file(file, schema) as writer:
        for group in _groups(samples, schema):
            writer.write_table(group)


def _schema(samples: Samples) -> Any:
    """The schema; a mark in it tells the kind of the dataset. Nulls are only in records."""
    kind = "records" if samples.columns[0].is_nullable else samples.kind
    return _reader(samples, 0, 0).schema.with_metadata({KIND_MARK: kind})


def _reader(samples: Samples, start: int, stop: int) -> Any:
    """The samples in a range of positions as Arrow's batches."""
    parts = [column.part(start, stop) for column in samples.columns]
    return export.reader({part.name: part.exported for part in parts})


def _groups(samples: Samples, schema: Any) -> Iterator[Any]:
    """The samples as tables, each of which makes a group of rows."""
    pa = library()
    with samples.progress() as tell:
        batches, size = list[Any](), 0
        for start in range(0, len(samples), _STEP_ROWS):
            for batch in _reader(samples, start, min(start + _STEP_ROWS, len(samples))):
                for piece in _pieces(batch):
                    batches.append(piece.replace_schema_metadata(schema.metadata))
                    size += piece.nbytes
                    if size >= _GROUP_BYTES or sum(map(len, batches)) >= _GROUP_ROWS:
                        yield pa.Table.from_batches(batches, schema)
                        batches, size = [], 0
                    tell(len(piece))
        if batches:
            yield pa.Table.from_batches(batches, schema)


def _pieces(batch: Any) -> Iterator[Any]:
    """A batch in pieces that fill no group alone, if their samples allow that."""
    rows = max(1, len(batch) * (_GROUP_BYTES // 4) // max(batch.nbytes, 1))
    for start in range(0, len(batch), rows):
        yield batch.slice(start, rows)
