"""The names of the files in a dataset's directory."""

import re
from typing import Final

COMMIT: Final = "COMMIT"
LOCK: Final = "LOCK"
BUILD: Final = "BUILD"
UPGRADE: Final = "UPGRADE"
FIRST_OFFSET: Final = bytes(8)

LEGACY_DATA: Final = "data.ninja"  # the payload of an upgraded 0.x directory
FILE_NAME: Final = re.compile(
    r"(?:c(?P<column>[0-9]{1,5})\.(?P<of_column>data|offsets|sizes|shapes|nulls)|(?P<shared>edits|sums))-[0-9]{1,20}"
)
_OWN_NAME: Final = re.compile(
    r"COMMIT|LOCK|BUILD|(?:COMMIT|BUILD|UPGRADE)\.new|UPGRADE|meta-\d+\.json"
    r"|(?:c\d+\.(?:data|offsets|shapes|nulls|sizes)|edits|sums)-\d+"
)
# What file managers, editors, network filesystems and git leave in any directory.
_STRAY_NAME: Final = re.compile(
    r"\.DS_Store|\._.*|Thumbs\.db|desktop\.ini|\.directory|\.nfs.*|\.fuse_hidden.*|\.ipynb_checkpoints"
    r"|\.gitattributes|\.gitignore|\.gitkeep|lost\+found",
    re.IGNORECASE,
)
_GENERATION: Final = re.compile(r"-(\d+)(?:\.json)?$")


def meta_name(generation: int) -> str:
    """Name of the meta file of a generation."""
    return f"meta-{generation}.json"


def is_own_name(name: str) -> bool:
    """Whether a file of this name in a dataset's directory belongs to the dataset."""
    return _OWN_NAME.fullmatch(name) is not None


def is_stray_name(name: str) -> bool:
    """Whether a file of this name may lie in any directory: it neither belongs to a dataset nor makes it foreign."""
    return _STRAY_NAME.fullmatch(name) is not None


def holds_samples(name: str, size: int) -> bool:
    """Whether a file of this name and size holds samples, not only its initial bytes."""
    match = FILE_NAME.fullmatch(name)
    empty = {"data": 0, "offsets": len(FIRST_OFFSET), "sizes": 0, "shapes": 0, "nulls": 0}
    return match is not None and match["of_column"] in empty and size > empty[match["of_column"]]


def generation_of(name: str) -> int | None:
    """The generation for which a file was created, from its name."""
    match = _GENERATION.search(name) if is_own_name(name) else None
    return int(match[1]) if match else None
