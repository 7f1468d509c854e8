"""A machine-learning dataset as a list that lives on disk: memory-mapped, appendable, crash-safe."""

from typing import TYPE_CHECKING

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

if TYPE_CHECKING:
    __version__: str
else:

    def __getattr__(name: str) -> str:
        if name != "__version__":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib.metadata import version  # noqa: PLC0415 - as slow an import as a third of NumPy

        return version("mmap_ninja")


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
