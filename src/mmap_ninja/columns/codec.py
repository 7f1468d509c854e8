"""Compression of samples: finds libzstd, and caches codecs for the batches and readers of a column.

The kernel calls the stable functions of libzstd in the extension module of the package zstandard, which contains a
whole libzstd. Calls through Python would cost a third more per sample, and block other threads.
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

# Both contain libzstd; `_cffi` exports its functions, `backend_c` only where it is linked dynamically.
_MODULES: Final = ("_cffi", "backend_c")
_CACHED: Final = 16
_PACKAGE: Final = "zstandard"
_MISSING: Final = 'compressed samples need libzstd: pip install "mmap_ninja[zstd]" ({})'


def opened(codec: Zstd, path: str) -> _kernel.Zstd:
    """The kernel's codec, for a dataset at a path.

    Raises:
        ImportError: if libzstd is not installed.
        CorruptDatasetError: if the dictionary is damaged.
    """
    try:
        return _opened(library(), codec.level, codec.dictionary or b"")
    except ImportError as error:
        raise ImportError(f"{path}: {error}") from None
    except ValueError as error:
        raise CorruptDatasetError(
            f"{path}: codec: libzstd refuses it ({error}); restore the dataset from a copy"
        ) from None


@functools.lru_cache(maxsize=_CACHED)  # opening takes a millisecond, most of it for the dictionary
def _opened(path: str, level: int, dictionary: bytes) -> _kernel.Zstd:
    return _kernel.Zstd(path, level, dictionary)


def train(codec: Zstd, payload: bytes | memoryview, ends: bytes, path: str) -> bytes:
    """A dictionary for a codec, trained on the first batch of its column.

    Raises:
        ValueError: if the samples are too few or too short.
    """
    return _kernel.train_zstd(library(), payload, ends, codec.dictionary_size or 0, path)


def library() -> str:
    """The path of the shared library with the functions of libzstd.

    Raises:
        ImportError: if the package that contains it is not installed.
    """
    if sys.modules.get(_PACKAGE, _PACKAGE) is None:
        raise ImportError(_MISSING.format("the package zstandard may not be imported here"))
    return _library(importlib.util.find_spec)


@functools.cache  # the search takes a lock of Python, which an interrupt may leave locked
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
    # Found without importing it, which takes 40 ms.
    package = find(_PACKAGE)
    for folder in (package.submodule_search_locations or ()) if package else ():
        for module in _MODULES:
            for suffix in EXTENSION_SUFFIXES:
                path = Path(folder, module + suffix)
                if path.exists():
                    yield str(path)
