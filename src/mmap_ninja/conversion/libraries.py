"""The libraries of formats: extras, imported on use."""

from importlib import import_module
from pathlib import Path
from typing import Any


def imported(name: str, extra: str, path: Path) -> Any:
    """A library, for the file at a path.

    Raises:
        ImportError: if it is not installed; the message names the extra.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise ImportError(f'{path}: needs {name}: pip install "mmap_ninja[{extra}]" ({error})') from None
