"""`mmap-ninja export`: its options, its words, and how it ends."""

import subprocess
import sys

import click.testing
import numpy as np
import pyarrow.parquet as pq
import pytest

import mmap_ninja as mn
from mmap_ninja.cli import exporting, main
from mmap_ninja.conversion.forms import FORMS

ROWS = [{"text": "good", "stars": 5}, {"text": "bad", "stars": 1}]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a dataset of records called `ds`, in which commands run."""
    mn.RecordsMmap.from_generator(tmp_path / "ds", ROWS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments):
    """Run `mmap-ninja export` in a process of its own, as a user does."""
    command = [sys.executable, "-m", "mmap_ninja", "export", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_export_says_what_it_wrote_on_stderr(folder):
    done = run("ds", "out.parquet")

    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.endswith("out.parquet: 2 samples\n")
    assert pq.read_table("out.parquet").to_pylist() == ROWS


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (
            ["ds", "taken.csv"],
            "taken.csv: exists already; choose another path, or pass --if-exists replace",
        ),
        (["ds", "out.npy"], "ds: .npy holds one column, found 'text', 'stars'; choose one with --column"),
        (["missing", "out.csv"], "missing"),
        (["ds", "-"], "-: export writes files; `mmap-ninja cat` writes to stdout"),
        (["ds", "out.csv", "--form", "xlsx"], "'xlsx' is not one of 'parquet'"),
    ],
)
def test_failure_is_a_line_and_exit_code_2(folder, arguments, told):
    (folder / "taken.csv").write_text("precious")

    done = run(*arguments)

    assert (done.returncode, done.stdout) == (2, "")
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    assert {path.name for path in folder.iterdir()} == {"ds", "taken.csv"}
    assert (folder / "taken.csv").read_text() == "precious"


def test_options(folder):
    runner = click.testing.CliRunner()

    for arguments in (
        ["ds", "out.csv", "--column", "stars", "--column", "text"],
        ["ds", "texts", "--column", "text", "--suffix", ".md"],
        ["ds", "stars", "--form", "npy", "--column", "stars"],
        ["ds", "out.csv", "--column", "stars", "--if-exists", "replace", "--yes"],
    ):
        result = runner.invoke(exporting.export, arguments, catch_exceptions=False)
        assert result.exit_code == 0, arguments

    assert (folder / "out.csv").read_text() == "stars\n5\n1\n"
    assert (folder / "texts" / "000001.md").read_text() == "bad"
    assert np.load("stars").tolist() == [5, 1]


def test_help_names_every_suffix_and_an_example(folder):
    result = click.testing.CliRunner().invoke(main.cli, ["export", "--help"])

    assert "mmap-ninja export reviews_mmap reviews.parquet" in result.output
    for form in FORMS:
        assert form.name in result.output
        assert not form.suffixes or form.suffixes[0] in result.output


def test_help_loads_no_numpy():
    code = "import sys, mmap_ninja.cli.exporting; print(*(name for name in sys.modules if name.startswith('numpy')))"

    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "\n"
