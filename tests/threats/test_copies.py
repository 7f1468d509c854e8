"""Directories that are copied, moved, swapped and deleted under readers and writers.

docs/format.md promises for a copy without the lock: with COMMIT copied first it is complete, unless a file vanished
during the copy, which the copier reports. In any other order it is complete or refused: files only grow, so one that
was copied before COMMIT is too short for it, or correct as far as COMMIT needs it.
"""

import itertools
import os
import pickle
import random
import shutil
import subprocess
import warnings

import pytest

import mmap_ninja
from mmap_ninja import (
    CorruptDatasetError,
    IncompleteDatasetWarning,
    MmapNinjaError,
    NotADatasetError,
    RecordsMmap,
    StaleHandleError,
    StringsMmap,
)
from mmap_ninja.engine import directory, files
from mmap_ninja.engine.log import locked
from support.faults import OLD, At, fork, killed_at, opened, result_of
from support.programs import WORDED, Observer, Program, carry_out

OTHERS = [f"other {number}" * (number % 4) for number in range(20)]


class Moving:
    """Counts the files that the module `files` opens, and acts at the n-th."""

    def __init__(self, monkeypatch, number, act):
        self.number, self.act, self.fired = number, act, False
        for name in ("open_read", "open_write", "lock"):
            monkeypatch.setattr(files, name, self.counted(getattr(files, name)))

    def counted(self, function):
        def call(*args):
            self.number -= 1
            if self.number == 0:
                self.fired = True
                self.act()
            return function(*args)

        return call


def point_elsewhere(path):
    """Change the target of a symbolic link, as in a deployment."""
    os.symlink(path.parent / "other", path.parent / "new")
    os.replace(path.parent / "new", path)


def move_elsewhere(path):
    """Put another directory at the path of the first."""
    os.rename(path, path.parent / "first")
    os.rename(path.parent / "other", path)


def recreate(path):
    """Remove the files, and create others with the same names in the same directory."""
    for name in os.listdir(path):
        os.unlink(path / name)
    StringsMmap.from_strings(path, OTHERS).close()


SWAPS = [point_elsewhere, move_elsewhere, recreate]


@pytest.fixture
def swapped(tmp_path):
    """The path of a dataset of OLD, and a function that puts one of OTHERS in its place."""
    for name, texts in (("first", OLD), ("other", OTHERS)):
        StringsMmap.from_strings(tmp_path / name, texts).close()

    def prepare(number, swap):
        folder = tmp_path / str(number)
        for name in ("first", "other"):
            shutil.copytree(tmp_path / name, folder / name)
        path = folder / "ds"
        if swap is point_elsewhere:
            os.symlink("first", path)
        else:
            os.rename(folder / "first", path)
        return path, lambda: swap(path)

    return prepare


@pytest.mark.parametrize("swap", SWAPS)
def test_open_while_another_directory_takes_the_place_reads_one_of_them(swapped, monkeypatch, swap):
    """A bug once: the commit file was from the old directory and the payload from the new one, and garbage was read."""
    for number in itertools.count(1):
        path, act = swapped(number, swap)
        with monkeypatch.context() as patch:
            moving = Moving(patch, number, act)
            texts = mmap_ninja.open(path)
        found = list(texts)
        assert found == (list(OLD) if not moving.fired else found)
        assert found in (OLD, OTHERS)
        if not moving.fired:
            break
    assert number > 5


@pytest.mark.parametrize("swap", SWAPS)
def test_first_append_while_another_directory_takes_the_place_writes_to_one_of_them(swapped, monkeypatch, swap):
    """A bug once: with the lock of the old directory, the files of the new one were written at the ends of the old."""
    for number in itertools.count(1):
        path, act = swapped(number, swap)
        texts = StringsMmap(path)
        with monkeypatch.context() as patch:
            moving = Moving(patch, number, act)
            try:
                texts.append("new")
            except MmapNinjaError as error:
                assert moving.fired
                assert swap is recreate or isinstance(error, StaleHandleError), error
        places = [place for place in (path, path.parent / "first", path.parent / "other") if place.exists()]
        for place in places:
            assert mmap_ninja.verify(place, level="full").ok
            assert list(mmap_ninja.open(place)) in (OLD, [*OLD, "new"], OTHERS, [*OTHERS, "new"])
        if not moving.fired:
            break
    assert number > 5


CHANGES = {
    "compact": lambda records: records.compact(order=range(len(records) - 1, -1, -1)),
    "clear": lambda records: records.clear(),
    "add a column": lambda records: records.add_column("c", range(len(records))),
    "drop a column": lambda records: records.drop_column("b"),
    "allow nulls": lambda records: records.set_nullable("a"),
    "metadata": lambda records: setattr(records, "metadata", {"a": 1}),
    "replace": lambda records: RecordsMmap.from_generator(records.path, [{"a": "replaced"}]),
}


