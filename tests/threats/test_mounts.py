"""Mounted filesystems: disks that disappear and come back, a directory at two mounts, overlays.

Skipped without root, or if mounting is not permitted.
"""

import os
import pickle
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest

import mmap_ninja as mn
from mmap_ninja import ArrayMmap, ReadOnlyError, RecordsMmap, StringsMmap
from support.faults import OLD, durable_rows, fork, in_child, slots, watched
from support.kinds import KINDS, plain
from support.reads import check_is

pytestmark = [
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="mounts as Linux does"),
    pytest.mark.skipif(os.getuid() != 0, reason="only root may mount"),
]


def tried(*command):
    """The output of a command; skips the test if the command is missing or not permitted."""
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"{' '.join(map(str, command))}: {done.stderr.strip()}")
    return done.stdout.strip()


@pytest.fixture
def mount():
    """Mounts something until the test ends: `mount(*arguments of the command, target)`."""
    targets = []

    def mount(*arguments):
        tried("mount", *arguments)
        targets.append(arguments[-1])

    yield mount
    for target in reversed(targets):
        subprocess.run(["umount", "--lazy", target], capture_output=True, check=False)


class Disk:
    """A filesystem on a loop device, mounted at `place`."""

    def __init__(self, folder):
        self.image, self.place, self.device = folder / "image", folder / "place", None
        self.place.mkdir()
        self.image.touch()
        os.truncate(self.image, 16 << 20)

    def plug_in(self):
        self.device = tried("losetup", "--find", "--show", self.image)
        tried("mount", self.device, self.place)

    def come_back(self, content):
        """Disappear, and come back as the same device, with its content at some time."""
        subprocess.run(["umount", self.place], check=True)
        subprocess.run(["losetup", "--detach", self.device], check=True)
        os.replace(content, self.image)
        tried("losetup", self.device, self.image)
        tried("mount", self.device, self.place)

    def content(self):
        """A copy of the disk now, perhaps without what was not synced."""
        return shutil.copy(self.image, f"{self.image} of now")

    def unplug(self):
        subprocess.run(["umount", "--lazy", self.place], capture_output=True, check=False)
        if self.device is not None:
            subprocess.run(["losetup", "--detach", self.device], capture_output=True, check=False)


@pytest.fixture
def disk(tmp_path):
    disk = Disk(tmp_path)
    try:
        tried("mkfs.ext4", "-q", "-F", disk.image)
        disk.plug_in()
        yield disk
    finally:
        disk.unplug()


def sync(path):
    """Wait until the content of a file is on the disk."""
    fd = os.open(path, os.O_RDWR)
    os.fdatasync(fd)
    os.close(fd)


# ---- a disk that disappears


def killed_before_it_commits(act):
    """Run an act in a child, which is killed before it writes to the commit file."""

    def die(call, where, *_):
        if call == "pwrite" and os.readlink(f"/proc/self/fd/{where}").endswith("COMMIT"):
            os.kill(os.getpid(), signal.SIGKILL)

    def child():
        with watched(die):
            act()

    pid, pipe = fork(child)
    os.close(pipe)
    assert os.waitpid(pid, 0)[1] == signal.SIGKILL


def test_disk_that_drops_out_and_comes_back_shows_no_bytes_that_were_never_committed(disk):
    """A bug once: as boot, device and inode were the same, bytes left by a killed writer were shown as samples."""
    path = disk.place / "ds"
    StringsMmap.from_strings(path, ["durable"]).close()
    killed_before_it_commits(lambda: StringsMmap(path).append("AAAA never committed"))
    for name in os.listdir(path):
        sync(path / name)
    in_child(lambda: StringsMmap(path).append("BBBB acknowledged..."))
    sync(path / "COMMIT")  # as if the system wrote it back first
    inode = os.stat(path / "COMMIT").st_ino, os.stat(path).st_dev

    disk.come_back(disk.content())

    assert (os.stat(path / "COMMIT").st_ino, os.stat(path).st_dev) == inode
    assert b"AAAA" in (path / "c0.data-1").read_bytes()
    assert max(slot.rows for slot in slots(path) if slot) == 2
    assert list(mn.open(path)) == ["durable"]
    assert mn.verify(path, level="full").ok
    StringsMmap(path).append("after")
    assert list(mn.open(path)) == ["durable", "after"]


