"""A machine-learning dataset as a list that lives on disk: memory-mapped, appendable, crash-safe."""

from importlib.metadata import version as _version

from mmap_ninja.arrays import ArrayMmap
from mmap_ninja.bytes import BytesMmap
from mmap_ninja.errors import (
    CommitUncertainError,
    CorruptDatasetError,
    DatasetTruncatedError,
    ForkedHandleError,
    FormatVersionError,
    IncompleteDatasetWarning,
    LeftoverBytesWarning,
    LockTimeoutError,
    MmapNinjaError,
    NotADatasetError,
    ReadOnlyError,
    StaleHandleError,
)
from mmap_ninja.opening import open
from mmap_ninja.ragged_arrays import RaggedMmap
from mmap_ninja.strings import StringsMmap
from mmap_ninja.upgrading import upgrade

__version__ = _version("mmap_ninja")

__all__ = [
    "ArrayMmap",
    "BytesMmap",
    "CommitUncertainError",
    "CorruptDatasetError",
    "DatasetTruncatedError",
    "ForkedHandleError",
    "FormatVersionError",
    "IncompleteDatasetWarning",
    "LeftoverBytesWarning",
    "LockTimeoutError",
    "MmapNinjaError",
    "NotADatasetError",
    "RaggedMmap",
    "ReadOnlyError",
    "StaleHandleError",
    "StringsMmap",
    "open",
    "upgrade",
]
