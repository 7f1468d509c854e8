"""The systems that keep records of four columns: an image, a text, a label, a row of tokens."""

from systems.records.protocol import SYSTEMS, Records, consume, load

__all__ = ["SYSTEMS", "Records", "consume", "load"]
