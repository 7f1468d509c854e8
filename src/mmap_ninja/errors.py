"""The exceptions and warnings. Each error is also the builtin that fits, so that either can be caught."""

from mmap_ninja.exported import exported


@exported
class MmapNinjaError(Exception):
    """Base of all errors that are specific to this library."""


@exported
class NotADatasetError(MmapNinjaError, FileNotFoundError):
    """The path is missing, or is a file, or a directory without a dataset."""


@exported
class CorruptDatasetError(MmapNinjaError, ValueError):
    """The dataset's files contradict each other or their checksums."""


@exported
class DatasetTruncatedError(CorruptDatasetError):
    """A file is shorter than the commit says."""


@exported
class FormatVersionError(MmapNinjaError, ValueError):
    """The dataset was written by a newer version, with features that this one does not know."""


@exported
class ReadOnlyError(MmapNinjaError, PermissionError):
    """The handle, the file permissions or the filesystem do not allow writing."""


@exported
class StaleHandleError(MmapNinjaError, RuntimeError):
    """The dataset has changed, and samples that the handle saw are no longer there."""


@exported
class ForkedHandleError(MmapNinjaError, RuntimeError):
    """A handle was used for writing in a process forked from the one that opened it."""


@exported
class LockTimeoutError(MmapNinjaError, TimeoutError):
    """Another process held the dataset's lock until the deadline."""


@exported
class CommitUncertainError(MmapNinjaError, OSError):
    """A sync failed, so it is unknown whether the last commits reached the disk."""


class GenerationMovedError(MmapNinjaError, RuntimeError):
    """The newest commit has another generation than the writer; the engine reopens and tries again."""


class BeingBuiltError(MmapNinjaError, RuntimeError):
    """A first build of the dataset goes on in another process, or elsewhere in this one; the engine names it."""


class EditsMovedError(MmapNinjaError, RuntimeError):
    """Others have edited the dataset since the writer's last look; the engine looks again."""


@exported
class LeftoverBytesWarning(UserWarning):
    """An append of mmap_ninja 0.x was interrupted; samples added after it are garbled."""


@exported
class WorkerError(MmapNinjaError, RuntimeError):
    """A worker process of a build died, or raised an exception that could not be pickled."""


@exported
class IncompleteDatasetWarning(UserWarning):
    """The build that made this dataset has not ended; its committed samples are readable."""
