"""`BytesMmap`: a list of `bytes` on disk."""

from collections.abc import Iterable
from typing import Any, Self

from mmap_ninja.builds.build import IfExists
from mmap_ninja.columns.limits import BATCH_BYTES
from mmap_ninja.engine.dataset import DEFAULT_LOCK_TIMEOUT, Durability
from mmap_ninja.exported import exported
from mmap_ninja.kinds.options import Mode, PathLike
from mmap_ninja.kinds.spans import SpansHandle


@exported
class BytesMmap(SpansHandle[bytes]):
    """A list of byte strings that lives in a directory, such as encoded images or serialised messages.

    `append` and `extend` also take bytearrays and memoryviews.

    Args:
        out_dir: The dataset's directory. If it is missing, the handle is empty, and its first `append` creates it.
        mode: None: reading needs no write permission, only the first mutation does. "r": mutations raise. "c":
            mutations raise, and arrays are returned as writable copies.
        starts_key: Name of the folder of starts in a directory of 0.x, if it differs.
        ends_key: Name of the folder of ends in a directory of 0.x, if it differs.
        durability: "process": a commit survives a crash of this process at once, and a power loss after the next
            `flush` or `close`. "machine": each commit waits until it survives both.
        lock_timeout: Seconds to wait for other processes' commits.
        read_mode: "mmap": samples are read from memory maps of the files. "pread": system calls read samples into
            memory of their own, so that a file that is truncated meanwhile, or a disk that disappears, raises an error
            instead of killing the process. None: "pread" on network filesystems and FUSE, else "mmap".

    Example:
        >>> import mmap_ninja as mn
        >>> blobs = mn.BytesMmap.from_bytes("blobs", [b"one", b"", b"three"])
        >>> blobs[2], blobs.byte_lengths.tolist()
        (b'three', [3, 0, 5])

    Raises:
        NotADatasetError: if there is something else at the path.
        TypeError: if the dataset is of another kind.
        CorruptDatasetError: if the dataset's files contradict each other.
    """

    _kind = "bytes"
    _sample = "binary"

    @classmethod
    def from_bytes(
        cls,
        out_dir: PathLike,
        samples: Iterable[bytes],
        mode: Mode | None = None,
        verbose: bool = False,
        *,
        batch_bytes: int = BATCH_BYTES,
        zstd_level: int | None = None,
        zstd_train_dictionary_size: int | None = None,
        if_exists: IfExists = "replace",
        metadata: dict[str, Any] | None = None,
        version: str | None = None,
        durability: Durability | None = None,
        lock_timeout: float = DEFAULT_LOCK_TIMEOUT,
    ) -> Self:
        r"""Store byte strings that are in memory, and open the dataset.

        With a level, these samples and those appended later are compressed.

        Args:
            out_dir: The dataset's directory; missing parents are created.
            samples: The samples.
            mode: Mode of the returned handle. None: reading needs no write permission, only the first mutation does.
                "r": mutations raise. "c": mutations raise, and arrays are returned as writable copies.
            verbose: Whether to show a progress bar.
            batch_bytes: Bytes with which a batch ends earlier, so that large samples do not fill the memory.
            zstd_level: Compression level: 1 to 22, usually 3; negative levels are faster. None: samples are not
                compressed, or, if a build is resumed or appended to, as those before them.
            zstd_train_dictionary_size: Maximum size in bytes of a dictionary that is trained on the first batch,
                usually 112640. It makes samples of up to a few kB smaller and faster to read.
            if_exists: What to do if there is a dataset already. "replace": build a new one beside it, then switch;
                samples that others append to the old one meanwhile are lost. "error": raise. "append": add to it.
                "resume": continue an interrupted build: pass all samples again, from the first one; a finished dataset
                is returned as it is, with a warning if the source is longer. "reuse": open a complete dataset of the
                same kind, columns and version; raise if it is another one; wait while another process builds it; go on
                with a build that ended early.
            metadata: A dict to store as JSON; the `metadata` property returns it.
            version: A string to store as `metadata["version"]`; a dataset of another version is not reused, resumed or
                appended to. None: any version will do.
            durability: None: safe against power loss when this returns. "process": do not wait for the disk, unless a
                dataset is replaced; until the next `flush`, opening it after a reboot, or opening a copy, checks all
                that was written. "machine": safe after every batch.
            lock_timeout: Seconds to wait for other processes' commits.

        Raises:
            FileExistsError: if there is a dataset and `if_exists="error"`.
            NotADatasetError: if the path is a file, or a directory with files that do not belong to a dataset.
            TypeError: if a sample has the wrong type.
            ImportError: if a level is given and libzstd is missing: `pip install "mmap_ninja[zstd]"`.
            ValueError: if the samples are too few for a dictionary, or the dataset has another codec.

        Example:
            >>> import mmap_ninja as mn
            >>> blobs = mn.BytesMmap.from_bytes("blobs", [b"\x89PNG", b""])
            >>> blobs[0], len(blobs)
            (b'\x89PNG', 2)
        """
        return cls.from_generator(
            out_dir,
            samples,
            batch_bytes=batch_bytes,
            verbose=verbose,
            mode=mode,
            zstd_level=zstd_level,
            zstd_train_dictionary_size=zstd_train_dictionary_size,
            if_exists=if_exists,
            metadata=metadata,
            version=version,
            durability=durability,
            lock_timeout=lock_timeout,
        )

    def _key_bytes(self, value: object) -> bytes | None:
        return bytes(value) if isinstance(value, bytes | bytearray | memoryview) else None
