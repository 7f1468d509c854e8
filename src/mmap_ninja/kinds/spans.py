"""What strings and bytes share: samples that are runs of bytes, which can be read without an object for each."""

import operator
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any, Self, TypeVar

import numpy as np
import numpy.typing as npt

from mmap_ninja._kernel import column_of
from mmap_ninja.builds import build, paced, sources
from mmap_ninja.builds.build import IfExists
from mmap_ninja.columns import codec
from mmap_ninja.columns.types import DICTIONARY_SIZES, LEVELS, Binary, Text, Zstd
from mmap_ninja.engine.dataset import DEFAULT_LOCK_TIMEOUT, Durability
from mmap_ninja.format.meta import first_columns, one_column
from mmap_ninja.kinds.handle import DatasetHandle
from mmap_ninja.kinds.options import HandleOptions, Mode, PathLike, ReadMode
from mmap_ninja.kinds.sequence import Indices
from mmap_ninja.legacy.layout import Keys

T = TypeVar("T")


class SpansHandle(DatasetHandle[T]):
    """A dataset whose samples are runs of bytes."""

    def __init__(
        self,
        out_dir: PathLike,
        mode: Mode | None = None,
        starts_key: str = "starts",
        ends_key: str = "ends",
        *,
        durability: Durability = "process",
        lock_timeout: float = DEFAULT_LOCK_TIMEOUT,
        read_mode: ReadMode | None = None,
    ) -> None:
        super().__init__(out_dir, HandleOptions(mode, durability, lock_timeout, read_mode, Keys(starts_key, ends_key)))

    @classmethod
    def from_generator(
        cls,
        out_dir: PathLike,
        sample_generator: Iterable[T],
        batch_size: int = 1024,
        verbose: bool = False,
        *,
        mode: Mode | None = None,
        zstd_level: int | None = None,
        zstd_train_dictionary_size: int | None = None,
        if_exists: IfExists = "replace",
        total: int | None = None,
        metadata: dict[str, Any] | None = None,
        durability: Durability | None = None,
        lock_timeout: float = DEFAULT_LOCK_TIMEOUT,
    ) -> Self:
        """Store the samples of an iterable, batch by batch, and open the dataset.

        An error in the iterable propagates; the batches before it stay committed, and `if_exists="resume"` goes on
        after them.

        The samples are compressed if a level is given, and so is what is appended later.

        Args:
            out_dir: The dataset's directory; missing parents are made.
            sample_generator: Any iterable of samples.
            batch_size: Samples per commit, at most.
            verbose: Whether to show a progress bar.
            mode: That of the handle that is returned. None: reads need no write permission, and the first mutation asks
                for it. "r": mutations raise. "c": they raise, too, and arrays are given out as writable copies.
            zstd_level: How hard zstd tries: 1 to 22, 3 is usual; negative ones are faster. None: samples are stored as
                they are, or as those before them where a build is resumed or added to.
            zstd_train_dictionary_size: Bytes, at most, of a dictionary that is trained on the first batch. Samples of
                up to a few kB become smaller with one, and are read faster; 112640 is usual.
            if_exists: What to do where there is a dataset already. "replace": build a new one beside it and switch to
                it at the end; what others append to the old one meanwhile goes with it. "error": raise. "append": add
                to it. "resume": go on with an interrupted build, for which the samples start again from the first one;
                a finished dataset is returned as it is.
            total: Number of samples, for the progress bar, where the iterable has no length.
            metadata: What the property of this name gives back: a dict that JSON can hold.
            durability: None: safe against power loss when this returns. "process": without any wait, where no dataset
                is replaced; until a `flush`, each open after a reboot, or of a copy, then checks all that was written.
                "machine": safe after every batch.
            lock_timeout: Seconds to wait for other processes' commits.

        Raises:
            FileExistsError: if there is a dataset and `if_exists="error"`.
            NotADatasetError: if the path is a file, or a directory with files that are no dataset's.
            TypeError: if a sample is of another type; the batches before it stay.
            ImportError: if a level is given, and `pip install "mmap_ninja[zstd]"` is still to be done.
            ValueError: if the first batch is too small for a dictionary, or the dataset is compressed otherwise.
        """
        options = build.Options(batch_size, verbose, if_exists, metadata, durability, lock_timeout)
        column = cls._column(zstd_level, zstd_train_dictionary_size)
        return cls._build(out_dir, sources.Iterated(sample_generator, total), mode, options, one_column(column))

    @classmethod
    def from_indexable(
        cls,
        out_dir: PathLike,
        indexable: sources.Indexable[T] | Callable[[int], T],
        batch_size: int = 1024,
        n_jobs: int | None = None,
        verbose: bool = False,
        *,
        mode: Mode | None = None,
        zstd_level: int | None = None,
        zstd_train_dictionary_size: int | None = None,
        if_exists: IfExists = "replace",
        metadata: dict[str, Any] | None = None,
        durability: Durability | None = None,
        lock_timeout: float = DEFAULT_LOCK_TIMEOUT,
    ) -> Self:
        """Store the samples `indexable[0], indexable[1], ...`, and open the dataset.

        Where it has no `len`, its first IndexError ends it; all its other errors propagate, with a note that names the
        index, and leave what is committed. An interrupted build is resumed at the first missing sample.

        The samples are compressed if a level is given, and so is what is appended later.

        Args:
            out_dir: The dataset's directory; missing parents are made.
            indexable: Samples by position, or a function that gives the sample at a position.
            batch_size: Samples per commit, at most.
            n_jobs: How many worker processes read and encode samples, ahead of this one, which stores them in order:
                None is 1, -1 all CPUs, -2 all but one. The source is sent to each worker once, by cloudpickle, before
                its first sample is read; the work moves there when the measured cost of a sample makes it worthwhile, a
                chunk of samples at a time, and each chunk is one commit. An error leaves all samples before it
                committed.
            verbose: Whether to show a progress bar.
            mode: That of the handle that is returned. None: reads need no write permission, and the first mutation asks
                for it. "r": mutations raise. "c": they raise, too, and arrays are given out as writable copies.
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
            ImportError: if workers are asked for and cloudpickle is missing: `pip install "mmap_ninja[parallel]"`; or
                a level is given and `pip install "mmap_ninja[zstd]"` is still to be done.
            TypeError: if the source cannot be sent to workers, or a sample is of another type.
            ValueError: if the first batch is too small for a dictionary, or the dataset is compressed otherwise.
            WorkerError: if a worker process dies, or its source raises what cannot be sent back.
        """
        options = build.Options(batch_size, verbose, if_exists, metadata, durability, lock_timeout)
        column = cls._column(zstd_level, zstd_train_dictionary_size)
        return cls._build(out_dir, paced.indexed(indexable, n_jobs, options), mode, options, one_column(column))

    @classmethod
    def _column(cls, level: int | None, dictionary_size: int | None) -> Text | Binary:
        """The type of the column of an empty dataset, which is compressed if there is a level."""
        column = first_columns(cls._kind)[0].type
        assert isinstance(column, Text | Binary)  # noqa: S101 - for the type checker
        if level is None:
            if dictionary_size is not None:
                raise ValueError("zstd_train_dictionary_size: needs a zstd_level, too")
            return column
        for name, value, (least, greatest) in (
            ("zstd_level", level, LEVELS),
            ("zstd_train_dictionary_size", dictionary_size, DICTIONARY_SIZES),
        ):
            if value is not None and not least <= operator.index(value) <= greatest:
                raise ValueError(f"{name} {value}: expected {least} to {greatest}")
        codec.library()  # what is missing must not leave a dataset behind
        size = None if dictionary_size is None else operator.index(dictionary_size)
        return replace(column, codec=Zstd(operator.index(level), size))

    def take_jagged(self, indices: Indices) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
        """The bytes of many samples back to back, without an object for each: what a tokenizer wants.

        Args:
            indices: Integers in any order and number, negative ones counted from the end; a boolean mask; a slice.

        Returns:
            `(values, offsets)`: uint8 `[total]` and int64 `[len(indices) + 1]`, both owned and writable. Sample k is
            `values[offsets[k]:offsets[k + 1]]`.

        Raises:
            IndexError: if an index is out of range.
        """
        return self._take_jagged(indices)

    def _key_bytes(self, value: object) -> bytes | None:
        """The stored form of a sample, or None for a value that no sample can be."""
        raise NotImplementedError

    def _matches(self, value: object, start: int, stop: int) -> Iterator[int]:
        wanted, column = self._key_bytes(value), column_of(self)
        while wanted is not None and (start := column.find(wanted, start, stop)) >= 0:
            yield start
            start += 1

    @property
    def byte_lengths(self) -> npt.NDArray[np.int64]:
        """Bytes of each sample, decompressed if it is compressed: int64 `[n]`, a new array."""
        return column_of(self).sizes()

    @property
    def starts(self) -> npt.NDArray[np.uint64]:
        """Where each sample starts in the payload, in bytes: uint64 `[n]`, read-only, over the map."""
        return column_of(self).bounds()[0]

    @property
    def ends(self) -> npt.NDArray[np.uint64]:
        """Where each sample ends in the payload, in bytes: uint64 `[n]`, read-only, over the map."""
        return column_of(self).bounds()[1]


def check_keys(*keys: str) -> None:
    """Raise ValueError for other keys than the default: they named the index folders of 0.x."""
    if keys != Keys()[: len(keys)]:
        raise ValueError(f"keys {keys}: expected {Keys()[: len(keys)]}; other names are for reading directories of 0.x")
