"""Pickles: a handle shows the same commit again, or raises."""

import multiprocessing
import os
import pickle
import shutil

import numpy as np
import pytest

import mmap_ninja as mn
from mmap_ninja import ArrayMmap, BytesMmap, RaggedMmap, RecordsMmap, StaleHandleError, StringsMmap
from support.faults import NEW, OLD, ended, start, unsynced, watched

START_METHODS = ["fork", "forkserver", "spawn"]


def send_samples(handle, queue):
    queue.put((list(handle), handle[-1], len(handle)))


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
@pytest.mark.parametrize("method", START_METHODS)
def test_pickle_gives_a_child_process_the_same_snapshot(path, method):
    texts = StringsMmap(path)
    view = texts.select([2, 1])
    texts.append("later")
    queue = multiprocessing.get_context(method).Queue()

    found = []
    for handle in (texts, view):
        process = start(method, send_samples, handle, queue)
        found.append(queue.get(timeout=60))
        assert ended(process) == 0
    queue.close()
    queue.join_thread()

    assert found == [([*OLD, "later"], "later", 4), ([OLD[2], OLD[1]], OLD[1], 2)]
    assert len(pickle.dumps(texts)) < 1024


def test_pickle_after_appends_by_others_gives_the_old_snapshot(path):
    texts = StringsMmap(path)
    views = [texts.select(slice(None, None, -1)), texts.select([1]), texts.select(np.array([], int))]
    pickled = pickle.dumps((texts, views))

    StringsMmap(path).extend(NEW)
    again, views_again = pickle.loads(pickled)

    assert list(again) == OLD
    assert [list(view) for view in views_again] == [OLD[::-1], [OLD[1]], []]
    again.append("more")
    assert list(again) == [*OLD, *NEW, "more"]


def test_pickle_after_a_replacement_is_stale(path):
    texts = StringsMmap(path)
    pickles = [pickle.dumps(texts), pickle.dumps(texts.select([1])), pickle.dumps(texts.select(slice(1)))]

    StringsMmap.from_strings(path, [*OLD, *NEW])

    for pickled in pickles:
        with pytest.raises(
            StaleHandleError, match="does not hold commit .* written anew since, .*; open the path again"
        ):
            pickle.loads(pickled)


def test_commit_id_after_a_compaction_says_that_the_files_were_written_anew(path):
    texts = StringsMmap(path)
    seen = texts.commit_id
    del texts[0]
    texts.compact()

    with pytest.raises(
        StaleHandleError, match=f"does not hold commit {seen}: its files were written anew since, as by"
    ):
        mn.open(path, commit_id=seen)


def test_commit_id_of_samples_that_were_rolled_back_says_so(path):
    shutil.copytree(path, path.with_name("backup"))
    texts = StringsMmap(path)
    texts.append("gone")
    seen = texts.commit_id
    texts.close()
    shutil.rmtree(path)
    path.with_name("backup").rename(path)

    with pytest.raises(StaleHandleError, match=f"does not hold commit {seen}: it was rolled back since"):
        mn.open(path, commit_id=seen)


def test_pickle_after_a_rollback_is_stale(path):
    texts = StringsMmap(path)
    texts.append("gone")
    pickled = pickle.dumps(texts)
    shutil.rmtree(path)
    StringsMmap.from_strings(path, OLD)

    with pytest.raises(StaleHandleError, match="or the commit is of another dataset"):
        pickle.loads(pickled)


@pytest.mark.parametrize("act", ["append", "edit", "compact", "clear"])
def test_pickle_after_any_change_is_exact_or_stale(path, act):
    texts = StringsMmap(path)
    del texts[1]
    expected, other = list(texts), StringsMmap(path)
    pickles = [pickle.dumps(handle) for handle in (texts, texts.select([1, 0]), texts.select(slice(None, None, -1)))]

    if act == "append":
        other.extend(NEW)
    elif act == "edit":
        other[0] = "replaced"
        del other[1]
    else:
        getattr(other, act)()

    for pickled, found in zip(pickles, (expected, expected[::-1], expected[::-1]), strict=True):
        if act in ("append", "edit"):
            assert list(pickle.loads(pickled)) == found
        else:
            with pytest.raises(
                StaleHandleError, match="does not hold commit .* written anew since, .*; open the path again"
            ):
                pickle.loads(pickled)


