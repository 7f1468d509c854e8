"""The reading side of the engine: finds the newest commit that can be trusted, and opens its files."""

import mmap
import os
import re
import time
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from mmap_ninja import _kernel
from mmap_ninja.columns.types import LengthRule
from mmap_ninja.engine import files
from mmap_ninja.engine.commit_file import CommitFile, Look, Told, check_features, read_commit
from mmap_ninja.errors import CorruptDatasetError, DatasetTruncatedError, StaleHandleError
from mmap_ninja.exported import exported
from mmap_ninja.format import lengths
from mmap_ninja.format.meta import META_SIZE_LIMIT, Meta, decode_meta
from mmap_ninja.format.names import COMMIT, meta_name
from mmap_ninja.format.slots import EDIT_SIZE, SUM_SIZE

_OPEN: Final = frozenset({"data", "edits", "sums"})  # the roles of files that stay open
_AT_ONCE: Final = 64  # of more files, the others are not open at the same time even before they are mapped
_ATTEMPTS: Final = 10  # a slot can be torn under a reader, a generation can be switched; twice in a row is rare
_U64: Final = 8
_SUMS_AT_ONCE: Final = SUM_SIZE << 16  # bytes of a sums file
_COMMIT_ID: Final = re.compile("([0-9a-f]{16})-([0-9a-f]{1,16})-([0-9a-f]{1,16})-([0-9a-f]{16})")
MOST_ROWS: Final = 2**60  # offsets of more rows would pass 2^63 bytes


@exported
class Identity(NamedTuple):
    """Identifies a commit for pickles; the content sum distinguishes it from a commit that took its place."""

    uuid: bytes
    generation: int
    meta_digest: int
    rows: int
    edits: int
    content: int

    @property
    def commit_id(self) -> str:
        """The identity as a string; the digest of the meta covers the uuid and the generation."""
        return f"{self.meta_digest:016x}-{self.rows:x}-{self.edits:x}-{self.content:016x}"

    @classmethod
    def of_0x(cls, uuid: bytes, generation: int, rows: int) -> "Identity":
        """The identity of a directory of 0.x, whose content sum is not known; it stays valid after an upgrade."""
        return cls(uuid, generation, int.from_bytes(uuid[:8], "little"), rows, 0, 0)

    def named(self, commit_id: str) -> "Identity":
        """The identity of a commit of the same generation, from its string.

        Raises:
            ValueError: if the string is not that of a commit.
        """
        match = _COMMIT_ID.fullmatch(commit_id)
        if match is None:
            raise ValueError(f"commit_id {commit_id!r:.80}: expected a string from the commit_id of a handle")
        return Identity(self.uuid, self.generation, *(int(part, 16) for part in match.groups()))


