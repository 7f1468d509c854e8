"""The inherited namespace of `RaggedMmap`."""

from mmap_ninja.ragged_arrays import RaggedMmap

__all__ = ["RaggedMmap"]
