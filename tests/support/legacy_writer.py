"""Write datasets with a released mmap_ninja 0.x: python legacy_writer.py <its folder> <its version> <output folder>.

A separate program, since a process cannot import two versions of a package.
"""

import importlib.util
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, sys.argv[1])
sys.meta_path[:] = [finder for finder in sys.meta_path if "editable" not in type(finder).__module__]

import mmap_ninja  # noqa: E402 - from the folder in the line above
from mmap_ninja import numpy as arrays  # noqa: E402
from mmap_ninja.ragged import RaggedMmap  # noqa: E402
from mmap_ninja.string import StringsMmap  # noqa: E402


def shape(rank, random):
    sides = random.integers(0, 6, size=random.integers(0, 4) if rank == "mixed" else int(rank))
    return tuple(sides.tolist())


def main(version, folder):
    assert mmap_ninja.__version__ == version, mmap_ninja.__file__
    texts = [f"{number} " + "naïve 四 🥷 "[: number % 12] * (number % 50) for number in range(3000)]
    StringsMmap.from_generator(out_dir=folder / "strings", sample_generator=iter(texts), batch_size=700)
    if version == "0.9.0" and importlib.util.find_spec("zstandard"):
        zstd = {"zstd_level": 3, "zstd_train_dictionary_size": 4096}
        StringsMmap.from_strings(folder / "zstd", texts[:2000], **zstd).extend(texts[2000:])

    values = np.arange(500 * 7 * 3, dtype=np.int32).reshape(500, 7, 3)
    arrays.extend(arrays.from_ndarray(folder / "array-C", values[:1]), values[1:])
    arrays.from_ndarray(folder / "array-F", np.asfortranarray(values))

    random = np.random.default_rng(5)
    for rank in ("1", "2", "mixed"):
        samples = [random.integers(-99, 99, shape(rank, random)).astype(np.int16) for _ in range(1000)]
        samples[0] = np.ones((2, 3) if rank != "1" else 4, np.int16)
        ragged = RaggedMmap.from_lists(folder / f"ragged-{rank}", samples[:300])
        ragged.extend(samples[300:999])
        ragged.append(samples[999])
        np.savez(folder / f"ragged-{rank}.npz", *samples)


main(sys.argv[2], Path(sys.argv[3]))
