"""Builds: a dataset made from a source of samples, batch by batch, readable as it grows, and resumable.

The first build at a path commits to COMMIT, so that finished batches can be read meanwhile. A build that replaces a
dataset commits to BUILD, beside the old data, and is switched in at its end. Each holds the lock of its commit file as
long as it runs.
"""

import functools
import operator
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Self, TypeVar, get_args

from mmap_ninja import _kernel, progress
from mmap_ninja.builds.located import locate
from mmap_ninja.builds.waiting import Waiting
from mmap_ninja.columns.batch import Batch, Parts, size_of
from mmap_ninja.columns.json_values import without_tuples
from mmap_ninja.columns.limits import Limits
from mmap_ninja.columns.types import Binary, Column, ColumnType, Json, Text, Zstd
from mmap_ninja.engine import copying, directory, files, publish, upgrade_marks
from mmap_ninja.engine.commit_file import read_commit
from mmap_ninja.engine.dataset import DEFAULT_LOCK_TIMEOUT, Columns, Dataset, Durability, Encode
from mmap_ninja.engine.generation import newest
from mmap_ninja.engine.log import locked
from mmap_ninja.errors import CorruptDatasetError, LockTimeoutError
from mmap_ninja.format.meta import Kind, Meta, checked_metadata
from mmap_ninja.format.names import BUILD, COMMIT
from mmap_ninja.legacy import upgrade
from mmap_ninja.legacy.dataset import LegacyDataset, open_dataset
from mmap_ninja.legacy.layout import Keys

T = TypeVar("T")
IfExists = Literal["replace", "error", "append", "resume", "reuse"]
# Returns the columns that a batch fits (those given, or wider ones), and its bytes. Path and number are for messages.
EncodeBatch = Callable[[Batch[T], str, int, Columns], tuple[Columns, Parts]]
# Returns the columns that the first samples define, with those that are known. The path is for messages, the number is
# how many bytes of samples decide.
Define = Callable[[Batch[T], str, Columns, int], Columns]


@dataclass(frozen=True, slots=True)
class Options:
    """How a build runs: the parameters of the `from_*` constructors."""

    batch_size: int
    batch_bytes: int
    verbose: bool
    if_exists: IfExists
    metadata: dict[str, Any] | None
    durability: Durability | None
    lock_timeout: float
    version: str | None = None
    names: tuple[str, ...] = ()  # of the columns of the source, where it tells them without being read
    undeclared: frozenset[str] = frozenset()  # those that become nullable with their first null
    is_closed: bool = False  # whether the columns given are all; else the first samples may define more
    place: Callable[[int], str] | None = None  # says where the sample at an index of the source comes from
    is_coded: bool = False  # whether all texts, bytes and JSON are to be compressed

    @property
    def stored_metadata(self) -> dict[str, Any]:
        """The metadata of a new dataset."""
        version = {} if self.version is None else {"version": self.version}
        stored: dict[str, Any] = without_tuples({**(self.metadata or {}), **version})
        return stored

    def check(self) -> None:
        """Raise TypeError or ValueError for invalid options, before anything is changed."""
        for name in ("batch_size", "batch_bytes"):
            if not 1 <= operator.index(getattr(self, name)) <= sys.maxsize:
                raise ValueError(f"{name} {getattr(self, name)}: expected at least 1, and at most {sys.maxsize}")
        if self.if_exists not in get_args(IfExists):
            raise ValueError(f"if_exists {self.if_exists!r} is unknown (expected one of {get_args(IfExists)})")
        if self.durability not in (None, *get_args(Durability)):
            raise ValueError(f"durability {self.durability!r} is unknown (expected None, 'process' or 'machine')")
        checked_metadata(self.metadata or {})
        if self.version is None:
            return
        if not isinstance(self.version, str):
            raise TypeError(f"version {self.version!r:.200}: expected a str, got {type(self.version).__name__}")
        if "version" in (self.metadata or {}):
            raise ValueError(
                f"version {self.version!r:.200}: metadata has a 'version' of its own; leave one of them out"
            )
        checked_metadata(self.stored_metadata)


