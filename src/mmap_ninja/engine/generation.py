"""Reading side of the engine: which commit is the newest that can be trusted, and the files it speaks of."""

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
from mmap_ninja.errors import CorruptDatasetError, DatasetTruncatedError
from mmap_ninja.exported import exported
from mmap_ninja.format import lengths
from mmap_ninja.format.meta import META_SIZE_LIMIT, Meta, decode_meta
from mmap_ninja.format.names import COMMIT, meta_name
from mmap_ninja.format.slots import EDIT_SIZE, SUM_SIZE

_ATTEMPTS: Final = 10  # a slot can be torn under a reader, a generation can be switched; twice in a row is rare
_U64: Final = 8
_SUMS_AT_ONCE: Final = SUM_SIZE << 16  # bytes of a sums file
_COMMIT_ID: Final = re.compile("([0-9a-f]{16})-([0-9a-f]{1,16})-([0-9a-f]{1,16})-([0-9a-f]{16})")
MOST_ROWS: Final = 2**60  # more would have offsets past 2^63 bytes


@exported
class Identity(NamedTuple):
    """What a pickled handle comes back to: the content keeps a commit apart from one that took its place."""

    uuid: bytes
    generation: int
    meta_digest: int
    rows: int
    edits: int
    content: int

    @property
    def commit_id(self) -> str:
        """As a string; the digest of the meta stands for uuid and generation, which are in it."""
        return f"{self.meta_digest:016x}-{self.rows:x}-{self.edits:x}-{self.content:016x}"

    @classmethod
    def of_0x(cls, uuid: bytes, generation: int, rows: int) -> "Identity":
        """That of a directory of 0.x, of whose content nothing is known; an upgrade keeps its samples."""
        return cls(uuid, generation, int.from_bytes(uuid[:8], "little"), rows, 0, 0)

    def named(self, commit_id: str) -> "Identity":
        """That of a commit of the same generation, by its string.

        Raises:
            ValueError: if it is no commit's.
        """
        match = _COMMIT_ID.fullmatch(commit_id)
        if match is None:
            raise ValueError(f"commit_id {commit_id!r:.80}: expected what the property of this name gives")
        return Identity(self.uuid, self.generation, *(int(part, 16) for part in match.groups()))


