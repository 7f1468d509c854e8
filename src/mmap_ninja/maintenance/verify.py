"""`verify`: checks that the files of a dataset are as its commits left them."""

import bisect
import itertools
import os
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, cast, get_args

import numpy as np
import numpy.typing as npt

from mmap_ninja import _kernel, progress
from mmap_ninja.columns.types import Array, LengthRule
from mmap_ninja.engine import files
from mmap_ninja.engine.dataset import DEFAULT_LOCK_TIMEOUT
from mmap_ninja.engine.generation import Generation
from mmap_ninja.engine.open_column import open_column
from mmap_ninja.engine.upgrade_marks import detect
from mmap_ninja.errors import CorruptDatasetError, DatasetTruncatedError
from mmap_ninja.exported import exported
from mmap_ninja.format.names import COMMIT
from mmap_ninja.format.slots import EDIT_SIZE, SUM_SIZE
from mmap_ninja.legacy.dataset import LegacyDataset
from mmap_ninja.legacy.layout import Keys
from mmap_ninja.maintenance.survey import Finding, Found, RowRange, find, keep_edits

Level = Literal["quick", "sums", "full"]

_U64: Final = 8
_BLOCKS_AT_ONCE: Final = 256  # per step of the progress bar
_SAMPLES_AT_ONCE: Final = 1 << 16


@exported
@dataclass(frozen=True, slots=True)
class Problem:
    """Damage of a file of a dataset.

    Args:
        file: Its name in the directory; several names, if one checksum covers the ends of all.
        message: What was found, and what was expected.
        blocks: The damaged blocks of 64 KiB, if known.
        samples: The damaged samples, as ranges of indices.

    Example:
        >>> import mmap_ninja as mn
        >>> from pathlib import Path
        >>> _ = mn.StringsMmap.from_strings("reviews", ["good", "bad"])
        >>> _ = Path("reviews/c0.data-1").write_bytes(b"goodbat")  # damage
        >>> problem = mn.verify("reviews").problems[0]
        >>> problem.file, problem.samples
        ('c0.data-1, c0.offsets-1', (range(0, 2),))
    """

    file: str
    message: str
    blocks: range | None
    samples: tuple[range, ...]

    def __str__(self) -> str:
        at = ""
        if self.blocks:
            start, stop = (number * _kernel.BLOCK for number in (self.blocks.start, self.blocks.stop))
            at = f": {_numbers('block', self.blocks)} (bytes {start} to {stop})"
        shown = ", ".join(_numbers("sample", part) for part in self.samples[:5])
        more = f" and {len(self.samples) - 5} more ranges" if len(self.samples) > 5 else ""
        hit = f"; hits {shown}{more}" if self.samples else ""
        return f"{self.file}{at}: {self.message}{hit}"


def _numbers(what: str, numbers: range) -> str:
    return f"{what} {numbers.start}" if len(numbers) == 1 else f"{what}s {numbers.start} to {numbers[-1]}"


