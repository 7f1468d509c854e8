"""Files made of rows of other generations: the expected samples, in pieces that fit in memory."""

import numpy as np
import pytest

import mmap_ninja as mn
from mmap_ninja import ArrayMmap, BytesMmap, DatasetTruncatedError, RaggedMmap, RecordsMmap, StringsMmap
from mmap_ninja.columns.types import Ragged
from mmap_ninja.engine import copying, files
from mmap_ninja.engine.copying import CopiedRows
from mmap_ninja.engine.dataset import Dataset
from support.kinds import KINDS

RUNS = {
    "all": [[0, 20]],
    "none": [],
    "reversed": [[row, 1] for row in range(19, -1, -1)],
    "every second": [[row, 1] for row in range(0, 20, 2)],
    "again and in parts": [[3, 5], [3, 5], [19, 1], [0, 0], [1, 2]],
}


def source_of(path, runs):
    """Rows of the dataset at a path, as a source."""
    seen = Dataset(path, None, "process", 60).seen
    return CopiedRows(seen.generation, seen.extents, np.array(runs, np.int64).reshape(-1, 2))


def written(parts):
    """The bytes of a file."""
    return b"".join(
        files.read_at(part.file.fileno(), part.size, part.offset, "") if isinstance(part, files.Range) else part
        for part in parts
    )


def expected(source, place, column):
    """The bytes of a column's files, made row by row from the source's files."""
    meta, opened = source.generation.meta, source.generation.all_opened()
    held = {
        role: files.read_at(opened[index].fileno(), source.extents[index], 0, "")
        for role in column.type.files()
        for index in [meta.index(role, meta.columns[place].id)]
    }
    rows = [row for first, count in source.runs.tolist() for row in range(first, first + count)]
    ends = np.frombuffer(held.pop("offsets"), np.uint64).astype(int).tolist() if "offsets" in held else None
    made = {}
    for role, content in held.items():
        unit = column.type.files()[role][1]
        bounds = [(row, row + 1) if ends is None or role != "data" else ends[row : row + 2] for row in rows]
        made[role, column.id] = b"".join(content[start * unit : stop * unit] for start, stop in bounds)
    if ends is not None:
        lengths = [ends[row + 1] - ends[row] for row in rows]
        made["offsets", column.id] = np.cumsum([0, *lengths]).astype(np.uint64).tobytes()
    return made


