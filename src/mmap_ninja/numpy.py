"""The inherited namespace of the functions for arrays of one shape."""

from mmap_ninja.kinds.memmaps import append, extend, extend_dir, from_generator, from_ndarray, open_existing

__all__ = ["append", "extend", "extend_dir", "from_generator", "from_ndarray", "open_existing"]
