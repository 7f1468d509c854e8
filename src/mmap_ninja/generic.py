"""The inherited namespace of `open_existing`."""

from mmap_ninja.kinds.opening import open_existing

__all__ = ["open_existing"]
