"""The examples that train: on generated data, stopped and gone on with."""

import re
import signal
import subprocess
import sys

import pytest

from support.pages import ROOT, gallery, is_as_said

pytest.importorskip("torch")


def run(name, *arguments, cwd):
    command = [sys.executable, ROOT / "examples" / name, *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, encoding="utf-8", timeout=240, check=True).stdout


def run_as_said(name, *arguments, cwd):
    """The lines that an example prints, which are those on its page."""
    output = run(name, *arguments, cwd=cwd)
    assert is_as_said(output, gallery()[name]), output
    return output.splitlines()


def test_text_classifier_learns_the_same_from_files_and_from_a_dataset(tmp_path):
    lines = run_as_said("train_text_classifier.py", cwd=tmp_path)

    accuracies = [re.search(r"accuracy ([\d.]+)", line)[1] for line in lines]
    assert accuracies[:2] == accuracies[2:]
    assert float(accuracies[-1]) > 0.95


def test_language_model_that_was_killed_has_the_losses_of_one_that_was_not(tmp_path):
    whole = run_as_said("train_language_model.py", tmp_path / "whole", cwd=tmp_path)

    command = [sys.executable, ROOT / "examples" / "train_language_model.py", tmp_path / "killed"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, encoding="utf-8") as process:
        before = [next(process.stdout).strip() for _ in range(34)]  # the last checkpoint is of step 30
        process.send_signal(signal.SIGKILL)
    after = run("train_language_model.py", tmp_path / "killed", cwd=tmp_path).splitlines()

    assert before == whole[:34]
    assert int(after[0].split()[0]) > 30
    assert after == whole[-len(after) :]


def test_one_rank_goes_on_with_what_two_have_left(tmp_path):
    run_as_said("train_on_two_ranks.py", cwd=tmp_path)


def test_network_that_was_stopped_has_the_losses_of_one_that_was_not(tmp_path):
    pytest.importorskip("grain")
    pytest.importorskip("jax")

    lines = run_as_said("train_jax.py", cwd=tmp_path)

    before, after = re.fullmatch(r"237 steps: the loss went from ([\d.]+) to ([\d.]+)", lines[0]).groups()
    assert float(after) < float(before) / 4