class Generation:
    """The files of one generation.

    Those of samples, edits and sums are open. The others are let go when they are mapped, and opened again for a moment
    when they are read otherwise, since a process has few descriptors; unless a log writes to them.
    """

    def __init__(self, path: Path, meta: Meta, commit: CommitFile | None) -> None:
        self.path = path
        self.meta = meta
        self.commit = commit  # the file that named it, if any
        self.files: list[_kernel.File] = []  # in the order of the meta
        self.payloads: list[int] = [index for index, file in enumerate(meta.files) if file.role == "data"]

    @classmethod
    def open(cls, path: Path, slot: _kernel.Slot, commit: CommitFile | None) -> "Generation":
        """Open the generation that a slot names.

        Raises:
            FileNotFoundError: if a file is missing, as after another process switched the generation.
            CorruptDatasetError: if the meta is not the one that the slot names.
        """
        generation = cls(path, read_meta(path, slot), commit)
        are_few = len(generation.meta.files) <= _AT_ONCE
        for file in generation.meta.files:
            opened = files.open_read if are_few or file.role in _OPEN else files.named
            generation.files.append(opened(f"{path}/{file.name}"))
        return generation

    def opened(self, index: int) -> _kernel.File:
        """An open file, for as long as the result is referred to.

        Raises:
            StaleHandleError: if it is no longer at its path, as after another process switched the generation.
        """
        return self.files[index].borrowed()

    def all_opened(self) -> list[_kernel.File]:
        """All files, likewise."""
        return [file.borrowed() for file in self.files]

    def with_opened(self, column: int) -> "Generation":
        """The same generation; the files of a column are open for as long as the result is referred to, likewise."""
        opened = Generation(self.path, self.meta, self.commit)
        for file, of in zip(self.files, self.meta.files, strict=True):
            opened.files.append(file.borrowed() if of.column == column else file)
        return opened

    def open_for_writing(self) -> list[_kernel.File]:
        """All files, open for reading and writing: those that are open already, and others for those that are not.

        Raises:
            StaleHandleError: if others are at their paths by now.
            ReadOnlyError: if the permissions or the filesystem forbid it.
        """
        opened = []
        for index, file in enumerate(self.files):
            writable = files.open_write(f"{self.path}/{self.meta.files[index].name}")
            if writable.identity != file.borrowed().identity:
                raise stale(self.path)
            if file.fileno() >= 0:  # one descriptor for readers and the log
                file.take_over(writable)
            opened.append(writable if file.fileno() < 0 else file)
        return opened

    def let_go(self) -> None:
        """Keep no file open. They are opened again when they are read, if they are still at their paths."""
        for file in self.files if self.commit is None else (*self.files, self.commit.file):
            file.let_go()

    def edit_log(self, start: int, stop: int) -> bytes:
        """Committed lines of the edits file, from `start` to `stop`."""
        file = self.opened(self.meta.edits_index)
        return files.read_at(file.fileno(), (stop - start) * EDIT_SIZE, start * EDIT_SIZE, self.path)

    def size_of(self, index: int, ranges: npt.NDArray[np.int64]) -> int:
        """Bytes that rows take in one file; `ranges` `[k, 2]`: first row and number of rows of each run."""
        rule = self.meta.rules[index]
        firsts, counts = ranges[:, 0], ranges[:, 1]
        if rule.length is not LengthRule.PAYLOAD or not len(ranges):
            return int(counts.sum()) * rule.unit
        offsets = self.offsets(rule.offsets, (int((firsts + counts).max()) + 1) * _U64)
        return int((offsets[firsts + counts] - offsets[firsts]).sum()) * rule.unit

    def offsets(self, index: int, size: int) -> npt.NDArray[np.uint64]:
        """The numbers in the first `size` bytes of an offsets file, mapped if that is safe.

        Bytes after them may be from a torn write.

        Raises:
            DatasetTruncatedError: if the file is too short.
        """
        numbers = self.files[index].mapped_numbers(size)
        if numbers is not None:  # also after another process has removed the file
            return numbers
        file = self.opened(index)
        fd = file.fileno()
        if os.fstat(fd).st_size < size:
            raise self._too_short(index, size)
        if not files.reads_by_map(fd):
            path = self.path / self.meta.files[index].name
            return np.frombuffer(files.read_at(fd, size, 0, path), np.uint64)
        return np.frombuffer(mmap.mmap(fd, size, access=mmap.ACCESS_READ), np.uint64)

    def extents(self, rows: int, edits: int, *, sums: bool = True) -> list[int]:
        """The bytes of each file that belong to a commit.

        Args:
            rows: The number of rows in the commit.
            edits: The number of its edits.
            sums: Whether to check the length of the sums file, too.

        Raises:
            DatasetTruncatedError: if a file is too short.
        """
        if rows >= MOST_ROWS:
            raise CorruptDatasetError(
                f"{self.path}: its commit has {rows} rows where fewer than 2^60 were expected; restore it from a copy"
            )
        if rows and not self.meta.is_known:
            raise CorruptDatasetError(
                f"{self.path}: its commit has {rows} rows, but its meta file lacks their dtype or shape; restore it "
                "from a copy"
            )
        rules = self.meta.rules
        ends, sizes = [0] * len(rules), [0] * len(rules)
        for index, (rule, file) in enumerate(zip(rules, self.files, strict=True)):
            opened = file.borrowed()
            sizes[index] = os.fstat(opened.fileno()).st_size
            if rule.length is LengthRule.OFFSETS:
                end = os.pread(opened.fileno(), _U64, rows * _U64)
                if len(end) < _U64:
                    raise self._too_short(index, (rows + 1) * _U64)
                ends[index] = int.from_bytes(end, "little")
        ends = [ends[rule.offsets] if rule.length is LengthRule.PAYLOAD else 0 for rule in rules]
        extents = lengths.extents(rules, rows, edits, ends)
        for index, extent in enumerate(extents):
            if sizes[index] < extent and (sums or rules[index].length is not LengthRule.SUMS):
                raise self._too_short(index, extent)
        return extents

    def _too_short(self, index: int, expected: int) -> DatasetTruncatedError:
        path = self.path / self.meta.files[index].name
        file = self.opened(index)
        found = os.fstat(file.fileno()).st_size
        return DatasetTruncatedError(
            f"{path}: {found} bytes where the commit needs {expected}; it was truncated, or its offsets are damaged: "
            "restore it from a copy"
        )

    def content_sum(self, slot: _kernel.Slot, extents: list[int]) -> int:
        """The sum of the hashes of all blocks of a commit; computed from the files if an older writer left it out."""
        if slot.carries & _kernel.SUMS:
            return slot.content
        return (self._sum_of_lines(0, extents[-1]) + self._ends(extents)) % 2**64

    def content_before(self, content: int, extents: list[int], earlier: list[int]) -> int:
        """The content sum of an earlier commit, from that of this one; reads what was appended since."""
        since = self._sum_of_lines(earlier[-1], extents[-1])
        return (content - since - self._ends(extents) + self._ends(earlier)) % 2**64

    def _sum_of_lines(self, start: int, stop: int) -> int:
        """The sum of the checksums in a range of the sums file."""
        total, file = 0, self.opened(-1)
        for at in range(start, stop, _SUMS_AT_ONCE):
            data = files.read_at(file.fileno(), min(_SUMS_AT_ONCE, stop - at), at, self.path)
            total += int(np.frombuffer(data, np.uint64)[2::3].sum(dtype=np.uint64))
        return total % 2**64

    def _ends(self, extents: list[int]) -> int:
        """The sum of the hashes of the partial blocks at the ends of files."""
        total = 0
        for index, (file, rule, extent) in enumerate(zip(self.meta.files, self.meta.rules, extents, strict=True)):
            if rule.sealed and extent % _kernel.BLOCK:
                start, of = extent // _kernel.BLOCK * _kernel.BLOCK, self.opened(index)
                total += _kernel.range_digest(file.id, of.fileno(), start, extent, str(self.path / file.name))[0]
        return total

    def is_named_by(self, slot: _kernel.Slot, commit: CommitFile) -> bool:
        """Whether a slot refers to these files; a copy of a dataset has the same uuid."""
        return (
            self.commit is not None
            and self.commit.identity == commit.identity
            and (self.meta.uuid, self.meta.generation) == (slot.uuid, slot.generation)
            and files.stays_itself(commit.fd)
        )

    def has_all_of(self, slot: _kernel.Slot, commit: CommitFile, look: Look | Told | None) -> bool:
        """Whether all bytes of a commit are present.

        They are if the commit was synced, or if it was written to this very file since this boot and the filesystem has
        stayed mounted. The mount and the disk show the latter, or a `look`, whose open descriptor keeps the filesystem
        mounted. Otherwise the digest is checked.
        """
        if slot.durable:
            return True
        if look is not None and not look.is_of(commit):
            look = None
        if look is not None and look.accepted == (slot.seq, slot.digest) and not commit.suspect:
            return True
        boot = files.boot_id()
        same_boot = slot.boot == boot != bytes(16) and not commit.suspect
        if not same_boot or (slot.device, slot.inode) != commit.identity:
            return self.verifies(slot)
        if look is not None and slot.seq > look.latest:
            return True
        found = files.surroundings(commit.fd, commit.path)
        known = zip((slot.mount, slot.disk), found, strict=True)
        return all(0 in pair or pair[0] == pair[1] for pair in known) or self.verifies(slot, unsealed=True)

    def verifies(self, slot: _kernel.Slot, *, unsealed: bool = False) -> bool:
        """Whether everything appended since the durable commit matches the slot's digest.

        Reads those bytes: at most what was appended since the last durable commit.

        Args:
            slot: The slot of the commit.
            unsealed: Whether to trust bytes that no digest covers.
        """
        try:
            durable = self.extents(slot.durable_rows, slot.durable_edits)
            extents = self.extents(slot.rows, slot.edits)
        except DatasetTruncatedError:
            return False
        if any(extent < before for extent, before in zip(extents, durable, strict=True)):
            return False  # offsets were lost
        digest = 0
        sums: set[bytes] = set()
        rules = self.meta.rules
        for index, file in enumerate(self.meta.files):
            if not rules[index].sealed and file.role != "sums":
                if extents[index] > durable[index] and not unsealed:
                    return False  # these bytes have no digest
                continue
            of = self.opened(index)
            if file.role == "sums":
                written = os.pread(of.fileno(), extents[index] - durable[index], durable[index])
                return digest % 2**64 == slot.digest and sums == set(block_sums(written))
            part, complete = _kernel.range_digest(
                file.id, of.fileno(), durable[index], extents[index], str(self.path / file.name)
            )
            digest += part
            sums.update(block_sums(complete))
        return False


