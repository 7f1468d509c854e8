"""Unusual names and paths: any name that the system accepts, relative paths, links."""

import os
import pickle
from pathlib import Path

import pytest

import mmap_ninja
from mmap_ninja import RecordsMmap, StringsMmap
from support.faults import OLD
from support.kinds import KINDS
from support.reads import check_is

NAMES = [
    "with space",
    " leading and trailing ",
    "ünï-日本-😀",
    "e\u0301",  # not normalised
    "new\nline",
    "tab\tand\\backslash",
    "quotes\"'`$(x)%s{}",
    "-dash",
    "x" * 255,
    "é" * 127,
    "ds.",
    "COMMIT",
    "con",
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["strings", "records"])
def test_any_name_of_a_directory_will_do(tmp_path, name, kind):
    stored, empty, sample = KINDS[kind], KINDS[kind].sample(0), KINDS[kind].sample(3)
    path = tmp_path / name

    dataset = stored.store(path, [empty, sample])
    dataset.append(sample)
    dataset[0] = sample
    del dataset[1]
    dataset.compact()
    dataset.flush()
    stored.store(tmp_path / "other", [empty]).close()
    mmap_ninja.merge([path, tmp_path / "other"], tmp_path / f"m{name[1:]}")

    check_is(mmap_ninja.open(str(path)), [sample, sample])
    check_is(mmap_ninja.open(tmp_path / f"m{name[1:]}"), [sample, sample, empty])
    stored.store(path, [empty]).close()
    check_is(dataset if dataset.refresh() else mmap_ninja.open(path), [empty])
    assert set(os.listdir(tmp_path)) == {name, "other", f"m{name[1:]}"}


@pytest.mark.parametrize(
    ("name", "message"), [("null\0character", "has a null character"), (os.fsdecode(b"not \xff UTF-8"), "is not UTF-8")]
)
def test_names_that_cannot_be_said_are_refused_and_touch_nothing(tmp_path, name, message):
    """A bug once: the first append to a path with a null character created the directory named before it."""
    path = os.path.join(tmp_path, name)

    for act in (
        lambda: StringsMmap(path).append("text"),
        lambda: StringsMmap.from_strings(path, ["text"]),
        lambda: RecordsMmap.from_generator(path, [{"a": 1}]),
        lambda: RecordsMmap.create(path, {"a": mmap_ninja.Text()}),
        lambda: mmap_ninja.open(path),
        lambda: mmap_ninja.verify(path),
        lambda: mmap_ninja.recover(path),
        lambda: mmap_ninja.upgrade(path),
        lambda: mmap_ninja.merge([path], tmp_path / "out"),
    ):
        with pytest.raises(ValueError, match=message):
            act()
    assert os.listdir(tmp_path) == []


def test_names_that_the_system_refuses_are_refused_and_touch_nothing(tmp_path):
    for path in (tmp_path / ("x" * 256), Path(tmp_path, *["y" * 200] * 25)):
        for act in (
            lambda path=path: StringsMmap(path).append("text"),
            lambda path=path: StringsMmap.from_strings(path, ["text"]),
            lambda path=path: mmap_ninja.open(path),
        ):
            with pytest.raises(OSError, match="File name too long"):
                act()
    assert os.listdir(tmp_path) == []


def test_path_that_is_not_utf8_is_reached_through_a_link(tmp_path):
    strange = os.path.join(tmp_path, os.fsdecode(b"not \xff UTF-8"))
    os.mkdir(strange)
    os.symlink(strange, tmp_path / "link")

    StringsMmap.from_strings(tmp_path / "link", OLD).append("more")

    check_is(mmap_ninja.open(tmp_path / "link"), [*OLD, "more"])
    assert "COMMIT" in os.listdir(strange)


def test_relative_path_means_the_directory_that_it_meant_when_it_was_opened(tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    texts = StringsMmap.from_strings("ds", OLD)
    view, pickled = texts.select([1]), pickle.dumps(texts)

    monkeypatch.chdir(tmp_path / "elsewhere")
    texts.append("more")
    texts[0] = "first"
    texts.compact()
    texts.refresh()
    StringsMmap(texts.path).append("last")
    texts.refresh()

    assert list(texts) == ["first", *OLD[1:], "more", "last"]
    assert list(view) == [OLD[1]]
    with pytest.raises(mmap_ninja.StaleHandleError):
        pickle.loads(pickled)
    assert os.listdir() == []
    assert mmap_ninja.verify("../ds").ok


# ---- places


def test_symbolic_link_to_a_dataset_is_the_dataset(tmp_path):
    (tmp_path / "disk").mkdir()
    os.symlink("disk/target", tmp_path / "link")
    (tmp_path / "disk" / "target").mkdir()
    path = tmp_path / "link"
    records = [{"a": str(k), "b": k} for k in range(10)]

    dataset = RecordsMmap.from_generator(path, records)
    dataset.append({"a": "more", "b": 10})
    dataset[0] = {"a": "first", "b": -1}
    del dataset[1:9]
    dataset.compact()
    dataset.add_column("c", range(3))
    dataset.drop_column("b")
    expected = [{"a": "first", "c": 0}, {"a": "9", "c": 1}, {"a": "more", "c": 2}]
    check_is(mmap_ninja.open(path), expected)
    RecordsMmap.from_generator(path, records[:2]).close()
    dataset.refresh()

    check_is(dataset, records[:2])
    check_is(mmap_ninja.open(tmp_path / "disk" / "target"), records[:2])
    assert path.is_symlink()
    assert os.listdir(tmp_path / "disk") == ["target"]


def test_symbolic_link_to_nothing_is_refused(tmp_path):
    os.symlink("nothing", tmp_path / "link")

    for act in (
        lambda: mmap_ninja.open(tmp_path / "link"),
        lambda: StringsMmap.from_strings(tmp_path / "link", OLD),
        lambda: StringsMmap(tmp_path / "link").append("text"),
    ):
        with pytest.raises(mmap_ninja.NotADatasetError, match="link"):
            act()
    assert os.listdir(tmp_path) == ["link"]