@pytest.mark.parametrize("change", CHANGES)
def test_new_generation_while_another_directory_takes_the_place_spoils_neither(tmp_path, change):
    """A bug once: a build that ended after its link had changed switched the other dataset to files that it lacked."""
    first, other = ([{"a": f"{name} {k}", "b": k} for k in range(9)] for name in ("first", "other"))
    changed = {
        "compact": lambda records: records[::-1],
        "clear": lambda _: [],
        "add a column": lambda records: [{**record, "c": k} for k, record in enumerate(records)],
        "drop a column": lambda records: [{"a": record["a"]} for record in records],
        "allow nulls": lambda records: records,
        "metadata": lambda records: records,
        "replace": lambda _: [{"a": "replaced"}],
    }[change]

    for name, records in (("first", first), ("other", other)):
        RecordsMmap.from_generator(tmp_path / name, records).close()
    for number in itertools.count(1):
        folder = tmp_path / str(number)
        for name in ("first", "other"):
            shutil.copytree(tmp_path / name, folder / name)
        os.symlink("first", folder / "ds")
        records = RecordsMmap(folder / "ds")
        moving = At(number, lambda _size, folder=folder: point_elsewhere(folder / "ds"), only=lambda *_: True)
        files.watch(moving)
        try:
            CHANGES[change](records)
        except (MmapNinjaError, FileNotFoundError) as error:
            assert moving.fired, error
        finally:
            files.watch(None)
        assert mmap_ninja.verify(folder / "first").ok
        assert mmap_ninja.verify(folder / "other").ok
        assert list(RecordsMmap(folder / "first")) in (first, changed(first))
        assert list(RecordsMmap(folder / "other")) in (other, changed(other))
        if not moving.fired:
            break
    assert number > 10


def test_replacement_under_the_lock_of_another_directory_is_refused(path, tmp_path, monkeypatch):
    """A bug once: after a short change of the path, it switched beside a writer that held the right lock."""
    link = tmp_path / "link"
    os.symlink(path, link)
    shutil.copytree(path, tmp_path / "other")

    def point_to(target):
        os.unlink(link)
        os.symlink(target, link)

    def locked_elsewhere(where, timeout):
        point_to(tmp_path / "other")
        held = locked(where, timeout)
        point_to(path)
        return held

    monkeypatch.setattr(directory, "locked", locked_elsewhere)

    with pytest.raises(StaleHandleError):
        StringsMmap.from_strings(link, ["new"], if_exists="replace")

    assert list(mmap_ninja.open(path)) == list(mmap_ninja.open(tmp_path / "other")) == OLD


# ---- moves


def contents(path):
    """The bytes of all files in a directory."""
    return {name: (path / name).read_bytes() for name in os.listdir(path)}


MUTATIONS = {
    "append": lambda texts: texts.append("refused"),
    "extend": lambda texts: texts.extend(["refused", "too"]),
    "edit": lambda texts: texts.__setitem__(0, "refused"),
    "delete": lambda texts: texts.__delitem__(0),
    "pop": lambda texts: texts.pop(),
    "compact": lambda texts: texts.compact(order=[3, 2, 1, 0]),
    "clear": lambda texts: texts.clear(),
}


@pytest.mark.parametrize(
    ("mutate", "wrote"),
    [*((mutate, True) for mutate in MUTATIONS), *((edit, False) for edit in ("edit", "delete", "pop", "compact"))],
)
def test_mutation_after_the_dataset_was_moved_and_recreated_is_stale_and_writes_nowhere(path, tmp_path, mutate, wrote):
    """A bug once: it was written to the moved directory, and acknowledged."""
    with StringsMmap(path) as writer:
        writer.append("mine")
    texts = StringsMmap(path)
    if wrote:
        texts[3] = "mine"
    expected = list(texts)
    os.rename(path, tmp_path / "old")
    StringsMmap.from_strings(path, OTHERS).close()
    before = contents(tmp_path / "old"), contents(path)

    with pytest.raises(StaleHandleError):
        MUTATIONS[mutate](texts)

    assert (contents(tmp_path / "old"), contents(path)) == before
    assert list(texts) == expected
    texts.refresh()
    assert list(texts) == OTHERS
    texts.append("accepted")
    assert list(texts) == list(mmap_ninja.open(path)) == [*OTHERS, "accepted"]
    assert list(mmap_ninja.open(tmp_path / "old")) == expected


