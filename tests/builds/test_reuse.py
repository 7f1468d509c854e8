"""`if_exists="reuse"`: a dataset is built once, however many processes ask for it, and opened by all of them."""

import contextlib
import itertools
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import tqdm

import mmap_ninja as mn
from mmap_ninja import (
    ArrayMmap,
    BytesMmap,
    LockTimeoutError,
    NotADatasetError,
    RecordsMmap,
    StringsMmap,
    _kernel,
)
from mmap_ninja.builds import waiting
from mmap_ninja.engine import files, upgrade_marks
from support.faults import NEW, OLD, At, as_nobody, fork, opened, result_of
from support.golden import STRINGS, expected_samples


class Unread:
    """A source that must not be read."""

    def __iter__(self):
        return self

    def __next__(self):
        raise AssertionError("the source was read")


def reuse(path, samples=NEW, **options):
    return StringsMmap.from_generator(path, samples, batch_size=2, if_exists="reuse", **options)


def interrupted(path, **options):
    """Leave what a build had stored when its source failed: the first four samples."""

    def source():
        yield from NEW[:5]
        raise OSError("source")

    with pytest.raises(OSError, match="source"):
        StringsMmap.from_generator(path, source(), batch_size=2, **options)


class Builder:
    """A build in another process that pauses after four samples, until it is told to go on."""

    def __init__(self, path, *, fails=False, **options):
        self.reading, self.writing = os.pipe()
        self.child = fork(lambda: self.build(path, fails=fails, **options))
        self.pid = self.child[0]
        os.close(self.reading)
        while not (path / ("BUILD" if options.get("if_exists") == "replace" else "COMMIT")).exists():
            time.sleep(0.001)

    def build(self, path, *, fails, **options):
        def source():
            yield from NEW[:5]
            os.read(self.reading, 1)
            if fails:
                raise OSError("source")
            yield from NEW[5:]

        os.close(self.writing)
        with contextlib.suppress(OSError):
            StringsMmap.from_generator(path, source(), batch_size=2, **options)

    def go_on(self, seconds=0.0):
        """Let it go on, after a while."""
        threading.Timer(seconds, os.close, (self.writing,)).start()

    def end(self):
        result_of(self.child)


# ---- what is there


def test_reuse_of_nothing_builds(tmp_path):
    texts = reuse(tmp_path / "ds", version="1")

    assert list(texts) == NEW
    assert texts.complete
    assert texts.metadata == {"version": "1"}


def test_reuse_of_a_complete_dataset_opens_it_without_reading_the_source_or_writing(tmp_path):
    path = tmp_path / "ds"
    StringsMmap.from_strings(path, NEW, metadata={"a": 1, "version": "1"}).close()
    (path / "LOCK").unlink()
    before = {entry.name: entry.stat().st_mtime_ns for entry in os.scandir(path)}

    texts = reuse(path, Unread(), version="1")

    assert list(texts) == NEW
    assert texts.metadata == {"a": 1, "version": "1"}
    assert {entry.name: entry.stat().st_mtime_ns for entry in os.scandir(path)} == before


@pytest.mark.parametrize("if_exists", ["replace", "error", "append", "resume", "reuse"])
def test_version_is_stored_in_the_metadata(tmp_path, if_exists):
    texts = StringsMmap.from_strings(tmp_path / "ds", NEW, if_exists=if_exists, metadata={"a": 1}, version="1.2")

    assert StringsMmap(tmp_path / "ds").metadata == texts.metadata == {"a": 1, "version": "1.2"}


OTHERS = {
    "kind": (
        lambda path: BytesMmap.from_bytes(path, [b"x"], if_exists="reuse"),
        TypeError,
        "expected a dataset of kind 'bytes', found 'strings'",
    ),
    "version": (
        lambda path: reuse(path, Unread(), version="2"),
        ValueError,
        "version: got '2', but the dataset has '1'",
    ),
}


