"""Options of `convert` that have no use for a source are errors, and so are sources that cannot be read twice."""

import os

import numpy as np
import pytest

import mmap_ninja as mn


@pytest.fixture
def sources(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, text in (("a.jsonl", '{"a": 1}'), ("a.csv", "a\n1"), ("a.txt", "x")):
        (tmp_path / name).write_text(text)
    np.save("a.npy", np.arange(3))
    np.savez("a.npz", a=np.arange(3))
    for folder, name in (("texts", "a.txt"), ("images", "a.jpg")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_text("x")
    mn.StringsMmap.from_generator("ours", ["a"]).close()
    return tmp_path


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.txt", "a.npy", "a.npz", "ours"])
@pytest.mark.parametrize("option", ["with_path", "dataset", "n_jobs"])
def test_an_option_without_use_is_an_error(sources, name, option):
    given = {"with_path": True, "dataset": "x", "n_jobs": 2}[option]
    with pytest.raises(ValueError, match=f"^{name}: {option} has no use here: .*; leave it out"):
        mn.convert(name, "out", **{option: given})
    assert not (sources / "out").exists()


def test_other_options_without_use_are_errors(sources):
    with pytest.raises(ValueError, match="^texts: n_jobs has no use here: on_error='skip' takes one process"):
        mn.convert("texts", "out", n_jobs=2, on_error="skip")
    with pytest.raises(ValueError, match="^a.npy: codec has no use here"):
        mn.convert("a.npy", "out", codec="zstd")
    with pytest.raises(ValueError, match="^ours: columns have no use here"):
        mn.convert("ours", "out", columns={"a": mn.Text()})
    for name in ("a.npz", "images"):
        with pytest.raises(ValueError, match=f"^{name}: column 'more': is not there; expected one of "):
            mn.convert(name, "out", columns={"more": mn.Text(nullable=True)})
    assert not (sources / "out").exists()


def test_samples_are_not_added_without_the_codec_that_is_wanted(sources):
    (sources / "a.jsonl").write_text('{"a": "x"}')
    mn.convert("a.jsonl", "out").close()

    for if_exists in ("append", "resume", "reuse"):
        with pytest.raises(ValueError, match=r"out: codec has no use here: .* does not compress \['a'\]"):
            mn.convert("a.jsonl", "out", codec="zstd", if_exists=if_exists)
    assert len(mn.open("out")) == 1


def test_what_is_appended_is_not_said_to_be_resumable(sources):
    """An interrupted replacement beside the dataset was taken for it."""
    mn.convert("a.jsonl", "out").close()
    (sources / "long.jsonl").write_text('{"a": 1}\n' * 3000 + '{"a": "x"}\n')

    for if_exists, notes in (("replace", 1), ("append", 0)):
        with pytest.raises(TypeError, match=r"long.jsonl, line 3001") as raised:
            mn.convert("long.jsonl", "out", if_exists=if_exists)
        assert len(getattr(raised.value, "__notes__", [])) == notes


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes")
def test_a_pipe_is_refused(sources):
    """It was waited for without end, and its first bytes were lost."""
    os.mkfifo("b.jsonl")
    with pytest.raises(ValueError, match="^b.jsonl: is a pipe or a device"):
        mn.convert("b.jsonl", "out")


def test_an_empty_path_is_refused(sources):
    """It would be the current folder: a shell makes one of a variable that is not set."""
    with pytest.raises(ValueError, match="^source '': expected a path"):
        mn.convert("", "out")
    with pytest.raises(ValueError, match="^out_dir '': expected a path"):
        mn.convert("texts", "")


@pytest.mark.parametrize("n_jobs", [None, 2])
@pytest.mark.parametrize("bad", [3, 1500])
def test_an_error_in_reading_names_its_file_and_no_index(sources, n_jobs, bad):
    for number in range(2000):
        (sources / "texts" / f"{number:04}.txt").write_text("x" * 100)
    (sources / "texts" / f"{bad:04}.txt").write_bytes(b"\xff")

    with pytest.raises(ValueError, match=f"^texts/{bad:04}.txt: byte 0 is 0xff.*on_error='skip'(\\n|$)") as raised:
        mn.convert("texts", "out", n_jobs=n_jobs)
    assert not any("index" in note for note in getattr(raised.value, "__notes__", []))


def test_an_error_in_reading_a_late_line_names_no_index(sources):
    (sources / "a.jsonl").write_text('{"a": 1}\n' * 3000 + "{")

    with pytest.raises(ValueError, match=r"^a.jsonl, line 3001: [^(]*$"):
        mn.convert("a.jsonl", "out")
