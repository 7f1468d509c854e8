"""The inherited namespace of `Wrapped`."""

from mmap_ninja.kinds.wrapped import Wrapped

__all__ = ["Wrapped"]
