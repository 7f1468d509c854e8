"""A machine-learning dataset as a list that lives on disk: memory-mapped, appendable, crash-safe.

`StringsMmap`, `BytesMmap`, `ArrayMmap` and `RaggedMmap` are lists of texts, bytes, arrays of one shape, and arrays of
any shape; `RecordsMmap` is a list of dicts. `from_generator` and its like make a dataset, `open` opens any of them.

    >>> import mmap_ninja as mn
    >>> texts = mn.StringsMmap.from_generator("reviews", (line.strip() for line in ["good ", "bad "]))
    >>> texts.append("new")  # survives a crash of this process; after close(), a power loss, too
    >>> mn.open("reviews")[2], mn.open("reviews").take([1, 0])
    ('new', ['bad', 'good'])

`split`, `concat` and `merge` select and join, `verify` and `recover` are for damaged files, `upgrade` for those of 0.x.
"""

TYPE_CHECKING = False  # type checkers treat it as True; importing it from typing takes longer than this whole file

if TYPE_CHECKING:  # the names for type checkers; Python uses the tables below
    from mmap_ninja import base as base
    from mmap_ninja import generic as generic
    from mmap_ninja import numpy as numpy
    from mmap_ninja import parallel as parallel
    from mmap_ninja import ragged as ragged
    from mmap_ninja import string as string
    from mmap_ninja.columns.specs import Array as Array
    from mmap_ninja.columns.specs import Bytes as Bytes
    from mmap_ninja.columns.specs import Json as Json
    from mmap_ninja.columns.specs import Ragged as Ragged
    from mmap_ninja.columns.specs import Scalar as Scalar
    from mmap_ninja.columns.specs import Text as Text
    from mmap_ninja.conversion.convert import convert as convert
    from mmap_ninja.conversion.export import export as export
    from mmap_ninja.errors import CommitUncertainError as CommitUncertainError
    from mmap_ninja.errors import CorruptDatasetError as CorruptDatasetError
    from mmap_ninja.errors import DatasetTruncatedError as DatasetTruncatedError
    from mmap_ninja.errors import ForkedHandleError as ForkedHandleError
    from mmap_ninja.errors import FormatVersionError as FormatVersionError
    from mmap_ninja.errors import IncompleteDatasetWarning as IncompleteDatasetWarning
    from mmap_ninja.errors import LeftoverBytesWarning as LeftoverBytesWarning
    from mmap_ninja.errors import LockTimeoutError as LockTimeoutError
    from mmap_ninja.errors import MmapNinjaError as MmapNinjaError
    from mmap_ninja.errors import NotADatasetError as NotADatasetError
    from mmap_ninja.errors import ReadOnlyError as ReadOnlyError
    from mmap_ninja.errors import StaleHandleError as StaleHandleError
    from mmap_ninja.errors import WorkerError as WorkerError
    from mmap_ninja.kinds.arrays import ArrayMmap as ArrayMmap
    from mmap_ninja.kinds.bytes import BytesMmap as BytesMmap
    from mmap_ninja.kinds.concat import concat as concat
    from mmap_ninja.kinds.document_windows import DocumentWindows as DocumentWindows
    from mmap_ninja.kinds.handle import DatasetHandle as DatasetHandle
    from mmap_ninja.kinds.memmaps import np_append as np_append
    from mmap_ninja.kinds.memmaps import np_extend as np_extend
    from mmap_ninja.kinds.memmaps import np_extend_dir as np_extend_dir
    from mmap_ninja.kinds.memmaps import np_from_generator as np_from_generator
    from mmap_ninja.kinds.memmaps import np_from_ndarray as np_from_ndarray
    from mmap_ninja.kinds.memmaps import np_open_existing as np_open_existing
    from mmap_ninja.kinds.opening import open as open
    from mmap_ninja.kinds.opening import open_existing as open_existing
    from mmap_ninja.kinds.ragged import RaggedMmap as RaggedMmap
    from mmap_ninja.kinds.records import RecordsMmap as RecordsMmap
    from mmap_ninja.kinds.strings import StringsMmap as StringsMmap
    from mmap_ninja.kinds.windows import Windows as Windows
    from mmap_ninja.kinds.wrapped import Wrapped as Wrapped
    from mmap_ninja.legacy.upgrade import upgrade as upgrade
    from mmap_ninja.loading.buckets import Buckets as Buckets
    from mmap_ninja.loading.collate import Pad as Pad
    from mmap_ninja.loading.loader import Loader as Loader
    from mmap_ninja.loading.mixing import mix as mix
    from mmap_ninja.loading.orders import Shuffle as Shuffle
    from mmap_ninja.loading.packing import Packing as Packing
    from mmap_ninja.loading.plans import Batches as Batches
    from mmap_ninja.loading.shared import shared_list as shared_list
    from mmap_ninja.loading.weighted import Weighted as Weighted
    from mmap_ninja.maintenance.merge import merge as merge
    from mmap_ninja.maintenance.recover import Recovery as Recovery
    from mmap_ninja.maintenance.recover import recover as recover
    from mmap_ninja.maintenance.verify import Problem as Problem
    from mmap_ninja.maintenance.verify import Report as Report
    from mmap_ninja.maintenance.verify import verify as verify

    __version__: str
