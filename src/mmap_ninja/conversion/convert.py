"""`convert`: anything that others store, as a dataset."""

import os
import warnings
from pathlib import Path
from typing import Any, Final, get_args

from mmap_ninja.builds.build import IfExists, Options
from mmap_ninja.columns.limits import BATCH_BYTES
from mmap_ninja.columns.specs import Codec, Spec, Specs, flat  # noqa: F401 - get_type_hints needs Spec
from mmap_ninja.conversion.plan import Plan, plan
from mmap_ninja.conversion.source import OnError, Skipped, Wanted
from mmap_ninja.engine import directory
from mmap_ninja.engine.dataset import DEFAULT_LOCK_TIMEOUT
from mmap_ninja.errors import NotADatasetError
from mmap_ninja.exported import exported
from mmap_ninja.format.meta import Kind
from mmap_ninja.kinds.handle import DatasetHandle
from mmap_ninja.kinds.opening import CLASSES
from mmap_ninja.kinds.options import PathLike

_BATCH_SIZE: Final = 1024


@exported
def convert(
    source: PathLike,
    out_dir: PathLike,
    *,
    kind: Kind | None = None,
    columns: Specs | None = None,
    codec: Codec | None = None,
    with_path: bool = False,
    dataset: str | None = None,
    n_jobs: int | None = None,
    if_exists: IfExists = "error",
    batch_bytes: int = BATCH_BYTES,
    on_error: OnError = "raise",
    verbose: bool = False,
) -> DatasetHandle[Any]:
    r"""Store what lies at a path as a dataset, and open it.

    The format is told by the name of a file, or by the files in a folder. An error names the place in the source; what
    is committed stays, marked as incomplete, and `if_exists="resume"` goes on after it.

    Args:
        source: A file or folder in one of the formats of docs/guides/shell.md.
        out_dir: The dataset's directory; missing parents are created.
        kind: The kind of dataset, where the source can become several; None: what it is by nature.
        columns: The types of all or some columns, by their names; a nested dict for nested columns. The samples define
            the others.
        codec: "zstd": each sample is compressed; needs `pip install "mmap_ninja[zstd]"`.
        with_path: Whether samples that come from a file each are records that have its path.
        dataset: The name of the dataset in a file that holds several.
        n_jobs: Number of processes that read the files of a folder; other sources, and all with `on_error="skip"`,
            are read by one, and refuse several. None is 1, -1 all CPUs, -2 all but one.
        if_exists: What to do if there is a dataset already. "replace": build a new one beside it, then switch;
            samples that others append to the old one meanwhile are lost. "error": raise. "append": add to it.
            "resume": continue an interrupted build: pass all samples again, from the first one; a finished dataset
            is returned as it is, with a warning if the source is longer. "reuse": open a complete dataset of the
            same kind, columns and version; raise if it is another one; wait while another process builds it; go on
            with a build that ended early.
        batch_bytes: Bytes with which a batch ends earlier, so that large samples do not fill the memory.
        on_error: What to do about samples that cannot be read or stored. "raise": raise at the first one. "skip": leave
            them out, and warn at the end, with their number and where the first ones are.
        verbose: Whether to show a progress bar.

    Raises:
        FileNotFoundError: if there is no source.
        FileExistsError: if there is a dataset and `if_exists="error"`.
        ImportError: if the format, or the codec, needs an extra, which the message names.
        ValueError: if the source cannot be converted, or a sample is not valid.
        TypeError: if a sample has the wrong type.

    Example:
        >>> import mmap_ninja as mn
        >>> from pathlib import Path
        >>> _ = Path("reviews.txt").write_text("good\nbad\n")
        >>> mn.convert("reviews.txt", "reviews")[:]
        ['good', 'bad']
    """
    planned, skipped = prepared(
        source,
        out_dir,
        kind=kind,
        columns=columns,
        codec=codec,
        with_path=with_path,
        dataset=dataset,
        n_jobs=n_jobs,
        if_exists=if_exists,
        batch_bytes=batch_bytes,
        on_error=on_error,
    )
    made = planned.store(out_dir, verbose=verbose)
    if skipped.count:
        warnings.warn(f"{source}: {skipped}", stacklevel=2)
    return made


def prepared(
    source: PathLike,
    out_dir: PathLike,
    *,
    kind: Kind | None = None,
    columns: Specs | None = None,
    codec: Codec | None = None,
    with_path: bool = False,
    dataset: str | None = None,
    n_jobs: int | None = None,
    if_exists: IfExists = "error",
    batch_bytes: int = BATCH_BYTES,
    on_error: OnError = "raise",
) -> tuple[Plan, Skipped]:
    """What `convert` would do, and the samples that it will have left out; nothing is stored yet."""
    for name, value, known in (
        ("kind", kind, (None, *CLASSES)),
        ("codec", codec, (None, *get_args(Codec))),
        ("on_error", on_error, get_args(OnError)),
    ):
        if value not in known:
            raise ValueError(f"{name} {value!r} is unknown (expected one of {known})")
    options = Options(_BATCH_SIZE, batch_bytes, False, if_exists, None, None, DEFAULT_LOCK_TIMEOUT)
    options.check()
    for name, path in (("source", source), ("out_dir", out_dir)):
        if not os.fspath(path):
            raise ValueError(f"{name} '': expected a path, got an empty text")
    _check_place(Path(source), Path(out_dir), if_exists)
    skipped = Skipped()
    wanted = Wanted(
        kind=kind,
        columns=flat(columns or {}),
        with_path=with_path,
        dataset=dataset,
        skipped=skipped if on_error == "skip" else None,
    )
    return plan(Path(source), out_dir, wanted, options, codec=codec, n_jobs=n_jobs), skipped


def _check_place(source: Path, out: Path, if_exists: IfExists) -> None:
    """Raise if a dataset cannot be made at a path, before anything is read."""
    here, there = source.resolve(), out.resolve()
    if here == there:
        raise ValueError(f"{out}: is the source itself; choose another path")
    if here in there.parents and source.is_dir():
        raise ValueError(f"{out}: lies in the source, {source}; choose a folder outside it")
    if out.is_dir():
        directory.refuse_foreign(out)
    elif out.exists():
        raise NotADatasetError(f"{out}: is a file; choose a folder for the dataset")
    if if_exists != "error" or directory.is_vacant(out):
        return
    stored = directory.unfinished(out)
    if stored is None:
        raise FileExistsError(
            f"{out}: a dataset already exists; choose another path, or pass if_exists='replace' or 'append'"
        )
    raise FileExistsError(
        f"{out}: an unfinished dataset of {stored:,} samples is there; pass if_exists='resume' to go on with it, or "
        "if_exists='replace'"
    )
