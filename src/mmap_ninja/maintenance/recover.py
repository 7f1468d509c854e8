"""`recover`: makes an intact dataset from what is left of a damaged one."""

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from mmap_ninja import _kernel
from mmap_ninja.builds import build
from mmap_ninja.engine import copying, directory, files, publish, upgrade_marks
from mmap_ninja.engine.compaction import sealed
from mmap_ninja.engine.copying import Contents, CopiedRows
from mmap_ninja.engine.dataset import DEFAULT_LOCK_TIMEOUT
from mmap_ninja.errors import CorruptDatasetError, MmapNinjaError
from mmap_ninja.exported import exported
from mmap_ninja.format.meta import new_meta
from mmap_ninja.format.names import COMMIT
from mmap_ninja.maintenance.survey import Found, find
from mmap_ninja.maintenance.verify import Places, Report, examine

Keep = Literal["prefix", "intact", "readable"]


@exported
@dataclass(frozen=True, slots=True)
class Recovery:
    """The result of `recover`.

    Args:
        path: The directory of the recovered samples.
        samples: The number of recovered samples.
        lost: The samples that are not among them, as ranges of indices in the damaged dataset.
        report: The damage.

    Example:
        >>> import mmap_ninja as mn
        >>> _ = mn.StringsMmap.from_strings("reviews", ["good", "bad"])
        >>> recovery = mn.recover("reviews", "copy")
        >>> recovery.samples, recovery.lost, recovery.report.ok
        (2, (), True)
    """

    path: Path
    samples: int
    lost: tuple[range, ...]
    report: Report


@exported
def recover(
    path: str | os.PathLike[str],
    out_dir: str | os.PathLike[str] | None = None,
    *,
    keep: Keep = "prefix",
    verbose: bool = False,
    lock_timeout: float = DEFAULT_LOCK_TIMEOUT,
) -> Recovery:
    """Recover a damaged dataset, or one that cannot be written after a failed sync.

    Everything is checked as by `verify(level="full")`, and the samples to keep are written to new files, in one step
    that is safe against power loss. Until it has succeeded, the damaged dataset is not changed. Readers keep what they
    see until their next `refresh`. Intact files cost as much as a copy of them, as in `compact`.

    Args:
        path: The dataset's directory.
        out_dir: The directory of the recovered dataset; None: the same directory; if there is damage, its old files are
            removed at the end.
        keep: "prefix": the samples before the first damaged one. "intact": all samples that are not damaged.
            "readable": also those that can be read, but do not match their checksums and may have wrong bytes. Samples
            whose checksums are lost with the sums file or commit file do not count as damaged, and lost edits are
            undone; the report names both.
        verbose: Whether to show a progress bar.
        lock_timeout: Seconds to wait for other processes' commits.

    Raises:
        NotADatasetError: if there is no dataset.
        CorruptDatasetError: if no sample would be kept; then nothing is changed.
        FileExistsError: if there is a dataset at `out_dir`.
        ValueError: if it was written by mmap_ninja 0.x.

    Example:
        >>> import mmap_ninja as mn
        >>> _ = mn.StringsMmap.from_strings("reviews", ["good", "bad"])
        >>> mn.recover("reviews", "copy").samples
        2
    """
    if keep not in get_args(Keep):
        raise ValueError(f"keep {keep!r} is unknown (expected one of {get_args(Keep)})")
    source = files.absolute(path)
    if upgrade_marks.detect(source):
        raise ValueError(f"{source}: was written by mmap_ninja 0.x; call mmap_ninja.upgrade on it first")
    if out_dir is not None:
        out = files.absolute(out_dir)
        if (out / COMMIT).exists():
            raise FileExistsError(f"{out}: a dataset already exists; choose another path")
        report, found = _examined(source, verbose=verbose)
        kept = _Kept(found, keep)
        meta, timeout = found.generation.meta, lock_timeout
        options = build.Options(1, 1, verbose, "error", meta.metadata, None, timeout)
        with files.Scope() as scope, build.begin_hidden(out, meta.kind, kept.columns, options, scope) as started:
            with copying.shown(kept.contents(), kept.sources, verbose=verbose) as contents:
                started.fill(contents, kept.samples)
            started.finish(complete=_flags(found) != 0)
        return Recovery(out, kept.samples, kept.lost, report)
    slot = find(source).slot  # raises before a LOCK is created, if it is not a dataset
    with directory.make_lock(source, lock_timeout) as lock:
        if slot is not None:
            directory.refuse_builder(source, slot)
        report, found = _examined(source, verbose=verbose)
        kept = _Kept(found, keep)
        if not report.ok:
            with copying.shown(kept.contents(), kept.sources, verbose=verbose) as contents:
                _write_anew(found, kept, contents, lock)
        with suppress(OSError, MmapNinjaError):  # a BUILD may be damaged
            directory.remove_unnamed(source)
        return Recovery(source, kept.samples, kept.lost, report)


