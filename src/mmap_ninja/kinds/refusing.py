"""Methods of lists that datasets do not have: each says what to use instead."""

from typing import NoReturn, TypeVar

from mmap_ninja.kinds.reading import ReadingHandle

T = TypeVar("T")


class RefusingHandle(ReadingHandle[T]):
    """The refusing methods."""

    def insert(self, *_: object) -> NoReturn:
        """Raise TypeError: samples are added at the end, and `compact` orders them."""
        raise TypeError(f"{self.path}: samples can only be added at the end; append them, then use compact(order=...)")

    def sort(self, **_: object) -> NoReturn:
        """Raise TypeError: `compact` orders samples."""
        raise TypeError(f"{self.path}: samples cannot be sorted in place; use compact(order=...)")

    def reverse(self) -> NoReturn:
        """Raise TypeError: `compact` orders samples; `reversed(ds)` reads them backwards."""
        raise TypeError(
            f"{self.path}: samples cannot be reversed in place; read them by reversed(ds), or use compact(order=...)"
        )

    def remove(self, *_: object) -> NoReturn:
        """Raise TypeError: `del` deletes samples by their positions."""
        raise TypeError(f"{self.path}: samples are deleted by position; use del ds[ds.index(sample)]")

    def shuffle(self, *_: object) -> NoReturn:
        """Raise TypeError: a view by shuffled indices reads in any order, and `compact` stores in any order."""
        raise TypeError(
            f"{self.path}: samples cannot be shuffled in place; read ds.select(np.random.permutation(len(ds))), or use "
            "compact(order=...)"
        )

    def copy(self) -> NoReturn:
        """Raise TypeError: `list(ds)` reads all samples into memory, and a copy of the directory is a dataset, too."""
        raise TypeError(
            f"{self.path}: a handle is not copied; use ds.select(slice(None)) for a view of this snapshot, list(ds) "
            "for the samples in memory, or ds.save(new_path) for another dataset"
        )
