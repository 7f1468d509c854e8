"""Build with two processes; an error in the source keeps the samples before it, and a second run goes on after them."""

import functools
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import numpy.typing as npt

import mmap_ninja as mn


def photo(index: int, missing: int | None = None) -> npt.NDArray[np.uint8]:
    if index == missing:
        raise ConnectionError("connection lost")
    time.sleep(0.004)  # slow enough to be worth the start of processes
    return np.full((index % 5 + 1, 64), index % 256, np.uint8)


def main() -> None:
    warnings.simplefilter("ignore")  # opening an unfinished dataset warns, which is intended here
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch, "photos")
        fails = mn.parallel.make_indexable(functools.partial(photo, missing=350), length=400)
        try:
            mn.RaggedMmap.from_indexable(path, fails, n_jobs=2)
        except ConnectionError as error:
            print("stopped:", error)
        with mn.RaggedMmap(path) as partial:
            print(len(partial), "photos are there, complete:", partial.complete)

        works = mn.parallel.make_indexable(photo, length=400)
        whole = mn.RaggedMmap.from_indexable(path, works, n_jobs=2, if_exists="resume")
        print(len(whole), "photos are there, complete:", whole.complete, "and the last one:", whole[-1].shape)


if __name__ == "__main__":
    main()
