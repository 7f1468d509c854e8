"""Samples for pyarrow and whatever else speaks Arrow, and from there."""
