"""What strings and bytes share: samples are runs of bytes, and can be read without an object for each."""

import operator
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any, Self, TypeVar

import numpy as np
import numpy.typing as npt

from mmap_ninja._kernel import column_of
from mmap_ninja.builds import paced, sources
from mmap_ninja.builds.build import IfExists, Options
from mmap_ninja.columns import codec
from mmap_ninja.columns.limits import BATCH_BYTES
from mmap_ninja.columns.types import DICTIONARY_SIZES, LEVELS, Binary, Text, Zstd
from mmap_ninja.engine.dataset import DEFAULT_LOCK_TIMEOUT, Durability
from mmap_ninja.format.meta import first_columns, one_column
from mmap_ninja.kinds.comparing import Compare, Comparing, Mask, except_nulls
from mmap_ninja.kinds.handle import DatasetHandle
from mmap_ninja.kinds.nulls import BY_COLUMN
from mmap_ninja.kinds.options import HandleOptions, Mode, PathLike, ReadMode
from mmap_ninja.kinds.sequence import Indices
from mmap_ninja.legacy.layout import Keys

T = TypeVar("T")
DTypeLike = npt.DTypeLike


class SpansHandle(Comparing, DatasetHandle[T]):
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
        batch_bytes: int = BATCH_BYTES,
        mode: Mode | None = None,
        zstd_level: int | None = None,
        zstd_train_dictionary_size: int | None = None,
        if_exists: IfExists = "replace",
        total: int | None = None,
        metadata: dict[str, Any] | None = None,
        version: str | None = None,
        durability: Durability | None = None,
        lock_timeout: float = DEFAULT_LOCK_TIMEOUT,
    ) -> Self:
        r"""Store the samples of an iterable, batch by batch, and open the dataset.

        An error in the iterable propagates and names the index of the sample. The batches before it stay committed, and
        `if_exists="resume"` continues after them.

        With a level, these samples and those appended later are compressed.

        Args:
            out_dir: The dataset's directory; missing parents are created.
            sample_generator: Any iterable of samples.
            batch_size: Samples per commit, at most.
            verbose: Whether to show a progress bar.
            batch_bytes: Bytes with which a batch ends earlier, so that large samples do not fill the memory.
            mode: Mode of the returned handle. None: reading needs no write permission, only the first mutation does.
                "r": mutations raise. "c": mutations raise, and arrays are returned as writable copies.
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
            total: Number of samples, for the progress bar, if the iterable has no length.
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
            TypeError: if a sample has the wrong type; the batches before it stay.
            ImportError: if a level is given and libzstd is missing: `pip install "mmap_ninja[zstd]"`.
            ValueError: if the first batch is too small for a dictionary, or the dataset has another codec.

        Example:
            >>> import mmap_ninja as mn
            >>> with open("texts.txt", "w") as file:
            ...     print("good", "bad", sep="\n", file=file)
            >>> with open("texts.txt") as file:
            ...     texts = mn.StringsMmap.from_generator("texts", map(str.strip, file))
            >>> texts[:]
            ['good', 'bad']
        """
        options = Options(batch_size, batch_bytes, verbose, if_exists, metadata, durability, lock_timeout, version)
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
        batch_bytes: int = BATCH_BYTES,
        mode: Mode | None = None,
        zstd_level: int | None = None,
        zstd_train_dictionary_size: int | None = None,
        if_exists: IfExists = "replace",
        metadata: dict[str, Any] | None = None,
        version: str | None = None,
        durability: Durability | None = None,
        lock_timeout: float = DEFAULT_LOCK_TIMEOUT,
    ) -> Self:
        """Store the samples `indexable[0], indexable[1], ...`, and open the dataset.

        Without `len`, the first IndexError ends it. All other errors propagate and name the index; what is
        committed stays. An interrupted build resumes at the first missing sample.

        With a level, these samples and those appended later are compressed.

        Args:
            out_dir: The dataset's directory; missing parents are created.
            indexable: Samples by position, or a function that gives the sample at a position.
            batch_size: Samples per commit, at most.
            n_jobs: Number of worker processes that read and encode samples ahead; this process stores them in order.
                None is 1, -1 all CPUs, -2 all but one. cloudpickle sends the source to each worker once, before its
                first sample is read. Work moves to the workers when the measured cost of a sample makes that
                worthwhile, a chunk of samples at a time; each chunk is one commit. After an error, all samples before
                it are committed.
            verbose: Whether to show a progress bar.
            batch_bytes: Bytes with which a batch ends earlier, so that large samples do not fill the memory.
            mode: Mode of the returned handle. None: reading needs no write permission, only the first mutation does.
                "r": mutations raise. "c": mutations raise, and arrays are returned as writable copies.
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
            ImportError: if workers are asked for and cloudpickle is missing: `pip install "mmap_ninja[parallel]"`; or
                if a level is given and libzstd is missing: `pip install "mmap_ninja[zstd]"`.
            TypeError: if the source cannot be pickled for workers, or a sample has the wrong type.
            ValueError: if the first batch is too small for a dictionary, or the dataset has another codec.
            WorkerError: if a worker process dies, or its source raises an exception that cannot be pickled.

        Example:
            >>> import mmap_ninja as mn
            >>> from pathlib import Path
            >>> _ = Path("a.txt").write_text("good"), Path("b.txt").write_text("bad")
            >>> paths = sorted(Path().glob("*.txt"))
            >>> source = mn.parallel.make_indexable(lambda index: paths[index].read_text(), length=len(paths))
            >>> mn.StringsMmap.from_indexable("texts", source, n_jobs=2)[:]
            ['good', 'bad']
        """
        options = Options(batch_size, batch_bytes, verbose, if_exists, metadata, durability, lock_timeout, version)
        column = cls._column(zstd_level, zstd_train_dictionary_size)
        return cls._build(out_dir, paced.indexed(indexable, n_jobs, options), mode, options, one_column(column))

    @classmethod
    def _column(cls, level: int | None, dictionary_size: int | None) -> Text | Binary:
        """The type of the column of an empty dataset, compressed if there is a level."""
        column = first_columns(cls._kind)[0].type
        assert isinstance(column, Text | Binary)  # noqa: S101 - for the type checker
        if level is None:
            if dictionary_size is not None:
                raise ValueError(
                    f"zstd_train_dictionary_size {dictionary_size}: expected a zstd_level with it, got None"
                )
            return column
        for name, value, (least, greatest) in (
            ("zstd_level", level, LEVELS),
            ("zstd_train_dictionary_size", dictionary_size, DICTIONARY_SIZES),
        ):
            if value is not None and not least <= operator.index(value) <= greatest:
                raise ValueError(f"{name} {value}: expected {least} to {greatest}")
        codec.library()  # raises before a dataset is created, if it is missing
        size = None if dictionary_size is None else operator.index(dictionary_size)
        return replace(column, codec=Zstd(operator.index(level), size))

    def take_jagged(self, indices: Indices) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
        """The bytes of many samples back to back, without an object for each: the input of a tokenizer.

        Args:
            indices: Integers in any order, also repeated, negative ones counted from the end; a boolean mask; or a
                slice.

        Returns:
            `(values, offsets)`: uint8 `[total]` and int64 `[len(indices) + 1]`, both owned and writable. Sample k is
            `values[offsets[k]:offsets[k + 1]]`.

        Raises:
            IndexError: if an index is out of range.

        Example:
            >>> import mmap_ninja as mn
            >>> texts = mn.StringsMmap.from_strings("texts", ["good", "bad"])
            >>> values, offsets = texts.take_jagged([1, 0])
            >>> values.tobytes(), offsets.tolist()
            (b'badgood', [0, 3, 7])
        """
        return self._take_jagged(indices)

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> npt.NDArray[Any]:
        """All samples as Python objects; with a dtype, what NumPy makes of a list of them.

        NumPy gives each text as much room as the longest one needs, so it is not asked unless you name a dtype.
        """
        if copy is False:
            raise ValueError(f"{self._where}: samples of any length become an array by a copy; leave out copy=False")
        column = column_of(self)
        if dtype is None or np.dtype(dtype) == np.dtype(object):
            return np.fromiter(column, object, len(column))
        is_null = column.null_mask(None)
        if is_null is not None and is_null.any() and not hasattr(np.dtype(dtype), "na_object"):
            raise ValueError(
                f"{self._where}: sample {int(np.argmax(is_null))} is null, and dtype {np.dtype(dtype)} holds no nulls; "
                "use np.asarray(ds.take(slice(None), fill=...), dtype), or objects"
            )
        return np.array(column.take(slice(None)), dtype)

    def _key_bytes(self, value: object) -> bytes | None:
        """The bytes of a sample, or None for a value that cannot be a sample."""
        raise NotImplementedError

    def _checked_fill(self, value: object) -> Any:
        stored = self._key_bytes(value)
        if stored is None:
            expected = "a str" if self._sample == "text" else "bytes"
            raise TypeError(f"{self._where}: fill {value!r:.80}: expected {expected}; {BY_COLUMN}")
        return str(value) if self._sample == "text" else stored

    def _compared(self, value: Any, compare: Compare) -> Mask:
        wanted, column = self._key_bytes(value), column_of(self)
        equal = np.zeros(len(column), np.bool_) if wanted is None else column.equal_mask(wanted)
        return except_nulls(compare(equal, True), column)

    def _matches(self, value: object, start: int, stop: int) -> Iterator[int]:
        wanted, column = self._key_bytes(value), column_of(self)
        while wanted is not None and (start := column.find(wanted, start, stop)) >= 0:
            yield start
            start += 1

    @property
    def byte_lengths(self) -> npt.NDArray[np.int64]:
        """Bytes of each sample, after decompression: int64 `[n]`, a new array.

        Example:
            >>> import mmap_ninja as mn
            >>> texts = mn.StringsMmap.from_strings("texts", ["good", "größer"])
            >>> texts.byte_lengths
            array([4, 8])
        """
        return column_of(self).sizes()

    @property
    def starts(self) -> npt.NDArray[np.uint64]:
        """Where each sample starts in the payload, in bytes: uint64 `[n]`, a read-only view of the map.

        Example:
            >>> import mmap_ninja as mn
            >>> texts = mn.StringsMmap.from_strings("texts", ["good", "bad"])
            >>> texts.starts
            array([0, 4], dtype=uint64)
        """
        return column_of(self).bounds()[0]

    @property
    def ends(self) -> npt.NDArray[np.uint64]:
        """Where each sample ends in the payload, in bytes: uint64 `[n]`, a read-only view of the map.

        Example:
            >>> import mmap_ninja as mn
            >>> texts = mn.StringsMmap.from_strings("texts", ["good", "bad"])
            >>> texts.ends
            array([4, 7], dtype=uint64)
        """
        return column_of(self).bounds()[1]


def check_keys(*keys: str) -> None:
    """Raise ValueError for any keys but the defaults; others named index folders of 0.x."""
    if keys != Keys()[: len(keys)]:
        raise ValueError(
            f"keys {keys}: expected {Keys()[: len(keys)]}, since other names only serve to read directories of 0.x"
        )
