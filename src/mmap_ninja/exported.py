"""What users see, and pickles name, says that it is of the package, not of a folder in it."""

from typing import TypeVar

T = TypeVar("T")


def exported(named: T) -> T:
    """Let a class or function say that it is of `mmap_ninja`, whose table of names has to have it."""
    named.__module__ = "mmap_ninja"
    return named
