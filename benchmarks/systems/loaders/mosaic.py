"""MDS, the format of mosaicml-streaming, in a `DataLoader`."""

import torch
from data.arrays import FIXED_SHAPE, ROW_TOKENS
from data.photos import decoded
from data.texts import labels

from systems.loaders import feed
from systems.loaders.pytorch import Loaded, padded_samples
from systems.mosaic import MDSWriter, StreamingDataset


class Streamed(Loaded):
    OPTIONS = {}  # the dataset shuffles
    DATASET = StreamingDataset

    @classmethod
    def opened(cls, path):
        return cls.DATASET(local=str(path), shuffle=True, batch_size=cls.BATCH_SIZE)

    @classmethod
    def build(cls, samples, path):
        with MDSWriter(out=str(path), columns=cls.COLUMNS) as writer:
            for row in cls.rows(samples):
                writer.write(row)

    @staticmethod
    def rows(samples):
        return ({"sample": sample} for sample in samples)


class Images(Streamed, feed.Images):
    LIMITS = {"all": 20_000}
    COLUMNS = {"sample": "ndarray:uint8:{},{}".format(*FIXED_SHAPE)}


class Labelled(Streamed, feed.Labelled):
    LIMITS = {"all": 10_000}
    COLUMNS = {"text": "str", "label": "int"}

    @staticmethod
    def rows(samples):
        records = zip(samples, labels(len(samples)).tolist(), strict=True)
        return ({"text": text, "label": label} for text, label in records)


class Frames(Streamed, feed.Frames):
    COLUMNS = {"sample": "ndarray:float32"}
    collate = staticmethod(padded_samples)


class Windows(Streamed, feed.Windows):
    COLUMNS = {"sample": f"ndarray:int32:{ROW_TOKENS}"}


class Decoded(StreamingDataset):
    def __getitem__(self, index):
        return torch.from_numpy(decoded(super().__getitem__(index)["sample"]))


class Photos(Streamed, feed.Photos):
    COLUMNS = {"sample": "bytes"}
    DATASET = Decoded
