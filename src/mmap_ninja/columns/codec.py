"""Compression of samples: which libzstd is used, and what of it the batches and readers of a column share.

The kernel calls libzstd's stable functions in the extension module that the package zstandard ships, which carries a
whole libzstd; calls through Python would cost a third more per sample, and hold other threads up.
"""

import functools
import importlib.util
import sys
from collections.abc import Callable, Iterator
from importlib.machinery import EXTENSION_SUFFIXES, ModuleSpec
from pathlib import Path
from typing import Final

from mmap_ninja import _kernel
from mmap_ninja.columns.types import Zstd
from mmap_ninja.errors import CorruptDatasetError

# Both are built over libzstd; `_cffi` makes its functions visible, and `backend_c` where it is linked dynamically.
_MODULES: Final = ("_cffi", "backend_c")
_CACHED: Final = 16
_PACKAGE: Final = "zstandard"
_MISSING: Final = 'compressed samples need libzstd: pip install "mmap_ninja[zstd]" ({})'


def opened(codec: Zstd, path: str) -> _kernel.Zstd:
    """The codec as the kernel knows it, of a dataset at a path.

    Raises:
        ImportError: if the package that it needs is not installed.
        CorruptDatasetError: if its dictionary is damaged.
    """
    try:
        return _opened(library(), codec.level, codec.dictionary or b"")
    except ImportError as error:
        raise ImportError(f"{path}: {error}") from None
    except ValueError as error:
        raise CorruptDatasetError(f"{path}: its codec cannot be used ({error}); restore it from a copy") from None


@functools.lru_cache(maxsize=_CACHED)  # opening takes a millisecond, most of it for the dictionary
def _opened(path: str, level: int, dictionary: bytes) -> _kernel.Zstd:
    return _kernel.Zstd(path, level, dictionary)


def train(codec: Zstd, payload: bytes | memoryview, ends: bytes, path: str) -> bytes:
    """The dictionary that a codec wants, made of its column's first batch.

    Raises:
        ValueError: if the samples are too few or too short for one.
    """
    return _kernel.train_zstd(library(), payload, ends, codec.dictionary_size or 0, path)


def library() -> str:
    """The shared library with the functions of libzstd.

    Raises:
        ImportError: if the package that ships it is not installed.
    """
    if sys.modules.get(_PACKAGE, _PACKAGE) is None:
        raise ImportError(_MISSING.format("the package zstandard may not be imported here"))
    return _library(importlib.util.find_spec)


@functools.cache  # looking for it takes a lock of Python's, which an interrupt may leave taken
def _library(find: Callable[[str], ModuleSpec | None]) -> str:
    reason = "the package zstandard is not installed"
    for path in _candidates(find):
        try:
            _opened(path, 0, b"")
        except ImportError as error:
            reason = str(error)
        else:
            return path
    raise ImportError(_MISSING.format(reason))


def _candidates(find: Callable[[str], ModuleSpec | None]) -> Iterator[str]:
    # Looked for, not imported: that takes 40 ms, and nothing of it is called.
    package = find(_PACKAGE)
    for folder in (package.submodule_search_locations or ()) if package else ():
        for module in _MODULES:
            for suffix in EXTENSION_SUFFIXES:
                path = Path(folder, module + suffix)
                if path.exists():
                    yield str(path)
