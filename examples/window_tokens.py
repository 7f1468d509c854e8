"""Train a language model on documents: rows of one length, shifted labels, and no attention between documents."""

import tempfile

import numpy as np

import mmap_ninja as mn

END, LENGTH = 0, 64
chance = np.random.default_rng(0)

with tempfile.TemporaryDirectory() as scratch:
    documents = (np.append(chance.integers(1, 1000, chance.integers(5, 300)), END) for _ in range(500))
    tokens = mn.RaggedMmap.from_generator(f"{scratch}/tokens", documents, dtype=np.uint16)
    total = int(tokens.lengths.sum())
    print(f"{len(tokens)} documents, {total:,} tokens")

    windows = tokens.windows(LENGTH + 1, stride=LENGTH)  # one more, so that each token is a label once
    labels = 0
    for rows in mn.Loader(windows, 8, shuffle=True):
        inputs, following = rows[:, :-1], rows[:, 1:]
        labels += following.size
    print(f"windows: {len(windows)}, with {labels:,} labels; the last {total - 1 - labels} tokens fill no window")

    batch = next(iter(mn.Loader(tokens.windows(LENGTH, documents=True), 8, shuffle=True)))
    segments = batch["segment_ids"]
    mask = segments[:, :, None] == segments[:, None, :]  # who sees whom
    print("a batch with documents:", *batch)
    print(f"attention within documents: {mask.mean():.0%} of the pairs in a batch")

    packing = mn.Packing(tokens.lengths, LENGTH, batch_size=8)
    print(f"packed instead of cut: {len(packing) * 8} rows, {packing.filled:.1%} filled")
