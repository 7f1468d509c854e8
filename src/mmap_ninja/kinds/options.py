"""How a handle is opened: options of its constructor, which its views and pickles share."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

from mmap_ninja.engine.dataset import DEFAULT_LOCK_TIMEOUT, Durability
from mmap_ninja.exported import exported
from mmap_ninja.kinds.wrapped import check_wrapper
from mmap_ninja.legacy.layout import Keys

PathLike = str | os.PathLike[str]
Mode = Literal["r", "rb", "r+", "r+b", "c"]
ReadMode = Literal["mmap", "pread"]

_MODES: Final = get_args(Mode)
_WRITABLE_MODES: Final = (None, "r+", "r+b")
_READ_MODES: Final = get_args(ReadMode)
_DURABILITIES: Final = get_args(Durability)


@exported
@dataclass(frozen=True, slots=True)
class HandleOptions:
    """The options of a handle, checked when they are created.

    Args:
        mode: None and "r+": mutations are allowed. "r": they raise. "c": mutations raise, and arrays are writable
            copies.
        durability: What a commit survives when it returns.
        lock_timeout: Seconds to wait for other processes' commits.
        read_mode: How the files are read; None: the best way for their filesystem.
        keys: The names of the index folders of 0.x.
        wrapper_fn: Called with each sample that is returned.
        copy_before_wrapper_fn: Whether `wrapper_fn` gets a writable copy.
        follow_symlinks: Whether files may be symbolic links; then mutations raise.

    Raises:
        TypeError: if `wrapper_fn` is no function.
        ValueError: if a mode or the durability is unknown, or the mode allows mutations through symbolic links.
    """

    mode: Mode | None = None
    durability: Durability = "process"
    lock_timeout: float = DEFAULT_LOCK_TIMEOUT
    read_mode: ReadMode | None = None
    keys: Keys = Keys()  # noqa: RUF009 - immutable
    wrapper_fn: Callable[[Any], Any] | None = None
    copy_before_wrapper_fn: bool = True
    follow_symlinks: bool = False

    def __post_init__(self) -> None:
        if self.mode is not None and self.mode not in _MODES:
            raise ValueError(
                f"mode {self.mode!r} is unknown (expected None, 'r', 'r+' or 'c'; new datasets are made by from_*)"
            )
        check_wrapper(self.wrapper_fn)
        if self.follow_symlinks and self.is_writable:
            raise ValueError(f"mode {self.mode!r}: expected 'r' or 'c' with follow_symlinks=True, which is for reading")
        if self.read_mode is not None and self.read_mode not in _READ_MODES:
            raise ValueError(f"read_mode {self.read_mode!r} is unknown (expected None or one of {_READ_MODES})")
        if self.durability not in _DURABILITIES:
            raise ValueError(f"durability {self.durability!r} is unknown (expected one of {_DURABILITIES})")

    @property
    def is_writable(self) -> bool:
        """Whether mutations are allowed."""
        return self.mode in _WRITABLE_MODES

    @property
    def gives_copies(self) -> bool:
        """Whether arrays are returned, or passed to the wrapper, as copies."""
        return self.mode == "c" or (self.wrapper_fn is not None and self.copy_before_wrapper_fn)
