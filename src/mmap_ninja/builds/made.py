"""The result of a chunk of a source's indices, made in this process or in a worker."""

from collections.abc import Callable
from typing import Any, NamedTuple

Parts = tuple[bytes | memoryview | None, ...]  # as in columns.batch, which an idle worker need not import


class Made(NamedTuple):
    """Samples made from consecutive indices, then perhaps the end of the source, or an error."""

    rows: int  # samples in the parts
    parts: Parts | None  # None: they need other columns
    ended: bool = False  # whether the source ends after them
    error: BaseException | None = None  # raised by the index after them


Make = Callable[[Any, int, int], Made]  # arguments: source, start and stop
