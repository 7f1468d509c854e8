"""The commit file: its slots, and whether what they speak of can be trusted to be there."""

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, TypeGuard

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

if TYPE_CHECKING:
    from mmap_ninja.engine.generation import Generation

_ATTEMPTS: Final = 10  # a slot can be torn under a reader; twice in a row is rare
_MOST_COMMITS: Final = 2**63  # so that there always is a next one


class Look:
    """A look at the slots of a commit file, which later looks rest on.

    Args:
        file: The open file; as long as it is, its file system is mounted somewhere.
        path: Its path.
        latest: The greatest number of a commit then. Whatever is later was written while it was open.
        accepted: The number, and the digest, of the commit whose bytes were found to be there.
        slots: What was readable, with its place.
    """

    def __init__(
        self,
        file: _kernel.File,
        path: Path,
        latest: int,
        accepted: tuple[int, int],
        slots: list[tuple[int, _kernel.Slot]],
    ) -> None:
        self._file = file
        self._path = path
        self.identity = files.identity(file.fileno())
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
    """What a commit file holds: its readable slots with their places, newest first.

    It stays open, for its identity to be its own: the inode of a deleted file can be another one's at once.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file = files.open_read(path)
        self.slots: list[tuple[int, _kernel.Slot]] = []
        self.identity = files.identity(self.fd)
        self.looked: Look | None = None  # what was found out about it

    @property
    def fd(self) -> int:
        """Its descriptor."""
        return self.file.fileno()

    def is_of(self, known: Generation | None, slot: _kernel.Slot) -> TypeGuard[Generation]:
        """Whether a slot speaks of the files that are open already; a copy of a dataset can have the same uuid."""
        return (
            known is not None
            and known.commit is not None
            and (known.commit.identity, known.meta.uuid, known.meta.generation)
            == (self.identity, slot.uuid, slot.generation)
            and files.stays_itself(self.fd)
        )

    @property
    def suspect(self) -> bool:
        """Whether a sync of the dataset failed: what is not durable may be lost although the system runs on."""
        return any(slot.flags & _kernel.SUSPECT for _, slot in self.slots)

    def accepts(self, slot: _kernel.Slot, generation: Generation, look: Look | Told | None) -> bool:
        """Whether all that a commit speaks of is there.

        It is where it was synced, and where it was written to this very file since this boot, and the file system has
        been mounted all the time: as the mount and the medium tell, or a `look` that found an open descriptor, which
        keeps it mounted somewhere. Else its digest tells.
        """
        if slot.durable:
            return True
        if look is not None and not look.is_of(self):
            look = None
        if look is not None and look.accepted == (slot.seq, slot.digest) and not self.suspect:
            return True
        boot = files.boot_id()
        same_boot = slot.boot == boot != bytes(16) and not self.suspect
        if not same_boot or (slot.device, slot.inode) != self.identity:
            return generation.verifies(slot)
        if look is not None and slot.seq > look.latest:
            return True
        found = files.surroundings(self.fd, self.path)
        known = zip((slot.mount, slot.disk), found, strict=True)
        return all(0 in pair or pair[0] == pair[1] for pair in known) or generation.verifies(slot, unsealed=True)

    def next_seq(self) -> int:
        """The first commit number that no slot has."""
        return 1 + max((slot.seq for _, slot in self.slots), default=0)


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
    commit_path = path / name
    before = b""
    for attempt in range(_ATTEMPTS):
        try:
            commit = CommitFile(commit_path)
        except (FileNotFoundError, NotADirectoryError):
            raise _no_dataset(path) from None
        data = os.pread(commit.fd, COMMIT_SIZE, 0)
        slots, states = commit.slots, []
        for place in range(_kernel.SLOTS):
            start = place * _kernel.SLOT_STRIDE
            state, slot, version = _kernel.decode_slot(
                data[start : start + _kernel.SLOT_SIZE].ljust(_kernel.SLOT_SIZE, b"\0")
            )
            if state == "newer":
                raise FormatVersionError(
                    f"{commit_path}: written in format version {version}; this version of mmap_ninja reads version "
                    f"{FORMAT_VERSION}: upgrade mmap_ninja"
                )
            states.append(state)
            if slot is not None and slot.seq >= _MOST_COMMITS:
                raise CorruptDatasetError(f"{commit_path}: speaks of commit number {slot.seq}; restore it from a copy")
            if slot is not None:
                slots.append((place, slot))
        # Two slots can be torn under one slow read, which must not go back to a commit before both: look again.
        if slots and ("torn" not in states or data == before):
            slots.sort(key=lambda placed: (placed[1].seq, placed[1].durable), reverse=True)
            return commit
        before = data
        time.sleep(50e-6 * 2**attempt)
    if len(data) < COMMIT_SIZE:
        raise DatasetTruncatedError(
            f"{commit_path}: holds {len(data)} bytes where {COMMIT_SIZE} were expected; restore it from a copy"
        )
    if "torn" in states:
        raise CorruptDatasetError(f"{commit_path}: none of its slots has a valid checksum; restore it from a copy")
    raise NotADatasetError(f"{commit_path}: is no commit file of mmap_ninja")


def drop_rejected(commit_path: Path, commit: CommitFile, accepted: _kernel.Slot) -> None:
    """Zero the slots that are newer than the accepted one: their data did not survive. Under the lock."""
    if commit.suspect:
        raise CommitUncertainError(
            f"{commit_path}: a sync of this dataset failed before, so its last commits may be lost; it can be read but "
            "not appended to: see mmap_ninja.recover, or rebuild it from its source"
        )
    rejected = [place for place, slot in commit.slots if slot.seq > accepted.seq]
    if rejected:
        with files.open_write(commit_path) as file:
            for place in rejected:
                files.write(file, bytes(_kernel.SLOT_SIZE), place * _kernel.SLOT_STRIDE, commit_path)


def _no_dataset(path: Path) -> NotADatasetError:
    try:
        found = files.names(path)
    except FileNotFoundError:
        return NotADatasetError(f"{path}: no such directory; create the dataset with one of the from_* constructors")
    except NotADirectoryError:
        return NotADatasetError(f"{path}: is a file, not the directory of a dataset")
    what = f"holds {found[:5]} but no {COMMIT} file" if found else "is an empty directory"
    return NotADatasetError(f"{path}: {what}; it is no dataset of mmap_ninja")
