"""Finding: what is left of a dataset at a path, in whatever state its files are."""

import bisect
import errno
import itertools
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple, overload

import numpy as np

from mmap_ninja import _kernel
from mmap_ninja.columns.types import LengthRule
from mmap_ninja.engine import files
from mmap_ninja.engine.commit_file import CommitFile, check_features, read_commit
from mmap_ninja.engine.generation import MOST_ROWS, Generation, read_meta
from mmap_ninja.errors import CorruptDatasetError, FormatVersionError, NotADatasetError
from mmap_ninja.format import lengths
from mmap_ninja.format.meta import META_SIZE_LIMIT, Meta, decode_meta
from mmap_ninja.format.names import BUILD, COMMIT, generation_of, meta_name
from mmap_ninja.format.slots import EDIT_SIZE, SUM_SIZE

RowRange = tuple[int, int]  # from the first to before the second

_ATTEMPTS: Final = 10  # a generation can be switched under a look; twice in a row is rare
_U64: Final = 8
_OFFSETS_AT_ONCE: Final = 1 << 20
# What keeps a file from being opened, and tells nothing of its content.
_NO_DAMAGE: Final = (errno.EACCES, errno.EPERM, errno.EMFILE, errno.ENFILE, errno.ENOMEM)


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong with one file.

    Args:
        file: Its name.
        message: What was found, and what was expected.
        rows: The physical rows that are hit.
        blocks: The 64 KiB blocks that are hit, where it is about blocks.
        readable: Whether the rows can be read all the same, though nothing vouches for them.
    """

    file: str
    message: str
    rows: tuple[RowRange, ...] = ()
    blocks: range | None = None
    readable: bool = False


class Ascents(NamedTuple):
    """How far offsets can be believed.

    Args:
        parts: Which of them follow each other without being less than the one before: one part, if none is damaged.
        greatest: The greatest one that is within the payload: the last one, if none is damaged.
    """

    parts: list[range]
    greatest: int


class Offsets(Sequence[int]):
    """The first numbers of an offsets file, each read when it is asked for: a map of it may be truncated."""

    def __init__(self, generation: Generation, index: int, count: int) -> None:
        self._descriptor = generation.opened[index].fileno()
        self._path = generation.path / generation.meta.files[index].name
        self._count = count

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, key: int) -> int: ...
    @overload
    def __getitem__(self, key: slice) -> "Offsets": ...
    def __getitem__(self, key: int | slice) -> "int | Offsets":
        if isinstance(key, slice):
            raise TypeError("offsets are read one by one")
        if not 0 <= key < self._count:
            raise IndexError(key)
        return int.from_bytes(files.read_at(self._descriptor, _U64, key * _U64, self._path), "little")

    def ascents(self, units: int) -> Ascents:
        """Read all of them, into a payload of so many units."""
        bounds, greatest, before = [0], 0, 0
        for first in range(0, self._count, _OFFSETS_AT_ONCE):
            count = min(_OFFSETS_AT_ONCE, self._count - first)
            data = files.read_at(self._descriptor, count * _U64, first * _U64, self._path)
            part = np.frombuffer(data, np.uint64)
            descents = np.flatnonzero(part < np.concatenate([np.array([before], np.uint64), part[:-1]]))
            bounds += (first + descents).tolist()
            greatest = int(part[part <= units].max(initial=greatest))
            before = int(part[-1])
        return Ascents([range(*part) for part in itertools.pairwise([*bounds, self._count])], greatest)


@dataclass(slots=True)
class Found:
    """What is at a path.

    Args:
        generation: The files of the newest commit; one that is missing reads as if it was empty.
        commit: The commit file; None if it tells nothing.
        missing: Which of its files cannot be opened.
        sizes: How many bytes each file of the generation holds, committed or not.
        slot: The newest commit; None: the files themselves tell how many rows there are.
        rows: The rows that are committed.
        whole: How many of them all files are long enough for.
        edits: What is known of the edits.
        lines: How many lines of their file that is.
        findings: What is wrong.
        notes: What is strange, and no damage.
    """

    generation: Generation
    commit: CommitFile | None
    missing: set[int] = field(default_factory=set)
    sizes: list[int] = field(default_factory=list)
    slot: _kernel.Slot | None = None
    rows: int = 0
    whole: int = 0
    edits: _kernel.Edits = field(default_factory=_kernel.Edits)
    lines: int = 0
    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    _ascents: dict[int, Ascents] = field(default_factory=dict)

    @property
    def num_samples(self) -> int:
        """Rows that no edit hides."""
        return self.rows - self.edits.hidden

    def offsets(self, index: int) -> Offsets:
        """The offsets of the `whole` rows, and where the last of them ends."""
        return Offsets(self.generation, index, self.whole + 1)

    def ascents(self, index: int) -> Ascents:
        """What the offsets of the `whole` rows are like, of the payload at an index."""
        if index not in self._ascents:
            rule = self.generation.meta.rules[index]
            self._ascents[index] = self.offsets(rule.offsets).ascents(self.sizes[index] // rule.unit)
        return self._ascents[index]

    def extents(self) -> list[int]:
        """How many bytes of each file belong to the `whole` rows, and to the edits that are there."""
        rules, sizes = self.generation.meta.rules, self.sizes
        ends = [0] * len(rules)
        if self.whole:
            for index, rule in enumerate(rules):
                if rule.length is LengthRule.PAYLOAD:
                    ends[index] = self.ascents(index).greatest
        edits = sizes[self.generation.meta.edits_index] // EDIT_SIZE
        if self.slot is not None:
            edits = min(self.slot.edits, edits)
        extents = [
            min(found, size) for found, size in zip(lengths.extents(rules, self.whole, edits, ends), sizes, strict=True)
        ]
        extents[-1] -= extents[-1] % SUM_SIZE
        return extents


def find(path: Path) -> Found:
    """What is left of the newest commit at a path; what is missing is told, not raised.

    Raises:
        NotADatasetError: if there is no dataset.
        FormatVersionError: if it is of a newer version.
        CorruptDatasetError: if no meta file can be read, without which the other files mean nothing.
    """
    for _ in range(_ATTEMPTS - 1):
        before = _newest_seq(path)
        found = _look(path)
        if not found.findings or _newest_seq(path) == before:
            return found
    return _look(path)


def _newest_seq(path: Path) -> int | None:
    try:
        return read_commit(path).next_seq()
    except (CorruptDatasetError, NotADatasetError):
        return None


def _look(path: Path) -> Found:
    findings: list[Finding] = []
    commit = _read_commit(path, findings)
    found = _newest(path, commit, findings) if commit else None
    if found is None:
        found = _uncommitted(path, commit, findings)
    _count_rows(found)
    _read_edits(found)
    return found


def _read_commit(path: Path, findings: list[Finding]) -> CommitFile | None:
    try:
        return read_commit(path)
    except FormatVersionError:
        raise
    except NotADatasetError:
        if not path.is_dir() or not _generations(path):
            raise
        findings.append(Finding(COMMIT, "is missing: nothing tells how many samples are committed"))
    except (CorruptDatasetError, OSError) as error:
        _require_damage(error)
        findings.append(Finding(COMMIT, f"tells nothing ({error})"))
    return None


def _require_damage(error: Exception) -> None:
    """Raise an error again that does not come from what a file is, so that nothing is taken for lost."""
    if isinstance(error, OSError) and error.errno in _NO_DAMAGE:
        raise error


def _generations(path: Path) -> list[int]:
    """The generations that there are meta files of, newest first, without those of an unfinished build."""
    try:
        building = {slot.generation for _, slot in read_commit(path, BUILD).slots}
    except (CorruptDatasetError, NotADatasetError):
        building = set()
    numbers = {generation_of(name) for name in files.names(path) if name.startswith("meta-")}
    return sorted({number for number in numbers if number is not None} - building, reverse=True)


def _newest(path: Path, commit: CommitFile, findings: list[Finding]) -> Found | None:
    """The newest commit that can be trusted; else the newest one whose meta can be read; None: there is none."""
    opened: dict[int, Found | None] = {}
    fallback: Found | None = None
    rejected: list[_kernel.Slot] = []
    for _, slot in commit.slots:
        if slot.generation not in opened:
            opened[slot.generation] = _open_slot(path, commit, slot, findings)
        found = opened[slot.generation]
        if found is None:
            continue
        if not _contradict(rejected, slot) and _accepts(commit, found.generation, slot):
            found.slot = slot
            break
        rejected.append(slot)
        if fallback is None:
            fallback, fallback_slot = found, slot
    else:
        if fallback is None:
            return None
        found, found.slot = fallback, fallback_slot
        message = "has no durable commit that is intact, and the data of the others does not match its digest"
        findings.append(Finding(COMMIT, message))
        rejected = []
    found.findings = [*findings, *found.findings]
    if commit.suspect:
        found.findings.append(
            Finding(COMMIT, "says that a sync failed, so the last commits may not be on the medium; see recover")
        )
    if rejected:
        found.notes.append(f"{len(rejected)} commits did not survive a power loss, or the copying of the dataset")
    if len(commit.slots) < _kernel.SLOTS:
        found.notes.append(
            f"{_kernel.SLOTS - len(commit.slots)} of the commit's {_kernel.SLOTS} slots are torn or empty, as after a "
            "crash; the next commits write them again"
        )
    return found


def _contradict(rejected: list[_kernel.Slot], slot: _kernel.Slot) -> bool:
    """Whether newer commits, of which something is lost, say that more was durable than there is in this one."""
    return any(
        newer.generation == slot.generation and (newer.durable_rows > slot.rows or newer.durable_edits > slot.edits)
        for newer in rejected
    )


def _accepts(commit: CommitFile, generation: Generation, slot: _kernel.Slot) -> bool:
    try:
        return generation.has_all_of(slot, commit, None)
    except (CorruptDatasetError, OSError):
        return False


def _open_slot(path: Path, commit: CommitFile, slot: _kernel.Slot, findings: list[Finding]) -> Found | None:
    check_features(path, slot)
    try:
        meta = read_meta(path, slot)
    except FormatVersionError:
        raise
    except (CorruptDatasetError, OSError) as error:
        _require_damage(error)
        findings.append(Finding(meta_name(slot.generation), f"cannot be used ({error})"))
        return None
    return _open(path, meta, commit)


def _open(path: Path, meta: Meta, commit: CommitFile | None) -> Found:
    generation = Generation(path, meta, commit)
    found = Found(generation, commit)
    for index, file in enumerate(meta.files):
        try:
            opened = files.open_read(path / file.name)
        except (CorruptDatasetError, OSError) as error:
            _require_damage(error)
            found.findings.append(Finding(file.name, f"cannot be opened ({error})"))
            found.missing.add(index)
            opened = _kernel.anonymous_file()
        generation.opened.append(opened)
        found.sizes.append(os.fstat(opened.fileno()).st_size)
    return found


def _uncommitted(path: Path, commit: CommitFile | None, findings: list[Finding]) -> Found:
    """The files of the newest generation that are all there, of which no commit tells how many rows are real."""
    # A meta that is not the one of its commit would give the bytes another meaning.
    refused = {slot.generation for _, slot in commit.slots} if commit else set()
    candidates: list[Found] = []
    for number in _generations(path):
        if number in refused:
            continue
        meta_path = path / meta_name(number)
        try:
            meta = decode_meta(files.read(meta_path, META_SIZE_LIMIT), str(meta_path))
        except (CorruptDatasetError, FormatVersionError, OSError) as error:  # nothing vouches for its version, either
            _require_damage(error)
            findings.append(Finding(meta_path.name, f"cannot be used ({error})"))
            continue
        candidates.append(_open(path, meta, None))
        if not candidates[-1].findings:
            break
    if candidates:
        found = next((found for found in candidates if not found.findings), candidates[0])
        found.findings = [*findings, *found.findings]
        found.notes.append("the number of samples is what the files have room for, committed or not")
        return found
    lines = [f"{finding.file}: {finding.message}" for finding in findings]
    raise CorruptDatasetError(
        "\n  ".join([f"{path}: nothing tells what its files mean; restore it from a copy", *lines])
    )


def _count_rows(found: Found) -> None:
    """Find out how many rows are committed, and how many the files are long enough for."""
    meta = found.generation.meta
    rules = meta.rules
    known = meta.is_known
    room: dict[int, int] = {}
    for index, rule in enumerate(rules):
        if rule.length is LengthRule.OFFSETS:
            room[index] = max(found.sizes[index] // rule.unit - 1, 0)
        elif rule.length is LengthRule.ROWS and rule.unit:
            room[index] = found.sizes[index] // rule.unit
    most = min(room.values(), default=0) if known else 0
    claimed = most if found.slot is None else found.slot.rows
    if claimed >= MOST_ROWS or (claimed and not known):
        what = "which cannot be" if known else "of which no dtype is known"
        found.findings.append(Finding(COMMIT, f"speaks of {claimed} samples, {what}"))
    found.rows = most if claimed >= MOST_ROWS else claimed if known else 0
    found.whole = min(most, found.rows) if room else found.rows
    for index, rows in room.items():
        if rows < found.rows:
            _report_short(
                found, index, (found.rows + (rules[index].length is LengthRule.OFFSETS)) * rules[index].unit, rows
            )
    for index, rule in enumerate(rules):
        if rule.length is not LengthRule.PAYLOAD or not found.whole:
            continue
        offsets, units = found.offsets(rule.offsets), found.sizes[index] // rule.unit
        if offsets[found.whole] > units:
            holds = bisect.bisect_right(offsets, units, 1) - 1 if units else 0
            _report_short(found, index, offsets[found.whole] * rule.unit, holds)
            found.whole = min(found.whole, holds)


def _report_short(found: Found, index: int, needed: int, holds: int) -> None:
    found.findings.append(
        Finding(
            found.generation.meta.files[index].name,
            f"holds {found.sizes[index]} bytes where the commit needs {needed}; it was truncated, or what says so is "
            "damaged",
            ((holds, found.rows),),
        )
    )


def _read_edits(found: Found) -> None:
    """Apply as many of the edits as are valid, from the first one on."""
    there = found.sizes[found.generation.meta.edits_index] // EDIT_SIZE
    count = there if found.slot is None else found.slot.edits
    keep_edits(found, min(_vouched_edits(found, count), there), count)


def _vouched_edits(found: Found, count: int) -> int:
    """How many of so many edits a commit's hash of the last, incomplete block of their file vouches for."""
    slot, index = found.slot, found.generation.meta.edits_index
    if slot is None or found.commit is None or not slot.carries & _kernel.SUMS:
        return count  # nothing speaks against them
    file, size = found.generation.meta.files[index], found.sizes[index]
    fd, path = found.generation.opened[index].fileno(), str(found.generation.path / file.name)
    earlier = [
        other.edits
        for _, other in found.commit.slots
        if (other.generation, other.uuid) == (slot.generation, slot.uuid)
        and other.carries & _kernel.SUMS
        and other.edits <= slot.edits
        and other.edits * EDIT_SIZE <= size
        and _hash_of_end(file.id, fd, other.edits * EDIT_SIZE, path) == other.edits_end
    ]
    vouched = max(earlier, default=0)
    if vouched == count or size < count * EDIT_SIZE:  # that is told anyhow
        return count
    block = count * EDIT_SIZE // _kernel.BLOCK
    message = "the hash of the last, incomplete block is not that of the commit"
    found.findings.append(Finding(file.name, message, (), range(block, block + 1), readable=True))
    return max(vouched, block * _kernel.BLOCK // EDIT_SIZE)


def _hash_of_end(file_id: int, fd: int, extent: int, path: str) -> int:
    """The hash of the last, incomplete block of a file's first bytes; 0 where there is none."""
    start = extent // _kernel.BLOCK * _kernel.BLOCK
    return _kernel.range_digest(file_id, fd, start, extent, path)[0] if start < extent else 0


def keep_edits(found: Found, most: int, count: int) -> None:
    """Apply so many of the edits, or fewer where they are not valid, and tell if those are not all that there were."""
    generation, known = found.generation, 0
    log = generation.edit_log(0, most)
    found.edits = _kernel.Edits()
    middle = most  # nearly always, all are valid
    while known < most:
        try:
            found.edits = _kernel.Edits().apply(log[: middle * EDIT_SIZE], found.rows, str(generation.path), 0)
            known = middle
        except CorruptDatasetError:
            most = middle - 1
        middle = (known + most + 1) // 2
    found.lines = known
    if known < count:
        found.findings.append(
            Finding(
                generation.meta.files[generation.meta.edits_index].name,
                f"has {known} good lines where the commit needs {count}: what the others deleted or replaced is there "
                "as it was before, and what they put in its place stands at the end",
            )
        )
