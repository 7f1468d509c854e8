"""The exceptions and warnings. Each error is also the builtin that fits, so that either can be caught."""

from mmap_ninja.exported import exported


@exported
class MmapNinjaError(Exception):
    """Base of all errors that are specific to this library.

    Example:
        >>> import mmap_ninja as mn
        >>> try:
        ...     ds = mn.open("nowhere")
        ... except mn.MmapNinjaError as error:
        ...     print(type(error).__name__)
        NotADatasetError
    """


@exported
class NotADatasetError(MmapNinjaError, FileNotFoundError):
    """The path is missing, or is a file, or a directory without a dataset.

    Example:
        >>> import mmap_ninja as mn
        >>> mn.open("nowhere")
        Traceback (most recent call last):
            ...
        mmap_ninja.NotADatasetError: .../nowhere: no such directory; check the path, or ...
    """


@exported
class CorruptDatasetError(MmapNinjaError, ValueError):
    """The dataset's files contradict each other or their checksums.

    Example:
        >>> import mmap_ninja as mn
        >>> from pathlib import Path
        >>> mn.StringsMmap.from_strings("texts", ["a"]).close()
        >>> _ = Path("texts/meta-1.json").write_text("{}")  # damage
        >>> mn.open("texts")
        Traceback (most recent call last):
            ...
        mmap_ninja.CorruptDatasetError: .../texts/meta-1.json: checksum ... where the commit has ...
    """


@exported
class DatasetTruncatedError(CorruptDatasetError):
    """A file is shorter than the commit says.

    Example:
        >>> import mmap_ninja as mn
        >>> import os
        >>> mn.StringsMmap.from_strings("texts", ["good", "bad"]).close()
        >>> os.truncate("texts/c0.data-1", 5)
        >>> mn.open("texts")
        Traceback (most recent call last):
            ...
        mmap_ninja.DatasetTruncatedError: .../texts/c0.data-1: 5 bytes where the commit needs 7; ...
    """


@exported
class FormatVersionError(MmapNinjaError, ValueError):
    """The dataset was written by a newer version, with features that this one does not know.

    Example:
        >>> import mmap_ninja as mn
        >>> _ = mn.StringsMmap.from_strings("texts", ["a"])
        >>> try:
        ...     texts = mn.open("texts")
        ... except mn.FormatVersionError as error:
        ...     print(error)  # it ends with "upgrade mmap_ninja"
    """


@exported
class ReadOnlyError(MmapNinjaError, PermissionError):
    """The handle, the file permissions or the filesystem do not allow writing.

    Example:
        >>> import mmap_ninja as mn
        >>> _ = mn.StringsMmap.from_strings("texts", ["a"])
        >>> mn.open("texts", "r").append("b")
        Traceback (most recent call last):
            ...
        mmap_ninja.ReadOnlyError: .../texts: opened with mode 'r'; open it without a mode to write
    """


@exported
class StaleHandleError(MmapNinjaError, RuntimeError):
    """The dataset has changed, and samples that the handle saw are no longer there.

    Example:
        >>> import mmap_ninja as mn
        >>> texts = mn.StringsMmap.from_strings("texts", ["a", "b"])
        >>> del mn.open("texts")[0]  # by another handle, perhaps in another process
        >>> texts[0] = "c"
        Traceback (most recent call last):
            ...
        mmap_ninja.StaleHandleError: .../texts: the sample of row 0 was deleted after this handle's snapshot; ...
        >>> texts.refresh()
        >>> texts[:]
        ['b']
    """


@exported
class ForkedHandleError(MmapNinjaError, RuntimeError):
    """A handle was used for writing in a process forked from the one that opened it.

    Example:
        >>> import mmap_ninja as mn
        >>> _ = mn.StringsMmap.from_strings("texts", ["a"])
        >>> def work(path: str) -> None:  # what a forked child runs: it opens a handle of its own
        ...     with mn.open(path) as texts:
        ...         texts.append("from the child")
        >>> work("texts")
        >>> mn.open("texts")[:]
        ['a', 'from the child']
    """


@exported
class LockTimeoutError(MmapNinjaError, TimeoutError):
    """Another process held the dataset's lock until the deadline.

    Example:
        >>> import mmap_ninja as mn
        >>> import fcntl
        >>> _ = mn.StringsMmap.from_strings("texts", ["a"])
        >>> with open("texts/LOCK", "r+") as file:
        ...     fcntl.flock(file, fcntl.LOCK_EX)  # as another process does while it commits
        ...     mn.open("texts", lock_timeout=0.1).append("b")
        Traceback (most recent call last):
            ...
        mmap_ninja.LockTimeoutError: .../texts/LOCK: process ... has held the lock for 0.1 s; ...
    """


@exported
class CommitUncertainError(MmapNinjaError, OSError):
    """A sync failed, so it is unknown whether the last commits reached the disk.

    Example:
        >>> import mmap_ninja as mn
        >>> texts = mn.StringsMmap.from_strings("texts", ["a"])
        >>> texts.append("b")
        >>> try:
        ...     texts.flush()
        ... except mn.CommitUncertainError:  # look after the disk, then keep what is whole
        ...     mn.recover("texts")
    """


class GenerationMovedError(MmapNinjaError, RuntimeError):
    """The newest commit has another generation than the writer; the engine reopens and tries again."""


class BeingBuiltError(MmapNinjaError, RuntimeError):
    """A first build of the dataset goes on in another process, or elsewhere in this one; the engine names it."""


class EditsMovedError(MmapNinjaError, RuntimeError):
    """Others have edited the dataset since the writer's last look; the engine looks again."""


@exported
class LeftoverBytesWarning(UserWarning):
    """An append of mmap_ninja 0.x was interrupted; samples added after it are garbled.

    Example:
        >>> import mmap_ninja as mn
        >>> import warnings
        >>> _ = mn.StringsMmap.from_strings("texts", ["a"])
        >>> with warnings.catch_warnings(action="error", category=mn.LeftoverBytesWarning):
        ...     texts = mn.open("texts")  # raises, if it is such a directory
    """


@exported
class WorkerError(MmapNinjaError, RuntimeError):
    """A worker process of a build died, or raised an exception that could not be pickled.

    Example:
        >>> import mmap_ninja as mn
        >>> def decode(index: int) -> str:
        ...     return f"text {index}"
        >>> source = mn.parallel.make_indexable(decode, length=3)
        >>> try:
        ...     texts = mn.StringsMmap.from_indexable("texts", source, n_jobs=2)
        ... except mn.WorkerError:  # what was stored before stays: go on there
        ...     texts = mn.StringsMmap.from_indexable("texts", source, if_exists="resume")
        >>> texts[:]
        ['text 0', 'text 1', 'text 2']
    """


@exported
class IncompleteDatasetWarning(UserWarning):
    """The build that made this dataset has not ended; its committed samples are readable.

    Example:
        >>> import mmap_ninja as mn
        >>> import warnings
        >>> def samples():
        ...     yield "good"
        ...     raise OSError("the source is gone")
        >>> try:
        ...     mn.StringsMmap.from_generator("texts", samples(), batch_size=1)
        ... except OSError as error:
        ...     print(error)
        the source is gone (index 1 of the source)
        >>> with warnings.catch_warnings(action="ignore", category=mn.IncompleteDatasetWarning):
        ...     print(mn.open("texts"))
        StringsMmap('.../texts', 1 samples, 4 bytes, incomplete)
    """
