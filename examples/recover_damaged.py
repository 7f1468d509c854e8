"""Damage a dataset, find out what is hit, and save the rest."""

import tempfile
from pathlib import Path

import mmap_ninja as mn

with tempfile.TemporaryDirectory() as scratch:
    path = Path(scratch, "reviews")
    mn.StringsMmap.from_generator(path, (f"review {number} " * 20 for number in range(10_000))).close()
    print("verify:", mn.verify(path, level="full").ok)

    data = path / "c0.data-1"
    damaged = bytearray(data.read_bytes())
    damaged[1_000_000] ^= 1  # one bit, as a failing disk flips it
    data.write_bytes(damaged)

    report = mn.verify(path)
    for problem in report.problems:
        print("damaged:", Path(problem.file).name, "with the samples", *problem.samples)

    saved = mn.recover(path, Path(scratch, "saved"), keep="intact")
    print(saved.samples, "samples are saved, verify:", mn.verify(Path(scratch, "saved")).ok)
