"""The inherited namespace of the functions for arrays of one shape."""

from mmap_ninja.kinds.memmaps import np_append as append
from mmap_ninja.kinds.memmaps import np_extend as extend
from mmap_ninja.kinds.memmaps import np_extend_dir as extend_dir
from mmap_ninja.kinds.memmaps import np_from_generator as from_generator
from mmap_ninja.kinds.memmaps import np_from_ndarray as from_ndarray
from mmap_ninja.kinds.memmaps import np_open_existing as open_existing

__all__ = ["append", "extend", "extend_dir", "from_generator", "from_ndarray", "open_existing"]
