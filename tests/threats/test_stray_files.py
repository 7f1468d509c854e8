"""Files that other programs leave in a dataset's directory, and directories of symbolic links."""

import os
import pickle
import shutil

import pytest

import mmap_ninja as mn
from mmap_ninja import CorruptDatasetError, NotADatasetError, ReadOnlyError, StringsMmap
from support.golden import GOLDEN
from support.kinds import KINDS, plain

STRAY = [
    ".DS_Store", "._COMMIT", "Thumbs.db", "desktop.ini", ".directory", ".nfs0000000000a1b2c300000001",
    ".fuse_hidden0001", ".ipynb_checkpoints/", ".gitattributes", ".gitignore", ".gitkeep", "lost+found/",
]  # fmt: skip


def put(path, name):
    path.mkdir(exist_ok=True)
    if name.endswith("/"):
        (path / name).mkdir()
    else:
        (path / name).write_text("stray")


@pytest.mark.parametrize("name", STRAY)
def test_stray_file_does_not_make_a_directory_foreign(tmp_path, name):
    path = tmp_path / "ds"
    put(path, name)
    texts = StringsMmap(path)
    assert repr(texts).endswith("no dataset yet)")

    texts.append("a")
    StringsMmap.from_strings(path, ["b"])
    StringsMmap.from_strings(path, ["c"], if_exists="append")
    StringsMmap(path).compact([1, 0])

    assert list(mn.open(path, "r", verify="full")) == ["c", "b"]
    assert os.path.lexists(path / name)


@pytest.mark.parametrize("name", STRAY)
def test_stray_file_survives_merge_and_replacement(tmp_path, name):
    path = tmp_path / "ds"
    put(path, name)
    mn.merge([StringsMmap.from_strings(tmp_path / "other", ["a"]).path], path)
    mn.merge([tmp_path / "other"], path, if_exists="replace")

    assert list(mn.open(path)) == ["a"]
    assert os.path.lexists(path / name)


def test_directory_of_stray_files_is_as_good_as_empty(tmp_path):
    put(tmp_path / "ds", ".DS_Store")

    with pytest.raises(NotADatasetError, match="ds: is an empty directory"):
        mn.open(tmp_path / "ds")


@pytest.mark.parametrize("name", ["README.md", "data.bin", ".git/", "DS_Store", "notes.nfs1"])
def test_other_files_still_make_a_directory_foreign(tmp_path, name):
    put(tmp_path / "ds", name)

    with pytest.raises(NotADatasetError, match="files that do not belong to a dataset"):
        StringsMmap.from_strings(tmp_path / "ds", ["a"])


# ---- a snapshot of symbolic links, as the caches of model hubs make them


@pytest.fixture(params=KINDS)
def kind(request):
    return KINDS[request.param]


def linked(source, target):
    """A directory of links to copies of the files of another one, whose names are hashes."""
    blobs = target.parent / "blobs"
    blobs.mkdir()
    for folder, _, names in os.walk(source):
        here = target / os.path.relpath(folder, source)
        here.mkdir(exist_ok=True)
        for name in names:
            blob = blobs / f"{abs(hash((folder, name))):x}"
            shutil.copyfile(os.path.join(folder, name), blob)
            os.symlink(os.path.relpath(blob, here), here / name)
    return target


@pytest.fixture
def snapshot(tmp_path, kind):
    kind.edited(tmp_path / "ds")[0].close()
    return linked(tmp_path / "ds", tmp_path / "snapshot")


