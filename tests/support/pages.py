"""The pages of the documentation: what runs on them is run, and prints what they say."""

import contextlib
import io
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    str(path.relative_to(ROOT))
    for path in (ROOT / "README.md", *ROOT.glob("docs/**/*.md"))
    if "```" in path.read_text()
)
INSTALLS = re.compile(r"^pip install\b", re.MULTILINE)  # what `make release` runs
IN_A_CLONE = re.compile(r"^(make|git clone|cd mmap_ninja)\b", re.MULTILINE)


def fenced(page):
    """The blocks of a page, each as its language and its text."""
    return re.findall(r"^```(\w+)\n(.*?)^```$", (ROOT / page).read_text(), re.DOTALL | re.MULTILINE)


def blocks_of(page):
    """The blocks of Python on a page."""
    blocks = [text for language, text in fenced(page) if language == "python"]
    assert len(blocks) >= 3
    return blocks


def run_page(page, *, installs=False):
    """Run a page from top to bottom, as a reader would in one folder; return the names that its Python has defined.

    In a block of `python`, "print(x)  # y" means that y is printed. A block of `sh` is run, unless it needs a clone, or
    installs something. In a block of `console`, "$ x" is a command and the lines after it are what it prints, where
    "..." stands for anything.
    """
    names = {}
    for language, text in fenced(page):
        if language == "python":
            run_python(text, names, page)
        elif language == "sh" and not IN_A_CLONE.search(text) and (installs or not INSTALLS.search(text)):
            run_shell(text)
        elif language == "console":
            for command, printed in re.findall(r"^\$ (.*(?:\\\n.*)*)\n((?:(?!\$ ).*\n)*)", text, re.MULTILINE):
                output = run_shell(command, fails=True)
                assert is_as_said(output, printed), f"$ {command}\n{output}"
    return names


def is_as_said(output, said):
    """Whether a program printed what a page says, where "..." stands for anything."""
    pattern = ".*".join(map(re.escape, said.strip().split("...")))
    return re.fullmatch(pattern, output.strip(), re.DOTALL) is not None


def gallery():
    """What each example prints, as their page says."""
    text = (ROOT / "docs" / "examples.md").read_text()
    _, *parts = re.split(r"^### \[(.*)\]\(.*\)$", text, flags=re.MULTILINE)
    sections = zip(parts[::2], parts[1::2], strict=True)
    return {name: re.search(r"^```text\n(.*?)^```$", of, re.DOTALL | re.MULTILINE)[1] for name, of in sections}


def run_python(text, names, page):
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(io.StringIO()):
        exec(compile(text, page, "exec"), names)  # noqa: S102 - our own page
    said = re.findall(r"^\s*print\(.*\)  # (.*)$", text, re.MULTILINE)
    assert printed.getvalue().splitlines() == said


def run_shell(text, *, fails=False):
    """Run a block of bash, in which `python` and `mmap-ninja` are those that are tested; return all that it prints."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "COLUMNS": "80", "PYTHONDONTWRITEBYTECODE": ""}
    ended = subprocess.run(
        ["bash", "-euc", text],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
        check=False,
    )
    assert fails or ended.returncode == 0, f"{text}\n{ended.stdout}"
    return ended.stdout