@pytest.mark.parametrize("kind", ["strings", "array", "records"])
def test_filesystem_that_is_mounted_again_keeps_acknowledged_commits(disk, kind):
    path, of = disk.place / "ds", KINDS[kind].samples
    in_child(lambda: KINDS[kind].build(path, 3).close())

    def write():
        dataset = mn.open(path)
        dataset.extend(of(2000, 3))
        dataset.append(of(1, 2003)[0])
        del dataset[0]

    in_child(write)
    subprocess.run(["umount", disk.place], check=True)
    tried("mount", disk.device, disk.place)

    assert plain(mn.open(path)) == plain(of(2004)[1:])
    assert mn.verify(path, level="full").ok
    mn.open(path).append(of(1, 2004)[0])
    assert len(mn.open(path)) == 2004


# ---- one directory at two mounts


@pytest.fixture
def two_mounts(tmp_path, mount):
    """Two paths of one directory, on a filesystem that is mounted twice."""
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
    mount("--bind", tmp_path / "one", tmp_path / "other")
    return tmp_path / "one" / "ds", tmp_path / "other" / "ds"


@pytest.mark.parametrize("kind", ["strings", "array", "records"])
def test_writers_at_two_mounts_of_one_directory_see_each_others_samples(two_mounts, kind):
    of = KINDS[kind].samples
    KINDS[kind].build(two_mounts[0], 5).close()
    datasets = [mn.open(path) for path in two_mounts]

    for number in range(5, 45):
        datasets[number % 2].append(of(1, number)[0])
        datasets[1 - number % 2].refresh()
        assert len(datasets[1 - number % 2]) == len(mn.open(two_mounts[number % 2])) == number + 1
    del datasets[0][0]
    datasets[1].append(of(1, 45)[0])
    datasets[0].refresh()

    expected = plain(of(46)[1:])
    assert [plain(dataset) for dataset in datasets] == [expected] * 2
    for path in two_mounts:
        assert plain(mn.open(path)) == expected
        assert mn.verify(path, level="full").ok


def test_rows_that_are_not_durable_yet_of_a_writable_array_are_seen_at_another_mount(two_mounts):
    """No digest covers them, which could show that they are there."""
    rows = np.arange(12).reshape(4, 3)
    ArrayMmap.from_ndarray(two_mounts[0], rows).close()
    mn.np_open_existing(two_mounts[0], "r+")[0] = 9
    rows[0] = 9

    one, other = (ArrayMmap(path) for path in two_mounts)
    one.append(rows[1])
    other.append(rows[2])
    other.extend(rows[:2])
    one.refresh()
    one.append(rows[3])
    other.refresh()

    expected = rows[[0, 1, 2, 3, 1, 2, 0, 1, 3]].tolist()
    assert np.asarray(one).tolist() == np.asarray(other).tolist() == expected
    for path in two_mounts:
        assert np.asarray(mn.open(path)).tolist() == expected
        assert mn.verify(path, level="full").ok


def test_pickle_from_one_mount_of_a_directory_is_valid_in_another_process_beside_the_other(two_mounts):
    texts, other = StringsMmap.from_strings(two_mounts[0], OLD), StringsMmap(two_mounts[1])
    texts.append("mine")
    pickled = pickle.dumps(texts)

    other.append("later")

    assert in_child(lambda: list(pickle.loads(pickled))) == [*OLD, "mine"]


# ---- overlays, as in containers


@pytest.fixture
def overlay(tmp_path, mount):
    """A directory on an overlay, and the lower one, from which files are copied on the first write."""
    layers = tmp_path / "layers"
    layers.mkdir()
    mount("-t", "tmpfs", "none", layers)  # an overlay over an overlay is refused
    for name in ("lower", "upper", "work"):
        (layers / name).mkdir()
    (tmp_path / "merged").mkdir()

    def merged():
        options = f"lowerdir={layers}/lower,upperdir={layers}/upper,workdir={layers}/work"
        mount("-t", "overlay", "overlay", "-o", options, tmp_path / "merged")
        return tmp_path / "merged" / "ds"

    return layers / "lower" / "ds", merged


