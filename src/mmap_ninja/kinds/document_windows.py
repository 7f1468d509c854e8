"""Windows over samples as documents: each says where the documents in it are, as rows of packed ones do."""

import operator
from collections.abc import Iterator, Mapping
from typing import Any, Final, SupportsIndex

import numpy as np
import numpy.typing as npt

from mmap_ninja.columns.casting import AnyArray
from mmap_ninja.exported import exported
from mmap_ninja.kinds.indices import is_index, resolved, several
from mmap_ninja.kinds.sequence import Indices
from mmap_ninja.kinds.windows import WindowSequence

Description = dict[str, Any]

TOKENS: Final = "tokens"
DESCRIPTION: Final = ("segment_ids", "positions", "seq_lens", "cu_seqlens", "max_seqlen")  # in the kernel's order


@exported
class DocumentWindows(WindowSequence[Description]):
    """Windows that say where documents begin, from `RaggedMmap.windows(..., documents=True)`: dicts.

    A piece of a document is a segment, also the rest of one that began in an earlier window: attention sees nothing of
    other windows, so its positions start at 0.

    Args:
        samples: The dataset, or a view of it.
        length: Elements of the first axis per window.
        stride: Elements from the start of one window to the next; None: `length`.
        within_samples: Whether each window stays within one sample. If not, the samples are one sequence of tokens.
        selection: Positions of its windows among all of them; None: all.

    Example:
        >>> import mmap_ninja as mn
        >>> rows = mn.RaggedMmap.from_lists("rows", [[1, 2, 3], [4, 5], [6]])
        >>> batch = rows.windows(2, documents=True).take([0, 1, 2])
        >>> batch["tokens"].tolist(), batch["positions"].tolist()
        ([[1, 2], [3, 4], [5, 6]], [[0, 1], [0, 0], [0, 0]])
        >>> batch["segment_ids"].tolist(), batch["cu_seqlens"].tolist()
        ([[1, 1], [1, 2], [1, 2]], [0, 2, 3, 4, 5, 6, 6])
    """

    _describes = True

    def __getitem__(self, key: SupportsIndex | Indices, /) -> Any:
        if not is_index(key):
            return self.take(several(key))
        batch = self.take([operator.index(key)])
        rows = {name: batch[name][0] for name in (TOKENS, "segment_ids", "positions", "seq_lens")}
        return batch | rows

    def __iter__(self) -> Iterator[Description]:
        return map(self.__getitem__, range(len(self)))

    def take(  # type: ignore[override]
        self, indices: Indices, out: AnyArray | None = None, *, dtype: npt.DTypeLike | None = None
    ) -> Description:
        """Many windows, and where the documents in them are, as in a batch of a `Packing`.

        A single window has the same without the first axis: its "seq_lens" is an array.

        Args:
            indices: Integers in any order, also repeated, negative ones counted from the end; a boolean mask; or a
                slice.
            out: The array to fill: `[len(indices), length, ...]` of a dtype that holds the values.
            dtype: The dtype of the array, which must hold the values; None: that of `out`, else the dataset's.

        Returns:
            "tokens", `[len(indices), length, ...]`, owned and writable, or `out`; "segment_ids", from 1, and
            "positions", from 0 in each segment: int32 `[len(indices), length]`; "seq_lens", the lengths of segments,
            int32, and int64 offsets of the windows in them; "cu_seqlens", where segments start in all windows as one
            sequence, then its end, repeated: int32, of a length that depends on `len(indices)` only; and "max_seqlen",
            the greatest length.

        Raises:
            IndexError: if an index is out of range.
            ValueError: if `out` has the wrong shape or dtype, or its dtype or `dtype` does not hold a value; or if the
                windows have 2^31 elements or more.
            TypeError: if the dataset's dtype does not go into `dtype`.

        Example:
            >>> import mmap_ninja as mn
            >>> rows = mn.RaggedMmap.from_lists("rows", [[1, 2, 3], [4, 5, 6, 7]])
            >>> batch = rows.windows(4, 3, documents=True).take([0, 1])
            >>> batch["tokens"].tolist(), batch["segment_ids"].tolist()
            ([[1, 2, 3, 4], [4, 5, 6, 7]], [[1, 1, 1, 2], [1, 1, 1, 1]])
            >>> batch["cu_seqlens"].tolist(), int(batch["max_seqlen"])
            ([0, 3, 4, 8, 8], 4)
        """
        at = resolved(indices, len(self), self._items)
        description = self._describe_windows(at)
        return {TOKENS: self._arrays(at, out, dtype), **dict(zip(DESCRIPTION, description, strict=True))}

    def __getitems__(self, indices: Indices) -> list[Description]:
        """A batch for PyTorch's DataLoader, which calls this."""
        return [self[position] for position in resolved(indices, len(self), self._items).tolist()]

    def _matches(self, value: object, start: int, stop: int) -> Iterator[int]:
        if not isinstance(value, Mapping):
            return iter(())
        return (position for position in range(start, stop) if _are_equal(self[position], value))


def _are_equal(one: Description, other: Mapping[Any, Any]) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(part, other[name]) for name, part in one.items())