def descriptors_to_open(meta: Meta) -> int:
    """How many descriptors opening a generation takes, with its commit file, meta file, LOCK and directory."""
    of_files = len(meta.files) if len(meta.files) <= _AT_ONCE else len(meta.columns) + 2
    return of_files + 4


_LAST_WRITTEN: Final[list[Meta]] = []
_REMEMBERED: Final = 64 << 10  # maximum bytes of a cached meta; one with a dictionary is larger


def written(meta: Meta) -> None:
    """Cache a meta that was just written: it is read back at once, and parsing takes a third of a first append."""
    # Not one that reading could refuse: that must fail now, before a commit names it and nobody can open the dataset.
    if meta.reads_as_itself and len(meta.encode()) <= _REMEMBERED:
        _LAST_WRITTEN[:] = [meta]


def read_meta(path: Path, slot: _kernel.Slot) -> Meta:
    """The meta of the generation that a slot names.

    Raises:
        FileNotFoundError: if it is missing, as after another process switched the generation.
        CorruptDatasetError: if it is not the one that the slot names.
    """
    meta_path = f"{path}/{meta_name(slot.generation)}"
    data = files.read(meta_path, META_SIZE_LIMIT)
    if _kernel.xxh64(data) != slot.meta_digest:
        raise CorruptDatasetError(
            f"{meta_path}: checksum {_kernel.xxh64(data):016x} where the commit has "
            f"{slot.meta_digest:016x}; restore the file from a copy"
        )
    known = _LAST_WRITTEN[0] if _LAST_WRITTEN else None
    meta = known if known is not None and known.encode() == data else decode_meta(data, meta_path)
    if (meta.uuid, meta.generation) != (slot.uuid, slot.generation):
        raise CorruptDatasetError(
            f"{meta_path}: dataset {meta.uuid.hex()}, generation {meta.generation}, where the commit has "
            f"{slot.uuid.hex()}, generation {slot.generation}; restore the directory from a copy"
        )
    return meta


