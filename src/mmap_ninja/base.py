"""The inherited namespace of `Wrapped`."""

from mmap_ninja.wrapped import Wrapped

__all__ = ["Wrapped"]
