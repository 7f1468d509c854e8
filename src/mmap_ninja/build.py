"""Builds: a dataset made from a source of samples, batch by batch, readable as it grows, and resumable.

The first build at a path commits to COMMIT itself, so its prefix can be read meanwhile; one that replaces a dataset
commits to BUILD, beside the old data, and becomes the dataset with one switch at its end.
"""

import itertools
import operator
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn, Self, TypeVar, get_args

from mmap_ninja import _kernel, directory, files, format, writing
from mmap_ninja.dataset import Durability
from mmap_ninja.errors import CorruptDatasetError, GenerationMovedError, LockTimeoutError, StaleHandleError
from mmap_ninja.generation import Generation, newest, read_commit
from mmap_ninja.writing import Parts

if TYPE_CHECKING:
    from tqdm import tqdm

T = TypeVar("T")
IfExists = Literal["replace", "error", "append", "resume"]


@dataclass(frozen=True, slots=True)
class Options:
    """How a build runs: the parameters of the `from_*` constructors."""

    batch_size: int
    verbose: bool
    if_exists: IfExists
    metadata: dict[str, Any] | None
    durability: Durability | None
    lock_timeout: float

    def check(self) -> None:
        """Raise TypeError or ValueError for what cannot be, before anything is touched."""
        if operator.index(self.batch_size) < 1:
            raise ValueError(f"batch_size {self.batch_size}: expected at least 1")
        if self.if_exists not in get_args(IfExists):
            raise ValueError(f"if_exists {self.if_exists!r} is unknown (expected one of {get_args(IfExists)})")
        if self.durability not in (None, *get_args(Durability)):
            raise ValueError(f"durability {self.durability!r} is unknown (expected None, 'process' or 'machine')")
        format.check_metadata(self.metadata or {})


class Build:
    """A build in progress: where its batches go, and how many samples are there already."""

    def __init__(
        self, generation: Generation, log: _kernel.Log, options: Options, *, shared: bool, beside: bool
    ) -> None:
        self.generation = generation
        self.skip = log.state.rows if options.if_exists == "resume" else 0  # of the source's samples
        self._log = log
        self._options = options
        self._shared = shared  # other processes may append between two batches
        self._beside = beside  # replaces a dataset at its end

    @property
    def rows(self) -> int:
        """Samples committed so far."""
        return self._log.state.rows

    def last_sample(self, sample_type: format.ColumnType) -> Any:
        """The newest committed sample."""
        samples = _kernel.Samples(sample_type, str(self.generation.path))
        data, offsets = self.generation.descriptors[:2]
        samples._attach(data, self.generation.extents(self.rows, 0)[0], offsets, self.rows)
        return samples[-1]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # Not left to the garbage collector: a traceback would keep the lock of an interrupted build.
        self._log.close()

    def append(self, parts: Parts, rows: int) -> None:
        """Commit one batch."""
        self._commit(parts, rows, 0, durable=self._options.durability == "machine")

    def finish(self) -> None:
        """Mark the dataset complete, make it durable, and put it in the place of the one it replaces."""
        # An interrupted first build that is only added to stays interrupted. The files of a replaced dataset are
        # removed, so those of the new one must be on the medium first.
        flags = 0 if self._shared else _kernel.COMPLETE
        self._commit((), 0, flags, durable=self._options.durability != "process" or self._beside)
        if self._beside:
            directory.replace(self.generation.path, self._log.state, self._options.lock_timeout)

    def _commit(self, parts: Parts, rows: int, flags: int, *, durable: bool) -> None:
        path, expected_rows = self.generation.path, None if self._shared else self.rows
        timeout = self._options.lock_timeout
        try:
            writing.log_commit(
                self._log, path, timeout, parts, rows, flags=flags, durable=durable, expected_rows=expected_rows
            )
        except GenerationMovedError:
            raise StaleHandleError(f"{path}: was replaced during this build, whose batches are gone") from None


