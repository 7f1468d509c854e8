"""Convert a folder of text files to a dataset, then read and extend it like a list.

python tools/demo.py [FOLDER] [--out DIRECTORY]

Without FOLDER, the texts are the sources of Python's standard library.
"""

import argparse
import random
import sys
import sysconfig
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from tqdm import tqdm

from mmap_ninja.string import StringsMmap

TEXT_SUFFIXES = (".csv", ".html", ".json", ".log", ".md", ".py", ".rst", ".txt", ".xml", ".yaml")
LATER_PASSES = 3


def find_text_files(folder: Path) -> list[Path]:
    """The text files below a folder, by suffix; in the IMDB folder, only the reviews."""
    if not folder.is_dir():
        sys.exit(f"{folder}: {'not a folder' if folder.exists() else 'no such folder'}; name one with texts")
    imdb = (folder / "train" / "pos").is_dir()  # lists of links are one level above its reviews
    found = folder.glob("*/*/*.txt") if imdb else folder.rglob("*")
    paths = [p for p in found if p.suffix in TEXT_SUFFIXES and "site-packages" not in p.parts and p.is_file()]
    if not paths:
        sys.exit(f"{folder}: no text files below it (looked for {' '.join(TEXT_SUFFIXES)})")
    return sorted(paths)


def read_files(paths: Iterable[Path], not_utf8: set[Path]) -> Iterator[str]:
    for path in paths:
        try:
            yield path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            not_utf8.add(path)


def timed_pass(texts: Iterable[str], total: int, title: str) -> float:
    started = time.perf_counter()
    for _ in tqdm(texts, total=total, desc=f"{title:14}"):
        pass
    return time.perf_counter() - started


def show_times(files: list[float], dataset: list[float]) -> None:
    """One row per source: the first pass, and the best of the later ones, which read from memory."""
    print(f"\n{'one pass, seconds':24}{'first':>10}{f'best of {LATER_PASSES} later':>18}")
    for name, seconds in (("the text files", files), ("the dataset", dataset)):
        print(f"{name:24}{seconds[0]:10.4f}{min(seconds[1:]):18.4f}")
    print(f"{'ratio':24}{files[0] / dataset[0]:9.1f}x{min(files[1:]) / min(dataset[1:]):17.1f}x")
    print(
        "The first pass over the files waits for the disk if they were not in memory yet; that over the dataset\n"
        "maps pages that were just written. The later passes are warm for both: that is the fair comparison.\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", nargs="?", type=Path, default=Path(sysconfig.get_path("stdlib")))
    parser.add_argument("--out", type=Path, default=Path("demo_mmap"), help="where to put the dataset")
    arguments = parser.parse_args()
    folder, out = arguments.folder.expanduser(), arguments.out
    paths, not_utf8 = find_text_files(folder), set[Path]()
    print(f"{len(paths):,} text files below {folder}\n")
    files = [timed_pass(read_files(paths, not_utf8), len(paths), "files, first")]
    paths = [path for path in paths if path not in not_utf8]
    files += [timed_pass(read_files(paths, not_utf8), len(paths), "files, more") for _ in range(LATER_PASSES)]
    size_mb = sum(path.stat().st_size for path in paths) / 1e6
    print(f"{len(paths):,} files read ({size_mb:,.1f} MB), {len(not_utf8):,} skipped: not UTF-8")

    print(f"\nConverting to {out}")
    sample_generator = tqdm(read_files(paths, not_utf8), total=len(paths), desc=f"{'converting':14}")
    StringsMmap.from_generator(out_dir=out, sample_generator=sample_generator, batch_size=1024, verbose=False)

    started = time.perf_counter()
    texts = StringsMmap(out)
    print(f"{texts!r}\nopened in {1e3 * (time.perf_counter() - started):.2f} ms")
    dataset = [timed_pass(texts, len(texts), "dataset, first")]
    dataset += [timed_pass(texts, len(texts), "dataset, more") for _ in range(LATER_PASSES)]
    show_times(files, dataset)

    indices = random.Random(0).choices(range(len(texts)), k=10_000)
    started = time.perf_counter()
    for index in indices:
        texts[index]
    one_by_one = time.perf_counter() - started
    started = time.perf_counter()
    for start in range(0, len(indices), 250):
        texts.take(indices[start : start + 250])
    batches = time.perf_counter() - started
    print(f"random access:          texts[i] takes {1e6 * one_by_one / 10_000:.2f} us per sample")
    print(f"random batches of 250:  texts.take(indices) takes {1e6 * batches / 10_000:.2f} us per sample")

    texts.append("This is a new document")  # the first mutation of a handle also opens the files for writing
    started = time.perf_counter()
    texts.extend(["New doc0", "New doc1"])
    print(f"extend by two texts:    {1e6 * (time.perf_counter() - started):.0f} us")
    print(f"texts[-3:] ==           {texts[-3:]}")
    texts.close()

    reopened = StringsMmap(out)
    expected = read_files(paths, not_utf8)
    equal = sum(text == sample for text, sample in zip(expected, reopened, strict=False))
    if (equal, len(reopened)) != (len(paths), len(paths) + 3):
        sys.exit(f"{out}: {len(reopened):,} samples, {equal:,} equal their file; expected {len(paths):,} + 3")
    print(f"\nReopened: {len(reopened):,} samples; {equal:,} of them equal the text of their file.")

    print(f"On disk, in {out}:")
    for path in sorted(path for path in out.rglob("*") if path.is_file()):
        print(f"{path.stat().st_size:15,} bytes  {path.relative_to(out)}")


if __name__ == "__main__":
    main()
