"""The commit engine through its handles: snapshots, refresh, flush, close, modes, pickling."""

import os
import pickle
from unittest.mock import Mock

import pytest

import mmap_ninja as mn
from mmap_ninja import BytesMmap, ReadOnlyError, StringsMmap, _kernel
from mmap_ninja.engine import commit_file, dataset, files, log

TEXTS = ["zero", "one", "two"]


@pytest.fixture
def path(tmp_path):
    StringsMmap.from_strings(tmp_path / "ds", TEXTS).close()
    return tmp_path / "ds"


def newest_slot(path):
    return commit_file.read_commit(path).slots[0][1]


def test_constructor_on_missing_path_touches_the_disk_at_the_first_append_only(tmp_path):
    dataset = StringsMmap(tmp_path / "a" / "ds")
    assert (len(dataset), list(dataset), dataset[:], dataset.take([]), dataset.complete) == (0, [], [], [], True)
    assert repr(dataset).endswith("no dataset yet)")
    dataset.refresh()
    assert os.listdir(tmp_path) == []

    dataset.append("first")

    assert list(StringsMmap(tmp_path / "a" / "ds")) == ["first"]


def test_constructor_on_empty_directory_is_an_empty_dataset(tmp_path):
    dataset = StringsMmap(tmp_path)

    dataset.extend(TEXTS)

    assert list(mn.open(tmp_path)) == TEXTS


def test_two_empty_handles_make_one_dataset(tmp_path):
    first, second = StringsMmap(tmp_path / "ds"), StringsMmap(tmp_path / "ds")

    first.append("a")
    second.append("b")

    assert list(second) == ["a", "b"]


def test_empty_handle_sees_a_new_dataset_after_refresh(tmp_path):
    reader = StringsMmap(tmp_path / "ds")
    StringsMmap(tmp_path / "ds").append("a")

    assert len(reader) == 0
    reader.refresh()

    assert list(reader) == ["a"]


def test_open_finds_the_class(path, tmp_path):
    BytesMmap.from_bytes(tmp_path / "blobs", [b"x"])

    assert type(mn.open(path)) is StringsMmap
    assert type(mn.open(str(tmp_path / "blobs"))) is BytesMmap


@pytest.mark.parametrize("mode", ["r", "rb", "c"])
def test_reading_mode_refuses_mutations(path, mode):
    dataset = StringsMmap(path, mode)

    for mutate in (lambda: dataset.append("x"), lambda: dataset.extend(["x"]), dataset.flush):
        with pytest.raises(PermissionError, match=f"opened with mode '{mode}'"):
            mutate()

    assert list(dataset) == TEXTS


@pytest.mark.parametrize("mode", [None, "r+", "r+b"])
def test_writing_modes_append(path, mode):
    dataset = StringsMmap(path, mode)

    dataset.append("three")

    assert list(StringsMmap(path)) == [*TEXTS, "three"]
    assert dataset.mode == mode


@pytest.mark.parametrize("mode", ["w", "w+", "a", "", 1])
def test_unknown_mode_is_refused(path, mode):
    with pytest.raises(ValueError, match="is unknown"):
        StringsMmap(path, mode)


def test_length_changes_on_refresh_only(path):
    reader, writer = StringsMmap(path), StringsMmap(path)

    writer.extend(["three", "four"])

    assert len(reader) == 3
    reader.refresh()
    assert list(reader) == [*TEXTS, "three", "four"]


def test_append_moves_past_samples_that_others_appended(path):
    first, second = StringsMmap(path), StringsMmap(path)

    for number in range(50):
        (first, second)[number % 2].append(f"{number}" + "x" * 3000)

    assert [text.rstrip("x") for text in second[3:]] == [f"{number}" for number in range(50)]
    assert len(first) == 52
    first.refresh()
    assert list(first) == list(second)


def test_compact_continues_if_others_append_before_it_has_the_lock(path, monkeypatch):
    texts, other, asked = StringsMmap(path), StringsMmap(path), []
    texts.append("before")
    before = list(texts)

    def locked(*arguments):
        asked.append(arguments)
        if len(asked) == 1:
            other.append("in between")
        return log.locked(*arguments)

    monkeypatch.setattr(dataset, "locked", locked)
    texts.compact()

    assert list(texts) == [*before, "in between"]
    assert len(asked) > 2  # once more after that append: what is copied must be durable


def test_flush_of_what_is_durable_needs_no_permission(path, monkeypatch):
    texts = StringsMmap(path)
    monkeypatch.setattr(dataset.Dataset, "commit", Mock(side_effect=ReadOnlyError))

    texts.flush()

    assert [slot for _, slot in commit_file.read_commit(path).slots if slot.durable]


def test_append_after_a_replace_goes_to_the_new_generation(path):
    writer = StringsMmap(path)
    writer.append("three")
    StringsMmap.from_strings(path, ["other"])

    writer.append("more")

    assert list(writer) == ["other", "more"]


def test_append_after_a_replace_by_another_kind_raises(path):
    writer = StringsMmap(path)
    writer.append("three")
    BytesMmap.from_bytes(path, [b"other"])

    with pytest.raises(TypeError, match="expected a dataset of kind 'strings', found 'bytes'"):
        writer.append("more")

    assert list(BytesMmap(path)) == [b"other"]


