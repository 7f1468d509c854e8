"""Pickles: a handle comes back to the commit that it showed, or says why not."""

import multiprocessing
import pickle
import shutil

import numpy as np
import pytest
from faults import NEW, OLD, ended, start

from mmap_ninja import StaleHandleError, StringsMmap

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
        with pytest.raises(StaleHandleError, match="was replaced or rolled back; open the path again"):
            pickle.loads(pickled)


def test_pickle_after_a_rollback_is_stale(path):
    texts = StringsMmap(path)
    texts.append("gone")
    pickled = pickle.dumps(texts)
    shutil.rmtree(path)
    StringsMmap.from_strings(path, OLD)

    with pytest.raises(StaleHandleError, match="generation 1 with 4 was expected"):
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
            with pytest.raises(StaleHandleError, match="was replaced or rolled back; open the path again"):
                pickle.loads(pickled)
