"""Handles whose dataset was deleted, exchanged or closed, and objects that were not initialised."""

import gc
import os
import pickle
import shutil
import subprocess
import sys

import pytest

from mmap_ninja import DatasetTruncatedError, NotADatasetError, StaleHandleError, StringsMmap
from support.damage import SAMPLES


def test_deleted_dataset_stays_readable_and_refuses_the_writer(path):
    reader, writer = StringsMmap(path), StringsMmap(path)
    writer.append("six")
    shutil.rmtree(path)

    with pytest.raises(
        StaleHandleError,
        match="moved, deleted or replaced by another one; nothing was written: open the dataset where it is now",
    ):
        writer.append("lost")
    with pytest.raises(NotADatasetError, match="no such directory"):
        reader.refresh()
    with pytest.raises(NotADatasetError, match="ds: the dataset is no longer at this path: it was moved or deleted"):
        reader.append("lost")

    assert list(reader) == SAMPLES
    assert list(writer) == [*SAMPLES, "six"]
    assert not path.exists()


def test_commit_file_put_in_place_of_the_writers_refuses_the_append(path):
    """A bug once: the writer continued in the unlinked file, as after an rsync, and its samples were lost."""
    texts = StringsMmap(path)
    texts.append("six")
    shutil.copy(path / "COMMIT", path / "COMMIT.new")
    os.rename(path / "COMMIT.new", path / "COMMIT")

    with pytest.raises(StaleHandleError, match="moved, deleted or replaced by another one; nothing"):
        texts.append("lost")
    texts.refresh()
    texts.append("seven")

    assert list(texts) == list(StringsMmap(path)) == [*SAMPLES, "six", "seven"]


def test_handle_writes_again_after_refresh_of_a_recreated_path(path):
    """A bug once: the log of the deleted dataset refused every append, even after the refresh."""
    texts = StringsMmap(path)
    texts.append("six")
    shutil.rmtree(path)
    StringsMmap.from_strings(path, ["new"])

    with pytest.raises(StaleHandleError, match="moved, deleted or replaced"):
        texts.append("lost")
    texts.refresh()
    texts.append("newer")

    assert list(texts) == list(StringsMmap(path)) == ["new", "newer"]


def test_refresh_after_directory_was_swapped_for_its_copy_reads_the_copy(path, tmp_path):
    """A bug once: it used the commit of the copy and the files of the old directory, since both have one uuid."""
    shutil.copytree(path, tmp_path / "copy")
    StringsMmap(tmp_path / "copy").append("in the copy")
    texts = StringsMmap(path)
    texts.extend(["in the original", "and one more"])
    os.rename(path, tmp_path / "original")
    os.rename(tmp_path / "copy", path)

    texts.refresh()

    assert list(texts) == [*SAMPLES, "in the copy"]


def test_handle_shows_the_new_generation_after_a_failed_append(path):
    """A bug once: after the failed append, the next one showed the old payload with the new extents."""
    texts = StringsMmap(path)
    StringsMmap.from_strings(path, ["a new first sample that is longer", "b"])
    os.rename(path / "LOCK", path / "LOCK-")
    with pytest.raises(NotADatasetError, match="LOCK"):
        texts.append("lost")
    os.rename(path / "LOCK-", path / "LOCK")
    os.truncate(path / "COMMIT", 9000)  # only noticed when the new generation is open
    with pytest.raises(DatasetTruncatedError, match="COMMIT"):
        texts.append("lost")
    os.truncate(path / "COMMIT", 16_384)

    texts.append("c")

    assert list(texts) == ["a new first sample that is longer", "b", "c"]


@pytest.mark.parametrize(
    "use",
    [
        lambda ds: ds[0],
        lambda ds: ds[:2],
        lambda ds: ds[[0]],
        len,
        iter,
        lambda ds: ds.take([0]),
        lambda ds: ds.take_jagged([0]),
        lambda ds: ds.byte_lengths,
        lambda ds: ds.select([0]),
        lambda ds: ds.index("first"),
        lambda ds: ds.append("lost"),
        lambda ds: ds.extend(["lost"]),
        lambda ds: ds.flush(),
        lambda ds: ds.refresh(),
        lambda ds: ds.prefetch([0]),
        pickle.dumps,
    ],
)
def test_use_after_close_raises(path, use):
    texts = StringsMmap(path)
    texts.close()
    texts.close()

    with pytest.raises(ValueError, match="closed"):
        use(texts)


def test_views_iterators_and_pickles_survive_close(path):
    texts = StringsMmap(path)
    view, iterator, pickled = texts.select(slice(1, 3)), iter(texts), pickle.dumps(texts)
    next(iterator)

    texts.close()
    del texts
    gc.collect()

    assert list(view) == SAMPLES[1:3]
    assert list(iterator) == SAMPLES[1:]
    assert list(pickle.loads(pickled)) == SAMPLES


UNINITIALISED = {
    "StringsMmap.__new__(StringsMmap)": [
        "it[0]",
        "it[:]",
        "len(it)",
        "iter(it)",
        "it.take([0])",
        "it.append('x')",
        "'x' in it",
    ],
    "_kernel.Samples.__new__(_kernel.Samples)": ["it[0]", "len(it)", "iter(it)", "it._show_column(None, None)"],
    "_kernel.Log.__new__(_kernel.Log)": ["it.state", "it.close()"],
    "_kernel.SamplesIterator.__new__(_kernel.SamplesIterator)": ["next(it)", "it.__length_hint__()"],
}


@pytest.mark.parametrize("make", UNINITIALISED)
def test_uninitialised_object_raises_instead_of_crashing(make):
    lines = ["from mmap_ninja import StringsMmap, _kernel"]
    for use in UNINITIALISED[make]:
        lines += [f"it = {make}", "try:", f"    {use}", "except Exception as error:", "    print(type(error).__name__)"]

    result = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=False)

    assert result.returncode == 0, result.stderr
    assert len(result.stdout.split()) == len(UNINITIALISED[make])


def test_index_whose_code_closes_the_dataset_raises(path):
    """A bug once: the samples were read through a map that no longer existed."""
    texts = StringsMmap(path)

    class Closing:
        def __index__(self):
            texts.close()
            return 0

    with pytest.raises(ValueError, match="closed"):
        texts[Closing()]
