"""Photos: the JPEG files of a folder, or generated ones."""

import io
from pathlib import Path
from typing import Any

import numpy as np

GENERATED_SIZE = (500, 375)  # what most photos have
NUM_GENERATED = 40
SIZE = (224, 224)


def files(folder: Path) -> list[str]:
    found = sorted(str(file) for file in folder.glob("**/*") if file.suffix.lower() in {".jpg", ".jpeg"})
    if not found:
        raise FileNotFoundError(f"{folder}: found no *.jpg file")
    return found


def decode(file: str) -> np.ndarray:
    from PIL import Image  # noqa: PLC0415 - not in all environments

    return np.asarray(Image.open(io.BytesIO(Path(file).read_bytes())).convert("RGB"))


def decoded(data: bytes) -> np.ndarray:
    """Decode a file to the size in which a model takes it."""
    from PIL import Image  # noqa: PLC0415

    return scaled(Image.open(io.BytesIO(data)))


def scaled(image: Any) -> np.ndarray:
    return np.array(image.convert("RGB").resize(SIZE))


def generate(folder: Path) -> Path:
    """Write JPEGs that take about as long to decode as photos do: coarse noise, scaled up."""
    from PIL import Image  # noqa: PLC0415

    chance = np.random.default_rng(4)
    folder.mkdir(parents=True)
    for index in range(NUM_GENERATED):
        coarse = Image.fromarray(chance.integers(0, 256, (94, 125, 3), np.uint8))
        coarse.resize(GENERATED_SIZE, Image.Resampling.BICUBIC).save(folder / f"{index}.jpg", quality=90)
    return folder
