"""Several processes write a shard each; read the shards as one list, then merge them."""

import multiprocessing
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

import mmap_ninja as mn


def write_shard(path: Path, first: int) -> int:
    """What a job of a cluster does: it knows its own part only."""
    samples = ({"number": number, "vector": np.full(8, number, np.float32)} for number in range(first, first + 250))
    with mn.RecordsMmap.from_generator(path, samples, columns={"vector": mn.Array((8,), np.float32)}) as shard:
        return len(shard)


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        shards = [Path(scratch, f"shard-{number}") for number in range(4)]
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(2, mp_context=spawn) as processes:
            print("stored:", list(processes.map(write_shard, shards, range(0, 1000, 250))))

        together = mn.concat([mn.open(shard, "r", kind="records") for shard in shards])
        print("a view of all:", len(together), together[999]["number"])

        mn.merge(shards, Path(scratch, "merged"))  # copies whole files, decodes nothing
        merged = mn.open(Path(scratch, "merged"), "r", kind="records")
        print("merged:", len(merged), "verify:", merged.verify().ok)
        print("the same:", all(a["number"] == b["number"] for a, b in zip(together, merged, strict=True)))


if __name__ == "__main__":
    main()
