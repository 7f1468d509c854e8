"""WebDataset: tar files, whose order is shuffled, and so are the samples within a buffer."""

import webdataset
from data.photos import scaled
from data.texts import labels

from systems.loaders import feed

SHARDS, BUFFER = 8, 1000


class Shards:
    DECODE = ()
    scale = None

    def __init__(self, path, workers):
        files = sorted(map(str, path.iterdir()))
        samples = webdataset.WebDataset(files, shardshuffle=len(files)).shuffle(BUFFER).decode(*self.DECODE)
        samples = samples.to_tuple(*self.FIELDS)
        if self.scale:
            samples = samples.map_tuple(self.scale)
        batches = samples.batched(self.BATCH_SIZE)
        self.loader = webdataset.WebLoader(
            batches, batch_size=None, num_workers=workers, persistent_workers=workers > 0
        )

    def epoch(self):
        return self.loader

    @classmethod
    def build(cls, samples, path):
        path.mkdir()
        with webdataset.ShardWriter(str(path / "%06d.tar"), maxcount=-(-len(samples) // SHARDS), verbose=0) as writer:
            for index, sample in enumerate(cls.rows(samples)):
                writer.write({"__key__": f"{index:09d}"} | dict(zip(cls.FIELDS, sample, strict=True)))

    @staticmethod
    def rows(samples):
        return zip(samples)


class Images(Shards, feed.Images):
    LIMITS = {"all": 20_000}
    FIELDS = ("npy",)


class Labelled(Shards, feed.Labelled):
    LIMITS = {"all": 10_000}
    FIELDS = ("txt", "cls")

    @staticmethod
    def rows(samples):
        return zip(samples, labels(len(samples)).tolist(), strict=True)


class Photos(Shards, feed.Photos):
    FIELDS = ("jpg",)
    DECODE = ("pil",)
    scale = staticmethod(scaled)
