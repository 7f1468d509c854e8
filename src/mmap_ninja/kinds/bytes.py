"""`BytesMmap`: a list of `bytes` on disk."""

from collections.abc import Sequence
from typing import Any, Self

from mmap_ninja.builds.build import IfExists
from mmap_ninja.engine.dataset import DEFAULT_LOCK_TIMEOUT, Durability
from mmap_ninja.exported import exported
from mmap_ninja.kinds.handle import Mode, PathLike
from mmap_ninja.kinds.spans import SpansHandle


@exported
class BytesMmap(SpansHandle[bytes]):
    """A list of byte strings that lives in a directory: encoded images, serialised messages.

    The parameters are those of `StringsMmap`; `append` and `extend` also take bytearrays and memoryviews.

    Example:
        >>> blobs = BytesMmap.from_bytes("blobs", [b"one", b"", b"three"])
        >>> blobs[2], blobs.byte_lengths.tolist()
        (b'three', [3, 0, 5])
    """

    _kind = "bytes"
    _sample = "binary"

    @classmethod
    def from_bytes(
        cls,
        out_dir: PathLike,
        samples: Sequence[bytes],
        mode: Mode | None = None,
        verbose: bool = False,
        *,
        zstd_level: int | None = None,
        zstd_train_dictionary_size: int | None = None,
        if_exists: IfExists = "replace",
        metadata: dict[str, Any] | None = None,
        durability: Durability | None = None,
        lock_timeout: float = DEFAULT_LOCK_TIMEOUT,
    ) -> Self:
        """Store byte strings that are in memory, and open the dataset; parameters as for `from_generator`."""
        return cls.from_generator(
            out_dir,
            samples,
            verbose=verbose,
            mode=mode,
            zstd_level=zstd_level,
            zstd_train_dictionary_size=zstd_train_dictionary_size,
            if_exists=if_exists,
            metadata=metadata,
            durability=durability,
            lock_timeout=lock_timeout,
        )

    def _key_bytes(self, value: object) -> bytes | None:
        return bytes(value) if isinstance(value, bytes | bytearray | memoryview) else None
