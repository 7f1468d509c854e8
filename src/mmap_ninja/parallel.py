"""The inherited namespace of `make_indexable`."""

from mmap_ninja.builds.sources import make_indexable

__all__ = ["make_indexable"]
