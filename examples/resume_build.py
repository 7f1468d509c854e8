"""A conversion that dies half way keeps its finished batches, and can be resumed."""

import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

from mmap_ninja.string import StringsMmap


def reviews(fails_at: int | None = None) -> Iterator[str]:
    for number in range(10_000):
        if number == fails_at:
            raise ConnectionError("connection lost")
        yield f"review {number}"


warnings.simplefilter("ignore")  # opening an unfinished dataset warns, which is intended here

with tempfile.TemporaryDirectory() as scratch:
    path = Path(scratch, "reviews")

    try:
        StringsMmap.from_generator(path, reviews(fails_at=7_000), batch_size=1024, verbose=False)
    except ConnectionError as error:
        print("stopped:", error)
    partial = StringsMmap(path)
    print(len(partial), "reviews are there, complete:", partial.complete)
    partial.close()

    whole = StringsMmap.from_generator(path, reviews(), batch_size=1024, verbose=False, if_exists="resume")
    print(len(whole), "reviews are there, complete:", whole.complete)
    print("the last one:", whole[-1])
