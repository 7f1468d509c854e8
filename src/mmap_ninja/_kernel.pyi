"""The native kernel: spans and statuses as Python objects. Private; the package exports what is public."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from mmap import mmap
from types import ModuleType
from typing import Any, Final, Self, TypeAlias

import numpy as np
import numpy.typing as npt

AnyArray: TypeAlias = npt.NDArray[Any]
Buffer: TypeAlias = bytes | memoryview | mmap

def raise_from(errors: ModuleType, /) -> None:
    """Use the classes of this module for errors that have no builtin exception."""

SLOTS: Final[int]
SLOT_SIZE: Final[int]
SLOT_STRIDE: Final[int]
BLOCK: Final[int]
COMPLETE: Final[int]
SUSPECT: Final[int]
SUMS: Final[int]
EDIT_DELETE: Final[int]
EDIT_REPLACE: Final[int]

class Slot:
    durable: bool
    features: int
    flags: int
    seq: int
    generation: int
    rows: int
    edits: int
    durable_rows: int
    durable_edits: int
    device: int
    inode: int
    digest: int
    meta_digest: int
    mount: int
    disk: int
    carries: int
    content: int
    edits_end: int
    uuid: bytes
    boot: bytes
    def __init__(self) -> None: ...
    def copy(self) -> Slot: ...
    def is_same(self, other: Slot, /) -> bool: ...
    @property
    def place(self) -> tuple[int, int, int, int | None]: ...

class File:
    """A file, open or let go, perhaps locked. Closing it, as the end of a with block does, releases both."""

    def fileno(self) -> int: ...
    @property
    def identity(self) -> tuple[int, int]: ...
    def borrowed(self) -> File: ...
    def mapped_numbers(self, size: int, /) -> npt.NDArray[np.uint64] | None: ...
    def let_go(self) -> None: ...
    def take_over(self, other: File, /) -> None: ...
    def close(self) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, *_: object) -> None: ...
    def check_writer(self, path: str, /) -> None: ...
    def is_at(self, path: str, /) -> bool: ...
    def try_lock(self, path: str, /) -> bool: ...

class Scope:
    """Files that are closed at the end of a with block, even if they are still referred to."""

    def __init__(self) -> None: ...
    def hold(self, file: File, /) -> File: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, *_: object) -> None: ...

class Turn:
    def __enter__(self) -> None: ...
    def __exit__(self, *_: object) -> None: ...

class Mutex:
    """The lock of a handle's mutations: not re-entrant, and not for use in a forked child."""

    def __init__(self, path: str, /) -> None: ...
    def turn(self) -> Turn: ...
    @property
    def is_mine(self) -> bool: ...

def open_file(path: str, writable: bool, follows_links: bool = False) -> File: ...
def named_file(path: str, follows_links: bool) -> File: ...
def create_file(path: str, like: File | None) -> File: ...
def lock_file(path: str, timeout: float) -> File | None: ...
def is_held(path: str) -> bool: ...
def open_directory(path: str) -> File: ...
def anonymous_file() -> File: ...
def check_room(count: int, path: str) -> None: ...
def encode_slot(slot: Slot, /) -> bytes: ...
def decode_slot(data: bytes, /) -> tuple[str, Slot | None, int]: ...
def range_digest(file: int, fd: int, durable: int, extent: int, path: str, /) -> tuple[int, bytes]: ...
def bad_blocks(file: int, fd: int, first: int, sums: npt.NDArray[np.uint64], /) -> list[int]: ...
def crc32c(data: bytes, /) -> int: ...
def xxh64(data: bytes, seed: int = 0) -> int: ...
def word_hashes(words: npt.NDArray[np.uint64], seed: int, /) -> npt.NDArray[np.uint64]:
    """XXH64 of each word."""

def span_hashes(values: npt.NDArray[np.uint8], offsets: npt.NDArray[np.int64], seed: int, /) -> npt.NDArray[np.uint64]:
    """XXH64 of each run of bytes, as `take_jagged` gives them."""

