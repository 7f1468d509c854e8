"""What comes of a chunk of a source's indices, in this process or in a worker."""

from collections.abc import Callable
from typing import Any, NamedTuple

Parts = tuple[bytes | memoryview | None, ...]  # as in columns.batch, which a worker that idles does without


class Made(NamedTuple):
    """What came of the indices from `start` on: samples, then perhaps an end or an error."""

    rows: int  # that the parts hold
    parts: Parts | None  # None: they cannot be made here
    ended: bool = False  # whether the source has nothing after them
    error: BaseException | None = None  # what the index after them raised


Make = Callable[[Any, int, int], Made]  # of the source, start and stop
