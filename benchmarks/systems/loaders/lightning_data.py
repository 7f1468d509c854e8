"""LitData: its dataset in its loader, shuffled by both."""

import pickle

import litdata
import torch
from data.arrays import ROW_TOKENS
from data.photos import decoded
from data.texts import labels
from litdata.streaming.item_loader import TokensLoader

from systems.loaders import feed
from systems.loaders.pytorch import Loaded, padded


class Streamed(Loaded):
    OPTIONS = {}  # the dataset shuffles
    DATASET = litdata.StreamingDataset

    @staticmethod
    def made(dataset, **options):
        return litdata.StreamingDataLoader(dataset, **options)

    @classmethod
    def opened(cls, path):
        return cls.DATASET(str(path), shuffle=True)

    @classmethod
    def build(cls, samples, path, **options):
        file = path.with_suffix(".pickle")
        file.write_bytes(pickle.dumps(list(cls.items(samples))))
        litdata.optimize(
            fn=unpickled, inputs=[str(file)], output_dir=str(path), chunk_bytes="64MB", num_workers=1,
            verbose=False, **options,
        )  # fmt: skip
        file.unlink()

    @staticmethod
    def items(samples):
        return samples  # arrays, which it reads ten times as fast as tensors


def unpickled(file):
    with open(file, "rb") as stored:  # noqa: PTH123
        yield from pickle.load(stored)  # noqa: S301 - our own, a moment old


class Images(Streamed, feed.Images):
    LIMITS = {"all": 20_000}


class Labelled(Streamed, feed.Labelled):
    @staticmethod
    def items(samples):
        records = zip(samples, labels(len(samples)).tolist(), strict=True)
        return ({"text": text, "label": label} for text, label in records)


class Frames(Streamed, feed.Frames):
    collate = staticmethod(padded)


class Windows(Streamed, feed.Windows):
    @classmethod
    def opened(cls, path):
        return cls.DATASET(str(path), shuffle=True, item_loader=TokensLoader(block_size=ROW_TOKENS))

    @classmethod
    def build(cls, samples, path):
        super().build(samples, path, item_loader=TokensLoader())


class Decoded(litdata.StreamingDataset):
    def __getitem__(self, index):
        return torch.from_numpy(decoded(super().__getitem__(index)))


class Photos(Streamed, feed.Photos):
    DATASET = Decoded
