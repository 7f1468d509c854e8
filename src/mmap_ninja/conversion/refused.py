"""What is not converted, and why."""

from pathlib import Path
from typing import NoReturn

from mmap_ninja.conversion.source import Wanted


def pickles(path: Path, _: Wanted) -> NoReturn:
    """Files of pickle and of PyTorch."""
    raise ValueError(
        f"{path}: is a pickle, which runs code of whoever wrote it as soon as it is read, so it is not converted; load "
        "it yourself if you trust it, and store its samples: mn.StringsMmap.from_generator(out, samples), or that of "
        "the class for them"
    )