@pytest.mark.parametrize("mutate", MUTATIONS)
def test_mutation_after_the_dataset_was_moved_away_is_refused_and_writes_nowhere(path, tmp_path, mutate):
    texts = StringsMmap(path)
    texts.append("mine")
    os.rename(path, tmp_path / "old")
    before = contents(tmp_path / "old")

    with pytest.raises(MmapNinjaError):
        MUTATIONS[mutate](texts)

    assert contents(tmp_path / "old") == before
    assert not path.exists()
    assert list(texts) == [*OLD, "mine"]


# ---- copies


def state_of(path, kind):
    """The samples of a copy, which must be those of one commit; None if it is refused with a clear error."""
    try:
        samples = list(opened(path))
    except CorruptDatasetError as refused:
        assert "restore" in str(refused) or "was truncated" in str(refused)
        return None
    except NotADatasetError:
        assert not (path / "COMMIT").exists()
        return None
    Observer(kind).look(samples)
    assert mmap_ninja.verify(path, level="full").ok
    return samples


def copy_one_by_one(source, target, names, between):
    """Copy files in an order, leaving out those that vanish meanwhile, as `cp -r` does with an error at its end."""
    os.mkdir(target)
    vanished = False
    for name in names:
        try:
            shutil.copy(source / name, target / name)
        except FileNotFoundError:
            vanished = True
        between()
    return vanished


@pytest.mark.parametrize("kind", ["strings", "records"])
@pytest.mark.parametrize("first", ["COMMIT", None])
def test_copy_while_commits_come_between_its_files_is_whole_or_refused(tmp_path, kind, first):
    path = tmp_path / "ds"
    WORDED[kind][0](path, []).close()
    dataset, program, order = mmap_ninja.open(path), Program(1), random.Random(1)
    outcomes = {"whole": 0, "refused": 0, "vanished": 0}
    for number in range(50):
        for _ in range(order.randrange(4)):
            carry_out(dataset, program, kind)
        names = os.listdir(path)
        order.shuffle(names)
        if first:
            names.sort(key=lambda name: name != first)
        before = list(program.state)
        target = tmp_path / str(number)

        vanished = copy_one_by_one(path, target, names, lambda: carry_out(dataset, program, kind))
        samples = state_of(target, kind)

        outcomes["vanished" if vanished else "whole" if samples is not None else "refused"] += 1
        if first and not vanished:
            assert samples is not None
            assert [WORDED[kind][2](sample)[1:] for sample in samples] == before
        if samples is not None:
            copy = mmap_ninja.open(target)
            carry_out(copy, Program(2), kind)
            assert len(copy) > len(samples)
            assert mmap_ninja.verify(target, level="full").ok
        shutil.rmtree(target)

    assert outcomes["vanished"] > 0
    assert outcomes["whole"] > 0
    assert (outcomes["refused"] > 0) == (first is None)


@pytest.mark.parametrize("copies", [30, pytest.param(1000, marks=pytest.mark.torture)])
@pytest.mark.parametrize("kind", ["strings", "records"])
def test_copy_by_cp_beside_writers_has_whole_commits_or_is_refused(tmp_path, kind, copies):
    path, stop = tmp_path / "ds", tmp_path / "stop"
    WORDED[kind][0](path, []).close()

    def write_until_stopped(writer):
        with mmap_ninja.open(path) as dataset:
            program = Program(writer)
            while not stop.exists():
                carry_out(dataset, program, kind)

    writers = [fork(lambda w=w: write_until_stopped(w)) for w in (1, 2)]
    while len(mmap_ninja.open(path)) < 3:
        pass
    whole = 0
    for number in range(copies):
        target = tmp_path / f"copy {number}"
        done = subprocess.run(["cp", "-r", path, target], capture_output=True, check=False)
        samples = state_of(target, kind)
        assert done.returncode == 0 or b"No such file" in done.stderr
        whole += samples is not None
        shutil.rmtree(target)
    stop.touch()
    for writer in writers:
        result_of(writer)

    assert whole > 0


@pytest.mark.parametrize("kind", ["strings", "records"])
def test_copy_that_is_brought_up_to_date_shows_whole_commits_to_its_readers(tmp_path, kind):
    """As by repeated rsync: in order of names, so COMMIT first, each file replaced by a rename.

    A bug once: a reader that saw the new COMMIT beside old files kept these for ever.
    """
    path, copy = tmp_path / "ds", tmp_path / "copy"
    WORDED[kind][0](path, []).close()
    shutil.copytree(path, copy)
    dataset, program = mmap_ninja.open(path), Program(1)
    reader, seen, refused = mmap_ninja.open(copy), 0, 0

    def look():
        nonlocal seen, refused
        try:
            reader.refresh()
        except CorruptDatasetError:
            refused += 1
        else:
            seen += 1
        Observer(kind).look(list(reader))  # perhaps an older commit: the newest one with complete files

    for _ in range(60):
        for _ in range(3):
            carry_out(dataset, program, kind)
        names = os.listdir(path)
        for name in sorted(names):
            shutil.copy(path / name, tmp_path / "file")
            os.replace(tmp_path / "file", copy / name)
            look()
        for name in set(os.listdir(copy)).difference(names):
            os.unlink(copy / name)
        look()
        assert list(map(str, reader)) == list(map(str, dataset))
        assert mmap_ninja.verify(copy, level="full").ok

    assert seen > 0
    assert refused > 0