@exported
@dataclass(frozen=True, slots=True)
class Report:
    """The result of `verify`.

    Args:
        path: The dataset's directory.
        level: How much was checked.
        samples: The number of samples in the newest commit.
        problems: The damage.
        notes: Other remarks, not damage.

    Example:
        >>> import mmap_ninja as mn
        >>> _ = mn.StringsMmap.from_strings("reviews", ["good", "bad"])
        >>> report = mn.verify("reviews")
        >>> report.ok, report.samples, report.problems
        (True, 2, ())
    """

    path: Path
    level: Level
    samples: int
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether there is no damage.

        Example:
            >>> import mmap_ninja as mn
            >>> _ = mn.StringsMmap.from_strings("reviews", ["good", "bad"])
            >>> mn.verify("reviews", level="quick").ok
            True
        """
        return not self.problems

    def __str__(self) -> str:
        what = "no problems" if self.ok else f"{len(self.problems)} problem{'s' * (len(self.problems) > 1)}"
        samples = f"{self.samples:,} sample{'s' * (self.samples != 1)}"
        lines = [f"{self.path}: {samples}, {what} at level {self.level!r}", *map(str, self.problems)]
        return "\n  ".join([*lines, *(f"note: {note}" for note in self.notes)])


@exported
def verify(path: str | os.PathLike[str], level: Level = "sums", verbose: bool = False) -> Report:
    """Check that the files of a dataset are as its newest commit left them. Nothing is changed or locked.

    Damage is reported, not raised; `recover` saves what is left.

    Args:
        path: The dataset's directory.
        level: "quick": the commit file, the meta file, the lengths of all files, and the edits; takes no noticeable
            time. "sums": also every byte, by the checksums of its block; finds all damage done by the disk, a copy or
            another program. "full": also the offsets, shape, UTF-8, JSON or compressed frame of each sample; finds what
            was wrong before it was written; use it for files of unknown origin.
        verbose: Whether to show a progress bar.

    Returns:
        A `Report`: `ok` tells whether all is well, `problems` lists the damaged files, blocks and samples.

    Raises:
        NotADatasetError: if there is no dataset.
        FormatVersionError: if a newer version of mmap_ninja wrote it.

    Example:
        >>> import mmap_ninja as mn
        >>> _ = mn.StringsMmap.from_strings("reviews", ["good", "bad"])
        >>> mn.verify("reviews", level="full").ok
        True
    """
    return examine(files.absolute(path), level, verbose=verbose)[0]


def examine(path: Path, level: Level, *, verbose: bool, keys: Keys = Keys()) -> tuple[Report, Found | None]:  # noqa: B008
    """The report of `verify`, and the survey it is based on, which is None for a directory of 0.x."""
    if level not in get_args(Level):
        raise ValueError(f"level {level!r} is unknown (expected one of {get_args(Level)})")
    if detect(path):
        return _examine_legacy(path, level, keys, verbose=verbose), None
    try:
        found = find(path)
    except CorruptDatasetError as error:  # no meta file can be read
        return Report(path, level, 0, (Problem("meta", str(error), None, ()),), ()), None
    if level != "quick":
        _verify_sums(found, verbose=verbose)
    if level == "full":
        _verify_samples(found, verbose=verbose)
    places = Places(found)
    problems = [Problem(of.file, of.message, of.blocks, places.between(of.rows)) for of in found.findings]
    return Report(path, level, found.num_samples, tuple(problems), tuple(found.notes)), found


class Places:
    """Maps rows to the samples stored in them."""

    def __init__(self, found: Found) -> None:
        runs = found.edits.runs(found.rows)
        order = np.argsort(runs[:, 0])  # from the order of samples to that of rows
        self._positions = (np.cumsum(runs[:, 1]) - runs[:, 1])[order]
        self._first = runs[order, 0]
        self._end = self._first + runs[order, 1]

    def between(self, rows: Iterable[RowRange]) -> tuple[range, ...]:
        """The samples that are stored in some rows, as ascending ranges."""
        parts: list[tuple[int, int]] = []
        for start, stop in rows:
            hit = slice(np.searchsorted(self._end, start, "right"), np.searchsorted(self._first, stop, "left"))
            first, last = np.maximum(self._first[hit], start), np.minimum(self._end[hit], stop)
            begin = self._positions[hit] + first - self._first[hit]
            parts += zip(begin.tolist(), (begin + last - first).tolist(), strict=True)
        return _merged(parts)


def _merged(parts: list[tuple[int, int]]) -> tuple[range, ...]:
    """Ranges, with overlapping and adjacent ones joined."""
    result: list[range] = []
    for start, stop in sorted(parts):
        if start >= stop:
            continue
        if result and start <= result[-1].stop:
            result[-1] = range(result[-1].start, max(stop, result[-1].stop))
        else:
            result.append(range(start, stop))
    return tuple(result)


# ---- checksums


@dataclass(frozen=True, slots=True, eq=False)
class _Sums:
    """The complete blocks of a file that have checksums, in order, and these checksums."""

    blocks: npt.NDArray[np.uint64]
    sums: npt.NDArray[np.uint64]

    def pieces(self) -> Iterator[tuple[int, npt.NDArray[np.uint64]]]:
        """Pieces of consecutive blocks: the first block, and the sums."""
        gaps = np.flatnonzero(np.diff(self.blocks) != 1) + 1
        for start, stop in itertools.pairwise([0, *gaps.tolist(), len(self.blocks)]):
            for at in range(start, stop, _BLOCKS_AT_ONCE):
                yield int(self.blocks[at]), self.sums[at : min(at + _BLOCKS_AT_ONCE, stop)]


def _verify_sums(found: Found, *, verbose: bool) -> None:
    """Compare each block with its checksum, and the ends of files with the commit's digest."""
    generation, meta = found.generation, found.generation.meta
    extents, rules = found.extents(), meta.rules
    stored = _stored_sums(found, extents)
    bad_edits: int | None = None
    total = sum(len(of.sums) for of in stored.values()) * _kernel.BLOCK
    with progress.bar(total, "B", shown=verbose, scaled=True) as tell:
        for index, of in stored.items():
            bad: list[int] = []
            file = generation.opened(index)
            for first, sums in of.pieces():
                bad += _kernel.bad_blocks(meta.files[index].id, file.fileno(), first, sums)
                tell(len(sums) * _kernel.BLOCK)
            if bad and meta.files[index].role == "edits":
                bad_edits = bad[0]
            for start, stop in _runs(bad):
                at = start * _kernel.BLOCK, stop * _kernel.BLOCK
                rows = () if index == meta.edits_index else _rows_between(found, index, *at)
                message = "the checksum does not match the bytes"
                found.findings.append(Finding(meta.files[index].name, message, rows, range(start, stop), readable=True))
    _verify_tail(found, stored)
    _verify_content(found, extents)
    if bad_edits is not None and found.slot is not None and bad_edits * _kernel.BLOCK // EDIT_SIZE < found.lines:
        keep_edits(found, bad_edits * _kernel.BLOCK // EDIT_SIZE, found.slot.edits)
    found.notes += [
        f"{meta.files[index].name} may be written in place, so it has no checksums; compact adds them"
        for index, rule in enumerate(rules)
        if not rule.sealed and meta.files[index].role == "data"
    ]


def _stored_sums(found: Found, extents: list[int]) -> dict[int, _Sums]:
    """The checksums of each sealed file, by its index."""
    generation, meta = found.generation, found.generation.meta
    name, size = meta.files[-1].name, extents[-1]
    data = files.read_at(generation.opened(-1).fileno(), size, 0, generation.path / name)
    lines = np.frombuffer(data, np.uint64).reshape(-1, SUM_SIZE // _U64)
    stored, missing = {}, 0
    for index, (rule, extent) in enumerate(zip(meta.rules, extents, strict=True)):
        if rule.sealed:
            complete = extent // _kernel.BLOCK
            own = lines[(lines[:, 0] == meta.files[index].id) & (lines[:, 1] < complete)]
            blocks, places = np.unique(own[:, 1], return_index=True)
            stored[index] = _Sums(blocks, own[places, 2])
            missing += complete - len(blocks)
    if missing:
        found.findings.append(
            Finding(name, f"lacks the checksums of {missing} blocks; they may be intact, but cannot be checked")
        )
    return stored


def _verify_tail(found: Found, stored: dict[int, _Sums]) -> None:
    """Compare the bytes after the last complete block of all files with their common digest in the commit."""
    slot, commit, generation = found.slot, found.commit, found.generation
    if slot is None or commit is None:
        found.notes.append("the bytes after the last complete block of each file cannot be checked")
        return
    # An earlier commit may confirm the first part of the bytes that the newest one does not.
    confirmed: dict[int, int] = {}
    for _, earlier in commit.slots:
        if (earlier.generation, earlier.uuid) != (slot.generation, slot.uuid) or earlier.seq > slot.seq:
            continue
        if _confirms(found, earlier, stored):
            confirmed = dict(enumerate(generation.extents(earlier.rows, earlier.edits, sums=False)))
            break
    ends = found.extents()
    rows: list[RowRange] = []
    names: list[str] = []
    for index in stored:
        if index == generation.meta.edits_index and slot.carries & _kernel.SUMS:
            continue  # the edits file has its own hash
        start = max(ends[index] // _kernel.BLOCK * _kernel.BLOCK, confirmed.get(index, 0))
        if start < ends[index]:
            names.append(generation.meta.files[index].name)
            if index != generation.meta.edits_index:
                rows += _rows_between(found, index, start, ends[index])
    if names:
        message = "the bytes after the last complete block do not match the commit's digest, in one of these files"
        found.findings.append(Finding(", ".join(names), message, tuple(rows), readable=True))


def _verify_content(found: Found, extents: list[int]) -> None:
    """Compare the content sum with that of the commit, if there is no other damage."""
    slot = found.slot
    if found.findings or slot is None or not slot.carries & _kernel.SUMS:
        return
    plain = slot.copy()
    plain.carries &= ~_kernel.SUMS
    if found.generation.content_sum(plain, extents) != slot.content:
        message = "the content sum, which identifies the commit in pickles and commit ids, does not match the files"
        found.findings.append(Finding(COMMIT, message))


def _confirms(found: Found, slot: _kernel.Slot, stored: dict[int, _Sums]) -> bool:
    """Whether the digest of a commit matches the ends of its files."""
    generation = found.generation
    try:
        extents = generation.extents(slot.rows, slot.edits, sums=False)
        durable = generation.extents(slot.durable_rows, slot.durable_edits, sums=False)
    except CorruptDatasetError:  # the files are too short, by their offsets
        return False
    digest = 0
    for index, of in stored.items():
        complete = durable[index] // _kernel.BLOCK, extents[index] // _kernel.BLOCK
        first, last = np.searchsorted(of.blocks, np.array(complete, np.uint64))
        if last - first != complete[1] - complete[0]:
            return False  # some sums are missing
        digest += int(of.sums[first:last].sum(dtype=np.uint64))
        if index == generation.meta.edits_index and slot.carries & _kernel.SUMS:
            digest += slot.edits_end  # the recorded hash, since damage of edits is reported separately
            continue
        file, start = generation.meta.files[index], complete[1] * _kernel.BLOCK
        opened, path = generation.opened(index), str(generation.path / file.name)
        digest += _kernel.range_digest(file.id, opened.fileno(), start, extents[index], path)[0]
    return digest % 2**64 == slot.digest


def _rows_between(found: Found, index: int, start: int, stop: int) -> tuple[RowRange, ...]:
    """The rows that a range of bytes of a file belongs to."""
    rule = found.generation.meta.rules[index]
    first, last = start // rule.unit, -(-stop // rule.unit)
    if rule.length is LengthRule.OFFSETS:
        first -= 1  # an offset ends one row and begins the next
    if rule.length is not LengthRule.PAYLOAD:
        return ((max(first, 0), min(last, found.rows)),)
    offsets, rows = found.offsets(rule.offsets), []
    for part in found.ascents(index).parts:  # a binary search over a damaged offset would go wrong
        begin = bisect.bisect_right(offsets, first, part.start + 1, part.stop) - 1
        end = bisect.bisect_left(offsets, last, part.start, part.stop - 1)
        if begin < end:
            rows.append((begin, end))
    return tuple(rows)


def _runs(numbers: list[int]) -> Iterator[tuple[int, int]]:
    """Ascending numbers as ranges of consecutive ones."""
    for _, group in itertools.groupby(enumerate(numbers), lambda placed: placed[1] - placed[0]):
        run = [number for _, number in group]
        yield run[0], run[-1] + 1


# ---- samples


def _verify_samples(found: Found, *, verbose: bool) -> None:
    """Read every row of every column."""
    generation, extents = found.generation, found.extents()
    for place, column in enumerate(generation.meta.columns):
        index = generation.meta.index("data", column.id)
        if isinstance(column.type, Array) or not found.whole or index in found.missing:
            continue  # any bytes are a valid array
        # Not mapped, so that a file truncated meanwhile is a finding.
        samples = open_column(generation, place, extents, found.whole, str(generation.path), mapped=False)
        _read_all(samples, generation.meta.files[index].name, found, verbose=verbose)


def _read_all(samples: _kernel.Column, name: str, found: Found, *, verbose: bool) -> None:
    count = len(samples)
    bad: list[int] = []
    errors: list[str] = []  # of the first row of each run
    iterator = cast(_kernel.SamplesIterator, iter(samples))
    with progress.bar(count, " samples", shown=verbose, scaled=True) as tell:
        while left := iterator.__length_hint__():
            try:
                deque(itertools.islice(iterator, _SAMPLES_AT_ONCE), maxlen=0)
            except DatasetTruncatedError as error:  # truncated just now
                found.findings.append(Finding(name, str(error), ((count - left, count),)))
                break
            except CorruptDatasetError as error:
                row = count - iterator.__length_hint__() - 1
                if not bad or bad[-1] != row - 1:
                    errors.append(str(error))
                bad.append(row)
            tell(left - iterator.__length_hint__())
    for (start, stop), message in zip(_runs(bad), errors, strict=True):
        found.findings.append(Finding(name, message, ((start, stop),)))


def _examine_legacy(path: Path, level: Level, keys: Keys, *, verbose: bool) -> Report:
    """The report for a directory of 0.x, which has no checksums."""
    note = "written by mmap_ninja 0.x, which stored no checksums; see upgrade"
    try:
        dataset = LegacyDataset(path, None, "process", DEFAULT_LOCK_TIMEOUT, keys)
    except CorruptDatasetError as error:
        return Report(path, level, 0, (Problem("type.ninja", str(error), None, ()),), (note,))
    problems: tuple[Problem, ...] = ()
    if level == "full" and dataset.rows:
        samples = dataset.open_column(mapped=False)
        found = Found(Generation(path, dataset.meta, None), None)
        _read_all(samples, dataset.layout.payload.name, found, verbose=verbose)
        problems = tuple(
            Problem(of.file, of.message, None, tuple(range(*rows) for rows in of.rows)) for of in found.findings
        )
    return Report(path, level, dataset.rows, problems, (note,))
