"""Survey of a dataset in any state of damage: what is left of it."""

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

RowRange = tuple[int, int]  # first, and one past the last

_ATTEMPTS: Final = 10  # the generation can be switched meanwhile; twice in a row is rare
_U64: Final = 8
_OFFSETS_AT_ONCE: Final = 1 << 20
# Errors on opening a file that do not come from damage.
_NO_DAMAGE: Final = (errno.EACCES, errno.EPERM, errno.EMFILE, errno.ENFILE, errno.ENOMEM)


@dataclass(frozen=True, slots=True)
class Finding:
    """Damage of a file.

    Args:
        file: Its name.
        message: What was found and expected.
        rows: The damaged physical rows.
        blocks: The damaged 64 KiB blocks, if known.
        readable: Whether the rows can still be read, although no checksum confirms them.
    """

    file: str
    message: str
    rows: tuple[RowRange, ...] = ()
    blocks: range | None = None
    readable: bool = False


class Ascents(NamedTuple):
    """How far offsets can be trusted.

    Args:
        parts: Ranges in which they do not decrease: one range, if none is damaged.
        greatest: The greatest offset within the payload: the last one, if none is damaged.
    """

    parts: list[range]
    greatest: int


class Offsets(Sequence[int]):
    """The first numbers of an offsets file, each read on access, since a map of it may be truncated."""

    def __init__(self, generation: Generation, index: int, count: int) -> None:
        self._file = generation.opened(index)
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
            raise TypeError(f"offsets {key!r}: expected an integer; offsets are read one by one")
        if not 0 <= key < self._count:
            raise IndexError(f"offset {key} is out of range for {self._count} offsets")
        return int.from_bytes(files.read_at(self._file.fileno(), _U64, key * _U64, self._path), "little")

    def ascents(self, units: int) -> Ascents:
        """Read all offsets, for a payload of so many units."""
        bounds, greatest, before = [0], 0, 0
        for first in range(0, self._count, _OFFSETS_AT_ONCE):
            count = min(_OFFSETS_AT_ONCE, self._count - first)
            data = files.read_at(self._file.fileno(), count * _U64, first * _U64, self._path)
            part = np.frombuffer(data, np.uint64)
            descents = np.flatnonzero(part < np.concatenate([np.array([before], np.uint64), part[:-1]]))
            bounds += (first + descents).tolist()
            greatest = int(part[part <= units].max(initial=greatest))
            before = int(part[-1])
        return Ascents([range(*part) for part in itertools.pairwise([*bounds, self._count])], greatest)


@dataclass(slots=True)
class Found:
    """The state of the dataset at a path.

    Args:
        generation: The files of the newest commit; a missing file reads as an empty one.
        commit: The commit file; None if it cannot be used.
        missing: The files of the generation that cannot be opened.
        sizes: The size of each file of the generation, committed or not.
        slot: The newest commit; None: the number of rows comes from the files themselves.
        rows: The number of committed rows.
        whole: The number of rows for which all files are long enough.
        edits: The known edits.
        lines: The number of lines of the edits file with them.
        findings: The damage.
        notes: What is unusual, but not damage.
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
        """The number of rows that no edit hides."""
        return self.rows - self.edits.hidden

    def offsets(self, index: int) -> Offsets:
        """The offsets of the `whole` rows, and the end of the last one."""
        return Offsets(self.generation, index, self.whole + 1)

    def ascents(self, index: int) -> Ascents:
        """How far to trust the offsets of the `whole` rows of a payload."""
        if index not in self._ascents:
            rule = self.generation.meta.rules[index]
            self._ascents[index] = self.offsets(rule.offsets).ascents(self.sizes[index] // rule.unit)
        return self._ascents[index]

    def extents(self) -> list[int]:
        """The bytes of each file that belong to the `whole` rows and the known edits."""
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
    """What is left of the newest commit at a path; missing files are reported, not raised.

    Raises:
        NotADatasetError: if there is no dataset.
        FormatVersionError: if a newer version of mmap_ninja wrote it.
        CorruptDatasetError: if no meta file can be read, which describes the other files.
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
        if not path.is_dir() or (path / COMMIT).is_symlink() or not _generations(path):
            raise
        findings.append(Finding(COMMIT, "is missing, so the number of committed samples is unknown"))
    except (CorruptDatasetError, OSError) as error:
        _require_damage(error)
        findings.append(Finding(COMMIT, f"cannot be used ({error})"))
    return None


def _require_damage(error: Exception) -> None:
    """Raise an error again if it does not come from damage, so that nothing is reported as lost."""
    if isinstance(error, OSError) and error.errno in _NO_DAMAGE:
        raise error


def _generations(path: Path) -> list[int]:
    """The generations with meta files, newest first, without that of an unfinished build."""
    try:
        building = {slot.generation for _, slot in read_commit(path, BUILD).slots}
    except (CorruptDatasetError, NotADatasetError):
        building = set()
    numbers = {generation_of(name) for name in files.names(path) if name.startswith("meta-")}
    return sorted({number for number in numbers if number is not None} - building, reverse=True)


