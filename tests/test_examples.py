"""Runs what a newcomer runs first: the demo, the examples and the notebook, on real text if there is some."""

import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from support.pages import ROOT, gallery, is_as_said

EXAMPLES = ROOT / "examples"
SHORT = sorted(path.name for path in EXAMPLES.glob("*.py") if not path.name.startswith("train_"))
DEMO = ROOT / "tools" / "demo.py"
IMDB_ARCHIVE = ROOT.parent / "shared" / "data" / "aclImdb.tar.xz"  # beside the project on some machines


def run(script: Path, *arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", script, *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, encoding="utf-8", timeout=120, check=False)


def output_of(finished: subprocess.CompletedProcess[str]) -> str:
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


@pytest.fixture
def text_folder(tmp_path: Path) -> Path:
    """300 texts of all widths and lengths, including an empty one, and one file that is not UTF-8."""
    folder = tmp_path / "texts"
    for number in range(300):
        path = folder / f"part{number % 3}" / f"{number}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("naïve 映画 🎬 "[: number % 11] * number, encoding="utf-8")
    (folder / "latin1.txt").write_bytes(b"\xe9t\xe9")
    return folder


@pytest.fixture
def imdb_folder(pytestconfig: pytest.Config) -> Path | None:
    """The IMDB reviews: the folder MMAP_NINJA_IMDB, or the unpacked archive, or None.

    Unpacked to pytest's cache and left there, since deleting 100,000 files takes minutes on some disks.
    """
    if named := os.environ.get("MMAP_NINJA_IMDB"):
        return Path(named)
    if not IMDB_ARCHIVE.is_file():
        return None
    cache = pytestconfig.cache.mkdir("imdb")
    if not (cache / "complete").exists():
        with tarfile.open(IMDB_ARCHIVE) as archive:
            for member in archive:
                if member.isfile() and member.name.count("/") == 3:  # below the lists of links
                    path = cache / member.name
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(archive.extractfile(member).read())
        (cache / "complete").touch()
    return cache / "aclImdb"


def test_demo_converts_a_folder_and_appends_to_it(tmp_path: Path, text_folder: Path) -> None:
    output = output_of(run(DEMO, text_folder, "--out", tmp_path / "dataset", cwd=tmp_path))

    assert re.search(r"^300 files read \([\d.]+ MB\), 1 skipped: not UTF-8$", output, re.MULTILINE)
    assert "['This is a new document', 'New doc0', 'New doc1']" in output
    assert "Reopened: 303 samples; 300 of them equal the text of their file." in output
    assert re.search(r"^ratio +[\d.]+x +[\d.]+x$", output, re.MULTILINE)


def test_demo_of_imdb_layout_takes_the_reviews_and_not_the_links(tmp_path: Path) -> None:
    folder = tmp_path / "aclImdb"
    for part in ("train/pos", "train/neg", "test/pos"):
        (folder / part).mkdir(parents=True)
        (folder / part / "0_9.txt").write_text("a review", encoding="utf-8")
    (folder / "train" / "urls_pos.txt").write_text("a link", encoding="utf-8")

    output = output_of(run(DEMO, folder, cwd=tmp_path))

    assert "Reopened: 6 samples; 3 of them equal the text of their file." in output


@pytest.mark.parametrize(("content", "reason"), [(None, "no such folder"), ("", "not a folder")])
def test_demo_of_a_bad_path_names_it(tmp_path: Path, content: str | None, reason: str) -> None:
    path = tmp_path / "reviews"
    if content is not None:
        path.write_text(content, encoding="utf-8")

    finished = run(DEMO, path, cwd=tmp_path)

    assert finished.returncode == 1
    assert finished.stderr.startswith(f"{path}: {reason}")
    assert not (tmp_path / "demo_mmap").exists()


def test_demo_of_a_folder_without_text_names_the_suffixes(tmp_path: Path) -> None:
    (tmp_path / "picture.png").touch()

    finished = run(DEMO, tmp_path, cwd=tmp_path)

    assert finished.returncode == 1
    assert finished.stderr.startswith(f"{tmp_path}: no text files below it (looked for .csv ")


@pytest.mark.parametrize("name", SHORT)
def test_example_prints_what_its_page_says_and_leaves_nothing(name: str, tmp_path: Path) -> None:
    output = output_of(run(EXAMPLES / name, cwd=tmp_path))

    assert is_as_said(output, gallery()[name]), output
    assert list(tmp_path.iterdir()) == []


def test_every_example_is_on_the_page() -> None:
    assert {path.name for path in EXAMPLES.glob("*.py")} == set(gallery())


@pytest.mark.parametrize("name", SHORT)
def test_example_is_short(name: str) -> None:
    assert len((EXAMPLES / name).read_text("utf-8").splitlines()) <= 40


def test_notebook_runs(tmp_path: Path, imdb_folder: Path | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.delenv("MMAP_NINJA_IMDB", raising=False)
    if imdb_folder:
        monkeypatch.setenv("MMAP_NINJA_IMDB", str(imdb_folder))
    notebook = nbformat.read(EXAMPLES / "strings.ipynb", as_version=4)

    NotebookClient(notebook, timeout=240, resources={"metadata": {"path": str(tmp_path)}}).execute()

    printed = "".join(
        output.get("text", "") or output.get("data", {}).get("text/plain", "") + "\n"
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
        if output.get("name") != "stderr"
    )
    num_files = int(re.search(r"([\d,]+) files", printed)[1].replace(",", ""))
    assert num_files == (len(list(imdb_folder.glob("*/*/*.txt"))) if imdb_folder else 5_000)
    assert f"\n({num_files + 3}, ['This is a new document', 'New doc0', 'New doc1'])\n" in printed
    assert float(re.search(r"([\d.]+) times as fast", printed)[1]) > 1


def test_notebook_is_stored_without_outputs() -> None:
    notebook = nbformat.read(EXAMPLES / "strings.ipynb", as_version=4)

    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert not any(cell.outputs or cell.execution_count for cell in cells)
