"""Modes and groups: new files of a dataset can be read by everyone who could read the old ones."""

import os
import tempfile
from pathlib import Path

import numpy as np
import pytest

import mmap_ninja as mn
from mmap_ninja import ArrayMmap, RecordsMmap, StringsMmap
from support.faults import as_nobody, flip_bit, unsynced, watched
from support.golden import F_ORDER, STRINGS

GROUP = 54321 if os.getuid() == 0 else os.getgid()
# The mode of the dataset's files, and a umask that differs.
SHARED = [
    pytest.param(0o644, 0o077, id="0644"),
    pytest.param(0o664, 0o077, id="0664"),
    pytest.param(0o600, 0o000, id="0600"),
]


@pytest.fixture
def umask():
    """Sets the umask of the process until the test ends; skips syncs meanwhile."""
    before = os.umask(0o022)
    with watched(unsynced()):
        yield os.umask
    os.umask(before)


def share(path, mode):
    """Set the mode of all files of a dataset, and a group that new files would not get by default."""
    for folder, _, names in os.walk(path):
        for name in names:
            os.chown(os.path.join(folder, name), -1, GROUP)
            os.chmod(os.path.join(folder, name), mode)


def modes(path):
    """Modes and groups of all files below a path."""
    found = {}
    for folder, _, names in os.walk(path):
        for name in names:
            info = os.stat(os.path.join(folder, name))
            found[os.path.relpath(os.path.join(folder, name), path)] = oct(info.st_mode & 0o7777), info.st_gid
    return found


def damage_and_recover(path):
    with RecordsMmap(path) as records:
        records.append({"a": 9, "t": "damaged"})
    names = [name for name in os.listdir(path) if name.startswith("c1.data")]
    flip_bit(path / names[0], os.path.getsize(path / names[0]) - 1, 7)
    assert mn.recover(path).samples == 5


ACTS = {
    "append": lambda path: RecordsMmap(path).append({"a": 9, "t": "more"}),
    "compact": lambda path: RecordsMmap(path).compact(order=[4, 3, 2, 1, 0]),
    "clear": lambda path: RecordsMmap(path).clear(),
    "add a column": lambda path: RecordsMmap(path).add_column("b", range(5)),
    "drop a column": lambda path: RecordsMmap(path).drop_column("a"),
    "rename a column": lambda path: RecordsMmap(path).rename_column("a", "b"),
    "replace": lambda path: RecordsMmap.from_generator(path, [{"a": 1, "t": "new"}]).close(),
    "another kind": lambda path: StringsMmap.from_strings(path, ["new"]).close(),
    "recover": damage_and_recover,
}


@pytest.mark.parametrize(("mode", "mask"), SHARED)
@pytest.mark.parametrize("act", ACTS)
def test_new_files_of_a_dataset_have_the_mode_and_group_of_those_beside_them(umask, tmp_path, act, mode, mask):
    """A bug once: with a umask of 077, compacting made a shared dataset unreadable for others."""
    path = tmp_path / "ds"
    RecordsMmap.from_generator(path, [{"a": number, "t": f"text {number}"} for number in range(5)]).close()
    share(path, mode)

    umask(mask)
    ACTS[act](path)

    assert modes(path) == dict.fromkeys(os.listdir(path), (oct(mode), GROUP))
    assert mn.verify(path, level="full").ok


@pytest.mark.parametrize(("mode", "mask"), SHARED)
def test_files_of_an_array_that_is_made_writable_have_the_mode_of_those_beside_them(umask, tmp_path, mode, mask):
    path = tmp_path / "ds"
    ArrayMmap.from_ndarray(path, np.arange(5)).close()
    share(path, mode)

    umask(mask)
    mn.np_open_existing(path, "r+")

    assert modes(path) == dict.fromkeys(os.listdir(path), (oct(mode), GROUP))


def test_files_of_an_interrupted_replacement_have_the_mode_of_those_beside_them(umask, path):
    share(path, 0o640)

    def source():
        yield "first"
        yield "second"
        raise RuntimeError

    umask(0o077)
    with pytest.raises(RuntimeError):
        StringsMmap.from_generator(path, source(), batch_size=1)
    assert "BUILD" in os.listdir(path)
    assert modes(path) == dict.fromkeys(os.listdir(path), ("0o640", GROUP))
    StringsMmap.from_generator(path, ["first", "second", "third"], if_exists="resume").close()

    assert modes(path) == dict.fromkeys(os.listdir(path), ("0o640", GROUP))


def test_new_dataset_has_the_mode_that_the_umask_says(umask, tmp_path):
    umask(0o027)

    StringsMmap.from_strings(tmp_path / "ds", ["a"]).close()

    assert {mode for mode, _ in modes(tmp_path / "ds").values()} == {"0o640"}


OF_0_X = {
    "upgrade": mn.upgrade,
    "compact": lambda path: mn.open(path).compact(order=range(len(mn.open(path)) - 1, -1, -1)),
    "first append": lambda path: mn.open(path).append(mn.open(path)[0]),
    "replace": lambda path: StringsMmap.from_strings(path, ["new"]).close(),
}


@pytest.mark.parametrize(("mode", "mask"), SHARED[1:])
@pytest.mark.parametrize("name", [STRINGS, F_ORDER])
@pytest.mark.parametrize("act", OF_0_X)
def test_first_change_of_a_directory_of_0_x_keeps_mode_and_group(umask, copy, name, act, mode, mask):
    """A bug once: with a umask of 077, others could no longer read the directory."""
    path = copy(name)
    share(path, mode)

    umask(mask)
    OF_0_X[act](path)

    assert modes(path) == dict.fromkeys(modes(path), (oct(mode), GROUP))


@pytest.mark.skipif(os.getuid() != 0, reason="only root gives files to others")
def test_new_files_that_root_makes_belong_to_the_owner_of_those_beside_them(umask, tmp_path):
    """A bug once: owners could no longer read their dataset after root had compacted it."""
    path = tmp_path / "ds"
    RecordsMmap.from_generator(path, [{"a": 1}, {"a": 2}]).close()
    for name in os.listdir(path):
        os.chown(path / name, 12345, 54321)
        os.chmod(path / name, 0o600)

    RecordsMmap(path).compact(order=[1, 0])

    found = {name: (path / name).stat() for name in os.listdir(path)}
    assert {(info.st_uid, info.st_gid, info.st_mode & 0o777) for info in found.values()} == {(12345, 54321, 0o600)}


@pytest.mark.skipif(os.getuid() != 0, reason="makes a directory whose parent is another user's")
@pytest.mark.parametrize("name", ["mine", "mine/below"])
def test_directory_that_may_be_passed_but_not_read_holds_datasets(name):
    """A bug once: syncing the name of a new dataset needed the permission to list its parent."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o711)
        path = Path(folder) / name
        path.mkdir(parents=True)
        os.chown(path, 65534, 65534)
        os.chmod(path.parent, 0o711)

        def act():
            with StringsMmap(path) as texts:
                texts.append("first")
            StringsMmap.from_strings(path, ["new"], if_exists="replace").close()
            mn.merge([path], path / "merged")
            return list(mn.open(path)) + list(mn.open(path / "merged"))

        assert as_nobody(act) == ["new", "new"]
