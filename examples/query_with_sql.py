"""Query the files of a dataset with SQL, and store the result as another dataset."""

import tempfile
from collections.abc import Iterator
from typing import Any

import duckdb
import numpy as np

import mmap_ninja as mn


def reviews() -> Iterator[dict[str, Any]]:
    random = np.random.default_rng(0)
    for number in range(10_000):
        words = int(random.integers(1, 60))
        yield {"text": "word " * words, "stars": int(random.integers(1, 6)), "source": {"id": number, "lang": "en"}}


with tempfile.TemporaryDirectory() as scratch:
    dataset = mn.RecordsMmap.from_generator(f"{scratch}/reviews", reviews())
    del dataset[np.asarray(dataset["stars"]) == 3]
    dataset.compact()  # an edited dataset is copied for Arrow, a compact one is not

    rows = dataset.to_arrow()
    print(duckdb.sql("select stars, count(*) as n, avg(length(text))::int as length from rows group by 1 order by 1"))

    long = duckdb.sql("select * from rows where length(text) > 250 and source.id < 5000")
    found = mn.RecordsMmap.from_arrow(f"{scratch}/long", long)
    print(len(found), "long reviews, with the columns", found.columns)
    print(found[0]["source"], len(found["text"][0]))
