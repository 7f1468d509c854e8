"""What attention within documents has to know of rows, in plain Python."""

import numpy as np


def described(rows, length, bounds):
    """The parts of a batch beside its tokens, as lists.

    Args:
        rows: The lengths of the segments in each row.
        length: Elements in a row.
        bounds: How many numbers `cu_seqlens` has.
    """
    ids, positions, starts, longest = [], [], [], 0
    for number, lengths in enumerate(rows):
        padding = length - sum(lengths)
        ids.append([k for k, size in enumerate(lengths, 1) for _ in range(size)] + [0] * padding)
        positions.append([place for size in lengths for place in range(size)] + [0] * padding)
        at = number * length
        for size in [*lengths, *([padding] if padding else [])]:
            starts.append(at)
            at += size
            longest = max(longest, size)
    return {
        "segment_ids": ids,
        "positions": positions,
        "seq_lens": ([size for lengths in rows for size in lengths], np.cumsum([0, *map(len, rows)]).tolist()),
        "cu_seqlens": starts + [len(rows) * length] * (bounds - len(starts)),
        "max_seqlen": longest,
    }


def listed(batch):
    """The same parts of a batch, after a look at their types."""
    lengths, offsets = batch["seq_lens"]
    arrays = [batch["segment_ids"], batch["positions"], lengths, batch["cu_seqlens"]]
    assert {array.dtype for array in arrays} == {np.dtype(np.int32)}
    assert (offsets.dtype, type(batch["max_seqlen"])) == (np.int64, int)
    assert all(array.flags.writeable for array in arrays)
    return {
        "segment_ids": batch["segment_ids"].tolist(),
        "positions": batch["positions"].tolist(),
        "seq_lens": (lengths.tolist(), offsets.tolist()),
        "cu_seqlens": batch["cu_seqlens"].tolist(),
        "max_seqlen": batch["max_seqlen"],
    }
