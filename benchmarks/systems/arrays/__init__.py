"""One adapter per measured system of arrays, all behind the same small protocol."""

from systems.arrays.protocol import SYSTEMS, Rows, Store, System, load

__all__ = ["SYSTEMS", "Rows", "Store", "System", "load"]
