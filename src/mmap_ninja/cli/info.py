"""`info`: what a dataset is, at a glance; the work does not grow with the samples."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from mmap_ninja.cli.machine import mount_of
from mmap_ninja.cli.output import (
    cut,
    escaped,
    histogram,
    json_line,
    screen_width,
    table,
    write_json,
    write_lines,
)
from mmap_ninja.cli.parameters import dataset_argument, json_option
from mmap_ninja.cli.samples import SAMPLE, columns_of, opened_with_engine, type_text
from mmap_ninja.cli.sizes import counted, size_text

if TYPE_CHECKING:
    from mmap_ninja.engine.dataset import Dataset
    from mmap_ninja.kinds.handle import DatasetHandle
    from mmap_ninja.legacy.dataset import LegacyDataset

_SAMPLED: Final = 1000
_MOST_SAMPLED: Final = 8  # columns whose lengths are sampled
_BINS: Final = 8


@click.command()
@dataset_argument
@json_option
def info(dataset: str, *, as_json: bool) -> None:
    r"""Show columns, sizes, files and state.

    Nothing is read in full. Lengths, and how much smaller a codec made the samples, are those of at most 1,000 samples
    drawn at random, always the same ones.

    \b
    Example:
      mmap-ninja info reviews_mmap
    """
    facts = _facts(dataset)
    if as_json:
        write_json(facts)
    else:
        write_lines(_lines(facts))


# ---- what is known


def _facts(path: str) -> dict[str, Any]:
    from mmap_ninja.engine import files
    from mmap_ninja.legacy.dataset import LegacyDataset

    dataset, engine = opened_with_engine(path, "pread")  # a map of a few samples would have pages of very many
    stored = _files_of(engine)
    is_old = isinstance(engine, LegacyDataset)
    return {
        "path": str(dataset.path),
        "kind": engine.meta.kind,
        "samples": len(dataset),
        "complete": dataset.complete,
        "bytes": {
            "samples": dataset.nbytes,
            "files": sum(file["bytes"] for file in stored),
            "garbage": dataset.garbage,
        },
        "format": "0.x" if is_old else "1",
        "generation": None if is_old else engine.meta.generation,
        "commit_id": dataset.commit_id,
        "edits": 0 if isinstance(engine, LegacyDataset) else engine.seen.num_edits,
        "residency": dataset.residency(),
        "filesystem": mount_of(Path(path)).kind or None,
        "read_mode": "mmap" if files.reads_by_map(engine.any_descriptor) else "pread",
        "metadata": dataset.metadata,
        "columns": _columns_of(dataset, engine, stored),
        "files": stored,
    }


def _files_of(engine: "Dataset | LegacyDataset") -> list[dict[str, Any]]:
    """The files, each with its column, its role, and the bytes of it that belong to the commit."""
    from mmap_ninja.legacy.dataset import LegacyDataset, files_of

    if isinstance(engine, LegacyDataset):
        return [
            {"name": file.name, "column": SAMPLE, "role": None, "bytes": file.size_bytes}
            for file in files_of(engine.layout)
        ]
    names = {column.id: column.name or SAMPLE for column in engine.meta.columns}
    return [
        {
            "name": file.name,
            "column": None if file.column is None else names[file.column],
            "role": file.role,
            "bytes": size,
        }
        for file, size in zip(engine.meta.files, engine.seen.extents, strict=True)
    ]


def _columns_of(
    dataset: "DatasetHandle[Any]", engine: "Dataset | LegacyDataset", stored: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    from mmap_ninja.columns.types import Array, Ragged

    described, sampled = [], 0
    handles = list(columns_of(dataset).values())
    for place, column in enumerate(engine.meta.columns):
        name, of = column.name or SAMPLE, column.type
        facts = {
            "name": name,
            "type": type_text(of),
            "nullable": of.nullable,
            "bytes": sum(file["bytes"] for file in stored if file["column"] == name),
        }
        if not isinstance(of, Array | Ragged) and of.codec is not None:
            facts["codec"] = f"zstd, level {of.codec.level}"
        if not isinstance(of, Array) and len(dataset) and sampled < _MOST_SAMPLED:
            facts |= _lengths_of(handles[place], is_compressed="codec" in facts)
            sampled += 1
        described.append(facts)
    return described


def _lengths_of(column: "DatasetHandle[Any]", *, is_compressed: bool) -> dict[str, Any]:
    """The lengths of some samples of a column, and how many times smaller the codec made these."""
    import random

    import numpy as np

    from mmap_ninja._kernel import column_of

    count = len(column)
    drawn = random.Random(0).sample(range(count), min(count, _SAMPLED))  # noqa: S311 - no secret
    chosen = np.sort(np.array(drawn, np.int64))
    samples = column_of(column).selected(chosen)
    lengths, is_null = samples.sizes(), samples.null_mask(None)
    facts: dict[str, Any] = {}
    if is_compressed and (stored := int(samples.stored_sizes().sum())):
        facts["ratio"] = int(lengths.sum()) / stored
    if is_null is not None:
        lengths = lengths[~is_null]
    if not len(lengths):
        return facts
    edges, counts = _binned(lengths)
    of = {
        "unit": "bytes" if samples.dtype is None else "elements",
        "sampled": len(chosen),
        "missing": len(chosen) - len(lengths),
        "min": lengths.min(),
        "median": int(np.median(lengths)),
        "max": lengths.max(),
        "edges": edges,
        "counts": counts,
    }
    return facts | {"lengths": of}


def _binned(lengths: Any) -> tuple[Any, Any]:
    """Edges and counts of a histogram: equal bins, or powers of 2 if some lengths are far above the median."""
    import numpy as np

    least, most = int(lengths.min()), int(lengths.max())
    if most > _BINS * max(np.median(lengths), 1):
        bits = most.bit_length()
        edges = np.array([0, *(1 << np.arange(0, bits + 2, 1 + bits // 16))])
        edges = edges[np.searchsorted(edges, least, "right") - 1 :]
    else:
        step = _round_step((most - least) // _BINS + 1)
        edges = np.arange(least // step * step, most + step + 1, step)
    return edges, np.histogram(lengths, edges)[0]


def _round_step(least: int) -> int:
    """The first of 1, 2, 5, 10, 20, 50, ... that is at least so much."""
    power: int = 10 ** (len(str(least)) - 1)
    return power * next(digit for digit in (1, 2, 5, 10) if digit * power >= least)


# ---- how it is shown


def _lines(facts: dict[str, Any]) -> Iterator[str]:
    columns, stored, size = facts["columns"], facts["files"], facts["bytes"]
    in_files = f"{size_text(size['files'])} in {counted(len(stored), 'file')}"
    edits = counted(facts["edits"], "edit")
    rows = {
        "kind": facts["kind"],
        "samples": f"{facts['samples']:,}" + ", and the build has not ended" * (not facts["complete"]),
        "size": f"{size_text(size['samples'])} of samples, {in_files}",
        "garbage": f"{size_text(size['garbage'])} after {edits}" if size["garbage"] else "none",
        "generation": "written by 0.x" if facts["generation"] is None else str(facts["generation"]),
        "commit id": facts["commit_id"],
        "residency": f"{facts['residency']:.0%} is in memory",
        "filesystem": f"{facts['filesystem'] or 'unknown'}, read by {facts['read_mode']}",
        "metadata": json_line(facts["metadata"]) if facts["metadata"] else "none",
    }
    yield click.style(escaped(facts["path"]), bold=True)
    for name, value in rows.items():
        yield cut(f"  {name:10}  {escaped(value)}", screen_width())
    yield ""
    cells = [(of["name"], _type_text(of), size_text(of["bytes"])) for of in columns]
    yield from table([("column", "type", "size"), *cells], "llr")
    yield ""
    files = [(of["name"], of["column"] or "all", of["role"] or "", size_text(of["bytes"])) for of in stored]
    yield from table([("file", "column", "role", "size"), *files], "lllr")
    shown = [column for column in columns if "lengths" in column]
    for column in shown:
        yield ""
        yield from _lengths_lines(column["name"] if len(columns) > 1 else None, column["lengths"], facts["samples"])


def _type_text(column: dict[str, Any]) -> str:
    text = column["type"] or "not known yet"
    if "codec" in column:
        text += f", {column['codec']}"
    return text + (f", {column['ratio']:.1f} times smaller" if "ratio" in column else "")


def _lengths_lines(name: str | None, lengths: dict[str, Any], count: int) -> Iterator[str]:
    title = f"lengths of {escaped(name)}" if name else "lengths"
    drawn = f"of {lengths['sampled']:,} samples drawn at random" if lengths["sampled"] < count else "of all samples"
    yield click.style(f"{title} in {lengths['unit']}, {drawn}", bold=True)
    missing = f", {lengths['missing']:,} missing" if lengths["missing"] else ""
    yield f"  {lengths['min']:,} to {lengths['max']:,}, median {lengths['median']:,}{missing}"
    yield from histogram(lengths["edges"], lengths["counts"])