@pytest.mark.parametrize("runs", RUNS.values(), ids=RUNS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("at_once", [None, 3])
def test_contents_are_those_rows_of_every_file(tmp_path, monkeypatch, kind, runs, at_once):
    KINDS[kind].build(tmp_path / "ds", 20).close()
    source = source_of(tmp_path / "ds", runs)
    columns = source.generation.meta.columns
    if at_once:
        for limit in ("_ROWS_AT_ONCE", "_RUNS_AT_ONCE", "_BYTES_AT_ONCE"):
            monkeypatch.setattr(copying, limit, at_once)

    made = {key: written(parts) for key, parts in copying.contents(columns, [source]).items()}

    wanted = {}
    for place, column in enumerate(columns):
        wanted |= expected(source, place, column)
    assert made == wanted


def test_contents_of_several_sources_follow_each_other(tmp_path):
    BytesMmap.from_bytes(tmp_path / "a", [b"a", b"bb"]).close()
    BytesMmap.from_bytes(tmp_path / "b", [b"", b"ccc"]).close()
    sources = [
        source_of(tmp_path / "a", [[1, 1]]),
        source_of(tmp_path / "b", [[0, 2]]),
        source_of(tmp_path / "a", [[0, 2]]),
    ]

    made = copying.contents(sources[0].generation.meta.columns, sources)

    assert written(made["data", 0]) == b"bb" + b"ccc" + b"abb"
    assert np.frombuffer(written(made["offsets", 0]), np.uint64).tolist() == [0, 2, 2, 5, 6, 8]


def test_columns_are_matched_by_their_name(tmp_path):
    one = RecordsMmap.from_columns(tmp_path / "a", {"x": ["dropped"], "n": [1]})
    one.drop_column("x")
    one.add_column("t", ["a"])
    RecordsMmap.from_columns(tmp_path / "b", {"t": ["b"], "n": [2]})
    sources = [source_of(tmp_path / name, [[0, 1]]) for name in "ab"]
    columns = sources[1].generation.meta.columns
    assert [column.id for column in columns] != [column.id for column in sources[0].generation.meta.columns]

    made = copying.contents(columns, sources)

    assert [column.name for column in columns] == ["t", "n"]
    assert written(made["data", columns[0].id]) == b"ab"
    assert np.frombuffer(written(made["data", columns[1].id]), np.int64).tolist() == [1, 2]


def test_shapes_are_widened_for_samples_of_other_ranks(tmp_path):
    RaggedMmap.from_lists(tmp_path / "a", [[1, 2, 3], [4]]).close()
    RaggedMmap.from_generator(tmp_path / "b", [np.ones((2, 2), np.int64)]).close()
    sources = [source_of(tmp_path / "a", [[1, 1], [0, 1]]), source_of(tmp_path / "b", [[0, 1]])]
    (column,) = sources[0].generation.meta.columns
    wide = type(column)(column.id, column.name, Ragged(column.type.dtype, (1, 2)))

    made = copying.contents([wide], sources)

    rows = np.frombuffer(written(made["shapes", column.id]), np.uint64).reshape(-1, 3)
    assert rows.tolist() == [[1, 1, 0], [1, 3, 0], [2, 2, 2]]


def test_long_runs_are_ranges_and_short_ones_come_together(tmp_path):
    BytesMmap.from_bytes(tmp_path / "ds", [b"s" * 10, b"s" * 10, b"l" * 100_000, b"s"]).close()
    source = source_of(tmp_path / "ds", [[3, 1], [0, 1], [2, 1], [1, 1], [0, 4]])

    parts = list(copying.contents(source.generation.meta.columns, [source])["data", 0])

    assert [part[1:] if isinstance(part, files.Range) else len(part) for part in parts] == [
        11, (20, 100_000), 10, (0, 100_021),
    ]  # fmt: skip


def test_pieces_stay_small_with_many_runs(tmp_path, monkeypatch):
    ArrayMmap.from_ndarray(tmp_path / "ds", np.zeros((5000, 8), np.uint8)).close()
    monkeypatch.setattr(copying, "_BYTES_AT_ONCE", 4096)
    source = source_of(tmp_path / "ds", [[row, 1] for row in range(0, 5000, 2)])

    parts = list(copying.contents(source.generation.meta.columns, [source])["data", 0])

    assert max(map(len, parts)) <= 4096 + 8
    assert sum(map(len, parts)) == 2500 * 8


def test_torn_write_behind_the_offsets_is_not_read(tmp_path):
    """A bug once: the remains of a batch on a full disk made merge, compact and garbage fail until the next append."""
    texts = StringsMmap.from_strings(tmp_path / "ds", ["aa", "b", "cc"])
    del texts[0]
    with open(tmp_path / "ds" / "c0.offsets-1", "ab") as file:
        file.write(b"torn")

    garbage = texts.garbage
    mn.merge([tmp_path / "ds"], tmp_path / "out")
    texts.compact()

    assert garbage >= 2
    assert list(texts) == list(StringsMmap(tmp_path / "out")) == ["b", "cc"]


def test_offsets_that_are_truncated_while_they_are_copied_are_an_error(tmp_path):
    BytesMmap.from_bytes(tmp_path / "ds", [b"x"] * 1000).close()
    source = source_of(tmp_path / "ds", [[0, 1000]])
    with open(tmp_path / "ds" / "c0.offsets-1", "r+b") as file:
        file.truncate(300)

    with pytest.raises(DatasetTruncatedError, match="c0.offsets-1: 300 bytes where the commit needs 8008"):
        written(copying.contents(source.generation.meta.columns, [source])["data", 0])
