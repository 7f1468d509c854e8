"""`convert`: anything that others store, as a dataset."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmap_ninja.builds.build import IfExists
from mmap_ninja.columns.limits import BATCH_BYTES
from mmap_ninja.columns.specs import Spec
from mmap_ninja.conversion.find import find
from mmap_ninja.conversion.source import OnError, Skipped, Wanted
from mmap_ninja.exported import exported
from mmap_ninja.format.meta import Kind
from mmap_ninja.kinds.handle import DatasetHandle
from mmap_ninja.kinds.opening import CLASSES
from mmap_ninja.kinds.options import PathLike


@exported
def convert(
    source: PathLike,
    out_dir: PathLike,
    *,
    kind: Kind | None = None,
    columns: Mapping[str, Spec] | None = None,
    with_path: bool = False,
    dataset: str | None = None,
    n_jobs: int | None = None,
    if_exists: IfExists = "error",
    batch_bytes: int = BATCH_BYTES,
    on_error: OnError = "raise",
    verbose: bool = False,
) -> DatasetHandle[Any]:
    """Store what lies at a path as a dataset, and open it."""
    skipped = Skipped() if on_error == "skip" else None
    wanted = Wanted(kind=kind, columns=columns or {}, with_path=with_path, dataset=dataset, skipped=skipped)
    found = find(Path(source), wanted)
    build = getattr(CLASSES[found.kind], f"from_{found.feed}")
    options: dict[str, Any] = {"columns": found.columns} if found.columns else {}
    if found.feed == "indexable":
        options["n_jobs"] = n_jobs
    if found.feed == "generator":
        options["total"] = found.total
    made: DatasetHandle[Any] = build(
        out_dir, found.samples, verbose=verbose, if_exists=if_exists, batch_bytes=batch_bytes, **options
    )
    return made
