"""The inherited namespace of `StringsMmap`."""

from mmap_ninja.kinds.strings import StringsMmap

__all__ = ["StringsMmap"]