class Generation:
    """The open, read-only files of one generation."""

    def __init__(self, path: Path, meta: Meta, commit: CommitFile | None) -> None:
        self.path = path
        self.meta = meta
        self.commit = commit  # the file that named it, if one did
        self.opened: list[_kernel.File] = []
        # Of all columns.
        self.payloads: list[int] = [index for index, file in enumerate(meta.files) if file.role == "data"]

    @classmethod
    def open(cls, path: Path, slot: _kernel.Slot, commit: CommitFile | None) -> "Generation":
        """Open the generation that a slot names.

        Raises:
            FileNotFoundError: if a file is gone, as after a switch of generation by another process.
            CorruptDatasetError: if the meta is not the one that the slot was written with.
        """
        generation = cls(path, read_meta(path, slot), commit)
        for file in generation.meta.files:
            generation.opened.append(files.open_read(f"{path}/{file.name}"))
        return generation

    @property
    def descriptors(self) -> list[int]:
        """Of the open files, which stay open as long as this."""
        return list(map(_kernel.File.fileno, self.opened))

    def edit_log(self, start: int, stop: int) -> bytes:
        """The lines of the edits file from `start` to `stop`, which are committed."""
        return files.read_at(
            self.opened[self.meta.edits_index].fileno(), (stop - start) * EDIT_SIZE, start * EDIT_SIZE, self.path
        )

    def size_of(self, index: int, ranges: npt.NDArray[np.int64]) -> int:
        """Bytes of one file that hold some rows; `ranges` `[k, 2]`: the first of each run, and how many."""
        rule = self.meta.rules[index]
        firsts, counts = ranges[:, 0], ranges[:, 1]
        if rule.length is not LengthRule.PAYLOAD or not len(ranges):
            return int(counts.sum()) * rule.unit
        offsets = self.offsets(rule.offsets, (int((firsts + counts).max()) + 1) * _U64)
        return int((offsets[firsts + counts] - offsets[firsts]).sum()) * rule.unit

    def offsets(self, index: int, size: int) -> npt.NDArray[np.uint64]:
        """The numbers in the first `size` bytes of an offsets file, over a map if that is safe.

        A torn write may lie behind them.

        Raises:
            DatasetTruncatedError: if the file is shorter than that.
        """
        fd = self.opened[index].fileno()
        if os.fstat(fd).st_size < size:
            raise self._too_short(index, size)
        if not files.reads_by_map(fd):
            path = self.path / self.meta.files[index].name
            return np.frombuffer(files.read_at(fd, size, 0, path), np.uint64)
        return np.frombuffer(mmap.mmap(fd, size, access=mmap.ACCESS_READ), np.uint64)

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
        if rows and not self.meta.is_known:
            raise CorruptDatasetError(
                f"{self.path}: its commit speaks of {rows} samples, of which its meta file tells no dtype or shape; "
                "restore it from a copy"
            )
        rules = self.meta.rules
        ends = [0] * len(rules)
        for index in self.payloads:
            if rules[index].length is LengthRule.PAYLOAD:
                offsets = rules[index].offsets
                end = os.pread(self.opened[offsets].fileno(), _U64, rows * _U64)
                if len(end) < _U64:
                    raise self._too_short(offsets, (rows + 1) * _U64)
                ends[index] = int.from_bytes(end, "little")
        extents = lengths.extents(rules, rows, edits, ends)
        for index, extent in enumerate(extents):
            size = os.fstat(self.opened[index].fileno()).st_size
            if size < extent and (sums or rules[index].length is not LengthRule.SUMS):
                raise self._too_short(index, extent)
        return extents

    def _too_short(self, index: int, expected: int) -> DatasetTruncatedError:
        path = self.path / self.meta.files[index].name
        found = os.fstat(self.opened[index].fileno()).st_size
        return DatasetTruncatedError(
            f"{path}: holds {found} bytes where the commit needs {expected}; it was truncated, or its offsets "
            "are damaged: restore it from a copy"
        )

    def content_sum(self, slot: _kernel.Slot, extents: list[int]) -> int:
        """The sum of the hashes of all blocks of a commit; read from the files where an older writer left it out."""
        if slot.carries & _kernel.SUMS:
            return slot.content
        return (self._sum_of_lines(0, extents[-1]) + self._ends(extents)) % 2**64

    def content_before(self, content: int, extents: list[int], earlier: list[int]) -> int:
        """The same of an earlier commit, by that of this one; reads what was appended since."""
        since = self._sum_of_lines(earlier[-1], extents[-1])
        return (content - since - self._ends(extents) + self._ends(earlier)) % 2**64

    def _sum_of_lines(self, start: int, stop: int) -> int:
        """The sum of the checksums in some bytes of the sums file."""
        total = 0
        for at in range(start, stop, _SUMS_AT_ONCE):
            data = files.read_at(self.opened[-1].fileno(), min(_SUMS_AT_ONCE, stop - at), at, self.path)
            total += int(np.frombuffer(data, np.uint64)[2::3].sum(dtype=np.uint64))
        return total % 2**64

    def _ends(self, extents: list[int]) -> int:
        """The sum of the hashes of the last, partial blocks."""
        total = 0
        for file, rule, of, extent in zip(self.meta.files, self.meta.rules, self.opened, extents, strict=True):
            if rule.sealed and extent % _kernel.BLOCK:
                start = extent // _kernel.BLOCK * _kernel.BLOCK
                total += _kernel.range_digest(file.id, of.fileno(), start, extent, str(self.path / file.name))[0]
        return total

    def is_named_by(self, slot: _kernel.Slot, commit: CommitFile) -> bool:
        """Whether a slot speaks of these files; a copy of a dataset can have the same uuid."""
        return (
            self.commit is not None
            and self.commit.identity == commit.identity
            and (self.meta.uuid, self.meta.generation) == (slot.uuid, slot.generation)
            and files.stays_itself(commit.fd)
        )

    def has_all_of(self, slot: _kernel.Slot, commit: CommitFile, look: Look | Told | None) -> bool:
        """Whether all that a commit speaks of is there.

        It is where it was synced, and where it was written to this very file since this boot, and the file system has
        been mounted all the time: as the mount and the medium tell, or a `look` that found an open descriptor, which
        keeps it mounted somewhere. Else its digest tells.
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
        """Whether everything appended since the durable commit is what the slot's digest says.

        Reads those bytes: at most what was appended since the last durable commit.

        Args:
            slot: The commit.
            unsealed: Whether bytes are believed that no digest covers.
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
        rules = self.meta.rules
        for index, file in enumerate(self.meta.files):
            if not rules[index].sealed and file.role != "sums":
                if extents[index] > durable[index] and not unsealed:
                    return False  # nothing tells whether these bytes survived
                continue
            if file.role == "sums":
                written = os.pread(self.opened[index].fileno(), extents[index] - durable[index], durable[index])
                return digest % 2**64 == slot.digest and sums == set(block_sums(written))
            part, complete = _kernel.range_digest(
                file.id, self.opened[index].fileno(), durable[index], extents[index], str(self.path / file.name)
            )
            digest += part
            sums.update(block_sums(complete))
        return False