class Build:
    """A build in progress: the dataset that it commits to, and how many samples to skip."""

    def __init__(self, dataset: Dataset, options: Options, target: publish.Target | None, *, is_new: bool) -> None:
        self.skip: int = dataset.seen.rows if options.if_exists in ("resume", "reuse") else 0  # samples of the source
        self.limits: Limits = Limits(options.batch_size, options.batch_bytes)
        # Whether the first samples define columns: not those of a dataset that was there.
        self.defines: bool = not dataset.seen.rows and not options.is_closed and (is_new or not dataset.meta.columns)
        self.dataset = dataset
        self._options = options
        self._target = target  # whose lock is held; None: other processes may append between batches

    @property
    def rows(self) -> int:
        """Samples committed so far."""
        return self.dataset.seen.num_samples

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # Now, since a traceback could keep the log of an interrupted build alive.
        self.dataset.abandon()

    def append(self, encode: Encode, rows: int) -> None:
        """Commit one batch."""
        durable = self._options.durability == "machine"
        self.dataset.commit(encode, rows, durable=durable, alone=self._target is not None)

    def fill(self, contents: copying.Contents, rows: int) -> None:
        """Commit all samples of a hidden build at once, given the contents of its files."""
        assert self._target is not None  # noqa: S101 - set for hidden builds
        publish.fill(self.dataset.seen.generation, contents, rows, self._target)
        self.dataset.refresh()

    def finish(self, *, complete: bool = True) -> None:
        """Make the dataset durable, mark it complete if it is, and switch to it if it replaces another."""
        # Appending to an interrupted first build does not complete it. The files of a replaced dataset are removed, so
        # those of the new one must be on the disk first.
        target = self._target
        replaces = target is not None and target.name == BUILD
        self.dataset.commit(
            lambda columns: (columns, ()),
            0,
            durable=self._options.durability != "process" or replaces,
            flags=_kernel.COMPLETE if complete and target is not None else 0,
            alone=target is not None,
        )
        if target is not None and replaces:
            slot = self.dataset.seen.slot.copy()
            slot.seq = 0
            directory.replace(self.dataset.path, slot, target.file, self.dataset.lock_timeout)


def begin(path: Path, kind: Kind, columns: Columns, options: Options, scope: files.Scope) -> Build | None:
    """Start or resume a build; None if there is a finished dataset that is to be opened.

    The scope keeps its commit file open and locked.

    Raises:
        FileExistsError: if there is a dataset and `if_exists="error"`.
        TypeError: if the dataset to append to is of another kind.
        LockTimeoutError: if another process is building the dataset.
    """
    options.check()
    if options.if_exists != "reuse":
        return _begin(path, kind, columns, options, scope)
    waiting = Waiting(path)
    while not _is_reusable(path, kind, columns, options):
        try:
            return _begin(path, kind, columns, options, scope)
        except LockTimeoutError as refused:
            waiting.pause(refused)
    return None


def _is_reusable(path: Path, kind: Kind, columns: Columns, options: Options) -> bool:
    """Whether there is a complete dataset; raises if it is, or becomes, another one than that asked for."""
    if upgrade_marks.detect(path) or files.exists(f"{path}/{COMMIT}"):
        found = open_dataset(path, None, "process", options.lock_timeout)  # which may be upgraded meanwhile
        complete = found.snapshot.complete
        if complete or not files.exists(f"{path}/{BUILD}"):  # which may replace one of another kind
            _check_same(found.meta, kind, columns, path, options)
        if complete:
            return True
    if not files.sees_locks(path):
        raise ValueError(
            f"{path}: if_exists='reuse' needs a local filesystem, where processes see each other's locks; build the "
            "dataset in one process, and open it in the others when it is complete"
        )
    return False


