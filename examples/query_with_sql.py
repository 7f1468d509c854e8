"""Query the files of a dataset with SQL, and store the result as another dataset."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

import mmap_ninja as mn


def reviews() -> Iterator[dict[str, Any]]:
    random = np.random.default_rng(0)
    for number in range(10_000):
        words = int(random.integers(1, 60))
        yield {"text": "word " * words, "stars": int(random.integers(1, 6)), "source": {"id": number, "lang": "en"}}


folder = Path(tempfile.mkdtemp())
dataset = mn.RecordsMmap.from_generator(folder / "reviews", reviews())
del dataset[np.asarray(dataset["stars"]) == 3]  # only edited datasets are copied for Arrow
dataset.compact()

rows = dataset.to_arrow()
print(duckdb.sql("select stars, count(*) as n, avg(length(text)) as length from rows group by stars order by stars"))

long = duckdb.sql("select * from rows where length(text) > 250 and source.id < 5000")
found = mn.RecordsMmap.from_arrow(folder / "long", long)
print(found)
print(found[0]["source"], len(found["text"][0]))
