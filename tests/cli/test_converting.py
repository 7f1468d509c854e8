"""`mmap-ninja convert`."""

import fcntl
import os
import shlex
import signal
import subprocess
import sys
import termios
import time

import numpy as np
import pytest
from click.testing import CliRunner

import mmap_ninja as mn
from mmap_ninja.cli.main import cli

COMMAND = [sys.executable, "-m", "mmap_ninja"]


def run(*words):
    """Run the command in this process."""
    return CliRunner().invoke(cli, ["convert", *map(str, words)])


@pytest.fixture
def reviews(tmp_path, monkeypatch):
    """A folder `reviews` with two texts, in the current one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "reviews").mkdir()
    for name, text in (("a", "good"), ("b", "bad")):
        (tmp_path / "reviews" / f"{name}.txt").write_text(text)
    return tmp_path / "reviews"


def test_what_is_found_is_shown_on_stderr(reviews):
    ended = run("reviews", "out", "--with-path")

    assert ended.exit_code == 0
    assert ended.stdout == ""
    assert ended.stderr.splitlines() == [
        "reviews: folder of text files",
        "  kind     records",
        "  samples  2",
        "  column   text=text",
        "  column   path=text",
        "  first    text: good, path: a.txt",
        "  first    text: bad, path: b.txt",
        "out: 2 samples",
    ]
    assert mn.open("out")["path"][:] == ["a.txt", "b.txt"]


def test_dry_run_does_nothing(reviews):
    ended = run("reviews", "out", "--dry-run")

    assert ended.exit_code == 0
    assert "kind     strings" in ended.stderr
    assert os.listdir() == ["reviews"]


def test_long_samples_are_cut_off(reviews):
    (reviews / "a.txt").write_text("x" * 1000)
    (reviews / "b.txt").write_text("\x1b[2J\n" * 1000)

    ended = run("reviews", "out", "--dry-run")

    assert max(map(len, ended.stderr.splitlines())) < 200
    assert "\x1b" not in ended.stderr


def test_arrays_are_shown_by_their_shape(reviews):
    np.savez("a.npz", image=np.zeros((2, 28, 28), np.uint8), label=np.arange(2))

    ended = run("a.npz", "out", "--column", "label=uint8")

    assert "column   image=array:uint8:28x28" in ended.stderr
    assert "column   label=uint8" in ended.stderr
    assert "first    image: uint8 [28, 28]  0 0 0 0 …, label: 0" in ended.stderr


def test_skipped_samples_are_told_with_their_places(reviews):
    (reviews / "b.txt").write_bytes(b"\xff")

    ended = run("reviews", "out", "--on-error", "skip")

    assert ended.exit_code == 0
    assert "out: 1 sample\nreviews: 1 sample was left out:\n  reviews/b.txt: byte 0" in ended.stderr


@pytest.mark.parametrize(
    "words",
    [("--column", "a"), ("--kind", "tokens"), ("--codec", "gzip"), ("--resume", "--if-exists", "append"), ("more",)],
)
def test_wrong_usage_ends_with_2(reviews, words):
    assert run("reviews", "out", *words).exit_code == 2
    assert not (reviews.parent / "out").exists()


def test_replacing_asks_after_what_is_found_is_shown(reviews, monkeypatch):
    assert run("reviews", "out").exit_code == 0
    words = ("reviews", "out", "--if-exists", "replace", "--kind", "bytes")

    unasked = run(*words)

    assert unasked.exit_code == 2
    assert "Error: out: the dataset there will be replaced; without a terminal to ask at" in unasked.stderr
    assert mn.open("out")[:] == ["good", "bad"]
    assert run(*words, "--yes").exit_code == 0
    assert mn.open("out")[:] == [b"good", b"bad"]


def test_options_reach_the_conversion(reviews):
    assert run("reviews", "out", "--kind", "bytes", "--codec", "zstd", "--n-jobs", "2").exit_code == 0
    assert run("reviews", "out", "--if-exists", "append", "--kind", "bytes", "--batch-bytes", "5").exit_code == 0
    assert list(mn.open("out")) == [b"good", b"bad"] * 2


def test_errors_name_options_of_the_shell(reviews):
    ended = subprocess.run([*COMMAND, "convert", "reviews", "."], check=False, capture_output=True, text=True)

    assert ended.returncode == 2
    assert ended.stderr.startswith("mmap-ninja: .: holds files that do not belong to a dataset")


def test_interrupt_tells_the_command_that_goes_on(reviews):
    os.mkfifo("lines of words.txt")
    words = ["lines of words.txt", "out", "--batch-bytes", "100", "--on-error", "raise"]
    process = subprocess.Popen([*COMMAND, "convert", *words], stderr=subprocess.PIPE, text=True)
    with open("lines of words.txt", "w") as pipe:
        lines = [f"line {number}\n" for number in range(4000)]
        pipe.writelines(lines)
        pipe.flush()
        while not os.path.exists("out/COMMIT"):
            time.sleep(0.01)
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        told = process.communicate()[1]

    assert process.returncode == 130
    assert "samples stored; go on with: " in told
    command = told.partition("go on with: ")[2].splitlines()[0]
    assert shlex.split(command) == ["mmap-ninja", "convert", *words, "--resume"]
    os.unlink("lines of words.txt")
    with open("lines of words.txt", "w") as file:
        file.writelines(lines)
    assert subprocess.run([*COMMAND, *shlex.split(command)[1:]], check=False, capture_output=True).returncode == 0
    assert list(mn.open("out")) == [line.rstrip() for line in lines]


def test_bar_is_shown_in_a_terminal(reviews):
    master, terminal = os.openpty()
    termios.tcsetwinsize(terminal, (24, 80))
    try:
        subprocess.run(
            [*COMMAND, "convert", "reviews", "out"], stderr=terminal, check=True, env=os.environ | {"TQDM_DELAY": "0"}
        )
        fcntl.fcntl(master, fcntl.F_SETFL, os.O_NONBLOCK)
        shown = os.read(master, 1 << 16).decode()
    finally:
        os.close(master)
        os.close(terminal)

    assert "100%" in shown
    assert "samples/s" in shown


def test_a_name_with_a_line_break_stays_on_the_line_of_the_error(reviews):
    (reviews / "a\n\x1b[31m.txt").write_bytes(b"\xff")

    ended = run("reviews", "out")

    assert ended.exit_code == 2
    assert ended.stderr.startswith(r"mmap-ninja: reviews/a\n\x1b[31m.txt: byte 0 is 0xff")
    assert len(ended.stderr.splitlines()) == 1


def test_options_without_use_are_named_as_options(reviews):
    (reviews.parent / "a.jsonl").write_text('{"a": 1}')

    for words in (["--with-path"], ["--dataset", "x"], ["--n-jobs", "2"]):
        assert f"mmap-ninja: a.jsonl: {words[0]} has no use here" in run("a.jsonl", "out", *words).stderr


def test_objects_nested_hundreds_of_times_can_be_shown(reviews):
    (reviews.parent / "a.jsonl").write_text('{"a": ' * 500 + "1" + "}" * 500)

    assert run("a.jsonl", "out", "--column", "a=json").exit_code == 0


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may list any folder")
def test_a_folder_that_cannot_be_listed_is_named(reviews):
    (reviews / "more").mkdir(mode=0)

    assert run("reviews", "out").stderr == "mmap-ninja: reviews/more: Permission denied\n"
