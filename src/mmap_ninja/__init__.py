"""A machine-learning dataset as a list that lives on disk: memory-mapped, appendable, crash-safe."""

from typing import TYPE_CHECKING

from mmap_ninja import base, generic, numpy, parallel, ragged, string
from mmap_ninja.columns.specs import Array, Bytes, Json, Ragged, Scalar, Text
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
    WorkerError,
)
from mmap_ninja.kinds.arrays import ArrayMmap
from mmap_ninja.kinds.bytes import BytesMmap
from mmap_ninja.kinds.concat import Concat, concat
from mmap_ninja.kinds.memmaps import append as np_append
from mmap_ninja.kinds.memmaps import extend as np_extend
from mmap_ninja.kinds.memmaps import extend_dir as np_extend_dir
from mmap_ninja.kinds.memmaps import from_generator as np_from_generator
from mmap_ninja.kinds.memmaps import from_ndarray as np_from_ndarray
from mmap_ninja.kinds.memmaps import open_existing as np_open_existing
from mmap_ninja.kinds.opening import open, open_existing
from mmap_ninja.kinds.ragged import RaggedMmap
from mmap_ninja.kinds.records import RecordsMmap
from mmap_ninja.kinds.strings import StringsMmap
from mmap_ninja.kinds.wrapped import Wrapped
from mmap_ninja.legacy.upgrade import upgrade
from mmap_ninja.maintenance.merge import merge
from mmap_ninja.maintenance.recover import Recovery, recover
from mmap_ninja.maintenance.verify import Problem, Report, verify

if TYPE_CHECKING:
    __version__: str
else:

    def __getattr__(name: str) -> str:
        if name != "__version__":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib.metadata import version  # noqa: PLC0415 - as slow an import as a third of NumPy

        return version("mmap_ninja")


__all__ = [
    "Array",
    "ArrayMmap",
    "Bytes",
    "BytesMmap",
    "CommitUncertainError",
    "Concat",
    "CorruptDatasetError",
    "DatasetTruncatedError",
    "ForkedHandleError",
    "FormatVersionError",
    "IncompleteDatasetWarning",
    "Json",
    "LeftoverBytesWarning",
    "LockTimeoutError",
    "MmapNinjaError",
    "NotADatasetError",
    "Problem",
    "Ragged",
    "RaggedMmap",
    "ReadOnlyError",
    "RecordsMmap",
    "Recovery",
    "Report",
    "Scalar",
    "StaleHandleError",
    "StringsMmap",
    "Text",
    "WorkerError",
    "Wrapped",
    "base",
    "concat",
    "generic",
    "merge",
    "np_append",
    "np_extend",
    "np_extend_dir",
    "np_from_generator",
    "np_from_ndarray",
    "np_open_existing",
    "numpy",
    "open",
    "open_existing",
    "parallel",
    "ragged",
    "recover",
    "string",
    "upgrade",
    "verify",
]
