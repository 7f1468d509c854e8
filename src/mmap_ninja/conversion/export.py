"""`export`: a dataset in the formats of others."""

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from mmap_ninja.conversion.forms import Form, FormName, form_of
from mmap_ninja.conversion.samples import samples_of
from mmap_ninja.conversion.target import IfExists, Target
from mmap_ninja.engine import files
from mmap_ninja.exported import exported
from mmap_ninja.kinds.arrays import ArrayMmap
from mmap_ninja.kinds.handle import DatasetHandle
from mmap_ninja.kinds.loadable import Loadable
from mmap_ninja.kinds.options import PathLike
from mmap_ninja.kinds.records import RecordsMmap
from mmap_ninja.loading.shared import kind_of


@exported
def export(
    ds: Loadable,
    out: PathLike,
    *,
    form: FormName | None = None,
    columns: Sequence[str] | None = None,
    suffix: str | None = None,
    if_exists: IfExists = "error",
    verbose: bool = False,
) -> None:
    """Write samples as Parquet, Arrow, JSON lines, CSV, `.npy`, a folder of files, or a WebDataset tar.

    It is written beside its path, and renamed when it is complete: after an error, Ctrl-C or a full disk nothing is
    left. Memory stays bounded at any size. What a format cannot hold exactly is an error that names the column.

    The suffix of `out` says what it holds:

    * `.parquet`, `.pq`, `.arrow`, `.feather`: all columns; `from_arrow` and `convert` give equal ones back
    * `.jsonl`, `.ndjson`, and with `.gz` or `.zst`: a JSON object a line: texts, numbers, dates, lists, JSON values
    * `.csv`, `.tsv`, and with `.gz` or `.zst`: texts, numbers, dates; a null is an empty field, an empty text `""`
    * `.npy`: one column of arrays of one shape
    * `.tar`: a file for each sample and column, as WebDataset has them
    * none: a folder: a file for each text or bytes, under its number, or its `path` column

    Args:
        ds: A dataset, a view, a concatenation, or what `map` gives, whose samples are written as it shows them.
        out: The file or folder to write; missing parents are created.
        form: "parquet", "arrow", "jsonl", "csv", "tsv", "npy", "webdataset" or "files"; None: by the suffix of `out`.
        columns: The names of the columns of records to write; None: all.
        suffix: The end of the names of files in a folder; None: `.txt` for texts, `.bin` for bytes, and nothing where
            a `path` column names them.
        if_exists: What to do if there is a file already. "error": raise. "replace": replace it when the new one is
            complete. A folder that is not empty is never replaced.
        verbose: Whether to show a progress bar.

    Raises:
        FileExistsError: if something is at `out` that must stay.
        TypeError: if the format cannot hold a column, or `ds` is no dataset.
        ValueError: if the format cannot hold a value, or no format is known for the suffix.
        KeyError: if there is no such column.
        ImportError: if the format needs an extra that is not installed.

    Example:
        >>> from pathlib import Path
        >>> import mmap_ninja as mn
        >>> reviews = mn.RecordsMmap.from_generator("reviews", [{"text": "good", "stars": 5}, {"text": "", "stars": 1}])
        >>> mn.export(reviews, "reviews.csv")
        >>> print(Path("reviews.csv").read_text().strip())
        text,stars
        good,5
        "",1
    """
    if not isinstance(ds, Loadable):
        raise TypeError(f"export: expected a dataset, got {type(ds).__name__}; open it with mmap_ninja.open first")
    if if_exists not in ("error", "replace"):
        raise ValueError(f"if_exists {if_exists!r} is unknown (expected one of ('error', 'replace'))")
    path = files.absolute(out)
    chosen = form_of(path, form)
    if suffix is not None and chosen.name != "files":
        raise ValueError(f"suffix {suffix!r}: only files in a folder have one of their own; leave it out")
    target = Target(path, if_exists)
    target.check(is_folder=chosen.name == "files")
    with ExitStack() as stack:
        handle = ds if isinstance(ds, DatasetHandle) else _stored(ds, target, chosen, stack, verbose=verbose)
        if any(path.is_relative_to(part.path) for part in handle.parts):
            raise ValueError(f"{path}: is in the dataset's own directory; choose another path")
        if columns is not None:
            handle = _with_columns(handle, columns)
        chosen.write(samples_of(handle, suffix, verbose=verbose), target)


def _with_columns(handle: DatasetHandle[Any], columns: Sequence[str]) -> DatasetHandle[Any]:
    if isinstance(columns, str) or not columns:
        raise TypeError(f"columns {columns!r:.80}: expected a list of names")
    if isinstance(handle, RecordsMmap):
        view: RecordsMmap = handle[list(columns)]
        return view
    raise ValueError(f"columns {columns!r:.80}: samples of this kind have no columns; leave it out")


def _stored(ds: Any, target: Target, form: Form, stack: ExitStack, *, verbose: bool) -> DatasetHandle[Any]:
    """Samples that are only made when they are read, as a dataset for the time of the export: so types are known."""
    kind = ArrayMmap if form.name == "npy" else kind_of(ds[0] if len(ds) else "")
    place = stack.enter_context(target.workplace()) / "samples"
    return kind.from_generator(place, iter(ds), total=len(ds), verbose=verbose, durability="process")
