"""Errors and warnings of the library in the words of the shell."""

import re
from typing import Final

from mmap_ninja.errors import MmapNinjaError, NotADatasetError

_EXPECTED: Final = (MmapNinjaError, OSError, ValueError, TypeError, LookupError, ImportError, RuntimeError)
_REPLACED: Final = (  # what only makes sense in Python first
    (r", as if_exists='reuse' does, or end it", ", or end it"),
    (r"wait for it, end it, or open with a longer lock_timeout", "wait for it, or end it"),
    (r"; clear\(\) deletes all samples", ""),
    (r"(of kind 'records', found '\w+'); mmap_ninja\.open finds the class by itself", r"\1, which has no columns"),
    (r"; mmap_ninja\.open finds the class by itself", ""),
    (r"create the dataset with one of the from_\* constructors", "make one: mmap-ninja convert"),
    (r"pass n_jobs=None", "leave out --n-jobs"),
    (r"continue it with if_exists='resume'", "continue it with mmap-ninja convert --resume"),
    (r"if_exists='resume'", "--resume"),
    (r"leave (?:it|the column) out with columns=", "choose other columns with --column"),
    (r"choose (one )?with columns=", r"choose \1with --column"),
    (r"\b(with_path|dataset|n_jobs|codec) has no use", lambda match: f"--{match[1].replace('_', '-')} has no use"),
    (r"\bcolumns have no use", "--column has no use"),
    (r"\b(?:call|use) mmap_ninja\.(\w+)", r"run `mmap-ninja \1`"),
    (r"name the form, one of", "pass --form, one of"),
    (r"(='[a-z]+') or '([a-z]+)'", r"\1 or \2"),
    (r"\b([a-z_]+)='([a-z]+)'", lambda match: f"--{match[1].replace('_', '-')} {match[2]}"),
)
_NO_DATASET: Final = ("it is not a dataset of mmap_ninja", "is a file, not the directory of a dataset")


def in_shell_words(message: str) -> str:
    """A message of the library, with options and commands where it names parameters and functions."""
    for pattern, replacement in _REPLACED:
        message = re.sub(pattern, replacement, message)
    return message


def said(error: Exception) -> str:
    """What to say of an error: a line, and the first line of each of its notes."""
    text = str(error)
    if isinstance(error, KeyError) and error.args:
        text = str(error.args[0])  # not its repr
    elif isinstance(error, OSError) and error.strerror:
        text = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    elif isinstance(error, MemoryError):
        text = "there is not enough memory"
    elif isinstance(error, NotADatasetError) and text.endswith(_NO_DATASET):
        text += "; choose another path, or make one of it: mmap-ninja convert"
    elif not isinstance(error, _EXPECTED):
        text = f"unexpected {type(error).__name__}: {text}; --debug shows where"
    notes = (note.splitlines()[0].removesuffix(":") for note in getattr(error, "__notes__", ()))
    return in_shell_words("; ".join([text or type(error).__name__, *notes]))
