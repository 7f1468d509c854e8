"""Writing side of the engine: the lock of a dataset, and the kernel's log that appends to one generation."""

from pathlib import Path

from mmap_ninja import _kernel
from mmap_ninja.engine import files
from mmap_ninja.engine.generation import Generation
from mmap_ninja.errors import NotADatasetError, StaleHandleError
from mmap_ninja.format.names import COMMIT, LOCK, meta_name


def locked(path: Path, timeout: float) -> _kernel.File:
    """A dataset's LOCK, held: for a with statement at once, at whose end it is let go of."""
    lock_path = path / LOCK
    try:
        return files.lock(lock_path, timeout) or _refuse(lock_path, timeout)
    except FileNotFoundError:
        if not path.is_dir():
            raise NotADatasetError(f"{path}: was deleted; nothing was written") from None
        raise NotADatasetError(
            f"{lock_path}: is missing, so nothing can be written; restore it as an empty file"
        ) from None


def _refuse(lock_path: Path, timeout: float) -> _kernel.File:
    raise files.lock_timeout(lock_path, timeout)


def open_log(
    generation: Generation,
    slot: _kernel.Slot,
    commit_file: _kernel.File,
    lock: _kernel.File | None,
    next_seq: int,
    *,
    sync_often: bool,
) -> _kernel.Log:
    """A log that appends to a generation. Without a `lock` nobody else writes.

    Raises:
        StaleHandleError: if another directory has been put in the place of the dataset's.
    """
    path, meta = generation.path, generation.meta
    opened = [files.open_write(path / file.name) for file in meta.files]
    # What is open for reading, for writing, and locked must be of one directory: another one can take its place.
    assert generation.commit is not None  # noqa: S101 - a commit is appended to
    known = [generation.commit.fd, *generation.descriptors]
    found = [commit_file.fileno(), *(file.fileno() for file in opened)]
    if list(map(files.identity, found)) != list(map(files.identity, known)) or (
        lock is not None and not lock.is_at(str(path / LOCK))
    ):
        raise StaleHandleError(
            f"{path}: another directory has taken the place of the dataset's; nothing was written: do it again"
        )
    rules = [
        (file.id, int(extent.rule), extent.unit, extent.offsets, extent.sealed, of)
        for file, extent, of in zip(meta.files, meta.extents(), opened, strict=True)
    ]
    names = ("", "") if lock is None else (str(path / LOCK), str(path / COMMIT))
    with files.open_read(path / meta_name(meta.generation)) as of_meta:
        return _kernel.Log(
            str(path), rules, commit_file, lock, of_meta, (str(path), *names), slot, next_seq, sync_often
        )
