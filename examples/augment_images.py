"""Convert a folder of images, one folder for each class; decode and flip them batch by batch, the same after a stop."""

import io
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import mmap_ninja as mn


def augmented(batch: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
    images = np.stack([np.asarray(Image.open(io.BytesIO(encoded))) for encoded in batch["image"]])
    flipped = rng.random(len(images)) < 0.5
    images[flipped] = images[flipped, :, ::-1]
    return {"image": images, "label": batch["label"]}


with tempfile.TemporaryDirectory() as scratch:
    chance = np.random.default_rng(0)
    for number in range(60):
        path = Path(scratch, "photos", ["bird", "cat", "dog"][number % 3], f"{number:02}.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(chance.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(path)

    train = mn.convert(Path(scratch, "photos"), Path(scratch, "train"))
    print(len(train), "images, classes:", train.metadata["classes"])

    loader = mn.Loader(train, 16, shuffle=True, columns=["image", "label"], transform=augmented, rng=True)
    batches = iter(loader)
    first = next(batches)
    print("a batch:", first["image"].shape, "labels:", first["label"])
    state = loader.state_dict()
    second = next(batches)
    loader.load_state_dict(state)  # in another process, too
    print("the next batch is the same after a stop:", np.array_equal(next(iter(loader))["image"], second["image"]))
