"""The commit file: its slots, and what earlier looks at it found out."""

import os
import time
from pathlib import Path
from typing import Final, NamedTuple

from mmap_ninja import _kernel
from mmap_ninja.engine import files
from mmap_ninja.errors import (
    CommitUncertainError,
    CorruptDatasetError,
    DatasetTruncatedError,
    FormatVersionError,
    NotADatasetError,
)
from mmap_ninja.exported import exported
from mmap_ninja.format.names import COMMIT, is_stray_name
from mmap_ninja.format.slots import COMMIT_SIZE, FORMAT_VERSION, KNOWN_FEATURES

_ATTEMPTS: Final = 10  # a slot can be torn under a reader; twice in a row is rare
_MOST_COMMITS: Final = 2**63  # so that there is always a next number


class Look:
    """A look at the slots of a commit file, on which later looks rely.

    Args:
        commit: The file; while it is open, its filesystem stays mounted somewhere.
        latest: The greatest commit number then; later commits were written while the file was open.
        accepted: Number and digest of the commit whose bytes were found to be complete.
        slots: The readable slots with their places.
    """

    def __init__(
        self,
        commit: "CommitFile",
        latest: int,
        accepted: tuple[int, int],
        slots: list[tuple[int, _kernel.Slot]],
    ) -> None:
        # Not the CommitFile, which refers to its latest look: a cycle would keep the file open.
        self._file = commit.file
        self._path = commit.path
        self.identity: tuple[int, int] = commit.identity
        self.latest = latest
        self.accepted = accepted
        self.slots = slots

    def is_of(self, commit: "CommitFile") -> bool:
        """Whether this was a look at the same file."""
        return self.identity == commit.identity

    def told(self) -> "Told":
        """The part of it that holds for other processes, if they open the file on the same mount."""
        surroundings = files.surroundings(self._file.fileno(), self._path)
        return Told(files.boot_id(), self.identity, surroundings, self.latest, self.accepted)


@exported
class Told(NamedTuple):
    """A look at a commit file by another process, from a pickle."""

    boot: bytes
    identity: tuple[int, int]
    surroundings: tuple[int, int]
    latest: int
    accepted: tuple[int, int]

    def is_of(self, commit: "CommitFile") -> bool:
        """Whether this was a look at the same file, on a filesystem that has stayed mounted."""
        return (
            self.identity == commit.identity
            and self.boot == files.boot_id() != bytes(16)
            and self.surroundings[0] != 0
            and self.surroundings == files.surroundings(commit.fd, commit.path)
        )


class CommitFile:
    """An open commit file and its slots.

    The file stays open, so that its inode identifies it: that of a deleted file can be reused at once.

    Args:
        path: Its path.
        file: The open file.
        slots: Its readable slots with their places, newest first; at least one.
        data: Its bytes.
    """

    def __init__(self, path: str, file: _kernel.File, slots: list[tuple[int, _kernel.Slot]], data: bytes) -> None:
        self.path = path
        self.file = file
        self.slots = slots
        self._data = data
        self.identity: tuple[int, int] = file.identity
        self.looked: Look | None = None  # the latest look
        # Whether a sync of the dataset failed: commits that are not durable may be lost even without a power loss.
        self.suspect: bool = bool([1 for _, slot in slots if slot.flags & _kernel.SUSPECT])

    @property
    def fd(self) -> int:
        """The file's descriptor."""
        return self.file.fileno()

    def next_seq(self) -> int:
        """The first unused commit number."""
        return self.slots[0][1].seq + 1

    def names_the_same(self) -> bool:
        """Whether it still names the generations that it named when it was read.

        If so, their files were not removed meanwhile, and no others can have got their names.
        """
        data, before = os.pread(self.file.fileno(), COMMIT_SIZE, 0), self._data
        self._data = b""  # as long as a dataset is open, this would be kept
        if data == before:
            return True
        slots, _ = _decode_slots(data, self.path)
        old, new = ({(slot.generation, slot.meta_digest) for _, slot in named} for named in (self.slots, slots))
        return old == new


def check_features(path: Path, slot: _kernel.Slot) -> None:
    """Raise FormatVersionError if a commit needs features that this version does not know."""
    if slot.features & ~KNOWN_FEATURES:
        raise FormatVersionError(
            f"{path}: the dataset uses features {slot.features:#x} that this version of mmap_ninja does not know: "
            "upgrade mmap_ninja"
        )


