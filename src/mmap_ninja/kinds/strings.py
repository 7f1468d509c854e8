"""`StringsMmap`: a list of `str` on disk."""

from collections.abc import Sequence
from typing import Any, Self

from mmap_ninja.builds.build import IfExists
from mmap_ninja.engine.dataset import DEFAULT_LOCK_TIMEOUT, Durability
from mmap_ninja.exported import exported
from mmap_ninja.kinds.handle import Mode, PathLike
from mmap_ninja.kinds.spans import SpansHandle, check_keys


@exported
class StringsMmap(SpansHandle[str]):
    """A list of strings that lives in a directory, as UTF-8.

    Args:
        out_dir: The dataset's directory. If it is missing, the handle is empty, and its first `append` makes it.
        mode: None: reads need no write permission, and the first mutation asks for it. "r": mutations raise.
        starts_key: Inherited: the name of the folder of starts in a directory of 0.x that has another one.
        ends_key: Likewise.
        durability: "process": a commit survives a crash of the process at once, a power loss from the next `flush`
            or `close` on. "machine": every commit waits until it survives both.
        lock_timeout: Seconds to wait for other processes' commits.
        read_mode: "mmap": samples are read over maps of the files. "pread": by system calls, so that a file that is cut
            while it is read, or a medium that goes away, is an error, not the end of the process; arrays are in memory
            of their own then. None: "pread" on network filesystems and FUSE, else "mmap".

    Example:
        >>> texts = StringsMmap.from_strings("reviews", ["good", "bad", "größer"])
        >>> texts[0], texts[-1], len(texts)
        ('good', 'größer', 3)
        >>> texts.append("new")
        >>> texts.take([3, 0])
        ['new', 'good']

    Raises:
        NotADatasetError: if the path holds something else.
        TypeError: if it holds a dataset of another kind.
        CorruptDatasetError: if its files contradict each other.
    """

    _kind = "strings"
    _sample = "text"

    @classmethod
    def from_strings(
        cls,
        out_dir: PathLike,
        strings: Sequence[str],
        mode: Mode | None = None,
        starts_key: str = "starts",
        ends_key: str = "ends",
        verbose: bool = False,
        zstd_level: int | None = None,
        zstd_train_dictionary_size: int | None = None,
        *,
        if_exists: IfExists = "replace",
        metadata: dict[str, Any] | None = None,
        durability: Durability | None = None,
        lock_timeout: float = DEFAULT_LOCK_TIMEOUT,
    ) -> Self:
        """Store strings that are in memory, and open the dataset; the parameters are those of `from_generator`."""
        check_keys(starts_key, ends_key)
        return cls.from_generator(
            out_dir,
            strings,
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
        if not isinstance(value, str):
            return None
        try:
            return value.encode()
        except UnicodeEncodeError:  # a lone surrogate, which no sample has
            return None