else:
    _INHERITED = ("base", "generic", "numpy", "parallel", "ragged", "string")  # modules of 0.9
    _NAMES = {
        "columns.specs": ("Array", "Bytes", "Json", "Ragged", "Scalar", "Text"),
        "conversion.convert": ("convert",),
        "conversion.export": ("export",),
        "errors": (
            "CommitUncertainError", "CorruptDatasetError", "DatasetTruncatedError", "ForkedHandleError",
            "FormatVersionError", "IncompleteDatasetWarning", "LeftoverBytesWarning", "LockTimeoutError",
            "MmapNinjaError", "NotADatasetError", "ReadOnlyError", "StaleHandleError", "WorkerError",
        ),
        "kinds.arrays": ("ArrayMmap",),
        "kinds.bytes": ("BytesMmap",),
        "kinds.concat": ("concat",),
        "kinds.document_windows": ("DocumentWindows",),
        "kinds.handle": ("DatasetHandle",),
        "kinds.memmaps": (
            "np_append", "np_extend", "np_extend_dir", "np_from_generator", "np_from_ndarray", "np_open_existing",
        ),
        "kinds.opening": ("open", "open_existing"),
        "kinds.ragged": ("RaggedMmap",),
        "kinds.records": ("RecordsMmap",),
        "kinds.strings": ("StringsMmap",),
        "kinds.windows": ("Windows",),
        "kinds.wrapped": ("Wrapped",),
        "legacy.upgrade": ("upgrade",),
        "loading.buckets": ("Buckets",),
        "loading.collate": ("Pad",),
        "loading.loader": ("Loader",),
        "loading.mixing": ("mix",),
        "loading.orders": ("Shuffle",),
        "loading.packing": ("Packing",),
        "loading.plans": ("Batches",),
        "loading.shared": ("shared_list",),
        "loading.weighted": ("Weighted",),
        "maintenance.merge": ("merge",),
        "maintenance.recover": ("Recovery", "recover"),
        "maintenance.verify": ("Problem", "Report", "verify"),
    }  # fmt: skip
    _PICKLED = {  # named in pickles, but not public
        "engine.commit_file": ("Told",),
        "engine.generation": ("Identity",),
        "kinds.options": ("HandleOptions",),
        "kinds.ragged_reading": ("Shapes",),
        "kinds.reading": ("rejoin", "reopen"),
        "kinds.wrapped": ("Mapped",),
        "loading.mixing": ("Mix",),
        "legacy.layout": ("Keys",),
    }
    _MODULES = {name: module for table in (_NAMES, _PICKLED) for module, names in table.items() for name in names}

    __all__ = sorted([*_INHERITED, *sum(_NAMES.values(), ())])  # noqa: PLE0605 - tools read the imports above

    def __dir__() -> list[str]:
        return [*__all__, "__version__"]

    def __getattr__(name: str) -> object:
        """A name, imported on first use, so that unused names, and NumPy, cost nothing."""
        from importlib import import_module  # noqa: PLC0415 - only needed on first use

        if name in _INHERITED:
            return import_module(f"mmap_ninja.{name}")
        if name in _MODULES:
            value = getattr(import_module(f"mmap_ninja.{_MODULES[name]}"), name)
        elif name == "__version__":
            from importlib.metadata import version  # noqa: PLC0415 - takes a third of the time of NumPy

            value = version("mmap_ninja")
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = value
        return value
