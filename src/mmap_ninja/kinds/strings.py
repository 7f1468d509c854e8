"""`StringsMmap`: a list of `str` on disk."""

from collections.abc import Sequence
from typing import Any, Self

from mmap_ninja.builds.build import IfExists
from mmap_ninja.engine.dataset import DEFAULT_LOCK_TIMEOUT, Durability
from mmap_ninja.exported import exported
from mmap_ninja.kinds.options import Mode, PathLike
from mmap_ninja.kinds.spans import SpansHandle, check_keys


@exported
class StringsMmap(SpansHandle[str]):
    """A list of strings that lives in a directory, as UTF-8.

    Args:
        out_dir: The dataset's directory. If it is missing, the handle is empty, and its first `append` makes it.
        mode: None: reads need no write permission, and the first mutation asks for it. "r": mutations raise. "c": they
            raise, too, and arrays are given out as writable copies.
        starts_key: The folder of starts in a directory of 0.x, where it has another name.
        ends_key: The folder of ends in a directory of 0.x, where it has another name.
        durability: "process": a commit survives a crash of the process at once, a power loss from the next `flush` or
            `close` on. "machine": every commit waits until it survives both.
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
        """Store strings that are in memory, and open the dataset.

        The samples are compressed if a level is given, and so is what is appended later.

        Args:
            out_dir: The dataset's directory; missing parents are made.
            strings: The samples.
            mode: That of the handle that is returned. None: reads need no write permission, and the first mutation asks
                for it. "r": mutations raise. "c": they raise, too, and arrays are given out as writable copies.
            starts_key: Inherited; another name raises: such names are for reading directories of 0.x.
            ends_key: Inherited; another name raises: such names are for reading directories of 0.x.
            verbose: Whether to show a progress bar.
            zstd_level: How hard zstd tries: 1 to 22, 3 is usual; negative ones are faster. None: samples are stored as
                they are, or as those before them where a build is resumed or added to.
            zstd_train_dictionary_size: Bytes, at most, of a dictionary that is trained on the first batch. Samples of
                up to a few kB become smaller with one, and are read faster; 112640 is usual.
            if_exists: What to do where there is a dataset already. "replace": build a new one beside it and switch to
                it at the end; what others append to the old one meanwhile goes with it. "error": raise. "append": add
                to it. "resume": go on with an interrupted build, for which the samples start again from the first one;
                a finished dataset is returned as it is.
            metadata: What the property of this name gives back: a dict that JSON can hold.
            durability: None: safe against power loss when this returns. "process": without any wait, where no dataset
                is replaced; until a `flush`, each open after a reboot, or of a copy, then checks all that was written.
                "machine": safe after every batch.
            lock_timeout: Seconds to wait for other processes' commits.

        Raises:
            FileExistsError: if there is a dataset and `if_exists="error"`.
            NotADatasetError: if the path is a file, or a directory with files that are no dataset's.
            TypeError: if a sample is of another type.
            ImportError: if a level is given, and `pip install "mmap_ninja[zstd]"` is still to be done.
            ValueError: if the samples are too few for a dictionary, or the dataset is compressed otherwise.
        """
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
