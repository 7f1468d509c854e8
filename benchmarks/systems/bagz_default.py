"""Bagz with the thread pool that it has by default."""

from pathlib import Path

from systems.bagz_file import BATCH_TYPE, DISTRIBUTION, Handle, build

__all__ = ["BATCH_TYPE", "DISTRIBUTION", "LIMITS", "SETTINGS", "build", "open"]

SETTINGS = "as `bagz`, but with its default `max_parallelism=100`"
LIMITS = {"batches": 25_600, "jagged": 25_600}


def open(path: Path) -> Handle:
    return Handle(path, max_parallelism=100)