def extents(rules: list[tuple[int, int, bool]], rows: int, edits: int, ends: list[int]) -> list[int]: ...

class Log:
    def __init__(
        self,
        path: str,
        rules: list[tuple[int, int, int, int, bool, File]],
        commit_file: File,
        lock: File | None,
        meta: File,
        paths: tuple[str, str, str],
        state: Slot,
        next_seq: int,
        sync_often: bool,
        builds: bool,
    ) -> None: ...
    def commit(
        self,
        parts: tuple[bytes | memoryview | None, ...],
        rows: int,
        edits: int,
        set_flags: int,
        durable: bool,
        expected_rows: int | None,
        expected_edits: int | None,
        base: Slot | None,
        anywhere: bool,
        timeout: float,
    ) -> None: ...
    def close(self) -> None: ...
    def writes_to(self, path: str, /) -> bool: ...
    def locks(self, path: str, /) -> bool: ...
    @property
    def seq(self) -> int: ...
    @property
    def made(self) -> tuple[Slot, list[int], tuple[int, int, int, int | None]]: ...
    owes: bool

def switch_commit(
    commit_file: File, path: str, directory: str, synced: list[File], slot: Slot, before: Slot, lock: File | None
) -> None: ...
def settle(commit_file: File, path: str, directory: str, synced: list[File]) -> None: ...

class Edits:
    """The edits of a commit. Immutable."""

    def __init__(self) -> None: ...
    def apply(self, log: bytes, rows: int, path: str, first: int, /) -> Edits: ...
    @property
    def hidden(self) -> int: ...
    def first_hidden(self, rows: npt.NDArray[np.int64], /) -> int: ...
    def first_moved(self, rows: npt.NDArray[np.int64], stored: npt.NDArray[np.int64], /) -> int: ...
    def ranges(self) -> npt.NDArray[np.int64]: ...
    def runs(self, rows: int, /) -> npt.NDArray[np.int64]: ...

class Recycler:
    """While one exists, the memory of large arrays that were dropped is kept for the next ones."""

    def __init__(self) -> None: ...

def kept_bytes() -> int:
    """How much is kept now."""

class Permutation:
    """The numbers below `size`, each once; up to `most_kept`, all of them are computed and kept."""

    def __init__(self, size: int, key: int, most_kept: int = 1048576) -> None: ...
    def at(self, first: int, step: int, count: int, /) -> npt.NDArray[np.int64]:
        """The numbers at so many places, which must be in range."""

class BlockPermutation:
    """The same, of blocks first, then in each window of blocks."""

    def __init__(self, size: int, key: int, block: int, window: int, /) -> None: ...
    def at(self, first: int, step: int, count: int, /) -> npt.NDArray[np.int64]: ...

class AliasTable:
    """Numbers drawn as often as their weights say; at least one weight is above 0, and all are finite."""

    def __init__(self, weights: npt.NDArray[np.float64], /) -> None: ...
    def at(self, key: int, first: int, step: int, count: int, /) -> npt.NDArray[np.int64]: ...

class Mixture:
    """An endless stream of the samples of several datasets, none of which is empty.

    A share is of what the datasets before it leave, as a fraction of 2^64; that of the last one is not read.
    """

    def __init__(self, sizes: npt.NDArray[np.uint64], shares: npt.NDArray[np.uint64], key: int, /) -> None: ...
    def at(self, elements: npt.NDArray[np.int64], /) -> npt.NDArray[np.int64]:
        """Where these elements, each below 2^62, are among the samples of all datasets, one after the other."""
    def end(self, of_every: bool, /) -> int:
        """After how many elements all samples of one dataset, or of each, have come; above 2^62 if never."""