@pytest.mark.parametrize("complete", [True, False], ids=["complete", "of a dead builder"])
@pytest.mark.parametrize("difference", OTHERS)
def test_reuse_of_another_dataset_names_the_difference(tmp_path, difference, complete):
    path = tmp_path / "ds"
    act, error, message = OTHERS[difference]
    if complete:
        StringsMmap.from_strings(path, NEW, version="1").close()
    else:
        interrupted(path, version="1")
    before = list(opened(path))

    with pytest.raises(error, match=message):
        act(path)

    assert list(opened(path)) == before


def test_reuse_with_other_columns_names_the_difference(tmp_path):
    columns = {"a": mn.Scalar("int64")}
    RecordsMmap.from_generator(tmp_path / "records", [{"a": 1}], columns=columns).close()
    ArrayMmap.from_generator(tmp_path / "arrays", [[1.0, 2.0]], dtype="float32").close()

    with pytest.raises(ValueError, match=r"columns: got \['b'\], but the dataset has \['a'\]"):
        RecordsMmap.create(tmp_path / "records", {"b": mn.Scalar("int64")}, if_exists="reuse")
    with pytest.raises(TypeError, match="column 'a': dtype: got int32, but the dataset has int64"):
        RecordsMmap.create(tmp_path / "records", {"a": mn.Scalar("int32")}, if_exists="reuse")
    with pytest.raises(TypeError, match="dtype: got float64, but the dataset has float32"):
        ArrayMmap.from_generator(tmp_path / "arrays", Unread(), dtype="float64", if_exists="reuse")

    assert RecordsMmap.create(tmp_path / "records", columns, if_exists="reuse")[0] == {"a": 1}


def test_reuse_of_columns_or_an_array_in_memory_compares_what_they_tell(tmp_path):
    RecordsMmap.from_columns(tmp_path / "records", {"a": [1, 2], "b": {"c": ["x", "y"]}}).close()
    ArrayMmap.from_ndarray(tmp_path / "arrays", np.zeros((2, 3))).close()

    with pytest.raises(ValueError, match=r"columns: the source has \['a'\], but the dataset has \['a', 'b.c'\]"):
        RecordsMmap.from_columns(tmp_path / "records", {"a": [1, 2]}, if_exists="reuse")
    with pytest.raises(TypeError, match=r"shape: got \(4,\), but the dataset has \(3,\)"):
        ArrayMmap.from_ndarray(tmp_path / "arrays", np.zeros((2, 4)), if_exists="reuse")
    with pytest.raises(TypeError, match="dtype: got float32, but the dataset has float64"):
        ArrayMmap.from_ndarray(tmp_path / "arrays", np.zeros((2, 3), "float32"), if_exists="reuse")

    assert len(RecordsMmap.from_columns(tmp_path / "records", {"b.c": ["z"], "a": [3]}, if_exists="reuse")) == 2
    assert len(ArrayMmap.from_ndarray(tmp_path / "arrays", np.zeros((5, 3)), if_exists="reuse")) == 2


def test_reuse_of_a_table_with_other_columns_names_the_difference(tmp_path):
    pa = pytest.importorskip("pyarrow")
    table = pa.table({"a": [1], "b": [{"c": "x"}]})
    RecordsMmap.from_arrow(tmp_path / "ds", table).close()

    with pytest.raises(ValueError, match=r"columns: the source has \['a'\], but the dataset has \['a', 'b.c'\]"):
        RecordsMmap.from_arrow(tmp_path / "ds", table.select(["a"]), if_exists="reuse")

    assert RecordsMmap.from_arrow(tmp_path / "ds", table, if_exists="reuse")[0] == {"a": 1, "b": {"c": "x"}}


@pytest.mark.parametrize("if_exists", ["append", "resume"])
def test_other_version_than_the_datasets_is_refused(tmp_path, if_exists):
    StringsMmap.from_strings(tmp_path / "ds", OLD, version="1")

    with pytest.raises(ValueError, match="version: got '2', but the dataset has '1'"):
        StringsMmap.from_strings(tmp_path / "ds", NEW, if_exists=if_exists, version="2")


