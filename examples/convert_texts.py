"""Convert a folder of text files once; then use it as a list that lives on disk."""

import tempfile
from pathlib import Path

from mmap_ninja.string import StringsMmap

with tempfile.TemporaryDirectory() as scratch:
    folder = Path(scratch, "notes")
    folder.mkdir()
    for number in range(1000):
        Path(folder, f"{number:04}.txt").write_text(f"Note {number}: what I saw today.", encoding="utf-8")

    paths = sorted(folder.glob("*.txt"))
    texts = StringsMmap.from_generator(
        out_dir=Path(scratch, "notes_mmap"),
        sample_generator=(path.read_text(encoding="utf-8") for path in paths),
        batch_size=256,
        verbose=False,
    )

    print(len(texts), "notes")
    print(texts[0])
    print(texts[-2:])
    print(texts.take([7, 1, 7]))  # any indices, in one call
    print(sum(text.endswith("today.") for text in texts), "of them end with 'today.'")
