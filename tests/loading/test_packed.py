"""Packed batches hold every document once, and say where each one is."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mmap_ninja as mn
from mmap_ninja import Loader, Packing
from support.attention import described, listed
from support.golden import GOLDEN

SIZES = np.random.default_rng(5).integers(0, 40, 200)


@pytest.fixture
def documents(tmp_path):
    rows = [[1000 + number] * size for number, size in enumerate(SIZES.tolist())]
    return mn.RaggedMmap.from_lists(tmp_path / "documents", rows, dtype="i4")


@pytest.mark.parametrize("length", [16, 64])
@pytest.mark.parametrize("world_size", [1, 2])
def test_batches_hold_every_element_once(documents, length, world_size):
    plan = Packing(documents.lengths, length, batch_size=6)
    found, fixed = [], set()
    for rank in range(world_size):
        for (of, offsets), batch in Loader(documents, plan=plan, with_index=True, rank=rank, world_size=world_size):
            tokens, ids, positions = batch["tokens"], batch["segment_ids"], batch["positions"]
            assert (tokens.dtype, ids.dtype, positions.dtype) == (np.int32, np.int32, np.int32)
            sizes, bounds = batch["seq_lens"]
            assert bounds.tolist() == offsets.tolist()
            fixed.add(batch["cu_seqlens"].shape)
            ends = batch["cu_seqlens"].tolist()
            assert (ends[-1], sorted(ends)) == (tokens.size, ends)
            assert batch["max_seqlen"] == np.diff(ends).max()
            for row in range(len(tokens)):
                place = 0
                for number, segment in enumerate(range(bounds[row], bounds[row + 1]), 1):
                    space = slice(place, place + sizes[segment])
                    assert (tokens[row, space] == 1000 + of[segment]).all()
                    assert (ids[row, space] == number).all()
                    assert positions[row, space].tolist() == list(range(sizes[segment]))
                    assert row * length + place in ends
                    found += tokens[row, space].tolist()
                    place += sizes[segment]
                assert not tokens[row, place:].any()
                assert not ids[row, place:].any()
    assert len(fixed) == 1
    wrapped = -plan.rows % world_size
    assert wrapped or sorted(found) == [1000 + number for number, size in enumerate(SIZES) for _ in range(size)]


def test_cut_documents_have_all_of_their_elements(tmp_path):
    samples = mn.RaggedMmap.from_lists(tmp_path / "long", [list(range(100)), [7, 8]], dtype="i8")
    loader = Loader(samples, plan=Packing(samples.lengths, 30, batch_size=2))

    rows = [row for batch in loader for row in batch["tokens"].tolist()]

    assert sorted(rows)[:3] == [list(range(30)), list(range(30, 60)), list(range(60, 90))][:1] + sorted(rows)[1:3]
    assert {tuple(row[:10]) for row in rows} == {tuple(range(start, start + 10)) for start in (0, 30, 60, 90)}


def test_texts_and_columns_are_packed(tmp_path):
    texts = mn.StringsMmap.from_strings(tmp_path / "texts", ["abc", "de", "é"])
    records = mn.RecordsMmap.from_generator(
        tmp_path / "records", [{"ids": [1, 2], "labels": [3, 4], "name": "x"}, {"ids": [5], "labels": [6], "name": "y"}]
    )

    batch = next(iter(Loader(texts, plan=Packing(texts.byte_lengths, 7, batch_size=1))))
    assert sorted(bytes(batch["tokens"][0])) == sorted("abcdeé".encode())
    batch = next(iter(Loader(records, plan=Packing(records["ids"].lengths, 3, batch_size=1))))
    assert (batch["ids"].tolist(), batch["labels"].tolist()) == ([[1, 2, 5]], [[3, 4, 6]])
    assert "name" not in batch


def test_a_resume_goes_on_with_the_next_rows(documents):
    plan = Packing(documents.lengths, 64, batch_size=4, seed=3)
    expected = [batch["tokens"].tolist() for batch in Loader(documents, plan=plan)]
    loader = Loader(documents, plan=plan)
    batches = iter(loader)
    next(batches)
    state = loader.state_dict()

    halves = [Loader(documents, plan=Packing(documents.lengths, 64, batch_size=2, seed=3)) for _ in range(1)]
    halves[0].load_state_dict(state)

    rows = [row for batch in halves[0] for row in batch["tokens"].tolist()]
    assert rows == [row for batch in expected[1:] for row in batch]
    with pytest.raises(ValueError, match="state: is of"):
        Loader(documents, plan=Packing(documents.lengths, 32, batch_size=4, seed=3)).load_state_dict(state)


def test_what_cannot_be_packed_is_refused(tmp_path, documents):
    numbers = mn.ArrayMmap.from_ndarray(tmp_path / "numbers", np.arange(3))
    images = mn.RaggedMmap.from_lists(tmp_path / "images", [np.zeros((2, 3)), np.zeros((4, 3))])

    with pytest.raises(TypeError, match="a packing needs texts, bytes, or ragged samples of one dimension"):
        next(iter(Loader(numbers, plan=Packing([1, 1, 1], 5, batch_size=1))))
    with pytest.raises(TypeError, match="of one dimension"):
        next(iter(Loader(images, plan=Packing([2, 4], 8, batch_size=1))))
    for lengths in (SIZES + 1, np.maximum(SIZES - 1, 0)):
        with pytest.raises(ValueError, match="elements, and the plan was made from a length of"):
            next(iter(Loader(documents, plan=Packing(lengths, 64, batch_size=1))))
    clashing = mn.RecordsMmap.from_generator(tmp_path / "clashing", [{"x": [1, 2], "positions": [3, 4]}])
    with pytest.raises(ValueError, match="column 'positions' has the name of a part of packed batches"):
        next(iter(Loader(clashing, plan=Packing([2], 8, batch_size=1))))


def packed_in_python(documents, plan, rows):
    """The elements of some rows of a packing, and the lengths of the segments in each."""
    segments = plan.segments(rows)
    pieces = [
        documents[document][start : start + size]
        for document, start, size in zip(*(part.tolist() for part in segments[1:]), strict=True)
    ]
    bounds = segments.offsets.tolist()
    of_rows = [pieces[begin:end] for begin, end in itertools.pairwise(bounds)]
    elements = [[element for piece in row for element in piece] for row in of_rows]
    return [row + [0] * (plan.length - len(row)) for row in elements], [list(map(len, row)) for row in of_rows]


def check(samples, documents, lengths, length, batch_size):
    """Check all batches of samples against documents, which are lists of numbers."""
    plan = Packing(lengths, length, batch_size=batch_size)
    loader = Loader(samples, plan=plan, with_index=True)
    for rows, ((of, offsets), batch) in zip(plan, loader, strict=True):
        elements, expected = packed_in_python(documents, plan, rows)
        bounds = batch_size * (plan.most_segments + 1) + 1
        assert batch["tokens"].tolist() == elements
        assert listed(batch) == described(expected, length, bounds)
        assert (of.tolist(), offsets.tolist()) == (
            plan.segments(rows).documents.tolist(),
            plan.segments(rows).offsets.tolist(),
        )


@pytest.mark.parametrize("read_mode", ["mmap", "pread"])
@pytest.mark.parametrize("dtype", ["i1", "<u2", ">i4", "f8", "c16"])
@settings(max_examples=40)  # of each
@given(
    lengths=st.lists(st.integers(0, 30), min_size=1, max_size=30).filter(any),
    length=st.integers(1, 20),
    batch_size=st.integers(1, 5),
)
def test_packed_batches_are_those_of_plain_python(tmp_path_factory, read_mode, dtype, lengths, length, batch_size):
    documents = [[(7 * number + place) % 127 for place in range(size)] for number, size in enumerate(lengths)]
    path = tmp_path_factory.mktemp("packed") / "ds"
    mn.RaggedMmap.from_lists(path, documents, dtype=dtype).close()
    samples = mn.RaggedMmap(path, read_mode=read_mode)

    check(samples, documents, samples.lengths, length, batch_size)
    assert next(iter(Loader(samples, plan=Packing(lengths, length, batch_size=1))))["tokens"].dtype == np.dtype(dtype)


TEXTS = [f"{number} größer " * (number % 5) for number in range(40)]


@pytest.mark.parametrize("options", [{}, {"zstd_level": 3}])
@pytest.mark.parametrize("kind", ["strings", "bytes"])
def test_texts_and_bytes_are_packed_as_bytes(tmp_path, kind, options):
    encoded = [text.encode() for text in TEXTS]
    cls, samples = (mn.StringsMmap, TEXTS) if kind == "strings" else (mn.BytesMmap, encoded)
    stored = cls.from_generator(tmp_path / "ds", samples, **options)

    check(stored, list(map(list, encoded)), stored.byte_lengths, 25, 3)


@pytest.mark.parametrize("read_mode", ["mmap", "pread"])
def test_edited_datasets_views_and_concatenations_are_packed(tmp_path, read_mode):
    documents = [[number] * (number % 9) for number in range(60)]
    rows = mn.RaggedMmap.from_lists(tmp_path / "ds", documents, dtype="i4")
    rows[7] = documents[7] = [77] * 5
    rows.append([60] * 31)
    documents.append([60] * 31)
    del rows[10], documents[10]
    rows.flush()
    rows = mn.RaggedMmap(tmp_path / "ds", read_mode=read_mode)
    other = mn.RaggedMmap.from_lists(tmp_path / "other", [[1, 2], [3] * 20], dtype="i4")
    order = np.random.default_rng(0).permutation(len(documents))
    both = mn.concat([rows, other, rows.select(order)])
    of_both = [*documents, [1, 2], [3] * 20, *[documents[k] for k in order]]

    check(rows, documents, rows.lengths, 12, 4)
    check(rows.select(order), [documents[k] for k in order], rows.lengths[order], 12, 4)
    check(both, of_both, both.lengths, 12, 4)
    check(both.select(slice(70, 20, -3)), of_both[70:20:-3], both.lengths[70:20:-3], 12, 4)


def test_directories_of_0_x_and_samples_of_unknown_rank_are_packed(tmp_path):
    flat = mn.RaggedMmap(GOLDEN / "0.9.0-ragged-1d")
    mixed = mn.RaggedMmap.from_lists(tmp_path / "mixed", [[1, 2], [3], [[4, 5]]])

    check(flat, [sample.tolist() for sample in flat], flat.lengths, 4, 2)
    check(mixed.select(slice(2)), [[1, 2], [3]], [2, 1], 4, 2)
    check(mn.concat([mixed, mixed]).select([0, 3]), [[1, 2], [1, 2]], [2, 2], 4, 2)
    with pytest.raises(TypeError, match="a packing needs samples of one dimension, found 2"):
        next(iter(Loader(mixed.select([2]), plan=Packing([1], 4, batch_size=1))))


def test_each_ragged_column_of_one_dimension_is_packed(tmp_path):
    samples = [
        {"text": "x", "boxes": np.zeros((k % 3, 4)), "ids": [k] * (k % 5), "more": {"weights": [k / 2] * (k % 5)}}
        for k in range(20)
    ]
    records = mn.RecordsMmap.from_generator(tmp_path / "records", samples)
    plan = Packing(records["ids"].lengths, 7, batch_size=3)

    for rows, batch in zip(plan, Loader(records, plan=plan), strict=True):
        ids, expected = packed_in_python([sample["ids"] for sample in samples], plan, rows)
        weights, _ = packed_in_python([sample["more"]["weights"] for sample in samples], plan, rows)
        assert (batch["ids"].tolist(), batch["more"]["weights"].tolist()) == (ids, weights)
        assert listed(batch) == described(expected, 7, len(batch["cu_seqlens"]))
        assert batch.keys() == {"ids", "more", *listed(batch)}


def test_nulls_are_in_no_row(tmp_path):
    columns = {"ids": mn.Ragged("i4", ndim=1, nullable=True)}
    records = mn.RecordsMmap.create(tmp_path / "ds", columns)
    records.extend([{"ids": None}, {"ids": [1, 2]}, {"ids": None}, {"ids": [3]}])

    (batch,) = Loader(records, plan=Packing(records["ids"].lengths, 4, batch_size=1))

    assert batch["ids"].tolist() == [[1, 2, 3, 0]]


def test_a_short_last_batch_keeps_the_length_of_cu_seqlens(documents):
    plan = Packing(documents.lengths, 64, batch_size=5)

    batches = list(Loader(documents, plan=plan))

    assert len(batches[-1]["tokens"]) < 5
    assert len({len(batch["cu_seqlens"]) for batch in batches}) == 1


@pytest.mark.parametrize(
    ("option", "value"), [("collate", "jagged"), ("pad", mn.Pad()), ("nulls", "mask"), ("fill", 0)]
)
def test_forms_that_a_packing_does_not_have_are_refused(documents, option, value):
    with pytest.raises(ValueError, match=f"{option}: a packing has a form of its own.*; leave it out"):
        Loader(documents, plan=Packing(documents.lengths, 16, batch_size=2), **{option: value})


def test_batches_beyond_int32_are_refused_at_the_start(documents):
    plan = Packing(documents.lengths, 1 << 20, batch_size=1 << 11)

    with pytest.raises(ValueError, match=r"2\^31 elements.*found 2048 rows of 1048576; make batch_size or length"):
        Loader(documents, plan=plan)
    assert len(Loader(documents, plan=plan, world_size=2)) == 1


def test_documents_of_windows_are_loaded(documents):
    windows = documents.windows(16, documents=True)
    loader = Loader(windows, 4, shuffle=True, with_index=True)

    for at, batch in loader:
        expected = windows.take(at)
        assert batch["tokens"].tolist() == expected["tokens"].tolist()
        assert listed(batch) == listed(expected)
    loader = Loader(windows, 4, shuffle=True)
    next(batches := iter(loader))
    again = Loader(documents.windows(16, documents=True), 4, shuffle=True)
    again.load_state_dict(loader.state_dict())
    assert listed(next(iter(again))) == listed(next(batches))
    assert [type(window) for window in next(iter(Loader(windows, 2, collate="list")))] == [dict, dict]