def test_reuse_does_not_compare_metadata_or_a_version_that_is_not_asked_for(tmp_path):
    """Each process may have metadata of its own, such as its host."""
    StringsMmap.from_strings(tmp_path / "ds", NEW, metadata={"host": "a"}, version="1")

    assert reuse(tmp_path / "ds", Unread(), metadata={"host": "b"}).metadata == {"host": "a", "version": "1"}


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"version": 2}, TypeError, "version 2: expected a str, got int"),
        ({"version": "\ud800"}, ValueError, "metadata"),
        (
            {"version": "1", "metadata": {"version": "1"}},
            ValueError,
            "version '1': metadata has a 'version' of its own",
        ),
    ],
)
def test_bad_version_touches_nothing(tmp_path, options, error, message):
    with pytest.raises(error, match=message):
        reuse(tmp_path / "ds", **options)

    assert os.listdir(tmp_path) == []


def test_reuse_of_a_dataset_of_0x_opens_it(copy):
    path = copy(STRINGS)

    assert list(reuse(path, Unread())) == expected_samples(STRINGS)
    with pytest.raises(ValueError, match="version: got '1', but the dataset has None"):
        reuse(path, Unread(), version="1")


@pytest.mark.parametrize(("if_exists", "looks"), [("reuse", 1), ("append", 2)])
def test_dataset_of_0x_that_another_process_upgrades_meanwhile_is_opened(copy, monkeypatch, if_exists, looks):
    path = copy(STRINGS)
    detect, left = upgrade_marks.detect, list(range(looks))

    def detect_before_the_upgrade(at):
        found = detect(at)
        if left.pop() == 0:
            monkeypatch.undo()
            mn.upgrade(path)
        return found

    monkeypatch.setattr(upgrade_marks, "detect", detect_before_the_upgrade)

    assert list(StringsMmap.from_generator(path, [], if_exists=if_exists)) == expected_samples(STRINGS)


def test_reuse_of_a_directory_of_something_else_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")

    with pytest.raises(NotADatasetError, match="notes.txt"):
        reuse(tmp_path)


def test_reuse_goes_on_where_a_dead_builder_stopped(tmp_path):
    interrupted(tmp_path / "ds", version="1")
    asked = []

    def source(index):
        asked.append(index)
        return NEW[index]

    texts = StringsMmap.from_indexable(tmp_path / "ds", source, if_exists="reuse", version="1")

    assert list(texts) == NEW
    assert texts.complete
    assert asked == list(range(3, len(NEW) + 1))


def test_reuse_goes_on_with_a_dead_replacement_of_what_another_dead_builder_left(tmp_path):
    interrupted(tmp_path / "ds", version="1")
    interrupted(tmp_path / "ds", version="2")

    with pytest.raises(ValueError, match="version: got '1', but the dataset has '2'"):
        reuse(tmp_path / "ds", version="1")
    assert list(reuse(tmp_path / "ds", version="2")) == NEW


def test_reuse_ignores_what_a_dead_replacement_left_beside_a_complete_dataset(tmp_path):
    StringsMmap.from_strings(tmp_path / "ds", OLD, version="1")
    interrupted(tmp_path / "ds", version="2")

    assert list(reuse(tmp_path / "ds", Unread(), version="1")) == OLD


# ---- what another process builds


def test_reuse_waits_for_a_living_builder_and_reads_no_source(tmp_path):
    builder = Builder(tmp_path / "ds", version="1")
    builder.go_on(0.3)

    texts = reuse(tmp_path / "ds", Unread(), version="1")

    assert list(texts) == NEW
    assert texts.complete
    builder.end()


