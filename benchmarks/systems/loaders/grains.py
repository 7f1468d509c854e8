"""Grain, over our samples, and over our whole batches."""

from itertools import islice

import grain
import numpy as np
from data.photos import decoded

from mmap_ninja import Loader
from mmap_ninja.integrations.grain import BatchSource, SampleSource
from systems.loaders import feed, ours

EPOCHS = 1000  # more than any measurement has


class Pipeline:
    """Samples of a source, which Grain shuffles, reads in threads or processes, and stacks; epochs are one stream."""

    IMPORTS = ()
    WORKERS = feed.Feed.WORKERS
    decode = None
    collate = None

    def __init__(self, path, workers):
        samples = grain.MapDataset.source(self.opened(path)).seed(0).shuffle()
        if self.decode:
            samples = samples.map(self.decode)
        batches = samples.batch(self.BATCH_SIZE, batch_fn=self.collate)
        stream = batches.repeat(EPOCHS).to_iter_dataset()
        if workers:
            stream = stream.mp_prefetch(grain.MultiprocessingOptions(workers))
        self.length, self.stream = len(batches), iter(stream)

    def epoch(self):
        return islice(self.stream, self.length)


def columns(records):
    """Collate texts and labels. Left alone, Grain makes each text as long as the longest one of its batch."""
    return {"text": [record["text"] for record in records], "label": np.array([record["label"] for record in records])}


def padded(arrays):
    lengths = np.array(list(map(len, arrays)))
    result = np.zeros((len(arrays), lengths.max(), *arrays[0].shape[1:]), arrays[0].dtype)
    for row, array in zip(result, arrays, strict=True):
        row[: len(array)] = array
    return result, lengths


class Samples(Pipeline):
    @classmethod
    def opened(cls, path):
        return SampleSource(super().opened(path))


class SamplesImages(Samples, ours.Images):
    pass


class SamplesLabelled(Samples, ours.Labelled):
    collate = staticmethod(columns)


class SamplesFrames(Samples, ours.Frames):
    collate = staticmethod(padded)


class SamplesWindows(Samples, ours.Windows):
    pass


class SamplesPhotos(Samples, ours.Photos):
    WORKERS = feed.Photos.WORKERS
    decode = staticmethod(decoded)


class Whole:
    """Batches of our loader, for which Grain's threads ask."""

    IMPORTS = ()

    def made(self):
        loader = Loader(self.dataset, self.BATCH_SIZE, shuffle=True, **self.OPTIONS)
        self.length = len(loader)
        batches = grain.MapDataset.source(BatchSource(loader, EPOCHS))
        return iter(batches.to_iter_dataset(grain.ReadOptions(num_threads=2, prefetch_buffer_size=8)))

    def epoch(self):
        return islice(self.loader, self.length)


class Images(Whole, ours.Images):
    pass


class Labelled(Whole, ours.Labelled):
    pass


class Frames(Whole, ours.Frames):
    pass


class Windows(Whole, ours.Windows):
    pass
