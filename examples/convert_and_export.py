"""Make a dataset of a CSV file, and files of other formats of the dataset."""

import csv
import tempfile
from pathlib import Path

import numpy as np

import mmap_ninja as mn

with tempfile.TemporaryDirectory() as scratch:
    folder = Path(scratch)
    with (folder / "films.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["title", "year", "zip", "score"])
        writer.writerows([[f"Film {k}", 1990 + k % 30, f"{k:05}", k / 10 if k % 4 else ""] for k in range(1000)])

    mn.convert(folder / "films.csv", folder / "films", columns={"year": mn.Scalar(np.int16)})
    films = mn.open(folder / "films", kind="records")
    for name, spec in films.schema.items():
        print(f"{name}: {spec}")
    print(films[4])

    recent = films.filter(lambda film: film["year"] > 2015, columns=["year"])  # a view
    mn.export(recent, folder / "recent.parquet")
    mn.export(recent, folder / "recent.jsonl.gz", columns=["title", "score"])
    mn.export(films[["year"]], folder / "years.npy")
    for path in sorted(folder.glob("*.*")):
        print(path.name)
    again = mn.convert(folder / "recent.parquet", folder / "again")
    print(len(again), "come back, the same:", list(again) == list(recent))
