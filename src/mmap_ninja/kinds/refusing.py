"""Methods of lists that datasets do not have: each says what to use instead."""

from typing import NoReturn, TypeVar

from mmap_ninja.kinds.reading import ReadingHandle

T = TypeVar("T")


class RefusingHandle(ReadingHandle[T]):
    """The refusing methods."""

    def insert(self, *_: object) -> NoReturn:
        """Raise TypeError: samples are added at the end, and `compact` orders them.

        Example:
            >>> import mmap_ninja as mn
            >>> texts = mn.StringsMmap.from_strings("texts", ["b", "c"])
            >>> texts.append("a")
            >>> texts.compact(order=[2, 0, 1])
            >>> texts[:]
            ['a', 'b', 'c']
        """
        raise TypeError(f"{self.path}: samples can only be added at the end; append them, then use compact(order=...)")

    def sort(self, **_: object) -> NoReturn:
        """Raise TypeError: `compact` orders samples.

        Example:
            >>> import numpy as np
            >>> import mmap_ninja as mn
            >>> texts = mn.StringsMmap.from_strings("texts", ["c", "a", "b"])
            >>> texts.compact(order=np.argsort(texts[:]))
            >>> texts[:]
            ['a', 'b', 'c']
        """
        raise TypeError(f"{self.path}: samples cannot be sorted in place; use compact(order=...)")

    def reverse(self) -> NoReturn:
        """Raise TypeError: `compact` orders samples; `reversed(ds)` reads them backwards.

        Example:
            >>> import mmap_ninja as mn
            >>> texts = mn.StringsMmap.from_strings("texts", ["a", "b", "c"])
            >>> list(reversed(texts)), texts[::-1]
            (['c', 'b', 'a'], ['c', 'b', 'a'])
        """
        raise TypeError(
            f"{self.path}: samples cannot be reversed in place; read them by reversed(ds), or use compact(order=...)"
        )

    def remove(self, *_: object) -> NoReturn:
        """Raise TypeError: `del` deletes samples by their positions.

        Example:
            >>> import mmap_ninja as mn
            >>> texts = mn.StringsMmap.from_strings("texts", ["a", "b", "c"])
            >>> del texts[texts.index("b")]
            >>> texts[:]
            ['a', 'c']
        """
        raise TypeError(f"{self.path}: samples are deleted by position; use del ds[ds.index(sample)]")

    def shuffle(self, *_: object) -> NoReturn:
        """Raise TypeError: a view by shuffled indices reads in any order, and `compact` stores in any order.

        Example:
            >>> import numpy as np
            >>> import mmap_ninja as mn
            >>> texts = mn.StringsMmap.from_strings("texts", ["a", "b", "c"])
            >>> shuffled = texts.select(np.random.default_rng(0).permutation(len(texts)))
            >>> sorted(shuffled)
            ['a', 'b', 'c']
        """
        raise TypeError(
            f"{self.path}: samples cannot be shuffled in place; read ds.select(np.random.permutation(len(ds))), or use "
            "compact(order=...)"
        )

    def copy(self) -> NoReturn:
        """Raise TypeError: `list(ds)` reads all samples into memory, and a copy of the directory is a dataset, too.

        Example:
            >>> import mmap_ninja as mn
            >>> texts = mn.StringsMmap.from_strings("texts", ["a", "b"])
            >>> view = texts.select(slice(None))  # of this moment
            >>> texts.append("c")
            >>> len(view), len(texts)
            (2, 3)
        """
        raise TypeError(
            f"{self.path}: a handle is not copied; use ds.select(slice(None)) for a view of this snapshot, list(ds) "
            "for the samples in memory, or ds.save(new_path) for another dataset"
        )
