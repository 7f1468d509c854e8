"""Texts: the files of a folder, or generated ones."""

from pathlib import Path

import numpy as np

IMDB_PARTS = ("train/pos", "train/neg", "train/unsup", "test/pos", "test/neg")  # beside them lie lists of links
LETTERS = 1 << 20
LENGTHS = (200, 2400)  # characters of a generated text, as most reviews have
WORD = 6  # characters from one blank to the next, as in reviews
RARE_EVERY, RARE = 11, " “naïve” ★"  # reviews are mostly ASCII, but not all of them


def read(folder: Path, count: int) -> list[str]:
    imdb = [folder / name for name in IMDB_PARTS]
    parts = imdb if all(part.is_dir() for part in imdb) else [folder]
    texts: list[str] = []
    for path in sorted(file for part in parts for file in part.glob("**/*.txt")):
        try:
            texts.append(path.read_bytes().decode())
        except UnicodeDecodeError:
            print(f"skipping {path.name}: not UTF-8", flush=True)
        if len(texts) == count:
            break
    if not texts:
        raise FileNotFoundError(f"{folder}: found no UTF-8 *.txt file")
    return texts


def generate(count: int) -> list[str]:
    """Make texts that are about as long as reviews."""
    return [text if index % RARE_EVERY else text + RARE for index, text in enumerate(letters(count))]


def labels(count: int) -> np.ndarray:
    """Make the labels of so many texts."""
    return np.arange(count) % 2


def letters(count: int, seed: int = 4) -> list[str]:
    """Make ASCII texts of many lengths."""
    chance = np.random.default_rng(seed)
    alphabet = chance.integers(97, 123, LETTERS, np.uint8)
    alphabet[::WORD] = ord(" ")
    alphabet = alphabet.tobytes().decode()
    lengths = chance.integers(*LENGTHS, count)
    starts = chance.integers(0, LETTERS - LENGTHS[1], count)
    return [alphabet[start : start + length] for start, length in zip(starts.tolist(), lengths.tolist(), strict=True)]