class PackedRows:
    """Documents of some lengths in rows of one length, as segments: each is a document, or a piece of one."""

    def __init__(self, lengths: npt.NDArray[np.int64], length: int, key: int, /) -> None: ...
    def __len__(self) -> int: ...
    @property
    def most_segments(self) -> int: ...
    def segments(
        self, rows: npt.NDArray[np.int64], /
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """The offsets of rows in segments; of each segment, the document, and its start and length there."""
    def batch(self, columns: list[Samples], rows: npt.NDArray[np.int64], most_rows: int, /) -> list[Any]:
        """Elements of each column, and what `Samples._describe_windows` gives; `most_rows`: in any batch."""

class Zstd:
    def __init__(self, library: str, level: int, dictionary: bytes, /) -> None: ...
    def encode(self, payload: Buffer, ends: bytes, path: str, first: int, /) -> tuple[bytes, bytes, bytes]: ...

def train_zstd(library: str, payload: Buffer, ends: bytes, size: int, path: str, /) -> bytes: ...

class SamplesIterator(Iterator[Any]):
    def __next__(self) -> Any: ...
    def __length_hint__(self) -> int: ...

def list_indices_with(function: Callable[[Any], AnyArray], /) -> None:
    """Set the function that turns keys into arrays, other than slices, lists of integers and arrays."""

def resolved(key: Any, count: int, items: str, /) -> npt.NDArray[np.int64]: ...

class Column:
    """The samples of one column, or records of several, at one commit. Immutable.

    Args:
        kind: "text", "binary", "array" or "ragged".
        path: The name of the samples in errors.
        rows: The number of rows.
        files: Each file and its length in bytes, by its role. Of one that was let go, only a map is made.
        unit: Bytes of the unit of the offsets; without offsets, bytes of a row.
        dtype: The dtype of arrays.
        shape: The shape of a sample, if all have the same.
        strides: In bytes, if samples are not stored in C order.
        shape_form: How the shapes of ragged samples are stored: a `ShapeForm`.
        shape_width: Numbers in a row of the shapes.
        codec: The codec of compressed samples.
        wrapper: Called with each sample that is returned.
        edits: The edits of the rows.
        copies: Whether arrays are returned as copies.
        mapped: Whether the files are mapped, or read by system calls.
    """

    def __init__(
        self,
        kind: str,
        path: str,
        rows: int = 0,
        files: Mapping[str, tuple[File, int]] = ...,
        unit: int = 1,
        dtype: np.dtype[Any] | None = None,
        shape: Sequence[int] = (),
        strides: Sequence[int] = (),
        shape_form: int = 1,
        shape_width: int = 0,
        codec: Zstd | None = None,
        wrapper: Callable[[Any], Any] | None = None,
        edits: Edits | None = None,
        copies: bool = False,
        mapped: bool = True,
    ) -> None: ...
    @staticmethod
    def of_records(
        path: str,
        columns: list[tuple[tuple[str, ...], Column]],
        *,
        edits: Edits | None = None,
        copies: bool = False,
        mapped: bool = True,
    ) -> Column:
        """Records of columns with the same rows, each with the keys of the nested dicts that lead to it."""

    @staticmethod
    def joined(
        kind: str,
        path: str,
        counts: Sequence[int],
        open: Callable[[int], Column],
        *,
        unit: int = 1,
        dtype: np.dtype[Any] | None = None,
        shape: Sequence[int] = (),
        shape_form: int = 1,
        shape_width: int = 0,
        nullable: bool = False,
    ) -> Column:
        """The samples of several columns with these properties: so many of each, which `open` gives when needed."""

    def selected_range(self, start: int, step: int, count: int, /) -> Column: ...
    def selected(self, positions: npt.NDArray[np.int64], /) -> Column: ...
    def field(self, place: int, /) -> Column: ...
    def windows(self, shape: list[int], stride: int, within_samples: bool, /, documents: bool = False) -> Column:
        """Arrays of a shape, `stride` apart on the first axis: in each ragged sample, or in all as one sequence."""
    def unwrapped(self) -> Column: ...
    def fresh(self) -> Column:
        """The same samples, for arrays over pages that nothing was written to."""
    @property
    def kind(self) -> str: ...
    @property
    def is_mapped(self) -> bool: ...
    @property
    def dtype(self) -> np.dtype[Any] | None: ...
    @property
    def rank(self) -> int | None: ...
    @property
    def sample_shape(self) -> tuple[int, ...]: ...
    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[Any]: ...
    def find(self, wanted: bytes, begin: int, end: int, /) -> int: ...
    def equal_mask(self, wanted: bytes, /) -> npt.NDArray[np.bool_]: ...
    def prefetch(self, indices: Any, /) -> None: ...
    def read_in(self, indices: Any, /) -> None:
        """Read samples into the page cache, and wait."""

    def are_cold(self, indices: Any, /) -> bool:
        """Whether some samples are not in the page cache, judging by a few of them."""

    def residency(self) -> float: ...
    @property
    def mean_size(self) -> float:
        """Bytes of a sample, on average."""

    @property
    def rows_within(self) -> int:
        """The number of rows from the first sample's to the last one's."""

    def take(self, indices: Any, /) -> list[Any]: ...
    def take_rows(self, indices: Any, out: AnyArray | None, /) -> tuple[AnyArray, npt.NDArray[np.bool_] | None]: ...
    def take_columns(self, indices: Any, /) -> list[tuple[Any, npt.NDArray[np.bool_] | None]]: ...
    def take_jagged(self, indices: Any, /) -> tuple[AnyArray, npt.NDArray[np.int64]]: ...
    def sizes(self) -> npt.NDArray[np.int64]: ...
    def stored_sizes(self) -> npt.NDArray[np.int64]: ...
    def null_mask(self, indices: Any, /) -> npt.NDArray[np.bool_] | None: ...
    def stored_rows(self, indices: Any, /) -> npt.NDArray[np.int64]: ...
    def base_rows(self, indices: Any, /) -> npt.NDArray[np.int64]: ...
    def shape_of(self, position: int, /) -> tuple[int, ...]: ...
    def shape_table(self, columns: int, /) -> npt.NDArray[np.int64]: ...
    def bounds(self) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]: ...
    def offsets(self) -> npt.NDArray[np.uint64] | None: ...
    def flat(self) -> AnyArray: ...
    # Arrays over a private map of the file, and read-only unless `writable`.
    def whole(
        self, first: int = 0, step: int = 1, count: int | None = None, *, writable: bool = False
    ) -> AnyArray | None: ...

