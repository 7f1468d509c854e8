"""Public names belong to the package, not to a folder in it, for users and for pickles."""

import sys
from typing import Any, TypeVar, cast

T = TypeVar("T")


def exported(named: T) -> T:
    """Set the module of a class or function to `mmap_ninja`, whose table of names must contain it."""
    named.__module__ = "mmap_ninja"
    # Found there without running code: an interrupt in the middle of a lookup comes out of pickle as another error.
    vars(sys.modules["mmap_ninja"])[cast("Any", named).__name__] = named
    return named
