"""The inherited namespace of `RaggedMmap`."""

from mmap_ninja.kinds.ragged import RaggedMmap

__all__ = ["RaggedMmap"]
