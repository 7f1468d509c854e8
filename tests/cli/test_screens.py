"""What is typed in a terminal, and what it shows, whole.

Each file of `screens` is a session in a folder with the datasets of `prepared`: lines that are typed, after "$ ", and
what the terminal shows then, with the answers to its questions. To add one, write the lines with "$ ", and "[y/N]: y"
below those that ask. `SCREENS=store .venv/bin/pytest tests/cli/test_screens.py` stores what is shown now: read the
difference.
"""

import os
import re
import shutil
from pathlib import Path

import pytest

import mmap_ninja as mn
from support.cold import evicted
from support.golden import GOLDEN
from support.shell import Terminal

SCREENS = Path(__file__).parent / "screens"
QUESTION = "[y/N]: "
STORES = os.environ.get("SCREENS") == "store"
ALWAYS = (
    (r"\r\n", "\n"),
    (r"\x1b\[[0-9;]*m", ""),  # colors
    (r".*\r", ""),  # what was written over, such as a bar on a slow machine
    (r"█+\| (\S+) \[.*\]", r"█| \1 [#]"),  # time and rate in a bar, whose length depends on them
)
RATES = (  # of the commands that measure
    (r"(?<![\w-])[\d,.]+(e[+-]\d+)?( (bytes|[kMGT]B))?(?=[/% \n;]|$)", "#"),
    (r"(disk|latency|processor) #%", "limit #%"),
    (r" {2,}", "  "),
)


@pytest.fixture(scope="session")
def prepared(tmp_path_factory):
    """A folder with a dataset of each sort that the sessions need."""
    folder = tmp_path_factory.mktemp("screens")
    reviews = [f"review {number}: {'good' if number % 3 else 'bad'}" for number in range(1000)]
    mn.StringsMmap.from_strings(folder / "reviews_mmap", reviews, metadata={"source": "web"}).close()
    with mn.open(folder / "reviews_mmap") as dataset:
        del dataset[900:]
    films = {"title": ["Alien", "Brazil", "Casablanca", "Dune"], "year": [1979, 1985, 1942, 2021], "poster": [b"x"] * 4}
    mn.RecordsMmap.from_columns(folder / "films_mmap", films).close()
    for day in ("monday", "tuesday"):
        mn.StringsMmap.from_strings(folder / f"{day}_mmap", [f"{day} {number}" for number in range(3)]).close()
    shutil.copytree(GOLDEN / "0.9.0-strings", folder / "old_reviews")
    lines = (f"line {number:060}" for number in range(3000))
    mn.StringsMmap.from_generator(folder / "damaged_mmap", lines).close()
    with open(folder / "damaged_mmap/c0.data-1", "r+b") as file:
        file.seek(100_000)
        file.write(b"?")
    (folder / "notes").mkdir()
    (folder / "notes/monday.txt").write_text("a note")
    sales = [f"{number},{'free' if number == 2000 else number / 8}\n" for number in range(3000)]
    (folder / "sales.csv").write_text("".join(["number,price\n", *sales]))
    return folder


@pytest.fixture
def folder(prepared, tmp_path):
    """A copy of that, which a session may change."""
    return shutil.copytree(prepared, tmp_path / "data")


@pytest.mark.parametrize("file", sorted(SCREENS.glob("*.txt")), ids=lambda file: file.stem)
def test_screen_is_as_stored(file, folder):
    if file.stem == "bench":
        evicted(folder / "damaged_mmap")  # skips where the screen is another one, since nothing can be cold
    stored = file.read_text()
    sessions = re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", stored, re.MULTILINE)

    shown = "".join(typed(line, re.findall(rf"{re.escape(QUESTION)}(\w*)", after), folder) for line, after in sessions)

    if STORES:
        file.write_text(shown)
    assert shown == stored


def typed(line, answers, folder):
    """What a terminal shows when a line is typed, and answers to its questions."""
    with Terminal(["bash", "-c", line], folder) as terminal:
        for answer in answers:
            terminal.wait_for(QUESTION)
            terminal.type(f"{answer}\n")
            terminal.shown += " "  # no longer the end
        terminal.wait_for("\0")
        code = terminal.code()
        shown = terminal.shown.replace(QUESTION + " ", QUESTION)
    for pattern, replacement in (*ALWAYS, *RATES * line.startswith("mmap-ninja bench")):
        shown = re.sub(pattern, replacement, shown)
    shown = shown.replace(str(folder), "/data")
    return f"$ {line}\n{shown}" + f"[exit code {code}]\n" * bool(code)


def test_there_are_sessions():
    assert len(list(SCREENS.glob("*.txt"))) > 5