class Newest(NamedTuple):
    """The newest commit that can be trusted.

    Args:
        slot: Its slot.
        generation: Its open files.
        extents: The bytes of each file that belong to it.
        commit: The commit file that holds it.
    """

    slot: _kernel.Slot
    generation: Generation
    extents: list[int]
    commit: CommitFile


def newest(path: Path, name: str = COMMIT, known: Generation | None = None, look: Look | Told | None = None) -> Newest:
    """The newest commit at a path that can be trusted.

    If its generation is `known`, the open files are reused. `look`: an earlier look at the commit file.

    Raises:
        NotADatasetError: if there is no dataset at the path.
        CorruptDatasetError: if no commit can be trusted, or the files of the trusted one are damaged.
        FormatVersionError: if it needs features that this version does not know.
    """
    failed: OSError | CorruptDatasetError | StaleHandleError | None = None
    for attempt in range(_ATTEMPTS):
        commit = read_commit(path, name)
        try:
            found = _chosen(path, commit, known, look)
            if found.generation is known and found.slot is not commit.slots[0][1]:
                found = _chosen(path, commit, None, look)  # a newer commit may have replaced the known files
        except (FileNotFoundError, StaleHandleError) as error:
            failed, known = error, None
            time.sleep(50e-6 * 2**attempt)
            continue
        except CorruptDatasetError as error:
            failed = error
            if known is None and _is_current(path, name, commit):
                raise
            known = None
            continue
        if found.generation is known or _is_current(path, name, commit):
            return found
    if isinstance(failed, CorruptDatasetError):
        raise failed
    raise CorruptDatasetError(f"{path}: a file of its newest commit is missing ({failed}); restore it from a copy")


def _is_current(path: Path, name: str, commit: CommitFile) -> bool:
    """Whether the files that were opened since a commit file was read are those that it names.

    The directory at the path may be replaced meanwhile. And generations can be switched twice: the number of one that
    a build has replaced is used again, so that files of both would be mixed.
    """
    return commit.file.is_at(f"{path}/{name}") and commit.names_the_same()


def _chosen(path: Path, commit: CommitFile, known: Generation | None, look: Look | Told | None) -> Newest:
    """The newest commit in a commit file that can be trusted, with its files."""
    for _, slot in commit.slots:
        check_features(path, slot)
        if known is not None and known.is_named_by(slot, commit):
            generation = known
        else:
            generation = Generation.open(path, slot, commit)
        if generation.has_all_of(slot, commit, look):
            latest = look.latest if look is not None and look.is_of(commit) else commit.slots[0][1].seq
            # Use the commit file that stays open as long as the generation.
            held = generation.commit or commit
            held.looked = Look(held, latest, (slot.seq, slot.digest), commit.slots)
            return Newest(slot, generation, generation.extents(slot.rows, slot.edits), commit)
    raise CorruptDatasetError(
        f"{path}: no durable commit is intact, and the data of the others does not match its digest; restore the "
        "dataset from a copy"
    )


def stale(path: Path) -> StaleHandleError:
    """The error for a directory that another one has taken the place of."""
    return StaleHandleError(f"{path}: another directory was put at this path; nothing was written: try again")


def block_sums(data: bytes) -> list[bytes]:
    """The entries of a sums file: `{u64 file, u64 block, u64 sum}` each."""
    return [data[at : at + SUM_SIZE] for at in range(0, len(data), SUM_SIZE)]
