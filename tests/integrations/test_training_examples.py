"""The examples that train: on generated data, stopped and gone on with."""

import re
import signal
import subprocess
import sys

import pytest

from support.pages import ROOT

pytest.importorskip("torch")


def run(name, *arguments, cwd):
    command = [sys.executable, ROOT / "examples" / name, *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, encoding="utf-8", timeout=240, check=True).stdout


def test_text_classifier_learns_the_same_from_files_and_from_a_dataset(tmp_path):
    lines = run("train_text_classifier.py", cwd=tmp_path).splitlines()

    accuracies = [re.search(r"accuracy ([\d.]+)", line)[1] for line in lines]
    assert accuracies[:2] == accuracies[2:]
    assert float(accuracies[-1]) > 0.95


def test_language_model_that_was_killed_has_the_losses_of_one_that_was_not(tmp_path):
    whole = run("train_language_model.py", tmp_path / "whole", "--steps", "60", cwd=tmp_path).splitlines()

    command = [sys.executable, ROOT / "examples" / "train_language_model.py", tmp_path / "killed", "--steps", "60"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, encoding="utf-8") as process:
        before = [next(process.stdout).strip() for _ in range(34)]  # the last checkpoint is of step 30
        process.send_signal(signal.SIGKILL)
    after = run("train_language_model.py", tmp_path / "killed", "--steps", "60", cwd=tmp_path).splitlines()

    assert before == whole[:34]
    assert int(after[0].split()[0]) > 30
    assert after == whole[-len(after) :]


def test_one_rank_goes_on_with_what_two_have_left(tmp_path):
    lines = run("train_on_two_ranks.py", cwd=tmp_path).splitlines()

    assert lines == [
        "two ranks saw 300 and 300 samples, then one saw 400",
        "each sample once: True",
    ]


def test_network_that_was_stopped_has_the_losses_of_one_that_was_not(tmp_path):
    pytest.importorskip("grain")
    pytest.importorskip("jax")

    lines = run("train_jax.py", cwd=tmp_path).splitlines()

    before, after = re.fullmatch(r"237 steps: the loss went from ([\d.]+) to ([\d.]+)", lines[0]).groups()
    assert float(after) < float(before) / 4
    assert lines[1:] == ["stopped after 100 steps, and went on with the other 137", "the same losses: True"]