class _Kept:
    """The samples to keep.

    Raises:
        CorruptDatasetError: if there are samples, but none to keep.
    """

    def __init__(self, found: Found, keep: Keep) -> None:
        self._found = found
        total = found.num_samples
        hit = [rows for of in found.findings for rows in of.rows if not (of.readable and keep == "readable")]
        self.lost = Places(found).between(hit)
        if keep == "prefix" and self.lost:
            self.lost = (range(self.lost[0].start, total),)
        self.samples = total - sum(map(len, self.lost))
        if total and not self.samples:
            better = "" if keep == "readable" else ", or pass keep='readable'"
            raise CorruptDatasetError(
                f"{found.generation.path}: none of its {total} samples would be kept; nothing was changed: restore it "
                f"from a copy{better}"
            )
        self.columns = sealed(found.generation.meta.columns)
        self.sources = [CopiedRows(found.generation, found.extents(), self._runs())] if self.samples else []

    def contents(self) -> Contents:
        """The contents of the files of the recovered dataset."""
        return copying.contents(self.columns, self.sources)

    def _runs(self) -> copying.Runs:
        """The rows of the samples to keep, in order."""
        runs = self._found.edits.runs(self._found.rows)
        begin = np.cumsum(runs[:, 1]) - runs[:, 1]  # position of the first sample of each run
        lost = np.array([(part.start, part.stop) for part in self.lost], np.int64).reshape(-1, 2)
        # Cut into pieces that are within one run, and lost or kept as a whole.
        cuts = np.unique(np.concatenate([begin, lost.ravel(), [self._found.num_samples]]))
        starts, counts = cuts[:-1], np.diff(cuts)
        kept = np.searchsorted(lost[:, 0], starts, "right") == np.searchsorted(lost[:, 1], starts, "right")
        run = np.searchsorted(begin, starts, "right") - 1
        return np.column_stack([runs[run, 0] + starts - begin[run], counts])[np.flatnonzero(kept)]


def _examined(path: Path, *, verbose: bool) -> tuple[Report, Found]:
    report, found = examine(path, "full", verbose=verbose)
    if found is None:
        raise CorruptDatasetError(str(report))
    return report, found


def _flags(found: Found) -> int:
    """The flags of the recovered dataset: what remains of an unfinished build is not complete."""
    return _kernel.COMPLETE if found.slot is None else found.slot.flags & _kernel.COMPLETE


def _write_anew(found: Found, kept: _Kept, contents: Contents, lock: _kernel.File) -> None:
    """Make a generation of the samples to keep, and a commit file that names only it; the caller holds the lock."""
    path, old = found.generation.path, found.generation.meta
    flags = _flags(found)
    meta = new_meta(old.kind, directory.next_generation(path), old.uuid, kept.columns, old.metadata)
    directory.drop_ended_build(path, old.generation)
    try:
        with files.Scope() as scope:
            publish.publish(path, meta, contents, kept.samples, COMMIT, flags, scope, publish.model(path, scope))
    except BaseException:
        with suppress(OSError, MmapNinjaError):  # raise the first error, not one of the clean-up
            lock.check_writer(str(path))
            directory.remove_generation(path, meta.generation)
        raise
