"""What can go wrong, as exceptions: each is also the builtin that fits, so both `except` styles work."""

from mmap_ninja.exported import exported


@exported
class MmapNinjaError(Exception):
    """Base of all errors that are particular to this library."""


@exported
class NotADatasetError(MmapNinjaError, FileNotFoundError):
    """The path is missing, is a file, or is a directory that holds no dataset."""


@exported
class CorruptDatasetError(MmapNinjaError, ValueError):
    """The dataset's files contradict each other or their checksums."""


@exported
class DatasetTruncatedError(CorruptDatasetError):
    """A file is shorter than the commit says."""


@exported
class FormatVersionError(MmapNinjaError, ValueError):
    """The dataset was written by a newer version and needs what this one does not know."""


@exported
class ReadOnlyError(MmapNinjaError, PermissionError):
    """The handle, the file permissions or the medium do not allow writing."""


@exported
class StaleHandleError(MmapNinjaError, RuntimeError):
    """The dataset has changed so that what the handle saw is no longer there."""


@exported
class ForkedHandleError(MmapNinjaError, RuntimeError):
    """A writing handle was used in a process that was forked from the one that opened it."""


@exported
class LockTimeoutError(MmapNinjaError, TimeoutError):
    """Another process held the dataset's lock until the deadline."""


@exported
class CommitUncertainError(MmapNinjaError, OSError):
    """A sync failed: the system no longer tells whether the last commits reached the disk."""


class GenerationMovedError(MmapNinjaError, RuntimeError):
    """The newest commit is of another generation than the writer's; the engine reopens and tries again."""


class EditsMovedError(MmapNinjaError, RuntimeError):
    """Others have edited the dataset since the writer looked; the engine looks again."""


@exported
class LeftoverBytesWarning(UserWarning):
    """An append of mmap_ninja 0.x was interrupted; samples that were added after it are garbled."""


@exported
class WorkerError(MmapNinjaError, RuntimeError):
    """A worker process of a build died, or raised what could not be brought to this one."""


@exported
class IncompleteDatasetWarning(UserWarning):
    """The build that made this dataset has not ended; its committed samples are readable."""
