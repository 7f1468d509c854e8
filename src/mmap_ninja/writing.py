"""Writing side of the engine: the lock of a dataset, and the kernel's log that appends to one generation."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmap_ninja import _kernel, files, format
from mmap_ninja.errors import CommitUncertainError, NotADatasetError, StaleHandleError
from mmap_ninja.generation import CommitFile, Generation

Parts = tuple[
    bytes | memoryview | None, ...
]  # per file of the generation, in its order; files beyond the last do not grow


@contextmanager
def locked(path: Path, timeout: float) -> Iterator[int]:
    """Hold a dataset's LOCK; gives its descriptor, which is closed at the end."""
    lock_path = path / format.LOCK
    while True:
        try:
            fd = files.open_write(lock_path)
        except FileNotFoundError:
            if not path.is_dir():
                raise NotADatasetError(f"{path}: was deleted; nothing was written") from None
            raise NotADatasetError(
                f"{lock_path}: is missing, so nothing can be written; restore it as an empty file"
            ) from None
        try:
            with files.locked(fd, lock_path, timeout):
                if files.is_at(fd, lock_path):
                    yield fd
                    return
        finally:
            os.close(fd)


def open_log(
    generation: Generation,
    slot: _kernel.Slot,
    commit_fd: int,
    lock_fd: int,
    next_seq: int,
    *,
    sync_often: bool,
) -> _kernel.Log:
    """A log that appends to a generation, with descriptors of its own. A `lock_fd` of -1: nobody else writes.

    Raises:
        StaleHandleError: if another directory has been put in the place of the dataset's.
    """
    descriptors: list[int] = []
    try:
        descriptors.append(os.dup(commit_fd))
        descriptors.append(os.dup(lock_fd) if lock_fd >= 0 else -1)
        descriptors.extend(files.open_write(generation.path / file.name) for file in generation.meta.files)
        # What is open for reading, for writing, and locked must be of one directory: another one can take its place.
        assert generation.commit is not None  # noqa: S101 - a commit is appended to
        known = [generation.commit.fd, *generation.descriptors]
        if list(map(files.identity, [commit_fd, *descriptors[2:]])) != list(map(files.identity, known)) or (
            lock_fd >= 0 and not files.is_at(lock_fd, generation.path / format.LOCK)
        ):
            raise StaleHandleError(
                f"{generation.path}: another directory has taken the place of the dataset's; nothing was written: do "
                "it again"
            )
    except BaseException:
        for descriptor in descriptors:
            if descriptor >= 0:
                os.close(descriptor)
        raise
    log_commit_fd, log_lock_fd, *file_fds = descriptors
    rules = [
        (file.id, int(extent.rule), extent.unit, extent.offsets, extent.sealed, descriptor)
        for file, extent, descriptor in zip(generation.meta.files, generation.meta.extents(), file_fds, strict=True)
    ]
    return _kernel.Log(str(generation.path), rules, log_commit_fd, log_lock_fd, slot, next_seq, sync_often)


def drop_rejected(commit_path: Path, commit: CommitFile, accepted: _kernel.Slot) -> None:
    """Zero the slots that are newer than the accepted one: their data did not survive. Under the lock."""
    if commit.suspect:
        raise CommitUncertainError(
            f"{commit_path}: a sync of this dataset failed before, so its last commits may be lost; it can be read but "
            "not appended to: see mmap_ninja.recover, or rebuild it from its source"
        )
    rejected = [place for place, slot in commit.slots if slot.seq > accepted.seq]
    if rejected:
        fd = files.open_write(commit_path)
        try:
            for place in rejected:
                files.write(fd, bytes(_kernel.SLOT_SIZE), place * _kernel.SLOT_STRIDE, commit_path)
        finally:
            os.close(fd)
