"""`StringsMmap`: a list of `str` on disk."""

from collections.abc import Iterable
from typing import Any, Self

from mmap_ninja.builds.build import IfExists
from mmap_ninja.columns.limits import BATCH_BYTES
from mmap_ninja.engine.dataset import DEFAULT_LOCK_TIMEOUT, Durability
from mmap_ninja.exported import exported
from mmap_ninja.kinds.options import Mode, PathLike
from mmap_ninja.kinds.spans import SpansHandle, check_keys


@exported
class StringsMmap(SpansHandle[str]):
    """A list of strings that lives in a directory, as UTF-8.

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
        >>> texts = mn.StringsMmap.from_strings("reviews", ["good", "bad", "größer"])
        >>> texts[0], texts[-1], len(texts)
        ('good', 'größer', 3)
        >>> texts.append("new")
        >>> texts.take([3, 0])
        ['new', 'good']

    Raises:
        NotADatasetError: if there is something else at the path.
        TypeError: if the dataset is of another kind.
        CorruptDatasetError: if the dataset's files contradict each other.
    """

    _kind = "strings"
    _sample = "text"

    @classmethod
    def from_strings(
        cls,
        out_dir: PathLike,
        strings: Iterable[str],
        mode: Mode | None = None,
        starts_key: str = "starts",
        ends_key: str = "ends",
        verbose: bool = False,
        zstd_level: int | None = None,
        zstd_train_dictionary_size: int | None = None,
        *,
        batch_bytes: int = BATCH_BYTES,
        if_exists: IfExists = "replace",
        metadata: dict[str, Any] | None = None,
        version: str | None = None,
        durability: Durability | None = None,
        lock_timeout: float = DEFAULT_LOCK_TIMEOUT,
    ) -> Self:
        """Store strings that are in memory, and open the dataset.

        With a level, these samples and those appended later are compressed.

        Args:
            out_dir: The dataset's directory; missing parents are created.
            strings: The samples.
            mode: Mode of the returned handle. None: reading needs no write permission, only the first mutation does.
                "r": mutations raise. "c": mutations raise, and arrays are returned as writable copies.
            starts_key: Inherited; any other name raises, since such names only serve to read directories of 0.x.
            ends_key: Inherited; any other name raises, since such names only serve to read directories of 0.x.
            verbose: Whether to show a progress bar.
            zstd_level: Compression level: 1 to 22, usually 3; negative levels are faster. None: samples are not
                compressed, or, if a build is resumed or appended to, as those before them.
            zstd_train_dictionary_size: Maximum size in bytes of a dictionary that is trained on the first batch,
                usually 112640. It makes samples of up to a few kB smaller and faster to read.
            batch_bytes: Bytes with which a batch ends earlier, so that large samples do not fill the memory.
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
            >>> texts = mn.StringsMmap.from_strings("texts", ["good", "bad"], metadata={"source": "web"})
            >>> texts.append("new")
            >>> texts[:], texts.metadata
            (['good', 'bad', 'new'], {'source': 'web'})
        """
        check_keys(starts_key, ends_key)
        return cls.from_generator(
            out_dir,
            strings,
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
        if not isinstance(value, str):
            return None
        try:
            return value.encode()
        except UnicodeEncodeError:  # lone surrogates, which no sample contains
            return None
