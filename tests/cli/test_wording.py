"""Messages of the library, as the command says them."""

import ast
import re
from pathlib import Path

import pytest

import mmap_ninja as mn
from mmap_ninja.cli.wording import in_shell_words, said

PACKAGE = Path(mn.__file__).parent
SHOWN = ("arrow", "builds", "columns", "conversion", "engine", "legacy", "maintenance")  # folders behind the commands
ONLY_PYTHON = (  # what no command can lead to
    "import sys", "as_dataset", "from_generator", "from_indexable", "np_from_ndarray", "np.memmap", "starts_key",
    "zstd_train", "expected a dataset, got",
)  # fmt: skip


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("choose another path, or pass if_exists='replace'", "choose another path, or pass --if-exists replace"),
        ("or pass if_exists='replace' or 'append'", "or pass --if-exists replace or append"),
        ("x: choose one with columns=", "x: choose one with --column"),
        ("x; leave it out with columns=, or export", "x; choose other columns with --column, or export"),
        ("name the form, one of csv", "pass --form, one of csv"),
        ("continue it with if_exists='resume'", "continue it with mmap-ninja convert --resume"),
        ("restore it, or pass keep='readable'", "restore it, or pass --keep readable"),
        ("call mmap_ninja.upgrade on it first", "run `mmap-ninja upgrade` on it first"),
        ("use mmap_ninja.recover, or rebuild it", "run `mmap-ninja recover`, or rebuild it"),
        ("wait for it, end it, or open with a longer lock_timeout", "wait for it, or end it"),
        (
            "x: expected a dataset of kind 'records', found 'strings'; mmap_ninja.open finds the class by itself",
            "x: expected a dataset of kind 'records', found 'strings', which has no columns",
        ),
        ("nothing to change", "nothing to change"),
    ],
)
def test_python_is_said_in_the_words_of_the_shell(message, expected):
    assert in_shell_words(message) == expected


def messages():
    """What the library raises and warns of, with "..." for what it fills in."""
    for folder in SHOWN:
        for path in sorted((PACKAGE / folder).glob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.JoinedStr):
                    parts = [part.value if isinstance(part, ast.Constant) else "..." for part in node.values]
                    yield path.name, "".join(parts)


def test_messages_behind_the_commands_speak_no_python():
    found = [(name, text) for name, text in messages() if " " in text and not any(word in text for word in ONLY_PYTHON)]
    assert len(found) > 100

    left = [
        (name, text) for name, text in found if re.search(r"if_exists=|mmap_ninja\.[a-z]|lock_timeout", said_by(text))
    ]

    assert left == []


def said_by(text):
    return said(ValueError(text))


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (KeyError("x: has no column 'y'"), "x: has no column 'y'"),
        (FileNotFoundError(2, "No such file or directory", "card.json"), "card.json: No such file or directory"),
        (OSError(28, "No space left on device"), "No space left on device"),
        (MemoryError(), "there is not enough memory"),
        (ValueError(), "ValueError"),
        (AssertionError("x"), "unexpected AssertionError: x; --debug shows where"),
    ],
)
def test_errors_of_python_are_said_without_its_forms(error, expected):
    assert said(error) == expected


def test_notes_are_said_by_their_first_lines():
    error = ValueError("expected a number")
    error.add_note("index 3 of the source, in worker process 1:\nTraceback ...")

    assert said(error) == "expected a number; index 3 of the source, in worker process 1"