def test_wait_shows_who_builds_and_how_far_it_is(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(waiting, "_SILENT", 0.0)
    builder = Builder(tmp_path / "ds")
    builder.go_on(0.3)

    reuse(tmp_path / "ds", Unread())

    shown = capsys.readouterr().err
    assert f"{tmp_path / 'ds'}: waiting for process {builder.pid} (" in shown
    assert "), which has stored 4 samples" in shown
    builder.end()


def test_short_wait_shows_nothing(tmp_path, capsys):
    builder = Builder(tmp_path / "ds")
    builder.go_on(0.1)

    reuse(tmp_path / "ds", Unread())

    assert capsys.readouterr().err == ""
    builder.end()


def test_line_of_a_long_wait_comes_ever_more_seldom(tmp_path, capsys, monkeypatch):
    """It may go to a log file, from every rank."""

    class Clock:
        now = 0.0

        def monotonic(self):
            return self.now

        def sleep(self, seconds):
            self.now += seconds

    clock = Clock()
    monkeypatch.setattr(waiting, "time", clock)
    wait = waiting.Waiting(tmp_path)
    shown = []

    while clock.now < 3600:
        wait.pause(LockTimeoutError())
        shown += [clock.now] * len(capsys.readouterr().err.splitlines())

    assert 1 < shown[0] < 2
    assert 60 < len(shown) < 70


def without_stderr():
    sys.stderr = None


def with_closed_stderr():
    with open(os.devnull, "w") as sys.stderr:
        pass


def with_broken_stderr():
    reading, writing = os.pipe()
    os.close(reading)
    sys.stderr = os.fdopen(writing, "w")


def with_lost_lock_of_tqdm():
    """What a process keeps that is killed while it draws a bar; the lock is shared by forked processes."""
    tqdm.tqdm.set_lock(multiprocessing.RLock())  # for this child, not for the test run
    thread = threading.Thread(target=tqdm.tqdm.get_lock().acquire)
    thread.start()
    thread.join()


@pytest.mark.parametrize(
    "prepare",
    [without_stderr, with_closed_stderr, with_broken_stderr, with_lost_lock_of_tqdm],
    ids=lambda of: of.__name__,
)
def test_wait_goes_on_where_nothing_can_be_shown(tmp_path, prepare, monkeypatch):
    monkeypatch.setattr(waiting, "_SILENT", 0.0)
    builder = Builder(tmp_path / "ds")

    def wait():
        os.close(builder.writing)
        prepare()
        return list(reuse(tmp_path / "ds", Unread()))

    child = fork(wait)
    builder.go_on(0.3)

    assert result_of(child) == NEW
    builder.end()


@pytest.mark.parametrize("replaces", [False, True], ids=["first build", "replacement"])
def test_looks_of_those_who_wait_do_not_end_a_build_with_a_short_lock_timeout(tmp_path, replaces):
    path = tmp_path / "ds"
    if replaces:
        interrupted(path)
    builder = Builder(path, lock_timeout=0.0, **({"if_exists": "replace"} if replaces else {}))

    with files.lock(path / "LOCK", 10):  # as a look does, for about a millisecond
        builder.go_on()
        time.sleep(0.2)
    builder.end()

    assert opened(path).complete
    assert list(opened(path)) == NEW


def test_reuse_in_a_directory_that_cannot_be_read_builds(tmp_path):
    """As in a directory where everybody may put something, but not see what others have put there."""
    tmp_path.chmod(0o733)
    for parent in tmp_path.parents:  # pytest's directories are not accessible for others
        if not parent.stat().st_mode & 0o001:
            parent.chmod(parent.stat().st_mode | 0o011)

    assert as_nobody(lambda: list(reuse(tmp_path / "ds"))) == NEW


@pytest.mark.parametrize("how", ["killed", "its source fails"])
def test_reuse_goes_on_when_the_builder_ends_early_while_it_waits(tmp_path, how):
    builder = Builder(tmp_path / "ds", fails=True)
    if how == "killed":
        threading.Timer(0.3, os.kill, (builder.pid, signal.SIGKILL)).start()
    else:
        builder.go_on(0.3)

    assert list(reuse(tmp_path / "ds")) == NEW

    if how == "killed":
        os.waitpid(builder.pid, 0)
        os.close(builder.writing)
        os.close(builder.child[1])
    else:
        builder.end()


def test_reuse_beside_a_builder_of_another_version_names_the_difference_at_once(tmp_path):
    builder = Builder(tmp_path / "ds", version="1")

    with pytest.raises(ValueError, match="version: got '2', but the dataset has '1'"):
        reuse(tmp_path / "ds", version="2")

    builder.go_on()
    builder.end()


def test_reuse_waits_for_a_merge_that_goes_on_and_looks_anew(tmp_path):
    path = tmp_path / "ds"
    StringsMmap.from_strings(tmp_path / "part", NEW).close()

    def merge():
        def wait(call, where, *_):
            if call == "rename" and str(where).endswith("COMMIT.new"):
                time.sleep(0.5)

        files.watch(wait)
        mn.merge([tmp_path / "part"], path)

    child = fork(merge)
    while not (path / "BUILD").exists():
        time.sleep(0.001)
    assert not (path / "COMMIT").exists()

    assert list(reuse(path, Unread())) == NEW
    result_of(child)


def test_reuse_beside_a_replacement_opens_the_complete_dataset_at_once(tmp_path):
    StringsMmap.from_strings(tmp_path / "ds", OLD).close()
    builder = Builder(tmp_path / "ds", if_exists="replace")

    assert list(reuse(tmp_path / "ds", Unread())) == OLD

    builder.go_on()
    builder.end()


def test_reuse_waits_for_a_replacement_of_what_a_dead_builder_left(tmp_path):
    interrupted(tmp_path / "ds", version="1")
    builder = Builder(tmp_path / "ds", if_exists="replace", version="2")
    builder.go_on(0.3)

    texts = reuse(tmp_path / "ds", Unread(), version="2")

    assert list(texts) == NEW
    builder.end()


def test_reuse_waits_longer_than_the_lock_timeout_for_a_builder_that_was_stopped_in_a_commit(tmp_path):
    path = tmp_path / "ds"

    def source():
        files.watch(At(2, lambda _size: os.kill(os.getpid(), signal.SIGSTOP), only=lambda call, _: call == "pwrite"))
        yield from NEW

    pid, pipe = fork(lambda: StringsMmap.from_generator(path, source()).complete)
    assert os.WIFSTOPPED(os.waitpid(pid, os.WUNTRACED)[1])
    threading.Timer(0.5, os.kill, (pid, signal.SIGCONT)).start()

    assert list(reuse(path, Unread(), lock_timeout=0.05)) == NEW
    assert result_of((pid, pipe))


def test_interrupt_ends_the_wait_at_once(tmp_path):
    builder = Builder(tmp_path / "ds")
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
    began = time.monotonic()

    with pytest.raises(KeyboardInterrupt):
        reuse(tmp_path / "ds")

    assert time.monotonic() - began < 5
    builder.go_on()
    builder.end()
    assert list(reuse(tmp_path / "ds", Unread())) == NEW


@pytest.mark.parametrize("replaces", [False, True], ids=["first build", "replacement"])
@pytest.mark.parametrize("where", ["source", "thread"])
def test_reuse_of_what_this_very_process_builds_raises(tmp_path, where, replaces):
    if replaces:
        interrupted(tmp_path / "ds")

    def look():
        with pytest.raises(LockTimeoutError, match="this process itself is building this dataset now") as error:
            reuse(tmp_path / "ds", Unread())
        errors.append(error)

    def source():
        yield from NEW[:5]
        if where == "source":
            look()
        else:
            thread = threading.Thread(target=look)
            thread.start()
            thread.join()
        yield from NEW[5:]

    errors = []
    texts = StringsMmap.from_generator(tmp_path / "ds", source(), batch_size=2)

    assert list(texts) == NEW
    assert len(errors) == 1


def test_child_forked_in_a_build_waits_for_its_parent(tmp_path):
    children = []

    def source():
        yield from NEW[:5]
        children.append(fork(lambda: list(reuse(tmp_path / "ds", Unread()))))
        time.sleep(0.2)
        yield from NEW[5:]

    StringsMmap.from_generator(tmp_path / "ds", source(), batch_size=2)

    assert result_of(children[0]) == NEW


def test_builder_in_another_namespace_of_processes_is_shown_as_another_process(tmp_path):
    unshare = ["unshare", "--pid", "--fork", "--mount-proc"]
    if (
        shutil.which("unshare") is None
        or subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode
    ):
        pytest.skip("no namespace of processes can be made")
    program = "import sys; from mmap_ninja.engine import files; print(files.lock_holder(sys.argv[1]))"
    builder = Builder(tmp_path / "ds")

    found = subprocess.run(
        [*unshare, sys.executable, "-c", program, tmp_path / "ds" / "COMMIT"],
        capture_output=True,
        text=True,
        check=True,
    )

    assert found.stdout == "another process\n"
    builder.go_on()
    builder.end()


def test_reuse_on_a_network_filesystem_says_so_unless_the_dataset_is_complete(tmp_path, monkeypatch):
    interrupted(tmp_path / "begun")
    StringsMmap.from_strings(tmp_path / "complete", NEW).close()
    monkeypatch.setattr(_kernel, "is_remote", lambda _: True)

    for name in ("missing", "begun"):
        with pytest.raises(ValueError, match=f"{name}: if_exists='reuse' needs a local filesystem"):
            reuse(tmp_path / name, Unread())
    assert list(reuse(tmp_path / "complete", Unread())) == NEW
    assert not (tmp_path / "missing").exists()


# ---- many processes at once

SAMPLES = [f"sample {number}" * (number % 7) for number in range(60)]
BATCH = 4


class Noted:
    """A slow source that notes in a file which process read which sample."""

    def __init__(self, path):
        self.file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def __len__(self):
        return len(SAMPLES)

    def __getitem__(self, index):
        os.write(self.file, f"{os.getpid()} {index}\n".encode())
        time.sleep(0.001)
        return SAMPLES[index]


def rank(path, log):
    texts = StringsMmap.from_indexable(path, Noted(log), BATCH, if_exists="reuse", version="1")
    return texts.complete, texts.commit_id, list(texts)


def check_reads(log, killed):
    """The source was read once, or by a second process from where the killed one stopped."""
    reads = [tuple(map(int, line.split())) for line in log.read_text().splitlines()]
    first, *others = [(pid, [index for _, index in run]) for pid, run in itertools.groupby(reads, lambda read: read[0])]
    assert first[1] == list(range(len(first[1])))
    if not others:
        assert len(first[1]) == len(SAMPLES)
        return
    assert first[0] == killed
    ((_, indices),) = others
    begun = len(first[1]) // BATCH * BATCH
    # A sample before is read to compare it. The last batch that was read may not have been committed.
    assert indices in [list(range(max(stored - 1, 0), len(SAMPLES))) for stored in (begun, begun - BATCH)]


@pytest.mark.parametrize("rounds", [4, pytest.param(200, marks=[pytest.mark.torture, pytest.mark.timeout(3600)])])
@pytest.mark.parametrize("ranks", [2, 4, 8])
def test_ranks_of_which_one_is_killed_all_open_the_same_dataset(tmp_path, ranks, rounds):
    chance = random.Random(f"{ranks} {rounds}")
    for number in range(rounds):
        path, log = tmp_path / f"{number}", tmp_path / f"{number}.log"
        children = [fork(lambda: rank(path, log)) for _ in range(ranks)]  # noqa: B023 - runs at once
        time.sleep(chance.uniform(0, 0.12))
        killed, pipe = children.pop(chance.randrange(ranks))
        os.kill(killed, signal.SIGKILL)
        os.close(pipe)
        os.waitpid(killed, 0)

        found = [result_of(child) for child in children]

        assert found == [(True, found[0][1], SAMPLES)] * len(children)
        check_reads(log, killed)
        assert mn.verify(path, level="full").ok
