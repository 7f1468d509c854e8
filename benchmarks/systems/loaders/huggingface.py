"""Hugging Face `datasets` in the format of PyTorch, in a `DataLoader`."""

import datasets
import torch
from data.arrays import FIXED_SHAPE, FRAME_SIZE, ROW_TOKENS
from data.photos import scaled
from data.texts import labels
from datasets import Array2D, Features, Sequence, Value

from systems.loaders import feed
from systems.loaders.pytorch import Loaded, padded_samples

datasets.disable_progress_bars()


class Formatted(Loaded):
    DTYPE = {}  # integers become int64 otherwise

    @classmethod
    def opened(cls, path):
        return datasets.load_from_disk(str(path)).with_format("torch", **cls.DTYPE)

    @classmethod
    def build(cls, samples, path):
        datasets.Dataset.from_dict(cls.columns(samples), Features(cls.FEATURES)).save_to_disk(str(path))

    @staticmethod
    def columns(samples):
        return {"sample": list(samples)}


class Images(Formatted, feed.Images):
    LIMITS = {"all": 20_000}
    FEATURES = {"sample": Array2D(FIXED_SHAPE, "uint8")}
    DTYPE = {"dtype": torch.uint8}


class Labelled(Formatted, feed.Labelled):
    FEATURES = {"text": Value("string"), "label": Value("int64")}

    @staticmethod
    def columns(samples):
        return {"text": samples, "label": labels(len(samples))}


class Frames(Formatted, feed.Frames):
    FEATURES = {"sample": Array2D((None, FRAME_SIZE), "float32")}
    collate = staticmethod(padded_samples)


class Windows(Formatted, feed.Windows):
    FEATURES = {"sample": Sequence(Value("int32"), ROW_TOKENS)}
    DTYPE = {"dtype": torch.int32}


class Photos(Formatted, feed.Photos):
    FEATURES = {"sample": datasets.Image()}

    @staticmethod
    def opened(path):
        return datasets.load_from_disk(str(path)).with_transform(pictures)

    @staticmethod
    def columns(samples):
        return {"sample": [{"bytes": sample} for sample in samples]}


def pictures(rows):
    return {"sample": [torch.from_numpy(scaled(image)) for image in rows["sample"]]}
