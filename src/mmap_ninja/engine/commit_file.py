"""The commit file: its slots, and what a look at them has found out."""

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
from mmap_ninja.format.names import COMMIT
from mmap_ninja.format.slots import COMMIT_SIZE, FORMAT_VERSION, KNOWN_FEATURES

_ATTEMPTS: Final = 10  # a slot can be torn under a reader; twice in a row is rare
_MOST_COMMITS: Final = 2**63  # so that there always is a next one


class Look:
    """A look at the slots of a commit file, which later looks rest on.

    Args:
        commit: The file; as long as it is open, its file system is mounted somewhere.
        latest: The greatest number of a commit then. Whatever is later was written while it was open.
        accepted: The number, and the digest, of the commit whose bytes were found to be there.
        slots: What was readable, with its place.
    """

    def __init__(
        self,
        commit: "CommitFile",
        latest: int,
        accepted: tuple[int, int],
        slots: list[tuple[int, _kernel.Slot]],
    ) -> None:
        # Not the object: it holds its latest look, and a cycle would keep the file open.
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
        """What a process may be told that opens the file on the same mount."""
        surroundings = files.surroundings(self._file.fileno(), self._path)
        return Told(files.boot_id(), self.identity, surroundings, self.latest, self.accepted)


@exported
class Told(NamedTuple):
    """A look at a commit file by another process, as a pickle carries it."""

    boot: bytes
    identity: tuple[int, int]
    surroundings: tuple[int, int]
    latest: int
    accepted: tuple[int, int]

    def is_of(self, commit: "CommitFile") -> bool:
        """Whether it was at the same file, whose file system has been mounted since."""
        return (
            self.identity == commit.identity
            and self.boot == files.boot_id() != bytes(16)
            and self.surroundings[0] != 0
            and self.surroundings == files.surroundings(commit.fd, commit.path)
        )


class CommitFile:
    """What a commit file holds.

    It stays open, for its identity to be its own: the inode of a deleted file can be another one's at once.

    Args:
        path: Its path.
        file: The same, open.
        slots: Its readable slots with their places, newest first; one at least.
    """

    def __init__(self, path: str, file: _kernel.File, slots: list[tuple[int, _kernel.Slot]]) -> None:
        self.path = path
        self.file = file
        self.slots = slots
        self.identity: tuple[int, int] = files.identity(file.fileno())
        self.looked: Look | None = None  # what was found out about it
        # Whether a sync of the dataset failed: what is not durable may be lost although the system runs on.
        self.suspect: bool = bool([1 for _, slot in slots if slot.flags & _kernel.SUSPECT])

    @property
    def fd(self) -> int:
        """Its descriptor."""
        return self.file.fileno()

    def next_seq(self) -> int:
        """The first commit number that no slot has."""
        return self.slots[0][1].seq + 1


def check_features(path: Path, slot: _kernel.Slot) -> None:
    """Raise FormatVersionError if a commit needs what this version does not know."""
    if slot.features & ~KNOWN_FEATURES:
        raise FormatVersionError(
            f"{path}: the dataset uses features {slot.features:#x} that this version of mmap_ninja does not know: "
            "upgrade mmap_ninja"
        )


def read_commit(path: Path, name: str = COMMIT) -> CommitFile:
    """Read the slots of a commit file.

    Raises:
        NotADatasetError: if there is no such file, or it is not one of this library's.
        CorruptDatasetError: if no slot is intact.
        FormatVersionError: if the newest version that wrote it is newer than this one.
    """
    commit_path = f"{path}/{name}"
    before = b""
    for attempt in range(_ATTEMPTS):
        try:
            file = files.open_read(commit_path)
        except (FileNotFoundError, NotADirectoryError):
            raise _no_dataset(path) from None
        data = os.pread(file.fileno(), COMMIT_SIZE, 0)
        slots, states = _decode_slots(data, commit_path)
        # Two slots can be torn under one slow read, which must not go back to a commit before both: look again.
        if slots and ("torn" not in states or data == before):
            return CommitFile(commit_path, file, slots)
        before = data
        time.sleep(50e-6 * 2**attempt)
    if len(data) < COMMIT_SIZE:
        raise DatasetTruncatedError(
            f"{commit_path}: holds {len(data)} bytes where {COMMIT_SIZE} were expected; restore it from a copy"
        )
    if "torn" in states:
        raise CorruptDatasetError(f"{commit_path}: none of its slots has a valid checksum; restore it from a copy")
    raise NotADatasetError(f"{commit_path}: is no commit file of mmap_ninja")


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
                raise CorruptDatasetError(f"{commit_path}: speaks of commit number {slot.seq}; restore it from a copy")
            ranked.append((slot.seq, slot.durable, -place, slot))  # no two are equal before the slot
    ranked.sort(reverse=True)
    return [(-place, slot) for _, _, place, slot in ranked], states


def drop_rejected(commit: CommitFile, accepted: _kernel.Slot) -> None:
    """Zero the slots that are newer than the accepted one: their data did not survive. Under the lock."""
    if commit.suspect:
        raise CommitUncertainError(
            f"{commit.path}: a sync of this dataset failed before, so its last commits may be lost; it can be read but "
            "not appended to: see mmap_ninja.recover, or rebuild it from its source"
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
        return NotADatasetError(f"{path}: no such directory; create the dataset with one of the from_* constructors")
    except NotADirectoryError:
        return NotADatasetError(f"{path}: is a file, not the directory of a dataset")
    what = f"holds {found[:5]} but no {COMMIT} file" if found else "is an empty directory"
    return NotADatasetError(f"{path}: {what}; it is no dataset of mmap_ninja")
