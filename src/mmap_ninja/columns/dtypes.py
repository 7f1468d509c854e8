"""NumPy dtypes as JSON, without loss of byte order, fields or units; and back, from untrusted files."""

import importlib
import re
from typing import Any, Final

import numpy as np

DType = np.dtype[Any]

_PLAIN: Final = re.compile(r"[<|>](?:b1|[iu][1248]|f(?:2|4|8|12|16)|c(?:8|16|24|32)|[SUV][1-9][0-9]{0,8})")
_DATED: Final = re.compile(r"[<>][mM]8(?:\[(?:[1-9][0-9]{0,8})?(?:Y|M|W|D|h|m|s|ms|us|ns|ps|fs|as)\])?")
# Types of the package ml_dtypes, which NumPy itself sees as raw bytes.
_ML_DTYPE: Final = re.compile(r"(?:bfloat16|float[468]_[a-z0-9]{3,12}|u?int[24])")
_DEPTH: Final = 8
_MOST_FIELDS: Final = 1000


def encode_dtype(dtype: DType) -> Any:
    """A dtype as JSON: a string, or a list of fields.

    Raises:
        TypeError: if its values cannot be stored as bytes.
    """
    if dtype.hasobject:
        raise TypeError(
            f"dtype {dtype} holds Python objects, which cannot be stored; convert them to numbers, str or bytes"
        )
    if dtype.itemsize == 0:
        raise TypeError(f"dtype {dtype} has an item size of 0 bytes; choose one with a size")
    if dtype.fields is None and dtype.subdtype is None and dtype.type.__module__.partition(".")[0] == "ml_dtypes":
        return dtype.name
    descr = np.lib.format.dtype_to_descr(dtype)
    if decode_dtype(_as_lists(descr)) != dtype:
        raise TypeError(f"dtype {dtype} cannot be stored; convert to a standard dtype")
    return _as_lists(descr)


def decode_dtype(document: Any) -> DType:
    """The dtype that `encode_dtype` wrote.

    Raises:
        ValueError: if it is not such a document.
        ImportError: if the dtype is from ml_dtypes, and that is not installed.
    """
    if isinstance(document, str) and _ML_DTYPE.fullmatch(document):
        dtype = ml_dtype(document)
    else:
        dtype = np.lib.format.descr_to_dtype(_descr(document, 0))
    if dtype.itemsize == 0:
        raise ValueError(f"dtype {document!r:.80} with an item size of 0 bytes")
    return dtype


def ml_dtype(name: str) -> DType:
    """A dtype of the package ml_dtypes.

    Raises:
        ImportError: if that is not installed, or too old to know it.
    """
    try:
        ml_dtypes = importlib.import_module("ml_dtypes")
    except ImportError:
        raise ImportError(f'dtype {name} is one of the package ml_dtypes: pip install "mmap_ninja[dtypes]"') from None
    if not hasattr(ml_dtypes, name):
        raise ImportError(f"dtype {name} is not in this version of ml_dtypes; pip install -U ml_dtypes")
    dtype: DType = np.dtype(getattr(ml_dtypes, name))
    return dtype


def _as_lists(descr: Any) -> Any:
    return [_as_lists(part) for part in descr] if isinstance(descr, list | tuple) else descr


def _descr(document: Any, depth: int) -> Any:
    if isinstance(document, str):
        if _PLAIN.fullmatch(document) or _DATED.fullmatch(document):
            return document
    elif isinstance(document, list) and depth < _DEPTH and 0 < len(document) <= _MOST_FIELDS:
        return [_field(field, depth) for field in document]
    raise ValueError(f"dtype {document!r:.80}")


def _field(field: Any, depth: int) -> tuple[Any, ...]:
    if not isinstance(field, list) or len(field) not in (2, 3):
        raise ValueError(f"field {field!r:.80}")
    name, descr, *shape = field
    if isinstance(name, list) and len(name) == 2 and all(isinstance(part, str) for part in name):
        name = tuple(name)  # title and name
    elif not isinstance(name, str):
        raise ValueError(f"field name {name!r:.80}")
    if not shape:
        return name, _descr(descr, depth + 1)
    extents = shape[0]
    if not isinstance(extents, list) or not all(type(e) is int and 0 <= e < 1 << 31 for e in extents):
        raise ValueError(f"field shape {extents!r:.80}")
    return name, _descr(descr, depth + 1), tuple(extents)