@pytest.mark.parametrize("refreshed", [False, True])
@pytest.mark.parametrize("below", [False, True])
def test_close_on_an_overlay_makes_commits_durable(overlay, below, refreshed):
    """A bug once: the writer's own commits without a sync were forgotten when a refresh opened the files again."""
    lower, merged = overlay
    if below:
        StringsMmap.from_strings(lower, OLD).close()
    path = merged()
    if not below:
        StringsMmap.from_strings(path, OLD).close()

    texts = StringsMmap(path)
    texts.append("mine")
    if refreshed:
        texts.refresh()
    texts.close()

    assert durable_rows(path) == len(OLD) + 1
    assert list(mn.open(path)) == [*OLD, "mine"]
    assert mn.verify(path, level="full").ok


def test_appends_and_refreshes_on_an_overlay_keep_no_files_open(overlay):
    """A bug once: each refresh kept another log until the close, until no descriptors were left."""
    lower, merged = overlay
    StringsMmap.from_strings(lower, OLD).close()
    texts = StringsMmap(merged())
    before = len(os.listdir("/dev/fd"))

    for _ in range(10):
        texts.append("mine")
        texts.refresh()

    assert len(os.listdir("/dev/fd")) < before + 30
    texts.close()
    assert durable_rows(texts.path) == len(OLD) + 10


# ---- other filesystems


@pytest.fixture
def mount_point(tmp_path):
    (tmp_path / "mount").mkdir()
    return tmp_path / "mount"


def use(path):
    """Make all kinds of changes to a dataset."""
    expected = [{"a": str(k), "b": k} for k in range(100)]
    with RecordsMmap.from_generator(path, expected) as dataset:
        dataset.append({"a": "more", "b": 100})
        dataset[0] = {"a": "first", "b": -1}
        del dataset[1:9]
        dataset.compact()
        dataset.add_column("c", range(len(dataset)))
        dataset.flush()
        assert mn.verify(path, level="full").ok
        RecordsMmap.from_generator(path, expected).close()
        dataset.refresh()
        check_is(dataset, expected)


def test_tmpfs_holds_datasets(mount, mount_point):
    mount("-t", "tmpfs", "-o", "size=16m", "none", mount_point)
    use(mount_point / "ds")


def test_overlay_shows_the_lower_dataset_and_accepts_changes(mount, mount_point, tmp_path):
    """A bug once: the first write copies a file up; older maps of it showed zeros where it had grown."""
    for name in ("upper", "work"):
        (tmp_path / name).mkdir()
    StringsMmap.from_strings(tmp_path / "lower" / "ds", OLD).close()
    options = f"lowerdir={tmp_path}/lower,upperdir={tmp_path}/upper,workdir={tmp_path}/work"

    mount("-t", "overlay", "-o", options, "none", mount_point)
    reader, texts = StringsMmap(mount_point / "ds"), StringsMmap(mount_point / "ds")
    texts.append("new")
    texts.append("newer")
    reader.refresh()
    check_is(reader, [*OLD, "new", "newer"])
    check_is(texts, [*OLD, "new", "newer"])
    texts.compact(order=range(4, -1, -1))
    reader.refresh()
    check_is(reader, ["newer", "new", *OLD[::-1]])
    use(mount_point / "other")

    check_is(mn.open(tmp_path / "lower" / "ds"), OLD)


def test_read_only_filesystem_is_read_and_writing_explains_the_error(mount, mount_point, tmp_path):
    with StringsMmap.from_strings(tmp_path / "ds", OLD) as texts:
        texts.append("un-synced")
        expected = list(texts)

    mount("-o", "bind,ro", tmp_path / "ds", mount_point)
    texts = mn.open(mount_point)
    check_is(texts, expected)
    for act in (
        lambda: texts.append("refused"),
        lambda: texts.__setitem__(0, "refused"),
        lambda: texts.compact(range(3, -1, -1)),
        lambda: StringsMmap.from_strings(mount_point, ["refused"]),
        lambda: StringsMmap.from_strings(mount_point, ["refused"], if_exists="append"),
        lambda: StringsMmap.from_strings(mount_point / "new", ["refused"]),
        lambda: mn.recover(mount_point),
    ):
        with pytest.raises(ReadOnlyError, match="cannot be written .Read-only file system."):
            act()
    texts.refresh()
    check_is(texts, expected)


def test_dataset_that_is_a_mount_point_is_written_and_replaced(mount, mount_point, tmp_path):
    (tmp_path / "disk").mkdir()

    mount("-o", "bind", tmp_path / "disk", mount_point)
    use(mount_point)

    assert mn.verify(tmp_path / "disk").ok
