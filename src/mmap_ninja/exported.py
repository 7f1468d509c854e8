"""Public names belong to the package, not to a folder in it, for users and for pickles."""

from typing import TypeVar

T = TypeVar("T")


def exported(named: T) -> T:
    """Set the module of a class or function to `mmap_ninja`, whose table of names must contain it."""
    named.__module__ = "mmap_ninja"
    return named
