"""Batch sounds of different lengths: padded to the longest of a batch, in buckets of similar lengths, with a mask."""

import tempfile
from collections.abc import Iterator
from typing import Any

import numpy as np

import mmap_ninja as mn


def sounds() -> Iterator[dict[str, Any]]:
    chance = np.random.default_rng(0)
    for number in range(1000):
        times = np.arange(int(chance.integers(100, 4000))) / 8000
        yield {"wave": np.sin(2 * np.pi * 440 * times).astype(np.float32), "speaker": number % 7}


with tempfile.TemporaryDirectory() as scratch:
    train = mn.RecordsMmap.from_generator(f"{scratch}/sounds", sounds())
    lengths = train["wave"].lengths
    print(f"{len(train)} sounds of {lengths.min()} to {lengths.max()} numbers")

    for name, plan in (
        ("by chance", mn.Buckets(lengths, batch_size=32, window=1)),
        ("in buckets", mn.Buckets(lengths, batch_size=32)),
        ("of at most 64,000 numbers", mn.Buckets(lengths, max_elements=64_000)),
    ):
        print(f"batches {name}: {len(plan)}, of which {plan.padding:.0%} is padding")

    batch = next(iter(mn.Loader(train, plan=plan, pad=mn.Pad(multiple_of=8, mask=True))))
    print("the first of these:", batch["wave"].shape, "with", batch["wave_mask"].sum(), "numbers that are no padding")