_LAST_WRITTEN: Final[list[Meta]] = []
_REMEMBERED: Final = 64 << 10  # bytes of a meta at most: a dictionary makes it larger


def written(meta: Meta) -> None:
    """Know a meta that was written now: it is read back at once, and to parse it is a third of a first append."""
    # What would be refused is read: before a commit names it, after which nobody could open the dataset.
    if meta.reads_as_itself and len(meta.encode()) <= _REMEMBERED:
        _LAST_WRITTEN[:] = [meta]


def read_meta(path: Path, slot: _kernel.Slot) -> Meta:
    """The meta of the generation that a slot names.

    Raises:
        FileNotFoundError: if it is gone, as after a switch of generation by another process.
        CorruptDatasetError: if it is not the one that the slot was written with.
    """
    meta_path = f"{path}/{meta_name(slot.generation)}"
    data = files.read(meta_path, META_SIZE_LIMIT)
    if _kernel.xxh64(data) != slot.meta_digest:
        raise CorruptDatasetError(
            f"{meta_path}: its checksum is {_kernel.xxh64(data):016x} where the commit says "
            f"{slot.meta_digest:016x}; restore the file from a copy"
        )
    known = _LAST_WRITTEN[0] if _LAST_WRITTEN else None
    meta = known if known is not None and known.encode() == data else decode_meta(data, meta_path)
    if (meta.uuid, meta.generation) != (slot.uuid, slot.generation):
        raise CorruptDatasetError(
            f"{meta_path}: belongs to dataset {meta.uuid.hex()}, generation {meta.generation}, where the commit "
            f"says {slot.uuid.hex()}, generation {slot.generation}; restore the directory from a copy"
        )
    return meta


class Newest(NamedTuple):
    """The newest commit that can be trusted.

    Args:
        slot: It.
        generation: The open files that it speaks of.
        extents: How many bytes of each belong to it.
        commit: The commit file that it was read from.
    """

    slot: _kernel.Slot
    generation: Generation
    extents: list[int]
    commit: CommitFile


def newest(path: Path, name: str = COMMIT, known: Generation | None = None, look: Look | Told | None = None) -> Newest:
    """The newest commit at a path that can be trusted.

    Where it is of the `known` generation, that one's files are used again. `look`: an earlier one at the commit file.

    Raises:
        NotADatasetError: if `path` holds no dataset.
        CorruptDatasetError: if no commit can be trusted, or a trusted one's files are damaged.
        FormatVersionError: if it needs features that this version does not know.
    """
    failed: OSError | CorruptDatasetError | None = None
    for attempt in range(_ATTEMPTS):
        commit = read_commit(path, name)
        try:
            found = _chosen(path, commit, known, look)
            if found.generation is known and found.slot is not commit.slots[0][1]:
                found = _chosen(path, commit, None, look)  # a newer one may be of files that have replaced those
        except FileNotFoundError as error:
            failed = error
            time.sleep(50e-6 * 2**attempt)
            continue
        except CorruptDatasetError as error:
            failed = error
            if known is None and commit.file.is_at(f"{path}/{name}"):
                raise
            known = None
            continue
        # Another directory can be put at the path, or the dataset be made anew: all files must be of one.
        if found.generation is known or commit.file.is_at(f"{path}/{name}"):
            return found
    if isinstance(failed, CorruptDatasetError):
        raise failed
    raise CorruptDatasetError(f"{path}: its commit names a file that is missing ({failed}); restore it from a copy")


def _chosen(path: Path, commit: CommitFile, known: Generation | None, look: Look | Told | None) -> Newest:
    """The newest commit in a commit file that can be trusted."""
    for _, slot in commit.slots:
        check_features(path, slot)
        if known is not None and known.is_named_by(slot, commit):
            generation = known
        else:
            generation = Generation.open(path, slot, commit)
        if generation.has_all_of(slot, commit, look):
            latest = look.latest if look is not None and look.is_of(commit) else commit.slots[0][1].seq
            # By the file that stays open as long as the generation.
            held = generation.commit or commit
            held.looked = Look(held, latest, (slot.seq, slot.digest), commit.slots)
            return Newest(slot, generation, generation.extents(slot.rows, slot.edits), commit)
    raise CorruptDatasetError(
        f"{path}: no durable commit is intact, and the data of the others does not match its digest; restore the "
        "dataset from a copy"
    )


def block_sums(data: bytes) -> list[bytes]:
    """The entries of a sums file: `{u64 file, u64 block, u64 sum}` each."""
    return [data[at : at + SUM_SIZE] for at in range(0, len(data), SUM_SIZE)]