def _newest(path: Path, commit: CommitFile, findings: list[Finding]) -> Found | None:
    """The newest commit that can be trusted, else the newest one whose meta can be read, else None."""
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
        message = "no durable commit is intact, and the data of the others does not match its digest"
        findings.append(Finding(COMMIT, message))
        rejected = []
    found.findings = [*findings, *found.findings]
    if commit.suspect:
        found.findings.append(Finding(COMMIT, "a sync failed, so the last commits may not be on the disk; use recover"))
    if rejected:
        found.notes.append(f"{len(rejected)} commits were lost by a power loss, or by copying the dataset")
    if len(commit.slots) < _kernel.SLOTS:
        found.notes.append(
            f"{_kernel.SLOTS - len(commit.slots)} of the commit's {_kernel.SLOTS} slots are torn or empty, as after a "
            "crash; the next commits write them again"
        )
    return found


def _contradict(rejected: list[_kernel.Slot], slot: _kernel.Slot) -> bool:
    """Whether newer commits, which are incomplete, record more durable rows or edits than this one has."""
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
        generation.files.append(opened)
        found.sizes.append(os.fstat(opened.fileno()).st_size)
    return found


def _uncommitted(path: Path, commit: CommitFile | None, findings: list[Finding]) -> Found:
    """The newest generation with all files, for which no commit gives the number of rows."""
    # Another meta than that of the commit would give the bytes another meaning.
    refused = {slot.generation for _, slot in commit.slots} if commit else set()
    candidates: list[Found] = []
    for number in _generations(path):
        if number in refused:
            continue
        meta_path = path / meta_name(number)
        try:
            meta = decode_meta(files.read(meta_path, META_SIZE_LIMIT), str(meta_path))
        except (CorruptDatasetError, FormatVersionError, OSError) as error:  # its version cannot be trusted, either
            _require_damage(error)
            findings.append(Finding(meta_path.name, f"cannot be used ({error})"))
            continue
        candidates.append(_open(path, meta, None))
        if not candidates[-1].findings:
            break
    if candidates:
        found = next((found for found in candidates if not found.findings), candidates[0])
        found.findings = [*findings, *found.findings]
        found.notes.append(
            "the number of samples was computed from the sizes of the files, and may include uncommitted ones"
        )
        return found
    lines = [f"{finding.file}: {finding.message}" for finding in findings]
    raise CorruptDatasetError(
        "\n  ".join(
            [f"{path}: no meta file can be read, which describes the other files; restore it from a copy", *lines]
        )
    )


def _count_rows(found: Found) -> None:
    """Find the number of committed rows, and the number for which the files are long enough."""
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
        what = "more than are possible" if known else "but their dtype is unknown"
        found.findings.append(Finding(COMMIT, f"has {claimed} rows, {what}"))
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
            f"{found.sizes[index]} bytes where the commit needs {needed}; it was truncated, or the commit is damaged",
            ((holds, found.rows),),
        )
    )


def _read_edits(found: Found) -> None:
    """Apply the valid edits, up to the first one that is not valid."""
    there = found.sizes[found.generation.meta.edits_index] // EDIT_SIZE
    count = there if found.slot is None else found.slot.edits
    keep_edits(found, min(_confirmed_edits(found, count), there), count)


def _confirmed_edits(found: Found, count: int) -> int:
    """How many of `count` edits are confirmed by a commit's hash of the partial last block of their file."""
    slot, index = found.slot, found.generation.meta.edits_index
    if slot is None or found.commit is None or not slot.carries & _kernel.SUMS:
        return count  # no hash contradicts them
    file, size = found.generation.meta.files[index], found.sizes[index]
    opened, path = found.generation.opened(index), str(found.generation.path / file.name)
    earlier = [
        other.edits
        for _, other in found.commit.slots
        if (other.generation, other.uuid) == (slot.generation, slot.uuid)
        and other.carries & _kernel.SUMS
        and other.edits <= slot.edits
        and other.edits * EDIT_SIZE <= size
        and _hash_of_end(file.id, opened.fileno(), other.edits * EDIT_SIZE, path) == other.edits_end
    ]
    confirmed = max(earlier, default=0)
    if confirmed == count or size < count * EDIT_SIZE:  # reported elsewhere
        return count
    block = count * EDIT_SIZE // _kernel.BLOCK
    message = "the hash of the partial last block does not match the commit"
    found.findings.append(Finding(file.name, message, (), range(block, block + 1), readable=True))
    return max(confirmed, block * _kernel.BLOCK // EDIT_SIZE)


def _hash_of_end(file_id: int, fd: int, extent: int, path: str) -> int:
    """The hash of the partial last block of the first bytes of a file; 0 if there is none."""
    start = extent // _kernel.BLOCK * _kernel.BLOCK
    return _kernel.range_digest(file_id, fd, start, extent, path)[0] if start < extent else 0


def keep_edits(found: Found, most: int, count: int) -> None:
    """Apply at most `most` edits, fewer if some are not valid, and report it if there are `count` in all."""
    generation, known = found.generation, 0
    log = generation.edit_log(0, most)
    found.edits = _kernel.Edits()
    middle = most  # usually all are valid
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
                f"{known} valid lines where the commit needs {count}: samples that the lost lines deleted or replaced "
                "are back, and their replacements are at the end",
            )
        )
