"""Packed batches hold every document once, and say where each one is."""

import numpy as np
import pytest

import mmap_ninja as mn
from mmap_ninja import Loader, Packing

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
            assert batch["max_seqlen"] == max(sizes)
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