class Samples:
    """The base of handles: shows a column, with a state, which change in one step; no column when closed."""

    _state: Any

    def __init__(self, path: str, /) -> None: ...
    def __len__(self) -> int: ...
    def __getitem__(self, key: Any, /) -> Any: ...
    def __iter__(self) -> Iterator[Any]: ...
    def _show_column(self, column: Column | None, state: object, /) -> None: ...
    def _grow(self, payload_sizes: list[int], rows: int, edits: Edits, state: object, /) -> None:
        """Show the same files at another commit."""

    def _start_afresh(self) -> None:
        """Give out arrays over a fresh private map from now on, if earlier ones may have been written to."""

    def _moment(self) -> tuple[Column, Any]:
        """The column and the state at one moment."""

    @property
    def _is_mapped(self) -> bool:
        """Whether the column, or the last one shown, is mapped."""

    def _resolved(self, key: Any, count: int, /) -> npt.NDArray[np.int64]: ...
    def _take(self, indices: Any, /) -> list[Any]: ...
    def _take_rows(self, indices: Any, out: AnyArray | None, /) -> tuple[AnyArray, npt.NDArray[np.bool_] | None]: ...
    def _take_rows_as(
        self, indices: Any, out: AnyArray | None, dtype: np.dtype[Any] | None, /
    ) -> tuple[AnyArray, npt.NDArray[np.bool_] | None]: ...
    def _take_jagged(self, indices: Any, /) -> tuple[AnyArray, npt.NDArray[np.int64]]: ...
    def _describe_windows(
        self, indices: Any, /
    ) -> tuple[
        npt.NDArray[np.int32],
        npt.NDArray[np.int32],
        tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]],
        npt.NDArray[np.int32],
        int,
    ]:
        """Of each element, its segment from 1 and its place there; the segments' lengths, bounds, and the longest."""
    def _take_padded(
        self,
        indices: Any,
        fill_of: Callable[[np.dtype[Any]], AnyArray],
        lengths: list[int],
        multiples: list[int],
        out: AnyArray | None,
        dtype: np.dtype[Any] | None,
        at_end: bool,
        mask: bool,
        /,
    ) -> tuple[AnyArray, npt.NDArray[np.int64]] | tuple[AnyArray, npt.NDArray[np.int64], npt.NDArray[np.bool_]]: ...

