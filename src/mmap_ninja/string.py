"""The inherited namespace of `StringsMmap`."""

from mmap_ninja.strings import StringsMmap

__all__ = ["StringsMmap"]
