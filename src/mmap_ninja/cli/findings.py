"""What `doctor` finds: on the machine, where a dataset lies, and in the dataset."""

import os
import platform
import shutil
import warnings
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, Literal

import mmap_ninja as mn
from mmap_ninja.cli.machine import (
    lock_holders,
    map_count,
    meminfo,
    mount_of,
    number_in,
    own_files,
    read_ahead_file,
    resource_limit,
)
from mmap_ninja.cli.sizes import counted, size_text
from mmap_ninja.cli.wording import said
from mmap_ninja.engine import files, memory, upgrade_marks
from mmap_ninja.engine.commit_file import CommitFile, read_commit
from mmap_ninja.errors import MmapNinjaError
from mmap_ninja.format.names import BUILD, COMMIT, LOCK, generation_of

_FEW_DESCRIPTORS: Final = 1024
_USUAL_MAPS: Final = 65_530
_READ_AHEAD: Final = (64, 1024)  # KiB
_MUCH_GARBAGE: Final = 0.25
_RESIDENT: Final = 0.9
_LITTLE_SPACE: Final = 0.02
_MANY_COMMITS, _TINY = 10_000, 8


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that was looked at: what was found, and what to do."""

    level: Literal["ok", "note", "problem"]
    topic: str
    found: str
    remedy: str = ""


def _judged(
    topic: str, found: str, remedy: str, *, fine: bool, otherwise: Literal["note", "problem"] = "note"
) -> Finding:
    """A finding that is fine, or else has a remedy."""
    return Finding("ok", topic, found) if fine else Finding(otherwise, topic, found, remedy)


def examine(dataset: str | None) -> list[Finding]:
    """Look at the machine and, if there is one, at a dataset.

    Raises:
        NotADatasetError: if there is nothing at the path.
    """
    if dataset is None:
        return [*_of_software(), *_of_machine(0, 0)]
    path = files.absolute(dataset)
    if not path.is_dir():
        read_commit(path)  # raises
    if not os.access(path, os.R_OK | os.X_OK):
        remedy = f"as its owner: chmod -R a+rX {dataset}"
        return [*_of_software(), Finding("problem", "permissions", "no permission to read the directory", remedy)]
    found: list[Finding] = [*_of_software(), *_of_place(path, dataset), *_of_locks(path)]
    opened, refused = _opened(path, dataset)
    size, samples = (0, 0) if opened is None else (opened.nbytes, len(opened))
    found += [*_of_machine(size, len(own_files(path))), *refused]
    if opened is not None:
        found += _of_dataset(path, dataset, opened)
        opened.close()
    if upgrade_marks.detect(path):
        remedy = f"mmap-ninja upgrade {dataset}"
        found.append(Finding("note", "format", "was written by mmap_ninja 0.x, without checksums", remedy))
    else:
        found += _of_commits(path, dataset, samples)
    return found


# ---- the machine


def _of_software() -> Iterator[Finding]:
    parts = [f"mmap_ninja {version('mmap_ninja')}", f"Python {platform.python_version()}", f"NumPy {version('numpy')}"]
    yield Finding("ok", "versions", ", ".join([*parts, f"{platform.system()} {platform.release()}"]))


def _of_machine(size: int, num_files: int) -> Iterator[Finding]:
    """Limits of the machine and of this process; `size` and `num_files`: of the dataset."""
    limit, needed = resource_limit("NOFILE"), num_files + 4  # as in docs/guarantees.md
    text = f"a process may have {limit:,} files open" + f"; a writer of this dataset takes {needed}" * bool(num_files)
    remedy = "raise it in this shell: ulimit -n 65536"
    otherwise: Literal["note", "problem"] = "problem" if limit < needed else "note"
    yield _judged("descriptors", text, remedy, fine=limit >= max(needed, _FEW_DESCRIPTORS), otherwise=otherwise)
    limit = resource_limit("AS")
    if limit < max(size, 1) * 2:
        text = f"a process may map {size_text(limit)} (ulimit -v); the dataset has {size_text(size)}"
        yield Finding("problem", "address space", text, 'ulimit -v unlimited, or mn.open(path, read_mode="pread")')
    free = memory.available()
    text = f"{size_text(free)} are free for files" + f"; the dataset has {size_text(size)}" * bool(size)
    remedy = "shuffle in blocks, so that cold reads lie together: mn.Shuffle(len(ds), block=1024)"
    yield _judged("memory", text, remedy, fine=size <= free)
    limit = number_in("/proc/sys/vm/max_map_count", _USUAL_MAPS)
    text = f"a process may have {limit:,} maps (vm.max_map_count)"
    remedy = f"sudo sysctl vm.max_map_count={_USUAL_MAPS}"
    yield _judged("maps", text, remedy, fine=limit - map_count() >= 2 * num_files, otherwise="problem")
    if number_in("/proc/sys/vm/overcommit_memory", 0) == 2:
        left = meminfo("CommitLimit") - meminfo("Committed_AS")
        text = f"vm.overcommit_memory is 2, so maps of samples count as memory: {size_text(max(left, 0))} are left"
        remedy = 'sudo sysctl vm.overcommit_memory=0, or mn.open(path, read_mode="pread")'
        yield _judged("overcommit", text, remedy, fine=False, otherwise="problem" if left < size else "note")
    else:
        yield Finding("ok", "overcommit", "maps do not count as memory (vm.overcommit_memory)")


# ---- the place


def _of_place(path: Path, given: str) -> Iterator[Finding]:
    point, kind, options = mount_of(path)
    own = own_files(path)
    with suppress(MmapNinjaError, OSError, IndexError), files.open_read(own[0]) as file:
        if not files.reads_by_map(file.fileno()):
            text = (
                f"{kind or 'a network filesystem'}, mounted at {point}: samples are read by system calls, not from maps"
            )
            remedy = "copy the dataset to a local disk; here, let only one process write"
            yield Finding("note", "filesystem", text, remedy)
        elif not files.stays_itself(file.fileno()):
            text = f"{kind}, mounted at {point}: the first write to a file copies all of it"
            yield Finding("note", "filesystem", text, "put datasets that grow into a volume of the container")
        elif kind in ("tmpfs", "ramfs"):
            text = f"{kind}, mounted at {point}: it takes memory, and is gone after a reboot"
            yield Finding("note", "filesystem", text, "copy it to a disk, if it is to stay")
        else:
            yield Finding("ok", "filesystem", f"{kind or 'unknown'}, mounted at {point}")
    unreadable = [file.name for file in own if not os.access(file, os.R_OK)]
    if unreadable:
        text = f"no permission to read {', '.join(unreadable[:5])}"
        yield Finding("problem", "permissions", text, f"as their owner: chmod -R a+rX {given}")
    elif "ro" in options or not all(os.access(file, os.W_OK) for file in (path, *own)):
        yield Finding("note", "permissions", "can be read, but not written", "to change it, work on a copy")
    else:
        yield Finding("ok", "permissions", "can be read and written")
    usage = shutil.disk_usage(path)
    text, remedy = f"{size_text(usage.free)} are free on the disk", "free some: a full disk refuses what is new"
    yield _judged("space", text, remedy, fine=usage.free >= _LITTLE_SPACE * usage.total)
    file_path = read_ahead_file(path)
    if file_path is not None:
        kib = number_in(file_path, 128)
        fits = _READ_AHEAD[0] <= kib <= _READ_AHEAD[1]
        slow = "samples at random" if kib > _READ_AHEAD[1] else "samples in order"
        text = f"the disk fetches {kib:,} KiB around a cold read" + f", which makes reading {slow} slow" * (not fits)
        yield _judged("read-ahead", text, f"echo 128 | sudo tee {file_path}", fine=fits)


def _of_locks(path: Path) -> Iterator[Finding]:
    """Who holds the locks, if anybody does."""
    doing = {LOCK: "commits or compacts now", COMMIT: "builds this dataset", BUILD: "builds its replacement"}
    free = True
    for name, does in doing.items():
        for holder in lock_holders(path / name):
            free = False
            yield Finding("note", "locks", f"{name}: {holder} {does}", "wait for it, or end it")
    if free:
        yield Finding("ok", "locks", "nobody holds one")


# ---- the dataset


def _opened(path: Path, given: str) -> tuple["mn.DatasetHandle[Any] | None", list[Finding]]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            return mn.open(path, "r"), []
    except (MmapNinjaError, OSError, ImportError, ValueError) as error:
        damaged = isinstance(error, mn.CorruptDatasetError)
        remedy = f"mmap-ninja verify {given}, then mmap-ninja recover {given} OUT" if damaged else ""
        return None, [Finding("problem", "opening", said(error), remedy)]


def _of_dataset(path: Path, given: str, opened: "mn.DatasetHandle[Any]") -> Iterator[Finding]:
    kind, size = opened._kind, opened.nbytes  # noqa: SLF001 - of its class
    yield Finding("ok", "opening", f"{counted(len(opened), 'sample')} of kind {kind}, read by {opened.read_mode}")
    if not opened.complete and not lock_holders(path / COMMIT):
        text = f"the build of this dataset has not ended; it holds {counted(len(opened), 'sample')} so far"
        yield Finding("problem", "build", text, "run it again with --resume (in Python: if_exists='resume')")
    share = opened.garbage / max(size + opened.garbage, 1)
    commit = _read(path, COMMIT)
    edits = counted(0 if commit is None else commit.slots[0][1].edits, "edit")
    text = f"{size_text(opened.garbage)} of deleted and replaced samples, after {edits} ({share:.0%})"
    yield _judged("garbage", text, f"mmap-ninja compact {given}", fine=share <= _MUCH_GARBAGE)
    share = opened.residency()
    text = f"{share:.0%} of it is in memory" + "; the first epoch reads the disk" * (share < _RESIDENT)
    yield _judged("residency", text, "in Python: ds.warm()", fine=share >= _RESIDENT)
    report = mn.verify(path, "quick")
    for problem in report.problems:
        yield Finding("problem", "damage", str(problem), f"mmap-ninja recover {given} OUT")
    if report.ok:
        yield Finding("ok", "damage", "none at a quick look; `mmap-ninja verify` reads all")


def _of_commits(path: Path, given: str, samples: int) -> Iterator[Finding]:
    """What the commit files tell."""
    commit = _read(path, COMMIT)
    if commit is not None and commit.suspect:
        text = "a sync failed, so the last commits may not be on the disk: nobody can write"
        yield Finding("problem", "syncs", text, f"check the disk, then mmap-ninja recover {given} OUT")
    if commit is not None and (commits := commit.slots[0][1].seq) > max(_MANY_COMMITS, samples / _TINY):
        text = f"{commits:,} commits for {counted(samples, 'sample')}: storing them took long; reading does not care"
        yield Finding("note", "commits", text, "store batches: ds.extend(samples)")
    build = _read(path, BUILD)
    if build is not None and not lock_holders(path / BUILD):
        generation = build.slots[0][1].generation
        size = sum(files.size(file) for file in own_files(path) if generation_of(file.name) == generation)
        text = f"an interrupted replacement left {size_text(size)}"
        yield Finding("note", "leftovers", text, "run it again with --resume; the next replacement removes it")


def _read(path: Path, name: str) -> CommitFile | None:
    try:
        return read_commit(path, name)
    except (MmapNinjaError, OSError):
        return None
