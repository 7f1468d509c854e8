"""JSON values: which ones are stored, and how."""

import json
from typing import Any

import numpy as np


def as_json(value: Any, where: str, number: int) -> str:
    """A value as JSON from which an equal value is read; a tuple is stored as the list of its items.

    Raises:
        TypeError: if JSON cannot hold it.
        ValueError: if it contains NaN or infinity, or is nested too deep.
    """
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        read = json.loads(text)
        same = read == value or read == without_tuples(value)
    except (TypeError, ValueError, RecursionError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"{where}: sample {number}: {_told(value, error)}") from None
    if not same:
        raise TypeError(
            f"{where}: sample {number}: JSON would change the value; nothing of this batch was stored: use str keys, "
            "and lists instead of named tuples"
        )
    return text


def without_tuples(value: Any) -> Any:
    """A value with lists in place of its tuples; named ones stay, since their names would be lost."""
    if type(value) in (list, tuple):
        return [without_tuples(item) for item in value]
    return {key: without_tuples(item) for key, item in value.items()} if type(value) is dict else value


def _told(value: Any, error: Exception) -> str:
    """Why a value cannot be stored, and what to do."""
    lost = "nothing of this batch was stored"
    items = value if isinstance(value, list | tuple) else ()
    if items and all(isinstance(item, bytes | bytearray | memoryview) for item in items):
        return (
            f"a list of bytes, which no column holds yet; {lost}: store b''.join(items) in a Bytes() column and their "
            "lengths in a Ragged('int64') column, or make each item a sample"
        )
    if items and all(hasattr(item, "__array__") and np.ndim(item) for item in items):
        return (
            f"a list of arrays of several shapes, which no column holds yet; {lost}: store their elements in one "
            "Ragged() column and their shapes in another, or make each array a sample"
        )
    found = _foreign(value, "") if isinstance(error, TypeError) else None
    if found is None:
        return f"{error}; {lost}"
    place, part = found
    what = f"a value of type {type(part).__name__}" + (f" at {place}" if place else "")
    remedy = "convert it with .tolist()" if hasattr(part, "tolist") else "convert it, or give it a column of its own"
    return f"{what}, which JSON does not hold; {lost}: {remedy}"


def _foreign(value: Any, place: str) -> tuple[str, Any] | None:
    """The first part of a value that JSON does not hold, and where it is; None if there is none."""
    if value is None or isinstance(value, str | int | float):
        return None
    if isinstance(value, dict):
        inner = [(f"{place}[{key!r:.80}]", item) for key, item in value.items()]
    elif isinstance(value, list | tuple):
        inner = [(f"{place}[{key}]", item) for key, item in enumerate(value)]
    else:
        return place, value
    return next((found for at, item in inner if (found := _foreign(item, at))), None)