def test_copy_with_the_bytes_of_a_killed_writer_is_found_by_verify(tmp_path):
    """The only damage that an unlucky order can hide: bytes that a killed writer left where others wrote later.

    The commit file does not show it, since a durable commit has no digest of the bytes before its last blocks. It
    cannot happen with COMMIT copied first, or under the lock.
    """
    path, copy = tmp_path / "ds", tmp_path / "copy"
    StringsMmap.from_strings(path, OLD).close()
    size = os.path.getsize(path / "c0.data-1")
    for number in itertools.count(1):
        killed = killed_at(number, lambda: StringsMmap(path).append("x" * 200_000))
        assert killed
        if os.path.getsize(path / "c0.data-1") > size:
            break
    shutil.copytree(path, copy)
    with StringsMmap(path) as texts:
        texts.append("y" * 200_000)
    for name in ("COMMIT", "c0.offsets-1", "sums-1"):
        shutil.copy(path / name, copy / name)

    report = mmap_ninja.verify(copy)

    assert os.path.getsize(path / "c0.data-1") == os.path.getsize(copy / "c0.data-1")
    assert not report.ok
    assert report.problems[0].file == "c0.data-1"
    assert mmap_ninja.verify(path).ok


# ---- deletion


@pytest.mark.parametrize("kind", WORDED)
def test_deletion_under_readers_and_writers_leaves_their_snapshots(tmp_path, kind):
    path = tmp_path / "ds"
    _, sample_of, words = WORDED[kind]
    WORDED[kind][0](path, [sample_of(1, 1, 4, part) for part in range(4)]).close()
    writer, reader = mmap_ninja.open(path), mmap_ninja.open(path)
    writer.extend([sample_of(1, 2, 1, 0)])
    reader.refresh()
    expected = [(1, 1, 4, 0), (1, 1, 4, 1), (1, 1, 4, 2), (1, 1, 4, 3), (1, 2, 1, 0)]
    iterator, view, pickled = iter(reader), reader.select([4, 0]), pickle.dumps(reader)
    read = [next(iterator)]

    shutil.rmtree(path)

    assert [words(sample) for sample in [*read, *iterator]] == expected
    assert [words(sample) for sample in view] == [expected[4], expected[0]]
    assert [words(sample) for sample in writer[:]] == expected
    for act in (reader.refresh, lambda: pickle.loads(pickled), lambda: mmap_ninja.open(path)):
        with pytest.raises(NotADatasetError, match="no such directory"):
            act()
    for act in (
        lambda: writer.append(sample_of(1, 3, 1, 0)),
        lambda: writer.compact(range(4, -1, -1)),
        lambda: reader.append(sample_of(1, 3, 1, 0)),
        writer.flush,
    ):
        with pytest.raises(MmapNinjaError, match="deleted|no such directory"):
            act()
    assert [words(sample) for sample in reader] == expected
    assert not path.exists()
    writer.close()
    reader.close()


def test_reader_beside_a_dataset_that_is_deleted_and_recreated_sees_whole_ones(tmp_path):
    path, versions = tmp_path / "ds", 40

    def made(version):
        return [f"{version} {k}" * (version % 5 + 1) for k in range(version % 7 + 1)]

    def make_and_delete():
        for version in range(versions):
            StringsMmap.from_strings(path, made(version)).close()
            if version < versions - 1:
                shutil.rmtree(path)

    child = fork(make_and_delete)
    seen, errors, last = set(), set(), 0
    reader = None
    while last < versions - 1:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", IncompleteDatasetWarning)
                texts = list(mmap_ninja.open(path))
                reader = reader or mmap_ninja.open(path)
            reader.refresh()
            for found in (texts, list(reader)):
                if found:  # it is created empty, and then filled
                    last = int(found[0].split(" ")[0])
                    assert found == made(last)
                    seen.add(last)
        except (NotADatasetError, CorruptDatasetError) as error:
            errors.add(type(error))

    result_of(child)
    assert versions - 1 in seen
