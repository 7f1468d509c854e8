"""One adapter per measured system, all behind the same small protocol."""

from systems.protocol import SYSTEMS, Handle, System, load

__all__ = ["SYSTEMS", "Handle", "System", "load"]