def test_links_are_followed_when_asked_for(snapshot, tmp_path, kind):
    expected = plain(list(mn.open(tmp_path / "ds")))
    dataset = mn.open(snapshot, follow_symlinks=True, verify="full")

    assert plain(list(dataset)) == expected
    assert plain(list(dataset.select([0, -1]))) == [expected[0], expected[-1]]
    assert plain(list(pickle.loads(pickle.dumps(dataset)))) == expected
    assert plain(list(mn.open(snapshot, "c", follow_symlinks=True, read_mode="pread"))) == expected
    assert dataset.verify("full").ok
    dataset.refresh()
    assert (dataset.mode, dataset.commit_id) == ("r", mn.open(tmp_path / "ds").commit_id)
    pinned = mn.open(snapshot, follow_symlinks=True, commit_id=dataset.commit_id)
    assert plain(list(pinned)) == expected


def test_dataset_of_links_is_only_read(snapshot, kind):
    before = sorted(os.listdir(snapshot))
    dataset = mn.open(snapshot, follow_symlinks=True)

    with pytest.raises(ReadOnlyError, match="snapshot: opened with follow_symlinks=True, which is for reading"):
        dataset.append(kind.sample(1))
    for mode in ("r+", "r+b"):
        with pytest.raises(ValueError, match=rf"mode '{mode[:2]}.*': expected 'r' or 'c' with follow_symlinks=True"):
            mn.open(snapshot, mode, follow_symlinks=True)

    assert sorted(os.listdir(snapshot)) == before


def test_links_are_not_followed_by_default_and_the_error_says_how(snapshot, kind):
    hint = r"COMMIT: expected a regular file, found a symbolic link; .*mmap_ninja.open\(..., follow_symlinks=True\)"
    for act in (mn.open, kind.cls, mn.verify, lambda path: mn.recover(path, path.parent / "new")):
        with pytest.raises(NotADatasetError, match=hint) as caught:
            act(snapshot)
        assert "copy;" not in str(caught.value)
    with pytest.raises(CorruptDatasetError, match="LOCK: expected a regular file, found a symbolic link"):
        kind.build(snapshot, 3)

    assert not (snapshot.parent / "new").exists()


def test_single_link_is_followed_only_when_asked_for(tmp_path):
    path = StringsMmap.from_strings(tmp_path / "ds", ["a", "b"]).path
    (path / "c0.data-1").rename(tmp_path / "data")
    (path / "c0.data-1").symlink_to(tmp_path / "data")

    with pytest.raises(CorruptDatasetError, match=r"c0.data-1: expected a regular file, found a symbolic link"):
        mn.open(path)
    assert list(mn.open(path, follow_symlinks=True)) == ["a", "b"]
    (tmp_path / "data").unlink()
    with pytest.raises(CorruptDatasetError, match="a file of its newest commit is missing"):
        mn.open(path, follow_symlinks=True)


@pytest.mark.parametrize("name", ["0.9.0-strings", "0.9.0-array-c", "0.9.0-ragged-mixed"])
def test_links_to_a_directory_of_0x_are_followed_when_asked_for(tmp_path, name):
    path = linked(GOLDEN / name, tmp_path / "old")

    with pytest.raises(CorruptDatasetError, match=r"found a symbolic link; .*follow_symlinks=True"):
        mn.open(path)
    assert plain(list(mn.open(path, follow_symlinks=True))) == plain(list(mn.open(GOLDEN / name)))


def test_fifo_behind_a_link_is_refused_without_waiting(tmp_path):
    path = StringsMmap.from_strings(tmp_path / "ds", ["a"]).path
    (path / "c0.data-1").unlink()
    os.mkfifo(tmp_path / "fifo")
    (path / "c0.data-1").symlink_to(tmp_path / "fifo")

    with pytest.raises(CorruptDatasetError, match="c0.data-1: expected a regular file, found a directory, a pipe"):
        mn.open(path, follow_symlinks=True)


def test_following_links_ends_with_the_call(snapshot):
    dataset = mn.open(snapshot, follow_symlinks=True)

    with pytest.raises(NotADatasetError, match="found a symbolic link"):
        mn.open(snapshot)
    dataset.refresh()
    with pytest.raises(NotADatasetError, match="found a symbolic link"):
        mn.open(snapshot)
    assert len(list(dataset)) == len(dataset)