def begin(path: Path, kind: format.Kind, options: Options) -> Build | None:
    """Start a build, or go on with one; None where `if_exists="resume"` finds a finished dataset.

    Raises:
        FileExistsError: if there is a dataset and `if_exists="error"`.
        TypeError: if a dataset of another kind would be appended to.
        LockTimeoutError: if another process is replacing the dataset right now.
    """
    options.check()
    metadata = options.metadata or {}
    first = directory.create(path, kind, metadata, complete=False, timeout=options.lock_timeout)
    if options.if_exists == "error" and not first:
        raise FileExistsError(f"{path}: holds a dataset already; choose another path, or pass if_exists='replace'")
    with writing.locked(path, options.lock_timeout) as lock_fd:
        if first or options.if_exists == "append":
            return _open(path, format.COMMIT, kind, lock_fd, options, shared=not first)
        build_fd = _take_build(path, options)
        if build_fd is None and options.if_exists == "resume":
            slot, generation, _ = newest(path)
            if slot.flags & _kernel.COMPLETE:
                _check_same(generation, kind, options)
                return None
            return _open(path, format.COMMIT, kind, lock_fd, options)
        if options.if_exists == "replace":
            if build_fd is not None:
                os.close(build_fd)
                directory.drop_build(path)
            directory.refuse_foreign(path)
            read_commit(path)  # one that cannot be switched must be known now, not when the build ends
            build_fd = directory.start_generation(path, kind, metadata, format.BUILD, 0)
        return _open(path, format.BUILD, kind, build_fd, options)


def _open(
    path: Path, name: str, kind: format.Kind, lock_fd: int | None, options: Options, *, shared: bool = False
) -> Build:
    """A build that commits to COMMIT under its lock, or to BUILD, whose own descriptor is its lock."""
    assert lock_fd is not None  # noqa: S101 - for the type checker
    beside = name == format.BUILD
    try:
        slot, generation, _ = newest(path, name)
        _check_same(generation, kind, options)
        commit = read_commit(path, name)
        writing.drop_rejected(path / name, commit, slot)
        commit_fd = lock_fd if beside else files.open_write(path / name)
    except BaseException:
        if beside:
            os.close(lock_fd)
        raise
    log_lock = -1 if beside else os.dup(lock_fd)
    sync_often = options.durability != "process"
    log = writing.open_log(generation, slot, commit_fd, log_lock, commit.next_seq(), sync_often=sync_often)
    return Build(generation, log, options, shared=shared, beside=beside)


def _check_same(generation: Generation, kind: format.Kind, options: Options) -> None:
    """Raise where a build would go on in a dataset that is not what it makes."""
    path, meta = generation.path, generation.meta
    if meta.kind != kind:
        raise TypeError(f"{path}: holds {meta.kind}, not {kind}; use its own class, or another path")
    if options.metadata is not None and options.metadata != meta.metadata:
        raise ValueError(
            f"{path}: has the metadata {meta.metadata!r:.200}, which cannot change to {options.metadata!r:.200}; "
            "leave it out, or pass if_exists='replace'"
        )


def _take_build(path: Path, options: Options) -> int | None:
    """The descriptor of an interrupted replacement's BUILD, with its lock; None where there is none."""
    build_path = path / format.BUILD
    try:
        fd = files.open_write(build_path)
    except FileNotFoundError:
        return None
    if not files.try_lock(fd, build_path):
        os.close(fd)
        raise LockTimeoutError(
            f"{build_path}: {files.lock_holder(build_path)} is replacing this dataset right now; wait for it, or end it"
        )
    try:
        ended = {slot.generation for _, slot in read_commit(path).slots}
        if read_commit(path, format.BUILD).slots[0][1].generation not in ended:
            return fd
        directory.finish_switch(path)
    except CorruptDatasetError:
        if options.if_exists == "replace":
            return fd  # to be dropped
        os.close(fd)
        raise
    except BaseException:
        os.close(fd)
        raise
    os.close(fd)
    return None


def progress_bar(build: Build, total: int | None, options: Options) -> "tqdm[NoReturn]":
    """Samples, rate and time left, for those who want to see them."""
    from tqdm.auto import tqdm  # noqa: PLC0415 - here, for opening a dataset and starting a worker to be quick

    return tqdm(total=total, initial=build.skip, unit=" samples", disable=not options.verbose)


def run(
    build: Build,
    samples: Iterator[T],
    encode: Callable[[list[T], str, int], Parts],
    total: int | None,
    options: Options,
) -> None:
    """Commit batch after batch, then finish; an error in the source leaves the finished batches committed."""
    path = str(build.generation.path)
    with progress_bar(build, total, options) as progress:
        while batch := list(itertools.islice(samples, options.batch_size)):
            build.append(encode(batch, path, build.rows), len(batch))
            progress.update(len(batch))
        build.finish()