def test_extend_of_nothing_makes_no_commit(path):
    dataset = StringsMmap(path)
    before = newest_slot(path).seq

    dataset.extend([])
    dataset += []

    assert newest_slot(path).seq == before


def test_extend_with_failing_iterable_stores_nothing(path):
    dataset = StringsMmap(path)

    def source():
        yield "good"
        raise KeyError("source")

    with pytest.raises(KeyError):
        dataset.extend(source())

    assert list(StringsMmap(path)) == TEXTS


def test_extend_shows_a_progress_bar_where_asked(path, capsys):
    StringsMmap(path).extend(["a", "b"], verbose=True)

    assert "2/2" in capsys.readouterr().err


def test_growth_in_many_batches_is_read(path):
    dataset = StringsMmap(path)

    for _ in range(20):
        dataset.extend(["y" * 100_000] * 40)

    assert len(dataset) == 803
    assert set(dataset[3:]) == {"y" * 100_000}


def test_flush_of_durable_commits_writes_nothing(path):
    dataset = StringsMmap(path)
    dataset.append("three")
    dataset.flush()
    calls = []

    files.watch(lambda call, *_: calls.append(call))
    try:
        dataset.flush()
    finally:
        files.watch(None)

    assert set(calls) == {"flock"}


def test_close_after_a_replace_is_quiet(path):
    dataset = StringsMmap(path)
    dataset.append("three")
    StringsMmap.from_strings(path, ["other"])

    dataset.close()

    assert list(StringsMmap(path)) == ["other"]


def test_with_closes(path):
    with StringsMmap(path) as dataset:
        dataset.append("three")

    with pytest.raises(ValueError, match="ds: the dataset is closed"):
        dataset[0]


def test_machine_durability_syncs_every_commit(path):
    dataset = StringsMmap(path, durability="machine")

    dataset.append("three")

    assert newest_slot(path).durable_rows == 4


def test_un_synced_tail_is_made_durable_every_64_mib(path):
    dataset = StringsMmap(path)

    for _ in range(5):
        dataset.append("x" * (16 << 20))

    assert newest_slot(path).durable_rows == 3 + 4


def test_unknown_durability_is_refused(path):
    with pytest.raises(ValueError, match="durability 'none' is unknown"):
        StringsMmap(path, durability="none")


def test_pickle_is_small_and_exact(path):
    dataset = StringsMmap(path)
    data = pickle.dumps(dataset)
    StringsMmap(path).extend(["later"] * 1000)

    restored = pickle.loads(data)

    assert len(data) < 1024
    assert list(restored) == TEXTS
    assert list(pickle.loads(pickle.dumps(restored))) == TEXTS
    restored.append("x")
    assert len(restored) == 1004


def test_pickle_keeps_mode_and_works_from_another_directory(path, monkeypatch):
    monkeypatch.chdir(path.parent)
    data = pickle.dumps(StringsMmap("ds", "r"))
    monkeypatch.chdir("/")

    restored = pickle.loads(data)

    assert list(restored) == TEXTS
    assert restored.mode == "r"


def test_pickle_of_an_empty_handle_is_an_empty_handle(tmp_path):
    assert list(pickle.loads(pickle.dumps(StringsMmap(tmp_path / "ds")))) == []


def test_seam_sees_the_writes_of_a_commit(path):
    dataset = StringsMmap(path)
    dataset.append("three")
    calls = []

    files.watch(lambda call, _, offset, size, data: calls.append((call, offset, size, data)))
    try:
        dataset.append("four")
    finally:
        files.watch(None)

    payload, offsets, slot = (entry for entry in calls if entry[0] == "pwrite")
    assert payload[1:] == (15, 4, b"four")
    assert offsets[1:] == (40, 8, (19).to_bytes(8, "little"))
    assert _kernel.decode_slot(slot[3])[1].rows == 5
    assert [entry[0] for entry in calls] == ["flock", "pwrite", "pwrite", "pwrite", "flock"]


def test_slots_are_written_in_turn_and_numbered(path):
    dataset = StringsMmap(path)

    for _ in range(3):
        before = {place: slot.seq for place, slot in commit_file.read_commit(path).slots}
        dataset.append("x")
        after = {place: slot.seq for place, slot in commit_file.read_commit(path).slots}
        changed = [place for place in range(4) if before[place] != after[place]]
        assert changed == [min((0, 1), key=lambda place: before[place])]
        assert after[changed[0]] == max(before.values()) + 1


def test_flush_of_a_missing_path_touches_nothing(tmp_path):
    StringsMmap(tmp_path / "ds").flush()

    assert os.listdir(tmp_path) == []


def test_offsets_of_an_empty_handle_are_empty(tmp_path):
    dataset = StringsMmap(tmp_path / "ds")

    assert (dataset.starts.tolist(), dataset.ends.tolist(), dataset.byte_lengths.tolist()) == ([], [], [])


def test_close_of_a_commit_that_cannot_be_mapped_maps_nothing(tmp_path, monkeypatch):
    """A bug once: it was mapped, and the handle stayed open if a dataset of another kind was at the path."""
    dataset = mn.RecordsMmap.from_generator(tmp_path / "ds", [{"text": "a"}])
    no_memory = Mock(side_effect=MemoryError)
    monkeypatch.setattr(mn.RecordsMmap, "_show", no_memory)
    dataset.append({"text": "b"})

    dataset.close()

    assert no_memory.call_count == 1
    assert "closed; text: str" in repr(dataset)
