"""Reading side of the engine: which commit is the newest that can be trusted, and the files it speaks of."""

import mmap
import os
import time
from pathlib import Path
from typing import Final, TypeGuard

import numpy as np
import numpy.typing as npt

from mmap_ninja import _kernel, files, format
from mmap_ninja.columns import Rule
from mmap_ninja.errors import (
    CorruptDatasetError,
    DatasetTruncatedError,
    FormatVersionError,
    NotADatasetError,
)
from mmap_ninja.format import EDIT_SIZE, Meta

_ATTEMPTS: Final = 10  # a slot can be torn under a reader, a generation can be switched; twice in a row is rare
_U64: Final = 8
_MOST_COMMITS: Final = 2**63  # so that there always is a next one
MOST_ROWS: Final = 2**60  # more would have offsets past 2^63 bytes


class Generation:
    """The open, read-only files of one generation."""

    def __init__(self, path: Path, meta: Meta, commit: "CommitFile | None") -> None:
        self.path = path
        self.meta = meta
        self.commit = commit  # the file that named it, if one did
        self.descriptors: list[int] = []

    def __del__(self) -> None:
        for descriptor in self.descriptors:
            os.close(descriptor)

    @classmethod
    def open(cls, path: Path, slot: _kernel.Slot, commit: "CommitFile | None") -> "Generation":
        """Open the generation that a slot names.

        Raises:
            FileNotFoundError: if a file is gone, as after a switch of generation by another process.
            CorruptDatasetError: if the meta is not the one that the slot was written with.
        """
        generation = cls(path, read_meta(path, slot), commit)
        for file in generation.meta.files:
            generation.descriptors.append(files.open_read(f"{path}/{file.name}"))
        return generation

    def edit_log(self, start: int, stop: int) -> bytes:
        """The lines of the edits file from `start` to `stop`, which are committed."""
        return files.read_at(
            self.descriptors[self.meta.edits_index], (stop - start) * EDIT_SIZE, start * EDIT_SIZE, self.path
        )

    def size_of(self, index: int, ranges: npt.NDArray[np.int64]) -> int:
        """Bytes of one file that hold some rows; `ranges` `[k, 2]`: the first of each run, and how many."""
        rule = self.meta.extents()[index]
        firsts, counts = ranges[:, 0], ranges[:, 1]
        if rule.rule is not Rule.PAYLOAD or not len(ranges):
            return int(counts.sum()) * rule.unit
        offsets = self.offsets(rule.offsets, (int((firsts + counts).max()) + 1) * _U64)
        return int((offsets[firsts + counts] - offsets[firsts]).sum()) * rule.unit

    def offsets(self, index: int, size: int) -> npt.NDArray[np.uint64]:
        """The numbers in the first `size` bytes of an offsets file, over a map if that is safe.

        A torn write may lie behind them.

        Raises:
            DatasetTruncatedError: if the file is shorter than that.
        """
        self._require(index, os.fstat(self.descriptors[index]).st_size >= size, size)
        if not files.reads_by_map(self.descriptors[index]):
            name = self.meta.files[index].name
            return np.frombuffer(files.read_at(self.descriptors[index], size, 0, self.path / name), np.uint64)
        return np.frombuffer(mmap.mmap(self.descriptors[index], size, access=mmap.ACCESS_READ), np.uint64)

    def extents(self, rows: int, edits: int, *, sums: bool = True) -> list[int]:
        """How many bytes of each file belong to a commit of so many rows and edits.

        Args:
            rows: The commit's rows.
            edits: Its edits.
            sums: Whether the file of checksums must be long enough, too.

        Raises:
            DatasetTruncatedError: if a file is shorter than that.
        """
        if rows >= MOST_ROWS:
            raise CorruptDatasetError(f"{self.path}: its commit speaks of {rows} samples; restore it from a copy")
        if rows and not (self.meta.columns and all(column.type.is_known for column in self.meta.columns)):
            raise CorruptDatasetError(
                f"{self.path}: its commit speaks of {rows} samples, of which its meta file tells no dtype or shape; "
                "restore it from a copy"
            )
        rules = self.meta.extents()
        extents: list[int] = []
        for index, rule in enumerate(rules):
            match rule.rule:
                case Rule.PAYLOAD:
                    offset = os.pread(self.descriptors[rule.offsets], _U64, rows * _U64)
                    self._require(rule.offsets, len(offset) == _U64, (rows + 1) * _U64)
                    units = int.from_bytes(offset, "little")
                case Rule.OFFSETS:
                    units = rows + 1
                case Rule.EDITS:
                    units = edits
                case Rule.ROWS:
                    units = rows
                case _:
                    summed = (extent for rule, extent in zip(rules, extents, strict=False) if rule.sealed)
                    units = sum(extent // _kernel.BLOCK for extent in summed)
            extents.append(units * rule.unit)
            size = os.fstat(self.descriptors[index]).st_size
            if sums or rule.rule is not Rule.SUMS:
                self._require(index, size >= extents[index], extents[index])
        return extents

    def _require(self, index: int, holds: bool, expected: int) -> None:
        if not holds:
            path = self.path / self.meta.files[index].name
            found = os.fstat(self.descriptors[index]).st_size
            raise DatasetTruncatedError(
                f"{path}: holds {found} bytes where the commit needs {expected}; it was truncated, or its offsets "
                "are damaged: restore it from a copy"
            )

    def verifies(self, slot: _kernel.Slot) -> bool:
        """Whether everything appended since the durable commit is what the slot's digest says.

        Reads those bytes: at most what was appended since the last durable commit.
        """
        try:
            durable = self.extents(slot.durable_rows, slot.durable_edits)
            extents = self.extents(slot.rows, slot.edits)
        except DatasetTruncatedError:
            return False
        if any(extent < before for extent, before in zip(extents, durable, strict=True)):
            return False  # offsets that did not survive
        digest = 0
        sums: set[bytes] = set()
        rules = self.meta.extents()
        for index, file in enumerate(self.meta.files):
            if not rules[index].sealed and file.role != "sums":
                if extents[index] > durable[index]:
                    return False  # nothing tells whether these bytes survived
                continue
            if file.role == "sums":
                written = os.pread(self.descriptors[index], extents[index] - durable[index], durable[index])
                return digest % 2**64 == slot.digest and sums == set(block_sums(written))
            part, complete = _kernel.range_digest(
                file.id, self.descriptors[index], durable[index], extents[index], str(self.path / file.name)
            )
            digest += part
            sums.update(block_sums(complete))
        return False


class CommitFile:
    """What a commit file holds: its readable slots with their places, newest first.

    It stays open, for its identity to be its own: the inode of a deleted file can be another one's at once.
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.slots: list[tuple[int, _kernel.Slot]] = []
        self.identity = files.identity(fd)

    def __del__(self) -> None:
        os.close(self.fd)

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

    def trusts(self, slot: _kernel.Slot) -> bool:
        """Whether a slot's data cannot have been lost: synced, or written to this very file since this boot."""
        boot = files.boot_id()
        same_boot = slot.boot == boot != bytes(16) and not self.suspect
        return slot.durable or (same_boot and (slot.device, slot.inode) == self.identity)

    def next_seq(self) -> int:
        """The first commit number that no slot has."""
        return 1 + max((slot.seq for _, slot in self.slots), default=0)


def check_features(path: Path, slot: _kernel.Slot) -> None:
    """Raise FormatVersionError if a commit needs what this version does not know."""
    if slot.features & ~format.KNOWN_FEATURES:
        raise FormatVersionError(
            f"{path}: the dataset uses features {slot.features:#x} that this version of mmap_ninja does not know: "
            "upgrade mmap_ninja"
        )


def read_meta(path: Path, slot: _kernel.Slot) -> Meta:
    """The meta of the generation that a slot names.

    Raises:
        FileNotFoundError: if it is gone, as after a switch of generation by another process.
        CorruptDatasetError: if it is not the one that the slot was written with.
    """
    meta_path = path / format.meta_name(slot.generation)
    data = files.read(meta_path, format.META_SIZE_LIMIT)
    if _kernel.xxh64(data) != slot.meta_digest:
        raise CorruptDatasetError(
            f"{meta_path}: its checksum is {_kernel.xxh64(data):016x} where the commit says "
            f"{slot.meta_digest:016x}; restore the file from a copy"
        )
    meta = format.decode_meta(data, str(meta_path))
    if (meta.uuid, meta.generation) != (slot.uuid, slot.generation):
        raise CorruptDatasetError(
            f"{meta_path}: belongs to dataset {meta.uuid.hex()}, generation {meta.generation}, where the commit "
            f"says {slot.uuid.hex()}, generation {slot.generation}; restore the directory from a copy"
        )
    return meta


def read_commit(path: Path, name: str = format.COMMIT) -> CommitFile:
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
            commit = CommitFile(files.open_read(commit_path))
        except (FileNotFoundError, NotADirectoryError):
            raise _no_dataset(path) from None
        data = os.pread(commit.fd, format.COMMIT_SIZE, 0)
        slots, states = commit.slots, []
        for place in range(_kernel.SLOTS):
            start = place * _kernel.SLOT_STRIDE
            state, slot, version = _kernel.decode_slot(
                data[start : start + _kernel.SLOT_SIZE].ljust(_kernel.SLOT_SIZE, b"\0")
            )
            if state == "newer":
                raise FormatVersionError(
                    f"{commit_path}: written in format version {version}; this version of mmap_ninja reads version "
                    f"{format.FORMAT_VERSION}: upgrade mmap_ninja"
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
    if len(data) < format.COMMIT_SIZE:
        raise DatasetTruncatedError(
            f"{commit_path}: holds {len(data)} bytes where {format.COMMIT_SIZE} were expected; restore it from a copy"
        )
    if "torn" in states:
        raise CorruptDatasetError(f"{commit_path}: none of its slots has a valid checksum; restore it from a copy")
    raise NotADatasetError(f"{commit_path}: is no commit file of mmap_ninja")


def newest(
    path: Path, name: str = format.COMMIT, known: Generation | None = None
) -> tuple[_kernel.Slot, Generation, list[int]]:
    """The newest commit that can be trusted, the open files of its generation, and how long it says that they are.

    Where it is of the `known` generation, that one's files are used again.

    Raises:
        NotADatasetError: if `path` holds no dataset.
        CorruptDatasetError: if no commit can be trusted, or a trusted one's files are damaged.
        FormatVersionError: if it needs features that this version does not know.
    """
    failed: OSError | CorruptDatasetError | None = None
    for attempt in range(_ATTEMPTS):
        commit = read_commit(path, name)
        try:
            found = _chosen(path, commit, known)
            if found[1] is known and found[0] is not commit.slots[0][1]:
                found = _chosen(path, commit, None)  # a newer one may be of files that have replaced those
        except FileNotFoundError as error:
            failed = error
            time.sleep(50e-6 * 2**attempt)
            continue
        except CorruptDatasetError as error:
            failed = error
            if known is None and files.is_at(commit.fd, path / name):
                raise
            known = None
            continue
        # Another directory can be put at the path, or the dataset be made anew: all files must be of one.
        if found[1] is known or files.is_at(commit.fd, path / name):
            return found
    if isinstance(failed, CorruptDatasetError):
        raise failed
    raise CorruptDatasetError(f"{path}: its commit names a file that is missing ({failed}); restore it from a copy")


def _chosen(path: Path, commit: CommitFile, known: Generation | None) -> tuple[_kernel.Slot, Generation, list[int]]:
    """The newest commit in a commit file that can be trusted, its files, and their extents."""
    for _, slot in commit.slots:
        check_features(path, slot)
        generation = known if commit.is_of(known, slot) else Generation.open(path, slot, commit)
        if commit.trusts(slot) or generation.verifies(slot):
            return slot, generation, generation.extents(slot.rows, slot.edits)
    raise CorruptDatasetError(
        f"{path}: no durable commit is intact, and the data of the others does not match its digest; restore the "
        "dataset from a copy"
    )


def block_sums(data: bytes) -> list[bytes]:
    """The entries of a sums file: `{u64 file, u64 block, u64 sum}` each."""
    size = 24
    return [data[at : at + size] for at in range(0, len(data), size)]


def _no_dataset(path: Path) -> NotADatasetError:
    try:
        found = files.names(path)
    except FileNotFoundError:
        return NotADatasetError(f"{path}: no such directory; create the dataset with one of the from_* constructors")
    except NotADirectoryError:
        return NotADatasetError(f"{path}: is a file, not the directory of a dataset")
    what = f"holds {found[:5]} but no {format.COMMIT} file" if found else "is an empty directory"
    return NotADatasetError(f"{path}: {what}; it is no dataset of mmap_ninja")