@pytest.mark.parametrize(
    ("kind", "sample"),
    [
        (StringsMmap, "a"),
        (BytesMmap, b"a"),
        (ArrayMmap, np.float32(1)),
        (RaggedMmap, np.arange(2)),
        (RecordsMmap, {"a": 1}),
    ],
)
def test_pickle_of_a_handle_on_a_vacant_path_is_empty_again(tmp_path, kind, sample):
    """A bug once: a records handle could be pickled, but not unpickled."""
    again = pickle.loads(pickle.dumps(kind(tmp_path / "ds")))

    assert type(again) is kind
    assert len(again) == 0
    assert not (tmp_path / "ds").exists()
    again.append(sample)
    assert len(mn.open(tmp_path / "ds")) == 1


# ---- relative paths

RECORDS = [{"text": f"text {number}", "tokens": np.arange(number, dtype=np.int32)} for number in range(6)]

# Parts of a dataset, and their paths.
PARTS = {
    "dataset": (lambda ds: ds, lambda ds: [ds.path]),
    "view": (lambda ds: ds.select(slice(1, None, 2)), lambda view: [view.path]),
    "view of a view": (lambda ds: ds.select([3, 1, 2]).select([0, 2]), lambda view: [view.path]),
    "column": (lambda ds: ds["text"], lambda column: [column.path]),
    "columns": (lambda ds: ds[["tokens"]], lambda view: [view.path]),
    "view of a column": (lambda ds: ds["text"].select([2, 1]), lambda view: [view.path]),
    "concat": (lambda ds: mn.concat([ds, ds.select([1])]), lambda joined: [part.path for part in joined.parts]),
    "windows": (lambda ds: ds["tokens"].windows(2), lambda windows: [repr(windows).split("'")[1]]),
}


def listed(samples):
    return [str(sample) for sample in samples]


@pytest.fixture
def relative(tmp_path, monkeypatch):
    """A dataset opened by a relative path; from the folder `elsewhere`, the same path leads to another one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    with watched(unsynced()):
        RecordsMmap.from_generator("elsewhere/ds", [{"text": "wrong", "tokens": np.zeros(9, np.int32)}] * 6).close()
        return RecordsMmap.from_generator("ds", RECORDS)


@pytest.mark.parametrize(
    ("when", "place"), [("taken before", "elsewhere"), ("taken afterwards", "elsewhere"), ("taken afterwards", "gone")]
)
@pytest.mark.parametrize("part", PARTS)
def test_pickle_of_a_handle_with_a_relative_path_survives_another_working_directory(
    tmp_path, monkeypatch, relative, part, when, place
):
    """A bug once: views used the working directory at the time when they were made."""
    take, paths_of = PARTS[part]
    expected, before = listed(take(relative)), take(relative)

    (tmp_path / place).mkdir(exist_ok=True)
    monkeypatch.chdir(tmp_path / place)
    if place == "gone":
        os.rmdir(tmp_path / place)
    taken = before if when == "taken before" else take(relative)
    again = pickle.loads(pickle.dumps(taken))

    assert listed(taken) == listed(again) == expected
    for handle in (taken, again):
        assert [str(path) for path in paths_of(handle)] == [str(tmp_path / "ds")] * len(paths_of(handle))


def test_reads_in_a_working_directory_that_was_deleted_are_as_before(tmp_path, monkeypatch, relative):
    """A bug once: reading backwards makes a view, which needed the working directory."""
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    os.rmdir(tmp_path / "gone")

    assert listed(reversed(relative)) == listed(relative)[::-1] == listed(RECORDS)[::-1]
    relative.append(RECORDS[0])
    relative.refresh()
    relative.compact(order=range(6, -1, -1))
    assert relative["text"][:] == ["text 0", *(record["text"] for record in reversed(RECORDS))]