class Lookahead:
    """Asks for samples before they are read, in a thread that touches no Python; none is left when it is idle."""

    def __init__(self) -> None: ...
    def ask_for(self, column: Column, indices: Any, /) -> int:
        """Ask for samples that are needed together, after all that were asked for before; returns a number."""

    def wait_for(self, request: int, /) -> None:
        """Wait until the request of a number was made: the samples may still be on their way."""

    def stream(self, column: Column, /) -> None:
        """Read the files of a column in order, from the first to the last sample."""

    @property
    def warm(self) -> int:
        """How many times in a row all that was asked for was in the page cache already."""

    @property
    def is_idle(self) -> bool: ...
    def stop(self) -> None:
        """Forget what was not asked for yet, and wait for the thread to end."""

def column_of(samples: Samples, /) -> Column:
    """The column that a handle shows; raises if it is closed."""

def exported(array: AnyArray, code: int, /) -> Any:
    """An object with DLPack's protocol over an array in C order whose dtype has this number in DLPack."""

def fill(batch: list[Any], source: Iterator[Any], samples: int, size_bytes: int, unknown: int, /) -> None:
    """Move samples to a list: at most `samples`, up to the one with which they have so many bytes."""

def size_of(value: object, most: int, unknown: int, /) -> int:
    """The bytes of a value before it is encoded, at most `most`; a part of a type that tells no size has `unknown`."""

def convert_numbers(array: AnyArray, dtype: np.dtype[Any], /) -> AnyArray | int | None:
    """An array of another dtype; the place of the first number that it does not hold; or None for other dtypes."""

def convert_samples(
    samples: Any, dtype: np.dtype[Any], convert: Callable[[Any, int], AnyArray], first: int, /
) -> tuple[list[AnyArray], int, int]: ...
def encode_arrays(arrays: list[AnyArray], /) -> bytes: ...
def encode_ragged(arrays: list[AnyArray], width: int, ranked: bool, /) -> tuple[bytes, bytes, bytes]: ...
def encode_text(samples: Any, path: str, first: int, /) -> tuple[bytes, bytes]: ...
def encode_binary(samples: Any, path: str, first: int, /) -> tuple[bytes, bytes]: ...
def set_io_hook(hook: Callable[[str, str | int, int, int, bytes | None], int | None] | None) -> None: ...
def write_at(file: File, data: Buffer, offset: int, path: str, /) -> None: ...
def copy_range(source: int, source_offset: int, target: File, target_offset: int, size: int, path: str, /) -> None: ...
def read_ranges(
    file: File, file_size: int, starts: npt.NDArray[np.int64], sizes: npt.NDArray[np.int64], path: str, /
) -> bytes: ...
def start_writeback(file: File, offset: int, size: int, /) -> None: ...
def sync_data(file: File, path: str, /) -> None: ...
def sync_directory(directory: File, path: str, /) -> None: ...
def sync_filesystem(file: File, path: str, /) -> None: ...
def make_directory(path: str, /) -> None: ...
def rename_file(source: str, target: str, /) -> None: ...
def remove_file(path: str, /) -> None: ...
def remove_directory(path: str, /) -> None: ...
def place_of(fd: int, path: str, /) -> tuple[int, int, int, int]: ...
def boot_id() -> bytes: ...
def is_remote(fd: int, /) -> bool: ...
def is_overlay(fd: int, /) -> bool: ...