def read_commit(path: Path, name: str = COMMIT) -> CommitFile:
    """Read the slots of a commit file.

    Raises:
        NotADatasetError: if there is no such file, or this library did not write it.
        CorruptDatasetError: if no slot is intact.
        FormatVersionError: if a newer version of this library wrote it.
    """
    commit_path = f"{path}/{name}"
    before = b""
    for attempt in range(_ATTEMPTS):
        try:
            file = files.open_read(commit_path)
        except (FileNotFoundError, NotADirectoryError):
            raise _no_dataset(path) from None
        except CorruptDatasetError as error:
            if Path(commit_path).is_symlink():  # as in the cache of a model hub; nothing is damaged
                raise NotADatasetError(str(error)) from None
            raise
        data = os.pread(file.fileno(), COMMIT_SIZE, 0)
        slots, states = _decode_slots(data, commit_path)
        # A slow read can find two slots torn; it must not fall back to a commit before both, but look again.
        if slots and ("torn" not in states or data == before):
            return CommitFile(commit_path, file, slots, data)
        before = data
        time.sleep(50e-6 * 2**attempt)
    if len(data) < COMMIT_SIZE:
        raise DatasetTruncatedError(
            f"{commit_path}: {len(data)} bytes where {COMMIT_SIZE} were expected; restore it from a copy"
        )
    if "torn" in states:
        raise CorruptDatasetError(f"{commit_path}: no slot has a valid checksum; restore it from a copy")
    raise NotADatasetError(f"{commit_path}: is not a commit file of mmap_ninja; choose another path")


def _decode_slots(data: bytes, commit_path: str) -> tuple[list[tuple[int, _kernel.Slot]], list[str]]:
    """The readable slots with their places, newest first, and the states of all."""
    ranked, states = [], []
    for place in range(_kernel.SLOTS):
        start = place * _kernel.SLOT_STRIDE
        raw = data[start : start + _kernel.SLOT_SIZE].ljust(_kernel.SLOT_SIZE, b"\0")
        state, slot, version = _kernel.decode_slot(raw)
        if state == "newer":
            raise FormatVersionError(
                f"{commit_path}: written in format version {version}; this version of mmap_ninja reads version "
                f"{FORMAT_VERSION}: upgrade mmap_ninja"
            )
        states.append(state)
        if slot is not None:
            if slot.seq >= _MOST_COMMITS:
                raise CorruptDatasetError(
                    f"{commit_path}: commit number {slot.seq} where less than 2^63 was expected; restore it from a copy"
                )
            ranked.append(
                (slot.seq, slot.durable, -place, slot)
            )  # the first three differ, so that slots are not compared
    ranked.sort(reverse=True)
    return [(-place, slot) for _, _, place, slot in ranked], states


def drop_rejected(commit: CommitFile, accepted: _kernel.Slot) -> None:
    """Zero the slots that are newer than the accepted one, since their data is lost; the caller holds the lock."""
    if commit.suspect:
        raise CommitUncertainError(
            f"{commit.path}: a sync of this dataset failed before, so its last commits may be lost; it can be read, "
            "but not changed: use mmap_ninja.recover, or rebuild it from its source"
        )
    rejected = [place for place, slot in commit.slots if slot.seq > accepted.seq]
    if rejected:
        with files.open_write(commit.path) as file:
            for place in rejected:
                files.write(file, bytes(_kernel.SLOT_SIZE), place * _kernel.SLOT_STRIDE, commit.path)


def _no_dataset(path: Path) -> NotADatasetError:
    try:
        found = files.names(path)
    except FileNotFoundError:
        return NotADatasetError(
            f"{path}: no such directory; check the path, or create the dataset with one of the from_* constructors"
        )
    except NotADirectoryError:
        return NotADatasetError(f"{path}: is a file, not the directory of a dataset")
    found = [name for name in found if not is_stray_name(name)]
    what = f"holds {found[:5]} but no {COMMIT} file" if found else "is an empty directory"
    return NotADatasetError(f"{path}: {what}; it is not a dataset of mmap_ninja")