def _begin(path: Path, kind: Kind, columns: Columns, options: Options, scope: files.Scope) -> Build | None:
    timeout, old = options.lock_timeout, upgrade_marks.detect(path)
    if options.if_exists == "append":
        return _begin_append(path, kind, columns, options)
    if not old:
        made = directory.create(path, kind, columns, options.stored_metadata, timeout, build=scope)
        if made is not None:
            return _open(path, kind, columns, publish.Target(COMMIT, made, scope), options)
    if options.if_exists == "error":
        raise _exists(path)
    with directory.make_lock(path, timeout) if old else locked(path, timeout) as lock:
        target = _take_build(path, options, scope, lock)
        directory.finish_upgrade(path)
        if options.if_exists == "replace":
            target = _start_beside(path, kind, columns, options, target, scope)
        elif target is None and not upgrade_marks.detect(path) and not newest(path).slot.flags & _kernel.COMPLETE:
            target = directory.take_build(path, COMMIT, scope)
    if target is None and upgrade_marks.detect(path):
        found = LegacyDataset(path, None)
        _check_same(found.meta, kind, columns, path, options)
        if options.durability != "process":
            found.sync()
        return None
    build = _open(path, kind, columns, target, options)
    if target is None:  # it is complete
        if options.durability != "process":
            build.dataset.flush()
            build.dataset.close()
        return None
    if build.dataset.seen.slot.edits:
        raise ValueError(
            f"{path}: samples of this unfinished build were deleted or replaced, so it cannot be resumed; pass "
            "if_exists='append' or 'replace'"
        )
    return build


def _begin_append(path: Path, kind: Kind, columns: Columns, options: Options) -> Build:
    """Start to append to a dataset, which is complete without these samples; a new one is so from the start."""
    timeout, made = options.lock_timeout, None
    if upgrade_marks.detect(path):
        _check_same(open_dataset(path, None, "process", timeout).meta, kind, columns, path, options)
        upgrade.adopt(path, Keys(), timeout)
    else:
        made = directory.create(path, kind, columns, options.stored_metadata, timeout)
    build = _open(path, kind, columns, None, options, is_new=made is not None)
    if not build.dataset.snapshot.complete:
        with locked(path, timeout):  # now, before the source is read
            directory.refuse_builder(path, build.dataset.seen.slot)
    return build


def begin_hidden(path: Path, kind: Kind, columns: Columns, options: Options, scope: files.Scope) -> Build:
    """Start a build that stays hidden until it ends, even if there is no dataset yet.

    Raises:
        FileExistsError: if there is a dataset and `if_exists` is not "replace".
        LockTimeoutError: if another process is building one.
    """
    options.check()
    files.make_directories(path)
    directory.refuse_foreign(path)
    if options.if_exists != "replace" and not directory.is_vacant(path):
        raise _exists(path)
    with directory.make_lock(path, options.lock_timeout) as lock:
        if options.if_exists != "replace" and (path / COMMIT).exists():
            raise _exists(path)
        directory.refuse_orphans(path)
        interrupted = _take_build(path, options, scope, lock)
        target = _start_beside(path, kind, columns, options, interrupted, scope)
    return _open(path, kind, columns, target, options)


def _start_beside(
    path: Path,
    kind: Kind,
    columns: Columns,
    options: Options,
    interrupted: publish.Target | None,
    scope: files.Scope,
) -> publish.Target:
    """The BUILD of a new generation beside the dataset; replaces an interrupted one; the caller holds the lock."""
    if interrupted is not None:
        interrupted.file.close()
        directory.drop_build(path)
    directory.refuse_foreign(path)
    if (path / COMMIT).exists():
        # A commit file that cannot be switched must raise now, not at the end of the build.
        directory.refuse_builder(path, read_commit(path).slots[0][1])
    return directory.start_generation(path, kind, columns, options.stored_metadata, scope)


