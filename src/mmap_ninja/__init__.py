"""A machine-learning dataset as a list that lives on disk: memory-mapped, appendable, crash-safe."""

from importlib.metadata import version as _version

from mmap_ninja.bytes import BytesMmap
from mmap_ninja.errors import (
    CommitUncertainError,
    CorruptDatasetError,
    DatasetTruncatedError,
    ForkedHandleError,
    FormatVersionError,
    IncompleteDatasetWarning,
    LockTimeoutError,
    MmapNinjaError,
    NotADatasetError,
    ReadOnlyError,
    StaleHandleError,
    WorkerError,
)
from mmap_ninja.opening import open
from mmap_ninja.strings import StringsMmap

__version__ = _version("mmap_ninja")

__all__ = [
    "BytesMmap",
    "CommitUncertainError",
    "CorruptDatasetError",
    "DatasetTruncatedError",
    "ForkedHandleError",
    "FormatVersionError",
    "IncompleteDatasetWarning",
    "LockTimeoutError",
    "MmapNinjaError",
    "NotADatasetError",
    "ReadOnlyError",
    "StaleHandleError",
    "StringsMmap",
    "WorkerError",
    "open",
]