def _exists(path: Path) -> FileExistsError:
    return FileExistsError(f"{path}: a dataset already exists; choose another path, or pass if_exists='replace'")


def _open(
    path: Path, kind: Kind, columns: Columns, target: publish.Target | None, options: Options, *, is_new: bool = False
) -> Build:
    sync_often = options.durability != "process"
    # Those who wait for a build look at it under LOCK: that must not end it.
    timeout = options.lock_timeout if target is None else max(options.lock_timeout, DEFAULT_LOCK_TIMEOUT)
    dataset = Dataset(path, None, "process", timeout, build=target, sync_often=sync_often)
    _check_same(dataset.meta, kind, columns, path, options)
    return Build(dataset, options, target, is_new=is_new or target is not None)


def _check_same(meta: Meta, kind: Kind, columns: Columns, path: Path, options: Options) -> None:
    """Raise if a build would append to a dataset with another kind, columns or metadata."""
    if meta.kind != kind:
        raise TypeError(
            f"{path}: expected a dataset of kind {kind!r}, found {meta.kind!r}; use its class, or another path"
        )
    names, stored_names = ([column.name for column in of] for of in (columns, meta.columns))
    is_other = names != stored_names if options.is_closed else not set(names) <= set(stored_names)
    if names and stored_names and is_other:
        raise ValueError(
            f"{path}: columns: got {names!r:.200}, but the dataset has {stored_names!r:.200}; leave columns out, or "
            "pass "
            "if_exists='replace'"
        )
    found = {column.name: column for column in meta.columns}
    plain = [name for name, column in found.items() if getattr(column.type, "codec", column) is None]
    if options.is_coded and plain:
        raise ValueError(
            f"{path}: codec has no use here: samples are added to a dataset that does not compress {plain!r:.200}; "
            "leave it out, or pass if_exists='replace'"
        )
    for asked in columns:
        if asked.name in found:  # the dataset may have no columns yet
            _check_column(asked, found[asked.name], path, options)
    version = meta.metadata.get("version")
    if options.version not in (None, version):
        raise ValueError(
            f"{path}: version: got {options.version!r:.200}, but the dataset has {version!r:.200}; leave it out, or "
            "pass if_exists='replace'"
        )
    if options.if_exists == "reuse":  # no sample is compared; metadata may be a process's own
        if options.names and stored_names and sorted(options.names) != sorted(stored_names):
            raise ValueError(
                f"{path}: columns: the source has {[*options.names]!r:.200}, but the dataset has "
                f"{stored_names!r:.200}; pass if_exists='replace' to build it anew"
            )
        return
    if options.metadata is not None and options.stored_metadata != meta.metadata:
        raise ValueError(
            f"{path}: metadata: got {options.stored_metadata!r:.200}, but the dataset has {meta.metadata!r:.200}; "
            "leave it out, or pass if_exists='replace'"
        )


def _check_column(asked: Column, found: Column, path: Path, options: Options) -> None:
    where = f"{path}: column {found.name!r}" if found.name else str(path)
    same_nulls = asked.type.nullable == found.type.nullable or found.name in options.undeclared
    if type(asked.type) is not type(found.type) or not same_nulls:
        raise TypeError(f"{where}: got {asked.type!r:.200}, but the dataset has {found.type!r:.200}; leave columns out")
    for name in ("dtype", "shape", "ndim"):
        wanted, stored = (getattr(column.type, name, None) for column in (asked, found))
        matters = name != "shape" or found.name or options.if_exists == "reuse"
        if matters and wanted is not None and stored is not None and wanted != stored:
            raise TypeError(
                f"{where}: {name}: got {wanted}, but the dataset has {stored}; leave it out, or pass "
                "if_exists='replace'"
            )
    codecs = [_codec(column.type) for column in (asked, found)]
    if codecs[0] is not None and codecs[0] != codecs[1]:
        raise ValueError(
            f"{where}: codec: got {codecs[0]}, but the dataset has {codecs[1]}; leave zstd_level and "
            "zstd_train_dictionary_size out, or pass if_exists='replace'"
        )


def _codec(column: ColumnType) -> Zstd | None:
    """The requested codec of a column, without the trained dictionary."""
    found = column.codec if isinstance(column, Text | Binary | Json) else None
    return None if found is None else replace(found, dictionary=None)


def _take_build(path: Path, options: Options, scope: files.Scope, lock: _kernel.File) -> publish.Target | None:
    """The BUILD of an interrupted replacement, locked until the scope ends; None if there is none."""
    build = directory.take_build(path, BUILD, scope)
    if build is None:
        return None
    try:
        slots = read_commit(path).slots if (path / COMMIT).exists() else []
        ended = {slot.generation for _, slot in slots}
        if read_commit(path, BUILD).slots[0][1].generation not in ended:
            return build
        directory.finish_switch(path, lock)
    except CorruptDatasetError:
        if options.if_exists == "replace":
            return build  # the caller drops it
        raise
    build.file.close()
    return None


def progress_bar(build: Build, total: int | None, options: Options) -> AbstractContextManager[Callable[[int], object]]:
    """A progress bar if `verbose`: samples, rate and time left; returns its update function."""
    return progress.bar(total, " samples", shown=options.verbose, initial=build.skip)


def run(
    build: Build,
    batches: Iterator[Batch[T]],
    encode: EncodeBatch[T],
    total: int | None,
    options: Options,
    define: Define[T] | None = None,
) -> None:
    """Commit batch after batch, then finish; an error in the source leaves the finished batches committed.

    Args:
        build: The build.
        batches: The samples.
        encode: Encodes a batch.
        total: The number of samples, if known.
        options: How the build runs.
        define: Defines columns by the first samples; None: there is nothing to define.
    """
    path, before = str(build.dataset.path), build.rows - build.skip
    if define is not None and build.defines:
        from mmap_ninja.builds.deciding import deciding  # noqa: PLC0415 - for records only

        known = build.dataset.meta.columns
        first, batches = deciding(batches, known, build.limits, options.batch_bytes)
        if len(first):
            encode = with_columns(encode, known, define(first, path, known, options.batch_bytes))
        del first  # the batches are freed one by one

    def encoded(batch: Batch[T], first: int, columns: Columns) -> tuple[Columns, Parts]:
        try:
            fitting, parts = encode(batch, path, first, columns)
        except Exception as error:
            if options.place is not None and isinstance(batch, list):
                locate(error, options.place(first - before + find_refused(encode, batch, path, first, columns)))
            elif before:
                locate(error, f"sample {before} of the dataset is index 0 of the source")
            raise
        build.limits.note(len(batch), size_of(parts))
        return fitting, parts

    with progress_bar(build, total, options) as tell:
        for batch in batches:
            build.append(functools.partial(encoded, batch, build.rows), len(batch))
            tell(len(batch))
            del batch  # before the next one is read
        build.finish()


def find_refused(encode: EncodeBatch[T], samples: list[T], path: str, first: int, columns: Columns) -> int:
    """Position of the sample that cannot be encoded; 0 if each alone can be."""
    for place, sample in enumerate(samples):
        try:
            columns, _ = encode([sample], path, first + place, columns)
        except Exception:  # noqa: BLE001 - the caller has an error to raise
            return place
    return 0


def with_columns(encode: EncodeBatch[T], known: Columns, defined: Columns) -> EncodeBatch[T]:
    """The same function, which makes the columns that were defined of those that the dataset began with."""

    def encoded(batch: Batch[T], path: str, first: int, columns: Columns) -> tuple[Columns, Parts]:
        return encode(batch, path, first, defined if columns == known else columns)

    return encoded
